//! Our side of a run.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use dunlin_tokio::{Connection, QotpPublicKey, RecvStream, SendStream, Undelivered, WireVersion};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::data::{pattern, sha256};
use crate::theirs::Peer;
use crate::{Flow, Run, Service, endpoint};

/// We dial: our data goes to a peer that sends it back or hashes it.
pub(crate) async fn dial(program: PathBuf, run: Run) {
    let mode = if run.service == Service::Echo { "server" } else { "sink" };
    let mut peer = Peer::start(&program, &[mode, "--addr", "127.0.0.1:0", "--seed", "interop"]);
    let ready = peer.next().await;
    let address: SocketAddr = ready["addr"].as_str().unwrap().parse().unwrap();
    let key: QotpPublicKey = ready["pubkey"].as_str().unwrap().parse().unwrap();

    let endpoint = endpoint();
    let begun = Instant::now();
    let known = (run.flow == Flow::KnownKey).then_some(key);
    let connecting = endpoint.connect_qotp(address, known).unwrap();
    let mut streams = JoinSet::new();
    for number in 0..run.streams {
        // Stream 0 first: in band, the first packet opens that one anyway.
        let (mut send, recv) = connecting.open_id(number).await.unwrap();
        // What is written now can go with the first packet.
        let data = pattern(number, run.share(number));
        send.write(&data).await.unwrap();
        streams.spawn(converse(send, recv, data, run.service));
    }
    let connection = connecting.await.unwrap();
    assert_eq!((connection.peer_identity(), connection.qotp_claimed_key()), (None, Some(key)));
    streams.join_all().await;
    let took = begun.elapsed();

    let (mut hashes, mut closed) = (BTreeMap::new(), 0);
    while hashes.len() < run.streams as usize {
        let end = peer.event("stream_end").await;
        let number = end["stream"].as_u64().unwrap() as u32;
        assert_eq!(end["bytes"], run.share(number), "{end}");
        closed += u32::from(end["closed"] == true);
        hashes.insert(number, end["sha256"].as_str().unwrap().to_owned());
    }
    let wanted = (0..run.streams).map(|number| (number, sha256(&pattern(number, run.share(number)))));
    assert_eq!(hashes, wanted.collect());
    finish(&connection).await;
    let said = format!("hashes equal, {closed} closed");
    run.report("we dial", took, &connection.stats(), &said);
    assert_eq!(peer.complaints(), Vec::<String>::new());
}

/// Writes the rest of a stream's data; where it comes back, reads all of it before ending: the reference ends its half when it hears
/// of the end of ours.
async fn converse(mut send: SendStream, mut recv: RecvStream, data: Vec<u8>, service: Service) {
    let rest = &data[send.written() as usize..];
    if service == Service::Echo {
        let reading = async {
            let mut back = vec![0; data.len()];
            tokio::io::AsyncReadExt::read_exact(&mut recv, &mut back).await.unwrap();
            assert!(back == data, "{:?} comes back as it went", recv.id());
        };
        tokio::join!(async { send.write_all(rest).await.unwrap() }, reading);
    } else {
        send.write_all(rest).await.unwrap();
    }
    send.finish().unwrap();
    send.delivered().await.unwrap();
}

/// They dial: we send their data back or hash it.
pub(crate) async fn answer(program: PathBuf, run: Run) {
    let endpoint = endpoint();
    let (address, key) = (endpoint.local_addr().to_string(), endpoint.qotp_public_key().to_string());
    let (bytes, streams) = (run.bytes.to_string(), run.streams.to_string());
    let mut args = vec!["client", "--addr", &address, "--bytes", &bytes, "--streams", &streams];
    if run.flow == Flow::KnownKey {
        args.extend(["--pubkey", &key]);
    }
    if run.service == Service::Sink {
        args.push("--sink");
    }
    let mut peer = Peer::start(&program, &args);
    let incoming = endpoint.accept().await.unwrap();
    assert_eq!(incoming.wire(), WireVersion::Qotp);
    let connection = incoming.accept().unwrap().await.unwrap();
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..run.streams {
        let (send, recv) = connection.accept_bi().await.unwrap();
        tasks.spawn(serve(send, recv, run.service));
    }
    let received: BTreeMap<u32, Vec<u8>> = tasks.join_all().await.into_iter().collect();
    let took = begun.elapsed();
    let wanted: BTreeMap<_, _> =
        (0..run.streams).map(|number| (number, pattern(number, run.share(number)))).collect();
    assert!(received == wanted, "what came is not what was sent");

    let told = peer.next().await;
    let hashes: Vec<_> = wanted.values().map(|data| sha256(data)).collect();
    assert_eq!(told["ok"], true, "{told}");
    assert_eq!(told["errors"].as_array().map(Vec::len), Some(0), "{told}");
    assert_eq!(told["sha256"], hashes.join(","), "{told}");
    finish(&connection).await;
    run.report("they dial", took, &connection.stats(), &remark(&told));
}

fn remark(told: &Value) -> String {
    let rate = told["goodput_MBps"].as_f64().unwrap_or_default();
    format!("ok, {rate:.2} MB/s, close {}, it resent {}", told["close"], told["retransmissions"])
}

/// Reads a stream to its end, and sends it back as it comes where that is asked for.
async fn serve(mut send: SendStream, mut recv: RecvStream, service: Service) -> (u32, Vec<u8>) {
    let mut all = Vec::new();
    while let Some(chunk) = recv.read_chunk(64 << 10).await.unwrap() {
        if service == Service::Echo {
            send.write_all(&chunk).await.unwrap();
        }
        all.extend_from_slice(&chunk);
    }
    send.finish().unwrap();
    (send.id().qotp_number().unwrap(), all)
}

/// Everything of ours has arrived, too.
async fn finish(connection: &Connection) {
    let left = connection.close_graceful(Duration::from_secs(10), 0.into(), b"").await;
    assert_eq!(left, Undelivered::default());
}

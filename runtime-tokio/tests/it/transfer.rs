//! Bytes arrive as they were written.

use core::pin::pin;

use dunlin_tokio::{Bytes, Connection, RecvStream, SendStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::{Pair, TRIES, config, one_way, poll_once, soon};

/// The `index`-th 8 bytes of a stream that never repeats.
fn word(index: u64) -> [u8; 8] {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(8) as u64).flat_map(word).take(bytes).collect()
}

async fn echo(mut send: SendStream, mut recv: RecvStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Some(read) = recv.read(&mut buffer).await.unwrap() {
        send.write_all(&buffer[..read]).await.unwrap();
    }
    send.finish().unwrap();
}

/// Echoes every stream until the connection ends.
async fn echo_all(connection: Connection) {
    let mut tasks = JoinSet::new();
    while let Ok((send, recv)) = connection.accept_bi().await {
        tasks.spawn(echo(send, recv));
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn ask(connection: Connection, question: Vec<u8>) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&question).await.unwrap();
    send.finish().unwrap();
    assert_eq!(recv.read_to_end(question.len()).await.unwrap(), question);
}

#[tokio::test]
async fn an_echo_comes_back() {
    let pair = Pair::new().await;
    let server = tokio::spawn(echo_all(pair.accepted));
    soon(ask(pair.dialled.clone(), b"hello".to_vec())).await;
    pair.dialled.close(0.into(), b"");
    soon(server).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_do_not_mix() {
    let pair = Pair::new().await;
    let server = tokio::spawn(echo_all(pair.accepted));
    let mut tasks = JoinSet::new();
    for index in 0..1000_usize {
        tasks.spawn(ask(pair.dialled.clone(), pattern(index * 7)));
    }
    while let Some(done) = soon(tasks.join_next()).await {
        done.unwrap();
    }
    pair.dialled.close(0.into(), b"");
    soon(server).await.unwrap();
}

/// Codepoints go out and come in with trains of any length.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn loopback_passes_ecn() {
    let pair = Pair::new().await;
    let (dialled, accepted) = (pair.dialled.clone(), pair.accepted.clone());
    soon(bulk(pair, 4 << 20)).await;
    let (sender, receiver) = (dialled.path().unwrap().ecn, accepted.path().unwrap().ecn);
    assert_eq!(sender.state, dunlin_tokio::EcnState::Capable);
    assert!(sender.sent > 2500 && receiver.received.ect0 > 2500, "{sender:?} {receiver:?}");
    assert_eq!((receiver.received.ect1, receiver.received.ce), (0, 0));
}

async fn bulk(pair: Pair, bytes: u64) {
    let (mut send, accepted) = (pair.dialled.open_uni().await.unwrap(), pair.accepted.clone());
    let reader = tokio::spawn(async move {
        let mut recv = accepted.accept_uni().await.unwrap();
        let mut buffer = vec![0; 256 << 10];
        let (mut read, mut filled) = (0, 0);
        loop {
            let more = recv.read(&mut buffer[filled..]).await.unwrap();
            filled += more.unwrap_or(0);
            let whole = filled / 8 * 8;
            for chunk in buffer[..whole].chunks_exact(8) {
                assert_eq!(chunk, word(read));
                read += 1;
            }
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
            if more.is_none() {
                return read * 8 + filled as u64;
            }
        }
    });
    let piece = 1 << 20;
    for start in (0..bytes).step_by(piece) {
        let words = start / 8..(start + piece as u64).min(bytes) / 8;
        send.write_all(&words.flat_map(word).collect::<Vec<_>>()).await.unwrap();
    }
    assert_eq!(send.written(), bytes);
    send.finish().unwrap();
    send.delivered().await.unwrap();
    assert_eq!(reader.await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_arrive_intact() {
    soon(bulk(Pair::new().await, 64 << 20)).await;
}

#[tokio::test]
async fn large_packets_and_one_thread_do_as_well() {
    let mut config = config();
    config.packet_size = 8900;
    soon(bulk(Pair::with(config.clone(), config).await, 16 << 20)).await;
}

#[tokio::test]
async fn the_loopback_interface_is_found_to_carry_large_packets() {
    let mut config = config();
    config.mtu_discovery.max = 16_000;
    let pair = Pair::with(config.clone(), config).await;
    let dialled = pair.dialled.clone();
    soon(bulk(pair, 16 << 20)).await;
    let path = dialled.path().unwrap();
    assert!(path.mtu > 1200 && path.mtu_probes_sent > 0, "{path:?}");
}

#[tokio::test]
async fn the_halves_of_a_stream_are_async_read_and_write() {
    let pair = Pair::new().await;
    let server = tokio::spawn(async move {
        let (mut send, mut recv) = pair.accepted.accept_bi().await.unwrap();
        tokio::io::copy(&mut recv, &mut send).await.unwrap();
        send.shutdown().await.unwrap();
        send.delivered().await.unwrap();
    });
    let (mut send, mut recv) = pair.dialled.open_bi().await.unwrap();
    let sent = pattern(100_000);
    let writer = async {
        send.write_all(&sent).await.unwrap();
        send.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = soon(async { tokio::join!(writer, recv.read_to_end(100_000)) }).await;
    received.extend(read.unwrap());
    assert!(received == sent);
    let mut more = [0; 1];
    assert_eq!(AsyncReadExt::read(&mut recv, &mut more).await.unwrap(), 0, "the end stays the end");
    soon(server).await.unwrap();
}

#[tokio::test]
async fn datagrams_arrive_whole() {
    let pair = Pair::new().await;
    let max = pair.dialled.max_datagram().unwrap();
    assert!(max > 1100);
    let large = pattern(max);
    let both = [b"small".to_vec(), large.clone()].map(Bytes::from);
    let mut arrived = Vec::new();
    // Either may get lost.
    for _ in 0..TRIES {
        pair.dialled.send_datagram(b"small").unwrap();
        pair.dialled.send_datagram_wait(&large).await.unwrap();
        one_way(&pair).await;
        while let Some(datagram) = poll_once(pin!(pair.accepted.read_datagram())).await {
            arrived.push(datagram.unwrap());
        }
        if arrived.ends_with(&both) {
            break;
        }
    }
    assert!(arrived.ends_with(&both), "{arrived:?}");
    let too_large = vec![0; max + 1];
    assert_eq!(pair.dialled.send_datagram(&too_large), Err(dunlin_tokio::DatagramError::TooLarge { max }));
}

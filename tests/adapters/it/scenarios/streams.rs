//! Bytes arrive as they were written.

use dunlin_core::ErrorCode;
use sha2::{Digest, Sha256};
use tokio::join;

use super::{LinkOf, Pair, TRIES, any, config, meet, pattern};
use crate::adapter::{Adapter, Fault, Link, RecvHalf, SendHalf};

/// Sends back what comes, until its end.
async fn echo(mut send: impl SendHalf, mut recv: impl RecvHalf) {
    let mut piece = vec![0; 64 << 10];
    loop {
        match recv.read(&mut piece).await.unwrap() {
            0 => break,
            read => send.write_all(&piece[..read]).await.unwrap(),
        }
    }
    send.finish().unwrap();
}

pub(crate) async fn a_bulk_echo_has_the_same_hash<A: Adapter>(adapter: A) {
    const PIECES: u64 = 16;
    let pair = Pair::new(&adapter).await;
    let (mut send, mut recv) = pair.dialled.open_bi().await.unwrap();
    let writing = async {
        let mut hash = Sha256::new();
        for number in 0..PIECES {
            let piece = pattern(number, 1 << 20);
            hash.update(&piece);
            send.write_all(&piece).await.unwrap();
        }
        send.finish().unwrap();
        hash.finalize()
    };
    let reading = async {
        let (mut hash, mut piece) = (Sha256::new(), vec![0; 64 << 10]);
        loop {
            match recv.read(&mut piece).await.unwrap() {
                0 => return hash.finalize(),
                read => hash.update(&piece[..read]),
            }
        }
    };
    let answering = async {
        let (send, recv) = pair.accepted.accept_bi().await.unwrap();
        echo(send, recv).await;
    };
    let (written, read, ()) = join!(writing, reading, answering);
    assert_eq!(written, read);
}

pub(crate) async fn many_streams_do_not_mix<A: Adapter>(adapter: A) {
    /// More than may be open at once.
    const STREAMS: u64 = 300;
    // All echoes together fit into the credit that a connection begins with: they are read when all was asked.
    let size = |number: u64| number as usize % 100;
    let pair = Pair::new(&adapter).await;
    let asking = async {
        let mut open = Vec::new();
        for number in 0..STREAMS {
            let (mut send, recv) = pair.dialled.open_bi().await.unwrap();
            send.write_all(&pattern(number, size(number))).await.unwrap();
            send.finish().unwrap();
            open.push((send, recv));
        }
        for (number, (_, recv)) in (0..).zip(&mut open) {
            assert!(recv.read_to_end().await.unwrap() == pattern(number, size(number)), "stream {number}");
        }
    };
    let answering = async {
        for _ in 0..STREAMS {
            let (send, recv) = pair.accepted.accept_bi().await.unwrap();
            echo(send, recv).await;
        }
    };
    // The other way, at the same time.
    let telling = async {
        for number in 0..STREAMS {
            let mut send = pair.accepted.open_uni().await.unwrap();
            send.write_all(&pattern(number, 100)).await.unwrap();
            send.finish().unwrap();
        }
    };
    let listening = async {
        for number in 0..STREAMS {
            let mut recv = pair.dialled.accept_uni().await.unwrap();
            assert!(recv.read_to_end().await.unwrap() == pattern(number, 100), "stream {number}");
        }
    };
    join!(asking, answering, telling, listening);
}

pub(crate) async fn a_half_that_is_finished_leaves_the_other_open<A: Adapter>(adapter: A) {
    let pair = Pair::new(&adapter).await;
    let (mut send, mut recv) = pair.dialled.open_bi().await.unwrap();
    send.write_all(b"question").await.unwrap();
    send.finish().unwrap();
    let (mut their_send, mut their_recv) = pair.accepted.accept_bi().await.unwrap();
    assert_eq!(their_recv.read_to_end().await.unwrap(), b"question");
    send.delivered().await.unwrap();
    for part in [b"in", b"ma", b"ny"] {
        their_send.write_all(part).await.unwrap();
        let mut read = [0; 2];
        recv.read(&mut read).await.unwrap();
    }
    their_send.finish().unwrap();
    let mut more = [0; 1];
    while recv.read(&mut more).await.unwrap() > 0 {}
    their_send.delivered().await.unwrap();
}

pub(crate) async fn resets_and_stops_carry_their_codes<A: Adapter>(adapter: A) {
    let pair = Pair::new(&adapter).await;
    let (mut send, mut recv) = pair.dialled.open_bi().await.unwrap();
    let (mut their_send, mut their_recv) = pair.accepted.accept_bi().await.unwrap();
    send.reset(ErrorCode::from(7)).unwrap();
    assert_eq!(their_recv.read_to_end().await, Err(Fault::Reset(7.into())));
    recv.stop(ErrorCode::from(9));
    let refused = loop {
        // Until the peer's wish has arrived.
        match their_send.write_all(&[0; 1 << 10]).await {
            Ok(()) => {}
            Err(fault) => break fault,
        }
    };
    assert_eq!(refused, Fault::Stopped(9.into()));
}

/// Has a few bytes go from the dialler's end to the other, after whatever was sent before.
async fn one_way<A: Adapter>(pair: &Pair<A>) {
    let mut send = pair.dialled.open_uni().await.unwrap();
    send.write_all(b"still here").await.unwrap();
    send.finish().unwrap();
    let mut recv = pair.accepted.accept_uni().await.unwrap();
    assert_eq!(recv.read_to_end().await.unwrap(), b"still here");
}

pub(crate) async fn datagrams_arrive_whole<A: Adapter>(adapter: A) {
    let pair = Pair::new(&adapter).await;
    let large = pattern(0, pair.dialled.max_datagram().unwrap());
    assert!(large.len() > 1_100);
    let mut arrived = Vec::new();
    // Either may get lost.
    for _ in 0..TRIES {
        pair.dialled.send_datagram(b"small").unwrap();
        pair.dialled.send_datagram(&large).unwrap();
        one_way(&pair).await;
        arrived.extend(core::iter::from_fn(|| pair.accepted.read_datagram()));
        if arrived.ends_with(&[b"small".to_vec(), large.clone()]) {
            return;
        }
    }
    panic!("{} datagrams, but not one of each in a row", arrived.len());
}

pub(crate) async fn several_connections_share_an_endpoint<A: Adapter>(adapter: A) {
    let server = adapter.bind(any(), 100, config());
    let mut clients = Vec::new();
    for number in 0..6 {
        let client = adapter.bind(any(), number, config());
        let (here, there) = meet::<A>(&client, &server).await;
        clients.push((client, here, there));
    }
    // Who was dialled may dial.
    let (here, there) = meet::<A>(&server, &clients[0].0).await;
    check::<A>(&here, &there, 50).await;
    for (number, (_, here, there)) in (0..).zip(&clients) {
        check::<A>(here, there, number).await;
        check::<A>(there, here, number + 10).await;
    }
    // One of them leaves, the others stay.
    clients[1].1.close(0.into(), b"");
    clients[1].2.closed().await;
    check::<A>(&clients[2].1, &clients[2].2, 60).await;
}

/// Sends something that no other connection has.
async fn check<A: Adapter>(from: &LinkOf<A>, to: &LinkOf<A>, number: u64) {
    let mut send = from.open_uni().await.unwrap();
    send.write_all(&pattern(number, 5_000)).await.unwrap();
    send.finish().unwrap();
    let mut recv = to.accept_uni().await.unwrap();
    assert!(recv.read_to_end().await.unwrap() == pattern(number, 5_000));
}

//! Small things on one connection.

use std::sync::Arc;
use std::time::Instant;

use super::{Client, DATAGRAM, PING, REQUEST, REQUESTS, join, read_number};
use crate::pattern::{self, Check};
use crate::process::Meter;
use crate::sample::Sample;
use crate::stack::{Connection, RecvHalf, SendHalf, Stack};

/// One ping after the other.
pub(super) async fn ping_pong<S: Stack>(client: Client, dialer: &S::Dialer) -> Sample {
    let connection = S::dial(dialer).await;
    let (mut send, mut recv) = connection.open().await;
    ping(&mut send, &mut recv, 0).await;
    let meter = Meter::start(client.ends);
    let deadline = client.deadline();
    let mut times = Vec::new();
    let mut before = Instant::now();
    while before < deadline {
        ping(&mut send, &mut recv, times.len() as u64).await;
        let now = Instant::now();
        times.push((now - before).as_nanos() as u64);
        before = now;
    }
    Sample::new(meter, times.len() as u64).with_times(times)
}

/// Bytes there and back.
pub(super) async fn ping(send: &mut impl SendHalf, recv: &mut impl RecvHalf, offset: u64) {
    send.write(pattern::at(offset, PING)).await.expect("an open stream");
    let mut check = Check::from(offset);
    while check.offset() < offset + PING as u64 {
        check.take(recv.read().await.expect("an answer"));
    }
}

/// Requests on streams of their own, some at a time.
pub(super) async fn requests<S: Stack>(client: Client, dialer: &S::Dialer) -> Sample {
    let connection = Arc::new(S::dial(dialer).await);
    let meter = Meter::start(client.ends);
    let deadline = client.deadline();
    let asking = |_| tokio::spawn(requests_in_turn(Arc::clone(&connection), deadline));
    let times = join((0..REQUESTS).map(asking).collect()).await.concat();
    Sample::new(meter, times.len() as u64).with_times(times)
}

async fn requests_in_turn(connection: Arc<impl Connection>, deadline: Instant) -> Vec<u64> {
    let mut times = Vec::new();
    let mut before = Instant::now();
    while before < deadline {
        let (mut send, mut recv) = connection.open().await;
        send.write(pattern::at(0, REQUEST)).await.expect("an open stream");
        send.finish().await.expect("an open stream");
        let mut check = Check::default();
        while let Some(piece) = recv.read().await {
            check.take(piece);
        }
        assert_eq!(check.offset(), REQUEST as u64, "an answer of another length");
        let now = Instant::now();
        times.push((now - before).as_nanos() as u64);
        before = now;
    }
    times
}

/// Datagrams, as many as are taken; the server says how many arrived.
pub(super) async fn datagrams<S: Stack>(client: Client, dialer: &S::Dialer) -> Sample {
    let connection = S::dial(dialer).await;
    let (mut send, mut recv) = connection.open().await;
    let meter = Meter::start(client.ends);
    let deadline = client.deadline();
    let mut sent = 0;
    let mut datagram = [0; DATAGRAM];
    while Instant::now() < deadline {
        for _ in 0..16 {
            fill_datagram(&mut datagram, sent);
            connection.send_datagram(&datagram).await;
            sent += 1;
        }
        // A queue that takes everything would keep the driver from its work.
        tokio::task::yield_now().await;
    }
    send.write(&sent.to_be_bytes()).await.expect("an open stream");
    send.finish().await.expect("an open stream");
    let arrived = read_number(&mut recv).await.expect("a number");
    assert!(arrived <= sent, "more arrived than were sent");
    Sample::new(meter, arrived)
}

/// A datagram is its number, and the data from there on.
pub(crate) fn fill_datagram(datagram: &mut [u8; DATAGRAM], number: u64) {
    let (head, tail) = datagram.split_at_mut(size_of::<u64>());
    head.copy_from_slice(&number.to_be_bytes());
    tail.copy_from_slice(pattern::at(number, tail.len()));
}

/// Whether a datagram is one that was sent.
pub(crate) fn is_datagram(datagram: &[u8]) -> bool {
    datagram.len() == DATAGRAM
        && datagram
            .split_first_chunk()
            .is_some_and(|(number, tail)| tail == pattern::at(u64::from_be_bytes(*number), tail.len()))
}

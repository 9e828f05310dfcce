//! Many connections.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use super::exchange::ping;
use super::{Client, DIALS, IDLE, MANY, MESSAGE, join, read_number};
use crate::pattern;
use crate::process::Meter;
use crate::sample::Sample;
use crate::stack::{Connection, SendHalf, Stack};

/// Connections that are made, tried and closed, some at a time.
pub(super) async fn handshakes<S: Stack>(client: Client, dialer: &Arc<S::Dialer>, in_flight: u8) -> Sample {
    greet::<S>(dialer).await;
    let meter = Meter::start(client.ends);
    let deadline = client.deadline();
    let dialling = |_| tokio::spawn(handshakes_in_turn::<S>(Arc::clone(dialer), deadline));
    let times = join((0..in_flight).map(dialling).collect()).await.concat();
    Sample::new(meter, times.len() as u64).with_times(times)
}

async fn handshakes_in_turn<S: Stack>(dialer: Arc<S::Dialer>, deadline: Instant) -> Vec<u64> {
    let mut times = Vec::new();
    loop {
        let before = Instant::now();
        if before >= deadline {
            return times;
        }
        let connection = greet::<S>(&dialer).await;
        times.push(before.elapsed().as_nanos() as u64);
        connection.close();
    }
}

/// A new connection that has carried something there and back.
async fn greet<S: Stack>(dialer: &S::Dialer) -> S::Connection {
    let connection = S::dial(dialer).await;
    let (mut send, mut recv) = connection.open().await;
    ping(&mut send, &mut recv, 0).await;
    send.finish().await.expect("an open stream");
    connection
}

/// So many connections, dialled some at a time.
async fn dial_all<S: Stack>(dialer: &Arc<S::Dialer>, count: usize) -> Vec<S::Connection> {
    let dialling = |part: usize| {
        let dialer = Arc::clone(dialer);
        tokio::spawn(async move {
            let mut connections = Vec::new();
            for _ in (part..count).step_by(DIALS) {
                connections.push(S::dial(&dialer).await);
            }
            connections
        })
    };
    join((0..DIALS).map(dialling).collect()).await.into_iter().flatten().collect()
}

/// Messages on all of them.
pub(super) async fn many<S: Stack>(client: Client, dialer: &Arc<S::Dialer>) -> Sample {
    let connections = dial_all::<S>(dialer, MANY).await;
    let meter = Meter::start(client.ends);
    let deadline = client.deadline();
    let tasks = connections.into_iter().map(|connection| tokio::spawn(messages(connection, deadline)));
    let messages = join(tasks.collect()).await.iter().sum();
    Sample::new(meter, messages)
}

async fn messages(connection: impl Connection, deadline: Instant) -> u64 {
    let (mut send, mut recv) = connection.open().await;
    let mut sent = 0;
    while Instant::now() < deadline {
        send.write(pattern::at(sent * MESSAGE as u64, MESSAGE)).await.expect("an open stream");
        sent += 1;
    }
    send.finish().await.expect("an open stream");
    assert_eq!(read_number(&mut recv).await, Some(sent * MESSAGE as u64), "the server has something else");
    sent
}

/// How long connections are left alone before memory is looked at.
const REST: Duration = Duration::from_secs(1);

/// What both processes grow by when connections are made that carried something once.
pub(super) async fn idle<S: Stack>(client: Client, dialer: &Arc<S::Dialer>) -> Sample {
    // The first ones pay for what all share.
    let first = dial_and_greet::<S>(dialer, DIALS).await;
    tokio::time::sleep(REST).await;
    let before = client.ends.resident();
    let meter = Meter::start(client.ends);
    let connections = dial_and_greet::<S>(dialer, IDLE).await;
    let sample = Sample::new(meter, IDLE as u64);
    tokio::time::sleep(REST).await;
    let after = client.ends.resident();
    drop((first, connections));
    Sample { growth: Some([0, 1].map(|end| after[end] as f64 - before[end] as f64)), ..sample }
}

async fn dial_and_greet<S: Stack>(dialer: &Arc<S::Dialer>, count: usize) -> Vec<S::Connection> {
    let connections = dial_all::<S>(dialer, count).await;
    for connection in &connections {
        let (mut send, mut recv) = connection.open().await;
        ping(&mut send, &mut recv, 0).await;
        send.finish().await.expect("an open stream");
    }
    connections
}

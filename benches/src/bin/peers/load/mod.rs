//! The scenarios, written once for all stacks with an asynchronous API: the client's side here, the server's in `serve`.

mod bulk;
mod connections;
mod exchange;
pub(crate) mod serve;

pub(crate) use exchange::{fill_datagram, is_datagram};

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use crate::grid::{Load, Way};
use crate::process::Ends;
use crate::sample::Sample;
use crate::setup::{Contact, Setup};
use crate::stack::{RecvHalf, Stack};

/// Bytes of a ping.
pub(crate) const PING: usize = 64;
/// Bytes of a request, and of its answer.
pub(crate) const REQUEST: usize = 1 << 10;
/// Requests at a time.
pub(crate) const REQUESTS: usize = 100;
/// Bytes of a datagram.
pub(crate) const DATAGRAM: usize = 1200;
/// Bytes of a message.
pub(crate) const MESSAGE: usize = 200;
/// Connections that carry messages.
pub(crate) const MANY: usize = 500;
/// Connections that do nothing.
pub(crate) const IDLE: usize = 2000;
/// Dials at a time where many connections are needed.
pub(crate) const DIALS: usize = 32;

/// What the client of a run knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) setup: Setup,
    pub(crate) ends: Ends,
}

impl Client {
    /// When it is enough, from now.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.setup.time
    }
}

/// Runs the client's side of a scenario.
pub(crate) async fn run<S: Stack>(client: Client, contact: Contact) -> Sample {
    // It lives as long as this run: with it, connections would end.
    let dialer = Arc::new(S::dialer(&client.setup, &contact));
    match client.setup.scenario.load {
        Load::Bulk { streams, way: Way::Up } => bulk::upload::<S>(client, &dialer, streams).await,
        Load::Bulk { streams, way: Way::Down } => bulk::download::<S>(client, &dialer, streams).await,
        Load::PingPong => exchange::ping_pong::<S>(client, &dialer).await,
        Load::Requests => exchange::requests::<S>(client, &dialer).await,
        Load::Datagrams => exchange::datagrams::<S>(client, &dialer).await,
        Load::Handshakes { in_flight } => connections::handshakes::<S>(client, &dialer, in_flight).await,
        Load::Many => connections::many::<S>(client, &dialer).await,
        Load::Idle => connections::idle::<S>(client, &dialer).await,
    }
}

/// Reads a number of eight bytes, and the end of the stream.
async fn read_number(stream: &mut impl RecvHalf) -> Option<u64> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.read().await {
        bytes.extend_from_slice(piece);
    }
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// The time as a number on the wire.
fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

/// All that some tasks return.
async fn join<T: Send + 'static>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.expect("no task panics"));
    }
    results
}

//! Live runs against another implementation of QOTP: `DUNLIN_QOTP_PEER=PROGRAM cargo test --test qotp_interop`.
//!
//! The program speaks QOTP v0.2.19 and takes
//!
//! - `server --addr A --seed S`: echoes every stream, and ends its half when the end of the other has come;
//! - `sink --addr A --seed S`: counts and hashes;
//! - `client --addr A [--pubkey HEX] --bytes N --streams K [--sink]`: sends on streams 0 to K - 1, checks what comes back
//!   unless it was told that nothing does, and prints one JSON object.
//!
//! The first two print JSON lines: their `addr` and `pubkey` first, then one with the event `stream_end`, with `stream`,
//! `bytes` and `sha256`, for each stream. Without the variable the tests say so and pass.
//!
//! A table of what happened: `-- --nocapture`.

mod data;
mod ours;
mod theirs;

use core::future::Future;
use core::time::Duration;
use std::io::{self, Write};
use std::path::PathBuf;

use dunlin_tokio::{Config, ConnectionStats, Endpoint, Identity};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

const VARIABLE: &str = "DUNLIN_QOTP_PEER";

/// No run takes this long unless something hangs. A reference that only receives acknowledges 100 packets a second, which
/// makes two minutes of 16 MiB.
const TOO_LONG: Duration = Duration::from_secs(240);

/// One test at a time: the reference has to keep up with it.
static TURN: Mutex<()> = Mutex::const_new(());

/// The two flows of QOTP's handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    /// Keys in band: nothing goes with the first packet.
    InBand,
    /// The responder's key is known: data goes with the first packet.
    KnownKey,
}

/// What the side that answers does with the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Service {
    Echo,
    Sink,
}

/// One run.
#[derive(Clone, Copy, Debug)]
struct Run {
    service: Service,
    flow: Flow,
    /// On all streams together.
    bytes: usize,
    streams: u32,
}

impl Run {
    /// Both flows, 1 and 16 MiB, 1 and 4 streams.
    fn all(service: Service) -> impl Iterator<Item = Self> {
        let flows = [Flow::InBand, Flow::KnownKey].into_iter();
        let sizes = flows.flat_map(|flow| [1 << 20, 16 << 20].map(|bytes| (flow, bytes)));
        sizes.flat_map(move |(flow, bytes)| [1, 4].map(|streams| Self { service, flow, bytes, streams }))
    }

    /// How many bytes stream `number` carries.
    const fn share(&self, number: u32) -> usize {
        let (streams, number) = (self.streams as usize, number as usize);
        self.bytes / streams + if number < self.bytes % streams { 1 } else { 0 }
    }

    /// One line of the table.
    fn report(&self, role: &str, took: Duration, stats: &ConnectionStats, peer: &str) {
        let Self { service, flow, bytes, streams } = self;
        let (seconds, mib) = (took.as_secs_f64(), bytes >> 20);
        println!(
            "| {role} {service:?} | {flow:?} | {mib} MiB | {streams} | {seconds:.2} s | {:.2} MB/s | {} lost, {} spurious, \
             {} B again, {} PTO | {peer} |",
            *bytes as f64 / 1e6 / seconds,
            stats.packets_lost,
            stats.spurious_losses,
            stats.bytes_retransmitted,
            stats.probe_timeouts,
        );
    }
}

/// The peer program, where there is one.
fn peer() -> Option<PathBuf> {
    let program = std::env::var_os(VARIABLE).map(PathBuf::from);
    if program.is_none() {
        // Not by the macros, whose output a test that passes does not show.
        let line = format!("skipped: {VARIABLE} names no QOTP peer program\n");
        let _ = io::stderr().write_all(line.as_bytes());
    }
    program
}

/// Plays `run`, and fails instead of hanging.
async fn play<F: Future<Output = ()>>(run: Run, played: F) {
    tokio::time::timeout(TOO_LONG, played).await.unwrap_or_else(|_| panic!("{run:?} hangs"));
}

/// Plays every run of a service, one after the other, if there is a peer.
async fn in_turn<F: Future<Output = ()>>(service: Service, role: impl Fn(PathBuf, Run) -> F) {
    let Some(program) = peer() else { return };
    for run in Run::all(service) {
        let _turn = TURN.lock().await;
        play(run, role(program.clone(), run)).await;
    }
}

fn endpoint() -> Endpoint {
    let config = Config::default().accept_qotp(true);
    Endpoint::bind("127.0.0.1:0".parse().unwrap(), config, Identity::from_secret([1; 32])).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qotp_data_comes_back_from_a_foreign_server() {
    in_turn(Service::Echo, ours::dial).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qotp_data_arrives_at_a_foreign_sink() {
    let Some(program) = peer() else { return };
    let _turn = TURN.lock().await;
    // All at once: with 100 acknowledgements a second the reference has hardly anything to do.
    let mut runs = JoinSet::new();
    for run in Run::all(Service::Sink) {
        runs.spawn(play(run, ours::dial(program.clone(), run)));
    }
    runs.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_qotp_client_gets_its_data_back() {
    in_turn(Service::Echo, ours::answer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_qotp_client_delivers_its_data() {
    in_turn(Service::Sink, ours::answer).await;
}

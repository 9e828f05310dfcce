//! The client: puts load on a path, tells each second how it goes, and sums up.

use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use dunlin_tokio::{Connection, Endpoint};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::{Mode, PerfClientArgs, Remote};
use crate::failure::{Failure, Reported, note, say};
use crate::keyfile;
use crate::keylog::KeyLogFile;
use crate::net::{self, CLOSING, code};
use crate::paths::Paths;
use crate::qotp::{Speaks, Target};
use crate::report::Link;
use crate::signal;
use crate::text;

use super::load::{Load, stream};
use super::summary::Summary;
use super::{ALPN, MAX_PING, Wanted};

/// How long to measure if nothing is said.
const SECONDS: Duration = Duration::from_secs(10);

/// Bytes of a message if nothing is said.
const PING: u64 = 64;

/// How often a line is printed.
const LINES: Duration = Duration::from_secs(1);

/// Measures.
pub(crate) async fn run(args: PerfClientArgs) -> Result<Reported, Failure> {
    let mode = args.mode.mode();
    if mode == Mode::Ping && args.bytes.is_some_and(|bytes| bytes > MAX_PING) {
        return Err(Failure::usage("a message of --ping has at most 64 KiB: give --bytes 64K or less"));
    }
    let identity = match &args.key {
        Some(path) => keyfile::read(path)?,
        None => net::throwaway()?,
    };
    let speaks = Speaks::of(&args.wire)?;
    let target = speaks.target(args.peer.as_deref())?;
    let mut config = speaks.config(ALPN, args.packet_size, args.aead)?;
    config.selector = args.paths.policy.into();
    let keylog = KeyLogFile::open(args.keylog.file.as_deref())?;
    let endpoint = net::dialler(&args.paths.local, args.shards, config, identity, keylog)?;
    speaks.equip(&endpoint);
    let name = &Remote::names(&args.to);
    let connections = tokio::select! {
        connections = dial_all(&endpoint, &args, target) => connections?,
        () = signal::stopped() => return Err(Failure::failed("stopped before anything was measured")),
    };
    let load = Arc::new(Load::new());
    // Of an upload the server tells only now and then what has come.
    let arrived = (mode != Mode::Upload).then(|| Arc::clone(&load)).map(|load| move || load.amount());
    let paths = Paths::watch(&connections, arrived, |line| note(line));
    let begun = Instant::now();
    let outcome = tokio::select! {
        outcome = measure(&connections, &args, mode, &load) => {
            outcome.map_err(|error| Failure::failed(match connections.iter().find_map(Connection::close_reason) {
                Some(reason) => net::ended(&reason, name),
                None => format!("the measurement with {name} broke: {error}"),
            }))
        }
        () = signal::stopped() => Err(Failure::failed("stopped; the figures are those so far")),
    };
    let summary = Summary {
        mode,
        streams: streams(&args, &connections),
        shards: endpoint.shards(),
        amount: load.amount(),
        seconds: begun.elapsed(),
        times: load.all_times(),
        link: Link::of_all(&connections),
        crypto: net::crypto(&connections[0]),
        suite: net::suite(&connections[0]),
        outcome,
    };
    let mut closing = JoinSet::new();
    for connection in connections {
        closing.spawn(async move { connection.close_graceful(CLOSING, code::of(code::DONE), b"").await });
    }
    closing.join_all().await;
    net::shut(endpoint, code::DONE, "").await;
    let paths = paths.end().await;
    if args.json {
        let mut json = summary.json();
        paths.put_into(&mut json);
        say(json);
    } else {
        say(summary.text());
        paths.line().iter().for_each(say);
    }
    Ok(summary.outcome)
}

/// A connection for each shard: the endpoint deals out its dials.
async fn dial_all(
    endpoint: &Endpoint,
    args: &PerfClientArgs,
    target: Target,
) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::new();
    for _ in 0..endpoint.shards() {
        connections.push(net::dial(endpoint, &args.to, target, ALPN).await?);
    }
    Ok(connections)
}

/// How many streams there are.
fn streams(args: &PerfClientArgs, connections: &[Connection]) -> u64 {
    u64::from(args.streams) * connections.len() as u64
}

/// Runs all streams to their end, with a line each second.
async fn measure(
    connections: &[Connection],
    args: &PerfClientArgs,
    mode: Mode,
    load: &Arc<Load>,
) -> io::Result<()> {
    let bytes = if mode == Mode::Ping { None } else { args.bytes };
    let limit = match (args.seconds, bytes) {
        (None, None) => Some(SECONDS),
        (seconds, _) => seconds,
    };
    let deadline = limit.map(|limit| tokio::time::Instant::now() + limit);
    let (mut running, count) = (JoinSet::new(), streams(args, connections));
    for (number, connection) in (0..count).zip(connections.iter().cycle()) {
        let share = bytes.map_or(u64::MAX, |bytes| bytes / count + u64::from(number < bytes % count));
        let wanted = match mode {
            Mode::Upload => Wanted::Upload,
            Mode::Download => Wanted::Download { bytes: share },
            Mode::Ping => Wanted::Ping { size: args.bytes.unwrap_or(PING) as usize },
        };
        running.spawn(stream(connection.clone(), wanted, share, deadline, Arc::clone(load)));
    }
    let mut ticks = interval(LINES);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut lines = Lines { begun: Instant::now(), last: Instant::now(), before: 0, lost: 0 };
    loop {
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(ended) => ended.map_err(io::Error::other)??,
                None => return Ok(()),
            },
            _ = ticks.tick() => if !args.json {
                say(lines.next(mode, load, &Link::of_all(connections)));
            },
        }
    }
}

/// What the line of a second needs to know of the one before.
struct Lines {
    begun: Instant,
    last: Instant,
    before: u64,
    lost: u64,
}

impl Lines {
    fn next(&mut self, mode: Mode, load: &Load, link: &Link) -> String {
        let (now, amount, lost) = (Instant::now(), load.amount(), link.stats.packets_lost);
        let (passed, fresh, fresh_lost) =
            (now - self.last, amount.saturating_sub(self.before), lost.saturating_sub(self.lost));
        (self.last, self.before, self.lost) = (now, amount, lost);
        let second = (now - self.begun).as_secs_f64().round();
        let rest = format!("{}  lost {fresh_lost}", link.via_text());
        match mode {
            Mode::Upload | Mode::Download => format!("{second:>4} s  {}  {rest}", text::rate(fresh, passed)),
            Mode::Ping => {
                let times = load.take_times();
                let (mean, worst) = (text::time(times.mean()), text::time(times.percentile(99)));
                let rate = text::bytes_per_second(fresh, passed);
                format!("{second:>4} s  {rate:.0} round trips/s  mean {mean}  99 % {worst}  {rest}")
            }
        }
    }
}

//! A few short runs against figures that are kept in a file, so that a change of behaviour shows as a change of numbers.
//!
//! `DUNLIN_SNAPSHOT=write cargo test -p dunlin-benches snapshot` writes the file anew; the difference belongs into the
//! commit that makes it. (quinn's BBR cannot be in it: it takes randomness from the system.)

use core::fmt::Write as _;
use std::{env, fs};

use dunlin_sim::Duration;

use crate::outcome::{Outcome, outcome};
use crate::run::Peer;
use crate::scenario::{self, Scenario};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin/links/snapshot.txt");
const VARIABLE: &str = "DUNLIN_SNAPSHOT";

const CELLS: [&str; 7] = [
    "rate=1M,rtt=100ms,loss=1%,queue=1bdp,bytes=500k",
    "rate=10M,rtt=40ms,queue=4bdp,bytes=5M",
    "rate=10M,rtt=40ms,loss=5%,queue=1bdp,bytes=5M",
    "rate=10M,rtt=300ms,loss=0.1%,queue=0.5bdp,bytes=10M",
    "rate=100M,rtt=5ms,loss=1%,queue=1bdp,bytes=20M",
    "rate=100M,rtt=40ms,loss=5%,queue=1bdp,bytes=20M",
    "rate=100M,rtt=100ms,queue=0.5bdp,bytes=20M",
];

/// Cut to so many seconds.
const OTHERS: [(&str, u64); 7] = [
    ("bursts 0.5%", 2),
    ("policer 20M", 5),
    ("wifi", 4),
    ("two flows 10M 100ms", 30),
    ("app-limited 4M of 100M", 10),
    ("outage 0.5s", 9),
    ("outage 2s sink told", 11),
];

fn line(out: &mut String, outcome: &Outcome) {
    let _ = write!(
        out,
        "{}, {}: use {} half {} p50 {} p95 {} lost {} queue {} sent {} seconds {}",
        outcome.link,
        outcome.peer.name(),
        outcome.utilisation,
        outcome.utilisation_second_half,
        outcome.queue_p50_ms,
        outcome.queue_p95_ms,
        outcome.lost,
        outcome.lost_queue,
        outcome.packets_sent,
        outcome.seconds,
    );
    for (name, value) in &outcome.figures {
        let _ = write!(out, " {name} {value}");
    }
    out.push('\n');
}

#[test]
fn snapshot_of_the_links() {
    let mut now = String::new();
    for cell in CELLS {
        let scenario = Scenario::cell(cell.parse().expect("a cell"));
        line(&mut now, &outcome(&scenario, Peer::Dunlin, 1));
    }
    for (name, seconds) in OTHERS {
        let all = scenario::all();
        let scenario =
            all.into_iter().find(|scenario| scenario.name == name).expect("the name of a scenario");
        let cut = Scenario { limit: Duration::from_secs(seconds), ..scenario };
        line(&mut now, &outcome(&cut, Peer::Dunlin, 1));
    }
    let cubic = Scenario::cell("rate=10M,rtt=40ms,queue=1bdp,bytes=5M".parse().expect("a cell"));
    line(&mut now, &outcome(&cubic, Peer::QuinnCubic, 1));
    if env::var(VARIABLE).is_ok_and(|value| value == "write") {
        return fs::write(FILE, now).expect("the file can be written");
    }
    let kept = fs::read_to_string(FILE).unwrap_or_default();
    let changed: Vec<_> = now.lines().filter(|line| !kept.lines().any(|kept| kept == *line)).collect();
    assert!(
        now == kept,
        "figures have changed; if that is wanted, write them anew with {VARIABLE}=write.\n{}",
        changed.join("\n")
    );
}

#[test]
fn quinns_bbr_runs_too() {
    let cell = Scenario::cell("rate=10M,rtt=40ms,queue=1bdp,bytes=5M".parse().expect("a cell"));
    let outcome = outcome(&cell, Peer::QuinnBbr, 1);
    assert!(outcome.complete && outcome.utilisation > 0.8, "{outcome:?}");
}

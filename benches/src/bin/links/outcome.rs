//! The figures of one run, as they are printed.

use std::collections::BTreeMap;

use dunlin_sim::{Duration, Instant};
use serde::Serialize;

use crate::figures;
use crate::measure;
use crate::readers;
use crate::run::{Peer, Run, run};
use crate::scenario::{Kind, Scenario};

/// See the module's documentation. Shares are of 1.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Outcome {
    /// The scenario.
    pub(crate) link: String,
    #[serde(serialize_with = "name")]
    pub(crate) peer: Peer,
    pub(crate) seed: u64,
    /// Data that applications read, of what the bottleneck could carry.
    pub(crate) utilisation: f64,
    /// The same from half of the time on.
    pub(crate) utilisation_second_half: f64,
    /// How long the queue was, in the time that it added: for half of the time it was shorter.
    pub(crate) queue_p50_ms: f64,
    /// The same for 95 % of the time.
    pub(crate) queue_p95_ms: f64,
    /// Datagrams that the link lost, of those that were sent.
    pub(crate) lost: f64,
    /// Of these, those that its queue had no room for, or its policer no token.
    pub(crate) lost_queue: f64,
    pub(crate) packets_sent: u64,
    pub(crate) packets_lost: u64,
    /// Until 90 % of what the link delivers was used, over two round trips and at least 100 ms.
    pub(crate) time_to_90_ms: Option<f64>,
    /// Data that applications read.
    pub(crate) bytes: u64,
    /// Virtual time from the dial to the last byte.
    pub(crate) seconds: f64,
    /// Whether everything arrived before patience ended; always, where there is no end.
    pub(crate) complete: bool,
    /// What is of interest in this scenario only.
    #[serde(flatten)]
    pub(crate) figures: BTreeMap<&'static str, f64>,
}

fn name<S: serde::Serializer>(peer: &Peer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(peer.name())
}

/// Runs a scenario.
pub(crate) fn outcome(scenario: &Scenario, peer: Peer, seed: u64) -> Outcome {
    if scenario.kind == Kind::SlowReaders {
        return readers::outcome(scenario, seed);
    }
    let run = run(&scenario.setup(peer, seed));
    let mut outcome = describe(&run, scenario, peer, seed);
    outcome.figures = figures::figures(&run, scenario);
    outcome
}

/// The figures that all scenarios have.
pub(crate) fn describe(run: &Run, scenario: &Scenario, peer: Peer, seed: u64) -> Outcome {
    let capacity = &scenario.link.capacity;
    // A run that did not end is measured to its limit: it stalled, or was too slow.
    let ended = run.arrived.iter().all(|flow| flow.ended);
    let last = run.arrived.iter().map(|flow| flow.last).max().unwrap_or(Instant::ZERO);
    let end = if ended { last } else { run.end };
    let half = Instant::from_nanos(end.as_nanos() / 2);
    let stats = &run.forward;
    let (lost_queue, lost_wire) = measure::lost(stats);
    let window = (scenario.link.rtt * 2).max(Duration::from_millis(100));
    let share = 0.9 * scenario.link.delivers;
    let queue = |percent| round(millis(stats.queueing.percentile(percent)), 3);
    Outcome {
        link: scenario.name.clone(),
        peer,
        seed,
        utilisation: round(measure::utilisation(run, capacity, Instant::ZERO, end), 4),
        utilisation_second_half: round(measure::utilisation(run, capacity, half, end), 4),
        queue_p50_ms: queue(50),
        queue_p95_ms: queue(95),
        lost: round(lost_queue + lost_wire, 5),
        lost_queue: round(lost_queue, 5),
        packets_sent: stats.sent.packets,
        packets_lost: stats.sent.packets - stats.delivered.packets,
        time_to_90_ms: measure::time_to(run, capacity, Instant::ZERO, window, share)
            .map(|time| round(millis(time), 0)),
        bytes: run.arrived.iter().map(|flow| flow.bytes).sum(),
        seconds: round(measure::seconds(end), 3),
        complete: ended || !scenario.has_end(),
        figures: BTreeMap::new(),
    }
}

/// Milliseconds.
pub(crate) fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// Rounded to so many decimal places, for print.
pub(crate) fn round(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round() / scale
}

//! Figures from a run.

use dunlin_sim::{Duration, Instant, LinkStats};

use crate::link::Capacity;
use crate::run::{Run, Sample};

/// Bytes that the applications of all flows had read by `at`. Between samples it is a straight line.
pub(crate) fn arrived(samples: &[Sample], at: Instant, flows: impl Fn(&[u64]) -> u64) -> f64 {
    let after = samples.partition_point(|sample| sample.at < at);
    let get = |index: usize| samples.get(index).map(|sample| (sample.at, flows(&sample.arrived) as f64));
    let (from, until) = (after.checked_sub(1).and_then(get).unwrap_or((Instant::ZERO, 0.0)), get(after));
    let Some(until) = until else { return from.1 };
    let (part, whole) = (seconds_between(from.0, at), seconds_between(from.0, until.0));
    if whole > 0.0 { from.1 + (until.1 - from.1) * (part / whole) } else { until.1 }
}

/// The share of the link's capacity from `from` to `to` that became data of an application.
pub(crate) fn utilisation(run: &Run, capacity: &Capacity, from: Instant, to: Instant) -> f64 {
    let all = |arrived: &[u64]| arrived.iter().sum();
    let bytes = arrived(&run.samples, to, all) - arrived(&run.samples, from, all);
    let bits = capacity.bits(to) - capacity.bits(from);
    if bits > 0.0 { bytes * 8.0 / bits } else { 0.0 }
}

/// When the data that arrived within the `span` before was first `share` of what the link carries in it, counted from
/// `from`; never, where nothing arrives.
pub(crate) fn time_to(
    run: &Run,
    capacity: &Capacity,
    from: Instant,
    span: Duration,
    share: f64,
) -> Option<Duration> {
    let reached = |at: &Instant| {
        let used = || utilisation(run, capacity, *at - span, *at);
        *at >= from + span && share > 0.0 && used() >= share
    };
    run.samples.iter().map(|sample| sample.at).find(reached).map(|at| at - from)
}

/// Of what was sent into a link, the shares that its full queue, or a policer, dropped and that died on the wire.
pub(crate) fn lost(stats: &LinkStats) -> (f64, f64) {
    let of = |packets: u64| packets as f64 / stats.sent.packets.max(1) as f64;
    (of(stats.dropped_queue.packets + stats.dropped_policer.packets), of(stats.dropped_loss.packets))
}

/// Seconds since the beginning.
pub(crate) fn seconds(at: Instant) -> f64 {
    seconds_between(Instant::ZERO, at)
}

fn seconds_between(from: Instant, to: Instant) -> f64 {
    (to - from).as_secs_f64()
}

//! What some scenarios look at beside utilisation, queue and loss.

use std::collections::BTreeMap;

use dunlin_sim::{Duration, Instant};

use crate::measure;
use crate::outcome::{millis, round};
use crate::run::{Change, Run};
use crate::scenario::{AFTER, First, Kind, SECOND, STEP, Scenario, UP_STEP};

/// Flows have so long to find their shares.
const SETTLING: Duration = Duration::from_secs(20);
/// After an outage a flow may take so long to be at speed again.
const RECOVERY: Duration = Duration::from_secs(3);

pub(crate) fn figures(run: &Run, scenario: &Scenario) -> BTreeMap<&'static str, f64> {
    match scenario.kind {
        Kind::Plain | Kind::SlowReaders => BTreeMap::new(),
        Kind::Shared | Kind::AgainstCubic(First::Peer | First::Cubic) => sharing(run),
        Kind::Steps => steps(run, scenario),
        Kind::Outage(_) => outage(run, scenario),
        Kind::Sender => sender(run),
    }
}

/// The first flow's share, and Jain's index of both (Jain, Chiu, Hawe, DEC-TR-301, 1984), from 20 s after the second
/// began.
fn sharing(run: &Run) -> BTreeMap<&'static str, f64> {
    let from = Instant::ZERO + SECOND + SETTLING;
    let [a, b] = [0, 1].map(|flow| {
        let one = |arrived: &[u64]| arrived[flow];
        measure::arrived(&run.samples, run.end, one) - measure::arrived(&run.samples, from, one)
    });
    let sum = (a + b).max(1.0);
    let jain = (a + b).powi(2) / (2.0 * (a * a + b * b)).max(1.0);
    BTreeMap::from([("share", round(a / sum, 4)), ("fairness", round(jain, 4))])
}

/// How long the queue needs to drain after the step down, to one round trip's worth at the new rate for at least ten
/// round trips, and how long it takes to use 90 % after the step up; both in round trips.
fn steps(run: &Run, scenario: &Scenario) -> BTreeMap<&'static str, f64> {
    let rtt = scenario.link.rtt;
    let (down, up) = (Instant::ZERO + STEP, Instant::ZERO + UP_STEP);
    let mut figures = BTreeMap::new();
    let after: Vec<_> = run.samples.iter().filter(|sample| (down..up).contains(&sample.at)).collect();
    let short = |at: Instant| {
        let mut next = after.iter().filter(|sample| (at..at + rtt * 10).contains(&sample.at));
        at + rtt * 10 <= up && next.all(|sample| sample.queueing <= rtt)
    };
    // It is short at the step itself, and gets long within a round trip.
    let drained = after.iter().find(|sample| sample.at >= down + rtt * 2 && short(sample.at));
    let trips = |span: Duration| round(span.as_secs_f64() / rtt.as_secs_f64(), 1);
    if let Some(sample) = drained {
        figures.insert("drained_rtts", trips(sample.at - down));
    }
    let window = (rtt * 2).max(Duration::from_millis(100));
    if let Some(span) = measure::time_to(run, &scenario.link.capacity, up, window, 0.9) {
        figures.insert("used_rtts", trips(span));
    }
    figures
}

/// How long the first byte takes when the link is back, the longest pause in the time after, and how well the link was
/// used from three seconds on.
fn outage(run: &Run, scenario: &Scenario) -> BTreeMap<&'static str, f64> {
    let back = scenario.changes.iter().find(|(_, change)| *change == Change::Up);
    let Some((back, _)) = back else { return BTreeMap::new() };
    let back = Instant::ZERO + *back;
    let mut figures = BTreeMap::new();
    let total = |arrived: &[u64]| -> u64 { arrived.iter().sum() };
    let before = measure::arrived(&run.samples, back, total) as u64;
    let mut grown = Vec::new();
    let mut bytes = before;
    for sample in run.samples.iter().filter(|sample| sample.at > back) {
        if total(&sample.arrived) > bytes {
            bytes = total(&sample.arrived);
            grown.push(sample.at);
        }
    }
    let Some(first) = grown.first() else { return figures };
    figures.insert("resumed_ms", round(millis(*first - back), 0));
    grown.push(run.end);
    let pause = grown.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(AFTER);
    figures.insert("longest_pause_ms", round(millis(pause), 0));
    let after = measure::utilisation(run, &scenario.link.capacity, back + RECOVERY, run.end);
    figures.insert("utilisation_after", round(after, 4));
    figures
}

/// The window's largest value in the first and in the second half, and the smallest and the largest packet size in the
/// second half.
fn sender(run: &Run) -> BTreeMap<&'static str, f64> {
    let half = Instant::from_nanos(run.end.as_nanos() / 2);
    let gauges = |early: bool| {
        let samples = run.samples.iter().filter(move |sample| (sample.at <= half) == early);
        samples.filter_map(|sample| *sample.gauges.first()?)
    };
    let window = |early| gauges(early).map(|gauges| gauges.window).max().unwrap_or(0) as f64;
    let sizes = || gauges(false).map(|gauges| gauges.packet_size);
    BTreeMap::from([
        ("window_first_half", window(true)),
        ("window_second_half", window(false)),
        ("packet_size_min", f64::from(sizes().min().unwrap_or(0))),
        ("packet_size_max", f64::from(sizes().max().unwrap_or(0))),
    ])
}

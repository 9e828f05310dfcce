//! What dunlin is to reach in the suite, and whether it does.

use serde::Serialize;

use dunlin_sim::Ppm;

use crate::cell::Cell;
use crate::outcome::Outcome;
use crate::run::{End, Peer};
use crate::scenario::{OUTAGES, REPEATS, outage_name, repeat_name};
use crate::suite::Results;
use crate::units::QueueSize;

/// How many of the cells that miss a target are named.
const NAMED: usize = 4;

/// A target.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    /// What was measured.
    pub(crate) figure: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Holds,
    Fails,
    /// What it needs was not run.
    NotRun,
}

impl Target {
    fn new(name: &'static str, holds: bool, figure: String) -> Self {
        let verdict = if holds { Verdict::Holds } else { Verdict::Fails };
        Self { name, verdict, figure }
    }

    fn not_run(name: &'static str) -> Self {
        Self { name, verdict: Verdict::NotRun, figure: String::new() }
    }

    /// A line of the list.
    pub(crate) fn line(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Holds => "holds",
            Verdict::Fails => "FAILS",
            Verdict::NotRun => "not run",
        };
        format!("{verdict:<8} {:<62} {}", self.name, self.figure)
    }
}

/// All targets.
pub(crate) fn targets(results: &Results<'_>) -> Vec<Target> {
    let mut targets = utilisation(results);
    targets.extend(beside_quinn(results));
    targets.extend(sharing(results));
    targets.push(policer(results));
    targets.extend(steps(results));
    targets.extend(steady(results));
    targets.extend(outages(results));
    targets
}

/// A target that each of some cells has to meet: `judge` says by how much it does, 1 being just enough.
fn each_cell(
    results: &Results<'_>,
    name: &'static str,
    wanted: impl Fn(&Cell) -> bool,
    judge: impl Fn(&Cell, &Outcome) -> f64,
) -> Target {
    let cells = results.cells(Peer::Dunlin).filter(|(cell, _)| wanted(cell));
    let mut judged: Vec<_> =
        cells.map(|(cell, outcome)| (judge(cell, outcome), outcome.link.as_str())).collect();
    if judged.is_empty() {
        return Target::not_run(name);
    }
    judged.sort_by(|a, b| a.0.total_cmp(&b.0));
    let misses = judged.iter().filter(|(judged, _)| *judged < 1.0).count();
    let worst: Vec<_> = judged
        .iter()
        .take(NAMED.min(misses.max(1)))
        .map(|(value, link)| format!("{link}: {value:.3}"))
        .collect();
    let figure = format!(
        "{} of {} cells; worst, as parts of the target: {}",
        judged.len() - misses,
        judged.len(),
        worst.join(", ")
    );
    Target::new(name, misses == 0, figure)
}

fn utilisation(results: &Results<'_>) -> Vec<Target> {
    let light = |cell: &Cell| cell.loss <= Ppm::percent(1);
    let heavy = |cell: &Cell| cell.loss > Ppm::percent(1);
    vec![
        each_cell(results, "90 % of the bottleneck up to 1 % of loss", light, |_, o| o.utilisation / 0.9),
        each_cell(results, "90 % of it in the second half of the time", light, |_, o| {
            o.utilisation_second_half / 0.9
        }),
        each_cell(results, "80 % of the bottleneck at 5 % of loss", heavy, |_, o| o.utilisation / 0.8),
        each_cell(results, "80 % of it in the second half of the time", heavy, |_, o| {
            o.utilisation_second_half / 0.8
        }),
        each_cell(
            results,
            "95 % queue at most 1.25 BDP without loss (queue: 4 BDP)",
            |cell| cell.loss == Ppm::NEVER && cell.queue == QueueSize::bdp(4),
            // Where a BDP is less than the four packets of the smallest queue's quarter, those take its place.
            |cell, outcome| {
                let unit = cell.queue_bytes() as f64 / 4.0 * 8e3 / cell.rate.get() as f64;
                1.25 * unit / outcome.queue_p95_ms.max(1e-3)
            },
        ),
    ]
}

/// Of one figure, the mean over all cells that both peers have run.
fn mean(results: &Results<'_>, peer: Peer, figure: impl Fn(&Outcome) -> f64) -> Option<f64> {
    let figures: Vec<f64> = results.cells(peer).map(|(_, outcome)| figure(outcome)).collect();
    (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
}

fn beside_quinn(results: &Results<'_>) -> Vec<Target> {
    const MEAN: &str = "ahead of both of quinn's controllers in the mean";
    const BETTER: &str = "0.98 of the better of them in 90 % of the lossy cells";
    const DROPS: &str = "at most half of quinn BBR's loss at the queue";
    let [own, cubic, bbr] = Peer::ALL.map(|peer| mean(results, peer, |outcome| outcome.utilisation));
    let (Some(own), Some(cubic), Some(bbr)) = (own, cubic, bbr) else {
        return [MEAN, BETTER, DROPS].map(Target::not_run).into();
    };
    let figure = format!("{own:.3}, CUBIC {cubic:.3}, BBR {bbr:.3}");
    let ahead = Target::new(MEAN, own > cubic.max(bbr), figure);

    let lossy = results.cells(Peer::Dunlin).filter(|(cell, _)| cell.loss > Ppm::NEVER);
    let compared: Vec<f64> = lossy
        .filter_map(|(_, outcome)| {
            let other = |peer| results.get(&outcome.link, peer).map(|other| other.utilisation);
            let better = other(Peer::QuinnCubic)?.max(other(Peer::QuinnBbr)?);
            Some(outcome.utilisation / better.max(1e-6))
        })
        .collect();
    let good = compared.iter().filter(|ratio| **ratio >= 0.98).count();
    let worst = compared.iter().copied().fold(f64::INFINITY, f64::min);
    let figure = format!("{good} of {} cells, worst {worst:.2}", compared.len());
    let better = Target::new(BETTER, good * 10 >= compared.len() * 9, figure);

    let drops = |peer| mean(results, peer, |outcome| outcome.lost_queue).unwrap_or(0.0);
    let (own, other) = (drops(Peer::Dunlin), drops(Peer::QuinnBbr));
    let figure = format!("{:.2} % of what was sent, quinn's BBR {:.2} %", own * 100.0, other * 100.0);
    vec![ahead, better, Target::new(DROPS, own <= other / 2.0, figure)]
}

/// A target about one figure of one scenario.
fn one(
    results: &Results<'_>,
    name: &'static str,
    link: &str,
    figure: &'static str,
    holds: impl Fn(f64) -> bool,
) -> Target {
    let Some(outcome) = results.get(link, Peer::Dunlin) else { return Target::not_run(name) };
    match outcome.figures.get(figure) {
        Some(value) => Target::new(name, holds(*value), format!("{figure} {value}")),
        None => Target::new(name, false, format!("{figure}: never")),
    }
}

fn sharing(results: &Results<'_>) -> Vec<Target> {
    let even = |share: f64| (0.4..=0.6).contains(&share);
    let with_cubic = |share: f64| (0.35..=0.65).contains(&share);
    vec![
        shares(results, "two flows share 40:60 after 20 s", "two flows", even),
        shares(results, "two flows share 40:60, 10 Mbit/s, 100 ms", "two flows 10M 100ms", even),
        shares(results, "two flows share 40:60, queue of 4 BDP", "two flows 4bdp", even),
        shares(results, "35 to 65 % beside CUBIC at 1 BDP", "then cubic 1bdp", with_cubic),
        shares(results, "35 to 65 % beside CUBIC that was there first", "after cubic 1bdp", with_cubic),
        shares(results, "beside CUBIC at 4 BDP, any share", "then cubic 4bdp", |_| true),
    ]
}

/// A target about the share of a flow: the median over the seeds.
fn shares(results: &Results<'_>, name: &'static str, link: &str, holds: impl Fn(f64) -> bool) -> Target {
    let runs = (0..REPEATS).filter_map(|repeat| results.get(&repeat_name(link, repeat), Peer::Dunlin));
    let mut shares: Vec<f64> = runs.map(|outcome| figure(outcome, "share")).collect();
    shares.sort_by(f64::total_cmp);
    let Some(median) = shares.get(shares.len() / 2).copied() else { return Target::not_run(name) };
    Target::new(name, holds(median), format!("share {median}, of {shares:?}"))
}

/// A target about several figures of one scenario: whether it holds, and what to say of it.
fn judged(
    results: &Results<'_>,
    name: &'static str,
    link: &str,
    judge: impl Fn(&Outcome) -> (bool, String),
) -> Target {
    let Some(outcome) = results.get(link, Peer::Dunlin) else { return Target::not_run(name) };
    let (holds, figure) = judge(outcome);
    Target::new(name, holds, figure)
}

/// A figure that a scenario has.
fn figure(outcome: &Outcome, name: &str) -> f64 {
    outcome.figures.get(name).copied().unwrap_or(0.0)
}

/// These are the suite's own limits: the policer has to be found out, and not be flooded.
fn policer(results: &Results<'_>) -> Target {
    judged(results, "a policer: 80 % of its rate, at most 10 % dropped", "policer 20M", |outcome| {
        let (used, dropped) = (outcome.utilisation, outcome.lost_queue);
        let text = format!("{:.1} % used, {:.1} % dropped", used * 100.0, dropped * 100.0);
        (used >= 0.8 && dropped <= 0.1, text)
    })
}

fn steps(results: &Results<'_>) -> Vec<Target> {
    // 3 s are more than 30 of these round trips.
    let used = |trips: f64| trips <= 75.0;
    let link = "steps 100-10-100M 0.5bdp";
    vec![
        one(results, "a step down drains within 10 RTT", link, "drained_rtts", |trips| trips <= 10.0),
        one(results, "a step up is used to 90 % within 3 s", link, "used_rtts", used),
        one(
            results,
            "a step up is used to 90 % within 3 s (queue: 1 BDP)",
            "steps 100-10-100M 1bdp",
            "used_rtts",
            used,
        ),
    ]
}

fn steady(results: &Results<'_>) -> Vec<Target> {
    const LOSSY: &str = "15 % loss for 10 minutes: no false MTU fall-back";
    const LIMITED: &str = "app-limited from birth: the window stops growing";
    const FAT: &str = "90 % of 1 Gbit/s x 200 ms in the second half, no knob touched";
    const READERS: &str = "1,000 slow readers stay under the memory limit";
    vec![
        judged(results, LOSSY, "15% for 10 minutes", |outcome| {
            let (min, max) = (figure(outcome, "packet_size_min"), figure(outcome, "packet_size_max"));
            let used = outcome.utilisation * 100.0;
            let text = format!("packets of {min} to {max} bytes in the second half; {used:.1} % used");
            (min > 0.0 && min == max, text)
        }),
        judged(results, LIMITED, "app-limited 4M of 100M", |outcome| {
            let [early, late] = ["window_first_half", "window_second_half"].map(|name| figure(outcome, name));
            let text = format!("at most {early} bytes in the first half of a minute, {late} in the second");
            (late > 0.0 && late <= early * 1.1, text)
        }),
        judged(results, FAT, "1G 200ms default windows", |outcome| {
            let (whole, half) = (outcome.utilisation * 100.0, outcome.utilisation_second_half * 100.0);
            (half >= 90.0, format!("{half:.1} % used; {whole:.1} % of the whole time"))
        }),
        judged(results, READERS, "1000 slow readers", |outcome| {
            let [writers, readers, limit] = ["memory_writers", "memory_readers", "memory_limit"]
                .map(|name| figure(outcome, name) / f64::from(1 << 20));
            let slowest = figure(outcome, "slowest_reader");
            let text = format!(
                "writers {writers:.0} MiB, readers {readers:.0} MiB of {limit:.0}; the slowest reads {:.0} % of what \
                 it could",
                slowest * 100.0
            );
            (writers.max(readers) <= limit && slowest >= 0.9, text)
        }),
    ]
}

/// Two round trips of the scenarios with outages.
const TWO_TRIPS_MS: f64 = 2.0 * 40.0;
/// Nobody tells the sender that the link is back, so a probe has to find out; the wait for one is capped.
const UNTOLD_MS: f64 = TWO_TRIPS_MS + 2_000.0;
/// It is told, or the receiver is and asks.
const TOLD_MS: f64 = TWO_TRIPS_MS + 250.0;
/// A pause that is longer than a probe timeout at its cap is a stall.
const STALL_MS: f64 = 2_000.0;

fn outages(results: &Results<'_>) -> Vec<Target> {
    const UNTOLD: &str = "outages of 0.5 to 60 s, not reported: data within 2 RTT + 2 s";
    const SOURCE: &str = "outages reported to the sender: data within 2 RTT + 250 ms";
    const SINK: &str = "outages reported to the receiver: data within 2 RTT + 250 ms";
    const STALL: &str = "no stall after any of them: 80 % used from 3 s on";
    let run = |told| OUTAGES.iter().filter_map(move |ms| results.get(&outage_name(*ms, told), Peer::Dunlin));
    let resumed = |name, told, limit: f64| {
        let after = |outcome: &Outcome| outcome.figures.get("resumed_ms").copied().unwrap_or(f64::INFINITY);
        let after: Vec<f64> = run(told).map(after).collect();
        match after.is_empty() {
            true => Target::not_run(name),
            false => Target::new(name, after.iter().all(|ms| *ms <= limit), format!("after {after:?} ms")),
        }
    };
    let all: Vec<_> = [None, Some(End::Source), Some(End::Sink)].into_iter().flat_map(run).collect();
    let stall = if all.is_empty() {
        Target::not_run(STALL)
    } else {
        let pause =
            |outcome: &&Outcome| outcome.figures.get("longest_pause_ms").copied().unwrap_or(f64::INFINITY);
        let pause = all.iter().map(pause).fold(0.0, f64::max);
        let used = all.iter().map(|outcome| figure(outcome, "utilisation_after")).fold(1.0, f64::min);
        let text = format!("used at least {used}, pauses of {pause} ms at most");
        Target::new(STALL, pause <= STALL_MS && used >= 0.8, text)
    };
    vec![
        resumed(UNTOLD, None, UNTOLD_MS),
        resumed(SOURCE, Some(End::Source), TOLD_MS),
        resumed(SINK, Some(End::Sink), TOLD_MS),
        stall,
    ]
}

/// All targets as text, those that do not hold once more at the end.
pub(crate) fn report(targets: &[Target]) -> String {
    let mut lines: Vec<String> = targets.iter().map(Target::line).collect();
    let count = |verdict| targets.iter().filter(|target| target.verdict == verdict).count();
    let not_run = count(Verdict::NotRun);
    lines.push(format!(
        "\n{} targets hold, {} do not{}",
        count(Verdict::Holds),
        count(Verdict::Fails),
        if not_run > 0 { format!(", {not_run} were not run") } else { String::new() }
    ));
    let failed = targets.iter().filter(|target| target.verdict == Verdict::Fails);
    lines.extend(failed.map(|target| format!("- {}: {}", target.name, target.figure)));
    lines.join("\n")
}

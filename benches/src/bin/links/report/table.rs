//! The outcomes as a table for people.

use core::fmt::Write as _;

use crate::outcome::Outcome;
use crate::run::Peer;
use crate::suite::Results;

/// All outcomes, a line for each scenario.
pub(crate) fn table(results: &Results<'_>) -> String {
    let peers = results.peers();
    let mut out = String::new();
    let cells = results.scenarios.iter().filter(|scenario| scenario.cell.is_some());
    section(&mut out, results, &peers, cells.map(|scenario| scenario.name.as_str()));
    let others = results.scenarios.iter().filter(|scenario| scenario.cell.is_none());
    section(&mut out, results, &peers, others.map(|scenario| scenario.name.as_str()));
    out
}

fn section<'a>(
    out: &mut String,
    results: &Results<'_>,
    peers: &[Peer],
    links: impl Iterator<Item = &'a str>,
) {
    let mut links = links.peekable();
    if links.peek().is_none() {
        return;
    }
    let _ = write!(out, "{:<26}", "");
    for peer in peers {
        let _ = write!(out, "| {:<34}", peer.name());
    }
    let _ = write!(out, "\n{:<26}", "link");
    for _ in peers {
        let _ = write!(out, "| {:>6}{:>7}{:>7}{:>8}{:>6}", "use %", "half %", "p95 ms", "queue %", "t90 s");
    }
    out.push('\n');
    for link in links {
        let _ = write!(out, "{link:<26}");
        for peer in peers {
            match results.get(link, *peer) {
                Some(outcome) => out.push_str(&columns(outcome)),
                None => {
                    let _ = write!(out, "| {:34}", "");
                }
            }
        }
        out.push('\n');
        for peer in peers {
            let Some(outcome) = results.get(link, *peer).filter(|outcome| !outcome.figures.is_empty()) else {
                continue;
            };
            let figures: Vec<_> =
                outcome.figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
            let _ = writeln!(out, "  {:<24}| {}", peer.name(), figures.join(", "));
        }
    }
    out.push('\n');
}

/// Use, use in the second half, 95 % of the queue, loss at the queue, time to 90 %.
fn columns(outcome: &Outcome) -> String {
    let time = match outcome.time_to_90_ms {
        Some(millis) => format!("{:.1}", millis / 1e3),
        None => "-".into(),
    };
    format!(
        "| {:>6.1}{:>7.1}{:>7.1}{:>8.2}{time:>6}",
        outcome.utilisation * 100.0,
        outcome.utilisation_second_half * 100.0,
        outcome.queue_p95_ms,
        outcome.lost_queue * 100.0
    )
}

/// What the columns mean.
pub(crate) const LEGEND: &str = "\
use %: data that the application read, of what the bottleneck could carry; half %: in the second half of the time;
p95 ms: the queue was not longer for 95 % of the time; queue %: packets that a full queue or a policer dropped;
t90 s: seconds until 90 % of what the link delivers was used.";

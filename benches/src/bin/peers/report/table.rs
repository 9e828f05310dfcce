//! The table for people.

use core::fmt::Write as _;

use super::{Results, Row, Spread};
use crate::grid::{Aead, Peer, SCENARIOS, Scenario};

/// All rows: a part for each AEAD, a block for each scenario.
pub(crate) fn table(results: &Results<'_>) -> String {
    let mut out = String::new();
    for aead in [Aead::Aes, Aead::ChaCha] {
        let mut header = format!("\n{}\n{HEADER}\n", aead.name());
        for scenario in &SCENARIOS {
            let rows: Vec<&Row> =
                Peer::ALL.iter().filter_map(|peer| results.get(scenario.name, aead, *peer)).collect();
            if rows.is_empty() {
                continue;
            }
            out.push_str(&core::mem::take(&mut header));
            block(&mut out, results, scenario, aead, &rows);
        }
    }
    out
}

const HEADER: &str = "\
scenario                        stack              median (min - max)                 CPU client / server   of best peer";

fn block(out: &mut String, results: &Results<'_>, scenario: &Scenario, aead: Aead, rows: &[&Row]) {
    let best = results.best(scenario.name, aead);
    for (index, row) in rows.iter().enumerate() {
        let title = if index == 0 { scenario.title } else { "" };
        let _ = write!(out, "{title:<31} {:<18} ", row.cell.peer.name());
        line(out, row, best.map(|(_, figure)| figure));
        out.push('\n');
    }
}

fn line(out: &mut String, row: &Row, best: Option<f64>) {
    let Some(figure) = row.figure() else {
        let _ = write!(out, "failed, {} of {} runs", row.failures, row.failures);
        return;
    };
    let _ = write!(out, "{:<34}", format!("{} {}", show(figure), row.unit().name()));
    let _ = write!(out, " {:<21}", costs(row));
    if let Some(best) = best {
        let _ = write!(out, " {:>5.2}", figure.median / best);
    }
    out.push_str(&remarks(row));
}

/// `9.41 (9.20 - 9.52)`.
fn show(spread: Spread) -> String {
    format!("{} ({} - {})", number(spread.median), number(spread.min), number(spread.max))
}

/// Three digits, or all before the point.
pub(super) fn number(value: f64) -> String {
    match value {
        value if value >= 1000.0 => grouped(value),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// `1,234,567`.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Processor time of both ends; an asterisk where it is all the time that there was.
fn costs(row: &Row) -> String {
    let one = |end| {
        let cost = row.cost(end)?.median;
        let bound = row.cell.scenario.has_one_thread() && row.busy(end)? >= CPU_BOUND;
        Some(format!("{cost:.2}{}", if bound { "*" } else { "" }))
    };
    match (one(0), one(1)) {
        (Some(client), Some(server)) => format!("{client} / {server} {}", row.unit().cost_name()),
        _ => String::new(),
    }
}

/// The part of the time from which on a processor is what limits a row.
const CPU_BOUND: f64 = 0.95;

fn remarks(row: &Row) -> String {
    let mut out = String::new();
    if let Some([p50, p99]) = row.times() {
        let _ = write!(out, "  p50 {p50:.0} us, p99 {p99:.0} us");
    }
    if let Some(client) = row.client_growth() {
        let _ = write!(out, "  client {client:.1} KiB");
    }
    if row.failures > 0 {
        let _ = write!(out, "  {} runs failed", row.failures);
    }
    out
}

/// What the columns mean.
pub(crate) const LEGEND: &str = "\
CPU: processor seconds of client and server for each GiB, or microseconds for each operation;
*: at work for 95 % of the time or more, so that the processor is the limit (one core for both: together they are);
of best peer: the median, of that of the best of quinn, s2n-quic and noq.";

//! The medians as a table for the README.

use core::fmt::Write as _;

use super::table::number;
use super::{Results, Unit};
use crate::grid::{Aead, Peer, SCENARIOS};

/// A table for each AEAD: a row for each scenario, a column for each stack.
pub(crate) fn tables(results: &Results<'_>) -> String {
    [Aead::Aes, Aead::ChaCha].map(|aead| table(results, aead)).join("\n")
}

fn table(results: &Results<'_>, aead: Aead) -> String {
    let run =
        |peer: &Peer| SCENARIOS.iter().any(|scenario| results.get(scenario.name, aead, *peer).is_some());
    let peers: Vec<Peer> = Peer::ALL.into_iter().filter(run).collect();
    if peers.is_empty() {
        return String::new();
    }
    let mut out = format!("| {} |", aead.name());
    for peer in &peers {
        let _ = write!(out, " {} |", peer.name());
    }
    let _ = writeln!(out, "\n|---|{}", "---|".repeat(peers.len()));
    for scenario in &SCENARIOS {
        let rows: Vec<_> = peers.iter().map(|peer| results.get(scenario.name, aead, *peer)).collect();
        if rows.iter().all(Option::is_none) {
            continue;
        }
        let unit = Unit::of(scenario.load);
        let _ = write!(out, "| {}: {} |", scenario.title, unit.name());
        for row in &rows {
            let figure =
                row.map(|row| row.figure().map_or_else(|| "failed".into(), |spread| number(spread.median)));
            let _ = write!(out, " {} |", figure.unwrap_or_default());
        }
        out.push('\n');
        if unit != Unit::Kibibytes {
            let _ = write!(out, "| CPU {}, client / server |", unit.cost_name());
            for row in &rows {
                let cost = |end| row.and_then(|row| row.cost(end)).map(|spread| spread.median);
                let _ = match (cost(0), cost(1)) {
                    (Some(client), Some(server)) => write!(out, " {client:.2} / {server:.2} |"),
                    _ => write!(out, " |"),
                };
            }
            out.push('\n');
        }
    }
    out
}

//! The outcomes as files for programs: CSV and JSON.

use core::fmt::Write as _;

use crate::outcome::Outcome;

/// A line for each outcome. What only some scenarios have is the last column: `name=value`, separated by semicolons.
pub(crate) fn csv(outcomes: &[Outcome]) -> String {
    let mut out = String::from(
        "link,peer,seed,utilisation,utilisation_second_half,queue_p50_ms,queue_p95_ms,lost,lost_queue,packets_sent,\
         packets_lost,time_to_90_ms,bytes,seconds,complete,figures\n",
    );
    for o in outcomes {
        let time = o.time_to_90_ms.map(|millis| millis.to_string()).unwrap_or_default();
        let figures: Vec<_> = o.figures.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let _ = writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{},{time},{},{},{},{}",
            o.link,
            o.peer.name(),
            o.seed,
            o.utilisation,
            o.utilisation_second_half,
            o.queue_p50_ms,
            o.queue_p95_ms,
            o.lost,
            o.lost_queue,
            o.packets_sent,
            o.packets_lost,
            o.bytes,
            o.seconds,
            o.complete,
            figures.join(";")
        );
    }
    out
}

/// One object, or an array of them.
pub(crate) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("numbers and names")
}

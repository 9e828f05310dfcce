//! What a transfer amounted to: a few lines for people, or one JSON object for programs.

use core::net::IpAddr;
use core::time::Duration;

use dunlin_tokio::{ConnectionStats, Gate, LimiterStats, PathKind, PathStats, TransportAddr};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::paths::{ends, ends_json};
use crate::text;
use crate::transfer::Summary;

/// The state of a connection at the end of its work.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    /// Counters of this side.
    pub(crate) stats: ConnectionStats,
    /// The path, if there still was one.
    pub(crate) path: Option<PathStats>,
    /// Its end here, if others of its paths have another one.
    pub(crate) own: Option<IpAddr>,
    /// What it waited for before it could send more.
    pub(crate) limiter: Option<LimiterStats>,
}

impl Link {
    /// As `connection` is now.
    pub(crate) fn of(connection: &dunlin_tokio::Connection) -> Self {
        let path = connection.path();
        let own = path.and_then(|path| path.local.ip);
        let is_other = |other: &PathStats| other.local.ip.is_some() && other.local.ip != own;
        let own = own.filter(|_| connection.paths().iter().any(is_other));
        Self { stats: connection.stats(), path, own, limiter: connection.limiter() }
    }

    /// All of them together as far as a report counts; the path and its limiter are the first one's.
    pub(crate) fn of_all(connections: &[dunlin_tokio::Connection]) -> Self {
        let mut links = connections.iter().map(Self::of);
        let mut all = links.next().unwrap_or_default();
        for Self { stats, .. } in links {
            all.stats.packets_sent += stats.packets_sent;
            all.stats.packets_lost += stats.packets_lost;
            all.stats.spurious_losses += stats.spurious_losses;
            all.stats.bytes_retransmitted += stats.bytes_retransmitted;
        }
        all
    }

    /// The smoothed round-trip time, once there is one.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.path.filter(|path| path.rtt.is_measured()).map(|path| path.rtt.smoothed())
    }

    /// The share of our packets that was lost.
    pub(crate) fn loss(&self) -> f64 {
        let lost = self.stats.packets_lost.saturating_sub(self.stats.spurious_losses);
        if self.stats.packets_sent == 0 { 0.0 } else { lost as f64 / self.stats.packets_sent as f64 }
    }

    /// `via 192.0.2.7 (v4) 21.0 ms`: what tells the path from others, our address if there are several, else the peer's.
    /// Nothing if there is no path, and no time while it is not known.
    pub(crate) fn via_text(&self) -> String {
        let Some(path) = self.path else { return String::new() };
        let place = match (self.own, path.remote) {
            (Some(own), _) => own.to_string(),
            (None, TransportAddr::Ip(remote)) => remote.ip().to_string(),
            (None, remote) => remote.to_string(),
        };
        let rtt = self.rtt().map_or_else(String::new, |rtt| format!(" {}", text::time(rtt)));
        format!("via {place} ({}){rtt}", kind(path.remote.kind()))
    }

    /// The ends of the path for programs.
    pub(crate) fn path_json(&self) -> Value {
        self.path.as_ref().map(ends).as_ref().map_or(Value::Null, ends_json)
    }

    /// What this side waited for before it could send more, longest first: `the pacer 81 %, the application 18 %`.
    pub(crate) fn limiter_text(&self) -> String {
        let Some(limiter) = self.limiter.filter(|limiter| !limiter.total().is_zero()) else {
            return "nothing".to_owned();
        };
        let percent =
            |gate| (100.0 * limiter.time(gate).as_secs_f64() / limiter.total().as_secs_f64()).round();
        let mut gates: Vec<_> = Gate::ALL.into_iter().filter(|gate| percent(*gate) >= 1.0).collect();
        gates.sort_by_key(|gate| core::cmp::Reverse(limiter.time(*gate)));
        let shares: Vec<_> = gates.iter().map(|gate| format!("the {gate} {:.0} %", percent(*gate))).collect();
        shares.join(", ")
    }

    /// The same for programs: seconds by gate.
    pub(crate) fn limiter_json(&self) -> Value {
        let Some(limiter) = self.limiter else { return Value::Null };
        let seconds = Gate::ALL.map(|gate| (gate.name().to_owned(), json!(limiter.time(gate).as_secs_f64())));
        Value::Object(seconds.into_iter().collect())
    }

    /// How the path did.
    pub(crate) fn line(&self) -> String {
        let rtt = self.rtt().map_or_else(|| "unknown".to_owned(), text::time);
        format!(
            "rtt {rtt}, loss {:.2} % ({} of {} packets), {} sent again",
            self.loss() * 100.0,
            self.stats.packets_lost.saturating_sub(self.stats.spurious_losses),
            self.stats.packets_sent,
            text::bytes(self.stats.bytes_retransmitted)
        )
    }
}

/// What carries a path, in short.
const fn kind(kind: PathKind) -> &'static str {
    match kind {
        PathKind::Ipv4 => "v4",
        PathKind::Ipv6 => "v6",
        PathKind::Relay => "relay",
        _ => "custom",
    }
}

/// Which way the files went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Sent,
    Received,
}

/// A transfer that is over, well or not.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) way: Way,
    /// The other side's address.
    pub(crate) peer: String,
    pub(crate) seconds: Duration,
    pub(crate) link: Link,
    pub(crate) outcome: Result<Summary, Failure>,
}

impl Report {
    /// How the command ends.
    pub(crate) fn result(&self) -> Result<(), Failure> {
        let summary = self.outcome.as_ref().map_err(Failure::clone)?;
        match summary.failed.as_slice() {
            [] => Ok(()),
            [only] => Err(Failure::failed(only)),
            [first, rest @ ..] => Err(Failure::failed(format!("{first}; and {} more failed", rest.len()))),
        }
    }

    /// The transfer for people; empty if it failed.
    pub(crate) fn text(&self) -> String {
        let Ok(summary) = &self.outcome else { return String::new() };
        let way = match self.way {
            Way::Sent => "sent to",
            Way::Received => "received from",
        };
        let kept = match summary.kept {
            0 => String::new(),
            all if all == summary.bytes => ", all of it there before".to_owned(),
            kept => format!(", {} of it there before", text::bytes(kept)),
        };
        let rate = match summary.bytes - summary.kept {
            0 => String::new(),
            moved => format!(": {}", text::rate(moved, self.seconds)),
        };
        format!(
            "{way} {}: {} in {}{kept}, in {}{rate}\n{}\nBLAKE3 {}, the same on both sides",
            self.peer,
            text::bytes(summary.bytes),
            text::counted(summary.files.into(), "file"),
            text::time(self.seconds),
            self.link.line(),
            text::hex(&summary.hash),
        )
    }

    /// The transfer for programs.
    pub(crate) fn json(&self) -> Value {
        let summary = self.outcome.as_ref().ok();
        let error = self.result().err().map(|failure| failure.to_string());
        json!({
            "bytes": summary.map_or(0, |summary| summary.bytes),
            "bytes_from_before": summary.map_or(0, |summary| summary.kept),
            "files": summary.map_or(0, |summary| summary.files),
            "seconds": self.seconds.as_secs_f64(),
            "hash": summary.map(|summary| text::hex(&summary.hash)),
            "rtt_us": self.link.rtt().map(|rtt| rtt.as_micros() as u64),
            "retransmits": self.link.stats.packets_lost,
            "bytes_retransmitted": self.link.stats.bytes_retransmitted,
            "peer": self.peer,
            "path": self.link.path_json(),
            "error": error,
        })
    }
}

/// What `--json` prints where nothing was transferred at all.
pub(crate) fn failed_json(failure: &Failure) -> Value {
    json!({
        "bytes": 0, "seconds": 0.0, "hash": null, "rtt_us": null, "retransmits": 0, "error": failure.to_string(),
    })
}

//! What dunlin is to reach beside its peers, and whether it does.

use serde::Serialize;

use super::table::number;
use super::{Results, Row};
use crate::grid::Aead::{self, Aes, ChaCha};
use crate::grid::Peer;

/// What of a row counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Figure {
    /// The scenario's own.
    Median,
    /// Processor time of one end (0: client, 1: server).
    Cost(usize),
    /// What half of the operations took at most, in microseconds.
    P50,
}

/// What it is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Against {
    /// The best of quinn, s2n-quic and noq in this figure.
    Best,
    /// One stack.
    Peer(Peer),
    /// The same stack in another scenario.
    Scenario(&'static str),
    /// Nothing: the figure alone counts.
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A target.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    scenario: &'static str,
    aead: Aead,
    peer: Peer,
    figure: Figure,
    against: Against,
    bound: Bound,
}

use Against::{Best, Nothing};
use Bound::{AtLeast, AtMost};
use Figure::{Cost, Median, P50};

const fn wanted(
    scenario: &'static str,
    aead: Aead,
    figure: Figure,
    against: Against,
    bound: Bound,
) -> Wanted {
    Wanted { scenario, aead, peer: Peer::Dunlin, figure, against, bound }
}

const IDEAL: Against = Against::Peer(Peer::Ideal);

/// All of them.
const TARGETS: [Wanted; 44] = [
    wanted("upload", Aes, Median, IDEAL, AtLeast(0.75)),
    wanted("upload", Aes, Median, Best, AtLeast(1.5)),
    wanted("upload", Aes, Median, Against::Peer(Peer::Tcp), AtLeast(1.0)),
    wanted("upload", Aes, Cost(0), Best, AtMost(0.7)),
    wanted("upload", Aes, Cost(1), Best, AtMost(0.7)),
    wanted("upload", ChaCha, Median, IDEAL, AtLeast(0.85)),
    wanted("upload", ChaCha, Median, Best, AtLeast(1.15)),
    wanted("upload", ChaCha, Cost(0), Best, AtMost(0.9)),
    wanted("upload", ChaCha, Cost(1), Best, AtMost(0.9)),
    Wanted {
        scenario: "upload",
        aead: Aes,
        peer: Peer::DunlinPure,
        figure: Median,
        against: Against::Peer(Peer::Quinn),
        bound: AtLeast(1.0),
    },
    wanted("pingpong-core", Aes, Median, Best, AtLeast(1.4)),
    wanted("pingpong-core", ChaCha, Median, Best, AtLeast(1.4)),
    wanted("requests", Aes, Median, Best, AtLeast(1.3)),
    wanted("requests", ChaCha, Median, Best, AtLeast(1.3)),
    wanted("handshakes-64", Aes, Median, Best, AtLeast(1.3)),
    wanted("handshakes-64", ChaCha, Median, Best, AtLeast(1.3)),
    wanted("handshakes", Aes, P50, Nothing, AtMost(500.0)),
    wanted("handshakes", ChaCha, P50, Nothing, AtMost(500.0)),
    wanted("datagrams", Aes, Median, Best, AtLeast(1.3)),
    wanted("datagrams", ChaCha, Median, Best, AtLeast(1.3)),
    wanted("many", Aes, Median, Best, AtLeast(1.0)),
    wanted("many", ChaCha, Median, Best, AtLeast(1.0)),
    wanted("jumbo", Aes, Median, Best, AtLeast(1.0)),
    wanted("jumbo", ChaCha, Median, Best, AtLeast(1.0)),
    // Whoever falls back to small packets is not faster than with them.
    wanted("jumbo", Aes, Median, Against::Scenario("upload"), AtLeast(1.05)),
    wanted("jumbo", ChaCha, Median, Against::Scenario("upload"), AtLeast(1.05)),
    wanted("idle", Aes, Median, Nothing, AtMost(8.0)),
    wanted("idle", ChaCha, Median, Nothing, AtMost(8.0)),
    wanted("upload-2t", Aes, Median, Against::Scenario("upload"), AtLeast(1.0)),
    wanted("upload-2t", ChaCha, Median, Against::Scenario("upload"), AtLeast(1.0)),
    wanted("upload-8-2t", Aes, Median, Against::Scenario("upload-8"), AtLeast(1.0)),
    wanted("upload-8-2t", ChaCha, Median, Against::Scenario("upload-8"), AtLeast(1.0)),
    wanted("requests-2t", Aes, Median, Against::Scenario("requests"), AtLeast(1.0)),
    wanted("requests-2t", ChaCha, Median, Against::Scenario("requests"), AtLeast(1.0)),
    wanted("datagrams-2t", Aes, Median, Against::Scenario("datagrams"), AtLeast(1.0)),
    wanted("datagrams-2t", ChaCha, Median, Against::Scenario("datagrams"), AtLeast(1.0)),
    wanted("many-2t", Aes, Median, Against::Scenario("many"), AtLeast(1.0)),
    wanted("many-2t", ChaCha, Median, Against::Scenario("many"), AtLeast(1.0)),
    // A second shard costs one connection nothing, and many connections no more for each message.
    wanted("upload-2s", Aes, Median, Against::Scenario("upload-1s"), AtLeast(0.95)),
    wanted("upload-2s", ChaCha, Median, Against::Scenario("upload-1s"), AtLeast(0.95)),
    wanted("many-2s", Aes, Cost(0), Against::Scenario("many-1s"), AtMost(1.1)),
    wanted("many-2s", Aes, Cost(1), Against::Scenario("many-1s"), AtMost(1.1)),
    wanted("many-2s", ChaCha, Cost(0), Against::Scenario("many-1s"), AtMost(1.1)),
    wanted("many-2s", ChaCha, Cost(1), Against::Scenario("many-1s"), AtMost(1.1)),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Holds,
    Fails,
    /// What it needs was not run.
    NotRun,
}

/// A target, judged.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) verdict: Verdict,
    /// What was measured, as a multiple where it is compared with something.
    pub(crate) value: Option<f64>,
    /// With which parts.
    pub(crate) parts: String,
}

/// All targets.
pub(crate) fn targets(results: &Results<'_>) -> Vec<Target> {
    TARGETS.iter().map(|wanted| wanted.judge(results)).collect()
}

/// The list for people.
pub(crate) fn report(targets: &[Target]) -> String {
    let line = |target: &Target| {
        let verdict = match target.verdict {
            Verdict::Holds => "holds",
            Verdict::Fails => "FAILS",
            Verdict::NotRun => "not run",
        };
        let value = target.value.map(|value| format!("{value:.2}")).unwrap_or_default();
        format!("{verdict:<8} {:<96} {value:>7}  {}", target.name, target.parts)
    };
    targets.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Figure {
    fn of(self, row: &Row) -> Option<f64> {
        match self {
            Self::Median => Some(row.figure()?.median),
            Self::Cost(end) => Some(row.cost(end)?.median),
            Self::P50 => Some(row.times()?[0]),
        }
    }

    const fn less_is_better(self) -> bool {
        !matches!(self, Self::Median)
    }
}

impl Wanted {
    fn judge(&self, results: &Results<'_>) -> Target {
        let Some((value, parts)) = self.measure(results) else {
            return Target { name: self.name(), verdict: Verdict::NotRun, value: None, parts: String::new() };
        };
        let holds = match self.bound {
            AtLeast(bound) => value >= bound,
            AtMost(bound) => value <= bound,
        };
        let verdict = if holds { Verdict::Holds } else { Verdict::Fails };
        Target { name: self.name(), verdict, value: Some(value), parts }
    }

    fn measure(&self, results: &Results<'_>) -> Option<(f64, String)> {
        let own = self.figure.of(results.get(self.scenario, self.aead, self.peer)?)?;
        let of = |peer| self.figure.of(results.get(self.scenario, self.aead, peer)?);
        let (other, who) = match self.against {
            Nothing => return Some((own, String::new())),
            Against::Peer(peer) => (of(peer)?, peer.name()),
            Against::Scenario(name) => (self.figure.of(results.get(name, self.aead, self.peer)?)?, "itself"),
            Best => {
                let rivals = Peer::ALL.into_iter().filter(|peer| peer.is_rival());
                let figures = rivals.filter_map(|peer| Some((of(peer)?, peer.name())));
                let order = |a: &(f64, _), b: &(f64, _)| a.0.total_cmp(&b.0);
                if self.figure.less_is_better() { figures.min_by(order)? } else { figures.max_by(order)? }
            }
        };
        Some((own / other, format!("{} of {} ({who})", number(own), number(other))))
    }

    /// What is wanted, in words.
    fn name(&self) -> String {
        let figure = match self.figure {
            Median => "",
            Cost(0) => ", processor time of the client",
            Cost(_) => ", processor time of the server",
            P50 => ", p50 in us",
        };
        let (word, bound) = match self.bound {
            AtLeast(bound) => ("at least", bound),
            AtMost(bound) => ("at most", bound),
        };
        let against = match self.against {
            Best => " of the best peer's".into(),
            Against::Peer(peer) => format!(" of {}'s", peer.name()),
            Against::Scenario(name) => format!(" of its own in {name}"),
            Nothing => String::new(),
        };
        format!(
            "{}, {}: {}{figure} {word} {bound}{against}",
            self.scenario,
            self.aead.name(),
            self.peer.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Scenario;

    #[test]
    fn targets_are_about_what_is_run() {
        for wanted in &TARGETS {
            let other = match wanted.against {
                Against::Scenario(name) => name,
                Best | Against::Peer(_) | Nothing => wanted.scenario,
            };
            for name in [wanted.scenario, other] {
                let scenario = Scenario::find(name).unwrap_or_else(|| panic!("no scenario {name}"));
                assert!(wanted.peer.suits(scenario), "{} is not run in {name}", wanted.peer.name());
            }
        }
    }
}

//! One run: flows over a link, in virtual time, watched every so often.

use core::net::SocketAddr;

use dunlin_sim::{Duration, Instant, LinkConfig, LinkStats, Rng, World};

use crate::stack::quinn::Controller;
use crate::stack::{Arrived, Ends, Gauges, Load, Plan, Windows, dunlin, quinn};

/// What sends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, clap::ValueEnum)]
pub(crate) enum Peer {
    /// dunlin, with its BBR
    Dunlin,
    /// quinn-proto with CUBIC, its default
    QuinnCubic,
    /// quinn-proto with its BBR
    QuinnBbr,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Dunlin, Self::QuinnCubic, Self::QuinnBbr];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dunlin => "dunlin",
            Self::QuinnCubic => "quinn-cubic",
            Self::QuinnBbr => "quinn-bbr",
        }
    }

    fn ends(self, plan: &Plan) -> Ends {
        match self {
            Self::Dunlin => dunlin::ends(plan),
            Self::QuinnCubic => quinn::ends(plan, Controller::Cubic),
            Self::QuinnBbr => quinn::ends(plan, Controller::Bbr),
        }
    }
}

/// A flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) peer: Peer,
    pub(crate) start: Duration,
    pub(crate) load: Load,
}

/// What happens to a link, in both directions, or around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Down,
    Up,
    /// This end of every flow is told that the network has changed.
    Told(End),
}

/// An end of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Source,
    Sink,
}

impl End {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }
}

/// A run to be made: flows that share a link.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    /// The way there, which all flows share.
    pub(crate) forward: LinkConfig,
    /// The way back, which they share too.
    pub(crate) back: LinkConfig,
    /// Bytes that the link and its queue hold.
    pub(crate) pipe: u64,
    pub(crate) windows: Windows,
    pub(crate) flows: Vec<Flow>,
    /// In the order of time.
    pub(crate) changes: Vec<(Duration, Change)>,
    /// When the run ends if the flows do not end before.
    pub(crate) limit: Duration,
    /// How often to look.
    pub(crate) every: Duration,
    /// Whether to ask the senders too. It wakes them, so that a run goes a little differently.
    pub(crate) gauges: bool,
}

/// What was seen at an instant.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// How long a datagram would have waited at the bottleneck.
    pub(crate) queueing: Duration,
    /// Bytes that each flow's application has read.
    pub(crate) arrived: Vec<u64>,
    /// How each flow's sender was doing.
    pub(crate) gauges: Vec<Option<Gauges>>,
}

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) samples: Vec<Sample>,
    pub(crate) arrived: Vec<Arrived>,
    pub(crate) forward: LinkStats,
    pub(crate) end: Instant,
}

/// Makes a run.
pub(crate) fn run(setup: &Setup) -> Run {
    let mut world = World::new(setup.seed, LinkConfig::default());
    let (forward, back) = (world.add_link(setup.forward.clone()), world.add_link(setup.back.clone()));
    let mut ends = Vec::new();
    for (flow, index) in setup.flows.iter().zip(1..) {
        let from = SocketAddr::from(([10, 0, index, 1], 1000));
        let to = SocketAddr::from(([10, 0, index, 2], 2000));
        let seed = Rng::new(setup.seed).fork(u64::from(index)).next_u64();
        let start = Instant::ZERO + flow.start;
        let plan = Plan { seed, to, start, load: flow.load, pipe: setup.pipe, windows: setup.windows };
        let Ends { source, sink } = flow.peer.ends(&plan);
        let source = world.add_node(format!("source {index}"), &[from], source);
        let sink = world.add_node(format!("sink {index}"), &[to], sink);
        world.route(from, to, forward);
        world.route(to, from, back);
        ends.push((source, sink));
    }
    let deadline = Instant::ZERO + setup.limit;
    let mut samples = Vec::new();
    let mut changes = setup.changes.iter().map(|(at, change)| (Instant::ZERO + *at, *change)).peekable();
    loop {
        while let Some((_, change)) = changes.next_if(|(at, _)| *at <= world.now()) {
            match change {
                Change::Down | Change::Up => {
                    for link in [forward, back] {
                        world.link_mut(link).configure(|config| config.down = change == Change::Down);
                    }
                }
                Change::Told(end) => {
                    for (source, sink) in &ends {
                        let told = if end == End::Source { *source } else { *sink };
                        let now = world.now();
                        world.node_mut(told).network_changed(now);
                    }
                }
            }
        }
        let change = changes.peek().map_or(deadline, |(at, _)| *at);
        let next = (world.now() + setup.every).min(deadline).min(change);
        let done = world
            .run_until_true(next, |world| ends.iter().all(|(_, sink)| world.node(*sink).arrived().ended));
        let now = world.now();
        samples.push(Sample {
            at: now,
            queueing: world.link_mut(forward).queue_delay(now),
            arrived: ends.iter().map(|(_, sink)| world.node(*sink).arrived().bytes).collect(),
            gauges: match setup.gauges {
                true => ends.iter().map(|(source, _)| world.node_mut(*source).gauges()).collect(),
                false => Vec::new(),
            },
        });
        let lost = ends.iter().any(|(source, sink)| world.node(*source).lost() || world.node(*sink).lost());
        if done || lost || now >= deadline {
            break;
        }
    }
    let end = world.now();
    Run {
        samples,
        arrived: ends.iter().map(|(_, sink)| world.node(*sink).arrived()).collect(),
        forward: world.link_mut(forward).stats(end).clone(),
        end,
    }
}

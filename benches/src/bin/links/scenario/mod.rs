//! What is run: links, loads and what happens to them.

mod matrix;
mod radio;
mod special;

use dunlin_sim::{Duration, Instant};

use crate::cell::Cell;
use crate::link::Link;
use crate::run::{Change, End, Flow, Peer, Setup};
use crate::stack::{Load, Windows};

use matrix::matrix;
use special::special;
pub(crate) use special::{AFTER, OUTAGES, REPEATS, STEP, UP_STEP, outage_name, repeat_name};

/// How much longer than the link alone a cell may take: what is slower is counted as what it had carried by then.
const PATIENCE: u32 = 10;
/// The dials and the last round trips of small cells are in it too.
const GRACE: Duration = Duration::from_secs(10);
const GRACE_TRIPS: u32 = 40;
/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Something to run, with every peer.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Unique; `--only` looks for parts of it.
    pub(crate) name: String,
    /// The cell of the matrix, if it is one.
    pub(crate) cell: Option<Cell>,
    pub(crate) kind: Kind,
    /// Whether it is in the small selection.
    pub(crate) quick: bool,
    pub(crate) link: Link,
    pub(crate) windows: Windows,
    pub(crate) load: Load,
    /// When it ends, if the load has no end.
    pub(crate) limit: Duration,
    /// Links that go down and come up.
    pub(crate) changes: Vec<(Duration, Change)>,
    /// Added to the seed. Shares are a matter of chance, so what is judged by them is run with several seeds.
    pub(crate) repeat: u64,
}

/// What is looked at beside utilisation, queue and loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Nothing.
    Plain,
    /// How two flows share: both of the peer's.
    Shared,
    /// The same, the other one being quinn's CUBIC.
    AgainstCubic(First),
    /// How a change of capacity is answered.
    Steps,
    /// How a flow goes on when the link is back, and who is told that it is.
    Outage(Option<End>),
    /// What the sender thinks of itself: its window and its packets.
    Sender,
    /// Connections whose applications read slowly: no flow of bulk data at all.
    SlowReaders,
}

/// Who comes first of two flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum First {
    Peer,
    Cubic,
}

/// When the second flow begins.
pub(crate) const SECOND: Duration = Duration::from_secs(5);

impl Scenario {
    /// A cell.
    pub(crate) fn cell(cell: Cell) -> Self {
        Self {
            name: cell.to_string(),
            cell: Some(cell),
            kind: Kind::Plain,
            quick: false,
            link: Link::new(&cell),
            windows: Windows::Fit,
            load: Load::Bulk(cell.bytes),
            limit: cell.link_time() * PATIENCE + GRACE + cell.rtt * GRACE_TRIPS,
            changes: Vec::new(),
            repeat: 0,
        }
    }

    /// Data without end over a link, for so long.
    fn endless(name: &str, kind: Kind, link: Link, limit: Duration) -> Self {
        Self {
            name: name.into(),
            cell: None,
            kind,
            quick: false,
            link,
            windows: Windows::Fit,
            load: Load::Endless,
            limit,
            changes: Vec::new(),
            repeat: 0,
        }
    }

    fn quick(self) -> Self {
        Self { quick: true, ..self }
    }

    /// Whether it is of interest for a peer.
    pub(crate) fn suits(&self, peer: Peer) -> bool {
        match self.kind {
            Kind::SlowReaders => peer == Peer::Dunlin,
            // quinn-proto cannot be told.
            Kind::Outage(Some(_)) => peer == Peer::Dunlin,
            _ if self.repeat > 0 => peer == Peer::Dunlin,
            // That would be two flows of its own.
            Kind::AgainstCubic(_) => peer != Peer::QuinnCubic,
            _ => true,
        }
    }

    /// How it is run with a peer.
    pub(crate) fn setup(&self, peer: Peer, seed: u64) -> Setup {
        let flow = |peer, start| Flow { peer, start, load: self.load };
        let flows = match self.kind {
            Kind::Shared => vec![flow(peer, Duration::ZERO), flow(peer, SECOND)],
            Kind::AgainstCubic(First::Peer) => {
                vec![flow(peer, Duration::ZERO), flow(Peer::QuinnCubic, SECOND)]
            }
            Kind::AgainstCubic(First::Cubic) => {
                vec![flow(peer, SECOND), flow(Peer::QuinnCubic, Duration::ZERO)]
            }
            _ => vec![flow(peer, Duration::ZERO)],
        };
        Setup {
            seed: seed + self.repeat,
            forward: self.link.forward.clone(),
            back: self.link.back.clone(),
            pipe: self.link.pipe(),
            windows: self.windows,
            flows,
            changes: self.changes.clone(),
            limit: self.limit,
            every: if matches!(self.kind, Kind::Outage(_)) { Duration::from_millis(1) } else { LOOK },
            gauges: self.kind == Kind::Sender,
        }
    }

    /// Whether the load has an end.
    pub(crate) fn has_end(&self) -> bool {
        matches!(self.load, Load::Bulk(_))
    }

    /// How long it lasts if everything goes well; for progress.
    pub(crate) fn bits(&self) -> f64 {
        match self.load {
            Load::Bulk(bytes) => bytes as f64 * 8.0,
            Load::Endless => self.link.capacity.bits(Instant::ZERO + self.limit),
            Load::Pieces(bytes, every) => bytes as f64 * 8.0 * self.limit.as_secs_f64() / every.as_secs_f64(),
        }
    }
}

/// Everything.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = matrix();
    all.extend(special());
    all
}

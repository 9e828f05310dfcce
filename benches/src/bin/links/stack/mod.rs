//! The stacks that are compared, as nodes of a simulated world: a source of data and a sink for it.

pub(crate) mod dunlin;
pub(crate) mod quinn;

use core::net::SocketAddr;

use dunlin_sim::{Duration, Instant, Node};

/// What a source sends, on one stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    /// So many bytes, as fast as they go.
    Bulk(u64),
    /// As much as goes until the run ends.
    Endless,
    /// So many bytes every so often: less than the link carries.
    Pieces(usize, Duration),
}

/// How the limits of flow control are set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Windows {
    /// So that they do not get into the way of congestion control.
    Fit,
    /// As they come.
    Default,
}

/// What a sink has got.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Arrived {
    /// Bytes that the application has read, in order.
    pub(crate) bytes: u64,
    /// When it read last.
    pub(crate) last: Instant,
    /// Whether it has read the end.
    pub(crate) ended: bool,
}

impl Arrived {
    /// Books what was read at `now`.
    pub(crate) fn add(&mut self, now: Instant, len: usize) {
        self.bytes += len as u64;
        self.last = now;
    }
}

/// What a source says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Gauges {
    /// Bytes that may be in flight.
    pub(crate) window: u64,
    /// Bytes in a full datagram.
    pub(crate) packet_size: u16,
}

/// One end of a flow.
pub(crate) trait Stack: Node {
    /// What has arrived here; nothing at a source.
    fn arrived(&self) -> Arrived;

    /// Whether the connection has ended before its time.
    fn lost(&self) -> bool;

    /// The system says that the network has changed. It is all the same to stacks that have no ear for it.
    fn network_changed(&mut self, _now: Instant) {}

    /// How the sender is doing; `None` at a sink and while nothing is connected.
    fn gauges(&mut self) -> Option<Gauges>;
}

/// The two ends of a flow.
pub(crate) struct Ends {
    pub(crate) source: Box<dyn Stack>,
    pub(crate) sink: Box<dyn Stack>,
}

/// What the ends of a flow are made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Of the run and of the flow in it.
    pub(crate) seed: u64,
    /// Where the sink is.
    pub(crate) to: SocketAddr,
    /// When the source dials.
    pub(crate) start: Instant,
    /// What it sends.
    pub(crate) load: Load,
    /// Bytes that the link carries in a round trip, its queue included.
    pub(crate) pipe: u64,
    pub(crate) windows: Windows,
}

/// What sources send: the same over and over.
pub(crate) static PIECE: [u8; 64 << 10] = [0x5a; 64 << 10];

/// The source's application, for any stack: how much it has to write, and when.
#[derive(Debug)]
pub(crate) struct Writer {
    load: Load,
    /// Bytes that wait to be written.
    ready: u64,
    /// When there is more, for a load in pieces.
    next: Option<Instant>,
}

impl Writer {
    pub(crate) fn new(load: Load, start: Instant) -> Self {
        let (ready, next) = match load {
            Load::Bulk(bytes) => (bytes, None),
            Load::Endless => (u64::MAX, None),
            Load::Pieces(..) => (0, Some(start)),
        };
        Self { load, ready, next }
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Makes what is due ready to be written. Returns whether something was.
    pub(crate) fn on_time(&mut self, now: Instant) -> bool {
        let (Load::Pieces(bytes, every), Some(at)) = (self.load, self.next) else { return false };
        if now < at {
            return false;
        }
        self.ready += bytes as u64;
        self.next = Some(at + every);
        true
    }

    /// What to write next.
    pub(crate) fn piece(&self) -> &'static [u8] {
        &PIECE[..self.ready.min(PIECE.len() as u64) as usize]
    }

    /// So much was written. Returns whether that was all there will ever be.
    pub(crate) fn written(&mut self, len: usize) -> bool {
        if self.load != Load::Endless {
            self.ready -= len as u64;
        }
        self.ready == 0 && matches!(self.load, Load::Bulk(_))
    }
}

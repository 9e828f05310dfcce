//! A link as a scenario has it: both ways, and what it could carry.

use dunlin_sim::{Duration, Instant, LinkConfig, Loss, Ppm, QueueLimit, Rate, RateTrace};

use crate::cell::Cell;

/// The largest datagram that the links carry: an Ethernet frame without the headers of IPv4 and UDP.
pub(crate) const MTU: usize = 1472;

/// A link between the sources and their sinks.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// The way there, with the bottleneck.
    pub(crate) forward: LinkConfig,
    /// The way back.
    pub(crate) back: LinkConfig,
    /// What the bottleneck lets pass.
    pub(crate) capacity: Capacity,
    /// There and back, with an empty queue.
    pub(crate) rtt: Duration,
    /// The limit of the queue, in bytes.
    pub(crate) queue: u64,
    /// The share of what passes the bottleneck that arrives.
    pub(crate) delivers: f64,
}

/// What a bottleneck lets pass over time.
#[derive(Clone, Debug)]
pub(crate) enum Capacity {
    Rate(Rate),
    Trace(RateTrace),
}

impl Capacity {
    /// Bits from the beginning to `at`.
    pub(crate) fn bits(&self, at: Instant) -> f64 {
        match self {
            Self::Rate(rate) => rate.get() as f64 * (at - Instant::ZERO).as_secs_f64(),
            Self::Trace(trace) => trace.bits(at) as f64,
        }
    }
}

impl Link {
    /// The link of a cell.
    pub(crate) fn new(cell: &Cell) -> Self {
        let queue = cell.queue_bytes();
        Self {
            forward: LinkConfig {
                rate: Some(cell.rate),
                queue: QueueLimit::Bytes(usize::try_from(queue).unwrap_or(usize::MAX)),
                delay: cell.rtt / 2,
                loss: if cell.loss == Ppm::NEVER { Loss::None } else { Loss::Random(cell.loss) },
                mtu: Some(MTU),
                ..LinkConfig::default()
            },
            back: LinkConfig { delay: cell.rtt - cell.rtt / 2, mtu: Some(MTU), ..LinkConfig::default() },
            capacity: Capacity::Rate(cell.rate),
            rtt: cell.rtt,
            queue,
            delivers: 1.0 - f64::from(cell.loss.get()) / f64::from(Ppm::ALWAYS.get()),
        }
    }

    /// The same link with a rate that changes.
    pub(crate) fn with_trace(mut self, trace: RateTrace) -> Self {
        self.forward.trace = Some(trace.clone());
        self.capacity = Capacity::Trace(trace);
        self
    }

    /// The same link, set otherwise on the way there.
    pub(crate) fn forward(mut self, change: impl FnOnce(&mut LinkConfig)) -> Self {
        change(&mut self.forward);
        self
    }

    /// The same link, set otherwise on the way back.
    pub(crate) fn back(mut self, change: impl FnOnce(&mut LinkConfig)) -> Self {
        change(&mut self.back);
        self
    }

    /// Bytes that are under way or wait when the link and its queue are full, at the average rate.
    pub(crate) fn pipe(&self) -> u64 {
        let bits_a_second = self.capacity.bits(Instant::ZERO + Duration::from_secs(60)) / 60.0;
        (bits_a_second * self.rtt.as_secs_f64() / 8.0) as u64 + self.queue
    }
}

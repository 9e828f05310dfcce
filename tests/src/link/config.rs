//! What a link can be told to do.

use core::fmt;
use std::sync::Arc;

use dunlin_core::Duration;

use super::filter::Filter;
use super::trace::RateTrace;
use crate::rng::Ppm;

/// How fast a link takes bits, in bits per second: 1 to 10^15.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rate(u64);

impl Rate {
    /// The upper end: with it, the arithmetic of one datagram cannot overflow 64 bits.
    const MAX: u64 = 1_000_000_000_000_000;

    /// `bits` per second; outside of the range the nearer end. A link that passes nothing is [`LinkConfig::down`].
    #[must_use]
    pub const fn bits(bits: u64) -> Self {
        match bits {
            0 => Self(1),
            1..=Self::MAX => Self(bits),
            _ => Self(Self::MAX),
        }
    }

    /// `n` times 10^3 bits per second.
    #[must_use]
    pub const fn kbit(n: u32) -> Self {
        Self::bits(n as u64 * 1_000)
    }

    /// `n` times 10^6 bits per second.
    #[must_use]
    pub const fn mbit(n: u32) -> Self {
        Self::bits(n as u64 * 1_000_000)
    }

    /// Bits per second.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What the queue in front of the link holds; what does not fit any more is dropped (tail drop). The datagram that is
/// being put on the wire counts as queued until its last bit has left. Without a rate nothing ever waits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum QueueLimit {
    /// No limit.
    #[default]
    Unlimited,
    /// So many bytes of datagrams.
    Bytes(usize),
    /// So many datagrams, whatever their size.
    Packets(usize),
}

/// Which datagrams get lost. Those have left the queue and used up their share of the rate: they die on the wire.
#[derive(Clone, Default, Debug)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each one with this probability, independently.
    Random(Ppm),
    /// Bursts: a good and a bad state, each with its own loss, and a chance to change state with every datagram
    /// (Gilbert 1960, Elliott 1963). A link starts in the good state.
    GilbertElliott {
        /// The chance to go from good to bad before a datagram.
        to_bad: Ppm,
        /// The chance to go from bad to good before a datagram: bursts are 1 / `to_good` datagrams long on average.
        to_good: Ppm,
        /// Loss in the good state (Gilbert: none).
        in_good: Ppm,
        /// Loss in the bad state (Gilbert: half or more).
        in_bad: Ppm,
    },
    /// Exactly those for which the script, given the number of datagrams offered to the link before and the bytes,
    /// says so. See also [`Loss::nth`] and [`Loss::script`].
    Script(Script),
}

impl Loss {
    /// Loses the datagrams with these indices, counted from 0 over all that are offered to the link.
    #[must_use]
    pub fn nth(indices: &[u64]) -> Self {
        let indices = indices.to_vec();
        Self::script(move |index, _| indices.contains(&index))
    }

    /// Loses the datagrams for which `drop(index, bytes)` is true.
    #[must_use]
    pub fn script(drop: impl Fn(u64, &[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self::Script(Script(Arc::new(drop)))
    }
}

/// The predicate of [`Loss::Script`]; [`Loss::script`] makes one.
#[derive(Clone)]
pub struct Script(Arc<Predicate>);

type Predicate = dyn Fn(u64, &[u8]) -> bool + Send + Sync;

impl Script {
    pub(super) fn drops(&self, index: u64, datagram: &[u8]) -> bool {
        (self.0)(index, datagram)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

/// What a link does with the ECN codepoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum EcnPolicy {
    /// Leaves it alone.
    #[default]
    Pass,
    /// Sets CE on ECN-capable datagrams that find at least so many bytes in the queue (0: on all). Others pass.
    MarkAbove(usize),
    /// Clears it, as broken routers do.
    Bleach,
}

/// Lets datagrams pass at a rate, in bursts of so many bytes, and drops all others at once: a token bucket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Policer {
    /// How fast the bucket fills.
    pub rate: Rate,
    /// What it holds, in bytes; it is full at first.
    pub burst: usize,
}

/// One direction of a link. The default passes everything, unharmed, in no time.
#[derive(Clone, Default, Debug)]
pub struct LinkConfig {
    /// How fast datagrams get onto the wire, counting their own bytes and no headers; `None`: in no time.
    pub rate: Option<Rate>,
    /// A rate that changes over time, in place of `rate`.
    pub trace: Option<RateTrace>,
    /// What is dropped before it gets into the queue.
    pub policer: Option<Policer>,
    /// What may wait for the wire.
    pub queue: QueueLimit,
    /// From the last bit leaving the sender to its arrival.
    pub delay: Duration,
    /// Up to so much is added to the delay of each datagram, uniformly; order is kept (see `reorder`).
    pub jitter: Duration,
    /// Arrivals come only at whole multiples of this time, many at once, as radio frames and schedulers bundle them.
    /// Zero: each when it comes.
    pub bundle: Duration,
    /// What gets lost on the wire.
    pub loss: Loss,
    /// The chance of a datagram to be held up on the wire, by between one nanosecond and `reorder_by`, without those
    /// behind it being held up too.
    pub reorder: Ppm,
    /// The longest hold-up of a reordered datagram.
    pub reorder_by: Duration,
    /// The chance of a datagram to arrive twice. The copy gets jitter, reordering and corruption of its own.
    pub duplicate: Ppm,
    /// The chance of a datagram to arrive with between one and eight flipped bits.
    pub corrupt: Ppm,
    /// The longest datagram that passes, in bytes; longer ones are dropped before the queue. `None`: any.
    pub mtu: Option<usize>,
    /// What is kept out before the queue, by its bytes. `None`: nothing.
    pub filter: Option<Filter>,
    /// What becomes of ECN codepoints.
    pub ecn: EcnPolicy,
    /// Drops everything that is offered; what is under way already still arrives.
    pub down: bool,
}

//! One direction of a link, as a pure state machine: a datagram goes in, and out comes when and how it arrives.

mod config;
mod filter;
mod policer;
mod queue;
mod stats;
#[cfg(test)]
mod tests;
mod trace;

use core::num::NonZeroU64;
use core::{iter, mem};

use dunlin_core::{Duration, Instant};

pub use config::{EcnPolicy, LinkConfig, Loss, Policer, QueueLimit, Rate, Script};
pub use filter::Filter;
pub use stats::{Count, DelayHistogram, LinkStats};
pub use trace::RateTrace;

use crate::node::Ecn;
use crate::rng::Rng;
use policer::Bucket;
use queue::{Queue, Service};

/// Why a datagram did not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DropCause {
    /// The link was down.
    Down,
    /// It was longer than the MTU.
    Mtu,
    /// The queue was full.
    Queue,
    /// It got lost on the wire.
    Loss,
    /// The policer had no token for it.
    Policer,
    /// The filter kept it out.
    Filter,
}

/// An arrival at the far end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// When the last bit arrives.
    pub at: Instant,
    /// The codepoint it arrives with.
    pub ecn: Option<Ecn>,
    /// The harm that came to it, to be applied to its bytes.
    pub corruption: Option<Corruption>,
}

/// The arrivals of one datagram: one, or two if it was duplicated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deliveries {
    /// The arrival of the datagram.
    pub first: Delivery,
    /// The arrival of its copy, which may be the earlier of the two.
    pub copy: Option<Delivery>,
}

impl Deliveries {
    /// Both.
    pub fn iter(&self) -> impl Iterator<Item = Delivery> {
        iter::once(self.first).chain(self.copy)
    }
}

/// Which bits get flipped, as a seed: the link does not touch bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corruption(NonZeroU64);

impl Corruption {
    /// Flips between one and eight bits. Has no effect on nothing.
    pub fn apply(self, datagram: &mut [u8]) {
        let mut rng = Rng::new(self.0.get());
        let bits = datagram.len() as u64 * 8;
        let first = rng.below(bits);
        flip(datagram, first);
        for _ in 0..rng.below(8) {
            // Never back to what it was: the first bit stays flipped.
            let bit = rng.below(bits);
            if bit != first {
                flip(datagram, bit);
            }
        }
    }
}

fn flip(datagram: &mut [u8], bit: u64) {
    if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|index| datagram.get_mut(index)) {
        *byte ^= 1 << (bit % 8);
    }
}

/// The state of a Gilbert-Elliott channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Channel {
    Good,
    Bad,
}

/// One direction of a link. See the [crate's documentation](crate) and [`LinkConfig`].
///
/// ```
/// use dunlin_sim::{DropCause, Duration, Instant, Link, LinkConfig, Rate, Rng};
/// let config = LinkConfig { rate: Some(Rate::mbit(8)), mtu: Some(1_500), ..LinkConfig::default() };
/// let mut link = Link::new(config, Rng::new(1));
/// // 1000 bytes at 8 Mbit/s take a millisecond.
/// let deliveries = link.send(Instant::ZERO, &[0; 1000], None).unwrap();
/// assert_eq!(deliveries.first.at, Instant::ZERO + Duration::from_millis(1));
/// assert_eq!(link.send(Instant::ZERO, &[0; 1501], None), Err(DropCause::Mtu));
/// ```
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    rng: Rng,
    queue: Queue,
    bucket: Bucket,
    channel: Channel,
    /// Datagrams offered so far, for scripts.
    index: u64,
    /// The latest arrival of a datagram that was not reordered: none that keeps order arrives earlier.
    floor: Instant,
    stats: LinkStats,
}

impl Link {
    /// A link that nothing has passed yet.
    #[must_use]
    pub fn new(config: LinkConfig, rng: Rng) -> Self {
        Self {
            config,
            rng,
            queue: Queue::default(),
            bucket: Bucket::default(),
            channel: Channel::Good,
            index: 0,
            floor: Instant::ZERO,
            stats: LinkStats::default(),
        }
    }

    /// How the link is set.
    #[must_use]
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Sets the link anew, for datagrams sent from now on: what waits in the queue or is on the wire keeps its time of
    /// arrival, and may be overtaken where the new delay is shorter.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
        self.settings_changed();
    }

    /// Changes some of the settings, as [`set_config`](Self::set_config) does.
    pub fn configure(&mut self, change: impl FnOnce(&mut LinkConfig)) {
        change(&mut self.config);
        self.settings_changed();
    }

    fn settings_changed(&mut self) {
        self.floor = Instant::ZERO;
        self.queue.rate_changed();
    }

    /// Offers a datagram to the link at `now`, which must not go back from call to call.
    ///
    /// # Errors
    /// Why it will not arrive.
    pub fn send(&mut self, now: Instant, datagram: &[u8], ecn: Option<Ecn>) -> Result<Deliveries, DropCause> {
        let index = self.index;
        self.index += 1;
        self.stats.sent.add(datagram.len());
        self.queue.settle(now, &mut self.stats.queueing);
        let outcome = self.pass(now, index, datagram, ecn);
        match &outcome {
            Ok(deliveries) => deliveries.iter().for_each(|_| self.stats.delivered.add(datagram.len())),
            Err(cause) => self.stats.count_drop(*cause, datagram.len()),
        }
        outcome
    }

    fn pass(
        &mut self,
        now: Instant,
        index: u64,
        datagram: &[u8],
        ecn: Option<Ecn>,
    ) -> Result<Deliveries, DropCause> {
        if self.config.down {
            return Err(DropCause::Down);
        }
        if self.config.mtu.is_some_and(|mtu| datagram.len() > mtu) {
            return Err(DropCause::Mtu);
        }
        if self.config.filter.as_ref().is_some_and(|filter| filter.keeps_out(datagram)) {
            return Err(DropCause::Filter);
        }
        if let Some(policer) = self.config.policer
            && !self.bucket.passes(policer, now, datagram.len())
        {
            return Err(DropCause::Policer);
        }
        let departure = self.enqueue(now, datagram.len())?;
        let ecn = self.codepoint(departure.found, ecn);
        if self.lost(index, datagram) {
            return Err(DropCause::Loss);
        }
        let first = self.deliver(departure.at, ecn);
        let copy = self.rng.chance(self.config.duplicate).then(|| {
            self.stats.duplicated += 1;
            self.deliver(departure.at, ecn)
        });
        Ok(Deliveries { first, copy })
    }

    /// Puts the datagram into the queue, if there is one and it has room.
    fn enqueue(&mut self, now: Instant, len: usize) -> Result<Departure, DropCause> {
        let service = match (&self.config.trace, self.config.rate) {
            (Some(trace), _) => Service::Trace(trace),
            (None, Some(rate)) => Service::Rate(rate),
            // A queue from before, when there was a rate, still drains ahead of this one.
            (None, None) => {
                return Ok(Departure { at: self.queue.busy_until().max(now), found: self.queue.bytes() });
            }
        };
        let found = self.queue.bytes();
        let room = match self.config.queue {
            QueueLimit::Unlimited => true,
            QueueLimit::Bytes(limit) => found.saturating_add(len) <= limit,
            QueueLimit::Packets(limit) => self.queue.packets() < limit,
        };
        if !room {
            return Err(DropCause::Queue);
        }
        let at = self.queue.push(now, len, service);
        self.stats.queue_bytes_max = self.stats.queue_bytes_max.max(self.queue.bytes());
        Ok(Departure { at, found })
    }

    fn codepoint(&mut self, queued: usize, ecn: Option<Ecn>) -> Option<Ecn> {
        match (self.config.ecn, ecn?) {
            (EcnPolicy::Pass, ecn) | (EcnPolicy::MarkAbove(_), ecn @ Ecn::Ce) => Some(ecn),
            (EcnPolicy::MarkAbove(threshold), Ecn::Ect0 | Ecn::Ect1) if queued >= threshold => {
                self.stats.marked += 1;
                Some(Ecn::Ce)
            }
            (EcnPolicy::MarkAbove(_), ecn) => Some(ecn),
            (EcnPolicy::Bleach, _) => None,
        }
    }

    fn lost(&mut self, index: u64, datagram: &[u8]) -> bool {
        match &self.config.loss {
            Loss::None => false,
            Loss::Random(probability) => self.rng.chance(*probability),
            Loss::GilbertElliott { to_bad, to_good, in_good, in_bad } => {
                let (leave, other) = match self.channel {
                    Channel::Good => (*to_bad, Channel::Bad),
                    Channel::Bad => (*to_good, Channel::Good),
                };
                if self.rng.chance(leave) {
                    self.channel = other;
                }
                let loss = match self.channel {
                    Channel::Good => *in_good,
                    Channel::Bad => *in_bad,
                };
                self.rng.chance(loss)
            }
            Loss::Script(script) => script.drops(index, datagram),
        }
    }

    fn deliver(&mut self, departure: Instant, ecn: Option<Ecn>) -> Delivery {
        let on_time = departure + self.config.delay + up_to(&mut self.rng, self.config.jitter);
        let on_time = on_time.max(self.floor);
        let at = if self.rng.chance(self.config.reorder) {
            self.stats.reordered += 1;
            let most = self.config.reorder_by.saturating_sub(Duration::from_nanos(1));
            on_time + Duration::from_nanos(1) + up_to(&mut self.rng, most)
        } else {
            self.floor = on_time;
            on_time
        };
        let at = bundled(at, self.config.bundle);
        let corruption = self.rng.chance(self.config.corrupt).then(|| {
            self.stats.corrupted += 1;
            Corruption(NonZeroU64::MIN.saturating_add(self.rng.next_u64()))
        });
        Delivery { at, ecn, corruption }
    }

    /// How long a datagram that is offered at `now` would wait before it is put on the wire.
    #[must_use]
    pub fn queue_delay(&self, now: Instant) -> Duration {
        self.queue.busy_until() - now
    }

    /// What has happened up to `now`, since the beginning or the last [`take_stats`](Self::take_stats).
    pub fn stats(&mut self, now: Instant) -> &LinkStats {
        self.queue.settle(now, &mut self.stats.queueing);
        &self.stats
    }

    /// The same, and starts counting anew.
    pub fn take_stats(&mut self, now: Instant) -> LinkStats {
        self.queue.settle(now, &mut self.stats.queueing);
        let fresh = LinkStats { queue_bytes_max: self.queue.bytes(), ..LinkStats::default() };
        mem::replace(&mut self.stats, fresh)
    }
}

/// When a datagram is on the wire, and the bytes that it found in the queue.
struct Departure {
    at: Instant,
    found: usize,
}

/// The first multiple of `every` that is not before `at`.
fn bundled(at: Instant, every: Duration) -> Instant {
    match u64::try_from(every.as_nanos()).unwrap_or(u64::MAX) {
        0 => at,
        every => Instant::from_nanos(at.as_nanos().div_ceil(every).saturating_mul(every)),
    }
}

/// A duration from zero up to `most`, uniformly.
fn up_to(rng: &mut Rng, most: Duration) -> Duration {
    if most.is_zero() {
        return Duration::ZERO;
    }
    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.below(nanos.saturating_add(1)))
}

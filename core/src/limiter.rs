//! What keeps a connection from sending more, and for how long it has been that. Bookkeeping alone: the time between two
//! questions for packets belongs to what stood in the way at the first of them.

use alloc::boxed::Box;
use core::fmt;
use core::ops::{Index, IndexMut};

use crate::time::{Duration, Instant};

/// Something that a sender waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Gate {
    /// The application: everything it has written was sent. It also waits for a peer to be trusted.
    Application,
    /// Congestion control: as much is in flight as the path is believed to hold.
    Window,
    /// Congestion control: packets leave at the rate that the path is believed to carry.
    Pacer,
    /// The peer: it gives no more credit for data or for streams.
    Peer,
    /// A memory limit: of the connection, of the endpoint, or of what a stream may hold for sending.
    Budget,
    /// Whoever carries packets away: there was more to send than it has asked for.
    Socket,
    /// The path: the peer's address is not proved yet, or what was sent is not acknowledged any more.
    Path,
}

impl Gate {
    /// How many there are.
    const COUNT: usize = 7;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Application, Self::Window, Self::Pacer, Self::Peer, Self::Budget, Self::Socket, Self::Path];

    /// Its name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Window => "window",
            Self::Pacer => "pacer",
            Self::Peer => "peer",
            Self::Budget => "budget",
            Self::Socket => "socket",
            Self::Path => "path",
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Time spent at each gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Spent([Duration; Gate::COUNT]);

impl Spent {
    fn sum(&self) -> Duration {
        self.0.into_iter().fold(Duration::ZERO, Duration::saturating_add)
    }

    fn add(&mut self, gate: Gate, time: Duration) {
        self[gate] = self[gate].saturating_add(time);
    }
}

#[expect(clippy::indexing_slicing, reason = "one place for each gate")]
impl Index<Gate> for Spent {
    type Output = Duration;

    fn index(&self, gate: Gate) -> &Duration {
        &self.0[gate as usize]
    }
}

#[expect(clippy::indexing_slicing, reason = "one place for each gate")]
impl IndexMut<Gate> for Spent {
    fn index_mut(&mut self, gate: Gate) -> &mut Duration {
        &mut self.0[gate as usize]
    }
}

/// What holds a sender back, and what has since the connection stood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimiterStats {
    gate: Gate,
    spent: Spent,
}

impl LimiterStats {
    /// What it waits for now.
    #[must_use]
    pub const fn gate(&self) -> Gate {
        self.gate
    }

    /// How long it has waited for this, all times together.
    #[must_use]
    pub fn time(&self, gate: Gate) -> Duration {
        self.spent[gate]
    }

    /// The time since the connection stood, which is the sum of all gates'.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.spent.sum()
    }

    /// What it has waited for longest.
    #[must_use]
    pub fn main(&self) -> Gate {
        let longest = |found: Gate, gate: Gate| if self.time(gate) > self.time(found) { gate } else { found };
        Gate::ALL.into_iter().fold(Gate::Application, longest)
    }
}

/// Keeps the book of one connection.
///
/// Most connections only ever wait for their application, so the rest is made when it is needed.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// When the connection was first asked for packets; `MAX` before.
    begun: Instant,
    /// When it came to the gate at which it is.
    since: Instant,
    gate: Gate,
    /// What was spent at other gates than the application's.
    others: Option<Box<Spent>>,
}

impl Limiter {
    pub(crate) const fn new() -> Self {
        Self { begun: Instant::MAX, since: Instant::ZERO, gate: Gate::Application, others: None }
    }

    /// It was asked for a packet, and this stands in the way of another.
    pub(crate) fn on_held(&mut self, now: Instant, gate: Gate) {
        if self.begun == Instant::MAX {
            (self.begun, self.since) = (now, now);
        }
        if gate == self.gate {
            return;
        }
        let spent = now - self.since;
        if self.gate != Gate::Application && !spent.is_zero() {
            self.others.get_or_insert_default().add(self.gate, spent);
        }
        (self.gate, self.since) = (gate, now);
    }

    /// What it comes to now.
    pub(crate) fn stats(&self, now: Instant) -> LimiterStats {
        let mut spent = self.others.as_deref().copied().unwrap_or_default();
        if self.gate != Gate::Application {
            spent.add(self.gate, now - self.since);
        }
        spent[Gate::Application] = (now - self.begun).saturating_sub(spent.sum());
        LimiterStats { gate: self.gate, spent }
    }

    /// Heap held, in bytes.
    pub(crate) const fn heap_bytes(&self) -> usize {
        if self.others.is_some() { size_of::<Spent>() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn time_belongs_to_what_stood_in_the_way_when_it_began() {
        let mut limiter = Limiter::new();
        assert_eq!(limiter.stats(at(5)).total(), ms(0), "it does not stand yet");
        limiter.on_held(at(10), Gate::Socket);
        limiter.on_held(at(10), Gate::Pacer);
        limiter.on_held(at(13), Gate::Socket);
        limiter.on_held(at(14), Gate::Pacer);
        limiter.on_held(at(18), Gate::Application);
        limiter.on_held(at(20), Gate::Application);
        let stats = limiter.stats(at(30));
        assert_eq!((stats.time(Gate::Pacer), stats.time(Gate::Socket)), (ms(7), ms(1)));
        assert_eq!((stats.time(Gate::Application), stats.total()), (ms(12), ms(20)));
        assert_eq!((stats.gate(), stats.main()), (Gate::Application, Gate::Application));
    }

    #[test]
    fn an_idle_connection_holds_nothing() {
        let mut limiter = Limiter::new();
        for millis in 0..10 {
            limiter.on_held(at(millis), Gate::Socket);
            limiter.on_held(at(millis), Gate::Application);
        }
        assert_eq!(limiter.heap_bytes(), 0);
        assert_eq!(limiter.stats(at(99)).time(Gate::Application), ms(99));
    }

    proptest! {
        #[test]
        fn no_time_is_lost_and_none_counts_twice(steps in prop::collection::vec((0..7_usize, 0..50_u64), 1..40)) {
            let (mut limiter, mut now) = (Limiter::new(), at(3));
            let mut expected = Spent::default();
            for (gate, wait) in steps {
                limiter.on_held(now, Gate::ALL[gate]);
                expected[Gate::ALL[gate]] += ms(wait);
                now += ms(wait);
                let stats = limiter.stats(now);
                prop_assert_eq!(stats.spent, expected);
                prop_assert_eq!(stats.total(), now - at(3));
            }
        }
    }
}

//! What scenarios measure: gaps between arrivals, and memory that has to be as it was.

use core::fmt;

use dunlin_core::{Duration, EndpointStats, Instant};

use crate::host::Host;
use crate::world::World;

/// The instants at which bytes arrived, each once: 8 bytes of memory for each.
#[derive(Clone, Default)]
pub struct Arrivals(Vec<Instant>);

impl Arrivals {
    /// Bytes have arrived at `now`, which does not go back from call to call.
    pub fn note(&mut self, now: Instant) {
        debug_assert!(self.0.last().is_none_or(|last| *last <= now), "time goes back");
        if self.0.last() != Some(&now) {
            self.0.push(now);
        }
    }

    /// The longest time between `from` and `to` in which nothing arrived. What is between `from` and the first arrival
    /// counts, and between the last one and `to`.
    #[must_use]
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let within = &self.0[self.after(from)..];
        let mut last = from;
        let mut longest = Duration::ZERO;
        for at in within.iter().copied().take_while(|at| *at < to).chain([to]) {
            longest = longest.max(at - last);
            last = at;
        }
        longest
    }

    /// How long after `from` the first byte arrived; `None` if none has. What arrived at `from` itself does not count:
    /// it had been under way.
    #[must_use]
    pub fn first_after(&self, from: Instant) -> Option<Duration> {
        self.0.get(self.after(from)).map(|at| *at - from)
    }

    /// The first arrival that is later than `from`.
    fn after(&self, from: Instant) -> usize {
        self.0.partition_point(|at| *at <= from)
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals")
            .field("count", &self.0.len())
            .field("first", &self.0.first())
            .field("last", &self.0.last())
            .finish()
    }
}

/// The memory that the endpoints of a world hold at an instant, as they count it themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryMark(Vec<u64>);

impl MemoryMark {
    /// What they hold now, in bytes.
    #[must_use]
    pub fn of(world: &World<Host>) -> Self {
        Self(world.nodes().map(|(_, host)| host.endpoint.stats().memory_used).collect())
    }

    /// Asserts that every endpoint holds exactly what it held at the mark.
    ///
    /// # Panics
    /// If one of them does not.
    pub fn assert_unchanged(&self, world: &World<Host>) {
        let now = Self::of(world);
        assert_eq!(now, *self, "bytes held per node, now and at the mark, at {:?}", world.now());
    }
}

/// What the work of an endpoint between two looks at its counters weighs, in units of about 100 ns of one core: what was
/// looked at, opened, multiplied, digested and planned. Counted, not timed, so that it is the same in every run and a bound on
/// it can be asserted.
///
/// The weights are rough: an X25519 20 to 45 µs, a digest of 1,200 bytes 1.5 µs, a generation of keys some 2 µs, a short
/// packet's AEAD 400 ns, the rest a cache line or two each.
#[must_use]
pub const fn work_between(before: &EndpointStats, after: &EndpointStats) -> u64 {
    let frames = after.frames - before.frames;
    let ranges = after.ranges - before.ranges;
    let aead = after.aead_operations - before.aead_operations;
    let x25519 = after.x25519_operations - before.x25519_operations;
    let timers = after.timers_fired - before.timers_fired;
    let planned = after.packets_planned - before.packets_planned;
    let digests = after.digests - before.digests;
    let derivations = after.derivations - before.derivations;
    frames + ranges + 4 * aead + 200 * x25519 + timers + planned + 15 * digests + 20 * derivations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn arrivals(millis: &[u64]) -> Arrivals {
        let mut arrivals = Arrivals::default();
        millis.iter().for_each(|millis| arrivals.note(at(*millis)));
        arrivals
    }

    #[test]
    fn the_longest_gap_counts_both_ends() {
        let arrivals = arrivals(&[10, 12, 12, 30, 35]);
        for (from, to, gap) in [
            (0, 40, 18),
            (0, 11, 10),
            (0, 5, 5),
            (30, 35, 5),
            (35, 90, 55),
            (12, 20, 8),
            (20, 20, 0),
            (50, 60, 10),
        ] {
            assert_eq!(arrivals.longest_gap(at(from), at(to)), ms(gap), "{from} to {to}");
        }
        assert_eq!(Arrivals::default().longest_gap(at(1), at(3)), ms(2));
    }

    #[test]
    fn the_first_byte_after_an_instant_is_later_than_it() {
        let arrivals = arrivals(&[10, 12, 30]);
        assert_eq!(arrivals.first_after(at(0)), Some(ms(10)));
        assert_eq!(arrivals.first_after(at(12)), Some(ms(18)));
        assert_eq!(arrivals.first_after(at(30)), None);
    }
}

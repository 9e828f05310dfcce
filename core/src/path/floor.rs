//! The shortest round trip of late: what a path takes without the queue that we make ourselves. Congestion control's minimum
//! is of the last ten seconds; a path that has become longer would look for as long as if all that it takes more were our
//! own packets in its queue.

use crate::time::{Duration, Instant};

/// The minimum is over the last one to two of these: longer than a sender that fills a queue keeps it filled.
const SPAN: Duration = Duration::from_secs(1);

/// See the module's documentation. Times are in microseconds; an hour and more is as long as that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    since: Instant,
    current: u32,
    before: u32,
}

impl Floor {
    /// No sample yet.
    pub(crate) const fn new() -> Self {
        Self { since: Instant::ZERO, current: u32::MAX, before: u32::MAX }
    }

    /// A round trip was measured.
    pub(crate) fn on_sample(&mut self, now: Instant, sample: Duration) {
        let sample = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX);
        let age = now - self.since;
        if age < SPAN {
            self.current = self.current.min(sample);
        } else {
            self.before = if age < SPAN.saturating_mul(2) { self.current } else { u32::MAX };
            (self.since, self.current) = (now, sample);
        }
    }

    /// The shortest round trip, if there was any.
    pub(crate) fn get(&self) -> Option<Duration> {
        let least = self.current.min(self.before);
        (least < u32::MAX).then(|| Duration::from_micros(least.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_floor_is_the_least_of_the_last_two_seconds() {
        let (at, ms) = (|millis: u64| Instant::from_nanos(millis * 1_000_000), Duration::from_millis);
        let mut floor = Floor::new();
        assert_eq!(floor.get(), None);
        for (millis, sample, expected) in [
            (5_000, 20, 20),
            (5_900, 50, 20),
            (6_000, 60, 20),
            (6_999, 40, 20),
            (7_000, 70, 40),
            (8_000, 80, 70),
            (20_000, 90, 90),
        ] {
            floor.on_sample(at(millis), ms(sample));
            assert_eq!(floor.get(), Some(ms(expected)), "{millis}");
        }
    }
}

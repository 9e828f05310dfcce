//! How often something is done for strangers: so many times a second.

use core::num::NonZeroU64;

use crate::time::{Duration, Instant};

/// A second's worth can be saved up, so that many things may happen at once.
const SAVED: Duration = Duration::from_secs(1);

/// A rate, by the generic cell rate algorithm (ITU-T I.371, annex A): one number, which is the time at which everything that
/// was done would be paid for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bucket {
    paid: Instant,
}

impl Bucket {
    /// Nothing was done yet.
    pub(super) const NEW: Self = Self { paid: Instant::ZERO };

    /// Whether it may be done once more, at `per_second` and as many at once. If so it counts as done.
    pub(super) fn take(&mut self, now: Instant, per_second: u32) -> bool {
        let paid = self.once_more(now, per_second);
        self.paid = paid.unwrap_or(self.paid);
        paid.is_some()
    }

    /// Whether [`Self::take`] would say so.
    pub(super) fn allows(&self, now: Instant, per_second: u32) -> bool {
        self.once_more(now, per_second).is_some()
    }

    /// When all would be paid for with one more, if that may be.
    fn once_more(&self, now: Instant, per_second: u32) -> Option<Instant> {
        let per_second = NonZeroU64::new(per_second.into())?;
        let cost = Duration::from_nanos(1_000_000_000_u64.div_ceil(per_second.get()));
        let paid = self.paid.max(now) + cost;
        (paid <= now + SAVED).then_some(paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn taken(bucket: &mut Bucket, now: Instant, per_second: u32, wishes: u32) -> usize {
        (0..wishes).filter(|_| bucket.take(now, per_second)).count()
    }

    fn at_once(per_second: u32, wishes: u32) -> usize {
        let mut bucket = Bucket::NEW;
        taken(&mut bucket, at(0), per_second, wishes)
    }

    #[test]
    fn hostile_wishes_are_met_a_second_s_worth_at_once_and_then_by_the_rate() {
        let mut bucket = Bucket::NEW;
        assert_eq!(taken(&mut bucket, at(5_000), 10, 100), 10);
        assert_eq!(taken(&mut bucket, at(5_050), 10, 100), 0);
        assert_eq!(taken(&mut bucket, at(5_100), 10, 100), 1);
        let total: usize = (5_101..15_101).map(|millis| taken(&mut bucket, at(millis), 10, 3)).sum();
        assert_eq!(total, 100, "ten seconds of them");
        assert_eq!(
            taken(&mut bucket, Instant::from_nanos(u64::MAX / 2), 10, 100),
            10,
            "however long it was quiet"
        );
    }

    #[test]
    fn hostile_rates_of_nothing_and_of_everything_are_what_they_say() {
        assert_eq!(at_once(0, 100), 0);
        assert_eq!(at_once(u32::MAX, 10_000), 10_000);
        assert_eq!(at_once(1, 10), 1);
        // What does not divide a second evenly is never more than it says.
        assert_eq!(at_once(7, 100), 6);
    }
}

//! How often the peer may change its keys: each change costs us a derivation, and an honest peer takes its time.

use crate::{Duration, Instant};

/// Changes that may come at once. An honest peer waits for an acknowledgement between two, so whoever was asleep finds one; the
/// rest is for senders that are less patient.
const AT_ONCE: u8 = 8;
/// The least that three probe timeouts, for which a phase lasts, can be: three times the granularity of timers (RFC 9002
/// section 6.1.2). In microseconds.
pub(super) const LEAST_PHASE: u32 = 3_000;

/// Counts the changes that may come yet: one more after each [`LEAST_PHASE`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    left: u8,
    /// Up to when changes have been counted back in.
    counted: Instant,
    /// After how long one more may come, in microseconds.
    interval: u32,
}

impl Pace {
    /// One more after each `interval`, in microseconds; with none, as many as come.
    pub(super) const fn new(interval: u32) -> Self {
        Self { left: AT_ONCE, counted: Instant::ZERO, interval }
    }

    /// Whether one may come now.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let since = now.saturating_since(self.counted).as_micros();
        let Some(more) = since.checked_div(self.interval.into()) else { return true };
        match u8::try_from(more).ok().and_then(|more| self.left.checked_add(more)) {
            Some(left) if left < AT_ONCE => {
                self.left = left;
                self.counted += Duration::from_micros(u64::from(self.interval).saturating_mul(more as u64));
            }
            _ => (self.left, self.counted) = (AT_ONCE, now),
        }
        self.left > 0
    }

    /// One has come.
    pub(super) const fn on_change(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::ZERO + Duration::from_micros(micros)
    }

    /// How many of a crowd that comes at `now` get through.
    fn changes(pace: &mut Pace, now: Instant) -> u32 {
        let mut count = 0;
        while count < 100 && pace.allows(now) {
            pace.on_change();
            count += 1;
        }
        count
    }

    #[test]
    fn eight_may_come_at_once_and_then_one_for_each_interval() {
        let mut pace = Pace::new(LEAST_PHASE);
        assert_eq!(changes(&mut pace, at(0)), 8);
        assert_eq!(changes(&mut pace, at(2_999)), 0);
        assert_eq!(changes(&mut pace, at(3_000)), 1);
        // The rest of an interval counts for the next one.
        assert_eq!(changes(&mut pace, at(8_999)), 1);
        assert_eq!(changes(&mut pace, at(9_000)), 1);
        assert_eq!(changes(&mut pace, at(10_000_000)), 8, "no more than at the beginning");
    }

    #[test]
    fn without_an_interval_as_many_as_come() {
        assert_eq!(changes(&mut Pace::new(0), at(0)), 100);
    }
}

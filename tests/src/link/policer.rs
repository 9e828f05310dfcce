//! A policer: it lets so much pass and drops the rest, without a queue.

use dunlin_core::Instant;

use super::config::Policer;

/// The token bucket of a [`Policer`], in billionths of bits, so that no fraction is lost.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Bucket {
    /// What has passed and was not made up for.
    debt: u64,
    updated: Instant,
}

impl Bucket {
    /// Whether a datagram of so many bytes passes at `now`. If it does, it is taken out of the bucket.
    pub(super) fn passes(&mut self, policer: Policer, now: Instant, len: usize) -> bool {
        let nanos = u64::try_from((now - self.updated).as_nanos()).unwrap_or(u64::MAX);
        self.debt = self.debt.saturating_sub(nanos.saturating_mul(policer.rate.get()));
        self.updated = self.updated.max(now);
        let debt = self.debt.saturating_add(nanobits(len as u64));
        let passes = debt <= nanobits(policer.burst as u64);
        if passes {
            self.debt = debt;
        }
        passes
    }
}

/// Billionths of bits in so many bytes.
fn nanobits(bytes: u64) -> u64 {
    bytes.saturating_mul(8_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Rate;
    use dunlin_core::Duration;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let policer = Policer { rate: Rate::mbit(8), burst: 5_000 };
        let mut bucket = Bucket::default();
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        let burst = (0..10).filter(|_| bucket.passes(policer, at(0), 1_000)).count();
        assert_eq!(burst, 5);
        // A millisecond makes up for 1,000 bytes, an hour for the burst and no more.
        assert!(bucket.passes(policer, at(1), 1_000) && !bucket.passes(policer, at(1), 1));
        let later = (0..10).filter(|_| bucket.passes(policer, at(3_600_000), 1_000)).count();
        assert_eq!(later, 5);
    }
}

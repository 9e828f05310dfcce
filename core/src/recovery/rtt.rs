//! Round-trip time of a path (RFC 9002 section 5).

use crate::time::{Duration, part};

/// RTT assumed before the first sample (RFC 9002 section 6.2.2).
const INITIAL_RTT: Duration = Duration::from_millis(333);
/// The granularity that timers are assumed to have (RFC 9002 section 6.1.2, `kGranularity`).
const GRANULARITY: Duration = Duration::from_millis(1);

/// How many times its minimum a round trip is believed to take, for what is granted to the peer by it: more than queues
/// make of it.
const CREDIBLE: u32 = 8;
/// A round trip is believed to take as long as this however short the minimum is: one that begins in the same room may
/// lead around half the world later.
const CREDIBLE_AT_LEAST: Duration = Duration::from_millis(100);

/// The round-trip time of a path: latest sample, lifetime minimum, smoothed value and mean deviation.
///
/// The minimum is over the life of the path; the windowed minimum belongs to congestion control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rtt {
    /// The samples' digest, once there was one.
    samples: Option<Samples>,
}

/// What the samples so far amount to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Samples {
    /// `latest_rtt`.
    latest: Duration,
    /// `min_rtt`, ack delay not taken off.
    min: Duration,
    /// `smoothed_rtt`.
    smoothed: Duration,
    /// `rttvar`.
    variance: Duration,
}

impl Rtt {
    /// No sample yet: 333 ms are assumed.
    pub(crate) const fn new() -> Self {
        Self { samples: None }
    }

    /// Takes in a sample: the time from sending the largest newly acknowledged packet to now, if that packet or any
    /// other newly acknowledged one was ack-eliciting.
    ///
    /// `ack_delay` is what the peer says it waited; the caller has capped it at the peer's maximum (RFC 9002 section
    /// 5.3). It is taken off only as far as the result stays at or above the minimum.
    pub(crate) fn update(&mut self, latest: Duration, ack_delay: Duration) {
        let Some(old) = self.samples else {
            let variance = part(latest, 2);
            self.samples = Some(Samples { latest, min: latest, smoothed: latest, variance });
            return;
        };
        let min = old.min.min(latest);
        let adjusted = match latest.checked_sub(ack_delay) {
            Some(adjusted) if adjusted >= min => adjusted,
            _ => latest,
        };
        let deviation = old.smoothed.abs_diff(adjusted);
        self.samples = Some(Samples {
            latest,
            min,
            smoothed: old.smoothed.saturating_sub(part(old.smoothed, 8)).saturating_add(part(adjusted, 8)),
            variance: old.variance.saturating_sub(part(old.variance, 4)).saturating_add(part(deviation, 4)),
        });
    }

    /// Whether there was a sample yet.
    #[must_use]
    pub const fn is_measured(&self) -> bool {
        self.samples.is_some()
    }

    /// The latest sample; 333 ms before the first.
    #[must_use]
    pub fn latest(&self) -> Duration {
        self.samples.map_or(INITIAL_RTT, |s| s.latest)
    }

    /// The smallest sample over the life of the path; 333 ms before the first.
    #[must_use]
    pub fn min(&self) -> Duration {
        self.samples.map_or(INITIAL_RTT, |s| s.min)
    }

    /// The exponentially smoothed RTT, the peer's ack delay taken off; 333 ms before the first sample.
    #[must_use]
    pub fn smoothed(&self) -> Duration {
        self.samples.map_or(INITIAL_RTT, |s| s.smoothed)
    }

    /// The smoothed RTT as far as it is believed of the peer, who makes it as long as it likes by acknowledging late: up to
    /// 8 times the minimum, or 100 ms.
    pub(crate) fn credible(&self) -> Duration {
        self.smoothed().min(self.min().saturating_mul(CREDIBLE).max(CREDIBLE_AT_LEAST))
    }

    /// The mean deviation from the smoothed RTT (`rttvar`); half of 333 ms before the first sample.
    #[must_use]
    pub fn variance(&self) -> Duration {
        self.samples.map_or_else(|| part(INITIAL_RTT, 2), |s| s.variance)
    }

    /// The probe timeout, before any backoff (RFC 9002 section 6.2.1): smoothed RTT, four deviations (at least 1 ms)
    /// and the longest time that the peer may hold back an ACK (zero while the handshake is not confirmed).
    #[must_use]
    pub fn pto(&self, max_ack_delay: Duration) -> Duration {
        let margin = self.variance().saturating_mul(4).max(GRANULARITY);
        self.smoothed().saturating_add(margin).saturating_add(max_ack_delay)
    }
}

impl Default for Rtt {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn before_the_first_sample_333_ms_are_assumed() {
        let rtt = Rtt::new();
        assert!(!rtt.is_measured());
        assert_eq!((rtt.smoothed(), rtt.pto(ms(25))), (ms(333), ms(333) + ms(666) + ms(25)));
    }

    #[test]
    fn follows_rfc_9002_section_5_3() {
        let mut rtt = Rtt::new();
        rtt.update(ms(100), ms(50));
        assert_eq!((rtt.min(), rtt.smoothed(), rtt.variance()), (ms(100), ms(100), ms(50)));
        rtt.update(ms(180), ms(40));
        // Adjusted 140: deviation 40, variance 3/4 * 50 + 40/4, smoothed 7/8 * 100 + 140/8.
        assert_eq!((rtt.latest(), rtt.min()), (ms(180), ms(100)));
        assert_eq!((rtt.smoothed(), rtt.variance()), (ms(105), Duration::from_micros(47_500)));
        assert_eq!(rtt.pto(ms(25)), ms(105) + ms(190) + ms(25));
    }

    #[test]
    fn a_lying_ack_delay_cannot_push_below_the_minimum() {
        let mut rtt = Rtt::new();
        rtt.update(ms(100), ms(0));
        rtt.update(ms(110), ms(50));
        assert_eq!(rtt.smoothed(), Duration::from_micros(101_250));
    }

    #[test]
    fn a_round_trip_that_grows_too_long_is_not_believed() {
        for (least, stretched, credible) in [(1, 90, 90), (1, 2_000, 100), (50, 390, 390), (50, 5_000, 400)] {
            let mut rtt = Rtt::new();
            rtt.update(ms(least), ms(0));
            (0..100).for_each(|_| rtt.update(ms(stretched), ms(0)));
            assert!(rtt.credible().abs_diff(ms(credible)) < ms(1), "{:?} of {stretched} ms", rtt.credible());
        }
    }

    #[test]
    fn a_steady_loopback_path_still_gets_a_millisecond_of_grace() {
        let mut rtt = Rtt::new();
        (0..200).for_each(|_| rtt.update(Duration::from_micros(50), Duration::ZERO));
        assert!((ms(1)..Duration::from_micros(1100)).contains(&rtt.pto(Duration::ZERO)));
    }

    proptest! {
        #[test]
        fn any_samples_are_taken(samples in proptest::collection::vec((any::<u64>(), any::<u64>()), 1..50)) {
            let mut rtt = Rtt::new();
            for &(latest, delay) in &samples {
                rtt.update(Duration::from_nanos(latest), Duration::from_nanos(delay));
                prop_assert!(rtt.min() <= rtt.latest());
                prop_assert!(rtt.pto(Duration::MAX) == Duration::MAX);
            }
            let min = samples.iter().map(|&(latest, _)| latest).min().unwrap();
            prop_assert_eq!(rtt.min(), Duration::from_nanos(min));
        }
    }
}

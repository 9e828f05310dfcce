//! The windowed minimum RTT, and when ProbeRTT is due (draft-ietf-ccwg-bbr-06 sections 5.3.4.3 and 5.5.7).
//!
//! Unlike in the draft, a sample that comes close to the minimum keeps it fresh, as an equal one does in Linux: the
//! path has just shown itself without a queue, and a ProbeRTT, which costs up to a tenth of the throughput of a long
//! path, could show no more. Flows that share a standing queue see no such sample and probe as the draft has it.

use super::params::{LEAST_QUEUE, MIN_RTT_WINDOW, NEAR_DIVISOR, PROBE_RTT_INTERVAL, QUEUED_DIVISOR};
use crate::time::{Duration, Instant, part};

/// An RTT sample and when it was taken.
#[derive(Clone, Copy, Debug)]
struct Stamped {
    /// The sample.
    rtt: Duration,
    /// When it was taken.
    at: Instant,
}

/// The minimum RTT over two windows: 10 s for the model, 5 s to schedule ProbeRTT.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MinRtt {
    /// `BBR.min_rtt` and its stamp.
    model: Option<Stamped>,
    /// `BBR.probe_rtt_min_delay` and its stamp.
    probe: Option<Stamped>,
    /// `BBR.probe_rtt_expired`: nothing lower was seen for an interval.
    expired: bool,
}

impl MinRtt {
    /// `UpdateMinRTT`: takes in an ACK with its RTT sample, if it gave one.
    pub(super) fn update(&mut self, now: Instant, sample: Option<Duration>) {
        self.expired = self.probe.is_some_and(|probe| now > probe.at + PROBE_RTT_INTERVAL);
        if let Some(rtt) = sample
            && self.probe.is_none_or(|probe| rtt < probe.rtt || self.expired)
        {
            self.probe = Some(Stamped { rtt, at: now });
        }
        let Some(probe) = self.probe else { return };
        if let (Some(rtt), Some(model)) = (sample, &mut self.model)
            && is_near(rtt, model.rtt)
        {
            model.at = now;
            self.expired = false;
            self.probe = Some(Stamped { rtt: probe.rtt.min(rtt), at: now });
        }
        if self.model.is_none_or(|model| probe.rtt < model.rtt || now > model.at + MIN_RTT_WINDOW) {
            self.model = Some(probe);
        }
    }

    /// ProbeRTT has ended: the next one is due an interval from now. What it has seen is the minimum, also where that
    /// is longer than it was: the draft waits for another five seconds, in which a route that has become longer would
    /// look like a queue that somebody else fills.
    pub(super) fn end_probe(&mut self, now: Instant) {
        if let Some(probe) = &mut self.probe {
            probe.at = now;
            self.model = Some(*probe);
        }
    }

    /// The minimum over the last 10 s; `None` before the first sample.
    pub(super) fn get(&self) -> Option<Duration> {
        self.model.map(|model| model.rtt)
    }

    /// Whether `rtt` is as good as without a queue.
    pub(super) fn is_near(&self, rtt: Option<Duration>) -> bool {
        self.compare(rtt, is_near)
    }

    /// Whether `rtt` is so long as if there was a queue.
    pub(super) fn is_queued(&self, rtt: Option<Duration>) -> bool {
        self.compare(rtt, |rtt, min| rtt.saturating_sub(min) > part(min, QUEUED_DIVISOR).max(LEAST_QUEUE))
    }

    fn compare(&self, rtt: Option<Duration>, is: impl Fn(Duration, Duration) -> bool) -> bool {
        rtt.zip(self.get()).is_some_and(|(rtt, min)| is(rtt, min))
    }

    /// Whether the minimum needs a fresh look.
    pub(super) fn is_probe_due(&self) -> bool {
        self.expired
    }
}

/// Whether `rtt` is as good as `min`, the one without a queue.
fn is_near(rtt: Duration, min: Duration) -> bool {
    rtt <= min.saturating_add(part(min, NEAR_DIVISOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Instant {
        Instant::from_nanos(secs * 1_000_000_000)
    }

    const fn ms(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn a_late_epoch_does_not_make_the_first_sample_stale() {
        let mut min = MinRtt::default();
        min.update(secs(1_000_000), None);
        min.update(secs(1_000_000), ms(40));
        assert_eq!((min.get(), min.is_probe_due()), (ms(40), false));
    }

    #[test]
    fn five_seconds_without_a_lower_sample_call_for_a_probe_and_ten_raise_the_minimum() {
        let mut min = MinRtt::default();
        min.update(secs(0), ms(40));
        min.update(secs(4), ms(60));
        assert!(!min.is_probe_due());
        min.update(secs(6), ms(50));
        assert_eq!((min.get(), min.is_probe_due()), (ms(40), true));
        min.update(secs(7), ms(55));
        assert_eq!((min.get(), min.is_probe_due()), (ms(40), false));
        min.update(secs(11), ms(55));
        assert_eq!(min.get(), ms(50), "the lowest since the last probe");
        min.update(secs(11), ms(30));
        assert_eq!(min.get(), ms(30));
    }

    #[test]
    fn a_sample_near_the_minimum_keeps_it_and_postpones_the_probe() {
        let mut min = MinRtt::default();
        min.update(secs(0), ms(160));
        min.update(secs(4), ms(170));
        min.update(secs(9), ms(180));
        assert_eq!((min.get(), min.is_probe_due()), (ms(160), false), "one in sixteen is near");
        min.update(secs(10), ms(180));
        assert!(min.is_probe_due());
        min.update(secs(14), ms(180));
        assert_eq!(min.get(), ms(160));
        min.update(secs(15), ms(180));
        assert_eq!(min.get(), ms(180), "nothing near for ten seconds");

        let mut min = MinRtt::default();
        min.update(secs(0), ms(160));
        min.update(secs(4), ms(171));
        min.update(secs(6), ms(180));
        assert!(min.is_probe_due(), "a little more than one in sixteen is not");
    }

    #[test]
    fn a_near_sample_neither_raises_the_minimum_nor_hides_a_lower_one() {
        let mut min = MinRtt::default();
        min.update(secs(0), ms(160));
        min.update(secs(6), ms(200));
        assert!(min.is_probe_due());
        min.update(secs(7), ms(165));
        assert_eq!((min.get(), min.is_probe_due()), (ms(160), false));
        min.update(secs(8), ms(150));
        assert_eq!(min.get(), ms(150));
        // Near the new minimum; the old one would have been as good.
        min.update(secs(12), ms(159));
        min.update(secs(21), ms(200));
        assert_eq!(min.get(), ms(150));
    }

    #[test]
    fn the_minimum_does_not_drift_upwards_with_samples_near_it() {
        let mut min = MinRtt::default();
        min.update(secs(0), ms(160));
        for i in 1..=5000 {
            min.update(secs(i), ms(160 + i % 11));
            assert_eq!((min.get(), min.is_probe_due()), (ms(160), false));
        }
    }

    #[test]
    fn near_and_queued_leave_a_gap_between_them() {
        let mut min = MinRtt::default();
        assert!(!min.is_near(ms(1)) && !min.is_queued(ms(1000)), "nothing to compare with");
        min.update(secs(0), ms(160));
        let near = [100, 160, 170, 171, 200, 201, 1000].map(|rtt| min.is_near(ms(rtt)));
        let queued = [100, 160, 170, 171, 200, 201, 1000].map(|rtt| min.is_queued(ms(rtt)));
        assert_eq!(near, [true, true, true, false, false, false, false]);
        assert_eq!(queued, [false, false, false, false, false, true, true]);
        assert!(!min.is_near(None) && !min.is_queued(None));
    }

    #[test]
    fn a_queue_takes_a_millisecond_at_least() {
        let mut min = MinRtt::default();
        min.update(secs(0), Some(Duration::ZERO));
        assert_eq!([0, 1, 2].map(|rtt| min.is_queued(ms(rtt))), [false, false, true]);
    }

    #[test]
    fn what_a_probe_has_seen_is_the_minimum_at_once_also_if_it_is_longer() {
        let mut min = MinRtt::default();
        min.update(secs(0), ms(40));
        min.update(secs(6), ms(80));
        min.update(secs(6), ms(60));
        assert_eq!(min.get(), ms(40));
        min.end_probe(secs(6));
        assert_eq!((min.get(), min.is_queued(ms(60))), (ms(60), false));
    }
}

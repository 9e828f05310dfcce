//! How fast acknowledgments come, in spans of one RTT, and whether a queue stood all the while.
//!
//! The bandwidth filter knows the best of several seconds. What `fall` and `ease` need is the mean of the last moment:
//! it does not scatter upwards, as single rate samples do where acknowledgments come in bunches.

use super::params::MIN_SPAN;
use super::{Ack, Bbr};
use crate::congestion::bandwidth::Bandwidth;
use crate::time::{Duration, Instant};

/// The span being measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spans {
    /// When it began.
    since: Instant,
    /// Bytes delivered by then.
    delivered: u64,
    /// The smallest RTT in it.
    rtt: Option<Duration>,
    /// The application held the rate back.
    app_limited: bool,
}

/// What a span has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    /// The mean rate of delivery.
    pub(super) rate: Bandwidth,
    /// Every packet has waited in a queue, and the application was not the one that made it slow.
    pub(super) queued: bool,
}

impl Bbr {
    /// Takes in an ACK. Returns the span that ends with it.
    pub(super) fn end_span(&mut self, ack: &Ack) -> Option<Span> {
        let least = self.min_rtt.get()?.max(MIN_SPAN);
        let spans = &mut self.spans;
        spans.rtt = spans.rtt.into_iter().chain(ack.rtt).min();
        spans.app_limited |= ack.sample.app_limited;
        let elapsed = ack.now - spans.since;
        if elapsed < least {
            return None;
        }
        let delivered = self.sampler.delivered();
        let next = Spans { since: ack.now, delivered, rtt: None, app_limited: false };
        let ended = core::mem::replace(spans, next);
        let rate = Bandwidth::from_transfer(delivered.saturating_sub(ended.delivered), elapsed)?;
        Some(Span { rate, queued: !ended.app_limited && self.min_rtt.is_queued(ended.rtt) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path with a minimum RTT of `rtt` milliseconds of which the first span begins at 0 ms.
    fn path(rtt: u64) -> Bbr {
        let mut bbr = Bbr::new(1000, 0);
        bbr.min_rtt.update(at(0), ms(rtt));
        ack(&mut bbr, 0, 1, None);
        bbr
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1000) + Duration::from_millis(millis)
    }

    const fn ms(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    fn rate(bytes_per_sec: u64) -> Bandwidth {
        Bandwidth::from_bytes_per_sec(bytes_per_sec)
    }

    /// An ACK of `count` packets at `millis`.
    fn ack(bbr: &mut Bbr, millis: u64, count: u64, rtt: Option<Duration>) -> Option<Span> {
        let now = at(millis);
        let infos: std::vec::Vec<_> = (0..count).map(|i| bbr.sampler.on_sent(now, 1000, i * 1000)).collect();
        bbr.sampler.begin_ack();
        infos.iter().for_each(|info| bbr.sampler.on_acked(now, now, 1000, info));
        let sample = bbr.sampler.finish_ack().unwrap();
        bbr.end_span(&Ack { now, sample, rtt, in_flight: 0 })
    }

    #[test]
    fn a_span_has_its_mean_rate_and_a_queue_only_if_no_packet_went_without() {
        let mut bbr = path(40);
        assert_eq!(ack(&mut bbr, 10, 1, ms(60)), None);
        assert_eq!(ack(&mut bbr, 15, 17, ms(51)), None);
        assert_eq!(ack(&mut bbr, 40, 2, ms(90)), Some(Span { rate: rate(500_000), queued: true }));
        assert_eq!(ack(&mut bbr, 50, 4, ms(90)), None);
        assert_eq!(ack(&mut bbr, 60, 3, ms(49)), None);
        assert_eq!(ack(&mut bbr, 80, 1, ms(90)), Some(Span { rate: rate(200_000), queued: false }));
        assert_eq!(
            ack(&mut bbr, 120, 4, None),
            Some(Span { rate: rate(100_000), queued: false }),
            "not known"
        );
    }

    #[test]
    fn a_span_lasts_an_rtt_but_at_least_thirty_milliseconds() {
        for (rtt, span) in [(1, 30), (29, 30), (31, 31), (300, 300)] {
            let mut bbr = path(rtt);
            assert_eq!(ack(&mut bbr, span - 1, 1, ms(rtt)), None, "{rtt}");
            assert!(ack(&mut bbr, span, 1, ms(rtt)).is_some(), "{rtt}");
            assert_eq!(ack(&mut bbr, 2 * span - 1, 1, ms(rtt)), None, "{rtt}");
        }
    }

    #[test]
    fn a_span_in_which_the_application_held_back_shows_no_queue_and_the_next_one_does() {
        let mut bbr = path(40);
        bbr.sampler.mark_app_limited(0);
        assert_eq!(ack(&mut bbr, 10, 1, ms(60)), None);
        assert_eq!(ack(&mut bbr, 30, 20, ms(60)), None);
        assert_eq!(ack(&mut bbr, 40, 20, ms(60)), Some(Span { rate: rate(1_025_000), queued: false }));
        assert_eq!(ack(&mut bbr, 80, 20, ms(60)), Some(Span { rate: rate(500_000), queued: true }));
    }

    #[test]
    fn without_an_rtt_there_is_no_span() {
        let mut bbr = Bbr::new(1000, 0);
        assert_eq!(ack(&mut bbr, 0, 1, None), None);
        assert_eq!(ack(&mut bbr, 5000, 1, None), None);
    }
}

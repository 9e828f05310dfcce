//! Giving way to others: slowing down while a queue stands that cruising should not leave.
//!
//! A flow alone on a path cruises without a queue. Where a queue stands all the same, for several round trips, another
//! flow fills it, or the estimate is too high. The draft then sends on at its estimate until two probing cycles have
//! passed, and with a queue of one BDP takes five sixths of the link from a flow of CUBIC, which cannot push the queue
//! any further.
//!
//! Here the rate goes down to a little less than what was delivered, again and again until the queue is gone, but not
//! below half of the estimate, so that a flow that only ever fills queues cannot drive us out. While no queue stands it
//! comes back. The next probe starts from near the rate that this has led to, not from the estimate, for that was one
//! flow's alone.

use super::params::{EASE, EASE_DOWN_SPANS, EASE_FLOOR, EASE_SPANS, UNEASE};
use super::spans::Span;
use super::{Bbr, Phase};
use crate::congestion::bandwidth::Bandwidth;

/// The bound that results.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ease {
    /// The rate to send at.
    bound: Option<Bandwidth>,
    /// Spans in a row with a queue, since the rate was last eased.
    queued_spans: u8,
    /// The highest rate of those.
    best: Bandwidth,
}

impl Ease {
    /// `bw`, eased.
    pub(super) fn of(&self, bw: Bandwidth) -> Bandwidth {
        self.bound.map_or(bw, |bound| bound.min(bw))
    }

    /// Whether others are in the way.
    pub(super) fn is_active(&self) -> bool {
        self.bound.is_some()
    }

    /// Nobody is in the way any more.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// A probe begins: from most of the way down.
    pub(super) fn on_probe(&mut self, max_bw: Bandwidth) {
        self.bound = self.bound.map(|bound| bound.fraction(5, 6).saturating_add(max_bw.fraction(1, 6)));
    }

    /// A queue stood for another span of `rate`. After so many `spans` it is enough.
    fn on_queue(&mut self, rate: Bandwidth, max_bw: Bandwidth, spans: u8) {
        self.queued_spans = self.queued_spans.saturating_add(1);
        self.best = self.best.max(rate);
        if self.queued_spans >= spans {
            let eased = self.of(self.best.scaled(EASE)).max(max_bw.scaled(EASE_FLOOR));
            *self = Self { bound: Some(eased), ..Self::default() };
        }
    }

    /// No queue stood for a span.
    fn on_free(&mut self, max_bw: Bandwidth) {
        *self = Self {
            bound: self.bound.map(|bound| bound.scaled(UNEASE)).filter(|bound| *bound < max_bw),
            ..Self::default()
        };
    }
}

impl Bbr {
    /// Takes in a span.
    pub(super) fn update_ease(&mut self, span: Span) {
        let max_bw = self.max_bw.get();
        match (self.phase, span.queued) {
            (Phase::ProbeCruise, true) => self.ease.on_queue(span.rate, max_bw, EASE_SPANS),
            // The queue of our own probe takes longer than that.
            (Phase::ProbeDown, true) => self.ease.on_queue(span.rate, max_bw, EASE_DOWN_SPANS),
            (Phase::ProbeCruise, false) => self.ease.on_free(max_bw),
            (Phase::ProbeDown, false) => self.ease.queued_spans = 0,
            (Phase::ProbeRefill | Phase::ProbeUp, false) => self.ease.end(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The estimate.
    const MAX: Bandwidth = rate(10_000);

    const fn rate(bytes_per_sec: u64) -> Bandwidth {
        Bandwidth::from_bytes_per_sec(bytes_per_sec)
    }

    /// As many spans with a queue as it takes while cruising, each at the rate that is left.
    fn give_way(ease: &mut Ease) {
        let left = ease.of(MAX);
        (0..EASE_SPANS).for_each(|_| ease.on_queue(left, MAX, EASE_SPANS));
    }

    #[test]
    fn the_rate_gives_way_by_a_step_after_so_many_spans_in_a_row() {
        let mut ease = Ease::default();
        (1..EASE_SPANS).for_each(|_| ease.on_queue(rate(9000), MAX, EASE_SPANS));
        assert!(!ease.is_active());
        ease.on_free(MAX);
        (1..EASE_SPANS).for_each(|_| ease.on_queue(rate(9000), MAX, EASE_SPANS));
        assert!(!ease.is_active(), "one span without a queue and they count anew");
        ease.on_queue(rate(8000), MAX, EASE_SPANS);
        assert_eq!(ease.of(MAX), rate(9000 * 92 / 100), "of the best of them");
        (1..EASE_SPANS).for_each(|_| ease.on_queue(rate(7000), MAX, EASE_SPANS));
        assert_eq!(ease.of(MAX), rate(8280));
        ease.on_queue(rate(7000), MAX, EASE_SPANS);
        assert_eq!(ease.of(MAX), rate(6440), "the best counts anew too");
    }

    #[test]
    fn faster_delivery_does_not_raise_the_rate_while_a_queue_stands() {
        let mut ease = Ease::default();
        give_way(&mut ease);
        (0..EASE_SPANS).for_each(|_| ease.on_queue(MAX, MAX, EASE_SPANS));
        assert_eq!(ease.of(MAX), rate(9200));
    }

    #[test]
    fn it_never_falls_below_half_of_the_estimate() {
        let mut ease = Ease::default();
        let mut steps = 0;
        while ease.of(MAX) > rate(5000) {
            let before = ease.of(MAX);
            give_way(&mut ease);
            assert!(ease.of(MAX) < before && ease.of(MAX) >= rate(5000), "{ease:?}");
            steps += 1;
        }
        assert_eq!(steps, 9);
        (0..10).for_each(|_| give_way(&mut ease));
        assert_eq!(ease.of(MAX), rate(5000));
        (0..EASE_SPANS).for_each(|_| ease.on_queue(rate(1), MAX, EASE_SPANS));
        assert_eq!(ease.of(MAX), rate(5000));
    }

    #[test]
    fn it_comes_back_by_a_twenty_fifth_each_span_until_nothing_holds_it() {
        let mut ease = Ease::default();
        ease.on_free(MAX);
        assert!(!ease.is_active());
        (0..2).for_each(|_| give_way(&mut ease));
        let back = [8464, 8802, 9154, 9520, 9900];
        for left in back {
            assert_eq!(ease.of(MAX), rate(left));
            ease.on_free(MAX);
        }
        assert!(!ease.is_active());
    }

    #[test]
    fn a_probe_starts_a_sixth_of_the_way_up_and_only_if_the_rate_had_given_way() {
        let mut ease = Ease::default();
        ease.on_probe(MAX);
        assert!(!ease.is_active());
        give_way(&mut ease);
        ease.on_probe(MAX);
        assert_eq!(ease.of(MAX), rate(9332));
    }

    #[test]
    fn a_bound_above_the_rate_binds_nothing() {
        let mut ease = Ease::default();
        give_way(&mut ease);
        assert_eq!(ease.of(rate(3000)), rate(3000));
    }
}

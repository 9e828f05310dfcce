//! Giving way to others: slowing down while a queue stands that cruising should not leave.
//!
//! A flow alone on a path cruises without a queue. Where a queue stands all the same, for several round trips, another flow
//! fills it, or the estimate is too high. The draft then sends on at its estimate until two probing cycles have passed, and
//! with a queue of one BDP takes five sixths of the link from a flow of CUBIC, which cannot push the queue any further.
//!
//! Here the rate goes down to a little less than what was delivered, again and again until the queue is gone, but not below
//! half of the estimate, so that a flow that only ever fills queues cannot drive us out. While no queue stands it comes back.
//! The next probe starts from near the rate that this has led to, not from the estimate, for that was one flow's alone.

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
        self.bound = self.bound.map(|bound| bound.fraction(7, 8).saturating_add(max_bw.fraction(1, 8)));
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

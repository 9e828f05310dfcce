//! When the path carries much less than it did: a route has changed, a radio link fades.
//!
//! In the draft the bandwidth filter keeps the old maximum for two probing cycles, some five seconds, in which the
//! sender fills whatever queue there is. Here several spans in a row at less than half of the estimate, in each of
//! which a queue stood, are proof enough: the sender offers more than is carried. The maximum is forgotten, the queue
//! drained, and then it is looked at once whether the capacity is back, because fades are short.

use super::Bbr;
use super::params::{FALL_SPANS, FALLEN};
use super::spans::Span;
use crate::congestion::bandwidth::Bandwidth;
use crate::time::Instant;

/// The watch for a fall.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fall {
    /// Spans in a row that were slow and had a queue.
    slow_spans: u8,
    /// Rate samples of packets that were sent when less than this was delivered stem from before the fall.
    samples_from: u64,
    /// No probe has been made since.
    is_unprobed: bool,
}

impl Fall {
    /// Whether a rate sample of a packet that was sent when `prior_delivered` bytes were delivered is of the path as it
    /// is now.
    pub(super) fn admits(&self, prior_delivered: u64) -> bool {
        prior_delivered >= self.samples_from
    }

    /// Whether the capacity has fallen and not been probed since.
    pub(super) fn is_unprobed(&self) -> bool {
        self.is_unprobed
    }

    /// A probe begins.
    pub(super) fn on_probe(&mut self) {
        self.is_unprobed = false;
    }
}

impl Bbr {
    /// Takes in a span. Forgets the estimate if the path proves to carry much less. Returns whether it did.
    pub(super) fn check_fall(&mut self, now: Instant, span: Span) -> bool {
        let slow = self.phase.is_probe_bw() && span.queued && span.rate < self.bw.scaled(FALLEN);
        self.fall.slow_spans = if slow { self.fall.slow_spans.saturating_add(1) } else { 0 };
        let fallen = self.fall.slow_spans >= FALL_SPANS;
        if fallen {
            self.capacity_fell(now, span.rate);
        }
        fallen
    }

    /// The path carries no more than `rate` now.
    fn capacity_fell(&mut self, now: Instant, rate: Bandwidth) {
        self.fall = Fall { slow_spans: 0, samples_from: self.sampler.delivered(), is_unprobed: true };
        self.max_bw.reset(rate);
        self.judged_bw = rate;
        self.short_term.reset_bounds();
        self.ease.end();
        self.extra_acked.forget(now);
        self.enter_drain();
    }
}

//! How fast acknowledgments come, in spans of one RTT, and whether a queue stood all the while.
//!
//! The bandwidth filter knows the best of several seconds. What `fall` and `ease` need is the mean of the last moment: it
//! does not scatter upwards, as single rate samples do where acknowledgments come in bunches.

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

//! Drain: empties the queue that Startup has built (draft-ietf-ccwg-bbr-06 section 5.3.2).

use super::params::DRAIN_ROUNDS;
use super::{Ack, Bbr, Phase};
use crate::congestion::bandwidth::Gain;

impl Bbr {
    /// `EnterDrain`.
    pub(super) fn enter_drain(&mut self) {
        self.phase = Phase::Drain { since: self.round.count() };
    }

    /// `CheckDrainDone`: no queue is left by the model, or it takes too long.
    pub(super) fn check_drain_done(&mut self, ack: &Ack) {
        if let Phase::Drain { since } = self.phase
            && (ack.in_flight <= self.inflight_at(self.bw, Gain::UNIT)
                || self.round.count() > since.saturating_add(DRAIN_ROUNDS))
        {
            self.start_probe_down(ack.now);
        }
    }
}

//! Startup: doubles the rate each round until the pipe is full (draft-ietf-ccwg-bbr-06 section 5.3.1).

use super::params::FULL_PIPE_GROWTH;
use super::undo::Interrupted;
use super::{Bbr, Phase};

impl Bbr {
    /// `EnterStartup`.
    pub(super) fn enter_startup(&mut self) {
        self.phase = Phase::Startup;
        self.ease.end();
    }

    /// `CheckStartupDone`: the bandwidth has reached its plateau.
    pub(super) fn check_startup_done(&mut self) {
        if self.phase == Phase::Startup && self.full_pipe.was_reached() {
            self.enter_drain();
        }
    }

    /// Whether the bandwidth has grown by a quarter since loss was last judged. Loss while the delivery rate still
    /// grows with the sending rate is not a full pipe: the draft (section 5.3.1.3) leaves Startup then, and is stuck
    /// at a fraction of a path that loses packets at random.
    pub(super) fn bandwidth_grew(&self) -> bool {
        self.max_bw.get() >= self.judged_bw.scaled(FULL_PIPE_GROWTH)
    }

    /// `CheckStartupHighLoss`, section 5.3.1.3: loss shows that the pipe is full.
    pub(super) fn leave_startup_for_loss(&mut self) {
        self.undo.interrupted = Some(Interrupted::Startup);
        self.full_pipe.set_reached();
        self.inflight_longterm = self.bdp().max(self.short_term.in_flight_latest());
        self.enter_drain();
    }
}

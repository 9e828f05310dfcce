//! Taking back what a loss did that turns out to be none (draft-ietf-ccwg-bbr-06 section 5.5.11).

use super::params::UNBOUNDED;
use super::{Bbr, Phase};
use crate::congestion::bandwidth::Bandwidth;

/// The search that a loss ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Interrupted {
    /// Startup.
    Startup,
    /// ProbeBW_UP.
    ProbeUp,
}

/// The model as it was before the latest loss episode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undo {
    /// The search that the episode ended (`BBR.undo_state`).
    pub(super) interrupted: Option<Interrupted>,
    /// Bytes lost in the episode and not yet proved to be delivered after all.
    lost: u64,
    /// `BBR.undo_bw_shortterm`.
    bw_shortterm: Bandwidth,
    /// `BBR.undo_inflight_shortterm`.
    inflight_shortterm: u64,
    /// `BBR.undo_inflight_longterm`.
    inflight_longterm: u64,
}

impl Default for Undo {
    fn default() -> Self {
        Self {
            interrupted: None,
            lost: 0,
            bw_shortterm: Bandwidth::MAX,
            inflight_shortterm: UNBOUNDED,
            inflight_longterm: UNBOUNDED,
        }
    }
}

impl Undo {
    /// `bytes` more were lost in the episode.
    pub(super) fn on_lost(&mut self, bytes: u64) {
        self.lost = self.lost.saturating_add(bytes);
    }

    /// `bytes` were not lost. Returns whether by that nothing was: the whole episode was spurious.
    fn on_spurious_loss(&mut self, bytes: u64) -> bool {
        let had = self.lost;
        self.lost = had.saturating_sub(bytes);
        had > 0 && self.lost == 0
    }
}

impl Bbr {
    /// `SaveStateUponLoss`: a loss episode begins.
    pub(super) fn save_state_upon_loss(&mut self) {
        self.save_window();
        self.undo = Undo {
            interrupted: None,
            lost: 0,
            bw_shortterm: self.short_term.bw,
            inflight_shortterm: self.short_term.in_flight,
            inflight_longterm: self.inflight_longterm,
        };
    }

    /// `bytes` declared lost have arrived. When all of an episode's have, its effects are taken back.
    pub(super) fn note_spurious_loss(&mut self, bytes: u64) {
        if self.undo.on_spurious_loss(bytes) {
            self.undo_loss_episode();
        }
    }

    /// `HandleSpuriousLossDetection`.
    fn undo_loss_episode(&mut self) {
        self.restore_window();
        self.recovery_since = None;
        self.short_term.end_episode();
        self.full_pipe.restart(Bandwidth::ZERO);
        self.short_term.bw = self.short_term.bw.max(self.undo.bw_shortterm);
        self.short_term.in_flight = self.short_term.in_flight.max(self.undo.inflight_shortterm);
        self.inflight_longterm = self.inflight_longterm.max(self.undo.inflight_longterm);
        let probing_rtt = matches!(self.phase, Phase::ProbeRtt(_));
        match self.undo.interrupted.take() {
            Some(Interrupted::Startup) if self.phase != Phase::Startup => {
                self.full_pipe.clear_reached();
                if !probing_rtt {
                    self.enter_startup();
                }
            }
            Some(Interrupted::ProbeUp) if self.phase != Phase::ProbeUp && !probing_rtt => {
                self.probe.previous_too_high = false;
                self.start_probe_refill();
            }
            _ => {}
        }
    }
}

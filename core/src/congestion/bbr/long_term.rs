//! The long-term bound: how much in flight the path takes without excessive loss (draft-ietf-ccwg-bbr-06 sections
//! 5.3.3.9 and 5.5.10.2).

use super::params::{BETA, MAX_UP_ROUNDS, UNBOUNDED};
use super::probe_bw::Feedback;
use super::undo::Interrupted;
use super::{Ack, Bbr, Phase};
use crate::congestion::sampler::SentInfo;
use crate::time::Instant;

impl Bbr {
    /// The loss part of `HandleLostPacket`: a packet of `size` bytes sent while probing is lost, `lost` bytes with it
    /// since it was sent. Lowers the bound if that is more than the path always loses.
    pub(super) fn check_inflight_at_loss(&mut self, now: Instant, size: u64, info: &SentInfo, lost: u64) {
        let tx_in_flight = info.in_flight();
        if !self.probe.is_sample || !self.loss.is_excessive(lost, tx_in_flight, self.max_datagram) {
            return;
        }
        let safe = self.loss.volume_at_threshold(lost, tx_in_flight, size, self.max_datagram);
        self.handle_inflight_too_high(now, safe, info.is_app_limited());
    }

    /// `HandleInflightTooHigh`: reacts once per probe.
    pub(super) fn handle_inflight_too_high(&mut self, now: Instant, safe: u64, app_limited: bool) {
        self.probe.previous_too_high = true;
        self.probe.is_sample = false;
        self.loss.restart();
        if !app_limited {
            self.inflight_longterm = safe.max(BETA.of(self.target_inflight()));
        }
        if self.phase == Phase::ProbeUp {
            self.undo.interrupted = Some(Interrupted::ProbeUp);
            self.start_probe_down(now);
        }
    }

    /// `AdaptLongTermModel`: follows the probe's feedback. Returns whether that has changed the phase.
    pub(super) fn adapt_long_term_model(&mut self, ack: &Ack) -> bool {
        let round_started = self.round.started();
        match self.probe.feedback {
            Feedback::Starting if round_started => self.probe.feedback = Feedback::Arriving,
            Feedback::Stopping if round_started => {
                self.probe.is_sample = false;
                self.probe.feedback = Feedback::None;
                // What was lost until now is the probe's doing.
                self.loss.restart();
                if self.phase.is_probe_bw() {
                    if !ack.sample.app_limited {
                        self.max_bw.advance();
                    }
                    if self.probe.previous_precautionary && !self.probe.previous_too_high {
                        self.start_probe_refill();
                        return true;
                    }
                }
            }
            _ => {}
        }
        let sample = &ack.sample;
        if self.inflight_longterm != UNBOUNDED
            && !self.marks.are_seen()
            && !self.loss.is_excessive(sample.lost, sample.tx_in_flight, self.max_datagram)
        {
            self.inflight_longterm = self.inflight_longterm.max(sample.tx_in_flight);
            if self.phase == Phase::ProbeUp {
                self.probe_longterm_upward(sample.newly_acked);
            }
        }
        false
    }

    /// `ProbeInflightLongtermUpward`: raises the bound while it is what holds the sender back.
    fn probe_longterm_upward(&mut self, newly_acked: u64) {
        if !self.control.is_window_limited() || self.control.window < self.inflight_longterm {
            return;
        }
        self.probe.up_acked = self.probe.up_acked.saturating_add(newly_acked);
        let per_datagram = self.probe.up_acked_per_datagram.max(1);
        let increments = self.probe.up_acked.checked_div(per_datagram).unwrap_or(0);
        if increments > 0 {
            self.probe.up_acked = self.probe.up_acked.checked_rem(per_datagram).unwrap_or(0);
            let growth = increments.saturating_mul(self.max_datagram);
            // One below the mark for "no bound".
            self.inflight_longterm = self.inflight_longterm.saturating_add(growth).min(UNBOUNDED - 1);
        }
        if self.round.started() {
            self.raise_longterm_slope();
        }
    }

    /// `RaiseInflightLongtermSlope`: the bound grows twice as fast each round.
    pub(super) fn raise_longterm_slope(&mut self) {
        let rounds = self.probe.up_rounds.min(MAX_UP_ROUNDS);
        self.probe.up_rounds = rounds.saturating_add(1).min(MAX_UP_ROUNDS);
        let share = self.control.window.checked_shr(rounds.into()).unwrap_or(0);
        self.probe.up_acked_per_datagram = share.max(self.max_datagram);
    }
}

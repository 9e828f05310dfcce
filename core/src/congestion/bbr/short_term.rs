//! The short-term model: how far to slow down after congestion while not probing (draft-ietf-ccwg-bbr-06 section
//! 5.5.10.3).

use super::params::{BETA, MARK_BETA, UNBOUNDED};
use crate::congestion::bandwidth::Bandwidth;
use crate::congestion::sampler::RateSample;

/// Bounds learned from loss, and the latest round's delivery that they are set from.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortTerm {
    /// `BBR.bw_shortterm`.
    pub(super) bw: Bandwidth,
    /// `BBR.inflight_shortterm`, in bytes.
    pub(super) in_flight: u64,
    /// `BBR.bw_latest`: the fastest delivery of the round.
    bw_latest: Bandwidth,
    /// `BBR.inflight_latest`: the most delivered within a round trip, in bytes.
    in_flight_latest: u64,
    /// The loss round ends with a packet sent when this much was delivered (`BBR.loss_round_delivered`).
    round_end: u64,
    /// The ACK in hand ends a loss round (`BBR.loss_round_start`).
    round_started: bool,
    /// A loss was seen in this round (`BBR.is_loss_in_round`).
    loss_in_round: bool,
}

impl Default for ShortTerm {
    fn default() -> Self {
        Self {
            bw: Bandwidth::MAX,
            in_flight: UNBOUNDED,
            bw_latest: Bandwidth::ZERO,
            in_flight_latest: 0,
            round_end: 0,
            round_started: false,
            loss_in_round: false,
        }
    }
}

impl ShortTerm {
    /// `UpdateLatestDeliverySignals`, near the start of an ACK. Returns whether a loss round has ended.
    pub(super) fn begin_ack(&mut self, sample: &RateSample, delivered: u64) -> bool {
        self.bw_latest = self.bw_latest.max(sample.rate);
        self.in_flight_latest = self.in_flight_latest.max(sample.delivered);
        self.round_started = sample.prior_delivered >= self.round_end;
        if self.round_started {
            self.round_end = delivered;
        }
        self.round_started
    }

    /// `AdvanceLatestDeliverySignals`, near the end of an ACK.
    pub(super) fn finish_ack(&mut self, sample: &RateSample) {
        if self.round_started {
            self.bw_latest = sample.rate;
            self.in_flight_latest = sample.delivered;
        }
    }

    /// `NoteLoss`. Returns whether this is the first loss of the round: a loss episode begins.
    pub(super) fn note_loss(&mut self, delivered: u64) -> bool {
        let first = !self.loss_in_round;
        if first {
            self.round_end = delivered;
        }
        self.loss_in_round = true;
        first
    }

    /// The loss round is over: the next loss begins a new episode.
    pub(super) fn end_episode(&mut self) {
        self.loss_in_round = false;
    }

    /// `InitLowerBounds` and `LossLowerBounds`: congestion showed while not probing.
    pub(super) fn lower(&mut self, max_bw: Bandwidth, window: u64) {
        if self.bw == Bandwidth::MAX {
            self.bw = max_bw;
        }
        if self.in_flight == UNBOUNDED {
            self.in_flight = window;
        }
        self.bw = self.bw_latest.max(self.bw.scaled(BETA));
        self.in_flight = self.in_flight_latest.max(BETA.of(self.in_flight));
    }

    /// The same for marks: they tell of a queue, of which what was delivered in the round is a part.
    pub(super) fn lower_for_marks(&mut self, max_bw: Bandwidth, window: u64, bdp: u64) {
        if self.bw == Bandwidth::MAX {
            self.bw = max_bw;
        }
        if self.in_flight == UNBOUNDED {
            self.in_flight = window.min(self.in_flight_latest.max(bdp));
        }
        self.bw = self.bw_latest.max(self.bw.scaled(MARK_BETA));
        self.in_flight = MARK_BETA.of(self.in_flight);
    }

    /// `ResetCongestionSignals`: a new probing cycle begins. Unlike in the draft, the loss episode that ended the
    /// probe goes on, else its next loss would overwrite what is needed to undo it.
    pub(super) fn reset_signals(&mut self) {
        self.bw_latest = Bandwidth::ZERO;
        self.in_flight_latest = 0;
    }

    /// `ResetShortTermModel`: time to find out what the path carries now.
    pub(super) fn reset_bounds(&mut self) {
        self.bw = Bandwidth::MAX;
        self.in_flight = UNBOUNDED;
    }

    /// The most delivered within a round trip lately, in bytes.
    pub(super) fn in_flight_latest(&self) -> u64 {
        self.in_flight_latest
    }
}

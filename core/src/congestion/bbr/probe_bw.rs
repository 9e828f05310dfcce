//! ProbeBW: the cycle of slowing down, cruising, refilling and probing upwards (draft-ietf-ccwg-bbr-06 section
//! 5.3.3). What its samples do to the long-term bound is in `long_term`.
//!
//! Two things differ from the draft. A probe that finds more and meets no queue doubles its excess each round, so that
//! a path that has become ten times faster is found within some ten rounds, not thirty. And a probe that has filled a
//! queue ends a round earlier.

use super::params::{
    BACKGROUND_ROUNDS, FALL_PROBE_ROUNDS, FULL_QUEUE_ROUNDS, HEADROOM, MAX_UP_PACING, PROBE_WAIT,
    RENO_ROUNDS, UNBOUNDED, UP_PACING,
};
use super::{Ack, Bbr, Phase};
use crate::congestion::bandwidth::{Bandwidth, Gain};
use crate::time::{Duration, Instant};

/// Nanoseconds in a second: the spread of the wait between probes.
const WAIT_SPREAD_NANOS: u32 = 1_000_000_000;

/// What ACKs say about the probe (`BBR.ack_phase`, section 2.14).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Feedback {
    /// Nothing: no probe is under way.
    #[default]
    None,
    /// The pipe is being filled.
    Refilling,
    /// The probe has begun, its ACKs are a round trip away.
    Starting,
    /// They arrive.
    Arriving,
    /// The probe has ended; its last ACKs still arrive.
    Stopping,
}

/// The state of the probing cycle (section 2.14).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    /// What ACKs say about the probe.
    pub(super) feedback: Feedback,
    /// Samples stem from a bandwidth probe that no loss has answered yet (`BBR.is_bw_probe_sample`).
    pub(super) is_sample: bool,
    /// The last probe went too high (`BBR.prev_probe_too_high`).
    pub(super) previous_too_high: bool,
    /// The last probe stopped early, where the one before had gone too high (`BBR.prev_probe_precautionary`).
    pub(super) previous_precautionary: bool,
    /// The pacing gain of the probe.
    pub(super) up_gain: Gain,
    /// The bandwidth when that gain was chosen.
    up_from: Bandwidth,
    /// Rounds over which the long-term bound has grown in this probe (`BBR.bw_probe_up_rounds`).
    pub(super) up_rounds: u8,
    /// Bytes acknowledged since the bound last grew (`BBR.bw_probe_up_acked`).
    pub(super) up_acked: u64,
    /// Bytes to be acknowledged for it to grow by a datagram (`BBR.probe_up_acked_per_inc`).
    pub(super) up_acked_per_datagram: u64,
    /// Rounds since the last probe (`BBR.rounds_since_probe_up`).
    rounds_since_up: u64,
    /// Rounds of cruising since then.
    cruise_rounds: u8,
    /// When the cycle began (`BBR.cycle_stamp`).
    cycle_start: Instant,
    /// How long to wait at most before probing again (`BBR.bw_probe_wait`).
    wait: Duration,
}

impl Probe {
    /// A round began.
    pub(super) fn on_round(&mut self) {
        self.rounds_since_up = self.rounds_since_up.saturating_add(1);
        self.cruise_rounds = self.cruise_rounds.saturating_add(1);
    }

    /// Cruising has only begun, at no more than was delivered: what is lost now is the path's own loss.
    pub(super) fn shows_background(&self) -> bool {
        self.cruise_rounds <= BACKGROUND_ROUNDS
    }

    /// That has been seen: time to make up for it. In the last of those rounds both hold: making up shows a round trip later.
    pub(super) fn knows_background(&self) -> bool {
        self.cruise_rounds >= BACKGROUND_ROUNDS
    }

    /// Whether what was sent faster than the path delivers may still be on its way.
    pub(super) fn awaits_feedback(&self) -> bool {
        self.feedback != Feedback::None
    }
}

impl Bbr {
    /// `StartProbeBW_DOWN`.
    pub(super) fn start_probe_down(&mut self, now: Instant) {
        self.short_term.reset_signals();
        // PickProbeWait, section 5.3.3.8.
        self.probe.rounds_since_up = u64::from(self.random.below(2));
        let spread = Duration::from_nanos(u64::from(self.random.below(WAIT_SPREAD_NANOS)));
        self.probe.wait = PROBE_WAIT.saturating_add(spread);
        self.probe.up_acked_per_datagram = UNBOUNDED;
        self.probe.cycle_start = now;
        self.probe.feedback = Feedback::Stopping;
        self.round.restart(self.sampler.delivered());
        self.phase = Phase::ProbeDown;
    }

    /// `StartProbeBW_CRUISE`.
    pub(super) fn start_probe_cruise(&mut self) {
        self.probe.cruise_rounds = 0;
        self.phase = Phase::ProbeCruise;
    }

    /// `StartProbeBW_REFILL`.
    pub(super) fn start_probe_refill(&mut self) {
        self.fall.on_probe();
        self.ease.on_probe(self.max_bw.get());
        self.short_term.reset_bounds();
        self.probe.up_rounds = 0;
        self.probe.up_acked = 0;
        self.probe.previous_precautionary = false;
        self.probe.feedback = Feedback::Refilling;
        self.round.restart(self.sampler.delivered());
        self.phase = Phase::ProbeRefill;
    }

    /// `StartProbeBW_UP`.
    fn start_probe_up(&mut self, rate: Bandwidth) {
        self.probe.feedback = Feedback::Starting;
        self.round.restart(self.sampler.delivered());
        self.full_pipe.restart(rate);
        self.phase = Phase::ProbeUp;
        self.probe.up_gain = UP_PACING;
        self.probe.up_from = self.max_bw.get();
        self.raise_longterm_slope();
    }

    /// `UpdateProbeBWCyclePhase`.
    pub(super) fn update_probe_bw(&mut self, ack: &Ack) {
        if !self.full_pipe.was_reached() || self.adapt_long_term_model(ack) {
            return;
        }
        let phase = self.phase;
        match phase {
            Phase::ProbeDown if self.is_time_to_probe(ack.now) => self.start_probe_refill(),
            Phase::ProbeDown if self.is_time_to_cruise(ack.in_flight) => self.start_probe_cruise(),
            Phase::ProbeCruise if self.is_time_to_probe(ack.now) => self.start_probe_refill(),
            Phase::ProbeRefill if self.round.started() => {
                self.probe.is_sample = true;
                self.start_probe_up(ack.sample.rate);
            }
            Phase::ProbeUp if self.has_room_for_more(ack) => self.press_harder(),
            Phase::ProbeUp if self.is_time_to_go_down(ack) => {
                self.probe.previous_too_high = false;
                self.start_probe_down(ack.now);
            }
            _ => {}
        }
    }

    /// `IsTimeToProbeBW`, section 5.3.3.8: after 2 to 3 seconds, or as often as Reno would.
    fn is_time_to_probe(&self, now: Instant) -> bool {
        let most = if self.fall.is_unprobed() { FALL_PROBE_ROUNDS } else { RENO_ROUNDS };
        let reno_rounds = self.target_inflight().checked_div(self.max_datagram).unwrap_or(most).min(most);
        now > self.probe.cycle_start + self.probe.wait || self.probe.rounds_since_up >= reno_rounds
    }

    /// `IsTimeToCruise`: the queue is gone, and room left for others.
    fn is_time_to_cruise(&self, in_flight: u64) -> bool {
        in_flight <= self.inflight_with_headroom()
            && in_flight <= self.inflight_at(self.max_bw.get(), Gain::UNIT)
    }

    /// `IsTimeToGoDown`: the path delivers no more, or the last probe went too high here.
    fn is_time_to_go_down(&mut self, ack: &Ack) -> bool {
        if self.probe.previous_too_high && ack.in_flight >= self.inflight_longterm {
            self.probe.previous_precautionary = true;
            return true;
        }
        if self.control.is_window_limited() && self.control.window >= self.inflight_longterm {
            // The bound holds the rate back, not the path.
            self.full_pipe.restart(ack.sample.rate);
            return false;
        }
        let queued = self.min_rtt.is_queued(ack.rtt) && !self.ease.is_active();
        self.full_pipe.is_full_now() || (queued && self.full_pipe.is_flat_for(FULL_QUEUE_ROUNDS))
    }

    /// A round of probing has arrived, met no queue, and was delivered faster by at least half of what it was sent
    /// faster: the path has more than this gain finds within a few rounds.
    fn has_room_for_more(&self, ack: &Ack) -> bool {
        self.round.started()
            && self.probe.feedback == Feedback::Arriving
            && self.min_rtt.is_near(ack.rtt)
            && self.max_bw.get() >= self.probe.up_from.scaled(self.probe.up_gain.half_way())
    }

    fn press_harder(&mut self) {
        self.probe.up_gain = self.probe.up_gain.steeper(MAX_UP_PACING);
        self.probe.up_from = self.max_bw.get();
    }

    /// `TargetInflight`, section 5.3.3.8: the estimated BDP, unless congestion cut the window.
    pub(super) fn target_inflight(&self) -> u64 {
        self.bdp().min(self.control.window)
    }

    /// `InflightWithHeadroom`: the long-term bound less a share for others.
    pub(super) fn inflight_with_headroom(&self) -> u64 {
        if self.inflight_longterm == UNBOUNDED {
            return UNBOUNDED;
        }
        let headroom = HEADROOM.of(self.inflight_longterm).max(self.max_datagram);
        self.inflight_longterm.saturating_sub(headroom).max(self.min_pipe_window())
    }
}

//! BBRv3 (draft-ietf-ccwg-bbr-06): a model of the path (bandwidth, RTT, what fits in flight), a state machine that
//! probes it, and the window and pacing rate that follow.
//!
//! Section numbers in this folder are that draft's unless another document is named. Where it leaves a choice or this
//! implementation differs, the place says so; the large
//! differences are what loss means, in `loss`, when ProbeRTT is due, in `min_rtt`, and what a standing queue means, in
//! `fall` and `ease`. The cost per
//! packet is a few integer operations; the model is updated once per ACK.

mod control;
mod drain;
mod ease;
mod extra_acked;
mod fall;
mod full_pipe;
mod long_term;
mod loss;
mod marks;
mod min_rtt;
mod params;
mod probe_bw;
mod probe_rtt;
mod random;
mod round;
mod short_term;
mod spans;
mod startup;
mod stats;
#[cfg(test)]
mod tests;
mod undo;
mod windowed_max;

pub use stats::{CongestionPhase, CongestionStats};

use crate::congestion::bandwidth::Bandwidth;
use crate::congestion::sampler::{RateSample, RateSampler, SentInfo};
use crate::time::{Duration, Instant};
use control::Control;
use ease::Ease;
use extra_acked::ExtraAcked;
use fall::Fall;
use full_pipe::FullPipe;
use loss::{LossJudge, Pressure, Verdict};
use marks::Marks;
use min_rtt::MinRtt;
use params::UNBOUNDED;
use probe_bw::Probe;
use probe_rtt::ProbeRtt;
use random::Random;
use round::Round;
use short_term::ShortTerm;
use spans::Spans;
use undo::Undo;
use windowed_max::WindowedMax;

/// Congestion control of one path.
///
/// The caller reports every in-flight packet when it is sent, acknowledged or lost, brackets the packets of an ACK
/// with `begin_ack` and `finish_ack`, and keeps the bytes in flight below `window` and the pace at `pacing_rate`.
#[derive(Clone, Debug)]
pub(crate) struct Bbr {
    /// The largest datagram now sent, in bytes (`C.SMSS`).
    max_datagram: u64,
    /// Delivery-rate samples.
    sampler: RateSampler,
    /// Packet-timed round trips.
    round: Round,
    /// Where in the state machine we are.
    phase: Phase,
    /// Bandwidth samples of this and the last probing cycle (`BBR.max_bw_filter`).
    max_bw: WindowedMax<Bandwidth>,
    /// The bandwidth to use: the maximum within the short-term bound (`BBR.bw`).
    bw: Bandwidth,
    /// Minimum RTT and the schedule of ProbeRTT.
    min_rtt: MinRtt,
    /// Aggregation of ACKs.
    extra_acked: ExtraAcked,
    /// Whether the pipe is full.
    full_pipe: FullPipe,
    /// Bounds from recent congestion.
    short_term: ShortTerm,
    /// The most that went well in flight, in bytes, or unbounded (`BBR.inflight_longterm`).
    inflight_longterm: u64,
    /// The bandwidth probing cycle.
    probe: Probe,
    /// What loss means.
    loss: LossJudge,
    /// What marks of congestion mean.
    marks: Marks,
    /// The rate of delivery, one RTT at a time.
    spans: Spans,
    /// Whether the path carries much less than it did.
    fall: Fall,
    /// What is left to others.
    ease: Ease,
    /// The bandwidth when loss was last judged, to tell whether it grew since.
    judged_bw: Bandwidth,
    /// The model before the latest loss.
    undo: Undo,
    /// When persistent congestion collapsed the window, until a packet sent after that is acknowledged.
    recovery_since: Option<Instant>,
    /// The path was idle and nothing has been acknowledged since (`BBR.idle_restart`).
    idle_restart: bool,
    /// Window and pacing rate.
    control: Control,
    /// For the wait between probes.
    random: Random,
}

/// The state machine's state (section 5.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Doubling the rate each round until the pipe is full.
    Startup,
    /// Emptying the queue that this made.
    Drain {
        /// The round in which it began (`BBR.drain_start_round`).
        since: u64,
    },
    /// Slower than the path delivers, to leave room.
    ProbeDown,
    /// As fast as the path delivers.
    ProbeCruise,
    /// Filling the pipe before going up.
    ProbeRefill,
    /// Faster than the path delivers, to see whether it can do more.
    ProbeUp,
    /// Little in flight, to see the RTT without a queue.
    ProbeRtt(ProbeRtt),
}

impl Phase {
    /// `IsInAProbeBWState`, section 5.3.3.9.
    fn is_probe_bw(self) -> bool {
        matches!(self, Self::ProbeDown | Self::ProbeCruise | Self::ProbeRefill | Self::ProbeUp)
    }

    /// `IsProbingBW`, section 5.3.3.9: the sender presses on the path, so loss bounds the long-term model only.
    fn is_accelerating(self) -> bool {
        matches!(self, Self::Startup | Self::ProbeRefill | Self::ProbeUp)
    }
}

/// What one ACK has shown.
struct Ack {
    /// When it arrived.
    now: Instant,
    /// The delivery-rate sample.
    sample: RateSample,
    /// The RTT sample, if it gave one.
    rtt: Option<Duration>,
    /// Bytes in flight after it.
    in_flight: u64,
}

impl Bbr {
    /// A path of which nothing is known. `max_datagram` is the datagram size in bytes; `seed` varies the wait between
    /// bandwidth probes, so that flows do not probe in step.
    pub(crate) fn new(max_datagram: u16, seed: u64) -> Self {
        let max_datagram = u64::from(max_datagram);
        Self {
            max_datagram,
            sampler: RateSampler::default(),
            round: Round::default(),
            phase: Phase::Startup,
            max_bw: WindowedMax::default(),
            bw: Bandwidth::ZERO,
            min_rtt: MinRtt::default(),
            extra_acked: ExtraAcked::default(),
            full_pipe: FullPipe::default(),
            short_term: ShortTerm::default(),
            inflight_longterm: UNBOUNDED,
            probe: Probe::default(),
            loss: LossJudge::default(),
            marks: Marks::default(),
            spans: Spans::default(),
            fall: Fall::default(),
            ease: Ease::default(),
            judged_bw: Bandwidth::ZERO,
            undo: Undo::default(),
            recovery_since: None,
            idle_restart: false,
            control: Control::new(max_datagram),
            random: Random::new(seed),
        }
    }

    /// An in-flight packet of `bytes` leaves; `in_flight_before` does not count it. The result must come back when
    /// the packet is acknowledged or lost.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: u16, in_flight_before: u64) -> SentInfo {
        if in_flight_before == 0 && self.sampler.is_app_limited() {
            self.restart_from_idle(now);
        }
        self.control.note_sent(in_flight_before.saturating_add(u64::from(bytes)), self.max_datagram);
        self.sampler.on_sent(now, bytes, in_flight_before)
    }

    /// An ACK that newly acknowledges in-flight packets begins.
    pub(crate) fn begin_ack(&mut self, _now: Instant) {
        self.sampler.begin_ack();
    }

    /// An in-flight packet, sent at `sent`, is newly acknowledged. Any order.
    pub(crate) fn on_acked(&mut self, now: Instant, sent: Instant, bytes: u16, info: &SentInfo) {
        self.sampler.on_acked(now, sent, bytes, info);
    }

    /// A packet is declared lost, within an ACK or by a timer (`HandleLostPacket`, section 5.5.10.2).
    pub(crate) fn on_lost(
        &mut self,
        now: Instant,
        _sent: Instant,
        bytes: u16,
        info: &SentInfo,
        _in_flight: u64,
    ) {
        let size = u64::from(bytes);
        self.loss.on_lost(size);
        let lost = self.sampler.on_lost(bytes, info);
        if self.short_term.note_loss(self.sampler.delivered()) {
            self.save_state_upon_loss();
        }
        self.undo.on_lost(size);
        self.check_inflight_at_loss(now, size, info, lost);
    }

    /// The ACK is complete, losses included: updates the model, the state machine, window and rate (section 5.2.3).
    /// `rtt` is the ACK's RTT sample, ack delay not taken off; `in_flight` what remains.
    ///
    /// Also right after an ACK without in-flight packets, for its RTT sample alone.
    pub(crate) fn finish_ack(&mut self, now: Instant, rtt: Option<Duration>, in_flight: u64) {
        if let Some(rtt) = rtt
            && self.min_rtt.get().is_none()
        {
            self.control.init_pacing_rate(rtt);
        }
        let Some(sample) = self.sampler.finish_ack() else {
            self.min_rtt.update(now, rtt);
            return;
        };
        let ack = Ack { now, sample, rtt, in_flight };
        self.update_model_and_state(&ack);
        self.update_control(&ack);
    }

    /// A packet declared lost was acknowledged late: it counts as delivered, and if so were all of its episode, the
    /// episode is undone (section 5.5.11.2). Call it instead of `on_acked`.
    pub(crate) fn on_spurious_loss(&mut self, now: Instant, bytes: u16, _info: &SentInfo) {
        self.sampler.on_spurious_loss(now, bytes);
        self.loss.on_spurious_loss(u64::from(bytes));
        self.note_spurious_loss(u64::from(bytes));
    }

    /// Nothing came back for several probe timeouts: persistent congestion (RFC 9002 section 7.6), the counterpart of
    /// TCP's retransmission timeout. One datagram more than `in_flight` may leave until an ACK arrives
    /// (`OnEnterRTO`, section 5.6.4.4).
    pub(crate) fn on_persistent_congestion(&mut self, now: Instant, in_flight: u64) {
        self.save_state_upon_loss();
        self.recovery_since = Some(now);
        self.control.window = in_flight.saturating_add(self.max_datagram);
    }

    /// The sender has nothing more to send, with room in the window: rate samples until `in_flight` has left the
    /// network say what the application did, not what the path can.
    pub(crate) fn on_app_limited(&mut self, in_flight: u64) {
        self.sampler.mark_app_limited(in_flight);
    }

    /// The largest datagram is now `bytes` long. Before anything is delivered the initial window follows (RFC 9002
    /// section 7.2).
    pub(crate) fn set_max_datagram(&mut self, bytes: u16) {
        self.max_datagram = u64::from(bytes);
        if self.sampler.delivered() == 0 {
            self.control = Control::new(self.max_datagram);
            if let Some(rtt) = self.min_rtt.get() {
                self.control.init_pacing_rate(rtt);
            }
        }
    }

    /// The model and the state machine: `UpdateModelAndState`, section 5.2.3.
    fn update_model_and_state(&mut self, ack: &Ack) {
        self.loss.on_delivered(ack.sample.newly_acked, ack.rtt);
        self.note_marks(ack);
        let loss_round_ended = self.short_term.begin_ack(&ack.sample, self.sampler.delivered());
        self.update_max_bw(&ack.sample);
        if loss_round_ended {
            self.end_loss_round(ack.now);
        }
        self.update_extra_acked(ack);
        if !ack.sample.app_limited {
            self.full_pipe.update(ack.sample.rate, self.round.started());
        }
        self.check_startup_done();
        self.check_drain_done(ack);
        self.update_probe_bw(ack);
        self.min_rtt.update(ack.now, ack.rtt);
        self.check_probe_rtt(ack);
        self.short_term.finish_ack(&ack.sample);
        self.marks.end_ack();
        if let Some(span) = self.end_span(ack)
            && !self.check_fall(ack.now, span)
        {
            self.update_ease(span);
        }
        self.bw = self.ease.of(self.max_bw.get().min(self.short_term.bw));
    }

    /// `UpdateMaxBw`, section 5.5.5: application-limited samples count only if they are higher.
    fn update_max_bw(&mut self, sample: &RateSample) {
        if self.round.update(sample.prior_delivered, self.sampler.delivered()) {
            self.probe.on_round();
            self.control.on_round();
            self.extra_acked.on_round(self.round.count(), self.full_pipe.was_reached());
        }
        if sample.rate > Bandwidth::ZERO
            && (sample.rate >= self.max_bw.get() || !sample.app_limited)
            && self.fall.admits(sample.prior_delivered)
        {
            self.max_bw.update(sample.rate);
        }
    }

    /// A loss round has ended: `AdaptLowerBoundsFromCongestion` (section 5.5.10.3) if the loss was excessive or packets
    /// were marked.
    fn end_loss_round(&mut self, now: Instant) {
        self.short_term.end_episode();
        let (phase, grew) = (self.phase, self.bandwidth_grew());
        let queue_free = self.min_rtt.is_near(self.loss.window_rtt());
        let pressure = match phase {
            Phase::Startup if grew => Pressure::None,
            _ if !queue_free || self.probe.awaits_feedback() => Pressure::Some,
            Phase::Drain { .. } | Phase::ProbeDown => Pressure::None,
            Phase::ProbeCruise if self.probe.shows_background() => Pressure::None,
            _ => Pressure::Some,
        };
        let verdict = self.loss.end_round(self.max_datagram, pressure, queue_free);
        if verdict != Verdict::Pending {
            self.judged_bw = self.max_bw.get();
        }
        if verdict == Verdict::Excessive {
            match phase {
                Phase::Startup if !grew => self.leave_startup_for_loss(),
                phase if !phase.is_accelerating() => {
                    self.short_term.lower(self.max_bw.get(), self.control.window)
                }
                _ => {}
            }
        }
        self.end_mark_round(now, phase, grew);
    }

    /// `UpdateACKAggregation`, section 5.5.9. What is expected is what the path delivers, not what of it we leave to
    /// others for a while: against that the excess would grow without end.
    fn update_extra_acked(&mut self, ack: &Ack) {
        self.extra_acked.update(ack.now, ack.sample.newly_acked, self.max_bw.get(), self.control.window);
    }

    /// `HandleRestartFromIdle`, section 5.4.1.
    fn restart_from_idle(&mut self, now: Instant) {
        self.idle_restart = true;
        self.extra_acked.restart(now);
        if self.phase.is_probe_bw() {
            self.pace_at_bandwidth();
        } else if let Phase::ProbeRtt(probe) = self.phase {
            self.check_probe_rtt_done(now, probe);
        }
    }
}

//! What BBR controls: window and pacing rate (draft-ietf-ccwg-bbr-06 section 5.6).

use super::params::{
    DEFAULT_WINDOW, DOWN_PACING, DRAIN_PACING, INITIAL_BYTES, INITIAL_DATAGRAMS, INITIAL_RTT,
    LEAST_INITIAL_DATAGRAMS, MAX_QUANTUM, MIN_PACING, MIN_PIPE_DATAGRAMS, OFFLOAD_QUANTA, PACING_MARGIN,
    PROBE_RTT_WINDOW, QUANTUM_TIME, STARTUP_PACING, UNBOUNDED, UP_WINDOW,
};
use super::{Ack, Bbr, Phase};
use crate::congestion::bandwidth::{Bandwidth, Gain};
use crate::time::Duration;

/// The control parameters, and whether the window is what holds the sender back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    /// Bytes that may be in flight (`C.cwnd`).
    pub(super) window: u64,
    /// The last window that neither loss nor ProbeRTT had cut (`BBR.prior_cwnd`).
    prior_window: u64,
    /// The window at the start (`C.InitialCwnd`).
    initial_window: u64,
    /// The pacing rate (`C.pacing_rate`).
    pacing_rate: Bandwidth,
    /// The window was full in this round.
    limited: bool,
    /// The window was full in the last round.
    was_limited: bool,
}

impl Control {
    /// The values before anything is known: the initial window (RFC 9002 section 7.2), paced over an assumed RTT.
    pub(super) fn new(max_datagram: u64) -> Self {
        let datagrams = |count: u64| max_datagram.saturating_mul(count);
        let initial_window =
            datagrams(INITIAL_DATAGRAMS).min(INITIAL_BYTES.max(datagrams(LEAST_INITIAL_DATAGRAMS)));
        let mut control = Self {
            window: initial_window,
            prior_window: 0,
            initial_window,
            pacing_rate: Bandwidth::ZERO,
            limited: false,
            was_limited: false,
        };
        control.init_pacing_rate(INITIAL_RTT);
        control
    }

    /// `InitPacingRate`, section 5.6.2: the initial window over the RTT. For an RTT of zero (a clock that is too
    /// coarse) the rate stays what it was.
    pub(super) fn init_pacing_rate(&mut self, rtt: Duration) {
        if let Some(rate) = Bandwidth::from_transfer(self.initial_window, rtt) {
            self.pacing_rate = rate.scaled(STARTUP_PACING).max(Bandwidth::from_bytes_per_sec(MIN_PACING));
        }
    }

    /// A packet was sent and now `in_flight` bytes are out: is the window full (`C.is_cwnd_limited`, section 2.2)?
    pub(super) fn note_sent(&mut self, in_flight: u64, max_datagram: u64) {
        self.limited |= in_flight.saturating_add(max_datagram) > self.window;
    }

    /// A round began.
    pub(super) fn on_round(&mut self) {
        self.was_limited = self.limited;
        self.limited = false;
    }

    /// Whether the window was full at any time in the last round trip.
    pub(super) fn is_window_limited(&self) -> bool {
        self.limited || self.was_limited
    }
}

impl Bbr {
    /// Bytes that may be in flight.
    pub(crate) fn window(&self) -> u64 {
        self.control.window
    }

    /// How fast packets may leave; never zero.
    pub(crate) fn pacing_rate(&self) -> Bandwidth {
        self.control.pacing_rate
    }

    /// `UpdateControlParameters`, section 5.2.3.
    pub(super) fn update_control(&mut self, ack: &Ack) {
        if self.recovery_since.is_some_and(|since| ack.sample.sent >= since) {
            self.recovery_since = None;
            self.restore_window();
        }
        self.set_pacing_rate(self.pacing_gain());
        self.set_window(ack.sample.newly_acked);
    }

    /// The pacing gain of the phase (table in section 5.6.1).
    fn pacing_gain(&self) -> Gain {
        match self.phase {
            Phase::Startup => STARTUP_PACING,
            Phase::Drain { .. } => DRAIN_PACING,
            Phase::ProbeDown => DOWN_PACING,
            Phase::ProbeUp => self.probe.up_gain,
            Phase::ProbeCruise | Phase::ProbeRefill | Phase::ProbeRtt(_) => Gain::UNIT,
        }
    }

    /// The window gain of the phase (the same table).
    fn window_gain(&self) -> Gain {
        match self.phase {
            Phase::ProbeUp => UP_WINDOW,
            Phase::ProbeRtt(_) => PROBE_RTT_WINDOW,
            _ => DEFAULT_WINDOW,
        }
    }

    /// `SetPacingRateWithGain`, section 5.6.2: before the pipe has been full it only rises.
    fn set_pacing_rate(&mut self, gain: Gain) {
        let bw = match self.phase {
            Phase::ProbeCruise | Phase::ProbeRefill if self.probe.knows_background() => {
                self.loss.made_up_for(self.bw)
            }
            _ => self.bw,
        };
        let rate = bw.scaled(gain).scaled(PACING_MARGIN);
        if self.full_pipe.was_reached() || rate > self.control.pacing_rate {
            self.control.pacing_rate = rate.max(Bandwidth::from_bytes_per_sec(MIN_PACING));
        }
    }

    /// Paces at exactly the estimated bandwidth, for a restart from idle (section 5.4.1).
    pub(super) fn pace_at_bandwidth(&mut self) {
        self.set_pacing_rate(Gain::UNIT);
    }

    /// `SetCwnd`, section 5.6.4.6.
    fn set_window(&mut self, newly_acked: u64) {
        let max_inflight = self.max_inflight();
        let grown = self.control.window.saturating_add(newly_acked);
        if self.full_pipe.was_reached() {
            self.control.window = grown.min(max_inflight);
        } else if self.control.window < max_inflight || self.sampler.delivered() < self.control.initial_window
        {
            self.control.window = grown;
        }
        self.control.window = self.control.window.max(self.min_pipe_window());
        self.bound_window();
    }

    /// `BoundCwndForProbeRTT` and `BoundCwndForModel`, sections 5.6.4.5 and 5.6.4.7.
    fn bound_window(&mut self) {
        let long_term = match self.phase {
            Phase::ProbeDown | Phase::ProbeRefill | Phase::ProbeUp => self.inflight_longterm,
            Phase::ProbeCruise | Phase::ProbeRtt(_) => self.inflight_with_headroom(),
            Phase::Startup | Phase::Drain { .. } => UNBOUNDED,
        };
        let mut bound = long_term.min(self.short_term.in_flight).max(self.min_pipe_window());
        if let Phase::ProbeRtt(_) = self.phase {
            bound = bound.min(self.probe_rtt_window());
        }
        self.control.window = self.control.window.min(bound);
    }

    /// `UpdateMaxInflight`, section 5.6.4.2.
    fn max_inflight(&self) -> u64 {
        let bdp = self.bdp_multiple(self.bw, self.window_gain());
        self.quantization_budget(bdp.saturating_add(self.extra_acked.get()))
    }

    /// `Inflight`, section 5.6.4.2: what `gain` times the BDP at `bw` takes in flight.
    pub(super) fn inflight_at(&self, bw: Bandwidth, gain: Gain) -> u64 {
        self.quantization_budget(self.bdp_multiple(bw, gain))
    }

    /// `QuantizationBudget`, section 5.6.4.2: room for the aggregates of both ends, and for pipelining.
    fn quantization_budget(&self, volume: u64) -> u64 {
        // `SetSendQuantum`, section 5.6.3, without its floor of two datagrams: what the floor would keep in flight
        // stands in the queue of a slow link.
        let quantum = self.control.pacing_rate.bytes_in(QUANTUM_TIME).min(MAX_QUANTUM);
        let budget = OFFLOAD_QUANTA.saturating_mul(quantum);
        let volume = volume.max(budget).max(self.min_pipe_window());
        match self.phase {
            Phase::ProbeUp => volume.saturating_add(self.max_datagram.saturating_mul(2)),
            _ => volume,
        }
    }

    /// `BDPMultiple`, section 5.6.4.2; the initial window before the first RTT sample.
    pub(super) fn bdp_multiple(&self, bw: Bandwidth, gain: Gain) -> u64 {
        match self.min_rtt.get() {
            Some(rtt) => gain.of(bw.bytes_in(rtt)),
            None => self.control.initial_window,
        }
    }

    /// The estimated bandwidth-delay product, in bytes (`BBR.bdp`).
    pub(super) fn bdp(&self) -> u64 {
        self.bdp_multiple(self.bw, Gain::UNIT)
    }

    /// `BBR.MinPipeCwnd`, section 5.6.4.3.
    pub(super) fn min_pipe_window(&self) -> u64 {
        MIN_PIPE_DATAGRAMS.saturating_mul(self.max_datagram)
    }

    /// `SaveCwnd`, section 5.6.4.4.
    pub(super) fn save_window(&mut self) {
        let window = self.control.window;
        let cut = self.recovery_since.is_some() || matches!(self.phase, Phase::ProbeRtt(_));
        self.control.prior_window = if cut { self.control.prior_window.max(window) } else { window };
    }

    /// `RestoreCwnd`, section 5.6.4.4.
    pub(super) fn restore_window(&mut self) {
        self.control.window = self.control.window.max(self.control.prior_window);
    }
}

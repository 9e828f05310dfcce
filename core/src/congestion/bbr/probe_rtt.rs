//! ProbeRTT: little in flight for a moment, to see the RTT without a queue (draft-ietf-ccwg-bbr-06 section 5.3.4).

use super::params::{PROBE_RTT_DURATION, PROBE_RTT_WINDOW};
use super::probe_bw::Feedback;
use super::{Ack, Bbr, Phase};
use crate::time::Instant;

/// How far the probe is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ProbeRtt {
    /// Waiting for the bytes in flight to fall.
    Draining,
    /// They have: holding until then, and for at least a round.
    Holding {
        /// `BBR.probe_rtt_done_stamp`.
        until: Instant,
        /// `BBR.probe_rtt_round_done`.
        round_done: bool,
    },
}

impl Bbr {
    /// `CheckProbeRTT`.
    pub(super) fn check_probe_rtt(&mut self, ack: &Ack) {
        if !matches!(self.phase, Phase::ProbeRtt(_)) && self.min_rtt.is_probe_due() && !self.idle_restart {
            self.save_window();
            self.phase = Phase::ProbeRtt(ProbeRtt::Draining);
            self.probe.feedback = Feedback::Stopping;
            self.round.restart(self.sampler.delivered());
        }
        if let Phase::ProbeRtt(probe) = self.phase {
            self.handle_probe_rtt(ack, probe);
        }
        if ack.sample.delivered > 0 {
            self.idle_restart = false;
        }
    }

    /// `HandleProbeRTT`.
    fn handle_probe_rtt(&mut self, ack: &Ack, probe: ProbeRtt) {
        // Low rates are our own doing here.
        self.sampler.mark_app_limited(ack.in_flight);
        match probe {
            ProbeRtt::Draining if ack.in_flight <= self.probe_rtt_window() => {
                let until = ack.now + PROBE_RTT_DURATION;
                self.round.restart(self.sampler.delivered());
                self.phase = Phase::ProbeRtt(ProbeRtt::Holding { until, round_done: false });
            }
            ProbeRtt::Draining => {}
            ProbeRtt::Holding { until, round_done } => {
                let probe = ProbeRtt::Holding { until, round_done: round_done || self.round.started() };
                self.phase = Phase::ProbeRtt(probe);
                self.check_probe_rtt_done(ack.now, probe);
            }
        }
    }

    /// `CheckProbeRTTDone` and `ExitProbeRTT`.
    pub(super) fn check_probe_rtt_done(&mut self, now: Instant, probe: ProbeRtt) {
        let ProbeRtt::Holding { until, round_done: true } = probe else { return };
        if now <= until {
            return;
        }
        self.min_rtt.end_probe(now);
        self.restore_window();
        self.short_term.reset_bounds();
        if self.full_pipe.was_reached() {
            self.start_probe_down(now);
            self.start_probe_cruise();
        } else {
            self.enter_startup();
        }
    }

    /// `ProbeRTTCwnd`, section 5.6.4.5.
    pub(super) fn probe_rtt_window(&self) -> u64 {
        self.bdp_multiple(self.bw, PROBE_RTT_WINDOW).max(self.min_pipe_window())
    }
}

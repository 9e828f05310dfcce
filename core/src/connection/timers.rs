//! What a connection waits for, and what happens when the time has come.

use crate::error::CloseReason;
use crate::shared::Shared;
use crate::time::Instant;

use super::Connection;
use super::state::State;

impl Connection {
    /// The next time at which something is to be done, if nothing comes before.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Dialling(dialling) => dialling.timeout(),
            State::Confirming(confirming) => Some(confirming.expires),
            State::Untrusted(_) | State::Established(_) => {
                let pto = self.pto();
                let outstanding = self.path.sent.outstanding();
                // What is due to be sent waits for the peer where nothing may be sent.
                let to_send = [
                    self.path.received.deadline(),
                    self.path.pacer.until(),
                    self.path.validation.deadline(),
                    self.idle.keep_alive_due(outstanding),
                ];
                let silent = self.muted().is_some() || self.starved;
                let to_send = to_send.into_iter().flatten().min().filter(|_| !silent);
                [
                    to_send,
                    self.path.loss.deadline(pto, outstanding),
                    self.idle.deadline(pto),
                    self.path.mtu().deadline(),
                    self.early.as_ref().and_then(|early| early.lost_at),
                    self.graceful.as_ref().map(|graceful| graceful.deadline),
                    self.idle.rest_due().filter(|_| self.is_roomy()),
                ]
                .into_iter()
                .flatten()
                .min()
            }
            State::Closing(closing) => closing.until,
            State::Qotp(qotp) => self.qotp_timeout(qotp),
            State::Lingering(lingering) => lingering.until(),
            State::Draining { until } => Some(*until),
            State::Over => None,
        }
    }

    /// Whether a busier time has left room that a resting connection should give back.
    pub(super) fn is_roomy(&self) -> bool {
        let qotp = matches!(&self.state, State::Qotp(qotp) if qotp.is_roomy());
        qotp || self.path.sent.is_roomy() || self.datagrams.is_roomy() || self.streams.is_roomy()
    }

    /// Does what is due. Acknowledgements, paced packets, challenges and handshake copies are merely sent, which
    /// `poll_transmit` sees to.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Shared, now: Instant) {
        match &self.state {
            State::Dialling(dialling) if dialling.deadline <= now => self.end(cx, CloseReason::NoAnswer),
            State::Confirming(confirming) if confirming.expires <= now => {
                self.end(cx, CloseReason::Unconfirmed)
            }
            State::Closing(closing) if closing.until.is_some_and(|until| until <= now) => {
                self.after_draining(now)
            }
            State::Draining { until } if *until <= now => self.after_draining(now),
            State::Lingering(lingering) if lingering.until().is_some_and(|until| until <= now) => {
                self.after_draining(now);
            }
            State::Qotp(_) => self.handle_qotp_timeout(cx, now),
            State::Untrusted(_) | State::Established(_) => self.handle_open_timeout(cx, now),
            State::Dialling(_)
            | State::Confirming(_)
            | State::Closing(_)
            | State::Lingering(_)
            | State::Draining { .. }
            | State::Over => {}
        }
    }

    pub(super) fn handle_open_timeout(&mut self, cx: &mut Shared, now: Instant) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let pto = self.pto();
        if is_due(self.idle.deadline(pto)) {
            return self.end(cx, CloseReason::IdleTimeout);
        }
        let outstanding = self.path.sent.outstanding();
        if is_due(self.path.loss.deadline(pto, outstanding)) {
            if self.path.loss.waits_for_loss() {
                self.detect_losses(now);
            } else {
                self.on_probe_timeout(now);
            }
        }
        if is_due(self.path.mtu().deadline()) {
            self.on_mtu_deadline(now);
        }
        if is_due(self.early.as_ref().and_then(|early| early.lost_at)) {
            self.lose_early();
        }
        if is_due(self.idle.keep_alive_due(outstanding)) {
            self.ping_owed = true;
        }
        if is_due(self.idle.rest_due()) && self.is_roomy() {
            self.idle.rest();
            self.path.sent.shrink();
            self.datagrams.shrink();
            self.streams.shrink();
            if let Some(qotp) = self.state.qotp_mut() {
                qotp.shrink();
            }
        }
        self.close_if_delivered(cx, now);
    }
}

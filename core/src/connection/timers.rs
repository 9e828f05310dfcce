//! What a connection waits for, and what happens when the time has come.

use crate::error::CloseReason;
use crate::path::slots::PathSlot;
use crate::shared::Shared;
use crate::time::Instant;

use super::Connection;
use super::state::State;

impl Connection {
    /// The next time at which something is to be done, if nothing comes before.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let graceful = self.graceful.as_ref().map(|graceful| graceful.deadline);
        match &self.state {
            State::Dialling(dialling) => dialling.timeout().into_iter().chain(graceful).min(),
            State::Answering(answering) => graceful.into_iter().chain([answering.expires]).min(),
            State::Confirming(confirming) => graceful.into_iter().chain([confirming.expires]).min(),
            State::Untrusted(_) | State::Established(_) => {
                let paths = self.paths.slots().filter_map(|at| self.path_timeout(at)).min();
                [
                    paths,
                    self.closed_timeout(),
                    self.paths.homeless(),
                    self.look_due(),
                    self.upkeep_due(),
                    self.idle.deadline(self.largest_pto()),
                    self.early_lost_at(),
                    graceful,
                    self.idle.rest_due().filter(|_| self.is_roomy()),
                    self.cids.local.deadline(),
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

    /// The next time at which something is to be done for a path.
    fn path_timeout(&self, at: PathSlot) -> Option<Instant> {
        let (path, outstanding) = (&self.paths[at], self.paths[at].sent.outstanding());
        if path.is_opening() {
            // What cannot be sent counts as sent.
            return path.validation.deadline().into_iter().chain(self.standing_timeout(at)).min();
        }
        // What is due to be sent waits for the peer where nothing may be sent.
        let silent = self.muted(at).is_some() || path.starved;
        let to_send = [
            path.received.deadline(),
            // Where no data goes any more nothing waits for it.
            path.pacer.until().filter(|_| self.paths.carries(at) || path.ping_owed),
            path.validation.deadline(),
            path.moving.as_ref().and_then(|moving| moving.here_deadline()),
            self.keep_alive_due(at, outstanding),
        ];
        let to_send = to_send.into_iter().flatten().min().filter(|_| !silent);
        let loss = path.loss.deadline(self.pto(at), outstanding);
        let vigil = path.vigil.deadline();
        [
            to_send,
            loss,
            path.mtu().deadline(),
            self.move_timeout(at),
            vigil,
            self.standing_timeout(at),
            self.patience_deadline(at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When a PING is due on a path: where it carries data for the connection's sake, and on each of several for its own.
    fn keep_alive_due(&self, at: PathSlot, outstanding: usize) -> Option<Instant> {
        // One that the pacer holds back is due when that lets it go.
        if self.paths[at].ping_owed {
            return None;
        }
        let carries = self.paths.carries(at);
        let asked_for = self.idle.keep_alive_due(outstanding).filter(|_| carries);
        if self.paths.is_single() {
            asked_for
        } else {
            [asked_for, self.heartbeat_due(at), self.sample_due(at)].into_iter().flatten().min()
        }
    }

    /// When something is to be done about a path that is over, or where nothing may be sent.
    fn closed_timeout(&self) -> Option<Instant> {
        // Its acknowledgements go where data goes.
        let at = self.paths.selected();
        let silent = !self.paths.carries(at) || self.muted(at).is_some() || self.paths[at].starved;
        let acks = self.orphans().filter_map(|at| self.paths[at].received.deadline()).min();
        let ends = self.paths.closed().iter().filter_map(|at| self.standing_timeout(at)).min();
        acks.filter(|_| !silent).into_iter().chain(ends).min()
    }

    /// Whether a busier time has left room that a resting connection should give back.
    pub(super) fn is_roomy(&self) -> bool {
        let qotp = matches!(&self.state, State::Qotp(qotp) if qotp.is_roomy());
        qotp || self.paths.slots().any(|at| self.paths[at].sent.is_roomy())
            || self.datagrams.is_roomy()
            || self.streams.is_roomy()
    }

    /// Does what is due. Acknowledgements, paced packets, challenges and handshake copies are merely sent, which
    /// `poll_transmit` sees to.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Shared, now: Instant) {
        match &self.state {
            State::Dialling(dialling) if dialling.deadline <= now => {
                let reason = dialling.failure();
                self.judge_unanswered(cx);
                self.end(cx, reason);
            }
            State::Answering(answering) if answering.expires <= now => self.end(cx, CloseReason::Unconfirmed),
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
            State::Dialling(_) | State::Answering(_) | State::Confirming(_) => {
                self.close_if_delivered(cx, now);
            }
            State::Closing(_) | State::Lingering(_) | State::Draining { .. } | State::Over => {}
        }
    }

    pub(super) fn handle_open_timeout(&mut self, cx: &mut Shared, now: Instant) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_due(self.idle.deadline(self.largest_pto())) {
            return self.end(cx, CloseReason::IdleTimeout);
        }
        if self.end_if_homeless(cx, now) {
            return;
        }
        for at in self.paths.slots() {
            self.handle_path_timeout(at, cx, now);
        }
        if is_due(self.look_due()) {
            self.reselect(cx);
        }
        for at in self.paths.closed().iter() {
            self.handle_standing_timeout(at, cx, now);
        }
        if is_due(self.upkeep_due()) {
            self.look_after_paths(cx, now);
        }
        if is_due(self.cids.local.deadline()) {
            self.on_cid_timeout(cx, now);
        }
        if is_due(self.early_lost_at()) {
            self.lose_early();
        }
        if is_due(self.idle.rest_due()) && self.is_roomy() {
            self.idle.rest();
            for at in self.paths.slots() {
                self.paths[at].sent.shrink();
            }
            self.datagrams.shrink();
            self.streams.shrink();
            if let Some(qotp) = self.state.qotp_mut() {
                qotp.shrink();
            }
        }
        self.close_if_delivered(cx, now);
    }

    fn handle_path_timeout(&mut self, at: PathSlot, cx: &mut Shared, now: Instant) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let outstanding = self.paths[at].sent.outstanding();
        if is_due(self.paths[at].loss.deadline(self.pto(at), outstanding)) {
            if self.paths[at].loss.waits_for_loss() {
                self.detect_losses(at, now);
                if self.paths[at].sent.outstanding() == 0 {
                    self.paths[at].liveness.on_settled();
                }
            } else {
                self.on_probe_timeout(at, now);
                self.hurry_upkeep(now);
                self.try_next_answer(at);
            }
        }
        self.check_patience(at, cx, now);
        self.end_move_if_over(at, cx, now);
        if is_due(self.paths[at].mtu().deadline()) {
            self.on_mtu_deadline(at, now);
        }
        if is_due(self.paths[at].vigil.deadline()) {
            self.look_for_peer(at, now);
        }
        if is_due(self.keep_alive_due(at, outstanding)) {
            self.paths[at].ping_owed = true;
        }
        self.handle_standing_timeout(at, cx, now);
    }
}

//! What a QOTP connection waits for, and what happens when the time has come.

use crate::connection::Connection;
use crate::error::CloseReason;
use crate::path::slots::FIRST;
use crate::shared::Shared;
use crate::time::Instant;

use super::acks::Owed;
use super::{MAX_SENDINGS, Phase, Qotp};

impl Connection {
    /// The next time at which something is to be done, if nothing comes before.
    pub(in crate::connection) fn qotp_timeout(&self, qotp: &Qotp) -> Option<Instant> {
        if let Phase::Dialling(dial) = &qotp.phase {
            let graceful = self.graceful.as_ref().map(|graceful| graceful.deadline);
            return graceful.into_iter().chain([dial.timeout()]).min();
        }
        let (pto, outstanding) = (self.pto(FIRST), self.paths[FIRST].sent.outstanding());
        [
            self.paths[FIRST].pacer.until().filter(|_| !self.paths[FIRST].starved),
            self.paths[FIRST].loss.deadline(pto, outstanding),
            self.idle.deadline(pto),
            self.idle.keep_alive_due(outstanding).filter(|_| !self.paths[FIRST].ping_owed),
            self.graceful.as_ref().map(|graceful| graceful.deadline),
            qotp.told.deadline(),
            qotp.proof.deadline(),
            qotp.unconfirmed_at(),
            self.idle.rest_due().filter(|_| self.is_roomy()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(in crate::connection) fn handle_qotp_timeout(&mut self, cx: &mut Shared, now: Instant) {
        let Some(qotp) = self.state.qotp_mut() else { return };
        if let Phase::Dialling(dial) = &qotp.phase {
            if dial.deadline <= now {
                return self.end(cx, CloseReason::NoAnswer);
            }
            return self.close_if_delivered(cx, now);
        }
        if qotp.unconfirmed_at().is_some_and(|expires| expires <= now) {
            return self.end(cx, CloseReason::Unconfirmed);
        }
        let repeats = [qotp.told.take_repeat(now), qotp.proof.take_due(now)];
        if repeats.contains(&true) && qotp.acks.is_empty() {
            qotp.acks.push(Owed::NOTHING);
        }
        let asks = qotp.told.take_ask(now);
        let unheard = qotp.unheard;
        if self.is_given_up(now, unheard) {
            return self.end(cx, CloseReason::RetriesExhausted);
        }
        self.paths[FIRST].ping_owed |= asks;
        let probes = self.stats.probe_timeouts;
        self.handle_open_timeout(cx, now);
        if self.stats.probe_timeouts > probes
            && let Some(qotp) = self.state.qotp_mut()
        {
            qotp.unheard = qotp.unheard.saturating_add(1);
        }
    }

    /// Whether the probe timer is due once more after everything has been sent as often as QOTP does.
    fn is_given_up(&self, now: Instant, unheard: u32) -> bool {
        let loss = &self.paths[FIRST].loss;
        let due = loss
            .deadline(self.pto(FIRST), self.paths[FIRST].sent.outstanding())
            .is_some_and(|due| due <= now);
        due && !loss.waits_for_loss() && unheard >= MAX_SENDINGS - 1
    }

    /// Tells the peer of room that the reader has made, if that is news.
    pub(in crate::connection) fn tell_qotp_window(&mut self, now: Instant) {
        let Some(qotp) = self.state.qotp_mut() else { return };
        let (capacity, window) = (self.streams.receive_capacity(), self.streams.receive_window());
        if qotp.told.is_news(window, capacity) {
            qotp.told.on_told(window);
            qotp.told.repeat(now);
            qotp.acks.push(Owed::NOTHING);
        }
    }
}

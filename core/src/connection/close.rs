//! How connections end, and how to end one without losing what was written.

use bytes::Bytes;

use crate::error::{CloseReason, TransportError};
use crate::id::ErrorCode;
use crate::shared::Shared;
use crate::time::{Duration, Instant};
use crate::wire::frame::CloseKind;

use super::Connection;
use super::state::State;

/// How long data that was received before the end can still be read: as long as the default idle timeout.
const LINGER: Duration = Duration::from_secs(90);

/// A close that waits for delivery.
#[derive(Debug)]
pub(crate) struct Graceful {
    pub(crate) deadline: Instant,
    pub(crate) code: ErrorCode,
    pub(crate) reason: Bytes,
}

/// What a connection had not delivered when it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Undelivered {
    /// Streams with data, or an end, that the peer's transport has not acknowledged.
    pub streams: usize,
    /// Bytes written to them and not acknowledged.
    pub bytes: u64,
}

impl Connection {
    /// The application closes, now.
    pub(super) fn close(&mut self, cx: &mut Shared, code: ErrorCode, reason: Bytes) {
        if !self.state.is_open() {
            return;
        }
        // Who dialled hears of it by the keys that the reply makes.
        if matches!(self.state, State::Answering(_)) {
            self.make_reply(cx, cx.now);
        }
        self.note_undelivered();
        let (by, period) = (CloseKind::Application, self.closing_period());
        self.state.on_close(period, by, code, reason);
        self.shed(cx);
        self.tell_end(cx, CloseReason::Local { code });
    }

    /// The application closes once everything it wrote is delivered, or at `deadline`.
    pub(super) fn close_graceful(&mut self, cx: &mut Shared, graceful: Graceful) {
        if !self.state.is_open() || self.graceful.is_some() {
            return;
        }
        self.streams.finish_all(&mut cx.memory(&mut self.account));
        self.graceful = Some(graceful.into());
        let now = cx.now;
        self.close_if_delivered(cx, now);
    }

    /// Ends a graceful close that has nothing left to wait for.
    pub(super) fn close_if_delivered(&mut self, cx: &mut Shared, now: Instant) {
        let Some(graceful) = &self.graceful else { return };
        let established = self.state.is_established();
        let flushed = established && !self.datagrams.has_output() && !self.awaits_early();
        if (flushed && self.streams.is_all_delivered()) || graceful.deadline <= now {
            let (code, reason) = (graceful.code, graceful.reason.clone());
            self.graceful = None;
            self.close(cx, code, reason);
        }
    }

    /// The peer broke a rule: tell it which.
    pub(super) fn violation(&mut self, cx: &mut Shared, error: TransportError) {
        if !self.state.is_open() {
            return;
        }
        self.note_undelivered();
        let period = self.closing_period();
        self.state.on_close(period, CloseKind::Transport, error.code(), Bytes::new());
        self.shed(cx);
        self.tell_end(cx, CloseReason::Violation(error));
    }

    /// The peer closed: be silent until its last packets are through. What was received stays readable.
    pub(super) fn drain(&mut self, cx: &mut Shared, now: Instant, reason: CloseReason) {
        if !self.state.is_open() {
            return;
        }
        self.note_undelivered();
        self.state.on_drain(now + self.closing_period());
        self.streams.discard_sending(&mut cx.memory(&mut self.account));
        self.datagrams.discard_sending();
        self.tell_end(cx, reason);
    }

    /// Ends without a word: nobody listens, or nothing may be said. What was received stays readable, if somebody has proved to
    /// have sent it.
    pub(super) fn end(&mut self, cx: &mut Shared, reason: CloseReason) {
        self.note_undelivered();
        if self.is_half_open() {
            self.shed(cx);
            self.datagrams.discard_received();
        }
        if self.streams.any_unread() {
            self.lingered = true;
            self.state.on_drain(cx.now + LINGER);
            self.streams.discard_sending(&mut cx.memory(&mut self.account));
        } else {
            self.state = State::Over;
        }
        self.tell_end(cx, reason);
    }

    /// The closing or draining period is over. Unread data buys the connection some more time, once.
    pub(super) fn after_draining(&mut self, now: Instant) {
        if matches!(self.state, State::Draining { .. }) && !self.lingered && self.streams.any_unread() {
            self.lingered = true;
            self.state.on_drain(now + LINGER);
        } else {
            self.state = State::Over;
        }
    }

    /// Gives up all data, in either direction.
    pub(super) fn shed(&mut self, cx: &mut Shared) {
        self.streams.discard(&mut cx.memory(&mut self.account));
        self.datagrams.discard_sending();
        self.forget_early();
    }

    fn note_undelivered(&mut self) {
        let (streams, bytes) = self.streams.undelivered();
        self.undelivered = Undelivered { streams, bytes };
    }

    /// Three probe timeouts (RFC 9000 section 10.2).
    fn closing_period(&self) -> Duration {
        self.largest_pto().saturating_mul(3)
    }
}

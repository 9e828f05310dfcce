//! The end: refuse what is new, close what there is, wait until everybody has heard of it, stop.

use std::collections::VecDeque;

use dunlin_core::{ConnectionHandle, ErrorCode, Instant};
use dunlin_udp::{SHUTDOWN_LIMIT, Transmitter};

use crate::error::RunError;

use super::Endpoint;

/// Connections that are closing, and when nobody waits for them any more.
#[derive(Debug)]
pub(super) struct Farewell {
    closing: VecDeque<ConnectionHandle>,
    pub(super) deadline: Instant,
}

impl Endpoint {
    /// Closes the endpoint: takes nothing new, and closes every connection with `code` and `reason`. What was not
    /// delivered is lost: [`Connection::close_graceful`](dunlin_core::Connection::close_graceful) comes first where that matters.
    ///
    /// Go on with the loop until it says [`RunError::Closed`]: when the peers have heard of it or have had the time to,
    /// at most 3 seconds later, the socket is closed. Closing again does nothing.
    pub fn close(&mut self, code: ErrorCode, reason: &[u8]) {
        if !self.is_closed() {
            let closing = self.end_all(code, reason);
            self.farewell = Some(Farewell { closing, deadline: self.clock.now() + SHUTDOWN_LIMIT });
        }
    }

    /// Whether the endpoint is closed, though perhaps not all peers have heard of it.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.farewell.is_some() || self.sockets.is_none()
    }

    /// Refuses everything new, closes every connection, and says which peers have to hear of it.
    pub(super) fn end_all(&mut self, code: ErrorCode, reason: &[u8]) -> VecDeque<ConnectionHandle> {
        self.engine.set_alpns(Vec::new());
        let mut handles: VecDeque<_> = self.engine.handles().collect();
        handles.retain(|handle| {
            if let Some(attempt) = self.engine.incoming(*handle) {
                attempt.ignore();
            }
            self.engine.connection(*handle).is_some_and(|mut connection| {
                connection.close(code, reason);
                connection.is_closing()
            })
        });
        handles
    }

    /// Closes the socket once everybody has heard the farewell or has had the time to.
    pub(super) fn part(&mut self) -> Result<(), RunError> {
        let Some(Farewell { closing, deadline }) = &mut self.farewell else { return Ok(()) };
        while let Some(handle) = closing.front()
            && self.engine.connection(*handle).is_none_or(|connection| !connection.is_closing())
        {
            closing.pop_front();
        }
        if !closing.is_empty() && self.clock.now() < *deadline {
            return Ok(());
        }
        self.let_go();
        Err(RunError::Closed)
    }

    /// Closes the sockets and drops the transports.
    pub(super) fn let_go(&mut self) {
        self.sockets = None;
        self.transmitter = Transmitter::default();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.close(ErrorCode::default(), b"");
        // As far as the socket takes it at once; nobody waits here.
        let _ = self.transmit();
    }
}

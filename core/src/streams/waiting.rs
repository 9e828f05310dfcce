//! What streams wait for that have nothing to send.

use crate::id::StreamId;
use crate::limiter::Gate;

use super::counts::Counts;
use super::send::SendHalf;
use super::{Stream, Streams};

impl Stream {
    /// Takes down whether the peer's limit for this stream is all that holds it, and counts it in `total`.
    pub(super) fn set_limited(&mut self, limited: bool, total: &mut u32) {
        if core::mem::replace(&mut self.limited, limited) != limited {
            *total = if limited { *total + 1 } else { total.saturating_sub(1) };
        }
    }
}

impl Streams {
    /// What has to come before there is more to send, where there is nothing now.
    pub(crate) fn gate(&self) -> Gate {
        let lacks_stream = self.opening.counts().is_some_and(Counts::is_awaited);
        if !self.held.is_empty() || self.limited > 0 || lacks_stream {
            Gate::Peer
        } else if self.is_starving() || self.is_full() {
            Gate::Budget
        } else {
            Gate::Application
        }
    }

    /// Whether the latest write that was refused still waits, because its stream holds as much as it may.
    fn is_full(&self) -> bool {
        let refused = self.refused.and_then(|id| self.table.get(&id)?.send.as_ref());
        refused.is_some_and(SendHalf::is_awaited)
    }

    /// A stream has nothing more to send, whatever the peer allows.
    pub(super) fn unlimit(&mut self, id: StreamId) {
        if let Some(stream) = self.table.get_mut(&id) {
            stream.set_limited(false, &mut self.limited);
        }
    }
}

//! When the peer gets more credit, on the native wire.

use crate::id::StreamId;
use crate::time::{Duration, Instant};

use super::blocks::Memory;
use super::Streams;

impl Streams {
    /// Gives credit where the application has read enough for it. `rtt` tells a hurried reader from a slow one.
    pub(crate) fn update_windows(
        &mut self,
        now: Instant,
        rtt: Duration,
        id: StreamId,
        memory: &mut Memory<'_>,
    ) {
        if self.opening.by_use().is_some() {
            return;
        }
        let consumed = self.flow.consumed();
        if let Some(wish) = self.flow.window.wish(now, consumed, rtt, self.settings.max_window) {
            let size = memory.account.reserve_credit(memory.budget, wish);
            self.flow.window.grant(now, consumed, size);
        }
        let (most, connection) = (self.settings.max_stream_window, self.flow.window.size());
        let Some(receive) = self.receive_half(id).filter(|receive| receive.wants_credit()) else { return };
        let consumed = receive.consumed();
        if let Some(wish) = receive.window.wish(now, consumed, rtt, most.min(connection)) {
            let queued = receive.window.pending;
            receive.window.grant(now, consumed, wish);
            if !queued {
                self.credit.push_back(id);
            }
        }
    }

    /// The peer has nearly used up its credit although the application reads: the window is smaller than what the path
    /// holds, or than what waits behind a hole until it is filled, a round trip or two from now.
    pub(crate) fn widen_windows(&mut self, now: Instant, id: StreamId, memory: &mut Memory<'_>) {
        let backlog = self.receive_half(id).map_or(0, |receive| receive.backlog());
        let wish = self.flow.window.wider(self.settings.max_window);
        // Where memory is short, credit waits until something is read: what lies behind holes takes whole blocks.
        let room = memory.account.available().min(memory.budget.available()) as u64;
        if room < wish.saturating_mul(2) {
            return;
        }
        if self.flow.is_pressed_beside(backlog) {
            let size = memory.account.reserve_credit(memory.budget, wish);
            if size > self.flow.window.size() {
                self.flow.window.grant(now, self.flow.consumed(), size);
            }
        }
        let most = self.settings.max_stream_window.min(self.flow.window.size());
        let Some(receive) = self.receive_half(id).filter(|receive| receive.is_pressed()) else { return };
        let wish = receive.window.wider(most);
        if wish > receive.window.size() {
            let queued = receive.window.pending;
            receive.window.grant(now, receive.consumed(), wish);
            if !queued {
                self.credit.push_back(id);
            }
        }
    }
}

//! When the peer gets more credit, on the native wire.

use crate::id::StreamId;
use crate::time::{Duration, Instant};

use super::Streams;
use super::blocks::Memory;

impl Streams {
    /// Gives credit where data has passed or the application has read enough for it. `rtt` is what a round trip takes.
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
        let usage = self.flow.usage();
        self.flow.window.update(now, rtt, usage, self.settings.max_window, |wish| {
            memory.account.reserve_credit(memory.budget, wish)
        });
        let most = self.settings.max_stream_window.min(self.flow.window.size());
        let Some(receive) = self.receive_half(id).filter(|receive| receive.wants_credit()) else { return };
        let (usage, queued) = (receive.usage(), receive.window.pending);
        if receive.window.update(now, rtt, usage, most, |wish| wish) && !queued {
            self.credit.push_back(id);
        }
    }
}

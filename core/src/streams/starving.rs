//! Writers that found no memory, and wait for some.

use crate::id::StreamId;

use super::blocks::LARGE;
use super::send::SendHalf;
use super::{StreamEvent, Streams};

impl Streams {
    /// Remembers to tell the writer of this stream when there is memory again.
    pub(super) fn starve(&mut self, id: StreamId) {
        if let Some(stream) = self.table.get_mut(&id)
            && !core::mem::replace(&mut stream.starving, true)
        {
            self.starving.push_back(id);
        }
    }

    /// Whether writers wait for memory.
    pub(crate) fn is_starving(&self) -> bool {
        !self.starving.is_empty()
    }

    /// There are `room` bytes of memory: tells as many of the writers that wait for it as it has blocks for.
    pub(crate) fn feed(&mut self, room: usize) {
        for _ in 0..room / LARGE {
            let Some(id) = self.starving.pop_front() else { return };
            let Some(stream) = self.table.get_mut(&id) else { continue };
            stream.starving = false;
            if stream.send.as_mut().is_some_and(SendHalf::take_starved) {
                self.events.push_back(StreamEvent::Writable(id));
            }
        }
    }
}

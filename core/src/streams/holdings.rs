//! What the streams hold, and how it is given back.

use alloc::collections::VecDeque;

use crate::budget::{room, total};
use crate::id::StreamId;

use super::blocks::Memory;
use super::flow::Reception;
use super::{PLACE_COST, STREAM_COST, Stream, StreamEvent, Streams};

/// Queues and room in the table beyond this many bytes are given back when the connection rests: an idle one is to be
/// small, and one that has rested for a second does not mind a few allocations.
const KEEP: usize = 64;

impl Streams {
    /// Forgets a stream that is done in both directions.
    pub(super) fn reap(&mut self, id: StreamId, memory: &mut Memory<'_>) {
        let Some(stream) = self.table.get_mut(&id) else { return };
        stream.measure(&mut self.buffers);
        if !stream.is_done() {
            return;
        }
        stream.set_limited(false, &mut self.limited);
        if let Some(mut stream) = self.table.remove(&id) {
            self.buffers = self.buffers.saturating_sub(stream.measured);
            discard(&mut stream, memory);
            memory.account.release(memory.budget, STREAM_COST);
            if self.opening.on_closed(id, stream.ours) {
                self.events.push_back(StreamEvent::Available(id.direction()));
            }
        }
    }

    /// Drops all streams, for a connection that is over.
    pub(crate) fn discard(&mut self, memory: &mut Memory<'_>) {
        for (id, mut stream) in self.table.drain() {
            discard(&mut stream, memory);
            memory.account.release(memory.budget, STREAM_COST);
            if let Some(by_use) = self.opening.by_use_mut() {
                // It never ended: what comes for it is not to be taken for a repetition.
                by_use.disown(id);
            }
        }
        self.undelivered = 0;
        self.limited = 0;
        self.buffers = 0;
        if let Some(by_use) = self.opening.by_use_mut() {
            by_use.reception = Reception::new(by_use.reception.capacity());
        }
    }

    /// Drops what would be sent; what was received stays to be read.
    pub(crate) fn discard_sending(&mut self, memory: &mut Memory<'_>) {
        for stream in self.table.values_mut() {
            if let Some(mut send) = stream.send.take() {
                send.discard(memory);
            }
            stream.set_limited(false, &mut self.limited);
            stream.measure(&mut self.buffers);
        }
        self.undelivered = 0;
    }

    /// Heap held beside blocks and stream structs, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let places = self.table.len().saturating_mul(PLACE_COST);
        total([
            self.buffers,
            queue_bytes(&self.held),
            queue_bytes(&self.starving),
            queue_bytes(&self.credit),
            queue_bytes(&self.owed),
            queue_bytes(&self.events),
            self.schedule.heap_bytes(),
            self.opening.heap_bytes(),
            self.table.allocation_size().saturating_sub(places),
        ])
    }

    /// Whether [`Self::shrink`] is worth calling.
    pub(crate) fn is_roomy(&self) -> bool {
        self.heap_bytes() > KEEP
    }

    /// Gives the room back that a busier time needed.
    pub(crate) fn shrink(&mut self) {
        self.held.shrink_to_fit();
        self.starving.shrink_to_fit();
        self.owed.shrink_to_fit();
        self.credit.shrink_to_fit();
        self.events.shrink_to_fit();
        self.schedule.shrink();
        self.opening.shrink();
        self.table.shrink_to_fit();
    }
}

fn queue_bytes<T>(queue: &VecDeque<T>) -> usize {
    room::<T>(queue.capacity())
}

fn discard(stream: &mut Stream, memory: &mut Memory<'_>) {
    if let Some(send) = &mut stream.send {
        send.discard(memory);
    }
    if let Some(receive) = &mut stream.receive {
        receive.discard(memory);
    }
}

//! What is going to happen, in order.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

use dunlin_core::Instant;

use super::NodeId;
use crate::node::Ecn;

/// An address that was mentioned once: an index, so that nothing is looked up per datagram.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct AddressId(pub(super) usize);

/// A datagram on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) from: AddressId,
    pub(super) to: AddressId,
    pub(super) ecn: Option<Ecn>,
    pub(super) bytes: Vec<u8>,
}

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    /// A datagram arrives.
    Arrival(Flight),
    /// A node's timer was once set to this instant.
    Timer(NodeId, Instant),
}

/// The order is by time, then by the order of scheduling, so that ties are the same in every run.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Entry {
    at: Instant,
    sequence: u64,
    kind: Kind,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Arrival { slot: usize },
    Timer(NodeId),
}

/// The events to come. Datagrams lie in a slab beside the heap, which moves its entries about; their buffers are
/// used again.
#[derive(Default, Debug)]
pub(super) struct EventQueue {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    flights: Vec<Option<Flight>>,
    free: Vec<usize>,
    buffers: Vec<Vec<u8>>,
}

impl EventQueue {
    /// When the next event is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next event, if it is due at `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Event> {
        if self.next_at()? > now {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        match entry.kind {
            Kind::Timer(node) => Some(Event::Timer(node, entry.at)),
            Kind::Arrival { slot } => {
                self.free.push(slot);
                self.flights[slot].take().map(Event::Arrival)
            }
        }
    }

    pub(super) fn push_timer(&mut self, at: Instant, node: NodeId) {
        self.push(at, Kind::Timer(node));
    }

    pub(super) fn push_flight(&mut self, at: Instant, flight: Flight) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.flights.push(None);
                self.flights.len() - 1
            }
        };
        self.flights[slot] = Some(flight);
        self.push(at, Kind::Arrival { slot });
    }

    fn push(&mut self, at: Instant, kind: Kind) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, kind }));
    }

    /// A buffer with a copy of these bytes.
    pub(super) fn buffer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.buffers.pop().unwrap_or_default();
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.buffers.push(buffer);
    }
}

//! The table of everything that has a handle, and the queue of those with something to do.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Names a connection, or an attempt at one, of one endpoint. It stays invalid for ever once its connection is
/// forgotten: a later connection in the same place has another generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionHandle {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnectionHandle {
    /// No connection: whose a packet is that the endpoint sends to strangers ([`Transmit::connection`](crate::Transmit)).
    pub const NONE: Self = Self { slot: u32::MAX, generation: u32::MAX };
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Option<T>,
}

/// Slots with generations.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// Occupied slots.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Slots, occupied or not.
    pub(crate) const fn places(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The handle that the next [`Slots::insert`] will return.
    pub(crate) fn vacant(&self) -> ConnectionHandle {
        let free = self.free.last().and_then(|slot| self.handle_at(*slot));
        free.unwrap_or(ConnectionHandle { slot: self.slots.len() as u32, generation: 0 })
    }

    pub(crate) fn insert(&mut self, entry: T) -> ConnectionHandle {
        let handle = self.vacant();
        match self.free.pop().and_then(|slot| self.slots.get_mut(slot as usize)) {
            Some(place) => place.entry = Some(entry),
            None => self.slots.push(Slot { generation: 0, entry: Some(entry) }),
        }
        handle
    }

    /// Empties a slot; handles to it are stale from now on.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let place = self.slots.get_mut(slot as usize)?;
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        Some(entry)
    }

    pub(crate) fn get(&self, handle: ConnectionHandle) -> Option<&T> {
        let place = self.slots.get(handle.slot as usize)?;
        if place.generation == handle.generation { place.entry.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, handle: ConnectionHandle) -> Option<&mut T> {
        let place = self.slots.get_mut(handle.slot as usize)?;
        if place.generation == handle.generation { place.entry.as_mut() } else { None }
    }

    /// The handles of all that is there.
    pub(crate) fn handles(&self) -> impl Iterator<Item = ConnectionHandle> + '_ {
        let occupied = self.slots.iter().enumerate().filter(|(_, place)| place.entry.is_some());
        occupied.map(|(slot, place)| ConnectionHandle { slot: slot as u32, generation: place.generation })
    }

    /// The handle of what is in a slot.
    pub(crate) fn handle_at(&self, slot: u32) -> Option<ConnectionHandle> {
        self.slots.get(slot as usize).map(|place| ConnectionHandle { slot, generation: place.generation })
    }

    pub(crate) fn at(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.entry.as_ref()
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.entry.as_mut()
    }
}

/// Slots with something to do, served in turn; each waits at most once.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    queue: VecDeque<u32>,
    waiting: Vec<bool>,
}

impl ReadyQueue {
    /// Puts a slot at the end of the queue unless it waits there already.
    pub(crate) fn push(&mut self, slot: u32) {
        let place = slot as usize;
        if self.waiting.len() <= place {
            self.waiting.resize(place + 1, false);
        }
        if let Some(waits @ false) = self.waiting.get_mut(place) {
            *waits = true;
            self.queue.push_back(slot);
        }
    }

    /// Takes the slot that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        let slot = self.queue.pop_front()?;
        if let Some(waits) = self.waiting.get_mut(slot as usize) {
            *waits = false;
        }
        Some(slot)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_handle_finds_nothing() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        slots.remove(first.slot);
        let second = slots.insert('b');
        assert_eq!(first.slot, second.slot);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
        assert_eq!(slots.len(), 1);
        assert!(slots.handles().eq([second]));
    }

    #[test]
    fn the_ready_queue_serves_in_turn_and_holds_each_slot_once() {
        let mut ready = ReadyQueue::default();
        for slot in [1, 0, 1, 2] {
            ready.push(slot);
        }
        let order: Vec<u32> = core::iter::from_fn(|| ready.pop()).collect();
        assert_eq!(order, [1, 0, 2]);
        ready.push(1);
        assert!(!ready.is_empty());
    }
}

//! The table of everything that has a handle, and the queue of those with something to do.

use core::cmp::Reverse;

use alloc::collections::{BinaryHeap, VecDeque};
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

/// Below so much nobody minds what a table holds.
const FEW: usize = 64;

/// What a table gives its room back to where less than a quarter of it is used: twice of that, so that it has as many changes
/// behind it as it takes steps to move what is left.
pub(crate) fn fit(len: usize, capacity: usize) -> Option<usize> {
    let fits = len.saturating_mul(2).max(FEW);
    (len < capacity / 4 && fits < capacity).then_some(fits)
}

/// Slots with generations. The lowest that is free is taken first, and those at the end are given back when they are free.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// What is free among them, and at times what is not among them any more.
    free: BinaryHeap<Reverse<u32>>,
    occupied: usize,
    /// The most that were occupied at once.
    most: usize,
    /// The generation of slots that are new, later than those of all that were given back.
    fresh: u32,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: BinaryHeap::new(), occupied: 0, most: 0, fresh: 0 }
    }

    /// Occupied slots.
    pub(crate) const fn len(&self) -> usize {
        self.occupied
    }

    /// The most slots that were ever occupied at once.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// Slots, occupied or not.
    pub(crate) const fn places(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The handle that the next [`Slots::insert`] will return.
    pub(crate) fn vacant(&self) -> ConnectionHandle {
        // What is free has no lower one behind it: if this was given back, all of them were.
        let free = self.free.peek().and_then(|Reverse(slot)| self.handle_at(*slot));
        free.unwrap_or(ConnectionHandle { slot: self.slots.len() as u32, generation: self.fresh })
    }

    pub(crate) fn insert(&mut self, entry: T) -> ConnectionHandle {
        let handle = self.vacant();
        match self.slots.get_mut(handle.slot as usize) {
            Some(place) => {
                self.free.pop();
                place.entry = Some(entry);
            }
            None => {
                self.free.clear();
                self.slots.push(Slot { generation: handle.generation, entry: Some(entry) });
            }
        }
        self.occupied = self.occupied.saturating_add(1);
        self.most = self.most.max(self.occupied);
        handle
    }

    /// Empties a slot; handles to it are stale from now on.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let place = self.slots.get_mut(slot as usize)?;
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(Reverse(slot));
        self.occupied = self.occupied.saturating_sub(1);
        self.give_back();
        Some(entry)
    }

    /// Gives the slots at the end back if they are free, and their room if it has become much.
    fn give_back(&mut self) {
        while let Some(last) = self.slots.pop_if(|last| last.entry.is_none()) {
            self.fresh = self.fresh.max(last.generation);
        }
        if let Some(fits) = fit(self.slots.len(), self.slots.capacity()) {
            let places = self.places();
            self.slots.shrink_to(fits);
            self.free.retain(|Reverse(slot)| *slot < places);
            self.free.shrink_to(fits);
        }
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
            self.waiting.resize(place.saturating_add(1), false);
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

    /// There are no more than so many slots now.
    pub(crate) fn give_back(&mut self, places: u32) {
        if let Some(fits) = fit(places as usize, self.waiting.capacity()).filter(|_| self.queue.is_empty()) {
            self.waiting.truncate(places as usize);
            self.waiting.shrink_to(fits);
            self.queue.shrink_to(fits);
        }
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
    fn room_is_given_back_and_stale_handles_stay_stale() {
        let (mut slots, mut old) = (Slots::new(), Vec::new());
        for round in 0..3 {
            let handles: Vec<_> = (0..10_000).map(|n| slots.insert(n)).collect();
            assert!(old.iter().all(|handle| slots.get(*handle).is_none()), "round {round}");
            assert!(handles.iter().zip(0..).all(|(handle, n)| slots.get(*handle) == Some(&n)));
            // The first half goes first, so that holes come before the end.
            for handle in &handles {
                slots.remove(handle.slot);
            }
            assert_eq!((slots.len(), slots.places()), (0, 0));
            assert!(slots.slots.capacity() <= 2 * FEW && slots.free.capacity() <= 2 * FEW);
            old.extend(handles);
        }
    }

    #[test]
    fn the_lowest_slot_is_taken_first() {
        let mut slots = Slots::new();
        let handles: Vec<_> = (0..1_000).map(|n| slots.insert(n)).collect();
        for handle in &handles[..999] {
            slots.remove(handle.slot);
        }
        // The last one holds all the others.
        assert_eq!((slots.len(), slots.places()), (1, 1_000));
        let next = slots.insert(7);
        assert_eq!((next.slot, next.generation), (0, 1));
        slots.remove(999);
        assert_eq!(slots.places(), 1);
        let names: Vec<_> = (0..10).map(|n| slots.insert(n).slot).collect();
        assert_eq!(names, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert!(slots.get(handles[5]).is_none() && slots.get(next) == Some(&7));
    }

    #[test]
    fn the_ready_queue_gives_its_room_back() {
        let mut ready = ReadyQueue::default();
        (0..10_000).for_each(|slot| ready.push(slot));
        ready.give_back(0);
        assert_eq!(core::iter::from_fn(|| ready.pop()).count(), 10_000);
        ready.give_back(10);
        assert!(ready.waiting.capacity() <= 2 * FEW && ready.queue.capacity() <= 2 * FEW);
        ready.push(5_000);
        assert_eq!(ready.pop(), Some(5_000));
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

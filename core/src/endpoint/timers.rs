//! The endpoint's timer queue: an indexed binary heap with one deadline per slot.
//!
//! `next` is O(1), `set` and `clear` are O(log n) in the number of armed slots.

use alloc::vec::Vec;

use crate::time::Instant;

use super::slots::fit;

/// Deadlines of slots, the earliest first.
#[derive(Debug, Default)]
pub(crate) struct TimerQueue {
    heap: Vec<(Instant, u32)>,
    /// Per slot: its place in the heap plus one; zero if it has none.
    places: Vec<u32>,
}

#[expect(
    clippy::indexing_slicing,
    reason = "a place is below the heap's length and a slot has one: a property test checks it after every operation"
)]
impl TimerQueue {
    /// The earliest deadline and its slot.
    pub(crate) fn next(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// Arms, moves or (with `None`) disarms the timer of `slot`.
    pub(crate) fn set(&mut self, slot: u32, deadline: Option<Instant>) {
        match (self.place(slot), deadline) {
            (None, None) => {}
            (None, Some(deadline)) => self.insert(slot, deadline),
            (Some(place), Some(deadline)) => {
                let before = self.heap[place].0;
                if before != deadline {
                    self.heap[place].0 = deadline;
                    if deadline < before { self.rise(place) } else { self.sink(place) }
                }
            }
            (Some(place), None) => self.remove(place),
        }
    }

    /// There are no more than so many slots now.
    pub(crate) fn give_back(&mut self, places: u32) {
        if let Some(fits) = fit(places as usize, self.places.capacity()) {
            self.places.truncate(places as usize);
            self.places.shrink_to(fits);
        }
        if let Some(fits) = fit(self.heap.len(), self.heap.capacity()) {
            self.heap.shrink_to(fits);
        }
    }

    fn place(&self, slot: u32) -> Option<usize> {
        self.places.get(slot as usize).and_then(|place| place.checked_sub(1)).map(|place| place as usize)
    }

    fn insert(&mut self, slot: u32, deadline: Instant) {
        if self.places.len() <= slot as usize {
            self.places.resize((slot as usize).saturating_add(1), 0);
        }
        self.heap.push((deadline, slot));
        let place = self.heap.len().saturating_sub(1);
        self.record(place);
        self.rise(place);
    }

    fn remove(&mut self, place: usize) {
        let (_, slot) = self.heap.swap_remove(place);
        self.places[slot as usize] = 0;
        if place < self.heap.len() {
            self.record(place);
            self.rise(place);
            self.sink(place);
        }
    }

    fn record(&mut self, place: usize) {
        self.places[self.heap[place].1 as usize] = (place as u32).saturating_add(1);
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = place.saturating_sub(1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = place.saturating_mul(2).saturating_add(1);
            let right = left.saturating_add(1);
            let mut least = place;
            if left < self.heap.len() && self.heap[left].0 < self.heap[least].0 {
                least = left;
            }
            if right < self.heap.len() && self.heap[right].0 < self.heap[least].0 {
                least = right;
            }
            if least == place {
                return;
            }
            self.swap(least, place);
            place = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.record(a);
        self.record(b);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn room_is_given_back() {
        let mut queue = TimerQueue::default();
        (0..10_000).for_each(|slot| queue.set(slot, Some(Instant::from_nanos(slot.into()))));
        (1..10_000).for_each(|slot| queue.set(slot, None));
        queue.give_back(1);
        assert!(queue.heap.capacity() <= 128 && queue.places.capacity() <= 128);
        assert_eq!(queue.next(), Some((Instant::ZERO, 0)));
        queue.set(9_999, Some(Instant::from_nanos(1)));
        queue.set(0, None);
        assert_eq!(queue.next(), Some((Instant::from_nanos(1), 9_999)));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map_sorted_by_deadline(steps in prop::collection::vec((0u32..20, prop::option::of(0u64..50)), 0..300)) {
            let mut queue = TimerQueue::default();
            let mut model = BTreeMap::new();
            for (slot, deadline) in steps {
                let deadline = deadline.map(Instant::from_nanos);
                queue.set(slot, deadline);
                match deadline {
                    Some(deadline) => model.insert(slot, deadline),
                    None => model.remove(&slot),
                };
                prop_assert_eq!(queue.next().map(|(at, _)| at), model.values().min().copied());
                if let Some((at, slot)) = queue.next() {
                    prop_assert_eq!(model.get(&slot), Some(&at));
                }
                prop_assert_eq!(queue.heap.len(), model.len());
            }
        }
    }
}

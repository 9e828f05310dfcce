//! Which stream sends next: strict priorities, round robin within one.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::budget::room;
use crate::id::StreamId;

/// Streams with something to send, by priority.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// Highest priority first. A level stays when it runs empty; there are as many as priorities in use.
    levels: Vec<(i32, VecDeque<StreamId>)>,
    len: usize,
}

/// Levels kept although empty. More priorities than this in use at once cost an allocation when one comes and goes.
const KEEP: usize = 4;

impl Schedule {
    /// Puts a stream at the end of its level. The caller sees to it that no stream is in twice.
    pub(crate) fn push(&mut self, priority: i32, id: StreamId) {
        let place = match self.levels.binary_search_by(|level| priority.cmp(&level.0)) {
            Ok(place) => place,
            Err(place) => {
                // Most connections have one level, and idle ones are many.
                self.levels.reserve_exact(usize::from(self.levels.is_empty()));
                self.levels.insert(place, (priority, VecDeque::new()));
                place
            }
        };
        if let Some(level) = self.levels.get_mut(place) {
            level.1.push_back(id);
            self.len = self.len.saturating_add(1);
        }
    }

    /// The stream whose turn it is.
    pub(crate) fn first(&self) -> Option<StreamId> {
        self.levels.iter().find_map(|level| level.1.front()).copied()
    }

    /// Takes the stream whose turn it is off the queue.
    pub(crate) fn pop(&mut self) {
        let Some(place) = self.levels.iter().position(|level| !level.1.is_empty()) else { return };
        let Some(level) = self.levels.get_mut(place) else { return };
        level.1.pop_front();
        self.len = self.len.saturating_sub(1);
        if level.1.is_empty() && self.levels.len() > KEEP {
            self.levels.remove(place);
        }
    }

    /// Takes a stream out of the level in which it waits, wherever that is there: O(streams that wait in it).
    pub(crate) fn remove(&mut self, priority: i32, id: StreamId) {
        let Ok(place) = self.levels.binary_search_by(|level| priority.cmp(&level.0)) else { return };
        let Some((_, level)) = self.levels.get_mut(place) else { return };
        if let Some(at) = level.iter().position(|waiting| *waiting == id) {
            level.remove(at);
            self.len = self.len.saturating_sub(1);
        }
    }

    /// The stream whose turn it is goes to the end of its level.
    pub(crate) fn rotate(&mut self) {
        if let Some(level) = self.levels.iter_mut().find(|level| !level.1.is_empty()) {
            level.1.rotate_left(1);
        }
    }

    /// The streams, if there are no more than so many.
    pub(crate) fn all(&self, most: usize) -> Option<impl Iterator<Item = StreamId> + '_> {
        (self.len <= most).then(|| self.levels.iter().flat_map(|level| level.1.iter()).copied())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives the room back that a busier time needed.
    pub(crate) fn shrink(&mut self) {
        self.levels.retain_mut(|(_, waiting)| {
            waiting.shrink_to_fit();
            !waiting.is_empty()
        });
        self.levels.shrink_to_fit();
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let queues: usize = self.levels.iter().map(|level| room::<StreamId>(level.1.capacity())).sum();
        room::<(i32, VecDeque<StreamId>)>(self.levels.capacity()).saturating_add(queues)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_priorities_first_and_equals_in_turn() {
        let mut schedule = Schedule::default();
        for (priority, id) in [(0, 1), (5, 2), (0, 3), (-1, 4), (5, 6)] {
            schedule.push(priority, StreamId(id));
        }
        schedule.rotate();
        schedule.remove(0, StreamId(8));
        schedule.remove(1, StreamId(1));
        schedule.remove(0, StreamId(1));
        schedule.push(0, StreamId(1));
        let mut order = Vec::new();
        while let Some(id) = schedule.first() {
            order.push(id.get());
            schedule.pop();
        }
        assert_eq!(order, [6, 2, 3, 1, 4]);
        assert!(schedule.is_empty());
    }
}

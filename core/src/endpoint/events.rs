//! The queue of events, bounded by what exists however rarely it is polled.

use alloc::collections::VecDeque;

use hashbrown::HashSet;

use crate::event::Event;
use crate::hash::KeyedState;
use crate::id::Direction;

use super::ConnectionHandle;

/// Below this many events nobody minds what is among them.
const FEW: usize = 256;

/// Events that wait to be polled.
///
/// A part says something once until the application has looked, but an application may look without polling events,
/// and attempts come and go without its doing. So the queue is cleaned up whenever it has doubled: hints that say the
/// same again go, and so does all about attempts that the application has not heard of before they ended. What
/// remains is at most about a dozen events for each connection and three for each stream, a `Finished` for each
/// stream of the application's that was delivered since, and the newest `Closed` of connections that are gone: as many as twice
/// the most connections that there ever were at once. Who has not asked for longer finds older ones gone without a word.
#[derive(Debug)]
pub(crate) struct EventQueue {
    queue: VecDeque<(ConnectionHandle, Event)>,
    /// Clean up beyond this length.
    limit: usize,
    hasher: KeyedState,
}

impl EventQueue {
    pub(crate) const fn new(hasher: KeyedState) -> Self {
        Self { queue: VecDeque::new(), limit: FEW, hasher }
    }

    pub(crate) fn push(&mut self, handle: ConnectionHandle, event: Event) {
        self.queue.push_back((handle, event));
    }

    pub(crate) fn pop(&mut self) -> Option<(ConnectionHandle, Event)> {
        self.queue.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether it is time to clean up.
    pub(crate) fn is_crowded(&self) -> bool {
        self.queue.len() > self.limit
    }

    /// Removes what says nothing new, where there were at most `places` connections and attempts at once, ever. O(length), and the length has
    /// doubled since the last time.
    pub(crate) fn clean_up(&mut self, places: usize, is_alive: impl Fn(ConnectionHandle) -> bool) {
        let mut said = HashSet::with_hasher(self.hasher);
        let mut unknown = HashSet::with_hasher(self.hasher);
        self.queue.retain(|(handle, event)| {
            if is_alive(*handle) {
                return hint(event).is_none_or(|hint| said.insert((*handle, hint)));
            }
            if *event == Event::Incoming {
                unknown.insert(*handle);
            }
            matches!(event, Event::Closed(_)) && !unknown.contains(handle)
        });
        self.forget_oldest_ends(FEW.saturating_add(places.saturating_mul(2)), is_alive);
        self.limit = FEW.max(self.queue.len().saturating_mul(2));
        self.queue.shrink_to(self.limit);
    }

    /// Of the connections that are gone, keeps the ends of the `most` latest.
    fn forget_oldest_ends(&mut self, most: usize, is_alive: impl Fn(ConnectionHandle) -> bool) {
        let is_end = |handle, event: &Event| matches!(event, Event::Closed(_)) && !is_alive(handle);
        let ends = self.queue.iter().filter(|(handle, event)| is_end(*handle, event)).count();
        let mut excess = ends.saturating_sub(most);
        if excess > 0 {
            self.queue.retain(|(handle, event)| {
                let goes = excess > 0 && is_end(*handle, event);
                excess = excess.saturating_sub(usize::from(goes));
                !goes
            });
        }
    }
}

/// What an event says, if saying it twice says no more.
fn hint(event: &Event) -> Option<(u8, u64)> {
    let of = |direction: &Direction| u64::from(*direction == Direction::Unidirectional);
    match event {
        Event::StreamOpened(direction) => Some((0, of(direction))),
        Event::StreamsAvailable(direction) => Some((1, of(direction))),
        Event::Readable(id) => Some((2, id.get())),
        Event::Writable(id) => Some((3, id.get())),
        Event::DatagramReceived => Some((4, 0)),
        Event::DatagramSendable => Some((5, 0)),
        Event::Path => Some((6, 0)),
        Event::Incoming
        | Event::EarlyData
        | Event::Connected
        | Event::PeerKey(_)
        | Event::Finished(_)
        | Event::Closed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::CloseReason;
    use crate::rng::Rng;

    const PLACES: usize = 10;

    fn handle(generation: u32) -> ConnectionHandle {
        ConnectionHandle { slot: generation % PLACES as u32, generation }
    }

    /// Peers come and go by the thousand where nobody asks for events.
    #[test]
    fn ends_that_nobody_polls_do_not_pile_up_and_the_latest_are_kept() {
        let mut queue = EventQueue::new(Rng::new(&[1; 32], &[2; 32]).hasher());
        for n in 0..10_000 {
            queue.push(handle(n), Event::Closed(CloseReason::IdleTimeout));
            if queue.is_crowded() {
                queue.clean_up(PLACES, |_| false);
            }
        }
        let most = FEW + 2 * PLACES;
        assert!(queue.queue.len() <= 2 * most + 1, "{} events", queue.queue.len());
        let handles: alloc::vec::Vec<_> =
            core::iter::from_fn(|| queue.pop()).map(|(handle, _)| handle).collect();
        let first = 10_000 - handles.len() as u32;
        assert!(handles.into_iter().eq((first..10_000).map(handle)));
    }

    #[test]
    fn ends_of_connections_that_are_still_there_and_what_else_they_say_are_kept() {
        let mut queue = EventQueue::new(Rng::new(&[1; 32], &[2; 32]).hasher());
        for n in 0..1_000 {
            queue.push(handle(n), Event::Closed(CloseReason::IdleTimeout));
        }
        queue.push(handle(1_000), Event::Connected);
        queue.clean_up(PLACES, |_| true);
        assert_eq!(queue.queue.len(), 1_001);
    }
}

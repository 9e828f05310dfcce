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
/// stream that was delivered since, and a `Closed` for each connection that the application has had.
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

    /// Removes what says nothing new. O(length), and the length has doubled since the last time.
    pub(crate) fn clean_up(&mut self, is_alive: impl Fn(ConnectionHandle) -> bool) {
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
        self.limit = FEW.max(self.queue.len() * 2);
        self.queue.shrink_to(self.limit);
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
        Event::Incoming | Event::Connected | Event::PeerKey(_) | Event::Finished(_) | Event::Closed(_) => {
            None
        }
    }
}

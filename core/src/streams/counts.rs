//! How many streams of each kind there may be, and are (RFC 9000 section 4.6).

use core::ops::Range;

use crate::id::{Direction, Role};
use crate::wire::params::{MAX_STREAMS, TransportParams};

/// Streams of one direction that we open.
#[derive(Clone, Copy, Debug, Default)]
struct Ours {
    next: u64,
    max: u64,
    /// An open was refused: the application waits.
    awaited: bool,
}

/// Streams of one direction that the peer opens.
#[derive(Clone, Copy, Debug)]
struct Theirs {
    /// Index of the first that was not opened yet.
    next: u64,
    /// Index of the first that the application has not accepted yet.
    unaccepted: u64,
    /// The limit told to the peer, or about to be.
    max: u64,
    /// How many may be open at once.
    concurrent: u64,
    closed: u64,
    /// A new limit is to be sent.
    pending: bool,
    /// The application saw all there was.
    awaited: bool,
}

/// One of something for each direction.
#[derive(Clone, Copy, Debug)]
struct PerDirection<T> {
    bidirectional: T,
    unidirectional: T,
}

impl<T> PerDirection<T> {
    const fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Bidirectional => &self.bidirectional,
            Direction::Unidirectional => &self.unidirectional,
        }
    }

    const fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Bidirectional => &mut self.bidirectional,
            Direction::Unidirectional => &mut self.unidirectional,
        }
    }
}

/// Counts and limits for both directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    ours: PerDirection<Ours>,
    theirs: PerDirection<Theirs>,
    /// Streams that the peer may have opened before it knew our limits: those of early data.
    early: PerDirection<u64>,
}

impl Counts {
    pub(crate) fn new(role: Role, bidi: u32, uni: u32, peer: &TransportParams) -> Self {
        let theirs = |concurrent: u32| Theirs {
            next: 0,
            unaccepted: 0,
            max: u64::from(concurrent),
            concurrent: u64::from(concurrent),
            closed: 0,
            pending: false,
            awaited: true,
        };
        let ours = |max| Ours { next: 0, max, awaited: false };
        Self {
            ours: PerDirection {
                bidirectional: ours(peer.max_streams_bidi),
                unidirectional: ours(peer.max_streams_uni),
            },
            theirs: PerDirection { bidirectional: theirs(bidi), unidirectional: theirs(uni) },
            early: match role {
                Role::Initiator => PerDirection { bidirectional: 0, unidirectional: 0 },
                Role::Responder => PerDirection {
                    bidirectional: TransportParams::DEFAULT.max_streams_bidi,
                    unidirectional: TransportParams::DEFAULT.max_streams_uni,
                },
            },
        }
    }

    /// Takes the next index of ours, if the peer allows one.
    pub(crate) fn open(&mut self, direction: Direction) -> Option<u64> {
        let ours = self.ours.of_mut(direction);
        if ours.next >= ours.max {
            ours.awaited = true;
            return None;
        }
        ours.next = ours.next.saturating_add(1);
        Some(ours.next.saturating_sub(1))
    }

    /// Whether the application waits for the peer to allow another stream.
    pub(crate) fn is_awaited(&self) -> bool {
        self.ours.bidirectional.awaited || self.ours.unidirectional.awaited
    }

    /// Whether we have opened the stream with this index.
    pub(crate) const fn is_opened(&self, direction: Direction, index: u64) -> bool {
        index < self.ours.of(direction).next
    }

    /// The peer's HELLO allows `max` streams; early data may have used more.
    pub(crate) const fn set_peer_max(&mut self, direction: Direction, max: u64) {
        self.ours.of_mut(direction).max = max;
    }

    /// The peer allows `max` streams. Returns whether the application waits for that.
    pub(crate) fn on_max_streams(&mut self, direction: Direction, max: u64) -> bool {
        let ours = self.ours.of_mut(direction);
        ours.max = ours.max.max(max);
        ours.next < ours.max && core::mem::take(&mut ours.awaited)
    }

    /// The indices that come into being when the peer names `index`; `None` if it must not.
    pub(crate) const fn peer_opens(&self, direction: Direction, index: u64) -> Option<Range<u64>> {
        let theirs = self.theirs.of(direction);
        if index >= theirs.max && index >= *self.early.of(direction) {
            None
        } else if index < theirs.next {
            Some(theirs.next..theirs.next)
        } else {
            Some(theirs.next..index.saturating_add(1))
        }
    }

    /// The peer opened all streams below `end`. Returns whether the application waits for that.
    pub(crate) fn on_peer_opened(&mut self, direction: Direction, end: u64) -> bool {
        let theirs = self.theirs.of_mut(direction);
        theirs.next = end;
        core::mem::take(&mut theirs.awaited)
    }

    /// The index of the next stream of the peer that the application has not seen.
    pub(crate) fn accept(&mut self, direction: Direction) -> Option<u64> {
        let theirs = self.theirs.of_mut(direction);
        if theirs.unaccepted == theirs.next {
            theirs.awaited = true;
            return None;
        }
        theirs.unaccepted = theirs.unaccepted.saturating_add(1);
        Some(theirs.unaccepted.saturating_sub(1))
    }

    /// A stream of the peer is over: it may open another one. The new limit is told when it has moved by half of the
    /// concurrency, so that one frame covers many streams.
    pub(crate) fn on_peer_stream_closed(&mut self, direction: Direction) {
        let theirs = self.theirs.of_mut(direction);
        theirs.closed = theirs.closed.saturating_add(1);
        let max = theirs.closed.saturating_add(theirs.concurrent).min(MAX_STREAMS);
        if max > theirs.max && max.saturating_sub(theirs.max) >= theirs.concurrent.div_ceil(2) {
            theirs.max = max;
            theirs.pending = true;
        }
    }

    /// The MAX_STREAMS to send.
    pub(crate) const fn max_streams_to_send(&self, direction: Direction) -> Option<u64> {
        let theirs = self.theirs.of(direction);
        if theirs.pending { Some(theirs.max) } else { None }
    }

    /// The MAX_STREAMS is to be sent (again), or was sent.
    pub(crate) const fn set_max_streams_pending(&mut self, direction: Direction, pending: bool) {
        self.theirs.of_mut(direction).pending = pending;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BI: Direction = Direction::Bidirectional;

    #[test]
    fn the_peer_cannot_open_more_than_it_was_told() {
        let mut counts = Counts::new(Role::Initiator, 4, 0, &TransportParams::DEFAULT);
        assert_eq!(counts.peer_opens(BI, 4), None);
        assert_eq!(counts.peer_opens(Direction::Unidirectional, 0), None);
        assert_eq!(counts.peer_opens(BI, 2), Some(0..3));
        assert!(counts.on_peer_opened(BI, 3), "the application is told once");
        assert!(!counts.on_peer_opened(BI, 4));
        let accepted: std::vec::Vec<u64> = core::iter::from_fn(|| counts.accept(BI)).collect();
        assert_eq!(accepted, [0, 1, 2, 3]);
        counts.on_peer_stream_closed(BI);
        assert_eq!(counts.max_streams_to_send(BI), None);
        counts.on_peer_stream_closed(BI);
        assert_eq!(counts.max_streams_to_send(BI), Some(6));
        assert_eq!(counts.peer_opens(BI, 5), Some(4..6));
    }

    #[test]
    fn an_initiator_may_have_used_four_before_it_knows_better() {
        let mut counts = Counts::new(Role::Responder, 1, 0, &TransportParams::DEFAULT);
        assert_eq!(counts.peer_opens(BI, 3), Some(0..4));
        assert_eq!(counts.peer_opens(BI, 4), None);
        assert_eq!(counts.peer_opens(Direction::Unidirectional, 4), None);
        counts.on_peer_opened(BI, 3);
        for closed in 1..=3 {
            counts.on_peer_stream_closed(BI);
            assert_eq!(counts.max_streams_to_send(BI), Some(1 + closed));
        }
    }

    #[test]
    fn a_refused_open_is_told_when_there_is_room() {
        let peer = TransportParams { max_streams_bidi: 1, ..TransportParams::DEFAULT };
        let mut counts = Counts::new(Role::Initiator, 0, 0, &peer);
        assert_eq!(counts.open(BI), Some(0));
        assert!(!counts.on_max_streams(BI, 2), "nobody waits");
        assert_eq!(counts.open(BI), Some(1));
        assert_eq!(counts.open(BI), None);
        assert!(!counts.on_max_streams(BI, 1), "a limit never goes down");
        assert!(counts.on_max_streams(BI, 3));
        assert!(counts.is_opened(BI, 1) && !counts.is_opened(BI, 2));
    }
}

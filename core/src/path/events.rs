//! What happened to the paths of a connection: the last few events, for any number of subscribers who read at their own
//! pace.

use alloc::boxed::Box;
use core::array;

use crate::id::{ErrorCode, PathId};
use crate::wire::frame::PathStatus;

use super::addr::{LocalAddr, TransportAddr, Tuple};
use super::stats::PathStats;

/// Events that are kept. Paths change seldom; who is further behind is told so and looks at the paths themselves.
const KEPT: usize = 8;

/// Something happened to a path.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PathEvent {
    /// The path is there: the peer has answered on it.
    Opened {
        /// Which one.
        id: PathId,
        /// Our end, as far as it is known.
        local: LocalAddr,
        /// The peer's end.
        remote: TransportAddr,
    },
    /// One of its ends is elsewhere. It is the same path; [`PathStats`] tell what was kept of what was known of it.
    Moved {
        /// Which one.
        id: PathId,
        /// Its ends so far.
        from: Tuple,
        /// Its ends from now on.
        to: Tuple,
    },
    /// Data takes this path from now on. Not told of the first one.
    Selected {
        /// Which one.
        id: PathId,
        /// Our end, as far as it is known.
        local: LocalAddr,
        /// The peer's end.
        remote: TransportAddr,
    },
    /// The peer's application wants something else of the path than before.
    Status {
        /// Which one.
        id: PathId,
        /// What it is to be used for.
        status: PathStatus,
    },
    /// The path is gone. Paths that the peer tried to open in vain are not told of.
    Closed {
        /// Which one.
        id: PathId,
        /// Why.
        reason: PathClosed,
        /// The last that was known of it.
        stats: Box<PathStats>,
    },
    /// So many events came and went unread. What is true now is in [`Connection::paths`](crate::Connection::paths).
    Lagged(u64),
}

/// Why a path is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PathClosed {
    /// This application closed it.
    Local,
    /// The peer abandoned it, for a reason that has this code (docs/PROTOCOL.md, "Opening and abandoning paths").
    Peer(ErrorCode),
    /// The peer did not answer there.
    NoAnswer,
    /// The peer was not heard there for too long.
    Idle,
    /// The address is gone that it had on this host, or the socket ([`NetworkChange::Addresses`],
    /// [`Endpoint::set_sockets`]).
    ///
    /// [`NetworkChange::Addresses`]: crate::NetworkChange::Addresses
    /// [`Endpoint::set_sockets`]: crate::Endpoint::set_sockets
    AddressGone,
    /// It was opened by itself, and there is no use for it any more
    /// ([`Config::automatic_paths`](crate::Config::automatic_paths)).
    Unneeded,
    /// The connection ended.
    ConnectionClosed,
}

impl PathClosed {
    /// What the peer is told.
    pub(crate) const fn code(self) -> ErrorCode {
        ErrorCode(match self {
            Self::Local | Self::Peer(_) | Self::Unneeded | Self::ConnectionClosed => 0,
            Self::Idle => 1,
            Self::AddressGone => 2,
            Self::NoAnswer => 4,
        })
    }
}

/// How far a subscriber has read. Worth something with the connection alone that it was made by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathCursor(u64);

/// The last events of a connection's paths, as they were when it was asked for
/// ([`Connection::path_log`](crate::Connection::path_log)). The engine forgets ended connections; this can be read after
/// that.
#[derive(Clone, Debug)]
pub struct PathLog {
    /// The event with number n is at n modulo [`KEPT`].
    ring: [Option<PathEvent>; KEPT],
    /// The number of the next event; the first has 0.
    next: u64,
    /// Whether the handshake has made its path, and the end has not come.
    open: bool,
    /// The application knows that there is something, and has not looked.
    told: bool,
}

impl PathLog {
    /// None so far of a connection that has its first path, if `open`.
    pub(crate) fn new(open: bool) -> Self {
        Self { ring: array::from_fn(|_| None), next: 0, open, told: false }
    }

    /// A subscriber to what happens from now on.
    pub(crate) const fn subscribe(&mut self) -> PathCursor {
        self.told = false;
        PathCursor(self.next)
    }

    /// The next event for this subscriber; `None` if it knows them all.
    pub fn read(&self, cursor: &mut PathCursor) -> Option<PathEvent> {
        let oldest = self.next.saturating_sub(KEPT as u64);
        let lost = oldest.saturating_sub(cursor.0);
        if lost > 0 {
            cursor.0 = oldest;
            return Some(PathEvent::Lagged(lost));
        }
        if cursor.0 >= self.next {
            return None;
        }
        let event = self.ring.get(place(cursor.0)).cloned().flatten();
        cursor.0 = cursor.0.saturating_add(1);
        event
    }

    /// As [`Self::read`], by the application, which is told when there is more.
    pub(crate) fn look(&mut self, cursor: &mut PathCursor) -> Option<PathEvent> {
        self.told = false;
        self.read(cursor)
    }

    /// Whether the handshake has made its path, and the end has not come.
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// The end has come.
    pub(crate) const fn end(&mut self) {
        self.open = false;
    }

    /// Takes an event down. Says whether the application is to be told that there is one.
    #[must_use]
    pub(crate) fn record(&mut self, event: PathEvent) -> bool {
        self.open |= matches!(event, PathEvent::Opened { .. });
        if let Some(place) = self.ring.get_mut(place(self.next)) {
            *place = Some(event);
        }
        self.next = self.next.saturating_add(1);
        !core::mem::replace(&mut self.told, true)
    }

    /// What it takes, in bytes, with what its last event will hold.
    pub(crate) const fn bytes() -> usize {
        size_of::<Self>().saturating_add(size_of::<PathStats>())
    }
}

/// Where the event with this number is kept.
const fn place(number: u64) -> usize {
    number as usize % KEPT
}

#[cfg(test)]
mod tests;

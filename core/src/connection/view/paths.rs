//! What an embedder does with the paths of a connection, and hears of them.

use crate::error::PathError;
use crate::id::PathId;
use crate::path::addr::{LocalAddr, TransportAddr};
use crate::path::events::{PathCursor, PathEvent, PathLog};
use crate::path::stats::PathStats;
use crate::wire::frame::PathStatus;

use super::Connection;

impl Connection<'_> {
    /// The path that data takes, or the last one that it took.
    #[must_use]
    pub fn path(&self) -> PathStats {
        self.inner.paths[self.inner.paths.selected()].stats()
    }

    /// All paths that are opening or open.
    pub fn paths(&self) -> impl Iterator<Item = PathStats> + '_ {
        self.inner.paths.slots().map(|at| self.inner.paths[at].stats())
    }

    /// Opens another path, to an address at which the peer may be, from one of ours if it is given (else from the socket of
    /// the path in use, or another one that reaches it, and the address that the system chooses).
    ///
    /// The peer is asked there, five times within 3 to 9 s, by the longest known round trip; when it has answered there is [`PathEvent::Opened`], else [`PathEvent::Closed`]. Nothing is sent there
    /// before that but these questions. It may take a second after the handshake until the peer can be asked, which has to
    /// hand out an id for that first.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn open_path(
        &mut self,
        remote: impl Into<TransportAddr>,
        local: Option<LocalAddr>,
    ) -> Result<PathId, PathError> {
        let remote = remote.into();
        self.update(|inner, cx| inner.open_path(cx, remote, local))
    }

    /// Abandons a path: the peer is told on another one, and what is in flight goes again there. What still comes within
    /// three probe timeouts is read.
    ///
    /// # Errors
    /// [`PathError::LastPath`] if no other path is open and answered, [`PathError::Unknown`] if there is no such path,
    /// [`PathError::Closed`].
    pub fn close_path(&mut self, id: PathId) -> Result<(), PathError> {
        self.update(|inner, cx| inner.close_path(cx, id))
    }

    /// Says what a path is to be used for, to both sides: data leaves one that either side calls a backup for one that
    /// neither does. At first every path is available.
    ///
    /// # Errors
    /// [`PathError::Unknown`] if there is no such path, [`PathError::Unsupported`] where there can be one only,
    /// [`PathError::Closed`].
    pub fn set_path_status(&mut self, id: PathId, status: PathStatus) -> Result<(), PathError> {
        self.update(|inner, cx| inner.set_path_status(cx, id, status))
    }

    /// Sends data on this path from now on, whatever the policy and the statuses say, as long as it is there and delivers.
    /// What is in flight elsewhere is still waited for there.
    ///
    /// # Errors
    /// [`PathError::NotConnected`] if the peer has not answered there yet, [`PathError::Unknown`] if there is no such path,
    /// [`PathError::Closed`].
    pub fn select_path(&mut self, id: PathId) -> Result<(), PathError> {
        self.update(|inner, cx| inner.select_path(cx, id))
    }

    /// Wants to hear of what happens to paths from now on: `Event::Path` tells when there is something for
    /// [`Connection::path_events`]. Any number of subscribers each have a cursor of their own. Before the handshake is done
    /// the first event will be [`PathEvent::Opened`].
    ///
    /// From the first subscription on the connection keeps the last 8 events, for which it is charged about 2 KiB.
    pub fn subscribe_paths(&mut self) -> PathCursor {
        self.update(|inner, _| inner.subscribe_paths())
    }

    /// The next event of paths for a subscriber; `None` when it has had them all. Who is more than 8 behind hears how many
    /// it has missed ([`PathEvent::Lagged`]), then the 8.
    pub fn path_events(&mut self, cursor: &mut PathCursor) -> Option<PathEvent> {
        self.inner.path_log.as_mut()?.look(cursor)
    }

    /// A copy of those last events, to be read when the connection is forgotten; `None` if nobody has subscribed.
    #[must_use]
    pub fn path_log(&self) -> Option<PathLog> {
        self.inner.path_log.as_deref().cloned()
    }
}

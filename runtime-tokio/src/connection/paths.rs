//! What an application does with the paths of a connection, and hears of them.

use dunlin_core::{
    Connection as EngineConnection, LocalAddr, PathError, PathId, PathStats, PathStatus, TransportAddr,
};

use super::Connection;
use crate::path_events::PathEvents;

impl Connection {
    /// The path that data takes, or the last one that it took if the connection has ended; `None` if that is not known any
    /// more.
    #[must_use]
    pub fn path(&self) -> Option<PathStats> {
        let mut locked = self.link.lock();
        match self.link.end(&mut locked).map(|end| end.last) {
            Some(last) => last.map(|last| last.path),
            None => locked.connection(self.link.handle).0.map(|connection| connection.path()),
        }
    }

    /// All paths that are opening or open; none if the connection has ended. What was last known of a path that is gone is
    /// in [`PathEvent::Closed`](dunlin_core::PathEvent::Closed).
    #[must_use]
    pub fn paths(&self) -> Vec<PathStats> {
        let mut locked = self.link.lock();
        if self.link.end(&mut locked).is_some() {
            return Vec::new();
        }
        let connection = locked.connection(self.link.handle).0;
        connection.map_or_else(Vec::new, |connection| connection.paths().collect())
    }

    /// Opens another path, to an address at which the peer may be, from one of ours if it is given (else from the socket of
    /// the path in use, or another one that reaches it, and the address that the system chooses). Sockets have the numbers of
    /// their places in [`Endpoint::local_addrs`](crate::Endpoint::local_addrs).
    ///
    /// The peer is asked there, five times within 3 to 9 s, by the longest known round trip; when it has answered there is [`PathEvent::Opened`](dunlin_core::PathEvent::Opened), else
    /// [`PathEvent::Closed`](dunlin_core::PathEvent::Closed). Nothing is sent there before that but these questions. It may
    /// take a second after the handshake until the peer can be asked, which has to hand out an id for that first.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn open_path(
        &self,
        remote: impl Into<TransportAddr>,
        local: Option<LocalAddr>,
    ) -> Result<PathId, PathError> {
        let remote = remote.into();
        self.on_paths(|connection| connection.open_path(remote, local))
    }

    /// Abandons a path: the peer is told on another one, and what is in flight goes again there. What still comes within
    /// three probe timeouts is read.
    ///
    /// # Errors
    /// [`PathError::LastPath`] if no other path is open and answered, [`PathError::Unknown`] if there is no such path,
    /// [`PathError::Closed`].
    pub fn close_path(&self, id: PathId) -> Result<(), PathError> {
        self.on_paths(|connection| connection.close_path(id))
    }

    /// Says what a path is to be used for, to both sides: data leaves one that either side calls a backup for one that
    /// neither does. At first every path is available.
    ///
    /// # Errors
    /// [`PathError::Unknown`] if there is no such path, [`PathError::Unsupported`] where there can be one only,
    /// [`PathError::Closed`].
    pub fn set_path_status(&self, id: PathId, status: PathStatus) -> Result<(), PathError> {
        self.on_paths(|connection| connection.set_path_status(id, status))
    }

    /// Sends data on this path from now on, whatever the policy and the statuses say, as long as it is there and delivers.
    /// What is in flight elsewhere is still waited for there.
    ///
    /// # Errors
    /// [`PathError::NotConnected`] if the peer has not answered there yet, [`PathError::Unknown`] if there is no such path,
    /// [`PathError::Closed`].
    pub fn select_path(&self, id: PathId) -> Result<(), PathError> {
        self.on_paths(|connection| connection.select_path(id))
    }

    /// What happens to the paths from now on: one is there, gone, moved or selected, or the peer wants something else of it.
    /// Each of these hears everything.
    #[must_use]
    pub fn path_events(&self) -> PathEvents {
        PathEvents::new(&self.link)
    }

    fn on_paths<T>(
        &self,
        verb: impl FnOnce(&mut EngineConnection<'_>) -> Result<T, PathError>,
    ) -> Result<T, PathError> {
        let mut locked = self.link.lock();
        self.link.advance(&mut locked);
        let mut connection = locked.connection(self.link.handle).0.ok_or(PathError::Closed)?;
        let done = verb(&mut connection)?;
        self.link.nudge(&mut locked);
        Ok(done)
    }
}

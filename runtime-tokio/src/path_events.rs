//! What happens to the paths of a connection, as a stream of events.

use core::fmt;
use std::sync::Arc;

use dunlin_core::{PathCursor, PathEvent};

use crate::link::Link;

/// What happens to a connection's paths from the moment on in which this was made ([`Connection::path_events`]).
///
/// It is a handle of the connection like any other: as long as it is held, the connection is not closed for want of them.
///
/// [`Connection::path_events`]: crate::Connection::path_events
pub struct PathEvents {
    link: Arc<Link>,
    /// `None`: the connection had ended already.
    cursor: Option<PathCursor>,
}

impl fmt::Debug for PathEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathEvents").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// What there is to hear.
enum Look {
    Event(PathEvent),
    /// Not yet.
    Wait,
    /// Nothing, ever again.
    Over,
}

impl PathEvents {
    pub(crate) fn new(link: &Arc<Link>) -> Self {
        let cursor = {
            let mut locked = link.lock();
            let connection = locked.connection(link.handle).0;
            connection.map(|mut connection| connection.subscribe_paths())
        };
        Self { link: Arc::clone(link), cursor }
    }

    /// The next event; `None` when the connection has ended and all was told, a [`PathEvent::Closed`] for each path last.
    ///
    /// The last eight events wait to be heard. Who is further behind is told how many it has missed
    /// ([`PathEvent::Lagged`]), and then those; others have a count of their own. What is true is in [`Connection::paths`].
    ///
    /// It may be dropped at any time: the event waits for the next call.
    ///
    /// [`Connection::paths`]: crate::Connection::paths
    pub async fn next(&mut self) -> Option<PathEvent> {
        let link = Arc::clone(&self.link);
        loop {
            let notified = link.signals().path.notified();
            match self.look() {
                Look::Event(event) => return Some(event),
                Look::Wait => notified.await,
                Look::Over => return None,
            }
        }
    }

    fn look(&mut self) -> Look {
        let Some(cursor) = &mut self.cursor else { return Look::Over };
        let mut locked = self.link.lock();
        let (connection, entry, _) = locked.connection(self.link.handle);
        // The engine may have forgotten what has ended; what it had to tell is kept with the end.
        match (entry.and_then(|entry| entry.end.as_ref()), connection) {
            (Some(end), _) => {
                let event = end.paths.as_ref().and_then(|log| log.read(cursor));
                event.map_or(Look::Over, Look::Event)
            }
            (None, Some(mut connection)) => connection.path_events(cursor).map_or(Look::Wait, Look::Event),
            (None, None) => Look::Over,
        }
    }
}

//! An endpoint with a `Poll` of its own: the whole loop in one verb.

use core::net::SocketAddr;
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use std::io;
use std::sync::Arc;

use dunlin_core::{Config, Identity};
use mio::{Events, Poll, Token, Waker};

use crate::endpoint::Endpoint;
use crate::error::{BindError, RunError};

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);

/// An [`Endpoint`] that waits by itself, for programs in which it is the loop.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// # let mut driver: dunlin_mio::Driver = unimplemented!();
/// loop {
///     driver.run_once(None)?;
///     while let Some((handle, event)) = driver.poll_event() {
///         // Accept, read, write, ...
///     }
/// }
/// # }
/// ```
///
/// It has all the verbs of the endpoint, by dereference. Dropping it closes, as dropping an [`Endpoint`] does.
#[derive(Debug)]
pub struct Driver {
    endpoint: Endpoint,
    poll: Poll,
    /// What woke us. Nobody looks: every turn tries everything.
    events: Events,
    waker: Arc<Waker>,
}

impl Driver {
    /// A driver of an endpoint on `address`: see [`Endpoint::bind`].
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(address: SocketAddr, config: Config, identity: Identity) -> Result<Self, BindError> {
        Self::new(Endpoint::bind(address, config, identity)?).map_err(BindError::Poll)
    }

    /// A driver of `endpoint`, which is registered nowhere else from now on.
    ///
    /// # Errors
    /// The system's, if it has no more descriptors to give; [`io::ErrorKind::NotConnected`] if the endpoint is closed.
    pub fn new(mut endpoint: Endpoint) -> io::Result<Self> {
        let poll = Poll::new()?;
        endpoint.deregister()?;
        endpoint.register(poll.registry(), SOCKET)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self { endpoint, poll, events: Events::with_capacity(2), waker })
    }

    /// One turn of the loop: sends what there is to send, waits until something arrives, something is due, somebody
    /// wakes it, or `timeout` is over (`None`: as long as it takes), and receives. Then there may be events. Fetch them all
    /// before the next turn, which sends what you make of them, but does not wait if there are any left.
    ///
    /// # Errors
    /// See [`RunError`]. After [`Endpoint::close`], [`RunError::Closed`] says that all is done.
    pub fn run_once(&mut self, timeout: Option<Duration>) -> Result<(), RunError> {
        self.endpoint.transmit()?;
        let wait = [timeout, self.endpoint.poll_timeout()].into_iter().flatten().min();
        match self.poll.poll(&mut self.events, wait) {
            // A signal came: as good a reason to return as any.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            polled => polled.map_err(RunError::Poll)?,
        }
        self.endpoint.receive()
    }

    /// Wakes [`Driver::run_once`] from another thread: it returns, now or the next time that it waits. What the other
    /// thread wants is between you and it, by a channel for example.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }
}

/// A driver is an endpoint that can wait.
impl Deref for Driver {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl DerefMut for Driver {
    fn deref_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }
}

//! A handshake in progress.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use dunlin_core::{CloseReason, PublicKey};

use crate::connection::{self, Connection};
use crate::error::{ConnectionError, DatagramError, OpenError};
use crate::link::Link;
use crate::recv_stream::RecvStream;
use crate::send_stream::SendStream;
use crate::table::{Handshake, Settled};

/// A handshake in progress: a future that gives the [`Connection`].
///
/// A dial begins when this is first polled, or when a stream of it waits for something. Until then what is written to
/// its streams is collected, and goes with the first packet as far as it fits ("early data") if the peer's key is known.
/// The peer holds early data back until the handshake is done, unless both ends want it sooner (below); see docs/PROTOCOL.md,
/// "Packet 0 and early data".
///
/// An endpoint with [`EarlyData::Apply`](dunlin_core::EarlyData::Apply) reads early data *at once* where the dialler shows a token
/// ([`ConnectOptions::early`](dunlin_core::ConnectOptions::early)): then [`Connecting::is_early`] is true, what comes from
/// [`Connecting::accept_bi`] and its sisters is that data, and what is written to its streams before something is waited for goes
/// with the first packet of the answer, if the endpoint has nothing else to do in between, and else when the dialler has proved
/// its key. So the type says what is what: **what is read from a `Connecting` may be a copy of what
/// somebody once sent; what is read from a [`Connection`] is not.**
///
/// ```no_run
/// # async fn serve(endpoint: &dunlin_tokio::Endpoint) -> Result<(), Box<dyn std::error::Error>> {
/// let Some(incoming) = endpoint.accept().await else { return Ok(()) };
/// let connecting = incoming.accept()?;
/// if connecting.is_early() {
///     let (mut send, mut receive) = connecting.accept_bi().await?;
///     // A request that may be answered twice, and is answered a round trip sooner.
///     let request = receive.read_to_end(1_000).await?;
///     send.write_all(&request).await?;
///     send.finish()?;
/// }
/// let connection = connecting.await?;
/// # Ok(())
/// # }
/// ```
///
/// Dropping it gives the attempt up, unless streams of it are still held.
#[derive(Debug)]
#[must_use = "a dial begins when it is awaited"]
pub struct Connecting {
    link: Arc<Link>,
}

/// How far a handshake has come that is not over.
enum Stage {
    PeerKey(PublicKey),
    Done(Arc<Settled>),
}

impl Connecting {
    pub(crate) const fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Waits until the peer has proved its key, for the application to decide whether it trusts it.
    ///
    /// This is for [`Peer::Unknown`](dunlin_core::Peer::Unknown). With other peers the decision was made before, and
    /// [`Candidate::trust`] only gives the connection.
    ///
    /// # Errors
    /// [`ConnectionError::Closed`]; [`ConnectionError::NoIdentity`] on QOTP's wire, which proves no key: await the
    /// connection itself there.
    pub async fn peer_key(mut self) -> Result<Candidate, ConnectionError> {
        let (key, settled) = match poll_fn(|cx| self.poll_stage(cx)).await? {
            Stage::PeerKey(key) => (key, None),
            Stage::Done(settled) => {
                let key = settled.native().ok_or(ConnectionError::NoIdentity)?.peer;
                (key, Some(settled))
            }
        };
        Ok(Candidate { link: self.link, key, settled })
    }

    /// Opens a bidirectional stream already now. Waits while the peer allows no more: the first four need no wait.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), OpenError> {
        connection::open_bi(&self.link).await
    }

    /// QOTP: opens stream `number` already now, as [`Connection::open_id`] does.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_id(&self, number: u32) -> Result<(SendStream, RecvStream), OpenError> {
        connection::open_id(&self.link, number).await
    }

    /// Opens a unidirectional stream already now. Waits while the peer allows no more: the first four need no wait.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_uni(&self) -> Result<SendStream, OpenError> {
        connection::open_uni(&self.link).await
    }

    /// Queues an unreliable datagram already now.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub fn send_datagram(&self, data: &[u8]) -> Result<(), DatagramError> {
        connection::send_datagram(&self.link, data)
    }

    /// Whether there is early data to read, whose sender has not proved to have sent it just now.
    #[must_use]
    pub fn is_early(&self) -> bool {
        let mut locked = self.link.lock();
        locked.connection(self.link.handle).0.is_some_and(|connection| connection.is_early())
    }

    /// The next bidirectional stream that the peer opened, already now: one with early data, if [there is any](Self::is_early);
    /// else this waits until the connection stands.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), CloseReason> {
        connection::accept_bi(&self.link).await
    }

    /// The next unidirectional stream that the peer opened, already now: see [`Connecting::accept_bi`].
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn accept_uni(&self) -> Result<RecvStream, CloseReason> {
        connection::accept_uni(&self.link).await
    }

    fn poll_stage(&mut self, cx: &Context<'_>) -> Poll<Result<Stage, CloseReason>> {
        let mut locked = self.link.lock();
        let (_, Some(entry), wakes) = locked.connection(self.link.handle) else {
            // The entry lives as long as the link.
            return Poll::Pending;
        };
        match (&entry.handshake, &entry.end) {
            // What came before the end can still be read.
            (Handshake::Done(settled), _) => Poll::Ready(Ok(Stage::Done(Arc::clone(settled)))),
            (_, Some(end)) => Poll::Ready(Err(end.reason.clone())),
            (Handshake::PeerKey(key), None) => Poll::Ready(Ok(Stage::PeerKey(**key))),
            (Handshake::Pending, None) => {
                entry.await_handshake(cx.waker(), wakes);
                self.link.uncork(&mut locked);
                Poll::Pending
            }
        }
    }
}

impl Future for Connecting {
    type Output = Result<Connection, ConnectionError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let connecting = self.get_mut();
        connecting.poll_stage(cx).map(|stage| match stage? {
            Stage::Done(settled) => Ok(Connection::new(Arc::clone(&connecting.link), settled)),
            Stage::PeerKey(key) => Err(ConnectionError::Untrusted(key)),
        })
    }
}

/// A peer that has proved a key which nobody has trusted yet.
///
/// Dropping it closes the connection with code 0.
#[derive(Debug)]
#[must_use = "the connection is closed when this is dropped"]
pub struct Candidate {
    link: Arc<Link>,
    key: PublicKey,
    /// Whose trust was decided on before the dial.
    settled: Option<Arc<Settled>>,
}

impl Candidate {
    /// The key that the peer has proved to hold.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Trusts the key: the connection stands.
    ///
    /// # Errors
    /// How the connection ended meanwhile.
    pub fn trust(self) -> Result<Connection, CloseReason> {
        let Self { link, settled, .. } = self;
        let settled = match settled {
            Some(settled) => settled,
            None => {
                let mut locked = link.lock();
                if let (Some(mut connection), ..) = locked.connection(link.handle) {
                    connection.trust();
                }
                locked.dispatch();
                locked.nudge();
                let (_, entry, _) = locked.connection(link.handle);
                let settled = match entry.map(|entry| &entry.handshake) {
                    Some(Handshake::Done(settled)) => Some(Arc::clone(settled)),
                    _ => None,
                };
                match settled {
                    Some(settled) => settled,
                    None => return Err(connection::lost(&link, &mut locked)),
                }
            }
        };
        Ok(Connection::new(link, settled))
    }
}

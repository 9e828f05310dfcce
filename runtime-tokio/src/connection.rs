//! An established connection.

mod paths;

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use dunlin_core::{
    CloseReason, Connection as EngineConnection, ConnectionStats, Direction, EarlyToken, ErrorCode,
    LimiterStats, PublicKey, QotpPublicKey, Secret, StreamId, Suite, Undelivered, WireVersion,
};

use crate::error::{DatagramError, ExportError, OpenError};
use crate::link::Link;
use crate::recv_stream::RecvStream;
use crate::send_stream::SendStream;
use crate::state::Locked;
use crate::table::{Settled, Wire};
use crate::wake::Pick;

/// A connection to a peer that has proved its key; on QOTP's wire, to one that has proved nothing
/// ([`Connection::peer_identity`]). Clones are handles of the same connection.
///
/// When the last handle is dropped, its streams included, the connection is closed with code 0; what was not delivered
/// until then is lost. [`Connection::close_graceful`] delivers first.
#[derive(Clone, Debug)]
pub struct Connection {
    link: Arc<Link>,
    settled: Arc<Settled>,
}

impl Connection {
    pub(crate) const fn new(link: Arc<Link>, settled: Arc<Settled>) -> Self {
        Self { link, settled }
    }

    /// Opens a bidirectional stream. Waits while the peer allows no more.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), OpenError> {
        open_bi(&self.link).await
    }

    /// QOTP: opens stream `number`, whoever would open it by custom (even numbers the dialler, odd ones its peer). Waits
    /// while we have as many streams open as we may.
    ///
    /// # Errors
    /// [`OpenError::InUse`] if there is or was such a stream, [`OpenError::Unsupported`] on the native wire, which
    /// chooses its numbers itself; see [`OpenError`].
    pub async fn open_id(&self, number: u32) -> Result<(SendStream, RecvStream), OpenError> {
        open_id(&self.link, number).await
    }

    /// Opens a unidirectional stream. Waits while the peer allows no more.
    ///
    /// # Errors
    /// [`OpenError::Unsupported`] on QOTP's wire; see [`OpenError`].
    pub async fn open_uni(&self) -> Result<SendStream, OpenError> {
        open_uni(&self.link).await
    }

    /// The next bidirectional stream that the peer opened.
    ///
    /// # Errors
    /// How the connection ended; streams that came before are still handed out.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), CloseReason> {
        accept_bi(&self.link).await
    }

    /// The next unidirectional stream that the peer opened. On QOTP's wire there is none, and this waits for the end.
    ///
    /// # Errors
    /// How the connection ended; streams that came before are still handed out.
    pub async fn accept_uni(&self) -> Result<RecvStream, CloseReason> {
        accept_uni(&self.link).await
    }

    /// Queues an unreliable datagram. When the queue is full, [`dunlin_core::Overflow`] decides what happens.
    ///
    /// # Errors
    /// [`DatagramError::Unsupported`] on QOTP's wire; see [`DatagramError`].
    pub fn send_datagram(&self, data: &[u8]) -> Result<(), DatagramError> {
        send_datagram(&self.link, data)
    }

    /// Queues an unreliable datagram; waits for room where the queue is full and set to refuse.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub async fn send_datagram_wait(&self, data: &[u8]) -> Result<(), DatagramError> {
        let link = &self.link;
        let sent = link.wait_for(
            |all| &all.datagram_sendable,
            |locked| match send_datagram_locked(link, locked, data) {
                Err(DatagramError::Full) => None,
                sent => Some(Ok(sent)),
            },
        );
        sent.await.map_err(DatagramError::ConnectionLost)?
    }

    /// The oldest unreliable datagram received. On QOTP's wire there is none, and this waits for the end.
    ///
    /// # Errors
    /// How the connection ended; datagrams that came before are still handed out.
    pub async fn read_datagram(&self) -> Result<Bytes, CloseReason> {
        let link = &self.link;
        link.wait_for(
            |all| &all.datagram_received,
            |locked| {
                let mut data = Vec::new();
                locked.connection(link.handle).0?.read_datagram(&mut data)?;
                Some(Ok(data.into()))
            },
        )
        .await
    }

    /// The longest datagram that can be sent now, in bytes; `None` if the peer takes none or the connection has ended.
    #[must_use]
    pub fn max_datagram(&self) -> Option<usize> {
        self.link.lock().connection(self.link.handle).0?.max_datagram()
    }

    /// Closes at once; the peer is told `code` and the first 512 bytes of `reason`. What was not delivered is lost.
    /// Does nothing if the connection has ended.
    ///
    /// QOTP has no word for it: there the peer hears nothing, and finds out by the silence.
    pub fn close(&self, code: ErrorCode, reason: &[u8]) {
        self.link.close(code, reason);
    }

    /// Finishes all streams, waits until the peer's transport has everything, then closes with `code` and `reason`; after
    /// `timeout` in any case. Says what was not delivered then.
    ///
    /// From the first poll on no stream can be opened. The close goes on if this is dropped.
    ///
    /// QOTP has no word for the close itself: there the peer reads its streams to their ends, and that is all it hears.
    pub async fn close_graceful(&self, timeout: Duration, code: ErrorCode, reason: &[u8]) -> Undelivered {
        {
            let mut locked = self.link.lock();
            self.link.advance(&mut locked);
            let deadline = self.link.shared.clock.now() + timeout;
            if let (Some(mut connection), ..) = locked.connection(self.link.handle) {
                connection.close_graceful(deadline, code, reason);
            }
            locked.nudge();
        }
        self.link.ended().await.undelivered
    }

    /// Waits until the connection has ended, and says why.
    pub async fn closed(&self) -> CloseReason {
        self.link.ended().await.reason
    }

    /// Why the connection has ended; `None` while it lives.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.link.reason(&mut self.link.lock())
    }

    /// The newest token that the peer has given out, for [`ConnectOptions::early`](dunlin_core::ConnectOptions::early) of one
    /// later dial; `None` where it gave none (yet), on the side that answered, and some seconds after the end.
    #[must_use]
    pub fn early_token(&self) -> Option<EarlyToken> {
        self.link.lock().connection(self.link.handle).0?.early_token()
    }

    /// Counters; those of its last moment if the connection has ended.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        let mut locked = self.link.lock();
        match self.link.end(&mut locked).map(|end| end.last) {
            Some(last) => last.map_or_else(ConnectionStats::default, |last| last.stats),
            None => locked
                .connection(self.link.handle)
                .0
                .map_or_else(ConnectionStats::default, |connection| connection.stats()),
        }
    }

    /// What keeps it from sending more, and for how long it has been what; as it was in the end if the connection has
    /// ended, `None` if that is not known any more.
    #[must_use]
    pub fn limiter(&self) -> Option<LimiterStats> {
        let mut locked = self.link.lock();
        self.link.advance(&mut locked);
        match self.link.end(&mut locked).map(|end| end.last) {
            Some(last) => last.map(|last| last.limiter),
            None => locked.connection(self.link.handle).0.map(|connection| connection.limiter()),
        }
    }

    /// What is spoken: [`WireVersion::Native`], unless QOTP was dialled or its acceptance was switched on.
    #[must_use]
    pub fn wire(&self) -> WireVersion {
        match &self.settled.wire {
            Wire::Native(_) => WireVersion::Native,
            Wire::Qotp { .. } => WireVersion::Qotp,
        }
    }

    /// The peer's key, which it has proved: always there on the native wire. `None` on QOTP's, and only there: nobody
    /// proves anything on it. So an application that never switches QOTP on may `expect` the key, and one that does can
    /// decide by this alone whom it lets in.
    #[must_use]
    pub fn peer_identity(&self) -> Option<&PublicKey> {
        self.settled.native().map(|native| &native.peer)
    }

    /// QOTP: the key that the peer says is its own, or with which it was dialled. Good for telling peers apart that mean
    /// well, never for letting them in: whoever can intercept packets can be the peer, and anybody can say anything.
    /// `None` on the native wire, and where what the peer says is no key.
    #[must_use]
    pub fn qotp_claimed_key(&self) -> Option<QotpPublicKey> {
        match &self.settled.wire {
            Wire::Native(_) => None,
            Wire::Qotp { claimed } => *claimed,
        }
    }

    /// The application protocol; empty on QOTP's wire, which has none.
    #[must_use]
    pub fn alpn(&self) -> &[u8] {
        self.settled.native().map_or(&[], |native| &native.alpn)
    }

    /// The AEAD that protects the packets.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.settled.suite
    }

    /// Noise's handshake hash: the same on both sides, and on no other connection. `None` on QOTP's wire.
    #[must_use]
    pub fn handshake_hash(&self) -> Option<&[u8; 32]> {
        self.settled.native().map(|native| &native.handshake_hash)
    }

    /// A secret that both sides can compute and nobody else, for `label` and `context`.
    ///
    /// # Errors
    /// [`ExportError::Unsupported`] on QOTP's wire, where it would be no such thing; see [`ExportError`].
    pub fn export(&self, label: &[u8], context: &[u8]) -> Result<Secret, ExportError> {
        self.settled.native().ok_or(ExportError::Unsupported)?;
        let mut locked = self.link.lock();
        let secret = match locked.connection(self.link.handle).0 {
            Some(connection) => connection.export(label, context)?,
            None => None,
        };
        secret.ok_or_else(|| ExportError::ConnectionLost(lost(&self.link, &mut locked)))
    }
}

/// Why a connection of which the engine knows nothing ended.
pub(crate) fn lost(link: &Link, locked: &mut Locked<'_>) -> CloseReason {
    // It always says why before it forgets.
    link.reason(locked).unwrap_or(CloseReason::Local { code: ErrorCode::default() })
}

/// The next bidirectional stream that the peer of a connection opened, established or not.
pub(crate) async fn accept_bi(link: &Arc<Link>) -> Result<(SendStream, RecvStream), CloseReason> {
    let take = |locked: &mut Locked<'_>| {
        let id = accept(link, locked, Direction::Bidirectional)?;
        let send = SendStream::accepted(Arc::clone(link), locked, id);
        Some(Ok((send, RecvStream::new(Arc::clone(link), id))))
    };
    link.wait_for(|all| &all.accept_bi, take).await
}

/// The next unidirectional stream that the peer of a connection opened, established or not.
pub(crate) async fn accept_uni(link: &Arc<Link>) -> Result<RecvStream, CloseReason> {
    let take = |locked: &mut Locked<'_>| {
        let id = accept(link, locked, Direction::Unidirectional)?;
        Some(Ok(RecvStream::new(Arc::clone(link), id)))
    };
    link.wait_for(|all| &all.accept_uni, take).await
}

fn accept(link: &Link, locked: &mut Locked<'_>, direction: Direction) -> Option<StreamId> {
    locked.connection(link.handle).0?.accept(direction)
}

/// Opens a bidirectional stream of a connection, established or not.
pub(crate) async fn open_bi(link: &Arc<Link>) -> Result<(SendStream, RecvStream), OpenError> {
    open(link, |all| &all.open_bi, |connection| connection.open_bi(), |locked, id| both(link, locked, id))
        .await
}

/// Opens the stream with this number of a QOTP connection, established or not.
pub(crate) async fn open_id(link: &Arc<Link>, number: u32) -> Result<(SendStream, RecvStream), OpenError> {
    let open_id = |connection: &mut EngineConnection<'_>| connection.open_id(number);
    open(link, |all| &all.open_bi, open_id, |locked, id| both(link, locked, id)).await
}

fn both(link: &Arc<Link>, locked: &mut Locked<'_>, id: StreamId) -> (SendStream, RecvStream) {
    (SendStream::opened(Arc::clone(link), locked, id), RecvStream::new(Arc::clone(link), id))
}

/// Opens a unidirectional stream of a connection, established or not.
pub(crate) async fn open_uni(link: &Arc<Link>) -> Result<SendStream, OpenError> {
    let make = |locked: &mut Locked<'_>, id| SendStream::opened(Arc::clone(link), locked, id);
    open(link, |all| &all.open_uni, |connection| connection.open_uni(), make).await
}

async fn open<T>(
    link: &Arc<Link>,
    pick: Pick,
    open: impl Fn(&mut EngineConnection<'_>) -> Result<StreamId, dunlin_core::OpenError>,
    make: impl Fn(&mut Locked<'_>, StreamId) -> T,
) -> Result<T, OpenError> {
    let opened = link.wait_for(pick, |locked| {
        let opened = open(&mut locked.connection(link.handle).0?);
        match opened {
            Ok(id) => {
                link.nudge(locked);
                Some(Ok(Ok(make(locked, id))))
            }
            Err(dunlin_core::OpenError::Blocked) => None,
            Err(error) => Some(Ok(Err(match (error, link.reason(locked)) {
                (_, Some(reason)) => OpenError::ConnectionLost(reason),
                (dunlin_core::OpenError::Untrusted, None) => OpenError::Untrusted,
                (dunlin_core::OpenError::OverBudget, None) => OpenError::OverBudget,
                (dunlin_core::OpenError::Unsupported, None) => OpenError::Unsupported,
                (dunlin_core::OpenError::InUse, None) => OpenError::InUse,
                (_, None) => OpenError::Closing,
            }))),
        }
    });
    opened.await.map_err(OpenError::ConnectionLost)?
}

/// Queues an unreliable datagram on a connection, established or not.
pub(crate) fn send_datagram(link: &Link, data: &[u8]) -> Result<(), DatagramError> {
    send_datagram_locked(link, &mut link.lock(), data)
}

fn send_datagram_locked(link: &Link, locked: &mut Locked<'_>, data: &[u8]) -> Result<(), DatagramError> {
    let sent = match locked.connection(link.handle).0 {
        Some(mut connection) => connection.send_datagram(data),
        None => Err(dunlin_core::DatagramError::Closed),
    };
    match sent {
        Ok(()) => {
            link.nudge(locked);
            Ok(())
        }
        Err(dunlin_core::DatagramError::Unsupported) => Err(DatagramError::Unsupported),
        Err(dunlin_core::DatagramError::TooLarge { max }) => Err(DatagramError::TooLarge { max }),
        Err(dunlin_core::DatagramError::Full) => Err(DatagramError::Full),
        Err(dunlin_core::DatagramError::Untrusted) => Err(DatagramError::Untrusted),
        Err(_) => Err(DatagramError::ConnectionLost(lost(link, locked))),
    }
}

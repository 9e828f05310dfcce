//! What the adapter keeps of each connection beside the engine: who waits for what, and how it ended.

use core::task::Waker;
use std::sync::Arc;

use dunlin_core::{
    CloseReason, Connection, ConnectionStats, Direction, ErrorCode, Event, IncomingIdentity, LimiterStats,
    PathLog, PathStats, PeerIdentity, PublicKey, QotpPublicKey, StreamId, Suite, Undelivered, WireVersion,
    WriteError,
};
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::wake::{Signals, Wakes, register};

/// What a finished handshake has settled; it does not change any more.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) suite: Suite,
    pub(crate) wire: Wire,
}

/// What only one of the wires has settled.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    Native(Native),
    Qotp {
        /// The key that the peer claims, if it is one. Nothing proves it.
        claimed: Option<QotpPublicKey>,
    },
}

/// What a native handshake has proved and agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Native {
    pub(crate) peer: PublicKey,
    pub(crate) alpn: SmallVec<[u8; 16]>,
    pub(crate) handshake_hash: [u8; 32],
}

impl Settled {
    pub(crate) fn of(connection: &Connection<'_>) -> Option<Arc<Self>> {
        let wire = match connection.wire() {
            WireVersion::Qotp => Wire::Qotp { claimed: connection.qotp_claimed_key() },
            _ => Wire::Native(Native::of(connection)?),
        };
        Some(Arc::new(Self { suite: connection.suite()?, wire }))
    }

    /// Whose it is, and the application protocol, as an attempt of somebody else shows them.
    pub(crate) fn as_incoming(&self) -> (IncomingIdentity, Vec<Vec<u8>>) {
        match &self.wire {
            Wire::Native(native) => (IncomingIdentity::Unconfirmed(native.peer), vec![native.alpn.to_vec()]),
            Wire::Qotp { claimed } => (IncomingIdentity::Qotp(*claimed), Vec::new()),
        }
    }

    pub(crate) fn native(&self) -> Option<&Native> {
        match &self.wire {
            Wire::Native(native) => Some(native),
            Wire::Qotp { .. } => None,
        }
    }
}

impl Native {
    fn of(connection: &Connection<'_>) -> Option<Self> {
        let PeerIdentity::Verified(peer) = connection.peer_identity()?;
        let (alpn, handshake_hash) = (connection.alpn()?.into(), connection.handshake_hash()?);
        Some(Self { peer, alpn, handshake_hash })
    }
}

/// How far the handshake has come.
#[derive(Clone, Debug)]
pub(crate) enum Handshake {
    Pending,
    /// Waits for the application's trust. Boxed: few do, and not for long.
    PeerKey(Box<PublicKey>),
    Done(Arc<Settled>),
}

/// The last that was known of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last {
    pub(crate) stats: ConnectionStats,
    pub(crate) path: PathStats,
    pub(crate) limiter: LimiterStats,
}

/// How a connection ended, with the last that was known of it.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) reason: CloseReason,
    pub(crate) undelivered: Undelivered,
    pub(crate) last: Option<Last>,
    /// What had happened to its paths, if anybody wanted to know.
    pub(crate) paths: Option<Box<PathLog>>,
}

/// What became of what was written to a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Open,
    /// The peer wants no more.
    Stopped(ErrorCode),
    /// The peer's transport has everything, or knows of the reset.
    Settled,
}

#[derive(Debug)]
struct Writer {
    waker: Option<Waker>,
    outcome: Outcome,
}

/// Who waits for which stream.
#[derive(Debug, Default)]
struct Waiting {
    /// Who waits to read.
    readers: HashMap<StreamId, Waker>,
    /// Every sending half that the application holds.
    writers: HashMap<StreamId, Writer>,
}

/// A connection in the adapter's table. It lives as long as there is a handle.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) signals: Arc<Signals>,
    pub(crate) handshake: Handshake,
    /// Boxed: as long as a connection lives it has none.
    pub(crate) end: Option<Box<End>>,
    /// Who waits for the handshake.
    connecting: Option<Waker>,
    /// Boxed: a connection at rest has none.
    streams: Option<Box<Waiting>>,
}

impl Entry {
    pub(crate) fn new(signals: Arc<Signals>) -> Self {
        Self { signals, handshake: Handshake::Pending, end: None, connecting: None, streams: None }
    }

    pub(crate) fn await_handshake(&mut self, waker: &Waker, wakes: &mut Wakes) {
        register(&mut self.connecting, waker, wakes);
    }

    pub(crate) fn await_readable(&mut self, id: StreamId, waker: &Waker, wakes: &mut Wakes) {
        let readers = &mut self.streams_mut().readers;
        if readers.get(&id).is_some_and(|old| old.will_wake(waker)) {
            return;
        }
        wakes.nobody(readers.insert(id, waker.clone()));
    }

    /// The reader is gone.
    pub(crate) fn forget_reader(&mut self, id: StreamId, wakes: &mut Wakes) {
        wakes.nobody(self.take_reader(id));
        self.shrink();
    }

    /// The application gets a sending half.
    pub(crate) fn add_writer(&mut self, id: StreamId, outcome: Outcome) {
        self.streams_mut().writers.insert(id, Writer { waker: None, outcome });
    }

    pub(crate) fn outcome(&self, id: StreamId) -> Outcome {
        let writers = self.streams.as_ref().map(|streams| &streams.writers);
        writers.and_then(|writers| writers.get(&id)).map_or(Outcome::Settled, |writer| writer.outcome)
    }

    pub(crate) fn await_writer(&mut self, id: StreamId, waker: &Waker, wakes: &mut Wakes) {
        if let Some(writer) = self.writer(id) {
            register(&mut writer.waker, waker, wakes);
        }
    }

    /// The writer is gone.
    pub(crate) fn forget_writer(&mut self, id: StreamId, wakes: &mut Wakes) {
        let writer = self.streams.as_mut().and_then(|streams| streams.writers.remove(&id));
        wakes.nobody(writer.and_then(|writer| writer.waker));
        self.shrink();
    }

    fn streams_mut(&mut self) -> &mut Waiting {
        self.streams.get_or_insert_default()
    }

    fn take_reader(&mut self, id: StreamId) -> Option<Waker> {
        self.streams.as_mut()?.readers.remove(&id)
    }

    fn writer(&mut self, id: StreamId) -> Option<&mut Writer> {
        self.streams.as_mut()?.writers.get_mut(&id)
    }

    /// A connection without streams holds nothing for them.
    fn shrink(&mut self) {
        self.streams.take_if(|streams| streams.readers.is_empty() && streams.writers.is_empty());
    }

    /// Something happened. `connection` is the engine's, unless it has forgotten it already.
    pub(crate) fn on_event(
        &mut self,
        event: Event,
        connection: Option<&mut Connection<'_>>,
        wakes: &mut Wakes,
    ) {
        match event {
            Event::Connected => {
                if let Some(settled) = connection.as_deref().and_then(Settled::of) {
                    self.handshake = Handshake::Done(settled);
                }
                wakes.task(self.connecting.take());
            }
            Event::PeerKey(key) => {
                self.handshake = Handshake::PeerKey(Box::new(key));
                wakes.task(self.connecting.take());
            }
            Event::StreamOpened(Direction::Bidirectional) => wakes.one(&self.signals, |all| &all.accept_bi),
            Event::StreamOpened(Direction::Unidirectional) => wakes.one(&self.signals, |all| &all.accept_uni),
            Event::StreamsAvailable(Direction::Bidirectional) => wakes.one(&self.signals, |all| &all.open_bi),
            Event::StreamsAvailable(Direction::Unidirectional) => {
                wakes.one(&self.signals, |all| &all.open_uni);
            }
            Event::Readable(id) => wakes.task(self.take_reader(id)),
            Event::Writable(id) => self.on_writable(id, connection, wakes),
            Event::Finished(id) => {
                if let Some(writer) = self.writer(id) {
                    if writer.outcome == Outcome::Open {
                        writer.outcome = Outcome::Settled;
                    }
                    wakes.task(writer.waker.take());
                }
            }
            Event::DatagramReceived => wakes.one(&self.signals, |all| &all.datagram_received),
            Event::DatagramSendable => wakes.one(&self.signals, |all| &all.datagram_sendable),
            Event::Path => wakes.each(&self.signals, |all| &all.path),
            Event::Closed(reason) => self.on_closed(reason, connection, wakes),
            // The endpoint's; and what a later engine may tell and this adapter has no use for.
            _ => {}
        }
    }

    /// The stream takes data again, or the peer stopped it. The engine forgets a stopped stream once the peer knows
    /// that we heard it, so the code is kept here.
    fn on_writable(&mut self, id: StreamId, connection: Option<&mut Connection<'_>>, wakes: &mut Wakes) {
        let Some(writer) = self.writer(id) else { return };
        if let Some(Err(WriteError::Stopped(code))) = connection.map(|connection| connection.write(id, &[])) {
            writer.outcome = Outcome::Stopped(code);
        }
        wakes.task(writer.waker.take());
    }

    fn on_closed(&mut self, reason: CloseReason, connection: Option<&mut Connection<'_>>, wakes: &mut Wakes) {
        let connection = connection.as_deref();
        self.end = Some(Box::new(End {
            reason,
            undelivered: connection.map_or_else(Undelivered::default, Connection::undelivered),
            last: connection.map(|connection| Last {
                stats: connection.stats(),
                path: connection.path(),
                limiter: connection.limiter(),
            }),
            paths: connection.and_then(Connection::path_log).map(Box::new),
        }));
        wakes.task(self.connecting.take());
        if let Some(streams) = &mut self.streams {
            for (_, waker) in streams.readers.drain() {
                wakes.task(Some(waker));
            }
            for writer in streams.writers.values_mut() {
                wakes.task(writer.waker.take());
            }
        }
        wakes.everybody(&self.signals);
    }
}

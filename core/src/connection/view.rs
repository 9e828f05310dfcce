//! What an embedder does with a connection: a borrowed view.

mod paths;

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::crypto::Suite;
use crate::crypto::keys::LabelTooLong;
use crate::crypto::{EarlyToken, PublicKey, QotpPublicKey, Secret};
use crate::endpoint::ReadyQueue;
use crate::error::{CloseReason, DatagramError, OpenError, ReadError, WriteError};
use crate::event::Event;
use crate::fuzzing::{Opened, Unopened};
use crate::id::{Direction, ErrorCode, PathId, Role, StreamId, WireVersion};
use crate::limiter::LimiterStats;
use crate::shared::Shared;
use crate::stats::{ConnectionStats, count};
use crate::time::Instant;
use crate::wire::codec::cut;
use crate::wire::frame::MAX_REASON;

use super::close::{Graceful, Undelivered};
use super::state::State;

/// Where in its life a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Dialled, not answered yet.
    Dialling,
    /// Accepted, not confirmed by the initiator yet: what can be read is early data ([`Event::EarlyData`]), and what is written
    /// waits.
    Confirming,
    /// Waits for `trust`.
    Untrusted,
    /// Data flows.
    Established,
    /// Closed by either side or lost; what was received can still be read.
    Closed,
}

/// The peer's key, once it is proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerIdentity {
    /// The peer has proved in the handshake that it holds this key.
    Verified(PublicKey),
}

/// A connection, borrowed from its endpoint.
pub struct Connection<'a> {
    inner: &'a mut super::Connection,
    cx: &'a mut Shared,
    ready: &'a mut ReadyQueue,
}

impl fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<'a> Connection<'a> {
    pub(crate) const fn new(
        inner: &'a mut super::Connection,
        cx: &'a mut Shared,
        ready: &'a mut ReadyQueue,
    ) -> Self {
        Self { inner, cx, ready }
    }

    /// Every change ends like every verb of the endpoint: events handed over, memory settled, output looked for.
    fn update<R>(&mut self, verb: impl FnOnce(&mut super::Connection, &mut Shared) -> R) -> R {
        let result = verb(self.inner, self.cx);
        self.inner.finish_verb(self.cx);
        self.ready.push(self.inner.handle.slot);
        result
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// See [`OpenError`]; `Blocked` ends with `Event::StreamsAvailable`.
    pub fn open(&mut self, direction: Direction) -> Result<StreamId, OpenError> {
        self.update(|inner, cx| match inner.state {
            _ if inner.state.is_untrusted() => Err(OpenError::Untrusted),
            _ if !inner.state.is_open() || inner.graceful.is_some() => Err(OpenError::Closed),
            _ => inner.streams.open(direction, &mut cx.memory(&mut inner.account)),
        })
    }

    /// Opens a bidirectional stream. Errors as in [`Connection::open`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_bi(&mut self) -> Result<StreamId, OpenError> {
        self.open(Direction::Bidirectional)
    }

    /// Opens a unidirectional stream. Errors as in [`Connection::open`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_uni(&mut self) -> Result<StreamId, OpenError> {
        self.open(Direction::Unidirectional)
    }

    /// QOTP: opens stream `number`, whoever would open it by custom. The native wire chooses its ids itself.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_id(&mut self, number: u32) -> Result<StreamId, OpenError> {
        self.update(|inner, cx| match inner.state {
            _ if inner.state.is_untrusted() => Err(OpenError::Untrusted),
            _ if !inner.state.is_open() || inner.graceful.is_some() => Err(OpenError::Closed),
            _ => inner.streams.open_id(number, &mut cx.memory(&mut inner.account)),
        })
    }

    /// The next stream that the peer opened, in the order of their ids; in QOTP in the order of their first packets.
    pub fn accept(&mut self, direction: Direction) -> Option<StreamId> {
        self.update(|inner, _| inner.streams.accept(direction))
    }

    /// Writes as much of `data` as fits and says how much that was.
    ///
    /// # Errors
    /// See [`WriteError`]; `Blocked` ends with `Event::Writable`.
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> Result<usize, WriteError> {
        self.update(|inner, cx| {
            if inner.state.is_untrusted() {
                return Err(WriteError::Untrusted);
            }
            inner.streams.write(id, data, &mut cx.memory(&mut inner.account))
        })
    }

    /// Ends a stream: the peer reads to its end.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn finish(&mut self, id: StreamId) -> Result<(), WriteError> {
        self.update(|inner, cx| inner.streams.finish(id, &mut cx.memory(&mut inner.account)))
    }

    /// Gives a stream up: what has not arrived never will, and the peer is told `code`.
    ///
    /// # Errors
    /// [`WriteError::Closed`] if it had ended; [`WriteError::Unsupported`] in QOTP.
    pub fn reset(&mut self, id: StreamId, code: ErrorCode) -> Result<(), WriteError> {
        self.update(|inner, cx| inner.streams.reset(id, code, &mut cx.memory(&mut inner.account)))
    }

    /// Streams of higher priority send first; equals take turns. The default is 0.
    ///
    /// # Errors
    /// [`WriteError::Closed`] if there is no such stream.
    pub fn set_priority(&mut self, id: StreamId, priority: i32) -> Result<(), WriteError> {
        self.update(|inner, _| inner.streams.set_priority(id, priority))
    }

    /// Reads what there is into `out`. `Ok(0)` is the end of the stream (or an empty `out`).
    ///
    /// # Errors
    /// See [`ReadError`]; `Blocked` ends with `Event::Readable`.
    pub fn read(&mut self, id: StreamId, out: &mut [u8]) -> Result<usize, ReadError> {
        self.update(|inner, cx| {
            let read = inner.streams.read(id, out, &mut cx.memory(&mut inner.account))?;
            inner.update_windows(cx, id);
            Ok(read)
        })
    }

    /// Reads at most `max` bytes into a buffer of their exact size. `Ok(None)` is the end of the stream.
    ///
    /// # Errors
    /// See [`ReadError`]; `Blocked` ends with `Event::Readable`.
    pub fn read_chunk(&mut self, id: StreamId, max: usize) -> Result<Option<Bytes>, ReadError> {
        self.update(|inner, cx| {
            let chunk = inner.streams.read_chunk(id, max, &mut cx.memory(&mut inner.account))?;
            inner.update_windows(cx, id);
            Ok(chunk)
        })
    }

    /// Wants no more of a stream: the peer is asked to stop, with `code`.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if it had ended; [`ReadError::Unsupported`] in QOTP, which has [`Connection::abandon`].
    pub fn stop(&mut self, id: StreamId, code: ErrorCode) -> Result<(), ReadError> {
        self.update(|inner, cx| {
            inner.streams.stop(id, code, &mut cx.memory(&mut inner.account))?;
            inner.update_windows(cx, id);
            Ok(())
        })
    }

    /// QOTP: wants no more of a stream. What the peer sends on it is acknowledged and thrown away; it cannot be told to
    /// stop.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if it had ended; [`ReadError::Unsupported`] on the native wire, which has
    /// [`Connection::stop`].
    pub fn abandon(&mut self, id: StreamId) -> Result<(), ReadError> {
        self.update(|inner, cx| inner.streams.abandon(id, &mut cx.memory(&mut inner.account)))
    }

    /// Queues an unreliable datagram.
    ///
    /// # Errors
    /// See [`DatagramError`].
    pub fn send_datagram(&mut self, data: &[u8]) -> Result<(), DatagramError> {
        self.update(|inner, cx| {
            match inner.state {
                _ if inner.state.is_untrusted() => return Err(DatagramError::Untrusted),
                _ if !inner.state.is_open() => return Err(DatagramError::Closed),
                State::Qotp(_) => return Err(DatagramError::Unsupported),
                State::Established(_) if inner.peer.max_datagram == 0 => {
                    return Err(DatagramError::Unsupported);
                }
                _ => {}
            }
            let max = match inner.state {
                State::Established(_) => inner.max_datagram(),
                _ => usize::from(cx.config.packet_size).saturating_sub(64),
            };
            if data.len() > max {
                let at = inner.paths.selected();
                inner.paths[at].tell_mtu(|mtu| mtu.on_demand(cx.now));
            }
            let sent = inner.datagrams.send(data, max, inner.room(cx))?;
            count(&mut inner.stats.datagrams_dropped, sent.dropped);
            Ok(())
        })
    }

    /// The oldest unreliable datagram received, appended to `out`. Returns its length.
    pub fn read_datagram(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        self.update(|inner, _| inner.datagrams.read_into(out))
    }

    /// The longest datagram that can be sent now, in bytes; `None` if the peer takes none or the connection does not
    /// stand yet.
    #[must_use]
    pub fn max_datagram(&self) -> Option<usize> {
        let inner = &self.inner;
        let open = matches!(inner.state, State::Established(_)) && inner.peer.max_datagram > 0;
        open.then(|| inner.max_datagram())
    }

    /// Trusts the key that `Event::PeerKey` told. Does nothing in any other state.
    pub fn trust(&mut self) {
        self.update(|inner, cx| {
            if inner.state.on_trust() {
                inner.supply_cids(cx, cx.now);
                inner.tell(cx, Event::Connected);
            }
        });
    }

    /// Closes at once; `reason` (its first 512 bytes) and `code` are told to the peer. Unsent data is lost. QOTP has no
    /// word for it: the peer finds out by silence.
    pub fn close(&mut self, code: ErrorCode, reason: &[u8]) {
        self.update(|inner, cx| inner.close(cx, code, told(reason)));
    }

    /// Ends all streams, waits until the peer's transport has everything, then closes; at `deadline` in any case.
    /// What had not been delivered is known from [`Connection::undelivered`] after `Event::Closed`.
    pub fn close_graceful(&mut self, deadline: Instant, code: ErrorCode, reason: &[u8]) {
        let graceful = Graceful { deadline, code, reason: told(reason) };
        self.update(|inner, cx| inner.close_graceful(cx, graceful));
    }

    /// What had not been delivered when the connection ended.
    #[must_use]
    pub fn undelivered(&self) -> Undelivered {
        self.inner.undelivered
    }

    /// Forgets the connection and all it holds, without a word to the peer if it was open. For applications that will
    /// not read what an ended connection still has.
    pub fn forget(mut self) {
        self.update(|inner, cx| {
            inner.part(cx, &CloseReason::Local { code: ErrorCode(0) });
            inner.state = State::Over;
        });
    }

    /// See [`crate::fuzzing::seal`].
    pub(crate) fn seal_raw(&mut self, frames: &[u8], out: &mut Vec<u8>) -> bool {
        self.update(|inner, cx| inner.put_raw(cx.now, frames, out)).is_some()
    }

    /// See [`crate::fuzzing::seal_on`].
    pub(crate) fn seal_raw_on(&mut self, path: PathId, frames: &[u8], out: &mut Vec<u8>) -> bool {
        self.update(|inner, cx| inner.put_raw_on(path, cx.now, frames, out)).is_some()
    }

    /// See [`crate::fuzzing::seal_unopened`].
    pub(crate) fn seal_unopened(&mut self, packet: &Unopened, frames: &[u8], out: &mut Vec<u8>) -> bool {
        self.update(|inner, _| inner.put_unopened(packet, frames, out)).is_some()
    }

    /// See [`crate::fuzzing::rotate_keys`].
    pub(crate) fn rotate_raw(&mut self) {
        self.update(|inner, cx| inner.rotate_raw(cx.now));
    }

    /// See [`crate::fuzzing::open`].
    pub(crate) fn open_raw(&mut self, datagram: &[u8]) -> Option<Opened> {
        self.update(|inner, cx| inner.read_raw(cx.now, datagram))
    }

    /// See [`crate::fuzzing::skip_numbers`].
    pub(crate) fn skip_raw(&mut self, path: PathId, count: u32) {
        self.update(|inner, cx| inner.skip_raw(path, cx.now, count));
    }

    /// See [`crate::fuzzing::is_known`].
    pub(crate) fn next_number(&self) -> u64 {
        self.inner.paths[self.inner.paths.selected()].sent.next().get()
    }

    /// See [`crate::fuzzing::is_sent`].
    pub(crate) fn is_sent(&self, number: u64) -> bool {
        let path = &self.inner.paths[self.inner.paths.selected()];
        let left_out = path.skips.is_claimed(number, number) || path.sent.is_skipped(number);
        number < path.sent.next().get() && !left_out
    }

    /// Where in its life it is.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        match &self.inner.state {
            State::Dialling(_) => ConnectionState::Dialling,
            State::Answering(_) | State::Confirming(_) => ConnectionState::Confirming,
            State::Untrusted(_) => ConnectionState::Untrusted,
            State::Established(_) => ConnectionState::Established,
            State::Qotp(qotp) if qotp.is_dialling() => ConnectionState::Dialling,
            State::Qotp(_) => ConnectionState::Established,
            State::Closing(_) | State::Lingering(_) | State::Draining { .. } | State::Over => {
                ConnectionState::Closed
            }
        }
    }

    /// Whether we have closed and the peer may not have heard it yet: so long, about three probe timeouts, who drives
    /// the endpoint should go on. What else is closed has nothing to say any more.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        matches!(self.inner.state, State::Closing(_) | State::Lingering(_))
    }

    /// Whether we dialled or answered.
    #[must_use]
    pub fn role(&self) -> Role {
        self.inner.role
    }

    /// What it speaks.
    #[must_use]
    pub fn wire(&self) -> WireVersion {
        self.inner.wire()
    }

    /// QOTP: the key that the peer says is its own, or under which it was dialled. Nothing proves it: whoever can
    /// intercept packets can be the peer. `None` on the native wire, before a dial was answered, after the end, and
    /// where what the peer says is no key.
    #[must_use]
    pub fn qotp_claimed_key(&self) -> Option<QotpPublicKey> {
        match &self.inner.state {
            State::Qotp(qotp) if !qotp.is_dialling() => qotp.claimed(),
            _ => None,
        }
    }

    /// The peer's key, if it is proved; never on QOTP's wire.
    #[must_use]
    pub fn peer_identity(&self) -> Option<PeerIdentity> {
        match &self.inner.state {
            State::Untrusted(secured) | State::Established(secured) => {
                Some(PeerIdentity::Verified(secured.peer))
            }
            _ => None,
        }
    }

    /// The application protocol, once the handshake has agreed on it; QOTP has none.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.inner.state {
            State::Answering(answering) => Some(&answering.agreement.alpn),
            state => state.secured().map(|secured| &secured.alpn[..]),
        }
    }

    /// The data AEAD, once the handshake has agreed on it.
    #[must_use]
    pub fn suite(&self) -> Option<Suite> {
        match &self.inner.state {
            State::Qotp(qotp) if !qotp.is_dialling() => Some(Suite::ChaCha20Poly1305),
            state => state.secured().map(|secured| secured.sealer.suite()),
        }
    }

    /// Noise's handshake hash, the same on both sides and on no other connection; after confirmation. QOTP
    /// has none.
    #[must_use]
    pub fn handshake_hash(&self) -> Option<[u8; 32]> {
        match &self.inner.state {
            State::Established(secured) => Some(*secured.exporter.handshake_hash()),
            _ => None,
        }
    }

    /// A secret that both sides can compute and nobody else; after confirmation (`None` before, and on QOTP's wire,
    /// where it would be no such thing).
    ///
    /// # Errors
    /// [`LabelTooLong`] if `label` has more than 255 bytes.
    pub fn export(&self, label: &[u8], context: &[u8]) -> Result<Option<Secret>, LabelTooLong> {
        match &self.inner.state {
            State::Established(secured) => secured.exporter.export(label, context).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether what can be read is early data, which its sender has not proved to have sent just now: after [`Event::EarlyData`],
    /// until `Connected`. What is written now goes with the reply, as far as that has room, if it is written before that goes.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.inner.is_early()
    }

    /// The newest token that the peer has given out, for [`ConnectOptions::early`](crate::ConnectOptions::early) of one later dial;
    /// `None` where it gave none (yet), and on the side that answered. It stays after the end, until the connection is forgotten.
    #[must_use]
    pub fn early_token(&self) -> Option<EarlyToken> {
        self.inner.early_token().cloned()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.inner.stats()
    }

    /// What keeps it from sending more, and for how long it has been what since the handshake. The time up to now (the
    /// latest time that the endpoint was told) is in it, also when the connection has ended: then what held it last goes on.
    ///
    /// ```
    /// # fn what(connection: &dunlin_core::Connection<'_>) -> String {
    /// let limiter = connection.limiter();
    /// let held = limiter.time(limiter.main()).as_secs_f64() / limiter.total().as_secs_f64();
    /// format!("{:.0} % of the time it waited for the {}", 100.0 * held, limiter.main())
    /// # }
    /// ```
    #[must_use]
    pub fn limiter(&self) -> LimiterStats {
        self.inner.limiter.stats(self.cx.now)
    }
}

/// As much of a reason as is told.
fn told(reason: &[u8]) -> Bytes {
    Bytes::copy_from_slice(cut(reason, MAX_REASON))
}

//! QOTP's handshake: the Init and its copies, attempts of others, the reply.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::budget::total;
use crate::connection::Connection;
use crate::connection::state::{Copies, State};
use crate::crypto::backend::SecretKey;
use crate::crypto::qotp::packet::{Epochs, NUMBER_LEN, PacketKey, Sequence, open, seal};
use crate::crypto::{QotpPublicKey, Secret};
use crate::endpoint::ConnectionHandle;
use crate::error::{AcceptError, CloseReason};
use crate::event::Event;
use crate::id::{ConnectionId, PacketNumber, Role, StreamId};
use crate::key_log::QotpPackets;
use crate::path::addr::{Arrival, LocalAddr, TransportAddr};
use crate::path::slots::FIRST;
use crate::path::validate::Validation;
use crate::recovery::received::Received;
use crate::recovery::sent::{Item, SentPackets};
use crate::shared::Shared;
use crate::stats::{Disposition, DropReason, count};
use crate::streams::Streams;
use crate::time::{Duration, Instant};
use crate::wire::qotp::header::{Header, PacketType};
use crate::wire::qotp::payload::{Payload, filler_len, header_len, put_filler, put_header, strip_filler};

use super::acks::Owed;
use super::chunks::Name;
use super::receive::Withheld;
use super::{ACK_DELAY, Handshake, IDLE_TIMEOUT, Keyed, Phase, Qotp};

/// First wait for a reply; it doubles with every copy (QOTP v0.2.19's timer without an RTT sample).
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Replies tried for a dial in a second, each for an X25519.
const MAX_TRIES: u32 = 64;
/// The packet number of the Init, which has no record among the sent packets: copies of it repeat it to the byte.
pub(super) const INIT_NUMBER: u64 = 0;

/// A dial in progress.
pub(crate) struct Dial {
    ephemeral: SecretKey,
    /// The responder's key, for the flow in which it is known.
    key: Option<QotpPublicKey>,
    pub(super) deadline: Instant,
    flight: Option<Flight>,
    tries: u32,
    tries_since: Instant,
}

/// The Init, once it is made.
struct Flight {
    datagram: Box<[u8]>,
    first: Instant,
    copies: u32,
    wait: Duration,
    next: Instant,
    /// The stream data in it.
    early: Option<Name>,
}

impl Dial {
    /// A dial with this ephemeral key.
    pub(crate) fn new(ephemeral: &Secret, key: Option<QotpPublicKey>, deadline: Instant) -> Self {
        let ephemeral = SecretKey::new(ephemeral);
        Self { ephemeral, key, deadline, flight: None, tries: 0, tries_since: Instant::ZERO }
    }

    /// The id that packets of both directions will have: the start of the ephemeral key.
    pub(crate) fn connection_id(&self) -> ConnectionId {
        let [a, b, c, d, e, f, g, h, ..] = *self.ephemeral.public();
        ConnectionId::from_bytes([a, b, c, d, e, f, g, h])
    }

    const fn reply_type(&self) -> PacketType {
        match self.key {
            None => PacketType::InitRcv,
            Some(_) => PacketType::InitCryptoRcv,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        total([size_of::<Self>(), self.flight.as_ref().map_or(0, |flight| flight.datagram.len())])
    }

    /// When the next copy or the end is due.
    pub(super) fn timeout(&self) -> Instant {
        self.flight.as_ref().map_or(self.deadline, |flight| flight.next.min(self.deadline))
    }

    pub(super) const fn is_unsent(&self) -> bool {
        self.flight.is_none()
    }

    /// A copy of the Init, if one is due.
    pub(super) fn copy_due(&mut self, now: Instant) -> Option<&[u8]> {
        let flight = self.flight.as_mut().filter(|flight| flight.next <= now)?;
        flight.copies = flight.copies.saturating_add(1);
        flight.next = now + flight.wait;
        flight.wait = flight.wait.saturating_mul(2);
        Some(&flight.datagram)
    }

    /// The network has changed: the next copy goes at once, and the waits begin anew. Says whether there is anything to send.
    pub(super) fn hurry(&mut self, now: Instant) -> bool {
        let Some(flight) = &mut self.flight else { return false };
        flight.next = flight.next.min(now);
        flight.wait = FIRST_WAIT;
        true
    }

    /// The round trip, if a single copy was sent.
    fn round_trip(&self, now: Instant) -> Option<Duration> {
        self.flight.as_ref().filter(|flight| flight.copies == 1).map(|flight| now - flight.first)
    }

    /// Whether one more reply may be tried now.
    fn may_try(&mut self, now: Instant) -> bool {
        if now - self.tries_since >= Duration::from_secs(1) {
            self.tries = 0;
            self.tries_since = now;
        }
        self.tries = self.tries.saturating_add(1);
        self.tries <= MAX_TRIES
    }
}

/// An Init that passed every check before the application's decision.
pub(crate) struct Attempt {
    init: Header,
    claimed: Option<QotpPublicKey>,
    /// What was sealed to our key, in the flow in which the initiator knows it.
    payload: Box<[u8]>,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("claimed", &self.claimed).finish_non_exhaustive()
    }
}

/// The key that an Init claims to be of; `None` if it names none that could be one.
pub(crate) fn claimed(init: &Header) -> Option<QotpPublicKey> {
    match init {
        Header::InitSnd { identity, .. } | Header::InitCryptoSnd { identity, .. } => {
            QotpPublicKey::from_bytes(*identity).ok()
        }
        Header::InitRcv { .. } | Header::InitCryptoRcv { .. } | Header::Data { .. } => None,
    }
}

impl Attempt {
    /// Reads an InitSnd or InitCryptoSnd datagram.
    pub(crate) fn read(cx: &mut Shared, header: &Header, datagram: &mut [u8]) -> Result<Self, DropReason> {
        let payload = match header {
            // There is no key to be had from such a point, and the application need not hear of it.
            Header::InitSnd { ephemeral, .. } if QotpPublicKey::from_bytes(*ephemeral).is_err() => {
                return Err(DropReason::BadHandshake);
            }
            Header::InitSnd { .. } => Box::default(),
            Header::InitCryptoSnd { ephemeral, .. } => {
                count(&mut cx.stats.x25519_operations, 1);
                let key = PacketKey::agree(cx.qotp_identity.key(), ephemeral);
                let key = key.ok_or(DropReason::BadHandshake)?;
                count(&mut cx.stats.aead_operations, 1);
                let clear = header.ty().clear_len();
                let (_, range) = open(&key, Role::Initiator, Epochs::HANDSHAKE, clear, datagram)
                    .map_err(|_| DropReason::BadHandshake)?;
                cx.key_log.qotp(header.connection_id(), QotpPackets::Init, &key);
                let payload = strip_filler(datagram.get(range).unwrap_or_default())
                    .map_err(|_| DropReason::BadHandshake)?;
                Payload::decode(payload).map_err(|_| DropReason::BadHandshake)?;
                payload.into()
            }
            Header::InitRcv { .. } | Header::InitCryptoRcv { .. } | Header::Data { .. } => {
                return Err(DropReason::Unexpected);
            }
        };
        Ok(Self { init: *header, claimed: claimed(header), payload })
    }

    /// The key that the initiator claims to have; `None` if it names none that could be one.
    pub(crate) const fn claimed(&self) -> Option<QotpPublicKey> {
        self.claimed
    }

    /// The id that it chose.
    pub(crate) const fn connection_id(&self) -> ConnectionId {
        self.init.connection_id()
    }

    /// Whether `header` is that of a copy.
    pub(crate) fn is_of(&self, header: &Header) -> bool {
        self.init == *header
    }

    pub(crate) const fn heap_bytes(&self) -> usize {
        self.payload.len()
    }
}

/// A responder whose initiator has not shown that it received anything.
pub(super) struct Answering {
    /// What every packet starts with until then.
    pub(super) reply: Header,
    /// The Init, and the acknowledgement that every copy of it gets.
    init: Header,
    acked: Owed,
    /// When it is not waited for any longer.
    pub(super) expires: Instant,
}

impl Connection {
    /// A dial. `None` if the budget has no room for it.
    pub(crate) fn dial_qotp(
        cx: &mut Shared,
        now: Instant,
        handle: ConnectionHandle,
        id: ConnectionId,
        remote: TransportAddr,
        dial: Dial,
    ) -> Option<Self> {
        let claimed = dial.key;
        let qotp = Qotp::new(Phase::Dialling(Box::new(dial)), claimed, cx.rng.hasher());
        Self::with_qotp(cx, now, handle, Role::Initiator, qotp, LocalAddr::default(), remote, id)
    }

    /// An accepted attempt, with what came in its Init, and our ephemeral key for it.
    pub(crate) fn accept_qotp(
        cx: &mut Shared,
        now: Instant,
        handle: ConnectionHandle,
        attempt: Attempt,
        own: &SecretKey,
        local: LocalAddr,
        copies: &Copies,
    ) -> Result<Self, AcceptError> {
        let Attempt { init, claimed, payload } = attempt;
        let (id, remote) = (init.connection_id(), copies.first);
        let (Header::InitSnd { ephemeral: peer, .. } | Header::InitCryptoSnd { ephemeral: peer, .. }) = &init
        else {
            return Err(AcceptError::Gone);
        };
        count(&mut cx.stats.x25519_operations, 1);
        let key = PacketKey::agree(own, peer).ok_or(AcceptError::Gone)?;
        cx.key_log.qotp(id, QotpPackets::Rest, &key);
        let (ephemeral, identity) = (*own.public(), *cx.qotp_identity.public().as_bytes());
        let reply = match init.ty() {
            PacketType::InitCryptoSnd => Header::InitCryptoRcv { id, ephemeral },
            _ => Header::InitRcv { id, ephemeral, identity },
        };
        let expires = now + cx.config.limits.half_open_lifetime;
        let handshake = Handshake::Answering(Answering { reply, init, acked: Owed::INIT, expires });
        let keyed = Keyed { key, epochs: Epochs::default(), handshake };
        let qotp = Qotp::new(Phase::Keyed(Box::new(keyed)), claimed, cx.rng.hasher());
        let mut connection = Self::with_qotp(cx, now, handle, Role::Responder, qotp, local, remote, id)
            .ok_or(AcceptError::OverBudget)?;
        connection.paths[FIRST].validation = Validation::start(now, [0; 8], copies.received, 0);
        if connection.apply_init(cx, now, &payload).is_err() {
            connection.forget(cx);
            return Err(AcceptError::OverBudget);
        }
        // What the streams have to tell comes behind it.
        cx.events.push(handle, Event::Connected);
        connection.finish_verb(cx);
        Ok(connection)
    }

    #[expect(clippy::too_many_arguments, reason = "the one constructor behind the two named ones")]
    fn with_qotp(
        cx: &mut Shared,
        now: Instant,
        handle: ConnectionHandle,
        role: Role,
        qotp: Box<Qotp>,
        local: LocalAddr,
        remote: TransportAddr,
        id: ConnectionId,
    ) -> Option<Self> {
        let mut limits = cx.config.limits.clone();
        // A window in which no packet fits would let nothing through, ever.
        limits.max_window = limits.max_window.max(2 * u64::from(cx.config.qotp.mtu));
        let streams = Streams::by_use(role, &limits, cx.config.announce_streams, cx.rng.number_hasher());
        let state = State::Qotp(qotp);
        let mut connection = Self::new(cx, now, handle, role, state, streams, 0, local, remote, id)?;
        connection.be_qotp(cx, now);
        Some(connection)
    }

    /// What differs from the native wire in the parts that both share.
    fn be_qotp(&mut self, cx: &Shared, now: Instant) {
        self.paths[FIRST].remote_id = self.local_id;
        self.peer.max_ack_delay = ACK_DELAY;
        let path = &mut self.paths[FIRST];
        path.packet_size = cx.config.qotp.mtu;
        path.bbr.set_max_datagram(path.packet_size);
        path.received = Received::empty(now);
        if self.role == Role::Responder {
            // The reply has a number like every packet; the Init's is used up.
            path.sent = SentPackets::new(PacketNumber::ZERO);
        }
        self.idle.set_peer_timeout(IDLE_TIMEOUT);
    }

    /// What came in the Init is the first to be acknowledged.
    fn apply_init(&mut self, cx: &mut Shared, now: Instant, payload: &[u8]) -> Result<(), Withheld> {
        match Payload::decode(payload) {
            Ok(payload) => self.apply_qotp(cx, now, &payload)?,
            Err(_) => {
                if let Some(qotp) = self.state.qotp_mut() {
                    qotp.acks.push(Owed::INIT);
                }
            }
        }
        if let State::Qotp(qotp) = &mut self.state
            && let Some(owed) = qotp.acks.first()
            && let Some(answering) = qotp.answering_mut()
        {
            answering.acked = owed;
        }
        Ok(())
    }

    /// Makes the Init, with what was written so far if the peer's key is known.
    pub(super) fn make_qotp_init(&mut self, cx: &mut Shared, now: Instant) {
        let size = usize::from(self.paths[FIRST].packet_size);
        let State::Qotp(qotp) = &mut self.state else { return };
        let Phase::Dialling(dial) = &mut qotp.phase else { return };
        let (ephemeral, identity) = (*dial.ephemeral.public(), *cx.qotp_identity.public().as_bytes());
        let mut datagram = Vec::with_capacity(size);
        let mut early = None;
        if let Some(key) = dial.key {
            let header = Header::InitCryptoSnd { ephemeral, identity };
            let clear = header.ty().clear_len();
            header.put(&mut datagram);
            datagram.resize(clear.saturating_add(NUMBER_LEN), 0);
            let room = header.ty().max_payload(size);
            let chunk = self.streams.take_chunk(|offset| room.saturating_sub(header_len(None, Some(offset))));
            let (name, fin) = chunk.and_then(Name::of).unwrap_or((Name::PING, false));
            let payload = header_len(None, Some(name.offset)).saturating_add(usize::from(name.len));
            put_filler(&mut datagram, filler_len(size, payload).unwrap_or_default());
            put_header(&mut datagram, None, Some((name.number(), name.offset)), fin);
            self.streams.append_chunk(&name.item(fin), &mut datagram);
            datagram.resize(size, 0);
            qotp.chunks.on_sent(name, fin, INIT_NUMBER);
            early = Some(name);
            count(&mut cx.stats.x25519_operations, 1);
            count(&mut cx.stats.aead_operations, 1);
            let sealed = PacketKey::agree(&dial.ephemeral, key.as_bytes()).and_then(|key| {
                cx.key_log.qotp(self.local_id, QotpPackets::Init, &key);
                seal(&key, Role::Initiator, Sequence::FIRST, clear, &mut datagram).ok()
            });
            if sealed.is_none() {
                // Only a key of small order could do this, and there is no such `QotpPublicKey`.
                return self.end(cx, CloseReason::NoAnswer);
            }
        } else {
            Header::InitSnd { ephemeral, identity }.put(&mut datagram);
            datagram.resize(size, 0);
        }
        let datagram = datagram.into_boxed_slice();
        dial.flight = Some(Flight { datagram, first: now, copies: 0, wait: FIRST_WAIT, next: now, early });
    }

    /// A handshake reply came: the first one, or one that carries more.
    pub(super) fn handle_qotp_reply(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        arrival: &Arrival,
        header: &Header,
        datagram: &mut [u8],
    ) -> Disposition {
        let (ty, Header::InitRcv { ephemeral, .. } | Header::InitCryptoRcv { ephemeral, .. }) =
            (header.ty(), header)
        else {
            return Disposition::Dropped(DropReason::Unexpected);
        };
        let Some(qotp) = self.state.qotp_mut() else { return Disposition::Dropped(DropReason::Closed) };
        let opened = match &mut qotp.phase {
            Phase::Dialling(dial) if dial.reply_type() == ty && dial.flight.is_some() => {
                return self.handle_first_reply(cx, now, arrival, header, ephemeral, datagram);
            }
            Phase::Keyed(keyed) if keyed.is_reply(ty, ephemeral) => {
                open(&keyed.key, Role::Responder, Epochs::HANDSHAKE, ty.clear_len(), datagram)
            }
            Phase::Dialling(_) | Phase::Keyed(_) => return Disposition::Dropped(DropReason::Unexpected),
        };
        count(&mut cx.stats.aead_operations, 1);
        match opened {
            Ok((sequence, range)) => self.on_qotp_opened(cx, now, arrival, sequence, datagram, range),
            Err(_) => self.on_qotp_forged(),
        }
    }

    /// A reply to our Init came. One that does not open leaves everything as it was.
    fn handle_first_reply(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        arrival: &Arrival,
        header: &Header,
        ephemeral: &[u8; 32],
        datagram: &mut [u8],
    ) -> Disposition {
        let State::Qotp(qotp) = &mut self.state else { return Disposition::Dropped(DropReason::Closed) };
        let Phase::Dialling(dial) = &mut qotp.phase else {
            return Disposition::Dropped(DropReason::Unexpected);
        };
        if !dial.may_try(now) {
            return Disposition::Dropped(DropReason::BadHandshake);
        }
        count(&mut cx.stats.x25519_operations, 1);
        count(&mut cx.stats.aead_operations, 1);
        let ty = header.ty();
        let opened = PacketKey::agree(&dial.ephemeral, ephemeral).and_then(|key| {
            let opened = open(&key, Role::Responder, Epochs::HANDSHAKE, ty.clear_len(), datagram);
            opened.ok().map(|(sequence, range)| (key, sequence, range))
        });
        let Some((key, sequence, range)) = opened else {
            return Disposition::Dropped(DropReason::BadHandshake);
        };
        cx.key_log.qotp(self.local_id, QotpPackets::Rest, &key);
        let early = dial.flight.as_ref().and_then(|flight| flight.early);
        let round_trip = dial.round_trip(now);
        if let Header::InitRcv { identity, .. } = header {
            qotp.claimed = QotpPublicKey::from_bytes(*identity).ok();
        }
        let handshake = Handshake::Replied(ty, *ephemeral);
        qotp.phase = Phase::Keyed(Box::new(Keyed { key, epochs: Epochs::default(), handshake }));
        let path = &mut self.paths[FIRST];
        // A copy of the reply may come from anywhere, and to any socket.
        if arrival.remote == path.remote && arrival.local.socket == path.local.socket {
            path.set_tuple(arrival.tuple());
        }
        if let Some(sample) = round_trip {
            self.paths[FIRST].on_handshake_round_trip(now, sample);
        }
        self.on_path_opened(FIRST, cx);
        self.tell(cx, Event::Connected);
        let disposition = self.on_qotp_opened(cx, now, arrival, sequence, datagram, range);
        self.after_first_reply(now, early);
        disposition
    }

    /// What the Init carried and the reply did not acknowledge goes again. And the responder may send nothing new before
    /// it has a Data packet: it gets one at once, and again until it shows that it did.
    fn after_first_reply(&mut self, now: Instant, early: Option<Name>) {
        let Some(qotp) = self.state.qotp_mut() else { return };
        if let Some(name) = early {
            qotp.chunks.on_lost(name, INIT_NUMBER);
        }
        if qotp.acks.is_empty() {
            qotp.acks.push(Owed::NOTHING);
        }
        qotp.proof.start(now);
    }

    /// An Init with our connection id came. Says whether it is a copy of the one that this connection answers.
    pub(crate) fn handle_qotp_copy(&mut self, arrival: &Arrival, header: &Header, len: usize) -> bool {
        let remote = self.paths[FIRST].remote;
        let Some(qotp) = self.state.qotp_mut() else { return false };
        let Some(answering) = qotp.answering_mut().filter(|answering| answering.init == *header) else {
            return false;
        };
        let acked = answering.acked;
        if qotp.acks.is_empty() {
            qotp.acks.push(acked);
        }
        if arrival.remote == remote {
            self.paths[FIRST].validation.on_received(len);
        }
        true
    }
}

impl Qotp {
    const fn answering_mut(&mut self) -> Option<&mut Answering> {
        match &mut self.phase {
            Phase::Keyed(keyed) => match &mut keyed.handshake {
                Handshake::Answering(answering) => Some(answering),
                Handshake::Replied(..) | Handshake::Done => None,
            },
            Phase::Dialling(_) => None,
        }
    }
}

impl Keyed {
    /// Whether a reply like this one gave the key.
    fn is_reply(&self, ty: PacketType, ephemeral: &[u8; 32]) -> bool {
        matches!(&self.handshake, Handshake::Replied(known, key) if *known == ty && key == ephemeral)
    }
}

impl Name {
    /// What is sent where there is nothing to send: a PING on stream 0, which the reference implementation has anyway.
    pub(super) const PING: Self = Self { id: StreamId::qotp(0), offset: 0, len: 0 };

    /// The name of a chunk, and whether it ends its stream.
    pub(super) const fn of(item: Item) -> Option<(Self, bool)> {
        match item {
            Item::Stream { id, offset, len, fin } => Some((Self { id, offset, len }, fin)),
            _ => None,
        }
    }

    /// The stream's number on the wire.
    pub(super) fn number(self) -> u32 {
        self.id.qotp_number().unwrap_or_default()
    }
}

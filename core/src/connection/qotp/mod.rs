//! A connection that speaks QOTP (docs/PROTOCOL.md, "QOTP"): its handshake, its packets, its acknowledgements. Streams,
//! loss detection, congestion control and timers are those of the native wire.

mod acks;
mod again;
mod chunks;
mod handshake;
mod receive;
mod send;
mod timers;
mod window;

use alloc::boxed::Box;
use core::fmt;

use crate::budget::total;
use crate::crypto::QotpPublicKey;
use crate::crypto::qotp::packet::{Epochs, PacketKey};
use crate::hash::KeyedState;
use crate::recovery::sent::Item;
use crate::streams::Streams;
use crate::time::{Duration, Instant};
use crate::wire::qotp::header::PacketType;

use acks::Acks;
use again::Again;
use chunks::{Chunks, Name};
use handshake::Answering;
pub(crate) use handshake::{Attempt, Dial, claimed};
use window::Told;

/// Silence that ends a connection, counted from the last packet received (QOTP v0.2.19).
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The least that a probe waits beyond the round trip: the lower bound of QOTP v0.2.19's timer.
const ACK_DELAY: Duration = Duration::from_millis(100);
/// Sendings of a packet after which QOTP v0.2.19 gives up, the first one included. A peer that says anything in the
/// meantime is there, and has no room for now.
const MAX_SENDINGS: u32 = 6;

/// What a QOTP connection has that a native one has not.
pub(crate) struct Qotp {
    phase: Phase,
    /// What the peer says is its key, or the key that we dialled. Never proved, and not always a key.
    claimed: Option<QotpPublicKey>,
    acks: Acks,
    chunks: Chunks,
    told: Told,
    /// Initiator: the Data packet without which the responder may have to stay silent is repeated until one comes back.
    proof: Again,
    /// Probe timeouts since the peer was last heard.
    unheard: u32,
}

/// How far the handshake is.
enum Phase {
    /// Initiator: the Init is out, or about to be.
    Dialling(Box<Dial>),
    /// Both sides have the key.
    Keyed(Box<Keyed>),
}

struct Keyed {
    key: PacketKey,
    epochs: Epochs,
    handshake: Handshake,
}

/// What is left of the handshake once there is a key.
enum Handshake {
    /// Initiator: the reply's type and ephemeral key. Repeated replies may carry data, and have the same.
    Replied(PacketType, [u8; 32]),
    /// Responder: everything goes in handshake packets until the initiator's first Data packet.
    Answering(Answering),
    /// Responder: that packet has come.
    Done,
}

impl fmt::Debug for Qotp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qotp").field("claimed", &self.claimed).finish_non_exhaustive()
    }
}

impl Qotp {
    fn new(phase: Phase, claimed: Option<QotpPublicKey>, hasher: KeyedState) -> Box<Self> {
        let (acks, chunks) = (Acks::default(), Chunks::new(hasher));
        let (told, proof) = (Told::default(), Again::default());
        Box::new(Self { phase, claimed, acks, chunks, told, proof, unheard: 0 })
    }

    pub(crate) const fn claimed(&self) -> Option<QotpPublicKey> {
        self.claimed
    }

    pub(crate) const fn is_dialling(&self) -> bool {
        matches!(self.phase, Phase::Dialling(_))
    }

    /// Whether the initiator has yet to show that it received anything from us.
    pub(crate) const fn is_answering(&self) -> bool {
        matches!(&self.phase, Phase::Keyed(keyed) if matches!(keyed.handshake, Handshake::Answering(_)))
    }

    /// When an initiator that has shown nothing is not waited for any longer.
    const fn unconfirmed_at(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Keyed(keyed) => match &keyed.handshake {
                Handshake::Answering(answering) => Some(answering.expires),
                Handshake::Replied(..) | Handshake::Done => None,
            },
            Phase::Dialling(_) => None,
        }
    }

    /// A packet with this chunk is lost.
    pub(crate) fn on_lost(&mut self, item: Item, number: u64, streams: &mut Streams) {
        let Some((name, fin)) = Name::of(item) else { return };
        if name.len == 0 && !fin {
            // The stream may still have to be announced.
            streams.on_lost(item);
        }
        self.chunks.on_lost(name, number);
    }

    /// The probe timer fired: this chunk is to be sent again, lost or not.
    pub(crate) fn probe_with(&mut self, item: Item) {
        if let Some((name, fin)) = Name::of(item)
            && (name.len > 0 || fin)
        {
            self.chunks.requeue(name);
        }
    }

    /// The network has changed while we dial: see [`Dial::hurry`].
    pub(crate) fn hurry_dial(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            Phase::Dialling(dial) => dial.hurry(now),
            Phase::Keyed(_) => false,
        }
    }

    /// The network has changed: that the peer was not heard until now does not tell whether it is there.
    pub(crate) const fn forgive_silence(&mut self) {
        self.unheard = 0;
    }

    /// The key for Data packets and replies.
    const fn key(&self) -> Option<&PacketKey> {
        match &self.phase {
            Phase::Keyed(keyed) => Some(&keyed.key),
            Phase::Dialling(_) => None,
        }
    }

    /// Heap held beside what every connection has, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let phase = match &self.phase {
            Phase::Dialling(dial) => dial.heap_bytes(),
            Phase::Keyed(_) => size_of::<Keyed>(),
        };
        total([size_of::<Self>(), phase, self.acks.heap_bytes(), self.chunks.heap_bytes()])
    }

    /// Whether a busier time has left room that a resting connection should give back.
    pub(crate) fn is_roomy(&self) -> bool {
        self.acks.is_roomy() || self.chunks.is_roomy()
    }

    pub(crate) fn shrink(&mut self) {
        self.acks.shrink();
        self.chunks.shrink();
    }

    /// A connection that is over but still acknowledges what its peer repeats, until then.
    pub(crate) fn linger(self: Box<Self>, period: Duration) -> Lingering {
        Lingering { qotp: self, period, until: None }
    }
}

/// A closed connection: QOTP cannot say so on the wire, but what the peer repeats of streams that are over is still
/// acknowledged, so that it can end in peace.
#[derive(Debug)]
pub(crate) struct Lingering {
    pub(crate) qotp: Box<Qotp>,
    period: Duration,
    /// Set when it is first looked at: the application may close at any time, long after the latest one that the
    /// endpoint was told.
    until: Option<Instant>,
}

impl Lingering {
    /// When the connection is forgotten, once that is known.
    pub(crate) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The time runs from now, unless it does already.
    fn start(&mut self, now: Instant) {
        self.until.get_or_insert(now + self.period);
    }
}

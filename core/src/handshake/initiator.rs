//! The dialling side: the Init, its repetition, and the reply.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::crypto::backend::SecretKey;
use crate::crypto::noise::{
    Finished, IK_MESSAGE_1_OVERHEAD, IX_MESSAGE_1_OVERHEAD, Initiator, InitiatorSent, NoiseError, Party,
    Pattern, prologue,
};
use crate::crypto::{PublicKey, Secret};
use crate::endpoint::Sockets;
use crate::error::CloseReason;
use crate::id::ConnectionId;
use crate::path::addr::{TransportAddr, Tuple};
use crate::remote::fanout::Fanout;
use crate::time::{Duration, Instant};
use crate::wire::header::{CLEAR_HEADER, InitHeader, MIN_INIT, PacketType, VERSION};
use crate::wire::versions::VersionList;

/// Replies tried per dial and second (docs/PROTOCOL.md, "Handshake"): each costs two or three X25519.
const MAX_TRIES: u32 = 64;

/// How long a reply is waited for after somebody has said that it speaks other versions: it may not have been the peer.
const VERSIONS_WAIT: Duration = Duration::from_secs(1);

/// Whom a native dial is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// The holder of this key.
    Key(PublicKey),
    /// Somebody, whom the application is asked about.
    Unknown,
    /// Anybody.
    AnyKey,
}

impl Target {
    /// The packet type of the Init.
    pub(crate) const fn init(&self) -> PacketType {
        match self {
            Self::Key(_) => PacketType::InitKnown,
            Self::Unknown | Self::AnyKey => PacketType::Init,
        }
    }

    /// The packet type of its answer.
    pub(crate) const fn reply(&self) -> PacketType {
        match self {
            Self::Key(_) => PacketType::InitKnownReply,
            Self::Unknown | Self::AnyKey => PacketType::InitReply,
        }
    }

    /// Bytes of frames that fit into the Init.
    pub(crate) const fn payload_room(&self) -> usize {
        // The overheads count `e`, which stands before the token.
        let clear = InitHeader::MESSAGE_AT - 32;
        match self {
            Self::Key(_) => MIN_INIT - clear - IK_MESSAGE_1_OVERHEAD,
            Self::Unknown | Self::AnyKey => MIN_INIT - clear - IX_MESSAGE_1_OVERHEAD,
        }
    }
}

/// A dial in progress.
pub(crate) struct Dialling {
    pub(crate) target: Target,
    /// Application protocols offered.
    pub(crate) alpns: Vec<Vec<u8>>,
    /// When the dial fails.
    pub(crate) deadline: Instant,
    fanout: Fanout,
    flight: Flight,
    /// What somebody at an address that was dialled says it speaks.
    versions: Option<VersionList>,
    tries: u32,
    tries_since: Instant,
}

enum Flight {
    /// The Init is made when it is first asked for, so that it can carry what was written meanwhile.
    Unsent,
    Sent(Sent),
}

struct Sent {
    noise: InitiatorSent,
    datagram: Box<[u8]>,
}

impl fmt::Debug for Dialling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialling")
            .field("target", &self.target)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Dialling {
    pub(crate) const fn new(
        now: Instant,
        target: Target,
        alpns: Vec<Vec<u8>>,
        deadline: Instant,
        fanout: Fanout,
    ) -> Self {
        Self {
            target,
            alpns,
            deadline,
            fanout,
            flight: Flight::Unsent,
            versions: None,
            tries: 0,
            tries_since: now,
        }
    }

    /// The addresses dialled.
    pub(crate) const fn fanout(&self) -> &Fanout {
        &self.fanout
    }

    /// Whether the Init has yet to be made.
    pub(crate) const fn is_unsent(&self) -> bool {
        matches!(self.flight, Flight::Unsent)
    }

    /// Makes the Init around `payload` (HELLO and early frames), padded to its size.
    pub(crate) fn make_init(
        &mut self,
        now: Instant,
        party: &mut Party<'_>,
        routing: ConnectionId,
        ephemeral: &Secret,
        payload: &mut Vec<u8>,
    ) -> Result<(), NoiseError> {
        payload.resize(self.target.payload_room(), 0);
        let mut header = [0; CLEAR_HEADER];
        header[0] = self.target.init().first_byte();
        header[1..].copy_from_slice(routing.as_bytes());
        let no_token = [0];
        let prologue = prologue(&header, &no_token);
        let ephemeral = SecretKey::new(ephemeral);
        let initiator = match self.target {
            Target::Key(key) => Initiator::ik(party, key, ephemeral, &prologue)?,
            Target::Unknown | Target::AnyKey => Initiator::ix(ephemeral, &prologue),
        };
        let mut datagram = Vec::with_capacity(MIN_INIT);
        datagram.extend_from_slice(&header);
        datagram.extend_from_slice(initiator.ephemeral());
        datagram.extend_from_slice(&no_token);
        let noise = initiator.write_message_1(party, payload, &mut datagram)?;
        self.flight = Flight::Sent(Sent { noise, datagram: datagram.into_boxed_slice() });
        self.fanout.begin(now);
        Ok(())
    }

    /// A copy of the Init, and where it is to go, if one is due.
    pub(crate) fn copy_due(&mut self, now: Instant) -> Option<(&[u8], Tuple)> {
        let Flight::Sent(sent) = &self.flight else { return None };
        let to = self.fanout.copy_due(now)?;
        Some((&sent.datagram, to))
    }

    /// The network has changed: the next copies go at once, and the waits begin anew. Says whether there is anything to send.
    pub(crate) fn hurry(&mut self, now: Instant, sockets: &Sockets) -> bool {
        self.fanout.hurry(now);
        self.fanout.forget_own(sockets);
        matches!(self.flight, Flight::Sent(_))
    }

    /// When the next copy or the end is due.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        let copy = match &self.flight {
            Flight::Unsent => None,
            Flight::Sent(_) => self.fanout.deadline(),
        };
        Some(copy.map_or(self.deadline, |copy| copy.min(self.deadline)))
    }

    /// Tries a reply (the message behind its header). The state stays as it was if it does not open.
    pub(crate) fn read_reply(
        &mut self,
        now: Instant,
        ty: PacketType,
        party: &mut Party<'_>,
        message: &mut [u8],
    ) -> Option<(Finished, Range<usize>)> {
        let Flight::Sent(sent) = &self.flight else { return None };
        let pattern = match ty {
            PacketType::InitReply => Pattern::Ix,
            PacketType::InitKnownReply => Pattern::Ik,
            PacketType::Init | PacketType::InitKnown | PacketType::Data | PacketType::VersionList => {
                return None;
            }
        };
        if ty != self.target.reply() || sent.noise.pattern() != pattern {
            return None;
        }
        if now - self.tries_since >= Duration::from_secs(1) {
            self.tries = 0;
            self.tries_since = now;
        }
        self.tries += 1;
        if self.tries > MAX_TRIES {
            return None;
        }
        sent.noise.read_message_2(party, message).ok()
    }

    /// Somebody at `from` says which versions it speaks, ours not among them. Whoever has seen the Init can say so, so a reply is
    /// still waited for, if there is one address only for [`VERSIONS_WAIT`]. `false`: it is no answer to this dial.
    pub(crate) fn on_versions(&mut self, now: Instant, from: &TransportAddr, list: VersionList) -> bool {
        if !self.fanout.has_asked(from) || list.contains(VERSION) {
            return false;
        }
        if self.versions.is_none() {
            self.versions = Some(list);
            if !self.fanout.is_wide() {
                self.deadline = self.deadline.min(now + VERSIONS_WAIT);
            }
        }
        true
    }

    /// Why the dial has failed when its time is over.
    pub(crate) fn failure(&self) -> CloseReason {
        self.versions.map_or(CloseReason::NoAnswer, CloseReason::Versions)
    }
}

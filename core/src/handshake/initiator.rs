//! The dialling side: the Init, its repetition, and the reply.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::crypto::backend::SecretKey;
use crate::crypto::noise::{
    Finished, IK_MESSAGE_1_OVERHEAD, IX_MESSAGE_1_OVERHEAD, Initiator, InitiatorSent, NoiseError, Party,
    prologue,
};
use crate::crypto::{EarlyToken, PublicKey, Secret};
use crate::endpoint::Sockets;
use crate::error::CloseReason;
use crate::id::ConnectionId;
use crate::path::addr::{TransportAddr, Tuple};
use crate::remote::fanout::{Due, Fanout};
use crate::time::{Duration, Instant};
use crate::wire::header::{CLEAR_HEADER, InitHeader, MIN_INIT, PacketType, VERSION};
use crate::wire::versions::VersionList;

use super::retry::{self, MAX_TOKEN};

/// Replies tried per dial and second (docs/PROTOCOL.md, "Handshake"): each costs two or three X25519.
const MAX_TRIES: u32 = 64;

/// How long a reply is waited for at least after somebody has said that it speaks other versions: it may not have been the peer.
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

    /// Bytes of payload that fill an Init without a token.
    const fn payload_room(&self) -> usize {
        // The overheads count `e`, which stands before the token.
        const CLEAR: usize = InitHeader::MESSAGE_AT - 32;
        let overhead = match self {
            Self::Key(_) => IK_MESSAGE_1_OVERHEAD,
            Self::Unknown | Self::AnyKey => IX_MESSAGE_1_OVERHEAD,
        };
        MIN_INIT.saturating_sub(CLEAR).saturating_sub(overhead)
    }
}

/// A dial in progress.
pub(crate) struct Dialling {
    pub(crate) target: Target,
    /// Application protocols offered.
    pub(crate) alpns: Vec<Vec<u8>>,
    /// When the dial fails.
    pub(crate) deadline: Instant,
    /// By which early data may be acted on at once.
    token: Option<EarlyToken>,
    fanout: Fanout,
    flight: Flight,
    /// What somebody at an address that was dialled says it speaks.
    versions: Option<VersionList>,
    tries: Tries,
}

enum Flight {
    /// The Init is made when it is first asked for, so that it can carry what was written meanwhile.
    Unsent,
    Sent(Box<Sent>),
}

struct Sent {
    /// The frames, without padding.
    payload: Box<[u8]>,
    first: Init,
    /// What goes to the address from which a Retry came.
    second: Option<Init>,
}

/// An Init, and what reads its reply.
struct Init {
    noise: InitiatorSent,
    datagram: Box<[u8]>,
}

/// A reply that opened.
pub(crate) struct Opened {
    pub(crate) finished: Finished,
    /// Where its payload stands in the message.
    pub(crate) payload: Range<usize>,
    /// Whether it answers the second Init.
    pub(crate) retried: bool,
}

/// Replies that were tried in a second.
struct Tries {
    count: u32,
    since: Instant,
}

impl Tries {
    /// Whether one more may be tried, which counts as tried.
    fn may(&mut self, now: Instant) -> bool {
        if now - self.since >= Duration::from_secs(1) {
            *self = Self { count: 0, since: now };
        }
        self.count = self.count.saturating_add(1);
        self.count <= MAX_TRIES
    }
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
        token: Option<EarlyToken>,
        deadline: Instant,
        fanout: Fanout,
    ) -> Self {
        let (flight, tries) = (Flight::Unsent, Tries { count: 0, since: now });
        Self { target, alpns, deadline, token, fanout, flight, versions: None, tries }
    }

    /// The addresses dialled.
    pub(crate) const fn fanout(&self) -> &Fanout {
        &self.fanout
    }

    /// Bytes of frames that the Init may carry: the longest token of a Retry has room beside them, and the early token if there
    /// is one.
    pub(crate) const fn frame_room(&self) -> usize {
        self.target.payload_room().saturating_sub(MAX_TOKEN).saturating_sub(self.early_token().len())
    }

    /// Does not show the early token.
    pub(crate) fn keep_token(&mut self) {
        self.token = None;
    }

    /// Whether the early token is shown.
    pub(crate) const fn shows_token(&self) -> bool {
        self.token.is_some()
    }

    const fn early_token(&self) -> &[u8] {
        match &self.token {
            Some(token) => token.as_bytes(),
            None => &[],
        }
    }

    /// Whether the Init has yet to be made.
    pub(crate) const fn is_unsent(&self) -> bool {
        matches!(self.flight, Flight::Unsent)
    }

    /// Makes the Init around these frames (HELLO and early data), padded to its size.
    pub(crate) fn make_init(
        &mut self,
        now: Instant,
        party: &mut Party<'_>,
        routing: ConnectionId,
        ephemeral: &Secret,
        payload: &[u8],
    ) -> Result<(), NoiseError> {
        let first = self.seal(party, routing, ephemeral, &[], payload)?;
        self.flight = Flight::Sent(Box::new(Sent { payload: payload.into(), first, second: None }));
        self.fanout.begin(now);
        Ok(())
    }

    fn seal(
        &self,
        party: &mut Party<'_>,
        routing: ConnectionId,
        ephemeral: &Secret,
        of_retry: &[u8],
        payload: &[u8],
    ) -> Result<Init, NoiseError> {
        let token = [of_retry, self.early_token()].concat();
        let mut payload = payload.to_vec();
        payload.resize(self.target.payload_room().saturating_sub(token.len()), 0);
        let mut header = [self.target.init().first_byte(); CLEAR_HEADER];
        header.split_at_mut(1).1.copy_from_slice(routing.as_bytes());
        let token = [&[token.len() as u8], &token[..]].concat();
        let prologue = prologue(&header, &token);
        let ephemeral = SecretKey::new(ephemeral);
        let initiator = match self.target {
            Target::Key(key) => Initiator::ik(party, key, ephemeral, &prologue)?,
            Target::Unknown | Target::AnyKey => Initiator::ix(ephemeral, &prologue),
        };
        let mut datagram = Vec::with_capacity(MIN_INIT);
        datagram.extend_from_slice(&header);
        datagram.extend_from_slice(initiator.ephemeral());
        datagram.extend_from_slice(&token);
        let noise = initiator.write_message_1(party, &payload, &mut datagram)?;
        Ok(Init { noise, datagram: datagram.into_boxed_slice() })
    }

    /// The token of a Retry that came from there, if the dial follows it: the first one, from who has seen the Init.
    pub(crate) fn retry_token<'a>(&self, from: &TransportAddr, packet: &'a [u8]) -> Option<&'a [u8]> {
        let Flight::Sent(sent) = &self.flight else { return None };
        if sent.second.is_some() || !self.fanout.has_asked(from) {
            return None;
        }
        retry::token(packet, &sent.first.datagram)
    }

    /// Follows a Retry: another Init with the same frames, which shows the token, goes where the Retry came from. It proves only
    /// that its sender has seen the Init, so the first Init stays good. `false`: nothing may be sent there any more.
    pub(crate) fn retry(
        &mut self,
        now: Instant,
        party: &mut Party<'_>,
        routing: ConnectionId,
        ephemeral: &Secret,
        token: &[u8],
        from: &TransportAddr,
    ) -> bool {
        let Flight::Sent(sent) = &self.flight else { return false };
        let Ok(second) = self.seal(party, routing, ephemeral, token, &sent.payload) else { return false };
        let follows = self.fanout.on_retry(now, from);
        if let Flight::Sent(sent) = &mut self.flight
            && follows
        {
            sent.second = Some(second);
        }
        follows
    }

    /// A copy of an Init, and where it is to go, if one is due.
    pub(crate) fn copy_due(&mut self, now: Instant) -> Option<(&[u8], Tuple)> {
        let Flight::Sent(sent) = &self.flight else { return None };
        let Due { to, retried } = self.fanout.copy_due(now)?;
        let init = sent.second.as_ref().filter(|_| retried).unwrap_or(&sent.first);
        Some((&init.datagram, to))
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let sent = match &self.flight {
            Flight::Unsent => 0,
            Flight::Sent(sent) => {
                let second = sent.second.as_ref().map_or(0, |second| second.datagram.len());
                let datagrams = sent.first.datagram.len().saturating_add(second);
                size_of::<Sent>().saturating_add(sent.payload.len()).saturating_add(datagrams)
            }
        };
        self.fanout.heap_bytes().saturating_add(sent)
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
    ) -> Option<Opened> {
        let Flight::Sent(sent) = &self.flight else { return None };
        if ty != self.target.reply() || !self.tries.may(now) {
            return None;
        }
        if let Some(second) = &sent.second {
            // It is scrambled where it does not open.
            let before = message.to_vec();
            if let Ok((finished, payload)) = second.noise.read_message_2(party, message) {
                return Some(Opened { finished, payload, retried: true });
            }
            if !self.tries.may(now) {
                return None;
            }
            message.copy_from_slice(&before);
        }
        let (finished, payload) = sent.first.noise.read_message_2(party, message).ok()?;
        Some(Opened { finished, payload, retried: false })
    }

    /// Somebody at `from` says which versions it speaks, ours not among them. Whoever has seen the Init can say so, so a reply is
    /// still waited for: if there is one address only, for half of the time that is left and at least [`VERSIONS_WAIT`]. `false`: it is no answer to this dial.
    pub(crate) fn on_versions(&mut self, now: Instant, from: &TransportAddr, list: VersionList) -> bool {
        if !self.fanout.has_asked(from) || list.contains(VERSION) {
            return false;
        }
        if self.versions.is_none() {
            self.versions = Some(list);
            if !self.fanout.is_wide() {
                let wait = VERSIONS_WAIT.max((self.deadline - now).checked_div(2).unwrap_or_default());
                self.deadline = self.deadline.min(now + wait);
            }
        }
        true
    }

    /// Why the dial has failed when its time is over.
    pub(crate) fn failure(&self) -> CloseReason {
        self.versions.map_or(CloseReason::NoAnswer, CloseReason::Versions)
    }
}

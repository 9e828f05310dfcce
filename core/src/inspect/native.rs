//! Packets of the native wire (docs/PROTOCOL.md, "Packets").

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::crypto::keys::{KeyLimits, OpenError, Opener, Timing};
use crate::crypto::noise::{DH_LEN, SEALED_KEY_LEN, open_logged};
use crate::crypto::packet::{self, Numbered, SequenceField};
use crate::crypto::{PublicKey, Secret, Suite};
use crate::id::{ConnectionId, PacketNumber, PathId, Role, WireVersion};
use crate::time::{Duration, Instant};
use crate::wire::frame::{Frame, Frames};
use crate::wire::header::{CLEAR_HEADER, Header, HeaderError, InitHeader, PacketType};
use crate::wire::versions::VersionList;

use super::frames::describe;
use super::{Inspected, Payload, Sequence, TOO_SHORT};

/// Key generations looked through for one that opens a packet: 4 billion packets of AES-256-GCM.
const MAX_GENERATIONS: u32 = 1024;
/// Such searches that may find nothing, for a direction: a search can take some milliseconds, and anybody can put packets
/// that nothing opens into a capture, between as many as he likes that do open.
const MAX_SEARCHES: u32 = 64;
/// The previous keys are kept until the next ones come: nobody knows here when the receiver dropped them.
const TIMING: Timing = Timing { now: Instant::ZERO, pto: Duration::from_secs(1 << 30) };

/// What is known of the native connections.
#[derive(Default)]
pub(super) struct Native {
    /// By Noise's `e` in the message.
    messages: BTreeMap<[u8; 32], MessageKey>,
    /// The two of a connection stand side by side: the other one of `n` is `n ^ 1`.
    directions: Vec<Direction>,
    /// Which direction the packets with a connection id have.
    ids: BTreeMap<ConnectionId, usize>,
}

/// What opens the payload of a handshake message.
struct MessageKey {
    key: Secret,
    hash: [u8; 32],
}

/// The Data packets of one end of a connection.
pub(super) struct Direction {
    sender: Role,
    suite: Suite,
    chain: Secret,
    opener: Opener,
    /// The highest number opened on each path.
    highest: BTreeMap<PathId, PacketNumber>,
    /// Searches that may still find nothing.
    searches: u32,
}

impl Native {
    pub(super) fn add_message(&mut self, e: [u8; 32], key: Secret, hash: [u8; 32]) {
        self.messages.insert(e, MessageKey { key, hash });
    }

    /// The two directions of a connection, and the ids that their first packets are sent to.
    pub(super) fn add_connection(
        &mut self,
        one: (ConnectionId, Direction),
        other: (ConnectionId, Direction),
    ) {
        for (id, direction) in [one, other] {
            self.ids.insert(id, self.directions.len());
            self.directions.push(direction);
        }
    }

    pub(super) fn read(&mut self, datagram: &[u8]) -> Inspected {
        let mut inspected =
            Inspected { version: Some(WireVersion::Native), ..Inspected::unreadable(datagram, "") };
        match Header::parse(datagram) {
            Ok(header) => self.read_packet(header, datagram, &mut inspected),
            Err(HeaderError::Type) => {
                inspected.payload = Payload::Unreadable("a packet type that is not used")
            }
            Err(HeaderError::TooLong) => {
                inspected.payload = Payload::Unreadable("longer than its type allows")
            }
            Err(HeaderError::TooShort | HeaderError::Version) => {
                inspected.payload = Payload::Unreadable(TOO_SHORT);
            }
        }
        inspected
    }

    fn read_packet(&mut self, header: Header, datagram: &[u8], inspected: &mut Inspected) {
        let (name, sender) = match header.ty {
            PacketType::Init => ("Init", Some(Role::Initiator)),
            PacketType::InitReply => ("InitReply", Some(Role::Responder)),
            PacketType::InitKnown => ("InitKnown", Some(Role::Initiator)),
            PacketType::InitKnownReply => ("InitKnownReply", Some(Role::Responder)),
            PacketType::Data => ("Data", self.sender_to(header.routing)),
            PacketType::Retry => ("Retry", Some(Role::Responder)),
            PacketType::VersionList => ("VersionList", Some(Role::Responder)),
        };
        (inspected.packet, inspected.sender) = (Some(name), sender);
        inspected.payload = match header.ty {
            PacketType::Init => read_clear_init(datagram),
            PacketType::InitKnown => match InitHeader::parse(datagram) {
                Ok(init) => self.read_message(
                    &init.ephemeral,
                    init.message_at.saturating_add(SEALED_KEY_LEN),
                    datagram,
                ),
                Err(_) => Payload::Unreadable("the token is longer than the packet"),
            },
            PacketType::InitReply => self.read_reply(SEALED_KEY_LEN, datagram),
            PacketType::InitKnownReply => self.read_reply(0, datagram),
            PacketType::Data => self.read_data(header.routing, datagram, &mut inspected.sequence),
            PacketType::Retry => Payload::Frames("asks for the address to be shown".to_string()),
            PacketType::VersionList => read_versions(datagram),
        };
    }

    fn sender_to(&self, id: ConnectionId) -> Option<Role> {
        let direction = self.directions.get(*self.ids.get(&id)?)?;
        Some(direction.sender)
    }

    /// A Data packet. The ids that it tells of are those to which the other end sends from now on.
    fn read_data(&mut self, id: ConnectionId, datagram: &[u8], sequence: &mut Option<Sequence>) -> Payload {
        let Some(at) = self.ids.get(&id).copied() else { return Payload::NoKey };
        let Some(direction) = self.directions.get_mut(at) else { return Payload::NoKey };
        match direction.read(datagram, sequence) {
            Ok(payload) => {
                for frame in Frames::new(&payload).flatten() {
                    if let Frame::NewConnectionId(new) = frame {
                        self.ids.entry(new.id).or_insert(at ^ 1);
                    }
                }
                frames(&payload)
            }
            Err(payload) => payload,
        }
    }

    /// A reply with `between` bytes between its `e` and its payload.
    fn read_reply(&self, between: usize, datagram: &[u8]) -> Payload {
        match datagram.get(CLEAR_HEADER..).and_then(<[u8]>::first_chunk::<DH_LEN>) {
            Some(e) => self.read_message(e, between.saturating_add(CLEAR_HEADER + DH_LEN), datagram),
            None => Payload::Unreadable(TOO_SHORT),
        }
    }

    /// The handshake message with `e`, whose sealed payload starts at `payload_at`.
    fn read_message(&self, e: &[u8; DH_LEN], payload_at: usize, datagram: &[u8]) -> Payload {
        let Some(MessageKey { key, hash }) = self.messages.get(e) else { return Payload::NoKey };
        let mut sealed = datagram.get(payload_at..).unwrap_or_default().to_vec();
        match open_logged(key, hash, &mut sealed) {
            Ok(len) => frames(sealed.get(..len).unwrap_or_default()),
            Err(error) => Payload::Unopened(error.to_string()),
        }
    }
}

/// An Init of the pattern IX, which hides nothing.
fn read_clear_init(datagram: &[u8]) -> Payload {
    let message = InitHeader::parse(datagram).ok().and_then(|init| datagram.get(init.message_at..));
    let Some((claimed, payload)) = message.and_then(<[u8]>::split_first_chunk::<DH_LEN>) else {
        return Payload::Unreadable("the token is longer than the packet");
    };
    let mut text = match PublicKey::from_bytes(*claimed) {
        Ok(key) => alloc::format!("claims key {key}, "),
        Err(error) => alloc::format!("claims a bad key ({error}), "),
    };
    describe(payload, &mut text);
    Payload::Frames(text)
}

fn read_versions(datagram: &[u8]) -> Payload {
    match VersionList::read(datagram.get(CLEAR_HEADER..).unwrap_or_default()) {
        Some(list) => Payload::Frames(alloc::format!("versions {list}")),
        None => Payload::Unreadable("no list of versions"),
    }
}

fn frames(payload: &[u8]) -> Payload {
    let mut text = String::new();
    describe(payload, &mut text);
    Payload::Frames(text)
}

impl Direction {
    /// The packets of `sender` are sealed with the keys that follow from `chain`.
    pub(super) fn new(sender: Role, suite: Suite, chain: Secret) -> Self {
        let opener = opener(suite, &chain);
        Self { sender, suite, chain, opener, highest: BTreeMap::new(), searches: MAX_SEARCHES }
    }

    /// The payload of a packet, or what to say of one that does not open.
    fn read(&mut self, datagram: &[u8], sequence: &mut Option<Sequence>) -> Result<Vec<u8>, Payload> {
        let Some(field) = packet::unmask(&self.opener, datagram) else {
            return Err(Payload::Unreadable(TOO_SHORT));
        };
        let numbered = field.recover(self.highest.get(&field.path).copied());
        let opened = match open(&mut self.opener, &numbered, datagram) {
            Err(OpenError::NotAuthentic | OpenError::UnknownPhase) => self.search(field, &numbered, datagram),
            opened => opened,
        };
        match opened {
            Ok(payload) => {
                let highest = self.highest.entry(field.path).or_default();
                *highest = numbered.number.max(*highest);
                let phase = field.phase.get();
                *sequence = Some(Sequence::Native { path: field.path, number: numbered.number, phase });
                Ok(payload)
            }
            Err(error) => Err(Payload::Unopened(error.to_string())),
        }
    }

    /// Packets are missing: looks for the generation of the keys from the beginning.
    fn search(
        &mut self,
        field: SequenceField,
        numbered: &Numbered,
        datagram: &[u8],
    ) -> Result<Vec<u8>, OpenError> {
        let Some(left) = self.searches.checked_sub(1) else { return Err(OpenError::NotAuthentic) };
        let mut opener = opener(self.suite, &self.chain);
        for _ in 0..MAX_GENERATIONS {
            if opener.phase() == field.phase
                && let Ok(payload) = open(&mut opener, numbered, datagram)
            {
                self.opener = opener;
                return Ok(payload);
            }
            opener.skip();
        }
        self.searches = left;
        Err(OpenError::NotAuthentic)
    }
}

fn opener(suite: Suite, chain: &Secret) -> Opener {
    Opener::new(suite, chain, KeyLimits::of(suite).at_any_pace())
}

/// The payload of a Data packet, which stays as it is: another key may have to be tried on it.
fn open(opener: &mut Opener, numbered: &Numbered, datagram: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut copy = datagram.to_vec();
    let range = packet::open(opener, numbered, &mut copy, TIMING)?;
    Ok(copy.get(range).unwrap_or_default().to_vec())
}

//! Captured datagrams, read with the keys of a key log: what was in them, in words.
//!
//! An [`Inspector`] is offline: it belongs to no connection, answers nothing and believes what it reads. It sees both
//! directions of any number of connections, and follows their packet numbers and key phases.

mod frames;
mod native;
mod qotp;
#[cfg(test)]
mod tests;

use alloc::string::String;
use core::fmt;

use crate::id::{ConnectionId, PacketNumber, PathId, Role, WireVersion};
use crate::key_log::{Entry, KeyLogEntry};
use crate::wire::header::{VERSION, peek_connection_id};
use crate::wire::qotp::header::VERSION as QOTP_VERSION;

use native::{Direction, Native};
use qotp::Qotp;

/// What is wrong with most packets that are none.
const TOO_SHORT: &str = "shorter than a packet of its type can be";

/// Reads captured datagrams with the entries of a key log.
///
/// Packets are best given in the order in which they were captured. Some may be missing, from the start too: packet
/// numbers are found as long as fewer than 2^31 packets of a direction are missing in a row (2^32 at the start), and key
/// phases up to the 1,024th.
#[derive(Default)]
pub struct Inspector {
    native: Native,
    qotp: Qotp,
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}

/// What a datagram is. Its text form is one line, fit for a terminal whatever the datagram says.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Inspected {
    /// The wire version; `None` for one that this build does not know.
    pub version: Option<WireVersion>,
    /// The packet type by its name in the version's documents.
    pub packet: Option<&'static str>,
    /// The routing field: whose packet it is.
    pub id: Option<ConnectionId>,
    /// Who sent it; `None` where only the keys could tell.
    pub sender: Option<Role>,
    /// Its place among the packets of its direction, where it opened and has one.
    pub sequence: Option<Sequence>,
    /// What was in it.
    pub payload: Payload,
}

/// The place of a packet among those of its direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Sequence {
    /// On the native wire.
    Native {
        /// The path.
        path: PathId,
        /// The number on the path.
        number: PacketNumber,
        /// The key phase: the generation of the keys modulo 4.
        phase: u8,
    },
    /// On QOTP's.
    Qotp {
        /// How often the number has begun again.
        epoch: u64,
        /// The number in the epoch.
        number: u64,
    },
}

/// What was in a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Payload {
    /// It could be read: its frames, in words.
    Frames(String),
    /// The key log has nothing for it.
    NoKey,
    /// The key log's keys do not open it, and why.
    Unopened(String),
    /// It is no packet of a known wire, and why.
    Unreadable(&'static str),
}

impl Inspector {
    /// An inspector with these keys. Of several entries for the same packets the last one counts.
    pub fn new(entries: impl IntoIterator<Item = KeyLogEntry>) -> Self {
        let mut inspector = Self::default();
        for KeyLogEntry(entry) in entries {
            match entry {
                Entry::Message { e, key, hash } => inspector.native.add_message(e, key, hash),
                Entry::Traffic { initiator, responder, suite, initiator_secret, responder_secret } => {
                    let to_responder = Direction::new(Role::Initiator, suite, initiator_secret);
                    let to_initiator = Direction::new(Role::Responder, suite, responder_secret);
                    inspector.native.add_connection((responder, to_responder), (initiator, to_initiator));
                }
                Entry::Qotp { id, opens, secret } => inspector.qotp.add(id, opens, secret),
            }
        }
        inspector
    }

    /// Reads one datagram, which is one packet: a train that was captured whole must be cut first.
    pub fn read(&mut self, datagram: &[u8]) -> Inspected {
        match datagram.first().map(|first| first & 0x1f) {
            Some(VERSION) => self.native.read(datagram),
            Some(QOTP_VERSION) => self.qotp.read(datagram),
            Some(_) => Inspected::unreadable(datagram, "not a version that is known here"),
            None => Inspected::unreadable(datagram, "empty"),
        }
    }
}

impl Inspected {
    /// A datagram of which only the routing field may make sense.
    fn unreadable(datagram: &[u8], why: &'static str) -> Self {
        Self {
            version: None,
            packet: None,
            id: peek_connection_id(datagram),
            sender: None,
            sequence: None,
            payload: Payload::Unreadable(why),
        }
    }
}

/// `native I>R Data b0b1b2b3b4b5b6b7 path 0 #1 phase 0: ACK path 0 0, PING`; what is not known is left out.
impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.version {
            Some(WireVersion::Native) => "native",
            Some(WireVersion::Qotp) => "qotp",
            None => "unknown",
        };
        let sender = match self.sender {
            Some(Role::Initiator) => "I>R",
            Some(Role::Responder) => "R>I",
            None => "?>?",
        };
        write!(f, "{version} {sender}")?;
        if let Some(packet) = self.packet {
            write!(f, " {packet}")?;
        }
        if let Some(id) = self.id {
            write!(f, " {id:?}")?;
        }
        match self.sequence {
            Some(Sequence::Native { path, number, phase }) => {
                write!(f, " path {} {number:?} phase {phase}", path.get())?;
            }
            Some(Sequence::Qotp { epoch, number }) => write!(f, " epoch {epoch} #{number}")?,
            None => {}
        }
        match &self.payload {
            Payload::Frames(frames) => write!(f, ": {frames}"),
            Payload::NoKey => f.write_str(": no key"),
            Payload::Unopened(why) => write!(f, ": {why}"),
            Payload::Unreadable(why) => write!(f, ": {why}"),
        }
    }
}

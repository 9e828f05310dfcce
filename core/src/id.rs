//! The small numbers that name things: connections, packets, paths, streams.

use core::fmt;
use core::hash::{Hash, Hasher};

/// An 8-byte connection id: the routing field that every packet carries at offset 1 (WIRE.md sections 1 and 7).
///
/// The side that receives a packet has chosen the id in it; the first byte names the receiver's shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) [u8; 8]);

/// As one number: it is looked up for each packet.
impl Hash for ConnectionId {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(u64::from_le_bytes(self.0));
    }
}

impl ConnectionId {
    /// Length on the wire, in bytes.
    pub const LEN: usize = 8;

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes as they stand on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// A full packet number: 64 bits, counted per path and direction from 0 (the handshake packet).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PacketNumber(pub(crate) u64);

impl PacketNumber {
    /// The first number of a path.
    pub const ZERO: Self = Self(0);

    /// The packet number `n`.
    #[must_use]
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number after this one; saturates (a path ends long before 2^64 packets).
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for PacketNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A path of a connection. The wire has 6 bits for it; path 0 is the one that the handshake used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct PathId(pub(crate) u8);

impl PathId {
    /// The path of the handshake.
    pub const ZERO: Self = Self(0);
    /// The largest path id that the sequence field can carry.
    pub const MAX: Self = Self(63);

    /// Path `id`, if it fits into the wire's 6 bits.
    #[must_use]
    pub const fn new(id: u8) -> Option<Self> {
        if id <= Self::MAX.0 { Some(Self(id)) } else { None }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Who opens paths with this id: the initiator those with even ones.
    #[must_use]
    pub const fn opener(self) -> Role {
        if self.0.is_multiple_of(2) { Role::Initiator } else { Role::Responder }
    }
}

/// Which end of a connection: the one that dialled or the one that answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Sent the Init.
    Initiator,
    /// Answered it.
    Responder,
}

impl Role {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// Whether both ends or only the opener may send on a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// Both ends send.
    Bidirectional,
    /// Only the end that opened the stream sends.
    Unidirectional,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
#[non_exhaustive]
pub enum WireVersion {
    /// dunlin's own wire, version 16 (docs/PROTOCOL.md).
    #[default]
    Native,
    /// QOTP, version 0, as its reference implementation v0.2.19 speaks it (docs/PROTOCOL.md, "QOTP").
    ///
    /// Its handshake proves nobody's identity: whoever can intercept packets can be the peer. Use it to talk to existing
    /// QOTP programs, on networks or behind tunnels that authenticate already, and never for secrets.
    Qotp,
}

/// A stream of a connection. On the native wire the two low bits say who opened it and in which direction data
/// flows (RFC 9000 section 2.1); applications treat it as opaque.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u64);

impl StreamId {
    /// The `index`-th stream (from 0) of this kind. Indices of 2^60 and above do not fit and are cut.
    #[must_use]
    pub const fn new(opener: Role, direction: Direction, index: u64) -> Self {
        let opener = match opener {
            Role::Initiator => 0,
            Role::Responder => 1,
        };
        let direction = match direction {
            Direction::Bidirectional => 0,
            Direction::Unidirectional => 2,
        };
        Self((index << 2 | direction | opener) & ((1 << 62) - 1))
    }

    /// The number on the native wire; see [`Self::qotp_number`] for QOTP's.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Who opened the stream.
    #[must_use]
    pub const fn opener(self) -> Role {
        if self.0 & 1 == 0 { Role::Initiator } else { Role::Responder }
    }

    /// Who may send on it.
    #[must_use]
    pub const fn direction(self) -> Direction {
        if self.0 & 2 == 0 { Direction::Bidirectional } else { Direction::Unidirectional }
    }

    /// Stream `number` of a QOTP connection. Even numbers are the initiator's by custom, odd ones the responder's.
    #[must_use]
    pub const fn qotp(number: u32) -> Self {
        Self((number as u64 >> 1) << 2 | number as u64 & 1)
    }

    /// The number that QOTP's wire has for this stream; `None` for ids that no QOTP connection has.
    #[must_use]
    pub const fn qotp_number(self) -> Option<u32> {
        let number = self.index() << 1 | self.0 & 1;
        if self.0 & 2 == 0 && number <= u32::MAX as u64 { Some(number as u32) } else { None }
    }

    /// How many streams of the same kind came before.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opener = match self.opener() {
            Role::Initiator => "initiator",
            Role::Responder => "responder",
        };
        let direction = match self.direction() {
            Direction::Bidirectional => "bi",
            Direction::Unidirectional => "uni",
        };
        write!(f, "{opener}-{direction}-{}", self.index())
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A number below 2^62 that the application gives a meaning: why a stream was reset, stopped, or a connection closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct ErrorCode(pub(crate) u64);

impl ErrorCode {
    /// The largest code that the wire can carry (a QUIC varint, RFC 9000 section 16).
    pub const MAX: Self = Self((1 << 62) - 1);

    /// The code `code`, if it fits.
    #[must_use]
    pub const fn new(code: u64) -> Option<Self> {
        if code <= Self::MAX.0 { Some(Self(code)) } else { None }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u32> for ErrorCode {
    fn from(code: u32) -> Self {
        Self(u64::from(code))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_qotp_stream_has_an_id_of_its_own() {
        for number in [0, 1, 2, 3, 1_000, u32::MAX - 1, u32::MAX] {
            let id = StreamId::qotp(number);
            assert_eq!(id.qotp_number(), Some(number));
            assert_eq!(id.direction(), Direction::Bidirectional);
            assert_eq!(id.opener() == Role::Initiator, number % 2 == 0);
        }
        assert_eq!(StreamId(StreamId::qotp(u32::MAX).0 + 3).qotp_number(), None);
        assert_eq!(StreamId::new(Role::Initiator, Direction::Unidirectional, 0).qotp_number(), None);
    }

    #[test]
    fn stream_ids_follow_rfc_9000_section_2_1() {
        let id = StreamId::new(Role::Responder, Direction::Unidirectional, 5);
        assert_eq!(id.get(), 23);
        assert_eq!(
            (id.opener(), id.direction(), id.index()),
            (Role::Responder, Direction::Unidirectional, 5)
        );
        assert_eq!(StreamId::new(Role::Initiator, Direction::Bidirectional, 1).get(), 4);
    }
}

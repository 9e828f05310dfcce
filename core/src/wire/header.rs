//! Packet headers: the first byte, the routing field and what stands in clear behind them
//! (docs/PROTOCOL.md, "Packets").

use crate::id::ConnectionId;

use super::codec::{Reader, Truncated};

/// The native wire's version number in bits 0-4 of the first byte.
pub(crate) const VERSION: u8 = 16;
/// Shorter Init datagrams are dropped: the anti-amplification floor of RFC 9000 section 8.1.
pub(crate) const MIN_INIT: usize = 1200;
/// Longer ones too: what reads them is spent on strangers.
pub(crate) const MAX_INIT: usize = 2048;
/// First byte, connection id, sequence field: where the payload of a Data packet starts.
pub(crate) const DATA_HEADER: usize = 1 + ConnectionId::LEN + 5;
/// Authentication tag at the end of a sealed payload.
pub(crate) const TAG: usize = 16;
/// The shortest Data packet: header, one frame byte, tag.
pub(crate) const MIN_DATA: usize = DATA_HEADER + 1 + TAG;
/// First byte and connection id: the authenticated clear part of a Data packet, the header of a reply.
pub(crate) const CLEAR_HEADER: usize = 1 + ConnectionId::LEN;

/// What a packet is: bits 5-7 of the first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PacketType {
    /// First Noise IX message: the responder's key is unknown.
    Init,
    /// Second Noise IX message.
    InitReply,
    /// First Noise IK message: the responder's key is known.
    InitKnown,
    /// Second Noise IK message.
    InitKnownReply,
    /// Everything after the handshake.
    Data,
    /// Asks the initiator to show its address.
    Retry,
    /// The versions that are spoken, for who dials in another one.
    VersionList,
}

impl PacketType {
    const fn code(self) -> u8 {
        match self {
            Self::Init => 0,
            Self::InitReply => 1,
            Self::InitKnown => 2,
            Self::InitKnownReply => 3,
            Self::Data => 4,
            Self::Retry => 5,
            Self::VersionList => 7,
        }
    }

    /// The first byte of a packet of this type in the native version.
    pub(crate) const fn first_byte(self) -> u8 {
        self.code() << 5 | VERSION
    }
}

/// Why a datagram has no header that we read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderError {
    /// Shorter than its type allows.
    TooShort,
    /// Longer than its type allows.
    TooLong,
    /// A version that this build does not speak.
    Version,
    /// A packet type that this version does not use.
    Type,
}

impl From<Truncated> for HeaderError {
    fn from(Truncated: Truncated) -> Self {
        Self::TooShort
    }
}

/// The header that every packet of every version has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) ty: PacketType,
    pub(crate) routing: ConnectionId,
}

impl Header {
    pub(crate) fn parse(datagram: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = Reader::new(datagram);
        let first = reader.u8()?;
        let routing = ConnectionId::from_bytes(reader.array()?);
        if first & 0x1f != VERSION {
            return Err(HeaderError::Version);
        }
        let (ty, shortest, longest) = match first >> 5 {
            0 => (PacketType::Init, MIN_INIT, MAX_INIT),
            1 => (PacketType::InitReply, CLEAR_HEADER, MIN_INIT),
            2 => (PacketType::InitKnown, MIN_INIT, MAX_INIT),
            3 => (PacketType::InitKnownReply, CLEAR_HEADER, MIN_INIT),
            4 => (PacketType::Data, MIN_DATA, usize::MAX),
            5 => (PacketType::Retry, CLEAR_HEADER, usize::MAX),
            7 => (PacketType::VersionList, CLEAR_HEADER, usize::MAX),
            _ => return Err(HeaderError::Type),
        };
        match datagram.len() {
            len if len < shortest => Err(HeaderError::TooShort),
            len if len > longest => Err(HeaderError::TooLong),
            _ => Ok(Self { ty, routing }),
        }
    }
}

/// The clear part of an Init or InitKnown datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InitHeader {
    /// The initiator's ephemeral public key, Noise's `e`.
    pub(crate) ephemeral: [u8; 32],
    /// Length of the address-validation token, zero to 255 bytes.
    pub(crate) token_len: u8,
    /// Offset in the datagram at which the rest of the Noise message starts.
    pub(crate) message_at: usize,
}

impl InitHeader {
    /// Offset of `e`.
    #[cfg(test)]
    pub(crate) const EPHEMERAL_AT: usize = CLEAR_HEADER;
    /// Offset of the token length.
    pub(crate) const TOKEN_LEN_AT: usize = CLEAR_HEADER + 32;
    /// Offset of the Noise message when the token is empty.
    pub(crate) const MESSAGE_AT: usize = Self::TOKEN_LEN_AT + 1;

    /// The tokens of an Init, one behind the other.
    pub(crate) fn tokens(datagram: &[u8]) -> Result<&[u8], Truncated> {
        let mut reader = Reader::new(datagram);
        reader.bytes(Self::TOKEN_LEN_AT)?;
        let len = reader.u8()?;
        reader.bytes(len.into())
    }

    pub(crate) fn parse(datagram: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = Reader::new(datagram);
        reader.bytes(CLEAR_HEADER)?;
        let ephemeral = reader.array()?;
        let token_len = reader.u8()?;
        reader.bytes(usize::from(token_len))?;
        Ok(Self { ephemeral, token_len, message_at: datagram.len().saturating_sub(reader.remaining()) })
    }
}

/// The wire version that a datagram claims: bits 0 to 4 of its first byte. `None` if it is empty.
pub(crate) fn version(datagram: &[u8]) -> Option<u8> {
    datagram.first().map(|first| first & 0x1f)
}

/// The version of a handshake's first packet, if it is one that does not exist yet, and its routing field. What it looks like
/// is the same in every version (docs/PROTOCOL.md, "Versions").
pub(crate) fn unknown_version(datagram: &[u8]) -> Option<(u8, ConnectionId)> {
    let first = *datagram.first()?;
    let version = first & 0x1f;
    let is_init = matches!(first >> 5, 0 | 2);
    (is_init && version > VERSION).then(|| peek_connection_id(datagram).map(|id| (version, id)))?
}

/// The connection id that routes a datagram: bytes 1 to 8, in every version. For embedders that spread datagrams over
/// several endpoints; its first byte modulo the number of endpoints names the one that issued the id.
///
/// ```
/// let datagram = [0x90, 1, 2, 3, 4, 5, 6, 7, 8, 0xff];
/// assert_eq!(dunlin_core::peek_connection_id(&datagram).unwrap().as_bytes(), &[1, 2, 3, 4, 5, 6, 7, 8]);
/// assert_eq!(dunlin_core::peek_connection_id(&datagram[..8]), None);
/// ```
#[must_use]
pub fn peek_connection_id(datagram: &[u8]) -> Option<ConnectionId> {
    let mut reader = Reader::new(datagram);
    reader.u8().ok()?;
    reader.array().ok().map(ConnectionId::from_bytes)
}

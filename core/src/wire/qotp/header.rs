//! The clear headers of QOTP's packets (QOTP v0.2.19).
//!
//! | type | clear header | bytes | behind it |
//! |---|---|---|---|
//! | InitSnd | first byte, ephemeral key, identity key | 65 | zeros up to the datagram size |
//! | InitRcv | first byte, connection id, ephemeral key, identity key | 73 | number, payload, tag |
//! | InitCryptoSnd | first byte, ephemeral key, identity key | 65 | number, filler, payload, tag: the datagram size |
//! | InitCryptoRcv | first byte, connection id, ephemeral key | 41 | number, payload, tag |
//! | Data | first byte, connection id | 9 | number, payload, tag |

use alloc::vec::Vec;

use crate::id::ConnectionId;
use crate::wire::codec::Reader;
use crate::wire::header::{HeaderError, TAG};

use super::payload::{FILLER_HEADER, MIN_PAYLOAD};

/// QOTP's version number in bits 0-4 of the first byte.
pub(crate) const VERSION: u8 = 0;
/// Length of the encrypted number behind the clear header, in bytes.
pub(crate) const NUMBER: usize = 6;
/// The shortest packet of any type, in bytes: Data with the shortest payload.
pub(crate) const MIN_PACKET: usize = 1 + ConnectionId::LEN + NUMBER + MIN_PAYLOAD + TAG;
/// Length of a public key, in bytes.
const KEY: usize = 32;

/// What a packet is: bits 5-7 of the first byte. The names are QOTP's: "Snd" is the side that dials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PacketType {
    /// Opens a connection to a responder whose key is unknown.
    InitSnd,
    /// Answers InitSnd.
    InitRcv,
    /// Opens a connection to a responder whose key is known, with data.
    InitCryptoSnd,
    /// Answers InitCryptoSnd.
    InitCryptoRcv,
    /// Everything after the handshake.
    Data,
}

impl PacketType {
    /// The first byte of a packet of this type.
    pub(crate) const fn first_byte(self) -> u8 {
        let code = match self {
            Self::InitSnd => 0,
            Self::InitRcv => 1,
            Self::InitCryptoSnd => 2,
            Self::InitCryptoRcv => 3,
            Self::Data => 4,
        };
        code << 5 | VERSION
    }

    fn from_first_byte(first: u8) -> Result<Self, HeaderError> {
        if first & 0x1f != VERSION {
            return Err(HeaderError::Version);
        }
        match first >> 5 {
            0 => Ok(Self::InitSnd),
            1 => Ok(Self::InitRcv),
            2 => Ok(Self::InitCryptoSnd),
            3 => Ok(Self::InitCryptoRcv),
            4 => Ok(Self::Data),
            _ => Err(HeaderError::Type),
        }
    }

    /// Length of the clear header, in bytes: what the AEAD authenticates without sealing it, if there is one.
    pub(crate) const fn clear_len(self) -> usize {
        match self {
            Self::InitSnd | Self::InitCryptoSnd => 1 + KEY + KEY,
            Self::InitRcv => 1 + ConnectionId::LEN + KEY + KEY,
            Self::InitCryptoRcv => 1 + ConnectionId::LEN + KEY,
            Self::Data => 1 + ConnectionId::LEN,
        }
    }

    /// What a packet is longer than its payload and filler, in bytes. InitSnd has no payload.
    pub(crate) const fn overhead(self) -> usize {
        match self {
            Self::InitSnd => self.clear_len(),
            Self::InitCryptoSnd => self.clear_len().saturating_add(NUMBER + FILLER_HEADER + TAG),
            Self::InitRcv | Self::InitCryptoRcv | Self::Data => self.clear_len().saturating_add(NUMBER + TAG),
        }
    }

    /// The longest payload in a datagram of `mtu` bytes. 0 for InitSnd.
    pub(crate) const fn max_payload(self, mtu: usize) -> usize {
        match self {
            Self::InitSnd => 0,
            _ => mtu.saturating_sub(self.overhead()),
        }
    }

    /// Whether a datagram of `len` bytes may be of this type where datagrams have `mtu` bytes: none is longer, and
    /// those that open a connection are not shorter either. Both sides must have the same `mtu`.
    pub(crate) const fn allows(self, len: usize, mtu: usize) -> bool {
        match self {
            Self::InitSnd | Self::InitCryptoSnd => len == mtu,
            Self::InitRcv | Self::InitCryptoRcv | Self::Data => len <= mtu,
        }
    }
}

/// The clear header of a packet. The keys in it are claims; nothing has checked them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Header {
    /// See [`PacketType::InitSnd`]; the keys are the initiator's.
    InitSnd { ephemeral: [u8; KEY], identity: [u8; KEY] },
    /// See [`PacketType::InitRcv`]; the keys are the responder's.
    InitRcv { id: ConnectionId, ephemeral: [u8; KEY], identity: [u8; KEY] },
    /// See [`PacketType::InitCryptoSnd`]; the keys are the initiator's.
    InitCryptoSnd { ephemeral: [u8; KEY], identity: [u8; KEY] },
    /// See [`PacketType::InitCryptoRcv`]; the key is the responder's.
    InitCryptoRcv { id: ConnectionId, ephemeral: [u8; KEY] },
    /// See [`PacketType::Data`].
    Data { id: ConnectionId },
}

impl Header {
    /// Reads the header of a datagram that is long enough for its type, apart from what
    /// [`allows`](PacketType::allows) says.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub(crate) fn parse(datagram: &[u8]) -> Result<Self, HeaderError> {
        if datagram.len() < MIN_PACKET {
            return Err(HeaderError::TooShort);
        }
        let mut reader = Reader::new(datagram);
        let ty = PacketType::from_first_byte(reader.u8()?)?;
        let shortest = match ty {
            PacketType::InitSnd => ty.overhead(),
            _ => ty.overhead().saturating_add(MIN_PAYLOAD),
        };
        if datagram.len() < shortest {
            return Err(HeaderError::TooShort);
        }
        Ok(match ty {
            PacketType::InitSnd => Self::InitSnd { ephemeral: reader.array()?, identity: reader.array()? },
            PacketType::InitRcv => {
                Self::InitRcv { id: id(&mut reader)?, ephemeral: reader.array()?, identity: reader.array()? }
            }
            PacketType::InitCryptoSnd => {
                Self::InitCryptoSnd { ephemeral: reader.array()?, identity: reader.array()? }
            }
            PacketType::InitCryptoRcv => {
                Self::InitCryptoRcv { id: id(&mut reader)?, ephemeral: reader.array()? }
            }
            PacketType::Data => Self::Data { id: id(&mut reader)? },
        })
    }

    /// Appends the header: [`PacketType::clear_len`] bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.ty().first_byte());
        match self {
            Self::InitSnd { ephemeral, identity } | Self::InitCryptoSnd { ephemeral, identity } => {
                out.extend_from_slice(ephemeral);
                out.extend_from_slice(identity);
            }
            Self::InitRcv { id, ephemeral, identity } => {
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(ephemeral);
                out.extend_from_slice(identity);
            }
            Self::InitCryptoRcv { id, ephemeral } => {
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(ephemeral);
            }
            Self::Data { id } => out.extend_from_slice(id.as_bytes()),
        }
    }

    /// The type.
    pub(crate) const fn ty(&self) -> PacketType {
        match self {
            Self::InitSnd { .. } => PacketType::InitSnd,
            Self::InitRcv { .. } => PacketType::InitRcv,
            Self::InitCryptoSnd { .. } => PacketType::InitCryptoSnd,
            Self::InitCryptoRcv { .. } => PacketType::InitCryptoRcv,
            Self::Data { .. } => PacketType::Data,
        }
    }

    /// The id of the connection, for its whole life and in both directions: the first 8 bytes of the initiator's
    /// ephemeral key.
    pub(crate) const fn connection_id(&self) -> ConnectionId {
        match self {
            Self::InitSnd { ephemeral, .. } | Self::InitCryptoSnd { ephemeral, .. } => {
                let [a, b, c, d, e, f, g, h, ..] = *ephemeral;
                ConnectionId::from_bytes([a, b, c, d, e, f, g, h])
            }
            Self::InitRcv { id, .. } | Self::InitCryptoRcv { id, .. } | Self::Data { id } => *id,
        }
    }
}

fn id(reader: &mut Reader<'_>) -> Result<ConnectionId, HeaderError> {
    Ok(ConnectionId::from_bytes(reader.array()?))
}

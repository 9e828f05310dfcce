//! What stands in a packet's sealed part: at most one acknowledgement and at most one part of a stream (QOTP v0.2.19).
//!
//! ```text
//! first byte(1) · [stream(4) · offset(3 or 6) · length(2) · window(1)] · [stream(4) · offset(3 or 6) · data]
//! first byte: version(bits 0-4) · kind(bits 5-6) · long offsets(bit 7), for both offsets
//! ```
//!
//! | kind | what |
//! |---|---|
//! | 0 | acknowledgement, stream part if there is room for one |
//! | 1 | stream part |
//! | 2 | acknowledgement, stream part that ends the stream |
//! | 3 | stream part that ends the stream |

use alloc::vec::Vec;

use crate::wire::codec::{Reader, Truncated};

use super::header::{PacketType, VERSION};
use super::window;

/// The shortest payload, in bytes: a PING.
pub(crate) const MIN_PAYLOAD: usize = 1 + 4 + 3;
/// The largest offset that the wire can carry.
pub(crate) const MAX_OFFSET: u64 = (1 << 48) - 1;
/// The largest offset in 3 bytes.
const MAX_SHORT_OFFSET: u64 = (1 << 24) - 1;
/// Payloads with an acknowledgement that are shorter have no stream part: both with short offsets.
const MIN_ACK_AND_STREAM: usize = 18;
/// Length of the filler's length, in bytes.
pub(crate) const FILLER_HEADER: usize = 2;

/// The first byte's bit for 6-byte offsets.
const LONG_OFFSETS: u8 = 0x80;
/// The first byte's bits of the version.
const VERSION_BITS: u8 = 0x1f;
/// Where the kind stands in the first byte.
const KIND_SHIFT: u32 = 5;

/// Why a payload is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PayloadError {
    /// Shorter than its kind, or its filler, allows.
    TooShort,
    /// Not version 0.
    Version,
}

impl From<Truncated> for PayloadError {
    fn from(Truncated: Truncated) -> Self {
        Self::TooShort
    }
}

/// An acknowledgement of one packet's stream part: what arrived, and how much more may be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ack {
    /// The stream.
    pub(crate) stream: u32,
    /// Where the acknowledged part began in the stream, in bytes.
    pub(crate) offset: u64,
    /// Its length, in bytes; 0 for a PING, a CLOSE without data, an InitSnd.
    pub(crate) len: u16,
    /// The receive window of the connection, in bytes; the wire rounds it ([`window`]).
    pub(crate) window: u64,
}

/// A part of a stream. Without data it is a PING, unless it closes the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StreamPart<'a> {
    /// The stream.
    pub(crate) stream: u32,
    /// Where the part begins in the stream, in bytes.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) data: &'a [u8],
}

/// A decoded payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Payload<'a> {
    /// The acknowledgement.
    pub(crate) ack: Option<Ack>,
    /// The stream part.
    pub(crate) stream: Option<StreamPart<'a>>,
    /// The stream ends behind the part. A payload can say so without a part; the reference then closes stream 0 at
    /// offset 0, which no sender of sound mind means.
    pub(crate) close: bool,
}

impl<'a> Payload<'a> {
    /// Reads a payload, as tolerantly as the reference does.
    ///
    /// # Errors
    /// [`PayloadError`].
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Self, PayloadError> {
        if payload.len() < MIN_PAYLOAD {
            return Err(PayloadError::TooShort);
        }
        let mut reader = Reader::new(payload);
        let first = reader.u8()?;
        if first & VERSION_BITS != VERSION {
            return Err(PayloadError::Version);
        }
        let kind = Kind::from_first_byte(first);
        let long = first & LONG_OFFSETS != 0;
        let ack = if kind.has_ack() { Some(ack(&mut reader, long)?) } else { None };
        let stream = if ack.is_some() && payload.len() < MIN_ACK_AND_STREAM {
            None
        } else {
            let stream = u32::from_le_bytes(reader.array()?);
            Some(StreamPart { stream, offset: offset(&mut reader, long)?, data: reader.take_rest() })
        };
        Ok(Self { ack, stream, close: kind.closes() })
    }
}

/// Bits 5 and 6 of the first byte.
#[derive(Clone, Copy)]
enum Kind {
    Ack,
    Stream,
    AckClose,
    Close,
}

impl Kind {
    const fn new(ack: bool, close: bool) -> Self {
        match (ack, close) {
            (true, false) => Self::Ack,
            (false, false) => Self::Stream,
            (true, true) => Self::AckClose,
            (false, true) => Self::Close,
        }
    }

    const fn from_first_byte(first: u8) -> Self {
        match first >> KIND_SHIFT & 3 {
            0 => Self::Ack,
            1 => Self::Stream,
            2 => Self::AckClose,
            _ => Self::Close,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Ack => 0,
            Self::Stream => 1,
            Self::AckClose => 2,
            Self::Close => 3,
        }
    }

    const fn has_ack(self) -> bool {
        matches!(self, Self::Ack | Self::AckClose)
    }

    const fn closes(self) -> bool {
        matches!(self, Self::AckClose | Self::Close)
    }
}

fn ack(reader: &mut Reader<'_>, long: bool) -> Result<Ack, Truncated> {
    Ok(Ack {
        stream: u32::from_le_bytes(reader.array()?),
        offset: offset(reader, long)?,
        len: u16::from_le_bytes(reader.array()?),
        window: window::decode(reader.u8()?),
    })
}

fn offset(reader: &mut Reader<'_>, long: bool) -> Result<u64, Truncated> {
    let [a, b, c] = reader.array()?;
    let [d, e, f] = if long { reader.array()? } else { [0; 3] };
    Ok(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
}

/// Whether these offsets need 6 bytes each.
fn needs_long(ack: Option<&Ack>, stream_offset: Option<u64>) -> bool {
    ack.map(|ack| ack.offset).max(stream_offset).is_some_and(|offset| offset > MAX_SHORT_OFFSET)
}

/// Bytes of a payload besides the stream's data, with this acknowledgement and a stream part at this offset. Without
/// either it is a PING.
pub(crate) fn header_len(ack: Option<&Ack>, stream_offset: Option<u64>) -> usize {
    let offset: usize = if needs_long(ack, stream_offset) { 6 } else { 3 };
    let ack_len = if ack.is_some() { offset.saturating_add(4 + 2 + 1) } else { 0 };
    let stream_len = if stream_offset.is_some() || ack.is_none() { offset.saturating_add(4) } else { 0 };
    ack_len.saturating_add(stream_len).saturating_add(1)
}

/// Appends a payload up to the stream's data, which follows it: [`header_len`] bytes. `stream` is the part's stream and
/// offset; `close` says that the stream ends behind the data and means nothing without a part. Without an
/// acknowledgement and a part it is a PING on stream 0. Offsets beyond [`MAX_OFFSET`] are written as that.
pub(crate) fn put_header(out: &mut Vec<u8>, ack: Option<&Ack>, stream: Option<(u32, u64)>, close: bool) {
    let long = needs_long(ack, stream.map(|(_, offset)| offset));
    let kind = Kind::new(ack.is_some(), close && stream.is_some());
    out.push(kind.code() << KIND_SHIFT | VERSION | if long { LONG_OFFSETS } else { 0 });
    if let Some(ack) = ack {
        out.extend_from_slice(&ack.stream.to_le_bytes());
        put_offset(out, ack.offset, long);
        out.extend_from_slice(&ack.len.to_le_bytes());
        out.push(window::encode(ack.window));
    }
    let ping = if ack.is_none() { Some((0, 0)) } else { None };
    if let Some((stream, offset)) = stream.or(ping) {
        out.extend_from_slice(&stream.to_le_bytes());
        put_offset(out, offset, long);
    }
}

fn put_offset(out: &mut Vec<u8>, offset: u64, long: bool) {
    let [a, b, c, d, e, f, ..] = offset.min(MAX_OFFSET).to_le_bytes();
    out.extend_from_slice(&[a, b, c]);
    if long {
        out.extend_from_slice(&[d, e, f]);
    }
}

/// The filler, in bytes, that makes an InitCryptoSnd with a payload of `payload` bytes exactly `mtu` bytes long. `None`
/// if the payload is too long for that, or the filler for its 2-byte length.
pub(crate) fn filler_len(mtu: usize, payload: usize) -> Option<u16> {
    let filler = PacketType::InitCryptoSnd.max_payload(mtu).checked_sub(payload)?;
    u16::try_from(filler).ok()
}

/// Appends a filler of `len` zeros and its length before them. The payload follows.
pub(crate) fn put_filler(out: &mut Vec<u8>, len: u16) {
    out.extend_from_slice(&len.to_le_bytes());
    out.resize(out.len().saturating_add(usize::from(len)), 0);
}

/// The payload behind the filler of an InitCryptoSnd. What the filler holds does not matter.
///
/// # Errors
/// [`PayloadError::TooShort`]: the filler leaves less than the shortest payload.
pub(crate) fn strip_filler(sealed: &[u8]) -> Result<&[u8], PayloadError> {
    let mut reader = Reader::new(sealed);
    let len = u16::from_le_bytes(reader.array()?);
    reader.bytes(usize::from(len))?;
    let payload = reader.take_rest();
    if payload.len() < MIN_PAYLOAD { Err(PayloadError::TooShort) } else { Ok(payload) }
}

//! Frames: what a payload is made of (docs/PROTOCOL.md, "Frames"). Numbers and field orders are QUIC's where the frame
//! is the same (RFC 9000 section 19, RFC 9221 section 4).

mod ack;
mod path;

use alloc::vec::Vec;

use crate::cids::reset::ResetToken;
use crate::id::{ConnectionId, Direction, ErrorCode, StreamId};

pub use ack::EcnCounts;
pub(crate) use ack::{Ack, put_ack};
pub use path::PathStatus;
pub(crate) use path::{Abandon, StatusChange};

use super::codec::{Reader, Truncated, cut, is_reserved, put_prefixed, put_varint, reserved_id, varint_len};

/// Frame type numbers.
pub(crate) mod ty {
    pub(crate) const PADDING: u64 = 0x00;
    pub(crate) const PING: u64 = 0x01;
    pub(crate) const RESET_STREAM: u64 = 0x04;
    pub(crate) const STOP_SENDING: u64 = 0x05;
    pub(crate) const NEW_TOKEN: u64 = 0x07;
    /// STREAM is 0x08 to 0x0f: the low bits say FIN, LEN, OFF.
    pub(crate) const STREAM: u64 = 0x08;
    pub(crate) const STREAM_FIN: u64 = 0x01;
    pub(crate) const STREAM_LEN: u64 = 0x02;
    pub(crate) const STREAM_OFF: u64 = 0x04;
    pub(crate) const MAX_DATA: u64 = 0x10;
    pub(crate) const MAX_STREAM_DATA: u64 = 0x11;
    pub(crate) const MAX_STREAMS_BIDI: u64 = 0x12;
    pub(crate) const MAX_STREAMS_UNI: u64 = 0x13;
    pub(crate) const NEW_CONNECTION_ID: u64 = 0x18;
    pub(crate) const RETIRE_CONNECTION_ID: u64 = 0x19;
    pub(crate) const PATH_CHALLENGE: u64 = 0x1a;
    pub(crate) const PATH_RESPONSE: u64 = 0x1b;
    pub(crate) const CLOSE_TRANSPORT: u64 = 0x1c;
    pub(crate) const CLOSE_APPLICATION: u64 = 0x1d;
    pub(crate) const HELLO: u64 = 0x20;
    pub(crate) const PATH_STATUS_AVAILABLE: u64 = 0x21;
    pub(crate) const PATH_STATUS_BACKUP: u64 = 0x22;
    pub(crate) const PATH_ABANDON: u64 = 0x23;
    pub(crate) const DATAGRAM: u64 = 0x30;
    pub(crate) const DATAGRAM_LEN: u64 = 0x31;
    /// draft-ietf-quic-multipath's PATH_ACK is our only ACK.
    pub(crate) const ACK: u64 = 0x3e;
    pub(crate) const ACK_ECN: u64 = 0x3f;
}

/// One frame of a received payload; bytes are borrowed from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Frame<'a> {
    /// A run of padding bytes.
    Padding,
    Ping,
    Ack(Ack<'a>),
    ResetStream {
        id: StreamId,
        code: ErrorCode,
        final_size: u64,
    },
    StopSending {
        id: StreamId,
        code: ErrorCode,
    },
    Stream {
        id: StreamId,
        offset: u64,
        data: &'a [u8],
        fin: bool,
    },
    MaxData(u64),
    MaxStreamData {
        id: StreamId,
        max: u64,
    },
    MaxStreams {
        direction: Direction,
        max: u64,
    },
    NewConnectionId(NewConnectionId),
    /// The peer does not use the id with this sequence number any more.
    RetireConnectionId(u32),
    PathChallenge([u8; 8]),
    PathResponse([u8; 8]),
    PathStatus(StatusChange),
    PathAbandon(Abandon),
    Close(Close<'a>),
    Hello(&'a [u8]),
    Datagram(&'a [u8]),
    /// What the initiator may show in the first packet of a later dial.
    NewToken(&'a [u8]),
    /// A frame of a reserved type, to be ignored.
    Reserved,
}

impl Frame<'_> {
    /// Whether a packet with this frame wants an acknowledgement (RFC 9002 section 2).
    pub(crate) const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Padding | Self::Ack(_) | Self::Close(_))
    }

    /// Whether it is only about paths: a packet of such frames alone does not say that the peer has moved (RFC 9000
    /// section 9.1).
    pub(crate) const fn is_probing(&self) -> bool {
        matches!(
            self,
            Self::Padding | Self::PathChallenge(_) | Self::PathResponse(_) | Self::NewConnectionId(_)
        )
    }
}

/// A NEW_CONNECTION_ID frame: one more id under which its sender can be reached. Sequence numbers have 32 bits: no
/// connection lives to need more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NewConnectionId {
    pub(crate) sequence: u32,
    pub(crate) id: ConnectionId,
    /// What a stateless reset of this id would end with.
    pub(crate) reset_token: ResetToken,
}

/// A CLOSE frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Close<'a> {
    pub(crate) by: CloseKind,
    pub(crate) code: ErrorCode,
    /// At most [`MAX_REASON`] bytes are written or kept.
    pub(crate) reason: &'a [u8],
}

/// Which layer closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CloseKind {
    Transport,
    Application,
}

/// The longest reason that a CLOSE carries, in bytes; it always fits into a packet beside an ACK.
pub(crate) const MAX_REASON: usize = 512;

/// The longest token that a NEW_TOKEN carries, in bytes (docs/PROTOCOL.md, "Frames"): two of them have room in an Init's field.
const MAX_NEW_TOKEN: usize = 64;

/// Why a payload is not a list of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FrameError {
    /// A frame ends past the payload, or a field is outside its range.
    Malformed,
    /// A type that this version does not know.
    Unknown,
}

impl From<Truncated> for FrameError {
    fn from(Truncated: Truncated) -> Self {
        Self::Malformed
    }
}

/// Iterator over the frames of a payload. After an error it ends.
pub(crate) struct Frames<'a> {
    reader: Reader<'a>,
}

impl<'a> Frames<'a> {
    pub(crate) const fn new(payload: &'a [u8]) -> Self {
        Self { reader: Reader::new(payload) }
    }

    /// What was not decoded yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        let mut reader = self.reader;
        reader.take_rest()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let frame = decode(&mut self.reader);
        if frame.is_err() {
            self.reader.take_rest();
        }
        Some(frame)
    }
}

fn decode<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, FrameError> {
    let before = reader.remaining();
    let ty = reader.varint()?;
    if before.checked_sub(reader.remaining()) != Some(varint_len(ty)) {
        // RFC 9000 section 12.4: a frame type takes the shortest encoding, so that types compare as bytes.
        return Err(FrameError::Malformed);
    }
    Ok(match ty {
        ty::PADDING => {
            reader.skip_zeros();
            Frame::Padding
        }
        ty::PING => Frame::Ping,
        ty::RESET_STREAM => {
            Frame::ResetStream { id: stream_id(reader)?, code: code(reader)?, final_size: reader.varint()? }
        }
        ty::STOP_SENDING => Frame::StopSending { id: stream_id(reader)?, code: code(reader)? },
        ty::NEW_TOKEN => new_token(reader)?,
        0x08..=0x0f => stream(reader, ty)?,
        ty::MAX_DATA => Frame::MaxData(reader.varint()?),
        ty::MAX_STREAM_DATA => Frame::MaxStreamData { id: stream_id(reader)?, max: reader.varint()? },
        ty::MAX_STREAMS_BIDI => {
            Frame::MaxStreams { direction: Direction::Bidirectional, max: stream_count(reader)? }
        }
        ty::MAX_STREAMS_UNI => {
            Frame::MaxStreams { direction: Direction::Unidirectional, max: stream_count(reader)? }
        }
        ty::NEW_CONNECTION_ID => Frame::NewConnectionId(NewConnectionId {
            sequence: sequence(reader)?,
            id: ConnectionId::from_bytes(reader.array()?),
            reset_token: ResetToken::new(reader.array()?),
        }),
        ty::RETIRE_CONNECTION_ID => Frame::RetireConnectionId(sequence(reader)?),
        ty::PATH_CHALLENGE => Frame::PathChallenge(reader.array()?),
        ty::PATH_RESPONSE => Frame::PathResponse(reader.array()?),
        ty::PATH_STATUS_AVAILABLE => Frame::PathStatus(StatusChange::decode(reader, PathStatus::Available)?),
        ty::PATH_STATUS_BACKUP => Frame::PathStatus(StatusChange::decode(reader, PathStatus::Backup)?),
        ty::PATH_ABANDON => Frame::PathAbandon(Abandon::decode(reader)?),
        ty::CLOSE_TRANSPORT => {
            let code = code(reader)?;
            reader.varint()?;
            Frame::Close(Close { by: CloseKind::Transport, code, reason: reader.prefixed()? })
        }
        ty::CLOSE_APPLICATION => Frame::Close(Close {
            by: CloseKind::Application,
            code: code(reader)?,
            reason: reader.prefixed()?,
        }),
        ty::HELLO => Frame::Hello(reader.prefixed()?),
        ty::DATAGRAM => Frame::Datagram(reader.take_rest()),
        ty::DATAGRAM_LEN => Frame::Datagram(reader.prefixed()?),
        ty::ACK | ty::ACK_ECN => Frame::Ack(Ack::decode(reader, ty == ty::ACK_ECN)?),
        _ if is_reserved(ty) => {
            reader.prefixed()?;
            Frame::Reserved
        }
        _ => return Err(FrameError::Unknown),
    })
}

fn new_token<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, FrameError> {
    let token = reader.prefixed()?;
    if (1..=MAX_NEW_TOKEN).contains(&token.len()) {
        Ok(Frame::NewToken(token))
    } else {
        Err(FrameError::Malformed)
    }
}

fn stream<'a>(reader: &mut Reader<'a>, ty: u64) -> Result<Frame<'a>, FrameError> {
    let id = stream_id(reader)?;
    let offset = if ty & ty::STREAM_OFF != 0 { reader.varint()? } else { 0 };
    let data = if ty & ty::STREAM_LEN != 0 { reader.prefixed()? } else { reader.take_rest() };
    if offset.saturating_add(data.len() as u64) >= 1 << 62 {
        return Err(FrameError::Malformed);
    }
    Ok(Frame::Stream { id, offset, data, fin: ty & ty::STREAM_FIN != 0 })
}

fn stream_id(reader: &mut Reader<'_>) -> Result<StreamId, FrameError> {
    Ok(StreamId(reader.varint()?))
}

fn code(reader: &mut Reader<'_>) -> Result<ErrorCode, FrameError> {
    Ok(ErrorCode(reader.varint()?))
}

fn sequence(reader: &mut Reader<'_>) -> Result<u32, FrameError> {
    u32::try_from(reader.varint()?).map_err(|_| FrameError::Malformed)
}

fn stream_count(reader: &mut Reader<'_>) -> Result<u64, FrameError> {
    let count = reader.varint()?;
    if count > super::params::MAX_STREAMS { Err(FrameError::Malformed) } else { Ok(count) }
}

/// The header of a STREAM frame without LEN: type, id and offset.
pub(crate) const fn stream_header_len(id: StreamId, offset: u64) -> usize {
    let offset = if offset == 0 { 0 } else { varint_len(offset) };
    varint_len(id.get()).saturating_add(offset).saturating_add(1)
}

/// Whether a frame states its length or reaches to the end of the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    Explicit(u16),
    ToTheEnd,
}

/// Appends the header of a STREAM frame; the data follows it.
pub(crate) fn put_stream_header(out: &mut Vec<u8>, id: StreamId, offset: u64, length: Length, fin: bool) {
    let mut ty = ty::STREAM;
    if offset != 0 {
        ty |= ty::STREAM_OFF;
    }
    if length != Length::ToTheEnd {
        ty |= ty::STREAM_LEN;
    }
    if fin {
        ty |= ty::STREAM_FIN;
    }
    put_varint(out, ty);
    put_varint(out, id.get());
    if offset != 0 {
        put_varint(out, offset);
    }
    if let Length::Explicit(len) = length {
        put_varint(out, u64::from(len));
    }
}

/// Appends a DATAGRAM frame with its length.
pub(crate) fn put_datagram_header(out: &mut Vec<u8>, len: usize) {
    put_varint(out, ty::DATAGRAM_LEN);
    put_varint(out, len as u64);
}

/// Bytes of a DATAGRAM frame besides its data.
pub(crate) const fn datagram_header_len(len: usize) -> usize {
    varint_len(len as u64).saturating_add(1)
}

/// The largest encoding of any of the frames that [`put_control`] writes.
pub(crate) const MAX_CONTROL: usize = 1 + 8 + 8 + 16;

/// The small frames of fixed shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    Ping,
    ResetStream { id: StreamId, code: ErrorCode, final_size: u64 },
    StopSending { id: StreamId, code: ErrorCode },
    MaxData(u64),
    MaxStreamData { id: StreamId, max: u64 },
    MaxStreams { direction: Direction, max: u64 },
    NewConnectionId(NewConnectionId),
    RetireConnectionId(u32),
    PathChallenge([u8; 8]),
    PathResponse([u8; 8]),
    PathStatus(StatusChange),
    PathAbandon(Abandon),
}

/// Appends a control frame, at most [`MAX_CONTROL`] bytes.
pub(crate) fn put_control(out: &mut Vec<u8>, control: &Control) {
    let mut put = |ty: u64, fields: &[u64]| {
        put_varint(out, ty);
        for field in fields {
            put_varint(out, *field);
        }
    };
    match *control {
        Control::Ping => put(ty::PING, &[]),
        Control::ResetStream { id, code, final_size } => {
            put(ty::RESET_STREAM, &[id.get(), code.get(), final_size])
        }
        Control::StopSending { id, code } => put(ty::STOP_SENDING, &[id.get(), code.get()]),
        Control::MaxData(max) => put(ty::MAX_DATA, &[max]),
        Control::MaxStreamData { id, max } => put(ty::MAX_STREAM_DATA, &[id.get(), max]),
        Control::MaxStreams { direction: Direction::Bidirectional, max } => put(ty::MAX_STREAMS_BIDI, &[max]),
        Control::MaxStreams { direction: Direction::Unidirectional, max } => put(ty::MAX_STREAMS_UNI, &[max]),
        Control::NewConnectionId(NewConnectionId { sequence, id, reset_token }) => {
            put(ty::NEW_CONNECTION_ID, &[u64::from(sequence)]);
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(reset_token.as_bytes());
        }
        Control::RetireConnectionId(sequence) => put(ty::RETIRE_CONNECTION_ID, &[u64::from(sequence)]),
        Control::PathChallenge(data) => {
            put(ty::PATH_CHALLENGE, &[]);
            out.extend_from_slice(&data);
        }
        Control::PathResponse(data) => {
            put(ty::PATH_RESPONSE, &[]);
            out.extend_from_slice(&data);
        }
        Control::PathStatus(change) => change.put(out),
        Control::PathAbandon(abandon) => abandon.put(out),
    }
}

/// Appends a CLOSE frame; the reason is cut to [`MAX_REASON`] bytes and to `room`.
pub(crate) fn put_close(out: &mut Vec<u8>, close: &Close<'_>, room: usize) {
    let room = room.saturating_sub(1 + 8 + 1 + 2).min(MAX_REASON);
    match close.by {
        CloseKind::Transport => {
            put_varint(out, ty::CLOSE_TRANSPORT);
            put_varint(out, close.code.get());
            // The frame type that caused it (RFC 9000 section 19.19) is not told: 0.
            put_varint(out, ty::PADDING);
        }
        CloseKind::Application => {
            put_varint(out, ty::CLOSE_APPLICATION);
            put_varint(out, close.code.get());
        }
    }
    put_prefixed(out, cut(close.reason, room));
}

/// Appends a NEW_TOKEN frame.
pub(crate) fn put_new_token(out: &mut Vec<u8>, token: &[u8]) {
    put_varint(out, ty::NEW_TOKEN);
    put_prefixed(out, token);
}

/// Appends a HELLO frame around an encoded value list.
pub(crate) fn put_hello(out: &mut Vec<u8>, values: &[u8]) {
    put_varint(out, ty::HELLO);
    put_prefixed(out, values);
}

/// Appends a frame of a reserved type, which receivers skip.
pub(crate) fn put_reserved(out: &mut Vec<u8>, random: u64) {
    put_varint(out, reserved_id(random % 64));
    put_prefixed(out, cut(&random.to_be_bytes(), (random % 8) as usize));
}

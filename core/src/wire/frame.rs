//! Frames: what a payload is made of (docs/PROTOCOL.md, "Frames"). Numbers and field orders are QUIC's where the frame
//! is the same (RFC 9000 section 19, RFC 9221 section 4).

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use crate::id::{Direction, ErrorCode, PacketNumber, PathId, StreamId};

use super::codec::{Reader, Truncated, is_reserved, put_prefixed, put_varint, varint_len};

/// Frame type numbers.
pub(crate) mod ty {
    pub(crate) const PADDING: u64 = 0x00;
    pub(crate) const PING: u64 = 0x01;
    pub(crate) const RESET_STREAM: u64 = 0x04;
    pub(crate) const STOP_SENDING: u64 = 0x05;
    /// STREAM is 0x08 to 0x0f: the low bits say FIN, LEN, OFF.
    pub(crate) const STREAM: u64 = 0x08;
    pub(crate) const STREAM_FIN: u64 = 0x01;
    pub(crate) const STREAM_LEN: u64 = 0x02;
    pub(crate) const STREAM_OFF: u64 = 0x04;
    pub(crate) const MAX_DATA: u64 = 0x10;
    pub(crate) const MAX_STREAM_DATA: u64 = 0x11;
    pub(crate) const MAX_STREAMS_BIDI: u64 = 0x12;
    pub(crate) const MAX_STREAMS_UNI: u64 = 0x13;
    pub(crate) const PATH_CHALLENGE: u64 = 0x1a;
    pub(crate) const PATH_RESPONSE: u64 = 0x1b;
    pub(crate) const CLOSE_TRANSPORT: u64 = 0x1c;
    pub(crate) const CLOSE_APPLICATION: u64 = 0x1d;
    pub(crate) const HELLO: u64 = 0x20;
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
    PathChallenge([u8; 8]),
    PathResponse([u8; 8]),
    Close(Close<'a>),
    Hello(&'a [u8]),
    Datagram(&'a [u8]),
    /// A frame of a reserved type, to be ignored.
    Reserved,
}

impl Frame<'_> {
    /// Whether a packet with this frame wants an acknowledgement (RFC 9002 section 2).
    pub(crate) const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Padding | Self::Ack(_) | Self::Close(_))
    }
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

/// Packets of a path that arrived with each ECN codepoint (RFC 9000 section 19.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EcnCounts {
    /// ECT(0): as they were sent.
    pub ect0: u64,
    /// ECT(1), which is never sent.
    pub ect1: u64,
    /// Congestion experienced.
    pub ce: u64,
}

impl EcnCounts {
    /// No packet with any.
    pub(crate) const NONE: Self = Self { ect0: 0, ect1: 0, ce: 0 };

    fn fields(self) -> [u64; 3] {
        [self.ect0, self.ect1, self.ce]
    }
}

/// A received ACK: which packets of a path arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ack<'a> {
    pub(crate) path: PathId,
    pub(crate) largest: PacketNumber,
    /// How long the receiver sat on `largest`.
    pub(crate) delay: Duration,
    /// How they arrived.
    pub(crate) ecn: Option<EcnCounts>,
    /// First range and the (gap, length) pairs, checked when decoded.
    ranges: &'a [u8],
}

impl<'a> Ack<'a> {
    fn decode(reader: &mut Reader<'a>, ecn: bool) -> Result<Self, FrameError> {
        let path = reader.varint()?;
        let path = u8::try_from(path).ok().and_then(PathId::new).ok_or(FrameError::Malformed)?;
        let largest = reader.varint()?;
        let delay = Duration::from_micros(reader.varint()?);
        let count = reader.varint()?;
        let start = *reader;
        let mut low = largest.checked_sub(reader.varint()?).ok_or(FrameError::Malformed)?;
        for _ in 0..count {
            let high = low
                .checked_sub(reader.varint()?)
                .and_then(|n| n.checked_sub(2))
                .ok_or(FrameError::Malformed)?;
            low = high.checked_sub(reader.varint()?).ok_or(FrameError::Malformed)?;
        }
        let mut ranges = start;
        let ranges = ranges.bytes(start.remaining() - reader.remaining())?;
        let ecn = match ecn {
            true => Some(EcnCounts { ect0: reader.varint()?, ect1: reader.varint()?, ce: reader.varint()? }),
            false => None,
        };
        Ok(Self { path, largest: PacketNumber(largest), delay, ecn, ranges })
    }

    /// The acknowledged ranges, highest first.
    pub(crate) fn ranges(&self) -> AckRanges<'a> {
        AckRanges { high: Some(self.largest.0), rest: Reader::new(self.ranges) }
    }
}

/// Iterator over the ranges of an [`Ack`], highest first.
pub(crate) struct AckRanges<'a> {
    high: Option<u64>,
    rest: Reader<'a>,
}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        let high = self.high?;
        let low = high.checked_sub(self.rest.varint().ok()?)?;
        self.high = self.rest.varint().ok().and_then(|gap| low.checked_sub(gap)?.checked_sub(2));
        Some(low..=high)
    }
}

/// Appends an ACK for `ranges` (highest first, inclusive, disjoint and not adjacent), as many as fit into `room` bytes
/// and at least the first, with the `counts` if there are any and they fit. Writes nothing if there is no range.
pub(crate) fn put_ack(
    out: &mut Vec<u8>,
    path: PathId,
    delay: Duration,
    ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone,
    counts: Option<EcnCounts>,
    room: usize,
) {
    let mut all = ranges.clone();
    let Some(first) = all.next() else { return };
    let micros = u64::try_from(delay.as_micros()).unwrap_or(0);
    let mut size =
        ACK_FIXED + varint_len(*first.end()) + varint_len(micros) + varint_len(*first.end() - *first.start());
    let counts = counts.map(EcnCounts::fields).filter(|counts| {
        let with_counts = size + counts.iter().map(|count| varint_len(*count)).sum::<usize>();
        let fits = with_counts <= room;
        if fits {
            size = with_counts;
        }
        fits
    });
    let mut count = 0u64;
    let mut low = *first.start();
    for range in all {
        size += varint_len(low - *range.end() - 2) + varint_len(*range.end() - *range.start());
        if size > room {
            break;
        }
        low = *range.start();
        count += 1;
    }
    put_varint(out, if counts.is_some() { ty::ACK_ECN } else { ty::ACK });
    put_varint(out, u64::from(path.get()));
    put_varint(out, *first.end());
    put_varint(out, micros);
    put_varint(out, count);
    put_varint(out, *first.end() - *first.start());
    let mut low = *first.start();
    for range in ranges.skip(1).take(count as usize) {
        put_varint(out, low - *range.end() - 2);
        put_varint(out, *range.end() - *range.start());
        low = *range.start();
    }
    for count in counts.into_iter().flatten() {
        put_varint(out, count);
    }
}

/// Type, path and range count of an ACK: never more than this.
const ACK_FIXED: usize = 1 + 1 + 2;

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
    if before - reader.remaining() != varint_len(ty) {
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
        0x08..=0x0f => stream(reader, ty)?,
        ty::MAX_DATA => Frame::MaxData(reader.varint()?),
        ty::MAX_STREAM_DATA => Frame::MaxStreamData { id: stream_id(reader)?, max: reader.varint()? },
        ty::MAX_STREAMS_BIDI => {
            Frame::MaxStreams { direction: Direction::Bidirectional, max: stream_count(reader)? }
        }
        ty::MAX_STREAMS_UNI => {
            Frame::MaxStreams { direction: Direction::Unidirectional, max: stream_count(reader)? }
        }
        ty::PATH_CHALLENGE => Frame::PathChallenge(reader.array()?),
        ty::PATH_RESPONSE => Frame::PathResponse(reader.array()?),
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

fn stream<'a>(reader: &mut Reader<'a>, ty: u64) -> Result<Frame<'a>, FrameError> {
    let id = stream_id(reader)?;
    let offset = if ty & ty::STREAM_OFF != 0 { reader.varint()? } else { 0 };
    let data = if ty & ty::STREAM_LEN != 0 { reader.prefixed()? } else { reader.take_rest() };
    if offset + data.len() as u64 >= 1 << 62 {
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

fn stream_count(reader: &mut Reader<'_>) -> Result<u64, FrameError> {
    let count = reader.varint()?;
    if count > super::params::MAX_STREAMS { Err(FrameError::Malformed) } else { Ok(count) }
}

/// The header of a STREAM frame without LEN: type, id and offset.
pub(crate) const fn stream_header_len(id: StreamId, offset: u64) -> usize {
    1 + varint_len(id.get()) + if offset == 0 { 0 } else { varint_len(offset) }
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
    1 + varint_len(len as u64)
}

/// The largest encoding of any of the frames that [`put_control`] writes.
pub(crate) const MAX_CONTROL: usize = 1 + 8 + 8 + 8;

/// The small frames of fixed shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    Ping,
    ResetStream { id: StreamId, code: ErrorCode, final_size: u64 },
    StopSending { id: StreamId, code: ErrorCode },
    MaxData(u64),
    MaxStreamData { id: StreamId, max: u64 },
    MaxStreams { direction: Direction, max: u64 },
    PathChallenge([u8; 8]),
    PathResponse([u8; 8]),
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
        Control::PathChallenge(data) => {
            put(ty::PATH_CHALLENGE, &[]);
            out.extend_from_slice(&data);
        }
        Control::PathResponse(data) => {
            put(ty::PATH_RESPONSE, &[]);
            out.extend_from_slice(&data);
        }
    }
}

/// Appends a CLOSE frame; the reason is cut to [`MAX_REASON`] bytes and to `room`.
pub(crate) fn put_close(out: &mut Vec<u8>, close: &Close<'_>, room: usize) {
    let room = room.saturating_sub(1 + 8 + 1 + 2).min(MAX_REASON);
    let reason = &close.reason[..close.reason.len().min(room)];
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
    put_prefixed(out, reason);
}

/// Appends a HELLO frame around an encoded value list.
pub(crate) fn put_hello(out: &mut Vec<u8>, values: &[u8]) {
    put_varint(out, ty::HELLO);
    put_prefixed(out, values);
}

/// Appends a frame of a reserved type, which receivers skip.
pub(crate) fn put_reserved(out: &mut Vec<u8>, random: u64) {
    put_varint(out, 27 + 31 * (1 + random % 64));
    put_prefixed(out, &random.to_be_bytes()[..(random % 8) as usize]);
}

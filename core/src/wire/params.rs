//! HELLO: what each side tells the other once, inside the handshake (docs/PROTOCOL.md, "HELLO").

use alloc::vec::Vec;
use core::time::Duration;

use smallvec::SmallVec;

use crate::cids::reset::ResetToken;
use crate::id::ConnectionId;

use super::codec::{Reader, Truncated, VARINT_MAX, cut, put_prefixed, put_varint, reserved_id, varint_len};
use super::header::VERSION;

/// The largest HELLO in message 1, in bytes of value list.
pub(crate) const MAX_HELLO: usize = 512;
/// The longest application protocol name (RFC 7301 section 3.1).
pub(crate) const MAX_ALPN: usize = 255;
/// The largest number of application protocols in one offer.
pub(crate) const MAX_ALPNS: usize = 16;
/// The largest number of paths at once (docs/PROTOCOL.md, "HELLO").
const MAX_PATHS: u64 = 64;
/// The largest number of streams of one kind (RFC 9000 section 4.6).
pub(crate) const MAX_STREAMS: u64 = 1 << 60;
/// The smallest value of `max_udp_payload_size` (RFC 9000 section 18.2).
const MIN_UDP_PAYLOAD: u64 = 1200;
/// The largest acknowledged delay that a peer may announce (RFC 9000 section 18.2: below 2^14 ms).
const MAX_ACK_DELAY_MS: u64 = 1 << 14;

/// Value ids. Where QUIC has the same value, its id is QUIC's (RFC 9000 section 18.2, RFC 9221 section 3).
mod id {
    pub(super) const MAX_IDLE_TIMEOUT: u64 = 0x01;
    pub(super) const RESET_TOKEN: u64 = 0x02;
    pub(super) const MAX_UDP_PAYLOAD_SIZE: u64 = 0x03;
    pub(super) const INITIAL_MAX_DATA: u64 = 0x04;
    pub(super) const INITIAL_MAX_STREAM_DATA_BIDI_LOCAL: u64 = 0x05;
    pub(super) const INITIAL_MAX_STREAM_DATA_BIDI_REMOTE: u64 = 0x06;
    pub(super) const INITIAL_MAX_STREAM_DATA_UNI: u64 = 0x07;
    pub(super) const INITIAL_MAX_STREAMS_BIDI: u64 = 0x08;
    pub(super) const INITIAL_MAX_STREAMS_UNI: u64 = 0x09;
    pub(super) const MAX_ACK_DELAY: u64 = 0x0b;
    pub(super) const CONNECTION_ID: u64 = 0x0f;
    pub(super) const MAX_DATAGRAM_FRAME_SIZE: u64 = 0x20;
    pub(super) const VERSIONS: u64 = 0x30;
    pub(super) const SUITES: u64 = 0x31;
    pub(super) const ALPN: u64 = 0x32;
    pub(super) const EARLY_DATA: u64 = 0x33;
    pub(super) const MAX_PATHS: u64 = 0x34;
    /// Ids below this are checked for repetition with one bit each.
    pub(super) const TRACKED: u64 = 128;
}

/// What became of the data in the initiator's first packet (docs/PROTOCOL.md, "Packet 0 and early data").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum EarlyOutcome {
    /// There was none.
    #[default]
    None,
    /// Kept until the initiator has proved its key.
    Held,
    /// Thrown away: send it again.
    Refused,
    /// Acted on at once, on the strength of a token.
    Applied,
}

/// Limits and timing that a side announces. The defaults are what an absent value means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TransportParams {
    /// Zero: this side has no idle timeout of its own.
    pub(crate) max_idle_timeout: Duration,
    pub(crate) max_udp_payload: u16,
    pub(crate) max_data: u64,
    pub(crate) max_stream_data_bidi_local: u64,
    pub(crate) max_stream_data_bidi_remote: u64,
    pub(crate) max_stream_data_uni: u64,
    pub(crate) max_streams_bidi: u64,
    pub(crate) max_streams_uni: u64,
    pub(crate) max_ack_delay: Duration,
    /// Zero: datagrams are not accepted.
    pub(crate) max_datagram: u16,
    /// Path ids that may be open at once. Zero: one, and no further connection ids either.
    pub(crate) max_paths: u8,
}

impl TransportParams {
    /// What an initiator may assume of a responder it has not heard from, and what absent values mean: room for the
    /// early data of one datagram, on at most four streams of each kind.
    pub(crate) const DEFAULT: Self = Self {
        max_idle_timeout: Duration::ZERO,
        max_udp_payload: MIN_UDP_PAYLOAD as u16,
        max_data: 1 << 16,
        max_stream_data_bidi_local: 1 << 16,
        max_stream_data_bidi_remote: 1 << 16,
        max_stream_data_uni: 1 << 16,
        max_streams_bidi: 4,
        max_streams_uni: 4,
        max_ack_delay: Duration::from_millis(25),
        max_datagram: 0,
        max_paths: 0,
    };
}

/// The decoded HELLO.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hello {
    pub(crate) params: TransportParams,
    /// The responder's connection id: in its HELLO only.
    pub(crate) connection_id: Option<ConnectionId>,
    /// What a stateless reset of that id ends with. Of an initiator it means nothing: all may read its HELLO.
    pub(crate) reset_token: Option<ResetToken>,
    /// Native versions spoken.
    pub(crate) versions: SmallVec<[u8; 2]>,
    /// Data AEADs, by wire code: the initiator's offer, the responder's one choice.
    pub(crate) suites: SmallVec<[u8; 2]>,
    /// Application protocols: the initiator's offer, the responder's one choice.
    pub(crate) alpns: SmallVec<[Vec<u8>; 1]>,
    pub(crate) early: EarlyOutcome,
}

/// Why a HELLO was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HelloError {
    /// The list ends inside a value.
    Truncated,
    /// An id stands twice.
    Repeated,
    /// A value is outside its range.
    Range,
    /// Longer than message 1 may carry, or more names than allowed.
    TooLong,
}

impl From<Truncated> for HelloError {
    fn from(Truncated: Truncated) -> Self {
        Self::Truncated
    }
}

impl Hello {
    /// Reads a list of (id, length, value).
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        if bytes.len() > MAX_HELLO {
            return Err(HelloError::TooLong);
        }
        let mut hello = Self {
            params: TransportParams::DEFAULT,
            connection_id: None,
            reset_token: None,
            versions: SmallVec::new(),
            suites: SmallVec::new(),
            alpns: SmallVec::new(),
            early: EarlyOutcome::None,
        };
        let mut seen = 0u128;
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let id = reader.varint()?;
            let value = reader.prefixed()?;
            if id < id::TRACKED {
                let bit = 1u128 << id;
                if seen & bit != 0 {
                    return Err(HelloError::Repeated);
                }
                seen |= bit;
            }
            hello.set(id, value)?;
        }
        Ok(hello)
    }

    fn set(&mut self, id: u64, value: &[u8]) -> Result<(), HelloError> {
        let params = &mut self.params;
        match id {
            id::MAX_IDLE_TIMEOUT => {
                params.max_idle_timeout = Duration::from_millis(integer(value, 0..=VARINT_MAX)?)
            }
            id::MAX_UDP_PAYLOAD_SIZE => {
                let size = integer(value, MIN_UDP_PAYLOAD..=VARINT_MAX)?;
                params.max_udp_payload = u16::try_from(size).unwrap_or(u16::MAX);
            }
            id::INITIAL_MAX_DATA => params.max_data = integer(value, 0..=VARINT_MAX)?,
            id::INITIAL_MAX_STREAM_DATA_BIDI_LOCAL => {
                params.max_stream_data_bidi_local = integer(value, 0..=VARINT_MAX)?;
            }
            id::INITIAL_MAX_STREAM_DATA_BIDI_REMOTE => {
                params.max_stream_data_bidi_remote = integer(value, 0..=VARINT_MAX)?;
            }
            id::INITIAL_MAX_STREAM_DATA_UNI => params.max_stream_data_uni = integer(value, 0..=VARINT_MAX)?,
            id::INITIAL_MAX_STREAMS_BIDI => params.max_streams_bidi = integer(value, 0..=MAX_STREAMS)?,
            id::INITIAL_MAX_STREAMS_UNI => params.max_streams_uni = integer(value, 0..=MAX_STREAMS)?,
            id::MAX_ACK_DELAY => {
                params.max_ack_delay = Duration::from_millis(integer(value, 0..=MAX_ACK_DELAY_MS - 1)?);
            }
            id::CONNECTION_ID => {
                let bytes = value.try_into().map_err(|_| HelloError::Range)?;
                self.connection_id = Some(ConnectionId::from_bytes(bytes));
            }
            id::RESET_TOKEN => {
                let bytes = value.try_into().map_err(|_| HelloError::Range)?;
                self.reset_token = Some(ResetToken::new(bytes));
            }
            id::MAX_DATAGRAM_FRAME_SIZE => {
                params.max_datagram = u16::try_from(integer(value, 0..=VARINT_MAX)?).unwrap_or(u16::MAX);
            }
            id::MAX_PATHS => {
                params.max_paths = u8::try_from(integer(value, 1..=MAX_PATHS)?).unwrap_or(u8::MAX);
            }
            id::VERSIONS => self.versions = SmallVec::from_slice(value),
            id::SUITES => self.suites = SmallVec::from_slice(value),
            id::ALPN => self.alpns = alpns(value)?,
            id::EARLY_DATA => {
                self.early = match integer(value, 0..=3)? {
                    0 => EarlyOutcome::None,
                    1 => EarlyOutcome::Held,
                    2 => EarlyOutcome::Refused,
                    _ => EarlyOutcome::Applied,
                };
            }
            _ => {}
        }
        Ok(())
    }

    /// Appends the value list; `reserved` picks the reserved id that keeps peers tolerant.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, reserved: u64) {
        let params = &self.params;
        for (id, value) in [
            (id::MAX_IDLE_TIMEOUT, millis(params.max_idle_timeout)),
            (id::MAX_UDP_PAYLOAD_SIZE, u64::from(params.max_udp_payload)),
            (id::INITIAL_MAX_DATA, params.max_data),
            (id::INITIAL_MAX_STREAM_DATA_BIDI_LOCAL, params.max_stream_data_bidi_local),
            (id::INITIAL_MAX_STREAM_DATA_BIDI_REMOTE, params.max_stream_data_bidi_remote),
            (id::INITIAL_MAX_STREAM_DATA_UNI, params.max_stream_data_uni),
            (id::INITIAL_MAX_STREAMS_BIDI, params.max_streams_bidi),
            (id::INITIAL_MAX_STREAMS_UNI, params.max_streams_uni),
            (id::MAX_ACK_DELAY, millis(params.max_ack_delay)),
            (id::MAX_DATAGRAM_FRAME_SIZE, u64::from(params.max_datagram)),
        ] {
            put_varint(out, id);
            put_varint(out, varint_len(value) as u64);
            put_varint(out, value);
        }
        if params.max_paths > 0 {
            put_varint(out, id::MAX_PATHS);
            put_varint(out, varint_len(u64::from(params.max_paths)) as u64);
            put_varint(out, u64::from(params.max_paths));
        }
        if let Some(connection_id) = &self.connection_id {
            put_varint(out, id::CONNECTION_ID);
            put_prefixed(out, connection_id.as_bytes());
        }
        if let Some(token) = &self.reset_token {
            put_varint(out, id::RESET_TOKEN);
            put_prefixed(out, token.as_bytes());
        }
        put_varint(out, id::VERSIONS);
        put_prefixed(out, &self.versions);
        put_varint(out, id::SUITES);
        put_prefixed(out, &self.suites);
        put_varint(out, id::ALPN);
        put_varint(
            out,
            self.alpns
                .iter()
                .fold(0, |sum: u64, name| sum.saturating_add(1).saturating_add(name.len() as u64)),
        );
        for name in &self.alpns {
            out.push(name.len() as u8);
            out.extend_from_slice(name);
        }
        put_varint(out, id::EARLY_DATA);
        out.extend_from_slice(&[
            1,
            match self.early {
                EarlyOutcome::None => 0,
                EarlyOutcome::Held => 1,
                EarlyOutcome::Refused => 2,
                EarlyOutcome::Applied => 3,
            },
        ]);
        put_varint(out, reserved_id(reserved % 1000));
        put_prefixed(out, cut(&reserved.to_be_bytes(), (reserved % 5) as usize));
    }

    /// What stands before the CLOSE of a refusal: nothing was agreed on.
    pub(crate) fn refusal() -> Self {
        Self {
            params: TransportParams::DEFAULT,
            connection_id: None,
            reset_token: None,
            versions: SmallVec::from_slice(&[VERSION]),
            suites: SmallVec::new(),
            alpns: SmallVec::new(),
            early: EarlyOutcome::None,
        }
    }

    /// Whether the list names the version of this wire.
    pub(crate) fn speaks_this_version(&self) -> bool {
        self.versions.contains(&VERSION)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(VARINT_MAX)
}

fn integer(value: &[u8], range: core::ops::RangeInclusive<u64>) -> Result<u64, HelloError> {
    let mut reader = Reader::new(value);
    let number = reader.varint()?;
    if reader.is_empty() && range.contains(&number) { Ok(number) } else { Err(HelloError::Range) }
}

fn alpns(value: &[u8]) -> Result<SmallVec<[Vec<u8>; 1]>, HelloError> {
    let mut names = SmallVec::new();
    let mut reader = Reader::new(value);
    while !reader.is_empty() {
        let len = reader.u8()?;
        let name = reader.bytes(usize::from(len))?;
        if name.is_empty() {
            return Err(HelloError::Range);
        }
        if names.len() == MAX_ALPNS {
            return Err(HelloError::TooLong);
        }
        names.push(name.to_vec());
    }
    Ok(names)
}

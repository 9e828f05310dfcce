//! The protection of a native Data packet, in place (docs/PROTOCOL.md, "Keys and protection").
//!
//! ```text
//! first byte(1) · connection id(8) · sequence field(5) · payload · tag(16)
//! sequence field: key phase(2 bits) · path id(6 bits) · packet number(32 bits, the low ones, big-endian)
//! ```
//!
//! The payload is sealed first; then the sequence field is masked with the 16 bytes behind it as the sample (RFC 9001
//! section 5.4). Receiving goes the other way round, in two steps, because what lies between them (the path's highest
//! number) belongs to the connection: [`unmask`], [`SequenceField::recover`], [`open`].

#[cfg(test)]
mod tests;

use core::ops::Range;

use super::backend::{MASK_LEN, SAMPLE_LEN};
use super::keys::{KeyPhase, OpenError, Opener, SealError, Sealer, Timing};
use super::suite::TAG_LEN;
use crate::{PacketNumber, PathId};

/// First byte and connection id: what the AEAD authenticates without sealing it. In bytes.
pub(crate) const HEADER_LEN: usize = 9;
/// Length of the sequence field, in bytes.
pub(crate) const SEQUENCE_LEN: usize = 5;
/// Where the payload starts.
pub(crate) const PAYLOAD_START: usize = HEADER_LEN + SEQUENCE_LEN;
/// What a Data packet is longer than its payload.
pub(crate) const OVERHEAD: usize = PAYLOAD_START + TAG_LEN;
/// The shortest Data packet: a payload of 1 byte.
pub(crate) const MIN_DATA_LEN: usize = OVERHEAD + 1;

// The mask covers the whole field, and the tag alone fills the sample.
const _: () = assert!(SEQUENCE_LEN == MASK_LEN && SAMPLE_LEN <= TAG_LEN);

/// Half of what 32 bits can count: how far a number may lie from the expected one.
const HALF_WINDOW: u64 = 1 << 31;

/// An unmasked sequence field. Nothing in it is authentic before the packet has opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SequenceField {
    /// The key phase.
    pub(crate) phase: KeyPhase,
    /// The path.
    pub(crate) path: PathId,
    /// The low 32 bits of the packet number.
    pub(crate) low: u32,
}

/// A sequence field with its full packet number, and what it was recovered against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Numbered {
    /// The key phase.
    pub(crate) phase: KeyPhase,
    /// The path.
    pub(crate) path: PathId,
    /// The packet number.
    pub(crate) number: PacketNumber,
    /// The highest number of the path that a packet opened with before.
    pub(crate) highest: Option<PacketNumber>,
}

impl SequenceField {
    const fn to_bytes(self) -> [u8; SEQUENCE_LEN] {
        let [a, b, c, d] = self.low.to_be_bytes();
        [self.phase.get() << 6 | self.path.get(), a, b, c, d]
    }

    fn from_bytes([first, low @ ..]: [u8; SEQUENCE_LEN]) -> Self {
        Self {
            phase: KeyPhase::from_bits(first >> 6),
            // Six bits always are a path id.
            path: PathId::new(first & PathId::MAX.get()).unwrap_or_default(),
            low: u32::from_be_bytes(low),
        }
    }

    /// The number with these low bits that is closest to one above `highest`, the highest number of the path that a
    /// packet opened with (RFC 9000 appendix A.3, for numbers of 64 bits). Total.
    pub(crate) fn recover(self, highest: Option<PacketNumber>) -> Numbered {
        let expected = highest.map_or(0, |highest| highest.next().get());
        let window = HALF_WINDOW * 2;
        let candidate = expected & !(window - 1) | u64::from(self.low);
        let number = if expected.checked_sub(candidate).is_some_and(|behind| behind >= HALF_WINDOW) {
            candidate.checked_add(window)
        } else if candidate.checked_sub(expected).is_some_and(|ahead| ahead > HALF_WINDOW) {
            candidate.checked_sub(window)
        } else {
            None
        };
        let number = PacketNumber::new(number.unwrap_or(candidate));
        Numbered { phase: self.phase, path: self.path, number, highest }
    }
}

/// Seals `packet` in place: header, room for the sequence field, plaintext, room for the tag.
///
/// # Errors
/// [`SealError`]; the packet is then unusable.
pub(crate) fn seal(
    sealer: &mut Sealer,
    path: PathId,
    number: PacketNumber,
    packet: &mut [u8],
) -> Result<(), SealError> {
    let (header, field, body) = split(packet).ok_or(SealError::TooShort)?;
    let plain = SequenceField { phase: sealer.phase(), path, low: number.get() as u32 };
    sealer.seal(path, number, header, body)?;
    let sample = body.first_chunk().ok_or(SealError::TooShort)?;
    *field = xor(plain.to_bytes(), sealer.mask(sample));
    Ok(())
}

/// Reads the sequence field of `packet`, which stays as it is. `None` if it is too short for a Data packet.
pub(crate) fn unmask(opener: &Opener, packet: &[u8]) -> Option<SequenceField> {
    if packet.len() < MIN_DATA_LEN {
        return None;
    }
    let (_, rest) = packet.split_first_chunk::<HEADER_LEN>()?;
    let (field, body) = rest.split_first_chunk::<SEQUENCE_LEN>()?;
    Some(SequenceField::from_bytes(xor(*field, opener.mask(body.first_chunk()?))))
}

/// Opens `packet` in place, with one attempt, and returns where its payload stands. Header, sequence field and tag stay
/// as they are.
///
/// # Errors
/// [`OpenError`]; the payload may then be overwritten.
pub(crate) fn open(
    opener: &mut Opener,
    numbered: &Numbered,
    packet: &mut [u8],
    timing: Timing,
) -> Result<Range<usize>, OpenError> {
    let (header, _, body) = split(packet).ok_or(OpenError::TooShort)?;
    let len = opener.open(numbered, header, body, timing)?;
    Ok(PAYLOAD_START..PAYLOAD_START.saturating_add(len))
}

/// The parts of a packet: header, sequence field, payload with tag.
type Parts<'a> = (&'a mut [u8; HEADER_LEN], &'a mut [u8; SEQUENCE_LEN], &'a mut [u8]);

/// `packet` in its parts, if it is long enough for a Data packet.
fn split(packet: &mut [u8]) -> Option<Parts<'_>> {
    if packet.len() < MIN_DATA_LEN {
        return None;
    }
    let (header, rest) = packet.split_first_chunk_mut()?;
    let (field, body) = rest.split_first_chunk_mut()?;
    Some((header, field, body))
}

fn xor(mut field: [u8; SEQUENCE_LEN], mask: [u8; MASK_LEN]) -> [u8; SEQUENCE_LEN] {
    for (byte, mask) in field.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    field
}

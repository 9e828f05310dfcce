//! Reading and writing integers and byte strings: QUIC varints (RFC 9000 section 16) and fixed sizes.

use alloc::vec::Vec;

/// The largest value of a varint: 2^62 - 1.
pub(crate) const VARINT_MAX: u64 = (1 << 62) - 1;

/// The bytes ended before the value did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Truncated;

/// The first `len` bytes, or all there are.
pub(crate) fn cut(bytes: &[u8], len: usize) -> &[u8] {
    bytes.get(..len).unwrap_or(bytes)
}

/// A cursor over received bytes. Nothing it does can panic or read past the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything that was not read yet; the reader is at the end afterwards.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.rest)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Truncated> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Truncated> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Truncated> {
        let first = *self.rest.first().ok_or(Truncated)?;
        Ok(match first >> 6 {
            0 => u64::from(self.u8()?),
            1 => u64::from(u16::from_be_bytes(self.array()?) & 0x3fff),
            2 => u64::from(u32::from_be_bytes(self.array()?) & 0x3fff_ffff),
            _ => u64::from_be_bytes(self.array()?) & VARINT_MAX,
        })
    }

    /// A varint length and that many bytes.
    pub(crate) fn prefixed(&mut self) -> Result<&'a [u8], Truncated> {
        let len = self.varint()?;
        self.bytes(usize::try_from(len).map_err(|_| Truncated)?)
    }

    /// Skips a run of zero bytes.
    pub(crate) fn skip_zeros(&mut self) {
        let zeros = self.rest.iter().take_while(|byte| **byte == 0).count();
        self.rest = self.rest.get(zeros..).unwrap_or_default();
    }
}

/// How many bytes `value` takes as a varint. Values above [`VARINT_MAX`] are written as that.
#[inline]
pub(crate) const fn varint_len(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// Appends `value` as a varint of minimal length.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: u64) {
    match varint_len(value) {
        1 => out.push(value as u8),
        2 => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        4 => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value.min(VARINT_MAX) | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Appends the length of `bytes` as a varint, then the bytes.
pub(crate) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Whether `id` has the reserved form 31 n + 27, n >= 1: sent to keep receivers tolerant, ignored on arrival
/// (the idea of RFC 9000 section 18.1; n = 0 is PATH_RESPONSE's number, so the row starts at 58).
pub(crate) const fn is_reserved(id: u64) -> bool {
    id > 27 && id % 31 == 27
}

/// The reserved id with this place in the row.
pub(crate) const fn reserved_id(place: u64) -> u64 {
    place.saturating_add(1).saturating_mul(31).saturating_add(27)
}

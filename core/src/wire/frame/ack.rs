//! ACK: which packets of a path arrived (RFC 9000 section 19.3, draft-ietf-quic-multipath's PATH_ACK).

use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;

use crate::id::{PacketNumber, PathId};
use crate::wire::codec::{Reader, put_varint, varint_len};

use super::path::path_id;
use super::{FrameError, ty};

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
    pub(super) fn decode(reader: &mut Reader<'a>, ecn: bool) -> Result<Self, FrameError> {
        let path = path_id(reader)?;
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
        let ranges = ranges.bytes(start.remaining().saturating_sub(reader.remaining()))?;
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
/// and at least the first, with the `counts` if there are any and they fit. Returns the lowest number told. Writes nothing if
/// there is no range.
pub(crate) fn put_ack(
    out: &mut Vec<u8>,
    path: PathId,
    delay: Duration,
    ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone,
    counts: Option<EcnCounts>,
    room: usize,
) -> Option<u64> {
    let mut all = ranges.clone();
    let first = all.next()?;
    let micros = u64::try_from(delay.as_micros()).unwrap_or(0);
    let mut size = [*first.end(), micros, len(&first)]
        .into_iter()
        .map(varint_len)
        .fold(ACK_FIXED, usize::saturating_add);
    let counts = counts.map(EcnCounts::fields).filter(|counts| {
        let with_counts = counts.iter().map(|count| varint_len(*count)).fold(size, usize::saturating_add);
        let fits = with_counts <= room;
        if fits {
            size = with_counts;
        }
        fits
    });
    let mut count = 0u64;
    let mut low = *first.start();
    for range in all {
        size = size.saturating_add(varint_len(gap(low, &range))).saturating_add(varint_len(len(&range)));
        if size > room {
            break;
        }
        low = *range.start();
        count = count.saturating_add(1);
    }
    put_varint(out, if counts.is_some() { ty::ACK_ECN } else { ty::ACK });
    put_varint(out, u64::from(path.get()));
    put_varint(out, *first.end());
    put_varint(out, micros);
    put_varint(out, count);
    put_varint(out, len(&first));
    let mut low = *first.start();
    for range in ranges.skip(1).take(count as usize) {
        put_varint(out, gap(low, &range));
        put_varint(out, len(&range));
        low = *range.start();
    }
    for count in counts.into_iter().flatten() {
        put_varint(out, count);
    }
    Some(low)
}

/// A range's length as it is written: one less than the numbers in it.
const fn len(range: &RangeInclusive<u64>) -> u64 {
    range.end().saturating_sub(*range.start())
}

/// What is written of the gap between a range and the one above it, which begins at `low`: two less than their distance.
const fn gap(low: u64, range: &RangeInclusive<u64>) -> u64 {
    low.saturating_sub(*range.end()).saturating_sub(2)
}

/// Type, path and range count of an ACK: never more than this.
const ACK_FIXED: usize = 1 + 1 + 2;

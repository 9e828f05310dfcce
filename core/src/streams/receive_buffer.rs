//! The receiving half of a stream's data: puts it in order, wherever in the stream it arrives.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use super::blocks::{
    Block, MAX_LEN, Memory, Place, block_index, block_indices, block_range, block_size, length, shrink,
};
use crate::budget::{OverBudget, room};
use crate::ranges::{BlockedRanges, TooManyGaps};

#[cfg(test)]
mod tests;

/// What a write brought.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Received {
    /// Bytes that were not there before.
    pub(crate) new_bytes: usize,
    /// By how many bytes the highest offset received has grown: what flow control counts (RFC 9000 section 4.1).
    pub(crate) end_advanced: u64,
}

/// Why a write changed nothing. After the first two the packet is to be dropped unacknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// No memory for the blocks.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// Too many separate ranges wait behind gaps.
    #[error(transparent)]
    TooManyGaps(#[from] TooManyGaps),
    /// The peer's fault: no stream reaches beyond 2^62 - 1 bytes (RFC 9000 section 19.8).
    #[error("stream data beyond the largest offset")]
    BeyondMaximum,
}

/// Received bytes until the application reads them, copied once, into blocks at their offset.
///
/// What was received first stays: bytes that arrive again are ignored and not compared. Blocks without an unread byte
/// are not held, so an idle stream has none. How far ahead the peer may write is for flow control to bound; here the
/// memory limits and the number of gaps do.
#[derive(Debug, Default)]
pub(crate) struct ReceiveBuffer {
    blocks: Blocks,
    /// Everything below was read.
    read_end: u64,
    /// Everything below was received; the only thing that moves while data arrives in order.
    contiguous_end: u64,
    /// Received beyond a gap: every range starts above `contiguous_end`.
    ahead: BlockedRanges,
    /// Bytes in those ranges.
    ahead_bytes: u64,
}

impl ReceiveBuffer {
    /// Takes the bytes `data` of the stream, from `offset` on, unless more than `max_gaps` ranges would then wait
    /// behind gaps. On an error nothing changes. In order (at the end of what is contiguous) no gap is in the way.
    pub(crate) fn write(
        &mut self,
        offset: u64,
        data: &[u8],
        memory: &mut Memory<'_>,
        max_gaps: usize,
    ) -> Result<Received, WriteError> {
        let end = offset.saturating_add(data.len() as u64);
        if end > MAX_LEN {
            return Err(WriteError::BeyondMaximum);
        }
        if offset == self.contiguous_end && self.ahead.is_empty() && self.blocks.append(offset, data) {
            self.contiguous_end = end;
            return Ok(Received { new_bytes: data.len(), end_advanced: data.len() as u64 });
        }
        let range = offset.max(self.contiguous_end)..end;
        if range.is_empty() {
            return Ok(Received::default());
        }
        let in_order = range.start == self.contiguous_end;
        // A new range costs bookkeeping, which cannot be refused later; what fills the first gap always gets through.
        let max_gaps = if memory.is_exhausted() { 0 } else { max_gaps };
        if !in_order && !self.ahead.accepts(&range, max_gaps) {
            return Err(TooManyGaps.into());
        }
        let place = if in_order { Place::InOrder } else { Place::Ahead };
        self.blocks.cover(&range, place, memory)?;
        let end_before = self.end_received();
        let mut new_bytes: usize = 0;
        for gap in self.ahead.gaps(range.clone()) {
            let from = length(gap.start.saturating_sub(offset));
            let to = length(gap.end.saturating_sub(offset));
            let piece = data.get(from..to).unwrap_or(&[]);
            self.blocks.copy_in(gap.start, piece);
            new_bytes = new_bytes.saturating_add(piece.len());
        }
        if in_order {
            self.advance(range.end);
        } else {
            memory.count(&self.ahead.insert(range));
            self.ahead_bytes = self.ahead_bytes.saturating_add(new_bytes as u64);
        }
        Ok(Received { new_bytes, end_advanced: self.end_received().saturating_sub(end_before) })
    }

    /// Bytes that can be read now.
    pub(crate) fn readable(&self) -> usize {
        length(self.contiguous_end.saturating_sub(self.read_end))
    }

    /// Moves readable bytes to `out`, as many as there are and fit, and says how many.
    pub(crate) fn read(&mut self, out: &mut [u8], memory: &mut Memory<'_>) -> usize {
        let mut rest = &mut out[..];
        let mut read: usize = 0;
        for part in self.blocks.parts(self.next_to_read(rest.len())) {
            let Some((now, later)) = core::mem::take(&mut rest).split_at_mut_checked(part.len()) else {
                break;
            };
            now.copy_from_slice(part);
            rest = later;
            read = read.saturating_add(part.len());
        }
        self.consume(read, memory);
        read
    }

    /// Moves at most `max` readable bytes to a buffer of their exact size, which is the application's from then on
    /// (and no longer counted); `None` if that would be empty.
    pub(crate) fn read_chunk(&mut self, max: usize, memory: &mut Memory<'_>) -> Option<Bytes> {
        let range = self.next_to_read(max);
        if range.is_empty() {
            return None;
        }
        let mut chunk = Vec::with_capacity(length(range.end.saturating_sub(range.start)));
        self.blocks.parts(range).for_each(|part| chunk.extend_from_slice(part));
        self.consume(chunk.len(), memory);
        Some(Bytes::from(chunk))
    }

    /// Bytes ever read, as an offset: what flow-control windows begin at.
    pub(crate) const fn read_end(&self) -> u64 {
        self.read_end
    }

    /// One more than the highest offset received.
    pub(crate) fn end_received(&self) -> u64 {
        self.ahead.last().map_or(self.contiguous_end, |last| last.end)
    }

    /// How many of the bytes from `offset` on, `len` in all, are not received yet.
    pub(crate) fn missing(&self, offset: u64, len: usize) -> u64 {
        let range = offset.max(self.contiguous_end)..offset.saturating_add(len as u64);
        self.ahead.gaps(range).map(|gap| gap.end.saturating_sub(gap.start)).sum()
    }

    /// Bytes received and not read, those behind gaps too.
    pub(crate) const fn held_bytes(&self) -> u64 {
        self.ahead_bytes.saturating_add(self.contiguous_end.saturating_sub(self.read_end))
    }

    /// Bytes received beyond a gap.
    pub(crate) const fn ahead_bytes(&self) -> u64 {
        self.ahead_bytes
    }

    /// Drops everything, for a stream that is reset or stopped: all that was received counts as read.
    pub(crate) fn discard(&mut self, memory: &mut Memory<'_>) {
        self.blocks.free_below(u64::MAX, memory);
        let end = self.end_received();
        *self = Self { read_end: end, contiguous_end: end, ..Self::default() };
    }

    /// Counts everything up to `end` as received and read, without its bytes. Only when nothing is held.
    pub(crate) fn skip_to(&mut self, end: u64) {
        debug_assert_eq!(self.read_end, self.end_received(), "skipped over held data");
        self.read_end = self.read_end.max(end);
        self.contiguous_end = self.contiguous_end.max(end);
    }

    /// Bytes of heap held beside the blocks, which are charged on their own.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.blocks.heap_bytes().saturating_add(self.ahead.capacity_bytes())
    }

    /// Bytes in the blocks held, after checking the invariants in debug builds.
    pub(crate) fn check(&self) -> usize {
        self.ahead.check();
        let ahead: u64 = self.ahead.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        debug_assert_eq!(ahead, self.ahead_bytes, "{self:?}");
        debug_assert!(self.read_end <= self.contiguous_end, "{self:?}");
        debug_assert!(self.ahead.first().is_none_or(|first| first.start > self.contiguous_end), "{self:?}");
        debug_assert!(self.blocks.held.iter().is_sorted_by_key(|held| held.index), "{self:?}");
        self.blocks.held.iter().map(|held| held.block.size().bytes()).sum()
    }

    fn next_to_read(&self, max: usize) -> Range<u64> {
        self.read_end..self.contiguous_end.min(self.read_end.saturating_add(max as u64))
    }

    /// Everything below `end` is received, and so is what then is no longer behind a gap.
    fn advance(&mut self, end: u64) {
        self.contiguous_end = end;
        if self.ahead.is_empty() {
            return;
        }
        let mut joined = self.ahead.remove_below(end);
        if let Some(next) = self.ahead.first()
            && next.start == end
        {
            self.ahead.pop_first();
            self.contiguous_end = next.end;
            joined = joined.saturating_add(next.end.saturating_sub(end));
        }
        self.ahead_bytes = self.ahead_bytes.saturating_sub(joined);
    }

    /// `len` more bytes are read: frees every block before the one with the next unread byte.
    fn consume(&mut self, len: usize, memory: &mut Memory<'_>) {
        self.read_end = self.read_end.saturating_add(len as u64);
        let next_unread = if self.read_end < self.contiguous_end {
            Some(self.read_end)
        } else {
            self.ahead.first().map(|first| first.start)
        };
        self.blocks.free_below(next_unread.map_or(u64::MAX, block_index), memory);
    }
}

/// The blocks with unread bytes, ascending; sparse, so that what a peer writes far ahead costs only itself.
#[derive(Debug, Default)]
struct Blocks {
    held: VecDeque<Held>,
}

/// A block and its index in the stream.
#[derive(Debug)]
struct Held {
    index: u64,
    block: Block,
}

impl Blocks {
    /// Makes sure that there is a block for every byte of `range`; takes all that are missing or, on an error, none.
    fn cover(&mut self, range: &Range<u64>, place: Place, memory: &mut Memory<'_>) -> Result<(), OverBudget> {
        let missing = block_indices(range).filter(|&index| self.position(index).is_err());
        let bytes = missing.fold(0, |sum: usize, index| sum.saturating_add(block_size(index).bytes()));
        if bytes == 0 {
            return Ok(());
        }
        memory.charge_received(bytes, place)?;
        for index in block_indices(range) {
            if let Err(position) = self.position(index) {
                let block = memory.take_received(block_size(index));
                self.held.insert(position, Held { index, block });
            }
        }
        Ok(())
    }

    /// Where block `index` is, or would be inserted. Data mostly belongs to the last block or beyond it.
    fn position(&self, index: u64) -> Result<usize, usize> {
        match self.held.back() {
            Some(last) if last.index == index => Ok(self.held.len().saturating_sub(1)),
            Some(last) if last.index > index => self.held.binary_search_by_key(&index, |held| held.index),
            _ => Err(self.held.len()),
        }
    }

    /// Copies `data` to `offset` if the last block has room for all of it, which is how data mostly arrives.
    fn append(&mut self, offset: u64, data: &[u8]) -> bool {
        let Some(last) = self.held.back_mut() else { return false };
        let range = offset..offset.saturating_add(data.len() as u64);
        let block = block_range(last.index);
        if range.start < block.start || block.end < range.end {
            return false;
        }
        let (_, room) = last.block.part_mut(last.index, &range);
        let fits = room.len() == data.len();
        if fits {
            room.copy_from_slice(data);
        }
        fits
    }

    /// Copies `data` to `offset`, which is covered.
    fn copy_in(&mut self, offset: u64, data: &[u8]) {
        let range = offset..offset.saturating_add(data.len() as u64);
        let mut rest = data;
        for index in block_indices(&range) {
            let held = self.position(index).ok().and_then(|position| self.held.get_mut(position));
            let Some(held) = held else { break };
            let (_, room) = held.block.part_mut(index, &range);
            let Some((now, later)) = rest.split_at_checked(room.len()) else { break };
            room.copy_from_slice(now);
            rest = later;
        }
        debug_assert!(rest.is_empty(), "{range:?} is not covered");
    }

    /// The bytes of `range`, which begins in the first block and has no gap, block by block.
    fn parts(&self, range: Range<u64>) -> impl Iterator<Item = &[u8]> {
        let indices = block_indices(&range);
        self.held.iter().zip(indices).map_while(move |(held, index)| {
            debug_assert_eq!(held.index, index);
            (held.index == index).then(|| held.block.part(index, &range).1)
        })
    }

    /// Gives back the blocks before block `index`.
    fn free_below(&mut self, index: u64, memory: &mut Memory<'_>) {
        let below = self.held.partition_point(|held| held.index < index);
        self.held.drain(..below).for_each(|held| memory.put_received(held.block));
        shrink(&mut self.held);
    }

    fn heap_bytes(&self) -> usize {
        room::<Held>(self.held.capacity())
    }
}

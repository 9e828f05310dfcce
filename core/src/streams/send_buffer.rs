//! The sending half of a stream's data: what the application wrote, kept until the peer has acknowledged it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use super::blocks::{Block, MAX_LEN, Memory, block_index, block_indices, block_size, length, shrink};
use crate::budget::room;
use crate::ranges::RangeSet;

#[cfg(test)]
mod tests;

/// A piece of a stream that one packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunk {
    /// Where in the stream it begins, in bytes.
    pub(crate) offset: u64,
    /// How many bytes it has.
    pub(crate) len: usize,
}

impl Chunk {
    /// The offsets it covers.
    pub(crate) const fn range(self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.len as u64)
    }

    fn of(range: Range<u64>, max_len: usize) -> Option<Self> {
        let len = length(range.end.saturating_sub(range.start)).min(max_len);
        (len > 0).then_some(Self { offset: range.start, len })
    }
}

/// The bytes asked for are not in the buffer: never written, or acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not in the send buffer")]
pub(crate) struct NotBuffered;

/// What the application wrote and the peer has not acknowledged, in blocks that are freed from the front.
///
/// Every byte from `acked_end` on is in one of four states, none of which copies it: *acked* (in `acked`), *lost* (in
/// `lost`), *unsent* (from `sent_end` on) or, if none of these, *in flight*. The states only ever move towards acked,
/// except that what is in flight may become lost and, sent again, in flight.
///
/// Blocks cover exactly the block geometry from `acked_end` to `written_end`, so a stream with nothing to acknowledge
/// holds none.
#[derive(Debug, Default)]
pub(crate) struct SendBuffer {
    blocks: VecDeque<Block>,
    acked_end: u64,
    sent_end: u64,
    written_end: u64,
    /// Acknowledged beyond a gap: every range starts above `acked_end`. At most one range per packet in flight.
    acked: RangeSet,
    /// To be sent again; disjoint from `acked`. At most one range per packet that was in flight.
    lost: RangeSet,
    /// Bytes acknowledged in all.
    acked_len: u64,
}

impl SendBuffer {
    /// Takes as much of `data` as `max` and the memory limits allow, and says how many bytes that was: fewer than
    /// `max` and than there are means that a memory limit was hit.
    pub(crate) fn write(&mut self, data: &[u8], max: usize, memory: &mut Memory<'_>) -> usize {
        let start = self.written_end;
        let end = start.saturating_add(data.len().min(max) as u64).min(MAX_LEN);
        let mut rest = data;
        for index in block_indices(&(start..end)) {
            let starts_block =
                self.blocks.is_empty() || block_index(self.written_end.saturating_sub(1)) < index;
            if starts_block {
                let Ok(block) = memory.take(block_size(index)) else { break };
                self.blocks.push_back(block);
            }
            let Some(block) = self.blocks.back_mut() else { break };
            let (at, room) = block.part_mut(index, &(start..end));
            debug_assert_eq!(at, self.written_end);
            let Some((now, later)) = rest.split_at_checked(room.len()) else { break };
            room.copy_from_slice(now);
            rest = later;
            self.written_end = self.written_end.saturating_add(now.len() as u64);
        }
        length(self.written_end.saturating_sub(start))
    }

    /// What to send next: the lowest lost bytes, which the peer's limit allowed before, else unsent ones below
    /// `flow_limit`, the offset up to which the peer's flow control lets this stream go. At most `max_len` bytes.
    pub(crate) fn next_chunk(&self, max_len: usize, flow_limit: u64) -> Option<Chunk> {
        let range = self.lost.first().unwrap_or_else(|| self.sent_end..self.written_end.min(flow_limit));
        Chunk::of(range, max_len)
    }

    /// A packet with `chunk`, which came from [`Self::next_chunk`], is on its way.
    pub(crate) fn mark_sent(&mut self, chunk: Chunk) {
        let range = chunk.range();
        debug_assert!(range.start <= self.sent_end && range.end <= self.written_end, "{chunk:?} of {self:?}");
        if !self.lost.is_empty() {
            self.lost.remove(range.clone());
        }
        if range.start <= self.sent_end {
            self.sent_end = self.sent_end.max(range.end.min(self.written_end));
        }
    }

    /// Appends the bytes of `chunk` to `out`.
    pub(crate) fn append_to(&self, chunk: Chunk, out: &mut Vec<u8>) -> Result<(), NotBuffered> {
        let range = chunk.range();
        if range.start < self.acked_end || range.end > self.written_end {
            return Err(NotBuffered);
        }
        let first = block_index(self.acked_end);
        for index in block_indices(&range) {
            let block = self.blocks.get(length(index.saturating_sub(first))).ok_or(NotBuffered)?;
            out.extend_from_slice(block.part(index, &range).1);
        }
        Ok(())
    }

    /// The peer has `chunk`. Says how many of its bytes were not acknowledged before; frees what it can. What was
    /// never sent cannot be acknowledged and is ignored (the caller knows its packets).
    pub(crate) fn on_acked(&mut self, chunk: Chunk, memory: &mut Memory<'_>) -> u64 {
        let range = self.sent_part(chunk);
        if range.is_empty() {
            return 0;
        }
        if !self.lost.is_empty() {
            self.lost.remove(range.clone());
        }
        let newly = if range.start > self.acked_end {
            let inserted = self.acked.insert_counted(range);
            memory.count(&inserted);
            inserted.added
        } else {
            self.advance(range.end, memory)
        };
        self.acked_len = self.acked_len.saturating_add(newly);
        newly
    }

    /// A packet with `chunk` is lost: what nobody acknowledged of it meanwhile is to be sent again.
    pub(crate) fn on_lost(&mut self, chunk: Chunk) {
        for range in self.acked.gaps(self.sent_part(chunk)) {
            self.lost.insert(range);
        }
    }

    /// Bytes written and not sent yet.
    #[cfg(test)]
    pub(crate) const fn unsent_len(&self) -> u64 {
        self.written_end.saturating_sub(self.sent_end)
    }

    /// Bytes written and not acknowledged, sent or not.
    pub(crate) const fn unacked_len(&self) -> u64 {
        self.written_end.saturating_sub(self.acked_len)
    }

    /// Bytes for which room is held: from the first unacknowledged byte to the last written one. What a limit on
    /// the buffer of one stream compares with.
    pub(crate) const fn buffered_len(&self) -> u64 {
        self.written_end.saturating_sub(self.acked_end)
    }

    /// Bytes ever sent, as an offset: the final size if the stream is reset now (RFC 9000 section 4.5).
    pub(crate) const fn sent_end(&self) -> u64 {
        self.sent_end
    }

    /// Bytes ever written, as an offset.
    pub(crate) const fn written_end(&self) -> u64 {
        self.written_end
    }

    /// Whether everything written is acknowledged.
    pub(crate) const fn is_all_acked(&self) -> bool {
        self.acked_end == self.written_end
    }

    /// Drops everything, for a stream that is reset: unsent bytes were never written, sent ones need no
    /// acknowledgement any more. [`Self::sent_end`] stays.
    pub(crate) fn discard(&mut self, memory: &mut Memory<'_>) {
        self.blocks.drain(..).for_each(|block| memory.put(block));
        *self = Self {
            acked_end: self.sent_end,
            sent_end: self.sent_end,
            written_end: self.sent_end,
            acked_len: self.sent_end,
            ..Self::default()
        };
    }

    /// Bytes of heap held beside the blocks, which are charged on their own.
    pub(crate) fn heap_bytes(&self) -> usize {
        let queue = room::<Block>(self.blocks.capacity());
        queue.saturating_add(self.acked.capacity_bytes()).saturating_add(self.lost.capacity_bytes())
    }

    /// Bytes in the blocks held, after checking the invariants in debug builds.
    pub(crate) fn check(&self) -> usize {
        self.acked.check();
        self.lost.check();
        debug_assert!(self.acked_end <= self.sent_end && self.sent_end <= self.written_end, "{self:?}");
        debug_assert!(self.acked.first().is_none_or(|first| first.start > self.acked_end), "{self:?}");
        debug_assert!(self.lost.first().is_none_or(|first| first.start >= self.acked_end), "{self:?}");
        debug_assert!(self.acked.last().is_none_or(|last| last.end <= self.sent_end), "{self:?}");
        debug_assert!(self.lost.last().is_none_or(|last| last.end <= self.sent_end), "{self:?}");
        debug_assert!(self.lost.iter().all(|lost| self.acked.gaps(lost.clone()).eq([lost])), "{self:?}");
        debug_assert!(
            self.blocks.iter().map(Block::size).eq(self.covered_blocks().map(block_size)),
            "{self:?}"
        );
        self.blocks.iter().map(|block| block.size().bytes()).sum()
    }

    fn covered_blocks(&self) -> Range<u64> {
        block_indices(&(self.acked_end..self.written_end))
    }

    /// The part of `chunk` that was sent and is not behind `acked_end`.
    fn sent_part(&self, chunk: Chunk) -> Range<u64> {
        let range = chunk.range();
        range.start.max(self.acked_end)..range.end.min(self.sent_end)
    }

    /// Everything below `end` is acknowledged. Says how many bytes that adds.
    fn advance(&mut self, end: u64, memory: &mut Memory<'_>) -> u64 {
        let known = self.acked.remove_below(end);
        let newly = end.saturating_sub(self.acked_end).saturating_sub(known);
        self.acked_end = match self.acked.first() {
            Some(next) if next.start == end => {
                self.acked.pop_first();
                next.end
            }
            _ => end,
        };
        let kept = self.covered_blocks();
        let excess = self.blocks.len().saturating_sub(length(kept.end.saturating_sub(kept.start)));
        self.blocks.drain(..excess).for_each(|block| memory.put(block));
        shrink(&mut self.blocks);
        newly
    }
}

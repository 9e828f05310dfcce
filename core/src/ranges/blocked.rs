//! A set of ranges that a peer chooses, thousands of them and in any order: kept in blocks, so that one more moves a few
//! kilobytes at most.

use alloc::vec::Vec;
use core::ops::Range;

use super::{Inserted, RangeSet, gaps_between};
use crate::budget::room;

#[cfg(test)]
mod tests;

/// The most ranges in a block: 2 KiB of them.
const MOST: usize = 128;
/// Neighbours that have no more than this together become one, so that there are at most four times as many blocks as are
/// needed.
const FEW: usize = MOST / 2;
/// Room for so many blocks is kept however few there are.
const KEPT: usize = 4;
/// Ranges that are as long in memory as one entry of the list of blocks.
const PER_ENTRY: usize = size_of::<RangeSet>() / size_of::<Range<u64>>();

/// As [`RangeSet`], with fewer verbs and without one store that is moved as a whole.
#[derive(Default)]
pub(crate) struct BlockedRanges {
    /// Ascending. None is empty but the first, if it is the only one; its room is kept.
    blocks: Vec<RangeSet>,
    /// Ranges in all blocks.
    len: usize,
}

impl BlockedRanges {
    /// Whether the set has no member.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The lowest range.
    pub(crate) fn first(&self) -> Option<Range<u64>> {
        self.blocks.first()?.first()
    }

    /// The highest range.
    pub(crate) fn last(&self) -> Option<Range<u64>> {
        self.blocks.last()?.last()
    }

    /// The ranges, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.blocks.iter().flat_map(RangeSet::iter)
    }

    /// The parts of `range` that are not in the set, ascending.
    pub(crate) fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut blocks = self.blocks.iter().skip(self.block_of(range.start));
        let first = blocks.next().map(|block| block.iter_from(range.start));
        gaps_between(first.into_iter().flatten().chain(blocks.flat_map(RangeSet::iter)), range)
    }

    /// Whether `range` can be added without needing more than `max` ranges, or any more than there are.
    pub(crate) fn accepts(&self, range: &Range<u64>, max: usize) -> bool {
        let touches =
            || self.blocks.get(self.block_of(range.start)).is_some_and(|block| block.touches(range));
        self.len < max || range.is_empty() || touches()
    }

    /// Adds `range` and says how many of its values are new, and what it cost.
    pub(crate) fn insert(&mut self, range: Range<u64>) -> Inserted {
        if range.is_empty() {
            return Inserted::default();
        }
        let at = self.block_for(&range);
        let Some(block) = self.blocks.get(at) else { return self.push(range) };
        let is_behind_all = at.saturating_add(1) == self.blocks.len()
            && block.last().is_some_and(|last| last.end < range.start);
        if is_behind_all && block.len() >= MOST {
            return self.push(range);
        }
        let (absorbed, range) = self.absorb_above(at, range);
        let Some(block) = self.blocks.get_mut(at) else { return Inserted::default() };
        let before = block.len();
        let mut inserted = block.insert_counted(range);
        self.len = self.len.saturating_sub(before).saturating_add(block.len());
        inserted.added = inserted.added.saturating_sub(absorbed.added);
        inserted.moved = inserted.moved.saturating_add(absorbed.moved).saturating_add(self.balance(at));
        inserted
    }

    /// Removes everything below `limit` and says how many values that were.
    pub(crate) fn remove_below(&mut self, limit: u64) -> u64 {
        let whole = self.blocks.partition_point(|block| block.last().is_none_or(|last| last.end <= limit));
        // One block is kept, for its room.
        let whole = whole.min(self.blocks.len().saturating_sub(1));
        let mut removed = self.drop_blocks(0..whole);
        if let Some(first) = self.blocks.first_mut() {
            let before = first.len();
            removed = removed.saturating_add(first.remove_below(limit));
            self.len = self.len.saturating_sub(before).saturating_add(first.len());
        }
        removed
    }

    /// Takes the lowest range out.
    pub(crate) fn pop_first(&mut self) -> Option<Range<u64>> {
        let popped = self.blocks.first_mut()?.pop_first()?;
        self.len = self.len.saturating_sub(1);
        if self.blocks.len() > 1 && self.blocks.first().is_some_and(RangeSet::is_empty) {
            self.drop_blocks(0..1);
        }
        Some(popped)
    }

    /// Bytes of heap held.
    pub(crate) fn capacity_bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(RangeSet::capacity_bytes).sum();
        room::<RangeSet>(self.blocks.capacity()).saturating_add(blocks)
    }

    /// Panics in debug builds if an invariant is broken.
    pub(crate) fn check(&self) {
        self.blocks.iter().for_each(RangeSet::check);
        debug_assert!(self.blocks.iter().all(|block| block.len() <= MOST), "a block is too large");
        debug_assert!(self.blocks.len() <= 1 || self.blocks.iter().all(|block| !block.is_empty()));
        debug_assert!(self.iter().is_sorted_by(|a, b| a.end < b.start), "blocks overlap or touch");
        debug_assert_eq!(self.iter().count(), self.len);
    }

    /// The first block with a range that ends at `value` or above it; there may be none.
    fn block_of(&self, value: u64) -> usize {
        let below = |block: &RangeSet| block.last().is_none_or(|last| last.end < value);
        match self.blocks.last() {
            // What arrives mostly belongs to the end.
            Some(last) if last.first().is_none_or(|first| first.start <= value) => {
                self.blocks.len().saturating_sub(usize::from(!below(last)))
            }
            _ => self.blocks.partition_point(below),
        }
    }

    /// The block into which `range` is to go: one that it touches, or else the one below it, at whose end it moves nothing.
    fn block_for(&self, range: &Range<u64>) -> usize {
        let at = self.block_of(range.start);
        let is_below = |block: &RangeSet| block.first().is_some_and(|first| range.end < first.start);
        if self.blocks.get(at).is_none_or(is_below) { at.saturating_sub(1) } else { at }
    }

    /// Adds a range above all others, in a block of its own.
    fn push(&mut self, range: Range<u64>) -> Inserted {
        let mut block = RangeSet::default();
        let inserted = block.insert_counted(range);
        if self.blocks.is_empty() {
            // Most streams that have gaps have few.
            self.blocks.reserve_exact(1);
        }
        self.blocks.push(block);
        self.len = self.len.saturating_add(1);
        inserted
    }

    /// Takes out of the blocks above `at` what `range` covers or touches, which then is one with it. Returns how many values
    /// that were, and what it cost; and what `range` has become.
    fn absorb_above(&mut self, at: usize, range: Range<u64>) -> (Inserted, Range<u64>) {
        let above = at.saturating_add(1);
        let touched = |block: &RangeSet| block.first().is_some_and(|first| first.start <= range.end);
        let rest = self.blocks.get(above..).unwrap_or(&[]);
        let reach = above.saturating_add(rest.partition_point(touched));
        let Some(last) = reach.checked_sub(1).filter(|last| *last > at) else {
            return (Inserted::default(), range);
        };
        let (mut absorbed, mut end) = (0, range.end);
        if let Some(block) = self.blocks.get_mut(last) {
            let before = block.len();
            absorbed = block.remove_below(range.end);
            if let Some(first) = block.first().filter(|first| first.start == range.end) {
                block.pop_first();
                absorbed = u64::saturating_add(absorbed, first.end.saturating_sub(first.start));
                end = first.end;
            }
            self.len = self.len.saturating_sub(before).saturating_add(block.len());
        }
        let is_gone = self.blocks.get(last).is_some_and(RangeSet::is_empty);
        let gone = above..last.saturating_add(usize::from(is_gone));
        let moved = if gone.is_empty() { 0 } else { self.entries_from(gone.end) };
        absorbed = absorbed.saturating_add(self.drop_blocks(gone));
        (Inserted { added: absorbed, moved }, range.start..end)
    }

    /// Forgets blocks, and says how many values they had.
    fn drop_blocks(&mut self, gone: Range<usize>) -> u64 {
        let (mut values, mut ranges) = (0_u64, 0_usize);
        for block in self.blocks.drain(gone) {
            ranges = ranges.saturating_add(block.len());
            values = block
                .iter()
                .fold(values, |sum, range| sum.saturating_add(range.end.saturating_sub(range.start)));
        }
        self.len = self.len.saturating_sub(ranges);
        if self.blocks.capacity() > KEPT && self.blocks.len() <= self.blocks.capacity() / 4 {
            self.blocks.shrink_to(KEPT);
        }
        values
    }

    /// After block `at` and the one behind it have changed: cuts it in two if it is too large, and joins neighbours that are
    /// small. Says how many ranges had to be moved.
    fn balance(&mut self, at: usize) -> usize {
        let Some(block) = self.blocks.get_mut(at) else { return 0 };
        if block.len() > MOST {
            let upper = block.split_off(FEW);
            let moved = upper.len();
            let behind = at.saturating_add(1);
            let entries = self.entries_from(behind);
            self.blocks.insert(behind, upper);
            return moved.saturating_add(entries);
        }
        let pairs = [at.saturating_add(1), at, at.saturating_sub(1)];
        pairs.into_iter().fold(0, |moved, lower| moved.saturating_add(self.join(lower)))
    }

    /// Joins a block with the one behind it if they have few ranges together. Says how many had to be moved.
    fn join(&mut self, lower: usize) -> usize {
        let upper = lower.saturating_add(1);
        let len = |at: usize| self.blocks.get(at).map(RangeSet::len);
        let (Some(below), Some(above)) = (len(lower), len(upper)) else { return 0 };
        if below.saturating_add(above) > FEW {
            return 0;
        }
        let entries = self.entries_from(upper.saturating_add(1));
        let block = self.blocks.remove(upper);
        if let Some(lower) = self.blocks.get_mut(lower) {
            lower.append(&block);
        }
        above.saturating_add(entries)
    }

    /// What it costs to move the entries of the blocks from the one at `at` on, in ranges.
    fn entries_from(&self, at: usize) -> usize {
        self.blocks.len().saturating_sub(at).saturating_mul(PER_ENTRY)
    }
}

impl core::fmt::Debug for BlockedRanges {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

//! A set of `u64` kept as sorted ranges: packet numbers to acknowledge, stream bytes acked, lost or received.

use crate::budget::room;
use core::fmt;
use core::ops::Range;

use smallvec::SmallVec;

mod blocked;
#[cfg(test)]
mod tests;

pub(crate) use blocked::BlockedRanges;

/// Ranges that fit without heap: in good weather every set holds one, and one gap makes it two.
const INLINE: usize = 2;
/// A heap store of at most this many ranges is kept however empty it is (256 bytes), so that a set that breathes
/// does not allocate each time.
const KEPT: usize = 16;

/// Half-open, never empty. Unlike `Range`, it is `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    const fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    const fn range(self) -> Range<u64> {
        self.start..self.end
    }
}

/// What an insertion did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Inserted {
    /// Values that were not in the set before.
    pub(crate) added: u64,
    /// Ranges that had to be moved aside or together for it.
    pub(crate) moved: usize,
}

/// The set would need more ranges than allowed; it is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many gaps")]
pub(crate) struct TooManyGaps;

/// Disjoint, non-adjacent half-open ranges of `u64` in ascending order.
///
/// Adding at the end and taking from the front cost O(1) amortised; anything else a binary search and, at worst, one
/// move of the store, so whoever lets a peer choose the ranges bounds their number ([`Self::insert_bounded`],
/// [`Self::insert_capped`]). `u64::MAX` itself cannot be a member (no half-open range holds it).
#[derive(Clone, Default)]
pub(crate) struct RangeSet {
    /// The first `head` entries are dead: ranges popped off the front, their room reclaimed in bulk.
    spans: SmallVec<[Span; INLINE]>,
    head: usize,
}

impl RangeSet {
    /// The number of ranges.
    pub(crate) fn len(&self) -> usize {
        self.live().len()
    }

    /// Whether the set has no member.
    pub(crate) fn is_empty(&self) -> bool {
        self.live().is_empty()
    }

    /// The lowest range.
    pub(crate) fn first(&self) -> Option<Range<u64>> {
        self.live().first().map(|span| span.range())
    }

    /// The highest range.
    pub(crate) fn last(&self) -> Option<Range<u64>> {
        self.live().last().map(|span| span.range())
    }

    /// The ranges, ascending; `.rev()` gives the highest first, as an ACK frame has them (RFC 9000 section 19.3).
    pub(crate) fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + Clone + '_ {
        self.live().iter().map(|span| span.range())
    }

    /// The ranges from the first one on that ends above `value`, ascending.
    fn iter_from(&self, value: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        let from = self.live().partition_point(|span| span.end <= value);
        self.live().iter().skip(from).map(|span| span.range())
    }

    /// The parts of `range` that are not in the set, ascending.
    pub(crate) fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        gaps_between(self.iter_from(range.start), range)
    }

    /// Adds `range` and says how many of its values are new.
    pub(crate) fn insert(&mut self, range: Range<u64>) -> u64 {
        self.insert_counted(range).added
    }

    /// As [`Self::insert`], and says what it cost as well.
    pub(crate) fn insert_counted(&mut self, range: Range<u64>) -> Inserted {
        if range.is_empty() {
            return Inserted::default();
        }
        let new = Span { start: range.start, end: range.end };
        match self.live_mut().last_mut() {
            Some(last) if last.end < new.start => self.spans.push(new),
            Some(last) if last.start <= new.start => {
                let added = new.end.saturating_sub(last.end);
                last.end = last.end.max(new.end);
                return Inserted { added, moved: 0 };
            }
            Some(_) => return self.insert_before_last(new),
            None => self.spans.push(new),
        }
        Inserted { added: new.len(), moved: 0 }
    }

    /// Whether `range` can be added without needing more than `max` ranges, or any more than there are.
    pub(crate) fn accepts(&self, range: &Range<u64>, max: usize) -> bool {
        self.len() < max || range.is_empty() || self.touches(range)
    }

    /// Whether `range` would become one with a range of the set.
    fn touches(&self, range: &Range<u64>) -> bool {
        !self.touching(range).is_empty()
    }

    /// Adds `range`, then drops the lowest ranges until at most `max` are left.
    pub(crate) fn insert_capped(&mut self, range: Range<u64>, max: usize) {
        let below_all = self.first().is_some_and(|first| range.end < first.start);
        // It would be the first to go: spare the move of the whole store.
        if !below_all || self.len() < max {
            self.insert(range);
        }
        let excess = self.len().saturating_sub(max);
        self.drop_first(excess);
    }

    /// Removes `range` and says how many of its values were in the set. May split one range into two.
    pub(crate) fn remove(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let from = self.live().partition_point(|span| span.end <= range.start);
        let to = self.live().partition_point(|span| span.start < range.end);
        let hit = self.live().get(from..to).unwrap_or(&[]);
        let (Some(first), Some(last)) = (hit.first(), hit.last()) else { return 0 };
        let left = Span { start: first.start, end: range.start };
        let right = Span { start: range.end, end: last.end };
        let held = total(hit);
        let both = [left, right];
        let rest = match (left.len() > 0, right.len() > 0) {
            (true, true) => both.as_slice(),
            (true, false) => &[left],
            (false, true) => &[right],
            (false, false) => &[],
        };
        self.replace(from..to, rest);
        held.saturating_sub(total(rest))
    }

    /// Removes everything below `limit` and says how many values that were.
    pub(crate) fn remove_below(&mut self, limit: u64) -> u64 {
        let below = self.live().partition_point(|span| span.end <= limit);
        let mut removed = total(self.live().get(..below).unwrap_or(&[]));
        self.drop_first(below);
        if let Some(first) = self.live_mut().first_mut()
            && first.start < limit
        {
            removed = removed.saturating_add(limit.saturating_sub(first.start));
            first.start = limit;
        }
        removed
    }

    /// Takes the lowest range out.
    pub(crate) fn pop_first(&mut self) -> Option<Range<u64>> {
        let first = self.first()?;
        self.drop_first(1);
        Some(first)
    }

    /// Takes the ranges from index `at` on out.
    fn split_off(&mut self, at: usize) -> Self {
        let upper = self.live().get(at..).unwrap_or(&[]).into();
        self.spans.truncate(self.head.saturating_add(at));
        self.tidy();
        Self { spans: upper, head: 0 }
    }

    /// Adds the ranges of `above`, which all lie above those of this set and touch none.
    fn append(&mut self, above: &Self) {
        self.spans.extend_from_slice(above.live());
    }

    /// Bytes of heap held.
    pub(crate) fn capacity_bytes(&self) -> usize {
        if self.spans.spilled() { room::<Span>(self.spans.capacity()) } else { 0 }
    }

    /// Panics in debug builds if an invariant is broken.
    pub(crate) fn check(&self) {
        debug_assert!(self.live().iter().all(|span| span.start < span.end), "empty range in {self:?}");
        debug_assert!(self.live().is_sorted_by(|a, b| a.end < b.start), "out of order: {self:?}");
        debug_assert!(self.head == 0 || self.head < self.spans.len(), "dead entries only");
    }

    fn live(&self) -> &[Span] {
        self.spans.get(self.head..).unwrap_or(&[])
    }

    fn live_mut(&mut self) -> &mut [Span] {
        self.spans.get_mut(self.head..).unwrap_or(&mut [])
    }

    /// The indices of the ranges that overlap `range` or touch it, so that they become one with it.
    fn touching(&self, range: &Range<u64>) -> Range<usize> {
        let from = self.live().partition_point(|span| span.end < range.start);
        let to = self.live().partition_point(|span| span.start <= range.end);
        from..to
    }

    /// The general case of [`Self::insert_counted`]: `new` starts below the last range.
    fn insert_before_last(&mut self, new: Span) -> Inserted {
        let at = self.touching(&new.range());
        let merged = self.live().get(at.clone()).unwrap_or(&[]);
        let held = total(merged);
        let whole = Span {
            start: merged.first().map_or(new.start, |first| first.start.min(new.start)),
            end: merged.last().map_or(new.end, |last| last.end.max(new.end)),
        };
        let moved = self.replace(at, &[whole]);
        Inserted { added: whole.len().saturating_sub(held), moved }
    }

    /// Puts `with` where the ranges `at` are, and says how many others were moved for that.
    fn replace(&mut self, at: Range<usize>, with: &[Span]) -> usize {
        let mut next = at.start;
        let mut moved: usize = 0;
        for &span in with {
            if next >= at.end {
                moved = moved.saturating_add(self.insert_at(next, span));
            } else if let Some(slot) = self.live_mut().get_mut(next) {
                *slot = span;
            }
            next = next.saturating_add(1);
        }
        if next == 0 {
            self.drop_first(at.end);
        } else if next < at.end {
            moved = moved.saturating_add(self.len().saturating_sub(at.end));
            self.spans.drain(self.head.saturating_add(next)..self.head.saturating_add(at.end));
            self.tidy();
        }
        moved
    }

    /// Inserts `span` before the range `index`, into the room of a popped range if that is next to it. Says how many ranges
    /// were moved.
    fn insert_at(&mut self, index: usize, span: Span) -> usize {
        match (index, self.head.checked_sub(1)) {
            (0, Some(dead)) => {
                self.head = dead;
                self.replace(0..1, &[span])
            }
            _ => {
                let moved = self.len().saturating_sub(index);
                self.spans.insert(self.head.saturating_add(index), span);
                moved
            }
        }
    }

    fn drop_first(&mut self, count: usize) {
        self.head = self.head.saturating_add(count.min(self.len()));
        self.tidy();
    }

    /// Reclaims the dead entries once they are half of all (so each is moved over at most once on average), and gives
    /// heap back once three quarters of it are unused.
    fn tidy(&mut self) {
        if self.head.saturating_mul(2) >= self.spans.len() {
            self.spans.drain(..self.head);
            self.head = 0;
        }
        let capacity = self.spans.capacity();
        if capacity > KEPT && self.spans.len() <= capacity / 4 {
            self.spans.shrink_to_fit();
        }
    }
}

impl fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The parts of `range` that none of `ranges` has: ascending, and none below its start.
fn gaps_between(
    mut ranges: impl Iterator<Item = Range<u64>>,
    range: Range<u64>,
) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    core::iter::from_fn(move || {
        while at < range.end {
            let (start, end, after) = match ranges.next() {
                Some(next) if next.start < range.end => (at, next.start, next.end),
                _ => (at, range.end, range.end),
            };
            at = after;
            if start < end {
                return Some(start..end);
            }
        }
        None
    })
}

fn total(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.len()).sum()
}

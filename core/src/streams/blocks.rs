//! Fixed blocks of stream data: their two sizes, which offsets each covers, and the pool that recycles them.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::budget::{Account, Budget, OverBudget};
use crate::ranges::Inserted;

#[cfg(test)]
mod tests;

/// Bytes in the first block of a stream: what a short request or answer needs.
pub(crate) const SMALL: usize = 2 * 1024;
/// Bytes in every other block: large enough to make per-block work vanish, small enough to go back soon.
pub(crate) const LARGE: usize = 16 * 1024;
/// The same as a part of an offset.
const LARGE_LEN: u64 = LARGE as u64;
/// Free small blocks kept for reuse: 512 KiB.
const FREE_SMALL: usize = 256;
/// Free large blocks kept for reuse: 1.5 MiB.
const FREE_LARGE: usize = 96;
/// Free blocks are kept for reuse up to one part in so many of what the endpoint may hold.
const FREE_SHARE: usize = 64;
/// The longest that a stream can be, in bytes: the sum of offset and length is at most this (RFC 9000 section 19.8).
pub(super) const MAX_LEN: u64 = (1 << 62) - 1;
/// A queue of at most this many entries keeps its room however empty it is, so that a stream that breathes does not
/// allocate each time: with blocks of 16 KiB, what waits behind a hole for 80 ms at 100 Mbit/s.
const KEPT_ENTRIES: usize = 64;

/// Ranges moved that count as one unit of work: 64 bytes of them.
const RANGES_COUNTED: usize = 4;

/// Which of the two sizes a block has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BlockSize {
    /// [`SMALL`] bytes.
    Small,
    /// [`LARGE`] bytes.
    Large,
}

impl BlockSize {
    /// The size in bytes.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Small => SMALL,
            Self::Large => LARGE,
        }
    }
}

/// The index of the block that holds `offset`: block 0 covers the first [`SMALL`] bytes of a stream, block k the k-th
/// [`LARGE`] bytes after them.
pub(super) const fn block_index(offset: u64) -> u64 {
    match offset.checked_sub(SMALL as u64) {
        Some(beyond) => (beyond / LARGE_LEN).saturating_add(1),
        None => 0,
    }
}

/// The size of block `index`.
pub(super) const fn block_size(index: u64) -> BlockSize {
    if index == 0 { BlockSize::Small } else { BlockSize::Large }
}

/// The offsets that block `index` covers, saturating at the end of the number line.
pub(super) const fn block_range(index: u64) -> Range<u64> {
    match index.checked_sub(1) {
        Some(before) => {
            let start = before.saturating_mul(LARGE as u64).saturating_add(SMALL as u64);
            start..start.saturating_add(LARGE as u64)
        }
        None => 0..SMALL as u64,
    }
}

/// The indices of the blocks that hold `range`; none if it is empty.
pub(super) const fn block_indices(range: &Range<u64>) -> Range<u64> {
    if range.start < range.end {
        block_index(range.start)..block_index(range.end.saturating_sub(1)).saturating_add(1)
    } else {
        0..0
    }
}

/// A number of bytes in memory as a `usize`; saturates, which no length of something held ever does.
pub(super) fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// One block. Its contents are whatever was written last, by any stream: only what a stream has written since it took
/// the block may be read.
pub(crate) struct Block(Box<[u8]>);

impl Block {
    /// The size it was made with.
    pub(crate) fn size(&self) -> BlockSize {
        if self.0.len() == SMALL { BlockSize::Small } else { BlockSize::Large }
    }

    /// The part of this block, which is the one of `index`, that lies in `range`, and the offset where it begins.
    pub(super) fn part(&self, index: u64, range: &Range<u64>) -> (u64, &[u8]) {
        let (start, within) = clip(index, range);
        (start, self.0.get(within).unwrap_or(&[]))
    }

    /// As [`Self::part`], to write.
    pub(super) fn part_mut(&mut self, index: u64, range: &Range<u64>) -> (u64, &mut [u8]) {
        let (start, within) = clip(index, range);
        (start, self.0.get_mut(within).unwrap_or(&mut []))
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({})", self.0.len())
    }
}

/// Where `range` enters block `index`, and the positions in the block that it covers.
fn clip(index: u64, range: &Range<u64>) -> (u64, Range<usize>) {
    let covered = block_range(index);
    let start = range.start.clamp(covered.start, covered.end);
    let end = range.end.clamp(start, covered.end);
    let within = |offset: u64| length(offset.saturating_sub(covered.start));
    (start, within(start)..within(end))
}

/// The endpoint's free blocks, most recently used on top (it is the one still in the cache).
///
/// Free blocks are charged to nobody: they are a slack beside the budget, of one part in [`FREE_SHARE`] of it and at most
/// [`Self::SLACK`] bytes. A block is zeroed when it is allocated, never again.
#[derive(Debug)]
pub(crate) struct BlockPool {
    small: Vec<Block>,
    large: Vec<Block>,
    /// The most bytes in free blocks.
    most: usize,
}

impl BlockPool {
    /// The most heap that a pool holds, in bytes: free blocks and the two lists of them (which double as they grow).
    #[cfg(test)]
    pub(crate) const SLACK: usize =
        FREE_SMALL * SMALL + FREE_LARGE * LARGE + 2 * (FREE_SMALL + FREE_LARGE) * size_of::<Block>();

    /// Bytes in free blocks.
    pub(crate) const fn free_bytes(&self) -> usize {
        self.small.len().saturating_mul(SMALL).saturating_add(self.large.len().saturating_mul(LARGE))
    }

    /// The pool of an endpoint that may hold `limit` bytes.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { small: Vec::new(), large: Vec::new(), most: limit / FREE_SHARE }
    }

    fn take(&mut self, size: BlockSize) -> Block {
        let free = match size {
            BlockSize::Small => self.small.pop(),
            BlockSize::Large => self.large.pop(),
        };
        free.unwrap_or_else(|| Block(vec![0; size.bytes()].into_boxed_slice()))
    }

    fn put(&mut self, block: Block) {
        let room = self.most.saturating_sub(self.free_bytes());
        let (free, most) = match block.size() {
            BlockSize::Small => (&mut self.small, FREE_SMALL),
            BlockSize::Large => (&mut self.large, FREE_LARGE),
        };
        if free.len() < most && block.size().bytes() <= room {
            free.push(block);
        }
    }
}

/// Where received data lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// At the end of what is contiguous: it can be read at once.
    InOrder,
    /// Beyond a gap.
    Ahead,
}

/// Where a connection's blocks come from and who pays: lent to the stream buffers for one call.
#[derive(Debug)]
pub(crate) struct Memory<'a> {
    /// Of the endpoint.
    pub(crate) pool: &'a mut BlockPool,
    /// Of the connection.
    pub(crate) account: &'a mut Account,
    /// Of the endpoint.
    pub(crate) budget: &'a mut Budget,
    /// Of the endpoint: [`EndpointStats::ranges`](crate::EndpointStats::ranges).
    pub(crate) ranges: &'a mut u64,
}

impl Memory<'_> {
    /// Charges blocks of `bytes` in all for received data: they draw on the credit that was reserved for it.
    pub(super) fn charge_received(&mut self, bytes: usize, place: Place) -> Result<(), OverBudget> {
        match place {
            Place::InOrder => self.account.charge_readable(self.budget, bytes),
            Place::Ahead => self.account.charge_received(self.budget, bytes),
        }
    }

    /// A block for received data, charged before.
    pub(super) fn take_received(&mut self, size: BlockSize) -> Block {
        self.pool.take(size)
    }

    /// Gives a block of received data back.
    pub(super) fn put_received(&mut self, block: Block) {
        self.account.release_received(self.budget, block.size().bytes());
        self.pool.put(block);
    }

    /// A block for data to send, charged with its size (the allocator's own rounding is not counted).
    pub(crate) fn take(&mut self, size: BlockSize) -> Result<Block, OverBudget> {
        self.account.charge_written(self.budget, size.bytes())?;
        Ok(self.pool.take(size))
    }

    /// Gives a block back and its charge with it.
    pub(crate) fn put(&mut self, block: Block) {
        self.account.release(self.budget, block.size().bytes());
        self.pool.put(block);
    }

    /// Counts what an insertion moved aside.
    pub(super) const fn count(&mut self, inserted: &Inserted) {
        *self.ranges = self.ranges.saturating_add(inserted.moved.div_ceil(RANGES_COUNTED) as u64);
    }

    /// Whether a limit is reached, so that nothing must grow that can be helped.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.account.available() == 0 || self.budget.available() == 0
    }
}

/// Gives a queue's heap back once all but a thirty-second of it is unused. Bulk transfer leaves a twenty-fourth in use when
/// BBR probes for the round-trip time (its window falls from two bandwidth-delay products and more to a half, what is
/// buffered to half of that), and must not allocate each time.
pub(super) fn shrink<T>(queue: &mut VecDeque<T>) {
    let capacity = queue.capacity();
    if capacity > KEPT_ENTRIES && queue.len() <= capacity / 32 {
        queue.shrink_to(KEPT_ENTRIES.max(queue.len().saturating_mul(2)));
    }
}

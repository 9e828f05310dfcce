//! Doors into the parts that have a simple model: sets of ranges, the replay window, the two halves of a stream's data.
//!
//! Each is the engine's own type with what it needs around it, and a `check` of its invariants (in debug builds).

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use bytes::Bytes;

use crate::budget::{Account, Budget};
use crate::crypto::replay::{Freshness, ReplayWindow};
use crate::id::PacketNumber;
use crate::ranges::RangeSet;
use crate::streams::blocks::{BlockPool, Memory};
use crate::streams::receive_buffer::ReceiveBuffer;
use crate::streams::send_buffer::{Chunk, SendBuffer};

/// A set of numbers as ranges.
#[derive(Clone, Default, Debug)]
pub struct Ranges(RangeSet);

impl Ranges {
    /// Adds a range and says how many of its numbers are new.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        self.0.insert(range)
    }

    /// Whether a range can be added without needing more than `max` ranges, or any more than there are.
    #[must_use]
    pub fn accepts(&self, range: &Range<u64>, max: usize) -> bool {
        self.0.accepts(range, max)
    }

    /// Adds a range, then drops the lowest ones until at most `max` are left.
    pub fn insert_capped(&mut self, range: Range<u64>, max: usize) {
        self.0.insert_capped(range, max);
    }

    /// Removes a range and says how many of its numbers were there.
    pub fn remove(&mut self, range: Range<u64>) -> u64 {
        self.0.remove(range)
    }

    /// Removes everything below `limit` and says how many numbers that were.
    pub fn remove_below(&mut self, limit: u64) -> u64 {
        self.0.remove_below(limit)
    }

    /// Takes the lowest range out.
    pub fn pop_first(&mut self) -> Option<Range<u64>> {
        self.0.pop_first()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> {
        self.0.iter()
    }

    /// The parts of `range` that are not in the set, ascending.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        self.0.gaps(range)
    }

    /// Checks the invariants, and says how many bytes of heap it holds.
    pub fn check(&self) -> usize {
        self.0.check();
        self.0.capacity_bytes()
    }
}

/// The packet numbers seen on a path.
#[derive(Clone, Debug)]
pub struct Window(ReplayWindow);

impl Default for Window {
    fn default() -> Self {
        Self(ReplayWindow::new())
    }
}

impl Window {
    /// A window that has seen everything up to `highest`.
    #[must_use]
    pub fn behind(highest: u64) -> Self {
        Self(ReplayWindow::behind(PacketNumber::new(highest)))
    }

    /// Whether a packet with this number would be read. It is marked as seen then.
    pub fn take(&mut self, number: u64) -> bool {
        let number = PacketNumber::new(number);
        let new = self.0.check(number) == Freshness::New;
        if new {
            self.0.mark(number);
        }
        new
    }

    /// Bytes of heap held.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

/// A connection's memory.
#[derive(Debug)]
struct Store {
    pool: BlockPool,
    account: Account,
    budget: Budget,
    ranges: u64,
}

impl Store {
    /// A store of `limit` bytes, in which free blocks lie already, full of `dirt`.
    fn new(limit: usize, dirt: u8) -> Self {
        let mut store = Self {
            pool: BlockPool::new(usize::MAX),
            account: Account::new(usize::MAX),
            budget: Budget::new(usize::MAX),
            ranges: 0,
        };
        let mut last_user = SendBuffer::default();
        last_user.write(&vec![dirt; 100_000], usize::MAX, &mut store.memory());
        last_user.discard(&mut store.memory());
        store.account = Account::new(limit);
        store
    }

    const fn memory(&mut self) -> Memory<'_> {
        let Self { pool, account, budget, ranges } = self;
        Memory { pool, account, budget, ranges }
    }

    fn check(&self, held: usize) -> usize {
        self.account.check(held);
        self.budget.check(held);
        held
    }
}

/// The receiving half of a stream's data.
#[derive(Debug)]
pub struct Reassembly {
    store: Store,
    buffer: ReceiveBuffer,
}

impl Reassembly {
    /// An empty one that may hold `limit` bytes of blocks, which others have left full of `dirt`.
    #[must_use]
    pub fn new(limit: usize, dirt: u8) -> Self {
        Self { store: Store::new(limit, dirt), buffer: ReceiveBuffer::default() }
    }

    /// Takes bytes of the stream, unless more than `max_gaps` ranges would then wait behind gaps, or memory is short. Says
    /// how many of them are new, and how far the end has advanced.
    pub fn write(&mut self, offset: u64, data: &[u8], max_gaps: usize) -> Option<(usize, u64)> {
        let received = self.buffer.write(offset, data, &mut self.store.memory(), max_gaps).ok()?;
        Some((received.new_bytes, received.end_advanced))
    }

    /// Reads at most `max` bytes.
    pub fn read(&mut self, max: usize) -> Vec<u8> {
        let mut out = vec![0; max.min(self.buffer.readable())];
        let len = self.buffer.read(&mut out, &mut self.store.memory());
        out.truncate(len);
        out
    }

    /// The same into a buffer of its own.
    pub fn read_chunk(&mut self, max: usize) -> Option<Bytes> {
        self.buffer.read_chunk(max, &mut self.store.memory())
    }

    /// Drops everything.
    pub fn discard(&mut self) {
        self.buffer.discard(&mut self.store.memory());
    }

    /// Bytes read, bytes that can be read, and one more than the highest offset received.
    #[must_use]
    pub fn ends(&self) -> (u64, usize, u64) {
        (self.buffer.read_end(), self.buffer.readable(), self.buffer.end_received())
    }

    /// How many of the bytes from `offset` on, `len` in all, are not received yet.
    #[must_use]
    pub fn missing(&self, offset: u64, len: usize) -> u64 {
        self.buffer.missing(offset, len)
    }

    /// Checks the invariants and that what is held is what is charged, and says how much that is in blocks and beside
    /// them.
    #[must_use]
    pub fn check(&self) -> (usize, usize) {
        (self.store.check(self.buffer.check()), self.buffer.heap_bytes())
    }
}

/// The sending half of a stream's data.
#[derive(Debug)]
pub struct Outgoing {
    store: Store,
    buffer: SendBuffer,
}

impl Outgoing {
    /// An empty one that may hold so much that `limit` bytes of blocks fit, which others have left full of `dirt`.
    #[must_use]
    pub fn new(limit: usize, dirt: u8) -> Self {
        // A part of an account is not for data to send.
        Self { store: Store::new(limit.saturating_add(limit / 16), dirt), buffer: SendBuffer::default() }
    }

    /// Takes as much of `data` as `max` and the memory allow, and says how many bytes that was.
    pub fn write(&mut self, data: &[u8], max: usize) -> usize {
        self.buffer.write(data, max, &mut self.store.memory())
    }

    /// What is to be sent next, as an offset and bytes; it counts as sent then.
    pub fn send(&mut self, max_len: usize, flow_limit: u64) -> Option<(u64, Vec<u8>)> {
        let chunk = self.buffer.next_chunk(max_len, flow_limit)?;
        self.buffer.mark_sent(chunk);
        let mut out = Vec::new();
        self.buffer.append_to(chunk, &mut out).ok()?;
        Some((chunk.offset, out))
    }

    /// The peer has these bytes. Says how many of them that is news of.
    pub fn on_acked(&mut self, offset: u64, len: usize) -> u64 {
        self.buffer.on_acked(Chunk { offset, len }, &mut self.store.memory())
    }

    /// A packet with these bytes is lost.
    pub fn on_lost(&mut self, offset: u64, len: usize) {
        self.buffer.on_lost(Chunk { offset, len });
    }

    /// Drops everything.
    pub fn discard(&mut self) {
        self.buffer.discard(&mut self.store.memory());
    }

    /// Bytes written, and of those the ones never sent as an offset, and the number not acknowledged.
    #[must_use]
    pub const fn ends(&self) -> (u64, u64, u64) {
        (self.buffer.written_end(), self.buffer.sent_end(), self.buffer.unacked_len())
    }

    /// As [`Reassembly::check`].
    #[must_use]
    pub fn check(&self) -> (usize, usize) {
        (self.store.check(self.buffer.check()), self.buffer.heap_bytes())
    }
}

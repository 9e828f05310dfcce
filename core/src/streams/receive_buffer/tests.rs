use alloc::collections::BTreeSet;
use alloc::vec;
use core::iter::zip;

use proptest::prelude::*;

use super::*;
use crate::budget::{Account, Budget};
use crate::streams::blocks::{BlockPool, LARGE, SMALL};

/// Four blocks and a bit.
const UNIVERSE: usize = 55_000;

/// A connection's memory and one buffer on it.
struct Bench {
    pool: BlockPool,
    account: Account,
    budget: Budget,
    ranges: u64,
    buffer: ReceiveBuffer,
}

impl Bench {
    fn new(limit: usize) -> Self {
        Self {
            pool: BlockPool::new(usize::MAX),
            account: Account::new(limit),
            budget: Budget::new(usize::MAX),
            ranges: 0,
            buffer: ReceiveBuffer::default(),
        }
    }

    fn parts(&mut self) -> (&mut ReceiveBuffer, Memory<'_>) {
        let Self { pool, account, budget, ranges, buffer } = self;
        (buffer, Memory { pool, account, budget, ranges })
    }

    fn write(&mut self, offset: u64, data: &[u8], max_gaps: usize) -> Result<Received, WriteError> {
        let (buffer, mut memory) = self.parts();
        buffer.write(offset, data, &mut memory, max_gaps)
    }

    fn read(&mut self, max: usize) -> Vec<u8> {
        let (buffer, mut memory) = self.parts();
        let mut out = vec![0; max];
        let len = buffer.read(&mut out, &mut memory);
        out.truncate(len);
        out
    }

    fn read_chunk(&mut self, max: usize) -> Option<Bytes> {
        let (buffer, mut memory) = self.parts();
        buffer.read_chunk(max, &mut memory)
    }

    fn discard(&mut self) {
        let (buffer, mut memory) = self.parts();
        buffer.discard(&mut memory);
    }

    /// Bytes in blocks held, which the account and the budget agree on.
    fn held(&self) -> usize {
        let held = self.buffer.check();
        self.account.check(held);
        self.budget.check(held);
        held
    }
}

#[derive(Clone, Debug)]
enum Op {
    Write {
        offset: usize,
        len: usize,
    },
    /// Begins where the contiguous part ends.
    Append {
        len: usize,
    },
    Read(usize),
    ReadChunk(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![0..40usize, 0..3000usize, 0..20_000usize];
    prop_oneof![
        3 => (0..UNIVERSE, len()).prop_map(|(offset, len)| Op::Write { offset, len }),
        3 => len().prop_map(|len| Op::Append { len }),
        2 => len().prop_map(Op::Read),
        1 => len().prop_map(Op::ReadChunk),
    ]
}

/// Who wrote each byte first, and how far it was read.
struct Model {
    bytes: Vec<Option<u8>>,
    read: usize,
    /// Bytes of blocks that readable data took beyond the limit.
    overdraft: usize,
}

impl Model {
    fn contiguous(&self) -> usize {
        self.bytes.iter().position(Option::is_none).unwrap_or(UNIVERSE)
    }

    fn end(&self) -> usize {
        self.bytes.iter().rposition(Option::is_some).map_or(0, |last| last + 1)
    }

    fn gaps(&self) -> usize {
        zip(&self.bytes, &self.bytes[1..]).filter(|(a, b)| a.is_none() && b.is_some()).count()
    }

    fn block_bytes(&self) -> usize {
        let unread = (self.read..UNIVERSE).filter(|&at| self.bytes[at].is_some());
        let indices: BTreeSet<u64> = unread.map(|at| block_index(at as u64)).collect();
        indices.into_iter().map(|index| block_size(index).bytes()).sum()
    }

    /// What a write should do; applied if it succeeds.
    fn write(&mut self, offset: usize, data: &[u8], limit: usize, max_gaps: usize) -> Option<Received> {
        let (gaps, end) = (self.gaps(), self.end());
        let mut after = Self { bytes: self.bytes.clone(), ..*self };
        let mut new_bytes = 0;
        for (slot, &byte) in zip(&mut after.bytes[offset..], data) {
            if slot.is_none() {
                *slot = Some(byte);
                new_bytes += 1;
            }
        }
        let growth = after.block_bytes() - self.block_bytes();
        if growth > 0 && after.block_bytes() > limit {
            if offset > self.contiguous() || self.overdraft > LARGE {
                return None;
            }
            after.overdraft += growth;
        }
        if after.gaps() > gaps.max(max_gaps) {
            return None;
        }
        *self = after;
        Some(Received { new_bytes, end_advanced: (self.end() - end) as u64 })
    }

    fn read(&mut self, max: usize) -> Vec<u8> {
        let (to, held) = (self.contiguous().min(self.read + max), self.block_bytes());
        let read = self.bytes[self.read..to].iter().map(|byte| byte.unwrap()).collect();
        self.read = to;
        self.overdraft = self.overdraft.saturating_sub(held - self.block_bytes());
        read
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn reads_what_was_written_first_within_its_limits(
        ops in proptest::collection::vec(op(), 1..60),
        limit in prop_oneof![Just(SMALL), Just(SMALL + LARGE), Just(3 * LARGE), Just(usize::MAX)],
        max_gaps in 0..6usize,
    ) {
        let mut bench = Bench::new(limit);
        let mut model = Model { bytes: vec![None; UNIVERSE], read: 0, overdraft: 0 };
        for (tag, op) in (1..).zip(ops) {
            let (offset, len) = match op {
                Op::Write { offset, len } => (offset, len.min(UNIVERSE - offset)),
                Op::Append { len } => (model.contiguous(), len.min(UNIVERSE - model.contiguous())),
                Op::Read(max) => {
                    assert_eq!(bench.read(max), model.read(max));
                    (0, 0)
                }
                Op::ReadChunk(max) => {
                    let read = model.read(max);
                    assert_eq!(bench.read_chunk(max).unwrap_or_default(), read);
                    (0, 0)
                }
            };
            // Each write has bytes of its own, so that it shows whose were kept.
            let data: Vec<u8> = (offset..offset + len).map(|at| (at as u8).wrapping_mul(31) ^ tag).collect();
            // Once the limit is reached no gap is added.
            let gaps = if bench.account.available() == 0 { 0 } else { max_gaps };
            let expected = model.write(offset, &data, limit, gaps);
            assert_eq!(bench.write(offset as u64, &data, max_gaps).ok(), expected);

            assert_eq!(bench.buffer.readable(), model.contiguous() - model.read);
            assert_eq!(bench.buffer.read_end(), model.read as u64);
            assert_eq!(bench.buffer.end_received(), model.end() as u64);
            assert_eq!(bench.held(), model.block_bytes());
        }
        bench.discard();
        assert_eq!((bench.held(), bench.buffer.readable(), bench.buffer.heap_bytes()), (0, 0, 0));
        assert_eq!(bench.buffer.end_received(), model.end() as u64);
    }
}

#[test]
fn an_idle_stream_holds_no_block() {
    let mut bench = Bench::new(SMALL);
    for round in 0..100u64 {
        bench.write(20 * round, &[round as u8; 20], 0).unwrap();
        assert_eq!(bench.held(), SMALL);
        assert_eq!(bench.read(100), [round as u8; 20]);
        assert_eq!(bench.held(), 0);
    }
}

#[test]
fn a_block_with_bytes_behind_a_gap_is_kept_when_the_rest_is_read() {
    let mut bench = Bench::new(2 * SMALL);
    bench.write(0, b"abc", 1).unwrap();
    bench.write(4, b"e", 1).unwrap();
    assert_eq!(bench.read(10), b"abc");
    assert_eq!(bench.held(), SMALL);
    bench.write(3, b"d", 1).unwrap();
    assert_eq!(bench.read(10), b"de");
    assert_eq!(bench.held(), 0);
}

#[test]
fn in_order_data_passes_however_many_gaps_there_are() {
    let mut bench = Bench::new(usize::MAX);
    bench.write(10, b"x", 1).unwrap();
    assert_eq!(bench.write(20, b"y", 1), Err(TooManyGaps.into()));
    assert_eq!(bench.write(0, b"ab", 0).unwrap().new_bytes, 2);
    assert_eq!(bench.write(11, b"z", 0).unwrap().new_bytes, 1);
    assert_eq!(bench.buffer.readable(), 2);
}

#[test]
fn far_ahead_costs_one_block_and_the_end_of_the_stream_is_a_limit() {
    let mut bench = Bench::new(LARGE);
    bench.write(MAX_LEN - 1, b"z", 1).unwrap();
    assert_eq!(bench.held(), LARGE);
    assert!(bench.buffer.heap_bytes() < 1024);
    assert_eq!(bench.write(MAX_LEN, b"z", 1), Err(WriteError::BeyondMaximum));
    assert_eq!(bench.write(u64::MAX, b"zz", 1), Err(WriteError::BeyondMaximum));
}

#[test]
fn a_write_over_budget_takes_none_of_its_blocks() {
    let mut bench = Bench::new(SMALL + LARGE);
    assert_eq!(bench.write(1, &[1; 20_000], 1), Err(OverBudget::Connection.into()));
    assert_eq!((bench.held(), bench.buffer.end_received()), (0, 0));
    bench.write(0, &[1; 10_000], 1).unwrap();
    assert_eq!(bench.held(), SMALL + LARGE);
}

#[test]
fn data_behind_a_gap_cannot_lock_out_what_fills_the_gap() {
    let mut bench = Bench::new(LARGE);
    let block = |index: usize| (SMALL + index * LARGE) as u64;
    bench.write(block(3), &[4; LARGE], 9).unwrap();
    assert!(bench.write(block(2), b"x", 9).is_err());
    bench.write(0, &[1; SMALL], 9).unwrap();
    bench.write(block(0), &[2; LARGE], 9).unwrap();
    assert_eq!(bench.held(), SMALL + 2 * LARGE);
    let next = bench.write(block(1), b"x", 9);
    assert_eq!(next, Err(OverBudget::Connection.into()), "first something must be read");
    assert_eq!(bench.read(SMALL), [1; SMALL]);
    bench.write(block(1), &[3; LARGE], 9).unwrap();
    assert_eq!(bench.read(2 * LARGE).len(), 2 * LARGE);
    bench.write(block(2), &[3; LARGE], 9).unwrap();
    assert_eq!(bench.read(2 * LARGE).len(), 2 * LARGE);
    assert_eq!(bench.held(), 0);
}

#[test]
fn in_order_bulk_does_not_grow_the_bookkeeping() {
    let mut bench = Bench::new(2 * LARGE + SMALL);
    let packet = [7; 1200];
    for number in 0..2000u64 {
        bench.write(1200 * number, &packet, 0).unwrap();
        assert_eq!(bench.read_chunk(usize::MAX).unwrap().len(), packet.len());
    }
    assert!(bench.buffer.heap_bytes() <= 4 * size_of::<Held>());
}

#[test]
fn at_the_limit_gaps_are_filled_but_none_is_added() {
    let mut bench = Bench::new(SMALL);
    bench.write(10, b"k", 9).unwrap();
    assert_eq!(bench.write(20, b"u", 9), Err(TooManyGaps.into()));
    bench.write(11, b"l", 9).unwrap();
    bench.write(0, b"abcdefghij", 9).unwrap();
    assert_eq!(bench.read(100), b"abcdefghijkl");
}

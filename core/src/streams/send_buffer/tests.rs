use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::budget::{Account, Budget};
use crate::streams::blocks::{BlockPool, LARGE, SMALL};

/// A connection's memory and one buffer on it.
struct Bench {
    pool: BlockPool,
    account: Account,
    budget: Budget,
    ranges: u64,
    buffer: SendBuffer,
}

impl Bench {
    fn new(limit: usize) -> Self {
        Self {
            pool: BlockPool::new(usize::MAX),
            // A part of it is not for data to send.
            account: Account::new(limit.saturating_add(limit / 16)),
            budget: Budget::new(usize::MAX),
            ranges: 0,
            buffer: SendBuffer::default(),
        }
    }

    fn parts(&mut self) -> (&mut SendBuffer, Memory<'_>) {
        let Self { pool, account, budget, ranges, buffer } = self;
        (buffer, Memory { pool, account, budget, ranges })
    }

    fn write(&mut self, data: &[u8], max: usize) -> usize {
        let (buffer, mut memory) = self.parts();
        buffer.write(data, max, &mut memory)
    }

    fn send(&mut self, max_len: usize, flow_limit: u64) -> Option<Chunk> {
        let chunk = self.buffer.next_chunk(max_len, flow_limit)?;
        self.buffer.mark_sent(chunk);
        Some(chunk)
    }

    fn ack(&mut self, chunk: Chunk) -> u64 {
        let (buffer, mut memory) = self.parts();
        buffer.on_acked(chunk, &mut memory)
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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Unsent,
    InFlight,
    Lost,
    Acked,
}
use State::{Acked, InFlight, Lost, Unsent};

/// Of each byte ever written, what became of it.
#[derive(Default)]
struct Model {
    bytes: Vec<State>,
}

impl Model {
    fn count(&self, state: State) -> u64 {
        self.bytes.iter().filter(|&&byte| byte == state).count() as u64
    }

    fn first_not(&self, state: State) -> usize {
        self.bytes.iter().position(|&byte| byte != state).unwrap_or(self.bytes.len())
    }

    fn block_bytes(&self) -> usize {
        let range = self.first_not(Acked) as u64..self.bytes.len() as u64;
        block_indices(&range).map(|index| block_size(index).bytes()).sum()
    }

    fn next_chunk(&self, max_len: usize, flow_limit: u64) -> Option<Chunk> {
        let run = |from: usize, state| self.bytes[from..].iter().take_while(|&&byte| byte == state).count();
        let (offset, len) = if let Some(first) = self.bytes.iter().position(|&byte| byte == Lost) {
            (first, run(first, Lost))
        } else {
            let first = self.bytes.len() - self.count(Unsent) as usize;
            (first, run(first, Unsent).min((flow_limit as usize).saturating_sub(first)))
        };
        let len = len.min(max_len);
        (len > 0).then_some(Chunk { offset: offset as u64, len })
    }

    /// Changes the bytes of `chunk` that are in one of the states `from`; says how many.
    fn change(&mut self, chunk: Chunk, from: &[State], to: State) -> u64 {
        let start = self.bytes.len().min(chunk.offset as usize);
        let end = self.bytes.len().min(chunk.range().end as usize);
        let hit = self.bytes[start..end].iter_mut().filter(|byte| from.contains(byte));
        hit.map(|byte| *byte = to).count() as u64
    }
}

#[derive(Clone, Debug)]
enum Op {
    Write {
        len: usize,
        max: usize,
    },
    Send {
        max_len: usize,
        flow_ahead: u64,
    },
    /// Of a packet sent earlier, maybe long settled.
    Ack(prop::sample::Index),
    Lose(prop::sample::Index),
    /// Of any range at all.
    AckAny(Chunk),
    LoseAny(Chunk),
}

fn op() -> impl Strategy<Value = Op> {
    let len = || prop_oneof![0..40usize, 0..3000usize, 0..20_000usize];
    let chunk = || (0..60_000u64, 0..5000usize).prop_map(|(offset, len)| Chunk { offset, len });
    prop_oneof![
        3 => (len(), len()).prop_map(|(len, max)| Op::Write { len, max }),
        6 => (0..1500usize, 0..5000u64).prop_map(|(max_len, flow_ahead)| Op::Send { max_len, flow_ahead }),
        4 => any::<prop::sample::Index>().prop_map(Op::Ack),
        2 => any::<prop::sample::Index>().prop_map(Op::Lose),
        1 => chunk().prop_map(Op::AckAny),
        1 => chunk().prop_map(Op::LoseAny),
    ]
}

fn byte_at(offset: usize) -> u8 {
    (offset as u8) ^ ((offset >> 8) as u8).wrapping_mul(29)
}

fn bytes_from(offset: usize, len: usize) -> Vec<u8> {
    (offset..offset + len).map(byte_at).collect()
}

fn compare(bench: &Bench, model: &Model) {
    let buffer = &bench.buffer;
    let (written, acked) = (model.bytes.len() as u64, model.first_not(Acked) as u64);
    assert_eq!(bench.held(), model.block_bytes());
    assert_eq!(
        (buffer.unsent_len(), buffer.sent_end()),
        (model.count(Unsent), written - model.count(Unsent))
    );
    assert_eq!((buffer.written_end(), buffer.unacked_len()), (written, written - model.count(Acked)));
    assert_eq!((buffer.buffered_len(), buffer.is_all_acked()), (written - acked, acked == written));
}

fn apply(bench: &mut Bench, model: &mut Model, sent: &mut Vec<Chunk>, op: Op) {
    let (acked, lost) = match op {
        Op::Write { len, max } => {
            let data = bytes_from(model.bytes.len(), len);
            let written = bench.write(&data, max);
            model.bytes.resize(model.bytes.len() + written, Unsent);
            if written < len.min(max) {
                let next = block_size(block_index(model.bytes.len() as u64)).bytes();
                assert!(bench.account.writable() < next, "stopped although a block fits");
            }
            (None, None)
        }
        Op::Send { max_len, flow_ahead } => {
            let flow_limit = bench.buffer.sent_end() + flow_ahead;
            let chunk = bench.send(max_len, flow_limit);
            assert_eq!(chunk, model.next_chunk(max_len, flow_limit));
            if let Some(chunk) = chunk {
                model.change(chunk, &[Lost, Unsent], InFlight);
                let mut packet = Vec::new();
                bench.buffer.append_to(chunk, &mut packet).unwrap();
                assert_eq!(packet, bytes_from(chunk.offset as usize, chunk.len));
                sent.push(chunk);
            }
            (None, None)
        }
        Op::Ack(index) => ((!sent.is_empty()).then(|| *index.get(sent)), None),
        Op::Lose(index) => (None, (!sent.is_empty()).then(|| *index.get(sent))),
        Op::AckAny(chunk) => (Some(chunk), None),
        Op::LoseAny(chunk) => (None, Some(chunk)),
    };
    if let Some(chunk) = acked {
        assert_eq!(bench.ack(chunk), model.change(chunk, &[InFlight, Lost], Acked));
    }
    if let Some(chunk) = lost {
        bench.buffer.on_lost(chunk);
        model.change(chunk, &[InFlight], Lost);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn every_byte_is_unsent_in_flight_lost_or_acked(
        ops in proptest::collection::vec(op(), 1..120),
        limit in prop_oneof![Just(SMALL), Just(SMALL + LARGE), Just(3 * LARGE), Just(usize::MAX)],
    ) {
        let mut bench = Bench::new(limit);
        let (mut model, mut sent) = (Model::default(), Vec::new());
        for op in ops {
            apply(&mut bench, &mut model, &mut sent, op);
            compare(&bench, &model);
        }
        let sent_end = bench.buffer.sent_end();
        bench.discard();
        assert_eq!((bench.held(), bench.buffer.heap_bytes(), bench.buffer.sent_end()), (0, 0, sent_end));
        assert!(bench.buffer.is_all_acked() && bench.buffer.next_chunk(1000, u64::MAX).is_none());
    }

    #[test]
    fn whatever_is_lost_everything_arrives_in_the_end(
        len in 1..60_000usize,
        losses in proptest::collection::vec(any::<bool>(), 1..40),
    ) {
        let mut bench = Bench::new(usize::MAX);
        assert_eq!(bench.write(&bytes_from(0, len), usize::MAX), len);
        let mut arrived = vec![None; len];
        for lost in losses.into_iter().chain(core::iter::repeat(false)) {
            let Some(chunk) = bench.send(1200, u64::MAX) else { break };
            let mut packet = Vec::new();
            bench.buffer.append_to(chunk, &mut packet).unwrap();
            if lost {
                bench.buffer.on_lost(chunk);
            } else {
                bench.ack(chunk);
                (chunk.offset as usize..).zip(packet).for_each(|(at, byte)| arrived[at] = Some(byte));
            }
        }
        assert!(arrived.into_iter().eq((0..len).map(|at| Some(byte_at(at)))));
        assert!(bench.buffer.is_all_acked());
        assert_eq!(bench.held(), 0);
    }
}

#[test]
fn only_what_is_held_can_be_copied_out() {
    let mut bench = Bench::new(usize::MAX);
    bench.write(&[1; 100], usize::MAX);
    let chunk = bench.send(10, u64::MAX).unwrap();
    bench.ack(chunk);
    let copy = |offset, len| bench.buffer.append_to(Chunk { offset, len }, &mut Vec::new());
    assert_eq!(copy(9, 2), Err(NotBuffered));
    assert_eq!(copy(99, 2), Err(NotBuffered));
    assert_eq!(copy(u64::MAX, 2), Err(NotBuffered));
    assert_eq!(copy(10, 90), Ok(()));
}

#[test]
fn an_idle_stream_holds_no_block() {
    let mut bench = Bench::new(SMALL);
    for _ in 0..100 {
        assert_eq!(bench.write(&[7; 20], usize::MAX), 20);
        let chunk = bench.send(1200, u64::MAX).unwrap();
        assert_eq!(bench.held(), SMALL);
        assert_eq!(bench.ack(chunk), 20);
        assert_eq!(bench.held(), 0);
    }
}

#[test]
fn in_order_bulk_does_not_grow_the_bookkeeping() {
    let mut bench = Bench::new(4 * LARGE);
    let mut in_flight = VecDeque::new();
    for _ in 0..2000 {
        bench.write(&[7; 1200], usize::MAX);
        in_flight.extend(bench.send(1200, u64::MAX));
        if in_flight.len() > 20 {
            let oldest = in_flight.pop_front().unwrap();
            assert_eq!(bench.ack(oldest), 1200);
        }
    }
    assert!(bench.buffer.heap_bytes() <= 4 * size_of::<Block>());
}

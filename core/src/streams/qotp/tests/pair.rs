//! Two ends and a network that loses, repeats and reorders: what is read is what was written.

use alloc::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const STREAMS: u32 = 6;
const PACKET: u16 = 1400;

#[derive(Clone, Debug)]
enum Op {
    Write {
        stream: u32,
        len: usize,
    },
    Finish(u32),
    Send {
        room: usize,
    },
    /// A chunk sent earlier goes again.
    Resend(Index),
    /// A packet arrives; it may do so again.
    Deliver(Index),
    Drop(Index),
    /// An acknowledgement arrives; it may do so again.
    Ack(Index),
    Read {
        stream: u32,
        max: usize,
    },
    Abandon(u32),
    /// The peer's window is told, or a smaller one.
    Window {
        smaller: u64,
    },
}

fn op() -> impl Strategy<Value = (bool, Op)> {
    let stream = || 0..STREAMS;
    let op = prop_oneof![
        4 => (stream(), 0..5000usize).prop_map(|(stream, len)| Op::Write { stream, len }),
        1 => stream().prop_map(Op::Finish),
        8 => (0..=1361usize).prop_map(|room| Op::Send { room }),
        3 => any::<Index>().prop_map(Op::Resend),
        8 => any::<Index>().prop_map(Op::Deliver),
        2 => any::<Index>().prop_map(Op::Drop),
        6 => any::<Index>().prop_map(Op::Ack),
        4 => (stream(), 1..4000usize).prop_map(|(stream, max)| Op::Read { stream, max }),
        1 => stream().prop_map(Op::Abandon),
        2 => (0..3000u64).prop_map(|smaller| Op::Window { smaller }),
    ];
    (any::<bool>(), op)
}

/// One end, and what is under way from it.
struct End {
    side: Side,
    window: u64,
    /// Sent and not acknowledged, by stream, offset and length, as an acknowledgement names them.
    unacked: BTreeMap<(StreamId, u64, u16), Packet>,
    network: Vec<Packet>,
    acks: Vec<Packet>,
    written: BTreeMap<u32, Vec<u8>>,
    read: BTreeMap<u32, Vec<u8>>,
    finished: BTreeSet<u32>,
    ended: BTreeSet<u32>,
    abandoned: BTreeSet<u32>,
}

fn byte_at(stream: u32, offset: usize) -> u8 {
    (offset as u8) ^ ((offset >> 8) as u8).wrapping_mul(29) ^ (stream as u8).wrapping_mul(57)
}

impl End {
    fn new(role: Role, limits: &Limits) -> Self {
        Self {
            side: Side::new(role, limits, usize::MAX),
            window: 16 << 20,
            unacked: BTreeMap::new(),
            network: Vec::new(),
            acks: Vec::new(),
            written: BTreeMap::new(),
            read: BTreeMap::new(),
            finished: BTreeSet::new(),
            ended: BTreeSet::new(),
            abandoned: BTreeSet::new(),
        }
    }

    fn write(&mut self, stream: u32, len: usize) {
        let _ = self.side.open_id(stream);
        let written = self.written.entry(stream).or_default();
        let data: Vec<u8> = (written.len()..written.len() + len).map(|at| byte_at(stream, at)).collect();
        if let Ok(taken) = self.side.write(stream, &data) {
            written.extend_from_slice(&data[..taken]);
        }
    }

    fn finish(&mut self, stream: u32) {
        if self.side.finish(stream).is_ok() {
            self.finished.insert(stream);
        }
    }

    fn send(&mut self, room: usize) -> bool {
        let before = self.side.streams.in_flight_data();
        let Some(packet) = self.side.send(room) else { return false };
        let Item::Stream { id, offset, len, .. } = packet.item else { unreachable!() };
        assert!(usize::from(len) <= room && usize::from(len) == packet.data.len());
        assert!(len == 0 || before + u64::from(PACKET) <= self.window, "held by the window");
        assert_eq!(self.side.streams.in_flight_data(), before + u64::from(len));
        let old = self.unacked.insert((id, offset, len), packet.clone());
        assert!(old.is_none_or(|old| old.data.is_empty()), "sent as new twice");
        self.network.push(packet);
        true
    }

    fn resend(&mut self, packet: &Packet) {
        assert_eq!(self.side.data(&packet.item).as_ref(), Some(&packet.data), "same boundaries, same bytes");
        self.network.push(packet.clone());
    }

    fn ack(&mut self, packet: &Packet) {
        let Item::Stream { id, offset, len, .. } = packet.item else { unreachable!() };
        // Only what is still under way is credited: the caller's part.
        if self.unacked.get(&(id, offset, len)).is_some_and(|sent| sent.item == packet.item) {
            self.unacked.remove(&(id, offset, len));
            self.side.acked(packet);
        }
    }

    fn read(&mut self, stream: u32, max: usize) -> bool {
        let Ok(data) = self.side.read(stream, max) else { return false };
        if data.is_empty() {
            self.ended.insert(stream);
        }
        self.read.entry(stream).or_default().extend_from_slice(&data);
        true
    }

    fn read_all(&mut self) -> bool {
        (0..STREAMS).fold(false, |any, stream| any | self.read(stream, 100_000))
    }

    fn abandon(&mut self, stream: u32) {
        if self.side.abandon(stream).is_ok() {
            self.abandoned.insert(stream);
        }
    }
}

/// A packet of `from` arrives at `to`.
fn deliver(from: &mut End, to: &mut End, packet: &Packet) {
    match to.side.receive_packet(packet) {
        Ok(()) => from.acks.push(packet.clone()),
        Err(refusal) => assert_eq!(refusal, Refusal::Withhold),
    }
}

fn tell_window(from: &mut End, to: &End, smaller: u64) {
    let streams = &to.side.streams;
    from.window = streams.receive_capacity().saturating_sub(streams.unread()).saturating_sub(smaller);
    from.side.streams.set_peer_window(from.window, PACKET);
}

fn apply(us: &mut End, them: &mut End, op: Op) {
    match op {
        Op::Write { stream, len } => us.write(stream, len),
        Op::Finish(stream) => us.finish(stream),
        Op::Send { room } => {
            us.send(room);
        }
        Op::Resend(index) if !us.unacked.is_empty() => {
            let packet = us.unacked.values().nth(index.index(us.unacked.len())).unwrap().clone();
            us.resend(&packet);
        }
        Op::Deliver(index) if !us.network.is_empty() => {
            let packet = index.get(&us.network).clone();
            deliver(us, them, &packet);
        }
        Op::Drop(index) if !us.network.is_empty() => {
            us.network.swap_remove(index.index(us.network.len()));
        }
        Op::Ack(index) if !us.acks.is_empty() => {
            let packet = index.get(&us.acks).clone();
            us.ack(&packet);
        }
        Op::Resend(_) | Op::Deliver(_) | Op::Drop(_) | Op::Ack(_) => {}
        Op::Read { stream, max } => {
            us.read(stream, max);
        }
        Op::Abandon(stream) => us.abandon(stream),
        Op::Window { smaller } => tell_window(us, them, smaller),
    }
}

/// From now on nothing is lost: a round of everything there is to do. Returns whether anything was.
fn round(us: &mut End, them: &mut End) -> bool {
    tell_window(us, them, 0);
    let mut progress = false;
    while us.send(1361) {
        progress = true;
    }
    let unacked: Vec<Packet> = us.unacked.values().cloned().collect();
    for packet in unacked {
        us.resend(&packet);
        deliver(us, them, &packet);
        progress |= them.read_all();
    }
    progress |= them.read_all();
    for packet in core::mem::take(&mut us.acks) {
        progress |= us.unacked.values().any(|sent| *sent == packet);
        us.ack(&packet);
    }
    progress
}

fn compare(us: &End, them: &End) {
    assert!(us.unacked.is_empty(), "nothing stays behind");
    assert_eq!(us.side.streams.in_flight_data(), 0);
    for (stream, written) in &us.written {
        let read = them.read.get(stream).map_or(&[][..], Vec::as_slice);
        if them.abandoned.contains(stream) {
            assert!(written.starts_with(read));
        } else {
            assert_eq!(read, written, "stream {stream}");
            assert_eq!(them.ended.contains(stream), us.finished.contains(stream));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn qotp_what_is_read_is_what_was_written(
        ops in proptest::collection::vec(op(), 1..200),
        max_window in prop_oneof![3000..10_000u64, Just(32 << 20)],
    ) {
        let limits = Limits { max_window, streams_bidi: STREAMS, ..Limits::default() };
        let mut a = End::new(Role::Initiator, &limits);
        let mut b = End::new(Role::Responder, &limits);
        for (by_a, op) in ops {
            if by_a { apply(&mut a, &mut b, op) } else { apply(&mut b, &mut a, op) }
        }
        while round(&mut a, &mut b) | round(&mut b, &mut a) {}
        compare(&a, &b);
        compare(&b, &a);
        a.side.discard();
        b.side.discard();
    }
}

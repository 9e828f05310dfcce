use std::vec;
use std::vec::Vec;

use super::*;
use crate::budget::{Account, Budget};
use crate::error::WriteError;
use crate::id::{Direction, ErrorCode};
use crate::rng::Rng;
use crate::streams::blocks::BlockPool;
use crate::time::{Duration, Instant};

mod pair;
mod receive;
mod send;

const BI: Direction = Direction::Bidirectional;

/// One end's streams and the memory of its connection.
struct Side {
    pool: BlockPool,
    account: Account,
    budget: Budget,
    ranges: u64,
    streams: Streams,
}

/// What one packet carries.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Packet {
    item: Item,
    data: Vec<u8>,
}

fn id(number: u32) -> StreamId {
    StreamId::qotp(number)
}

fn hasher() -> NumberState {
    Rng::new(&[1; 32], &[2; 32]).number_hasher()
}

impl Side {
    fn new(role: Role, limits: &Limits, memory: usize) -> Self {
        Self {
            pool: BlockPool::new(usize::MAX),
            account: Account::new(memory),
            budget: Budget::new(usize::MAX),
            ranges: 0,
            streams: Streams::by_use(role, limits, false, hasher()),
        }
    }

    /// With the limits that are the default.
    fn of(role: Role) -> Self {
        Self::new(role, &Limits::default(), usize::MAX)
    }

    fn parts(&mut self) -> (&mut Streams, Memory<'_>) {
        let Self { pool, account, budget, ranges, streams } = self;
        (streams, Memory { pool, account, budget, ranges })
    }

    fn open_id(&mut self, number: u32) -> Result<StreamId, OpenError> {
        let (streams, mut memory) = self.parts();
        streams.open_id(number, &mut memory)
    }

    fn open(&mut self, direction: Direction) -> Result<StreamId, OpenError> {
        let (streams, mut memory) = self.parts();
        streams.open(direction, &mut memory)
    }

    fn write(&mut self, number: u32, data: &[u8]) -> Result<usize, WriteError> {
        let (streams, mut memory) = self.parts();
        streams.write(id(number), data, &mut memory)
    }

    fn finish(&mut self, number: u32) -> Result<(), WriteError> {
        let (streams, mut memory) = self.parts();
        streams.finish(id(number), &mut memory)
    }

    fn receive(&mut self, number: u32, offset: u64, data: &[u8], fin: bool) -> Result<(), Refusal> {
        let (streams, mut memory) = self.parts();
        let credit = streams.on_stream(id(number), offset, data, fin, &mut memory)?;
        assert_eq!(credit, Credit::Same);
        self.check();
        Ok(())
    }

    fn receive_packet(&mut self, packet: &Packet) -> Result<(), Refusal> {
        let Item::Stream { id, offset, fin, .. } = packet.item else { unreachable!() };
        self.receive(id.qotp_number().unwrap(), offset, &packet.data, fin)
    }

    /// What can be read now, at most `max` bytes, and whether that is the end.
    fn read(&mut self, number: u32, max: usize) -> Result<Vec<u8>, ReadError> {
        let (streams, mut memory) = self.parts();
        let mut out = vec![0; max];
        let len = streams.read(id(number), &mut out, &mut memory)?;
        out.truncate(len);
        self.check();
        Ok(out)
    }

    fn abandon(&mut self, number: u32) -> Result<(), ReadError> {
        let (streams, mut memory) = self.parts();
        let abandoned = streams.abandon(id(number), &mut memory);
        self.check();
        abandoned
    }

    /// The next packet with at most `room` bytes of data.
    fn send(&mut self, room: usize) -> Option<Packet> {
        let item = self.streams.take_chunk(|_| room)?;
        Some(Packet { item, data: self.data(&item).unwrap() })
    }

    fn data(&self, item: &Item) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        self.streams.append_chunk(item, &mut data).then_some(data)
    }

    fn acked(&mut self, packet: &Packet) {
        let (streams, mut memory) = self.parts();
        streams.on_acked(packet.item, &mut memory);
        self.check();
    }

    fn events(&mut self) -> Vec<StreamEvent> {
        core::iter::from_fn(|| self.streams.poll_event()).collect()
    }

    /// Ends stream `number` in both directions, as the side that did not open it.
    fn complete(&mut self, number: u32) {
        self.receive(number, 0, b"", true).unwrap();
        assert_eq!(self.read(number, 10), Ok(vec![]));
        self.finish(number).unwrap();
        let packet = self.send(1000).unwrap();
        assert_eq!(packet.item, Item::Stream { id: id(number), offset: 0, len: 0, fin: true });
        self.acked(&packet);
    }

    /// Panics unless the sums kept are those of the streams.
    fn check(&self) {
        let receiving = self.streams.table.values().filter_map(|stream| stream.receive.as_ref());
        let (held, unread) = receiving
            .map(|receive| receive.held_and_readable())
            .fold((0, 0), |(held, unread), (more, readable)| (held + more, unread + readable));
        let capacity = self.streams.receive_capacity();
        assert_eq!(self.streams.unread(), unread);
        assert_eq!(self.streams.opening.by_use().unwrap().reception.room(), capacity.checked_sub(held));
        assert!(self.account.used() >= self.streams.table.len() * STREAM_COST + held as usize);
    }

    /// Gives everything back, and panics unless that was all.
    fn discard(mut self) {
        let (streams, mut memory) = self.parts();
        streams.discard(&mut memory);
        assert_eq!((self.account.used(), self.budget.used(), self.streams.unread()), (0, 0, 0));
        self.check();
    }
}

fn withheld(result: Result<(), Refusal>) -> bool {
    result == Err(Refusal::Withhold)
}

#[test]
fn qotp_the_peer_opens_any_stream_by_using_it() {
    let mut side = Side::of(Role::Responder);
    for number in [7, 0, u32::MAX, 2] {
        side.receive(number, 0, b"x", false).unwrap();
    }
    assert_eq!(side.events()[0], StreamEvent::Opened(BI), "the application is told once");
    assert!(!side.events().contains(&StreamEvent::Opened(BI)));
    assert_eq!(side.streams.accept(Direction::Unidirectional), None);
    let accepted: Vec<_> = core::iter::from_fn(|| side.streams.accept(BI)).collect();
    assert_eq!(accepted, [id(7), id(0), id(u32::MAX), id(2)], "in the order of their first use");
    side.receive(4, 0, b"x", false).unwrap();
    assert_eq!(side.events()[0], StreamEvent::Opened(BI), "and again, once it has seen all");
    side.discard();
}

#[test]
fn qotp_our_streams_have_our_numbers_or_those_asked_for() {
    let mut side = Side::of(Role::Responder);
    side.receive(3, 0, b"", false).unwrap();
    assert_eq!(side.open(BI), Ok(id(1)));
    assert_eq!(side.open(BI), Ok(id(5)), "3 is the peer's");
    assert_eq!(side.open_id(8), Ok(id(8)), "which is an initiator's by custom only");
    for number in [1, 3, 5, 8] {
        assert_eq!(side.open_id(number), Err(OpenError::InUse));
    }
    assert_eq!(side.open(Direction::Unidirectional), Err(OpenError::Unsupported));
    assert_eq!(side.streams.accept(BI), Some(id(3)));
    assert_eq!(side.streams.accept(BI), None);
    side.discard();
}

#[test]
fn qotp_a_stream_that_is_over_never_begins_anew() {
    let mut side = Side::of(Role::Responder);
    side.receive(4, 0, b"hello", true).unwrap();
    assert_eq!(side.streams.accept(BI), Some(id(4)));
    assert_eq!(side.read(4, 10).unwrap(), b"hello");
    assert_eq!(side.read(4, 10).unwrap(), b"", "the end");
    assert!(!side.streams.is_over(id(4)), "the other half is open");
    side.write(4, b"you").unwrap();
    side.finish(4).unwrap();
    let packet = side.send(1000).unwrap();
    side.acked(&packet);
    assert!(side.events().contains(&StreamEvent::Finished(id(4))));
    assert!(side.streams.is_over(id(4)) && !side.streams.is_over(id(6)));
    assert_eq!(side.account.used(), 0);

    for (offset, data, fin) in [(0, &b"hello"[..], true), (0, b"", false), (5, b"", true), (9, b"x", false)] {
        assert_eq!(side.receive(4, offset, data, fin), Ok(()), "acknowledged again");
    }
    assert_eq!((side.streams.accept(BI), side.account.used()), (None, 0));
    assert_eq!(side.open_id(4), Err(OpenError::InUse));
    assert_eq!(side.data(&packet.item), None);
    side.acked(&packet);
    assert_eq!((side.streams.in_flight_data(), side.events()), (0, vec![]));
}

#[test]
fn qotp_each_side_may_have_so_many_streams_open() {
    let mut side = Side::new(Role::Responder, &Limits { streams_bidi: 2, ..Limits::default() }, usize::MAX);
    side.receive(0, 0, b"", false).unwrap();
    side.receive(2, 0, b"", false).unwrap();
    assert!(withheld(side.receive(4, 0, b"x", true)));
    assert_eq!((side.open(BI), side.open_id(100)), (Ok(id(1)), Ok(id(100))));
    assert_eq!((side.open(BI), side.open_id(102)), (Err(OpenError::Blocked), Err(OpenError::Blocked)));
    side.complete(2);
    assert!(!side.events().contains(&StreamEvent::Available(BI)), "it was not ours");
    assert_eq!(side.receive(4, 0, b"x", true), Ok(()), "there is a place now");
    side.complete(100);
    assert!(side.events().contains(&StreamEvent::Available(BI)));
    assert_eq!(side.open(BI), Ok(id(3)));
    side.discard();
}

#[test]
fn qotp_streams_need_memory() {
    let mut side = Side::new(Role::Initiator, &Limits::default(), 2 * STREAM_COST);
    assert_eq!(side.open(BI), Ok(id(0)));
    side.receive(1, 0, b"", false).unwrap();
    assert!(withheld(side.receive(3, 0, b"", false)));
    assert_eq!((side.open(BI), side.open_id(3)), (Err(OpenError::OverBudget), Err(OpenError::OverBudget)));
    side.complete(1);
    assert_eq!(side.receive(3, 0, b"", false), Ok(()));
    side.discard();
}

#[test]
fn qotp_knows_no_resets_and_native_streams_no_numbers() {
    let mut side = Side::of(Role::Initiator);
    side.open(BI).unwrap();
    let (streams, mut memory) = side.parts();
    let code = ErrorCode::default();
    assert_eq!(streams.reset(id(0), code, &mut memory), Err(WriteError::Unsupported));
    assert_eq!(streams.stop(id(0), code, &mut memory), Err(ReadError::Unsupported));
    streams.update_windows(Instant::ZERO, Duration::ZERO, id(0), &mut memory);
    assert!(!streams.has_output());

    side.streams = Streams::new(Role::Initiator, &Limits::default(), false, hasher());
    assert_eq!((side.open_id(0), side.abandon_native()), (Err(OpenError::Unsupported), true));
    assert!(!side.streams.is_over(id(0)));
}

impl Side {
    fn abandon_native(&mut self) -> bool {
        let (streams, mut memory) = self.parts();
        streams.abandon(id(0), &mut memory) == Err(ReadError::Unsupported)
    }
}

#[test]
fn qotp_a_graceful_end_finishes_what_the_peer_opens_later() {
    let mut side = Side::of(Role::Responder);
    side.receive(0, 0, b"x", false).unwrap();
    let (streams, mut memory) = side.parts();
    streams.finish_all(&mut memory);
    side.receive(2, 0, b"x", false).unwrap();
    for number in [0, 2] {
        let packet = side.send(1000).unwrap();
        assert_eq!(packet.item, Item::Stream { id: id(number), offset: 0, len: 0, fin: true });
        assert!(!side.streams.is_all_delivered());
        side.acked(&packet);
    }
    assert!(side.streams.is_all_delivered());
    side.discard();
}

#[test]
fn qotp_scattered_streams_are_withheld_and_their_memory_is_not_charged() {
    let mut side =
        Side::new(Role::Initiator, &Limits { streams_bidi: 2000, ..Limits::default() }, usize::MAX);
    for scattered in 0..1024 {
        side.receive(scattered * 4 + 1, 0, b"", false).unwrap();
    }
    let used = side.account.used();
    assert!(withheld(side.receive(5001, 0, b"", false)));
    assert_eq!((side.account.used(), side.streams.is_over(id(5001))), (used, false));
    assert!(side.streams.heap_bytes() >= 1024 * 16, "their ranges count");
    side.discard();
}

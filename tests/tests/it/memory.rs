//! Memory limits from the honest side: whoever keeps the rules is slowed by them, never stopped, and they always hold.
//! (What attackers can make an endpoint hold is measured under a counting allocator, in the test `alloc`.)

use dunlin_core::{Config, Connection, Duration, Event};
use dunlin_sim::{AcceptAll, LinkConfig, Pair, QueueLimit, Receiver, Sender, config, seeds};

use crate::common::{bad_line, line, ms};

/// A connection may go beyond a limit by what keeps it going: the records of some packets, the blocks of one packet of
/// readable data.
const SLACK: u64 = 56 << 10;

fn limited(bytes: u64) -> Config {
    let mut config = config();
    config.limits.per_connection = bytes;
    config
}

/// Sends `bytes` on each of `streams` streams to a reader with little memory, and checks that all of it arrives and that
/// the limit holds all the time.
fn transfer(
    seed: u64,
    link: LinkConfig,
    limit: u64,
    streams: usize,
    bytes: u64,
    slow: Option<(usize, Duration)>,
) {
    let (receiver, seen) = slow.map_or_else(Receiver::new, |(bytes, every)| Receiver::slow(bytes, every));
    let mut pair = Pair::with(seed, link, config(), limited(limit), Sender::new(streams, bytes), receiver);
    pair.dial();
    let server = pair.server;
    let mut most = 0;
    let done = pair.run_until(Duration::from_secs(200), |world| {
        most = world.node(server).endpoint.stats().memory_used.max(most);
        seen.borrow().finished == streams
    });
    let what = format!("seed {seed:#x}: {streams} streams of {bytes} bytes, {limit} bytes of memory");
    let closed = |event: &&Event| matches!(event, Event::Closed(_));
    let ends: Vec<_> =
        pair.server().events.iter().map(|(_, _, event)| event).filter(closed).cloned().collect();
    assert!(done, "{what}: {} arrived, {ends:?}", seen.borrow().total());
    assert!(most <= limit + SLACK, "{what}: {most} held");
    pair.finish();
}

#[test]
fn little_memory_slows_and_does_not_stop() {
    for seed in seeds(3) {
        for (limit, streams, bytes) in
            [(100, 1, 500_000), (100, 10, 50_000), (200, 60, 20_000), (1000, 150, 10_000)]
        {
            transfer(seed, line(), limit << 10, streams, bytes, None);
            transfer(seed, bad_line(5), limit << 10, streams, bytes, None);
            transfer(seed, bad_line(2), limit << 10, streams, bytes, Some((4000, ms(20))));
        }
    }
}

#[test]
fn a_writer_that_found_no_memory_is_told_when_there_is_some() {
    for streams in [1, 3, 5] {
        let (receiver, seen) = Receiver::new();
        let mut pair =
            Pair::with(1, line(), limited(200 << 10), config(), Sender::new(streams, 300_000), receiver);
        pair.dial();
        let done = pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == streams);
        assert!(done, "{streams} streams: {} bytes arrived", seen.borrow().total());
        pair.finish();
    }
}

#[test]
fn a_connection_at_its_limit_leaves_the_others_alone() {
    let mut server = limited(300 << 10);
    server.limits.per_endpoint = 700 << 10;
    let (receiver, seen) = Receiver::slow(1, ms(50_000));
    let mut pair = Pair::with(1, line(), config(), server, Sender::new(20, 100_000), receiver);
    // Nobody reads the first connection; the second one comes when that has all the memory it can get.
    pair.dial();
    pair.world.run_for(Duration::from_secs(5));
    assert!(seen.borrow().total() < 100);
    let held = pair.server().endpoint.stats().memory_used;
    assert!((200 << 10..(300 << 10) + SLACK).contains(&held), "{held}");
    let (reader, seen) = Receiver::new();
    pair.world.node_mut(pair.server).app = Box::new(reader);
    pair.world.node_mut(pair.client).app = Box::new(Sender::new(20, 100_000));
    pair.dial();
    assert!(
        pair.run_until(Duration::from_secs(30), |_| seen.borrow().finished == 20),
        "{:?}",
        seen.borrow().total()
    );
    pair.finish();
}

#[test]
fn a_writer_is_told_of_memory_that_another_connection_gives_back() {
    let mut client = limited(400 << 10);
    client.limits.per_endpoint = 500 << 10;
    let mut pair = Pair::with(1, line(), client, config(), AcceptAll, AcceptAll);
    let (first, second) = (pair.dial(), pair.dial());
    pair.world.run_for(ms(200));
    // The first connection takes all there is on a stream that the peer does not read for now, the second finds nothing.
    let fill = |connection: &mut Connection<'_>| {
        let id = connection.open_bi().expect("the peer allows one");
        let mut written = 0;
        while let Ok(len) = connection.write(id, &[7; 10_000]) {
            written += len;
        }
        (id, written)
    };
    let (held, _) = pair.on_client(first, fill);
    let (starved, written) = pair.on_client(second, fill);
    assert!(written < 200_000, "{written} bytes, as many as a stream may hold");
    let writable = |pair: &Pair| {
        pair.client().events_of(second).filter(|event| **event == Event::Writable(starved)).count()
    };
    let before = writable(&pair);
    pair.on_client(first, |connection| connection.reset(held, 1u32.into()).expect("it is open"));
    pair.world.run_for(ms(1));
    assert_eq!(writable(&pair), before + 1);
    pair.finish();
}

#[test]
fn writers_leave_memory_for_what_sends_their_data() {
    let link = LinkConfig { delay: ms(40), queue: QueueLimit::Bytes(1_000_000), ..line() };
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(1, link, limited(4 << 20), config(), Sender::new(40, 1 << 30), receiver);
    let handle = pair.dial();
    pair.world.run_for(Duration::from_secs(2));
    let before = seen.borrow().total();
    pair.world.run_for(Duration::from_secs(2));
    let rate = (seen.borrow().total() - before) * 8 / 2;
    assert!(rate > 80_000_000, "{rate} bit/s of 100 Mbit/s");
    let opened = pair.on_client(handle, |connection| connection.open_bi());
    assert!(opened.is_ok(), "{opened:?}");
    pair.finish();
}

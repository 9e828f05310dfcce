//! Several paths at once: what becomes of rate and delay when they are equal, unequal, the same, or one of them dies.

use core::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use dunlin_core::select::Spread;
use dunlin_core::{Config, Direction, Duration};
use dunlin_sim::{End, LinkConfig, QueueLimit, Rate, Received, Topology, Toward, config};

use crate::common::{ms, patterned};
use crate::duo::{BOTH, Duo, Side};

/// More than is sent in the time of a test.
const ENDLESS: u64 = 1 << 32;

fn link(mbit: u32, millis: u64) -> LinkConfig {
    LinkConfig {
        rate: Some(Rate::mbit(mbit)),
        delay: ms(millis),
        queue: QueueLimit::Bytes(500_000),
        ..LinkConfig::default()
    }
}

fn spread() -> Config {
    let mut settings = config();
    settings.selector = Arc::new(Spread);
    settings
}

/// Data flows from one side over two paths.
fn flowing(sender: Side, links: [LinkConfig; 2], bytes: u64) -> (Duo, Rc<RefCell<Received>>) {
    let (mut duo, received) = Duo::sending(1, &Topology::parallel(&links), &spread(), sender, bytes);
    duo.open(Side::Client, 1, 1);
    duo.run(ms(2000));
    (duo, received)
}

/// In Mbit/s, over so many seconds.
fn rate(duo: &mut Duo, received: &RefCell<Received>, seconds: u64) -> u64 {
    let before = received.borrow().total();
    duo.run(Duration::from_secs(seconds));
    (received.borrow().total() - before) * 8 / (seconds * 1_000_000)
}

#[test]
fn path_spread_over_two_alike_has_both() {
    for sender in BOTH {
        let (mut duo, received) = flowing(sender, [link(50, 15), link(50, 15)], ENDLESS);
        let rate = rate(&mut duo, &received, 5);
        assert!(rate >= 85, "{sender:?}: {rate} of 100 Mbit/s");
    }
}

#[test]
fn path_spread_goes_on_when_one_dies() {
    for sender in BOTH {
        for dead in [0, 1] {
            let (mut duo, received) = flowing(sender, [link(40, 10), link(20, 30)], 60_000_000);
            let from = duo.web.pair.now();
            duo.web.down(End::Client(dead));
            duo.run(ms(3000));
            let gap = received.borrow().arrivals.longest_gap(from, duo.web.pair.now());
            assert!(gap < ms(1000), "{sender:?}, {dead} dies: {gap:?}");
            assert!(duo.web.pair.run_until(Duration::from_secs(60), |_| received.borrow().finished == 1));
            assert_eq!(received.borrow().total(), 60_000_000);
            duo.finish();
        }
    }
}

/// Two paths that are one and the same line on the way carry as much as one.
#[test]
fn path_spread_over_a_shared_bottleneck_is_no_worse_than_one() {
    let shared = |paths: usize| {
        let topology = Topology::parallel(&[link(40, 15), link(40, 15)]);
        let (mut duo, received) = Duo::sending(1, &topology, &spread(), Side::Client, ENDLESS);
        let ends = [0, 1].map(|n| (duo.web.address(End::Client(n)), duo.web.address(End::Server(n))));
        let world = &mut duo.web.pair.world;
        for (from, to) in [ends[0], (ends[0].1, ends[0].0)] {
            let link = world.link_between(from, to);
            let [from, to] = if from == ends[0].0 { [ends[1].0, ends[1].1] } else { [ends[1].1, ends[1].0] };
            world.route(from, to, link);
        }
        if paths > 1 {
            duo.open(Side::Client, 1, 1);
        }
        duo.run(ms(2000));
        let rate = rate(&mut duo, &received, 8);
        let now = duo.web.pair.now();
        let sent = duo.web.link(0, 0, Toward::Server).stats(now).delivered.packets;
        let lost = duo.on(Side::Client, |connection| connection.stats().packets_lost);
        (rate, lost, sent)
    };
    let ([one, ..], (two, lost, sent)) = ([shared(1).0], shared(2));
    assert!(two * 10 >= one * 9, "{two} instead of {one} Mbit/s");
    assert!(lost * 50 < sent, "{lost} of {sent} packets lost");
}

#[test]
fn path_spread_sends_what_is_small_on_the_fast_one() {
    for sender in BOTH {
        let links = [link(100, 10), link(50, 40)];
        let (mut duo, received) = flowing(sender, links, 1);
        for _ in 0..50 {
            let from = duo.web.pair.now();
            duo.on(sender, |connection| {
                let id = connection.open(Direction::Unidirectional).unwrap();
                connection.write(id, &patterned(id, 100)).unwrap();
                connection.finish(id).unwrap();
            });
            duo.run(ms(100));
            let first = received.borrow().arrivals.first_after(from);
            assert!(first.is_some_and(|delay| delay < ms(12)), "{sender:?}: {first:?}");
        }
    }
}

/// What little is left goes on the fast path, even if that has to wait for it: on the slow one it would arrive later.
#[test]
fn path_spread_does_not_leave_the_end_of_a_transfer_to_the_slow_one() {
    for sender in BOTH {
        let (mut duo, received) = flowing(sender, [link(100, 10), link(4, 100)], 8_000_000);
        assert!(duo.web.pair.run_until(Duration::from_secs(20), |_| received.borrow().finished == 1));
        for bytes in [20_000, 200_000, 2_000_000] {
            let (from, before) = (duo.web.pair.now(), received.borrow().finished);
            let id = duo.on(sender, |connection| connection.open(Direction::Unidirectional).unwrap());
            let (data, mut written) = (patterned(id, bytes), 0);
            while written < bytes {
                written += duo.on(sender, |connection| connection.write(id, &data[written..])).unwrap_or(0);
                duo.run(ms(1));
            }
            duo.on(sender, |connection| connection.finish(id)).unwrap();
            assert!(duo.web.pair.run_until(Duration::from_secs(5), |_| received.borrow().finished > before));
            // At 100 Mbit/s, and 10 ms there, with a third more for the rate to find itself.
            let (took, alone) = (duo.web.pair.now() - from, ms(10 + bytes as u64 * 8 / 100_000));
            assert!(
                took < alone + alone / 3 + ms(25),
                "{sender:?}, {bytes} bytes: {took:?}, alone {alone:?}"
            );
            duo.run(ms(1500));
        }
    }
}

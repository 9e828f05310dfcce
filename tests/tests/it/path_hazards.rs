//! What can be wrong with one of several paths, and must not matter to what goes on the others.

use core::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use dunlin_core::select::Spread;
use dunlin_core::{Duration, PathId};
use dunlin_sim::{End, Filter, LinkConfig, QueueLimit, Rate, Received, Topology, Toward, config};

use crate::common::{line, ms};
use crate::duo::{BOTH, Duo, Side};

/// More than is sent in the time of a test.
const ENDLESS: u64 = 1 << 32;

/// What only somebody on the way drops; MTU discovery has gone further by then.
const SHRUNK: usize = 1_250;

fn flowing(sender: Side, bytes: u64) -> (Duo, PathId, Rc<RefCell<Received>>) {
    let topology = Topology::fan(&[line(), LinkConfig { delay: ms(15), ..line() }]);
    let (mut duo, received) = Duo::sending(1, &topology, &config(), sender, bytes);
    let other = duo.open(Side::Client, 1, 0);
    (duo, other, received)
}

#[test]
fn path_whose_largest_packets_are_lost_from_now_on_stalls_nothing() {
    for sender in BOTH {
        let (mut duo, _, received) = flowing(sender, ENDLESS);
        duo.run(ms(1000));
        assert!(usize::from(duo.path(sender, PathId::ZERO).unwrap().mtu) > SHRUNK);
        let from = duo.web.pair.now();
        duo.web.filter(End::Client(0), Some(&Filter::longer_than(SHRUNK)));
        duo.run(ms(10_000));
        let gap = received.borrow().arrivals.longest_gap(from, duo.web.pair.now());
        assert!(gap < ms(1000), "{sender:?}: {gap:?}");
        let before = received.borrow().total();
        duo.run(ms(3000));
        let rate = (received.borrow().total() - before) * 8 / 3_000_000;
        assert!(rate > 80, "{sender:?}: {rate} of 100 Mbit/s");
    }
}

/// Both sides try ways on which packets go one way only, again and again, while data flows on another one.
#[test]
fn path_that_leads_one_way_costs_nothing_but_its_questions() {
    for sender in BOTH {
        for toward in Toward::BOTH {
            let link = LinkConfig { rate: Some(Rate::mbit(20)), ..line() };
            let topology = Topology::mesh(2, 2, |_, _| Some(link.clone()));
            let (mut duo, received) = Duo::sending(1, &topology, &config(), sender, ENDLESS);
            for (client, server) in [(0, 1), (1, 0), (1, 1)] {
                duo.web.cut(client, server, toward);
            }
            let before = received.borrow().total();
            for _ in 0..4 {
                for side in BOTH {
                    for (client, server) in [(0, 1), (1, 0), (1, 1)] {
                        duo.try_open(side, client, server).expect("there is room");
                    }
                }
                duo.run(ms(5000));
                assert_eq!(BOTH.map(|side| duo.paths(side).len()), [1; 2], "{sender:?}, {toward:?}");
            }
            let rate = (received.borrow().total() - before) * 8 / 20_000_000;
            assert!(rate >= 18, "{sender:?}, {toward:?}: {rate} of 20 Mbit/s");
        }
    }
}

#[test]
fn path_keys_change_every_hundred_packets_on_three_at_once() {
    let mut settings = config();
    settings.rotate_keys_after = Some(100);
    settings.selector = Arc::new(Spread);
    let link = |millis| LinkConfig { rate: Some(Rate::mbit(20)), delay: ms(millis), ..line() };
    for sender in BOTH {
        let topology = Topology::parallel(&[link(5), link(30), link(60)]);
        let (mut duo, received) = Duo::sending(1, &topology, &settings, sender, 30_000_000);
        duo.open(Side::Client, 1, 1);
        duo.open(Side::Server, 2, 2);
        assert!(duo.web.pair.run_until(ms(60_000), |_| received.borrow().finished == 1), "{sender:?}");
        assert_eq!(received.borrow().total(), 30_000_000);
        let keys = duo.on(sender, |connection| connection.stats().key_updates);
        assert!(keys > 10, "{keys} changes of keys");
        duo.finish();
    }
}

/// What is in flight belongs to the connection and not to the path that it took.
#[test]
fn path_that_goes_with_a_full_flight_takes_nothing_along() {
    let long = LinkConfig { delay: ms(100), queue: QueueLimit::Unlimited, ..line() };
    for sender in BOTH {
        for closes in [Some(Side::Client), Some(Side::Server), None] {
            // The better one comes up only when the flight is full.
            let topology = Topology::parallel(&[long.clone(), LinkConfig { delay: ms(110), ..long.clone() }]);
            let (mut duo, received) = Duo::sending(1, &topology, &config(), sender, 80_000_000);
            duo.open(Side::Client, 1, 1);
            assert!(duo.web.pair.run_until(ms(20_000), |_| received.borrow().total() > 20_000_000));
            assert_eq!(duo.selected(sender), PathId::ZERO);
            let stats = duo.path(sender, PathId::ZERO).unwrap();
            assert!(stats.in_flight > 1_000_000, "{} bytes in flight", stats.in_flight);
            let again = |duo: &mut Duo| duo.on(sender, |connection| connection.stats().bytes_retransmitted);
            let before = again(&mut duo);
            match closes {
                Some(side) => duo.on(side, |connection| connection.close_path(PathId::ZERO)).unwrap(),
                None => duo.web.down(End::Client(0)),
            }
            let what = format!("{sender:?} sends, {closes:?} closes");
            let done = duo.web.pair.run_until(Duration::from_secs(60), |_| received.borrow().finished == 1);
            assert!(done, "{what}");
            assert_eq!(received.borrow().total(), 80_000_000);
            let again = again(&mut duo) - before;
            // A path that falls silent is filled up to its window before it is left: each byte goes again once.
            assert!(again <= stats.in_flight * 2, "{what}: {again} of {} bytes go again", stats.in_flight);
            duo.finish();
        }
    }
}

/// Nothing is left behind by what comes and goes. `path_cycles_leave_the_state_as_it_was` is the same for every day.
#[test]
#[ignore = "takes long: cargo test --release -p dunlin-sim --test it path_that_comes -- --ignored"]
fn path_that_comes_and_goes_a_million_times_leaves_the_state_as_it_was() {
    let link = LinkConfig { delay: ms(1), ..LinkConfig::default() };
    let mut duo = Duo::new(1, &Topology::fan(&[link.clone(), link]));
    let cycles = |duo: &mut Duo, count: u32| {
        for _ in 0..count {
            let other = duo.try_open(Side::Client, 1, 0).expect("an id is free");
            duo.run(ms(8));
            duo.on(Side::Client, |connection| connection.close_path(other)).unwrap();
            duo.run(ms(112));
            // Their events are none of this test's concern.
            for node in [duo.web.pair.client, duo.web.pair.server] {
                duo.web.pair.world.node_mut(node).events.clear();
            }
        }
        duo.run(ms(10_000));
        duo.memory()
    };
    let before = cycles(&mut duo, 1_000);
    let after = cycles(&mut duo, 1_000_000);
    for (before, after) in before.into_iter().zip(after) {
        // Tables of what is bounded may have doubled once more.
        assert!(after <= before + 2_048, "{before} bytes became {after}");
    }
}

//! What becomes of a connection whose paths fail all at once, or go one after the other.

use core::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use dunlin_core::select::{Choice, PathSelector, PathView, Spread};
use dunlin_core::{AddressStatus, CloseReason, Direction, PathEvent, PathId, PathStatus};
use dunlin_sim::{End, LinkConfig, Rate, Received, Receiver, Sender, Topology, config, seeds};

use crate::common::{line, ms};
use crate::duo::{BOTH, Duo, Side, fan, parallel};

const ENDLESS: u64 = 1 << 40;

/// 10 Mbit/s, 20 ms there and back.
fn slow() -> LinkConfig {
    LinkConfig { rate: Some(Rate::mbit(10)), ..line() }
}

/// Two paths, and data flows from one side on the first of them.
fn flowing(seed: u64, sender: Side) -> (Duo, PathId, Rc<RefCell<Received>>) {
    let topology = Topology::parallel(&[slow(), slow()]);
    let (mut duo, received) = Duo::sending(seed, &topology, &config(), sender, ENDLESS);
    let other = duo.open(Side::Client, 1, 1);
    (duo, other, received)
}

/// Both sides close another path at the same moment, and none is left.
fn homeless() -> Duo {
    let mut duo = Duo::new(1, &fan(2));
    let other = duo.open(Side::Client, 1, 0);
    duo.on(Side::Client, |connection| connection.close_path(other)).unwrap();
    duo.on(Side::Server, |connection| connection.close_path(PathId::ZERO)).unwrap();
    duo.run(ms(200));
    assert_eq!(BOTH.map(|side| duo.paths(side).len()), [0, 0]);
    duo
}

#[test]
fn path_less_connections_that_are_closed_end() {
    for side in BOTH {
        let mut duo = homeless();
        duo.on(side, |connection| connection.close(7u32.into(), b""));
        duo.run(ms(5000));
        let (node, handle) = match side {
            Side::Client => (duo.web.pair.client, duo.client),
            Side::Server => (duo.web.pair.server, duo.server),
        };
        assert!(duo.web.pair.world.node_mut(node).endpoint.connection(handle).is_none(), "{side:?}");
        duo.finish();
    }
}

#[test]
fn path_in_the_place_of_a_lost_one_carries_data() {
    let mut duo = homeless();
    // By then the places are free again.
    duo.run(ms(1500));
    duo.try_open(Side::Client, 0, 0).unwrap();
    duo.run(ms(500));
    for side in BOTH {
        duo.on(side, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, b"still here").unwrap();
        });
    }
    duo.run(ms(500));
    for side in BOTH {
        assert!(
            duo.on(side, |connection| connection.accept(Direction::Unidirectional)).is_some(),
            "{side:?}"
        );
    }
    duo.finish();
}

/// Elevators, tunnels: everything is silent for longer than a path may be, and comes back.
#[test]
fn path_outage_of_all_is_survived_as_with_one() {
    for (seed, sender) in seeds(2).zip(BOTH.into_iter().cycle()) {
        for comes_back in [&[0, 1][..], &[0], &[1]] {
            let (mut duo, _, received) = flowing(seed, sender);
            duo.run(ms(2000 + seed % 1000));
            [0, 1].into_iter().for_each(|n| duo.web.down(End::Client(n)));
            duo.run(ms(25_000));
            comes_back.iter().for_each(|n| duo.web.up(End::Client(*n)));
            let from = duo.web.pair.now();
            duo.run(ms(6000));
            let first = received.borrow().arrivals.first_after(from);
            assert!(first.is_some_and(|first| first < ms(4000)), "{sender:?} {comes_back:?} {first:?}");
            duo.finish();
        }
    }
}

#[test]
fn path_that_fails_is_left_by_spread_as_well() {
    for (sender, silent) in BOTH.into_iter().flat_map(|side| [(side, 0), (side, 1)]) {
        let mut settings = config();
        settings.selector = Arc::new(Spread);
        let topology = Topology::parallel(&[slow(), slow()]);
        let (mut duo, received) = Duo::sending(1, &topology, &settings, sender, ENDLESS);
        duo.open(Side::Client, 1, 1);
        duo.run(ms(3000));
        duo.web.down(End::Client(silent));
        let from = duo.web.pair.now();
        duo.run(ms(5000));
        let gap = received.borrow().arrivals.longest_gap(from, duo.web.pair.now());
        assert!(gap < ms(500), "{sender:?} {silent}: {gap:?}");
        duo.finish();
    }
}

#[test]
fn path_that_delivers_is_not_suspected_for_what_is_no_payload() {
    for seed in seeds(4) {
        let mut duo = Duo::new(seed, &parallel(2));
        let other = duo.open(Side::Client, 1, 1);
        duo.run(ms(2000));
        duo.events(Side::Client);
        duo.on(Side::Client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &[0; 2000]).unwrap();
        });
        // One small packet more, right behind.
        duo.run(ms(1));
        duo.on(Side::Client, |connection| connection.set_path_status(other, PathStatus::Backup)).unwrap();
        duo.run(ms(1));
        duo.on(Side::Client, |connection| connection.set_path_status(other, PathStatus::Available)).unwrap();
        duo.run(ms(3000));
        assert_eq!(duo.events(Side::Client), Vec::<PathEvent>::new(), "{seed:#x}");
        duo.finish();
    }
}

#[test]
fn path_addresses_of_a_connection_that_is_forgotten_are_free() {
    let mut duo = Duo::new(1, &fan(1));
    let (node, key) = (duo.web.pair.client, duo.web.pair.server_key());
    duo.web.pair.world.node_mut(node).endpoint.connection(duo.client).unwrap().forget();
    let info = duo.web.pair.world.node(node).endpoint.remote(&key).unwrap();
    assert_eq!((info.connections, info.addresses[0].status), (0, AddressStatus::Inactive));
    duo.run(ms(62_000));
    assert_eq!(duo.web.pair.world.node(node).endpoint.remote(&key), None);
}

/// A policy that makes no choice.
#[derive(Debug)]
struct Never;

impl PathSelector for Never {
    fn select(&self, _: Option<&PathView>, _: &[PathView]) -> Choice {
        Choice::Keep
    }
}

/// A policy that will not have what is left: the connection does not stay without a path and without an end.
#[test]
fn path_that_no_policy_wants_ends_the_connection() {
    let mut settings = config();
    settings.selector = Arc::new(Never);
    let (receiver, _) = Receiver::new();
    let mut duo = Duo::with(1, &fan(2), settings, config(), Sender::new(1, ENDLESS), receiver);
    let other = duo.open(Side::Client, 1, 0);
    duo.on(Side::Client, |connection| connection.close_path(PathId::ZERO)).unwrap();
    duo.run(ms(1000));
    assert!(duo.path(Side::Client, other).is_some());
    duo.run(ms(5000));
    assert_eq!(duo.end(Side::Client), Some(CloseReason::NoPath));
    duo.finish();
}

//! Many connections on one endpoint: what one of them does costs the same as if it were alone. Steps are counted, not
//! time.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{ConnectionHandle, Duration, EndpointStats, Event, TrainLimit};
use dunlin_sim::{AcceptAll, Pair, Received, Receiver, config, seeds};

use crate::common::{bad_line, line, ms, patterned};

/// A pair with so many idle connections, and what the answerer will have received.
fn crowd(count: usize) -> (Pair, Vec<ConnectionHandle>, Rc<RefCell<Received>>) {
    let (receiver, seen) = Receiver::new();
    let mut generous = config();
    generous.limits.initial_window = 16 << 10;
    let mut pair = Pair::with(1, line(), generous.clone(), generous, AcceptAll, receiver);
    let mut handles = Vec::new();
    while handles.len() < count {
        handles.extend((0..(count - handles.len()).min(1000)).map(|_| pair.dial()));
        pair.world.run_for(Duration::from_secs(2));
    }
    let connected = pair.server().count(|event| *event == Event::Connected);
    assert_eq!(connected, count);
    pair.world.run_for(Duration::from_secs(5));
    (pair, handles, seen)
}

/// The work of both endpoints.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Work {
    datagrams: u64,
    planned: u64,
    timers: u64,
    aead: u64,
    agreements: u64,
}

fn work(pair: &Pair) -> Work {
    let sum = |count: fn(&EndpointStats) -> u64| {
        count(&pair.client().endpoint.stats()) + count(&pair.server().endpoint.stats())
    };
    Work {
        datagrams: sum(|stats| stats.datagrams_sent),
        planned: sum(|stats| stats.packets_planned),
        timers: sum(|stats| stats.timers_fired),
        aead: sum(|stats| stats.aead_operations),
        agreements: sum(|stats| stats.x25519_operations),
    }
}

/// The work of one transfer among `count` connections.
fn transfer(count: usize) -> Work {
    let (mut pair, handles, seen) = crowd(count);
    let before = work(&pair);
    let busy = handles[count / 2];
    pair.on_client(busy, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &patterned(id, 250_000)).unwrap();
        connection.finish(id).unwrap();
    });
    assert!(pair.run_until(Duration::from_secs(10), |_| seen.borrow().finished == 1));
    pair.world.run_for(ms(500));
    let after = work(&pair);
    pair.finish();
    Work {
        datagrams: after.datagrams - before.datagrams,
        planned: after.planned - before.planned,
        timers: after.timers - before.timers,
        aead: after.aead - before.aead,
        agreements: after.agreements - before.agreements,
    }
}

#[test]
fn one_active_connection_among_ten_thousand_costs_what_it_costs_alone() {
    let (alone, among) = (transfer(1), transfer(10_000));
    assert_eq!(alone.agreements, 0);
    // Two AEAD operations a datagram, and a plan or two.
    assert!(alone.aead <= alone.datagrams * 2 && alone.planned <= alone.datagrams * 3 + 20, "{alone:?}");
    // Which packet numbers are left out is a matter of chance, and with it when some acknowledgements go.
    let close = |a: u64, b: u64| a.abs_diff(b) * 10 <= a.max(b) + 80;
    assert!(
        close(alone.datagrams, among.datagrams)
            && close(alone.planned, among.planned)
            && close(alone.timers, among.timers)
            && close(alone.aead, among.aead)
            && among.agreements == 0,
        "alone {alone:?}, among ten thousand {among:?}"
    );
}

#[test]
fn many_active_connections_take_turns() {
    for seed in seeds(2) {
        let (receiver, seen) = Receiver::new();
        let mut pair = Pair::with(seed, bad_line(1), config(), config(), AcceptAll, receiver);
        let client = pair.client;
        pair.world.node_mut(client).train = TrainLimit { segments: 4, bytes: 65_000 };
        let handles: Vec<ConnectionHandle> = (0..50).map(|_| pair.dial()).collect();
        pair.world.run_for(Duration::from_secs(2));
        for handle in &handles {
            pair.on_client(*handle, |connection| {
                let id = connection.open_uni().unwrap();
                connection.write(id, &patterned(id, 60_000)).unwrap();
                connection.finish(id).unwrap();
            });
        }
        assert!(pair.run_until(Duration::from_secs(20), |_| seen.borrow().finished == 50));
        let rtts: Vec<Duration> =
            handles.iter().map(|handle| pair.on_client(*handle, |c| c.path().rtt.min())).collect();
        assert!(rtts.iter().all(|rtt| *rtt < ms(200)), "{rtts:?}");
        pair.finish();
    }
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let mut pair = Pair::with(1, line(), config(), config(), AcceptAll, AcceptAll);
    for round in 0..30 {
        let handles: Vec<ConnectionHandle> = (0..20).map(|_| pair.dial()).collect();
        pair.world.run_for(ms(300));
        for (n, handle) in handles.iter().enumerate() {
            pair.on_client(*handle, |connection| {
                connection.send_datagram(b"hello").unwrap();
                if n % 2 == 0 {
                    connection.close(0u32.into(), b"");
                } else {
                    connection.close_graceful(dunlin_core::Instant::MAX, 0u32.into(), b"");
                }
            });
        }
        pair.world.run_for(Duration::from_secs(2));
        for host in [pair.client(), pair.server()] {
            let stats = host.endpoint.stats();
            assert_eq!((stats.connections, stats.memory_used), (0, 0), "round {round}");
        }
    }
    pair.finish();
}

//! Many connections on one endpoint: what one of them does costs the same as if it were alone. Steps are counted, not
//! time.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{Config, ConnectionHandle, Duration, Endpoint, EndpointStats, Event, Instant, TrainLimit};
use dunlin_sim::{AcceptAll, Both, Echo, Pair, Received, Receiver, config, seeds};

use crate::common::{bad_line, line, ms, patterned};

/// Dials at a time: their Inits fit into the queue of the line.
const DIALS: usize = 400;

/// Room for so many connections, each with a deadline of its own, long after the test.
fn roomy(connections: usize) -> Config {
    let mut config = config();
    config.limits.initial_window = 16 << 10;
    config.limits.connections = connections as u32;
    config.limits.per_endpoint = 8 << 30;
    config.limits.dh_per_second = u32::MAX;
    config.idle_timeout = Some(Duration::from_secs(3600));
    // Whether a packet has a reserved frame is a matter of chance.
    config.reserved_frames = false;
    config
}

/// Sends back what comes on any stream.
fn throw_back(_: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
    let Event::Readable(id) = *event else { return };
    let Some(mut connection) = endpoint.connection(handle) else { return };
    let mut buffer = [0; 256];
    while let Ok(len @ 1..) = connection.read(id, &mut buffer) {
        connection.write(id, &buffer[..len]).unwrap();
    }
}

/// A pair with `idle` connections that do nothing and one that is to work, and what the answerer will have received.
fn crowd(idle: usize) -> (Pair, ConnectionHandle, Rc<RefCell<Received>>) {
    let (receiver, seen) = Receiver::new();
    let config = roomy(idle + 1);
    let mut pair = Pair::with(1, line(), config.clone(), config, throw_back, Both(Echo::default(), receiver));
    for first in (0..idle).step_by(DIALS) {
        for _ in first..idle.min(first + DIALS) {
            pair.dial();
        }
        pair.world.run_for(ms(100));
    }
    pair.world.run_for(Duration::from_secs(5));
    let busy = pair.dial();
    pair.world.run_for(Duration::from_secs(5));
    assert_all_live(&pair, idle + 1);
    (pair, busy, seen)
}

fn assert_all_live(pair: &Pair, count: usize) {
    for host in [pair.client(), pair.server()] {
        assert_eq!(host.endpoint.stats().connections, count as u64);
        assert_eq!(host.count(|event| *event == Event::Connected), count);
    }
}

/// The work of both endpoints, and of the loops that drive them.
type Work = [(&'static str, u64); 7];

/// All so far.
fn work(pair: &Pair) -> Work {
    let sum = |count: fn(&EndpointStats) -> u64| {
        count(&pair.client().endpoint.stats()) + count(&pair.server().endpoint.stats())
    };
    [
        ("datagrams sent", sum(|stats| stats.datagrams_sent)),
        ("packets planned", sum(|stats| stats.packets_planned)),
        ("timers fired", sum(|stats| stats.timers_fired)),
        ("AEAD operations", sum(|stats| stats.aead_operations)),
        ("key agreements", sum(|stats| stats.x25519_operations)),
        ("loop turns for a deadline", pair.world.stats().timeouts),
        ("loop turns for a datagram", pair.world.stats().delivered),
    ]
}

/// The work of `act`.
fn work_of(pair: &mut Pair, act: impl FnOnce(&mut Pair)) -> Work {
    let before = work(pair);
    act(pair);
    let mut work = work(pair);
    work.iter_mut().zip(before).for_each(|((_, count), (_, before))| *count -= before);
    work
}

/// Of virtual time.
const SECONDS: u64 = 10;

/// The work for `SECONDS` of 200 bytes that go to and fro on one connection, and for a transfer on it meanwhile.
fn work_beside(idle: usize) -> [Work; 2] {
    let (mut pair, busy, seen) = crowd(idle);
    let to_and_fro = work_of(&mut pair, |pair| {
        pair.on_client(busy, |connection| {
            let id = connection.open_bi().unwrap();
            connection.write(id, &[7; 200]).unwrap();
        });
        pair.world.run_for(Duration::from_secs(SECONDS));
    });
    let transfer = work_of(&mut pair, |pair| {
        pair.on_client(busy, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &patterned(id, 250_000)).unwrap();
            connection.finish(id).unwrap();
        });
        assert!(pair.run_until(Duration::from_secs(10), |_| seen.borrow().finished == 1));
    });
    assert_all_live(&pair, idle + 1);
    pair.finish();
    [to_and_fro, transfer]
}

fn assert_idle_ones_cost_nothing(idle: usize) {
    let ([alone, alone_transfer], [beside, beside_transfer]) = (work_beside(0), work_beside(idle));
    println!("{SECONDS} s alone:    {alone:?}\nbeside {idle}: {beside:?}");
    println!("transfer alone: {alone_transfer:?}\nbeside {idle}: {beside_transfer:?}");
    assert_eq!(alone, beside, "beside {idle} idle connections");
    for [(_, datagrams), (_, planned), _, (_, aead), (_, agreements), ..] in [alone, alone_transfer] {
        // Two AEAD operations a datagram, and a plan or two.
        assert!(aead <= datagrams * 2 && planned <= datagrams * 3 && agreements == 0);
    }
    // Which packet numbers are left out is a matter of chance, and with it when some acknowledgements of a transfer go.
    for ((name, alone), (_, beside)) in alone_transfer.into_iter().zip(beside_transfer) {
        assert!(
            alone.abs_diff(beside) * 10 <= alone.max(beside),
            "{name}: {alone} alone, {beside} beside {idle}"
        );
    }
}

#[test]
fn one_busy_connection_among_ten_thousand_idle_ones_costs_what_it_costs_alone() {
    assert_idle_ones_cost_nothing(10_000);
}

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "100,000 handshakes take too long for every day: run it with --release"
)]
fn one_busy_connection_among_a_hundred_thousand_idle_ones_costs_what_it_costs_alone() {
    assert_idle_ones_cost_nothing(100_000);
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
                    connection.close_graceful(Instant::MAX, 0u32.into(), b"");
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

//! Windows of flow control that tune themselves: none holds a sender whose data is read at once, and a slow reader's
//! stays small.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{Config, Duration};
use dunlin_sim::{LinkConfig, Loss, Pair, Ppm, QueueLimit, Rate, Received, Receiver, Sender, config};

use crate::common::ms;

/// A link with a queue of one bandwidth-delay product.
fn link(mbit: u32, rtt: Duration, loss: Ppm) -> LinkConfig {
    let rate = Rate::mbit(mbit);
    let bdp = (u128::from(rate.get()) * rtt.as_nanos() / 8_000_000_000) as usize;
    LinkConfig {
        rate: Some(rate),
        delay: rtt / 2,
        queue: QueueLimit::Bytes(bdp.max(64_000)),
        loss: Loss::Random(loss),
        ..LinkConfig::default()
    }
}

/// Windows and memory beyond what any link here can use.
fn unbounded() -> Config {
    let mut config = config();
    let limits = &mut config.limits;
    (limits.initial_window, limits.max_window, limits.max_stream_window) = (1 << 30, 1 << 30, 1 << 30);
    (limits.per_connection, limits.per_endpoint) = (1 << 40, 1 << 40);
    config
}

/// Sends one stream of bulk data to a receiver with these settings.
fn bulk(
    seed: u64,
    link: LinkConfig,
    settings: Config,
    receiver: (Receiver, Rc<RefCell<Received>>),
) -> (Pair, Rc<RefCell<Received>>) {
    let mut pair = Pair::with(seed, link, config(), settings, Sender::new(1, 1 << 40), receiver.0);
    pair.dial();
    (pair, receiver.1)
}

/// Bytes that had arrived after each of `rounds` round trips, the first of which is the handshake's.
fn arrived(seed: u64, link: &LinkConfig, settings: Config, rounds: u32) -> Vec<u64> {
    let (mut pair, _) = bulk(seed, link.clone(), settings, Receiver::new());
    let arrived = (0..rounds).map(|_| {
        pair.world.run_for(link.delay * 2);
        pair.server().endpoint.stats().bytes_received
    });
    arrived.collect()
}

#[test]
fn a_sender_whose_data_is_read_is_never_held_by_a_window() {
    for (mbit, rtt, rounds) in [(20, 300, 25), (100, 100, 30), (400, 40, 30), (1000, 5, 100)] {
        let link = link(mbit, ms(rtt), Ppm::NEVER);
        let tuned = arrived(1, &link, config(), rounds);
        let free = arrived(1, &link, unbounded(), rounds);
        for (round, (tuned, free)) in tuned.iter().zip(&free).enumerate().skip(3) {
            assert!(
                tuned * 100 >= free * 95,
                "{mbit} Mbit/s, {rtt} ms: after {round} round trips {tuned} bytes, without windows {free}"
            );
        }
    }
}

#[test]
fn what_waits_behind_holes_holds_no_sender_either() {
    let link = link(100, ms(60), Ppm::percent(1));
    let last = |settings: &dyn Fn() -> Config| -> u64 {
        (1..=5).map(|seed| arrived(seed, &link, settings(), 40)[39]).sum()
    };
    let (tuned, free) = (last(&config), last(&unbounded));
    assert!(tuned * 100 >= free * 95, "{tuned} bytes, without windows {free}");
}

#[test]
fn a_window_is_no_larger_than_a_reader_needs() {
    // 20 Mbit/s is read of what comes over 1 Gbit/s: 50 kB in a round trip.
    let receiver = Receiver::slow(25_000, ms(10));
    let (mut pair, seen) = bulk(1, link(1000, ms(20), Ppm::NEVER), config(), receiver);
    let handle = pair.server_connection(Duration::from_secs(1)).expect("the dial is accepted");
    let mut most = 0;
    for _ in 0..500 {
        pair.world.run_for(ms(10));
        most = pair.on_server(handle, |connection| connection.stats().memory_used).max(most);
    }
    let read = seen.borrow().total();
    assert!(read > 12_000_000, "{read} of 12.5 MB in 5 s");
    assert!(most < 10 * 50_000, "{most} bytes held for a reader that takes 50 kB in a round trip");
    pair.finish();
}

#[test]
fn who_only_receives_has_room_to_send() {
    let (mut pair, _) = bulk(1, link(600, ms(100), Ppm::percent(1)), config(), Receiver::new());
    let handle = pair.server_connection(Duration::from_secs(1)).expect("the dial is accepted");
    pair.world.run_for(Duration::from_secs(2));
    for _ in 0..100 {
        pair.world.run_for(ms(10));
        let path = pair.on_server(handle, |connection| connection.path());
        let room = path.congestion.window.saturating_sub(path.in_flight);
        assert!(room >= path.congestion.window / 2, "{path:?}");
    }
    pair.finish();
}

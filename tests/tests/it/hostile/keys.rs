//! Keys that change all the time, on networks and by peers that do their worst.

use core::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use dunlin_core::select::Spread;
use dunlin_core::{Config, Disposition, DropReason, Duration, fuzzing};
use dunlin_sim::{
    Both, LinkConfig, Loss, Nonces, Ppm, Rate, Received, Receiver, Sender, Topology, Web, config, seeds,
    wind_down,
};

use super::frames::{connected, strike};
use crate::common::{drop_while, hand_in, line, ms};
use crate::duo::{BOTH, Duo, Side};
use crate::frames::ping;

const UNAUTHENTIC: Disposition = Disposition::Dropped(DropReason::Unauthentic);

/// Both directions change their keys every 100 packets or every second.
fn restless() -> Config {
    let mut settings = config();
    settings.rotate_keys_after = Some(100);
    settings.rotate_keys_every = Some(Duration::from_secs(1));
    settings.selector = Arc::new(Spread);
    settings.automatic_paths = false;
    settings.key_log = true;
    settings
}

/// A connection with three paths that lose and reorder, data in both directions, and a watch over all that is sent.
fn three_paths(seed: u64, bytes: u64) -> (Duo, Nonces, [Rc<RefCell<Received>>; 2]) {
    let link = |millis| LinkConfig {
        rate: Some(Rate::mbit(20)),
        delay: ms(millis),
        loss: Loss::Random(Ppm::percent(10)),
        reorder: Ppm::percent(5),
        reorder_by: ms(50),
        duplicate: Ppm::percent(1),
        ..line()
    };
    let topology = Topology::parallel(&[link(5), link(30), link(60)]);
    let ((there, at_server), (here, at_client)) = (Receiver::new(), Receiver::new());
    let client = Both(Sender::new(1, bytes), here);
    let server = Both(Sender::new(1, bytes), there);
    let mut web = Web::with(seed, &topology, restless(), restless(), client, server);
    let nonces = Nonces::watch(&mut web.pair.world);
    let mut duo = Duo::over(web);
    duo.try_open(Side::Client, 1, 1).expect("there is room");
    duo.try_open(Side::Server, 2, 2).expect("there is room");
    (duo, nonces, [at_server, at_client])
}

#[test]
fn ac_47_keys_change_every_hundred_packets_on_three_paths_and_no_nonce_is_used_twice() {
    const BYTES: u64 = 10_000_000;
    for seed in seeds(2) {
        let (mut duo, mut nonces, received) = three_paths(seed, BYTES);
        let dark = drop_while(&mut duo.web.pair.world, |_| true);
        dark.set(false);
        // Everything is lost now and then, for as long as several phases would last.
        for _ in 0..3 {
            duo.run(ms(900 + seed % 300));
            dark.set(true);
            duo.run(ms(700));
            dark.set(false);
        }
        let done = |received: &Rc<RefCell<Received>>| received.borrow().finished == 1;
        assert!(duo.web.pair.run_until(Duration::from_secs(120), |_| received.iter().all(done)));
        for received in &received {
            assert_eq!(received.borrow().total(), BYTES);
        }
        let updates = BOTH.map(|side| duo.on(side, |connection| connection.stats().key_updates));
        assert!(updates.iter().all(|updates| *updates >= 8), "{updates:?}");
        assert_eq!(BOTH.map(|side| duo.end(side)), [None, None]);
        wind_down(&mut duo.web.pair.world);
        let packets = nonces.check(&mut duo.web.pair.world);
        assert!(packets > 2 * (BYTES / 1_452) as usize, "{packets} packets were looked at");
    }
}

/// Nothing is sent and heard but a word now and then: age alone changes the keys.
#[test]
fn keys_change_with_time() {
    let mut settings = restless();
    settings.rotate_keys_after = None;
    let mut pair =
        dunlin_sim::Pair::with(1, line(), settings, config(), dunlin_sim::AcceptAll, dunlin_sim::AcceptAll);
    let mut nonces = Nonces::watch(&mut pair.world);
    let (client, server) = pair.connect();
    let updates = |pair: &mut dunlin_sim::Pair| {
        [
            pair.on_client(client, |connection| connection.stats().key_updates),
            pair.on_server(server, |connection| connection.stats().key_updates),
        ]
    };
    for _ in 0..50 {
        pair.on_client(client, |connection| connection.send_datagram(b"a word")).unwrap();
        pair.world.run_for(ms(200));
    }
    let [ours, theirs] = updates(&mut pair);
    assert!((8..=10).contains(&ours), "{ours} in ten seconds");
    assert_eq!(theirs, 0, "an hour is long");
    // A minute of silence is one phase, but for what was still to be said when it began.
    pair.world.run_for(Duration::from_secs(60));
    pair.on_client(client, |connection| connection.send_datagram(b"a word")).unwrap();
    pair.world.run_for(ms(200));
    let [after, _] = updates(&mut pair);
    assert!((ours + 1..=ours + 2).contains(&after), "{ours} became {after}");
    assert_eq!(pair.on_server(server, |connection| connection.stats().datagrams_received), 51);
    wind_down(&mut pair.world);
    assert!(nonces.check(&mut pair.world) > 50);
}

/// Every packet in another phase: eight are followed, and then one for each 3 ms, whatever is sent.
#[test]
fn ac_14_keys_that_change_with_every_packet_are_not_followed() {
    let (mut pair, client, server) = connected(|_| {});
    let before = pair.server().endpoint.stats();
    pair.on_client(client, fuzzing::rotate_keys);
    for n in 0..100_000 {
        if n % 100 == 99 {
            pair.world.run_for(ms(1));
        }
        // The liar keeps to the phase that was refused: any other would not even be the next one.
        if strike(&mut pair, client, &ping()) == Disposition::Accepted {
            pair.on_client(client, fuzzing::rotate_keys);
        }
    }
    let after = pair.server().endpoint.stats();
    let changes = after.derivations - before.derivations;
    assert!((300..=8 + 334).contains(&changes), "{changes} changes in a second");
    assert_eq!(pair.server().closed(server), None);
    pair.finish();
}

/// Two ahead, back again, and what was current long ago: dropped, and the connection goes on.
#[test]
fn ac_47_forged_phases_in_any_order_move_nothing() {
    let (mut pair, client, server) = connected(|_| {});
    let packet = |pair: &mut dunlin_sim::Pair| {
        let mut packet = Vec::new();
        assert!(pair.on_client(client, |connection| fuzzing::seal(connection, &ping(), &mut packet)));
        packet
    };
    let arrive = |pair: &mut dunlin_sim::Pair, bytes: &[u8]| {
        let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
        hand_in(&mut pair.world, node, to, from, bytes)
    };
    // One packet of each of the phases 0 to 4.
    let packets: Vec<_> = (0..5)
        .map(|_| {
            let sealed = packet(&mut pair);
            pair.on_client(client, fuzzing::rotate_keys);
            sealed
        })
        .collect();
    assert_eq!(arrive(&mut pair, &packets[2]), UNAUTHENTIC, "two ahead");
    assert_eq!(arrive(&mut pair, &packets[3]), UNAUTHENTIC, "three ahead looks like one behind");
    assert_eq!(arrive(&mut pair, &packets[4]), UNAUTHENTIC, "four ahead looks like this one");
    assert_eq!(arrive(&mut pair, &packets[1]), Disposition::Accepted, "the next");
    assert_eq!(arrive(&mut pair, &packets[0]), Disposition::Accepted, "the previous, a lower number");
    assert_eq!(arrive(&mut pair, &packets[3]), UNAUTHENTIC, "two ahead");
    assert_eq!(arrive(&mut pair, &packets[2]), Disposition::Accepted, "the next");
    let [again, known] = [UNAUTHENTIC, Disposition::Dropped(DropReason::Duplicate)];
    assert_eq!(arrive(&mut pair, &packets[0]), again, "before the previous");
    assert_eq!(arrive(&mut pair, &packets[1]), known);
    assert_eq!(arrive(&mut pair, &packets[3]), Disposition::Accepted, "the next");
    assert_eq!(arrive(&mut pair, &packets[4]), Disposition::Accepted, "the next");
    assert_eq!(pair.server().closed(server), None);
    pair.finish();
}

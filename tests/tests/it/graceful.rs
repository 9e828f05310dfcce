//! Closes that wait for delivery.

use dunlin_core::{CloseReason, ConnectionHandle, Direction, Duration, OpenError, Undelivered};
use dunlin_sim::{AcceptAll, LinkConfig, Loss, Pair, Ppm, Receiver, config, seeds};

use crate::common::{at, bad_line, drop_while, ms, patient, patterned, quick, read_all};

fn peer_closed(code: u32, reason: &[u8]) -> CloseReason {
    CloseReason::Peer { code: code.into(), reason: reason.to_vec().into() }
}

fn connected() -> (Pair, ConnectionHandle, ConnectionHandle) {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    (pair, client, server)
}

#[test]
fn a_graceful_close_delivers_everything_first() {
    for seed in seeds(6) {
        let (receiver, seen) = Receiver::new();
        let mut pair = Pair::with(seed, bad_line(10), config(), config(), AcceptAll, receiver);
        let (client, server) = pair.connect();
        pair.on_client(client, |connection| {
            for _ in 0..5 {
                let id = connection.open_uni().unwrap();
                assert_eq!(connection.write(id, &patterned(id, 100_000)), Ok(100_000));
            }
            connection.close_graceful(at(60_000), 3u32.into(), b"done");
            assert_eq!(connection.open_uni(), Err(OpenError::Closed));
        });
        let closed = pair.run_until(Duration::from_secs(20), |world| {
            world.nodes().next().unwrap().1.closed(client).is_some()
        });
        assert!(
            closed,
            "{:?} {:?}",
            seen.borrow(),
            pair.on_client(client, |c| (c.stats(), c.path(), c.undelivered()))
        );
        pair.on_client(client, |connection| assert_eq!(connection.undelivered(), Undelivered::default()));
        pair.world.run_for(Duration::from_secs(2));
        assert_eq!((seen.borrow().finished, seen.borrow().total()), (5, 500_000));
        if let Some((_, reason)) = pair.server().closed(server) {
            assert_eq!(reason, &peer_closed(3, b"done"));
        }
        pair.finish();
    }
}

#[test]
fn a_graceful_close_waits_no_longer_than_for_the_last_acknowledgement() {
    let (mut pair, client, server) = connected();
    pair.world.run_for(ms(500));
    let start = pair.now();
    pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, b"last words").unwrap();
        connection.send_datagram(b"and these").unwrap();
        connection.close_graceful(at(60_000), 3u32.into(), b"");
    });
    pair.world.run_for(Duration::from_secs(2));
    let (end, _) = pair.client().closed(client).unwrap();
    assert!(end - start <= ms(40 + 25), "{:?}", end - start);
    pair.on_server(server, |connection| {
        let id = connection.accept(Direction::Unidirectional).unwrap();
        assert_eq!(read_all(connection, id), (b"last words".to_vec(), true));
        assert_eq!(connection.read_datagram(&mut Vec::new()), Some(9));
    });
    pair.finish();
}

#[test]
fn a_graceful_close_without_anything_to_deliver_is_a_close() {
    let (mut pair, client, server) = connected();
    pair.world.run_for(ms(500));
    pair.on_client(client, |connection| connection.close_graceful(at(60_000), 3u32.into(), b""));
    let now = pair.now();
    pair.world.run_for(Duration::from_secs(2));
    assert_eq!(pair.client().closed(client).unwrap().0, now);
    assert_eq!(pair.server().closed(server).unwrap().0, now + ms(20));
    pair.finish();
}

#[test]
fn a_graceful_close_does_not_wait_for_streams_that_the_peer_opens_meanwhile() {
    let (mut pair, client, server) = connected();
    pair.world.run_for(ms(500));
    pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &[1; 60_000]).unwrap();
        connection.close_graceful(at(60_000), 3u32.into(), b"");
    });
    pair.on_server(server, |connection| connection.open_bi().map(drop)).unwrap();
    pair.world.run_for(Duration::from_secs(5));
    let (end, _) = pair.client().closed(client).expect("long before the deadline");
    assert!(end < at(2000), "{end:?}");
    pair.finish();
}

#[test]
fn a_graceful_close_reports_at_the_deadline_what_was_not_delivered() {
    let (mut pair, client, _) = connected();
    pair.world.run_for(ms(500));
    let open = drop_while(&mut pair.world, |_| true);
    pair.on_client(client, |connection| {
        for len in [1000, 20_000] {
            let id = connection.open_uni().unwrap();
            connection.write(id, &vec![1; len]).unwrap();
        }
        connection.close_graceful(at(4321), 3u32.into(), b"");
    });
    pair.world.run_for(Duration::from_secs(4));
    assert_eq!(pair.client().closed(client).unwrap().0, at(4321));
    let undelivered = Undelivered { streams: 2, bytes: 21_000 };
    pair.on_client(client, |connection| assert_eq!(connection.undelivered(), undelivered));
    open.set(false);
    pair.finish();
}

#[test]
fn a_graceful_close_of_a_dial_waits_for_the_handshake() {
    for seed in seeds(10) {
        let (receiver, seen) = Receiver::new();
        let link = LinkConfig { loss: Loss::Random(Ppm::percent(20)), ..quick() };
        let mut pair = Pair::with(seed, link, patient(), config(), AcceptAll, receiver);
        let client = pair.dial();
        pair.on_client(client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &patterned(id, 3000)).unwrap();
            connection.close_graceful(at(60_000), 3u32.into(), b"");
        });
        pair.world.run_for(Duration::from_secs(40));
        let (end, reason) = pair.client().closed(client).unwrap();
        assert!(end < at(40_000));
        assert_eq!(reason, &CloseReason::Local { code: 3u32.into() });
        assert_eq!((seen.borrow().finished, seen.borrow().total()), (1, 3000));
        pair.finish();
    }
}

#[test]
fn a_graceful_close_of_a_dial_that_nobody_answers_ends_at_its_deadline() {
    let mut pair = Pair::new(1, quick());
    let _shut = drop_while(&mut pair.world, |_| true);
    let client = pair.dial();
    pair.on_client(client, |connection| connection.close_graceful(at(1234), 3u32.into(), b""));
    pair.world.run_for(Duration::from_secs(2));
    assert_eq!(pair.client().closed(client), Some((at(1234), &CloseReason::Local { code: 3u32.into() })));
    pair.finish();
}

#[test]
fn a_graceful_close_may_come_from_both_sides() {
    for seed in seeds(5) {
        let (sent_by_client, client_seen) = Receiver::new();
        let (sent_by_server, server_seen) = Receiver::new();
        let mut pair = Pair::with(seed, bad_line(5), config(), config(), sent_by_client, sent_by_server);
        let (client, server) = pair.connect();
        let last = |connection: &mut dunlin_core::Connection<'_>| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &patterned(id, 50_000)).unwrap();
            connection.close_graceful(at(60_000), 3u32.into(), b"");
        };
        pair.on_client(client, last);
        pair.on_server(server, last);
        pair.world.run_for(Duration::from_secs(10));
        assert!(pair.client().closed(client).is_some() && pair.server().closed(server).is_some());
        // Whoever closed first had everything acknowledged; the other may have been cut off.
        assert!(client_seen.borrow().finished == 1 || server_seen.borrow().finished == 1);
        pair.finish();
    }
}

//! Dials that meet the wrong peer, a liar, or nobody.

use core::cell::Cell;
use std::rc::Rc;

use dunlin_core::{
    CloseReason, ConnectError, ConnectOptions, ConnectionHandle, ConnectionState, DatagramError, Disposition,
    DropReason, Duration, Endpoint, Event, Identity, Instant, OpenError, Peer, WriteError,
};
use dunlin_sim::{
    ALPN, AcceptAll, Host, Injection, LinkConfig, Pair, Verdict, World, config, endpoint, wind_down,
};

use crate::common::{
    DATA, INIT, INIT_KNOWN, INIT_KNOWN_REPLY, INIT_REPLY, at, drop_if, drop_while, hand_in, kind, ms, quick,
    record,
};

#[test]
fn nobody_there_is_no_answer_after_five_seconds_and_seven_copies() {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    drop_if(&mut pair.world, |_| true);
    let client = pair.dial();
    pair.world.run_for(Duration::from_secs(20));
    assert_eq!(pair.client().closed(client), Some((at(5000), &CloseReason::NoAnswer)));
    let times: Vec<u64> = seen.borrow().iter().map(|seen| seen.at.as_nanos() / 1_000_000).collect();
    assert_eq!(times, [0, 250, 750, 1750, 2750, 3750, 4750]);
    let seen = seen.borrow();
    assert!(seen.iter().all(|copy| copy.bytes == seen[0].bytes && copy.bytes.len() == 1200));
    drop(seen);
    pair.finish();
}

#[test]
fn a_dial_may_have_a_timeout_of_its_own() {
    let mut pair = Pair::new(1, quick());
    drop_if(&mut pair.world, |_| true);
    let mut options = ConnectOptions::new(pair.server_addr, ALPN);
    options.timeout = Some(ms(1234));
    let (now, peer, node) = (pair.now(), Peer::Key(pair.server_key()), pair.client);
    let client = pair.world.node_mut(node).endpoint.connect(now, peer, options).unwrap();
    pair.world.run_for(Duration::from_secs(5));
    assert_eq!(pair.client().closed(client), Some((at(1234), &CloseReason::NoAnswer)));
    pair.finish();
}

#[test]
fn another_key_than_the_expected_one_is_silence() {
    let mut pair = Pair::new(1, quick());
    let client = pair.dial_as(Peer::Key(*Identity::from_secret([77; 32]).public()));
    pair.world.run_for(Duration::from_secs(6));
    assert_eq!(pair.client().closed(client), Some((at(5000), &CloseReason::NoAnswer)));
    assert_eq!(pair.server().dropped(DropReason::BadHandshake), 7);
    assert_eq!(pair.server().endpoint.stats().datagrams_sent, 0);
    assert_eq!(pair.server().count(|_| true), 0);
    pair.finish();
}

#[test]
fn a_reply_of_the_other_patterns_type_is_dropped() {
    for peer in [None, Some(Peer::AnyKey)] {
        let mut pair = Pair::new(1, quick());
        let server = pair.server_addr;
        pair.world.add_tap(move |passing| {
            if passing.from == server && passing.now < at(200) {
                passing.bytes[0] ^= (INIT_REPLY ^ INIT_KNOWN_REPLY) << 5;
            }
            Verdict::Pass
        });
        let client = pair.dial_as(peer.unwrap_or_else(|| Peer::Key(pair.server_key())));
        pair.world.run_for(Duration::from_secs(1));
        assert_eq!(pair.client().dropped(DropReason::BadHandshake), 1);
        assert_eq!(pair.client().when(client, &Event::Connected), Some(at(290)), "by the next copy");
        pair.finish();
    }
}

/// Hands `count` forged replies to a dial, `interval` apart, and returns the X25519 operations they cost.
fn cost_of_forgeries(count: u32, interval: Duration) -> u64 {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    let server = pair.server_addr;
    let blocked = drop_while(&mut pair.world, move |passing| passing.from == server);
    let client = pair.dial();
    pair.world.run_for(ms(30));
    let init = seen.borrow()[0].bytes.clone();
    let (node, to) = (pair.client, pair.client_addr);
    let before = pair.client().endpoint.stats().x25519_operations;
    for n in 0..count {
        let mut forged = vec![INIT_KNOWN_REPLY << 5 | 16];
        forged.extend_from_slice(&init[1..9]);
        // A valid point, and then noise.
        forged.extend_from_slice(pair.server_key().as_bytes());
        forged.extend_from_slice(&[n as u8; 300]);
        let got = hand_in(&mut pair.world, node, to, server, &forged);
        assert_eq!(got, Disposition::Dropped(DropReason::BadHandshake));
        pair.world.run_for(interval);
    }
    let cost = pair.client().endpoint.stats().x25519_operations - before;
    blocked.set(false);
    pair.world.run_for(Duration::from_secs(3));
    assert!(pair.client().has(client, &Event::Connected), "the handshake is as it was");
    pair.finish();
    cost
}

#[test]
fn forged_replies_leave_the_dial_alive_and_cost_at_most_64_tries_a_second() {
    let one = cost_of_forgeries(1, Duration::ZERO);
    assert!(one > 0);
    assert_eq!(cost_of_forgeries(500, Duration::ZERO), 64 * one);
    assert!((65..=128).contains(&(cost_of_forgeries(150, ms(10)) / one)), "1.5 seconds are two rounds");
    assert_eq!(cost_of_forgeries(100, ms(20)), 100 * one, "50 a second are all tried");
}

#[test]
fn a_reply_with_any_byte_changed_does_not_open() {
    for peer in [None, Some(Peer::AnyKey)] {
        let mut dialler = config();
        dialler.connect_timeout = Duration::from_secs(60);
        let mut pair = Pair::with(1, quick(), dialler, config(), AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        let server = pair.server_addr;
        let blocked = drop_while(&mut pair.world, move |passing| passing.from == server);
        let client = pair.dial_as(peer.unwrap_or_else(|| Peer::Key(pair.server_key())));
        pair.world.run_for(ms(30));
        let reply = seen.borrow().iter().find(|seen| seen.from == server).unwrap().bytes.clone();
        let (node, to) = (pair.client, pair.client_addr);
        for place in 0..reply.len() {
            let mut changed = reply.clone();
            changed[place] ^= 0x80 >> (place % 8);
            let got = hand_in(&mut pair.world, node, to, server, &changed);
            assert!(matches!(got, Disposition::Dropped(_)), "byte {place}");
            // Below 64 a second.
            pair.world.run_for(ms(20));
        }
        for len in 0..reply.len() {
            let got = hand_in(&mut pair.world, node, to, server, &reply[..len]);
            assert!(matches!(got, Disposition::Dropped(_)), "{len} bytes");
        }
        pair.on_client(client, |connection| assert_eq!(connection.state(), ConnectionState::Dialling));
        pair.world.run_for(Duration::from_secs(1));
        let got = hand_in(&mut pair.world, node, to, server, &reply);
        assert_eq!(got, Disposition::Accepted);
        pair.on_client(client, |connection| assert_eq!(connection.state(), ConnectionState::Established));
        blocked.set(false);
        pair.finish();
    }
}

/// An answerer that refuses.
fn refuse(now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
    if *event == Event::Incoming {
        endpoint.incoming(handle).unwrap().refuse(now, 42u32.into());
    }
}

#[test]
fn a_refusal_is_believed_if_it_opens_and_only_then() {
    for peer in [None, Some(Peer::AnyKey)] {
        let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, refuse);
        let server = pair.server_addr;
        let spoiled = Rc::new(Cell::new(0));
        let count = Rc::clone(&spoiled);
        pair.world.add_tap(move |passing| {
            if passing.from == server && passing.now < at(500) {
                *passing.bytes.last_mut().unwrap() ^= 1;
                count.set(count.get() + 1);
            }
            Verdict::Pass
        });
        let client = pair.dial_as(peer.unwrap_or_else(|| Peer::Key(pair.server_key())));
        pair.world.run_for(Duration::from_secs(2));
        let refused = CloseReason::Refused { code: 42u32.into() };
        assert_eq!(spoiled.get(), 2);
        assert_eq!(pair.client().closed(client), Some((at(790), &refused)));
        assert_eq!(pair.server().count(|event| *event != Event::Incoming), 0);
        pair.finish();
    }
}

#[test]
fn a_key_that_is_not_trusted_yet_gets_the_confirming_packet_and_nothing_else() {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    let client = pair.dial_as(Peer::Unknown);
    let untrusted = |pair: &mut Pair| {
        pair.on_client(client, |connection| {
            assert_eq!(connection.open_bi(), Err(OpenError::Untrusted));
            assert_eq!(connection.open_uni(), Err(OpenError::Untrusted));
            let id = dunlin_core::StreamId::new(
                dunlin_core::Role::Initiator,
                dunlin_core::Direction::Bidirectional,
                0,
            );
            assert_eq!(connection.write(id, b"too early"), Err(WriteError::Untrusted));
            assert_eq!(connection.send_datagram(b"too early"), Err(DatagramError::Untrusted));
        });
    };
    untrusted(&mut pair);
    pair.world.run_for(Duration::from_secs(20));
    untrusted(&mut pair);
    let key = pair.server_key();
    assert_eq!(pair.client().when(client, &Event::PeerKey(key)), Some(at(40)));
    assert!(!pair.client().has(client, &Event::Connected));
    pair.on_client(client, |connection| {
        assert_eq!(connection.state(), ConnectionState::Untrusted);
        assert_eq!(connection.handshake_hash(), None);
        assert!(connection.peer_identity().is_some(), "that is what there is to judge");
    });
    let sent = seen
        .borrow()
        .iter()
        .filter(|seen| seen.from == pair.client_addr)
        .map(|seen| kind(&seen.bytes))
        .collect::<Vec<_>>();
    assert_eq!(sent, [INIT, DATA]);
    pair.on_client(client, |connection| {
        connection.trust();
        assert_eq!(connection.state(), ConnectionState::Established);
        connection.open_bi().unwrap();
        connection.trust();
    });
    pair.world.run_for(ms(100));
    assert_eq!(pair.client().count(|event| *event == Event::Connected), 1);
    assert_eq!(pair.server().count(|event| matches!(event, Event::StreamOpened(_))), 1);
    pair.finish();
}

#[test]
fn a_key_that_is_not_trusted_can_be_closed_on() {
    let mut pair = Pair::new(1, quick());
    let client = pair.dial_as(Peer::Unknown);
    pair.world.run_for(ms(100));
    pair.on_client(client, |connection| connection.close(3u32.into(), b"not you"));
    pair.world.run_for(ms(100));
    let server = pair.server().events[0].1;
    let reason = CloseReason::Peer { code: 3u32.into(), reason: b"not you"[..].to_vec().into() };
    assert_eq!(pair.server().closed(server).unwrap().1, &reason);
    pair.finish();
}

#[test]
fn a_key_that_nobody_judges_ends_with_the_idle_timeout() {
    let mut pair = Pair::new(1, quick());
    let client = pair.dial_as(Peer::Unknown);
    // The answerer, which is not answered, asks until its own idle timeout.
    pair.world.run_for(Duration::from_secs(200));
    assert_eq!(pair.client().closed(client).unwrap().1, &CloseReason::IdleTimeout);
    pair.finish();
}

/// Two endpoints with the same identity, one dialling the other.
fn dial_self(
    client_allows: bool,
    server_allows: bool,
    known: bool,
) -> (World<Host>, Result<Option<CloseReason>, ConnectError>, u64) {
    let (a, b) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
    let mut world = World::new(1, quick());
    let host = |allows, seed| {
        let mut config = config();
        config.allow_self = allows;
        Host::new(endpoint(config, 5, seed), AcceptAll)
    };
    let client = world.add_node("client", &[a], host(client_allows, 1));
    let server = world.add_node("server", &[b], host(server_allows, 2));
    let own = *world.node(client).endpoint.public_key();
    let peer = if known { Peer::Key(own) } else { Peer::AnyKey };
    let dialled = world.node_mut(client).endpoint.connect(Instant::ZERO, peer, ConnectOptions::new(b, ALPN));
    world.run_for(Duration::from_secs(6));
    let result = dialled.map(|handle| world.node(client).closed(handle).map(|(_, reason)| reason.clone()));
    let dropped = world.node(server).dropped(DropReason::OwnKey);
    (world, result, dropped)
}

#[test]
fn our_own_key_is_refused_on_both_sides_unless_allowed() {
    let expect =
        |client, server, known, result: Result<Option<CloseReason>, ConnectError>, own_key_dropped: bool| {
            let (mut world, got, dropped) = dial_self(client, server, known);
            assert_eq!((got, dropped > 0), (result, own_key_dropped), "{client} {server} {known}");
            wind_down(&mut world);
        };
    expect(false, true, true, Err(ConnectError::OwnKey), false);
    expect(true, false, true, Ok(Some(CloseReason::NoAnswer)), true);
    expect(true, true, true, Ok(None), false);
    expect(true, false, false, Ok(Some(CloseReason::NoAnswer)), true);
    // The answerer does not mind, the dialler does when it reads the reply.
    expect(false, true, false, Ok(Some(CloseReason::NoAnswer)), false);
    expect(true, true, false, Ok(None), false);
}

#[test]
fn an_endpoint_may_dial_itself_if_it_wants() {
    let addr = "10.0.0.1:1".parse().unwrap();
    let mut world = World::new(1, quick());
    let mut allowing = config();
    allowing.allow_self = true;
    let node = world.add_node("narcissus", &[addr], Host::new(endpoint(allowing, 5, 1), AcceptAll));
    let own = *world.node(node).endpoint.public_key();
    world
        .node_mut(node)
        .endpoint
        .connect(Instant::ZERO, Peer::Key(own), ConnectOptions::new(addr, ALPN))
        .unwrap();
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.node(node).count(|event| *event == Event::Connected), 2);
    wind_down(&mut world);
}

#[test]
fn what_cannot_be_dialled_does_not_start() {
    let mut pair = Pair::new(1, LinkConfig::default());
    let (node, key, good) = (pair.client, pair.server_key(), pair.server_addr);
    let endpoint = &mut pair.world.node_mut(node).endpoint;
    for bad in ["0.0.0.0:1", "255.255.255.255:1", "224.0.0.1:1", "10.0.0.2:0", "[::]:1", "[ff02::1]:1"] {
        let addr: core::net::SocketAddr = bad.parse().unwrap();
        let got = endpoint.connect(Instant::ZERO, Peer::Key(key), ConnectOptions::new(addr, ALPN));
        assert_eq!(got, Err(ConnectError::Address), "{bad}");
    }
    for bad in [vec![], vec![vec![]], vec![vec![1; 256]], vec![vec![1]; 17], vec![vec![1; 200], vec![2; 200]]]
    {
        let mut options = ConnectOptions::new(good, ALPN);
        options.alpns = bad;
        assert_eq!(endpoint.connect(Instant::ZERO, Peer::Key(key), options), Err(ConnectError::Alpns));
    }
    assert_eq!(pair.client().endpoint.stats().connections, 0);
    pair.finish();
}

#[test]
fn a_mirrored_init_is_dropped_by_the_dialler() {
    // Our own Init, sent back to us: it names our key as the initiator's.
    for peer in [None, Some(Peer::AnyKey)] {
        let mut pair = Pair::new(1, quick());
        let (client, server) = (pair.client_addr, pair.server_addr);
        pair.world.add_tap(move |passing| {
            if matches!(kind(passing.bytes), INIT | INIT_KNOWN) {
                let bytes = passing.bytes.clone();
                passing.inject(Injection { after: ms(1), from: server, to: client, ecn: None, bytes });
            }
            Verdict::Pass
        });
        let dial = pair.dial_as(peer.unwrap_or_else(|| Peer::Key(pair.server_key())));
        pair.world.run_for(Duration::from_secs(1));
        assert!(pair.client().has(dial, &Event::Connected));
        assert_eq!(pair.client().count(|event| *event == Event::Incoming), 0);
        let stats = pair.client().endpoint.stats();
        assert_eq!(stats.dropped(DropReason::OwnKey) + stats.dropped(DropReason::BadHandshake), 1);
        pair.finish();
    }
}

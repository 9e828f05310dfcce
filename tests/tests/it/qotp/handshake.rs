//! How connections come into being.

use core::cell::Cell;
use core::net::SocketAddr;

use dunlin_core::{
    CloseReason, ConnectError, ConnectOptions, ConnectionHandle, ConnectionState, DropReason, Duration,
    Event, Instant, Peer, QotpIdentity, WireVersion,
};
use dunlin_sim::{AcceptAll, Host, NodeId, Pair, Receiver, Verdict, World, config};

use super::kit::{DATA, MTU, Upload, closed, connect, connected, crypto, drain, pair, qotp, write_all};
use crate::common::{at, drop_if, kind, line, ms, patterned, quick, record};

/// When copies of an Init go out, in milliseconds from the dial.
const COPIES: [u64; 5] = [0, 200, 600, 1400, 3000];

#[test]
fn a_qotp_dial_takes_a_round_trip_and_says_what_it_is() {
    for known in [false, true] {
        let (mut pair, client, server) = connected(known);
        assert_eq!(pair.client().when(client, &Event::Connected), Some(at(40)));
        assert_eq!(pair.server().when(server, &Event::Connected), Some(at(20)), "with the acceptance");
        let keys = [pair.client(), pair.server()].map(|host| *host.endpoint.qotp_public_key());
        let check = |connection: &mut dunlin_core::Connection<'_>, key| {
            assert_eq!(connection.wire(), WireVersion::Qotp);
            assert_eq!(connection.state(), ConnectionState::Established);
            assert_eq!(connection.qotp_claimed_key(), Some(key));
            assert_eq!((connection.peer_identity(), connection.alpn()), (None, None));
            assert_eq!((connection.handshake_hash(), connection.export(b"x", b"")), (None, Ok(None)));
        };
        pair.on_client(client, |connection| check(connection, keys[1]));
        pair.on_server(server, |connection| check(connection, keys[0]));
        pair.finish();
    }
}

#[test]
fn lost_inits_and_replies_cost_a_qotp_dial_the_next_copy() {
    for known in [false, true] {
        for (inits, replies) in [(1, 0), (0, 1), (2, 0), (1, 1), (0, 3), (2, 2)] {
            let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
            let (from, left) = (pair.client_addr, Cell::new([inits, replies]));
            drop_if(&mut pair.world, move |passing| {
                let mut lost = left.get();
                let ours = usize::from(passing.from != from);
                let hit = kind(passing.bytes) != DATA && lost[ours] > 0;
                lost[ours] -= usize::from(hit);
                left.set(lost);
                hit
            });
            let client = pair.dial_qotp(known);
            pair.world.run_for(Duration::from_secs(5));
            let expected = at(COPIES[inits + replies] + 40);
            assert_eq!(
                pair.client().when(client, &Event::Connected),
                Some(expected),
                "{known} {inits} {replies}"
            );
            assert_eq!(pair.server().count(|event| *event == Event::Incoming), 1);
            pair.finish();
        }
    }
}

#[test]
fn doubled_and_late_handshake_packets_change_nothing_in_qotp() {
    for known in [false, true] {
        let (receiver, received) = Receiver::new();
        let mut pair = pair(1, quick(), AcceptAll, receiver);
        let seen = record(&mut pair.world);
        pair.world.add_tap(|passing| {
            // Each packet of the handshake comes twice at once and once more when the connection stands.
            if kind(passing.bytes) != DATA {
                for after in [20, 20, 300] {
                    let (from, to, bytes) = (passing.from, passing.to, passing.bytes.clone());
                    passing.inject(dunlin_sim::Injection { after: ms(after), from, to, ecn: None, bytes });
                }
            }
            Verdict::Pass
        });
        let client = pair.dial_qotp(known);
        pair.on_client(client, |connection| {
            let id = connection.open_bi().unwrap();
            write_all(connection, id, &patterned(id, 1000));
        });
        pair.world.run_for(Duration::from_secs(2));
        assert_eq!((received.borrow().finished, received.borrow().total()), (1, 1000));
        for host in [pair.client(), pair.server()] {
            assert_eq!(host.count(|event| *event == Event::Connected), 1);
        }
        let sent = seen.borrow().iter().filter(|seen| kind(&seen.bytes) != DATA).count();
        assert!((2..=5).contains(&sent), "{sent} packets for one handshake");
        pair.finish();
    }
}

#[test]
fn a_qotp_dial_to_nobody_ends_after_five_seconds_and_five_copies() {
    for known in [false, true] {
        let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        drop_if(&mut pair.world, |_| true);
        let client = pair.dial_qotp(known);
        pair.world.run_for(Duration::from_secs(20));
        assert_eq!(closed(pair.client(), client), Some((at(5000), CloseReason::NoAnswer)));
        let times: Vec<u64> = seen.borrow().iter().map(|seen| seen.at.as_nanos() / 1_000_000).collect();
        assert_eq!(times, COPIES);
        let init = seen.borrow()[0].bytes.clone();
        assert!(seen.borrow().iter().all(|copy| copy.bytes == init && copy.bytes.len() == MTU));
        pair.finish();
    }
}

/// A dial that gets no answer, and what the answerer dropped.
fn unanswered(pair: &mut Pair, peer: Peer, reason: DropReason) {
    let before = (pair.server().dropped(reason), crypto(pair));
    let (now, remote, node) = (pair.now(), pair.server_addr, pair.client);
    let endpoint = &mut pair.world.node_mut(node).endpoint;
    let client = endpoint.connect(now, peer, ConnectOptions::qotp(remote)).unwrap();
    pair.world.run_for(Duration::from_secs(6));
    assert_eq!(closed(pair.client(), client), Some((now + Duration::from_secs(5), CloseReason::NoAnswer)));
    assert_eq!(pair.server().dropped(reason) - before.0, COPIES.len() as u64);
    assert_eq!((pair.server().endpoint.stats().datagrams_sent, pair.server().count(|_| true)), (0, 0));
    if reason != DropReason::BadHandshake {
        assert_eq!(crypto(pair), before.1, "refused before any cryptography");
    }
}

#[test]
fn qotp_that_is_not_switched_on_is_silent() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let key = *pair.server().endpoint.qotp_public_key();
    unanswered(&mut pair, Peer::QotpKey(key), DropReason::Version);
    unanswered(&mut pair, Peer::AnyKey, DropReason::Version);
    pair.finish();
}

#[test]
fn another_qotp_key_than_the_dialled_one_is_silence() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let key = *QotpIdentity::from_seed([77; 32]).public();
    unanswered(&mut pair, Peer::QotpKey(key), DropReason::BadHandshake);
    pair.finish();
}

#[test]
fn both_sides_of_qotp_need_the_same_mtu() {
    let settings = |mtu| {
        let mut config = qotp();
        config.qotp.mtu = mtu;
        config
    };
    for (dialler, answerer) in [(1400, 1399), (1400, 1401), (1300, 1400)] {
        let mut pair = Pair::with(1, quick(), settings(dialler), settings(answerer), AcceptAll, AcceptAll);
        let key = *pair.server().endpoint.qotp_public_key();
        unanswered(&mut pair, Peer::QotpKey(key), DropReason::Size);
        unanswered(&mut pair, Peer::AnyKey, DropReason::Size);
        pair.finish();
    }
    for mtu in [1200, 1301, 9000, 65_000] {
        for known in [false, true] {
            let both = [settings(mtu), settings(mtu)];
            let mut upload = Upload::new(1, line(), both, known, 3, 500_000);
            let seen = record(&mut upload.pair.world);
            upload.complete(Duration::from_secs(20));
            let longest = seen.borrow().iter().map(|seen| seen.bytes.len()).max();
            assert_eq!(longest, Some(usize::from(mtu)));
            upload.pair.finish();
        }
    }
}

#[test]
fn what_qotp_cannot_dial_does_not_start() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let (native, key) = (pair.server_key(), *pair.server().endpoint.qotp_public_key());
    let (node, good) = (pair.client, pair.server_addr);
    let own = *pair.client().endpoint.qotp_public_key();
    let endpoint = &mut pair.world.node_mut(node).endpoint;
    let mut dial =
        |peer, wire: fn(SocketAddr) -> ConnectOptions, to| endpoint.connect(Instant::ZERO, peer, wire(to));
    let over_qotp = |to| ConnectOptions::qotp(to);
    let over_native = |to| ConnectOptions::new(to, dunlin_sim::ALPN);
    assert_eq!(dial(Peer::Key(native), over_qotp, good), Err(ConnectError::Wire));
    assert_eq!(dial(Peer::Unknown, over_qotp, good), Err(ConnectError::Wire));
    assert_eq!(dial(Peer::QotpKey(key), over_native, good), Err(ConnectError::Wire));
    assert_eq!(dial(Peer::QotpKey(own), over_qotp, good), Err(ConnectError::OwnKey));
    for bad in ["0.0.0.0:1", "255.255.255.255:1", "10.0.0.2:0"] {
        assert_eq!(dial(Peer::AnyKey, over_qotp, bad.parse().unwrap()), Err(ConnectError::Address));
    }
    assert_eq!(pair.client().endpoint.stats().connections, 0);
    pair.finish();
}

#[test]
fn two_qotp_endpoints_may_dial_each_other_at_once() {
    for known in [false, true] {
        let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
        let there = pair.dial_qotp(known);
        let (now, node, remote) = (pair.now(), pair.server, pair.client_addr);
        let key = *pair.client().endpoint.qotp_public_key();
        let peer = if known { Peer::QotpKey(key) } else { Peer::AnyKey };
        let endpoint = &mut pair.world.node_mut(node).endpoint;
        let back = endpoint.connect(now, peer, ConnectOptions::qotp(remote)).unwrap();
        pair.world.run_for(Duration::from_secs(1));
        assert!(pair.client().has(there, &Event::Connected) && pair.server().has(back, &Event::Connected));
        for host in [pair.client(), pair.server()] {
            assert_eq!(host.count(|event| *event == Event::Connected), 2);
        }
        let ids: Vec<_> = [(pair.client, there), (pair.server, back)]
            .map(|(node, handle): (NodeId, ConnectionHandle)| {
                let world: &mut World<Host> = &mut pair.world;
                let mut connection = world.node_mut(node).endpoint.connection(handle).unwrap();
                let id = connection.open_bi().unwrap();
                write_all(&mut connection, id, b"hello");
                id
            })
            .to_vec();
        assert_eq!(ids[0], ids[1]);
        pair.world.run_for(ms(100));
        for host in [pair.client(), pair.server()] {
            assert_eq!(host.count(|event| matches!(event, Event::StreamOpened(_))), 1);
        }
        pair.finish();
    }
}

#[test]
fn a_given_qotp_identity_is_the_one_that_is_dialled_and_claimed() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let (client, server) = (QotpIdentity::from_seed([1; 32]), QotpIdentity::from_seed([2; 32]));
    let keys = (*client.public(), *server.public());
    let (dialler, answerer) = (pair.client, pair.server);
    pair.world.node_mut(dialler).endpoint.set_qotp_identity(client);
    pair.world.node_mut(answerer).endpoint.set_qotp_identity(server);
    for known in [false, true] {
        let (client, server) = connect(&mut pair, known);
        pair.on_client(client, |connection| {
            assert_eq!(connection.qotp_claimed_key(), Some(keys.1));
            let id = connection.open_bi().unwrap();
            write_all(connection, id, b"hello");
        });
        pair.world.run_for(ms(100));
        pair.on_server(server, |connection| {
            assert_eq!(connection.qotp_claimed_key(), Some(keys.0));
            let id = connection.accept(dunlin_core::Direction::Bidirectional).unwrap();
            assert_eq!(drain(connection, id), None, "read to the end");
        });
    }
    pair.finish();
}

#[test]
fn a_qotp_dial_may_have_a_timeout_of_its_own() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let seen = record(&mut pair.world);
    drop_if(&mut pair.world, |_| true);
    for (timeout, copies) in [(100, 1), (700, 3), (60_000, 9)] {
        let mut options = ConnectOptions::qotp(pair.server_addr);
        options.timeout = Some(ms(timeout));
        let (now, node) = (pair.now(), pair.client);
        let client = pair.world.node_mut(node).endpoint.connect(now, Peer::AnyKey, options).unwrap();
        pair.world.run_for(Duration::from_secs(61));
        assert_eq!(closed(pair.client(), client), Some((now + ms(timeout), CloseReason::NoAnswer)));
        assert_eq!(seen.borrow().iter().filter(|seen| seen.at >= now).count(), copies);
    }
    pair.finish();
}

//! How connections come into being, and what must not bring one into being or change it.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    AcceptError, CloseReason, ConnectError, ConnectOptions, ConnectionHandle, ConnectionState, Disposition,
    DropReason, Duration, Endpoint, Event, IncomingIdentity, Instant, Peer, QotpIdentity, WireVersion,
};
use dunlin_sim::{AcceptAll, App, Host, NodeId, Pair, Receiver, Verdict, World, accept_incoming, config};

use super::kit::{
    DATA, INIT_CRYPTO_RCV, INIT_CRYPTO_SND, INIT_RCV, INIT_SND, MTU, Upload, connect, connected, drain, pair,
    qotp, write_all,
};
use super::puppet::{self, Initiator, Key, ack, part};
use crate::common::{
    Seen, Undecided, at, drop_if, drop_while, hand_in, inject, kind, line, ms, patterned, quick, record,
};

/// When copies of an Init go out, in milliseconds from the dial.
const COPIES: [u64; 5] = [0, 200, 600, 1400, 3000];

fn elsewhere(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 4000))
}

fn first(seen: &Rc<RefCell<Vec<Seen>>>, from: SocketAddr, wanted: u8) -> Vec<u8> {
    let wanted = |seen: &&Seen| seen.from == from && kind(&seen.bytes) == wanted;
    seen.borrow().iter().find(wanted).expect("there is one").bytes.clone()
}

/// AEAD and X25519 operations of the answerer so far.
fn crypto(pair: &Pair) -> (u64, u64) {
    let stats = pair.server().endpoint.stats();
    (stats.aead_operations, stats.x25519_operations)
}

/// Hands a datagram to the answerer.
fn hand_server(pair: &mut Pair, from: SocketAddr, bytes: &[u8]) -> Disposition {
    let (node, to) = (pair.server, pair.server_addr);
    hand_in(&mut pair.world, node, to, from, bytes)
}

/// Hands a datagram of the answerer to the dialler.
fn hand_client(pair: &mut Pair, bytes: &[u8]) -> Disposition {
    let (node, to, from) = (pair.client, pair.client_addr, pair.server_addr);
    hand_in(&mut pair.world, node, to, from, bytes)
}

fn closed(host: &Host, handle: ConnectionHandle) -> Option<(Instant, CloseReason)> {
    host.closed(handle).map(|(at, reason)| (at, reason.clone()))
}

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
fn a_qotp_attempt_that_is_ignored_or_refused_is_met_with_silence() {
    let ways: [fn(Instant, &mut Endpoint, ConnectionHandle); 3] = [
        |now, endpoint, handle| endpoint.incoming(handle).unwrap().refuse(now, 9u32.into()),
        |_, endpoint, handle| endpoint.incoming(handle).unwrap().ignore(),
        |_, _, _| {},
    ];
    for (number, way) in ways.into_iter().enumerate() {
        for known in [false, true] {
            let app =
                move |now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event| {
                    if *event == Event::Incoming {
                        let incoming = endpoint.incoming(handle).unwrap();
                        assert_eq!(incoming.wire(), Some(WireVersion::Qotp));
                        assert!(matches!(incoming.identity(), Some(IncomingIdentity::Qotp(_))));
                        assert_eq!(incoming.alpns().count(), 0);
                        way(now, endpoint, handle);
                    }
                };
            let mut pair = pair(1, quick(), AcceptAll, app);
            let client = pair.dial_qotp(known);
            pair.world.run_for(Duration::from_secs(9));
            assert_eq!(closed(pair.client(), client), Some((at(5000), CloseReason::NoAnswer)));
            assert_eq!(pair.server().count(|event| *event == Event::Incoming), 1, "copies are none");
            let ops = crypto(&pair);
            assert!(ops.0 <= 1 && ops.1 <= 1, "way {number}: copies cost nothing, {ops:?}");
            assert_eq!(pair.server().endpoint.stats().datagrams_sent, 0);
            assert_eq!(pair.server().endpoint.stats().connections, 1, "remembered for ten seconds");
            pair.world.run_for(Duration::from_secs(2));
            assert_eq!(pair.server().endpoint.stats().connections, 0);
            pair.finish();
        }
    }
}

#[test]
fn a_slow_decision_on_a_qotp_attempt_is_one_all_the_same() {
    for known in [false, true] {
        let mut pair = pair(1, quick(), AcceptAll, Undecided);
        let client = pair.dial_qotp(known);
        pair.on_client(client, |connection| {
            let id = connection.open_bi().unwrap();
            write_all(connection, id, b"hello");
        });
        pair.world.run_for(ms(2500));
        let (now, server, handle) = (pair.now(), pair.server, pair.server().events[0].1);
        let endpoint = &mut pair.world.node_mut(server).endpoint;
        assert_eq!(endpoint.incoming(handle).unwrap().accept(now), Ok(handle));
        assert!(endpoint.incoming(handle).is_none());
        pair.world.run_for(ms(100));
        assert_eq!(pair.client().when(client, &Event::Connected), Some(at(2520)));
        assert_eq!(pair.server().count(|event| matches!(event, Event::StreamOpened(_))), 1);
        pair.finish();
    }
}

#[test]
fn the_limit_on_half_open_attempts_delays_honest_qotp_dials_and_no_more() {
    for known in [false, true] {
        let mut answerer = qotp();
        answerer.limits.half_open = 3;
        let mut pair = Pair::with(1, quick(), qotp(), answerer, AcceptAll, AcceptAll);
        let dials: Vec<_> = (0..10).map(|_| pair.dial_qotp(known)).collect();
        pair.world.run_for(ms(30));
        assert_eq!(pair.server().endpoint.stats().connections, 3);
        assert_eq!(pair.server().dropped(DropReason::NotAccepting), 7);
        pair.world.run_for(Duration::from_secs(5));
        assert!(dials.iter().all(|dial| pair.client().has(*dial, &Event::Connected)));
        pair.finish();
    }
}

/// Ways in which an attempt can end before the first Data packet.
#[test]
fn half_open_qotp_attempts_that_end_in_any_way_make_room() {
    let ways: [fn(Instant, &mut Endpoint, ConnectionHandle); 6] = [
        |now, endpoint, handle| assert!(endpoint.incoming(handle).unwrap().accept(now).is_ok()),
        |_, _, _| {},
        |now, endpoint, handle| endpoint.incoming(handle).unwrap().refuse(now, 1u32.into()),
        |now, endpoint, handle| {
            let handle = endpoint.incoming(handle).unwrap().accept(now).unwrap();
            endpoint.connection(handle).unwrap().close(1u32.into(), b"");
        },
        |now, endpoint, handle| {
            let handle = endpoint.incoming(handle).unwrap().accept(now).unwrap();
            endpoint.connection(handle).unwrap().close_graceful(at(1), 1u32.into(), b"");
        },
        |now, endpoint, handle| {
            let handle = endpoint.incoming(handle).unwrap().accept(now).unwrap();
            endpoint.connection(handle).unwrap().forget();
        },
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let mut answerer = qotp();
        answerer.limits.half_open = 1;
        let app = move |now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event| {
            if *event == Event::Incoming {
                way(now, endpoint, handle);
            }
        };
        let mut pair = Pair::with(1, quick(), qotp(), answerer, AcceptAll, app);
        let server = pair.server_addr;
        let unheard = drop_while(&mut pair.world, move |passing| passing.from == server);
        pair.dial_qotp(number % 2 == 0);
        pair.world.run_for(Duration::from_secs(35));
        assert_eq!(pair.server().endpoint.stats().connections, 0, "way {number}");
        unheard.set(false);
        let server = pair.server;
        pair.world.node_mut(server).app = Box::new(AcceptAll);
        let client = pair.dial_qotp(true);
        pair.world.run_for(Duration::from_secs(1));
        assert!(pair.client().has(client, &Event::Connected), "way {number} left no room");
        pair.finish();
    }
}

/// An answerer that has a megabyte to say to everybody.
fn talkative() -> impl App {
    |now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event| {
        accept_incoming(now, endpoint, handle, event);
        if *event == Event::Connected {
            let mut connection = endpoint.connection(handle).unwrap();
            let id = connection.open_bi().unwrap();
            let _ = connection.write(id, &patterned(id, 1 << 20));
        }
    }
}

#[test]
fn a_spoofed_qotp_init_is_answered_with_at_most_three_times_its_bytes() {
    for known in [false, true] {
        let mut pair = pair(1, quick(), AcceptAll, talkative());
        let key = *pair.server().endpoint.qotp_public_key().as_bytes();
        let evil = Initiator::new(5);
        let init = if known { evil.init_crypto(&key, 0, &part(0, 0, b"hello")) } else { evil.init() };
        for copies in 1..=3 {
            inject(&mut pair, elsewhere(1), &init);
            pair.world.run_for(Duration::from_secs(3));
            let (received, sent) = pair.server().traffic[&elsewhere(1)];
            assert_eq!(received, copies * MTU as u64);
            assert!(sent <= 3 * received && sent > 2 * received, "{sent} bytes for {received}");
        }
        // Copies from elsewhere do not pay for what goes to the first address.
        let before = pair.server().traffic[&elsewhere(1)];
        for n in 2..100 {
            inject(&mut pair, elsewhere(n), &init);
        }
        pair.world.run_for(Duration::from_secs(3));
        assert!(pair.server().traffic[&elsewhere(1)].1 <= 3 * before.0);
        assert!((2..100).all(|n| pair.server().traffic[&elsewhere(n)].1 == 0));
        pair.world.run_for(Duration::from_secs(40));
        let server = pair.server().events[0].1;
        assert!(matches!(
            closed(pair.server(), server),
            Some((_, CloseReason::IdleTimeout | CloseReason::RetriesExhausted))
        ));
        // What came in the Init can still be read for a while.
        pair.world.run_for(Duration::from_secs(if known { 90 } else { 0 }));
        assert_eq!(pair.server().endpoint.stats().connections, 0);
        pair.finish();
    }
}

#[test]
fn the_first_data_packet_lifts_the_limit_on_what_a_qotp_responder_sends() {
    for known in [false, true] {
        let mut pair = pair(1, quick(), AcceptAll, talkative());
        let key = *pair.server().endpoint.qotp_public_key().as_bytes();
        let evil = Initiator::new(5);
        let seen = record(&mut pair.world);
        let init = if known { evil.init_crypto(&key, 0, &part(0, 0, b"hello")) } else { evil.init() };
        inject(&mut pair, elsewhere(1), &init);
        pair.world.run_for(ms(500));
        let replies: Vec<_> = seen.borrow().iter().map(|seen| seen.bytes.clone()).collect();
        assert!(replies.len() >= 3 && replies.iter().all(|reply| kind(reply) == kind(&init) + 1));
        let (key, first) = evil.read_reply(&replies[0]).expect("the reply opens");
        assert_eq!(first[0] >> 5 & 3, 0, "it begins with the acknowledgement of the Init");
        let acked = if known { 5u16 } else { 0 };
        assert_eq!(first[1..10], [&[0; 7][..], &acked.to_le_bytes()].concat());
        // An acknowledgement of nothing will do.
        let data = evil.data(&key, 1, &ack(u32::MAX, 0, 0));
        assert_eq!(hand_server(&mut pair, elsewhere(1), &data), Disposition::Accepted);
        pair.world.run_for(Duration::from_secs(5));
        let sent = pair.server().traffic[&elsewhere(1)].1;
        assert!(sent > 3 * pair.server().traffic[&elsewhere(1)].0 + 5000, "{sent}");
        let last = seen.borrow().last().unwrap().bytes.clone();
        assert_eq!((kind(&last), &last[1..9]), (DATA, &evil.id()[..]));
        pair.finish();
    }
}

/// A responder that may not send more, because all its initiator says is lost, is freed when something gets through.
#[test]
fn a_qotp_responder_that_used_up_its_allowance_is_not_left_waiting() {
    for known in [false, true] {
        for silence in [100, 1000, 3000] {
            let (receiver, seen) = Receiver::new();
            let mut pair = pair(1, quick(), receiver, talkative());
            let client = pair.client_addr;
            drop_if(&mut pair.world, move |passing| {
                passing.from == client && kind(passing.bytes) == DATA && passing.now < at(silence)
            });
            pair.dial_qotp(known);
            let done = pair.run_until(Duration::from_secs(10), |_| seen.borrow().total() >= 200_000);
            assert!(done, "{known} {silence}: {} bytes", seen.borrow().total());
            pair.finish();
        }
    }
}

/// The first Data packet may be seen to come from somewhere else: a copy that was faster. It proves nothing about that
/// address, and the next one from the right address does about that.
#[test]
fn a_first_data_packet_from_elsewhere_does_not_bind_a_qotp_responder_for_ever() {
    let (receiver, seen) = Receiver::new();
    let mut pair = pair(1, quick(), receiver, talkative());
    let (client, mut moved) = (pair.client_addr, false);
    pair.world.add_tap(move |passing| {
        if passing.from == client && kind(passing.bytes) == DATA && !core::mem::replace(&mut moved, true) {
            let (to, bytes) = (passing.to, passing.bytes.clone());
            passing.inject(dunlin_sim::Injection { after: ms(1), from: elsewhere(1), to, ecn: None, bytes });
        }
        Verdict::Pass
    });
    pair.dial_qotp(true);
    let done = pair.run_until(Duration::from_secs(10), |_| seen.borrow().total() >= 200_000);
    assert!(done, "{} bytes", seen.borrow().total());
    assert!(!pair.server().traffic.get(&elsewhere(1)).is_some_and(|traffic| traffic.1 > 0));
    pair.finish();
}

#[test]
fn an_init_for_a_live_qotp_id_with_another_ephemeral_is_dropped_before_any_crypto() {
    for undecided in [true, false] {
        let mut pair = if undecided {
            pair(1, quick(), AcceptAll, Undecided)
        } else {
            pair(1, quick(), AcceptAll, AcceptAll)
        };
        let key = *pair.server().endpoint.qotp_public_key().as_bytes();
        let evil = Initiator::new(5);
        let init = evil.init();
        assert_eq!(hand_server(&mut pair, elsewhere(1), &init), Disposition::Accepted);
        pair.world.run_for(ms(10));
        let before = crypto(&pair);
        let sent = pair.server().endpoint.stats().datagrams_sent;
        let mut other = init.clone();
        other[9] ^= 1;
        let mut identity = init.clone();
        identity[40] ^= 1;
        let flow = evil.init_crypto(&key, 0, &part(0, 0, b"x"));
        for forged in [&other, &identity, &flow] {
            for from in [elsewhere(1), elsewhere(2)] {
                let got = hand_server(&mut pair, from, forged);
                assert_eq!(got, Disposition::Dropped(DropReason::Duplicate));
            }
        }
        pair.world.run_for(ms(10));
        assert_eq!(crypto(&pair), before);
        assert_eq!(pair.server().endpoint.stats().datagrams_sent, sent);
        assert_eq!(pair.server().count(|event| *event == Event::Incoming), 1);
        pair.finish();
    }
}

#[test]
fn replayed_qotp_packets_change_nothing() {
    for known in [false, true] {
        let (receiver, received) = Receiver::new();
        let mut pair = pair(1, quick(), AcceptAll, receiver);
        let seen = record(&mut pair.world);
        let (client, server) = connect(&mut pair, known);
        pair.on_client(client, |connection| {
            let id = connection.open_bi().unwrap();
            write_all(connection, id, &patterned(id, 30_000));
        });
        pair.world.run_for(Duration::from_secs(2));
        assert_eq!(received.borrow().total(), 30_000);
        let stats = pair.on_server(server, |connection| connection.stats());
        let (before, ops) = (pair.server().endpoint.stats(), crypto(&pair));
        let (mut inits, mut data) = (0, 0);
        let packets: Vec<Seen> =
            seen.borrow().iter().filter(|seen| seen.from == pair.client_addr).cloned().collect();
        for packet in &packets {
            for from in [packet.from, elsewhere(1)] {
                let got = hand_server(&mut pair, from, &packet.bytes);
                assert_eq!(got, Disposition::Dropped(DropReason::Duplicate));
                if kind(&packet.bytes) == DATA { data += 1 } else { inits += 1 }
            }
        }
        assert!(inits >= 2 && data > 40);
        pair.world.run_for(Duration::from_secs(1));
        let after = pair.server().endpoint.stats();
        assert_eq!(after.datagrams_sent, before.datagrams_sent, "nothing is said to that");
        assert_eq!(crypto(&pair), (ops.0 + data, ops.1), "an Init costs nothing, Data one AEAD");
        assert_eq!(pair.on_server(server, |connection| connection.stats()), stats);
        assert_eq!(received.borrow().total(), 30_000);
        pair.finish();
    }
}

#[test]
fn a_second_qotp_reply_with_another_key_is_ignored() {
    for known in [false, true] {
        let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        let (client, server) = connect(&mut pair, known);
        let (from, own) = (pair.server_addr, pair.client_addr);
        let init = first(&seen, own, if known { INIT_CRYPTO_SND } else { INIT_SND });
        let real = first(&seen, from, if known { INIT_CRYPTO_RCV } else { INIT_RCV });
        let before = pair.client().endpoint.stats();
        let (_, forged) = puppet::reply(&init, &Key::new([8; 32]), &Key::new([9; 32]), 5, &part(1, 0, b"x"));
        assert_eq!(hand_client(&mut pair, &forged), Disposition::Dropped(DropReason::Unexpected));
        let after = pair.client().endpoint.stats();
        assert_eq!(after.aead_operations, before.aead_operations);
        assert_eq!(after.x25519_operations, before.x25519_operations);
        // The other flow's type with the right key is none either, and the real one is a replay.
        let mut other = real.clone();
        other[0] ^= (INIT_RCV ^ INIT_CRYPTO_RCV) << 5;
        let unexpected = if known { DropReason::TooShort } else { DropReason::Unexpected };
        assert_eq!(hand_client(&mut pair, &other), Disposition::Dropped(unexpected));
        assert_eq!(hand_client(&mut pair, &real), Disposition::Dropped(DropReason::Duplicate));
        // All goes on as before.
        pair.on_server(server, |connection| {
            let id = connection.open_bi().unwrap();
            write_all(connection, id, b"still here");
        });
        pair.world.run_for(ms(100));
        assert_eq!(pair.client().count(|event| matches!(event, Event::StreamOpened(_))), 1);
        assert!(pair.client().closed(client).is_none());
        pair.finish();
    }
}

#[test]
fn a_qotp_reply_with_any_byte_changed_does_not_open() {
    for known in [false, true] {
        let mut dialler = qotp();
        dialler.connect_timeout = Duration::from_secs(60);
        let mut pair = Pair::with(1, quick(), dialler, qotp(), AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        let server = pair.server_addr;
        let blocked = drop_while(&mut pair.world, move |passing| passing.from == server);
        let client = pair.dial_qotp(known);
        pair.world.run_for(ms(30));
        let reply = first(&seen, server, if known { INIT_CRYPTO_RCV } else { INIT_RCV });
        for place in 0..reply.len() {
            let mut changed = reply.clone();
            changed[place] ^= 0x80 >> (place % 8);
            // The reference ignores the top bit of a key's last byte, as RFC 7748 says, but it is authenticated.
            let got = hand_client(&mut pair, &changed);
            assert!(matches!(got, Disposition::Dropped(_)), "byte {place}");
            pair.world.run_for(ms(20));
        }
        for len in 0..reply.len() {
            assert!(matches!(hand_client(&mut pair, &reply[..len]), Disposition::Dropped(_)), "{len} bytes");
        }
        pair.on_client(client, |connection| assert_eq!(connection.state(), ConnectionState::Dialling));
        pair.world.run_for(Duration::from_secs(1));
        assert_eq!(hand_client(&mut pair, &reply), Disposition::Accepted);
        pair.on_client(client, |connection| assert_eq!(connection.state(), ConnectionState::Established));
        blocked.set(false);
        pair.finish();
    }
}

#[test]
fn forged_qotp_replies_cost_at_most_64_tries_a_second() {
    for known in [false, true] {
        let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        let (server, own) = (pair.server_addr, pair.client_addr);
        let blocked = drop_while(&mut pair.world, move |passing| passing.from == server);
        let client = pair.dial_qotp(known);
        pair.world.run_for(ms(30));
        let init = first(&seen, own, if known { INIT_CRYPTO_SND } else { INIT_SND });
        let (_, mut forged) = puppet::reply(&init, &Key::new([8; 32]), &Key::new([9; 32]), 0, &ack(0, 0, 0));
        *forged.last_mut().unwrap() ^= 1;
        let before = pair.client().endpoint.stats().x25519_operations;
        for _ in 0..500 {
            assert_eq!(hand_client(&mut pair, &forged), Disposition::Dropped(DropReason::BadHandshake));
        }
        assert_eq!(pair.client().endpoint.stats().x25519_operations - before, 64);
        blocked.set(false);
        pair.world.run_for(Duration::from_secs(3));
        assert!(pair.client().has(client, &Event::Connected), "the dial is as it was");
        pair.finish();
    }
}

#[test]
fn what_is_no_qotp_init_makes_no_entry_and_gets_no_answer() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let key = *pair.server().endpoint.qotp_public_key().as_bytes();
    let evil = Initiator::new(5);
    let (clear, sealed) = (evil.init(), evil.init_crypto(&key, 0, &part(0, 0, b"early")));
    let changed = |base: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = base.to_vec();
        change(&mut bytes);
        bytes
    };
    let short = |len: usize| {
        let payload = vec![0x20; len];
        evil.init_crypto(&key, 0, &payload)
    };
    // A filler that is longer than what there is.
    let filler = {
        let text = [&[0xff, 0xff][..], &[0; MTU - 65 - 6 - 2 - 16]].concat();
        puppet::seal(&evil.ephemeral.agree(&key), puppet::From::Initiator, 0, &sealed[..65], &text)
    };
    for (what, expected) in [
        (changed(&clear, &|bytes| bytes.truncate(MTU - 1)), DropReason::Size),
        (changed(&clear, &|bytes| bytes.push(0)), DropReason::Size),
        (changed(&sealed, &|bytes| bytes.truncate(MTU - 1)), DropReason::Size),
        (changed(&clear, &|bytes| bytes.truncate(38)), DropReason::TooShort),
        (changed(&clear, &Vec::clear), DropReason::TooShort),
        (changed(&clear, &|bytes| bytes[0] = 5 << 5), DropReason::Type),
        (changed(&clear, &|bytes| bytes[0] = 7 << 5), DropReason::Type),
        (changed(&clear, &|bytes| bytes[0] = 1), DropReason::Version),
        (changed(&clear, &|bytes| bytes[0] = DATA << 5), DropReason::UnknownConnection),
        (changed(&clear, &|bytes| bytes[0] = INIT_RCV << 5), DropReason::UnknownConnection),
        (changed(&clear, &|bytes| bytes[0] = INIT_CRYPTO_RCV << 5), DropReason::UnknownConnection),
        (changed(&clear, &|bytes| bytes[0] = INIT_CRYPTO_SND << 5), DropReason::BadHandshake),
        // Points of small order.
        (changed(&clear, &|bytes| bytes[1..33].fill(0)), DropReason::BadHandshake),
        (changed(&sealed, &|bytes| bytes[1..33].fill(0)), DropReason::BadHandshake),
        (filler, DropReason::BadHandshake),
        (short(0), DropReason::BadHandshake),
        (short(7), DropReason::BadHandshake),
    ] {
        let got = hand_server(&mut pair, elsewhere(1), &what);
        assert_eq!(got, Disposition::Dropped(expected), "{:x?}", &what[..what.len().min(70)]);
    }
    for place in 1..sealed.len() {
        let got = hand_server(
            &mut pair,
            elsewhere(1),
            &changed(&sealed, &|bytes| bytes[place] ^= 1 << (place % 8)),
        );
        assert!(matches!(got, Disposition::Dropped(_)), "byte {place}");
    }
    assert_eq!(pair.server().endpoint.stats().connections, 0);
    assert_eq!(pair.server().endpoint.stats().datagrams_sent, 0);
    pair.finish();
}

/// A point of small order as ephemeral key in the flow without a seal: the attempt can be seen, and not be accepted.
#[test]
fn a_qotp_attempt_with_a_key_of_small_order_cannot_be_accepted() {
    let mut pair = pair(1, quick(), AcceptAll, Undecided);
    let mut init = Initiator::new(5).init();
    init[1..33].fill(0);
    if hand_server(&mut pair, elsewhere(1), &init) == Disposition::Accepted {
        pair.world.run_for(ms(1));
        let (now, server, handle) = (pair.now(), pair.server, pair.server().events[0].1);
        let endpoint = &mut pair.world.node_mut(server).endpoint;
        assert_eq!(endpoint.incoming(handle).unwrap().accept(now), Err(AcceptError::Gone));
    }
    pair.world.run_for(Duration::from_secs(11));
    let stats = pair.server().endpoint.stats();
    assert_eq!((stats.connections, stats.datagrams_sent), (0, 0));
    pair.finish();
}

/// An attempt that does not fit into the memory limits has not been a connection at any time.
#[test]
fn a_qotp_attempt_without_memory_for_it_is_never_connected() {
    for limit in [0u64, 6 << 10, (6 << 10) + 100] {
        let mut answerer = qotp();
        answerer.limits.per_connection = limit;
        let results = Rc::new(RefCell::new(Vec::new()));
        let told = Rc::clone(&results);
        let app = move |now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event| {
            if *event == Event::Incoming {
                told.borrow_mut().push(endpoint.incoming(handle).unwrap().accept(now));
            }
        };
        let mut pair = Pair::with(1, quick(), qotp(), answerer, AcceptAll, app);
        let client = pair.dial_qotp(true);
        pair.on_client(client, |connection| {
            let id = connection.open_bi().unwrap();
            write_all(connection, id, &[1; 1000]);
        });
        pair.world.run_for(Duration::from_secs(12));
        assert_eq!(results.borrow()[..], [Err(AcceptError::OverBudget)], "{limit}");
        assert_eq!(pair.server().count(|event| *event != Event::Incoming), 0, "{:?}", pair.server().events);
        assert_eq!(closed(pair.client(), client), Some((at(5000), CloseReason::NoAnswer)));
        assert_eq!(pair.server().endpoint.stats().connections, 0);
        pair.finish();
    }
}

#[test]
fn a_qotp_init_that_comes_back_to_its_dialler_is_dropped() {
    for known in [false, true] {
        let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
        let (client, server) = (pair.client_addr, pair.server_addr);
        pair.world.add_tap(move |passing| {
            if passing.from == client && kind(passing.bytes) != DATA {
                let bytes = passing.bytes.clone();
                passing.inject(dunlin_sim::Injection {
                    after: ms(1),
                    from: server,
                    to: client,
                    ecn: None,
                    bytes,
                });
            }
            Verdict::Pass
        });
        let dial = pair.dial_qotp(known);
        pair.world.run_for(Duration::from_secs(1));
        assert!(pair.client().has(dial, &Event::Connected));
        assert_eq!(pair.client().dropped(DropReason::Duplicate), 1);
        assert_eq!(pair.client().count(|event| *event == Event::Incoming), 0);
        pair.finish();
    }
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

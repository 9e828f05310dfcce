//! Attempts that are not confirmed yet: decisions, limits, and how much is said to an unproved address.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{
    AcceptError, CloseReason, ConnectionHandle, Disposition, DropReason, Duration, Endpoint, Event,
    IncomingIdentity, Instant, WireVersion,
};
use dunlin_sim::{AcceptAll, App, Pair, Receiver, Verdict, accept_incoming};

use super::kit::{DATA, MTU, closed, crypto, elsewhere, hand_server, pair, qotp, write_all};
use super::puppet::{Initiator, ack, part};
use crate::common::{Undecided, at, drop_if, drop_while, inject, kind, ms, patterned, quick, record};

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
        // The rest is for those that can show their address, which QOTP's cannot.
        assert_eq!(pair.server().endpoint.stats().connections, 2);
        assert_eq!(pair.server().dropped(DropReason::RateLimited), 8);
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
        assert_eq!(closed(pair.server(), server).unwrap().1, CloseReason::Unconfirmed);
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
    assert!(pair.server().traffic.get(&elsewhere(1)).is_none_or(|traffic| traffic.1 == 0));
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

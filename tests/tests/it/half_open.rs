//! Attempts that are not confirmed yet: copies, expiry, limits, and what is no attempt at all
//! (docs/PROTOCOL.md, "Handshake").

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    AcceptError, CloseReason, ConnectError, ConnectOptions, ConnectionHandle, Disposition, DropReason,
    Duration, Endpoint, Event, Instant, Peer,
};
use dunlin_sim::{ALPN, AcceptAll, Pair, Receiver, config, seeds};

use crate::common::{
    DATA, INIT, INIT_KNOWN, INIT_KNOWN_REPLY, Seen, Undecided, at, drop_if, drop_while, hand_in, inject,
    kind, ms, patterned, quick, record,
};

fn elsewhere(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 4000))
}

/// A pair in which no Data of the dialler arrives, so that attempts stay half-open, and what is sent.
fn unconfirmed() -> (Pair, Rc<RefCell<Vec<Seen>>>) {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    let client = pair.client_addr;
    drop_if(&mut pair.world, move |passing| passing.from == client && kind(passing.bytes) == DATA);
    (pair, seen)
}

fn first(seen: &Rc<RefCell<Vec<Seen>>>, wanted: u8) -> Vec<u8> {
    seen.borrow().iter().find(|seen| kind(&seen.bytes) == wanted).expect("there is one").bytes.clone()
}

#[test]
fn every_copy_of_an_init_gets_the_same_reply_where_it_came_from() {
    for peer in [None, Some(Peer::AnyKey)] {
        let (mut pair, seen) = unconfirmed();
        pair.dial_as(peer.unwrap_or_else(|| Peer::Key(pair.server_key())));
        pair.world.run_for(ms(30));
        let init = seen.borrow()[0].bytes.clone();
        for n in 1..=5 {
            inject(&mut pair, elsewhere(n), &init);
            pair.world.run_for(ms(50));
        }
        for _ in 0..3 {
            inject(&mut pair, elsewhere(1), &init);
        }
        pair.world.run_for(Duration::from_secs(1));
        assert_eq!(pair.server().count(|event| *event == Event::Incoming), 1);
        let seen = seen.borrow();
        let replies: Vec<&Seen> = seen.iter().filter(|seen| seen.from == pair.server_addr).collect();
        assert!(
            replies.iter().all(|reply| reply.bytes == replies[0].bytes && reply.bytes.len() <= init.len())
        );
        let to = |addr| replies.iter().filter(|reply| reply.to == addr).count();
        assert_eq!((2..=5).map(|n| to(elsewhere(n))).collect::<Vec<_>>(), [1; 4]);
        assert_eq!(to(elsewhere(1)), 4, "one reply per copy");
        drop(seen);
        pair.finish();
    }
}

#[test]
fn more_copies_at_once_than_can_wait_get_fewer_replies() {
    let (mut pair, seen) = unconfirmed();
    pair.dial();
    pair.world.run_for(ms(30));
    let init = seen.borrow()[0].bytes.clone();
    for _ in 0..1000 {
        inject(&mut pair, elsewhere(1), &init);
    }
    pair.world.run_for(ms(20));
    let replies = seen.borrow().iter().filter(|seen| seen.to == elsewhere(1)).count();
    assert!((1..=1000).contains(&replies), "{replies}");
    pair.finish();
}

#[test]
fn an_attempt_that_is_not_confirmed_ends_after_ten_seconds() {
    let (mut pair, _) = unconfirmed();
    pair.dial();
    pair.world.run_for(Duration::from_secs(11));
    let server = pair.server().events[0].1;
    assert_eq!(pair.server().closed(server), Some((at(10_020), &CloseReason::Unconfirmed)));
    assert_eq!(pair.server().count(|event| *event == Event::Connected), 0);
    assert_eq!(pair.server().endpoint.stats().connections, 0);
    pair.finish();
}

#[test]
fn an_attempt_without_a_decision_ends_after_ten_seconds() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, Undecided);
    pair.dial();
    pair.world.run_for(ms(10_000));
    let handle = pair.server().events[0].1;
    let server = pair.server;
    assert!(pair.world.node_mut(server).endpoint.incoming(handle).is_some());
    pair.world.run_for(ms(20));
    assert!(pair.world.node_mut(server).endpoint.incoming(handle).is_none());
    assert_eq!(pair.server().endpoint.stats().connections, 0);
    assert_eq!(pair.server().endpoint.stats().datagrams_sent, 0);
    pair.finish();
}

#[test]
fn a_decision_is_taken_once() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, Undecided);
    let client = pair.dial();
    pair.world.run_for(ms(3000));
    let (now, server, handle) = (pair.now(), pair.server, pair.server().events[0].1);
    let endpoint = &mut pair.world.node_mut(server).endpoint;
    assert_eq!(endpoint.incoming(handle).unwrap().accept(now), Ok(handle));
    assert!(endpoint.incoming(handle).is_none());
    pair.world.run_for(ms(100));
    assert!(pair.client().has(client, &Event::Connected), "a slow decision is one all the same");
    pair.finish();
}

#[test]
fn late_copies_are_ignored_while_the_connection_lives() {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    pair.connect();
    let init = first(&seen, INIT_KNOWN);
    pair.world.run_for(Duration::from_secs(60));
    let before = pair.server().endpoint.stats();
    for n in 0..4 {
        inject(&mut pair, elsewhere(n), &init);
    }
    let from = pair.client_addr;
    inject(&mut pair, from, &init);
    pair.world.run_for(ms(100));
    let after = pair.server().endpoint.stats();
    assert_eq!(after.datagrams_sent, before.datagrams_sent);
    assert_eq!(after.dropped(DropReason::Duplicate) - before.dropped(DropReason::Duplicate), 5);
    assert_eq!(after.x25519_operations, before.x25519_operations, "a copy costs no agreement");
    pair.finish();
}

#[test]
fn a_replayed_init_with_early_data_is_never_confirmed() {
    let (receiver, received) = Receiver::new();
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, receiver);
    let seen = record(&mut pair.world);
    let client = pair.dial();
    pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &patterned(id, 100)).unwrap();
        connection.finish(id).unwrap();
    });
    pair.world.run_for(Duration::from_secs(1));
    pair.on_client(client, |connection| connection.close(0u32.into(), b""));
    pair.world.run_for(Duration::from_secs(5));
    assert_eq!(received.borrow().finished, 1);
    assert_eq!(pair.server().endpoint.stats().connections, 0);

    let datagrams: Vec<Seen> =
        seen.borrow().iter().filter(|seen| seen.from == pair.client_addr).cloned().collect();
    for datagram in &datagrams {
        inject(&mut pair, datagram.from, &datagram.bytes);
        pair.world.run_for(ms(100));
    }
    pair.world.run_for(Duration::from_secs(12));
    let replayed = pair.server().events.iter().rev().find(|(.., event)| *event == Event::Incoming).unwrap().1;
    assert_eq!(pair.server().count(|event| *event == Event::Incoming), 2, "nobody remembers the first");
    assert_eq!(pair.server().closed(replayed).unwrap().1, &CloseReason::Unconfirmed);
    assert_eq!(pair.server().count(|event| *event == Event::Connected), 1);
    assert_eq!((received.borrow().finished, received.borrow().total()), (1, 100));
    pair.finish();
}

#[test]
fn the_same_ephemeral_in_other_bytes_is_another_attempt() {
    let (mut pair, seen) = unconfirmed();
    let client = pair.dial_as(Peer::AnyKey);
    pair.world.run_for(ms(30));
    let mut other = first(&seen, INIT);
    other.push(0);
    inject(&mut pair, elsewhere(1), &other);
    pair.world.run_for(ms(100));
    assert_eq!(pair.server().count(|event| *event == Event::Incoming), 2);
    let seen = seen.borrow();
    let replies: Vec<&Seen> = seen.iter().filter(|seen| seen.from == pair.server_addr).collect();
    assert_eq!(replies.len(), 2);
    assert_ne!(replies[0].bytes, replies[1].bytes, "nothing is sealed twice under one key");
    assert_eq!(pair.client().when(client, &Event::Connected), Some(at(40)));
    drop(seen);
    pair.finish();
}

/// A dialler's wishes beyond what the answerer's limit allows.
fn crowd(limits: impl Fn(&mut dunlin_core::Limits), dials: usize) -> (Pair, Vec<ConnectionHandle>) {
    let mut answerer = config();
    limits(&mut answerer.limits);
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, AcceptAll);
    let handles = (0..dials).map(|_| pair.dial()).collect();
    (pair, handles)
}

#[test]
fn the_limit_on_half_open_attempts_delays_honest_dials_and_no_more() {
    let (mut pair, dials) = crowd(|limits| limits.half_open = 3, 10);
    pair.world.run_for(ms(30));
    // From half of the places on all have to show their address first.
    assert_eq!(pair.server().endpoint.stats().connections, 2);
    assert_eq!(pair.server().endpoint.stats().retries_sent, 8);
    pair.world.run_for(Duration::from_secs(5));
    assert!(
        dials.iter().all(|dial| pair.client().has(*dial, &Event::Connected)),
        "{:?}",
        pair.client().events
    );
    pair.finish();
}

#[test]
fn half_open_attempts_that_end_in_any_way_make_room() {
    // Not confirmed, not decided, refused, ignored, closed, forgotten: after 10 s at the latest there is room again.
    let ways: [fn(Instant, &mut Endpoint, ConnectionHandle); 6] = [
        |now, endpoint, handle| assert!(endpoint.incoming(handle).unwrap().accept(now).is_ok()),
        |_, _, _| {},
        |now, endpoint, handle| endpoint.incoming(handle).unwrap().refuse(now, 1u32.into()),
        |_, endpoint, handle| endpoint.incoming(handle).unwrap().ignore(),
        |now, endpoint, handle| {
            let handle = endpoint.incoming(handle).unwrap().accept(now).unwrap();
            endpoint.connection(handle).unwrap().close(1u32.into(), b"");
        },
        |now, endpoint, handle| {
            let handle = endpoint.incoming(handle).unwrap().accept(now).unwrap();
            endpoint.connection(handle).unwrap().forget();
        },
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let mut answerer = config();
        answerer.limits.half_open = 1;
        let app = move |now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event| {
            if *event == Event::Incoming {
                way(now, endpoint, handle);
            }
        };
        let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, app);
        let client = pair.client_addr;
        let unheard =
            drop_while(&mut pair.world, move |passing| passing.from == client && kind(passing.bytes) == DATA);
        pair.dial();
        pair.world.run_for(Duration::from_secs(11));
        assert_eq!(pair.server().endpoint.stats().connections, 0, "way {number}");
        unheard.set(false);
        let server = pair.server;
        pair.world.node_mut(server).app = Box::new(AcceptAll);
        let client = pair.dial();
        pair.world.run_for(Duration::from_secs(1));
        assert!(pair.client().has(client, &Event::Connected), "way {number} left no room");
        pair.finish();
    }
}

#[test]
fn the_limit_on_connections_counts_all_and_is_freed_by_ends() {
    let (mut pair, dials) = crowd(|limits| limits.connections = 2, 3);
    pair.world.run_for(Duration::from_secs(6));
    let connected: Vec<bool> = dials.iter().map(|dial| pair.client().has(*dial, &Event::Connected)).collect();
    assert_eq!(connected, [true, true, false]);
    assert_eq!(pair.client().closed(dials[2]).unwrap().1, &CloseReason::NoAnswer);
    let (now, server, remote) = (pair.now(), pair.server, pair.client_addr);
    let dial_back = |pair: &mut Pair| {
        let peer = Peer::Key(pair.client_key());
        pair.world.node_mut(server).endpoint.connect(now, peer, ConnectOptions::new(remote, ALPN))
    };
    assert_eq!(dial_back(&mut pair), Err(ConnectError::TooManyConnections));
    pair.on_client(dials[0], |connection| connection.close(0u32.into(), b""));
    pair.world.run_for(Duration::from_secs(3));
    assert!(dial_back(&mut pair).is_ok());
    pair.finish();
}

#[test]
fn what_is_no_init_makes_no_entry_and_gets_no_answer() {
    let (mut pair, seen) = unconfirmed();
    pair.dial();
    pair.dial_as(Peer::AnyKey);
    pair.world.run_for(ms(15));
    let (known, clear) = (first(&seen, INIT_KNOWN), first(&seen, INIT));
    let changed = |base: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = base.to_vec();
        change(&mut bytes);
        bytes
    };
    let (server, to, from) = (pair.server, pair.server_addr, elsewhere(1));
    for init in [&known, &clear] {
        for (what, expected) in [
            (changed(init, &|bytes| bytes.truncate(1199)), DropReason::TooShort),
            (changed(init, &|bytes| bytes.truncate(8)), DropReason::TooShort),
            (changed(init, &Vec::clear), DropReason::TooShort),
            (changed(init, &|bytes| bytes[0] &= 0xe0), DropReason::Version),
            (changed(init, &|bytes| bytes[0] += 1), DropReason::Version),
            (changed(init, &|bytes| bytes[0] = 5 << 5 | 16), DropReason::UnknownConnection),
            (changed(init, &|bytes| bytes[0] = 6 << 5 | 16), DropReason::Type),
            (changed(init, &|bytes| bytes[0] = 7 << 5 | 16), DropReason::UnknownConnection),
            (changed(init, &|bytes| bytes.resize(2049, 0)), DropReason::Size),
            (changed(init, &|bytes| bytes[0] = 4 << 5 | 16), DropReason::UnknownConnection),
            (changed(init, &|bytes| bytes[0] = 1 << 5 | 16), DropReason::UnknownConnection),
            (changed(init, &|bytes| bytes[41] = 1), DropReason::BadHandshake),
            (changed(init, &|bytes| bytes[41] = 255), DropReason::BadHandshake),
            // A point that is not canonical, one of small order, and one that is nobody's.
            (changed(init, &|bytes| bytes[9..41].fill(0xff)), DropReason::BadHandshake),
            (changed(init, &|bytes| bytes[9..41].fill(0)), DropReason::BadHandshake),
        ] {
            let got = hand_in(&mut pair.world, server, to, from, &what);
            assert_eq!(got, Disposition::Dropped(expected), "{:x?}", &what[..what.len().min(45)]);
        }
    }
    // The other pattern's type does not open.
    for init in [&known, &clear] {
        let other = changed(init, &|bytes| bytes[0] ^= (INIT ^ INIT_KNOWN) << 5);
        let got = hand_in(&mut pair.world, server, to, from, &other);
        assert_eq!(got, Disposition::Dropped(DropReason::BadHandshake));
    }
    assert_eq!(pair.server().endpoint.stats().connections, 0);
    assert_eq!(pair.server().endpoint.stats().datagrams_sent, 0);
    pair.finish();
}

#[test]
fn an_init_with_any_byte_changed_does_not_open() {
    let (mut pair, seen) = unconfirmed();
    pair.dial();
    pair.world.run_for(ms(15));
    let init = first(&seen, INIT_KNOWN);
    let (server, to, from) = (pair.server, pair.server_addr, elsewhere(1));
    for place in 0..init.len() {
        let mut changed = init.clone();
        changed[place] ^= 1 << (place % 8);
        let got = hand_in(&mut pair.world, server, to, from, &changed);
        assert!(matches!(got, Disposition::Dropped(_)), "byte {place}");
    }
    assert_eq!(pair.server().endpoint.stats().connections, 0);
    pair.finish();
}

#[test]
fn a_refusal_is_repeated_to_copies_and_ignoring_is_not() {
    for refuse in [true, false] {
        let app = move |now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event| {
            if *event == Event::Incoming {
                let incoming = endpoint.incoming(handle).unwrap();
                if refuse { incoming.refuse(now, 9u32.into()) } else { incoming.ignore() }
            }
        };
        let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, app);
        let seen = record(&mut pair.world);
        let server = pair.server_addr;
        drop_if(&mut pair.world, move |passing| passing.from == server && passing.now < at(1000));
        let client = pair.dial();
        pair.world.run_for(Duration::from_secs(6));
        let seen = seen.borrow();
        let replies: Vec<&Seen> = seen.iter().filter(|seen| seen.from == server).collect();
        let (_, reason) = pair.client().closed(client).unwrap();
        if refuse {
            assert_eq!(replies.len(), 4, "to the copies at 0, 250, 750 and 1,750 ms");
            assert!(replies.iter().all(|reply| reply.bytes == replies[0].bytes));
            assert!(replies[0].bytes.len() <= 1200 && kind(&replies[0].bytes) == INIT_KNOWN_REPLY);
            assert_eq!(reason, &CloseReason::Refused { code: 9u32.into() });
        } else {
            assert_eq!(replies.len(), 0);
            assert_eq!(reason, &CloseReason::NoAnswer);
        }
        assert_eq!(pair.server().count(|event| *event == Event::Incoming), 1);
        drop(seen);
        pair.finish();
    }
}

#[test]
fn an_attempt_can_be_accepted_only_while_it_waits() {
    for seed in seeds(1) {
        let mut pair = Pair::with(seed, quick(), config(), config(), AcceptAll, Undecided);
        pair.dial();
        pair.world.run_for(ms(100));
        let (now, server, handle) = (pair.now(), pair.server, pair.server().events[0].1);
        let endpoint = &mut pair.world.node_mut(server).endpoint;
        // The protocols were withdrawn meanwhile.
        endpoint.set_alpns(vec![b"other".to_vec()]);
        assert_eq!(endpoint.incoming(handle).unwrap().accept(now), Err(AcceptError::Gone));
        assert!(endpoint.incoming(handle).is_none());
        pair.finish();
    }
}

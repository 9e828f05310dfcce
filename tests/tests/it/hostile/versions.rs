//! Who dials in a version that does not exist is told which do; who dials in one that does is not to be talked out of it
//! (docs/PROTOCOL.md, "Versions").

use core::net::SocketAddr;

use dunlin_core::{CloseReason, Disposition, DropReason, Duration, Event, LocalSocket, WireVersion};
use dunlin_sim::{AcceptAll, Injection, Pair, config};

use crate::common::{INIT, INIT_KNOWN, at, drop_if, drop_while, hand_in, inject, kind, ms, quick, record};

const VERSION_LIST: u8 = 7;
const NATIVE: u8 = 16;
const ROUTING: [u8; 8] = [9, 8, 7, 6, 5, 4, 3, 2];

fn stranger(network: u8, host: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, network, host], 4000))
}

/// A first packet, as far as every version agrees on what that is.
fn init(ty: u8, version: u8) -> Vec<u8> {
    let mut init = vec![0; 1200];
    init[0] = ty << 5 | version;
    init[1..9].copy_from_slice(&ROUTING);
    init
}

fn list(routing: &[u8], versions: &[u8]) -> Vec<u8> {
    [&[VERSION_LIST << 5 | NATIVE], routing, versions].concat()
}

#[test]
fn who_dials_in_an_unknown_version_is_told_ours() {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    for (host, (ty, version)) in (0..).zip([(INIT, 17), (INIT_KNOWN, 17), (INIT, 25), (INIT_KNOWN, 31)]) {
        inject(&mut pair, stranger(host, 1), &init(ty, version));
        pair.world.run_for(ms(5));
        let seen = seen.borrow();
        let answer = seen.last().unwrap();
        assert_eq!((answer.to, answer.bytes.len()), (stranger(host, 1), 11));
        assert_eq!(answer.bytes[..9], list(&ROUTING, &[]));
        assert!(answer.bytes[9..].contains(&NATIVE));
        assert!(answer.bytes[9..].iter().all(|said| *said == NATIVE || *said > 18 && *said != version));
    }
    assert_eq!(pair.server().dropped(DropReason::Version), 4);
    assert_eq!(pair.server().endpoint.stats().version_lists_sent, 4);
    assert_eq!(pair.server().endpoint.stats().connections, 0);
    pair.finish_among_strangers();
}

#[test]
fn nothing_else_is_answered() {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    let short = init(INIT, 17)[..1199].to_vec();
    let types = (0..8).filter(|ty| ![INIT, INIT_KNOWN].contains(ty)).map(|ty| init(ty, 17));
    let older = (0..16).map(|version| init(INIT, version));
    for datagram in types.chain(older).chain([short, init(INIT, 17)[..9].to_vec(), vec![17]]) {
        inject(&mut pair, stranger(1, 1), &datagram);
        pair.world.run_for(ms(300));
    }
    assert!(seen.borrow().is_empty(), "{:?}", seen.borrow());
    pair.finish_among_strangers();
}

#[test]
fn answers_are_few_for_a_network_and_for_all_of_them() {
    let mut pair = Pair::new(1, quick());
    let (server, to) = (pair.server, pair.server_addr);
    let mut ask = |from| {
        let got = hand_in(&mut pair.world, server, to, from, &init(INIT, 17));
        assert_eq!(got, Disposition::Dropped(DropReason::Version));
        pair.world.run_for(Duration::ZERO);
        pair.server().endpoint.stats().version_lists_sent
    };
    (0..100).for_each(|host| _ = ask(stranger(1, host)));
    assert_eq!(ask(stranger(1, 100)), 10, "one network");
    for network in 2..200 {
        (0..10).for_each(|host| _ = ask(stranger(network, host)));
    }
    assert_eq!(ask(stranger(201, 0)), 100, "all of them");
    pair.world.run_for(Duration::from_secs(10));
    assert_eq!(pair.server().endpoint.stats().datagrams_sent, 100);
    pair.finish_among_strangers();
}

#[test]
fn an_answer_waits_neither_for_ever_nor_for_long() {
    // A transfer that has always something to send: the answer leaves between its trains.
    let mut pair = Pair::new(1, quick());
    let (_, server) = pair.connect();
    pair.on_server(server, |connection| {
        let id = connection.open_uni().unwrap();
        while connection.write(id, &[1; 1 << 16]).is_ok() {}
    });
    let (node, to) = (pair.server, pair.server_addr);
    hand_in(&mut pair.world, node, to, stranger(1, 1), &init(INIT, 17));
    let now = pair.now();
    let endpoint = &mut pair.world.node_mut(node).endpoint;
    assert_eq!(endpoint.poll_timeout(), Some(now));
    let mut out = Vec::new();
    let mut trains = 0;
    let answer = loop {
        let transmit = endpoint.poll_transmit(now, dunlin_core::TrainLimit::SINGLE, &mut out).unwrap();
        if transmit.connection == dunlin_core::ConnectionHandle::NONE {
            break transmit;
        }
        trains += 1;
        assert!(trains <= 16);
    };
    assert_eq!(answer.remote, stranger(1, 1).into());
    assert!(
        endpoint.connection(answer.connection).is_none() && endpoint.incoming(answer.connection).is_none()
    );
    endpoint.datagram_too_large(
        now,
        answer.connection,
        dunlin_core::Tuple { local: answer.local, remote: answer.remote },
        11,
    );
    pair.finish_among_strangers();
}

#[test]
fn an_own_address_is_never_answered() {
    let mut pair = Pair::new(1, quick());
    let (now, node, addr) = (pair.now(), pair.server, pair.server_addr);
    pair.world.node_mut(node).endpoint.set_sockets(now, &[LocalSocket::new(0, addr)]);
    for from in [addr, stranger(1, 1)] {
        hand_in(&mut pair.world, node, addr, from, &init(INIT, 17));
    }
    assert_eq!(pair.server().endpoint.stats().version_lists_sent, 1);
    pair.finish_among_strangers();
}

#[test]
fn who_accepts_nobody_answers_nobody() {
    let mut silent = config();
    silent.alpns = Vec::new();
    let mut pair = Pair::with(1, quick(), config(), silent, AcceptAll, AcceptAll);
    let (node, to) = (pair.server, pair.server_addr);
    hand_in(&mut pair.world, node, to, stranger(1, 1), &init(INIT, 17));
    pair.world.run_for(ms(300));
    assert_eq!(pair.server().endpoint.stats().datagrams_sent, 0);
    pair.finish_among_strangers();
}

/// A dial of which nothing reaches the answerer, and its routing id.
fn unheard() -> (Pair, dunlin_core::ConnectionHandle, Vec<u8>) {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    let server = pair.server_addr;
    drop_if(&mut pair.world, move |passing| passing.to == server);
    let client = pair.dial();
    pair.world.run_for(ms(100));
    let routing = seen.borrow()[0].bytes[1..9].to_vec();
    (pair, client, routing)
}

/// Hands a list to the dialler.
fn say(pair: &mut Pair, from: SocketAddr, bytes: &[u8]) -> Disposition {
    let (node, to) = (pair.client, pair.client_addr);
    hand_in(&mut pair.world, node, to, from, bytes)
}

#[test]
fn a_dial_of_who_speaks_other_versions_ends_in_half_its_time_and_is_not_repeated() {
    let (mut pair, client, routing) = unheard();
    let server = pair.server_addr;
    assert_eq!(say(&mut pair, server, &list(&routing, &[17, 25])), Disposition::Accepted);
    // What is said later prolongs nothing.
    pair.world.run_for(ms(500));
    assert_eq!(say(&mut pair, server, &list(&routing, &[18])), Disposition::Accepted);
    pair.world.run_for(Duration::from_secs(10));
    let (when, reason) = pair.client().closed(client).unwrap();
    assert_eq!(when, at(100 + 4_900 / 2));
    let CloseReason::Versions(versions) = reason else { panic!("{reason}") };
    assert_eq!(versions.versions().collect::<Vec<_>>(), [17, 25]);
    assert_eq!(pair.client().endpoint.stats().dials, 1);
    pair.finish_among_strangers();
}

#[test]
fn lists_that_are_none_of_the_dials_business_change_nothing() {
    let (mut pair, client, routing) = unheard();
    let server = pair.server_addr;
    let mut other = routing.clone();
    other[7] ^= 1;
    for (from, bytes, expected) in [
        (server, list(&routing, &[NATIVE, 17]), DropReason::Unexpected),
        (stranger(1, 1), list(&routing, &[17]), DropReason::Unexpected),
        (server, list(&other, &[17]), DropReason::UnknownConnection),
        (server, list(&routing, &[]), DropReason::BadHandshake),
        (server, list(&routing, &[17; 33]), DropReason::BadHandshake),
    ] {
        assert_eq!(say(&mut pair, from, &bytes), Disposition::Dropped(expected), "{bytes:x?}");
    }
    pair.world.run_for(Duration::from_secs(10));
    assert_eq!(pair.client().closed(client), Some((at(5000), &CloseReason::NoAnswer)));
    pair.finish_among_strangers();
}

#[test]
fn ac_43_a_forged_list_does_not_keep_a_dial_from_its_peer_nor_move_it_to_another_wire() {
    let mut answerer = config();
    answerer.qotp.accept = true;
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, AcceptAll);
    let (client_addr, server) = (pair.client_addr, pair.server_addr);
    let seen = record(&mut pair.world);
    // The first copies are lost, and to each a liar on the way answers at once.
    let deaf = drop_while(&mut pair.world, move |passing| passing.to == server);
    let client = pair.dial();
    pair.world.run_for(ms(300));
    let routing = seen.borrow()[0].bytes[1..9].to_vec();
    for versions in [&[17_u8][..], &[0], &[0, 1, 2, 31]] {
        let bytes = list(&routing, versions);
        pair.world.inject(Injection { after: ms(1), from: server, to: client_addr, ecn: None, bytes });
    }
    pair.world.run_for(ms(1_200));
    deaf.set(false);
    pair.world.run_for(Duration::from_secs(1));
    assert!(pair.client().has(client, &Event::Connected));
    pair.on_client(client, |connection| assert_eq!(connection.wire(), WireVersion::Native));
    let inits =
        seen.borrow().iter().filter(|seen| seen.to == server && kind(&seen.bytes) == INIT_KNOWN).count();
    assert!(seen.borrow().iter().all(|seen| seen.bytes[0] & 0x1f == NATIVE));
    assert_eq!(inits, 4, "the waits are those of any dial");
    pair.finish_among_strangers();
}

#[test]
fn a_dial_of_several_addresses_goes_on_when_one_of_them_speaks_other_versions() {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    let (server, other) = (pair.server_addr, stranger(1, 1));
    drop_if(&mut pair.world, move |passing| passing.now < at(1500) && passing.to == server);
    let options = dunlin_core::ConnectOptions::new(other, dunlin_sim::ALPN).also(server);
    let (now, peer, node) = (pair.now(), dunlin_core::Peer::Key(pair.server_key()), pair.client);
    let client = pair.world.node_mut(node).endpoint.connect(now, peer, options).unwrap();
    pair.world.run_for(ms(100));
    let routing = seen.borrow()[0].bytes[1..9].to_vec();
    assert_eq!(say(&mut pair, other, &list(&routing, &[17])), Disposition::Accepted);
    pair.world.run_for(Duration::from_secs(3));
    assert!(pair.client().has(client, &Event::Connected));
    pair.finish_among_strangers();
}

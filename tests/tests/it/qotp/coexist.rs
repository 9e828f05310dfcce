//! QOTP and the native wire on one endpoint: each knows nothing of the other's connections.

use dunlin_core::{
    ConnectOptions, ConnectionHandle, Disposition, DropReason, Duration, Event, Peer, WireVersion,
};
use dunlin_sim::{AcceptAll, Both, Host, Pair, Receiver, Sender, World, endpoint, wind_down};

use super::kit::{DATA, connect, crypto, pair, qotp, write_all};
use super::puppet::{Initiator, ack, data_header, part};
use crate::common::{bad_line, hand_in, kind, ms, patterned, quick, record};

#[test]
fn one_endpoint_accepts_and_dials_qotp_and_native_at_once() {
    for seed in dunlin_sim::seeds(3) {
        let (receiver, seen) = Receiver::new();
        let sender = Sender::new(3, 300_000).bidirectional();
        let mut pair = pair(seed, bad_line(3), sender, receiver);
        let (native, old) = (pair.dial(), pair.dial_qotp(seed % 2 == 0));
        // Each connection that stands gets the sender's streams; whoever comes second gets another sender.
        let node = pair.client;
        pair.run_until(Duration::from_secs(5), |world| {
            world.node(node).count(|event| *event == Event::Connected) == 1
        });
        let (now, first) = (pair.now(), pair.client().has(native, &Event::Connected));
        assert!(now.as_nanos() > 0);
        let app = core::mem::replace(&mut pair.world.node_mut(node).app, Box::new(AcceptAll));
        pair.world.node_mut(node).app = Box::new(Both(
            Only(if first { native } else { old }, app),
            Only(if first { old } else { native }, Box::new(Sender::new(4, 200_000).bidirectional())),
        ));
        let done = pair.run_until(Duration::from_secs(30), |_| seen.borrow().finished == 7);
        assert!(done, "{:?}", seen.borrow());
        assert_eq!(seen.borrow().total(), 3 * 300_000 + 4 * 200_000);
        for (handle, wire) in [(native, WireVersion::Native), (old, WireVersion::Qotp)] {
            pair.on_client(handle, |connection| {
                assert_eq!(connection.wire(), wire);
                assert_eq!(connection.peer_identity().is_some(), wire == WireVersion::Native);
                assert_eq!(connection.qotp_claimed_key().is_some(), wire == WireVersion::Qotp);
            });
        }
        pair.finish();
    }
}

/// An application for one connection only.
struct Only(ConnectionHandle, Box<dyn dunlin_sim::App>);

impl dunlin_sim::App for Only {
    fn on_event(
        &mut self,
        now: dunlin_core::Instant,
        endpoint: &mut dunlin_core::Endpoint,
        handle: ConnectionHandle,
        event: &Event,
    ) {
        if handle == self.0 {
            self.1.on_event(now, endpoint, handle, event);
        }
    }
}

fn strike(pair: &mut Pair, bytes: &[u8]) -> Disposition {
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    hand_in(&mut pair.world, node, to, from, bytes)
}

/// A QOTP connection with the very id that a native one has: the initiator chooses it.
#[test]
fn equal_ids_of_qotp_and_native_connections_do_not_mix() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let seen = record(&mut pair.world);
    let (native, accepted) = pair.connect();
    pair.world.run_for(ms(500));
    let native_data = seen
        .borrow()
        .iter()
        .find(|seen| seen.from == pair.client_addr && kind(&seen.bytes) == DATA)
        .unwrap()
        .bytes
        .clone();
    let id: [u8; 8] = native_data[1..9].try_into().unwrap();

    // Before there is a QOTP connection, its packets with that id belong to nobody.
    let before = crypto(&pair);
    for first in [DATA << 5, 1 << 5, 3 << 5] {
        let mut packet = native_data.clone();
        packet.resize(200, 7);
        packet[0] = first;
        assert_eq!(strike(&mut pair, &packet), Disposition::Dropped(DropReason::UnknownConnection));
    }
    assert_eq!(crypto(&pair), before, "before any cryptography");

    let evil = Initiator::new(5);
    let mut init = evil.init();
    init[1..9].copy_from_slice(&id);
    assert_eq!(strike(&mut pair, &init), Disposition::Accepted);
    pair.world.run_for(ms(100));
    let old = pair.server_connection(ms(1)).unwrap();
    assert_ne!(old, accepted);
    // What is sealed for the one does not reach the other, and costs one attempt with the keys of the one it names.
    let packet = [&data_header(&id)[..], &native_data[9..]].concat();
    let before = crypto(&pair);
    let padded = [&packet[..], &[0; 40]].concat();
    assert_eq!(strike(&mut pair, &padded), Disposition::Dropped(DropReason::Unauthentic));
    assert_eq!(crypto(&pair), (before.0 + 1, before.1));
    let forged = pair.on_server(old, |connection| connection.stats().forged_packets);
    assert_eq!((forged, pair.on_server(accepted, |connection| connection.stats().forged_packets)), (1, 0));

    // The native connection is none the worse, whatever becomes of the other.
    pair.on_server(old, |connection| connection.forget_by_close());
    pair.on_client(native, |connection| {
        let id = connection.open_bi().unwrap();
        write_all(connection, id, b"still here");
    });
    pair.world.run_for(Duration::from_secs(40));
    assert_eq!(
        pair.server().events_of(accepted).filter(|event| matches!(event, Event::StreamOpened(_))).count(),
        1
    );
    pair.on_client(native, |connection| connection.open_bi().map(drop)).unwrap();
    pair.world.run_for(ms(100));
    assert!(pair.server().closed(accepted).is_none());
    pair.finish();
}

/// Short for a close whose arguments do not matter.
trait ForgetByClose {
    fn forget_by_close(&mut self);
}

impl ForgetByClose for dunlin_core::Connection<'_> {
    fn forget_by_close(&mut self) {
        self.close(0u32.into(), b"");
    }
}

#[test]
fn packets_of_the_other_version_are_dropped_before_any_crypto() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let seen = record(&mut pair.world);
    let (client, server) = connect(&mut pair, true);
    pair.on_client(client, |connection| {
        let id = connection.open_bi().unwrap();
        write_all(connection, id, &patterned(id, 3000));
    });
    pair.world.run_for(ms(200));
    let packets: Vec<_> =
        seen.borrow().iter().filter(|seen| seen.from == pair.client_addr).cloned().collect();
    let (before, stats) = (crypto(&pair), pair.on_server(server, |connection| connection.stats()));
    for version in 1..32 {
        for packet in packets.iter().filter(|packet| kind(&packet.bytes) == DATA) {
            let mut bytes = packet.bytes.clone();
            bytes[0] |= version;
            let expected = if version == 16 { DropReason::UnknownConnection } else { DropReason::Version };
            assert_eq!(strike(&mut pair, &bytes), Disposition::Dropped(expected));
        }
    }
    assert_eq!(crypto(&pair), before);
    assert_eq!(pair.on_server(server, |connection| connection.stats()), stats);
    pair.finish();
}

#[test]
fn a_qotp_dial_is_never_answered_in_native_nor_the_other_way_round() {
    // The same packets with the other version: nobody falls back.
    let mut pair = Pair::with(1, quick(), qotp(), dunlin_sim::config(), AcceptAll, AcceptAll);
    let (native, old) = (pair.dial(), pair.dial_qotp(true));
    pair.world.run_for(Duration::from_secs(6));
    assert!(pair.client().has(native, &Event::Connected));
    assert!(pair.client().closed(old).is_some() && pair.client().closed(native).is_none());
    assert_eq!(pair.server().count(|event| *event == Event::Incoming), 1);
    pair.finish();
}

#[test]
fn an_endpoint_without_application_protocols_may_accept_qotp_alone() {
    let (a, b) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
    let mut world = World::new(1, quick());
    let mut settings = qotp();
    settings.alpns.clear();
    let client = world.add_node("client", &[a], Host::new(endpoint(qotp(), 1, 1), AcceptAll));
    let server = world.add_node("server", &[b], Host::new(endpoint(settings, 2, 1), AcceptAll));
    let (key, now) = (*world.node(server).endpoint.public_key(), world.now());
    let endpoint = &mut world.node_mut(client).endpoint;
    endpoint.connect(now, Peer::Key(key), ConnectOptions::new(b, dunlin_sim::ALPN)).unwrap();
    let old = endpoint.connect(now, Peer::AnyKey, ConnectOptions::qotp(b)).unwrap();
    world.run_for(Duration::from_secs(1));
    assert!(world.node(client).has(old, &Event::Connected));
    assert_eq!(world.node(client).count(|event| *event == Event::Connected), 1);
    wind_down(&mut world);
}

#[test]
fn garbage_in_version_0_is_counted_and_costs_nothing_without_a_connection() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let evil = Initiator::new(3);
    let before = crypto(&pair);
    for ty in 0..8u8 {
        for len in (0..110).chain([1199, 1399, 1401, 1500, 65_507]) {
            let mut bytes = vec![0x55; len];
            bytes.first_mut().into_iter().for_each(|first| *first = ty << 5);
            assert!(matches!(strike(&mut pair, &bytes), Disposition::Dropped(_)), "{ty} {len}");
        }
    }
    for payload in [ack(0, 0, 0), part(0, 0, b"hello")] {
        let got = strike(&mut pair, &evil.data(&[7; 32], 1, &payload));
        assert_eq!(got, Disposition::Dropped(DropReason::UnknownConnection));
    }
    assert_eq!(crypto(&pair), before);
    assert_eq!(pair.server().endpoint.stats().connections, 0);
    pair.finish();
}

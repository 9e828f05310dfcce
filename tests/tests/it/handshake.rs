//! Both handshakes, on good networks and bad ones.

use dunlin_core::{
    AeadPolicy, CloseReason, ConnectOptions, ConnectionState, Direction, Duration, Event, Peer, PeerIdentity,
    StreamId, Suite, TransportError,
};
use dunlin_sim::{ALPN, AcceptAll, LinkConfig, Loss, Pair, Ppm, Receiver, config, seeds};

use crate::common::{at, drop_if, ms, patient, patterned, quick, record, trusting};

/// How a dial starts.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Start {
    Known,
    KnownWithEarlyData,
    Any,
    Unknown,
}

const STARTS: [Start; 4] = [Start::Known, Start::KnownWithEarlyData, Start::Any, Start::Unknown];

/// A pair whose dialler trusts everybody and whose answerer checks what it reads, and the bytes that it will have read.
fn pair(seed: u64, link: LinkConfig) -> (Pair, std::rc::Rc<core::cell::RefCell<dunlin_sim::Received>>) {
    let (receiver, seen) = Receiver::new();
    (Pair::with(seed, link, patient(), config(), trusting, receiver), seen)
}

/// Dials and, if asked, writes a finished stream of 500 bytes at once.
fn start(pair: &mut Pair, start: Start) -> dunlin_core::ConnectionHandle {
    let client = match start {
        Start::Known | Start::KnownWithEarlyData => pair.dial(),
        Start::Any => pair.dial_as(Peer::AnyKey),
        Start::Unknown => pair.dial_as(Peer::Unknown),
    };
    if start == Start::KnownWithEarlyData {
        pair.on_client(client, |connection| {
            let id = connection.open_uni().unwrap();
            assert_eq!(connection.write(id, &patterned(id, 500)), Ok(500));
            connection.finish(id).unwrap();
        });
    }
    client
}

#[test]
fn a_known_key_connects_in_one_round_trip() {
    let mut pair = Pair::new(1, quick());
    let (client, server) = pair.connect();
    assert_eq!(pair.client().when(client, &Event::Connected), Some(at(40)));
    assert_eq!(pair.server().when(server, &Event::Connected), Some(at(60)));
    let (client_key, server_key) = (pair.client_key(), pair.server_key());
    pair.on_client(client, |connection| {
        assert_eq!(connection.peer_identity(), Some(PeerIdentity::Verified(server_key)));
        assert_eq!(connection.alpn(), Some(ALPN));
        assert_eq!(connection.state(), ConnectionState::Established);
    });
    pair.on_server(server, |connection| {
        assert_eq!(connection.peer_identity(), Some(PeerIdentity::Verified(client_key)));
        assert_eq!(connection.alpn(), Some(ALPN));
    });
    pair.finish();
}

#[test]
fn both_sides_export_the_same_secrets_and_no_two_connections_do() {
    let mut pair = Pair::new(1, quick());
    let (client, server) = pair.connect();
    let hash = pair.on_client(client, |connection| connection.handshake_hash().unwrap());
    let export =
        pair.on_client(client, |connection| connection.export(b"label", b"context").unwrap().unwrap());
    pair.on_server(server, |connection| {
        assert_eq!(connection.handshake_hash(), Some(hash));
        assert_eq!(connection.export(b"label", b"context").unwrap(), Some(export.clone()));
        assert_ne!(connection.export(b"label", b"other").unwrap(), Some(export.clone()));
        assert_ne!(connection.export(b"labelcontext", b"").unwrap(), Some(export.clone()));
        assert!(connection.export(&[0; 256], b"").is_err());
    });
    let again = pair.dial();
    pair.world.run_for(ms(200));
    pair.on_client(again, |connection| {
        assert_ne!(connection.handshake_hash(), Some(hash));
        assert_ne!(connection.export(b"label", b"context").unwrap(), Some(export));
    });
    pair.finish();
}

#[test]
fn any_key_connects_without_asking() {
    let mut pair = Pair::new(1, quick());
    let client = pair.dial_as(Peer::AnyKey);
    pair.world.run_for(Duration::from_secs(1));
    assert_eq!(pair.client().when(client, &Event::Connected), Some(at(40)));
    let key = pair.server_key();
    pair.on_client(client, |connection| {
        assert_eq!(connection.peer_identity(), Some(PeerIdentity::Verified(key)));
    });
    pair.finish();
}

#[test]
fn thirty_percent_loss_does_not_stop_any_handshake() {
    for seed in seeds(30) {
        for kind in STARTS {
            let lossy = LinkConfig { loss: Loss::Random(Ppm::percent(30)), ..quick() };
            let (mut pair, seen) = pair(seed, lossy);
            let client = start(&mut pair, kind);
            let connected = pair.server_connection(Duration::from_secs(20));
            assert!(connected.is_some(), "{kind:?} {:?}", pair.client().events);
            assert!(pair.client().has(client, &Event::Connected));
            if kind == Start::KnownWithEarlyData {
                assert!(pair.run_until(Duration::from_secs(20), |_| seen.borrow().finished == 1));
                assert_eq!(seen.borrow().total(), 500);
            }
            pair.finish();
        }
    }
}

/// Loses the datagrams with these numbers and asserts that both sides connect all the same, the early data arrives
/// once, and nothing takes long. Returns how many datagrams there were.
fn handshake_without(kind: Start, lost: &[u64]) -> u64 {
    let (mut pair, seen) = pair(1, quick());
    let missing = lost.to_vec();
    drop_if(&mut pair.world, move |passing| missing.contains(&passing.index));
    let client = start(&mut pair, kind);
    pair.world.run_for(Duration::from_secs(4));
    assert!(pair.client().has(client, &Event::Connected), "{kind:?} without {lost:?}");
    assert_eq!(pair.server().count(|event| *event == Event::Connected), 1, "{kind:?} without {lost:?}");
    assert_eq!(pair.server().count(|event| *event == Event::Incoming), 1, "{kind:?} without {lost:?}");
    let early = usize::from(kind == Start::KnownWithEarlyData);
    assert_eq!(seen.borrow().finished, early, "{kind:?} without {lost:?}");
    assert_eq!(seen.borrow().total(), 500 * early as u64);
    let sent = pair.world.stats().sent;
    pair.finish();
    sent
}

#[test]
fn every_packet_of_a_handshake_may_be_lost() {
    for kind in STARTS {
        let packets = handshake_without(kind, &[]);
        assert!((3..10).contains(&packets), "{packets} packets in a handshake");
        for first in 0..packets {
            handshake_without(kind, &[first]);
            for second in first + 1..packets + 2 {
                handshake_without(kind, &[first, second]);
            }
        }
    }
}

#[test]
fn duplicates_and_reordering_make_one_connection() {
    for seed in seeds(10) {
        for kind in STARTS {
            let link = LinkConfig {
                duplicate: Ppm::ALWAYS,
                reorder: Ppm::percent(50),
                reorder_by: ms(600),
                jitter: ms(5),
                ..quick()
            };
            let (mut pair, seen) = pair(seed, link);
            let client = start(&mut pair, kind);
            pair.world.run_for(Duration::from_secs(8));
            for host in [pair.client(), pair.server()] {
                assert_eq!(host.count(|event| *event == Event::Connected), 1, "{kind:?}");
                assert_eq!(host.endpoint.stats().connections, 1);
            }
            assert!(pair.client().closed(client).is_none());
            assert_eq!(pair.server().endpoint.stats().incoming, 1);
            assert_eq!(seen.borrow().finished, usize::from(kind == Start::KnownWithEarlyData));
            pair.finish();
        }
    }
}

#[test]
fn the_confirming_packet_is_repeated_until_it_is_acknowledged() {
    let (mut pair, _) = pair(1, quick());
    let seen = record(&mut pair.world);
    let (client_addr, blocked) = (pair.client_addr, at(1500));
    drop_if(&mut pair.world, move |passing| {
        passing.from == client_addr && passing.bytes[0] >> 5 == 4 && passing.now < blocked
    });
    pair.dial();
    pair.world.run_for(Duration::from_secs(4));
    let repeats = seen.borrow().iter().filter(|seen| seen.from == client_addr && seen.at < blocked).count();
    assert!((4..12).contains(&repeats), "{repeats} tries in 1.5 s");
    assert_eq!(pair.server().count(|event| *event == Event::Connected), 1);
    let late = seen.borrow().iter().filter(|seen| seen.from == client_addr && seen.at > at(3800)).count();
    assert_eq!(late, 0, "silence once it is acknowledged");
    pair.finish();
}

#[test]
fn two_endpoints_that_dial_each_other_get_two_connections() {
    for seed in seeds(5) {
        let mut pair = Pair::with(seed, quick(), config(), config(), AcceptAll, AcceptAll);
        let there = pair.dial();
        let (now, peer, remote) = (pair.now(), Peer::Key(pair.client_key()), pair.client_addr);
        let server = pair.server;
        let endpoint = &mut pair.world.node_mut(server).endpoint;
        let back = endpoint.connect(now, peer, ConnectOptions::new(remote, ALPN)).unwrap();
        pair.world.run_for(Duration::from_secs(1));
        assert!(pair.client().has(there, &Event::Connected) && pair.server().has(back, &Event::Connected));
        for host in [pair.client(), pair.server()] {
            assert_eq!(host.count(|event| *event == Event::Connected), 2);
            assert_eq!(host.endpoint.stats().connections, 2);
        }
        pair.on_client(there, |connection| connection.open_uni().map(drop)).unwrap();
        pair.on_server(back, |connection| connection.close(1u32.into(), b""));
        pair.world.run_for(Duration::from_secs(3));
        assert!(pair.client().closed(there).is_none(), "the other connection lives on");
        pair.finish();
    }
}

#[test]
fn the_data_aead_is_what_both_sides_can_and_the_answerer_wants() {
    use AeadPolicy::{Aes, Auto, ChaCha20};
    for (dialler, answerer, expected) in [
        ((Auto, false), (Auto, false), Suite::ChaCha20Poly1305),
        ((Auto, true), (Auto, true), Suite::Aes256Gcm),
        ((Auto, true), (Auto, false), Suite::ChaCha20Poly1305),
        ((Auto, false), (Auto, true), Suite::ChaCha20Poly1305),
        ((Aes, false), (Auto, true), Suite::Aes256Gcm),
        ((Aes, false), (ChaCha20, true), Suite::ChaCha20Poly1305),
        ((ChaCha20, true), (Aes, true), Suite::ChaCha20Poly1305),
    ] {
        let settings = |(aead, aes_hardware)| {
            let mut config = config();
            config.aead = aead;
            config.aes_hardware = aes_hardware;
            config
        };
        let (receiver, seen) = Receiver::new();
        let mut pair = Pair::with(1, quick(), settings(dialler), settings(answerer), AcceptAll, receiver);
        let (client, server) = pair.connect();
        assert_eq!(pair.on_client(client, |connection| connection.suite()), Some(expected));
        assert_eq!(pair.on_server(server, |connection| connection.suite()), Some(expected));
        pair.on_client(client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &patterned(id, 10_000)).unwrap();
            connection.finish(id).unwrap();
        });
        pair.world.run_for(Duration::from_secs(1));
        assert_eq!((seen.borrow().finished, seen.borrow().total()), (1, 10_000));
        pair.finish();
    }
}

#[test]
fn the_answerers_order_of_protocols_decides() {
    let mut answerer = config();
    answerer.alpns = vec![b"new".to_vec(), b"old".to_vec()];
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, AcceptAll);
    let mut options = ConnectOptions::new(pair.server_addr, b"old");
    options.alpns.extend([b"newest".to_vec(), b"new".to_vec()]);
    let (now, key, node) = (pair.now(), pair.server_key(), pair.client);
    let client = pair.world.node_mut(node).endpoint.connect(now, Peer::Key(key), options).unwrap();
    pair.world.run_for(Duration::from_secs(1));
    pair.on_client(client, |connection| assert_eq!(connection.alpn(), Some(&b"new"[..])));
    pair.finish();
}

#[test]
fn no_common_protocol_is_a_refusal_in_one_round_trip() {
    for peer in [None, Some(Peer::AnyKey)] {
        let mut answerer = config();
        answerer.alpns = vec![b"other".to_vec()];
        let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, AcceptAll);
        let client = pair.dial_as(peer.unwrap_or_else(|| Peer::Key(pair.server_key())));
        pair.world.run_for(Duration::from_secs(1));
        let reason = CloseReason::PeerTransport(TransportError::NoCommonAlpn);
        assert_eq!(pair.client().closed(client), Some((at(40), &reason)));
        assert_eq!(pair.server().count(|_| true), 0, "the application is not bothered");
        pair.finish();
    }
}

#[test]
fn whoever_accepts_no_protocol_is_silent() {
    let mut answerer = config();
    answerer.alpns.clear();
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, AcceptAll);
    let client = pair.dial();
    pair.world.run_for(Duration::from_secs(6));
    assert_eq!(pair.client().closed(client), Some((at(5000), &CloseReason::NoAnswer)));
    assert_eq!(pair.server().endpoint.stats().datagrams_sent, 0);
    pair.finish();
}

#[test]
fn what_the_answerer_writes_before_the_confirmation_waits_for_it() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let seen = record(&mut pair.world);
    let (client_addr, server_addr) = (pair.client_addr, pair.server_addr);
    drop_if(&mut pair.world, move |passing| {
        passing.from == client_addr && passing.bytes[0] >> 5 == 4 && passing.now < at(500)
    });
    let client = pair.dial();
    pair.world.run_for(ms(21));
    let server = pair.server().events[0].1;
    let id = pair.on_server(server, |connection| {
        assert_eq!(connection.state(), ConnectionState::Confirming);
        assert_eq!(connection.peer_identity(), None);
        assert_eq!(connection.handshake_hash(), None);
        let id = connection.open_uni().unwrap();
        assert_eq!(connection.write(id, b"soon"), Ok(4));
        id
    });
    pair.world.run_for(ms(470));
    let from_server = |limit| seen.borrow().iter().filter(|s| s.from == server_addr && s.at < limit).count();
    assert_eq!(from_server(at(500)), 1, "nothing but the reply");
    pair.world.run_for(Duration::from_secs(2));
    assert!(pair.server().has(server, &Event::Connected));
    assert_eq!(id, StreamId::new(dunlin_core::Role::Responder, Direction::Unidirectional, 0));
    let mut buffer = [0; 10];
    pair.on_client(client, |connection| assert_eq!(connection.read(id, &mut buffer), Ok(4)));
    assert_eq!(&buffer[..4], b"soon");
    pair.finish();
}

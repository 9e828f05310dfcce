//! Handshake packets that are replayed, forged, or no such packets at all: none of them makes a connection or changes one.

use dunlin_core::{Arrival, ConnectionState, Disposition, DropReason, Duration, Event, LocalAddr};
use dunlin_sim::{AcceptAll, Pair, Receiver, Verdict};

use super::kit::{
    DATA, INIT_CRYPTO_RCV, INIT_CRYPTO_SND, INIT_RCV, INIT_SND, MTU, connect, crypto, elsewhere, first,
    hand_client, hand_server, pair, qotp, write_all,
};
use super::puppet::{self, Initiator, Key, ack, part};
use crate::common::{Seen, Undecided, drop_while, kind, ms, patterned, quick, record};

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

/// Whoever sees the reply can send a copy to any address of ours, and write any address of his as its source.
#[test]
fn a_copied_qotp_reply_takes_a_dial_to_no_other_socket() {
    for from_peer in [true, false] {
        let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        pair.dial_qotp(true);
        pair.world.run_for(ms(25));
        let (client, peer) = (pair.client, pair.server_addr);
        let mut reply = seen.borrow().iter().find(|seen| seen.from == peer).unwrap().bytes.clone();
        let local = LocalAddr { socket: 1, ip: Some(elsewhere(2).ip()) };
        let remote = if from_peer { peer } else { elsewhere(1) }.into();
        let (now, arrival) = (pair.world.now(), Arrival { local, remote, ecn: None });
        let got = pair.world.node_mut(client).endpoint.handle_datagram(now, arrival, &mut reply);
        assert_eq!(got, Disposition::Accepted, "it is the peer's, whoever brings it");
        pair.world.run_for(ms(100));
        assert_eq!(pair.server().endpoint.stats().half_open, 0, "the peer does not hear");
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

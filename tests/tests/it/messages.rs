//! What handshake messages may say (docs/PROTOCOL.md, "Handshake" and "HELLO"), said by another implementation of
//! Noise.

use core::net::SocketAddr;

use dunlin_core::{
    CloseReason, ConnectionHandle, Direction, DropReason, Duration, Event, IncomingIdentity, Peer,
    PeerIdentity, Role, StreamId, TransportError,
};
use dunlin_sim::{AcceptAll, Injection, Pair, Verdict, config};

use crate::common::{DATA, INIT, INIT_KNOWN, drop_if, hand_in, inject, kind, ms, patterned, quick, record};
use crate::frames::{
    ack, close, datagram, max_data, max_stream_data, max_streams, path_challenge, path_response, ping,
    reset_stream, stop_sending, stream,
};
use crate::puppet::{
    ALPN, CONNECTION_ID, EARLY_DATA, ID, Init, MAX_ACK_DELAY, MAX_STREAMS_BIDI, MAX_UDP_PAYLOAD, SUITES,
    VERSIONS, Values, answer, hello, number, offer, public, reply, split, take_varint, with, without,
};

fn elsewhere() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4000))
}

/// What became of an Init.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Fate {
    Dropped(DropReason),
    /// Answered with this HELLO.
    Accepted(Values),
    /// Answered with a CLOSE of the transport.
    Refused(u64),
}

/// Sends an Init with this payload, to a known key or not.
fn send(known: bool, payload: &[u8], token: &[u8], len: usize) -> Fate {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    let key = pair.server_key();
    let mut init = Init::new(known.then_some(&key), payload, token, len);
    inject(&mut pair, elsewhere(), &init.datagram);
    pair.world.run_for(ms(100));
    let answered = seen.borrow().first().map(|seen| (seen.to, seen.bytes.clone()));
    let fate = match answered {
        Some((to, bytes)) => {
            assert_eq!(to, elsewhere());
            assert!(bytes.len() <= init.datagram.len(), "a reply is never longer than its Init");
            let (values, frames) = split(&init.open(&bytes).expect("the reply opens"));
            let mut rest = &frames[..];
            match rest.first() {
                Some(0x1c) => {
                    take_varint(&mut rest);
                    Fate::Refused(take_varint(&mut rest))
                }
                _ => Fate::Accepted(values),
            }
        }
        None => {
            let stats = pair.server().endpoint.stats();
            let reasons = [DropReason::BadHandshake, DropReason::OwnKey, DropReason::TooShort];
            let reason = reasons.into_iter().find(|reason| stats.dropped(*reason) > 0);
            assert_eq!(pair.server().count(|_| true), 0);
            Fate::Dropped(reason.expect("dropped"))
        }
    };
    pair.finish();
    fate
}

fn is_accepted(known: bool, payload: &[u8]) -> bool {
    match send(known, payload, b"", 1200) {
        Fate::Accepted(_) => true,
        Fate::Dropped(DropReason::BadHandshake) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_implementation_is_understood_and_answered() {
    for known in [true, false] {
        // A token that nobody here has issued counts as none.
        for token in [&b""[..], b"t", &[7; 255]] {
            let Fate::Accepted(values) = send(known, &hello(&offer()), token, 1200) else {
                panic!("{known} {token:?}")
            };
            let value = |id| values.iter().find(|(other, _)| *other == id).map(|(_, value)| &value[..]);
            assert_eq!(value(SUITES), Some(&[1][..]), "exactly one of the offer");
            assert_eq!(value(ALPN), Some(&b"\x03sim"[..]), "exactly one of the offer");
            assert_eq!(value(CONNECTION_ID).map(<[u8]>::len), Some(8));
            assert_eq!(value(EARLY_DATA), Some(&[0][..]));
            assert!(value(VERSIONS).unwrap().contains(&16));
            let reserved: Vec<u64> = values.iter().map(|(id, _)| *id).filter(|id| id % 31 == 27).collect();
            assert_eq!(reserved.len(), 1, "one reserved id");
            let mut ids: Vec<u64> = values.iter().map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), values.len(), "each id once");
        }
    }
}

#[test]
fn longer_inits_are_as_good_and_shorter_ones_are_not() {
    for known in [true, false] {
        for len in [1200, 1201, 1400, 2000] {
            assert!(matches!(send(known, &hello(&offer()), b"", len), Fate::Accepted(_)), "{len}");
        }
        assert_eq!(send(known, &hello(&offer()), b"", 1199), Fate::Dropped(DropReason::TooShort));
    }
}

#[test]
fn hello_comes_first_and_once() {
    let hello = hello(&offer());
    for known in [true, false] {
        assert!(is_accepted(known, &hello));
        assert!(is_accepted(known, &[&hello[..], &[0; 100]].concat()));
        assert!(!is_accepted(known, b""));
        assert!(!is_accepted(known, &[&[0][..], &hello].concat()));
        assert!(!is_accepted(known, &[&hello[..], &hello].concat()));
        assert!(!is_accepted(known, &[0x20, 0x7f, 0xff]), "longer than its datagram");
    }
}

#[test]
fn an_init_may_carry_early_data_if_the_key_is_known_and_nothing_else() {
    let frames = |id: u64| {
        [
            ping(),
            stream(id, 0, b"early", true),
            reset_stream(id, 1, 0),
            datagram(b"early"),
            close(true, 1, b"already"),
            vec![58, 1, 0],
        ]
    };
    for frame in frames(0).iter().chain(&frames(2)) {
        let payload = [&hello(&offer())[..], frame].concat();
        assert!(is_accepted(true, &payload), "{frame:x?} in an InitKnown");
        assert!(!is_accepted(false, &payload), "{frame:x?} in clear");
    }
    for frame in [
        ack(0, 0, 0, &[]),
        stop_sending(1, 0),
        max_data(1 << 30),
        max_stream_data(0, 1 << 30),
        max_streams(true, 1000),
        path_challenge([1; 8]),
        path_response([1; 8]),
        vec![0x02],
        vec![0x40, 0x01],
        vec![0x0e, 0, 0, 50],
    ] {
        for known in [true, false] {
            // At the end of the datagram, or padding would complete a cut frame.
            let payload = [&hello(&offer())[..], &[0; 1150], &frame].concat();
            assert!(!is_accepted(known, &payload), "{frame:x?}, known {known}");
        }
    }
}

#[test]
fn hello_has_rules_of_its_own() {
    let cases: Vec<(bool, Values)> = vec![
        (true, with(offer(), 0x1234, b"nobody knows this one")),
        (true, with(offer(), 31 * 77 + 27, b"or this one")),
        (false, [offer(), offer()].concat()),
        (false, with(offer(), MAX_UDP_PAYLOAD, &number(1199))),
        (true, with(offer(), MAX_UDP_PAYLOAD, &number(1200))),
        (true, with(offer(), MAX_UDP_PAYLOAD, &number((1 << 62) - 1))),
        (false, with(offer(), MAX_UDP_PAYLOAD, b"")),
        (false, with(offer(), MAX_UDP_PAYLOAD, &[0x44, 0xb0, 0])),
        (false, with(offer(), MAX_STREAMS_BIDI, &number((1 << 60) + 1))),
        (true, with(offer(), MAX_STREAMS_BIDI, &number(1 << 60))),
        (false, with(offer(), MAX_ACK_DELAY, &number(1 << 14))),
        (true, with(offer(), MAX_ACK_DELAY, &number((1 << 14) - 1))),
        (false, with(offer(), CONNECTION_ID, b"seven..")),
        (false, with(offer(), ALPN, b"\x03sim\x00")),
        (false, with(offer(), ALPN, b"\x04sim")),
        (false, with(offer(), ALPN, &b"\x01x".repeat(17))),
        (true, with(offer(), EARLY_DATA, &[3])),
        (false, with(offer(), EARLY_DATA, &[4])),
        (true, with(offer(), 0x7777, &[0; 400])),
        (false, with(offer(), 0x7777, &[0; 500])),
    ];
    for known in [true, false] {
        for (good, values) in &cases {
            assert_eq!(is_accepted(known, &hello(values)), *good, "{values:x?}");
        }
    }
}

#[test]
fn an_offer_without_anything_in_common_is_refused() {
    let (parameters, no_alpn) = (TransportError::Parameters, TransportError::NoCommonAlpn);
    for (error, values) in [
        (no_alpn, with(offer(), ALPN, b"\x05other")),
        (no_alpn, without(offer(), ALPN)),
        (no_alpn, with(offer(), ALPN, b"")),
        (parameters, with(offer(), SUITES, &[200])),
        (parameters, with(offer(), SUITES, &[2])),
        (parameters, without(offer(), SUITES)),
        (parameters, with(offer(), VERSIONS, &[17, 18])),
        (parameters, without(offer(), VERSIONS)),
    ] {
        for known in [true, false] {
            assert_eq!(
                send(known, &hello(&values), b"", 1200),
                Fate::Refused(error.code().get()),
                "{values:x?}"
            );
        }
    }
}

#[test]
fn a_claimed_key_of_small_order_or_our_own_is_dropped() {
    let mut pair = Pair::new(1, quick());
    let (node, to, own) = (pair.server, pair.server_addr, pair.server_key());
    let init = Init::new(None, &hello(&offer()), b"", 1200).datagram;
    for (key, reason) in [
        ([0; 32], DropReason::BadHandshake),
        ([0xff; 32], DropReason::BadHandshake),
        (core::array::from_fn(|n| u8::from(n == 0)), DropReason::BadHandshake),
        (*own.as_bytes(), DropReason::OwnKey),
    ] {
        let mut changed = init.clone();
        changed[42..74].copy_from_slice(&key);
        let got = hand_in(&mut pair.world, node, to, elsewhere(), &changed);
        assert_eq!(got, dunlin_core::Disposition::Dropped(reason), "{key:x?}");
    }
    // A key that somebody may have is taken as a claim.
    let mut changed = init;
    changed[42..74].copy_from_slice(pair.client_key().as_bytes());
    hand_in(&mut pair.world, node, to, elsewhere(), &changed);
    let claimed = IncomingIdentity::Claimed(pair.client_key());
    let handle = pair.world.node_mut(node).endpoint.poll_event().unwrap().0;
    assert_eq!(pair.world.node_mut(node).endpoint.incoming(handle).unwrap().identity(), Some(claimed));
    pair.world.run_for(Duration::from_secs(20));
    pair.finish();
}

/// Dials the puppet, which answers with this payload; early data is written first if wanted. Returns what the Init
/// carried, too.
fn dial(known: bool, early: usize, payload: &[u8]) -> (Pair, ConnectionHandle, Vec<u8>) {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let seen = record(&mut pair.world);
    // Nothing reaches the real server.
    let server = pair.server_addr;
    drop_if(&mut pair.world, move |passing| passing.to == server);
    let client = pair.dial_as(if known { Peer::Key(public()) } else { Peer::AnyKey });
    if early > 0 {
        pair.on_client(client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &patterned(id, early)).unwrap();
        });
    }
    pair.world.run_for(ms(10));
    let init = seen.borrow()[0].bytes.clone();
    assert_eq!(kind(&init), if known { INIT_KNOWN } else { INIT });
    let (read, reply) = reply(&init, payload);
    let (node, to) = (pair.client, pair.client_addr);
    hand_in(&mut pair.world, node, to, server, &reply);
    pair.world.run_for(ms(1));
    (pair, client, read)
}

#[test]
fn what_an_initiator_says_is_understood_by_another_implementation() {
    for known in [true, false] {
        let (mut pair, client, init) = dial(known, 100, &hello(&answer()));
        let (values, frames) = split(&init);
        let value = |id| values.iter().find(|(other, _)| *other == id).map(|(_, value)| &value[..]);
        assert_eq!((value(SUITES), value(ALPN)), (Some(&[1][..]), Some(&b"\x03sim"[..])));
        assert_eq!(value(CONNECTION_ID), None, "that is in the header");
        assert_eq!(frames.iter().any(|byte| *byte != 0), known, "early data goes to a known key only");
        assert_eq!(init.len() + 9 + 1 + 32 + if known { 64 } else { 32 }, 1200);
        assert!(pair.client().has(client, &Event::Connected));
        pair.on_client(client, |connection| {
            assert_eq!(connection.peer_identity(), Some(PeerIdentity::Verified(public())));
        });
        pair.finish();
    }
}

#[test]
fn data_carries_the_id_that_its_receiver_has_chosen() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let seen = record(&mut pair.world);
    let (client, _) = pair.connect();
    pair.on_client(client, |connection| connection.send_datagram(b"x")).unwrap();
    pair.world.run_for(ms(500));
    let seen = seen.borrow();
    let ours = &seen[0].bytes[1..9];
    let theirs = &seen.iter().find(|seen| kind(&seen.bytes) == DATA).unwrap().bytes[1..9];
    assert_ne!(ours, theirs);
    for packet in seen.iter() {
        let to_server = packet.to == pair.server_addr;
        let expected = if to_server && kind(&packet.bytes) == DATA { theirs } else { ours };
        assert_eq!((packet.bytes[0] & 0x1f, &packet.bytes[1..9]), (16, expected));
    }
    drop(seen);
    pair.finish();

    // What another implementation chose is taken as it is.
    let mut pair = Pair::new(1, quick());
    let (client_addr, server_addr) = (pair.client_addr, pair.server_addr);
    let seen = record(&mut pair.world);
    pair.world.add_tap(move |passing| {
        if kind(&*passing.bytes) == INIT_KNOWN {
            let bytes = reply(passing.bytes, &hello(&answer())).1;
            passing.inject(Injection { after: ms(40), from: server_addr, to: client_addr, ecn: None, bytes });
        }
        Verdict::Drop
    });
    pair.dial_as(Peer::Key(public()));
    pair.world.run_for(ms(100));
    assert_eq!(seen.borrow().iter().find(|seen| kind(&seen.bytes) == DATA).unwrap().bytes[1..9], ID);
    pair.finish();
}

#[test]
fn a_bad_answer_ends_the_dial() {
    let good = hello(&answer());
    let behind = |frame: &[u8]| [&good[..], frame].concat();
    let (protocol, parameters, encoding) =
        (TransportError::Protocol, TransportError::Parameters, TransportError::FrameEncoding);
    for (error, payload) in [
        (protocol, vec![]),
        (protocol, [&[0][..], &good].concat()),
        (protocol, behind(&good)),
        (protocol, behind(&max_data(1 << 30))),
        (protocol, behind(&stop_sending(0, 1))),
        (protocol, behind(&path_challenge([1; 8]))),
        (protocol, behind(&ack(0, 1, 0, &[]))),
        (encoding, behind(&[0x02])),
        (encoding, behind(&[0x0e, 1, 0, 9])),
        (parameters, hello(&with(answer(), SUITES, &[2]))),
        (parameters, hello(&with(answer(), SUITES, &[1, 2]))),
        (parameters, hello(&with(answer(), SUITES, &[]))),
        (parameters, hello(&with(answer(), ALPN, b"\x05other"))),
        (parameters, hello(&with(answer(), ALPN, b"\x03sim\x05other"))),
        (parameters, hello(&without(answer(), ALPN))),
        (parameters, hello(&without(answer(), CONNECTION_ID))),
        (parameters, hello(&without(answer(), VERSIONS))),
        (parameters, hello(&with(answer(), MAX_UDP_PAYLOAD, &number(100)))),
        (parameters, hello(&[answer(), answer()].concat())),
    ] {
        for known in [true, false] {
            let (pair, client, _) = dial(known, 0, &payload);
            let reason = pair.client().closed(client).map(|(_, reason)| reason.clone());
            assert_eq!(reason, Some(CloseReason::Violation(error)), "{payload:x?}");
            pair.finish();
        }
    }
}

#[test]
fn a_close_in_the_answer_is_a_refusal_whatever_else_it_says() {
    for known in [true, false] {
        for values in [vec![], answer(), offer()] {
            let payload = [hello(&values), close(true, 404, b"not here")].concat();
            let (pair, client, _) = dial(known, 50, &payload);
            let refused = CloseReason::Refused { code: 404u32.into() };
            assert_eq!(pair.client().closed(client).unwrap().1, &refused);
            pair.finish();
            let payload = [hello(&values), close(false, 0x0178, b"")].concat();
            let (pair, client, _) = dial(known, 50, &payload);
            let reason = CloseReason::PeerTransport(TransportError::NoCommonAlpn);
            assert_eq!(pair.client().closed(client).unwrap().1, &reason);
            pair.finish();
        }
    }
}

#[test]
fn an_answer_may_carry_data() {
    for known in [true, false] {
        let payload = [hello(&answer()), stream(3, 0, b"welcome", true), datagram(b"hi"), ping()].concat();
        let (mut pair, client, _) = dial(known, 0, &payload);
        pair.on_client(client, |connection| {
            let id = connection.accept(Direction::Unidirectional).unwrap();
            assert_eq!(crate::common::read_all(connection, id), (b"welcome".to_vec(), true));
            assert_eq!(connection.read_datagram(&mut Vec::new()), Some(2));
        });
        pair.finish();
    }
}

#[test]
fn the_answer_says_what_became_of_early_data() {
    // None and refused: it goes again at once. Held: it does not, until there is reason to think that it is lost.
    for (outcome, acked, again) in [(0, false, true), (2, false, true), (1, false, false), (1, true, false)] {
        let mut payload = hello(&with(answer(), EARLY_DATA, &[outcome]));
        if acked {
            payload.extend_from_slice(&ack(0, 0, 0, &[]));
        }
        let (mut pair, client, init) = dial(true, 600, &payload);
        let early = patterned(StreamId::new(Role::Initiator, Direction::Unidirectional, 0), 600);
        assert!(init.windows(600).any(|window| window == &early[..]));
        let sent = pair.on_client(client, |connection| connection.stats().bytes_sent) - 1200;
        assert_eq!(sent > 600, again, "outcome {outcome}: {sent} bytes in the first packets");
        pair.world.run_for(Duration::from_secs(1));
        let later = pair.on_client(client, |connection| connection.stats().bytes_retransmitted);
        assert!(again || later == 0, "nothing acknowledges the confirming packet: {later}");
        pair.finish();
    }
}

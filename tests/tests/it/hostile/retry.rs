//! A Retry has a dialler show its address. Who forges one, or a token, gains nothing (docs/PROTOCOL.md, "Retry").

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    CloseReason, Config, ConnectionHandle, Disposition, DropReason, Duration, Endpoint, Event, Instant, Peer,
    RetryError, RetryPolicy, TrainLimit,
};
use dunlin_sim::{AcceptAll, Pair, Receiver, config, endpoint, seeds};

use crate::common::{
    INIT, INIT_KNOWN, Seen, Undecided, at, drop_if, drop_while, hand_in, inject, kind, ms, patterned, quick,
    record,
};

const RETRY: u8 = 5;
/// Where the token's length stands in an Init.
const TOKEN_LEN: usize = 41;

fn wary(policy: RetryPolicy) -> Config {
    let mut config = config();
    config.retry = policy;
    config
}

fn stranger(n: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, n], 5000))
}

/// An answerer that wants every address shown.
fn always() -> (Pair, Rc<RefCell<Vec<Seen>>>) {
    let mut pair = Pair::with(1, quick(), config(), wary(RetryPolicy::Always), AcceptAll, AcceptAll);
    let seen = record(&mut pair.world);
    (pair, seen)
}

fn kinds(seen: &Rc<RefCell<Vec<Seen>>>) -> Vec<u8> {
    seen.borrow().iter().map(|seen| kind(&seen.bytes)).collect()
}

fn of_kind(seen: &Rc<RefCell<Vec<Seen>>>, wanted: u8) -> Vec<Seen> {
    seen.borrow().iter().filter(|seen| kind(&seen.bytes) == wanted).cloned().collect()
}

#[test]
fn a_dial_that_is_asked_shows_its_address_and_connects_a_round_trip_later() {
    for unknown in [false, true] {
        let (mut pair, seen) = always();
        let peer = if unknown { Peer::AnyKey } else { Peer::Key(pair.server_key()) };
        let client = pair.dial_as(peer);
        pair.world.run_for(Duration::from_secs(1));
        assert_eq!(pair.client().when(client, &Event::Connected), Some(at(80)));
        assert_eq!(pair.server().count(|event| *event == Event::Incoming), 1);
        assert_eq!(pair.server().count(|event| *event == Event::Connected), 1);
        assert_eq!(pair.server().endpoint.stats().retries_sent, 1);
        assert_eq!(pair.server().endpoint.stats().half_open, 0);
        let ty = if unknown { INIT } else { INIT_KNOWN };
        assert_eq!(kinds(&seen)[..4], [ty, RETRY, ty, ty + 1]);
        let (inits, retry) = (of_kind(&seen, ty), &of_kind(&seen, RETRY)[0]);
        assert!(inits.iter().all(|init| init.bytes.len() == 1200));
        assert_eq!(inits[0].bytes[..9], inits[1].bytes[..9]);
        assert_ne!(inits[0].bytes[9..41], inits[1].bytes[9..41], "nothing is sealed twice under one key");
        assert_eq!((retry.bytes.len(), inits[0].bytes[TOKEN_LEN]), (50, 0));
        assert_eq!(inits[1].bytes[TOKEN_LEN..][..26], [&[25], &retry.bytes[9..34]].concat());
        pair.finish_among_strangers();
    }
}

#[test]
fn early_data_goes_again_and_arrives_once() {
    for len in [100, 950, 5_000] {
        let (receiver, received) = Receiver::new();
        let mut pair = Pair::with(1, quick(), config(), wary(RetryPolicy::Always), AcceptAll, receiver);
        let client = pair.dial();
        pair.on_client(client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &patterned(id, len)).unwrap();
            connection.finish(id).unwrap();
        });
        pair.world.run_for(Duration::from_secs(1));
        assert_eq!((received.borrow().finished, received.borrow().total()), (1, len as u64));
        pair.finish_among_strangers();
    }
}

#[test]
fn a_lost_retry_or_second_init_is_repeated() {
    for lost in [RETRY, INIT_KNOWN] {
        let (mut pair, seen) = always();
        let mut passed = 0;
        // The second Init is the second packet of its kind.
        let which = if lost == RETRY { 1 } else { 2 };
        drop_if(&mut pair.world, move |passing| {
            passed += u32::from(kind(passing.bytes) == lost);
            kind(passing.bytes) == lost && passed == which
        });
        let client = pair.dial();
        pair.world.run_for(Duration::from_secs(2));
        // Two round trips, and the wait before one of the Inits is sent again.
        assert_eq!(pair.client().when(client, &Event::Connected), Some(at(80 + 250)));
        assert_eq!(kinds(&seen).iter().filter(|ty| **ty == INIT_KNOWN).count(), 3);
        pair.finish_among_strangers();
    }
}

/// What an endpoint that nobody chose answers to this Init, as a Retry of its own making.
fn retry_of_another(init: &Seen, secret: u8) -> Vec<u8> {
    let mut rogue: Endpoint = endpoint(wary(RetryPolicy::Always), secret, 99);
    let arrival = dunlin_core::Arrival::from_remote(init.from);
    assert_eq!(rogue.handle_datagram(Instant::ZERO, arrival, &mut init.bytes.clone()), Disposition::Accepted);
    let mut out = Vec::new();
    rogue.poll_transmit(Instant::ZERO, TrainLimit::SINGLE, &mut out).expect("a Retry");
    out
}

#[test]
fn ac_43_a_retry_forged_on_the_way_costs_a_packet_and_not_the_dial() {
    for unknown in [false, true] {
        for policy in [RetryPolicy::UnderLoad, RetryPolicy::Always] {
            let mut pair = Pair::with(1, quick(), config(), wary(policy), AcceptAll, AcceptAll);
            let seen = record(&mut pair.world);
            let (server, to) = (pair.server_addr, pair.client_addr);
            let peer = if unknown { Peer::AnyKey } else { Peer::Key(pair.server_key()) };
            let client = pair.dial_as(peer);
            pair.world.run_for(ms(5));
            // The forger is nearer than the peer, and its token is worth nothing there.
            let forged = retry_of_another(&seen.borrow()[0], 7);
            let node = pair.client;
            assert_eq!(hand_in(&mut pair.world, node, to, server, &forged), Disposition::Accepted);
            assert_eq!(
                hand_in(&mut pair.world, node, to, server, &forged),
                Disposition::Dropped(DropReason::BadHandshake),
                "one is followed"
            );
            pair.world.run_for(Duration::from_secs(6));
            let connected = pair.client().when(client, &Event::Connected);
            match policy {
                // The first Init is as good as ever.
                RetryPolicy::UnderLoad => assert_eq!(connected, Some(at(40))),
                // Its Retry is the second one, so this dial is lost: as by any packet forged beside it, if all are asked.
                _ => assert_eq!(pair.client().closed(client), Some((at(5000), &CloseReason::NoAnswer))),
            }
            pair.finish_among_strangers();
        }
    }
}

#[test]
fn retries_that_do_not_belong_to_the_dial_change_nothing() {
    let (mut pair, seen) = always();
    let server = pair.server_addr;
    let deaf = drop_while(&mut pair.world, move |passing| passing.from == server);
    let client = pair.dial();
    pair.world.run_for(ms(30));
    let retry = of_kind(&seen, RETRY)[0].bytes.clone();
    let (node, to) = (pair.client, pair.client_addr);
    let mut say = |from, bytes: &[u8]| hand_in(&mut pair.world, node, to, from, bytes);
    for bit in 72..retry.len() * 8 {
        let mut changed = retry.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(say(server, &changed), Disposition::Dropped(DropReason::BadHandshake), "bit {bit}");
    }
    for len in 9..retry.len() {
        assert_eq!(say(server, &retry[..len]), Disposition::Dropped(DropReason::BadHandshake), "{len}");
    }
    assert_eq!(say(stranger(1), &retry), Disposition::Dropped(DropReason::BadHandshake));
    // Nothing of it has spoiled the real one.
    assert_eq!(say(server, &retry), Disposition::Accepted);
    deaf.set(false);
    pair.world.run_for(ms(100));
    assert!(pair.client().has(client, &Event::Connected));
    assert_eq!(say_late(&mut pair, server, &retry), Disposition::Dropped(DropReason::Unexpected));
    pair.finish_among_strangers();
}

fn say_late(pair: &mut Pair, from: SocketAddr, bytes: &[u8]) -> Disposition {
    let (node, to) = (pair.client, pair.client_addr);
    hand_in(&mut pair.world, node, to, from, bytes)
}

/// An Init with a token that is good for the dialler's address, of which the answerer does not hear.
fn with_token() -> (Pair, Vec<u8>) {
    let (mut pair, seen) = always();
    let mut inits = 0;
    drop_if(&mut pair.world, move |passing| {
        inits += u32::from(kind(passing.bytes) == INIT_KNOWN);
        kind(passing.bytes) == INIT_KNOWN && inits > 1
    });
    pair.dial();
    pair.world.run_for(ms(50));
    let init = of_kind(&seen, INIT_KNOWN)[1].bytes.clone();
    (pair, init)
}

#[test]
fn a_token_is_good_where_it_was_given_out_for_and_for_15_s() {
    let attempts = |pair: &Pair| pair.server().count(|event| *event == Event::Incoming);
    let (mut pair, init) = with_token();
    let client = pair.client_addr;
    let elsewhere =
        [stranger(1), SocketAddr::new(client.ip(), 1), SocketAddr::new(stranger(1).ip(), client.port())];
    for from in elsewhere {
        inject(&mut pair, from, &init);
        pair.world.run_for(ms(50));
    }
    assert_eq!((attempts(&pair), pair.server().endpoint.stats().retries_sent), (0, 4));
    inject(&mut pair, client, &init);
    pair.world.run_for(ms(50));
    assert_eq!(attempts(&pair), 1);
    pair.finish_among_strangers();

    for (waits, expected) in [(14, 1), (16, 0)] {
        let (mut pair, init) = with_token();
        pair.world.run_for(Duration::from_secs(waits));
        inject(&mut pair, client, &init);
        pair.world.run_for(ms(50));
        assert_eq!(attempts(&pair), expected, "{waits} s");
        pair.finish_among_strangers();
    }
}

#[test]
fn no_token_of_before_a_reseed_is_good_after_it() {
    let (mut pair, init) = with_token();
    let (server, client) = (pair.server, pair.client_addr);
    pair.world.node_mut(server).endpoint.reseed(&[9; 32]);
    inject(&mut pair, client, &init);
    pair.world.run_for(ms(50));
    assert_eq!(pair.server().count(|event| *event == Event::Incoming), 0);
    pair.finish_among_strangers();
}

#[test]
fn endpoints_with_one_group_secret_know_each_others_tokens() {
    for (secret, expected) in [(Some([5; 32]), 1), (Some([6; 32]), 0), (None, 0)] {
        let mut answerer = wary(RetryPolicy::Always);
        answerer.group_secret = Some(dunlin_core::Secret::new([5; 32]));
        let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        pair.dial();
        pair.world.run_for(ms(70));
        let init = of_kind(&seen, INIT_KNOWN)[1].clone();
        // The same identity on another machine.
        let mut other = wary(RetryPolicy::Always);
        other.group_secret = secret.map(dunlin_core::Secret::new);
        let mut other = endpoint(other, 2, 77);
        let arrival = dunlin_core::Arrival::from_remote(init.from);
        other.handle_datagram(at(70), arrival, &mut init.bytes.clone());
        let attempts = core::iter::from_fn(|| other.poll_event()).count();
        assert_eq!(attempts, expected, "{secret:?}");
        pair.finish_among_strangers();
    }
}

/// Has everybody show his address, as the application wants it.
fn asks_everybody(now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
    if *event != Event::Incoming {
        return;
    }
    let incoming = endpoint.incoming(handle).unwrap();
    if incoming.is_validated() {
        assert_eq!(endpoint.incoming(handle).unwrap().retry(now), Err(RetryError::Validated));
        assert_eq!(endpoint.incoming(handle).unwrap().accept(now), Ok(handle));
    } else {
        assert_eq!(incoming.retry(now), Ok(()));
        assert!(endpoint.incoming(handle).is_none());
    }
}

#[test]
fn the_application_may_ask_by_itself_and_once() {
    for seed in seeds(2) {
        for policy in [RetryPolicy::UnderLoad, RetryPolicy::Never] {
            let mut pair = Pair::with(seed, quick(), config(), wary(policy), AcceptAll, asks_everybody);
            let client = pair.dial();
            pair.world.run_for(Duration::from_secs(1));
            assert_eq!(pair.client().when(client, &Event::Connected), Some(at(80)));
            assert_eq!(pair.server().endpoint.stats().retries_sent, 1);
            assert_eq!(pair.server().count(|event| *event == Event::Incoming), 2);
            pair.finish_among_strangers();
        }
    }
}

#[test]
fn qotp_cannot_be_asked() {
    let mut answerer = wary(RetryPolicy::Always);
    answerer.qotp.accept = true;
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, Undecided);
    pair.dial_qotp(true);
    pair.world.run_for(ms(100));
    let (now, node, handle) = (pair.now(), pair.server, pair.server().events[0].1);
    let endpoint = &mut pair.world.node_mut(node).endpoint;
    assert!(!endpoint.incoming(handle).unwrap().is_validated());
    assert_eq!(endpoint.incoming(handle).unwrap().retry(now), Err(RetryError::Unsupported));
    assert_eq!(endpoint.incoming(handle).unwrap().accept(now), Ok(handle));
    pair.finish_among_strangers();
}

#[test]
fn ac_62_an_address_that_shows_nothing_gets_less_than_it_sent() {
    let (mut pair, seen) = always();
    pair.dial();
    pair.world.run_for(ms(30));
    let init = of_kind(&seen, INIT_KNOWN)[0].bytes.clone();
    for n in 0..50 {
        inject(&mut pair, stranger(n % 5), &init);
        pair.world.run_for(ms(20));
    }
    let traffic = &pair.server().traffic;
    for n in 0..5 {
        assert_eq!(traffic[&stranger(n)], (10 * 1200, 10 * 50));
    }
    pair.finish_among_strangers();
}

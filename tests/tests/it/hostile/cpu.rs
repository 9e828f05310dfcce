//! The worst packet for each byte of it, and calls that must end. Work is counted, not timed.

use dunlin_core::{Disposition, Duration, NetworkChange, PathId, TrainLimit};
use dunlin_fuzzing::session::{Action, Dial, Duo, SOCKETS, Verb, opening, roomy};
use dunlin_sim::{Evil, config};

use super::speaking;
use crate::common::{DATA, hand_in, kind, ms, quick};
use crate::frames::{
    ack, ack_ecn, datagram, max_data, max_stream_data, max_streams, new_connection_id, path_abandon,
    path_challenge, path_response, path_status, ping, reset_stream, retire_connection_id, stop_sending,
    stream, varint,
};

/// Bytes of frames in the largest packets here.
const LARGE: usize = 60_000;
/// Work that any packet may cause, whatever its length: opening it, answering it.
const BASE: u64 = 2_000;

/// As many of what `frame` makes as fit into a large packet.
fn many(mut frame: impl FnMut(u64) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    for number in 0.. {
        let next = frame(number);
        if out.len() + next.len() > LARGE {
            break;
        }
        out.extend_from_slice(&next);
    }
    out
}

/// A liar whose victim has sent some packets.
fn evil() -> Evil {
    speaking(60_000, ms(5))
}

/// The most work for each byte among all kinds of frames, many of them in one packet.
#[test]
fn ac_21_no_packet_costs_more_than_twice_its_bytes() {
    let kinds: Vec<(&str, Vec<u8>)> = vec![
        ("pings", many(|_| ping())),
        ("padding", vec![0; LARGE]),
        ("acknowledgements of one", many(|_| ack(0, 1, 0, &[]))),
        ("acknowledgements of another each", many(|n| ack(0, n % 40, 0, &[]))),
        ("acknowledgements with ranges", many(|_| ack(0, 40, 0, &vec![(0, 0); 19]))),
        ("marked acknowledgements", many(|n| ack_ecn(0, 1, 1, [n, 0, 0]))),
        ("acknowledgements on no path", many(|n| ack(n % 8, 0, 0, &[]))),
        ("empty data", many(|_| stream(2, 0, b"", false))),
        ("single bytes", many(|n| stream(2, n, b"x", false))),
        ("single bytes again", many(|_| stream(2, 0, b"x", false))),
        ("a byte on each stream", many(|n| stream(n % 100 * 4 + 2, 0, b"x", false))),
        ("resets", many(|n| reset_stream(n % 100 * 4 + 2, 1, 0))),
        ("stops", many(|_| stop_sending(3, 1))),
        ("credit", many(max_data)),
        ("credit of a stream", many(|n| max_stream_data(3, n))),
        ("streams", many(|n| max_streams(n % 2 == 0, n))),
        ("empty datagrams", many(|_| datagram(b""))),
        ("datagrams", many(|_| datagram(b"x"))),
        ("challenges", many(|n| path_challenge(n.to_le_bytes()))),
        ("responses", many(|n| path_response(n.to_le_bytes()))),
        ("a path's status", many(|n| path_status(n % 2 == 0, 0, 0, n))),
        ("the end of paths", many(|n| path_abandon(n % 8, 0, 0))),
        ("ids", many(|n| new_connection_id(n, n.to_le_bytes(), [0; 16]))),
        ("ids to retire", many(|n| retire_connection_id(n % 8))),
    ];
    for (what, frames) in kinds {
        let mut evil = evil();
        evil.work();
        evil.strike(&frames);
        evil.run(Duration::ZERO);
        let (work, bytes) = (evil.work(), frames.len() as u64);
        println!("{what}: {work} for {bytes} bytes");
        assert!(work <= 2 * bytes + BASE, "{what}: work of {work} for {bytes} bytes");
        evil.finish();
    }
}

/// Every byte of a stream but every second one, the last first: each goes before all that are there.
#[test]
fn ac_10_fragments_in_the_worst_order_cost_little_more_than_in_the_best() {
    let mut roomy = config();
    roomy.limits.stream_gaps = 16_384;
    let mut evil = Evil::new(1, quick(), roomy);
    evil.work();
    let (mut bytes, mut highest) = (0, 60_000_u64);
    for _ in 0..8 {
        let frames = many(|n| stream(2, highest.saturating_sub(2 * n), b"x", false));
        highest = highest.saturating_sub(2 * 7_000);
        bytes += frames.len() as u64;
        evil.strike(&frames);
        evil.run(ms(1));
    }
    let work = evil.work();
    println!("{work} for {bytes} bytes");
    assert!(work <= 8 * bytes, "work of {work} for {bytes} bytes");
    evil.finish();
}

#[test]
fn ac_05_acknowledgements_cost_what_they_are_long() {
    // One that says that it has 2^62 - 1 ranges and has none.
    let mut boast = vec![0x3e];
    [0, 9, 0, (1 << 62) - 1, 0].into_iter().for_each(|field| varint(&mut boast, field));
    let mut evil = evil();
    evil.work();
    assert_eq!(evil.strike(&boast), Disposition::Accepted);
    assert!(evil.work() <= BASE);
    evil.run(ms(1));
    assert!(evil.end().is_some(), "it is no frame");
    evil.finish();

    // Thousands of ranges below a number that was sent, over and over.
    let mut evil = self::evil();
    evil.as_victim(|connection| {
        for _ in 0..2_000 {
            let _ = connection.send_datagram(b"x");
        }
    });
    evil.run(Duration::from_secs(1));
    let newest = evil.hear().iter().map(|heard| heard.number).max().unwrap_or(0);
    let ranges = vec![(0, 0); usize::try_from(newest / 2).expect("few") - 1];
    let frames = many(|_| ack(0, newest, 0, &ranges));
    evil.work();
    for _ in 0..50 {
        evil.strike(&frames);
        evil.run(Duration::ZERO);
    }
    let work = evil.work();
    assert!(work <= 50 * (frames.len() as u64 + BASE), "work of {work}");
    evil.finish();

    // Ten thousand acknowledgements, of one number each.
    let mut evil = self::evil();
    evil.work();
    for number in 0..10_000 {
        evil.strike(&ack(0, number % 4, 0, &[]));
    }
    let work = evil.work();
    assert!(work <= 10_000 * 16, "work of {work}");
    evil.finish();
}

#[test]
fn ac_11_empty_messages_cost_three_units_each_and_are_held_in_little() {
    for (what, frame) in
        [("datagrams", datagram(b"")), ("data", stream(2, 0, b"", false)), ("ends", stream(2, 0, b"", true))]
    {
        let mut evil = evil();
        evil.work();
        let held = evil.stats().memory_used;
        let frames = frame.repeat(1_000);
        for _ in 0..100 {
            evil.strike(&frames);
            evil.run(ms(1));
        }
        let work = evil.work();
        assert!(work <= 100_000 * 3, "{what}: work of {work} for 100,000 frames");
        let limit = u64::from(config().datagrams.receive_buffer) + (32 << 10);
        let grown = evil.stats().memory_used.saturating_sub(held);
        assert!(grown <= limit, "{what}: {grown} bytes");
        evil.finish();
    }
    // And datagrams of UDP without a byte.
    let mut evil = evil();
    let from = evil.pair.client_addr;
    evil.work();
    for _ in 0..100_000 {
        assert!(matches!(evil.hand_in(from, b""), Disposition::Dropped(_)));
    }
    assert_eq!(evil.work(), 0);
    evil.finish();
}

#[test]
fn ac_16_streams_far_beyond_the_limit_are_refused_at_once() {
    let mut evil = evil();
    evil.work();
    for number in 0..10_000_u64 {
        let refused = stream((1 << 40) + number * 4 + 2, 0, b"x", false);
        evil.strike(&refused);
    }
    let work = evil.work();
    assert!(work <= 10_000 * 8 + BASE, "work of {work}");
    evil.run(ms(1));
    assert_eq!(evil.pair.server().count(|event| matches!(event, dunlin_core::Event::Closed(_))), 1);
    evil.finish();
}

/// Forged packets for a connection: one attempt to open each, no key made, and none cheaper or dearer than another.
#[test]
fn ac_24_forged_packets_cost_one_attempt_each() {
    let mut evil = evil();
    let mut packet = Vec::new();
    evil.as_dialler(|dialler| dunlin_core::fuzzing::seal(dialler, &ping().repeat(40), &mut packet));
    assert_eq!(kind(&packet), DATA);
    let from = evil.pair.client_addr;
    let before = evil.stats();
    let mut costs = Vec::new();
    for place in 9..packet.len() {
        for bit in 0..8 {
            let mut forged = packet.clone();
            forged[place] ^= 1 << bit;
            evil.work();
            assert!(matches!(evil.hand_in(from, &forged), Disposition::Dropped(_)), "byte {place}");
            costs.push(evil.work());
        }
    }
    let after = evil.stats();
    assert!(after.aead_operations - before.aead_operations <= costs.len() as u64);
    assert_eq!(after.derivations, before.derivations);
    // What differs is whether its key phase is known, which is not secret.
    assert!(costs.iter().all(|cost| *cost <= 4), "{costs:?}");
    let in_payload = &costs[8 * 5..];
    assert!(in_payload.iter().all(|cost| *cost == in_payload[0]), "the place of the fault can be told");
    assert_eq!(evil.hand_in(from, &packet), Disposition::Accepted);
    evil.finish();
}

/// Both ends change their networks in turn, which makes them give back ids and ask for new ones, without end.
#[test]
fn ac_22_ids_given_back_in_turn_come_to_rest() {
    let mut duo = Duo::new(roomy(), roomy());
    opening(Dial::Known).into_iter().for_each(|action| action.apply(&mut duo));
    duo.run(Duration::from_secs(2), ms(5), || false);
    for round in 0..1_000_usize {
        let side = round % 2;
        let now = duo.tell_time(side);
        duo.sides[side].endpoint.network_changed(now, NetworkChange::Unspecified);
        // Each drain is bounded, and in the end nothing is due.
        duo.settle(side, TrainLimit::OFFLOAD);
        let sent = duo.wire.len();
        assert!(sent <= 40, "{sent} datagrams at once in round {round}");
        duo.run(ms(20), ms(5), || false);
    }
    Action::Events(0).apply(&mut duo);
    duo.end();
}

/// Paths that are opened and closed without end, while the other side's network changes: what they took is given back.
#[test]
fn ac_22_paths_opened_and_closed_in_turn_come_to_rest() {
    let mut duo = Duo::new(roomy(), roomy());
    opening(Dial::Known).into_iter().for_each(|action| action.apply(&mut duo));
    duo.run(Duration::from_secs(2), ms(5), || false);
    let (mut opened, mut held) = (0, [0; 2]);
    for round in 0..400_usize {
        let side = round % 2;
        let socket = (round / 2 % 3) as u8 + 1;
        Action::On(side, 0, Verb::OpenPath(if side == 0 { socket } else { socket * SOCKETS }))
            .apply(&mut duo);
        duo.run(ms(60), ms(5), || false);
        let now = duo.tell_time(1 - side);
        duo.sides[1 - side].endpoint.network_changed(now, NetworkChange::Unspecified);
        duo.settle(1 - side, TrainLimit::OFFLOAD);
        let sent = duo.wire.len();
        assert!(sent <= 80, "{sent} datagrams at once in round {round}");
        let handle = duo.sides[side].handles[0];
        let paths =
            duo.sides[side].endpoint.connection(handle).map_or(0, |connection| connection.paths().count());
        opened += usize::from(paths > 1);
        (1..9).for_each(|path| Action::On(side, 0, Verb::ClosePath(path)).apply(&mut duo));
        duo.run(ms(if round % 20 == 19 { 5_000 } else { 20 }), ms(5), || false);
        if round == 99 {
            held = [0, 1].map(|side| duo.sides[side].endpoint.stats().memory_used);
        }
    }
    assert!(opened > 100, "there were two paths {opened} times");
    for (side, held) in held.into_iter().enumerate() {
        let now = duo.sides[side].endpoint.stats().memory_used;
        assert!(now <= held + (4 << 10), "side {side} holds {now} bytes after 400 rounds, {held} after 100");
    }
    duo.end();
}

/// The largest packet that can come, on a path that nobody has opened.
#[test]
fn ac_21_a_path_that_does_not_exist_costs_one_attempt() {
    let mut evil = evil();
    let from = evil.pair.client_addr;
    evil.work();
    for path in 1..8 {
        let path = PathId::new(path).expect("a path");
        evil.strike_from(from, path, &many(|_| ping()));
    }
    let work = evil.work();
    assert!(work <= 7 * (2 * LARGE as u64 + BASE), "work of {work}");
    let (node, to) = (evil.pair.server, evil.pair.server_addr);
    assert!(matches!(hand_in(&mut evil.pair.world, node, to, from, &[0x90; 30]), Disposition::Dropped(_)));
    evil.finish();
}

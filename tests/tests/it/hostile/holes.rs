//! Small ways to make an endpoint hold or do more than it should, each with its bound.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use dunlin_core::select::{BiasedRtt, Choice, PathSelector, PathView};
use dunlin_core::{Direction, Disposition, Duration, TransportError, fuzzing};
use dunlin_sim::{Evil, Pair, Sender, Verdict, config};

use super::frames::{UNI, connected, strike};
use crate::common::{DATA, copy_from, hand_in, ms, quick};
use crate::duo::{Duo, Side, fan};
use crate::frames::{max_streams, ping, stop_sending, stream, varint};

/// A peer without credit to give, but with streams: each is opened, held for want of credit, and stopped.
#[test]
fn streams_that_end_while_they_are_held_leave_nothing() {
    let mut generous = config();
    generous.limits.streams_uni = 10_000;
    let (app, other) = (dunlin_sim::AcceptAll, dunlin_sim::AcceptAll);
    let mut pair = Pair::with(1, quick(), generous, config(), app, other);
    let (client, server) = pair.connect();
    pair.on_server(server, |connection| {
        let id = connection.open_uni().unwrap();
        assert!(connection.write(id, &[0; 100_000]).unwrap() > 64 << 10, "more than the peer takes");
    });
    pair.world.run_for(ms(500));
    let memory = |pair: &mut Pair| pair.on_server(server, |connection| connection.stats().memory_used);
    let before = memory(&mut pair);
    for n in 0..5_000 {
        let id = pair.on_server(server, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, b"x").unwrap();
            connection.finish(id).unwrap();
            id
        });
        let now = pair.now();
        pair.world.run_until(now);
        strike(&mut pair, client, &stop_sending(id.get(), 1));
        if n % 10 == 9 {
            pair.world.run_for(ms(50));
        }
    }
    let grown = memory(&mut pair).saturating_sub(before);
    assert!(grown < 8_192, "{grown} bytes");
    assert_eq!(pair.server().closed(server), None);
    pair.finish();
}

/// What is to be said of a stream waits once, however often probes ask for it.
#[test]
fn ac_12_resets_that_nobody_acknowledges_are_owed_once() {
    const STREAMS: u64 = 1_000;
    let mut evil = Evil::new(1, quick(), config());
    evil.strike(&max_streams(true, STREAMS));
    let ids: Vec<_> = (0..STREAMS)
        .map(|_| {
            evil.as_victim(|connection| {
                let id = connection.open_uni().unwrap();
                connection.write(id, b"x").unwrap();
                id
            })
        })
        .collect();
    for ids in ids.chunks(100) {
        let frames: Vec<u8> = ids.iter().flat_map(|id| stop_sending(id.get(), 1)).collect();
        evil.strike(&frames);
        evil.run(ms(10));
    }
    let mut memory = Vec::new();
    for _ in 0..10 {
        for _ in 0..2 {
            evil.strike(&ping());
            evil.run(Duration::from_secs(30));
        }
        memory.push(evil.stats().memory_used);
    }
    assert_eq!(evil.end(), None);
    // The probes of a minute are recorded, each with the resets that it repeats; what waits to be sent does not grow.
    assert!(memory.windows(2).all(|minute| minute[1] < minute[0] + (1 << 20)), "{memory:?}");
    evil.finish();
}

/// A frame makes all streams before the one that it names. However many the settings allow, there is a limit to that.
#[test]
fn ac_16_a_stream_with_a_far_number_makes_no_more_than_65536() {
    for (index, expected) in [
        (65_535, None),
        (65_536, Some(TransportError::StreamLimit)),
        (1 << 32, Some(TransportError::StreamLimit)),
    ] {
        let (mut pair, client, server) = connected(|config| config.limits.streams_uni = u32::MAX);
        strike(&mut pair, client, &stream(index * 4 + UNI, 0, b"x", true));
        pair.world.run_for(ms(100));
        let verdict = pair.server().closed(server).map(|(_, reason)| reason.clone());
        assert_eq!(verdict, expected.map(dunlin_core::CloseReason::Violation));
        if verdict.is_none() {
            pair.on_server(server, |connection| {
                assert!(connection.accept(Direction::Unidirectional).is_some());
            });
        }
        pair.finish();
    }
}

/// Counts how often it is asked.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl PathSelector for Counting {
    fn select(&self, current: Option<&PathView>, paths: &[PathView]) -> Choice {
        self.0.fetch_add(1, Ordering::Relaxed);
        BiasedRtt.select(current, paths)
    }
}

#[test]
fn ac_12_path_statuses_by_the_thousand_in_a_packet_ask_the_policy_once() {
    let counting = Arc::new(Counting::default());
    let mut settings = config();
    settings.selector = Arc::<Counting>::clone(&counting);
    let (app, other) = (dunlin_sim::AcceptAll, dunlin_sim::AcceptAll);
    let mut duo = Duo::with(1, &fan(2), config(), settings, app, other);
    let path = duo.open(Side::Client, 1, 0);
    let mut frames = Vec::new();
    for n in 0..5_000_u64 {
        for field in [0x21 + n % 2, path.get().into(), 0, n + 1] {
            varint(&mut frames, field);
        }
    }
    let mut packet = Vec::new();
    assert!(duo.on(Side::Client, |connection| fuzzing::seal(connection, &frames, &mut packet)));
    let before = counting.0.load(Ordering::Relaxed);
    let pair = &mut duo.web.pair;
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    assert_eq!(hand_in(&mut pair.world, node, to, from, &packet), Disposition::Accepted);
    let asked = counting.0.load(Ordering::Relaxed) - before;
    assert!((1..=2).contains(&asked), "asked {asked} times");
    duo.finish();
}

/// An address that has proved nothing gets no CLOSE that it has not paid for, and none is sealed for it either: the next
/// packet would have the same nonce.
#[test]
fn a_close_that_may_not_be_sent_is_not_sealed() {
    let elsewhere = SocketAddr::from(([203, 0, 113, 7], 7));
    let mut pair = Pair::with(1, quick(), config(), config(), dunlin_sim::AcceptAll, Sender::new(1, 1 << 20));
    // Somebody on the way sends the dialler's packets from an address of its own.
    copy_from(&mut pair, elsewhere, &[DATA], Verdict::Drop);
    pair.dial();
    let connection = pair.server_connection(ms(1000)).expect("it is confirmed, if from elsewhere");
    pair.world.run_for(ms(500));
    let before = pair.server().endpoint.stats();
    pair.on_server(connection, |connection| connection.close(7_u32.into(), &[b'x'; 300]));
    pair.world.run_for(ms(1));
    let after = pair.server().endpoint.stats();
    let sent = after.datagrams_sent - before.datagrams_sent;
    let sealed = after.aead_operations - before.aead_operations;
    assert_eq!((sent, sealed), (0, 0), "nothing is left of what may be sent there");
    pair.finish();
}

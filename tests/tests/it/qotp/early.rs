//! Data before the handshake is done, on either side.

use dunlin_core::{Direction, Duration, Endpoint, Event, Instant, StreamId};
use dunlin_sim::{AcceptAll, Echo, Injection, Pair, Receiver, accept_incoming};

use super::kit::{DATA, INIT_CRYPTO_RCV, INIT_CRYPTO_SND, INIT_SND, MTU, connect, drain, pair, write_all};
use crate::common::{at, drop_if, inject, kind, ms, patterned, quick, read_all, record};

/// Bytes of stream data in an Init with a known key.
const FIRST: usize = 1303;

fn say(pair: &mut Pair, client: dunlin_core::ConnectionHandle, bytes: usize) -> StreamId {
    pair.on_client(client, |connection| {
        let id = connection.open_bi().unwrap();
        write_all(connection, id, &patterned(id, bytes));
        id
    })
}

#[test]
fn early_data_of_qotp_is_readable_with_the_acceptance() {
    for (bytes, whole) in [(0, true), (1, true), (FIRST, true), (FIRST + 1, false), (50_000, false)] {
        let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
        let client = pair.dial_qotp(true);
        let id = say(&mut pair, client, bytes);
        pair.world.run_for(ms(20));
        let server = pair.server().events[0].1;
        assert_eq!(pair.server().when(server, &Event::StreamOpened(Direction::Bidirectional)), Some(at(20)));
        let got = pair.on_server(server, |connection| {
            assert_eq!(connection.accept(Direction::Bidirectional), Some(id));
            read_all(connection, id)
        });
        assert_eq!(got, (patterned(id, bytes.min(FIRST)), whole));
        assert_eq!(pair.client().count(|event| *event == Event::Connected), 0, "the reply is under way");
        pair.world.run_for(Duration::from_secs(1));
        if !whole {
            let rest = pair.on_server(server, |connection| read_all(connection, id));
            assert_eq!(rest, (patterned(id, bytes)[FIRST..].to_vec(), true));
        }
        pair.finish();
    }
}

#[test]
fn a_qotp_responder_answers_early_data_with_its_reply() {
    let mut pair = pair(1, quick(), AcceptAll, Echo::default());
    let seen = record(&mut pair.world);
    let client = pair.dial_qotp(true);
    let id = say(&mut pair, client, 900);
    pair.world.run_for(ms(40));
    let (bytes, ended) = pair.on_client(client, |connection| read_all(connection, id));
    assert_eq!((bytes, ended), (patterned(id, 900), true), "after one round trip");
    let kinds: Vec<u8> =
        seen.borrow().iter().filter(|seen| seen.at < at(40)).map(|seen| kind(&seen.bytes)).collect();
    assert_eq!(kinds, [INIT_CRYPTO_SND, INIT_CRYPTO_RCV]);
    pair.finish();
}

#[test]
fn without_a_known_key_nothing_goes_early_in_qotp() {
    let (receiver, received) = Receiver::new();
    let mut pair = pair(1, quick(), AcceptAll, receiver);
    let seen = record(&mut pair.world);
    let client = pair.dial_qotp(false);
    say(&mut pair, client, 1000);
    pair.world.run_for(ms(59));
    assert_eq!(received.borrow().total(), 0);
    let init = seen.borrow()[0].bytes.clone();
    assert_eq!(kind(&init), INIT_SND);
    assert!(init[65..].iter().all(|byte| *byte == 0));
    pair.world.run_for(ms(1));
    assert_eq!((received.borrow().finished, received.borrow().total()), (1, 1000));
    pair.finish();
}

#[test]
fn early_data_of_qotp_survives_the_loss_of_inits_and_replies() {
    for (inits, replies) in [(1, 0), (0, 1), (1, 1), (0, 3)] {
        let (receiver, received) = Receiver::new();
        let mut pair = pair(1, quick(), AcceptAll, receiver);
        let (from, mut left) = (pair.client_addr, [inits, replies]);
        drop_if(&mut pair.world, move |passing| {
            let left = &mut left[usize::from(passing.from != from)];
            let hit = kind(passing.bytes) != DATA && *left > 0;
            *left -= i32::from(hit);
            hit
        });
        let client = pair.dial_qotp(true);
        for _ in 0..3 {
            say(&mut pair, client, 2000);
        }
        let done = pair.run_until(Duration::from_secs(4), |_| received.borrow().finished == 3);
        assert!(done, "{:?}", received.borrow());
        assert_eq!(received.borrow().total(), 6000);
        pair.finish();
    }
}

/// An answerer that answers each stream after `wait`, with `bytes`.
struct Late {
    wait: Duration,
    bytes: usize,
    due: Option<(Instant, dunlin_core::ConnectionHandle)>,
}

impl dunlin_sim::App for Late {
    fn on_event(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        handle: dunlin_core::ConnectionHandle,
        event: &Event,
    ) {
        accept_incoming(now, endpoint, handle, event);
        if matches!(event, Event::StreamOpened(_)) {
            self.due = Some((now + self.wait, handle));
        }
    }

    fn on_timeout(&mut self, _: Instant, endpoint: &mut Endpoint) {
        let Some((_, handle)) = self.due.take() else { return };
        let Some(mut connection) = endpoint.connection(handle) else { return };
        let id = connection.accept(Direction::Bidirectional).expect("it was opened");
        assert_eq!(drain(&mut connection, id), None);
        write_all(&mut connection, id, &patterned(id, self.bytes));
    }

    fn timeout(&self) -> Option<Instant> {
        self.due.map(|(at, _)| at)
    }
}

#[test]
fn a_qotp_responder_whose_reply_was_bare_may_answer_later() {
    for wait in [1, 30, 300, 20_000] {
        for bytes in [10, 100_000] {
            let late = Late { wait: ms(wait), bytes, due: None };
            let mut pair = pair(1, quick(), AcceptAll, late);
            let client = pair.dial_qotp(true);
            let id = say(&mut pair, client, 500);
            pair.world.run_for(ms(wait + 3000));
            let got = pair.on_client(client, |connection| read_all(connection, id));
            assert_eq!(got, (patterned(id, bytes), true), "{wait} {bytes}");
            pair.finish();
        }
    }
}

#[test]
fn an_answer_longer_than_the_allowance_waits_for_the_first_data_of_qotp() {
    let late = Late { wait: Duration::ZERO, bytes: 100_000, due: None };
    let mut pair = pair(1, quick(), AcceptAll, late);
    let seen = record(&mut pair.world);
    let client = pair.dial_qotp(true);
    let id = say(&mut pair, client, 500);
    pair.world.run_for(Duration::from_secs(2));
    assert_eq!(pair.on_client(client, |connection| read_all(connection, id)), (patterned(id, 100_000), true));
    let replies: Vec<usize> = seen
        .borrow()
        .iter()
        .filter(|seen| kind(&seen.bytes) == INIT_CRYPTO_RCV)
        .map(|seen| seen.bytes.len())
        .collect();
    let sum: usize = replies.iter().sum();
    assert!(sum <= 3 * MTU && replies.len() >= 3, "{replies:?}");
    // Nothing of the kind behind the first Data packet of the responder.
    let from = pair.server_addr;
    let kinds: Vec<u8> =
        seen.borrow().iter().filter(|seen| seen.from == from).map(|seen| kind(&seen.bytes)).collect();
    assert!(kinds.is_sorted(), "replies, then Data");
    pair.finish();
}

#[test]
fn the_first_of_several_streams_is_early_in_qotp_and_the_rest_follow() {
    let (receiver, received) = Receiver::new();
    let mut pair = pair(1, quick(), AcceptAll, receiver);
    let client = pair.dial_qotp(true);
    let ids: Vec<_> = (0..20).map(|_| say(&mut pair, client, 300)).collect();
    pair.world.run_for(ms(20));
    assert_eq!(received.borrow().bytes, [(ids[0], 300)].into());
    pair.world.run_for(ms(100));
    assert_eq!((received.borrow().finished, received.borrow().total()), (20, 6000));
    pair.finish();
}

/// What docs/PROTOCOL.md warns of: QOTP has nothing against a replay of its first packet, once the connection is gone.
#[test]
fn a_replayed_init_of_qotp_brings_its_data_again_and_nothing_else() {
    let (receiver, received) = Receiver::new();
    let mut pair = pair(1, quick(), AcceptAll, receiver);
    let seen = record(&mut pair.world);
    let (client, _) = connect(&mut pair, true);
    say(&mut pair, client, 5000);
    pair.world.run_for(Duration::from_secs(1));
    let other = pair.dial_qotp(true);
    say(&mut pair, other, 700);
    pair.world.run_for(Duration::from_secs(60));
    assert_eq!((received.borrow().total(), pair.server().endpoint.stats().connections), (5700, 0));
    let packets: Vec<_> =
        seen.borrow().iter().filter(|seen| seen.from == pair.client_addr).cloned().collect();
    for packet in packets {
        inject(&mut pair, packet.from, &packet.bytes);
        pair.world.run_for(ms(5));
    }
    pair.world.run_for(Duration::from_secs(1));
    assert_eq!(received.borrow().total(), 5700 + 700, "the early data of one of them, and no Data");
    pair.world.run_for(Duration::from_secs(40));
    let ends = pair.server().count(|event| matches!(event, Event::Closed(_)));
    assert_eq!((ends, pair.server().endpoint.stats().connections), (4, 0));
    pair.finish();
}

/// Early data that is acknowledged by a repeated reply, after the first one went another way.
#[test]
fn replies_of_qotp_may_come_in_any_order() {
    let late = Late { wait: Duration::ZERO, bytes: 3000, due: None };
    let mut pair = pair(1, quick(), AcceptAll, late);
    let (from, mut count) = (pair.server_addr, 0);
    pair.world.add_tap(move |passing| {
        if passing.from != from || kind(passing.bytes) != INIT_CRYPTO_RCV {
            return dunlin_sim::Verdict::Pass;
        }
        // The first one last.
        count += 1;
        let (to, bytes) = (passing.to, passing.bytes.clone());
        passing.inject(Injection { after: ms(60 - 10 * count.min(5)), from, to, ecn: None, bytes });
        dunlin_sim::Verdict::Drop
    });
    let client = pair.dial_qotp(true);
    let id = say(&mut pair, client, 100);
    pair.world.run_for(Duration::from_secs(1));
    assert_eq!(pair.on_client(client, |connection| read_all(connection, id)), (patterned(id, 3000), true));
    let stats = pair.on_client(client, |connection| connection.stats());
    assert_eq!(stats.forged_packets, 0);
    pair.finish();
}

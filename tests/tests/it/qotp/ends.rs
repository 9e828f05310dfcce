//! How QOTP connections end. The wire has no word for it.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{
    CloseReason, Config, Connection, ConnectionHandle, ConnectionState, Direction, DropReason, Duration,
    Event, Instant, OpenError, ReadError, StreamId, Undelivered, WriteError,
};
use dunlin_sim::{AcceptAll, LinkConfig, Loss, Pair, Ppm, Receiver, config, seeds};

use super::kit::{DATA, Upload, closed, connect, connected, connected_with, pair, qotp, write_all};
use crate::common::{
    Seen, at, bad_line, drop_if, hand_in, kind, line, ms, patterned, quick, read_all, record,
};

const IDLE: Duration = Duration::from_secs(30);

/// When a side last heard something, by what the network saw: `delay` after it was sent.
fn last_heard(seen: &Rc<RefCell<Vec<Seen>>>, to: core::net::SocketAddr, delay: Duration) -> Instant {
    seen.borrow().iter().rev().find(|seen| seen.to == to).expect("something was sent").at + delay
}

#[test]
fn thirty_seconds_of_silence_end_a_qotp_connection_with_and_without_streams() {
    for (known, streams) in [(false, 0), (true, 0), (true, 1), (false, 5)] {
        let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        let (client, server) = connect(&mut pair, known);
        pair.on_client(client, |connection| {
            for _ in 0..streams {
                let id = connection.open_bi().unwrap();
                assert_eq!(connection.write(id, b"hello"), Ok(5));
            }
        });
        pair.world.run_for(Duration::from_secs(20));
        let sent = seen.borrow().len();
        pair.world.run_for(Duration::from_secs(20));
        assert_eq!(seen.borrow().len(), sent, "an idle connection is silent");
        for (host, handle, addr) in
            [(pair.client(), client, pair.client_addr), (pair.server(), server, pair.server_addr)]
        {
            let end = last_heard(&seen, addr, ms(20)) + IDLE;
            assert_eq!(closed(host, handle), Some((end, CloseReason::IdleTimeout)), "{known} {streams}");
            // The initiator's first Data packet is repeated for six seconds.
            assert!(end < at(36_500));
        }
        pair.finish();
    }
}

#[test]
fn a_shorter_idle_timeout_of_ones_own_counts_in_qotp() {
    let secs = |n| Some(Duration::from_secs(n));
    for (own, expected) in [(secs(5), 5), (secs(30), 30), (secs(300), 30), (None, 30)] {
        let mut settings = qotp();
        settings.idle_timeout = own;
        let mut pair = Pair::with(1, quick(), settings, qotp(), AcceptAll, AcceptAll);
        let seen = record(&mut pair.world);
        let (client, server) = connect(&mut pair, true);
        pair.world.run_for(Duration::from_secs(60));
        let heard = last_heard(&seen, pair.client_addr, ms(20));
        let end = Some((heard + Duration::from_secs(expected), CloseReason::IdleTimeout));
        assert_eq!(closed(pair.client(), client), end);
        assert!(closed(pair.server(), server).is_some());
        pair.finish();
    }
}

#[test]
fn keep_alive_of_either_side_keeps_a_qotp_connection() {
    for (of_client, of_server) in [(true, false), (false, true), (true, true)] {
        let settings = |on: bool| {
            let mut config = qotp();
            config.keep_alive = on.then_some(Duration::from_secs(12));
            config
        };
        let link = LinkConfig { loss: Loss::Random(Ppm::percent(10)), ..quick() };
        let mut pair = Pair::with(1, link, settings(of_client), settings(of_server), AcceptAll, AcceptAll);
        let (client, server) = connect(&mut pair, of_client);
        let before = pair.world.stats().sent;
        pair.world.run_for(Duration::from_secs(3600));
        assert!(pair.client().closed(client).is_none() && pair.server().closed(server).is_none());
        let sent = pair.world.stats().sent - before;
        assert!((500..1500).contains(&sent), "{sent} packets in an hour");
        for (host, opens) in [(pair.client(), !of_client), (pair.server(), of_client)] {
            let opened = host.count(|event| matches!(event, Event::StreamOpened(_)));
            assert!(opened <= 1, "{opened} streams by PINGs, {opens}");
        }
        drop_if(&mut pair.world, |_| true);
        pair.world.run_for(Duration::from_secs(60));
        for (host, handle) in [(pair.client(), client), (pair.server(), server)] {
            let reason = closed(host, handle).unwrap().1;
            assert!(matches!(reason, CloseReason::IdleTimeout | CloseReason::RetriesExhausted));
        }
        pair.finish();
    }
}

#[test]
fn a_qotp_peer_that_vanishes_in_the_middle_is_given_up_after_six_sendings() {
    for seed in seeds(4) {
        for delay in [1, 20, 150] {
            let link = LinkConfig { delay: ms(delay), ..line() };
            let mut upload = Upload::new(seed, link, [qotp(), qotp()], true, 2, 50 << 20);
            upload.pair.world.run_for(Duration::from_secs(2));
            let seen = record(&mut upload.pair.world);
            let (dead, client) = (upload.pair.now(), upload.client);
            drop_if(&mut upload.pair.world, |_| true);
            upload.pair.world.run_for(Duration::from_secs(60));
            let (end, reason) = closed(upload.pair.client(), client).unwrap();
            assert_eq!(reason, CloseReason::RetriesExhausted);
            let took = end - dead;
            assert!((Duration::from_secs(5)..Duration::from_secs(15)).contains(&took), "{took:?}");
            // Six sendings are at most six probes of two packets beside what was on its way.
            let tried = seen.borrow().iter().filter(|seen| seen.at > dead + ms(2 * delay + 100)).count();
            let own = upload.pair.client_addr;
            let probes =
                seen.borrow().iter().filter(|seen| seen.from == own && seen.at > dead + ms(1000)).count();
            assert!(tried < 400 && probes < 400, "{tried} {probes}");
            let server = upload.pair.server().events[0].1;
            let (end, reason) = closed(upload.pair.server(), server).unwrap();
            assert_eq!(reason, CloseReason::IdleTimeout);
            assert!(end <= dead + ms(delay + 100) + IDLE && end > dead + IDLE - ms(1000), "{dead:?} {end:?}");
            upload.pair.finish();
        }
    }
}

#[test]
fn an_outage_of_three_seconds_does_not_end_a_qotp_transfer() {
    for seed in seeds(4) {
        let mut upload = Upload::new(seed, line(), [qotp(), qotp()], seed % 2 == 0, 2, 5 << 20);
        drop_if(&mut upload.pair.world, |passing| (at(700)..at(3700)).contains(&passing.now));
        upload.complete(Duration::from_secs(12));
        upload.pair.finish();
    }
}

#[test]
fn a_graceful_close_of_qotp_delivers_everything_first() {
    for seed in seeds(6) {
        let (receiver, seen) = Receiver::new();
        let mut pair = pair(seed, bad_line(10), AcceptAll, receiver);
        let (client, server) = connect(&mut pair, seed % 2 == 0);
        pair.on_client(client, |connection| {
            for _ in 0..5 {
                let id = connection.open_bi().unwrap();
                assert_eq!(connection.write(id, &patterned(id, 100_000)), Ok(100_000));
            }
            connection.close_graceful(at(60_000), 3u32.into(), b"done");
            assert_eq!(connection.open_bi(), Err(OpenError::Closed));
        });
        let node = pair.client;
        let done = pair.run_until(Duration::from_secs(20), |world| world.node(node).closed(client).is_some());
        assert!(done, "{:?}", seen.borrow());
        assert_eq!(closed(pair.client(), client).unwrap().1, CloseReason::Local { code: 3u32.into() });
        pair.on_client(client, |connection| assert_eq!(connection.undelivered(), Undelivered::default()));
        assert_eq!((seen.borrow().finished, seen.borrow().total()), (5, 500_000));
        pair.world.run_for(Duration::from_secs(32));
        let reason = closed(pair.server(), server).unwrap().1;
        assert!(matches!(reason, CloseReason::IdleTimeout | CloseReason::RetriesExhausted), "{reason}");
        pair.finish();
    }
}

/// The last acknowledgement may come in any packet, in a reply too.
#[test]
fn a_graceful_close_of_qotp_waits_no_longer_than_for_the_last_acknowledgement() {
    for known in [false, true] {
        // Once everything stands, and with all that there is to say in the Init.
        for late in [false, true] {
            let (receiver, seen) = Receiver::new();
            let mut pair = pair(1, quick(), AcceptAll, receiver);
            let client = pair.dial_qotp(known);
            if late {
                pair.world.run_for(Duration::from_secs(2));
            }
            let start = pair.now();
            pair.on_client(client, |connection| {
                let id = connection.open_bi().unwrap();
                write_all(connection, id, &patterned(id, 100));
                connection.close_graceful(at(60_000), 3u32.into(), b"");
            });
            pair.world.run_for(Duration::from_secs(5));
            let rounds = if known || late { 1 } else { 2 };
            assert_eq!(
                closed(pair.client(), client),
                Some((start + ms(40 * rounds), CloseReason::Local { code: 3u32.into() })),
                "{known} {late}"
            );
            assert_eq!((seen.borrow().finished, seen.borrow().total()), (1, 100));
            pair.finish();
        }
    }
}

#[test]
fn a_graceful_close_of_qotp_reports_at_the_deadline_what_was_not_delivered() {
    let (mut pair, client, _) = connected(true);
    pair.world.run_for(ms(500));
    drop_if(&mut pair.world, |_| true);
    pair.on_client(client, |connection| {
        for len in [1000, 20_000] {
            let id = connection.open_bi().unwrap();
            assert_eq!(connection.write(id, &vec![1; len]), Ok(len));
        }
        connection.close_graceful(at(4321), 3u32.into(), b"");
    });
    pair.world.run_for(Duration::from_secs(4));
    assert_eq!(closed(pair.client(), client), Some((at(4321), CloseReason::Local { code: 3u32.into() })));
    let undelivered = Undelivered { streams: 2, bytes: 21_000 };
    pair.on_client(client, |connection| assert_eq!(connection.undelivered(), undelivered));
    pair.finish();
}

#[test]
fn a_close_of_qotp_is_silent_and_final() {
    for by_client in [true, false] {
        let (mut pair, client, server) = connected(true);
        let id = pair.on_client(client, |connection| connection.open_bi().unwrap());
        pair.world.run_for(Duration::from_secs(8));
        let (seen, now) = (record(&mut pair.world), pair.now());
        let close = |connection: &mut Connection<'_>| {
            connection.close(1u32.into(), b"nobody will hear");
            connection.close(2u32.into(), b"");
            assert_eq!(connection.state(), ConnectionState::Closed);
            assert_eq!(connection.open_bi(), Err(OpenError::Closed));
            assert_eq!(connection.write(id, b"x"), Err(WriteError::Closed));
            assert_eq!(connection.finish(id), Err(WriteError::Closed));
            assert_eq!(connection.read(id, &mut [0; 1]), Err(ReadError::Closed));
            assert_eq!(connection.abandon(id), Err(ReadError::Closed));
        };
        if by_client {
            pair.on_client(client, close)
        } else {
            pair.on_server(server, close)
        }
        pair.world.run_for(Duration::from_secs(60));
        assert_eq!(seen.borrow().len(), 0);
        let local = CloseReason::Local { code: 1u32.into() };
        let (closer, other) = if by_client {
            (closed(pair.client(), client), closed(pair.server(), server))
        } else {
            (closed(pair.server(), server), closed(pair.client(), client))
        };
        assert_eq!(closer, Some((now, local)));
        assert_eq!(other.unwrap().1, CloseReason::IdleTimeout);
        pair.finish();
    }
}

#[test]
fn a_qotp_dial_can_be_closed_before_it_is_answered() {
    for known in [false, true] {
        let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
        let client = pair.dial_qotp(known);
        pair.world.run_for(ms(10));
        pair.on_client(client, |connection| connection.close(5u32.into(), b""));
        pair.world.run_for(Duration::from_secs(35));
        assert_eq!(closed(pair.client(), client), Some((at(10), CloseReason::Local { code: 5u32.into() })));
        assert_eq!(pair.client().dropped(DropReason::UnknownConnection), 1, "the reply");
        let server = pair.server().events[0].1;
        assert_eq!(closed(pair.server(), server), Some((at(10_020), CloseReason::Unconfirmed)));
        pair.finish();
    }
}

/// Whoever closed has everything and is gone; the other one did not hear of the last acknowledgement, and asks again.
#[test]
fn what_is_repeated_to_a_closed_qotp_connection_is_acknowledged_for_a_while() {
    let (mut pair, client, server) = connected(true);
    pair.world.run_for(Duration::from_secs(8));
    let id = pair.on_client(client, |connection| {
        let id = connection.open_bi().unwrap();
        write_all(connection, id, b"question");
        id
    });
    pair.world.run_for(ms(30));
    pair.on_server(server, |connection| {
        assert_eq!(read_all(connection, id), (b"question".to_vec(), true));
        write_all(connection, id, b"answer");
    });
    // The acknowledgement of the answer arrives, and nothing that the server says after that for a while.
    pair.world.run_for(ms(30));
    pair.on_client(client, |connection| assert_eq!(read_all(connection, id), (b"answer".to_vec(), true)));
    pair.world.run_for(ms(30));
    assert!(pair.server().has(server, &Event::Finished(id)), "the stream is over on both sides");
    pair.on_server(server, |connection| connection.close(0u32.into(), b""));
    let mut packet = Vec::new();
    let again = super::puppet::last(id.qotp_number().unwrap(), 0, b"question");
    for wait in [1, 100, 100] {
        pair.world.run_for(ms(wait));
        packet.clear();
        assert!(pair.on_client(client, |c| dunlin_core::fuzzing::seal(c, &again, &mut packet)));
        let before = pair.server().endpoint.stats().datagrams_sent;
        let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
        let _ = hand_in(&mut pair.world, node, to, from, &packet);
        pair.world.run_for(ms(1));
        assert_eq!(pair.server().endpoint.stats().datagrams_sent, before + 1, "acknowledged {wait} ms later");
    }
    // Streams that nobody ever opened are none of its business.
    let other = super::puppet::part(99, 0, b"new");
    packet.clear();
    assert!(pair.on_client(client, |c| dunlin_core::fuzzing::seal(c, &other, &mut packet)));
    let before = pair.server().endpoint.stats().datagrams_sent;
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    let _ = hand_in(&mut pair.world, node, to, from, &packet);
    pair.world.run_for(ms(1));
    assert_eq!(pair.server().endpoint.stats().datagrams_sent, before);
    pair.world.run_for(Duration::from_secs(5));
    assert_eq!(pair.server().endpoint.stats().connections, 0);
    pair.finish();
}

#[test]
fn what_was_received_before_a_qotp_connection_timed_out_can_be_read_afterwards() {
    let (mut pair, client, server) = connected(false);
    let id = pair.on_client(client, |connection| {
        let id = connection.open_bi().unwrap();
        assert_eq!(connection.write(id, &patterned(id, 5000)), Ok(5000));
        id
    });
    pair.world.run_for(Duration::from_secs(100));
    assert_eq!(pair.client().endpoint.stats().connections, 0);
    pair.on_server(server, |connection| {
        assert_eq!(connection.state(), ConnectionState::Closed);
        assert_eq!(connection.accept(Direction::Bidirectional), Some(id));
        assert_eq!(read_all(connection, id), (patterned(id, 5000), false));
    });
    pair.finish();
}

/// A connection in QOTP that its application forgets is gone at once, and its id can be used by somebody else.
#[test]
fn a_forgotten_qotp_connection_is_unknown_from_then_on() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let seen = record(&mut pair.world);
    let (client, server) = connect(&mut pair, false);
    let node = pair.server;
    pair.world.node_mut(node).endpoint.connection(server).unwrap().forget();
    pair.on_client(client, |connection| {
        let id = connection.open_bi().unwrap();
        assert_eq!(connection.write(id, b"anybody?"), Ok(8));
    });
    pair.world.run_for(ms(100));
    assert!(pair.server().dropped(DropReason::UnknownConnection) >= 1);
    assert_eq!(pair.server().endpoint.stats().connections, 0);
    // The same Init again is another connection.
    let init = seen.borrow()[0].bytes.clone();
    crate::common::inject(&mut pair, "192.0.2.1:1".parse().unwrap(), &init);
    pair.world.run_for(ms(10));
    assert_eq!(pair.server().count(|event| *event == Event::Incoming), 2);
    pair.finish();
}

#[test]
fn both_sides_of_qotp_may_close_at_once_or_vanish_while_they_close() {
    for seed in seeds(8) {
        let link = LinkConfig { loss: Loss::Random(Ppm::percent(20)), ..quick() };
        let settings = || -> Config {
            let mut config = config().accept_qotp(true);
            config.connect_timeout = Duration::from_secs(60);
            config
        };
        let mut pair = Pair::with(seed, link, settings(), settings(), AcceptAll, AcceptAll);
        let (client, server) = connect(&mut pair, seed % 2 == 0);
        let last = |connection: &mut Connection<'_>| -> StreamId {
            let id = connection.open_bi().unwrap();
            let _ = connection.write(id, &[1; 50_000]).unwrap();
            connection.close_graceful(at(70_000), 7u32.into(), b"");
            id
        };
        pair.on_client(client, last);
        pair.on_server(server, last);
        if seed % 4 == 0 {
            pair.world.run_for(ms(50));
            drop_if(&mut pair.world, |passing| kind(passing.bytes) == DATA);
        }
        pair.world.run_for(Duration::from_secs(80));
        for (host, handle) in [(pair.client(), client), (pair.server(), server)] {
            assert!(host.closed(handle).is_some());
        }
        pair.finish();
    }
}

/// Memory that only a busy connection needs comes back when it rests.
#[test]
fn a_qotp_connection_at_rest_gives_back_what_it_needed() {
    let (mut pair, client, server) =
        connected_with(true, |config| config.keep_alive = Some(Duration::from_secs(9)));
    let memory = |connection: &mut Connection<'_>| connection.stats().memory_used;
    pair.world.run_for(Duration::from_secs(5));
    let before = [pair.on_client(client, memory), pair.on_server(server, memory)];
    for _ in 0..5 {
        let write = |connection: &mut Connection<'_>| {
            for _ in 0..50 {
                let id = connection.open_bi().unwrap();
                write_all(connection, id, &patterned(id, 5000));
            }
        };
        pair.on_client(client, write);
        pair.world.run_for(Duration::from_secs(2));
        let read = |connection: &mut Connection<'_>| {
            while let Some(id) = connection.accept(Direction::Bidirectional) {
                assert_eq!(read_all(connection, id), (patterned(id, 5000), true));
                connection.finish(id).unwrap();
            }
        };
        pair.on_server(server, read);
        pair.world.run_for(ms(200));
        pair.on_client(client, |connection| {
            for number in (0..600).step_by(2) {
                let _ = connection.read(StreamId::qotp(number), &mut [0; 9]);
            }
        });
    }
    pair.world.run_for(Duration::from_secs(5));
    let after = [pair.on_client(client, memory), pair.on_server(server, memory)];
    assert!(after[0] <= before[0] + 500 && after[1] <= before[1] + 500, "{before:?} {after:?}");
    pair.finish();
}

/// An answerer that reads its request and closes at once, whatever became of its reply.
#[test]
fn copies_of_an_init_are_acknowledged_by_a_qotp_connection_that_is_closed() {
    for known in [false, true] {
        let app =
            |now: Instant, endpoint: &mut dunlin_core::Endpoint, handle: ConnectionHandle, event: &Event| {
                dunlin_sim::accept_incoming(now, endpoint, handle, event);
                if *event == Event::Connected {
                    endpoint.connection(handle).unwrap().close(0u32.into(), b"");
                }
            };
        let mut pair = pair(1, quick(), AcceptAll, app);
        let (from, mut replies) = (pair.server_addr, 2);
        drop_if(&mut pair.world, move |passing| {
            let hit = passing.from == from && replies > 0;
            replies -= i32::from(hit);
            hit
        });
        let client = pair.dial_qotp(known);
        pair.world.run_for(Duration::from_secs(4));
        assert_eq!(pair.client().when(client, &Event::Connected), Some(at(640)));
        pair.finish();
    }
}

/// The initiator has read its answer, which came with the reply, and has closed; what it acknowledged got lost, so the
/// answer is repeated, in another reply.
#[test]
fn repeated_replies_are_acknowledged_by_a_qotp_connection_that_is_closed() {
    let mut pair = pair(1, quick(), AcceptAll, dunlin_sim::Echo::default());
    let from = pair.client_addr;
    drop_if(&mut pair.world, move |passing| passing.from == from && kind(passing.bytes) == DATA);
    let client = pair.dial_qotp(true);
    let id = pair.on_client(client, |connection| {
        let id = connection.open_bi().unwrap();
        write_all(connection, id, b"question");
        id
    });
    pair.world.run_for(ms(45));
    pair.on_client(client, |connection| {
        assert_eq!(read_all(connection, id), (b"question".to_vec(), true));
        connection.close(0u32.into(), b"");
    });
    pair.world.run_for(ms(50));
    let (server, before) = (pair.server().events[0].1, pair.client().endpoint.stats().datagrams_sent);
    let (again, mut packet) = (super::puppet::last(id.qotp_number().unwrap(), 0, b"question"), Vec::new());
    assert!(pair.on_server(server, |connection| dunlin_core::fuzzing::seal(connection, &again, &mut packet)));
    assert_eq!(kind(&packet), super::kit::INIT_CRYPTO_RCV);
    let (node, to, own) = (pair.client, pair.client_addr, pair.server_addr);
    assert_eq!(hand_in(&mut pair.world, node, to, own, &packet), dunlin_core::Disposition::Accepted);
    pair.world.run_for(ms(1));
    assert_eq!(pair.client().endpoint.stats().datagrams_sent, before + 1);
    pair.finish();
}

#[test]
fn what_a_closed_qotp_side_threw_away_is_not_acknowledged() {
    let (mut pair, client, server) = connected(true);
    let id = pair.on_server(server, |connection| {
        let id = connection.open_bi().unwrap();
        assert_eq!(connection.write(id, b"the beginning"), Ok(13));
        id
    });
    pair.world.run_for(Duration::from_secs(1));
    pair.on_client(client, |connection| connection.close(0.into(), b""));
    pair.on_server(server, |connection| {
        write_all(connection, id, b"the end that nobody will read");
    });
    pair.world.run_for(Duration::from_secs(20));
    assert!(!pair.server().has(server, &Event::Finished(id)));
    assert_eq!(closed(pair.server(), server).unwrap().1, CloseReason::RetriesExhausted);
    pair.finish();
}

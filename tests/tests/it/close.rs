//! How connections end: by a word, or in silence.

use dunlin_core::{
    CloseReason, Config, ConnectionHandle, ConnectionState, DatagramError, Direction, DropReason, Duration,
    Event, OpenError, ReadError, WriteError,
};
use dunlin_sim::{AcceptAll, LinkConfig, Loss, Pair, Ppm, Receiver, config, seeds};

use crate::common::{DATA, at, drop_if, kind, ms, patient, patterned, quick, read_all, record};

fn peer_closed(code: u32, reason: &[u8]) -> CloseReason {
    CloseReason::Peer { code: code.into(), reason: reason.to_vec().into() }
}

fn connected(config_of: impl Fn(&mut Config)) -> (Pair, ConnectionHandle, ConnectionHandle) {
    let mut settings = config();
    config_of(&mut settings);
    let mut pair = Pair::with(1, quick(), settings.clone(), settings, AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    (pair, client, server)
}

#[test]
fn code_and_reason_arrive() {
    let (mut pair, client, server) = connected(|_| {});
    let long = vec![b'x'; 2000];
    pair.on_client(client, |connection| connection.close(70_000u32.into(), &long));
    let now = pair.now();
    pair.world.run_for(ms(100));
    let local = CloseReason::Local { code: 70_000u32.into() };
    assert_eq!(pair.client().closed(client), Some((now, &local)));
    assert_eq!(pair.server().closed(server), Some((now + ms(20), &peer_closed(70_000, &long[..512]))));
    for host in [pair.client(), pair.server()] {
        assert_eq!(host.count(|event| matches!(event, Event::Closed(_))), 1);
    }
    pair.finish();
}

#[test]
fn a_closed_connection_takes_nothing_and_says_so() {
    let (mut pair, client, server) = connected(|_| {});
    let id = pair.on_client(client, |connection| connection.open_bi().unwrap());
    pair.on_client(client, |connection| {
        connection.close(1u32.into(), b"");
        connection.close(2u32.into(), b"");
        assert_eq!(connection.state(), ConnectionState::Closed);
        assert_eq!(connection.open_bi(), Err(OpenError::Closed));
        assert_eq!(connection.write(id, b"x"), Err(WriteError::Closed));
        assert_eq!(connection.finish(id), Err(WriteError::Closed));
        assert_eq!(connection.read(id, &mut [0; 1]), Err(ReadError::Closed));
        assert_eq!(connection.send_datagram(b"x"), Err(DatagramError::Closed));
    });
    pair.world.run_for(ms(100));
    assert_eq!(pair.server().closed(server).unwrap().1, &peer_closed(1, b""));
    pair.on_server(server, |connection| {
        assert_eq!(connection.open_bi(), Err(OpenError::Closed));
        assert_eq!(connection.send_datagram(b"x"), Err(DatagramError::Closed));
    });
    pair.finish();
}

/// What a shutdown asks: whom to close, and for how long to go on.
#[test]
fn who_closed_is_closing_until_the_peer_has_heard_or_had_the_time_to() {
    let (mut pair, client, server) = connected(|_| {});
    let host = pair.world.node_mut(pair.client);
    assert!(host.endpoint.handles().eq([client]) && !host.endpoint.has_events());
    pair.on_client(client, |connection| {
        assert!(!connection.is_closing());
        connection.close(1u32.into(), b"");
        assert!(connection.is_closing());
    });
    assert!(pair.client().endpoint.has_events(), "the end");
    pair.world.run_for(ms(30));
    pair.on_client(client, |connection| assert!(connection.is_closing(), "the first CLOSE may be lost"));
    pair.on_server(server, |connection| {
        assert_eq!((connection.state(), connection.is_closing()), (ConnectionState::Closed, false));
    });
    pair.world.run_for(Duration::from_secs(10));
    assert_eq!(pair.client().endpoint.handles().next(), None);
    pair.finish();
}

#[test]
fn both_sides_may_close_at_once() {
    for seed in seeds(5) {
        let link = LinkConfig { loss: Loss::Random(Ppm::percent(20)), ..quick() };
        let mut pair = Pair::with(seed, link, patient(), config(), AcceptAll, AcceptAll);
        let (client, server) = pair.connect();
        pair.on_client(client, |connection| connection.close(7u32.into(), b"bye"));
        pair.on_server(server, |connection| connection.close(8u32.into(), b"bye"));
        pair.world.run_for(Duration::from_secs(10));
        assert_eq!(pair.client().closed(client).unwrap().1, &CloseReason::Local { code: 7u32.into() });
        assert_eq!(pair.server().closed(server).unwrap().1, &CloseReason::Local { code: 8u32.into() });
        for host in [pair.client(), pair.server()] {
            assert_eq!(host.endpoint.stats().connections, 0);
        }
        pair.finish();
    }
}

#[test]
fn who_was_closed_on_is_silent() {
    let (mut pair, client, server) = connected(|_| {});
    pair.world.run_for(ms(500));
    pair.on_server(server, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &[7; 500_000]).unwrap();
    });
    pair.world.run_for(ms(5));
    pair.on_client(client, |connection| connection.close(1u32.into(), b""));
    pair.world.run_for(ms(21));
    assert!(pair.server().closed(server).is_some());
    let sent = pair.server().endpoint.stats().datagrams_sent;
    pair.world.run_for(Duration::from_secs(5));
    assert_eq!(pair.server().endpoint.stats().datagrams_sent, sent);
    pair.finish();
}

#[test]
fn a_lost_close_is_repeated_to_whoever_still_sends() {
    let (mut pair, client, server) = connected(|_| {});
    pair.world.run_for(ms(500));
    let (now, client_addr) = (pair.now(), pair.client_addr);
    let seen = record(&mut pair.world);
    drop_if(&mut pair.world, move |passing| passing.from == client_addr && passing.now == now);
    pair.on_client(client, |connection| connection.close(5u32.into(), b"really"));
    pair.world.run_for(ms(1));
    pair.on_server(server, |connection| connection.open_uni().map(drop)).unwrap();
    pair.world.run_for(ms(200));
    assert_eq!(pair.server().closed(server).unwrap(), (now + ms(41), &peer_closed(5, b"really")));
    assert_eq!(seen.borrow().iter().filter(|seen| seen.from == client_addr).count(), 2);
    pair.finish();
}

#[test]
fn closes_are_not_repeated_for_every_packet() {
    let (mut pair, client, server) = connected(|_| {});
    pair.world.run_for(ms(500));
    let client_addr = pair.client_addr;
    let seen = record(&mut pair.world);
    drop_if(&mut pair.world, move |passing| passing.from == client_addr);
    pair.on_client(client, |connection| connection.close(5u32.into(), b""));
    for _ in 0..100 {
        pair.on_server(server, |connection| connection.send_datagram(b"are you there")).unwrap();
        pair.world.run_for(Duration::from_micros(100));
    }
    pair.world.run_for(ms(50));
    let closes = seen.borrow().iter().filter(|seen| seen.from == client_addr).count();
    assert!((2..=8).contains(&closes), "{closes} for 1, 2, 4, 8, ... packets");
    pair.finish();
}

#[test]
fn a_close_that_never_arrives_leaves_the_peer_to_its_idle_timeout() {
    let (mut pair, client, server) = connected(|_| {});
    pair.world.run_for(ms(500));
    drop_if(&mut pair.world, |_| true);
    pair.on_client(client, |connection| connection.close(5u32.into(), b""));
    pair.world.run_for(Duration::from_secs(100));
    assert_eq!(pair.server().closed(server).unwrap().1, &CloseReason::IdleTimeout);
    assert_eq!(pair.client().endpoint.stats().connections, 0);
    pair.finish();
}

#[test]
fn a_dial_can_be_closed_before_it_is_answered() {
    let mut pair = Pair::new(1, quick());
    let client = pair.dial();
    pair.world.run_for(ms(10));
    pair.on_client(client, |connection| connection.close(5u32.into(), b""));
    pair.world.run_for(Duration::from_secs(15));
    assert_eq!(pair.client().closed(client), Some((at(10), &CloseReason::Local { code: 5u32.into() })));
    assert_eq!(pair.client().dropped(DropReason::UnknownConnection), 1, "the reply");
    let server = pair.server().events[0].1;
    assert_eq!(pair.server().closed(server), Some((at(10_020), &CloseReason::Unconfirmed)));
    pair.finish();
}

#[test]
fn an_answerer_may_close_before_the_confirmation_and_the_dialler_hears_of_it() {
    // At once with accepting, or while the reply is under way; with and without loss of the reply.
    for wait in [0, 15] {
        for lost in [0, 1, 2] {
            let closing = move |now: dunlin_core::Instant,
                                endpoint: &mut dunlin_core::Endpoint,
                                handle: ConnectionHandle,
                                event: &Event| {
                if *event == Event::Incoming {
                    let handle = endpoint.incoming(handle).unwrap().accept(now).unwrap();
                    if wait == 0 {
                        endpoint.connection(handle).unwrap().close(9u32.into(), b"changed my mind");
                    }
                }
            };
            let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, closing);
            let server_addr = pair.server_addr;
            let mut left = lost;
            drop_if(&mut pair.world, move |passing| {
                let hit = passing.from == server_addr && left > 0;
                left -= i32::from(hit);
                hit
            });
            let client = pair.dial();
            pair.world.run_for(ms(20 + wait));
            let server = pair.server().events[0].1;
            if wait > 0 {
                pair.on_server(server, |connection| connection.close(9u32.into(), b"changed my mind"));
            }
            pair.world.run_for(Duration::from_secs(4));
            let closed = pair.client().closed(client);
            assert_eq!(
                closed.map(|(_, reason)| reason),
                Some(&peer_closed(9, b"changed my mind")),
                "{wait} {lost}"
            );
            pair.finish();
        }
    }
}

#[test]
fn a_peer_that_vanishes_is_missed_after_the_idle_timeout() {
    let (mut pair, client, server) = connected(|_| {});
    pair.world.run_for(ms(500));
    let seen = record(&mut pair.world);
    pair.on_server(server, |connection| connection.send_datagram(b"x")).unwrap();
    pair.world.run_for(ms(500));
    drop_if(&mut pair.world, |_| true);
    pair.world.run_for(Duration::from_secs(100));
    // The last packet that the server heard was the client's acknowledgement, and its own asked for it; the client
    // heard nothing after the datagram.
    let last_heard = |by| {
        let seen = seen.borrow();
        seen.iter().rev().find(|seen| seen.to == by).unwrap().at + ms(20)
    };
    let (end, reason) = pair.client().closed(client).unwrap();
    assert_eq!(
        (end, reason),
        (last_heard(pair.client_addr) + Duration::from_secs(90), &CloseReason::IdleTimeout)
    );
    let (end, reason) = pair.server().closed(server).unwrap();
    assert_eq!(
        (end, reason),
        (last_heard(pair.server_addr) + Duration::from_secs(90), &CloseReason::IdleTimeout)
    );
    pair.finish();
}

#[test]
fn one_dead_direction_ends_in_the_idle_timeout_exactly() {
    for server_is_deaf in [true, false] {
        let (mut pair, client, server) = connected(|_| {});
        pair.world.run_for(Duration::from_secs(5));
        let (client_addr, seen) = (pair.client_addr, record(&mut pair.world));
        drop_if(&mut pair.world, move |passing| (passing.from == client_addr) == server_is_deaf);
        let start = pair.now();
        pair.on_client(client, |connection| {
            let id = connection.open_bi().unwrap();
            connection.write(id, &[1; 100_000]).unwrap();
        });
        pair.world.run_for(Duration::from_secs(250));
        // What the client sends and hears no answer to counts from the first time on.
        let (end, reason) = pair.client().closed(client).unwrap();
        assert_eq!((end, reason), (start + Duration::from_secs(90), &CloseReason::IdleTimeout));
        let (end, reason) = pair.server().closed(server).unwrap();
        assert_eq!(reason, &CloseReason::IdleTimeout);
        if !server_is_deaf {
            let last = seen.borrow().iter().rev().find(|seen| seen.from == client_addr).unwrap().at + ms(20);
            // Its own PINGs, which nobody answers, put the end off once.
            let limit = last + Duration::from_secs(90);
            assert!(
                (limit..limit + Duration::from_secs(1)).contains(&end),
                "as long as probes come it lives"
            );
        }
        pair.finish();
    }
}

#[test]
fn the_smaller_idle_timeout_counts_and_none_leaves_it_to_the_peer() {
    let secs = |n| Some(Duration::from_secs(n));
    for (client_timeout, server_timeout, expected) in [
        (secs(20), secs(90), secs(20)),
        (secs(90), secs(7), secs(7)),
        (None, secs(30), secs(30)),
        (secs(30), None, secs(30)),
        (None, None, None),
    ] {
        let settings = |timeout| {
            let mut config = config();
            config.idle_timeout = timeout;
            config
        };
        let mut pair =
            Pair::with(1, quick(), settings(client_timeout), settings(server_timeout), AcceptAll, AcceptAll);
        let (client, server) = pair.connect();
        pair.world.run_for(Duration::from_secs(1000));
        for (host, handle) in [(pair.client(), client), (pair.server(), server)] {
            match (host.closed(handle), expected) {
                (Some((end, CloseReason::IdleTimeout)), Some(expected)) => {
                    // The last packets are about connection ids, a second after the handshake.
                    assert!((at(1050) + expected..=at(1200) + expected).contains(&end), "{end:?}");
                }
                (None, None) => {}
                other => panic!("{other:?}"),
            }
        }
        pair.finish();
    }
}

#[test]
fn keep_alive_of_either_side_keeps_an_idle_connection() {
    for (of_client, of_server) in [(true, false), (false, true), (true, true)] {
        let settings = |on: bool| {
            let mut config = config();
            config.keep_alive = on.then_some(Duration::from_secs(40));
            config
        };
        let link = LinkConfig { loss: Loss::Random(Ppm::percent(10)), ..quick() };
        let mut pair = Pair::with(1, link, settings(of_client), settings(of_server), AcceptAll, AcceptAll);
        let (client, server) = pair.connect();
        let before = pair.world.stats().sent;
        pair.world.run_for(Duration::from_secs(3600));
        assert!(pair.client().closed(client).is_none() && pair.server().closed(server).is_none());
        let sent = pair.world.stats().sent - before;
        assert!((150..600).contains(&sent), "{sent} packets in an hour");
        drop_if(&mut pair.world, |_| true);
        pair.world.run_for(Duration::from_secs(200));
        assert_eq!(pair.client().closed(client).unwrap().1, &CloseReason::IdleTimeout);
        assert_eq!(pair.server().closed(server).unwrap().1, &CloseReason::IdleTimeout);
        pair.finish();
    }
}

#[test]
fn what_was_received_before_the_peer_closed_can_be_read_afterwards() {
    let (mut pair, client, server) = connected(|_| {});
    let id = pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &patterned(id, 5000)).unwrap();
        connection.send_datagram(b"a datagram").unwrap();
        id
    });
    pair.world.run_for(ms(300));
    pair.on_client(client, |connection| connection.close(1u32.into(), b""));
    pair.world.run_for(Duration::from_secs(60));
    assert_eq!(pair.client().endpoint.stats().connections, 0);
    pair.on_server(server, |connection| {
        assert_eq!(connection.state(), ConnectionState::Closed);
        assert_eq!(connection.accept(Direction::Unidirectional), Some(id));
        assert_eq!(read_all(connection, id), (patterned(id, 5000), false));
        assert_eq!(connection.read_datagram(&mut Vec::new()), Some(10));
    });
    pair.finish();
}

#[test]
fn what_was_received_before_an_idle_timeout_can_be_read_afterwards() {
    let (mut pair, client, server) = connected(|_| {});
    let id = pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &patterned(id, 5000)).unwrap();
        id
    });
    pair.world.run_for(ms(300));
    drop_if(&mut pair.world, |_| true);
    pair.world.run_for(Duration::from_secs(100));
    assert_eq!(pair.server().closed(server).unwrap().1, &CloseReason::IdleTimeout);
    pair.on_server(server, |connection| assert_eq!(read_all(connection, id), (patterned(id, 5000), false)));
    pair.finish();
}

#[test]
fn unread_data_is_forgotten_at_the_applications_word_or_after_a_while() {
    for forget in [true, false] {
        let (mut pair, client, server) = connected(|_| {});
        pair.on_client(client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &[1; 5000]).unwrap();
        });
        pair.world.run_for(ms(300));
        pair.on_client(client, |connection| connection.close(1u32.into(), b""));
        pair.world.run_for(Duration::from_secs(60));
        if forget {
            let node = pair.server;
            pair.world.node_mut(node).endpoint.connection(server).unwrap().forget();
        }
        pair.world.run_for(Duration::from_secs(if forget { 0 } else { 60 }));
        assert_eq!(pair.server().endpoint.stats().connections, 0);
        assert_eq!(pair.server().endpoint.stats().memory_used, 0);
        pair.finish();
    }
}

#[test]
fn a_connection_that_is_just_forgotten_says_nothing() {
    let (mut pair, client, server) = connected(|_| {});
    pair.world.run_for(ms(2000));
    let sent = pair.world.stats().sent;
    let node = pair.client;
    pair.world.node_mut(node).endpoint.connection(client).unwrap().forget();
    pair.world.run_for(Duration::from_secs(100));
    assert_eq!(pair.world.stats().sent, sent);
    assert_eq!(pair.server().closed(server).unwrap().1, &CloseReason::IdleTimeout);
    pair.finish();
}

#[test]
fn closes_under_loss_always_end() {
    for seed in seeds(20) {
        let link = LinkConfig { loss: Loss::Random(Ppm::percent(40)), ..quick() };
        let (receiver, _) = Receiver::new();
        let mut pair = Pair::with(seed, link, config(), config(), AcceptAll, receiver);
        let Some(server) = ({
            pair.dial();
            pair.server_connection(Duration::from_secs(5))
        }) else {
            pair.finish();
            continue;
        };
        let client = pair.client().events[0].1;
        pair.on_client(client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &patterned(id, 20_000)).unwrap();
        });
        pair.world.run_for(ms(seed % 500));
        pair.on_server(server, |connection| connection.close(1u32.into(), b""));
        pair.world.run_for(Duration::from_secs(200));
        assert!(pair.client().closed(client).is_some());
        assert_eq!(pair.client().endpoint.stats().connections, 0);
        pair.finish();
    }
}

#[test]
fn late_packets_of_a_closed_connection_are_dropped_and_answered_by_resets_that_mean_nothing() {
    let (mut pair, client, _) = connected(|_| {});
    let seen = record(&mut pair.world);
    pair.on_client(client, |connection| connection.send_datagram(b"x")).unwrap();
    pair.world.run_for(ms(300));
    pair.on_client(client, |connection| connection.close(1u32.into(), b""));
    pair.world.run_for(Duration::from_secs(5));
    let data: Vec<_> = seen.borrow().iter().filter(|seen| kind(&seen.bytes) == DATA).cloned().collect();
    let sent = pair.world.stats().sent;
    for late in data {
        pair.world.inject(dunlin_sim::Injection {
            after: ms(1),
            from: late.from,
            to: late.to,
            ecn: None,
            bytes: late.bytes,
        });
    }
    pair.world.run_for(Duration::from_secs(1));
    let resets = [pair.client(), pair.server()].map(|host| host.endpoint.stats().resets_sent);
    let answers = pair.world.stats().sent - sent;
    assert!(answers > 0 && answers == resets.iter().sum::<u64>(), "{answers} answers, {resets:?} resets");
    assert!(pair.server().dropped(DropReason::UnknownConnection) > 0);
    assert_eq!(pair.server().endpoint.stats().resets_received, 0, "there is nothing to end");
    pair.finish();
}

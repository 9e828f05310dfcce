//! Opening and abandoning paths (docs/PROTOCOL.md, "Opening and abandoning paths").

use std::collections::BTreeSet;

use dunlin_core::fuzzing::{IdOf, Unopened};
use dunlin_core::{
    CloseReason, ConnectOptions, Disposition, DropReason, EcnState, ErrorCode, PathClosed, PathError,
    PathEvent, PathId, PathState, PathStatus, Peer, TransportError, fuzzing,
};
use dunlin_sim::{ALPN, AcceptAll, End, Receiver, Sender, Topology, Toward, config, seeds};

use crate::common::{DATA, kind, line, ms, record};
use crate::duo::{BOTH, Duo, Side, fan, parallel};

/// A dialler with so many interfaces, each with a line of 100 Mbit/s to the answerer.
fn lines(interfaces: usize) -> Topology {
    Topology::fan(&vec![line(); interfaces])
}

const fn id(id: u8) -> PathId {
    PathId::new(id).expect("a path id")
}

fn opened(event: &PathEvent) -> Option<PathId> {
    if let PathEvent::Opened { id, .. } = event { Some(*id) } else { None }
}

fn closed(event: &PathEvent) -> Option<(PathId, PathClosed)> {
    if let PathEvent::Closed { id, reason, .. } = event { Some((*id, *reason)) } else { None }
}

#[test]
fn path_opened_by_either_side() {
    for seed in seeds(10) {
        let mut duo = Duo::new(seed, &parallel(3));
        assert_eq!(duo.open(Side::Client, 1, 1), id(2));
        assert_eq!(duo.open(Side::Server, 2, 2), id(1));
        for side in BOTH {
            let events: Vec<_> = duo.events(side).iter().filter_map(opened).collect();
            assert_eq!(events, [id(2), id(1)]);
            let paths = duo.paths(side);
            assert_eq!(paths.len(), 3);
            for path in paths {
                let number = if path.id == id(2) {
                    1
                } else if path.id == id(1) {
                    2
                } else {
                    0
                };
                let ends = [End::Client(number), End::Server(number)];
                let [local, remote] = if side == Side::Client { ends } else { [ends[1], ends[0]] };
                assert_eq!((path.local, path.remote), (duo.local(local), duo.web.address(remote).into()));
                assert!(path.rtt.is_measured(), "{path:?}");
            }
        }
        duo.finish();
    }
}

#[test]
fn path_to_the_other_family_leaves_through_a_socket_that_speaks_it() {
    let mut duo = Duo::new(1, &parallel(2).v6(End::Client(1)).v6(End::Server(1)));
    let v6 = duo.web.address(End::Server(1));
    let opened = duo.on(Side::Client, |connection| connection.open_path(v6, None)).unwrap();
    duo.run(ms(500));
    let path = duo.path(Side::Client, opened).unwrap();
    assert_eq!((path.state, path.local.socket), (PathState::Open, 1));
    duo.finish();
}

#[test]
fn path_data_follows_the_one_that_is_selected() {
    let (receiver, received) = Receiver::new();
    let mut duo = Duo::with(1, &lines(2), config(), config(), Sender::new(1, 30_000_000), receiver);
    let other = duo.open(Side::Client, 1, 0);
    let before = duo.web.carried(1, 0, Toward::Server).bytes;
    duo.on(Side::Client, |connection| connection.select_path(other)).unwrap();
    assert!(duo.web.pair.run_until(ms(20_000), |_| received.borrow().finished == 1));
    assert!(received.borrow().total() == 30_000_000);
    let moved = duo.web.carried(1, 0, Toward::Server).bytes - before;
    assert!(moved > 1_000_000, "{moved} bytes");
    duo.finish();
}

#[test]
fn path_opening_needs_what_both_sides_allow() {
    let mut one = config();
    one.max_paths = 1;
    for settings in [[one.clone(), config()], [config(), one]] {
        let [client, server] = settings;
        let mut duo = Duo::with(1, &fan(2), client, server, AcceptAll, AcceptAll);
        assert_eq!(duo.try_open(Side::Client, 1, 0), Err(PathError::Unsupported));
        assert_eq!(duo.try_open(Side::Server, 1, 0), Err(PathError::Unsupported));
        duo.finish();
    }
}

#[test]
fn path_verbs_say_what_is_wrong() {
    let mut duo = Duo::new(1, &fan(3));
    assert_eq!(duo.try_open(Side::Client, 0, 0), Err(PathError::Exists));
    let nowhere = core::net::SocketAddr::from(([0, 0, 0, 0], 7));
    let (now, remote) = (duo.web.pair.now(), duo.web.address(End::Server(0)));
    duo.on(Side::Client, |connection| {
        assert_eq!(connection.open_path(nowhere, None), Err(PathError::Address));
        assert_eq!(connection.close_path(PathId::ZERO), Err(PathError::LastPath));
        assert_eq!(connection.close_path(id(2)), Err(PathError::Unknown));
        assert_eq!(connection.set_path_status(id(2), PathStatus::Backup), Err(PathError::Unknown));
    });
    let begun = duo.try_open(Side::Client, 1, 0).unwrap();
    duo.on(Side::Client, |connection| {
        assert_eq!(connection.select_path(begun), Err(PathError::NotConnected));
        assert_eq!(
            connection.close_path(PathId::ZERO),
            Err(PathError::LastPath),
            "it is the only one that works"
        );
    });
    let client = duo.web.pair.client;
    let endpoint = &mut duo.web.pair.world.node_mut(client).endpoint;
    let dial = endpoint.connect(now, Peer::AnyKey, ConnectOptions::new(remote, ALPN)).unwrap();
    let early = endpoint.connection(dial).unwrap().open_path(remote, None);
    assert_eq!(early, Err(PathError::NotConnected));
    duo.on(Side::Client, |connection| {
        connection.close(ErrorCode::default(), b"");
        assert_eq!(connection.open_path(remote, None), Err(PathError::Closed));
    });
    duo.finish();
}

#[test]
fn path_that_nobody_answers_on_is_given_up() {
    for toward in Toward::BOTH {
        let mut duo = Duo::new(1, &fan(2));
        duo.web.cut(1, 0, toward);
        let begun = duo.try_open(Side::Client, 1, 0).unwrap();
        duo.run(ms(2000));
        assert_eq!(duo.path(Side::Client, begun).unwrap().state, PathState::Opening);
        // 31 times the shortest wait: the round trip is 40 ms.
        duo.run(ms(1200));
        assert_eq!(duo.path(Side::Client, begun), None);
        duo.run(ms(2000));
        assert_eq!(duo.paths(Side::Server).len(), 1, "{toward:?}: the peer has let go, too");
        let events: Vec<_> = duo.events(Side::Client).iter().filter_map(closed).collect();
        assert_eq!(events, [(begun, PathClosed::NoAnswer)]);
        assert_eq!(duo.events(Side::Server), [], "it never was there");
        duo.web.mend(1, 0, toward);
        duo.run(ms(4000));
        assert_eq!(duo.open(Side::Client, 1, 0), begun, "the id is free again");
        assert_eq!(duo.path(Side::Server, begun).unwrap().generation, 1);
        duo.finish();
    }
}

#[test]
fn path_challenges_that_are_lost_are_repeated() {
    let mut duo = Duo::new(1, &fan(2));
    duo.web.cut(1, 0, Toward::Server);
    let seen = record(&mut duo.web.pair.world);
    let begun = duo.try_open(Side::Client, 1, 0).unwrap();
    let from = duo.web.address(End::Client(1));
    duo.run(ms(600));
    let times: Vec<_> = (seen.borrow().iter().filter(|seen| seen.from == from))
        .map(|seen| {
            assert_eq!(seen.bytes.len(), 1200);
            seen.at
        })
        .collect();
    assert_eq!(times.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>(), [ms(100), ms(200)]);
    duo.web.mend(1, 0, Toward::Server);
    duo.run(ms(500));
    assert_eq!(duo.path(Side::Server, begun).unwrap().state, PathState::Open);
    duo.finish();
}

#[test]
fn path_answers_stay_within_three_times_what_came() {
    // The challenge of the dialler comes, its answer never does: the answerer asks five times at most, within its share.
    let mut duo = Duo::new(1, &fan(2));
    duo.try_open(Side::Client, 1, 0).unwrap();
    let from = duo.web.address(End::Client(1));
    let mut passed = 0;
    duo.web.pair.world.add_tap(move |passing| {
        passed += usize::from(passing.from == from);
        if passing.from == from && passed > 1 { dunlin_sim::Verdict::Drop } else { dunlin_sim::Verdict::Pass }
    });
    duo.run(ms(9000));
    let server = duo.web.pair.server();
    let (received, sent) = server.traffic[&from];
    assert_eq!(received, 1200);
    assert!(sent <= 3 * received, "{sent} bytes");
    duo.finish();
}

#[test]
fn path_closed_by_either_side_is_closed_on_both_and_data_goes_on() {
    for (closer, seed) in BOTH.into_iter().zip(1..) {
        let (receiver, received) = Receiver::new();
        let mut duo = Duo::with(seed, &lines(2), config(), config(), Sender::new(1, 40_000_000), receiver);
        let other = duo.open(Side::Client, 1, 0);
        duo.on(Side::Client, |connection| connection.select_path(other)).unwrap();
        duo.run(ms(500));
        let total = received.borrow().total();
        duo.on(closer, |connection| connection.close_path(other)).unwrap();
        duo.run(ms(300));
        assert!(received.borrow().total() > total, "data goes on");
        for side in BOTH {
            assert_eq!(duo.paths(side).len(), 1);
            assert_eq!(duo.selected(side), PathId::ZERO);
            let events: Vec<_> = duo.events(side).iter().filter_map(closed).collect();
            let reason =
                if side == closer { PathClosed::Local } else { PathClosed::Peer(ErrorCode::default()) };
            assert_eq!(events, [(other, reason)]);
        }
        assert!(duo.web.pair.run_until(ms(60_000), |_| received.borrow().finished == 1));
        assert_eq!(received.borrow().total(), 40_000_000);
        duo.finish();
    }
}

#[test]
fn path_of_the_handshake_can_be_closed_too() {
    let mut duo = Duo::new(1, &fan(2));
    let other = duo.open(Side::Client, 1, 0);
    duo.on(Side::Client, |connection| connection.close_path(PathId::ZERO)).unwrap();
    duo.run(ms(4000));
    for side in BOTH {
        assert_eq!(duo.paths(side).iter().map(|path| path.id).collect::<Vec<_>>(), [other]);
        assert_eq!(duo.selected(side), other);
    }
    assert_eq!(duo.open(Side::Client, 0, 0), PathId::ZERO, "its id is used again");
    assert_eq!(duo.path(Side::Server, PathId::ZERO).unwrap().generation, 1);
    duo.finish();
}

#[test]
fn path_that_both_close_is_closed_once() {
    let mut duo = Duo::new(1, &fan(2));
    let other = duo.open(Side::Client, 1, 0);
    for side in BOTH {
        duo.on(side, |connection| connection.close_path(other)).unwrap();
    }
    duo.run(ms(4000));
    for side in BOTH {
        let events: Vec<_> = duo.events(side).iter().filter_map(closed).collect();
        assert_eq!(events, [(other, PathClosed::Local)]);
    }
    assert_eq!(duo.open(Side::Client, 1, 0), other);
    duo.finish();
}

#[test]
fn path_opened_by_both_at_once_makes_two() {
    // Between the same ends: they are two paths, for nobody waits for the other.
    let mut duo = Duo::new(1, &parallel(2));
    let ids = BOTH.map(|side| duo.try_open(side, 1, 1).unwrap());
    duo.run(ms(500));
    assert_eq!(ids, [id(2), id(1)]);
    for side in BOTH {
        assert!(ids.iter().all(|id| duo.path(side, *id).is_some_and(|path| path.state == PathState::Open)));
    }
    duo.finish();
}

#[test]
fn path_abandoned_before_it_was_seen_is_answered() {
    let mut duo = Duo::new(1, &fan(2));
    duo.web.cut(1, 0, Toward::Server);
    for generation in 0..3 {
        let begun = duo.try_open(Side::Client, 1, 0).unwrap();
        assert_eq!(begun, id(2));
        duo.run(ms(50));
        assert_eq!(duo.path(Side::Client, begun).unwrap().generation, generation);
        duo.on(Side::Client, |connection| connection.close_path(begun)).unwrap();
        duo.run(ms(5000));
    }
    assert_eq!(duo.paths(Side::Server).len(), 1);
    duo.finish();
}

#[test]
fn path_of_a_peer_that_has_abandoned_the_last_one_is_awaited_and_then_missed() {
    for opens in [false, true] {
        let mut duo = Duo::new(1, &fan(2));
        let other = duo.open(Side::Client, 1, 0);
        duo.run(ms(500));
        // Each side closes another one, at the same moment.
        duo.on(Side::Client, |connection| connection.close_path(other)).unwrap();
        duo.on(Side::Server, |connection| connection.close_path(PathId::ZERO)).unwrap();
        duo.run(ms(200));
        assert_eq!(BOTH.map(|side| duo.paths(side).len()), [0, 0]);
        if opens {
            let begun = duo.try_open(Side::Client, 0, 0).unwrap();
            duo.run(ms(500));
            assert_eq!(duo.selected(Side::Server), begun);
            duo.run(ms(10_000));
            assert_eq!(BOTH.map(|side| duo.end(side)), [None, None]);
        } else {
            duo.run(ms(4000));
            assert_eq!(
                BOTH.map(|side| duo.end(side)),
                [Some(CloseReason::NoPath), Some(CloseReason::NoPath)]
            );
        }
        duo.finish();
    }
}

#[test]
fn path_status_of_the_peer_is_honoured_and_old_ones_are_ignored() {
    let mut duo = Duo::new(1, &fan(2));
    let other = duo.open(Side::Client, 1, 0);
    duo.events(Side::Server);
    duo.on(Side::Client, |connection| connection.set_path_status(PathId::ZERO, PathStatus::Backup)).unwrap();
    assert_eq!(duo.selected(Side::Client), other, "at once");
    duo.run(ms(100));
    assert_eq!(duo.selected(Side::Server), other);
    let path = duo.path(Side::Server, PathId::ZERO).unwrap();
    assert_eq!((path.status, path.peer_status), (PathStatus::Available, PathStatus::Backup));
    let told = PathEvent::Status { id: PathId::ZERO, status: PathStatus::Backup };
    assert_eq!(duo.events(Side::Server)[0], told);
    // Set back and forth in one packet's time: only the last one is told.
    duo.on(Side::Client, |connection| {
        connection.set_path_status(PathId::ZERO, PathStatus::Available).unwrap();
        connection.set_path_status(other, PathStatus::Backup).unwrap();
        connection.set_path_status(other, PathStatus::Available).unwrap();
    });
    duo.run(ms(100));
    let statuses = duo.paths(Side::Server).iter().map(|path| path.peer_status).collect::<Vec<_>>();
    assert_eq!(statuses, [PathStatus::Available; 2]);
    // An old one, a repeated one, one of another generation: status sequence numbers 1, 2, and 9 of generation 1.
    for frame in [[0x22, 0, 0, 1], [0x22, 0, 0, 2], [0x22, 0, 1, 9]] {
        hand_frames(&mut duo, PathId::ZERO, &frame);
    }
    let statuses = duo.paths(Side::Server).iter().map(|path| path.peer_status).collect::<Vec<_>>();
    assert_eq!(statuses, [PathStatus::Available; 2]);
    duo.finish();
}

#[test]
fn path_status_survives_loss() {
    for seed in seeds(5) {
        let mut topology = fan(2);
        for row in &mut topology.links {
            row[0] = Some(crate::common::bad_line(20));
        }
        let mut settings = crate::common::patient();
        settings.keep_alive = Some(ms(200));
        let mut duo = Duo::with(seed, &topology, settings.clone(), settings, AcceptAll, AcceptAll);
        let begun = duo.try_open(Side::Client, 1, 0).unwrap();
        duo.run(ms(4000));
        if duo.path(Side::Client, begun).is_none() {
            continue;
        }
        for status in [PathStatus::Backup, PathStatus::Available, PathStatus::Backup] {
            duo.on(Side::Client, |connection| connection.set_path_status(begun, status)).unwrap();
            duo.run(ms(4000));
            assert_eq!(duo.path(Side::Server, begun).map(|path| path.peer_status), Some(status), "{seed}");
        }
        duo.finish();
    }
}

/// Hands a packet of the dialler with these frames to the answerer, on a path.
fn hand_frames(duo: &mut Duo, path: PathId, frames: &[u8]) -> Disposition {
    let mut packet = Vec::new();
    let unopened = Unopened { path, number: 1, to: IdOf::OpenPath };
    assert!(duo.on(Side::Client, |connection| fuzzing::seal_on(connection, path, frames, &mut packet)
        || fuzzing::seal_unopened(connection, &unopened, frames, &mut packet)));
    let (node, to, from) =
        (duo.web.pair.server, duo.web.address(End::Server(0)), duo.web.address(End::Client(0)));
    crate::common::hand_in(&mut duo.web.pair.world, node, to, from, &packet)
}

const CHALLENGE: [u8; 9] = [0x1a, 1, 2, 3, 4, 5, 6, 7, 8];

#[test]
fn path_ids_that_are_not_open_are_dropped_after_opening() {
    let mut duo = Duo::new(1, &fan(2));
    let unknown = Disposition::Dropped(DropReason::UnknownPath);
    assert_eq!(hand_frames(&mut duo, id(2), &[1]), unknown, "no challenge");
    assert_eq!(hand_frames(&mut duo, id(3), &CHALLENGE), unknown, "the answerer's to open");
    assert_eq!(hand_frames(&mut duo, id(2), &CHALLENGE), unknown, "to an id that is another path's");
    duo.run(ms(500));
    assert_eq!(BOTH.map(|side| (duo.paths(side).len(), duo.end(side))), [(1, None), (1, None)]);
    assert_eq!(duo.open(Side::Client, 1, 0), id(2), "nothing was marked");
    duo.finish();
}

#[test]
fn path_frames_about_what_never_was_are_violations() {
    let wrong = Some(CloseReason::Violation(TransportError::Protocol));
    // The dialler's engine knows nothing of the path whose end the answerer confirms.
    // An ACK of packet 1 of path 2, or of 0 of path 2 when it is open; a status and the end of a path of the answerer's.
    let ack = |path: u8, largest: u8| vec![0x3e, path, largest, 0, 0, 0];
    for (frames, open, verdict) in [
        (ack(2, 1), false, wrong.clone()),
        (ack(2, 63), true, wrong.clone()),
        (ack(2, 0), true, wrong.clone()),
        (vec![0x22, 1, 0, 1], false, wrong.clone()),
        (vec![0x23, 1, 0, 0], false, wrong.clone()),
        (vec![0x22, 2, 0, 1], false, None),
        (vec![0x23, 2, 0, 0], false, Some(CloseReason::PeerTransport(TransportError::Protocol))),
        (vec![0x23, 2, 7, 0], true, None),
    ] {
        let mut duo = Duo::new(1, &fan(2));
        if open {
            duo.open(Side::Client, 1, 0);
        }
        hand_frames(&mut duo, PathId::ZERO, &frames);
        duo.run(ms(100));
        assert_eq!(duo.end(Side::Server), verdict, "{frames:02x?}");
        duo.finish();
    }
}

#[test]
fn path_acks_of_what_is_over_are_ignored() {
    let mut duo = Duo::new(1, &fan(2));
    let other = duo.open(Side::Client, 1, 0);
    for span in [ms(10), ms(6000)] {
        if duo.path(Side::Client, other).is_some() {
            duo.on(Side::Client, |connection| connection.close_path(other)).unwrap();
        }
        duo.run(span);
        hand_frames(&mut duo, PathId::ZERO, &[0x3e, 2, 1, 0, 0, 0]);
    }
    let again = duo.open(Side::Client, 1, 0);
    assert_eq!(again, other);
    hand_frames(&mut duo, PathId::ZERO, &[0x3e, 2, 1, 0, 0, 1]);
    duo.run(ms(100));
    assert_eq!(duo.end(Side::Server), None, "below the first number of this life");
    duo.finish();
}

#[test]
fn path_count_is_limited_and_more_cost_nothing() {
    let mut server = config();
    server.max_paths = 3;
    let mut duo = Duo::with(1, &fan(6), config(), server, AcceptAll, AcceptAll);
    for interface in 1..=2 {
        duo.open(Side::Client, interface, 0);
    }
    assert_eq!(duo.try_open(Side::Client, 3, 0), Err(PathError::TooMany));
    let before = duo.memory();
    // A peer that does not keep to it: challenges for path 6 from everywhere, to an id that is not in use.
    let dropped = |duo: &Duo| duo.web.pair.server().dropped(DropReason::UnknownPath);
    let count = dropped(&duo);
    (0..100).for_each(|_| {
        hand_frames(&mut duo, id(6), &CHALLENGE);
    });
    duo.run(ms(1));
    assert_eq!(dropped(&duo) - count, 100);
    assert_eq!(duo.memory()[1], before[1]);
    duo.finish();
}

#[test]
fn path_cycles_leave_the_state_as_it_was() {
    let cycles = if cfg!(debug_assertions) { 150 } else { 1000 };
    let mut duo = Duo::new(1, &fan(2));
    let cycle = |duo: &mut Duo| {
        let other = duo.open(Side::Client, 1, 0);
        assert!(other.get() <= 16, "ids are used again: {other:?}");
        duo.on(Side::Client, |connection| connection.close_path(other)).unwrap();
        duo.run(ms(100));
    };
    (0..50).for_each(|_| cycle(&mut duo));
    duo.run(ms(10_000));
    let before = duo.memory();
    (0..cycles).for_each(|_| cycle(&mut duo));
    duo.run(ms(10_000));
    let after = duo.memory();
    for (before, after) in before.into_iter().zip(after) {
        assert!(after <= before + 512, "{before} bytes became {after}");
    }
    duo.finish();
}

#[test]
fn path_that_waits_for_a_connection_id_asks_again() {
    // Three interfaces want a path at once; at first the peer's two spare ids are enough for two of them.
    let mut duo = Duo::new(1, &fan(5));
    let begun: Vec<_> = (1..5).map(|interface| duo.try_open(Side::Client, interface, 0).unwrap()).collect();
    duo.run(ms(1500));
    for path in begun {
        for side in BOTH {
            assert_eq!(duo.path(side, path).map(|path| path.state), Some(PathState::Open), "{path:?}");
        }
    }
    duo.finish();
}

#[test]
fn path_packets_have_no_bytes_in_common() {
    let (receiver, _) = Receiver::new();
    let mut duo = Duo::with(1, &lines(3), config(), config(), Sender::new(1, 1 << 30), receiver);
    let seen = record(&mut duo.web.pair.world);
    for interface in 1..3 {
        let other = duo.open(Side::Client, interface, 0);
        duo.on(Side::Client, |connection| connection.select_path(other)).unwrap();
        duo.run(ms(300));
    }
    let seen = seen.borrow();
    for from_client in [true, false] {
        let mut chunks: Vec<BTreeSet<[u8; 6]>> = Vec::new();
        for interface in 0..3 {
            let address = duo.web.address(End::Client(interface));
            let data = seen.iter().filter(|seen| {
                kind(&seen.bytes) == DATA
                    && if from_client { seen.from == address } else { seen.to == address }
            });
            let all = data.take(300).flat_map(|seen| {
                seen.bytes[1..].windows(6).map(|chunk| *chunk.first_chunk().unwrap()).collect::<Vec<_>>()
            });
            let all: BTreeSet<_> = all.collect();
            assert!(all.len() > 1000, "{} chunks", all.len());
            assert!(chunks.iter().all(|other| other.is_disjoint(&all)), "{interface}");
            chunks.push(all);
        }
    }
}

#[test]
fn path_keys_change_while_paths_come_and_go() {
    let mut settings = config();
    settings.rotate_keys_after = Some(100);
    let (receiver, received) = Receiver::new();
    let mut duo = Duo::with(1, &lines(3), settings.clone(), settings, Sender::new(1, 60_000_000), receiver);
    for interface in [1, 2, 1, 2, 1] {
        let other = duo.open(Side::Client, interface, 0);
        duo.on(Side::Client, |connection| connection.select_path(other)).unwrap();
        duo.run(ms(400));
        duo.on(Side::Client, |connection| connection.close_path(other)).unwrap();
        duo.run(ms(200));
    }
    assert!(duo.web.pair.run_until(ms(60_000), |_| received.borrow().finished == 1));
    assert!(duo.on(Side::Client, |connection| connection.stats().key_updates) > 10);
    assert_eq!(BOTH.map(|side| duo.end(side)), [None, None]);
    duo.finish();
}

#[test]
fn path_mtu_and_ecn_are_each_ones_own() {
    let (receiver, _) = Receiver::new();
    let mut topology = lines(2);
    topology.links[0][0].as_mut().unwrap().mtu = Some(1300);
    let mut duo = Duo::with(1, &topology, config(), config(), Sender::new(1, 1 << 30), receiver);
    duo.run(ms(3000));
    let other = duo.open(Side::Client, 1, 0);
    assert_eq!(duo.path(Side::Client, other).unwrap().ecn.state, EcnState::Testing);
    duo.on(Side::Client, |connection| connection.select_path(other)).unwrap();
    duo.run(ms(3000));
    let [first, second] = duo.paths(Side::Client)[..] else { panic!("two paths") };
    assert!(first.mtu <= 1300 && second.mtu == 1452, "{} and {}", first.mtu, second.mtu);
    assert_eq!([first.ecn.state, second.ecn.state], [EcnState::Capable; 2]);
}

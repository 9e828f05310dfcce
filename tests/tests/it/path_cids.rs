//! Connection ids beyond the first.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::collections::BTreeSet;
use std::rc::Rc;

use dunlin_core::{
    CloseReason, ConnectionHandle, ConnectionId, Disposition, NetworkChange, TransportError, fuzzing,
};
use dunlin_sim::{AcceptAll, Pair, Receiver, Sender, config, seeds};

use crate::common::{DATA, Seen, bad_line, hand_in, kind, line, ms, quick, record};

/// Frames of docs/PROTOCOL.md, "Connection ids".
const NEW_CONNECTION_ID: u8 = 0x18;
const RETIRE_CONNECTION_ID: u8 = 0x19;
/// Frames of which nothing was agreed on where only one path is allowed.
const OF_SEVERAL_PATHS: [u8; 3] = [0x21, 0x22, 0x23];

fn id(datagram: &[u8]) -> ConnectionId {
    ConnectionId::from_bytes(*datagram[1..].first_chunk().unwrap())
}

/// The ids in the Data packets that `from` has sent since `skip` datagrams.
fn ids(seen: &Rc<RefCell<Vec<Seen>>>, skip: usize, from: SocketAddr) -> BTreeSet<[u8; 8]> {
    let seen = seen.borrow();
    let data = seen.iter().skip(skip).filter(|seen| seen.from == from && kind(&seen.bytes) == DATA);
    data.map(|seen| *id(&seen.bytes).as_bytes()).collect()
}

fn report(pair: &mut Pair) {
    let (now, client) = (pair.now(), pair.client);
    pair.world.node_mut(client).endpoint.network_changed(now, NetworkChange::Unspecified);
}

#[test]
fn path_ids_change_in_both_directions_when_the_network_does() {
    for seed in seeds(5) {
        let (receiver, got) = Receiver::new();
        let mut pair = Pair::with(seed, bad_line(3), config(), config(), Sender::new(1, 1 << 30), receiver);
        let seen = record(&mut pair.world);
        pair.connect();
        pair.world.run_for(ms(500));
        let ends = [pair.client_addr, pair.server_addr];
        let before = ends.map(|end| ids(&seen, 0, end));
        assert_eq!(before.clone().map(|ids| ids.len()), [1, 1], "one each until there is a reason");
        for change in 1..=6 {
            report(&mut pair);
            pair.world.run_for(ms(300));
            let (settled, arrived) = (seen.borrow().len(), got.borrow().total());
            pair.world.run_for(ms(500));
            assert!(got.borrow().total() > arrived, "the transfer goes on");
            let all = ends.map(|end| ids(&seen, 0, end).len());
            assert_eq!(all, [1 + change; 2], "each end has answered change {change} once");
            let now = ends.map(|end| ids(&seen, settled, end));
            assert_eq!(now.clone().map(|ids| ids.len()), [1, 1]);
            assert!(now.iter().zip(&before).all(|(now, before)| now.is_disjoint(before)));
        }
    }
}

#[test]
fn path_ids_have_no_bytes_in_common() {
    let (receiver, _) = Receiver::new();
    let mut pair = Pair::with(1, line(), config(), config(), Sender::new(1, 1 << 30), receiver);
    let seen = record(&mut pair.world);
    pair.connect();
    for _ in 0..20 {
        pair.world.run_for(ms(400));
        report(&mut pair);
    }
    let all: Vec<_> = ids(&seen, 0, pair.client_addr).into_iter().collect();
    assert!(all.len() > 15, "{} ids", all.len());
    for (at, one) in all.iter().enumerate() {
        for other in &all[..at] {
            let same = one.iter().zip(other).filter(|(one, other)| one == other).count();
            assert!(same <= 2, "{one:02x?} and {other:02x?}");
        }
    }
}

#[test]
fn path_ids_are_not_used_up_by_a_thousand_reports() {
    let (receiver, got) = Receiver::new();
    let mut pair = Pair::with(1, line(), config(), config(), Sender::new(1, 1 << 30), receiver);
    let seen = record(&mut pair.world);
    let (client, server) = pair.connect();
    pair.world.run_for(ms(2000));
    let used = |pair: &mut Pair| {
        let client = pair.on_client(client, |connection| connection.stats().memory_used);
        client + pair.on_server(server, |connection| connection.stats().memory_used)
    };
    let before = used(&mut pair);
    for _ in 0..1000 {
        report(&mut pair);
        pair.world.run_for(ms(3));
    }
    let arrived = got.borrow().total();
    pair.world.run_for(ms(2000));
    assert!(got.borrow().total() > arrived + (1 << 20), "the transfer goes on");
    assert!(ids(&seen, 0, pair.client_addr).len() < 200);
    let after = used(&mut pair);
    assert!(after < before + before / 4, "{before} bytes became {after}");
}

#[test]
fn path_ids_ride_along_and_cost_a_short_exchange_nothing() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let seen = record(&mut pair.world);
    let (client, _) = pair.connect();
    pair.on_client(client, |connection| {
        let stream = connection.open_uni().unwrap();
        connection.write(stream, b"a word").unwrap();
        connection.finish(stream).unwrap();
    });
    pair.world.run_for(ms(900));
    let before = seen.borrow().len();
    pair.world.run_for(ms(10_000));
    let later = seen.borrow()[before..].iter().map(|seen| seen.from).collect::<Vec<_>>();
    // The answerer had nothing to send that it could have put them into.
    assert_eq!(
        later,
        [pair.server_addr, pair.client_addr],
        "its own, after a second, and the acknowledgement"
    );
}

#[test]
fn path_ids_that_were_retired_are_read_for_three_probe_timeouts() {
    let (receiver, _) = Receiver::new();
    let mut pair = Pair::with(1, line(), config(), config(), Sender::new(1, 1 << 30), receiver);
    let (client, _) = pair.connect();
    pair.world.run_for(ms(500));
    let mut packets = [(); 2].map(|()| Vec::new());
    for packet in &mut packets {
        assert!(pair.on_client(client, |connection| fuzzing::seal(connection, &[1], packet)));
    }
    report(&mut pair);
    pair.world.run_for(ms(40));
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    assert_eq!(hand_in(&mut pair.world, node, to, from, &packets[0]), Disposition::Accepted);
    pair.world.run_for(ms(1000));
    let late = hand_in(&mut pair.world, node, to, from, &packets[1]);
    assert_eq!(late, Disposition::Dropped(dunlin_core::DropReason::UnknownConnection));
}

/// What the answerer says to a packet with these frames from a dialler with the right keys.
fn verdict(frames: &[u8]) -> Option<CloseReason> {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let (client, server): (ConnectionHandle, _) = pair.connect();
    pair.world.run_for(ms(2000));
    let mut packet = Vec::new();
    assert!(pair.on_client(client, |connection| fuzzing::seal(connection, frames, &mut packet)));
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    hand_in(&mut pair.world, node, to, from, &packet);
    pair.world.run_for(ms(100));
    pair.server().closed(server).map(|(_, reason)| reason.clone())
}

fn new_id(sequence: u8, byte: u8) -> Vec<u8> {
    [&[NEW_CONNECTION_ID, sequence][..], &[byte; 8], &[0; 16]].concat()
}

#[test]
fn path_ids_are_given_and_retired_by_the_rules() {
    let wrong = Some(CloseReason::Violation(TransportError::Protocol));
    // The dialler's engine has issued 1 and 2.
    assert_eq!(verdict(&new_id(3, 3)), None);
    assert_eq!(verdict(&new_id(2, 3)), wrong, "a known number with another id");
    let same = [new_id(3, 3), new_id(4, 3)].concat();
    assert_eq!(verdict(&same), wrong, "a known id with another number");
    assert_eq!(verdict(&[RETIRE_CONNECTION_ID, 1]), None);
    assert_eq!(verdict(&[RETIRE_CONNECTION_ID, 0]), wrong, "the one in use");
    assert_eq!(verdict(&[RETIRE_CONNECTION_ID, 3]), wrong, "never issued");
}

#[test]
fn path_frames_that_were_not_agreed_on_are_a_violation() {
    for ty in OF_SEVERAL_PATHS {
        let wrong = Some(CloseReason::Violation(TransportError::Protocol));
        assert_eq!(verdict(&[ty, 0, 0, 0]), wrong, "{ty:#x}");
        let malformed = Some(CloseReason::Violation(TransportError::FrameEncoding));
        assert_eq!(verdict(&[ty, 0x40, 64, 0, 0]), malformed, "{ty:#x} of path 64");
    }
}

//! QOTP peers with the right keys and no manners: whatever they say, they harm themselves at most.

use dunlin_core::{ConnectionHandle, Direction, Disposition, DropReason, Duration, Event, StreamId};
use dunlin_sim::{AcceptAll, Pair};

use super::kit::{connected, connected_with, pair, strike, write_all};
use super::puppet::{Initiator, ack, last, part, payload};
use crate::common::{hand_in, inject, ms, patterned, quick, read_all, record};

const WITHHELD: Disposition = Disposition::Dropped(DropReason::OverBudget);
const MALFORMED: Disposition = Disposition::Dropped(DropReason::Malformed);

/// The connection still carries data both ways.
fn still_works(pair: &mut Pair, client: ConnectionHandle, server: ConnectionHandle) {
    let number = 1_000_000;
    let id = pair.on_client(client, |connection| {
        let id = connection.open_id(number).unwrap();
        write_all(connection, id, &patterned(id, 20_000));
        id
    });
    pair.world.run_for(Duration::from_secs(4));
    pair.on_server(server, |connection| {
        assert_eq!(read_all(connection, id), (patterned(id, 20_000), true));
        write_all(connection, id, &patterned(id, 20_000));
    });
    pair.world.run_for(Duration::from_secs(4));
    pair.on_client(client, |connection| assert_eq!(read_all(connection, id), (patterned(id, 20_000), true)));
}

#[test]
fn payloads_that_are_none_are_counted_and_change_nothing_in_qotp() {
    let (mut pair, client, server) = connected(false);
    let wrong_version = |mut payload: Vec<u8>, version: u8| {
        payload[0] |= version;
        payload
    };
    let mut cases = vec![
        // An acknowledgement cut short, with both lengths of offsets.
        vec![0; 8],
        vec![0; 10],
        vec![0x80; 13],
        // 18 bytes and more have a stream part, which long offsets leave no room for.
        [&[0x80][..], &[0; 17]].concat(),
        [&[0x80][..], &[0; 22]].concat(),
        [&[0xa0][..], &[0; 7]].concat(),
        [&[0xe0][..], &[0; 9]].concat(),
    ];
    cases.extend((1..32).map(|version| wrong_version(part(0, 0, b"x"), version)));
    for case in &cases {
        assert_eq!(strike(&mut pair, client, case), MALFORMED, "{case:x?}");
    }
    pair.world.run_for(ms(100));
    assert_eq!(pair.server().count(|event| matches!(event, Event::StreamOpened(_))), 0);
    still_works(&mut pair, client, server);
    pair.finish();
}

#[test]
fn odd_acknowledgements_are_taken_for_their_window_and_nothing_else_in_qotp() {
    let (mut pair, client, server) = connected(false);
    let id = pair.on_server(server, |connection| {
        let id = connection.open_bi().unwrap();
        assert_eq!(connection.write(id, &patterned(id, 5000)), Ok(5000));
        id
    });
    let number = id.qotp_number().unwrap();
    // Before the packets got out, and so for what was never sent; other offsets, other lengths, other streams.
    for (stream, offset, len) in [
        (number, 0, 1361),
        (number, 0, 5000),
        (number, 1, 1360),
        (number, 0, 0),
        (number, 1 << 40, 1),
        (number, (1 << 48) - 1, u16::MAX),
        (0, 0, 1361),
        (77, 0, 1361),
        (u32::MAX, 0, 0),
        (u32::MAX, 0, u16::MAX),
    ] {
        assert_eq!(strike(&mut pair, client, &ack(stream, offset, len)), Disposition::Accepted);
    }
    // An acknowledgement that closes, with nothing to close: 11 to 17 bytes.
    for len in [11, 17] {
        let mut bytes = vec![0x40; 1];
        bytes.resize(len, 0);
        assert_eq!(strike(&mut pair, client, &bytes), Disposition::Accepted);
    }
    pair.world.run_for(Duration::from_secs(1));
    pair.on_client(client, |connection| assert_eq!(read_all(connection, id), (patterned(id, 5000), false)));
    assert_eq!(pair.on_server(server, |connection| connection.path().in_flight), 0);
    still_works(&mut pair, client, server);
    pair.finish();
}

#[test]
fn a_qotp_window_of_nothing_holds_new_data_until_it_opens() {
    let (mut pair, client, server) = connected(false);
    pair.world.run_for(Duration::from_secs(8));
    let closed = payload(Some((9, 0, 1, 0)), None, false);
    assert_eq!(strike(&mut pair, client, &closed), Disposition::Accepted);
    let id = pair.on_server(server, |connection| {
        let id = connection.open_bi().unwrap();
        assert_eq!(connection.write(id, &patterned(id, 50_000)), Ok(50_000));
        id
    });
    pair.world.run_for(ms(15));
    // Not even the first packet: a PING, or the news of a stream, is no data.
    assert_eq!(pair.on_client(client, |connection| read_all(connection, id).0.len()), 0);
    // The real client's acknowledgements open it again.
    pair.world.run_for(Duration::from_secs(2));
    pair.on_client(client, |connection| assert_eq!(read_all(connection, id).0.len(), 50_000));
    still_works(&mut pair, client, server);
    pair.finish();
}

/// A puppet that keeps the window shut for ever: the victim asks now and then, and sends no data.
#[test]
fn a_qotp_peer_that_never_opens_its_window_gets_no_data() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let seen = record(&mut pair.world);
    let from = "192.0.2.1:4000".parse().unwrap();
    let evil = Initiator::new(5);
    inject(&mut pair, from, &evil.init());
    pair.world.run_for(ms(10));
    let reply = seen.borrow()[0].bytes.clone();
    let (key, _) = evil.read_reply(&reply).unwrap();
    let server = pair.server().events[0].1;
    let mut number = 0;
    let mut say = |pair: &mut Pair, payload: &[u8]| {
        number += 1;
        let (node, to) = (pair.server, pair.server_addr);
        hand_in(&mut pair.world, node, to, from, &evil.data(&key, number, payload))
    };
    say(&mut pair, &payload(Some((9, 0, 1, 0)), None, false));
    pair.on_server(server, |connection| {
        let id = connection.open_bi().unwrap();
        let _ = connection.write(id, &[1; 50_000]).unwrap();
    });
    let mut seen_so_far = 1;
    for _ in 0..300 {
        pair.world.run_for(ms(1000));
        let new: Vec<_> = seen.borrow()[seen_so_far..].to_vec();
        seen_so_far += new.len();
        assert!(new.len() <= 8, "{} packets in a second", new.len());
        for packet in new {
            assert!(packet.bytes.len() < 60, "a PING: {} bytes", packet.bytes.len());
            // Acknowledge it, and keep the window shut.
            say(&mut pair, &payload(Some((0, 0, 0, 0)), None, false));
            say(&mut pair, &payload(Some((1, 0, 0, 0)), None, false));
        }
    }
    assert!(pair.server().closed(server).is_none(), "the puppet is there");
    pair.world.run_for(Duration::from_secs(60));
    assert!(pair.server().closed(server).is_some());
    pair.finish();
}

#[test]
fn overlaps_and_contradictions_cannot_change_what_was_read_in_qotp() {
    let (mut pair, client, server) = connected(false);
    let id = StreamId::qotp(6);
    let whole = patterned(id, 3000);
    // Wrong bytes never replace the ones that came first; pieces of every shape fill the gaps.
    let wrong = vec![0xee; 3000];
    for (from, to) in [(100, 200), (50, 150), (0, 60), (150, 1400), (1000, 2300), (1300, 1500), (2200, 3000)]
    {
        let data = &whole[from..to];
        assert_eq!(strike(&mut pair, client, &part(6, from as u64, data)), Disposition::Accepted);
        assert_eq!(strike(&mut pair, client, &part(6, from as u64, &wrong[from..to])), Disposition::Accepted);
    }
    assert_eq!(strike(&mut pair, client, &last(6, 3000, b"")), Disposition::Accepted);
    // Beyond the end, and other ends.
    for payload in
        [part(6, 3000, b"x"), part(6, 2999, b"xyz"), last(6, 5000, b"x"), last(6, 10, b"x"), last(6, 0, b"")]
    {
        assert_eq!(strike(&mut pair, client, &payload), Disposition::Accepted);
    }
    pair.world.run_for(ms(10));
    pair.on_server(server, |connection| {
        assert_eq!(connection.accept(Direction::Bidirectional), Some(id));
        assert_eq!(connection.accept(Direction::Bidirectional), None);
        assert_eq!(read_all(connection, id), (whole, true));
        connection.finish(id).unwrap();
    });
    // What comes for a stream that is over is acknowledged again, and does not begin it anew.
    pair.world.run_for(ms(200));
    for payload in [part(6, 0, b"again"), last(6, 0, b""), part(6, 1 << 40, b"x")] {
        let before = pair.server().endpoint.stats().datagrams_sent;
        assert_eq!(strike(&mut pair, client, &payload), Disposition::Accepted);
        pair.world.run_for(ms(1));
        assert_eq!(pair.server().endpoint.stats().datagrams_sent, before + 1);
    }
    pair.on_server(server, |connection| assert_eq!(connection.accept(Direction::Bidirectional), None));
    still_works(&mut pair, client, server);
    pair.finish();
}

#[test]
fn offsets_at_the_end_of_what_qotp_can_count_are_harmless() {
    let (mut pair, client, server) = connected(false);
    let end = (1u64 << 48) - 1;
    for payload in [
        part(2, end, b""),
        part(2, end, b"x"),
        part(2, end - 1, b"x"),
        part(4, end - 1, &[1; 1000]),
        last(6, end, b""),
        last(8, end, b"xyz"),
        part(10, 1 << 47, b"x"),
        part(u32::MAX, end, &[0; 1361 - 3]),
    ] {
        let got = strike(&mut pair, client, &payload);
        assert!(got == Disposition::Accepted || got == WITHHELD, "{got:?}");
    }
    pair.world.run_for(Duration::from_secs(1));
    let memory = pair.on_server(server, |connection| connection.stats().memory_used);
    assert!(memory < 200_000, "{memory} bytes for far offsets");
    still_works(&mut pair, client, server);
    pair.finish();
}

#[test]
fn as_many_qotp_streams_as_allowed_and_no_more() {
    let (mut pair, client, server) = connected_with(false, |config| config.limits.streams_bidi = 5);
    for number in 0..5 {
        assert_eq!(strike(&mut pair, client, &part(number * 1000, 0, b"x")), Disposition::Accepted);
    }
    assert_eq!(strike(&mut pair, client, &part(99, 0, b"x")), WITHHELD);
    assert_eq!(strike(&mut pair, client, &last(98, 0, b"")), WITHHELD);
    // The ones that are there go on.
    assert_eq!(strike(&mut pair, client, &last(2000, 1, b"y")), Disposition::Accepted);
    pair.on_server(server, |connection| {
        let ids: Vec<_> = core::iter::from_fn(|| connection.accept(Direction::Bidirectional)).collect();
        assert_eq!(ids, [0, 1000, 2000, 3000, 4000].map(StreamId::qotp));
        assert_eq!(read_all(connection, StreamId::qotp(2000)), (b"xy".to_vec(), true));
        connection.finish(StreamId::qotp(2000)).unwrap();
    });
    pair.world.run_for(ms(300));
    assert_eq!(strike(&mut pair, client, &part(99, 0, b"x")), Disposition::Accepted, "there is room again");
    assert_eq!(strike(&mut pair, client, &part(98, 0, b"x")), WITHHELD);
    pair.finish();
}

/// A burst of packets between two turns to send: each gets its acknowledgement, up to what is remembered.
#[test]
fn a_burst_of_qotp_packets_is_acknowledged_as_far_as_acknowledgements_are_kept() {
    let (mut pair, client, _) = connected(false);
    pair.world.run_for(Duration::from_secs(8));
    let before = pair.server().endpoint.stats().datagrams_sent;
    let taken =
        (0..5000).filter(|n| strike(&mut pair, client, &part(2, *n, b"x")) == Disposition::Accepted).count();
    assert_eq!(taken, 4096);
    pair.world.run_for(ms(1));
    assert_eq!(pair.server().endpoint.stats().datagrams_sent - before, 4096);
    assert_eq!(strike(&mut pair, client, &part(2, 4096, b"x")), Disposition::Accepted);
    pair.finish();
}

#[test]
fn packets_of_qotp_with_any_byte_changed_do_not_open() {
    let (mut pair, client, server) = connected(false);
    let mut packet = Vec::new();
    let sealed =
        pair.on_client(client, |c| dunlin_core::fuzzing::seal(c, &part(2, 0, &[5; 100]), &mut packet));
    assert!(sealed);
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    for place in 0..packet.len() {
        let mut changed = packet.clone();
        changed[place] ^= 1 << (place % 8);
        let got = hand_in(&mut pair.world, node, to, from, &changed);
        assert!(matches!(got, Disposition::Dropped(_)), "byte {place}: {got:?}");
    }
    for len in 0..packet.len() {
        let got = hand_in(&mut pair.world, node, to, from, &packet[..len]);
        assert!(matches!(got, Disposition::Dropped(_)), "{len} bytes: {got:?}");
    }
    assert_eq!(pair.server().count(|event| matches!(event, Event::StreamOpened(_))), 0);
    let forged = pair.on_server(server, |connection| connection.stats().forged_packets);
    assert!(forged > 200);
    assert_eq!(hand_in(&mut pair.world, node, to, from, &packet), Disposition::Accepted);
    pair.finish();
}

//! Peers with the right keys and no manners: every broken rule has its error, and none costs more than its connection.

use core::ops::RangeInclusive;

use dunlin_core::{
    CloseReason, Config, ConnectionHandle, Direction, Disposition, DropReason, Duration, ReadError,
    TransportError, fuzzing,
};
use dunlin_sim::{AcceptAll, Pair, config};

use crate::common::{hand_in, ms, quick, read_all, record};
use crate::frames::{
    ack, close, datagram, max_data, max_stream_data, max_streams, path_challenge, ping, reset_stream,
    stop_sending, stream, varint,
};

/// The dialler's first unidirectional and bidirectional stream, and the answerer's.
pub(super) const UNI: u64 = 2;
const BI: u64 = 0;
const THEIR_UNI: u64 = 3;
const THEIR_BI: u64 = 1;
/// The window of a stream and of a connection at the beginning.
const WINDOW: u64 = 64 << 10;

/// A connected pair, of which the dialler has lost its manners. The answerer has opened a stream of each kind.
pub(super) fn connected(change: impl Fn(&mut Config)) -> (Pair, ConnectionHandle, ConnectionHandle) {
    let mut answerer = config();
    change(&mut answerer);
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    pair.on_server(server, |connection| {
        connection.open_uni().unwrap();
        connection.open_bi().unwrap();
    });
    pair.world.run_for(ms(500));
    (pair, client, server)
}

/// Lets a packet with these frames arrive at the answerer.
pub(super) fn strike(pair: &mut Pair, client: ConnectionHandle, frames: &[u8]) -> Disposition {
    let mut packet = Vec::new();
    assert!(pair.on_client(client, |connection| fuzzing::seal(connection, frames, &mut packet)));
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    hand_in(&mut pair.world, node, to, from, &packet)
}

/// What the answerer says to packets with these frames; the dialler must hear of it.
fn verdict(packets: &[Vec<u8>]) -> Option<TransportError> {
    let (mut pair, client, server) = connected(|config| config.datagrams.receive_buffer = 0);
    for frames in packets {
        strike(&mut pair, client, frames);
    }
    pair.world.run_for(ms(200));
    let verdict = match pair.server().closed(server) {
        None => None,
        Some((_, CloseReason::Violation(error))) => Some(*error),
        // The dialler's engine knows nothing of the streams that were opened in its name.
        Some((_, CloseReason::PeerTransport(TransportError::StreamState))) => None,
        Some((_, reason)) => panic!("{reason}"),
    };
    if let Some(error) = verdict {
        let heard = pair.client().closed(client).map(|(_, reason)| reason.clone());
        assert_eq!(heard, Some(CloseReason::PeerTransport(error)));
    }
    pair.finish();
    verdict
}

fn joined(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

#[test]
fn frames_that_are_none_are_encoding_errors() {
    let malformed = Some(TransportError::FrameEncoding);
    for frames in [
        // Types that QUIC has and this wire has not, or not yet, or nobody has.
        vec![0x02],
        vec![0x03],
        vec![0x06, 0, 0],
        vec![0x14, 0],
        vec![0x15, 0, 0],
        vec![0x16, 0],
        vec![0x1e],
        vec![0x2f],
        vec![0x7f, 0xff],
        vec![0xff; 8],
        // A type that is longer than it has to be.
        vec![0x40, 0x01],
        vec![0x80, 0, 0, 0x01],
        // Cut short.
        vec![0x04, 2],
        vec![0x05],
        vec![0x0e, 2, 0, 9, 1],
        vec![0x11, 2],
        vec![0x1a, 1, 2, 3],
        vec![0x1d, 0, 200, b'x'],
        vec![0x3e, 0, 1],
        vec![58, 5, 0],
        vec![0x40],
        // Out of range: a stream's end, a count of streams, ranges below zero.
        stream(UNI, (1 << 62) - 1, b"x", false),
        max_streams(true, (1 << 60) + 1),
        max_streams(false, (1 << 62) - 1),
        ack(0, 0, 1, &[]),
        ack(0, 1, 0, &[(5, 0)]),
    ] {
        assert_eq!(verdict(core::slice::from_ref(&frames)), malformed, "{frames:x?}");
        // Behind a good frame it is none the better.
        assert_eq!(verdict(&[joined(&[ping(), frames.clone()])]), malformed, "{frames:x?}");
    }
}

#[test]
fn frames_of_reserved_types_and_padding_are_skipped() {
    let mut far = Vec::new();
    varint(&mut far, 31 * 1_000_000 + 27);
    far.extend_from_slice(&[2, 0xff, 0xff]);
    let padded = joined(&[vec![0; 100], stream(UNI, 0, b"x", true), vec![0; 900]]);
    for frames in
        [vec![58, 3, 1, 2, 3], vec![58, 0], vec![0x40, 0x59, 1, 0], far, vec![0], vec![0; 1000], padded]
    {
        assert_eq!(verdict(core::slice::from_ref(&frames)), None, "{frames:x?}");
    }
}

#[test]
fn every_rule_about_streams_has_its_error() {
    use TransportError::{FinalSize, FlowControl, StreamLimit, StreamState};
    let uni = |index: u64| index * 4 + UNI;
    let bi = |index: u64| index * 4 + BI;
    let cases: Vec<(Option<TransportError>, Vec<Vec<u8>>)> = vec![
        // Limits on streams: a hundred of each kind.
        (None, vec![stream(uni(99), 0, b"x", false)]),
        (None, vec![stop_sending(bi(99), 1)]),
        (Some(StreamLimit), vec![stream(uni(100), 0, b"x", false)]),
        (Some(StreamLimit), vec![reset_stream(bi(100), 1, 0)]),
        (Some(StreamLimit), vec![max_stream_data(bi(1 << 55), 1)]),
        (Some(StreamLimit), vec![stop_sending((1 << 62) - 4, 1)]),
        // Credit: of the stream, and of the connection.
        (None, vec![stream(UNI, WINDOW - 1, b"x", false)]),
        (Some(FlowControl), vec![stream(UNI, WINDOW, b"x", false)]),
        (Some(FlowControl), vec![stream(UNI, WINDOW + 1, b"", true)]),
        (Some(FlowControl), vec![reset_stream(UNI, 1, WINDOW + 1)]),
        (None, vec![stream(UNI, 30_000, b"x", false), stream(BI, 30_000, b"x", false)]),
        (Some(FlowControl), vec![stream(UNI, 40_000, b"x", false), stream(BI, 40_000, b"x", false)]),
        (Some(FlowControl), vec![stream(UNI, 40_000, b"x", false), reset_stream(BI, 1, 40_000)]),
        // The size of a stream never changes.
        (None, vec![stream(UNI, 0, b"abc", true), stream(UNI, 0, b"abc", true), stream(UNI, 1, b"b", false)]),
        (Some(FinalSize), vec![stream(UNI, 0, b"abc", true), stream(UNI, 3, b"d", false)]),
        (Some(FinalSize), vec![stream(UNI, 0, b"abc", true), stream(UNI, 0, b"ab", true)]),
        (Some(FinalSize), vec![stream(UNI, 0, b"abc", false), stream(UNI, 0, b"ab", true)]),
        (Some(FinalSize), vec![stream(UNI, 0, b"abc", false), reset_stream(UNI, 1, 2)]),
        (Some(FinalSize), vec![stream(UNI, 0, b"abc", true), reset_stream(UNI, 1, 4)]),
        (Some(FinalSize), vec![reset_stream(UNI, 1, 5), reset_stream(UNI, 1, 6)]),
        (Some(FinalSize), vec![reset_stream(UNI, 1, 5), stream(UNI, 5, b"x", false)]),
        (None, vec![reset_stream(UNI, 1, 5), stream(UNI, 0, b"abcde", true), reset_stream(UNI, 2, 5)]),
        // Halves that are not there.
        (Some(StreamState), vec![stream(THEIR_UNI, 0, b"x", false)]),
        (Some(StreamState), vec![reset_stream(THEIR_UNI, 1, 0)]),
        (None, vec![stop_sending(THEIR_UNI, 1), max_stream_data(THEIR_UNI, 1 << 40)]),
        (Some(StreamState), vec![stop_sending(UNI, 1)]),
        (Some(StreamState), vec![max_stream_data(UNI, 1)]),
        // Streams of theirs that they have not opened.
        (None, vec![stream(THEIR_BI, 0, b"x", true), stop_sending(THEIR_BI, 1)]),
        (Some(StreamState), vec![stream(THEIR_BI + 4, 0, b"x", false)]),
        (Some(StreamState), vec![stop_sending(THEIR_UNI + 4, 1)]),
        (Some(StreamState), vec![max_stream_data(THEIR_BI + 4, 1)]),
        (Some(StreamState), vec![reset_stream(THEIR_BI + 4, 1, 0)]),
        // Limits that go down are old ones that come late.
        (None, vec![max_data(1), max_streams(true, 0), max_streams(false, 1 << 60), max_data((1 << 62) - 1)]),
    ];
    for (expected, frames) in cases {
        assert_eq!(verdict(&frames), expected, "{frames:x?}");
        assert_eq!(verdict(&[joined(&frames)]), expected, "in one packet: {frames:x?}");
    }
}

#[test]
fn frames_out_of_place_are_protocol_violations() {
    let violation = Some(TransportError::Protocol);
    for (expected, frames) in [
        // Acknowledgements of what was never sent, or on a path that is not there.
        (violation, ack(0, 1 << 40, 0, &[])),
        (violation, ack(0, 100, 0, &[])),
        (violation, ack(1, 0, 0, &[])),
        (violation, ack(63, 0, 0, &[])),
        (Some(TransportError::FrameEncoding), ack(64, 0, 0, &[])),
        (Some(TransportError::FrameEncoding), ack(1 << 40, 0, 0, &[])),
        (None, ack(0, 0, 0, &[])),
        (None, ack(0, 1, 1, &[])),
        // HELLO belongs into the handshake.
        (violation, vec![0x20, 0]),
        // This one takes no datagrams.
        (violation, datagram(b"x")),
        (violation, vec![0x30]),
        // Nobody asked.
        (None, crate::frames::path_response([7; 8])),
    ] {
        assert_eq!(verdict(core::slice::from_ref(&frames)), expected, "{frames:x?}");
    }
}

#[test]
fn a_violation_ends_its_connection_and_no_other() {
    let (mut pair, client, server) = connected(|_| {});
    let other = pair.dial();
    pair.world.run_for(ms(200));
    assert_eq!(strike(&mut pair, client, &[0x02]), Disposition::Accepted);
    assert_eq!(strike(&mut pair, client, &ping()), Disposition::Dropped(DropReason::Closed));
    pair.world.run_for(ms(200));
    let error = TransportError::FrameEncoding;
    assert_eq!(pair.server().closed(server).unwrap().1, &CloseReason::Violation(error));
    assert_eq!(pair.client().closed(client).unwrap().1, &CloseReason::PeerTransport(error));
    assert_eq!(pair.client().closed(other), None);
    pair.on_client(other, |connection| connection.open_bi().map(drop)).unwrap();
    pair.finish();
}

#[test]
fn a_close_is_the_last_frame_that_counts() {
    for (application, code, reason) in [
        (true, 7, CloseReason::Peer { code: 7u32.into(), reason: vec![b'x'; 512].into() }),
        (false, 0x0a, CloseReason::PeerTransport(TransportError::Protocol)),
    ] {
        let (mut pair, client, server) = connected(|_| {});
        strike(&mut pair, client, &joined(&[close(application, code, &[b'x'; 3000]), vec![0x02]]));
        pair.world.run_for(ms(100));
        assert_eq!(pair.server().closed(server).unwrap().1, &reason);
        pair.finish();
    }
}

#[test]
fn frames_of_streams_that_are_over_are_ignored() {
    let (mut pair, client, server) = connected(|_| {});
    strike(&mut pair, client, &stream(UNI, 0, b"abc", true));
    let id = pair.on_server(server, |connection| connection.accept(Direction::Unidirectional).unwrap());
    pair.on_server(server, |connection| assert_eq!(read_all(connection, id), (b"abc".to_vec(), true)));
    for frames in [stream(UNI, 0, b"abc", true), reset_stream(UNI, 9, 3), stream(UNI, 0, b"xyz", false)] {
        assert_eq!(strike(&mut pair, client, &frames), Disposition::Accepted);
    }
    pair.world.run_for(ms(100));
    assert_eq!(pair.server().closed(server), None);
    pair.on_server(server, |connection| {
        assert_eq!(connection.read(id, &mut [0; 9]), Err(ReadError::Closed));
        assert_eq!(connection.accept(Direction::Unidirectional), None);
    });
    pair.finish();
}

/// Counts what the answerer sends while it is struck `count` times, and by how much its memory grows.
fn cost(count: usize, mut frames: impl FnMut(usize) -> Vec<u8>) -> (usize, u64) {
    let (mut pair, client, server) = connected(|_| {});
    let seen = record(&mut pair.world);
    let before = pair.on_server(server, |connection| connection.stats().memory_used);
    for n in 0..count {
        strike(&mut pair, client, &frames(n));
        if n % 10 == 9 {
            pair.world.run_for(Duration::from_micros(100));
        }
    }
    pair.world.run_for(ms(100));
    assert_eq!(pair.server().closed(server), None);
    let after = pair.on_server(server, |connection| connection.stats().memory_used);
    let sent = seen.borrow().iter().filter(|seen| seen.from == pair.server_addr).count();
    pair.finish();
    (sent, after.saturating_sub(before))
}

#[test]
fn floods_are_answered_sparingly_and_held_in_little() {
    let check = |what: &str, (sent, grown): (usize, u64), packets: RangeInclusive<usize>, bytes: u64| {
        assert!(packets.contains(&sent), "{what}: {sent} packets in answer");
        assert!(grown <= bytes, "{what}: {grown} bytes");
    };
    // 1,000 packets each, ten at a time.
    check("pings", cost(1000, |_| ping().repeat(100)), 1..=110, 16_384);
    check("challenges", cost(1000, |n| path_challenge([n as u8; 8]).repeat(100)), 1..=110, 16_384);
    check("padding", cost(1000, |_| vec![0; 1000]), 0..=1, 16_384);
    check(
        "limits",
        cost(1000, |n| joined(&[max_data(n as u64 * 1000), max_streams(true, n as u64)])),
        1..=110,
        16_384,
    );
    check("one stream's resets", cost(1000, |_| reset_stream(UNI, 1, 5).repeat(50)), 1..=110, 16_384);
    check("one stream's stops", cost(1000, |_| stop_sending(THEIR_BI, 1).repeat(50)), 1..=130, 16_384);
    check("acknowledgements", cost(1000, |_| ack(0, 1, 1, &[]).repeat(50)), 0..=1, 16_384);
    check("empty frames", cost(1000, |_| stream(UNI, 0, b"", false).repeat(50)), 1..=110, 16_384);
    // All streams at once: a few hundred bytes each.
    check(
        "streams",
        cost(1, |_| joined(&[stream(99 * 4 + UNI, 0, b"", false), stream(99 * 4, 0, b"", false)])),
        1..=2,
        200 * 600,
    );
}

#[test]
fn data_with_a_gap_after_every_byte_stays_within_limits_and_can_be_mended() {
    let (mut pair, client, server) = connected(|config| config.limits.stream_gaps = 100);
    let mut taken = 0;
    for n in 0..1000u64 {
        match strike(&mut pair, client, &stream(UNI, n * 2 + 1, b"x", false)) {
            Disposition::Accepted => taken += 1,
            disposition => assert_eq!(disposition, Disposition::Dropped(DropReason::OverBudget)),
        }
    }
    assert_eq!(taken, 100);
    assert_eq!(pair.server().closed(server), None);
    let memory = pair.on_server(server, |connection| connection.stats().memory_used);
    assert!(memory < WINDOW + 32_768, "{memory}");
    assert_eq!(strike(&mut pair, client, &stream(UNI, 0, &[b'x'; 2001], true)), Disposition::Accepted);
    pair.on_server(server, |connection| {
        let id = connection.accept(Direction::Unidirectional).unwrap();
        assert_eq!(read_all(connection, id), (vec![b'x'; 2001], true));
    });
    pair.finish();
}

#[test]
fn an_acknowledged_lie_hurts_only_the_liar() {
    // The dialler acknowledges what was lost: the data never arrives, and nothing else happens.
    let (mut pair, client, server) = connected(|_| {});
    let lost = crate::common::drop_while(&mut pair.world, |_| true);
    pair.on_server(server, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &[1; 5000]).unwrap();
        connection.finish(id).unwrap();
    });
    pair.world.run_for(ms(5));
    let sent = pair.on_server(server, |connection| connection.stats().packets_sent);
    assert_eq!(strike(&mut pair, client, &ack(0, sent - 1, sent - 1, &[])), Disposition::Accepted);
    lost.set(false);
    pair.world.run_for(Duration::from_secs(5));
    assert_eq!(pair.server().closed(server), None);
    pair.finish();
}

//! Things that happen twice, and end what has ended.

use dunlin_core::{CloseReason, Disposition, DropReason, Duration};
use dunlin_sim::Evil;

use super::speaking;
use crate::common::ms;
use crate::frames::{
    ack, close, max_data, max_streams, new_connection_id, path_challenge, path_response, path_status, ping,
    reset_stream, retire_connection_id, stop_sending, stream,
};

/// The dialler's first unidirectional stream, the answerer's, and the dialler's first bidirectional one.
const UNI: u64 = 2;
const THEIR_UNI: u64 = 3;
const BI: u64 = 0;

/// A liar whose victim has opened a stream and written on it.
fn evil() -> Evil {
    speaking(3_000, ms(50))
}

/// What changes state, said three times, each in a packet of its own: the second and third time change nothing more.
#[test]
fn ac_04_what_is_said_again_changes_nothing() {
    for (what, frames) in [
        ("data", stream(UNI, 0, b"hello", false)),
        ("the end of a stream", stream(UNI, 0, b"hello", true)),
        ("a reset", reset_stream(BI, 7, 9)),
        ("a reset of a stream with data", [stream(BI, 0, b"abc", false), reset_stream(BI, 7, 9)].concat()),
        ("a stop", stop_sending(THEIR_UNI, 7)),
        ("an acknowledgement", ack(0, 1, 1, &[])),
        ("an id", new_connection_id(9, [9; 8], [9; 16])),
        ("an id given back", retire_connection_id(2)),
        ("a path's status", path_status(true, 0, 0, 5)),
        ("credit", [max_data(1 << 20), max_streams(true, 9)].concat()),
        ("a response to no challenge", path_response([1; 8])),
    ] {
        let mut evil = evil();
        let first = evil.strike(&frames);
        evil.run(ms(500));
        let (open, held) = (evil.end(), evil.stats().memory_used);
        for _ in 0..2 {
            assert_eq!(evil.strike(&frames), first, "{what}");
            evil.run(ms(500));
        }
        assert_eq!(evil.end(), open, "{what}");
        // Records of packets, a few hundred bytes for the answers.
        let grown = evil.stats().memory_used.saturating_sub(held);
        assert!(grown <= 2_048, "{what}: {grown} bytes");
        evil.finish();
    }
}

#[test]
fn ac_04_a_connection_ends_once() {
    for (frames, reason) in [
        (close(true, 7, b""), CloseReason::Peer { code: 7_u32.into(), reason: (&b""[..]).into() }),
        (vec![0x02], CloseReason::Violation(dunlin_core::TransportError::FrameEncoding)),
    ] {
        let mut evil = evil();
        assert_eq!(evil.strike(&frames), Disposition::Accepted);
        for again in [&frames, &ping(), &close(false, 3, b"x"), &vec![0x02]] {
            assert_eq!(evil.strike(again), Disposition::Dropped(DropReason::Closed));
        }
        evil.as_victim(|connection| connection.close(9_u32.into(), b"late"));
        evil.run(Duration::from_secs(1));
        assert_eq!(evil.end(), Some(reason));
        let ends = evil.pair.server().events_of(evil.victim);
        let ends = ends.filter(|event| matches!(event, dunlin_core::Event::Closed(_))).count();
        assert_eq!(ends, 1);
        evil.finish();
    }
}

/// A path challenge is answered as often as it is asked, and no more.
#[test]
fn ac_04_a_challenge_asked_again_is_answered_again_and_no_more() {
    let mut evil = evil();
    evil.overhear();
    for _ in 0..20 {
        evil.strike(&path_challenge([5; 8]));
        evil.run(ms(1));
    }
    let answered = evil.hear();
    let answered = answered.iter().filter(|opened| opened.frames.contains(&0x1b)).count();
    assert!(answered <= 20, "{answered} answers to 20 challenges");
    evil.finish();
}

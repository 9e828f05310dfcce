//! Round trips and refusals of the wire.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;
use smallvec::smallvec;

use super::codec::*;
use super::frame::*;
use super::header::*;
use super::params::*;
use crate::cids::reset::ResetToken;
use crate::id::*;

proptest! {
    #[test]
    fn varints_round_trip_in_the_announced_length(value in 0..=VARINT_MAX, shift in 0u32..62) {
        let value = value >> shift;
        let mut out = Vec::new();
        put_varint(&mut out, value);
        prop_assert_eq!(out.len(), varint_len(value));
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.varint(), Ok(value));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn any_bytes_decode_to_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut left = bytes.len() + 1;
        for frame in Frames::new(&bytes) {
            left = left.checked_sub(1).expect("more frames than bytes");
            if let Ok(Frame::Ack(ack)) = frame {
                let mut below = u64::MAX;
                for range in ack.ranges() {
                    prop_assert!(range.start() <= range.end() && *range.end() < below);
                    below = *range.start();
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_a_hello_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(hello) = Hello::decode(&bytes) {
            prop_assert!(hello.params.max_udp_payload >= 1200);
        }
    }

    #[test]
    fn path_frames_round_trip_whole_or_not_at_all(
        path in 0..=63_u8, generation: u32, number in 0..=VARINT_MAX, shift in 0..62_u32, backup: bool,
    ) {
        let (path, generation, number) = (PathId(path), generation >> shift.min(31), number >> shift);
        let status = if backup { PathStatus::Backup } else { PathStatus::Available };
        let change = StatusChange { path, generation, sequence: number, status };
        let abandon = Abandon { path, generation, code: ErrorCode(number) };
        for (control, frame) in [
            (Control::PathStatus(change), Frame::PathStatus(change)),
            (Control::PathAbandon(abandon), Frame::PathAbandon(abandon)),
        ] {
            let mut out = Vec::new();
            put_control(&mut out, &control);
            prop_assert!(out.len() <= MAX_CONTROL);
            prop_assert_eq!(Frames::new(&out).collect::<Vec<_>>(), vec![Ok(frame)]);
            for len in 1..out.len() {
                let cut: Vec<_> = Frames::new(&out[..len]).collect();
                prop_assert_eq!(cut, vec![Err(FrameError::Malformed)], "{} of {:02x?}", len, out);
            }
        }
    }

    #[test]
    fn acks_round_trip(
        gaps in prop::collection::vec((0u64..50, 2u64..90), 1..40), base in 0u64..1_000_000, room in 20usize..400,
        ecn in prop::option::of((0u64..1 << 40, 0u64..2, 0u64..100)),
    ) {
        let mut low = base;
        let mut ranges = Vec::new();
        for (length, gap) in gaps {
            ranges.push(low..=low + length);
            low += length + gap;
        }
        ranges.reverse();
        let mut out = Vec::new();
        let ecn = ecn.map(|(ect0, ect1, ce)| EcnCounts { ect0, ect1, ce });
        put_ack(&mut out, PathId(5), Duration::from_micros(777), ranges.iter().cloned(), ecn, room);
        prop_assert!(out.len() <= room.max(20));
        let frames: Vec<_> = Frames::new(&out).collect();
        prop_assert_eq!(frames.len(), 1);
        let Ok(Frame::Ack(ack)) = &frames[0] else { panic!("{frames:?}") };
        prop_assert_eq!(ack.path, PathId(5));
        prop_assert_eq!(ack.delay, Duration::from_micros(777));
        prop_assert!(ack.ecn == ecn || (ack.ecn.is_none() && room < 40));
        let got: Vec<_> = ack.ranges().collect();
        prop_assert!(!got.is_empty());
        prop_assert_eq!(&got[..], &ranges[..got.len()]);
        if room > 362 {
            prop_assert_eq!(got.len(), ranges.len());
        }
    }
}

const NEW_ID: NewConnectionId = NewConnectionId {
    sequence: u32::MAX,
    id: ConnectionId::from_bytes([3; 8]),
    reset_token: ResetToken::new([4; 16]),
};

/// What is said of paths, with the largest numbers.
const LAST_STATUS: StatusChange = StatusChange {
    path: PathId::MAX,
    generation: u32::MAX,
    sequence: VARINT_MAX,
    status: PathStatus::Backup,
};
const LAST_ABANDON: Abandon = Abandon { path: PathId::MAX, generation: u32::MAX, code: ErrorCode::MAX };

#[test]
fn every_frame_round_trips() {
    let id = StreamId(0x1234);
    let code = ErrorCode(77);
    let controls = [
        (Control::Ping, Frame::Ping),
        (
            Control::ResetStream { id, code, final_size: 1 << 40 },
            Frame::ResetStream { id, code, final_size: 1 << 40 },
        ),
        (Control::StopSending { id, code }, Frame::StopSending { id, code }),
        (Control::MaxData(9), Frame::MaxData(9)),
        (Control::MaxStreamData { id, max: 70_000 }, Frame::MaxStreamData { id, max: 70_000 }),
        (
            Control::MaxStreams { direction: Direction::Bidirectional, max: 3 },
            Frame::MaxStreams { direction: Direction::Bidirectional, max: 3 },
        ),
        (
            Control::MaxStreams { direction: Direction::Unidirectional, max: 4 },
            Frame::MaxStreams { direction: Direction::Unidirectional, max: 4 },
        ),
        (Control::NewConnectionId(NEW_ID), Frame::NewConnectionId(NEW_ID)),
        (Control::RetireConnectionId(u32::MAX), Frame::RetireConnectionId(u32::MAX)),
        (Control::PathChallenge([1; 8]), Frame::PathChallenge([1; 8])),
        (Control::PathResponse([2; 8]), Frame::PathResponse([2; 8])),
        (Control::PathStatus(LAST_STATUS), Frame::PathStatus(LAST_STATUS)),
        (Control::PathAbandon(LAST_ABANDON), Frame::PathAbandon(LAST_ABANDON)),
    ];
    for (control, expected) in controls {
        let mut out = Vec::new();
        put_control(&mut out, &control);
        assert!(out.len() <= MAX_CONTROL);
        let frames: Vec<_> = Frames::new(&out).collect();
        assert_eq!(frames, vec![Ok(expected)]);
    }

    let mut out = Vec::new();
    put_hello(&mut out, b"values");
    put_close(&mut out, &Close { by: CloseKind::Application, code, reason: b"bye" }, 100);
    put_close(&mut out, &Close { by: CloseKind::Transport, code, reason: &[7; 900] }, 2000);
    put_datagram_header(&mut out, 5);
    out.extend_from_slice(b"hello");
    put_reserved(&mut out, 0xdead_beef);
    out.extend_from_slice(&[0; 9]);
    put_stream_header(&mut out, id, 0, Length::Explicit(3), false);
    out.extend_from_slice(b"abc");
    put_stream_header(&mut out, id, 70, Length::ToTheEnd, true);
    out.extend_from_slice(b"the rest");
    let frames: Vec<_> = Frames::new(&out).map(Result::unwrap).collect();
    assert_eq!(
        frames,
        vec![
            Frame::Hello(b"values"),
            Frame::Close(Close { by: CloseKind::Application, code, reason: b"bye" }),
            Frame::Close(Close { by: CloseKind::Transport, code, reason: &[7; MAX_REASON] }),
            Frame::Datagram(b"hello"),
            Frame::Reserved,
            Frame::Padding,
            Frame::Stream { id, offset: 0, data: b"abc", fin: false },
            Frame::Stream { id, offset: 70, data: b"the rest", fin: true },
        ]
    );
}

#[test]
fn malformed_frames_are_refused_and_end_the_list() {
    let cases: [(&[u8], FrameError); 12] = [
        (&[0x40, 0x01], FrameError::Malformed), // PING in two bytes
        (&[0x06], FrameError::Unknown),         // CRYPTO does not exist here
        (&[0x3a], FrameError::Malformed),       // reserved type without its length
        (&[0x3e, 0x40, 0x40, 5, 0, 0, 0], FrameError::Malformed), // path 64
        (&[0x21, 0x40, 0x40, 0, 0], FrameError::Malformed), // likewise
        (&[0x23, 0x40, 0x40, 0, 0], FrameError::Malformed),
        (&[0x22, 0, 0xc0, 0, 0, 1, 0, 0, 0, 0, 0], FrameError::Malformed), // generation 2^32
        (&[0x3e, 0, 5, 0, 0, 6], FrameError::Malformed),                   // first range below zero
        (&[0x3e, 0, 5, 0, 1, 1, 3, 0], FrameError::Malformed),             // gap below zero
        (&[0x3e, 0, 5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1], FrameError::Malformed),
        (&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], FrameError::Malformed), // 2^62 streams
        (&[0x0f, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 9], FrameError::Malformed), // end above 2^62
    ];
    for (bytes, error) in cases {
        let mut with_tail = bytes.to_vec();
        if bytes != [0x3a] {
            with_tail.extend_from_slice(&[1, 1]);
        }
        let mut frames = Frames::new(&with_tail);
        assert_eq!(frames.next(), Some(Err(error)), "{bytes:02x?}");
        assert_eq!(frames.next(), None);
    }
}

fn hello() -> Hello {
    Hello {
        params: TransportParams {
            max_idle_timeout: Duration::from_secs(90),
            max_udp_payload: 1452,
            max_data: 1 << 20,
            max_stream_data_bidi_local: 1,
            max_stream_data_bidi_remote: 2,
            max_stream_data_uni: 3,
            max_streams_bidi: 100,
            max_streams_uni: 101,
            max_ack_delay: Duration::from_millis(20),
            max_datagram: 1200,
            max_paths: 64,
        },
        connection_id: Some(ConnectionId([9; 8])),
        reset_token: Some(ResetToken::new(*b"0123456789abcdef")),
        versions: smallvec![VERSION],
        suites: smallvec![0, 1],
        alpns: smallvec![b"dunlin-file/1".to_vec(), b"x".to_vec()],
        early: EarlyOutcome::Held,
    }
}

#[test]
fn hello_round_trips_beside_any_reserved_value() {
    for reserved in 0..2000 {
        let mut out = Vec::new();
        hello().encode(&mut out, reserved);
        assert_eq!(Hello::decode(&out), Ok(hello()), "{reserved}");
    }
}

#[test]
fn every_outcome_of_early_data_round_trips() {
    for (code, early) in
        [EarlyOutcome::None, EarlyOutcome::Held, EarlyOutcome::Refused, EarlyOutcome::Applied]
            .into_iter()
            .enumerate()
    {
        let mut out = Vec::new();
        Hello { early, ..hello() }.encode(&mut out, 0);
        assert_eq!(Hello::decode(&out).map(|hello| hello.early), Ok(early));
        assert_eq!(Hello::decode(&[0x33, 1, code as u8]).map(|hello| hello.early), Ok(early));
    }
}

#[test]
fn hostile_new_tokens_have_1_to_64_bytes() {
    for len in [0, 1, 33, 64, 65] {
        let (token, mut out) = ([7; 65], Vec::new());
        put_new_token(&mut out, &token[..len]);
        let expected = if (1..=64).contains(&len) {
            Ok(Frame::NewToken(&token[..len]))
        } else {
            Err(FrameError::Malformed)
        };
        assert_eq!(Frames::new(&out).collect::<Vec<_>>(), vec![expected]);
    }
}

#[test]
fn hello_refuses_repetition_ranges_and_length() {
    let mut once = Vec::new();
    hello().encode(&mut once, 4);
    let mut twice = once.clone();
    twice.extend_from_slice(&[0x04, 1, 5]);
    assert_eq!(Hello::decode(&twice), Err(HelloError::Repeated));
    assert_eq!(Hello::decode(&[0x03, 2, 0x44, 0xaf]), Err(HelloError::Range), "payload size 1199");
    assert_eq!(Hello::decode(&[0x0b, 4, 0x80, 0, 0x40, 0]), Err(HelloError::Range), "ack delay 2^14");
    assert_eq!(Hello::decode(&[0x04, 2, 1, 1]), Err(HelloError::Range), "two numbers in one value");
    assert_eq!(Hello::decode(&[0x33, 1, 4]), Err(HelloError::Range), "unknown outcome");
    assert_eq!(Hello::decode(&[0x0f, 2, 1, 1]), Err(HelloError::Range), "short connection id");
    assert_eq!(Hello::decode(&[0x32, 1, 0]), Err(HelloError::Range), "empty protocol name");
    assert_eq!(Hello::decode(&[0x04, 2, 1]), Err(HelloError::Truncated));
    assert_eq!(Hello::decode(&[0xff; 600]), Err(HelloError::TooLong));
    let absent = Hello::decode(&[]).unwrap();
    assert_eq!(absent.params, TransportParams::DEFAULT);
}

#[test]
fn headers_know_their_shortest_length() {
    for (ty, shortest) in [
        (PacketType::Init, 1200),
        (PacketType::InitKnown, 1200),
        (PacketType::InitReply, 9),
        (PacketType::InitKnownReply, 9),
        (PacketType::Data, 31),
        (PacketType::Retry, 9),
        (PacketType::VersionList, 9),
    ] {
        let mut datagram = vec![7; shortest];
        datagram[0] = ty.first_byte();
        assert_eq!(Header::parse(&datagram), Ok(Header { ty, routing: ConnectionId([7; 8]) }));
        assert_eq!(Header::parse(&datagram[..shortest - 1]), Err(HeaderError::TooShort));
    }
    assert_eq!(Header::parse(&[0x80 | 17; 50]), Err(HeaderError::Version));
    for ty in [PacketType::Init, PacketType::InitKnown] {
        assert!(Header::parse(&[ty.first_byte(); 2048]).is_ok());
        assert_eq!(Header::parse(&[ty.first_byte(); 2049]), Err(HeaderError::TooLong));
    }
    assert_eq!(Header::parse(&[0xc0 | VERSION; 50]), Err(HeaderError::Type));
    assert_eq!(Header::parse(&[]), Err(HeaderError::TooShort));
}

#[test]
fn init_header_finds_the_message_behind_the_token() {
    let mut datagram = vec![0; 60];
    datagram[InitHeader::TOKEN_LEN_AT] = 3;
    datagram[InitHeader::EPHEMERAL_AT] = 5;
    let header = InitHeader::parse(&datagram).unwrap();
    assert_eq!(
        (header.token_len, header.message_at, header.ephemeral[0]),
        (3, InitHeader::MESSAGE_AT + 3, 5)
    );
    datagram[InitHeader::TOKEN_LEN_AT] = 200;
    assert_eq!(InitHeader::parse(&datagram), Err(HeaderError::TooShort));
}

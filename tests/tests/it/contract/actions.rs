//! Actions of a session, as proptest makes them.

use dunlin_core::{Direction, Duration, TrainLimit};
use dunlin_fuzzing::session::{Action, Decision, Dial, Fate, Jump, Verb};
use proptest::prelude::*;

use crate::frames;

fn verb() -> impl Strategy<Value = Verb> {
    let direction = || prop_oneof![Just(Direction::Bidirectional), Just(Direction::Unidirectional)];
    let span = || prop_oneof![Just(Duration::ZERO), Just(Duration::from_secs(1)), Just(Duration::MAX)];
    prop_oneof![
        6 => direction().prop_map(Verb::Open),
        1 => prop_oneof![0..8u32, u32::MAX - 1..=u32::MAX, any::<u32>()].prop_map(Verb::OpenId),
        4 => direction().prop_map(Verb::Accept),
        12 => (any::<u8>(), prop_oneof![0..20u32, 0..200_000u32]).prop_map(|(id, len)| Verb::Write(id, len)),
        4 => any::<u8>().prop_map(Verb::Finish),
        2 => any::<u8>().prop_map(Verb::Reset),
        2 => any::<u8>().prop_map(Verb::Stop),
        1 => any::<u8>().prop_map(Verb::Abandon),
        8 => (any::<u8>(), any::<u16>()).prop_map(|(id, len)| Verb::Read(id, len)),
        3 => (any::<u8>(), prop_oneof![0..100usize, Just(usize::MAX)]).prop_map(|(id, max)| Verb::ReadChunk(id, max)),
        2 => (any::<u8>(), prop_oneof![Just(i32::MIN), -3..3i32, any::<i32>()]).prop_map(|(id, p)| Verb::Priority(id, p)),
        4 => prop_oneof![0..1300u16, any::<u16>()].prop_map(Verb::SendDatagram),
        2 => Just(Verb::ReadDatagram),
        1 => any::<u8>().prop_map(Verb::OpenPath),
        1 => any::<u8>().prop_map(Verb::ClosePath),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(id, backup)| Verb::PathStatus(id, backup)),
        1 => any::<u8>().prop_map(Verb::SelectPath),
        2 => Just(Verb::Trust),
        4 => Just(Verb::Look),
        1 => prop_oneof![Just(Verb::Close), span().prop_map(Verb::CloseGraceful), Just(Verb::Forget)],
    ]
}

fn network() -> impl Strategy<Value = Action> {
    let fate = prop_oneof![
        6 => Just(Fate::Deliver),
        4 => Just(Fate::DeliverAll),
        2 => Just(Fate::Drop),
        2 => Just(Fate::Duplicate),
        2 => Just(Fate::Delay),
        1 => any::<u16>().prop_map(Fate::Corrupt),
        1 => any::<u16>().prop_map(Fate::Cut),
        1 => any::<u16>().prop_map(Fate::Move),
    ];
    (any::<u8>(), fate).prop_map(|(which, fate)| Action::Network(which, fate))
}

/// A number that is likely to mean something, or to overflow something.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..8u64, 4 => 0..300u64, 2 => 60_000..70_000u64, 1 => (1u64 << 62) - 3..1 << 62, 1 => any::<u64>()]
}

/// Frames that parse, and some that do not.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let data = || proptest::collection::vec(any::<u8>(), 0..40);
    let numbers = || proptest::collection::vec((number(), number()), 0..4);
    let frame = prop_oneof![
        4 => (prop_oneof![9 => Just(0), 1 => number()], number(), number(), numbers())
            .prop_map(|(path, largest, first, ranges)| frames::ack(path, largest, first, &ranges)),
        6 => (number(), number(), data(), any::<bool>())
            .prop_map(|(id, offset, data, fin)| frames::stream(id, offset, &data, fin)),
        2 => (number(), number(), number()).prop_map(|(id, code, size)| frames::reset_stream(id, code, size)),
        2 => (number(), number()).prop_map(|(id, code)| frames::stop_sending(id, code)),
        1 => number().prop_map(frames::max_data),
        2 => (number(), number()).prop_map(|(id, max)| frames::max_stream_data(id, max)),
        1 => (any::<bool>(), number()).prop_map(|(uni, max)| frames::max_streams(uni, max)),
        2 => any::<[u8; 8]>().prop_map(frames::path_challenge),
        1 => any::<[u8; 8]>().prop_map(frames::path_response),
        2 => data().prop_map(|data| frames::datagram(&data)),
        1 => (any::<bool>(), number(), data()).prop_map(|(app, code, reason)| frames::close(app, code, &reason)),
        2 => Just(frames::ping()),
        2 => data(),
    ];
    proptest::collection::vec(frame, 1..6).prop_map(|frames| frames.concat())
}

/// Payloads of QOTP: any first byte, an acknowledgement, a part of a stream, which mostly fit together.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![12 => (0..4u8).prop_map(|kind| kind << 5), 2 => (0..4u8).prop_map(|kind| kind << 5 | 0x80), 1 => any::<u8>()];
    let stream = || prop_oneof![4 => 0..6u32, 1 => any::<u32>(), 1 => Just(u32::MAX)];
    let offset = || prop_oneof![4 => 0..60u64, 2 => 1000..100_000u64, 1 => any::<u64>()];
    let ack = (stream(), offset(), any::<u16>(), any::<u8>());
    let data = proptest::collection::vec(any::<u8>(), 0..60);
    (kind, ack, (stream(), offset(), data)).prop_map(|(kind, ack, part)| {
        let (mut out, width) = (vec![kind], if kind & 0x80 == 0 { 3 } else { 6 });
        if kind & 0x20 == 0 {
            out.extend_from_slice(&ack.0.to_le_bytes());
            out.extend_from_slice(&ack.1.to_le_bytes()[..width]);
            out.extend_from_slice(&ack.2.to_le_bytes());
            out.push(ack.3);
        }
        out.extend_from_slice(&part.0.to_le_bytes());
        out.extend_from_slice(&part.1.to_le_bytes()[..width]);
        out.extend_from_slice(&part.2);
        out
    })
}

fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let version = prop_oneof![Just(0), Just(16u8)];
    let first = prop_oneof![any::<u8>(), (0..8u8, version).prop_map(|(ty, version)| ty << 5 | version)];
    let rest = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        (1198..1401usize).prop_map(|len| vec![3; len])
    ];
    (first, rest).prop_map(|(first, rest)| core::iter::once(first).chain(rest).collect())
}

fn limit() -> impl Strategy<Value = TrainLimit> {
    prop_oneof![
        Just(TrainLimit::SINGLE),
        Just(TrainLimit::OFFLOAD),
        (0..100usize, prop_oneof![0..5_000usize, Just(usize::MAX)])
            .prop_map(|(segments, bytes)| TrainLimit { segments, bytes }),
    ]
}

fn time() -> impl Strategy<Value = Jump> {
    prop_oneof![
        2 => Just(Jump::None),
        3 => Just(Jump::Nanosecond),
        16 => Just(Jump::Millisecond),
        1 => Just(Jump::Hour),
        3 => prop_oneof![Just(Duration::from_nanos(1)), Just(Duration::from_secs(7200))].prop_map(Jump::Back),
        10 => (0..2usize, any::<bool>()).prop_map(|(side, early)| Jump::Due(side, early)),
    ]
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    let dial = prop_oneof![
        6 => Just(Dial::Known),
        2 => Just(Dial::Unknown),
        2 => Just(Dial::AnyKey),
        1 => Just(Dial::WrongKey),
        1 => Just(Dial::NoAddress),
        1 => Just(Dial::NoAlpn),
        4 => Just(Dial::QotpKey),
        2 => Just(Dial::Qotp),
        1 => Just(Dial::QotpWrongKey),
        1 => Just(Dial::WrongWire),
    ];
    let decision = prop_oneof![4 => Just(Decision::Accept), 1 => Just(Decision::Refuse), 1 => Just(Decision::Ignore), 1 => Just(Decision::Retry)];
    let wait = prop_oneof![Just(None), Just(Some(Duration::ZERO)), Just(Some(Duration::from_secs(3600)))];
    let side = || 0..2usize;
    prop_oneof![
        1 => (side(), dial).prop_map(|(side, dial)| Action::Connect(side, dial)),
        2 => (side(), any::<u8>(), decision).prop_map(|(side, which, how)| Action::Decide(side, which, how)),
        60 => (side(), any::<u8>(), verb()).prop_map(|(side, which, verb)| Action::On(side, which, verb)),
        20 => network(),
        2 => (side(), garbage()).prop_map(|(side, bytes)| Action::Garbage(side, bytes)),
        1 => (side(), any::<u8>(), prop_oneof![frames(), payload()]).prop_map(|(side, which, frames)| Action::Sealed(side, which, frames)),
        1 => (side(), any::<u8>()).prop_map(|(side, which)| Action::RotateKeys(side, which)),
        1 => (side(), any::<u8>()).prop_map(|(side, which)| Action::AbandonAll(side, which)),
        8 => time().prop_map(Action::Time),
        4 => side().prop_map(Action::Fire),
        10 => (side(), limit()).prop_map(|(side, limit)| Action::Drain(side, limit)),
        1 => (side(), wait).prop_map(|(side, wait)| Action::Poll(side, wait)),
        3 => side().prop_map(Action::Events),
        3 => side().prop_map(Action::NetworkChanged),
        3 => (side(), any::<u8>()).prop_map(|(side, which)| Action::Addresses(side, which)),
        1 => (side(), any::<u8>()).prop_map(|(side, which)| Action::Sockets(side, which)),
        12 => (1..300u64, 0..60u8).prop_map(|(millis, loss)| Action::Run(Duration::from_millis(millis), loss)),
    ]
}

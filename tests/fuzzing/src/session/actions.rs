//! Everything that an application, a network and an attacker can do to a pair of endpoints, as a list to be generated.

use dunlin_core::{
    ConnectError, ConnectOptions, Connection, ConnectionHandle, Direction, Duration, ErrorCode, Instant,
    LocalSocket, NetworkChange, Peer, PublicKey, Role, StreamId, TrainLimit, TransportAddr, fuzzing,
};
use dunlin_sim::ALPN;
use proptest::prelude::*;

use super::duo::{Duo, Flight};
use crate::frames;

/// What happens next. Numbers pick among what there is, modulo its count.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Connect(usize, Dial),
    Decide(usize, u8, Decision),
    On(usize, u8, Verb),
    Network(u8, Fate),
    Garbage(usize, Vec<u8>),
    /// A packet that opens, with anything inside.
    Sealed(usize, u8, Vec<u8>),
    Time(Jump),
    Fire(usize),
    Drain(usize, TrainLimit),
    Poll(usize, Option<Duration>),
    Events(usize),
    NetworkChanged(usize),
    /// The host has these of a few addresses, and no others.
    Addresses(usize, u8),
    Sockets(usize, u8),
    Run(Duration, u8),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Dial {
    Known,
    Unknown,
    AnyKey,
    WrongKey,
    NoAddress,
    NoAlpn,
    /// In QOTP, with the key known.
    QotpKey,
    /// In QOTP.
    Qotp,
    QotpWrongKey,
    /// A peer that the wire cannot name.
    WrongWire,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Decision {
    Accept,
    Refuse,
    Ignore,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Deliver,
    DeliverAll,
    Drop,
    Duplicate,
    /// To the end of the queue.
    Delay,
    Corrupt(u16),
    Cut(u16),
    /// From another address.
    Move(u16),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Jump {
    None,
    Nanosecond,
    Millisecond,
    Hour,
    Back(Duration),
    /// To the deadline of a side, or just before it.
    Due(usize, bool),
}

/// What an application does with a connection.
#[derive(Clone, Debug)]
pub(super) enum Verb {
    Open(Direction),
    OpenId(u32),
    Accept(Direction),
    Write(u8, u32),
    Finish(u8),
    Reset(u8),
    Stop(u8),
    Abandon(u8),
    Read(u8, u16),
    ReadChunk(u8, usize),
    Priority(u8, i32),
    SendDatagram(u16),
    ReadDatagram,
    Trust,
    Close,
    CloseGraceful(Duration),
    Forget,
    Look,
}

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
    let decision =
        prop_oneof![4 => Just(Decision::Accept), 1 => Just(Decision::Refuse), 1 => Just(Decision::Ignore)];
    let wait = prop_oneof![Just(None), Just(Some(Duration::ZERO)), Just(Some(Duration::from_secs(3600)))];
    let side = || 0..2usize;
    prop_oneof![
        1 => (side(), dial).prop_map(|(side, dial)| Action::Connect(side, dial)),
        2 => (side(), any::<u8>(), decision).prop_map(|(side, which, how)| Action::Decide(side, which, how)),
        60 => (side(), any::<u8>(), verb()).prop_map(|(side, which, verb)| Action::On(side, which, verb)),
        20 => network(),
        2 => (side(), garbage()).prop_map(|(side, bytes)| Action::Garbage(side, bytes)),
        1 => (side(), any::<u8>(), prop_oneof![frames(), payload()]).prop_map(|(side, which, frames)| Action::Sealed(side, which, frames)),
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

/// One of `all`.
fn pick<T: Copy>(all: &[T], which: impl Into<usize>) -> Option<T> {
    all.get(which.into() % all.len().max(1)).copied()
}

impl Action {
    pub(super) fn apply(self, duo: &mut Duo) {
        match self {
            Self::Connect(side, dial) => connect(duo, side, dial),
            Self::Decide(side, which, decision) => decide(duo, side, which, decision),
            Self::On(side, which, verb) => {
                on_connection(duo, side, which, |duo, handle| verb.apply(duo, side, handle))
            }
            Self::Network(which, fate) => fate.apply(duo, which.into()),
            Self::Garbage(to, bytes) => {
                let from = duo.sides[1 - to].addr;
                duo.deliver(Flight { to, from, bytes });
            }
            Self::Sealed(side, which, frames) => on_connection(duo, side, which, |duo, handle| {
                let mut bytes = Vec::new();
                let from = duo.sides[side].addr;
                let connection = duo.sides[side].endpoint.connection(handle);
                if connection
                    .is_some_and(|mut connection| fuzzing::seal(&mut connection, &frames, &mut bytes))
                {
                    duo.deliver(Flight { to: 1 - side, from, bytes });
                }
            }),
            Self::Time(jump) => jump.apply(duo),
            Self::Fire(side) => duo.fire(side),
            Self::Drain(side, limit) => duo.drain(side, limit),
            Self::Poll(side, wait) => poll(duo, side, wait),
            Self::Events(side) => {
                duo.events(side);
            }
            Self::NetworkChanged(side) => {
                let now = duo.tell_time(side);
                duo.sides[side].endpoint.network_changed(now, NetworkChange::Unspecified);
                duo.note(&duo.sides[side].endpoint.poll_timeout());
            }
            Self::Addresses(side, which) => {
                let now = duo.tell_time(side);
                let own = duo.sides[side].addr.ip();
                let there = [own, [10, 1, 1, 1].into(), [10, 2, 2, 2].into()];
                let there = there.into_iter().enumerate().filter(|(bit, _)| which & 1 << bit != 0);
                let change = NetworkChange::Addresses(there.map(|(_, ip)| ip).collect());
                duo.sides[side].endpoint.network_changed(now, change);
                duo.note(&duo.sides[side].endpoint.poll_timeout());
            }
            Self::Sockets(side, which) => {
                let now = duo.tell_time(side);
                let bound =
                    ["0.0.0.0:1", "[::]:1", "10.1.1.1:1", "[::1]:1"].map(|addr| addr.parse().unwrap());
                let sockets = (0..).zip(bound).filter(|(number, _)| which & 1 << number != 0);
                let sockets: Vec<_> =
                    sockets.map(|(number, bound)| LocalSocket::new(number, bound)).collect();
                duo.sides[side].endpoint.set_sockets(now, &sockets);
                duo.note(&duo.sides[side].endpoint.poll_timeout());
            }
            Self::Run(span, loss) => {
                let mut count = 0u32;
                duo.run(span, Duration::from_millis(5), || {
                    count = count.wrapping_add(1);
                    (count.wrapping_mul(0x9e37_79b9) >> 24) % 100 < u32::from(loss)
                });
            }
        }
    }
}

/// A single poll in the middle of things, with a `now` of its own or a limit that lets little go.
fn poll(duo: &mut Duo, side: usize, wait: Option<Duration>) {
    let due = duo.sides[side].endpoint.poll_timeout();
    match wait {
        None => duo.note(&due),
        Some(wait) => {
            // Early, or late.
            let before = duo.now;
            duo.now = due.unwrap_or(before) + wait.min(Duration::from_secs(1));
            duo.settle(side, TrainLimit::SINGLE);
            duo.now = duo.now.max(before);
        }
    }
}

fn connect(duo: &mut Duo, side: usize, dial: Dial) {
    let key: PublicKey = *duo.sides[1 - side].endpoint.public_key();
    let own: PublicKey = *duo.sides[side].endpoint.public_key();
    let mut options = ConnectOptions::new(duo.sides[1 - side].addr, ALPN);
    let peer = match dial {
        Dial::Known => Peer::Key(key),
        Dial::Unknown => Peer::Unknown,
        Dial::AnyKey => Peer::AnyKey,
        Dial::WrongKey => Peer::Key(own),
        Dial::NoAddress => {
            options.remote = TransportAddr::Ip("0.0.0.0:0".parse().expect("an address"));
            Peer::Key(key)
        }
        Dial::NoAlpn => {
            options.alpns.clear();
            Peer::Key(key)
        }
        Dial::QotpKey | Dial::Qotp | Dial::QotpWrongKey | Dial::WrongWire => {
            options = ConnectOptions::qotp(options.remote);
            let side = if let Dial::QotpKey = dial { 1 - side } else { side };
            match dial {
                Dial::Qotp => Peer::AnyKey,
                Dial::WrongWire => Peer::Key(key),
                _ => Peer::QotpKey(*duo.sides[side].endpoint.qotp_public_key()),
            }
        }
    };
    let now = duo.tell_time(side);
    // A peer that is known needs no address.
    let known = matches!(peer, Peer::Key(key) if duo.sides[side].endpoint.remote(&key).is_some());
    let result = duo.sides[side].endpoint.connect(now, peer, options);
    let limited = matches!(result, Err(ConnectError::TooManyConnections | ConnectError::OverBudget));
    let good = matches!(dial, Dial::Known | Dial::Unknown | Dial::AnyKey | Dial::QotpKey | Dial::Qotp);
    let good = good || known && matches!(dial, Dial::NoAddress) && result.is_ok();
    assert!(limited || result.is_ok() == good, "{dial:?} gives {result:?}");
    if let Ok(handle) = result {
        duo.sides[side].handles.push(handle);
    }
    duo.note(&result);
}

fn decide(duo: &mut Duo, side: usize, which: u8, decision: Decision) {
    let Some(handle) = pick(&duo.sides[side].handles, which) else { return };
    if duo.sides[side].endpoint.incoming(handle).is_none() {
        return;
    }
    let now = duo.tell_time(side);
    let Some(incoming) = duo.sides[side].endpoint.incoming(handle) else { return };
    let seen = (
        incoming.wire(),
        incoming.remote(),
        incoming.identity().and_then(|identity| identity.key().copied()),
        incoming.alpns().count(),
    );
    let accepted = match decision {
        Decision::Accept => Some(incoming.accept(now)),
        Decision::Refuse => {
            incoming.refuse(now, 9u32.into());
            None
        }
        Decision::Ignore => {
            incoming.ignore();
            None
        }
    };
    duo.note(&(seen, accepted));
}

fn on_connection(duo: &mut Duo, side: usize, which: u8, act: impl FnOnce(&mut Duo, ConnectionHandle)) {
    if let Some(handle) = pick(&duo.sides[side].handles, which) {
        act(duo, handle);
    }
}

impl Fate {
    fn apply(self, duo: &mut Duo, which: usize) {
        if duo.wire.is_empty() {
            return;
        }
        let which = which % duo.wire.len();
        if let Self::DeliverAll = self {
            for flight in core::mem::take(&mut duo.wire) {
                duo.deliver(flight);
            }
            return;
        }
        let mut flight = duo.wire.remove(which);
        match self {
            Self::Drop | Self::DeliverAll => {}
            Self::Delay => duo.wire.push(flight),
            Self::Deliver => drop(duo.deliver(flight)),
            Self::Duplicate => {
                duo.wire.push(flight.clone());
                duo.deliver(flight);
            }
            Self::Corrupt(at) => {
                let at = usize::from(at) % (flight.bytes.len() * 8);
                flight.bytes[at / 8] ^= 1 << (at % 8);
                duo.deliver(flight);
            }
            Self::Cut(len) => {
                flight.bytes.truncate(usize::from(len) % flight.bytes.len());
                duo.deliver(flight);
            }
            Self::Move(port) => {
                flight.from.set_port(port);
                duo.deliver(flight);
            }
        }
    }
}

impl Jump {
    fn apply(self, duo: &mut Duo) {
        duo.now = match self {
            Self::None => duo.now,
            Self::Nanosecond => duo.now + Duration::from_nanos(1),
            Self::Millisecond => duo.now + Duration::from_millis(1),
            Self::Hour => duo.now + Duration::from_secs(3600),
            Self::Back(span) => duo.now - span,
            Self::Due(side, early) => {
                let due = duo.sides[side].endpoint.poll_timeout().unwrap_or(Instant::ZERO);
                if early { due - Duration::from_nanos(1) } else { due }.max(duo.now)
            }
        };
    }
}

impl Verb {
    fn apply(self, duo: &mut Duo, side: usize, handle: ConnectionHandle) {
        let now = duo.now;
        let known = &mut duo.sides[side];
        let Some(mut connection) = known.endpoint.connection(handle) else { return };
        // Sometimes an id that this connection has, sometimes one of another, sometimes one that never was.
        let id = |which: u8| match which {
            0..8 => StreamId::new(Role::Initiator, Direction::Bidirectional, (1 << 60) - u64::from(which)),
            8..40 => StreamId::new(
                if which & 1 == 0 { Role::Initiator } else { Role::Responder },
                if which & 2 == 0 { Direction::Bidirectional } else { Direction::Unidirectional },
                u64::from(which >> 2),
            ),
            _ => pick(&known.streams, which).unwrap_or(StreamId::new(
                Role::Initiator,
                Direction::Bidirectional,
                0,
            )),
        };
        let data = |len: usize| -> Vec<u8> { (0..len).map(|at| at as u8).collect() };
        let mut found = None;
        let answer = match self {
            Self::Open(direction) => {
                let opened = connection.open(direction);
                found = opened.ok();
                format!("{opened:?}")
            }
            Self::Accept(direction) => {
                found = connection.accept(direction);
                format!("{found:?}")
            }
            Self::Write(which, len) => format!("{:?}", connection.write(id(which), &data(len as usize))),
            Self::Finish(which) => format!("{:?}", connection.finish(id(which))),
            Self::Reset(which) => format!("{:?}", connection.reset(id(which), 4u32.into())),
            Self::OpenId(number) => {
                let opened = connection.open_id(number);
                found = opened.ok();
                format!("{opened:?}")
            }
            Self::Abandon(which) => format!("{:?}", connection.abandon(id(which))),
            Self::Stop(which) => format!("{:?}", connection.stop(id(which), ErrorCode::MAX)),
            Self::Read(which, len) => {
                let mut out = vec![0; usize::from(len)];
                format!("{:?} {out:?}", connection.read(id(which), &mut out))
            }
            Self::ReadChunk(which, max) => format!("{:?}", connection.read_chunk(id(which), max)),
            Self::Priority(which, priority) => format!("{:?}", connection.set_priority(id(which), priority)),
            Self::SendDatagram(len) => format!("{:?}", connection.send_datagram(&data(len.into()))),
            Self::ReadDatagram => {
                let mut out = Vec::new();
                format!("{:?} {out:?}", connection.read_datagram(&mut out))
            }
            Self::Trust => format!("{:?}", connection.trust()),
            Self::Close => format!("{:?}", connection.close(5u32.into(), &[7; 600])),
            Self::CloseGraceful(span) => {
                format!("{:?}", connection.close_graceful(now + span, 6u32.into(), b"done"))
            }
            Self::Forget => {
                connection.forget();
                String::new()
            }
            Self::Look => look(&connection),
        };
        if let Some(id) = found
            && !known.streams.contains(&id)
        {
            known.streams.push(id);
        }
        duo.note(&answer);
    }
}

/// Everything that can be asked.
fn look(connection: &Connection<'_>) -> String {
    let claimed = (connection.wire(), connection.qotp_claimed_key());
    let identity =
        (claimed, connection.peer_identity(), connection.alpn(), connection.suite(), connection.role());
    let state = (connection.state(), connection.max_datagram(), connection.undelivered());
    let secrets =
        (connection.handshake_hash(), connection.export(b"label", b""), connection.export(&[0; 256], b""));
    format!("{identity:?} {state:?} {secrets:?} {:?} {:?}", connection.stats(), connection.path())
}

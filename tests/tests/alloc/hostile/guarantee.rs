//! Whatever comes, in whatever order: at no moment does an endpoint hold more than its limit and a stated slack.

use core::fmt::Debug;
use core::net::SocketAddr;

use dunlin_core::fuzzing::{IdOf, Unopened};
use dunlin_core::{
    ConnectOptions, ConnectionHandle, Direction, Duration, Endpoint, Identity, PathId, Peer, StreamId,
    TrainLimit, fuzzing,
};
use dunlin_sim::{ALPN, Ppm, config};
use proptest::prelude::*;

use crate::attack::part;
use crate::frames;
use crate::promise::Promise;
use crate::rig::Rig;

/// The most connections of the attackers.
const ATTACKERS: usize = 8;

/// Something happens to the victim.
#[derive(Clone, Debug)]
enum Act {
    /// Another peer with keys of its own connects.
    Join,
    /// A packet of one of them, again and again.
    Say {
        who: usize,
        path: Option<PathId>,
        frames: Vec<u8>,
        times: u32,
    },
    /// Pieces of one byte on a stream.
    Fragments {
        who: usize,
        stream: u64,
        at: u64,
        step: u64,
        count: u64,
    },
    /// Streams with something in them.
    Streams {
        who: usize,
        kind: u64,
        from: u64,
        count: u64,
        len: usize,
    },
    /// Unreliable datagrams.
    Datagrams {
        who: usize,
        len: usize,
        count: usize,
    },
    /// What the peer's own engine does, so that not all is nonsense.
    Honest {
        who: usize,
        len: usize,
    },
    /// First packets of strangers.
    Inits {
        known: bool,
        count: u8,
    },
    /// Copies of a first packet that is in clear, each with another key and from another address.
    Flood {
        count: u16,
    },
    /// First packets in a version of the wire that there is not, and packets of connections that nobody knows.
    Strays {
        count: u8,
    },
    /// Whether the victim's application takes its events, and whether it accepts.
    Polls(bool),
    Accepts(bool),
    /// The victim's application.
    Own {
        who: usize,
        verb: Verb,
        times: u32,
    },
    /// Which side hears the other.
    Reach([bool; 2]),
    Lose(u8),
    Wait(Duration),
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Write {
        uni: bool,
        len: usize,
    },
    /// As much as there is room for.
    WriteAll,
    Datagram(usize),
    ReadAll,
    Reset,
    Close,
}

/// A number that is small, on an edge, or anything.
fn odd() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0_u64..16, 3 => 0_u64..100_000, 1 => (0_u32..62).prop_map(|bits| (1 << bits) - 1), 1 => 0..1_u64 << 62]
}

/// One of the streams that an initiator may open.
fn stream_id() -> impl Strategy<Value = u64> {
    (0_u64..100, 0_u64..2).prop_map(|(index, kind)| index << 2 | kind << 1)
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

/// What the rules allow, whatever it costs its receiver.
fn legal_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (stream_id(), 0_u64..60_000, bytes(200))
            .prop_map(|(id, at, data)| frames::stream(id, at, &data, false)),
        2 => bytes(1_000).prop_map(|data| frames::datagram(&data)),
        1 => (stream_id(), 60_200_u64..60_201).prop_map(|(id, size)| frames::reset_stream(id, 1, size)),
        1 => (0_u64..50).prop_map(|index| frames::stop_sending(index << 2 | 3, 1)),
        1 => odd().prop_map(frames::max_data),
        1 => (0_u64..50, odd()).prop_map(|(index, max)| frames::max_stream_data(index << 2, max)),
        1 => (any::<bool>(), 0_u64..5_000).prop_map(|(uni, max)| frames::max_streams(uni, max)),
        1 => any::<[u8; 8]>().prop_map(frames::path_challenge),
        1 => any::<[u8; 8]>().prop_map(frames::path_response),
        1 => Just(frames::ping()),
    ]
}

/// What may end the connection.
fn wild_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (odd(), odd(), bytes(200), any::<bool>())
            .prop_map(|(id, at, data, fin)| frames::stream(id, at, &data, fin)),
        (odd(), odd(), odd()).prop_map(|(id, code, size)| frames::reset_stream(id, code, size)),
        (odd(), odd()).prop_map(|(id, code)| frames::stop_sending(id, code)),
        (odd(), odd()).prop_map(|(id, max)| frames::max_stream_data(id, max)),
        (any::<bool>(), odd()).prop_map(|(uni, max)| frames::max_streams(uni, max)),
        (0_u64..4, 0_u64..200, 0_u64..20, prop::collection::vec((0_u64..4, 0_u64..4), 0..20))
            .prop_map(|(path, largest, first, ranges)| frames::ack(path, largest, first, &ranges)),
        bytes(60),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 0..ATTACKERS;
    let len = || prop_oneof![0_usize..50, 0_usize..1_400, 0_usize..60_000];
    let path = || prop::option::weighted(0.2, (0_u8..9).prop_filter_map("too large", PathId::new));
    let at = prop_oneof![0_u64..60_000, 0_u64..5_000_000];
    let span = prop_oneof![0_u64..1_000, 0_u64..100_000, 0_u64..3_000_000];
    let legal = prop::collection::vec(legal_frame(), 1..12);
    prop_oneof![
        2 => Just(Act::Join),
        12 => (who(), path(), legal, 1_u32..40)
            .prop_map(|(who, path, frames, times)| Act::Say { who, path, frames: frames.concat(), times }),
        1 => (who(), path(), wild_frame())
            .prop_map(|(who, path, frames)| Act::Say { who, path, frames, times: 1 }),
        4 => (who(), stream_id(), at, 1_u64..500, 1_u64..3_000)
            .prop_map(|(who, stream, at, step, count)| Act::Fragments { who, stream, at, step, count }),
        4 => (who(), 0_u64..2, 0_u64..100, 1_u64..100, 0_usize..1_200)
            .prop_map(|(who, kind, from, count, len)| Act::Streams { who, kind, from, count, len }),
        2 => (who(), 0_usize..1_200, 1_usize..400)
            .prop_map(|(who, len, count)| Act::Datagrams { who, len, count }),
        4 => (who(), len()).prop_map(|(who, len)| Act::Honest { who, len }),
        2 => (any::<bool>(), 0_u8..60).prop_map(|(known, count)| Act::Inits { known, count }),
        1 => (0_u16..5_000).prop_map(|count| Act::Flood { count }),
        1 => any::<u8>().prop_map(|count| Act::Strays { count }),
        1 => any::<bool>().prop_map(Act::Polls),
        1 => any::<bool>().prop_map(Act::Accepts),
        9 => (who(), verb(len()), 1_u32..60).prop_map(|(who, verb, times)| Act::Own { who, verb, times }),
        1 => any::<[bool; 2]>().prop_map(Act::Reach),
        1 => (0_u8..60).prop_map(Act::Lose),
        6 => span.prop_map(|micros| Act::Wait(Duration::from_micros(micros))),
    ]
}

fn verb(len: impl Strategy<Value = usize>) -> impl Strategy<Value = Verb> {
    prop_oneof![
        4 => (any::<bool>(), len).prop_map(|(uni, len)| Verb::Write { uni, len }),
        2 => Just(Verb::WriteAll),
        2 => (0_usize..1_200).prop_map(Verb::Datagram),
        4 => Just(Verb::ReadAll),
        1 => Just(Verb::Reset),
        1 => Just(Verb::Close),
    ]
}

struct Siege {
    rig: Rig,
    strangers: Endpoint,
    /// Addresses of strangers, each used once.
    stranger: u32,
    /// What the victim's application has accepted.
    streams: Vec<(ConnectionHandle, StreamId)>,
    room: Vec<u8>,
    /// Packets on paths that a peer's engine has not opened, whose numbers are counted here.
    unopened: u64,
}

impl Siege {
    fn new(limit: u64, half_open: u32, qotp: Option<bool>) -> Self {
        let mut victim = config().accept_qotp(qotp.is_some());
        victim.limits.per_endpoint = limit;
        victim.limits.half_open = half_open;
        let mut peer = config();
        peer.limits.per_endpoint = 8 << 30;
        let mut rig = Rig::new(peer, victim);
        rig.qotp = qotp;
        rig.sides[1].promise = Some(Promise::new(limit as i64));
        let strangers = Endpoint::new(config(), Identity::from_secret([9; 32]), [9; 32]);
        let room = Vec::with_capacity(1 << 16);
        Self { rig, strangers, stranger: 0, streams: Vec::new(), room, unopened: 0 }
    }

    fn promise(&self) -> &Promise {
        self.rig.sides[1].promise.as_ref().expect("it is checked")
    }

    /// The most that was held at any moment is within the guarantee.
    fn check(&self, after: &dyn Debug) {
        let broken = self.promise().broken_by();
        assert_eq!(broken, None, "so many bytes too many are live after {after:?}");
    }

    /// When nobody is heard any more, what they made the endpoint hold is gone too.
    fn end(mut self) {
        self.rig.reaches = [false; 2];
        self.rig.sides[1].polls = true;
        self.rig.run(Duration::from_secs(400), &mut |_, _, _, _| {});
        self.check(&"the end");
        let victim = &self.rig.sides[1];
        assert_eq!((self.rig.memory_used(1), victim.endpoint.stats().connections), (0, 0));
        let (left, rest) = (victim.heap.live, self.promise().rest());
        assert!(left <= rest, "{left} bytes are left, more than {rest}");
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Join if self.rig.sides[0].handles.len() < ATTACKERS => {
                self.rig.dial();
            }
            Act::Join => {}
            Act::Say { who, path, frames, times } => {
                for _ in 0..*times {
                    self.say(*who, *path, frames);
                }
            }
            Act::Fragments { who, stream, at, step, count } => {
                let offsets: Vec<u64> = (0..*count).map(|n| at.saturating_add(n * step)).collect();
                for offsets in offsets.chunks(100) {
                    self.pieces(*who, *stream, offsets, b"x");
                }
            }
            Act::Streams { who, kind, from, count, len } => {
                for index in *from..from + count {
                    self.pieces(*who, index << 2 | kind << 1, &[0], &vec![1; *len]);
                }
            }
            Act::Datagrams { who, len, count } => {
                let frame = frames::datagram(&vec![1; *len]);
                for _ in 0..*count {
                    self.say(*who, None, &frame);
                }
            }
            Act::Honest { who, len } => {
                let Some(handle) = self.one_of(0, *who) else { return };
                self.rig.with(0, handle, |peer| {
                    let Ok(id) = peer.open_bi() else { return };
                    let _ = peer.write(id, &vec![2; *len]);
                });
            }
            Act::Inits { known, count } => self.inits(*known, *count),
            Act::Flood { count } => self.flood(*count),
            Act::Strays { count } => self.strays(*count),
            Act::Polls(polls) => self.rig.sides[1].polls = *polls,
            Act::Accepts(accepts) => self.rig.accepts = *accepts,
            Act::Own { who, verb, times } => (0..*times).for_each(|_| self.own(*who, *verb)),
            Act::Reach(reaches) => self.rig.reaches = *reaches,
            Act::Lose(percent) => self.rig.loss = Ppm::percent(u32::from(*percent)),
            Act::Wait(span) => self.rig.run(*span, &mut |_, _, _, _| {}),
        }
    }

    /// One of the connections of a side.
    fn one_of(&self, side: usize, who: usize) -> Option<ConnectionHandle> {
        let handles = &self.rig.sides[side].handles;
        handles.get(who.checked_rem(handles.len())?).copied()
    }

    /// The same data at each of these places of a stream.
    fn pieces(&mut self, who: usize, stream: u64, offsets: &[u64], data: &[u8]) {
        if self.rig.qotp.is_some() {
            for at in offsets {
                self.say(who, None, &part(stream as u32, *at, data));
            }
        } else {
            let frames: Vec<u8> =
                offsets.iter().flat_map(|at| frames::stream(stream, *at, data, false)).collect();
            self.say(who, None, &frames);
        }
    }

    /// A packet with these frames, in QOTP with this payload, of one of the attackers that have keys.
    fn say(&mut self, who: usize, path: Option<PathId>, frames: &[u8]) {
        let Some(handle) = self.one_of(0, who) else { return };
        let mut packet = Vec::with_capacity(frames.len() + 40);
        self.unopened += 1;
        let number = self.unopened;
        let sealed = self.rig.with(0, handle, |peer| match path {
            Some(path) => {
                let unopened = Unopened { path, number, to: IdOf::NoPath };
                fuzzing::seal_on(peer, path, frames, &mut packet)
                    || fuzzing::seal_unopened(peer, &unopened, frames, &mut packet)
            }
            None => fuzzing::seal(peer, frames, &mut packet),
        });
        if sealed == Some(true) {
            self.rig.deliver(1, &mut packet);
        }
    }

    /// An address that nobody has spoken from.
    fn next_stranger(&mut self) -> SocketAddr {
        self.stranger += 1;
        let [_, a, b, c] = self.stranger.to_be_bytes();
        SocketAddr::from(([100, a, b, c], 4_000))
    }

    /// The first packets of a dial by somebody with early data, as much as fits, if the peer's key is known.
    fn first_packet(&mut self, known: bool) -> Option<Vec<u8>> {
        let (now, to) = (self.rig.now, self.rig.answerer());
        let peer = if known { Peer::Key(*self.rig.sides[1].endpoint.public_key()) } else { Peer::AnyKey };
        let dial = self.strangers.connect(now, peer, ConnectOptions::new(to, ALPN)).ok()?;
        if let Some(mut connection) = self.strangers.connection(dial)
            && let Ok(id) = connection.open_uni()
        {
            let _ = connection.write(id, &PLENTY[..1_200]);
        }
        let mut packet = Vec::new();
        self.strangers.poll_transmit(now, TrainLimit::SINGLE, &mut packet)?;
        if let Some(connection) = self.strangers.connection(dial) {
            connection.forget();
        }
        Some(packet)
    }

    /// Dials of many.
    fn inits(&mut self, known: bool, count: u8) {
        for _ in 0..count {
            let Some(mut packet) = self.first_packet(known) else { return };
            let from = self.next_stranger();
            self.rig.deliver_from(from, 1, &mut packet);
        }
    }

    /// One dial, again and again with another ephemeral key and routing id.
    fn flood(&mut self, count: u16) {
        let Some(packet) = self.first_packet(false) else { return };
        let mut copy = packet.clone();
        for _ in 0..count {
            let from = self.next_stranger();
            copy.copy_from_slice(&packet);
            copy[5..9].copy_from_slice(&self.stranger.to_be_bytes());
            copy[9..13].copy_from_slice(&self.stranger.to_be_bytes());
            self.rig.deliver_from(from, 1, &mut copy);
        }
    }

    /// What is answered without a connection, before any answer leaves.
    fn strays(&mut self, count: u8) {
        for number in 0..count {
            let from = self.next_stranger();
            let mut packet = [0; 1_200];
            packet[0] = if number % 2 == 0 { 17 } else { 4 << 5 | 16 };
            packet[1..5].copy_from_slice(&self.stranger.to_be_bytes());
            self.rig.deliver_from(from, 1, &mut packet);
        }
    }

    fn own(&mut self, who: usize, verb: Verb) {
        let Some(handle) = self.one_of(1, who) else { return };
        match verb {
            Verb::ReadAll => return self.read_all(handle),
            Verb::WriteAll => return self.write_all(handle),
            _ => {}
        }
        self.rig.with(1, handle, |connection| match verb {
            Verb::Write { uni, len } => {
                let opened = if uni { connection.open_uni() } else { connection.open_bi() };
                let Ok(id) = opened else { return };
                let _ = connection.write(id, &PLENTY[..len]);
            }
            Verb::Datagram(len) => {
                let _ = connection.send_datagram(&PLENTY[..len]);
            }
            Verb::Reset => {
                if let Ok(id) = connection.open_uni() {
                    let _ = connection.reset(id, 1_u32.into());
                }
            }
            Verb::Close => connection.close(1_u32.into(), b"enough"),
            Verb::ReadAll | Verb::WriteAll => {}
        });
    }

    /// As much as there is room for on as many streams as there may be.
    fn write_all(&mut self, handle: ConnectionHandle) {
        let mut more = true;
        while more {
            let written = self.rig.with(1, handle, |connection| {
                connection.open_uni().map_or(0, |id| connection.write(id, &PLENTY).unwrap_or(0))
            });
            more = written.is_some_and(|written| written > 0);
        }
    }

    fn read_all(&mut self, handle: ConnectionHandle) {
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            while let Some(id) = self.rig.with(1, handle, |connection| connection.accept(direction)).flatten()
            {
                self.streams.push((handle, id));
            }
        }
        let room = &mut self.room;
        let mut buffer = [0; 4_096];
        for (_, id) in self.streams.iter().filter(|(owner, _)| *owner == handle) {
            self.rig.with(
                1,
                handle,
                |connection| {
                    while connection.read(*id, &mut buffer).is_ok_and(|read| read > 0) {}
                },
            );
        }
        self.rig.with(1, handle, |connection| {
            while connection.read_datagram(room).is_some() {
                room.clear();
            }
        });
    }
}

static PLENTY: [u8; 1 << 20] = [5; 1 << 20];

/// What an endpoint may hold, and how many attempts.
fn limits() -> impl Strategy<Value = (u64, u32)> {
    let limit = prop::sample::select(vec![256 << 10, 1 << 20, 6 << 20, 64 << 20]);
    // The second is the default.
    (limit, prop::sample::select(vec![64, 4_096]))
}

/// So many cases, unless `PROPTEST_CASES` asks for others.
fn cases(cases: u32) -> ProptestConfig {
    let set = std::env::var_os("PROPTEST_CASES").is_some();
    if set { ProptestConfig::default() } else { ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn hostile_the_heap_stays_within_the_limit_at_every_moment(
        (limit, half_open) in limits(),
        qotp in prop::option::weighted(0.2, any::<bool>()),
        acts in prop::collection::vec(act(), 1..100),
    ) {
        let mut siege = Siege::new(limit, half_open, qotp);
        siege.act(&Act::Join);
        siege.act(&Act::Wait(Duration::from_millis(200)));
        for act in &acts {
            siege.act(act);
            siege.check(act);
        }
        if std::env::var_os("DUNLIN_FIGURES").is_some() {
            let promise = siege.promise();
            println!("{limit} bytes, {:.0} % charged, {} to spare", 100.0 * promise.fullest(), promise.spare());
        }
        siege.end();
    }
}

/// A peer that acknowledges nothing, and has what it says acknowledged again and again, when there is little memory left.
#[test]
fn ac_18_acknowledgements_stay_within_the_limit_in_qotp() {
    let mut siege = Siege::new(1 << 20, 64, Some(true));
    siege.act(&Act::Join);
    siege.act(&Act::Wait(Duration::from_millis(200)));
    siege.act(&Act::Reach([false, true]));
    siege.own(0, Verb::Write { uni: false, len: 1 });
    siege.act(&Act::Wait(Duration::from_millis(1)));
    for _ in 0..20 {
        siege.act(&Act::Fragments { who: 0, stream: 0, at: 0, step: 317, count: 2_400 });
        siege.act(&Act::Wait(Duration::from_millis(1)));
        siege.check(&"more fragments");
    }
    siege.end();
}

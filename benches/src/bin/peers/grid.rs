//! What is run: who, with which AEAD, in which scenario.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A stack under test.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// dunlin-tokio
    Dunlin,
    /// dunlin-mio
    DunlinMio,
    /// dunlin-tokio with its default crypto, in a build of its own
    DunlinPure,
    /// quinn
    Quinn,
    /// s2n-quic
    S2n,
    /// noq
    Noq,
    /// TCP with TLS 1.3 (tokio-rustls)
    Tls,
    /// TCP without encryption
    Tcp,
    /// UDP trains without protocol or encryption
    Raw,
    /// Sealed UDP trains without protocol
    Ideal,
}

impl Peer {
    pub(crate) const ALL: [Self; 10] = [
        Self::Dunlin,
        Self::DunlinMio,
        Self::DunlinPure,
        Self::Quinn,
        Self::S2n,
        Self::Noq,
        Self::Tls,
        Self::Tcp,
        Self::Raw,
        Self::Ideal,
    ];

    /// The name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dunlin => "dunlin",
            Self::DunlinMio => "dunlin mio",
            Self::DunlinPure => "dunlin pure Rust",
            Self::Quinn => "quinn",
            Self::S2n => "s2n-quic",
            Self::Noq => "noq",
            Self::Tls => "TCP + TLS",
            Self::Tcp => "TCP",
            Self::Raw => "raw UDP",
            Self::Ideal => "ideal",
        }
    }

    /// Whether dunlin is measured against it: other encrypted transports over UDP.
    pub(crate) const fn is_rival(self) -> bool {
        matches!(self, Self::Quinn | Self::S2n | Self::Noq)
    }

    const fn encrypts(self) -> bool {
        !matches!(self, Self::Tcp | Self::Raw)
    }

    /// The AEADs with which it is run.
    pub(crate) const fn aeads(self) -> &'static [Aead] {
        if self.encrypts() { &[Aead::Aes, Aead::ChaCha] } else { &[Aead::None] }
    }

    /// Whether it can do this at all, and it would say something.
    pub(crate) fn suits(self, scenario: &Scenario) -> bool {
        if matches!(scenario.drivers, Drivers::Threads { .. }) {
            return self == Self::Dunlin;
        }
        match self {
            Self::Tls | Self::Tcp => !matches!(scenario.load, Load::Requests | Load::Datagrams),
            Self::Raw | Self::Ideal => scenario.load == Load::UPLOAD && scenario.threads == 1,
            // It has one thread by nature.
            Self::DunlinMio => scenario.threads == 1,
            _ => true,
        }
    }
}

/// What seals the data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Aead {
    /// AES-256-GCM
    Aes,
    /// ChaCha20-Poly1305
    #[value(name = "chacha")]
    ChaCha,
    /// Nothing: plain TCP and UDP
    None,
}

impl Aead {
    /// The name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Aes => "AES-256-GCM",
            Self::ChaCha => "ChaCha20-Poly1305",
            Self::None => "no encryption",
        }
    }
}

/// Which way data goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Up,
    Down,
}

/// What the client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Load {
    /// Sends or fetches as much as it can on so many streams.
    Bulk { streams: u8, way: Way },
    /// 64 bytes there and back on one stream, one at a time.
    PingPong,
    /// 1 KiB there and back on a stream of its own, 100 at a time.
    Requests,
    /// A new connection, 64 bytes there and back, the end; so many at a time.
    Handshakes { in_flight: u8 },
    /// Unreliable datagrams of 1,200 bytes, as many as it can.
    Datagrams,
    /// Messages of 200 bytes on 500 connections, as many as it can.
    Many,
    /// 2,000 connections that do nothing.
    Idle,
}

impl Load {
    const UPLOAD: Self = Self::Bulk { streams: 1, way: Way::Up };
}

/// Where the processes run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cores {
    /// Each on a core of its own.
    Apart,
    /// Both on the first core: whoever takes less of it gets through more.
    One,
    /// Where the system puts them: for processes with several threads.
    Any,
}

/// Who receives, sends and encrypts in each process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drivers {
    /// The threads of the runtime, beside what else they do.
    Runtime,
    /// So many threads of their own, each with a shard of the endpoint. Of the stacks, only dunlin has such.
    Threads { shards: u8 },
}

/// A scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scenario {
    /// The name on the command line.
    pub(crate) name: &'static str,
    /// The name in tables.
    pub(crate) title: &'static str,
    pub(crate) load: Load,
    /// UDP payload of a full packet, in bytes.
    pub(crate) packet: u16,
    /// Threads of the runtime in each process.
    pub(crate) threads: u8,
    pub(crate) drivers: Drivers,
    pub(crate) cores: Cores,
    /// Whether `--quick` runs it.
    pub(crate) quick: bool,
}

/// UDP payload of a full packet.
const PACKET: u16 = 1400;
/// The same on a network with jumbo frames.
const JUMBO: u16 = 8900;

const fn scenario(name: &'static str, title: &'static str, load: Load) -> Scenario {
    Scenario {
        name,
        title,
        load,
        packet: PACKET,
        threads: 1,
        drivers: Drivers::Runtime,
        cores: Cores::Apart,
        quick: false,
    }
}

const fn bulk(streams: u8, way: Way) -> Load {
    Load::Bulk { streams, way }
}

impl Scenario {
    const fn quick(mut self) -> Self {
        self.quick = true;
        self
    }

    const fn packet(mut self, packet: u16) -> Self {
        self.packet = packet;
        self
    }

    const fn one_core(mut self) -> Self {
        self.cores = Cores::One;
        self
    }

    const fn two_threads(mut self) -> Self {
        self.threads = 2;
        self.cores = Cores::Any;
        self
    }

    const fn shards(mut self, shards: u8) -> Self {
        self.drivers = Drivers::Threads { shards };
        self.cores = Cores::Any;
        self
    }

    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Whether one thread is all that each process works with.
    pub(crate) fn has_one_thread(&self) -> bool {
        self.threads == 1 && self.drivers == Drivers::Runtime
    }

    /// Receive window of a stream, in bytes; the connection has twice that.
    pub(crate) const fn window(&self) -> u32 {
        match self.load {
            // So many connections with the other window would hold gigabytes.
            Load::Many => 256 << 10,
            _ => 16 << 20,
        }
    }
}

/// All scenarios, in the order of the table.
pub(crate) const SCENARIOS: [Scenario; 22] = [
    scenario("upload", "bulk, 1 stream up", bulk(1, Way::Up)).quick(),
    scenario("download", "bulk, 1 stream down", bulk(1, Way::Down)),
    scenario("upload-8", "bulk, 8 streams up", bulk(8, Way::Up)),
    scenario("download-8", "bulk, 8 streams down", bulk(8, Way::Down)),
    scenario("jumbo", "bulk, 1 stream up, 8,900 B", bulk(1, Way::Up)).packet(JUMBO),
    scenario("pingpong", "ping-pong 64 B", Load::PingPong),
    scenario("pingpong-core", "ping-pong 64 B, one core", Load::PingPong).one_core().quick(),
    scenario("requests", "1 KiB requests, 100 at once", Load::Requests).quick(),
    scenario("handshakes", "handshakes, one by one", Load::Handshakes { in_flight: 1 }),
    scenario("handshakes-64", "handshakes, 64 at once", Load::Handshakes { in_flight: 64 }).quick(),
    scenario("datagrams", "datagrams 1,200 B", Load::Datagrams).quick(),
    scenario("many", "500 connections, 200 B", Load::Many).quick(),
    scenario("idle", "idle connection, memory", Load::Idle).quick(),
    scenario("upload-2t", "bulk, 1 stream up, 2 threads", bulk(1, Way::Up)).two_threads(),
    scenario("upload-8-2t", "bulk, 8 streams up, 2 threads", bulk(8, Way::Up)).two_threads(),
    scenario("requests-2t", "1 KiB requests, 2 threads", Load::Requests).two_threads(),
    scenario("datagrams-2t", "datagrams 1,200 B, 2 threads", Load::Datagrams).two_threads(),
    scenario("many-2t", "500 connections, 2 threads", Load::Many).two_threads(),
    scenario("upload-1s", "bulk, 1 stream up, 1 shard", bulk(1, Way::Up)).shards(1),
    scenario("upload-2s", "bulk, 1 stream up, 2 shards", bulk(1, Way::Up)).shards(2),
    scenario("many-1s", "500 connections, 1 shard", Load::Many).shards(1),
    scenario("many-2s", "500 connections, 2 shards", Load::Many).shards(2),
];

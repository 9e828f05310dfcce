//! Captures of a conversation that two engines have in memory, written by hand.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use dunlin_tokio::dunlin_core::{
    Arrival, Config, ConnectOptions, Endpoint, Event, Identity, Instant, Peer, TrainLimit, TransportAddr,
    WireVersion,
};

/// The ends of the conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Dialler,
    Answerer,
}

/// What was said, and the keys to it.
pub(crate) struct Conversation {
    /// Trains as they were sent, each with the size of its packets.
    pub(crate) trains: Vec<(End, Vec<u8>, usize)>,
    /// The key log of the dialler.
    pub(crate) keys: String,
}

impl Conversation {
    /// A dial, a stream of some kilobytes to and fro, a close. Another `seed` is another conversation.
    pub(crate) fn new(seed: u8) -> Self {
        Self::of(WireVersion::Native, seed)
    }

    /// The same over another wire.
    pub(crate) fn of(wire: WireVersion, seed: u8) -> Self {
        let mut config = Config::default();
        (config.key_log, config.alpns) = (true, vec![b"test".to_vec()]);
        config = config.accept_qotp(true);
        let end = |secret: u8| {
            Endpoint::new(config.clone(), Identity::from_secret([secret; 32]), [secret ^ seed; 32])
        };
        let (mut dialler, mut answerer) = (end(1), end(2));
        let addresses = [End::Dialler, End::Answerer].map(|end| TransportAddr::Ip(address(end, Ip::V4)));
        let (peer, options) = match wire {
            WireVersion::Qotp => {
                (Peer::QotpKey(*answerer.qotp_public_key()), ConnectOptions::qotp(addresses[1]))
            }
            _ => (Peer::Key(*answerer.public_key()), ConnectOptions::new(addresses[1], b"test")),
        };
        let dial = dialler.connect(Instant::ZERO, peer, options).unwrap();
        let stream = dialler.connection(dial).unwrap().open_bi().unwrap();
        dialler.connection(dial).unwrap().write(stream, &[7; 20_000]).unwrap();
        dialler.connection(dial).unwrap().finish(stream).unwrap();
        let mut trains = Vec::new();
        for millis in 0..200 {
            let now = Instant::ZERO + Duration::from_millis(millis);
            if millis == 150 {
                dialler.connection(dial).unwrap().close(7_u32.into(), b"that \x1b[2J is all");
            }
            let (mut one, mut other) = (&mut dialler, &mut answerer);
            for (from, address) in [(End::Dialler, addresses[0]), (End::Answerer, addresses[1])] {
                carry(now, from, address, one, other, &mut trains);
                (one, other) = (other, one);
            }
        }
        let entries = core::iter::from_fn(|| dialler.poll_key_log());
        let keys = entries.map(|entry| format!("{entry}\n")).collect();
        Self { trains, keys }
    }

    /// The packets one by one.
    pub(crate) fn packets(&self) -> impl Iterator<Item = (End, &[u8])> {
        self.trains.iter().flat_map(|(end, train, size)| train.chunks(*size).map(|packet| (*end, packet)))
    }
}

/// Hands over what `from` has to say.
fn carry(
    now: Instant,
    end: End,
    source: TransportAddr,
    from: &mut Endpoint,
    to: &mut Endpoint,
    trains: &mut Vec<(End, Vec<u8>, usize)>,
) {
    from.handle_timeout(now);
    let mut train = Vec::new();
    while let Some(transmit) = from.poll_transmit(now, TrainLimit::OFFLOAD, &mut train) {
        trains.push((end, train.clone(), transmit.segment_size));
        for datagram in train.chunks_mut(transmit.segment_size) {
            to.handle_datagram(now, Arrival::from_remote(source), datagram);
        }
        train.clear();
    }
    while let Some((handle, event)) = to.poll_event() {
        if event == Event::Incoming {
            to.incoming(handle).unwrap().accept(now).unwrap();
        }
    }
}

/// The version of IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ip {
    V4,
    V6,
}

/// Where an end is said to be.
pub(crate) fn address(end: End, ip: Ip) -> SocketAddr {
    let (last, port) = match end {
        End::Dialler => (1, 50_000),
        End::Answerer => (2, 4433),
    };
    let ip: IpAddr = match ip {
        Ip::V4 => Ipv4Addr::new(192, 0, 2, last).into(),
        Ip::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
    };
    SocketAddr::new(ip, port)
}

/// An IP packet from `from` to the other end, with a UDP datagram in it.
pub(crate) fn udp(ip: Ip, from: End, payload: &[u8]) -> Vec<u8> {
    let to = if from == End::Dialler { End::Answerer } else { End::Dialler };
    let (from, to) = (address(from, ip), address(to, ip));
    let len = u16::try_from(payload.len() + 8).unwrap();
    let mut datagram = [from.port(), to.port(), len, 0].map(u16::to_be_bytes).concat();
    datagram.extend_from_slice(payload);
    packet(17, from.ip(), to.ip(), &datagram)
}

/// An IP packet of the protocol with this number.
pub(crate) fn packet(protocol: u8, from: IpAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let mut packet = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
            let header = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
            [&header[..], &from.octets(), &to.octets()].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
            [&[0x60, 0, 0, 0, high, low, protocol, 64][..], &from.octets(), &to.octets()].concat()
        }
        _ => panic!("two versions of IP"),
    };
    packet.extend_from_slice(payload);
    packet
}

/// What stands before an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    Ethernet,
    /// Ethernet with a VLAN tag.
    Tagged,
    /// BSD's loopback, captured by a machine of this byte order.
    Null {
        big: bool,
    },
    /// OpenBSD's.
    Loop,
    Raw,
    /// Raw IP of one version.
    RawOf(Ip),
    Cooked,
    Cooked2,
}

impl Link {
    /// Its number (<https://www.tcpdump.org/linktypes.html>).
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Null { .. } => 0,
            Self::Ethernet | Self::Tagged => 1,
            Self::Raw => 101,
            Self::Loop => 108,
            Self::Cooked => 113,
            Self::RawOf(Ip::V4) => 228,
            Self::RawOf(Ip::V6) => 229,
            Self::Cooked2 => 276,
        }
    }

    /// A frame of it with `packet` in it.
    pub(crate) fn frame(self, ip: Ip, packet: &[u8]) -> Vec<u8> {
        let (ether_type, family): (u16, u32) = match ip {
            Ip::V4 => (0x0800, 2),
            Ip::V6 => (0x86dd, 30),
        };
        let ether_type = ether_type.to_be_bytes();
        let header = match self {
            Self::Ethernet => [&[2; 12][..], &ether_type].concat(),
            Self::Tagged => [&[2; 12][..], &[0x81, 0x00, 0x00, 0x05], &ether_type].concat(),
            Self::Null { big: false } => family.to_le_bytes().to_vec(),
            Self::Null { big: true } | Self::Loop => family.to_be_bytes().to_vec(),
            Self::Raw | Self::RawOf(_) => Vec::new(),
            Self::Cooked => [&[0, 4, 3, 4, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0][..], &ether_type].concat(),
            Self::Cooked2 => {
                [&ether_type[..], &[0, 0, 0, 0, 0, 1, 3, 4, 4, 6, 1, 2, 3, 4, 5, 6, 0, 0]].concat()
            }
        };
        [header, packet.to_vec()].concat()
    }
}

/// The form of a capture file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Pcap { big: bool, nanos: bool },
    PcapNg { big: bool, nanos: bool },
}

impl Format {
    /// A capture of `frames`, [`INTERVAL`] apart, of which at most `snap` bytes each are kept.
    pub(crate) fn capture(self, link: Link, frames: &[Vec<u8>], snap: usize) -> Vec<u8> {
        let mut out = Writer { big: self.is_big(), bytes: Vec::new() };
        match self {
            Self::Pcap { nanos, .. } => {
                out.u32(if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 });
                out.all([2, 4], Writer::u16);
                out.all([0, 0, 0x4_0000, link.number().into()], Writer::u32);
            }
            Self::PcapNg { nanos, .. } => {
                out.block(0x0a0d_0d0a, |out| {
                    out.u32(0x1a2b_3c4d);
                    out.all([1, 0], Writer::u16);
                    out.all([u32::MAX; 2], Writer::u32);
                });
                out.block(1, |out| {
                    out.all([link.number(), 0], Writer::u16);
                    out.u32(0x4_0000);
                    if nanos {
                        // if_tsresol(9), one byte and its padding; the end of the options.
                        out.all([9, 1], Writer::u16);
                        out.bytes.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0]);
                    }
                });
                // A block of a type that is none.
                out.block(0x0bad, |out| out.u32(0));
            }
        }
        for (frame, count) in frames.iter().zip(0..) {
            let kept = &frame[..frame.len().min(snap)];
            let lengths = [kept.len(), frame.len()].map(|len| u32::try_from(len).unwrap());
            let time = START + INTERVAL * count;
            match self {
                Self::Pcap { nanos, .. } => {
                    out.u32(u32::try_from(time.as_secs()).unwrap());
                    out.u32(if nanos { time.subsec_nanos() } else { time.subsec_micros() });
                    out.all(lengths, Writer::u32);
                    out.bytes.extend_from_slice(kept);
                }
                Self::PcapNg { nanos, .. } => out.block(6, |out| {
                    let ticks = if nanos { time.as_nanos() } else { time.as_micros() };
                    out.all([0, (ticks >> 32) as u32, ticks as u32], Writer::u32);
                    out.all(lengths, Writer::u32);
                    out.bytes.extend_from_slice(kept);
                }),
            }
        }
        out.bytes
    }

    const fn is_big(self) -> bool {
        let (Self::Pcap { big, .. } | Self::PcapNg { big, .. }) = self;
        big
    }
}

/// When the first frame was captured, since 1970.
const START: Duration = Duration::new(1_760_000_000, 999_999_000);

/// The time between two frames.
pub(crate) const INTERVAL: Duration = Duration::from_micros(1_500);

/// Numbers in one byte order.
struct Writer {
    big: bool,
    bytes: Vec<u8>,
}

impl Writer {
    fn u16(&mut self, number: u16) {
        let bytes = if self.big { number.to_be_bytes() } else { number.to_le_bytes() };
        self.bytes.extend_from_slice(&bytes);
    }

    fn u32(&mut self, number: u32) {
        let bytes = if self.big { number.to_be_bytes() } else { number.to_le_bytes() };
        self.bytes.extend_from_slice(&bytes);
    }

    fn all<T>(&mut self, numbers: impl IntoIterator<Item = T>, put: fn(&mut Self, T)) {
        numbers.into_iter().for_each(|number| put(self, number));
    }

    /// A block of pcapng: type, length, content, padding, length.
    fn block(&mut self, kind: u32, content: impl FnOnce(&mut Self)) {
        let mut inner = Self { big: self.big, bytes: Vec::new() };
        content(&mut inner);
        inner.bytes.resize(inner.bytes.len().next_multiple_of(4), 0);
        let len = u32::try_from(inner.bytes.len() + 12).unwrap();
        self.u32(kind);
        self.u32(len);
        self.bytes.append(&mut inner.bytes);
        self.u32(len);
    }
}

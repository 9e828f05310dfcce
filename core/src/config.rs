//! What an embedder can set, with its defaults.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::admission::Admission;
use crate::crypto::Secret;
use crate::path::addr::{TrainLimit, TransportAddr, TransportId};
use crate::path::select::{Bias, BiasedRtt, PathSelector, Tier};
use crate::path::slots::MAX_PATHS;
use crate::shard::Shard;
use crate::time::Duration;
use crate::wire::header::MIN_INIT;

/// Settings of an endpoint. Start from [`Config::default`] and change what you need.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Application protocols that this endpoint accepts, best first. Empty: it accepts nobody.
    pub alpns: Vec<Vec<u8>>,
    /// What peers may make us hold.
    pub limits: Limits,
    /// Which of the endpoints behind a port this one is. Default: the only one. [`Config::for_shard`] sets it, with a part
    /// of the limits; adapters do that by themselves.
    pub shard: Shard,
    /// A connection without a packet from the peer for this long is closed. The smaller of both sides' values counts;
    /// `None` leaves it to the peer. Default: 90 s.
    pub idle_timeout: Option<Duration>,
    /// Send a PING when nothing was heard for this long, so that neither the idle timeout nor a NAT forgets us.
    /// Default: off; at least 10 ms is used.
    pub keep_alive: Option<Duration>,
    /// A dial that was not answered for this long fails. Default: 5 s.
    pub connect_timeout: Duration,
    /// Which data AEAD to offer and choose. Default: [`AeadPolicy::Auto`].
    pub aead: AeadPolicy,
    /// Whether this machine computes AES-GCM in hardware; the adapters detect it. Default: false.
    pub aes_hardware: bool,
    /// UDP payload sent, in bytes, unless MTU discovery finds that the path carries more; the peer's limit holds as well.
    /// The path must carry it. Default: 1,200, which every path carries (RFC 9000 section 14); at least that and at most
    /// 65,000 is used.
    pub packet_size: u16,
    /// The search for larger packets that the path carries. The native wire only: QOTP's packets have one size.
    pub mtu_discovery: MtuDiscovery,
    /// The transports beside UDP, and what there is to know of them; the adapters put those in that they are given. A path by
    /// one that is not here is taken for one of UDP.
    pub transports: BTreeMap<TransportId, TransportProfile>,
    /// Largest UDP payload received, in bytes, told to the peer. Default: 65,000.
    pub max_receive_size: u16,
    /// Send data as ECN-capable (ECT(0)) on paths that pass that on, and slow down for marks of congestion before
    /// packets are lost. What arrives marked is told to the peer in any case. Default: true.
    pub ecn: bool,
    /// How long an acknowledgement may wait for company. Default: 25 ms (RFC 9000 section 18.2).
    pub max_ack_delay: Duration,
    /// Paths that a connection may have at once; the smaller of both sides' values counts. From 1, with which a connection
    /// still follows its peer to another address, to 16. Default: 8.
    pub max_paths: u8,
    /// Whether a connection that we dialled opens further paths by itself, and closes them when it has no use for them: one
    /// to spare after 5 s in which there was something to send or to receive, a better one where there may be one, and any
    /// that there may be while none of its paths delivers. It knows the peer's addresses from dials and from
    /// [`Endpoint::add_address`](crate::Endpoint::add_address), and our sockets from
    /// [`Endpoint::set_sockets`](crate::Endpoint::set_sockets). Where there is but one way to the peer nothing is done.
    /// Default: true.
    pub automatic_paths: bool,
    /// Which of its paths a connection's data takes. Default: [`BiasedRtt`](crate::select::BiasedRtt).
    pub selector: Arc<dyn PathSelector>,
    /// Unreliable datagrams.
    pub datagrams: DatagramConfig,
    /// Packets after which a sender changes its key, over all paths; the AEAD's own limit holds as well.
    /// Default: that limit (2^22 for AES-256-GCM, 2^32 for ChaCha20-Poly1305).
    pub rotate_keys_after: Option<u64>,
    /// Time after which a sender changes its key, if it has sent anything that was acknowledged meanwhile. From 1 s to the
    /// hour that is the default.
    pub rotate_keys_every: Option<Duration>,
    /// What the tokens of stateless resets are made from: by these a restarted endpoint can tell its peers that it knows nothing
    /// of their connections any more ([`CloseReason::PeerRestarted`](crate::CloseReason::PeerRestarted)), if it has the same
    /// key, address and number of shards. Endpoints that can be sent each other's packets, as those behind an anycast address,
    /// must not have the same one, or anybody can end the connections of one by asking the other. Default: one made from the
    /// identity.
    pub reset_key: Option<Secret>,
    /// QOTP, the wire of version 0: off unless it is switched on.
    pub qotp: QotpConfig,
    /// What becomes of incoming attempts without the application being asked. Default: nothing, it is asked about each.
    pub admission: Option<Arc<dyn Admission>>,
    /// When incoming attempts have to show that they receive at their address, which costs them a round trip, before anything
    /// is spent on them. Default: [`RetryPolicy::UnderLoad`].
    pub retry: RetryPolicy,
    /// What tokens are made with that the endpoint gives out and knows again, for several endpoints that are to know each
    /// other's. Default: drawn at random when the endpoint is made.
    pub group_secret: Option<Secret>,
    /// What is done with data that comes with a dialler's first packet, before the dialler has proved anything. Default:
    /// [`EarlyData::Hold`].
    pub early_data: EarlyData,
    /// What early tokens are made with, for the shards of one port, which are to know each other's; adapters draw it for those
    /// that they make. It must be drawn anew at every start and be had by nobody else: an endpoint does not know which tokens
    /// another one with the same secret has seen used, nor which it has seen itself before a restart, and acts on a packet that
    /// somebody has recorded once more. Default: drawn at random when the endpoint is made.
    pub early_secret: Option<Secret>,
    /// Whether a peer may have our own identity key. Default: false.
    pub allow_self: bool,
    /// Open a stream visibly: its first packet goes out although nothing was written. Default: true.
    pub announce_streams: bool,
    /// Send a frame of a reserved type now and then, so that the peer's tolerance is exercised. Default: false.
    pub reserved_frames: bool,
    /// Hand out the secrets of every connection, by [`Endpoint::poll_key_log`](crate::Endpoint::poll_key_log), to look
    /// into captured packets with [`Inspector`](crate::Inspector): whoever has them reads everything. Default: false.
    pub key_log: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            alpns: Vec::new(),
            limits: Limits::default(),
            shard: Shard::default(),
            idle_timeout: Some(Duration::from_secs(90)),
            keep_alive: None,
            connect_timeout: Duration::from_secs(5),
            aead: AeadPolicy::Auto,
            aes_hardware: false,
            packet_size: 1200,
            mtu_discovery: MtuDiscovery::default(),
            transports: BTreeMap::new(),
            max_receive_size: 65_000,
            ecn: true,
            max_ack_delay: Duration::from_millis(25),
            max_paths: 8,
            automatic_paths: true,
            selector: Arc::new(BiasedRtt),
            datagrams: DatagramConfig::default(),
            rotate_keys_after: None,
            rotate_keys_every: None,
            reset_key: None,
            qotp: QotpConfig::default(),
            admission: None,
            retry: RetryPolicy::UnderLoad,
            group_secret: None,
            early_data: EarlyData::Hold,
            early_secret: None,
            allow_self: false,
            announce_streams: true,
            reserved_frames: false,
            key_log: false,
        }
    }
}

/// Larger sizes mean the same as this one: a quarter of what a stream can ever carry (RFC 9000 section 19.8), so that sums
/// and doublings of sizes never overflow.
const MAX_SIZE: u64 = 1 << 60;
/// The most streams of a kind that a peer may have open: a frame that names the last one makes all before it too (RFC 9000
/// section 3.2), in one call.
const MAX_STREAMS: u32 = 1 << 16;
/// The longest `max_ack_delay` that a peer accepts (RFC 9000 section 18.2).
const MAX_ACK_DELAY: Duration = Duration::from_millis((1 << 14) - 1);

/// The shortest `keep_alive`: an interval of nothing would always be over.
const MIN_KEEP_ALIVE: Duration = Duration::from_millis(10);

impl Config {
    /// Whether connections in QOTP, which proves nobody's identity, are accepted beside native ones. Dialling is a
    /// choice of its own: [`ConnectOptions::qotp`](crate::ConnectOptions::qotp).
    #[must_use]
    pub const fn accept_qotp(mut self, accept: bool) -> Self {
        self.qotp.accept = accept;
        self
    }

    /// These settings for one of several endpoints that share a port, where they were made for all of them together.
    ///
    /// What [`Limits`] promises for an endpoint holds for all shards together: each gets its part of `per_endpoint`,
    /// `connections`, `half_open` and `stateless_per_second` (at least one of each that is not zero). A part that one does not use is of no use to the others. All
    /// other limits are those of a connection, and stay.
    #[must_use]
    pub fn for_shard(mut self, shard: Shard) -> Self {
        let limits = &mut self.limits;
        limits.per_endpoint = shard.part(limits.per_endpoint);
        // No part is larger than the whole.
        limits.connections = shard.part(limits.connections.into()) as u32;
        limits.half_open = shard.part(limits.half_open.into()) as u32;
        limits.stateless_per_second = shard.part(limits.stateless_per_second.into()) as u32;
        self.shard = shard;
        self
    }

    /// The same settings with every value in its range.
    pub(crate) fn clamped(mut self) -> Self {
        let limits = &mut self.limits;
        for size in [
            &mut limits.per_connection,
            &mut limits.per_endpoint,
            &mut limits.initial_window,
            &mut limits.max_window,
            &mut limits.max_stream_window,
            &mut limits.send_buffer,
        ] {
            *size = (*size).min(MAX_SIZE);
        }
        for streams in [&mut limits.streams_bidi, &mut limits.streams_uni] {
            *streams = (*streams).min(MAX_STREAMS);
        }
        // The last place is the one of no connection.
        limits.connections = limits.connections.min(u32::MAX - 1);
        self.qotp.mtu = self.qotp.mtu.clamp(MIN_INIT as u16, TrainLimit::MAX_BYTES as u16);
        // Less than two packets would not move.
        self.qotp.max_in_flight = self.qotp.max_in_flight.clamp(2 * u64::from(self.qotp.mtu), MAX_SIZE);
        self.packet_size = self.packet_size.clamp(1200, TrainLimit::MAX_BYTES as u16);
        self.mtu_discovery.max = self.mtu_discovery.max.min(TrainLimit::MAX_BYTES as u16);
        for profile in self.transports.values_mut() {
            profile.max_datagram = profile.max_datagram.clamp(MIN_INIT as u16, TrainLimit::MAX_BYTES as u16);
        }
        self.max_receive_size = self.max_receive_size.max(1200);
        self.max_paths = self.max_paths.clamp(1, MAX_PATHS);
        self.max_ack_delay = self.max_ack_delay.min(MAX_ACK_DELAY);
        self.keep_alive = self.keep_alive.map(|interval| interval.max(MIN_KEEP_ALIVE));
        self
    }

    /// What there is to know of the transport that reaches `remote`, if it is one beside UDP.
    pub(crate) fn profile(&self, remote: &TransportAddr) -> Option<&TransportProfile> {
        match remote {
            TransportAddr::Custom { transport, .. } => self.transports.get(transport),
            TransportAddr::Ip(_) | TransportAddr::Relay { .. } => None,
        }
    }

    /// The size of packets on a path to `remote` at first, and which larger ones to look for there.
    pub(crate) fn sizes_to(&self, remote: &TransportAddr) -> (u16, MtuDiscovery) {
        let profile = self.profile(remote);
        // A transport knows what it carries: what is usual for UDP says nothing about it.
        let max = profile.map_or(self.mtu_discovery.max, |profile| profile.max_datagram);
        let base = profile.map_or(self.packet_size, |profile| self.packet_size.min(profile.max_datagram));
        (base, MtuDiscovery { max, ..self.mtu_discovery })
    }
}

/// What there is to know of a transport beside UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TransportProfile {
    /// The largest datagram that it carries, in bytes. No larger packet is sent there; MTU discovery looks for sizes up to
    /// this one, whatever [`MtuDiscovery::max`] says of UDP. At least 1,200, the size of a handshake's first packet, and at
    /// most 65,000 is used. QOTP's packets have one size everywhere, [`QotpConfig::mtu`]: where it does not fit, no dial is
    /// answered.
    pub max_datagram: u16,
    /// Whether its paths are of first or of second choice. Default: of first choice, as those of UDP.
    pub tier: Tier,
    /// What is added to a round-trip time before its paths are compared with others. Default: nothing.
    pub bias: Bias,
    /// Whether its paths are none the worse for another address of the host's: a serial line's, or those of a transport that
    /// connects anew by itself. Where not, they are given up when one comes or goes, but for the last one
    /// ([`NetworkChange::Addresses`](crate::NetworkChange::Addresses)). Default: yes.
    pub survives_network_change: bool,
}

impl TransportProfile {
    /// A transport that carries datagrams of up to so many bytes; all else is as it is by default.
    #[must_use]
    pub const fn new(max_datagram: u16) -> Self {
        Self { max_datagram, tier: Tier::Primary, bias: Bias::NONE, survives_network_change: true }
    }
}

/// The search for the largest packets that a path carries (RFC 8899). It begins when there is something to fill them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MtuDiscovery {
    /// Whether to search at all. Default: yes.
    pub enabled: bool,
    /// The largest UDP payload to look for, in bytes; at most 65,000 is used, and what `packet_size` says in any case.
    /// 8,952 suits jumbo frames, 65,000 the loopback interface. Default: 1,452, an Ethernet frame less the headers of IPv6
    /// and UDP.
    pub max: u16,
    /// How long after a search that ended below `max` a larger size is looked for again, if there is something to fill
    /// it. Default: 600 s (PMTU_RAISE_TIMER, RFC 8899 section 5.1.1).
    pub interval: Duration,
}

impl Default for MtuDiscovery {
    fn default() -> Self {
        Self { enabled: true, max: 1452, interval: Duration::from_secs(600) }
    }
}

/// QOTP, the wire of version 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct QotpConfig {
    /// Whether connections are accepted. Default: no.
    pub accept: bool,
    /// Size of a full datagram, in bytes of UDP payload. Both sides must be set to the same: a smaller Init is dropped,
    /// and the reference implementation cuts longer datagrams. At least 1,200 and at most 65,000 is used.
    /// Default: 1,400 (QOTP v0.2.19).
    pub mtu: u16,
    /// Bytes sent and not acknowledged, at most, whatever the path carries. The reference implementation has the
    /// system's socket buffer and takes one packet a turn; between two dunlins more is faster. Default: 100,000.
    pub max_in_flight: u64,
}

impl Default for QotpConfig {
    fn default() -> Self {
        Self { accept: false, mtu: 1400, max_in_flight: 100_000 }
    }
}

/// Which data AEAD a side offers, and which it prefers when it chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AeadPolicy {
    /// AES-256-GCM where both sides have it in hardware, else ChaCha20-Poly1305.
    #[default]
    Auto,
    /// ChaCha20-Poly1305 only.
    ChaCha20,
    /// AES-256-GCM if the peer offers it, in hardware or not.
    Aes,
}

/// When incoming attempts are asked to show their address, by a Retry.
///
/// *Load* is more than half of what attempts may have at all: of the places for half-open ones, of the quarter of
/// [`Limits::per_endpoint`] that these may hold, or of [`Limits::dh_per_second`]. QOTP knows no Retry: under load its attempts
/// are dropped, unless nobody is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum RetryPolicy {
    /// Under load: then the rest is for those that have shown their address; of what is left of it each network may have a quarter.
    #[default]
    UnderLoad,
    /// Always.
    Always,
    /// Never: who floods the endpoint from invented addresses keeps everybody out.
    Never,
}

/// What an endpoint does with *early data*: what a dialler that knows its key sends with its very first packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum EarlyData {
    /// Holds it back until the dialler has proved its key, so that it is as good as what follows.
    #[default]
    Hold,
    /// Hands it over at once, a round trip sooner, where the dialler shows a token from an earlier connection
    /// ([`ConnectOptions::early`](crate::ConnectOptions::early)), for the first time; else holds it back, and also where a policy
    /// accepts without asking ([`Verdict::Accept`](crate::admission::Verdict::Accept)). Tokens are given out on every connection.
    ///
    /// **Until [`Event::Connected`](crate::Event::Connected) what was read may be a copy of what the dialler sent** up to 10
    /// minutes ago (an endpoint hands each over once, but for what it had to hold back first, and a dialler that hears
    /// nothing may send the same again; docs/PROTOCOL.md, "Early data at once"), has no forward secrecy, and may have been
    /// written by whoever has our secret key. So act on it only if it makes no difference whether that is done once or twice
    /// (RFC 8446 section 8, RFC 9001 section 9.2).
    Apply,
}

/// What peers may make an endpoint hold. Sizes are bytes of heap, bookkeeping included.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// One connection. Default: 128 MiB.
    pub per_connection: u64,
    /// All connections together. Default: 1 GiB.
    pub per_endpoint: u64,
    /// Connections, half-open ones included. Default: 65,536.
    pub connections: u32,
    /// Incoming attempts that are not confirmed yet. Default: 4,096.
    pub half_open: u32,
    /// X25519 operations a second for incoming attempts; those that are promised to an attempt count when it is let in. About
    /// five make a handshake. From half of them on attempts have to show their address first ([`Config::retry`]), and
    /// beyond them all are dropped. Each shard has as many. Default: 10,000, 2,000 handshakes, which take a fifth to a half of
    /// a core.
    pub dh_per_second: u32,
    /// How long an attempt may stay unconfirmed. Default: 10 s.
    pub half_open_lifetime: Duration,
    /// Bidirectional streams that the peer may have open at once; at most 65,536 is used. Default: 100.
    pub streams_bidi: u32,
    /// Unidirectional streams that the peer may have open at once; at most 65,536 is used. Default: 100.
    pub streams_uni: u32,
    /// Receive credit granted to a connection, and to each of its streams, when it opens. At least the 1,200 bytes of
    /// one packet of early data, which is sent before the limit is known, are granted. Default: 64 KiB.
    pub initial_window: u64,
    /// The most receive credit of one connection; it grows with use, to four times what arrives in a round trip and is
    /// read, as far as there is memory. Default: 64 MiB.
    pub max_window: u64,
    /// The most receive credit of one stream; it grows in the same way. Default: 64 MiB, which 1 Gbit/s over 200 ms needs.
    pub max_stream_window: u64,
    /// The most bytes from the first one that the peer has not acknowledged to the last one that was written, for one stream;
    /// what it may hold grows with the congestion window, memory is taken when something is written. Default: 64 MiB.
    pub send_buffer: u64,
    /// Answers a second to datagrams that belong to no connection, other than of a handshake that is spoken here; a tenth of
    /// them to one network (IPv4 /24, IPv6 /56). Default: 100.
    pub stateless_per_second: u32,
    /// Gaps in the received data of one stream; a packet that would make more is dropped unacknowledged.
    /// Default: 4,096, one for every 16 KiB of the largest window: each gap of a peer that opens them from the end to the beginning
    /// moves all that there are.
    pub stream_gaps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_connection: 128 << 20,
            per_endpoint: 1 << 30,
            connections: 65_536,
            half_open: 4_096,
            dh_per_second: 10_000,
            half_open_lifetime: Duration::from_secs(10),
            streams_bidi: 100,
            streams_uni: 100,
            initial_window: 64 << 10,
            max_window: 64 << 20,
            max_stream_window: 64 << 20,
            send_buffer: 64 << 20,
            stateless_per_second: 100,
            stream_gaps: 4_096,
        }
    }
}

impl Limits {
    /// [`Limits::initial_window`] as it is granted.
    pub(crate) fn granted_window(&self) -> u64 {
        self.initial_window.max(MIN_INIT as u64)
    }
}

/// Queues for unreliable datagrams, in bytes of payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatagramConfig {
    /// Received and not yet read; beyond it the oldest goes. Zero: datagrams are not accepted. Default: 256 KiB.
    pub receive_buffer: u32,
    /// Queued and not yet sent. Default: 256 KiB.
    pub send_buffer: u32,
    /// What happens when the send queue is full. Default: the oldest goes.
    pub overflow: Overflow,
}

impl Default for DatagramConfig {
    fn default() -> Self {
        Self { receive_buffer: 256 << 10, send_buffer: 256 << 10, overflow: Overflow::DropOldest }
    }
}

/// What a full queue does with one more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// Makes room by dropping the oldest: fresh data matters most.
    #[default]
    DropOldest,
    /// Refuses the new one.
    Refuse,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::addr::CustomAddr;

    #[test]
    fn path_sizes_are_those_that_a_transport_carries() {
        let custom = |number| TransportAddr::Custom {
            transport: TransportId::new(number),
            address: CustomAddr::new(b"").unwrap(),
        };
        let mut config = Config { packet_size: 1_300, ..Config::default() };
        for (number, max) in [(1, 9_000), (2, 1_250), (3, 0), (4, u16::MAX)] {
            config.transports.insert(TransportId::new(number), TransportProfile::new(max));
        }
        let config = config.clamped();
        let udp = "192.0.2.1:9".parse().unwrap();
        for (remote, base, max) in [
            (udp, 1_300, 1_452),
            (custom(1), 1_300, 9_000),
            (custom(2), 1_250, 1_250),
            (custom(3), 1_200, 1_200),
            (custom(4), 1_300, 65_000),
            (custom(5), 1_300, 1_452),
        ] {
            let (found, discovery) = config.sizes_to(&remote);
            assert_eq!((found, discovery.max), (base, max), "{remote}");
        }
    }
}

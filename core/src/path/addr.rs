//! Where packets come from and go to.

use core::net::{IpAddr, SocketAddr};

use crate::endpoint::ConnectionHandle;

/// A transport address of a peer. One kind so far; relays and custom transports get variants of their own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum TransportAddr {
    /// A UDP address.
    Ip(SocketAddr),
}

impl TransportAddr {
    /// The same address in its one canonical form: IPv4-mapped IPv6 becomes IPv4, so that one peer has one address
    /// whichever socket it arrived on.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            Self::Ip(SocketAddr::V6(v6)) => match v6.ip().to_ipv4_mapped() {
                Some(v4) => Self::Ip(SocketAddr::new(IpAddr::V4(v4), v6.port())),
                None => self,
            },
            Self::Ip(SocketAddr::V4(_)) => self,
        }
    }

    /// Whether a packet can be sent there at all: a port, and neither unspecified, multicast nor broadcast.
    #[must_use]
    pub fn is_sendable(&self) -> bool {
        let Self::Ip(addr) = self;
        let broadcast = matches!(addr.ip(), IpAddr::V4(ip) if ip.is_broadcast());
        addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast() && !broadcast
    }
}

impl From<SocketAddr> for TransportAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(addr)
    }
}

/// Our end of a path: which of the embedder's sockets, and which of its addresses where that is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct LocalAddr {
    /// The embedder's number for the socket.
    pub socket: u16,
    /// The address that the packet was sent to, or is to be sent from; `None` leaves it to the system.
    pub ip: Option<IpAddr>,
}

/// Both ends of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuple {
    /// Ours, as far as it is known.
    pub local: LocalAddr,
    /// The peer's.
    pub remote: TransportAddr,
}

impl Tuple {
    /// Whether these are the same two ends, as far as is known: not every system tells of a packet which of its addresses
    /// it was sent to.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        let ips = (self.local.ip, other.local.ip);
        self.remote == other.remote
            && self.local.socket == other.local.socket
            && (ips.0 == ips.1 || ips.0.is_none() || ips.1.is_none())
    }

    /// Whether the two differ in nothing but ports, as after a NAT has forgotten a mapping: the route is most likely the
    /// same.
    pub(crate) fn is_same_route(&self, other: &Self) -> bool {
        let (TransportAddr::Ip(ours), TransportAddr::Ip(theirs)) = (self.remote, other.remote);
        ours.ip() == theirs.ip()
            && match (self.local.ip, other.local.ip) {
                (Some(ours), Some(theirs)) => ours == theirs,
                _ => self.local.socket == other.local.socket,
            }
    }
}

/// The ECN bits of an IP packet (RFC 3168 section 5) where they are not 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ecn {
    /// ECN-capable, codepoint 1.
    Ect1,
    /// ECN-capable, codepoint 0.
    Ect0,
    /// Congestion experienced.
    Ce,
}

/// Where a received datagram came from, and how.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Arrival {
    /// The socket and address on which it arrived.
    pub local: LocalAddr,
    /// Who sent it, if the source address can be believed.
    pub remote: TransportAddr,
    /// Its ECN bits.
    pub ecn: Option<Ecn>,
}

impl Arrival {
    /// A datagram from `remote` on socket 0, without further detail.
    #[must_use]
    pub fn from_remote(remote: impl Into<TransportAddr>) -> Self {
        Self { local: LocalAddr::default(), remote: remote.into(), ecn: None }
    }

    /// Both ends.
    pub(crate) const fn tuple(&self) -> Tuple {
        Tuple { local: self.local, remote: self.remote }
    }
}

/// How long a train one call of `poll_transmit` may build.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrainLimit {
    /// Datagrams, all of one size but the last, which may be shorter. At least 1 is assumed.
    pub segments: usize,
    /// Bytes in all; no train exceeds 65,000, what one send carries. At least one datagram is built all the same.
    pub bytes: usize,
}

impl TrainLimit {
    /// The most bytes in one train, whatever the limit says: one `sendmsg` takes no more than 65,507.
    pub const MAX_BYTES: usize = 65_000;

    /// One datagram a call, for sockets without segmentation offload.
    pub const SINGLE: Self = Self { segments: 1, bytes: Self::MAX_BYTES };

    /// As much as one send with segmentation offload carries (64 segments, Linux's UDP_MAX_SEGMENTS).
    pub const OFFLOAD: Self = Self { segments: 64, bytes: Self::MAX_BYTES };
}

/// A train of datagrams that `poll_transmit` appended to the caller's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Whose it is: of a connection, or of an incoming attempt.
    pub connection: ConnectionHandle,
    /// From which socket and address.
    pub local: LocalAddr,
    /// To whom.
    pub remote: TransportAddr,
    /// The ECN bits to set.
    pub ecn: Option<Ecn>,
    /// Bytes appended.
    pub len: usize,
    /// Size of each datagram in it but the last, which may be shorter. Equal to `len` for a single datagram.
    pub segment_size: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> TransportAddr {
        TransportAddr::Ip(text.parse().unwrap())
    }

    #[test]
    fn one_peer_has_one_address() {
        assert_eq!(addr("[::ffff:192.0.2.7]:443").canonical(), addr("192.0.2.7:443"));
        assert_eq!(addr("[2001:db8::1]:443").canonical(), addr("[2001:db8::1]:443"));
    }

    #[test]
    fn two_ends_match_as_far_as_is_known() {
        let tuple = |socket, local: Option<&str>, remote| Tuple {
            local: LocalAddr { socket, ip: local.map(|ip| ip.parse().unwrap()) },
            remote: addr(remote),
        };
        let known = tuple(0, Some("192.0.2.1"), "198.51.100.1:1");
        let unknown = tuple(0, None, "198.51.100.1:1");
        assert!(known.matches(&known) && known.matches(&unknown) && unknown.matches(&known));
        for (other, same_route) in [
            (tuple(0, Some("192.0.2.1"), "198.51.100.1:2"), true),
            (tuple(1, Some("192.0.2.1"), "198.51.100.1:1"), true),
            (tuple(0, Some("192.0.2.2"), "198.51.100.1:1"), false),
            (tuple(0, Some("192.0.2.1"), "198.51.100.2:1"), false),
            (tuple(1, None, "198.51.100.1:1"), false),
        ] {
            assert!(!known.matches(&other), "{other:?}");
            assert_eq!(known.is_same_route(&other), same_route, "{other:?}");
        }
    }

    #[test]
    fn nothing_is_sent_to_nobody_or_everybody() {
        for bad in ["0.0.0.0:1", "[::]:1", "224.0.0.1:1", "[ff02::1]:1", "255.255.255.255:1", "192.0.2.1:0"] {
            assert!(!addr(bad).is_sendable(), "{bad}");
        }
        assert!(addr("127.0.0.1:9").is_sendable());
    }
}

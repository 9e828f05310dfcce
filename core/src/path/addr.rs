//! Where packets come from and go to.

mod kinds;
#[cfg(test)]
mod tests;
mod text;

use core::net::IpAddr;

use crate::endpoint::ConnectionHandle;

pub use kinds::{CustomAddr, CustomAddrTooLong, PathKind, PeerRef, RelayId, TransportAddr, TransportId};
pub use text::ParseAddrError;

/// Our end of a path: which of the embedder's sockets, and which of its addresses where that is known. It means something
/// where the peer has an IP address; otherwise it is as it is by default, for a relay or a custom transport is all the way
/// there is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct LocalAddr {
    /// The embedder's number for the socket.
    pub socket: u16,
    /// The address that the packet was sent to, or is to be sent from; `None` leaves it to the system.
    pub ip: Option<IpAddr>,
}

impl LocalAddr {
    /// The canonical form of our end of a path to `remote`, so that what is the same compares equal.
    pub(crate) fn towards(self, remote: &TransportAddr) -> Self {
        match remote {
            TransportAddr::Ip(_) => Self { ip: self.ip.map(|ip| ip.to_canonical()), ..self },
            TransportAddr::Relay { .. } | TransportAddr::Custom { .. } => Self::default(),
        }
    }
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
        let (TransportAddr::Ip(mut ours), TransportAddr::Ip(theirs)) = (self.remote, other.remote) else {
            // Of other addresses nobody knows what their parts mean.
            return self.remote == other.remote;
        };
        ours.set_port(theirs.port());
        ours == theirs
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

    /// The same with canonical addresses, so that one peer is one whichever socket it arrived on.
    pub(crate) fn canonical(self) -> Self {
        let remote = self.remote.canonical();
        Self { local: self.local.towards(&remote), remote, ecn: self.ecn }
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
    /// Whose it is: a connection's, an incoming attempt's, or [nobody's](ConnectionHandle::NONE).
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

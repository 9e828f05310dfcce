//! Where a peer can be reached: by IP, through a relay, or by a transport of the embedder's.

use core::fmt;
use core::net::{IpAddr, SocketAddr, SocketAddrV6};

use thiserror::Error;

use crate::path::mapped::is_mapped;

/// A transport address of a peer.
///
/// It is small and is copied freely: what does not fit (the name of a relay, a long address of a custom transport) is
/// kept by whoever carries the packets, and is known here by a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum TransportAddr {
    /// A UDP address.
    Ip(SocketAddr),
    /// A peer behind a relay. No adapter has relays yet: a packet for such an address is lost.
    Relay {
        /// Which relay.
        relay: RelayId,
        /// Whom it is to pass packets on to.
        peer: PeerRef,
    },
    /// An address of a transport that the embedder has brought along.
    Custom {
        /// Which transport.
        transport: TransportId,
        /// What that transport calls the peer.
        address: CustomAddr,
    },
}

/// A custom transport, by the number that the embedder gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TransportId(u16);

impl TransportId {
    /// The transport with this number. What the numbers mean is between the two peers' applications, or nobody's
    /// business: they are not told to the peer.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A relay, by its number in a table of the embedder's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RelayId(u32);

impl RelayId {
    /// The relay with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A peer of a relay, by its number in a table of the embedder's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PeerRef(u32);

impl PeerRef {
    /// The peer with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// What a custom transport calls a peer: up to 20 bytes that mean something to it alone, perhaps none.
// In this order, the derived order is that of the bytes: what is unused is zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomAddr {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

/// A custom address of more than [`CustomAddr::MAX_LEN`] bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "{len} bytes are too many for a custom address: keep longer names in the transport, and number them here"
)]
pub struct CustomAddrTooLong {
    /// How many there were.
    pub len: usize,
}

impl CustomAddr {
    /// The most bytes of an address: an IPv6 address and a number of 32 bits, or a hash of 160 bits.
    pub const MAX_LEN: usize = 20;

    /// The address of these bytes.
    ///
    /// # Errors
    /// [`CustomAddrTooLong`] beyond [`Self::MAX_LEN`].
    pub fn new(address: &[u8]) -> Result<Self, CustomAddrTooLong> {
        let len = address.len();
        let mut bytes = [0; Self::MAX_LEN];
        bytes.get_mut(..len).ok_or(CustomAddrTooLong { len })?.copy_from_slice(address);
        // No more than `MAX_LEN`.
        Ok(Self { bytes, len: len as u8 })
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for CustomAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// By what a path goes: what is known of it without a single packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum PathKind {
    /// UDP over IPv4.
    Ipv4,
    /// UDP over IPv6.
    Ipv6,
    /// A relay.
    Relay,
    /// A transport of the embedder's.
    Custom(TransportId),
}

impl TransportAddr {
    /// The same address in its one canonical form, so that one peer has one address whichever socket it arrived on:
    /// IPv4-mapped IPv6 becomes IPv4; the scope stays where it says something, with link-local addresses (RFC 4007
    /// section 6); the flow label is no part of an address.
    #[must_use]
    pub const fn canonical(self) -> Self {
        let Self::Ip(SocketAddr::V6(v6)) = self else { return self };
        if let Some(v4) = v6.ip().to_ipv4_mapped() {
            return Self::Ip(SocketAddr::new(IpAddr::V4(v4), v6.port()));
        }
        let scope = if v6.ip().is_unicast_link_local() { v6.scope_id() } else { 0 };
        Self::Ip(SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope)))
    }

    /// Whether a packet can be sent there at all. Of IP addresses it takes a port, and that they are neither unspecified,
    /// multicast nor broadcast, nor one of [`AddrMap`](crate::AddrMap)'s, which no packet ever comes from; link-local ones
    /// need a scope, without which nobody knows the link.
    #[must_use]
    pub fn is_sendable(&self) -> bool {
        let Self::Ip(addr) = self else { return true };
        let reachable = match addr {
            SocketAddr::V4(v4) => !v4.ip().is_broadcast(),
            SocketAddr::V6(v6) => {
                !is_mapped(v6.ip()) && (v6.scope_id() != 0 || !v6.ip().is_unicast_link_local())
            }
        };
        reachable && addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast()
    }

    /// By what a path to this address goes.
    #[must_use]
    pub const fn kind(&self) -> PathKind {
        match self.canonical() {
            Self::Ip(SocketAddr::V4(_)) => PathKind::Ipv4,
            Self::Ip(SocketAddr::V6(_)) => PathKind::Ipv6,
            Self::Relay { .. } => PathKind::Relay,
            Self::Custom { transport, .. } => PathKind::Custom(transport),
        }
    }
}

impl From<SocketAddr> for TransportAddr {
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(addr)
    }
}

//! Addresses as the engine knows them on one side, as the kernel wants them on the other.

use core::net::{IpAddr, SocketAddr};
use std::io;

use quinn_udp::Transmit;

/// The families that a socket speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Families {
    V4,
    V6,
    /// An IPv6 socket, to which IPv4 addresses are shown as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).
    Both,
}

impl Families {
    pub(crate) fn of(local: SocketAddr, dual_stack: bool) -> Self {
        match local {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) if dual_stack => Self::Both,
            SocketAddr::V6(_) => Self::V6,
        }
    }

    pub(crate) fn speak(self, address: IpAddr) -> bool {
        match (address.to_canonical(), self) {
            (_, Self::Both) | (IpAddr::V4(_), Self::V4) | (IpAddr::V6(_), Self::V6) => true,
            (IpAddr::V4(_), Self::V6) | (IpAddr::V6(_), Self::V4) => false,
        }
    }

    /// What is to be sent, with addresses as the kernel wants them.
    pub(crate) fn outward<'a>(self, transmit: &Transmit<'a>) -> io::Result<Transmit<'a>> {
        if !self.speak(transmit.destination.ip()) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let destination = match (self, transmit.destination) {
            (Self::Both, SocketAddr::V4(v4)) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            (Self::V4, SocketAddr::V6(v6)) => (v6.ip().to_canonical(), v6.port()).into(),
            (_, destination) => destination,
        };
        Ok(Transmit { destination, src_ip: transmit.src_ip.map(|ip| ip.to_canonical()), ..transmit.clone() })
    }
}

/// An address as the engine knows it.
pub(crate) fn inward(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            (v6.ip().to_canonical(), v6.port()).into()
        }
        other => other,
    }
}

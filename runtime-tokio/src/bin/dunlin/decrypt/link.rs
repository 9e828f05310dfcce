//! Frames of a link layer, down to the UDP datagram in them.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice, ether_type};
use pcap_parser::Linktype;

/// OpenBSD's loopback: like BSD's, in network byte order (<https://www.tcpdump.org/linktypes.html>).
const LOOP: Linktype = Linktype(108);
/// BSD's numbers of the IPv6 address family, which the systems do not agree on (ibid., `LINKTYPE_NULL`).
const BSD_IPV6: [u32; 3] = [24, 28, 30];
/// The number of the IPv4 one, which they do agree on.
const BSD_IPV4: u32 = 2;

/// A UDP datagram in a frame.
pub(crate) struct Datagram<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// What was captured of its payload.
    pub(crate) payload: &'a [u8],
    /// The length of the whole payload.
    pub(crate) len: usize,
}

/// Why there is no datagram to look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoDatagram {
    /// A link type that is not among those read here.
    Link(Linktype),
    /// Something else than IP.
    NotIp,
    /// IP with something else than UDP.
    NotUdp,
    /// A part of a datagram.
    Fragment,
    /// So little was captured, or so much is wrong, that not even the addresses are known.
    Short,
}

impl fmt::Display for NoDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(link) => write!(f, "the link type {} is not read here", link.0),
            Self::NotIp => f.write_str("not IP"),
            Self::NotUdp => f.write_str("not UDP"),
            Self::Fragment => f.write_str("a fragment of an IP packet, which is not put together here"),
            Self::Short => f.write_str("too short, or damaged"),
        }
    }
}

/// The datagram in a frame.
pub(crate) fn datagram(link: Linktype, frame: &[u8]) -> Result<Datagram<'_>, NoDatagram> {
    let packet = match link {
        Linktype::ETHERNET => LaxSlicedPacket::from_ethernet(frame).map_err(|_| NoDatagram::Short)?,
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => ip(frame)?,
        Linktype::NULL => {
            let (family, rest) = frame.split_first_chunk().ok_or(NoDatagram::Short)?;
            // The order of the bytes is that of the machine that captured.
            let families = [u32::from_le_bytes(*family), u32::from_be_bytes(*family)];
            if families.into_iter().any(is_ip) { ip(rest)? } else { return Err(NoDatagram::NotIp) }
        }
        LOOP => {
            let (family, rest) = frame.split_first_chunk().ok_or(NoDatagram::Short)?;
            if is_ip(u32::from_be_bytes(*family)) { ip(rest)? } else { return Err(NoDatagram::NotIp) }
        }
        // Packet type(2), ARPHRD type(2), address length(2), address(8), protocol(2).
        Linktype::LINUX_SLL => {
            let (header, rest) = frame.split_first_chunk::<16>().ok_or(NoDatagram::Short)?;
            cooked([header[14], header[15]], rest)
        }
        // Protocol(2), reserved(2), interface(4), ARPHRD type(2), packet type(1), address length(1), address(8).
        Linktype::LINUX_SLL2 => {
            let (header, rest) = frame.split_first_chunk::<20>().ok_or(NoDatagram::Short)?;
            cooked([header[0], header[1]], rest)
        }
        other => return Err(NoDatagram::Link(other)),
    };
    udp(&packet)
}

const fn is_ip(family: u32) -> bool {
    let [a, b, c] = BSD_IPV6;
    family == BSD_IPV4 || family == a || family == b || family == c
}

fn ip(packet: &[u8]) -> Result<LaxSlicedPacket<'_>, NoDatagram> {
    LaxSlicedPacket::from_ip(packet).map_err(|_| NoDatagram::Short)
}

fn cooked(protocol: [u8; 2], rest: &[u8]) -> LaxSlicedPacket<'_> {
    LaxSlicedPacket::from_ether_type(EtherType(u16::from_be_bytes(protocol)), rest)
}

fn udp<'a>(packet: &LaxSlicedPacket<'a>) -> Result<Datagram<'a>, NoDatagram> {
    let (from, to, payload): (IpAddr, IpAddr, _) = match &packet.net {
        Some(LaxNetSlice::Ipv4(packet)) => {
            let header = packet.header();
            (header.source_addr().into(), header.destination_addr().into(), packet.payload())
        }
        Some(LaxNetSlice::Ipv6(packet)) => {
            let header = packet.header();
            (header.source_addr().into(), header.destination_addr().into(), packet.payload())
        }
        Some(LaxNetSlice::Arp(_)) => return Err(NoDatagram::NotIp),
        None => {
            let kind = packet.ether_payload().map(|payload| payload.ether_type);
            let is_ip = kind.is_none_or(|kind| [ether_type::IPV4, ether_type::IPV6].contains(&kind));
            return Err(if is_ip { NoDatagram::Short } else { NoDatagram::NotIp });
        }
    };
    if payload.fragmented {
        return Err(NoDatagram::Fragment);
    }
    match &packet.transport {
        Some(TransportSlice::Udp(udp)) => Ok(Datagram {
            from: SocketAddr::new(from, udp.source_port()),
            to: SocketAddr::new(to, udp.destination_port()),
            payload: udp.payload(),
            len: usize::from(udp.length()).checked_sub(8).unwrap_or_else(|| udp.payload().len()),
        }),
        None if payload.ip_number == etherparse::ip_number::UDP => Err(NoDatagram::Short),
        _ => Err(NoDatagram::NotUdp),
    }
}

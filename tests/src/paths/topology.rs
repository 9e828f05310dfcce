//! Which interfaces the two sides have, and what is between each two of them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::link::LinkConfig;

/// An interface, by its number on its side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum End {
    /// One of the dialler's.
    Client(usize),
    /// One of the answerer's.
    Server(usize),
}

/// A direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Toward {
    /// From the dialler to the answerer.
    Server,
    /// From the answerer to the dialler.
    Client,
}

impl Toward {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Server, Self::Client];
}

/// The interfaces of both sides, and what is between each two of them.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The addresses of the dialler's interfaces.
    pub clients: Vec<SocketAddr>,
    /// The addresses of the answerer's interfaces.
    pub servers: Vec<SocketAddr>,
    /// For each of the dialler's interfaces and each of the answerer's the link between them, alike in both directions;
    /// `None` where there is none. Addresses of different families have none, whatever stands here.
    pub links: Vec<Vec<Option<LinkConfig>>>,
}

impl Topology {
    /// So many interfaces on each side, at IPv4 addresses, each pair joined as `link` says.
    #[must_use]
    pub fn mesh(
        clients: usize,
        servers: usize,
        mut link: impl FnMut(usize, usize) -> Option<LinkConfig>,
    ) -> Self {
        let links = (0..clients).map(|i| (0..servers).map(|j| link(i, j)).collect()).collect();
        let v4 = |end| SocketAddr::new(IpAddr::V4(v4_of(end)), port_of(end));
        Self {
            clients: (0..clients).map(End::Client).map(v4).collect(),
            servers: (0..servers).map(End::Server).map(v4).collect(),
            links,
        }
    }

    /// A dialler with an interface for each of these links, and an answerer with one.
    #[must_use]
    pub fn fan(links: &[LinkConfig]) -> Self {
        Self::mesh(links.len(), 1, |i, _| Some(links[i].clone()))
    }

    /// As many interfaces on each side as there are links, and the n-th link between the n-th two: nothing else.
    #[must_use]
    pub fn parallel(links: &[LinkConfig]) -> Self {
        Self::mesh(links.len(), links.len(), |i, j| (i == j).then(|| links[i].clone()))
    }

    /// The same with this interface at an IPv6 address.
    #[must_use]
    pub fn v6(mut self, end: End) -> Self {
        let address = SocketAddr::new(IpAddr::V6(v6_of(end)), port_of(end));
        match end {
            End::Client(i) => self.clients[i] = address,
            End::Server(j) => self.servers[j] = address,
        }
        self
    }
}

/// The host's number on its side, below 256, and a number for the side.
fn place(end: End) -> (u8, u8) {
    let (side, number) = match end {
        End::Client(i) => (1, i),
        End::Server(j) => (2, j),
    };
    (side, u8::try_from(number).expect("a side has at most 256 interfaces"))
}

fn v4_of(end: End) -> Ipv4Addr {
    let (side, number) = place(end);
    Ipv4Addr::new(10, side, number, 1)
}

fn v6_of(end: End) -> Ipv6Addr {
    let (side, number) = place(end);
    Ipv6Addr::new(0xfd00, side.into(), number.into(), 0, 0, 0, 0, 1)
}

/// The outer address of the NAT that an interface is behind, in the family of its address.
pub(super) fn outside_of(end: End, address: SocketAddr) -> IpAddr {
    let (side, number) = place(end);
    match address {
        // RFC 2544 and RFC 3849: addresses for tests and for documents.
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(198, 18, side, number)),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, side.into(), number.into(), 0, 0, 0, 1)),
    }
}

fn port_of(end: End) -> u16 {
    match end {
        End::Client(_) => 1000,
        End::Server(_) => 2000,
    }
}

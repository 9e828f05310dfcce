//! The host's sockets, as far as the embedder has told: what each of them reaches, and which addresses are our own.

use core::net::{IpAddr, SocketAddr};

use alloc::vec::Vec;

use crate::path::addr::TransportAddr;
use crate::time::Instant;

use super::Endpoint;

/// Sockets of an endpoint: more than a machine has networks, and few enough to try each in turn.
const MAX_SOCKETS: usize = 16;

/// One of the embedder's sockets: what [`Endpoint::set_sockets`] is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LocalSocket {
    /// The embedder's number for it, as in [`LocalAddr::socket`](crate::LocalAddr::socket).
    pub number: u16,
    /// The address that it is bound to, with the port that it got.
    pub bound: SocketAddr,
}

impl LocalSocket {
    /// The socket with this number, which is bound to this address.
    #[must_use]
    pub const fn new(number: u16, bound: SocketAddr) -> Self {
        Self { number, bound }
    }

    /// Whether packets to `remote` can leave through it, as far as its own address tells: one of the family that it speaks
    /// (`[::]` is taken to speak both), of this machine if it is bound to a loopback address, and of the same link if it is
    /// bound to a link-local one (RFC 4291 section 2.5.6). What has no IP address is reached through no socket.
    #[must_use]
    pub fn reaches(&self, remote: &TransportAddr) -> bool {
        let TransportAddr::Ip(remote) = remote.canonical() else { return false };
        if !self.speaks(remote.ip()) {
            return false;
        }
        match self.bound {
            _ if self.ip().is_loopback() => remote.ip().is_loopback(),
            SocketAddr::V6(own) if own.ip().is_unicast_link_local() => {
                matches!(remote, SocketAddr::V6(to) if to.ip().is_unicast_link_local() && to.scope_id() == own.scope_id())
            }
            _ => true,
        }
    }

    /// Whether packets can leave through it from this address, if the host has it.
    pub(crate) fn may_have(&self, ip: IpAddr) -> bool {
        self.speaks(ip) && (self.ip().is_unspecified() || self.ip() == ip)
    }

    fn ip(&self) -> IpAddr {
        self.bound.ip().to_canonical()
    }

    fn speaks(&self, ip: IpAddr) -> bool {
        let both = self.bound.is_ipv6() && self.bound.ip().is_unspecified();
        both || self.ip().is_ipv4() == ip.is_ipv4()
    }
}

/// All of them. None: the embedder has not told.
#[derive(Default, Debug)]
pub(crate) struct Sockets {
    all: Vec<LocalSocket>,
}

impl Sockets {
    fn set(&mut self, sockets: &[LocalSocket]) {
        self.all = sockets.iter().take(MAX_SOCKETS).copied().collect();
    }

    /// Those through which packets to `remote` can leave, in the order in which they were told.
    pub(crate) fn reaching(&self, remote: &TransportAddr) -> impl Iterator<Item = &LocalSocket> {
        self.all.iter().filter(move |socket| socket.reaches(remote))
    }

    /// The socket to reach `remote` through: the `usual` one if that does, or if nobody knows of a better one.
    pub(crate) fn towards(&self, remote: &TransportAddr, usual: u16) -> u16 {
        let mut reaching = self.reaching(remote).map(|socket| socket.number);
        let first = reaching.next().unwrap_or(usual);
        if first == usual || reaching.any(|number| number == usual) { usual } else { first }
    }

    /// Whether packets to this address come back to us. A socket without an IP address has every one of this machine.
    pub(crate) fn is_own(&self, addr: &TransportAddr) -> bool {
        let TransportAddr::Ip(addr) = addr else { return false };
        let is_here = |socket: &LocalSocket| {
            socket.ip() == addr.ip() || socket.may_have(addr.ip()) && addr.ip().is_loopback()
        };
        self.all.iter().any(|socket| socket.bound.port() == addr.port() && is_here(socket))
    }
}

impl Endpoint {
    /// Says which sockets this endpoint has, all of them, whenever they are others than before; of more than 16 the first.
    ///
    /// So no dial goes where this endpoint itself receives: what leads back here is never the peer, and dials of one's own
    /// addresses are what wrong entries in directories make. (With [`Config::allow_self`](crate::Config::allow_self) they are
    /// dialled all the same.)
    pub fn set_sockets(&mut self, now: Instant, sockets: &[LocalSocket]) {
        self.shared.advance(now);
        self.shared.sockets.set(sockets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(bound: &str) -> LocalSocket {
        LocalSocket::new(7, bound.parse().unwrap())
    }

    fn addr(text: &str) -> TransportAddr {
        text.parse().unwrap()
    }

    #[test]
    fn path_a_socket_reaches_what_its_family_and_its_scope_allow() {
        let reaches = |bound, remote| socket(bound).reaches(&addr(remote));
        for (bound, remote) in [
            ("0.0.0.0:1", "192.0.2.9:9"),
            ("0.0.0.0:1", "[::ffff:192.0.2.9]:9"),
            ("[::]:1", "192.0.2.9:9"),
            ("[::]:1", "[2001:db8::9]:9"),
            ("[::]:1", "[fe80::9%3]:9"),
            ("192.0.2.1:1", "198.51.100.9:9"),
            ("192.0.2.1:1", "127.0.0.1:9"),
            ("[::ffff:192.0.2.1]:1", "198.51.100.9:9"),
            ("[2001:db8::1]:1", "[2001:db8:1::9]:9"),
            ("127.0.0.1:1", "127.9.9.9:9"),
            ("[::1]:1", "[::1]:9"),
            ("[fe80::1%3]:1", "[fe80::9%3]:9"),
        ] {
            assert!(reaches(bound, remote), "{bound} to {remote}");
        }
        for (bound, remote) in [
            ("0.0.0.0:1", "[2001:db8::9]:9"),
            ("192.0.2.1:1", "[2001:db8::9]:9"),
            ("[2001:db8::1]:1", "192.0.2.9:9"),
            ("[::ffff:192.0.2.1]:1", "[2001:db8::9]:9"),
            ("127.0.0.1:1", "192.0.2.9:9"),
            ("[::1]:1", "[2001:db8::9]:9"),
            ("[fe80::1%3]:1", "[fe80::9%4]:9"),
            ("[fe80::1%3]:1", "[2001:db8::9]:9"),
            ("[::]:1", "custom:1/00"),
        ] {
            assert!(!reaches(bound, remote), "{bound} to {remote}");
        }
    }

    #[test]
    fn path_a_socket_has_its_own_address_or_every_one_of_its_families() {
        let may_have = |bound, ip: &str| socket(bound).may_have(ip.parse().unwrap());
        for (bound, ip) in [
            ("192.0.2.1:1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
            ("0.0.0.0:1", "192.0.2.2"),
            ("[::]:1", "192.0.2.2"),
            ("[::]:1", "2001:db8::1"),
            ("[fe80::1%3]:1", "fe80::1"),
        ] {
            assert!(may_have(bound, ip), "{bound} and {ip}");
        }
        for (bound, ip) in
            [("192.0.2.1:1", "192.0.2.2"), ("0.0.0.0:1", "2001:db8::1"), ("[2001:db8::1]:1", "192.0.2.1")]
        {
            assert!(!may_have(bound, ip), "{bound} and {ip}");
        }
    }

    #[test]
    fn path_packets_to_our_own_addresses_come_back() {
        let bound = ["192.0.2.1:4433", "0.0.0.0:9", "[::]:8", "[::1]:7", "[::ffff:192.0.2.2]:6"];
        let mut sockets = Sockets::default();
        sockets.set(&bound.map(socket));
        for ours in
            ["192.0.2.1:4433", "127.0.0.1:9", "127.0.0.1:8", "[::1]:8", "[::1]:7", "192.0.2.2:6"].map(addr)
        {
            assert!(sockets.is_own(&ours), "{ours:?}");
        }
        for other in
            ["192.0.2.1:4434", "192.0.2.2:4433", "192.0.2.1:9", "[::1]:9", "127.0.0.1:7", "custom:1/00"]
                .map(addr)
        {
            assert!(!sockets.is_own(&other), "{other:?}");
        }
        sockets.set(&[]);
        assert!(!sockets.is_own(&addr("192.0.2.1:4433")), "it is not ours any more");
    }

    #[test]
    fn path_the_usual_socket_is_left_only_for_one_that_reaches_the_peer() {
        let mut sockets = Sockets::default();
        let (v4, v6) = (addr("198.51.100.1:9"), addr("[2001:db8::9]:9"));
        assert_eq!([sockets.towards(&v4, 5), sockets.towards(&v6, 5)], [5, 5], "nobody has told");
        let bound = ["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"];
        let numbered =
            (0..).zip(bound).map(|(number, bound)| LocalSocket::new(number, bound.parse().unwrap()));
        sockets.set(&numbered.collect::<Vec<_>>());
        assert_eq!([sockets.towards(&v4, 1), sockets.towards(&v4, 2), sockets.towards(&v4, 9)], [1, 0, 0]);
        assert_eq!([sockets.towards(&v6, 1), sockets.towards(&v6, 2)], [2, 2]);
        assert_eq!(sockets.towards(&addr("custom:1/00"), 1), 1);
    }

    #[test]
    fn path_the_first_socket_told_is_the_first_to_reach_and_16_are_kept() {
        let mut sockets = Sockets::default();
        let told = |number: u16| LocalSocket::new(number, ([192, 0, 2, 1], 1000 + number).into());
        sockets.set(&core::array::from_fn::<_, 17, _>(|number| told(20 - number as u16)));
        let numbers: Vec<u16> =
            sockets.reaching(&addr("198.51.100.1:9")).map(|socket| socket.number).collect();
        assert_eq!(numbers, (5..=20).rev().collect::<Vec<u16>>());
    }
}

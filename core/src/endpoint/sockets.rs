//! The host's sockets and addresses, as far as the embedder has told: what each socket reaches, which addresses are our own,
//! and which end of a path is gone.

use core::net::{IpAddr, SocketAddr};

use alloc::vec::Vec;

use crate::path::addr::{LocalAddr, TransportAddr, Tuple};
use crate::time::Instant;

use super::Endpoint;
use super::network::Report;

/// Sockets of an endpoint: more than a machine has networks, and few enough to try each in turn.
const MAX_SOCKETS: usize = 16;
/// Addresses of a host, and as many that it had: a router's worth, in 17 KiB. Of one that has more, nothing is concluded.
const MAX_ADDRESSES: usize = 1024;

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

/// What a list of the host's addresses says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// Others than before.
    Changed,
    /// What was known.
    Same,
    /// There are too many to tell.
    Unclear,
}

/// What packets leave through and come in by.
#[derive(Default, Debug)]
pub(crate) struct Sockets {
    /// None: the embedder has not told.
    all: Vec<LocalSocket>,
    /// The addresses that the host has, in order; none if nobody has told. Loopback ones it has anyway.
    addresses: Vec<IpAddr>,
    /// Those that it was said to have and has not any more, in order.
    gone: Vec<IpAddr>,
}

impl Sockets {
    /// Says whether some were known, and these are others.
    fn set(&mut self, sockets: &[LocalSocket]) -> bool {
        let told = sockets.iter().take(MAX_SOCKETS).copied().collect();
        let before = core::mem::replace(&mut self.all, told);
        !before.is_empty() && before != self.all
    }

    /// The host has these addresses now.
    pub(super) fn set_addresses(&mut self, mut told: Vec<IpAddr>) -> News {
        if told.len() > MAX_ADDRESSES {
            (self.addresses, self.gone) = (Vec::new(), Vec::new());
            return News::Unclear;
        }
        told.iter_mut().for_each(|ip| *ip = ip.to_canonical());
        told.sort_unstable();
        told.dedup();
        if told == self.addresses {
            return News::Same;
        }
        let before = core::mem::replace(&mut self.addresses, told);
        let is_lost = |ip: &IpAddr| self.addresses.binary_search(ip).is_err();
        let lost = before.iter().filter(|ip| is_lost(ip)).count();
        let earlier = core::mem::take(&mut self.gone);
        // What went long ago is of interest to nobody any more.
        let earlier = if earlier.len().saturating_add(lost) > MAX_ADDRESSES { Vec::new() } else { earlier };
        self.gone = before.into_iter().chain(earlier).filter(is_lost).collect();
        self.gone.sort_unstable();
        News::Changed
    }

    /// Whether a path may go on from there: the socket is one that is told of and can have the address, and the host has not
    /// lost that. An address that the host was never said to have may be one that its kernel answers for all the same.
    pub(crate) fn has(&self, local: LocalAddr) -> bool {
        let told = self.all.iter().find(|socket| socket.number == local.socket);
        match (told, local.ip) {
            (None, _) if !self.all.is_empty() => false,
            (_, None) => true,
            (None, Some(ip)) => !self.is_gone(ip),
            (Some(socket), Some(ip)) => socket.may_have(ip) && !self.is_gone(ip),
        }
    }

    fn is_gone(&self, ip: IpAddr) -> bool {
        !ip.is_loopback() && self.gone.binary_search(&ip).is_ok()
    }

    /// Those through which packets to `remote` can leave, in the order in which they were told.
    pub(crate) fn reaching(&self, remote: &TransportAddr) -> impl Iterator<Item = &LocalSocket> {
        self.all.iter().filter(move |socket| !self.is_gone(socket.ip()) && socket.reaches(remote))
    }

    /// The socket to reach `remote` through: the `usual` one if that does, or if nobody knows of a better one.
    pub(crate) fn towards(&self, remote: &TransportAddr, usual: u16) -> u16 {
        let mut reaching = self.reaching(remote).map(|socket| socket.number);
        let first = reaching.next().unwrap_or(usual);
        if first == usual || reaching.any(|number| number == usual) { usual } else { first }
    }

    /// An own end to go on from towards the other: the system's choice, through the same socket if that reaches it.
    pub(crate) fn any_towards(&self, ends: &Tuple) -> LocalAddr {
        LocalAddr { socket: self.towards(&ends.remote, ends.local.socket), ip: None }
    }

    /// Whether packets to this address come back to us. A socket without an IP address has every one of this machine.
    pub(crate) fn is_own(&self, addr: &TransportAddr) -> bool {
        let TransportAddr::Ip(addr) = addr else { return false };
        let ip = addr.ip();
        let is_hosts = || ip.is_loopback() || self.addresses.binary_search(&ip).is_ok();
        let is_here = |socket: &LocalSocket| socket.ip() == ip || socket.may_have(ip) && is_hosts();
        self.all.iter().any(|socket| socket.bound.port() == addr.port() && is_here(socket))
    }
}

impl Endpoint {
    /// Says which sockets this endpoint has, all of them, whenever they are others than before; of more than 16 the first.
    ///
    /// So no dial goes where this endpoint itself receives: what leads back here is never the peer, and dials of one's own
    /// addresses are what wrong entries in directories make. (With [`Config::allow_self`](crate::Config::allow_self) they are
    /// dialled all the same.)
    ///
    /// Paths through a socket that is gone, or bound to another address now, fare like those from an address that is gone
    /// ([`NetworkChange::Addresses`](super::NetworkChange::Addresses)). [`handle_timeout`](Self::handle_timeout) is due for
    /// that at once, so that what else is to be said of the network can be said before.
    pub fn set_sockets(&mut self, now: Instant, sockets: &[LocalSocket]) {
        self.shared.advance(now);
        if self.shared.sockets.set(sockets) {
            self.round.report(Report { sockets: true, ..Report::default() });
        }
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

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn from(socket: u16, ip: &str) -> LocalAddr {
        LocalAddr { socket, ip: Some(ip.parse().unwrap()) }
    }

    #[test]
    fn path_an_address_is_gone_that_was_on_a_list_and_is_no_more() {
        let mut sockets = Sockets::default();
        let (own, never) = (from(0, "192.0.2.1"), from(0, "192.0.2.9"));
        assert_eq!(sockets.set_addresses(ips(&["192.0.2.2", "192.0.2.1"])), News::Changed);
        assert_eq!(sockets.set_addresses(ips(&["::ffff:192.0.2.1", "192.0.2.2", "192.0.2.1"])), News::Same);
        assert!(sockets.has(own) && sockets.has(never));
        assert_eq!(sockets.set_addresses(ips(&["127.0.0.1"])), News::Changed);
        assert_eq!(sockets.set_addresses(ips(&[])), News::Changed);
        assert!(!sockets.has(own) && sockets.has(never), "it is remembered over several lists");
        assert!(sockets.has(from(0, "127.0.0.1")) && sockets.has(LocalAddr::default()));
        sockets.set_addresses(ips(&["192.0.2.1"]));
        assert!(sockets.has(own) && !sockets.has(from(0, "192.0.2.2")));
    }

    #[test]
    fn path_what_is_known_of_addresses_is_bounded() {
        let all = |net: u8, count: u16| -> Vec<IpAddr> {
            (0..count).map(|n| [10, net, (n >> 8) as u8, n as u8].into()).collect()
        };
        let mut sockets = Sockets::default();
        for net in 0..8 {
            assert_eq!(sockets.set_addresses(all(net, 1024)), News::Changed);
            assert!(sockets.addresses.len() + sockets.gone.len() <= 2048);
        }
        assert!(!sockets.has(from(0, "10.6.0.1")), "those that went last are remembered");
        assert_eq!(sockets.set_addresses(all(9, 1025)), News::Unclear);
        assert!(sockets.has(from(0, "10.6.0.1")) && sockets.has(from(0, "10.7.0.1")));
    }

    #[test]
    fn path_through_a_socket_that_is_not_there_nothing_goes() {
        let mut sockets = Sockets::default();
        let bound = ["192.0.2.1:1", "0.0.0.0:2"].map(|bound| bound.parse().unwrap());
        assert!(
            !sockets.set(&[LocalSocket::new(0, bound[0]), LocalSocket::new(1, bound[1])]),
            "nothing was known"
        );
        assert!(sockets.has(from(0, "192.0.2.1")) && sockets.has(from(1, "192.0.2.1")));
        assert!(!sockets.has(from(0, "192.0.2.2")), "it is bound to another address");
        assert!(!sockets.has(from(2, "192.0.2.1")) && !sockets.has(LocalAddr { socket: 2, ip: None }));
        assert!(sockets.set(&[LocalSocket::new(1, bound[1])]));
        assert!(!sockets.has(from(0, "192.0.2.1")));
        // Nor through one that is bound to an address that is gone.
        sockets.set(&[LocalSocket::new(0, bound[0]), LocalSocket::new(1, bound[1])]);
        let peer = addr("198.51.100.1:9");
        assert_eq!(sockets.towards(&peer, 0), 0);
        sockets.set_addresses(ips(&["192.0.2.1", "192.0.2.5"]));
        sockets.set_addresses(ips(&["192.0.2.5"]));
        assert_eq!(sockets.towards(&peer, 0), 1);
        assert!(sockets.is_own(&addr("192.0.2.5:2")) && !sockets.is_own(&addr("192.0.2.6:2")), "the host's");
    }
}

//! What addresses have in common: a count for each network of the internet, in a table that strangers cannot make grow.

use core::hash::BuildHasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use alloc::vec::Vec;

use crate::hash::KeyedState;
use crate::path::addr::TransportAddr;

/// Networks told apart, and sites: those that fall into one place are counted as one.
const PLACES: u64 = 1024;

/// The place of a network or site in tables with the same hasher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(u16);

/// Something for each network and each site. Nothing is ever looked for or thrown out: its size is fixed.
#[derive(Debug)]
pub(super) struct Prefixes<T> {
    /// None before the first one is asked about; those of sites behind those of networks.
    entries: Vec<T>,
    hasher: KeyedState,
}

impl<T: Copy> Prefixes<T> {
    pub(super) const fn new(hasher: KeyedState) -> Self {
        Self { entries: Vec::new(), hasher }
    }

    /// Where the network is counted that `addr` is in: what one subscriber has, and may send from, as a rule. An IPv4 /24 (the
    /// longest prefix that the internet routes), an IPv6 /56 (RFC 6177 section 2). Of anything else the address.
    pub(super) fn network(&self, addr: &TransportAddr) -> Place {
        let key = match addr.canonical() {
            TransportAddr::Ip(ip) => match ip.ip() {
                IpAddr::V4(v4) => return self.place(0, &Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
                IpAddr::V6(v6) => return self.place(0, &prefix(v6, 56)),
            },
            other => other,
        };
        self.place(0, &key)
    }

    /// Where the site is counted that `addr` is in: an IPv6 /48, the most that one subscriber is given (RFC 6177 section 2) and
    /// the longest prefix that the internet routes. IPv4 has nothing between a network and an operator.
    pub(super) fn site(&self, addr: &TransportAddr) -> Option<Place> {
        match addr.canonical() {
            TransportAddr::Ip(ip) => match ip.ip() {
                IpAddr::V4(_) => None,
                IpAddr::V6(v6) => Some(self.place(1, &prefix(v6, 48))),
            },
            TransportAddr::Relay { .. } | TransportAddr::Custom { .. } => None,
        }
    }

    /// The `kind`s have places of their own.
    fn place(&self, kind: u16, of: &impl core::hash::Hash) -> Place {
        let place = (self.hasher.hash_one(of) % PLACES) as u16;
        Place(kind.wrapping_mul(PLACES as u16).wrapping_add(place))
    }

    /// What is counted there; at first it is `new`.
    pub(super) fn at(&mut self, place: Place, new: T) -> Option<&mut T> {
        let place = usize::from(place.0);
        if self.entries.len() <= place {
            self.entries.resize((place | (PLACES as usize - 1)).saturating_add(1), new);
        }
        self.entries.get_mut(place)
    }
}

const fn prefix(addr: Ipv6Addr, len: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(addr.to_bits() & !(u128::MAX >> len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes() -> Prefixes<u8> {
        Prefixes::new(KeyedState::new([1, 2]))
    }

    #[test]
    fn hostile_networks_are_told_apart_and_addresses_in_them_are_not() {
        let prefixes = prefixes();
        let network = |text: &str| prefixes.network(&text.parse().unwrap());
        for (first, same, other) in [
            ("192.0.2.1:9", "192.0.2.255:10", "192.0.3.1:9"),
            ("[2001:db8:0:100::1]:9", "[2001:db8:0:1ff::2]:1", "[2001:db8:0:200::1]:9"),
            ("192.0.2.1:9", "[::ffff:192.0.2.7]:9", "[2001:db8::1]:9"),
        ] {
            assert_eq!(network(first), network(same), "{same}");
            assert_ne!(network(first), network(other), "{other}");
        }
    }

    #[test]
    fn hostile_sites_hold_many_networks() {
        let prefixes = prefixes();
        let site = |text: &str| prefixes.site(&text.parse().unwrap());
        assert_eq!(site("192.0.2.1:9"), None);
        assert_eq!(site("[2001:db8::1]:9"), site("[2001:db8:0:ffff::1]:7"));
        assert_ne!(site("[2001:db8::1]:9"), site("[2001:db8:1::1]:9"));
    }

    #[test]
    fn hostile_tables_have_one_size() {
        let mut prefixes = prefixes();
        for n in 0..10_000_u32 {
            let addr = TransportAddr::from(core::net::SocketAddr::from((n.to_be_bytes(), 9)));
            let place = prefixes.network(&addr);
            *prefixes.at(place, 0).unwrap() = 1;
        }
        assert_eq!(prefixes.entries.len(), PLACES as usize);
        let site = prefixes.site(&"[2001:db8::1]:9".parse().unwrap()).unwrap();
        *prefixes.at(site, 0).unwrap() = 1;
        assert_eq!(prefixes.entries.len(), 2 * PLACES as usize);
    }
}

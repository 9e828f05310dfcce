//! What addresses have in common: a count for each network of the internet, in a table that strangers cannot make grow.

use core::hash::BuildHasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use alloc::vec::Vec;

use crate::hash::KeyedState;
use crate::path::addr::TransportAddr;

/// Places for IPv4 networks, as many for IPv6 networks, and as many for what these belong to.
const PLACES: u64 = 1024;

/// Where one is counted in tables with the same hasher: in two places, of which the one that others share less
/// tells more (a count-min sketch: Cormode and Muthukrishnan, 2005, with one table for both functions). Beside 20 networks that are
/// counted everywhere they go, one in 700 shares both of its places with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Places([u16; 2]);

/// What an address belongs to.
pub(super) type Groups = [Option<Places>; 3];

/// What each of them may take of what is left: one part in so many. The more networks take part, the less is left, so that there
/// is always something for one more ("dynamic thresholds": Choudhury and Hahne, Dynamic queue length thresholds for shared-memory
/// packet switches, IEEE/ACM Transactions on Networking 6(2), 1998), until there are as many as there are places here. Of n
/// networks that take all they can get, each has one part in n + 4.
pub(super) const PARTS: [u32; 3] = [4, 2, 2];

/// Something for each of them. Nothing is ever looked for or thrown out: its size is fixed.
#[derive(Debug)]
pub(super) struct Prefixes<T> {
    /// None before the first one is asked about.
    entries: Vec<T>,
    hasher: KeyedState,
}

/// The place with the highest number of a kind's, all of whose bits are set.
const LAST_PLACE: usize = PLACES as usize - 1;

impl<T: Copy> Prefixes<T> {
    pub(super) const fn new(hasher: KeyedState) -> Self {
        Self { entries: Vec::new(), hasher }
    }

    /// Where the network is counted that `addr` is in: what one subscriber has, and may send from, as a rule. An IPv4 /24 (the
    /// longest prefix that the internet routes), an IPv6 /56 (RFC 6177 section 2). Of anything else the address.
    pub(super) fn network(&self, addr: &TransportAddr) -> Places {
        let key = match addr.canonical() {
            TransportAddr::Ip(ip) => match ip.ip() {
                IpAddr::V4(v4) => return self.places(0, &Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
                IpAddr::V6(v6) => return self.places(1, &prefix(v6, 56)),
            },
            other => other,
        };
        self.places(0, &key)
    }

    /// Where `addr` is counted, by itself and with ever more others: its network, its site (an IPv6 /48, the most that one
    /// subscriber is given, RFC 6177 section 2) and its operator (a /32, the least that one is given). An IPv4 network belongs to
    /// nobody but itself.
    pub(super) fn groups(&self, addr: &TransportAddr) -> Groups {
        let network = self.network(addr);
        match addr.canonical() {
            TransportAddr::Ip(ip) => match ip.ip() {
                IpAddr::V4(_) => [Some(network), None, None],
                IpAddr::V6(v6) => {
                    let [site, operator] = [48, 32].map(|len| self.places(2, &(len, prefix(v6, len))));
                    [Some(network), Some(site), Some(operator)]
                }
            },
            TransportAddr::Relay { .. } | TransportAddr::Custom { .. } => [Some(network), None, None],
        }
    }

    /// The `kind`s have places of their own.
    fn places(&self, kind: u16, of: &impl core::hash::Hash) -> Places {
        let hash = self.hasher.hash_one(of);
        let (first, further) = (hash % PLACES, ((hash >> 32) % (PLACES - 1)).saturating_add(1));
        let at = |place: u64| kind.wrapping_mul(PLACES as u16).wrapping_add((place % PLACES) as u16);
        Places([at(first), at(first.wrapping_add(further))])
    }

    /// What is counted there; where nothing was, it is `new`.
    pub(super) fn get(&self, places: Places, new: T) -> [T; 2] {
        places.0.map(|place| self.entries.get(usize::from(place)).copied().unwrap_or(new))
    }

    /// Changes what is counted there, which is `new` at first.
    pub(super) fn update(&mut self, places: Places, new: T, mut change: impl FnMut(&mut T)) {
        for place in places.0.map(usize::from) {
            if self.entries.len() <= place {
                self.entries.resize((place | LAST_PLACE).saturating_add(1), new);
            }
            if let Some(entry) = self.entries.get_mut(place) {
                change(entry);
            }
        }
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
    fn hostile_sites_and_operators_hold_many_networks() {
        let prefixes = prefixes();
        let groups = |text: &str| prefixes.groups(&text.parse().unwrap());
        assert_eq!(groups("192.0.2.1:9")[1..], [None, None]);
        let [one, same_site, same_operator, other] =
            ["[2001:db8::1]:9", "[2001:db8:0:ffff::1]:7", "[2001:db8:1::1]:9", "[2001:db9::1]:9"].map(groups);
        assert!(one[0] != same_site[0] && one[1..] == same_site[1..]);
        assert!(one[1] != same_operator[1] && one[2] == same_operator[2]);
        assert!(one[2] != other[2]);
    }

    #[test]
    fn hostile_crowds_seldom_share_both_places_of_a_bystander() {
        let mut prefixes = prefixes();
        let at = |n: u32| TransportAddr::from(core::net::SocketAddr::from(((n << 8).to_be_bytes(), 9)));
        for n in 0..20 {
            prefixes.update(prefixes.network(&at(n)), 0, |entry| *entry = 1);
        }
        let shared = |n: &u32| prefixes.get(prefixes.network(&at(*n)), 0) == [1, 1];
        assert_eq!((0..20).filter(shared).count(), 20);
        let unlucky = (20..20_020).filter(shared).count();
        assert!(unlucky < 60, "{unlucky} of 20,000");
    }

    #[test]
    fn hostile_tables_have_one_size() {
        let mut prefixes = prefixes();
        for n in 0..10_000_u32 {
            let addr = TransportAddr::from(core::net::SocketAddr::from((n.to_be_bytes(), 9)));
            let place = prefixes.network(&addr);
            prefixes.update(place, 0, |entry| *entry = 1);
        }
        assert_eq!(prefixes.entries.len(), PLACES as usize);
        for places in prefixes.groups(&"[2001:db8::1]:9".parse().unwrap()).into_iter().flatten() {
            prefixes.update(places, 0, |entry| *entry = 1);
        }
        assert_eq!(prefixes.entries.len(), 3 * PLACES as usize);
    }
}

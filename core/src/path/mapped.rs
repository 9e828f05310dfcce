//! Transport addresses for hosts that can only handle socket addresses.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{Ipv6Addr, SocketAddr};

use hashbrown::HashMap;

use crate::hash::KeyedState;
use crate::rng::Rng;

use super::addr::TransportAddr;

/// fd15:70a:510b::/48: a prefix for local use, of no meaning outside of the machine (RFC 4193). Its global id is the one
/// that iroh has for the same purpose.
const PREFIX: [u16; 3] = [0xfd15, 0x070a, 0x510b];
/// The subnets, also iroh's: of addresses behind relays, and of custom ones.
const RELAY_SUBNET: u16 = 1;
const CUSTOM_SUBNET: u16 = 3;
/// The port of all of them. They have no ports, and 0 would look like a mistake.
const PORT: u16 = 12345;

/// Whether an address is one that an [`AddrMap`] may have given out.
pub(crate) fn is_mapped(ip: &Ipv6Addr) -> bool {
    ip.segments().starts_with(&PREFIX)
}

/// Gives transport addresses that are no IP addresses a socket address each, and finds them by it again: for logs, tables
/// and interfaces that know nothing else. The engine and the wire have no use for it.
///
/// IP addresses are their own. All others get an IPv6 address out of fd15:70a:510b::/48, whose host part is random: who
/// has seen some of them does not know the others. The map has room for so many; then the one goes that was asked for
/// least recently, and its socket address is unknown from then on.
///
/// ```
/// use dunlin_core::{AddrMap, TransportAddr};
///
/// let mut map = AddrMap::new(1000, [7; 32]); // Take the seed from the system's random generator instead.
/// let custom: TransportAddr = "custom:7/c0ffee".parse()?;
/// let shown = map.socket_addr(custom);
/// assert_eq!(map.transport_addr(shown), Some(custom));
///
/// let ip: TransportAddr = "192.0.2.7:443".parse()?;
/// assert_eq!(TransportAddr::Ip(map.socket_addr(ip)), ip);
/// # Ok::<(), dunlin_core::ParseAddrError>(())
/// ```
#[derive(Debug)]
pub struct AddrMap {
    places: Vec<Place>,
    capacity: usize,
    by_addr: HashMap<TransportAddr, usize, KeyedState>,
    by_ip: HashMap<Ipv6Addr, usize, KeyedState>,
    /// The least recently used first.
    by_use: BTreeMap<u64, usize>,
    uses: u64,
    rng: Rng,
}

/// An address and the one that stands for it.
#[derive(Clone, Copy, Debug)]
struct Place {
    addr: TransportAddr,
    ip: Ipv6Addr,
    /// When it was asked for last, counted in questions.
    used: u64,
}

#[expect(clippy::indexing_slicing, reason = "the maps hold places of the list, which never gets shorter")]
impl AddrMap {
    /// An empty map with room for `capacity` addresses, at least one. `seed` must be fresh from the system's random
    /// generator.
    #[must_use]
    pub fn new(capacity: usize, seed: [u8; 32]) -> Self {
        let mut rng = Rng::new(&[0; 32], &seed);
        Self {
            places: Vec::new(),
            capacity: capacity.max(1),
            by_addr: HashMap::with_hasher(rng.hasher()),
            by_ip: HashMap::with_hasher(rng.hasher()),
            by_use: BTreeMap::new(),
            uses: 0,
            rng,
        }
    }

    /// The socket address that stands for `addr`: itself if it is an IP address, in its canonical form.
    pub fn socket_addr(&mut self, addr: TransportAddr) -> SocketAddr {
        let subnet = match addr.canonical() {
            TransportAddr::Ip(ip) => return ip,
            TransportAddr::Relay { .. } => RELAY_SUBNET,
            TransportAddr::Custom { .. } => CUSTOM_SUBNET,
        };
        let place = match self.by_addr.get(&addr) {
            Some(place) => *place,
            None => self.add(addr, subnet),
        };
        self.touch(place);
        SocketAddr::new(self.places[place].ip.into(), PORT)
    }

    /// The transport address for which `shown` stands. `None` if that is out of this map's prefix and not, or not any more,
    /// in the map.
    pub fn transport_addr(&mut self, shown: SocketAddr) -> Option<TransportAddr> {
        let SocketAddr::V6(v6) = shown else { return Some(shown.into()) };
        if !is_mapped(v6.ip()) {
            return Some(TransportAddr::Ip(shown).canonical());
        }
        let place = *self.by_ip.get(v6.ip()).filter(|_| v6.port() == PORT)?;
        self.touch(place);
        Some(self.places[place].addr)
    }

    /// How many addresses are in the map.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Finds a place for `addr`, of which nothing is known.
    fn add(&mut self, addr: TransportAddr, subnet: u16) -> usize {
        let place = Place { addr, ip: self.unused_ip(subnet), used: 0 };
        let is_full = self.places.len() >= self.capacity;
        let at = match self.by_use.first_entry().filter(|_| is_full) {
            Some(oldest) => {
                let at = oldest.remove();
                let old = core::mem::replace(&mut self.places[at], place);
                self.by_addr.remove(&old.addr);
                self.by_ip.remove(&old.ip);
                at
            }
            None => {
                self.places.push(place);
                self.places.len().saturating_sub(1)
            }
        };
        self.by_addr.insert(addr, at);
        self.by_ip.insert(place.ip, at);
        at
    }

    /// An address of the subnet that stands for nothing.
    fn unused_ip(&mut self, subnet: u16) -> Ipv6Addr {
        let [a, b, c] = PREFIX;
        loop {
            let host = self.rng.next_u64();
            let [e, f, g, h] = [host >> 48, host >> 32, host >> 16, host].map(|part| part as u16);
            let ip = Ipv6Addr::new(a, b, c, subnet, e, f, g, h);
            if !self.by_ip.contains_key(&ip) {
                return ip;
            }
        }
    }

    /// A place was asked for.
    fn touch(&mut self, place: usize) {
        self.uses = self.uses.saturating_add(1);
        self.by_use.remove(&self.places[place].used);
        self.by_use.insert(self.uses, place);
        self.places[place].used = self.uses;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::string::ToString;

    use super::*;
    use crate::path::addr::{CustomAddr, PeerRef, RelayId, TransportId};

    fn custom(transport: u16, address: u8) -> TransportAddr {
        let address = CustomAddr::new(&[address; 3]).unwrap();
        TransportAddr::Custom { transport: TransportId::new(transport), address }
    }

    fn relayed(relay: u32, peer: u32) -> TransportAddr {
        TransportAddr::Relay { relay: RelayId::new(relay), peer: PeerRef::new(peer) }
    }

    fn shown(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), PORT)
    }

    #[test]
    fn path_addresses_are_found_again_by_what_stands_for_them() {
        let mut map = AddrMap::new(100, [1; 32]);
        assert!(map.is_empty());
        let all = [custom(0, 1), custom(0, 2), custom(1, 1), relayed(1, 2), relayed(2, 1)];
        let shown: Vec<_> = all.iter().map(|addr| map.socket_addr(*addr)).collect();
        assert_eq!(map.len(), all.len());
        assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), all.len(), "{shown:?}");
        for (addr, shown) in all.iter().zip(&shown) {
            assert_eq!(map.transport_addr(*shown), Some(*addr));
            assert_eq!(map.socket_addr(*addr), *shown, "always the same");
            let subnet = match addr {
                TransportAddr::Relay { .. } => "[fd15:70a:510b:1:",
                _ => "[fd15:70a:510b:3:",
            };
            assert!(shown.to_string().starts_with(subnet) && shown.port() == 12345, "{addr} is {shown}");
            assert!(!TransportAddr::Ip(*shown).is_sendable());
            assert_eq!(map.transport_addr(SocketAddr::new(shown.ip(), 443)), None, "another port");
        }
    }

    #[test]
    fn path_addresses_of_ip_stand_for_themselves_and_unknown_ones_for_nothing() {
        let mut map = AddrMap::new(100, [1; 32]);
        for ip in ["192.0.2.1", "2001:db8::1", "fd15:70a:510c::1", "fd15:70a:510a:3::1"] {
            assert_eq!(map.transport_addr(shown(ip)), Some(TransportAddr::Ip(shown(ip))));
            assert_eq!(map.socket_addr(TransportAddr::Ip(shown(ip))), shown(ip));
        }
        assert_eq!(
            map.transport_addr(shown("::ffff:192.0.2.1")),
            Some(TransportAddr::Ip(shown("192.0.2.1")))
        );
        for unknown in ["fd15:70a:510b:3::1", "fd15:70a:510b:1::1", "fd15:70a:510b::"] {
            assert_eq!(map.transport_addr(shown(unknown)), None, "{unknown}");
        }
        assert!(map.is_empty());
    }

    #[test]
    fn path_address_map_keeps_what_was_asked_for_last() {
        let mut map = AddrMap::new(3, [1; 32]);
        let [one, two, three] = [1, 2, 3].map(|number| map.socket_addr(custom(0, number)));
        map.transport_addr(one);
        map.socket_addr(custom(0, 2));
        let four = map.socket_addr(custom(0, 4));
        assert_eq!(map.transport_addr(three), None, "both others were asked for since");
        assert_eq!(map.len(), 3);
        assert_ne!(map.socket_addr(custom(0, 3)), three, "it is a stranger now");
        assert_eq!(map.transport_addr(one), None);
        assert_eq!([two, four].map(|shown| map.transport_addr(shown)), [2, 4].map(|n| Some(custom(0, n))));
        for number in 0..10_000 {
            map.socket_addr(relayed(number, number));
            assert!(
                map.len() <= 3 && map.by_addr.len() <= 3 && map.by_ip.len() <= 3 && map.by_use.len() <= 3
            );
        }
        let mut least = AddrMap::new(0, [1; 32]);
        let only = least.socket_addr(custom(0, 1));
        assert_eq!(least.transport_addr(only), Some(custom(0, 1)), "there is room for one at least");
    }

    #[test]
    fn path_address_maps_have_host_parts_that_nobody_can_guess() {
        let host = |seed, number| {
            let mut map = AddrMap::new(3, [seed; 32]);
            map.socket_addr(custom(0, number))
        };
        assert_eq!(host(1, 1), host(1, 1), "all that is random comes from the seed");
        assert_ne!(host(1, 1), host(2, 1));
    }
}

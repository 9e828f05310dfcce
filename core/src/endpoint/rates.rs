//! How often something is done for strangers: so many times a second, in all and for each network that asks.

use core::hash::BuildHasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use alloc::vec::Vec;

use crate::hash::KeyedState;
use crate::path::addr::TransportAddr;
use crate::time::{Duration, Instant};

/// A second's worth can be saved up, so that many things may happen at once.
const SAVED: Duration = Duration::from_secs(1);
/// Networks told apart: those that fall into one place share its rate. 8 KiB.
const PLACES: usize = 1024;

/// A rate, by the generic cell rate algorithm (ITU-T I.371, annex A): one number, which is the time at which everything that
/// was done would be paid for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bucket {
    paid: Instant,
}

impl Bucket {
    /// Nothing was done yet.
    pub(super) const NEW: Self = Self { paid: Instant::ZERO };

    /// Whether it may be done once more, at `per_second` and as many at once. If so it counts as done.
    pub(super) fn take(&mut self, now: Instant, per_second: u32) -> bool {
        if per_second == 0 {
            return false;
        }
        let cost = Duration::from_nanos(1_000_000_000_u64.div_ceil(per_second.into()));
        let paid = self.paid.max(now) + cost;
        let may = paid <= now + SAVED;
        if may {
            self.paid = paid;
        }
        may
    }
}

/// A rate for each network of the internet.
#[derive(Debug)]
pub(super) struct Prefixes {
    /// None before the first one is asked about.
    buckets: Vec<Bucket>,
    hasher: KeyedState,
}

impl Prefixes {
    pub(super) const fn new(hasher: KeyedState) -> Self {
        Self { buckets: Vec::new(), hasher }
    }

    /// [`Bucket::take`] for the network that `addr` is in.
    pub(super) fn take(&mut self, now: Instant, addr: &TransportAddr, per_second: u32) -> bool {
        if self.buckets.is_empty() {
            self.buckets.resize(PLACES, Bucket::NEW);
        }
        let place = self.hasher.hash_one(network(addr)) as usize % PLACES;
        self.buckets.get_mut(place).is_some_and(|bucket| bucket.take(now, per_second))
    }
}

/// What one subscriber has, and may send from, as a rule: an IPv4 /24 (the longest prefix that the internet routes), an IPv6
/// /56 (RFC 6177 section 2). Of anything else the address.
fn network(addr: &TransportAddr) -> TransportAddr {
    let TransportAddr::Ip(ip) = addr.canonical() else { return *addr };
    let ip = match ip.ip() {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 72 << 72)),
    };
    TransportAddr::Ip(SocketAddr::new(ip, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn taken(bucket: &mut Bucket, now: Instant, per_second: u32, wishes: u32) -> usize {
        (0..wishes).filter(|_| bucket.take(now, per_second)).count()
    }

    fn at_once(per_second: u32, wishes: u32) -> usize {
        let mut bucket = Bucket::NEW;
        taken(&mut bucket, at(0), per_second, wishes)
    }

    #[test]
    fn hostile_wishes_are_met_a_second_s_worth_at_once_and_then_by_the_rate() {
        let mut bucket = Bucket::NEW;
        assert_eq!(taken(&mut bucket, at(5_000), 10, 100), 10);
        assert_eq!(taken(&mut bucket, at(5_050), 10, 100), 0);
        assert_eq!(taken(&mut bucket, at(5_100), 10, 100), 1);
        let total: usize = (5_101..15_101).map(|millis| taken(&mut bucket, at(millis), 10, 3)).sum();
        assert_eq!(total, 100, "ten seconds of them");
        assert_eq!(
            taken(&mut bucket, Instant::from_nanos(u64::MAX / 2), 10, 100),
            10,
            "however long it was quiet"
        );
    }

    #[test]
    fn hostile_rates_of_nothing_and_of_everything_are_what_they_say() {
        assert_eq!(at_once(0, 100), 0);
        assert_eq!(at_once(u32::MAX, 10_000), 10_000);
        assert_eq!(at_once(1, 10), 1);
        // What does not divide a second evenly is never more than it says.
        assert_eq!(at_once(7, 100), 6);
    }

    #[test]
    fn hostile_networks_have_rates_of_their_own_and_addresses_in_them_do_not() {
        let mut prefixes = Prefixes::new(KeyedState::new([1, 2]));
        let mut take = |text: &str| prefixes.take(at(0), &text.parse().unwrap(), 1);
        for (first, same, other) in [
            ("192.0.2.1:9", "192.0.2.255:10", "192.0.3.1:9"),
            ("[2001:db8:0:100::1]:9", "[2001:db8:0:1ff::2]:1", "[2001:db8:0:200::1]:9"),
        ] {
            assert!(take(first), "{first}");
            assert!(!take(first) && !take(same), "{same}");
            assert!(take(other), "{other}");
        }
        assert!(!take("[::ffff:192.0.2.7]:9"), "the same network by another name");
    }
}

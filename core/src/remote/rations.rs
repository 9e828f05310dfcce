//! How often addresses are dialled that nobody vouches for: whoever puts a stranger's address into a directory shall not
//! be able to have it flooded by all who look there (docs/PROTOCOL.md, "The first flight").

use alloc::collections::VecDeque;

use crate::path::addr::TransportAddr;
use crate::time::{Duration, Instant};

use super::fanout::UNVOUCHED_COPIES;

/// Dials in [`PERIOD`] that may send to an address: 6 copies.
const DIALS: usize = 2;
/// A minute, and the time from the first address of a dial to the last copy for its last one.
const PERIOD: Duration = Duration::from_secs(62);
/// Grants that are remembered; with so many there are no more until the oldest is a minute old.
const MAX_GRANTS: usize = 512;

/// The copies granted in the last minute, over all dials of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Rations {
    /// The oldest first; each for [`UNVOUCHED_COPIES`].
    grants: VecDeque<(Instant, TransportAddr)>,
}

impl Rations {
    /// How many copies a dial may send to `addr`, at which the peer was never met. They count as sent.
    pub(crate) fn grant(&mut self, now: Instant, addr: &TransportAddr) -> u32 {
        self.expire(now);
        let before = self.grants.iter().filter(|(_, granted)| granted == addr).count();
        if before >= DIALS || self.grants.len() >= MAX_GRANTS {
            return 0;
        }
        self.grants.push_back((now, *addr));
        UNVOUCHED_COPIES
    }

    /// Whether a path may be tried to `addr`, at which the peer was never met: as many packets as two dials send.
    pub(crate) fn grant_path(&mut self, now: Instant, addr: &TransportAddr) -> bool {
        self.expire(now);
        let granted = self.has_for_path(now, addr);
        if granted {
            self.grants.extend([(now, *addr); DIALS]);
        }
        granted
    }

    /// Whether [`Self::grant_path`] would say so.
    pub(crate) fn has_for_path(&self, now: Instant, addr: &TransportAddr) -> bool {
        let expired = self.grants.partition_point(|(at, _)| now - *at >= PERIOD);
        let mut live = self.grants.iter().skip(expired);
        live.len() <= MAX_GRANTS - DIALS && live.all(|(_, granted)| granted != addr)
    }

    fn expire(&mut self, now: Instant) {
        let expired = self.grants.partition_point(|(at, _)| now - *at >= PERIOD);
        self.grants.drain(..expired);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u16) -> TransportAddr {
        TransportAddr::Ip(([192, 0, 2, 1], n).into())
    }

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn path_two_dials_a_minute_reach_an_address() {
        let mut rations = Rations::default();
        assert_eq!([0, 1, 2, 61].map(|seconds| rations.grant(at(seconds), &addr(1))), [3, 3, 0, 0]);
        assert_eq!(rations.grant(at(61), &addr(2)), 3, "another address");
        assert_eq!([62, 62, 63].map(|seconds| rations.grant(at(seconds), &addr(1))), [3, 0, 3]);
    }

    #[test]
    fn path_to_a_strangers_address_takes_all_that_a_minute_has_for_it_or_nothing() {
        let mut rations = Rations::default();
        assert_eq!(rations.grant(at(0), &addr(1)), 3);
        assert!(!rations.grant_path(at(1), &addr(1)), "not enough is left");
        assert_eq!(rations.grant(at(2), &addr(1)), 3, "and none of it was taken");
        assert!(rations.grant_path(at(64), &addr(1)));
        assert_eq!([rations.grant(at(65), &addr(1)), rations.grant(at(126), &addr(1))], [0, 3]);
    }

    #[test]
    fn path_what_is_remembered_of_dials_is_bounded() {
        let mut rations = Rations::default();
        let granted = (0..2000).map(|n| rations.grant(at(0), &addr(n))).filter(|copies| *copies > 0).count();
        assert_eq!((granted, rations.grants.len()), (512, 512));
        assert_eq!(rations.grant(at(62), &addr(1999)), 3);
        assert_eq!(rations.grants.len(), 1);
    }

    #[test]
    fn path_grants_that_have_expired_are_in_nobodys_way() {
        let mut rations = Rations::default();
        for n in 0..600_u16 {
            let now = at(u64::from(n) * 62);
            assert!(rations.has_for_path(now, &addr(n)), "address {n}");
            assert!(rations.grant_path(now, &addr(n)), "address {n}");
        }
        assert!(rations.grants.len() <= DIALS);
    }
}

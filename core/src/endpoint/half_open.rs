//! The attempts that are not confirmed yet: how many there are, what they hold, and from which networks they are.

use crate::hash::KeyedState;
use crate::path::addr::TransportAddr;

use super::prefixes::{Groups, PARTS, Places, Prefixes};

/// An attempt's part in [`HalfOpen`], until it is confirmed or over.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Bytes of the budget that it holds.
    bytes: u32,
    /// Where it is counted, if it has shown its address.
    groups: Groups,
}

/// The attempts that are not confirmed.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    seats: u32,
    bytes: u64,
    /// Seats of those that have shown their addresses. The others may come from anywhere, so they are not held against anybody.
    prefixes: Prefixes<u32>,
}

impl HalfOpen {
    pub(crate) const fn new(hasher: KeyedState) -> Self {
        Self { seats: 0, bytes: 0, prefixes: Prefixes::new(hasher) }
    }

    /// How many there are.
    pub(crate) const fn seats(&self) -> u32 {
        self.seats
    }

    /// Bytes of the endpoint's budget that they hold.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the network of `addr`, and all that it belongs to, have less than their parts of what is left, if that is enough
    /// for `left` more attempts. Who has nothing always has less than its part.
    pub(super) fn has_part_left(&self, addr: &TransportAddr, left: u32) -> bool {
        let mut groups = self.prefixes.groups(addr).into_iter().zip(PARTS);
        groups.all(|(places, part)| {
            places.is_none_or(|places| self.count(places) < left.checked_div(part).unwrap_or(left).max(1))
        })
    }

    fn count(&self, places: Places) -> u32 {
        let [one, other] = self.prefixes.get(places, 0);
        one.min(other)
    }

    /// An attempt begins that holds so many bytes, from `shown` if it has shown that it is there.
    #[must_use]
    pub(super) fn enter(&mut self, bytes: usize, shown: Option<&TransportAddr>) -> Seat {
        let groups = shown.map_or([None; 3], |addr| self.prefixes.groups(addr));
        for places in groups.into_iter().flatten() {
            self.prefixes.update(places, 0, |count| *count = count.saturating_add(1));
        }
        self.seats = self.seats.saturating_add(1);
        let mut seat = Seat { bytes: 0, groups };
        self.resize(&mut seat, bytes);
        seat
    }

    /// It holds so many now.
    pub(crate) fn resize(&mut self, seat: &mut Seat, bytes: usize) {
        let before = core::mem::replace(&mut seat.bytes, u32::try_from(bytes).unwrap_or(u32::MAX));
        self.bytes = self.bytes.saturating_sub(before.into()).saturating_add(seat.bytes.into());
    }

    /// It is confirmed, or over.
    pub(crate) fn leave(&mut self, seat: Seat) {
        for places in seat.groups.into_iter().flatten() {
            self.prefixes.update(places, 0, |count| *count = count.saturating_sub(1));
        }
        self.seats = self.seats.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(seat.bytes.into());
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn addr(text: &str) -> TransportAddr {
        text.parse().unwrap()
    }

    #[test]
    fn hostile_networks_that_take_all_they_can_leave_a_place_for_one_more() {
        for (networks, left_over) in [(1_u8, 800), (20, 170), (200, 19)] {
            let mut all = HalfOpen::new(KeyedState::new([1, 2]));
            let mut seats = Vec::new();
            for _ in 0..1_000 {
                for n in 0..networks {
                    let from = TransportAddr::from(core::net::SocketAddr::from(([203, 0, n, 1], 9)));
                    if all.has_part_left(&from, 1_000 - all.seats()) {
                        seats.push(all.enter(10, Some(&from)));
                    }
                }
            }
            let left = 1_000 - all.seats();
            assert!((left_over - 20..=left_over + 20).contains(&(left as i32)), "{networks}: {left} left");
            assert!(all.has_part_left(&addr("192.0.2.1:9"), left));
            for seat in seats {
                all.leave(seat);
            }
            assert_eq!((all.seats(), all.bytes()), (0, 0));
            assert_eq!(all.count(all.prefixes.network(&addr("203.0.0.1:9"))), 0);
        }
    }

    #[test]
    fn hostile_networks_of_one_site_share_its_part() {
        let mut all = HalfOpen::new(KeyedState::new([1, 2]));
        let from = |n: u8| addr(&std::format!("[2001:db8:0:{n:x}00::1]:9"));
        let taken = (0..=255).cycle().take(5_000).filter(|n| {
            let may = all.has_part_left(&from(*n), 1_000 - all.seats());
            if may {
                let _seat = all.enter(10, Some(&from(*n)));
            }
            may
        });
        // A third: as much as what is left, halved.
        assert_eq!(taken.count(), 333);
    }

    #[test]
    fn hostile_sites_of_one_operator_leave_a_place_for_everybody_else() {
        let mut all = HalfOpen::new(KeyedState::new([1, 2]));
        let mut seats = Vec::new();
        for n in 0..40_000_u32 {
            let from = addr(&std::format!("[2001:db8:{:x}:{:x}00::1]:9", n % 4_096, n / 4_096));
            if all.has_part_left(&from, 2_000 - all.seats()) {
                seats.push(all.enter(10, Some(&from)));
            }
        }
        let left = 2_000 - all.seats();
        assert!(left > 1_300, "{left}");
        assert!(
            all.has_part_left(&addr("192.0.2.1:9"), left)
                && all.has_part_left(&addr("[2001:db9::1]:9"), left)
        );
    }

    #[test]
    fn an_attempt_holds_what_it_was_last_said_to_hold() {
        let mut all = HalfOpen::new(KeyedState::new([1, 2]));
        let mut seat = all.enter(10, None);
        let other = all.enter(7, None);
        all.resize(&mut seat, 100);
        assert_eq!((all.seats(), all.bytes()), (2, 107));
        all.leave(seat);
        assert_eq!((all.seats(), all.bytes()), (1, 7));
        all.leave(other);
    }
}

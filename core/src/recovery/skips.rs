//! Packet numbers that are left out, so that who acknowledges what it has not received gives itself away (RFC 9000 section
//! 21.4).

use core::num::NonZeroU64;

use crate::id::PacketNumber;
use crate::rng::Rng;

/// The first number left out is so far away at most, and at least half as far.
const FIRST: u64 = 32;
/// The distances double up to this: a liar is found early, also one that was honest for long (within half a second at 100
/// Mbit/s), and honest receivers see a gap, for which they acknowledge at once, in one of thousands of packets.
const LONGEST: u64 = 1 << 12;

/// Decides which numbers of a path are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skips {
    /// The next one; drawn when the first packet is sent.
    next: Option<NonZeroU64>,
    distance: u64,
    /// The newest one, which whoever acknowledges everything names.
    latest: Option<NonZeroU64>,
}

impl Skips {
    pub(crate) const fn new() -> Self {
        Self { next: None, distance: FIRST, latest: None }
    }

    /// A packet is about to get `number`: whether that is to be left out.
    pub(crate) fn is_next(&mut self, number: PacketNumber, rng: &mut Rng) -> bool {
        let skip = self.next.is_some_and(|next| next.get() <= number.0);
        if skip {
            self.latest = NonZeroU64::new(number.0);
            self.distance = self.distance.saturating_mul(2).min(LONGEST);
        }
        if skip || self.next.is_none() {
            let half = self.distance / 2;
            self.next = NonZeroU64::new(
                number.0.saturating_add(1).saturating_add(half).saturating_add(rng.below(half)),
            );
        }
        skip
    }

    /// Whether the newest number left out is among these.
    pub(crate) fn is_claimed(&self, from: u64, to: u64) -> bool {
        self.latest.is_some_and(|latest| (from..=to).contains(&latest.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_left_out_at_random_and_ever_more_rarely() {
        let mut rng = Rng::new(&[1; 32], &[2; 32]);
        let mut skips = Skips::new();
        let left_out: std::vec::Vec<u64> =
            (1..1_000_000).filter(|number| skips.is_next(PacketNumber(*number), &mut rng)).collect();
        assert!((FIRST / 2 + 2..=FIRST + 1).contains(&left_out[0]), "{left_out:?}");
        let distances: std::vec::Vec<u64> = left_out.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (round, distance) in distances.iter().enumerate() {
            let longest = (FIRST << (round + 1).min(20)).min(LONGEST);
            assert!((longest / 2 + 1..=longest).contains(distance), "{distances:?}");
        }
        // However long it has been: a liar has a few thousand packets and no more.
        assert!(distances.len() > 1_000_000 / LONGEST as usize, "{} numbers", distances.len());
    }

    #[test]
    fn who_claims_the_newest_is_found_out() {
        let mut rng = Rng::new(&[1; 32], &[2; 32]);
        let mut skips = Skips::new();
        assert!(!skips.is_claimed(0, u64::MAX));
        let first = (1..100).find(|number| skips.is_next(PacketNumber(*number), &mut rng)).unwrap();
        assert!(skips.is_claimed(0, first) && skips.is_claimed(first, first + 9));
        assert!(!skips.is_claimed(0, first - 1) && !skips.is_claimed(first + 1, u64::MAX));
    }
}

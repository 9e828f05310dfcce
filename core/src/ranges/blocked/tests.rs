use alloc::vec::Vec;

use super::*;
use crate::rng::Rng;

/// The same ranges in one store, which has tests of its own.
#[derive(Default)]
struct Both {
    blocked: BlockedRanges,
    flat: RangeSet,
}

impl Both {
    fn insert(&mut self, range: Range<u64>) -> usize {
        let accepted = [10, 200].map(|max| self.blocked.accepts(&range, max));
        assert_eq!(accepted, [10, 200].map(|max| self.flat.accepts(&range, max)), "{range:?}");
        let inserted = self.blocked.insert(range.clone());
        assert_eq!(inserted.added, self.flat.insert(range));
        inserted.moved
    }

    fn compare(&self, probe: Range<u64>) {
        self.blocked.check();
        assert!(self.blocked.iter().eq(self.flat.iter()));
        assert_eq!(self.blocked.is_empty(), self.flat.is_empty());
        assert_eq!((self.blocked.first(), self.blocked.last()), (self.flat.first(), self.flat.last()));
        assert!(self.blocked.gaps(probe.clone()).eq(self.flat.gaps(probe)));
    }
}

/// Which range comes as the n-th.
type Order = fn(u64) -> u64;

/// Ranges in blocks cost at most four times what they cost in full ones, and a few that are kept.
fn assert_small(set: &BlockedRanges) {
    let blocks = set.blocks.len();
    assert!(blocks <= 4 * set.len / MOST + 2, "{blocks} blocks of {} ranges", set.len);
}

#[test]
fn hostile_ranges_in_blocks_are_those_in_one_store() {
    for seed in 0..20 {
        let mut rng = Rng::new(&[seed; 32], &[1; 32]);
        let (mut both, mut below) = (Both::default(), 0);
        for step in 0..4_000_u64 {
            let start = below + rng.below(8_000);
            // Mostly single values, sometimes what covers whole blocks; and phases that fill and that empty.
            let len = match rng.below(400) {
                0 => rng.below(4_000),
                1..40 => rng.below(if step % 1_000 < 700 { 8 } else { 200 }),
                _ => 1,
            };
            both.insert(start..start + len);
            match rng.below(200) {
                0 => {
                    below += rng.below(600);
                    assert_eq!(both.blocked.remove_below(below), both.flat.remove_below(below));
                }
                1 => assert_eq!(both.blocked.pop_first(), both.flat.pop_first()),
                _ => {}
            }
            if step % 16 == 0 {
                let probe = below + rng.below(8_000);
                both.compare(probe..probe + rng.below(3_000));
                assert_small(&both.blocked);
            }
        }
    }
}

#[test]
fn hostile_orders_of_many_ranges_move_little() {
    const RANGES: u64 = 16_384;
    let orders: [(&str, Order); 4] = [
        ("ascending", |n| n),
        ("descending", |n| RANGES - 1 - n),
        ("from both ends", |n| if n % 2 == 0 { n / 2 } else { RANGES - 1 - n / 2 }),
        ("scattered", |n| n * 6_481 % RANGES),
    ];
    for (what, order) in orders {
        let mut both = Both::default();
        let moves: Vec<usize> = (0..RANGES).map(|n| both.insert(order(n) * 2..order(n) * 2 + 1)).collect();
        let sum: usize = moves.iter().sum();
        assert!(sum <= 110 * moves.len(), "{what}: {sum} ranges moved for {RANGES}");
        assert!(moves.iter().all(|moved| *moved <= MOST + PER_ENTRY * 512), "{what}");
        both.compare(0..100);
        assert_small(&both.blocked);
        // One value joins them all but for two.
        let joined = both.insert(2..RANGES * 2 - 2);
        both.compare(0..RANGES * 2);
        assert!(joined <= PER_ENTRY * 2 + MOST && both.blocked.blocks.len() == 1, "{what}: {joined} moved");
        assert!(both.blocked.capacity_bytes() <= 1024, "{what}");
    }
}

#[test]
fn the_ends_of_the_number_line_are_ordinary_in_blocks() {
    let mut both = Both::default();
    (0..1_000).for_each(|n| _ = both.insert(u64::MAX - 2 * n - 1..u64::MAX - 2 * n));
    both.compare(u64::MAX - 50..u64::MAX);
    both.insert(0..u64::MAX);
    both.compare(0..u64::MAX);
    assert_eq!((both.blocked.remove_below(u64::MAX), both.blocked.is_empty()), (u64::MAX, true));
}

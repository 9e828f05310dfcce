//! Randomness for the wait between probes: it need not be unpredictable, only different between flows.

/// The SplitMix64 generator (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// A generator whose numbers follow from `seed`.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, all but evenly distributed.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper half of a 32-bit number times the bound.
        ((z >> 32).wrapping_mul(u64::from(bound)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers_all_below_the_bound() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        let drawn: std::vec::Vec<_> = (0..1000).map(|_| a.below(10)).collect();
        assert!(drawn.iter().all(|&n| n < 10 && n == b.below(10)));
        assert!((0..10).all(|n| drawn.contains(&n)));
    }
}

//! The simulator's randomness: a seeded generator whose output never changes, and probabilities without floats.

/// A probability in parts per million.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Ppm(u32);

impl Ppm {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(1_000_000);

    /// `parts` in a million; more than a million counts as a million.
    #[must_use]
    pub const fn new(parts: u32) -> Self {
        if parts > Self::ALWAYS.0 { Self::ALWAYS } else { Self(parts) }
    }

    /// `percent` in a hundred; more than a hundred counts as a hundred.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self::new(percent.saturating_mul(10_000))
    }

    /// Parts per million.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The increment of SplitMix64: 2^64 divided by the golden ratio, made odd (Steele, Lea, Flood: "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64 (same paper; its constants are David Stafford's "Mix13").
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A small deterministic generator: SplitMix64. Good for simulations, useless for secrets.
///
/// It lives here rather than in a dependency because a failing seed has to fail in the same way after an update.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The generator of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A generator of its own for the part of a simulation that is called `label`. It does not advance `self`, so a
    /// part that is added leaves the numbers of all others as they were.
    #[must_use]
    pub const fn fork(&self, label: u64) -> Self {
        Self { state: mix(self.state ^ mix(label.wrapping_add(GOLDEN))) }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number from 0 up to, not including, `bound`; 0 if `bound` is 0.
    ///
    /// The product of the draw and the bound, without Lemire's rejection step ("Fast random integer generation in an
    /// interval", 2019): the bias is below `bound` / 2^64.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// True with this probability. Draws nothing for [`Ppm::NEVER`].
    pub const fn chance(&mut self, probability: Ppm) -> bool {
        probability.get() > 0 && self.below(Ppm::ALWAYS.get() as u64) < probability.get() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_the_known_sequence() {
        // The first outputs for seed 1234567, as published with the reference implementation.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn chances_are_near_their_probability_and_the_extremes_are_certain() {
        let mut rng = Rng::new(7);
        let hits = (0..1_000_000).filter(|_| rng.chance(Ppm::percent(5))).count();
        assert!((49_000..51_000).contains(&hits), "{hits}");
        assert!((0..1_000).all(|_| rng.chance(Ppm::ALWAYS) && !rng.chance(Ppm::NEVER)));
    }

    #[test]
    fn forks_differ_and_leave_their_parent_alone() {
        let parent = Rng::new(3);
        let (mut a, mut b) = (parent.fork(0), parent.fork(1));
        assert_ne!(a.next_u64(), b.next_u64());
        assert_eq!(parent, Rng::new(3));
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::new(1);
        assert_eq!(rng.below(0), 0);
        assert!((0..10_000).all(|_| rng.below(3) < 3));
    }
}

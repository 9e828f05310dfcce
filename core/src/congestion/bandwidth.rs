//! A data rate, and the fixed-point gains that scale it.

use crate::time::{Duration, nanos};

/// Nanoseconds in a second.
const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A data rate in bytes per second, any `u64`. Arithmetic saturates and is exact up to one rounding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Bandwidth(u64);

impl Bandwidth {
    /// Nothing moves.
    pub(crate) const ZERO: Self = Self(0);
    /// More than any path has: the draft's `Infinity`.
    pub(crate) const MAX: Self = Self(u64::MAX);

    /// A rate of `rate` bytes per second.
    pub(crate) const fn from_bytes_per_sec(rate: u64) -> Self {
        Self(rate)
    }

    /// The rate that moves `bytes` in `interval`, rounded down; `None` for an empty interval.
    pub(crate) fn from_transfer(bytes: u64, interval: Duration) -> Option<Self> {
        let interval = nanos(interval);
        (interval != 0).then(|| Self(mul_div(bytes, NANOS_PER_SEC, interval)))
    }

    /// Bytes per second.
    pub(crate) const fn as_bytes_per_sec(self) -> u64 {
        self.0
    }

    /// How long `bytes` take at this rate, rounded up to a nanosecond; 584 years at rate zero.
    #[cfg(test)]
    pub(crate) fn time_for(self, bytes: u64) -> Duration {
        if self.0 == 0 {
            return Duration::from_nanos(u64::MAX);
        }
        let wide = u128::from(bytes) * u128::from(NANOS_PER_SEC);
        let nanos = match u64::try_from(wide) {
            Ok(product) => product.div_ceil(self.0),
            Err(_) => u64::try_from(wide.div_ceil(u128::from(self.0))).unwrap_or(u64::MAX),
        };
        Duration::from_nanos(nanos)
    }

    /// How many bytes move in `duration`, rounded down.
    pub(crate) fn bytes_in(self, duration: Duration) -> u64 {
        mul_div(self.0, nanos(duration), NANOS_PER_SEC)
    }

    /// Both rates together.
    pub(crate) fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// This rate times `numerator / denominator`; the denominator is not zero.
    pub(crate) fn fraction(self, numerator: u64, denominator: u64) -> Self {
        Self(mul_div(self.0, numerator, denominator))
    }

    /// This rate times `gain`.
    pub(crate) fn scaled(self, gain: Gain) -> Self {
        Self(gain.of(self.0))
    }
}

/// A factor in hundredths: exact for every gain of the draft, and free of floating point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Gain(u16);

impl Default for Gain {
    fn default() -> Self {
        Self::UNIT
    }
}

impl Gain {
    /// One: no change.
    pub(crate) const UNIT: Self = Self(100);

    /// A factor of `percent` hundredths.
    pub(crate) const fn percent(percent: u16) -> Self {
        Self(percent)
    }

    /// Twice as far above one, at most `most`.
    pub(crate) fn steeper(self, most: Self) -> Self {
        Self(self.0.saturating_mul(2).saturating_sub(Self::UNIT.0).min(most.0))
    }

    /// Half as far from one.
    pub(crate) fn half_way(self) -> Self {
        Self((self.0 / 2).saturating_add(Self::UNIT.0 / 2))
    }

    /// `value` times this factor, rounded down, saturating.
    pub(crate) fn of(self, value: u64) -> u64 {
        mul_div(value, u64::from(self.0), 100)
    }
}

/// `a * b / c`, rounded down, saturating, also where `c` is zero. 128 bits only when 64 do not suffice.
fn mul_div(a: u64, b: u64, c: u64) -> u64 {
    match a.checked_mul(b) {
        Some(product) => product.checked_div(c).unwrap_or(u64::MAX),
        None => {
            let wide = u128::from(a).saturating_mul(u128::from(b)).checked_div(u128::from(c));
            wide.and_then(|wide| u64::try_from(wide).ok()).unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_rates() {
        let gigabit = Bandwidth::from_bytes_per_sec(125_000_000);
        assert_eq!(gigabit.time_for(1250), Duration::from_micros(10));
        assert_eq!(gigabit.bytes_in(Duration::from_millis(100)), 12_500_000);
        assert_eq!(Bandwidth::from_transfer(1250, Duration::from_micros(10)), Some(gigabit));
        assert_eq!(gigabit.scaled(Gain::percent(277)).as_bytes_per_sec(), 346_250_000);
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(Bandwidth::from_transfer(1, Duration::ZERO), None);
        assert_eq!(Bandwidth::ZERO.time_for(1), Duration::from_nanos(u64::MAX));
        assert_eq!(Bandwidth::MAX.bytes_in(Duration::MAX), u64::MAX);
        assert_eq!(Bandwidth::MAX.scaled(Gain::percent(277)), Bandwidth::MAX);
        assert_eq!(Bandwidth::from_bytes_per_sec(1).time_for(u64::MAX), Duration::from_nanos(u64::MAX));
    }

    proptest! {
        #[test]
        fn time_and_bytes_are_inverse(rate in 1..u64::MAX, bytes in 0..1_u64 << 40) {
            let rate = Bandwidth::from_bytes_per_sec(rate);
            let time = rate.time_for(bytes);
            // Rounded up: enough for all the bytes, unless the range of a Duration ends first.
            prop_assert!(rate.bytes_in(time) >= bytes || nanos(time) == u64::MAX);
        }
    }
}

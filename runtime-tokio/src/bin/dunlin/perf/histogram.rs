//! Round-trip times by the thousand, in little memory.

use core::time::Duration;

/// Bits of a value that are kept beside its magnitude: buckets are 1/64 wide at most, so 1.6 % is the largest error.
const PRECISION: u32 = 6;

/// Buckets for all values of 64 bits.
const BUCKETS: usize = ((64 - PRECISION as usize) + 1) << PRECISION;

/// Counts of times in nanoseconds, in buckets that grow with the time.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    pub(crate) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.sum += u128::from(nanos);
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
    }

    /// Adds the times of another.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn mean(&self) -> Duration {
        let mean = self.sum.checked_div(self.count.into()).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    pub(crate) fn min(&self) -> Duration {
        Duration::from_nanos(if self.count == 0 { 0 } else { self.min })
    }

    pub(crate) const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The time that `percent` of all do not exceed, as exact as the buckets.
    pub(crate) fn percentile(&self, percent: u32) -> Duration {
        let wanted = (u128::from(self.count) * u128::from(percent)).div_ceil(100);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted && seen > 0 {
                return Duration::from_nanos(start_of(index).clamp(self.min, self.max));
            }
        }
        Duration::ZERO
    }
}

/// Small values have a bucket each; larger ones share it with those that begin with the same bits.
fn bucket(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(PRECISION + 1);
    ((shift as usize) << PRECISION) + (value >> shift) as usize
}

/// The smallest value in a bucket.
fn start_of(bucket: usize) -> u64 {
    let shift = (bucket >> PRECISION).saturating_sub(1);
    ((bucket - (shift << PRECISION)) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_in_order() {
        let mut last = 0;
        for value in (0..2000).chain((11..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, 3 << (bit - 1)])) {
            let start = start_of(bucket(value));
            assert!(start <= value && value - start <= value >> PRECISION, "{value}: {start}");
            assert!(bucket(value) >= last || value < 1 << 63);
            last = bucket(value);
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn figures_are_those_of_the_values() {
        let mut a = Histogram::new();
        let mut b = Histogram::new();
        for micros in 1..=50 {
            a.record(Duration::from_micros(micros));
            b.record(Duration::from_micros(micros + 50));
        }
        a.add(&b);
        assert_eq!(
            (a.count(), a.min(), a.max()),
            (100, Duration::from_micros(1), Duration::from_micros(100))
        );
        assert_eq!(a.mean(), Duration::from_nanos(50_500));
        for (percent, micros) in [(50, 50.0), (99, 99.0), (100, 100.0)] {
            let found = a.percentile(percent).as_secs_f64() * 1e6;
            assert!((found - micros).abs() <= micros / 50.0, "{percent}: {found}");
        }
        assert_eq!(Histogram::new().percentile(50), Duration::ZERO);
    }
}

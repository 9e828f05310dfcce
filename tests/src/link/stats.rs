//! What a link has counted.

use dunlin_core::Duration;

use super::DropCause;

/// A number of datagrams and of the bytes in them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Count {
    /// Datagrams.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, len: usize) {
        self.packets += 1;
        self.bytes += len as u64;
    }
}

/// The counters of a link. `sent` and the duplicated ones together are `delivered` and all the dropped ones.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LinkStats {
    /// What was offered.
    pub sent: Count,
    /// What arrives, counted when it is sent; copies too.
    pub delivered: Count,
    /// Dropped because the link was down.
    pub dropped_down: Count,
    /// Dropped because it was longer than the MTU.
    pub dropped_mtu: Count,
    /// Dropped because the queue was full.
    pub dropped_queue: Count,
    /// Lost on the wire.
    pub dropped_loss: Count,
    /// Dropped by the policer.
    pub dropped_policer: Count,
    /// Kept out by the filter.
    pub dropped_filter: Count,
    /// Copies made.
    pub duplicated: u64,
    /// Datagrams held up on the wire.
    pub reordered: u64,
    /// Datagrams with flipped bits.
    pub corrupted: u64,
    /// Datagrams marked CE by this link.
    pub marked: u64,
    /// The most bytes that the queue held.
    pub queue_bytes_max: usize,
    /// How long the queue was over time.
    pub queueing: DelayHistogram,
}

impl LinkStats {
    pub(super) fn count_drop(&mut self, cause: DropCause, len: usize) {
        match cause {
            DropCause::Down => self.dropped_down.add(len),
            DropCause::Mtu => self.dropped_mtu.add(len),
            DropCause::Queue => self.dropped_queue.add(len),
            DropCause::Loss => self.dropped_loss.add(len),
            DropCause::Policer => self.dropped_policer.add(len),
            DropCause::Filter => self.dropped_filter.add(len),
        }
    }
}

/// Bits of a duration that a bucket tells apart: buckets are at most 1/16 of their value wide.
const PRECISION: u32 = 4;
/// Durations below this many nanoseconds share a bucket with zero: an empty queue.
const UNIT: u64 = 1 << 10;

/// For each queueing delay, how much of the time it was that long: time-weighted, unlike what the datagrams meet,
/// which come in bursts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DelayHistogram {
    /// Nanoseconds spent in each bucket.
    buckets: Vec<u64>,
    total: u64,
}

impl DelayHistogram {
    /// The delay that was not exceeded for `percent` of the time, at most 1/16 too long; zero if no time has passed.
    #[must_use]
    pub fn percentile(&self, percent: u32) -> Duration {
        let wanted = u128::from(self.total) * u128::from(percent.min(100));
        let mut seen = 0;
        for (index, time) in self.buckets.iter().enumerate() {
            seen += u128::from(*time) * 100;
            if seen >= wanted {
                return Duration::from_nanos(if index == 0 { 0 } else { lower_bound(index + 1) });
            }
        }
        Duration::ZERO
    }

    /// The time that was observed.
    #[must_use]
    pub fn observed(&self) -> Duration {
        Duration::from_nanos(self.total)
    }

    /// Books `span` of time, at the beginning of which the delay was `delay`. It falls as fast as time passes, so that
    /// each bucket on the way down gets as much time as it is wide; what is left of the time, the delay was zero.
    pub(super) fn draining(&mut self, delay: Duration, span: Duration) {
        let (mut delay, mut span) = (nanos(delay), nanos(span));
        self.total = self.total.saturating_add(span);
        while span > 0 {
            let index = bucket(delay);
            let here = if index == 0 { span } else { span.min(delay - lower_bound(index) + 1) };
            if self.buckets.len() <= index {
                self.buckets.resize(index + 1, 0);
            }
            self.buckets[index] = self.buckets[index].saturating_add(here);
            delay = delay.saturating_sub(here);
            span -= here;
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The bucket of a delay: 0 for less than a unit, then 16 for each power of two.
fn bucket(delay: u64) -> usize {
    if delay < UNIT {
        return 0;
    }
    let power = delay.ilog2();
    let step = (delay >> (power - PRECISION)) & ((1 << PRECISION) - 1);
    1 + (((power - UNIT.ilog2()) as usize) << PRECISION) + step as usize
}

/// The shortest delay of a bucket.
fn lower_bound(index: usize) -> u64 {
    let Some(index) = index.checked_sub(1) else { return 0 };
    let power = UNIT.ilog2() + (index >> PRECISION) as u32;
    let step = (index & ((1 << PRECISION) - 1)) as u64;
    u64::try_from(u128::from(1 << PRECISION | step) << (power - PRECISION)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_all_delays_without_gaps() {
        for index in 1..800 {
            let low = lower_bound(index);
            assert_eq!(bucket(low), index);
            assert_eq!(bucket(low - 1), index - 1);
        }
    }

    #[test]
    fn a_draining_queue_spends_equal_time_at_all_delays() {
        let mut histogram = DelayHistogram::default();
        histogram.draining(Duration::from_millis(10), Duration::from_millis(10));
        let near = |percent, micros: u64| {
            let got = histogram.percentile(percent);
            let want = Duration::from_micros(micros);
            assert!(got >= want && got <= want + want / 14, "{percent}: {got:?}");
        };
        near(50, 5_000);
        near(95, 9_500);
        assert_eq!(histogram.observed(), Duration::from_millis(10));
    }

    #[test]
    fn idle_time_counts_as_no_delay() {
        let mut histogram = DelayHistogram::default();
        histogram.draining(Duration::from_millis(1), Duration::from_millis(10));
        assert_eq!(histogram.percentile(50), Duration::ZERO);
        assert_eq!(histogram.percentile(89), Duration::ZERO);
        assert!(histogram.percentile(95) > Duration::ZERO);
    }
}

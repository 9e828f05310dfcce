//! A rate that changes over time, known in advance: steps of capacity, radio links.

use std::sync::Arc;

use dunlin_core::{Duration, Instant};

use super::config::Rate;

/// A rate that is constant from step to step and begins again when its period is over. What waits in a queue when the
/// rate changes leaves at the new rate.
///
/// ```
/// use dunlin_sim::{Duration, Instant, Rate, RateTrace};
/// let second = Duration::from_secs(1);
/// let trace = RateTrace::new(&[(second, Rate::mbit(100)), (second, Rate::mbit(10))]);
/// let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
/// assert_eq!(trace.rate(at(0)), Rate::mbit(100));
/// assert_eq!(trace.rate(at(1)), Rate::mbit(10));
/// assert_eq!(trace.rate(at(2)), Rate::mbit(100));
/// assert_eq!(trace.bits(at(3)), 210_000_000);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RateTrace {
    steps: Arc<[Step]>,
    /// In nanoseconds.
    period: u64,
    /// Billionths of bits in a period.
    volume: u128,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Step {
    /// When it begins, in nanoseconds from the beginning of the period.
    from: u64,
    rate: Rate,
    /// Billionths of bits that passed in the period before it.
    before: u128,
}

impl RateTrace {
    /// The rates one after the other, with how long each lasts; then from the first one again.
    ///
    /// # Panics
    /// If the steps together last no time.
    #[must_use]
    pub fn new(steps: &[(Duration, Rate)]) -> Self {
        let (mut period, mut volume) = (0, 0);
        let steps: Arc<[Step]> = steps
            .iter()
            .filter(|(span, _)| !span.is_zero())
            .map(|(span, rate)| {
                let step = Step { from: period, rate: *rate, before: volume };
                let span = u64::try_from(span.as_nanos()).expect("a step of less than 584 years");
                period += span;
                volume += u128::from(span) * u128::from(rate.get());
                step
            })
            .collect();
        assert!(period > 0, "a trace lasts some time");
        Self { steps, period, volume }
    }

    /// The rate at an instant.
    #[must_use]
    pub fn rate(&self, at: Instant) -> Rate {
        self.step(at.as_nanos() % self.period).rate
    }

    /// Bits that pass from [`Instant::ZERO`] to `until`.
    #[must_use]
    pub fn bits(&self, until: Instant) -> u64 {
        u64::try_from(self.nanobits(until) / NANO).unwrap_or(u64::MAX)
    }

    /// When so many bits that begin to leave at `from` have left.
    pub(super) fn finish(&self, from: Instant, bits: u64) -> Instant {
        let goal = self.nanobits(from) + u128::from(bits) * NANO;
        let (periods, rest) = (goal / self.volume, goal % self.volume);
        let after = self.steps.partition_point(|step| step.before <= rest);
        let step = self.steps[after - 1];
        let within = (rest - step.before).div_ceil(u128::from(step.rate.get()));
        let nanos = periods * u128::from(self.period) + u128::from(step.from) + within;
        Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Billionths of bits that pass from the beginning to `until`.
    fn nanobits(&self, until: Instant) -> u128 {
        let (periods, rest) = (until.as_nanos() / self.period, until.as_nanos() % self.period);
        let step = self.step(rest);
        let within = u128::from(rest - step.from) * u128::from(step.rate.get());
        u128::from(periods) * self.volume + step.before + within
    }

    /// The step at so many nanoseconds within the period. The first begins at zero, so that there is always one.
    fn step(&self, at: u64) -> Step {
        let after = self.steps.partition_point(|step| step.from <= at);
        self.steps[after - 1]
    }
}

/// Bits are counted in billionths, so that bits per second times nanoseconds is exact.
const NANO: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_begins_in_one_step_ends_in_another() {
        let milli = Duration::from_millis(1);
        let trace = RateTrace::new(&[(milli, Rate::mbit(8)), (milli * 3, Rate::mbit(1))]);
        let at = |micros: u64| Instant::from_nanos(micros * 1_000);
        // Half a millisecond at 8 Mbit/s is 4,000 bits, the rest of 4,500 takes as many microseconds at 1 Mbit/s.
        assert_eq!(trace.finish(at(500), 4_500), at(1_500));
        // Over the whole of the slow step: 3,000 bits, and 8 more of the next period.
        assert_eq!(trace.finish(at(1_000), 3_008), at(4_001));
        assert_eq!(trace.bits(at(4_000)), 11_000);
    }

    #[test]
    #[should_panic(expected = "a trace lasts some time")]
    fn a_trace_of_nothing_is_none() {
        let _ = RateTrace::new(&[(Duration::ZERO, Rate::mbit(1))]);
    }

    proptest! {
        /// The bits that pass between the beginning and the end of a datagram are its own.
        #[test]
        fn finish_and_bits_agree(
            steps in proptest::collection::vec((1..50_000_000_u64, 1_000_u64..1_000_000_000), 1..8),
            from in 0..1_000_000_000_u64,
            bits in 1..1_000_000_u64,
        ) {
            let steps: Vec<_> =
                steps.iter().map(|(span, rate)| (Duration::from_nanos(*span), Rate::bits(*rate))).collect();
            let trace = RateTrace::new(&steps);
            let from = Instant::from_nanos(from);
            let end = trace.finish(from, bits);
            let goal = trace.nanobits(from) + u128::from(bits) * NANO;
            prop_assert!(trace.nanobits(end) >= goal);
            prop_assert!(trace.nanobits(end - Duration::from_nanos(1)) < goal);
        }
    }
}

//! How far ACKs bunch up: the path's degree of aggregation (draft-ietf-ccwg-bbr-06 section 5.5.9).

use super::params::EXTRA_ACKED_SLOT_ROUNDS;
use super::windowed_max::WindowedMax;
use crate::congestion::bandwidth::Bandwidth;
use crate::time::Instant;

/// Estimates how much more than expected is acknowledged at once, so that the window can bridge the silence after.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ExtraAcked {
    /// The interval began here (`BBR.extra_acked_interval_start`).
    start: Instant,
    /// Bytes acknowledged in it (`BBR.extra_acked_delivered`).
    acked: u64,
    /// The largest excess of recent rounds, in bytes.
    max: WindowedMax<u64>,
    /// The round in which the filter's current slot began.
    slot_round: u64,
}

impl ExtraAcked {
    /// `UpdateACKAggregation`: `newly_acked` bytes arrived at `now`, where `bw` was expected. The excess counts up
    /// to `window`.
    pub(super) fn update(&mut self, now: Instant, newly_acked: u64, bw: Bandwidth, window: u64) {
        let mut expected = bw.bytes_in(now - self.start);
        if self.acked <= expected {
            self.restart(now);
            expected = 0;
        }
        self.acked = self.acked.saturating_add(newly_acked);
        self.max.update(self.acked.saturating_sub(expected).min(window));
    }

    /// A round began. The window is 10 rounds, or one while the rate still grows.
    pub(super) fn on_round(&mut self, round: u64, full_pipe_reached: bool) {
        let slot = if full_pipe_reached { EXTRA_ACKED_SLOT_ROUNDS } else { 1 };
        if round.saturating_sub(self.slot_round) >= slot {
            self.max.advance();
            self.slot_round = round;
        }
    }

    /// Begins a new interval: the path was idle, or ACKs came as slowly as expected.
    pub(super) fn restart(&mut self, now: Instant) {
        self.start = now;
        self.acked = 0;
    }

    /// The path has changed: what was learned says nothing.
    pub(super) fn forget(&mut self, now: Instant) {
        self.restart(now);
        self.max.reset(0);
    }

    /// The largest recent excess, in bytes.
    pub(super) fn get(&self) -> u64 {
        self.max.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Bandwidth = Bandwidth::from_bytes_per_sec(1_000_000);

    const fn ms(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn smooth_acks_add_little() {
        let mut extra = ExtraAcked::default();
        (1..100).for_each(|i| extra.update(ms(i), 1000, RATE, 1 << 20));
        assert!(extra.get() <= 2000, "{}", extra.get());
    }

    #[test]
    fn bunched_acks_are_seen_up_to_the_window_and_forgotten_after_ten_rounds() {
        let mut extra = ExtraAcked::default();
        extra.update(ms(10), 20_000, RATE, 1 << 20);
        assert_eq!(extra.get(), 20_000);
        extra.update(ms(11), 20_000, RATE, 30_000);
        assert_eq!(extra.get(), 30_000);
        for round in 1..=10 {
            extra.on_round(round, true);
            extra.update(ms(1000 * round), 100, RATE, 1 << 20);
        }
        assert_eq!(extra.get(), 100);
    }

    #[test]
    fn what_was_learned_of_another_path_is_forgotten_at_once() {
        let mut extra = ExtraAcked::default();
        extra.update(ms(10), 20_000, RATE, 1 << 20);
        extra.forget(ms(20));
        assert_eq!(extra.get(), 0);
        extra.update(ms(1000), 100, RATE, 1 << 20);
        assert_eq!(extra.get(), 100);
    }
}

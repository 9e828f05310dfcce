//! Whether the pipe is full: a plateau of the delivery rate (draft-ietf-ccwg-bbr-06 section 5.3.1.2).

use super::params::{FULL_PIPE_GROWTH, FULL_PIPE_ROUNDS};
use crate::congestion::bandwidth::Bandwidth;

/// The full-pipe estimator.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FullPipe {
    /// The rate that growth is measured against (`BBR.full_bw`).
    baseline: Bandwidth,
    /// Rounds since without much growth (`BBR.full_bw_count`).
    flat_rounds: u8,
    /// The pipe is full since the search began (`BBR.full_bw_now`).
    now: bool,
    /// The pipe was full at some time (`BBR.full_bw_reached`).
    reached: bool,
}

impl FullPipe {
    /// `CheckFullBWReached`: takes in a sample that is not application-limited.
    ///
    /// The draft looks at the one sample that begins each round; here growth counts on whichever ACK shows it (as in
    /// Linux), because random loss makes single samples scatter.
    pub(super) fn update(&mut self, rate: Bandwidth, round_started: bool) {
        if self.now {
            return;
        }
        if rate >= self.baseline.scaled(FULL_PIPE_GROWTH) {
            self.restart(rate);
            return;
        }
        if !round_started {
            return;
        }
        self.flat_rounds = self.flat_rounds.saturating_add(1);
        if self.flat_rounds >= FULL_PIPE_ROUNDS {
            self.now = true;
            self.reached = true;
        }
    }

    /// `ResetFullBW`, then `baseline` as the rate to beat: begins a new search.
    pub(super) fn restart(&mut self, baseline: Bandwidth) {
        self.baseline = baseline;
        self.flat_rounds = 0;
        self.now = false;
    }

    /// Whether the rate has not grown for so many rounds.
    pub(super) fn is_flat_for(&self, rounds: u8) -> bool {
        self.flat_rounds >= rounds
    }

    /// Loss has shown that the pipe is full.
    pub(super) fn set_reached(&mut self) {
        self.reached = true;
    }

    /// That turned out wrong.
    pub(super) fn clear_reached(&mut self) {
        self.reached = false;
    }

    /// Whether the current search has found a full pipe.
    pub(super) fn is_full_now(&self) -> bool {
        self.now
    }

    /// Whether the pipe has ever been full.
    pub(super) fn was_reached(&self) -> bool {
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(pipe: &mut FullPipe, rates: &[u64]) {
        rates.iter().for_each(|&rate| pipe.update(Bandwidth::from_bytes_per_sec(rate), true));
    }

    #[test]
    fn three_flat_rounds_fill_the_pipe() {
        let mut pipe = FullPipe::default();
        feed(&mut pipe, &[100, 200, 400, 480, 499]);
        assert!(!pipe.was_reached());
        feed(&mut pipe, &[450]);
        assert!(pipe.is_full_now() && pipe.was_reached());
    }

    #[test]
    fn growth_by_a_quarter_starts_over() {
        let mut pipe = FullPipe::default();
        feed(&mut pipe, &[400, 400, 400, 500, 500, 500]);
        assert!(!pipe.is_full_now());
        feed(&mut pipe, &[500]);
        assert!(pipe.is_full_now());
    }

    #[test]
    fn growth_counts_within_a_round_and_flatness_only_once_a_round() {
        let mut pipe = FullPipe::default();
        feed(&mut pipe, &[400, 400, 400]);
        (0..10).for_each(|_| pipe.update(Bandwidth::from_bytes_per_sec(400), false));
        assert!(!pipe.is_full_now());
        pipe.update(Bandwidth::from_bytes_per_sec(500), false);
        feed(&mut pipe, &[500, 500]);
        assert!(!pipe.is_full_now());
    }

    #[test]
    fn a_new_search_remembers_that_the_pipe_was_full() {
        let mut pipe = FullPipe::default();
        feed(&mut pipe, &[100, 100, 100, 100]);
        pipe.restart(Bandwidth::from_bytes_per_sec(100));
        assert!(!pipe.is_full_now() && pipe.was_reached());
    }
}

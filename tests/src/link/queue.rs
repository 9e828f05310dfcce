//! The queue in front of a link: first in, first out, served at a rate without rounding away a bit.

use std::collections::VecDeque;

use dunlin_core::{Duration, Instant};

use super::config::Rate;
use super::stats::DelayHistogram;
use super::trace::RateTrace;

/// How fast the wire takes what waits.
#[derive(Clone, Copy)]
pub(super) enum Service<'a> {
    Rate(Rate),
    Trace(&'a RateTrace),
}

/// See the module's documentation. The caller settles it before each use.
#[derive(Default, Debug)]
pub(super) struct Queue {
    /// What waits or is being put on the wire: when its last bit leaves, and its length.
    waiting: VecDeque<(Instant, usize)>,
    bytes: usize,
    /// When the wire is free.
    busy_until: Instant,
    /// The part of a nanosecond that `busy_until` leaves out, in units of 1 / rate nanoseconds, so that nothing drifts.
    remainder: u64,
    settled: Instant,
}

impl Queue {
    /// Lets everything leave that has left by `now`, and books the time since the last call: at each moment of it, by
    /// the delay that a datagram would have met.
    pub(super) fn settle(&mut self, now: Instant, histogram: &mut DelayHistogram) {
        let since = self.settled;
        self.settled = since.max(now);
        histogram.draining(self.busy_until - since, self.settled - since);
        while let Some((left, len)) = self.waiting.front().copied()
            && left <= now
        {
            self.waiting.pop_front();
            self.bytes -= len;
        }
    }

    /// Appends a datagram; returns when its last bit leaves.
    pub(super) fn push(&mut self, now: Instant, len: usize, service: Service<'_>) -> Instant {
        if now > self.busy_until {
            self.busy_until = now;
            self.remainder = 0;
        }
        match service {
            Service::Rate(rate) => {
                // Bits times nanoseconds per second: a datagram is far below the 2 MB that could overflow.
                let work = (len as u64).saturating_mul(8 * 1_000_000_000).saturating_add(self.remainder);
                self.busy_until += Duration::from_nanos(work / rate.get());
                self.remainder = work % rate.get();
            }
            Service::Trace(trace) => self.busy_until = trace.finish(self.busy_until, len as u64 * 8),
        }
        self.waiting.push_back((self.busy_until, len));
        self.bytes += len;
        self.busy_until
    }

    /// The remainder was counted in units of the old rate.
    pub(super) fn rate_changed(&mut self) {
        self.remainder = 0;
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn packets(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn busy_until(&self) -> Instant {
        self.busy_until
    }
}

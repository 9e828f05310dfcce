//! The longest time in which nothing arrived, while there was something to arrive.

use core::time::Duration;
use std::time::Instant;

/// Bytes that have to arrive before it is said that something did: a full packet. What keeps a path open, and answers, is
/// less for a long time.
const SOMETHING: u64 = 1000;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Gap {
    /// When something arrived last.
    last: Option<Instant>,
    longest: Option<Duration>,
    /// Bytes since then; or how much there was in all.
    bytes: u64,
}

impl Gap {
    /// So many bytes more have arrived at the peer; whether there are others `on_their_way`.
    pub(crate) fn on_delivered(&mut self, now: Instant, bytes: u64, on_their_way: bool) {
        self.bytes += bytes;
        if self.bytes >= SOMETHING {
            self.bytes = 0;
            self.arrived(now);
        } else if !on_their_way {
            // Nothing is awaited.
            self.last = None;
        }
    }

    /// So much has arrived here in all, whatever it is.
    pub(crate) fn on_total(&mut self, now: Instant, total: u64) {
        if total > self.bytes {
            self.bytes = total;
            self.arrived(now);
        }
    }

    /// `None` if nothing ever arrived behind something else.
    pub(crate) const fn longest(&self) -> Option<Duration> {
        self.longest
    }

    fn arrived(&mut self, now: Instant) {
        let passed = self.last.map(|last| now - last);
        self.longest = self.longest.max(passed);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn path_gaps_are_between_two_arrivals_and_small_packets_do_not_fill_them() {
        let (mut gap, start) = (Gap::default(), Instant::now());
        assert_eq!(gap.longest(), None);
        for (at, bytes) in
            [(0, 0), (500, 5000), (510, 3000), (520, 0), (600, 40), (1000, 40), (1310, 1200), (1320, 2000)]
        {
            gap.on_delivered(start + at * MS, bytes, true);
        }
        assert_eq!(gap.longest(), Some(800 * MS));
        gap.on_delivered(start + 5000 * MS, 0, true);
        assert_eq!(gap.longest(), Some(800 * MS), "nothing comes any more, which is the end");
    }

    #[test]
    fn path_gaps_end_where_nothing_is_on_its_way() {
        let (mut gap, start) = (Gap::default(), Instant::now());
        gap.on_delivered(start, 2000, true);
        gap.on_delivered(start + 30 * MS, 2000, true);
        gap.on_delivered(start + 40 * MS, 0, false);
        gap.on_delivered(start + 900 * MS, 2000, true);
        assert_eq!(gap.longest(), Some(30 * MS));
    }

    #[test]
    fn path_gaps_of_a_count_are_between_its_steps() {
        let (mut gap, start) = (Gap::default(), Instant::now());
        for (at, total) in [(0, 0), (100, 1), (110, 2), (200, 2), (260, 3), (900, 3)] {
            gap.on_total(start + at * MS, total);
        }
        assert_eq!(gap.longest(), Some(150 * MS));
    }
}

//! Saying something several times that nobody acknowledges.

use crate::time::{Duration, Instant};

/// First wait before it is said again, and how often that happens; the wait doubles.
const AGAIN: Duration = Duration::from_millis(200);
const TIMES: u32 = 5;

/// When it is to be said next, and for the how many-th time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Again {
    next: Option<(Instant, u32)>,
}

impl Again {
    /// It is said for the first time.
    pub(super) fn start(&mut self, now: Instant) {
        self.next = Some((now + AGAIN, 1));
    }

    /// The peer has heard of it, or it does not matter any more.
    pub(super) const fn stop(&mut self) {
        self.next = None;
    }

    /// Whether it is time to say it again.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        match self.next {
            Some((at, times)) if at <= now => {
                let wait = AGAIN.saturating_mul(1_u32.wrapping_shl(times));
                self.next = (times < TIMES).then(|| (now + wait, times.saturating_add(1)));
                true
            }
            _ => false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next.map(|(at, _)| at)
    }
}

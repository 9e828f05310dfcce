//! The receive window as it was last told, and telling it again: QOTP sends windows in acknowledgements only, and a peer
//! that was told a small one may have nothing to be acknowledged.

use crate::time::{Duration, Instant};

use super::again::Again;

/// The peer's window holds us and nothing is in flight that could bring another one: first wait before a PING asks for it,
/// and the most it doubles to.
const ASK: Duration = Duration::from_millis(200);
const MAX_ASK: Duration = Duration::from_secs(5);

/// What the peer knows of our window, and we of its.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// The window in the last acknowledgement; `None` before the first.
    window: Option<u64>,
    again: Again,
    ask: Option<Instant>,
    asked: u32,
}

impl Told {
    /// An acknowledgement told `window`.
    pub(super) const fn on_told(&mut self, window: u64) {
        self.window = Some(window);
    }

    /// Stream data came: the peer can send.
    pub(super) const fn on_data(&mut self) {
        self.again.stop();
    }

    /// Whether the reader has made so much room that the peer must hear of it: it was told less than half, and there is a
    /// quarter more.
    pub(super) fn is_news(&self, window: u64, capacity: u64) -> bool {
        self.window.is_some_and(|told| told < capacity / 2 && window >= told.saturating_add(capacity / 4))
    }

    /// A wider window is being told: nothing acknowledges that, so it is told again.
    pub(super) fn repeat(&mut self, now: Instant) {
        self.again.start(now);
    }

    /// Whether it is time to tell it again.
    pub(super) fn take_repeat(&mut self, now: Instant) -> bool {
        self.again.take_due(now)
    }

    /// The peer's window holds us, and nothing is in flight.
    pub(super) fn on_held(&mut self, now: Instant) {
        if self.ask.is_none() {
            let wait = ASK.saturating_mul(1 << self.asked.min(8)).min(MAX_ASK);
            self.ask = Some(now + wait);
            self.asked = self.asked.saturating_add(1);
        }
    }

    /// New data may go.
    pub(super) const fn on_free(&mut self) {
        self.ask = None;
        self.asked = 0;
    }

    /// Whether it is time to ask for the peer's window.
    pub(super) fn take_ask(&mut self, now: Instant) -> bool {
        let due = self.ask.is_some_and(|at| at <= now);
        if due {
            self.ask = None;
        }
        due
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.again.deadline().into_iter().chain(self.ask).min()
    }
}

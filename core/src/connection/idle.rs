//! When silence ends a connection, and what is done against it (RFC 9000 section 10.1).

use crate::time::{Duration, Instant};

/// Idle timeout and keep-alive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    timeout: Option<Duration>,
    keep_alive: Option<Duration>,
    /// Since when nothing was heard, as the timeout counts it.
    since: Instant,
    /// When a packet was last sent or received.
    active: Instant,
    /// An ack-eliciting packet was sent since the last one was received: more of them do not restart the timeout.
    waiting: bool,
    /// Memory that only a busy connection needs was given back since then.
    rested: bool,
}

/// After how long without a packet a connection rests: longer than any pause in a conversation that counts.
const REST_AFTER: Duration = Duration::from_secs(1);

impl Idle {
    pub(crate) const fn new(now: Instant, timeout: Option<Duration>, keep_alive: Option<Duration>) -> Self {
        Self { timeout, keep_alive, since: now, active: now, waiting: false, rested: false }
    }

    /// The smaller of both sides' timeouts counts; zero is none.
    pub(crate) fn set_peer_timeout(&mut self, timeout: Duration) {
        if !timeout.is_zero() {
            self.timeout = Some(self.timeout.map_or(timeout, |own| own.min(timeout)));
        }
    }

    pub(crate) const fn on_received(&mut self, now: Instant) {
        self.since = now;
        self.active = now;
        self.waiting = false;
        self.rested = false;
    }

    pub(crate) const fn on_sent(&mut self, now: Instant, ack_eliciting: bool) {
        self.active = now;
        self.rested = false;
        if ack_eliciting && !self.waiting {
            self.since = now;
            self.waiting = true;
        }
    }

    /// When the connection ends; never before three probe timeouts.
    pub(crate) fn deadline(&self, pto: Duration) -> Option<Instant> {
        self.timeout.map(|timeout| self.since + timeout.max(pto.saturating_mul(3)))
    }

    /// When to give back memory that only a busy connection needs.
    pub(crate) fn rest_due(&self) -> Option<Instant> {
        (!self.rested).then(|| self.active + REST_AFTER)
    }

    /// That memory was given back.
    pub(crate) const fn rest(&mut self) {
        self.rested = true;
    }

    /// When a PING is due.
    pub(crate) fn keep_alive_due(&self, outstanding: usize) -> Option<Instant> {
        self.keep_alive.filter(|_| outstanding == 0).map(|interval| self.active + interval)
    }
}

//! Whether a path still carries anything both ways: when it is to be tried, and when it counts as idle.

use crate::time::{Duration, Instant};

/// After how long without a packet from the peer a path is tried, where there is more than one.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The same while data flows on another one: who has to change over to this one is to know how it is doing.
pub(crate) const KEEP_ALIVE_BUSY: Duration = Duration::from_secs(1);
/// After how long without a packet from the peer a path that is not the last one is abandoned: three times as long as the
/// peer may be silent that answers.
pub(crate) const IDLE: Duration = Duration::from_secs(15);

/// The same for a path over a relay, which is dear to set up and seldom the one in use.
pub(crate) const IDLE_RELAY: Duration = Duration::from_secs(30);

/// When a path was last heard, as timeouts count it (RFC 9000 section 10.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    /// The last packet received, or the first ack-eliciting one sent since then.
    since: Instant,
    /// The last packet received.
    heard: Instant,
    /// An ack-eliciting packet was sent since the last one was received.
    waiting: bool,
}

impl Pulse {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { since: now, heard: now, waiting: false }
    }

    pub(crate) const fn on_received(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// An ack-eliciting packet was sent.
    pub(crate) const fn on_sent(&mut self, now: Instant) {
        if !self.waiting {
            (self.since, self.waiting) = (now, true);
        }
    }

    /// For how long nothing was heard.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now - self.since
    }

    /// When it was heard last, or began.
    pub(crate) const fn heard(&self) -> Instant {
        self.heard
    }

    /// When so much time without a word has passed.
    pub(crate) fn silent_for(&self, span: Duration) -> Instant {
        self.since + span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_path_is_silent_since_it_was_heard_or_first_asked_since_then() {
        let mut pulse = Pulse::new(at(0));
        assert_eq!(pulse.silent_for(IDLE), at(15));
        pulse.on_sent(at(10));
        pulse.on_sent(at(12));
        assert_eq!(pulse.heard(), at(0));
        assert_eq!(pulse.silent_for(IDLE), at(25), "from the first one on");
        pulse.on_received(at(20));
        assert_eq!((pulse.silent_for(KEEP_ALIVE), pulse.silence(at(22))), (at(25), Duration::from_secs(2)));
    }
}

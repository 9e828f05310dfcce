//! Whether the peer really is at its address, and how much may be sent there before that is known
//! (docs/PROTOCOL.md, "Address validation").

use crate::time::{Duration, Instant};

/// Bytes that may be sent for each received before the address is validated (RFC 9000 section 8).
const AMPLIFICATION: u64 = 3;
/// Challenges sent to one address before it is left alone.
const MAX_CHALLENGES: u8 = 5;

/// What is known of a path's remote address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Validation {
    /// The peer receives what is sent there.
    Valid,
    /// Not proved yet.
    Pending(Challenge),
}

/// A challenge in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Challenge {
    data: [u8; 8],
    received: u64,
    sent: u64,
    tries: u8,
    due: Instant,
}

impl Validation {
    /// Starts to validate an address from which `received` bytes came and to which `sent` went so far.
    pub(crate) const fn start(now: Instant, data: [u8; 8], received: u64, sent: u64) -> Self {
        Self::Pending(Challenge { data, received, sent, tries: 0, due: now })
    }

    /// How many bytes may be sent now.
    pub(crate) const fn allowance(&self) -> u64 {
        match self {
            Self::Valid => u64::MAX,
            Self::Pending(challenge) => {
                challenge.received.saturating_mul(AMPLIFICATION).saturating_sub(challenge.sent)
            }
        }
    }

    pub(crate) const fn on_received(&mut self, bytes: usize) {
        if let Self::Pending(challenge) = self {
            challenge.received = challenge.received.saturating_add(bytes as u64);
        }
    }

    pub(crate) const fn on_sent(&mut self, bytes: usize) {
        if let Self::Pending(challenge) = self {
            challenge.sent = challenge.sent.saturating_add(bytes as u64);
        }
    }

    /// The challenge, as long as it was not answered.
    pub(crate) const fn challenge(&self) -> Option<[u8; 8]> {
        match self {
            Self::Pending(challenge) => Some(challenge.data),
            Self::Valid => None,
        }
    }

    /// The challenge for which a packet of its own is to be sent now.
    pub(crate) fn challenge_due(&self, now: Instant) -> Option<[u8; 8]> {
        match self {
            Self::Pending(challenge) if challenge.tries < MAX_CHALLENGES && challenge.due <= now => {
                Some(challenge.data)
            }
            Self::Valid | Self::Pending(_) => None,
        }
    }

    /// The challenge went out; the next one waits for twice as long as this one.
    pub(crate) fn on_challenge_sent(&mut self, now: Instant, pto: Duration) {
        if let Self::Pending(challenge) = self {
            challenge.due = now + pto * (1 << challenge.tries.min(MAX_CHALLENGES));
            challenge.tries += 1;
        }
    }

    /// When the next challenge is due.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Pending(challenge) if challenge.tries < MAX_CHALLENGES => Some(challenge.due),
            Self::Valid | Self::Pending(_) => None,
        }
    }

    /// A PATH_RESPONSE came, from wherever.
    pub(crate) fn on_response(&mut self, data: &[u8; 8]) {
        if matches!(self, Self::Pending(challenge) if challenge.data == *data) {
            *self = Self::Valid;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unproved_address_gets_three_times_what_it_sent() {
        let mut validation = Validation::start(Instant::ZERO, [7; 8], 1200, 500);
        assert_eq!(validation.allowance(), 3100);
        validation.on_sent(3100);
        assert_eq!(validation.allowance(), 0);
        validation.on_received(10);
        assert_eq!(validation.allowance(), 30);
        validation.on_response(&[8; 8]);
        assert_eq!(validation.allowance(), 30, "another challenge's answer proves nothing");
        validation.on_response(&[7; 8]);
        assert_eq!(validation.allowance(), u64::MAX);
    }

    #[test]
    fn five_challenges_at_doubling_intervals() {
        let mut validation = Validation::start(Instant::ZERO, [7; 8], 1200, 0);
        let mut times = std::vec::Vec::new();
        while let Some(due) = validation.deadline() {
            assert_eq!(validation.challenge_due(due), Some([7; 8]));
            validation.on_challenge_sent(due, Duration::from_nanos(10));
            times.push(due.as_nanos());
        }
        assert_eq!(times, [0, 10, 30, 70, 150]);
    }
}

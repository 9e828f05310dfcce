//! Whether the peer really is at an address, how much may be sent there before that is known, and what the peer is owed
//! that asks the same (docs/PROTOCOL.md, "Address validation").

use crate::recovery::loss::MAX_PROBE_TIMEOUT;
use crate::time::{Duration, Instant};

use super::addr::{TransportAddr, Tuple};
use super::slots::PathSlot;

/// Bytes that may be sent for each received before the address is validated (RFC 9000 section 8).
const AMPLIFICATION: u64 = 3;
/// Challenges sent to one address before it is left alone.
const MAX_CHALLENGES: u8 = 5;
/// The longest wait for an answer: as with probes ([`MAX_PROBE_TIMEOUT`]), a path that comes back is not noticed later.
const MAX_WAIT: Duration = MAX_PROBE_TIMEOUT;
/// What somebody who opens a path takes as received from the other end: with it all challenges may go there.
const OWN_CREDIT: u64 = MAX_CHALLENGES as u64 * 1200 / AMPLIFICATION;
/// Addresses that may be owed an answer to a challenge at once.
const MAX_OWED: usize = 4;

/// A challenge, repeated until it is answered: when, and how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Challenge {
    data: [u8; 8],
    tries: u8,
    due: Instant,
}

impl Challenge {
    /// The first one is due at once.
    pub(crate) const fn new(now: Instant, data: [u8; 8]) -> Self {
        Self { data, tries: 0, due: now }
    }

    /// Whether this answers it.
    pub(crate) fn is_answered_by(&self, data: &[u8; 8]) -> bool {
        self.data == *data
    }

    /// What is to be sent now.
    pub(crate) fn due(&self, now: Instant) -> Option<[u8; 8]> {
        self.deadline().filter(|due| *due <= now).map(|_| self.data)
    }

    /// It went out; the next one waits for twice as long as this one, up to [`MAX_WAIT`].
    pub(crate) fn on_sent(&mut self, now: Instant, pto: Duration) {
        let factor = 1_u32.wrapping_shl(self.tries.min(MAX_CHALLENGES).into());
        self.due = now + pto.saturating_mul(factor).min(MAX_WAIT);
        self.tries = self.tries.saturating_add(1);
    }

    /// The next one is due at once, if there is to be one.
    pub(crate) fn hurry(&mut self, now: Instant) -> bool {
        let more = self.tries < MAX_CHALLENGES;
        if more {
            self.due = self.due.min(now);
        }
        more
    }

    /// When the next one is due.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        if self.tries < MAX_CHALLENGES { Some(self.due) } else { None }
    }
}

/// What is known of a path's remote address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Validation {
    /// The peer receives what is sent there.
    Valid,
    /// Not proved yet.
    Pending(Pending),
}

/// An address that is not proved yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pending {
    challenge: Challenge,
    received: u64,
    sent: u64,
}

impl Validation {
    /// Starts to validate an address from which `received` bytes came and to which `sent` went so far.
    pub(crate) const fn start(now: Instant, data: [u8; 8], received: u64, sent: u64) -> Self {
        Self::Pending(Pending { challenge: Challenge::new(now, data), received, sent })
    }

    /// The same for an address that this side has chosen: it may be sent the challenges.
    pub(crate) const fn start_own(now: Instant, data: [u8; 8]) -> Self {
        Self::start(now, data, OWN_CREDIT, 0)
    }

    /// Challenges sent so far.
    pub(crate) const fn challenges_sent(&self) -> u8 {
        match self {
            Self::Pending(pending) => pending.challenge.tries,
            Self::Valid => 0,
        }
    }

    /// When the last challenge has had as long as all before it together, and one interval more.
    pub(crate) const fn gives_up(&self) -> Option<Instant> {
        match self {
            Self::Pending(Pending { challenge: Challenge { tries: MAX_CHALLENGES.., due, .. }, .. }) => {
                Some(*due)
            }
            Self::Pending(_) | Self::Valid => None,
        }
    }

    /// Whether it is proved.
    pub(crate) const fn is_valid(&self) -> bool {
        matches!(self, Self::Valid)
    }

    /// How many bytes may be sent now.
    pub(crate) const fn allowance(&self) -> u64 {
        match self {
            Self::Valid => u64::MAX,
            Self::Pending(pending) => threefold(pending.received).saturating_sub(pending.sent),
        }
    }

    pub(crate) const fn on_received(&mut self, bytes: usize) {
        if let Self::Pending(pending) = self {
            pending.received = pending.received.saturating_add(bytes as u64);
        }
    }

    pub(crate) const fn on_sent(&mut self, bytes: usize) {
        if let Self::Pending(pending) = self {
            pending.sent = pending.sent.saturating_add(bytes as u64);
        }
    }

    /// The challenge, as long as it was not answered.
    pub(crate) const fn challenge(&self) -> Option<[u8; 8]> {
        match self {
            Self::Pending(pending) => Some(pending.challenge.data),
            Self::Valid => None,
        }
    }

    /// The challenge for which a packet of its own is to be sent now.
    pub(crate) fn challenge_due(&self, now: Instant) -> Option<[u8; 8]> {
        match self {
            Self::Pending(pending) => pending.challenge.due(now),
            Self::Valid => None,
        }
    }

    /// The challenge went out.
    pub(crate) fn on_challenge_sent(&mut self, now: Instant, pto: Duration) {
        if let Self::Pending(pending) = self {
            pending.challenge.on_sent(now, pto);
        }
    }

    /// The next challenge is due at once. `false` if there is to be none.
    pub(crate) fn hurry(&mut self, now: Instant) -> bool {
        match self {
            Self::Pending(pending) => pending.challenge.hurry(now),
            Self::Valid => false,
        }
    }

    /// When the next challenge is due.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Pending(pending) => pending.challenge.deadline(),
            Self::Valid => None,
        }
    }

    /// A PATH_RESPONSE came, from wherever.
    pub(crate) fn on_response(&mut self, data: &[u8; 8]) {
        if self.is_answered_by(data) {
            *self = Self::Valid;
        }
    }

    /// Whether this answers the challenge that is not answered yet.
    pub(crate) fn is_answered_by(&self, data: &[u8; 8]) -> bool {
        matches!(self, Self::Pending(pending) if pending.challenge.is_answered_by(data))
    }
}

const fn threefold(bytes: u64) -> u64 {
    bytes.saturating_mul(AMPLIFICATION)
}

/// The peer's challenges that are not answered yet: for each remote address the newest, and of the addresses the newest.
/// An answer goes to where its challenge came from, and leaves from where that arrived (RFC 9000 section 8.2.2).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwedResponses {
    /// The oldest first, without gaps.
    owed: [Option<Owed>; MAX_OWED],
}

/// An answer owed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owed {
    /// The path on which the challenge came.
    pub(crate) at: PathSlot,
    pub(crate) to: Tuple,
    pub(crate) data: [u8; 8],
    received: u64,
}

impl Owed {
    /// Bytes that may be sent to the address for what has come with the challenge, if nothing else is known of it.
    pub(crate) const fn allowance(&self) -> u64 {
        threefold(self.received)
    }
}

impl OwedResponses {
    /// A packet of `bytes` with a challenge came.
    pub(crate) fn on_challenge(&mut self, at: PathSlot, from: Tuple, data: [u8; 8], bytes: usize) {
        let before = self.take_if(|owed| owed.to.remote == from.remote);
        if self.owed[MAX_OWED - 1].is_some() {
            self.take_if(|_| true);
        }
        let received = before.map_or(0, |owed| owed.received).saturating_add(bytes as u64);
        if let Some(free) = self.owed.iter_mut().find(|place| place.is_none()) {
            *free = Some(Owed { at, to: from, data, received });
        }
    }

    /// Another packet came from `remote` on a path. What came on another one counts there: nothing that came may be answered
    /// threefold twice.
    pub(crate) fn on_received(&mut self, at: PathSlot, remote: &TransportAddr, bytes: usize) {
        let mut owed = self.owed.iter_mut().flatten();
        if let Some(owed) = owed.find(|owed| owed.at == at && owed.to.remote == *remote) {
            owed.received = owed.received.saturating_add(bytes as u64);
        }
    }

    /// All of them, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Owed> {
        self.owed.iter().flatten()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.owed[0].is_none()
    }

    /// Takes the oldest for which `wanted` holds.
    pub(crate) fn take_if(&mut self, wanted: impl Fn(&Owed) -> bool) -> Option<Owed> {
        let index = self.owed.iter().position(|place| place.as_ref().is_some_and(&wanted))?;
        let (_, later) = self.owed.split_at_mut(index);
        later.rotate_left(1);
        later.last_mut()?.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::addr::LocalAddr;
    use crate::path::slots::FIRST;

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

    fn from(port: u16) -> Tuple {
        Tuple { local: LocalAddr::default(), remote: TransportAddr::Ip(([192, 0, 2, 1], port).into()) }
    }

    fn listed(owed: &OwedResponses) -> std::vec::Vec<(u16, u8, u64)> {
        let port = |owed: &Owed| match owed.to.remote {
            TransportAddr::Ip(addr) => addr.port(),
            other => panic!("{other}"),
        };
        owed.iter().map(|owed| (port(owed), owed.data[0], owed.allowance())).collect()
    }

    #[test]
    fn four_addresses_are_owed_a_path_response_and_the_newest_wins() {
        let mut owed = OwedResponses::default();
        assert!(owed.is_empty());
        for port in 1..=6 {
            owed.on_challenge(FIRST, from(port), [port as u8; 8], 40);
        }
        assert_eq!(listed(&owed), [(3, 3, 120), (4, 4, 120), (5, 5, 120), (6, 6, 120)]);
        owed.on_challenge(FIRST, from(4), [9; 8], 1200);
        owed.on_received(FIRST, &from(6).remote, 10);
        owed.on_received(FIRST, &from(1).remote, 10);
        owed.on_received(PathSlot(1), &from(6).remote, 10);
        assert_eq!(listed(&owed), [(3, 3, 120), (5, 5, 120), (6, 6, 150), (4, 9, 3720)]);
        assert_eq!(owed.take_if(|owed| owed.to == from(5)).map(|owed| owed.data), Some([5; 8]));
        assert_eq!(owed.take_if(|owed| owed.to == from(5)), None);
        assert_eq!(listed(&owed), [(3, 3, 120), (6, 6, 150), (4, 9, 3720)]);
        while owed.take_if(|_| true).is_some() {}
        assert!(owed.is_empty());
    }
}

//! Following a peer to another address (docs/PROTOCOL.md, "Moving to another address"; RFC 9000 section 9), as a pure
//! state machine.
//!
//! ```text
//!            the new address answers             the old one answers, and was heard again
//!   Asking ──────────────────────────▶ Moved ──────────────────────────────────────────────▶ Settled
//!      └───────────────────────────────────────────────────────────────────────────────────────▲
//!        the old one answers, and was heard again
//! ```
//!
//! *Heard again* is an address from which a packet came that would begin a move: the newest one, with more in it than is
//! said about paths. Who only passes on what the peer sent can let a packet come from anywhere first, and answer from
//! there, but cannot keep the peer's own address from answering, nor the peer from going on there. So where the old address
//! was heard again when the new one answers, its own answer is waited for, one probe timeout long.
//!
//! Every stage ends after three probe timeouts. The path is then where the peer has answered, or where it was.

use crate::time::{Duration, Instant};
use crate::wire::header::{DATA_HEADER, TAG};

use super::addr::{TransportAddr, Tuple};
use super::validate::{Challenge, Validation};

/// Probe timeouts after which a move is over (RFC 9000 section 8.2.4).
const TIMEOUTS: u32 = 3;
/// The bytes of a packet with a challenge and an answer: header and tag of Data, and two frames of nine bytes.
pub(crate) const SMALLEST_ERRAND: u64 = (DATA_HEADER + TAG + 2 * 9) as u64;

/// The peer seems to be elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Move {
    stage: Stage,
    old: Tuple,
    /// Whether the old address had been proved: only then may it be asked while data goes to the new one.
    was_proved: bool,
    old_challenge: Challenge,
    old_answered: bool,
    /// Whether the old address was heard again since the move began.
    old_heard: bool,
    new: Tuple,
    /// The new address's challenge, and what it may be sent.
    validation: Validation,
    over: Instant,
}

/// How far a move has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Data goes to the old address; both are asked.
    Asking,
    /// Data goes to the new address; the old one may still answer.
    Moved,
    /// Data goes to the old address, and the new one is not tried again for a while.
    Settled,
}

/// The ends between which a path moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// Where it is.
    pub(crate) old: Tuple,
    /// Whether the peer is known to be there.
    pub(crate) was_proved: bool,
    /// Where a packet came from.
    pub(crate) new: Tuple,
}

/// The probe timeouts that a move goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The path's.
    pub(crate) pto: Duration,
    /// That of a path without a sample: the new one may be slower.
    pub(crate) unmeasured: Duration,
}

/// What is to be done about a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub(crate) enum MoveStep {
    /// Nothing.
    #[default]
    Stay,
    /// Data goes there from now on. The peer has answered there.
    Go(Tuple),
}

impl Move {
    /// A packet of `bytes` came from a new address. `challenges` are fresh, for the old address and for the new one.
    pub(crate) fn begin(
        now: Instant,
        ends: Ends,
        bytes: usize,
        patience: Patience,
        challenges: [[u8; 8]; 2],
    ) -> Self {
        let Ends { old, was_proved, new } = ends;
        let timeout = match old.is_same_route(&new) {
            true => patience.pto,
            false => patience.pto.max(patience.unmeasured),
        };
        Self {
            stage: Stage::Asking,
            old,
            was_proved,
            old_challenge: Challenge::new(now, challenges[0]),
            old_answered: false,
            old_heard: false,
            new,
            validation: Validation::start(now, challenges[1], bytes as u64, 0),
            over: now + timeout.saturating_mul(TIMEOUTS),
        }
    }

    /// Whether another move may begin, to `to`. What was settled for now is not asked again.
    pub(crate) fn gives_way_to(&self, to: &Tuple) -> bool {
        match self.stage {
            Stage::Asking => false,
            Stage::Moved => !to.matches(&self.old),
            Stage::Settled => !to.matches(&self.new),
        }
    }

    /// An authentic packet of `bytes` came.
    pub(crate) fn on_received(&mut self, from: &TransportAddr, bytes: usize) {
        if *from == self.new.remote {
            self.validation.on_received(bytes);
        }
    }

    /// A packet came that would begin a move if it came from elsewhere.
    pub(crate) fn on_packet(&mut self, from: &Tuple) -> MoveStep {
        self.old_heard |= from.matches(&self.old);
        self.settle()
    }

    /// A PATH_RESPONSE came, from wherever.
    pub(crate) fn on_response(&mut self, now: Instant, pto: Duration, data: &[u8; 8]) -> MoveStep {
        self.old_answered |= self.old_challenge.is_answered_by(data);
        self.validation.on_response(data);
        if self.stage == Stage::Asking && self.validation.is_valid() {
            if !self.old_heard {
                self.stage = Stage::Moved;
                return MoveStep::Go(self.new);
            }
            self.over = self.over.min(now + pto);
        }
        self.settle()
    }

    /// Its time is over.
    pub(crate) const fn end(self) -> MoveStep {
        match self.stage {
            Stage::Asking if self.validation.is_valid() => MoveStep::Go(self.new),
            Stage::Asking | Stage::Moved | Stage::Settled => MoveStep::Stay,
        }
    }

    /// The path stays, or comes back, if the old address has answered and was heard again.
    fn settle(&mut self) -> MoveStep {
        if !self.old_answered || !self.old_heard {
            return MoveStep::Stay;
        }
        match core::mem::replace(&mut self.stage, Stage::Settled) {
            Stage::Moved => MoveStep::Go(self.old),
            Stage::Asking | Stage::Settled => MoveStep::Stay,
        }
    }

    /// When it is over.
    pub(crate) const fn over(&self) -> Instant {
        self.over
    }

    /// The challenge to send now to where the path is.
    pub(crate) fn here_due(&self, now: Instant) -> Option<[u8; 8]> {
        self.here().and_then(|challenge| challenge.due(now))
    }

    /// Whether it is not decided where the path goes on.
    pub(crate) const fn is_asking(&self) -> bool {
        matches!(self.stage, Stage::Asking)
    }

    /// When that is due.
    pub(crate) fn here_deadline(&self) -> Option<Instant> {
        self.here().and_then(Challenge::deadline)
    }

    fn here(&self) -> Option<&Challenge> {
        (self.stage == Stage::Asking && !self.old_answered).then_some(&self.old_challenge)
    }

    /// It went out.
    pub(crate) fn on_sent_here(&mut self, now: Instant, pto: Duration) {
        self.old_challenge.on_sent(now, pto);
    }

    /// The other address, as long as it is to be asked.
    pub(crate) fn there(&self) -> Option<There> {
        let (to, deadline, allowance) = match self.stage {
            Stage::Asking => (self.new, self.validation.deadline(), self.validation.allowance()),
            Stage::Moved if self.was_proved && !self.old_answered => {
                (self.old, self.old_challenge.deadline(), u64::MAX)
            }
            Stage::Moved | Stage::Settled => return None,
        };
        Some(There { to, deadline, allowance })
    }

    /// The challenge to send there now.
    pub(crate) fn there_due(&self, now: Instant) -> Option<[u8; 8]> {
        match self.stage {
            Stage::Asking => self.validation.challenge_due(now),
            Stage::Moved => self.old_challenge.due(now),
            Stage::Settled => None,
        }
    }

    /// A packet of `bytes` went to an address that is not the path's, with the challenge that was due or without.
    pub(crate) fn on_sent_elsewhere(
        &mut self,
        to: &TransportAddr,
        now: Instant,
        pto: Duration,
        bytes: usize,
        challenged: bool,
    ) {
        if *to == self.new.remote {
            self.validation.on_sent(bytes);
        }
        match self.stage {
            Stage::Asking if challenged => self.validation.on_challenge_sent(now, pto),
            Stage::Moved if challenged => self.old_challenge.on_sent(now, pto),
            _ => {}
        }
    }
}

/// The address of a move that is not the path's now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct There {
    pub(crate) to: Tuple,
    /// When the next challenge is due.
    pub(crate) deadline: Option<Instant>,
    /// How many bytes may be sent now.
    pub(crate) allowance: u64,
}

impl There {
    /// Whether a packet may go there.
    pub(crate) const fn may_be_asked(&self) -> bool {
        self.allowance >= SMALLEST_ERRAND
    }
}

#[cfg(test)]
mod tests;

//! The frames in the initiator's first packet, and the tokens by which they are acted on at once (docs/PROTOCOL.md, "Packet 0
//! and early data").

use alloc::vec::Vec;

use crate::crypto::EarlyToken;
use crate::error::TransportError;
use crate::id::{PacketNumber, Role};
use crate::path::slots::{FIRST, PathSlot};
use crate::recovery::sent::{Item, SentPackets};
use crate::shared::Shared;
use crate::time::{Duration, Instant};
use crate::wire::frame::put_new_token;
use crate::wire::params::EarlyOutcome;

use super::Connection;
use super::moves::Said;
use super::receive::Stop;
use super::state::State;

/// How long after a token was given out another one goes with what is sent anyway: half as long as it is good, so that the
/// peer of a busy connection always has one.
const RENEWAL: Duration = Duration::from_secs(300);

/// What a connection has to do with early data; most have nothing.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Initiator: what went with the Init and is not acknowledged yet.
    flight: Option<EarlyFlight>,
    /// Initiator: the newest token that the peer has given out, for another dial.
    token: Option<EarlyToken>,
    /// Responder: how the initiator comes by one.
    issue: Issue,
}

/// Early data that is not acknowledged yet.
#[derive(Debug)]
struct EarlyFlight {
    /// Packet 0 and what it carried.
    packet: SentPackets,
    /// Whether the Init showed a token beside it.
    with_token: bool,
    /// When the responder has had enough time to apply it: known once it has acknowledged the confirming packet.
    lost_at: Option<Instant>,
}

/// When the initiator is given a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Issue {
    #[default]
    Never,
    Now,
    /// From then on, with what is sent anyway.
    From(Instant),
}

/// Why early data is not acted on at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Withheld {
    NoMemory,
    /// It breaks a rule.
    Violation(TransportError),
}

impl Connection {
    /// Initiator: packet 0 carries something beside HELLO.
    pub(super) fn on_early_sent(&mut self, now: Instant, mut packet: SentPackets, with_token: bool) {
        packet.record_early(now);
        self.early_mut().flight = Some(EarlyFlight { packet, with_token, lost_at: None });
    }

    /// Initiator: whether what the responder says of early data can be so.
    pub(super) fn is_early_outcome_possible(&self, outcome: EarlyOutcome) -> bool {
        let shown = self.early_flight().is_some_and(|flight| flight.with_token);
        outcome != EarlyOutcome::Applied || shown
    }

    /// Initiator: the responder has said what became of the early data.
    pub(super) fn settle_early(&mut self, cx: &mut Shared, outcome: EarlyOutcome) {
        match outcome {
            EarlyOutcome::Held => {}
            EarlyOutcome::Applied => self.on_early_acked(cx),
            EarlyOutcome::None | EarlyOutcome::Refused => self.lose_early(),
        }
    }

    /// Packet 0 is acknowledged: its frames have been applied.
    pub(super) fn on_early_acked(&mut self, cx: &mut Shared) {
        let Some(mut flight) = self.take_early_flight() else { return };
        if let Some(acked) = flight.packet.ack(0) {
            let memory = &mut cx.memory(&mut self.account);
            for item in flight.packet.items(acked.packet()) {
                self.streams.on_acked(item, memory);
            }
        }
    }

    /// The early data goes again.
    pub(super) fn lose_early(&mut self) {
        if let Some(mut flight) = self.take_early_flight()
            && let Some(packet) = flight.packet.lose_oldest()
        {
            for item in flight.packet.items(&packet) {
                self.streams.on_lost(item);
            }
        }
    }

    /// The peer has acknowledged something after the handshake: the time for its acknowledgement of early data runs.
    pub(super) fn on_progress(&mut self, now: Instant) {
        let pto = self.largest_pto();
        if let Some(flight) = self.early.as_mut().and_then(|early| early.flight.as_mut())
            && flight.lost_at.is_none()
        {
            flight.lost_at = Some(now + pto * 3);
        }
    }

    /// When early data counts as lost.
    pub(super) fn early_lost_at(&self) -> Option<Instant> {
        self.early_flight()?.lost_at
    }

    /// Whether there is early data of which it is not known what became of it.
    pub(super) fn awaits_early(&self) -> bool {
        self.early_flight().is_some()
    }

    /// Nothing is to go again.
    pub(super) fn forget_early(&mut self) {
        self.take_early_flight();
    }

    fn early_flight(&self) -> Option<&EarlyFlight> {
        self.early.as_ref()?.flight.as_ref()
    }

    fn take_early_flight(&mut self) -> Option<EarlyFlight> {
        self.early.as_mut()?.flight.take()
    }

    fn early_mut(&mut self) -> &mut Early {
        self.early.get_or_insert_default()
    }

    /// Its heap, in bytes.
    pub(super) fn early_bytes(&self) -> usize {
        let flight = self.early_flight().map_or(0, |flight| flight.packet.heap_bytes());
        self.early.as_ref().map_or(0, |_| size_of::<Early>().saturating_add(flight))
    }

    /// Responder: acts on early data before the reply is made, which says so.
    pub(crate) fn apply_early(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        frames: &[u8],
    ) -> Result<(), Withheld> {
        let mut said = Said::default();
        match self.apply_frames(FIRST, cx, now, frames, &mut said) {
            Ok(()) => {
                let (number, max_delay) = (PacketNumber::ZERO, cx.config.max_ack_delay);
                self.paths[FIRST].received.on_applied(now, number, said.ack_eliciting, None, max_delay);
                Ok(())
            }
            Err(Stop::Withhold) => Err(Withheld::NoMemory),
            Err(Stop::Violation(error)) => Err(Withheld::Violation(error)),
        }
    }

    /// Responder: the initiator has proved its key, and is to have a token for its next dial.
    pub(super) fn issue_tokens(&mut self) {
        self.early_mut().issue = Issue::Now;
    }

    /// Whether the peer is to be given a token although there is nothing else to send.
    pub(super) fn owes_token(&self) -> bool {
        self.early.as_ref().is_some_and(|early| early.issue == Issue::Now)
    }

    /// A NEW_TOKEN was lost: the peer gets a newer one.
    pub(super) fn on_token_lost(&mut self) {
        if let Some(early) = &mut self.early {
            early.issue = Issue::Now;
        }
    }

    /// Appends a NEW_TOKEN if one is due and fits before `end`.
    pub(super) fn put_token(&mut self, at: PathSlot, cx: &mut Shared, out: &mut Vec<u8>, end: usize) {
        /// Type and length.
        const HEADER: usize = 2;
        let Some(early) = &mut self.early else { return };
        let due = match early.issue {
            Issue::Never => false,
            Issue::Now => true,
            Issue::From(from) => from <= cx.now,
        };
        let State::Established(secured) = &self.state else { return };
        if due && out.len().saturating_add(HEADER + EarlyToken::LEN) <= end {
            let token = cx.early_secret.token(cx.now, cx.rng.bytes(), &secured.peer);
            put_new_token(out, token.as_bytes());
            self.paths[at].sent.push_item(Item::NewToken);
            early.issue = Issue::From(cx.now + RENEWAL);
        }
    }

    /// A NEW_TOKEN came. One of a kind that is not known is of no use, and does no harm.
    pub(super) fn on_new_token(&mut self, token: &[u8]) -> Result<(), TransportError> {
        if self.role == Role::Responder {
            return Err(TransportError::Protocol);
        }
        if let Some(token) = EarlyToken::read(token) {
            self.early_mut().token = Some(token);
        }
        Ok(())
    }

    /// The newest token that the peer has given out.
    pub(super) fn early_token(&self) -> Option<&EarlyToken> {
        self.early.as_ref()?.token.as_ref()
    }
}

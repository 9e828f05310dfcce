//! Incoming attempts: from the Init to the application's decision and what follows from it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::admission::Verdict;
use crate::connection::state::Copies;
use crate::connection::{Answering, Connection};
use crate::error::{AcceptError, RetryError, TransportError};
use crate::event::Event;
use crate::handshake::negotiate::choose;
use crate::handshake::responder::{Attempt, Opening, transport_close};
use crate::handshake::retry;
use crate::id::{ConnectionId, ErrorCode};
use crate::path::addr::{Arrival, LocalAddr, Transmit, Tuple};
use crate::stats::{Disposition, DropReason, count};
use crate::time::Instant;
use crate::wire::frame::{Close, CloseKind};
use crate::wire::header::{Header, InitHeader, PacketType};
use crate::wire::params::EarlyOutcome;

use super::early::NoConnection;
use super::incoming::{Candidate, Decision, Init, Pending};
use super::inits::{Found, InitName};
use super::load::{IK_COST, IX_COST, Proof, Ruling};
use super::{ConnectionHandle, Endpoint, Entry};

/// Heap of an attempt beside its early data: itself, what was read of it, a refusal of it, its places in the tables.
pub(super) const PENDING_COST: usize = 2 << 10;

/// X25519 operations of an attempt that is answered.
const fn price(ty: PacketType) -> u32 {
    if matches!(ty, PacketType::InitKnown) { IK_COST } else { IX_COST }
}

impl Pending {
    /// The refusal, to whoever sent a copy of the Init.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        connection: ConnectionHandle,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let Decision::Refused(reply) = &self.decision else { return None };
        let (local, remote) = self.copies.pay(now, reply.len())?;
        out.extend_from_slice(reply);
        let len = reply.len();
        Some(Transmit { connection, local, remote, ecn: None, len, segment_size: len })
    }
}

impl Endpoint {
    /// An Init came: a copy of a known one, or a new attempt.
    pub(super) fn handle_init(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        header: Header,
        datagram: &mut [u8],
    ) -> Disposition {
        let name = match self.inits.find(datagram, &mut self.shared.stats.digests) {
            Found::Copy(slot) => return self.handle_copy(slot, arrival, datagram.len()),
            Found::Unknown(name) => name,
        };
        if self.shared.config.alpns.is_empty() {
            return Disposition::Dropped(DropReason::NotAccepting);
        }
        let Ok(tokens) = InitHeader::tokens(datagram) else {
            return Disposition::Dropped(DropReason::TooShort);
        };
        let validated = self.shared.group_secret.has_retry_token(now, &arrival.remote, tokens);
        let proof = if validated { Proof::Token } else { Proof::None };
        let price = price(header.ty);
        match self.judge(now, &arrival.remote, proof, price) {
            Ruling::Enter => {}
            Ruling::Retry => return self.ask_for_address(now, arrival, header.routing, datagram, name),
            Ruling::Drop(reason) => return Disposition::Dropped(reason),
        }
        let before = self.shared.stats.x25519_operations;
        self.let_in(now, arrival, header, validated, datagram, name).unwrap_or_else(|reason| {
            let spent = self.shared.stats.x25519_operations.saturating_sub(before);
            self.taken.spend(u32::try_from(spent).unwrap_or(price));
            Disposition::Dropped(reason)
        })
    }

    /// Reads an Init, as far as the policy is for it, and enters the attempt. An error: only what was computed is spent.
    fn let_in(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        header: Header,
        validated: bool,
        datagram: &mut [u8],
        mut name: InitName,
    ) -> Result<Disposition, DropReason> {
        let opening = Opening::read(header.ty, header.routing, datagram, &mut self.shared.party())?;
        let verdict = self.shared.judge(arrival.remote, validated, opening.identity());
        match verdict {
            Verdict::Ignore => return Err(DropReason::Unwanted),
            Verdict::Retry if !validated => {
                self.taken.spend(opening.spent());
                return Ok(self.ask_for_address(now, arrival, header.routing, datagram, name));
            }
            Verdict::Ask | Verdict::Accept | Verdict::Refuse(_) | Verdict::Retry => {}
        }
        // Reading the rest scrambles it.
        let (len, id) = (datagram.len(), name.id(datagram, &mut self.shared.stats.digests));
        let mut frames = 0;
        let read = opening.finish(datagram, &mut self.shared.party(), &mut frames);
        count(&mut self.shared.stats.frames, frames);
        let attempt = read?;
        self.taken.spend(price(header.ty));
        let cost = PENDING_COST.saturating_add(attempt.early.len());
        if self.shared.budget.charge(cost).is_err() {
            return Ok(Disposition::Dropped(DropReason::OverBudget));
        }
        let incompatible = choose(&self.shared.config, &attempt.hello).err();
        let candidate = Candidate::Native(Box::new(attempt));
        let copies = Copies::new(arrival.local, arrival.remote, len, validated);
        let handle = self.await_decision(now, arrival.local, copies, cost, candidate, Init::Native(id));
        self.inits.insert(&id, handle.slot);
        match incompatible {
            Some(error) => self.refuse_with(now, handle, &transport_close(error)),
            None => self.follow(now, handle, verdict),
        }
        Ok(Disposition::Accepted)
    }

    /// Does what the policy says with an attempt that was read.
    pub(super) fn follow(&mut self, now: Instant, handle: ConnectionHandle, verdict: Verdict) {
        match verdict {
            Verdict::Accept => self.accept_unasked(now, handle),
            Verdict::Refuse(code) => self.refuse(now, handle, code),
            Verdict::Ask | Verdict::Retry | Verdict::Ignore => {
                self.shared.events.push(handle, Event::Incoming);
            }
        }
    }

    /// An attempt for which there is no memory stays unanswered, as if the application could not accept it.
    fn accept_unasked(&mut self, now: Instant, handle: ConnectionHandle) {
        // The first word of what it accepts is `Connected`: so early data waits for that.
        if let Some(Entry::Pending(pending)) = self.slots.get_mut(handle)
            && let Decision::Waiting(Candidate::Native(attempt)) = &mut pending.decision
        {
            self.used_tokens.use_up(now, attempt, &mut self.shared);
        }
        if self.accept(now, handle).is_ok()
            && let Some(Entry::Connection(connection)) = self.slots.get_mut(handle)
        {
            connection.be_quiet();
        }
    }

    /// Answers an Init with a Retry, for which nothing is kept.
    fn ask_for_address(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        routing: ConnectionId,
        datagram: &[u8],
        mut name: InitName,
    ) -> Disposition {
        if !self.taken.may_retry(now, self.shared.config.limits.dh_per_second) {
            return Disposition::Dropped(DropReason::RateLimited);
        }
        let digest = name.digest(datagram, &mut self.shared.stats.digests);
        if self.send_retry(now, &arrival.tuple(), routing, &digest) {
            Disposition::Accepted
        } else {
            Disposition::Dropped(DropReason::RateLimited)
        }
    }

    /// Sends a Retry for the Init with this digest. `false`: there is no room for it.
    fn send_retry(&mut self, now: Instant, to: &Tuple, routing: ConnectionId, init: &[u8; 32]) -> bool {
        let token = self.shared.group_secret.retry_token(now, &to.remote);
        let sent = self.stateless.answer(to, &[&retry::answer(init, routing, &token)]);
        count(&mut self.shared.stats.retries_sent, u64::from(sent));
        sent
    }

    /// The application wants the address shown. What finds no room to be sent is as lost as any packet.
    pub(super) fn retry(&mut self, now: Instant, handle: ConnectionHandle) -> Result<(), RetryError> {
        let now = self.shared.advance(now);
        let Some(Entry::Pending(pending)) = self.slots.get(handle) else { return Err(RetryError::Gone) };
        let attempt = match &pending.decision {
            Decision::Waiting(Candidate::Native(attempt)) => attempt,
            Decision::Waiting(Candidate::Qotp(_)) => return Err(RetryError::Unsupported),
            Decision::Refused(_) | Decision::Ignored => return Err(RetryError::Gone),
        };
        let Init::Native(init) = pending.init else { return Err(RetryError::Unsupported) };
        if pending.copies.validated {
            return Err(RetryError::Validated);
        }
        let to = Tuple { local: pending.local, remote: pending.copies.first };
        let routing = attempt.remote_id;
        self.send_retry(now, &to, routing, init.digest());
        self.remove(handle.slot);
        Ok(())
    }

    /// Enters an attempt, for which `cost` was charged, until the application decides.
    pub(super) fn await_decision(
        &mut self,
        now: Instant,
        local: LocalAddr,
        copies: Copies,
        cost: usize,
        candidate: Candidate,
        init: Init,
    ) -> ConnectionHandle {
        let shown = copies.validated.then_some(&copies.first);
        let seat = self.shared.half_open.enter(cost, shown);
        let pending = Pending {
            decision: Decision::Waiting(candidate),
            copies,
            local,
            init,
            expires: now + self.shared.config.limits.half_open_lifetime,
            cost,
            seat,
        };
        let handle = self.slots.insert(Entry::Pending(Box::new(pending)));
        count(&mut self.shared.stats.incoming, 1);
        self.ready.push(handle.slot);
        handle
    }

    /// Every copy of an Init gets the same bytes, to where it came from.
    fn handle_copy(&mut self, slot: u32, arrival: &Arrival, len: usize) -> Disposition {
        let answered = match self.slots.at_mut(slot) {
            Some(Entry::Pending(pending)) => {
                let silent = matches!(pending.decision, Decision::Ignored);
                if !silent {
                    pending.copies.on_copy(arrival.local, arrival.remote, len);
                }
                !silent
            }
            Some(Entry::Connection(connection)) => connection.handle_copy(arrival, len),
            None => false,
        };
        if answered {
            self.ready.push(slot);
            Disposition::Accepted
        } else {
            Disposition::Dropped(DropReason::Duplicate)
        }
    }

    /// Takes the attempt out of an entry that still waits, leaving it ignored.
    fn take_candidate(&mut self, handle: ConnectionHandle) -> Option<Candidate> {
        let Some(Entry::Pending(pending)) = self.slots.get_mut(handle) else { return None };
        match core::mem::replace(&mut pending.decision, Decision::Ignored) {
            Decision::Waiting(candidate) => Some(candidate),
            decided => {
                pending.decision = decided;
                None
            }
        }
    }

    pub(super) fn accept(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
    ) -> Result<ConnectionHandle, AcceptError> {
        let now = self.shared.advance(now);
        match self.take_candidate(handle).ok_or(AcceptError::Gone)? {
            Candidate::Native(attempt) => self.accept_native(now, handle, attempt),
            Candidate::Qotp(attempt) => self.accept_qotp(now, handle, *attempt),
        }
    }

    fn accept_native(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        attempt: Box<Attempt>,
    ) -> Result<ConnectionHandle, AcceptError> {
        // The protocols may have changed since the attempt came.
        let Ok(agreement) = choose(&self.shared.config, &attempt.hello) else {
            self.put_back(handle, Candidate::Native(attempt));
            self.refuse_with(now, handle, &transport_close(TransportError::NoCommonAlpn));
            return Err(AcceptError::Gone);
        };
        let (remote_id, local_id) = (attempt.remote_id, self.shared.ids.fresh(&mut self.shared.rng));
        let reserved = self.shared.rng.next_u64();
        let ephemeral = self.shared.rng.ephemeral_secret(now, remote_id.as_bytes());
        let Some(Entry::Pending(pending)) = self.slots.get(handle) else { return Err(AcceptError::Gone) };
        let Init::Native(init) = pending.init else { return Err(AcceptError::Gone) };
        let (local, copies) = (pending.local, pending.copies.clone());
        let early = if attempt.early.is_empty() { EarlyOutcome::None } else { EarlyOutcome::Held };
        let expires = now + self.shared.config.limits.half_open_lifetime;
        let answering =
            Answering { attempt, agreement, copies, local, init, early, ephemeral, reserved, expires };
        let mut connection = match self.answering(now, handle, local_id, Box::new(answering)) {
            Ok(connection) => connection,
            Err(NoConnection::OverBudget) => return Err(AcceptError::OverBudget),
            Err(NoConnection::Violation(attempt, error)) => {
                self.put_back(handle, Candidate::Native(attempt));
                self.refuse_with(now, handle, &transport_close(error));
                return Err(AcceptError::Gone);
            }
        };
        if connection.is_early() {
            connection.tell_early(&mut self.shared);
            connection.finish_verb(&mut self.shared);
        } else if !connection.make_reply(&mut self.shared, now) {
            connection.forget(&mut self.shared);
            return Err(AcceptError::Gone);
        }
        self.shared.ids.insert(local_id, handle.slot);
        self.settle_attempt(handle, connection);
        Ok(handle)
    }

    /// An attempt has become a connection.
    pub(super) fn settle_attempt(&mut self, handle: ConnectionHandle, connection: Connection) {
        let held = connection.held();
        let Some(entry) = self.slots.get_mut(handle) else { return };
        let before = core::mem::replace(entry, Entry::Connection(Box::new(connection)));
        if let (Entry::Pending(pending), Entry::Connection(connection)) = (before, entry) {
            self.shared.budget.release(pending.cost);
            let mut seat = pending.seat;
            self.shared.half_open.resize(&mut seat, held);
            connection.take_seat(seat);
        }
        self.ready.push(handle.slot);
    }

    fn put_back(&mut self, handle: ConnectionHandle, candidate: Candidate) {
        if let Some(Entry::Pending(pending)) = self.slots.get_mut(handle) {
            pending.decision = Decision::Waiting(candidate);
        }
    }

    pub(super) fn refuse(&mut self, now: Instant, handle: ConnectionHandle, code: ErrorCode) {
        self.refuse_with(now, handle, &Close { by: CloseKind::Application, code, reason: &[] });
    }

    fn refuse_with(&mut self, now: Instant, handle: ConnectionHandle, close: &Close<'_>) {
        let now = self.shared.advance(now);
        // QOTP has no refusal: silence.
        let Some(Candidate::Native(mut attempt)) = self.take_candidate(handle) else { return };
        // Whoever hears that it was not done relies on that.
        self.used_tokens.use_up(now, &mut attempt, &mut self.shared);
        let reserved = self.shared.rng.next_u64();
        let ephemeral = self.shared.rng.ephemeral_secret(now, attempt.remote_id.as_bytes());
        let reply = attempt.refuse(close, &mut self.shared.party(), &ephemeral, reserved);
        if let (Ok(reply), Some(Entry::Pending(pending))) = (reply, self.slots.get_mut(handle)) {
            pending.decision = Decision::Refused(reply);
            self.ready.push(handle.slot);
        }
    }

    pub(super) fn ignore(&mut self, handle: ConnectionHandle) {
        self.take_candidate(handle);
    }
}

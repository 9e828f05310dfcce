//! Incoming attempts: from the Init to the application's decision and what follows from it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::connection::state::Copies;
use crate::connection::{Accepted, Connection};
use crate::error::{AcceptError, TransportError};
use crate::event::Event;
use crate::handshake::negotiate::choose;
use crate::handshake::responder::{Attempt, transport_close};
use crate::id::ErrorCode;
use crate::path::addr::{Arrival, Transmit};
use crate::stats::{Disposition, DropReason};
use crate::time::Instant;
use crate::wire::frame::{Close, CloseKind};
use crate::wire::header::Header;

use super::incoming::{Candidate, Decision, Init, Pending};
use super::{ConnectionHandle, Endpoint, Entry};

/// Heap of an attempt beside its early data: itself, what was read of it, a refusal of it, its places in the tables.
pub(super) const PENDING_COST: usize = 2 << 10;

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
        if let Some(slot) = self.inits.find(datagram, &mut self.shared.stats.digests) {
            return self.handle_copy(slot, arrival, datagram.len());
        }
        if self.is_full() || self.shared.config.alpns.is_empty() {
            return Disposition::Dropped(DropReason::NotAccepting);
        }
        // Reading scrambles it.
        let (len, id) = (datagram.len(), self.inits.id(datagram, &mut self.shared.stats.digests));
        let attempt = match Attempt::read(header.ty, header.routing, datagram, &mut self.shared.party()) {
            Ok(attempt) => attempt,
            Err(reason) => return Disposition::Dropped(reason),
        };
        let cost = PENDING_COST + attempt.early.len();
        if self.shared.budget.charge(cost).is_err() {
            return Disposition::Dropped(DropReason::OverBudget);
        }
        let incompatible = choose(&self.shared.config, &attempt.hello).err();
        let candidate = Candidate::Native(Box::new(attempt));
        let handle = self.await_decision(now, arrival, len, cost, candidate, Init::Native(id));
        self.inits.insert(&id, handle.slot);
        match incompatible {
            Some(error) => self.refuse_with(now, handle, &transport_close(error)),
            None => self.shared.events.push(handle, Event::Incoming),
        }
        Disposition::Accepted
    }

    /// Whether no more attempts are taken now.
    pub(super) fn is_full(&self) -> bool {
        let limits = &self.shared.config.limits;
        self.shared.half_open >= limits.half_open || self.slots.len() >= limits.connections as usize
    }

    /// Enters an attempt of `len` bytes, for which `cost` was charged, until the application decides.
    pub(super) fn await_decision(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        len: usize,
        cost: usize,
        candidate: Candidate,
        init: Init,
    ) -> ConnectionHandle {
        let pending = Pending {
            decision: Decision::Waiting(candidate),
            copies: Copies::new(arrival.local, arrival.remote, len),
            local: arrival.local,
            init,
            expires: now + self.shared.config.limits.half_open_lifetime,
            cost,
        };
        let handle = self.slots.insert(Entry::Pending(Box::new(pending)));
        self.shared.half_open += 1;
        self.shared.stats.incoming += 1;
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
        let early = attempt.early.clone();
        let reserved = self.shared.rng.next_u64();
        let ephemeral = self.shared.rng.ephemeral_secret(now, remote_id.as_bytes());
        let named = (local_id, self.shared.reset_token(local_id));
        let hello = attempt.answer(&self.shared.config, &agreement, named);
        let made = attempt.accept(&hello, &mut self.shared.party(), &ephemeral, reserved);
        let Ok((finished, reply)) = made else { return Err(AcceptError::Gone) };
        let Some(Entry::Pending(pending)) = self.slots.get_mut(handle) else { return Err(AcceptError::Gone) };
        let Init::Native(init) = pending.init else { return Err(AcceptError::Gone) };
        let (local, cost, copies) = (pending.local, pending.cost, pending.copies.clone());
        let accepted =
            Accepted { finished, agreement, reply, early, copies, local, local_id, remote_id, init };
        let connection =
            Connection::accept(&mut self.shared, now, handle, accepted).ok_or(AcceptError::OverBudget)?;
        self.shared.ids.insert(local_id, handle.slot);
        self.settle_attempt(handle, cost, connection);
        Ok(handle)
    }

    /// An attempt has become a connection.
    pub(super) fn settle_attempt(&mut self, handle: ConnectionHandle, cost: usize, connection: Connection) {
        self.shared.budget.release(cost);
        if let Some(entry) = self.slots.get_mut(handle) {
            *entry = Entry::Connection(Box::new(connection));
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
        let Some(Candidate::Native(attempt)) = self.take_candidate(handle) else { return };
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

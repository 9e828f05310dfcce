//! QOTP at the door: its packets find their connections, its Inits become attempts.

use crate::admission::Verdict;
use crate::connection::Connection;
use crate::connection::qotp::{Attempt, claimed};
use crate::connection::state::Copies;
use crate::crypto::backend::SecretKey;
use crate::error::AcceptError;
use crate::path::addr::Arrival;
use crate::stats::{Disposition, DropReason};
use crate::time::Instant;
use crate::wire::header::HeaderError;
use crate::wire::qotp::header::{Header, PacketType};

use super::accept::PENDING_COST;
use super::incoming::{Candidate, Decision, IncomingIdentity, Init};
use super::load::{IX_COST, Proof, Ruling};
use super::{ConnectionHandle, Endpoint, Entry};

#[cfg(test)]
mod tests;

impl Endpoint {
    /// A datagram of version 0 came. Ids are looked up per version: one of another version's connection is unknown here.
    pub(super) fn route_qotp(&mut self, now: Instant, arrival: &Arrival, datagram: &mut [u8]) -> Disposition {
        let header = match Header::parse(datagram) {
            Ok(header) => header,
            Err(HeaderError::TooShort) => return Disposition::Dropped(DropReason::TooShort),
            Err(HeaderError::TooLong) => return Disposition::Dropped(DropReason::Size),
            Err(HeaderError::Version) => return Disposition::Dropped(DropReason::Version),
            Err(HeaderError::Type) => return Disposition::Dropped(DropReason::Type),
        };
        let opens = matches!(header.ty(), PacketType::InitSnd | PacketType::InitCryptoSnd);
        if opens && !self.shared.config.qotp.accept {
            return Disposition::Dropped(DropReason::Version);
        }
        // The reference cuts off what is longer, and what is left does not open.
        if !header.ty().allows(datagram.len(), usize::from(self.shared.config.qotp.mtu)) {
            return Disposition::Dropped(DropReason::Size);
        }
        if opens {
            return self.handle_qotp_init(now, arrival, &header, datagram);
        }
        let Some(&slot) = self.qotp_ids.get(&header.connection_id()) else {
            return Disposition::Dropped(DropReason::UnknownConnection);
        };
        let Some(Entry::Connection(connection)) = self.slots.at_mut(slot) else {
            return Disposition::Dropped(DropReason::Unexpected);
        };
        let disposition = connection.handle_qotp(&mut self.shared, now, arrival, &header, datagram);
        connection.finish_verb(&mut self.shared);
        self.ready.push(slot);
        disposition
    }

    /// An Init came: a copy of a known one, or a new attempt.
    fn handle_qotp_init(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        header: &Header,
        datagram: &mut [u8],
    ) -> Disposition {
        let (len, id) = (datagram.len(), header.connection_id());
        if let Some(&slot) = self.qotp_ids.get(&id) {
            return self.handle_qotp_copy(slot, arrival, header, len);
        }
        let identity = IncomingIdentity::Qotp(claimed(header));
        match self.judge(now, &arrival.remote, Proof::Never, IX_COST) {
            Ruling::Enter => {}
            Ruling::Retry => return Disposition::Dropped(DropReason::RateLimited),
            Ruling::Drop(reason) => return Disposition::Dropped(reason),
        }
        let verdict = self.shared.judge(arrival.remote, false, identity);
        if matches!(verdict, Verdict::Refuse(_) | Verdict::Retry | Verdict::Ignore) {
            return Disposition::Dropped(DropReason::Unwanted);
        }
        self.taken.spend(IX_COST);
        let attempt = match Attempt::read(&mut self.shared, header, datagram) {
            Ok(attempt) => attempt,
            Err(reason) => return Disposition::Dropped(reason),
        };
        let cost = PENDING_COST.saturating_add(attempt.heap_bytes());
        if self.shared.budget.charge(cost).is_err() {
            return Disposition::Dropped(DropReason::OverBudget);
        }
        let candidate = Candidate::Qotp(attempt.into());
        let copies = Copies::new(arrival.local, arrival.remote, len, false);
        let handle = self.await_decision(now, arrival.local, copies, cost, candidate, Init::Qotp(id));
        self.qotp_ids.insert(id, handle.slot);
        self.follow(now, handle, verdict);
        Disposition::Accepted
    }

    /// An Init with a known connection id came. Only one with the same keys is a copy, and all that a copy does is to be
    /// acknowledged again.
    fn handle_qotp_copy(&mut self, slot: u32, arrival: &Arrival, header: &Header, len: usize) -> Disposition {
        let known = match self.slots.at_mut(slot) {
            Some(Entry::Pending(pending)) => match &pending.decision {
                Decision::Waiting(Candidate::Qotp(attempt)) if attempt.is_of(header) => {
                    pending.copies.on_copy(arrival.local, arrival.remote, len);
                    true
                }
                _ => false,
            },
            Some(Entry::Connection(connection)) => {
                let known = connection.handle_qotp_copy(arrival, header, len);
                connection.finish_verb(&mut self.shared);
                known
            }
            None => false,
        };
        if known {
            self.ready.push(slot);
            Disposition::Accepted
        } else {
            Disposition::Dropped(DropReason::Duplicate)
        }
    }

    /// The application accepts. What came with the Init is there to be read at once: QOTP's initiator may never send
    /// another packet before it has an answer.
    pub(super) fn accept_qotp(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        attempt: Attempt,
    ) -> Result<ConnectionHandle, AcceptError> {
        let ephemeral = self.shared.rng.ephemeral_secret(now, attempt.connection_id().as_bytes());
        self.accept_qotp_with(now, handle, attempt, &SecretKey::new(&ephemeral))
    }

    fn accept_qotp_with(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        attempt: Attempt,
        own: &SecretKey,
    ) -> Result<ConnectionHandle, AcceptError> {
        let Some(Entry::Pending(pending)) = self.slots.get_mut(handle) else { return Err(AcceptError::Gone) };
        let (local, copies) = (pending.local, pending.copies.clone());
        let connection =
            Connection::accept_qotp(&mut self.shared, now, handle, attempt, own, local, &copies)?;
        self.settle_attempt(handle, connection);
        Ok(handle)
    }
}

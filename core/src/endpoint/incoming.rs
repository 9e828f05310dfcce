//! Attempts of others to connect, until the application has decided.

use crate::connection::state::Copies;
use crate::error::AcceptError;
use crate::handshake::responder::{Attempt, IncomingIdentity};
use crate::id::ErrorCode;
use crate::path::addr::{LocalAddr, TransportAddr};
use crate::time::Instant;

use super::{ConnectionHandle, Endpoint};

/// An attempt that waits for the application, or was refused and answers copies of its Init with the same refusal.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) decision: Decision,
    pub(crate) copies: Copies,
    pub(crate) local: LocalAddr,
    pub(crate) digest: [u8; 32],
    pub(crate) expires: Instant,
    /// Bytes charged to the endpoint's budget.
    pub(crate) cost: usize,
}

#[derive(Debug)]
pub(crate) enum Decision {
    Waiting(alloc::boxed::Box<Attempt>),
    Refused(alloc::boxed::Box<[u8]>),
    /// Silent until it expires, so that copies are known for what they are.
    Ignored,
}

/// An incoming attempt, borrowed from its endpoint.
#[derive(Debug)]
pub struct Incoming<'a> {
    endpoint: &'a mut Endpoint,
    handle: ConnectionHandle,
}

impl<'a> Incoming<'a> {
    pub(crate) const fn new(endpoint: &'a mut Endpoint, handle: ConnectionHandle) -> Self {
        Self { endpoint, handle }
    }

    fn pending(&self) -> Option<(&Pending, &Attempt)> {
        let pending = self.endpoint.pending(self.handle)?;
        match &pending.decision {
            Decision::Waiting(attempt) => Some((pending, attempt)),
            Decision::Refused(_) | Decision::Ignored => None,
        }
    }

    /// The address from which the attempt came. It is not validated: anybody can write any address there.
    #[must_use]
    pub fn remote(&self) -> Option<TransportAddr> {
        self.pending().map(|(pending, _)| pending.copies.first)
    }

    /// Whose attempt it is, as far as that is known: good for refusing, not for granting.
    #[must_use]
    pub fn identity(&self) -> Option<IncomingIdentity> {
        self.pending().map(|(_, attempt)| attempt.identity())
    }

    /// The application protocols that the dialler offers.
    pub fn alpns(&self) -> impl Iterator<Item = &[u8]> {
        self.pending().into_iter().flat_map(|(_, attempt)| attempt.hello.alpns.iter().map(|name| &name[..]))
    }

    /// Answers. The handle is the connection's from now on; `Event::Connected` follows when the dialler has proved its
    /// key.
    ///
    /// # Errors
    /// See [`AcceptError`].
    pub fn accept(self, now: Instant) -> Result<ConnectionHandle, AcceptError> {
        self.endpoint.accept(now, self.handle)
    }

    /// Answers with a refusal that the dialler can believe.
    pub fn refuse(self, now: Instant, code: ErrorCode) {
        self.endpoint.refuse(now, self.handle, code);
    }

    /// Does not answer, now or to copies.
    pub fn ignore(self) {
        self.endpoint.ignore(self.handle);
    }
}

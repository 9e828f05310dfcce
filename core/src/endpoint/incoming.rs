//! Attempts of others to connect, until the application has decided.

use alloc::boxed::Box;

use crate::connection::qotp;
use crate::connection::state::Copies;
use crate::crypto::{PublicKey, QotpPublicKey};
use crate::error::{AcceptError, RetryError};
use crate::handshake::responder::Attempt;
use crate::id::{ConnectionId, ErrorCode, WireVersion};
use crate::path::addr::{LocalAddr, TransportAddr};
use crate::time::Instant;

use super::half_open::Seat;
use super::inits::InitId;
use super::{ConnectionHandle, Endpoint};

/// An attempt that waits for the application, or was refused and answers copies of its Init with the same refusal.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) decision: Decision,
    pub(crate) copies: Copies,
    pub(crate) local: LocalAddr,
    pub(crate) init: Init,
    pub(crate) expires: Instant,
    /// Bytes charged to the endpoint's budget.
    pub(crate) cost: usize,
    pub(crate) seat: Seat,
}

/// What copies of the Init are known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Init {
    Native(InitId),
    /// The connection id that it chose.
    Qotp(ConnectionId),
}

/// An Init that passed every check, on either wire.
#[derive(Debug)]
pub(crate) enum Candidate {
    Native(Box<Attempt>),
    Qotp(Box<qotp::Attempt>),
}

#[derive(Debug)]
pub(crate) enum Decision {
    Waiting(Candidate),
    Refused(Box<[u8]>),
    /// Silent until it expires, so that copies are known for what they are.
    Ignored,
}

/// How much an incoming attempt has shown of its identity so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum IncomingIdentity {
    /// IX: the key stands in clear in the first packet; anybody can write it there.
    Claimed(PublicKey),
    /// IK: the first packet was made with the key, or by somebody who holds ours; it may be a replay.
    Unconfirmed(PublicKey),
    /// QOTP: the key stands in clear in the first packet, and nothing will ever prove it. `None`: what stands there is
    /// no key, which QOTP does not mind.
    Qotp(Option<QotpPublicKey>),
}

impl IncomingIdentity {
    /// The key, proved or not. Good for refusing, not for granting. `None` on QOTP's wire, whose keys are others.
    #[must_use]
    pub const fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Claimed(key) | Self::Unconfirmed(key) => Some(key),
            Self::Qotp(_) => None,
        }
    }
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

    fn pending(&self) -> Option<(&Pending, &Candidate)> {
        let pending = self.endpoint.pending(self.handle)?;
        match &pending.decision {
            Decision::Waiting(candidate) => Some((pending, candidate)),
            Decision::Refused(_) | Decision::Ignored => None,
        }
    }

    /// What the dialler speaks. QOTP comes only where [`Config::accept_qotp`](crate::Config::accept_qotp) allows it.
    #[must_use]
    pub fn wire(&self) -> Option<WireVersion> {
        self.pending().map(|(_, candidate)| match candidate {
            Candidate::Native(_) => WireVersion::Native,
            Candidate::Qotp(_) => WireVersion::Qotp,
        })
    }

    /// The address from which the attempt came. Unless it [was shown](Self::is_validated), anybody can write any address there.
    #[must_use]
    pub fn remote(&self) -> Option<TransportAddr> {
        self.pending().map(|(pending, _)| pending.copies.first)
    }

    /// Whether the dialler has shown that it receives at that address.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.pending().is_some_and(|(pending, _)| pending.copies.validated)
    }

    /// Whose attempt it is, as far as that is known: good for refusing, not for granting.
    #[must_use]
    pub fn identity(&self) -> Option<IncomingIdentity> {
        self.pending().map(|(_, candidate)| match candidate {
            Candidate::Native(attempt) if attempt.is_sealed() => {
                IncomingIdentity::Unconfirmed(*attempt.remote_static())
            }
            Candidate::Native(attempt) => IncomingIdentity::Claimed(*attempt.remote_static()),
            Candidate::Qotp(attempt) => IncomingIdentity::Qotp(attempt.claimed()),
        })
    }

    /// The application protocols that the dialler offers; none in QOTP.
    pub fn alpns(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.pending().map(|(_, candidate)| match candidate {
            Candidate::Native(attempt) => &attempt.hello.alpns[..],
            Candidate::Qotp(_) => &[],
        });
        names.unwrap_or_default().iter().map(|name| &name[..])
    }

    /// Answers. The handle is the connection's from now on; `Event::Connected` follows when the dialler has proved its
    /// key; in QOTP, where it never does, at once.
    ///
    /// # Errors
    /// See [`AcceptError`].
    pub fn accept(self, now: Instant) -> Result<ConnectionHandle, AcceptError> {
        self.endpoint.accept(now, self.handle)
    }

    /// Answers with a refusal that the dialler can believe. QOTP has none: there this is [`Incoming::ignore`].
    pub fn refuse(self, now: Instant, code: ErrorCode) {
        self.endpoint.refuse(now, self.handle, code);
    }

    /// Has the dialler show that it receives at its address, which costs a round trip: it comes again, as another attempt. This
    /// one is forgotten, and copies of it that are on the way are attempts of their own.
    ///
    /// # Errors
    /// See [`RetryError`].
    pub fn retry(self, now: Instant) -> Result<(), RetryError> {
        self.endpoint.retry(now, self.handle)
    }

    /// Does not answer, now or to copies.
    pub fn ignore(self) {
        self.endpoint.ignore(self.handle);
    }
}

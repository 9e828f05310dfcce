//! Somebody dials.

use core::fmt;
use std::sync::Arc;

use dunlin_core::{
    AcceptError, ConnectionHandle, ErrorCode, IncomingIdentity, RetryError, TransportAddr, WireVersion,
};

use crate::connecting::Connecting;
use crate::link::Link;
use crate::state::{Locked, Phase, Shared};
use crate::table::Handshake;

/// An attempt of somebody to connect, which waits for [`Incoming::accept`], [`Incoming::refuse`],
/// [`Incoming::retry`] or [`Incoming::ignore`]. It expires when it is not decided on in time ([`dunlin_core::Limits::half_open_lifetime`]).
///
/// Where [`Config::accept_qotp`](dunlin_core::Config::accept_qotp) is on, ask [`Incoming::wire`] first: QOTP's diallers
/// prove nothing, now or later.
///
/// What a policy has let in ([`Builder::admission`](crate::Builder::admission)) is a connection already when it comes here:
/// [`Incoming::accept`] gives it, everything else closes it.
///
/// Dropping it refuses the attempt with code 0.
#[must_use = "the attempt is refused when this is dropped"]
pub struct Incoming {
    shared: Arc<Shared>,
    handle: ConnectionHandle,
    remote: TransportAddr,
    validated: bool,
    identity: IncomingIdentity,
    alpns: Box<[Vec<u8>]>,
    decided: bool,
    /// The connection, if the policy has accepted it.
    accepted: Option<Arc<Link>>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("remote", &self.remote)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Incoming {
    /// The next attempt that waits.
    pub(crate) fn next(shared: &Arc<Shared>, locked: &mut Locked<'_>) -> Option<Self> {
        loop {
            let handle = locked.next_incoming()?;
            if let Some(accepted) = Self::accepted(shared, locked, handle) {
                return Some(accepted);
            }
            let Some(attempt) = locked.engine.incoming(handle) else { continue };
            let (Some(remote), Some(identity)) = (attempt.remote(), attempt.identity()) else { continue };
            let validated = attempt.is_validated();
            let alpns = attempt.alpns().map(<[u8]>::to_vec).collect();
            return Some(Self {
                shared: Arc::clone(shared),
                handle,
                remote,
                validated,
                identity,
                alpns,
                decided: false,
                accepted: None,
            });
        }
    }

    /// A connection that the policy has accepted.
    fn accepted(shared: &Arc<Shared>, locked: &mut Locked<'_>, handle: ConnectionHandle) -> Option<Self> {
        let (connection, entry, _) = locked.connection(handle);
        let path = connection?.path();
        let (identity, alpns) = match &entry?.handshake {
            Handshake::Done(settled) => settled.as_incoming(),
            Handshake::Pending | Handshake::PeerKey(_) => return None,
        };
        // Last: to drop it here would take the lock again.
        let link = Link::adopt(shared, locked, handle)?;
        Some(Self {
            shared: Arc::clone(shared),
            handle,
            remote: path.remote,
            // Its key was shown in answer to what was sent there; QOTP's dialler has shown nothing.
            validated: !matches!(identity, IncomingIdentity::Qotp(_)),
            identity,
            alpns: alpns.into(),
            decided: false,
            accepted: Some(link),
        })
    }

    /// Whether the policy has accepted it ([`Builder::admission`](crate::Builder::admission)): then it is a connection, and its
    /// key is proved, but for QOTP's.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        self.accepted.is_some()
    }

    /// What the dialler speaks. QOTP comes only where [`Config::accept_qotp`](dunlin_core::Config::accept_qotp) is on.
    #[must_use]
    pub const fn wire(&self) -> WireVersion {
        match self.identity {
            IncomingIdentity::Qotp(_) => WireVersion::Qotp,
            _ => WireVersion::Native,
        }
    }

    /// The address from which the attempt came. Unless it [was shown](Self::is_validated), anybody can write any address there.
    #[must_use]
    pub const fn remote(&self) -> TransportAddr {
        self.remote
    }

    /// Whether the dialler has shown that it receives at that address.
    #[must_use]
    pub const fn is_validated(&self) -> bool {
        self.validated
    }

    /// Whose attempt it is, as far as that is known: good for refusing, not for granting.
    #[must_use]
    pub const fn identity(&self) -> IncomingIdentity {
        self.identity
    }

    /// The application protocols that the dialler offers; none on QOTP's wire.
    #[must_use]
    pub fn alpns(&self) -> &[Vec<u8>] {
        &self.alpns
    }

    /// Answers. The connection stands when the dialler has proved its key; on QOTP's wire, where it never does, at once.
    /// [`Connecting::is_early`] says whether there is something to read before.
    ///
    /// # Errors
    /// [`AcceptError::Gone`] if the attempt has expired or the endpoint is closed.
    pub fn accept(mut self) -> Result<Connecting, AcceptError> {
        self.decided = true;
        if let Some(link) = self.accepted.take() {
            return Ok(Connecting::new(link));
        }
        let mut locked = self.shared.lock();
        if locked.phase != Phase::Open {
            return Err(AcceptError::Gone);
        }
        let now = self.shared.clock.now();
        let attempt = locked.engine.incoming(self.handle).ok_or(AcceptError::Gone)?;
        let handle = attempt.accept(now)?;
        // The answer to early data goes with the reply, which waits for it as a dial waits for what is written.
        let early = locked.engine.connection(handle).is_some_and(|connection| connection.is_early());
        let link = Link::new(&self.shared, &mut locked, handle, early);
        link.nudge(&mut locked);
        Ok(Connecting::new(link))
    }

    /// Answers with a refusal that the dialler can believe. QOTP has none: there this is [`Incoming::ignore`].
    pub fn refuse(mut self, code: ErrorCode) {
        self.decided = true;
        self.refuse_with(code);
    }

    /// Has the dialler show that it receives at its address, which costs a round trip: it comes again, as another attempt. By
    /// itself the endpoint asks for that when there are too many attempts ([`Config::retry`](dunlin_core::Config::retry)).
    ///
    /// # Errors
    /// See [`RetryError`]. An attempt that cannot be asked still waits, and comes back for that.
    pub fn retry(mut self) -> Result<(), (RetryError, Self)> {
        if self.accepted.is_some() {
            return Err((RetryError::Validated, self));
        }
        let mut locked = self.shared.lock();
        let now = self.shared.clock.now();
        let asked = match locked.engine.incoming(self.handle) {
            Some(attempt) => attempt.retry(now),
            None => Err(RetryError::Gone),
        };
        locked.nudge();
        drop(locked);
        match asked {
            Ok(()) => {
                self.decided = true;
                Ok(())
            }
            Err(error) => Err((error, self)),
        }
    }

    /// Does not answer, now or to repetitions. The dialler cannot tell whether anybody is there.
    pub fn ignore(mut self) {
        self.decided = true;
        if let Some(attempt) = self.shared.lock().engine.incoming(self.handle) {
            attempt.ignore();
        }
    }

    fn refuse_with(&self, code: ErrorCode) {
        if let Some(link) = &self.accepted {
            return link.close(code, b"");
        }
        let mut locked = self.shared.lock();
        let now = self.shared.clock.now();
        if let Some(attempt) = locked.engine.incoming(self.handle) {
            attempt.refuse(now, code);
            locked.nudge();
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.decided {
            self.refuse_with(ErrorCode::default());
        }
    }
}

//! Who may connect: the interface of policies, and the policies that come with the crate.
//!
//! | policy | incoming attempts |
//! |---|---|
//! | none, the default | each is an [`Event::Incoming`](crate::Event::Incoming) for the application to decide on |
//! | [`Known`] | those with one of these keys who know ours are accepted, of others nobody hears |
//! | [`Everyone`] | are accepted |
//!
//! A policy decides before most is spent: an attempt by a key that it does not want costs one X25519 at most, and leaves nothing
//! behind. One of one's own is a type with one function.
//!
//! ```
//! use dunlin_core::admission::{Admission, Candidate, Verdict};
//! use dunlin_core::{ErrorCode, IncomingIdentity, TransportAddr};
//!
//! /// Asks about people from our own network, and refuses all others.
//! #[derive(Debug)]
//! struct Neighbours;
//!
//! impl Admission for Neighbours {
//!     fn judge(&self, candidate: &Candidate) -> Verdict {
//!         match candidate.remote {
//!             TransportAddr::Ip(ip) if !candidate.validated && ip.ip().is_ipv4() => Verdict::Retry,
//!             TransportAddr::Ip(ip) if ip.ip().is_ipv4() => Verdict::Ask,
//!             _ => Verdict::Refuse(ErrorCode::from(1)),
//!         }
//!     }
//! }
//!
//! let key = *dunlin_core::Identity::from_secret([1; 32]).public();
//! let remote = TransportAddr::Ip("192.0.2.1:443".parse().unwrap());
//! let mut candidate = Candidate::new(remote, IncomingIdentity::Claimed(key));
//! assert_eq!(Neighbours.judge(&candidate), Verdict::Retry);
//! candidate.validated = true;
//! assert_eq!(Neighbours.judge(&candidate), Verdict::Ask);
//! ```

use core::fmt;

use alloc::collections::BTreeSet;

use crate::crypto::PublicKey;
use crate::endpoint::IncomingIdentity;
use crate::id::ErrorCode;
use crate::path::addr::TransportAddr;

/// A policy: what becomes of an incoming attempt.
///
/// It is asked once for each first packet that the limits let in, copies excepted, and on the packet path: it must be quick. It
/// should answer by what it is given and by what the application has told it, so that copies of a first packet get one answer.
/// It runs inside of the engine, under an adapter's lock: it must never wait for anything that may wait for the engine.
pub trait Admission: fmt::Debug + Send + Sync {
    /// What becomes of this attempt.
    fn judge(&self, candidate: &Candidate) -> Verdict;
}

/// An incoming attempt as far as a policy is shown it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// The address from which it came. Unless it was shown, anybody can write any address there.
    pub remote: TransportAddr,
    /// Whether the dialler has shown that it receives at that address.
    pub validated: bool,
    /// Whose it claims to be. No key is proved yet, with IK neither: whoever knows our key can name any there, and whether the
    /// packet was made with that one is looked at only if the policy does not mind it. A connection that is accepted stands,
    /// and is told of, only once the key is proved; QOTP's never is.
    pub identity: IncomingIdentity,
}

impl Candidate {
    /// One that has not shown its address.
    #[must_use]
    pub const fn new(remote: TransportAddr, identity: IncomingIdentity) -> Self {
        Self { remote, validated: false, identity }
    }
}

/// What becomes of an incoming attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The application is asked ([`Event::Incoming`](crate::Event::Incoming)).
    Ask,
    /// It is accepted without a word. The application first hears of it when the dialler has proved its key
    /// ([`Event::Connected`](crate::Event::Connected)), and never if it does not.
    Accept,
    /// It is refused, in a way that the dialler can believe, which costs about as much as to accept it. QOTP has no refusal:
    /// [`Ignore`](Self::Ignore).
    Refuse(ErrorCode),
    /// It is asked to show its address, and comes again. Where it has shown it already: [`Ask`](Self::Ask); in QOTP, which
    /// cannot be asked: [`Ignore`](Self::Ignore).
    Retry,
    /// It is dropped, and so are its copies as they come. The dialler cannot tell whether anybody is there.
    Ignore,
}

/// Accepts everybody, in QOTP too where that is accepted at all
/// ([`Config::accept_qotp`](crate::Config::accept_qotp)): for services that look at nobody's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Everyone;

impl Admission for Everyone {
    fn judge(&self, _: &Candidate) -> Verdict {
        Verdict::Accept
    }
}

/// Accepts those with one of these keys who know ours, and does not answer anybody else.
///
/// Who dials without our key (IX) shows his own in clear, so whoever has seen it can write it, too, and would learn from an answer
/// that it is one of these. Nobody in QOTP, which proves no key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    peers: BTreeSet<PublicKey>,
}

impl Known {
    /// These keys.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = PublicKey>) -> Self {
        Self { peers: peers.into_iter().collect() }
    }
}

impl Admission for Known {
    fn judge(&self, candidate: &Candidate) -> Verdict {
        match &candidate.identity {
            IncomingIdentity::Unconfirmed(key) if self.peers.contains(key) => Verdict::Accept,
            _ => Verdict::Ignore,
        }
    }
}

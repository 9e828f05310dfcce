//! What an endpoint tells of a peer.

use alloc::vec::Vec;

use crate::path::addr::TransportAddr;
use crate::time::Instant;

use super::candidate::{AddressSources, AddressStatus, Candidate};
use super::scope::is_public;

/// What is known of a peer over all its connections.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RemoteInfo {
    /// Its connections that have not ended, dials included.
    pub connections: usize,
    /// Its addresses.
    pub addresses: Vec<AddressInfo>,
}

/// What is known of one address of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AddressInfo {
    /// The address.
    pub remote: TransportAddr,
    /// What it is good for.
    pub status: AddressStatus,
    /// Since when; of an unknown address, when it was last told.
    pub since: Instant,
    /// From whom it is known.
    pub sources: AddressSources,
    /// Why there is no path to it; `None` if there is one.
    pub why_not: Option<WhyNot>,
}

/// Why an address carries no path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum WhyNot {
    /// It was not tried, or the trial is not over.
    NotTried,
    /// It is of this machine, link-local or of a service, and nobody but a stranger says that the peer is there.
    NotPublic,
    /// It was tried, or used, and went wrong.
    Failed(AddressFailure),
    /// The connections that used it have ended, or use another one.
    Left,
}

/// What went wrong with an address last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AddressFailure {
    /// Three copies of a dial's first packet, or more, were not answered, or the questions of a path that was opened.
    NoAnswer,
    /// A path or a connection that used it has ended because nothing was heard any more.
    Silent,
}

impl AddressInfo {
    pub(super) fn of(candidate: &Candidate) -> Self {
        let Candidate { addr: remote, status, since, sources, failure, .. } = *candidate;
        let why_not = match (status, failure) {
            (AddressStatus::Open, _) => None,
            (_, Some(failure)) => Some(WhyNot::Failed(failure)),
            (AddressStatus::Unknown, None) if !candidate.is_vouched() && !is_public(&remote) => {
                Some(WhyNot::NotPublic)
            }
            (AddressStatus::Unknown, None) => Some(WhyNot::NotTried),
            (AddressStatus::Inactive | AddressStatus::Unusable, None) => Some(WhyNot::Left),
        };
        Self { remote, status, since, sources, why_not }
    }

    /// How much is known: of several shards the one that knows most is right.
    const fn weight(&self) -> u8 {
        match self.status {
            AddressStatus::Unknown => 0,
            AddressStatus::Unusable => 1,
            AddressStatus::Inactive => 2,
            AddressStatus::Open => 3,
        }
    }
}

impl RemoteInfo {
    /// Adds what another shard of the same endpoint knows of the same peer.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.connections = self.connections.saturating_add(other.connections);
        for theirs in other.addresses {
            match self.addresses.iter_mut().find(|ours| ours.remote == theirs.remote) {
                Some(ours) => {
                    let AddressSources { application, lookup, connection } = ours.sources;
                    let newer = (theirs.weight(), theirs.since) > (ours.weight(), ours.since);
                    *ours = if newer { theirs } else { *ours };
                    ours.sources.application |= application | theirs.sources.application;
                    ours.sources.lookup |= lookup | theirs.sources.lookup;
                    ours.sources.connection |= connection | theirs.sources.connection;
                }
                None => self.addresses.push(theirs),
            }
        }
        self
    }
}

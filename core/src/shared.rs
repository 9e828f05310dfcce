//! What all connections of an endpoint share, lent to each for the length of a call.

use alloc::collections::VecDeque;

use crate::budget::{Account, Budget};
use crate::config::Config;
use crate::crypto::noise::{OwnKey, Party};
use crate::crypto::{Identity, QotpIdentity};
use crate::endpoint::{ConnectionHandle, EventQueue};
use crate::key_log::KeyLog;
use crate::rng::Rng;
use crate::stats::EndpointStats;
use crate::streams::blocks::{BlockPool, Memory};
use crate::time::Instant;

/// Everything of an endpoint that is not a connection.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) qotp_identity: QotpIdentity,
    pub(crate) rng: Rng,
    pub(crate) pool: BlockPool,
    pub(crate) budget: Budget,
    pub(crate) stats: EndpointStats,
    pub(crate) events: EventQueue,
    pub(crate) key_log: KeyLog,
    /// Connections with writers that found no memory.
    pub(crate) starving: VecDeque<ConnectionHandle>,
    /// Incoming attempts that are not confirmed yet.
    pub(crate) half_open: u32,
    /// The latest time that the embedder told.
    pub(crate) now: Instant,
}

/// The latest time that is told apart from later ones: 292 years after the embedder's epoch.
const LAST: Instant = Instant::from_nanos(u64::MAX / 2);

impl Shared {
    /// Time never goes back: an older `now` counts as the latest one. Nor does it reach the end of time, where every
    /// deadline would be now.
    pub(crate) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now.min(LAST));
        self.now
    }

    /// What the handshake needs of us.
    pub(crate) const fn party(&mut self) -> Party<'_> {
        Party {
            identity: &self.identity,
            own_key: if self.config.allow_self { OwnKey::Allow } else { OwnKey::Refuse },
            agreements: &mut self.stats.x25519_operations,
            key_log: &mut self.key_log,
        }
    }

    /// Memory for the streams of the connection that `account` belongs to.
    pub(crate) const fn memory<'a>(&'a mut self, account: &'a mut Account) -> Memory<'a> {
        Memory { pool: &mut self.pool, account, budget: &mut self.budget }
    }
}

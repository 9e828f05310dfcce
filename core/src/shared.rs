//! What all connections of an endpoint share, lent to each for the length of a call.

use alloc::collections::VecDeque;

use crate::admission::{Candidate, Verdict};
use crate::budget::{Account, Budget};
use crate::cids::Ids;
use crate::cids::reset::{ResetToken, Resets};
use crate::config::Config;
use crate::crypto::digest::{digest, keyed};
use crate::crypto::noise::{OwnKey, Party};
use crate::crypto::{EarlySecret, GroupSecret, Identity, QotpIdentity, Secret};
use crate::endpoint::{ConnectionHandle, EventQueue, HalfOpen, IncomingIdentity, Sockets};
use crate::id::ConnectionId;
use crate::key_log::KeyLog;
use crate::path::addr::TransportAddr;
use crate::remote::RemoteMap;
use crate::remote::rations::Rations;
use crate::rng::Rng;
use crate::shard::Shard;
use crate::stats::EndpointStats;
use crate::streams::blocks::{BlockPool, Memory};
use crate::time::Instant;

/// Everything of an endpoint that is not a connection.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) qotp_identity: QotpIdentity,
    pub(crate) rng: Rng,
    /// Whose the packets of the native wire are.
    pub(crate) ids: Ids,
    /// Which connections would believe which stateless resets.
    pub(crate) resets: Resets,
    /// What stateless resets are known by: see [`Self::reset_token`].
    pub(crate) reset_key: Secret,
    pub(crate) pool: BlockPool,
    pub(crate) budget: Budget,
    pub(crate) stats: EndpointStats,
    pub(crate) events: EventQueue,
    pub(crate) key_log: KeyLog,
    /// What is known of peers over all connections.
    pub(crate) remotes: RemoteMap,
    /// What dials may send to addresses that nobody vouches for.
    pub(crate) rations: Rations,
    /// What packets leave through and come in by, as far as the embedder has told.
    pub(crate) sockets: Sockets,
    /// Connections with writers that found no memory.
    pub(crate) starving: VecDeque<ConnectionHandle>,
    /// What tokens are made with that show an address.
    pub(crate) group_secret: GroupSecret,
    /// What tokens are made with that let early data be acted on.
    pub(crate) early_secret: EarlySecret,
    /// Incoming attempts that are not confirmed yet.
    pub(crate) half_open: HalfOpen,
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

    /// What the policy says of an attempt; without one the application is asked.
    pub(crate) fn judge(
        &self,
        remote: TransportAddr,
        validated: bool,
        identity: IncomingIdentity,
    ) -> Verdict {
        let candidate = Candidate { validated, ..Candidate::new(remote, identity) };
        self.config.admission.as_ref().map_or(Verdict::Ask, |policy| policy.judge(&candidate))
    }

    /// What a stateless reset of `id` ends with. It depends on nothing that a restart of the program would change
    /// (docs/PROTOCOL.md, "Connection ids").
    pub(crate) fn reset_token(&self, id: ConnectionId) -> ResetToken {
        reset_token(&self.reset_key, id)
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
        Memory { pool: &mut self.pool, account, budget: &mut self.budget, ranges: &mut self.stats.ranges }
    }
}

/// The key of reset tokens, made from the one that was set or else from the identity's: no two shards share it, one of which
/// knows nothing of the other's ids.
pub(crate) fn reset_key(from: &[u8; 32], shard: Shard) -> Secret {
    let place = [shard.count(), shard.index()];
    Secret::new(digest(&[b"dunlin reset tokens", from, &place]))
}

/// What a reset of `id` ends with.
pub(crate) fn reset_token(key: &Secret, id: ConnectionId) -> ResetToken {
    let mac = keyed(key, &[id.as_bytes()]);
    ResetToken::new(mac.first_chunk().copied().unwrap_or_default())
}

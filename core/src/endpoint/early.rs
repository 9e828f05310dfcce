//! Early data that is acted on at once: whose, and how often (docs/PROTOCOL.md, "Early data at once").
//!
//! RFC 8446 section 8 has three ways to keep first packets from being acted on twice. This is the first of them, tokens that
//! are used once: those that were are remembered until they are worth nothing any more, and where there is no memory for one
//! more nothing is acted on.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use crate::budget::Budget;
use crate::config::EarlyData;
use crate::connection::{Answering, Connection, Withheld};
use crate::crypto::early_token::Serial;
use crate::error::TransportError;
use crate::handshake::responder::Attempt;
use crate::id::ConnectionId;
use crate::shared::Shared;
use crate::stats::count;
use crate::time::{Duration, Instant};

use super::{ConnectionHandle, Endpoint};

/// Tokens that are remembered at once: seven a second for as long as they are good.
const MAX_USED: usize = 4_096;
/// What one takes of the budget, in bytes: 16, in the nodes of a tree that are half empty at worst.
const USED_COST: usize = 48;

/// The tokens that were used and are still fresh.
#[derive(Debug, Default)]
pub(super) struct UsedTokens {
    /// Those that expire first come first.
    serials: BTreeSet<Serial>,
}

impl UsedTokens {
    /// Uses up the token of an attempt, whatever becomes of that: the same packet may come again. Says whether its early data
    /// may be acted on, which is so once.
    pub(super) fn use_up(&mut self, now: Instant, attempt: &mut Attempt, cx: &mut Shared) -> bool {
        let Some(token) = attempt.early_token.take() else { return false };
        if cx.config.early_data != EarlyData::Apply || !attempt.is_sealed() || attempt.ends_early() {
            return false;
        }
        // Other shards do not know which tokens this one has seen: each acts only on packets that belong to it.
        if attempt.early.is_empty() || !cx.config.shard.owns(attempt.remote_id) {
            return false;
        }
        let named = cx.early_secret.recognize(now, &token, attempt.remote_static());
        named.is_some_and(|named| self.take(now, named, &mut cx.budget))
    }

    /// Uses a token. `false` if it was used before, or if there is no memory in which to note that it is.
    fn take(&mut self, now: Instant, token: Serial, budget: &mut Budget) -> bool {
        self.expire(now, budget);
        if self.serials.len() >= MAX_USED || self.serials.contains(&token) {
            return false;
        }
        budget.charge(USED_COST).is_ok() && self.serials.insert(token)
    }

    /// Forgets those that have expired, which nobody can use again: time never goes back.
    pub(super) fn expire(&mut self, now: Instant, budget: &mut Budget) {
        while self.serials.first().is_some_and(|token| token.expires < now) {
            self.serials.pop_first();
            budget.release(USED_COST);
        }
    }

    /// When the first of them has expired.
    pub(super) fn due(&self) -> Option<Instant> {
        self.serials.first().map(|token| token.expires + Duration::from_nanos(1))
    }

    /// Bytes that they take of the budget.
    pub(super) fn held(&self) -> usize {
        self.serials.len().saturating_mul(USED_COST)
    }
}

/// Why an attempt that the application has accepted leads to no connection.
#[derive(Debug)]
pub(super) enum NoConnection {
    OverBudget,
    /// Its early data breaks a rule.
    Violation(Box<Attempt>, TransportError),
}

impl Endpoint {
    /// A connection for an accepted attempt, which has its early data already where that may be acted on.
    pub(super) fn answering(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        local_id: ConnectionId,
        mut answering: Box<Answering>,
    ) -> Result<Connection, NoConnection> {
        let applies = self.used_tokens.use_up(now, &mut answering.attempt, &mut self.shared);
        let cx = &mut self.shared;
        let mut connection =
            Connection::accept(cx, now, handle, local_id, answering).ok_or(NoConnection::OverBudget)?;
        if !applies {
            return Ok(connection);
        }
        let Err(withheld) = connection.apply_early(cx, now) else {
            count(&mut cx.stats.early_applied, 1);
            return Ok(connection);
        };
        // Some of it may have been applied: nobody is to see that.
        let answering = connection.undo(cx).ok_or(NoConnection::OverBudget)?;
        match withheld {
            Withheld::Violation(error) => Err(NoConnection::Violation(answering.attempt, error)),
            Withheld::NoMemory => {
                Connection::accept(cx, now, handle, local_id, answering).ok_or(NoConnection::OverBudget)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::early_token::{EarlySecret, LIFETIME};
    use crate::crypto::{Identity, Secret};

    fn serial(now: Instant, n: u64) -> Serial {
        let (secret, key) =
            (EarlySecret::new(Secret::new([1; 32])), *Identity::from_secret([2; 32]).public());
        secret.recognize(now, &secret.token(now, n.to_be_bytes(), &key), &key).unwrap()
    }

    #[test]
    fn ac_52_hostile_memory_of_used_tokens_forgets_none_and_takes_no_more() {
        let (mut used, mut budget) = (UsedTokens::default(), Budget::new(1 << 20));
        let mut now = Instant::ZERO;
        for n in 0..MAX_USED as u64 {
            now += Duration::from_millis(20);
            assert!(used.take(now, serial(now, n), &mut budget));
        }
        assert_eq!((used.held(), budget.used()), (MAX_USED * USED_COST, MAX_USED * USED_COST));
        let last = now;
        assert!(!used.take(now, serial(now, u64::MAX), &mut budget), "there is no memory for it");
        for n in 0..MAX_USED as u64 {
            let then = Instant::ZERO + Duration::from_millis(20 * (n + 1));
            assert!(!used.take(now, serial(then, n), &mut budget), "{n} is forgotten");
        }
        // To the nanosecond for as long as it is good.
        now = Instant::ZERO + LIFETIME;
        assert!(!used.take(now, serial(Instant::ZERO + Duration::from_millis(20), 0), &mut budget));
        now += Duration::from_nanos(1);
        assert!(used.take(now, serial(now, u64::MAX), &mut budget), "the first has expired");
        used.expire(last + LIFETIME * 3, &mut budget);
        assert_eq!((used.held(), budget.used()), (0, 0));
    }

    #[test]
    fn hostile_tokens_for_which_the_endpoint_has_no_memory_are_not_used() {
        let (mut used, mut budget) = (UsedTokens::default(), Budget::new(USED_COST + 1));
        assert!(used.take(Instant::ZERO, serial(Instant::ZERO, 1), &mut budget));
        assert!(!used.take(Instant::ZERO, serial(Instant::ZERO, 2), &mut budget));
        assert_eq!((used.held(), budget.used()), (USED_COST, USED_COST));
    }
}

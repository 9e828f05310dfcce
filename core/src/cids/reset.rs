//! What stateless resets are known by (RFC 9000 section 10.3): the word of a peer that knows nothing of a connection any more.

use core::fmt;
use core::hash::BuildHasher;

use hashbrown::HashTable;

use crate::crypto::token::Tag;
use crate::endpoint::fit;
use crate::hash::KeyedState;

/// Connections that may be known by one token. Honest peers never give one twice; with this many, the search stays short for
/// the others.
const MOST_ALIKE: usize = 8;

/// What a stateless reset of a connection id ends with. Compared in a time that does not depend on it, shown by nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResetToken(Tag);

impl ResetToken {
    /// Bytes of a token.
    pub(crate) const LEN: usize = Tag::LEN;

    pub(crate) const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(Tag::from_bytes(bytes))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        self.0.as_bytes()
    }

    /// What a datagram ends with.
    pub(crate) fn at_end_of(datagram: &[u8]) -> Option<Self> {
        datagram.last_chunk().copied().map(Self::new)
    }
}

impl fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetToken(…)")
    }
}

/// Which connections would believe a token: those that send to the id that it belongs to.
///
/// Only keyed hashes are kept and looked up, so that how long that takes says nothing of the tokens; the connections have the
/// last word.
#[derive(Debug)]
pub(crate) struct Resets {
    slots: HashTable<(u64, u32)>,
    hasher: KeyedState,
}

impl Resets {
    pub(crate) const fn new(hasher: KeyedState) -> Self {
        Self { slots: HashTable::new(), hasher }
    }

    fn hash(&self, token: &ResetToken) -> u64 {
        self.hasher.hash_one(token.as_bytes())
    }

    /// The connection in `slot` sends to the id of this token from now on.
    pub(crate) fn insert(&mut self, token: &ResetToken, slot: u32) {
        let hash = self.hash(token);
        if self.alike(hash).count() < MOST_ALIKE {
            self.slots.insert_unique(hash, (hash, slot), |(hash, _)| *hash);
        }
    }

    /// It does so no more.
    pub(crate) fn remove(&mut self, token: &ResetToken, slot: u32) {
        let hash = self.hash(token);
        if let Ok(entry) = self.slots.find_entry(hash, |entry| *entry == (hash, slot)) {
            entry.remove();
        }
        if let Some(fits) = fit(self.slots.len(), self.slots.capacity()) {
            self.slots.shrink_to(fits, |(hash, _)| *hash);
        }
    }

    /// The slots of connections to which the token may mean something: at most [`MOST_ALIKE`].
    pub(crate) fn find(&self, token: &ResetToken) -> impl Iterator<Item = u32> + '_ {
        self.alike(self.hash(token)).take(MOST_ALIKE)
    }

    fn alike(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        self.slots.iter_hash(hash).filter(move |(known, _)| *known == hash).map(|(_, slot)| *slot)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn found(resets: &Resets, token: &ResetToken) -> Vec<u32> {
        let mut slots: Vec<u32> = resets.find(token).collect();
        slots.sort_unstable();
        slots
    }

    #[test]
    fn hostile_tokens_lead_to_those_that_would_believe_them() {
        let mut resets = Resets::new(KeyedState::new([1, 2]));
        let tokens: Vec<_> = (0..100).map(|n| ResetToken::new([n; 16])).collect();
        for (slot, token) in (0..).zip(&tokens) {
            resets.insert(token, slot);
        }
        for (slot, token) in (0..).zip(&tokens) {
            assert_eq!(found(&resets, token), [slot]);
        }
        // Twice on two paths, and once taken back.
        resets.insert(&tokens[0], 0);
        resets.insert(&tokens[0], 7);
        resets.remove(&tokens[0], 0);
        assert_eq!(found(&resets, &tokens[0]), [0, 7]);
        resets.remove(&tokens[0], 1);
        resets.remove(&tokens[0], 0);
        assert_eq!(found(&resets, &tokens[0]), [7]);
        assert!(found(&resets, &ResetToken::new([200; 16])).is_empty());
    }

    #[test]
    fn hostile_peers_that_give_one_token_to_all_make_no_search_long() {
        let mut resets = Resets::new(KeyedState::new([1, 2]));
        let token = ResetToken::new([9; 16]);
        (0..10_000).for_each(|slot| resets.insert(&token, slot));
        assert_eq!(resets.find(&token).count(), MOST_ALIKE);
        (0..10_000).for_each(|slot| resets.remove(&token, slot));
        assert_eq!(resets.find(&token).count(), 0);
    }

    #[test]
    fn hostile_eyes_see_no_token() {
        assert_eq!(std::format!("{:?}", ResetToken::new([0xab; 16])), "ResetToken(…)");
    }
}

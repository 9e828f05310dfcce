//! The Inits that are known, so that a copy of one is not taken for another attempt.

use core::hash::BuildHasher;

use hashbrown::HashMap;

use crate::crypto::digest::digest;
use crate::hash::KeyedState;
use crate::wire::header::InitHeader;

/// What copies of an Init are known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InitId {
    /// A keyed hash of its header and its `e`, 100 times cheaper than the digest: who floods us with Inits sends no copies.
    beginning: u64,
    /// The digest of the whole datagram.
    digest: [u8; 32],
}

impl InitId {
    /// The digest of the whole datagram.
    pub(crate) const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// The slots that Inits have led to.
#[derive(Debug)]
pub(super) struct Inits {
    slots: HashMap<[u8; 32], u32, KeyedState>,
    /// How many of them begin in this way: more than one if somebody wrote another rest behind a beginning.
    beginnings: HashMap<u64, u32, KeyedState>,
}

impl Inits {
    pub(super) fn new(hasher: KeyedState) -> Self {
        Self { slots: HashMap::with_hasher(hasher), beginnings: HashMap::with_hasher(hasher) }
    }

    /// The slot of the Init that this is a copy of. Counts the digests that were made for it.
    pub(super) fn find(&self, datagram: &[u8], digests: &mut u64) -> Option<u32> {
        if !self.beginnings.contains_key(&self.beginning(datagram)) {
            return None;
        }
        *digests = digests.saturating_add(1);
        self.slots.get(&digest(&[datagram])).copied()
    }

    /// What copies of this Init will be known by.
    pub(super) fn id(&self, datagram: &[u8], digests: &mut u64) -> InitId {
        *digests = digests.saturating_add(1);
        InitId { beginning: self.beginning(datagram), digest: digest(&[datagram]) }
    }

    pub(super) fn insert(&mut self, id: &InitId, slot: u32) {
        if self.slots.insert(id.digest, slot).is_none() {
            *self.beginnings.entry(id.beginning).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, id: &InitId) {
        if self.slots.remove(&id.digest).is_none() {
            return;
        }
        if let Some(count) = self.beginnings.get_mut(&id.beginning) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.beginnings.remove(&id.beginning);
            }
        }
    }

    fn beginning(&self, datagram: &[u8]) -> u64 {
        let beginning = datagram.get(..InitHeader::TOKEN_LEN_AT).unwrap_or(datagram);
        self.beginnings.hasher().hash_one(beginning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_rests_behind_a_known_beginning_are_told_apart() {
        let mut inits = Inits::new(KeyedState::new([1, 2]));
        let datagrams = [[1; 1200], [2; 1200], core::array::from_fn(|place| if place < 41 { 1 } else { 3 })];
        let ids = datagrams.map(|datagram| inits.id(&datagram, &mut 0));
        for (id, slot) in ids.iter().zip(0..) {
            inits.insert(id, slot);
            inits.insert(id, slot);
        }
        let found = |inits: &Inits| datagrams.map(|datagram| inits.find(&datagram, &mut 0));
        assert_eq!(found(&inits), [Some(0), Some(1), Some(2)]);
        inits.remove(&ids[0]);
        inits.remove(&ids[0]);
        assert_eq!(found(&inits), [None, Some(1), Some(2)]);
        inits.remove(&ids[2]);
        assert_eq!(found(&inits), [None, Some(1), None]);
        inits.remove(&ids[1]);
        assert!(inits.beginnings.is_empty() && inits.slots.is_empty());
    }
}

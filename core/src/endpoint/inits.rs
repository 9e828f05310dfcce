//! The Inits that are known, so that a copy of one is not taken for another attempt.

use core::hash::BuildHasher;

use hashbrown::HashMap;

use crate::crypto::digest::digest;
use crate::hash::KeyedState;
use crate::wire::header::InitHeader;

use super::slots::fit;

/// What copies of an Init are known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InitId {
    /// A keyed hash of its header and its `e`, 100 times cheaper than the digest, without which most of a flood is known to be no
    /// copies. Who repeats a beginning that is known pays for it with a digest, once.
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

/// What is known of an Init that is no copy: its digest, if it had to be made to find that out.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitName {
    beginning: u64,
    digest: Option<[u8; 32]>,
}

impl InitName {
    /// What copies of this Init will be known by.
    pub(super) fn id(&mut self, datagram: &[u8], digests: &mut u64) -> InitId {
        InitId { beginning: self.beginning, digest: self.digest(datagram, digests) }
    }

    /// The digest, which is made once.
    pub(super) fn digest(&mut self, datagram: &[u8], digests: &mut u64) -> [u8; 32] {
        *self.digest.get_or_insert_with(|| {
            *digests = digests.saturating_add(1);
            digest(&[datagram])
        })
    }
}

/// What an Init is to those that are known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found {
    /// A copy of the one in this slot.
    Copy(u32),
    /// None of them.
    Unknown(InitName),
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
        Self { slots: HashMap::with_hasher(hasher), beginnings: HashMap::with_hasher(hasher.other(0)) }
    }

    /// Looks for the Init that this may be a copy of. Counts the digests that were made for it.
    pub(super) fn find(&self, datagram: &[u8], digests: &mut u64) -> Found {
        let mut name = InitName { beginning: self.beginning(datagram), digest: None };
        if !self.beginnings.contains_key(&name.beginning) {
            return Found::Unknown(name);
        }
        let digest = name.digest(datagram, digests);
        self.slots.get(&digest).map_or(Found::Unknown(name), |slot| Found::Copy(*slot))
    }

    pub(super) fn insert(&mut self, id: &InitId, slot: u32) {
        if self.slots.insert(id.digest, slot).is_none() {
            let known = self.beginnings.entry(id.beginning).or_default();
            *known = known.saturating_add(1);
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
        if let Some(fits) = fit(self.slots.len(), self.slots.capacity()) {
            self.slots.shrink_to(fits);
            self.beginnings.shrink_to(fits);
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
        let ids = datagrams.map(|datagram| match inits.find(&datagram, &mut 0) {
            Found::Unknown(mut name) => name.id(&datagram, &mut 0),
            Found::Copy(slot) => panic!("nothing is known, {slot} neither"),
        });
        for (id, slot) in ids.iter().zip(0..) {
            inits.insert(id, slot);
            inits.insert(id, slot);
        }
        let found = |inits: &Inits| {
            datagrams.map(|datagram| match inits.find(&datagram, &mut 0) {
                Found::Copy(slot) => Some(slot),
                Found::Unknown(_) => None,
            })
        };
        assert_eq!(found(&inits), [Some(0), Some(1), Some(2)]);
        inits.remove(&ids[0]);
        inits.remove(&ids[0]);
        assert_eq!(found(&inits), [None, Some(1), Some(2)]);
        inits.remove(&ids[2]);
        assert_eq!(found(&inits), [None, Some(1), None]);
        inits.remove(&ids[1]);
        assert!(inits.beginnings.is_empty() && inits.slots.is_empty());
    }

    #[test]
    fn hostile_rests_behind_a_known_beginning_cost_a_digest_and_not_two() {
        let mut inits = Inits::new(KeyedState::new([1, 2]));
        let (known, mut digests) = ([1; 1200], 0);
        let Found::Unknown(mut name) = inits.find(&known, &mut digests) else { panic!("not yet") };
        assert_eq!(digests, 0);
        let id = name.id(&known, &mut digests);
        inits.insert(&id, 0);
        assert_eq!(digests, 1);
        let mut rest = known;
        rest[100] = 2;
        let Found::Unknown(mut name) = inits.find(&rest, &mut digests) else { panic!("another one") };
        name.id(&rest, &mut digests);
        assert_eq!(digests, 2);
    }
}

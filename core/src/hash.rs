//! Hashers for the engine's maps: seeded, so that nobody can aim for collisions.

use core::fmt;
use core::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;

/// Builds SipHash-1-3 hashers: for keys that anybody may choose and try as many of as they like.
#[derive(Clone, Copy)]
pub(crate) struct KeyedState {
    keys: [u64; 2],
}

impl KeyedState {
    pub(crate) const fn new(keys: [u64; 2]) -> Self {
        Self { keys }
    }

    /// Another one, for another table: what is known of the order in one says nothing of the other.
    pub(crate) fn other(&self, number: u64) -> Self {
        Self { keys: [self.hash_one([number, 0]), self.hash_one([number, 1])] }
    }
}

impl BuildHasher for KeyedState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        let [key0, key1] = self.keys;
        SipHasher13::new_with_keys(key0, key1)
    }
}

impl fmt::Debug for KeyedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedState")
    }
}

/// Builds hashers for single numbers of 64 bits, looked up for each packet: connection ids, which we draw ourselves, and
/// stream ids, of which a connection has a limited number.
///
/// Twice the number is multiplied by a secret odd one and the halves of the product are folded (multiplicative hashing:
/// Dietzfelbinger, Hagerup, Katajainen and Penttonen, "A Reliable Randomized Algorithm for the Closest-Pair Problem",
/// 1997; once leaves regular numbers in heaps). Who does not see the hashes cannot aim, at a tenth of SipHash's cost.
#[derive(Clone, Copy)]
pub(crate) struct NumberState {
    keys: [u64; 2],
}

impl NumberState {
    pub(crate) const fn new(keys: [u64; 2]) -> Self {
        Self { keys }
    }
}

impl BuildHasher for NumberState {
    type Hasher = NumberHasher;

    fn build_hasher(&self) -> NumberHasher {
        NumberHasher { keys: self.keys, hash: 0 }
    }
}

impl fmt::Debug for NumberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NumberState")
    }
}

fn fold(number: u64, key: u64) -> u64 {
    let product = u128::from(number).wrapping_mul(u128::from(key | 1));
    (product >> 64) as u64 ^ product as u64
}

/// See [`NumberState`].
pub(crate) struct NumberHasher {
    keys: [u64; 2],
    hash: u64,
}

impl Hasher for NumberHasher {
    fn write_u64(&mut self, number: u64) {
        let [first, second] = self.keys;
        self.hash = fold(fold(self.hash ^ number ^ second, first), second);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::id::{ConnectionId, StreamId};
    use crate::rng::Rng;

    #[test]
    fn hashers_are_keyed() {
        let (a, b) = (KeyedState::new([1, 2]), KeyedState::new([1, 3]));
        assert_eq!(a.hash_one(7), a.hash_one(7));
        assert_ne!(a.hash_one(7), b.hash_one(7));
        assert_ne!(a.hash_one(7), a.other(0).hash_one(7));
        assert_ne!(a.other(0).hash_one(7), a.other(1).hash_one(7));
        let (a, b) = (NumberState::new([1, 2]), NumberState::new([1, 5]));
        assert_eq!(a.hash_one(7_u64), a.hash_one(7_u64));
        assert_ne!(a.hash_one(7_u64), b.hash_one(7_u64));
    }

    /// A map takes its place from the low bits.
    #[test]
    fn neighbours_are_spread_over_the_places_of_a_map() {
        let mut rng = Rng::new(&[1; 32], &[2; 32]);
        let used = |hashes: &mut dyn Iterator<Item = u64>| {
            hashes.map(|hash| hash & 0x3ff).collect::<BTreeSet<_>>().len()
        };
        for _ in 0..100 {
            let state = rng.number_hasher();
            // Thrown by chance, 1,024 use 647 of as many places.
            let streams = used(&mut (0..1024).map(|n| state.hash_one(StreamId(4 * n))));
            assert!(streams > 500, "{streams}");
            let ids = (0..1024_u64).map(|n| ConnectionId::from_bytes((n << 32).to_be_bytes()));
            let ids = used(&mut ids.map(|id| state.hash_one(id)));
            assert!(ids > 500, "{ids}");
        }
    }
}

//! The engine's only source of randomness: a generator that the caller seeds once.
//!
//! Same identity and seed, same output, forever: the construction below is part of the engine's contract, and the
//! test at the end pins its bytes.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::{Zeroize, Zeroizing};

use crate::Instant;
use crate::crypto::Secret;
use crate::crypto::digest::{digest, keyed};
use crate::hash::{KeyedState, NumberState};

/// Length of a ChaCha20 key, in bytes.
const KEY_LEN: usize = 32;

/// Key stream drawn at once: 8 blocks, which SIMD implementations make together.
const BATCH_LEN: usize = 512;

/// A ChaCha20 generator with fast key erasure (Bernstein, "Fast-key-erasure random-number generators", 2017).
///
/// A batch is the ChaCha20 key stream (RFC 8439, nonce and counter zero) under the current key; its first 32 bytes are
/// the next key, the rest is output, used in order and wiped when used. So who sees the state later does not learn
/// what was drawn before, and no counter can overflow.
pub(crate) struct Rng {
    /// The next key, then the output not yet handed out; what was is zero.
    batch: Zeroizing<[u8; BATCH_LEN]>,
    /// Where the unused output starts: in `KEY_LEN..=BATCH_LEN`.
    used: usize,
}

impl Rng {
    /// The generator keyed by BLAKE2s(`identity_secret` · `seed`).
    pub(crate) fn new(identity_secret: &[u8; 32], seed: &[u8; 32]) -> Self {
        let mut rng = Self { batch: Zeroizing::new([0; BATCH_LEN]), used: BATCH_LEN };
        rng.set_key(digest(&[identity_secret, seed]));
        rng
    }

    /// Mixes new entropy in: after a fork, after a snapshot was resumed.
    pub(crate) fn reseed(&mut self, seed: &[u8; 32]) {
        let old = Secret::new(self.bytes());
        self.set_key(digest(&[&*old, seed]));
    }

    /// Fills `out` with random bytes.
    pub(crate) fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.used >= BATCH_LEN {
                self.refill();
            }
            let unused = self.batch.get_mut(self.used..).unwrap_or_default();
            let len = out.len().min(unused.len());
            let (now, later) = core::mem::take(&mut out).split_at_mut(len);
            let (source, _) = unused.split_at_mut(len);
            now.copy_from_slice(source);
            source.zeroize();
            self.used = self.used.saturating_add(len);
            out = later;
        }
    }

    /// `N` random bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A random number of 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// A random number below `bound`, all equally likely; 0 if `bound` is 0.
    ///
    /// Lemire, "Fast Random Integer Generation in an Interval" (2019), algorithm 5: a draw is taken again with a
    /// probability below bound / 2^64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The 2^64 mod bound lowest products of each result are one too many.
        let Some(excess) = bound.wrapping_neg().checked_rem(bound) else {
            return 0;
        };
        loop {
            let product = u128::from(self.next_u64()).wrapping_mul(u128::from(bound));
            let [high, low] = [(product >> 64) as u64, product as u64];
            if low >= excess {
                return high;
            }
        }
    }

    /// The secret of an ephemeral X25519 key: 32 random bytes, with the time and `input` (the datagram that it
    /// answers, the key that is dialled) mixed in, so that a seed used twice still gives different keys.
    pub(crate) fn ephemeral_secret(&mut self, now: Instant, input: &[u8]) -> Secret {
        let key = Secret::new(self.bytes());
        Secret::new(keyed(&key, &[&now.as_nanos().to_le_bytes(), input]))
    }

    /// A keyed hasher for a map whose keys a peer can choose.
    pub(crate) fn hasher(&mut self) -> KeyedState {
        KeyedState::new([self.next_u64(), self.next_u64()])
    }

    /// A keyed hasher for a map that is looked into for each packet.
    pub(crate) fn number_hasher(&mut self) -> NumberState {
        NumberState::new([self.next_u64(), self.next_u64()])
    }

    fn set_key(&mut self, mut key: [u8; KEY_LEN]) {
        self.batch.zeroize();
        let (start, _) = self.batch.split_at_mut(KEY_LEN);
        start.copy_from_slice(&key);
        key.zeroize();
        self.used = BATCH_LEN;
    }

    fn refill(&mut self) {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let (start, _) = self.batch.split_at(KEY_LEN);
        key.copy_from_slice(start);
        self.batch.zeroize();
        ChaCha20::new((&*key).into(), &[0; 12].into()).apply_keystream(&mut *self.batch);
        self.used = KEY_LEN;
    }
}

impl core::fmt::Debug for Rng {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Rng")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::hex::Hex;

    fn rng() -> Rng {
        Rng::new(&[1; 32], &[2; 32])
    }

    /// If this fails, every recorded run of every user stops being reproducible.
    #[test]
    fn the_output_never_changes() {
        let mut rng = rng();
        assert_eq!(Hex(&rng.bytes::<16>()).to_string(), "592d9c3b1bd45c4397e83ea3e99f0b26");
        let mut skipped = vec![0; 10_000];
        rng.fill(&mut skipped);
        assert_eq!(Hex(&rng.bytes::<16>()).to_string(), "08175f9bf4c67b4150870866ac496f4a");
        rng.reseed(&[3; 32]);
        assert_eq!(Hex(&rng.bytes::<16>()).to_string(), "77854ac90c8802c23d1da1e749187736");
        let secret = rng.ephemeral_secret(Instant::from_nanos(5), b"input");
        assert_eq!(
            Hex(&*secret).to_string(),
            "def86c512500d477554b2bae2e092822f3e6bab1747e91e69b32629b2c2a6c4e"
        );
    }

    #[test]
    fn the_cut_into_calls_does_not_matter() {
        let (mut whole, mut pieces) = (vec![0; 3_000], Vec::new());
        rng().fill(&mut whole);
        let mut rng = rng();
        for len in (0..).take_while(|len| len * (len + 1) / 2 <= 3_000) {
            let mut piece = vec![0; len];
            rng.fill(&mut piece);
            pieces.extend(piece);
        }
        assert_eq!(whole[..pieces.len()], pieces);
    }

    #[test]
    fn seeds_identities_and_reseeds_give_different_streams() {
        let mut reseeded = rng();
        reseeded.reseed(&[2; 32]);
        let streams = [
            rng().bytes::<32>(),
            Rng::new(&[2; 32], &[2; 32]).bytes(),
            Rng::new(&[1; 32], &[1; 32]).bytes(),
            reseeded.bytes(),
        ];
        for (i, a) in streams.iter().enumerate() {
            assert!(streams[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn ephemeral_secrets_differ_by_time_and_input_even_with_the_same_seed() {
        let at = |nanos, input: &[u8]| *rng().ephemeral_secret(Instant::from_nanos(nanos), input);
        assert_eq!(at(1, b"x"), at(1, b"x"));
        assert_ne!(at(1, b"x"), at(2, b"x"));
        assert_ne!(at(1, b"x"), at(1, b"y"));
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let mut rng = rng();
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            seen[usize::try_from(rng.below(5)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| (900..1_100).contains(n)), "{seen:?}");
        // With this bound nearly every second draw must be thrown away.
        let bound = (1 << 63) + 1;
        assert!((0..100).all(|_| rng.below(bound) < bound));
    }

    #[test]
    fn output_that_was_handed_out_is_gone_from_the_state() {
        let mut rng = rng();
        let _ = rng.bytes::<100>();
        assert!(rng.batch[KEY_LEN..KEY_LEN + 100].iter().all(|byte| *byte == 0));
        assert!(rng.batch[KEY_LEN + 100..].iter().any(|byte| *byte != 0));
    }
}

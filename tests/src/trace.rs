//! A fingerprint of all that happened, so that two runs can be compared by one number.

use crate::rng::mix;

/// A running hash over numbers and bytes, the same on every machine. No defence against an adversary.
///
/// Four lanes, so that the multiplications of a datagram's words do not wait for one another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    lanes: [u64; 4],
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self { lanes: [1, 2, 3, 4] }
    }
}

/// An odd multiplier with its bits well spread: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Fingerprint {
    /// Takes in a number.
    pub fn number(&mut self, number: u64) {
        let [lane, ..] = &mut self.lanes;
        *lane = mix(*lane ^ number);
    }

    /// Takes in bytes and their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<32>();
        for block in blocks {
            self.block(block);
        }
        let mut last = [0; 32];
        last[..rest.len()].copy_from_slice(rest);
        self.block(&last);
        self.number(bytes.len() as u64);
    }

    fn block(&mut self, block: &[u8; 32]) {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIER).rotate_left(29);
        }
    }

    /// The hash of all that was taken in so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.lanes.iter().fold(0, |all, lane| mix(all ^ lane))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[u8]]) -> u64 {
        let mut fingerprint = Fingerprint::default();
        parts.iter().for_each(|part| fingerprint.bytes(part));
        fingerprint.value()
    }

    #[test]
    fn one_bit_order_and_boundaries_all_count() {
        let long = [7; 100];
        let mut flipped = long;
        flipped[64] ^= 0x80;
        assert_ne!(of(&[&long]), of(&[&flipped]));
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"a", b"b"]), of(&[b"b", b"a"]));
        assert_ne!(of(&[&[0; 3]]), of(&[&[0; 4]]));
        assert_eq!(of(&[b"same"]), of(&[b"same"]));
    }
}

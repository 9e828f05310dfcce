//! The data: every byte is known from its place, so that the receiver can check all of it for the price of reading it.

use std::sync::OnceLock;

/// Bytes per write call.
pub(crate) const PIECE: usize = 128 << 10;
/// After so many bytes the data repeats: a prime, so that packets in wrong places are found out.
const PERIOD: usize = 8191;

fn bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let period: Vec<u8> = (0..PERIOD).map(|_| next(&mut state)).collect();
        period.iter().copied().cycle().take(PERIOD + PIECE).collect()
    })
}

/// The top byte of a step of Knuth's linear congruential generator (MMIX).
fn next(state: &mut u64) -> u8 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 56) as u8
}

/// `len` bytes, at most [`PIECE`], of the data from `offset` on.
pub(crate) fn at(offset: u64, len: usize) -> &'static [u8] {
    &bytes()[(offset % PERIOD as u64) as usize..][..len]
}

/// Compares what arrives with what should.
#[derive(Debug, Default)]
pub(crate) struct Check {
    offset: u64,
}

impl Check {
    /// Data that starts at another place than the beginning.
    pub(crate) const fn from(offset: u64) -> Self {
        Self { offset }
    }

    /// Takes the next bytes.
    ///
    /// # Panics
    /// If they are not those that were sent: nothing measured with such a stack is worth anything.
    pub(crate) fn take(&mut self, data: &[u8]) {
        for piece in data.chunks(PIECE) {
            assert!(piece == at(self.offset, piece.len()), "wrong data near byte {}", self.offset);
            self.offset += piece.len() as u64;
        }
    }

    /// How far it has come.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_taken_in_pieces_of_any_size() {
        let mut check = Check::default();
        for len in [1, 63, PERIOD, PIECE, 0, 7] {
            check.take(at(check.offset(), len));
        }
        let all: Vec<u8> = [at(check.offset(), PIECE), at(check.offset() + PIECE as u64, PIECE)].concat();
        check.take(&all);
        assert_eq!(check.offset(), (1 + 63 + PERIOD + 3 * PIECE + 7) as u64);
    }

    #[test]
    #[should_panic(expected = "wrong data near byte 1400")]
    fn packets_in_each_others_places_are_found_out() {
        let mut check = Check::default();
        check.take(at(0, 1400));
        check.take(at(2800, 1400));
    }
}

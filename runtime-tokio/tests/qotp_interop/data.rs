//! What the streams carry, the same on both sides: splitmix64 from a start value of the stream's own.

use sha2::{Digest, Sha256};

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The data of stream `number`.
pub(crate) fn pattern(number: u32, bytes: usize) -> Vec<u8> {
    let start = 1 ^ (u64::from(number) + 1).wrapping_mul(GAMMA);
    let word = |index: u64| {
        let mut z = start.wrapping_add((index + 1).wrapping_mul(GAMMA));
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31).to_le_bytes()
    };
    (0..bytes.div_ceil(8) as u64).flat_map(word).take(bytes).collect()
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

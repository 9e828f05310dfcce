//! Helpers of the tests in this folder.

use std::vec::Vec;

/// The bytes that `text` writes in hexadecimal.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().as_chunks::<2>().0;
    digits.iter().map(|d| u8::from_str_radix(core::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

/// The `N` bytes that `text` writes in hexadecimal.
pub(crate) fn unhex_array<const N: usize>(text: &str) -> [u8; N] {
    unhex(text).try_into().unwrap()
}

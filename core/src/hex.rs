//! Bytes as pairs of hexadecimal digits, and back.

use core::fmt;

/// Shows bytes as digits in lower case, without a copy of them.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Fills `bytes` with what exactly so many pairs of digits say, in lower or upper case; `None` if `text` is not that.
pub(crate) fn read(text: &str, bytes: &mut [u8]) -> Option<()> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(())
}

/// As [`read()`], where there is to be one text for each value: in lower case only.
pub(crate) fn read_lower(text: &str, bytes: &mut [u8]) -> Option<()> {
    if text.bytes().any(|character| character.is_ascii_uppercase()) {
        return None;
    }
    read(text, bytes)
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let bytes: [u8; 256] = core::array::from_fn(|at| at as u8);
        let text = format!("{}", Hex(&bytes));
        let mut back = [0; 256];
        assert_eq!(read_lower(&text, &mut back), Some(()));
        assert_eq!(back, bytes);
        assert_eq!(read_lower(&text.to_uppercase(), &mut back), None);
        assert_eq!(read(&text.to_uppercase(), &mut [0; 256]), Some(()));
    }

    #[test]
    fn only_so_many_pairs_of_digits_are_read() {
        for text in ["", "0", "000", "0000", "0g", "g0", "+1", " 1", "0x", "é", "/0", ":0", "@0", "`0"] {
            assert_eq!(read(text, &mut [0; 1]), None, "{text:?}");
        }
    }
}

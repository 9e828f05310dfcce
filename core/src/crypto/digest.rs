//! BLAKE2s (RFC 7693): digests, plain and keyed.

use blake2::digest::{KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac256, Digest};

/// BLAKE2s-256 over the joined `parts`.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    digest_after(&[], parts)
}

/// BLAKE2s-256 over `first` and the joined `parts` behind it.
pub(crate) fn digest_after(first: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Blake2s256::new();
    hash.update(first);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// Keyed BLAKE2s-256 over the joined `parts`.
pub(crate) fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Blake2sMac256::new(key.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// RFC 7693 appendix B.
    #[test]
    fn digest_of_abc() {
        let expected = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
        assert_eq!(crate::hex::Hex(&digest(&[b"a", b"", b"bc"])).to_string(), expected);
    }

    #[test]
    fn keyed_digests_depend_on_key_and_text_but_not_on_the_cut() {
        let digest = keyed(&[1; 32], &[b"retry", b"token"]);
        assert_eq!(digest, keyed(&[1; 32], &[b"retrytoken"]));
        assert_ne!(digest, keyed(&[2; 32], &[b"retrytoken"]));
        assert_ne!(digest, keyed(&[1; 32], &[b"retrytokem"]));
    }
}

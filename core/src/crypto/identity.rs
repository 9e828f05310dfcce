//! Who an endpoint is: an X25519 key pair.

use core::fmt;
use core::str::FromStr;

use zeroize::Zeroize;

use super::Secret;
use super::backend::SecretKey;
use crate::hex::{self, Hex};

/// The u-coordinates below 2^255 - 19 of the points of small order, on the curve and on its twist; any X25519 with one
/// of them gives zero (RFC 7748 section 6.1; the list is the one of <https://cr.yp.to/ecdh.html>, "How do I validate
/// Curve25519 public keys", without the encodings that are not canonical).
pub(super) const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];

/// Why 32 bytes, or a text, are no public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not the shortest form of a field element: 2^255 - 19 or more, or the top bit is set.
    #[error("the public key is not canonical")]
    NonCanonical,
    /// A point of small order, with which every shared secret would be zero.
    #[error("the public key has low order")]
    LowOrder,
    /// The text is not 64 lower-case hexadecimal digits.
    #[error("a public key is written as 64 lower-case hexadecimal digits")]
    Text,
}

/// The public half of an [`Identity`]: how peers name each other.
///
/// Always canonical and never of low order, so that two keys are the same exactly if their bytes are.
///
/// ```
/// use dunlin_core::{Identity, PublicKey};
/// let key = *Identity::from_secret([7; 32]).public();
/// assert_eq!(key.to_string().parse::<PublicKey>(), Ok(key));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The key with these bytes (RFC 7748 section 5, little-endian).
    ///
    /// # Errors
    /// [`KeyError::NonCanonical`] and [`KeyError::LowOrder`].
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let [low, middle @ .., high] = &bytes;
        let beyond = *high == 0x7f && middle.iter().all(|byte| *byte == 0xff) && *low >= 0xed;
        if *high > 0x7f || beyond {
            Err(KeyError::NonCanonical)
        } else if LOW_ORDER.contains(&bytes) {
            Err(KeyError::LowOrder)
        } else {
            Ok(Self(bytes))
        }
    }

    /// The bytes as they stand on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    /// The first 4 bytes, enough to tell keys apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "PublicKey({}…)", Hex(&[a, b, c, d]))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        hex::read_lower(text, &mut bytes).ok_or(KeyError::Text)?;
        Self::from_bytes(bytes)
    }
}

/// An endpoint's long-term key pair. Proves who it is in every handshake; wiped on drop, never shown.
pub struct Identity {
    secret: Secret,
    key: SecretKey,
    public: PublicKey,
}

impl Identity {
    /// The identity with this secret: 32 random bytes, kept secret by the caller too.
    #[must_use]
    pub fn from_secret(mut secret: [u8; 32]) -> Self {
        let key = SecretKey::new(&secret);
        let identity = Self { public: PublicKey(*key.public()), secret: Secret::new(secret), key };
        secret.zeroize();
        identity
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The key for X25519.
    pub(crate) const fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The secret itself, to key the random generator.
    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self::from_secret(*self.secret)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    const P: [u8; 32] = {
        let mut p = [0xff; 32];
        p[0] = 0xed;
        p[31] = 0x7f;
        p
    };

    #[test]
    fn keys_that_are_not_canonical_are_refused() {
        for low in 0xed..=0xff {
            let mut bytes = P;
            bytes[0] = low;
            assert_eq!(PublicKey::from_bytes(bytes), Err(KeyError::NonCanonical));
        }
        let mut bytes = *Identity::from_secret([1; 32]).public().as_bytes();
        bytes[31] |= 0x80;
        assert_eq!(PublicKey::from_bytes(bytes), Err(KeyError::NonCanonical));
        // 2^255 - 21 is the largest value that is neither refused as such nor of low order.
        let mut bytes = P;
        bytes[0] = 0xeb;
        assert!(PublicKey::from_bytes(bytes).is_ok());
    }

    #[test]
    fn the_low_order_list_is_what_x25519_maps_to_zero() {
        for point in LOW_ORDER {
            assert_eq!(PublicKey::from_bytes(point), Err(KeyError::LowOrder));
            assert!(SecretKey::new(&[9; 32]).agree(&point).is_none());
        }
    }

    #[test]
    fn text_goes_both_ways_and_has_one_form() {
        let key = *Identity::from_secret([3; 32]).public();
        let text = key.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(text.parse(), Ok(key));
        for wrong in [&text[1..], &text.to_uppercase(), &format!("{text}0"), &format!("{text}00"), ""] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(KeyError::Text));
        }
        let zero = "0".repeat(64);
        assert_eq!(zero.parse::<PublicKey>(), Err(KeyError::LowOrder));
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let identity = Identity::from_secret([0xab; 32]);
        let text = format!("{identity:?}");
        assert!(!text.contains("abab") && !text.contains("171, 171"));
        assert!(text.len() < 60);
    }
}

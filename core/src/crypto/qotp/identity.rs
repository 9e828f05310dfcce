//! Who an endpoint claims to be on QOTP's wire: an X25519 key pair of its own.

use core::fmt;
use core::str::FromStr;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::Secret;
use crate::crypto::backend::SecretKey;
use crate::crypto::identity::{Identity, LOW_ORDER};
use crate::crypto::kdf::kdf;
use crate::hex::{self, Hex};

/// What tells the QOTP key apart from every other use of an identity's secret (docs/PROTOCOL.md, "QOTP").
const LABEL: &[u8] = b"dunlin qotp v0";

/// Why bytes, or a text, are no QOTP key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QotpKeyError {
    /// A point of small order, in whatever encoding: every shared secret with it would be zero.
    #[error(
        "the QOTP public key has low order, so nothing sent to it would be secret; ask the peer for its real key"
    )]
    LowOrder,
    /// The text is not 64 hexadecimal digits.
    #[error(
        "a QOTP key is written as 64 hexadecimal digits; check that it was copied whole and without a prefix"
    )]
    Text,
}

/// A key that a QOTP peer claims, or that a QOTP peer is dialled with. Never of low order.
///
/// QOTP's handshake does not prove that the peer holds the secret to it, which is why this type does not convert to
/// [`PublicKey`](crate::PublicKey), the name of a peer that did. The bytes are kept as they came, because the reference
/// accepts every encoding and authenticates the bytes: two different texts can be the same point of the curve.
///
/// ```
/// use dunlin_core::{QotpIdentity, QotpPublicKey};
/// let key = *QotpIdentity::from_seed([7; 32]).public();
/// assert_eq!(key.to_string().parse::<QotpPublicKey>(), Ok(key));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QotpPublicKey([u8; 32]);

impl QotpPublicKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The key with these bytes (RFC 7748 section 5, little-endian), canonical or not.
    ///
    /// # Errors
    /// [`QotpKeyError::LowOrder`].
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, QotpKeyError> {
        if LOW_ORDER.contains(&canonical(bytes)) { Err(QotpKeyError::LowOrder) } else { Ok(Self(bytes)) }
    }

    /// The bytes as they stand on the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The u-coordinate that X25519 makes of `bytes` (RFC 7748 section 5): without the top bit, modulo 2^255 - 19.
fn canonical(mut bytes: [u8; 32]) -> [u8; 32] {
    let [low, middle @ .., high] = &mut bytes;
    *high &= 0x7f;
    // From 2^255 - 19 to 2^255 - 1 only the lowest byte differs, by what is left after the reduction.
    if let (0x7f, Some(left)) = (*high, low.checked_sub(0xed))
        && middle.iter().all(|byte| *byte == 0xff)
    {
        bytes = [0; 32];
        let [low, ..] = &mut bytes;
        *low = left;
    }
    bytes
}

impl fmt::Display for QotpPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for QotpPublicKey {
    /// The first 4 bytes, enough to tell keys apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "QotpPublicKey({}…)", Hex(&[a, b, c, d]))
    }
}

impl FromStr for QotpPublicKey {
    type Err = QotpKeyError;

    /// Reads 64 hexadecimal digits, lower case or upper case.
    fn from_str(text: &str) -> Result<Self, QotpKeyError> {
        Self::from_bytes(*unhex(text)?)
    }
}

/// The 32 bytes that `text` writes in hexadecimal.
fn unhex(text: &str) -> Result<Secret, QotpKeyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::read(text, &mut *bytes).ok_or(QotpKeyError::Text)?;
    Ok(Secret::new(*bytes))
}

/// An endpoint's key pair for QOTP. Peers that know the public half can encrypt their first packet to it; it proves
/// nothing about either side. Wiped on drop, never shown.
///
/// Never the key pair of an [`Identity`]: QOTP uses the results of X25519 as they are, and so would reveal too much
/// about it. [`Identity::qotp`] derives one that is safe.
pub struct QotpIdentity {
    secret: Secret,
    key: SecretKey,
    public: QotpPublicKey,
}

impl QotpIdentity {
    /// The key pair with this private key: 32 random bytes, clamped when used (RFC 7748 section 5).
    #[must_use]
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        let secret = Secret::new(seed);
        seed.zeroize();
        Self::from_secret(secret)
    }

    /// The key pair that QOTP's reference implementation v0.2.19 makes of a seed text: its private key is the SHA-256
    /// (FIPS 180-4) of the text. No stronger than the text is hard to guess.
    #[must_use]
    pub fn from_seed_text(text: &str) -> Self {
        Self::from_secret(Secret::new(Sha256::digest(text).into()))
    }

    /// The key pair whose private key `text` writes in 64 hexadecimal digits, lower case or upper case.
    ///
    /// # Errors
    /// [`QotpKeyError::Text`].
    pub fn from_hex(text: &str) -> Result<Self, QotpKeyError> {
        Ok(Self::from_secret(unhex(text)?))
    }

    fn from_secret(secret: Secret) -> Self {
        let key = SecretKey::new(&secret);
        // The clamped secret times the base point: never of low order.
        Self { public: QotpPublicKey(*key.public()), secret, key }
    }

    /// The public key, for peers that are to reach this endpoint with data in their first packet.
    #[must_use]
    pub const fn public(&self) -> &QotpPublicKey {
        &self.public
    }

    /// The key for X25519.
    pub(crate) const fn key(&self) -> &SecretKey {
        &self.key
    }
}

impl Clone for QotpIdentity {
    fn clone(&self) -> Self {
        Self::from_secret(self.secret.clone())
    }
}

impl fmt::Debug for QotpIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QotpIdentity").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Identity {
    /// The QOTP key pair of this identity: always the same one, and nothing that happens to it tells anything about the
    /// identity's own key (docs/PROTOCOL.md, "QOTP").
    #[must_use]
    pub fn qotp(&self) -> QotpIdentity {
        let [secret] = kdf(self.secret(), &[LABEL]);
        QotpIdentity::from_secret(secret)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    /// Every 32 bytes that X25519 maps to zero: the short forms, 2^255 - 19 for 0 and one more for 1, and all of them
    /// with the top bit.
    fn low_order() -> impl Iterator<Item = [u8; 32]> {
        let beyond = [0xed, 0xee].map(|low| {
            let mut bytes = [0xff; 32];
            bytes[0] = low;
            bytes[31] = 0x7f;
            bytes
        });
        LOW_ORDER.into_iter().chain(beyond).flat_map(|bytes| {
            let mut high = bytes;
            high[31] |= 0x80;
            [bytes, high]
        })
    }

    #[test]
    fn qotp_keys_of_low_order_are_refused_in_every_encoding() {
        let secret = SecretKey::new(&[9; 32]);
        for bytes in low_order() {
            assert_eq!(QotpPublicKey::from_bytes(bytes), Err(QotpKeyError::LowOrder), "{bytes:x?}");
            assert!(secret.agree(&bytes).is_none(), "{bytes:x?}");
        }
        assert_eq!("0".repeat(64).parse::<QotpPublicKey>(), Err(QotpKeyError::LowOrder));
    }

    #[test]
    fn other_qotp_keys_are_kept_in_the_encoding_they_came_in() {
        let secret = SecretKey::new(&[9; 32]);
        for low in 0xef..=0xff {
            let mut long = [0xff; 32];
            long[0] = low;
            let mut short = [0; 32];
            short[0] = low - 0xed;
            let mut mid = long;
            mid[31] = 0x7f;
            for bytes in [long, mid, short] {
                assert_eq!(*QotpPublicKey::from_bytes(bytes).unwrap().as_bytes(), bytes);
                assert_eq!(canonical(bytes), short);
                assert_eq!(secret.agree(&bytes), secret.agree(&short));
            }
        }
        let key = *SecretKey::new(&[1; 32]).public();
        assert_eq!(canonical(key), key);
    }

    #[test]
    fn qotp_key_texts_go_both_ways() {
        let key = *QotpIdentity::from_seed([3; 32]).public();
        let text = key.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(text.to_uppercase().parse(), Ok(key));
        for wrong in [&text[1..], &format!("0x{}", &text[2..]), &format!("{text}0"), &format!("{text}00"), ""]
        {
            assert_eq!(wrong.parse::<QotpPublicKey>(), Err(QotpKeyError::Text));
            assert_eq!(QotpIdentity::from_hex(wrong).err(), Some(QotpKeyError::Text));
        }
    }

    #[test]
    fn qotp_identities_come_from_bytes_text_and_hex() {
        let hashed = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let identity = QotpIdentity::from_seed_text("abc");
        assert_eq!(Hex(&*identity.secret).to_string(), hashed, "FIPS 180-4's example");
        assert_eq!(QotpIdentity::from_hex(hashed).unwrap().public(), identity.public());
        assert_eq!(QotpIdentity::from_seed(*identity.secret).public(), identity.public());
        assert_eq!(identity.clone().public(), identity.public());
        assert_eq!(identity.key().public(), identity.public().as_bytes());
    }

    /// The expected value is from Python's hmac and hashlib.
    #[test]
    fn the_qotp_key_of_an_identity_is_derived_and_another_one() {
        let identity = Identity::from_secret([7; 32]);
        let qotp = identity.qotp();
        assert_eq!(
            Hex(&*qotp.secret).to_string(),
            "296ac98e4f7b71e394e02d7c0bc8dae946f682fc1a80c414148f98d2682e6355"
        );
        assert_ne!(qotp.public().as_bytes(), identity.public().as_bytes());
    }

    #[test]
    fn qotp_debug_output_holds_no_secret() {
        let text = format!("{:?}", QotpIdentity::from_seed([0xab; 32]));
        assert!(!text.contains("abab") && !text.contains("171, 171"));
        assert!(text.len() < 70, "{text}");
    }
}

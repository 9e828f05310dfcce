//! The primitives that measured fastest: AWS-LC's.
//!
//! Its key constructors return `Result` for keys of a wrong length and for a failed allocation. Here the length is in
//! the type, so what is left is the latter, which ends the program as it does everywhere else in Rust.

#![expect(
    clippy::expect_used,
    reason = "AWS-LC fails only where a length is wrong, and those are known here, or where there is no memory"
)]

use aws_lc_rs::aead::quic::{self, HeaderProtectionKey};
use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};

use super::{AeadError, MASK_LEN, SAMPLE_LEN};
use crate::crypto::Secret;
use crate::crypto::suite::{NONCE_LEN, Suite, TAG_LEN};

/// What this backend is made of, for reports.
pub(crate) const NAME: &str = "AWS-LC";

/// An X25519 secret with its public key (RFC 7748). AWS-LC wipes what it frees.
pub(crate) struct SecretKey {
    secret: PrivateKey,
    public: [u8; 32],
}

impl SecretKey {
    /// The secret `bytes`, clamped when used.
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        let secret = PrivateKey::from_private_key(&X25519, bytes).expect("32 bytes are an X25519 secret");
        let public = secret.compute_public_key().expect("every X25519 secret has a public key");
        let public = public.as_ref().try_into().expect("an X25519 public key is 32 bytes");
        Self { secret, public }
    }

    /// The public key: always canonical, never of low order.
    pub(crate) const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// X25519 with the peer's `public` key; `None` if the result is all zero (RFC 7748 section 6.1), which AWS-LC
    /// checks in constant time.
    pub(crate) fn agree(&self, public: &[u8; 32]) -> Option<Secret> {
        agree(&self.secret, UnparsedPublicKey::new(&X25519, public), (), |shared| {
            shared.try_into().map(Secret::new).map_err(|_| ())
        })
        .ok()
    }
}

/// An expanded AEAD key. AWS-LC wipes what it frees.
pub(crate) struct AeadKey(LessSafeKey);

impl AeadKey {
    /// Expands `key` for `suite`.
    pub(crate) fn new(suite: Suite, key: &[u8; 32]) -> Self {
        let algorithm = match suite {
            Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Suite::Aes256Gcm => &AES_256_GCM,
        };
        Self(LessSafeKey::new(UnboundKey::new(algorithm, key).expect("both suites have 32-byte keys")))
    }

    /// Seals `buffer` in place: a plaintext, and behind it 16 bytes of room for the tag. Fails only without the room
    /// (or beyond 2^36 bytes).
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<(), AeadError> {
        let (text, room) = buffer.split_last_chunk_mut::<TAG_LEN>().ok_or(AeadError)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.seal_in_place_scatter(nonce, Aad::from(aad), text, &[], room).map_err(|_| AeadError)
    }

    /// Opens `buffer` in place: a ciphertext and its tag. Returns the length of the plaintext at its start. The tag's
    /// 16 bytes are left as they were; on failure the ciphertext may be overwritten.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<usize, AeadError> {
        let (text, tag) = buffer.split_last_chunk_mut::<TAG_LEN>().ok_or(AeadError)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place_separate_tag(nonce, Aad::from(aad), tag, text);
        opened.map(|text| text.len()).map_err(|_| AeadError)
    }
}

/// An expanded key for the masks of sequence fields. AWS-LC wipes what it frees.
pub(crate) struct MaskKey(HeaderProtectionKey);

impl MaskKey {
    /// Expands `key` for `suite`.
    pub(crate) fn new(suite: Suite, key: &[u8; 32]) -> Self {
        let algorithm = match suite {
            Suite::ChaCha20Poly1305 => &quic::CHACHA20,
            Suite::Aes256Gcm => &quic::AES_256,
        };
        Self(HeaderProtectionKey::new(algorithm, key).expect("both suites have 32-byte mask keys"))
    }

    /// The mask for `sample` (RFC 9001 sections 5.4.3 and 5.4.4), for every sample.
    pub(crate) fn mask(&self, sample: &[u8; SAMPLE_LEN]) -> [u8; MASK_LEN] {
        self.0.new_mask(sample).expect("a sample of 16 bytes has a mask")
    }
}

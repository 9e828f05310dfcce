//! The primitives in Rust alone: RustCrypto's AEADs and ciphers, dalek's X25519.

use alloc::boxed::Box;

use aes::Aes256Enc;
use aes::cipher::BlockCipherEncrypt;
use aes_gcm::AesGcm;
use aes_gcm::aead::consts::U12;
use chacha20::cipher::{KeyIvInit, StreamCipherCore};
use chacha20::variants::Ietf;
use chacha20::{ChaChaCore, R20};
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{AeadError, MASK_LEN, SAMPLE_LEN};
use crate::crypto::Secret;
use crate::crypto::suite::{NONCE_LEN, Suite, TAG_LEN};

/// What this backend is made of, for reports.
#[cfg(not(feature = "fast"))]
pub(crate) const NAME: &str = "RustCrypto, dalek";

/// AES-256-GCM over the encrypt-only half of the key schedule: counter mode never decrypts a block.
type Gcm = AesGcm<Aes256Enc, U12>;

/// An X25519 secret with its public key (RFC 7748). Wiped on drop.
pub(crate) struct SecretKey {
    secret: StaticSecret,
    public: [u8; 32],
}

impl SecretKey {
    /// The secret `bytes`, clamped when used.
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        let secret = StaticSecret::from(*bytes);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    /// The public key: always canonical, never of low order.
    pub(crate) const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// X25519 with the peer's `public` key; `None` if the result is all zero (RFC 7748 section 6.1).
    pub(crate) fn agree(&self, public: &[u8; 32]) -> Option<Secret> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*public));
        shared.was_contributory().then(|| Secret::new(shared.to_bytes()))
    }
}

/// An expanded AEAD key: 32 bytes or 400. The large one is boxed, so that connections without AES do not pay for it.
/// Wiped on drop.
pub(crate) enum AeadKey {
    /// RFC 8439.
    ChaCha20Poly1305(ChaCha20Poly1305),
    /// NIST SP 800-38D.
    Aes256Gcm(Box<Gcm>),
}

impl AeadKey {
    /// Expands `key` for `suite`.
    pub(crate) fn new(suite: Suite, key: &[u8; 32]) -> Self {
        match suite {
            Suite::ChaCha20Poly1305 => Self::ChaCha20Poly1305(ChaCha20Poly1305::new(key.into())),
            Suite::Aes256Gcm => Self::Aes256Gcm(Box::new(Gcm::new(key.into()))),
        }
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
        let text = InOutBuf::from(text);
        let tag = match self {
            Self::ChaCha20Poly1305(key) => key.encrypt_inout_detached(nonce.into(), aad, text),
            Self::Aes256Gcm(key) => key.encrypt_inout_detached(nonce.into(), aad, text),
        };
        *room = tag.map_err(|_| AeadError)?.into();
        Ok(())
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
        let (len, tag) = (text.len(), (&*tag).into());
        let text = InOutBuf::from(text);
        let opened = match self {
            Self::ChaCha20Poly1305(key) => key.decrypt_inout_detached(nonce.into(), aad, text, tag),
            Self::Aes256Gcm(key) => key.decrypt_inout_detached(nonce.into(), aad, text, tag),
        };
        opened.map(|()| len).map_err(|_| AeadError)
    }
}

/// An expanded key for the masks of sequence fields: 32 bytes or 256. Wiped on drop.
pub(crate) enum MaskKey {
    /// RFC 9001 section 5.4.4: a block of the key stream, its counter and nonce taken from the sample.
    ChaCha20(Zeroizing<[u8; 32]>),
    /// RFC 9001 section 5.4.3: the sample, encrypted.
    Aes256(Box<Aes256Enc>),
}

impl MaskKey {
    /// Expands `key` for `suite`.
    pub(crate) fn new(suite: Suite, key: &[u8; 32]) -> Self {
        match suite {
            Suite::ChaCha20Poly1305 => Self::ChaCha20(Zeroizing::new(*key)),
            Suite::Aes256Gcm => Self::Aes256(Box::new(Aes256Enc::new(key.into()))),
        }
    }

    /// The mask for `sample`, for every sample.
    pub(crate) fn mask(&self, sample: &[u8; SAMPLE_LEN]) -> [u8; MASK_LEN] {
        let [m0, m1, m2, m3, m4, ..] = match self {
            Self::ChaCha20(key) => return chacha20_mask(key, sample),
            Self::Aes256(key) => {
                let mut block = (*sample).into();
                key.encrypt_block(&mut block);
                block.0
            }
        };
        [m0, m1, m2, m3, m4]
    }
}

/// The block function directly, below the crate's stream interface: that one refuses the last block (counter
/// 2^32 - 1), which a sample can name.
fn chacha20_mask(key: &[u8; 32], sample: &[u8; SAMPLE_LEN]) -> [u8; MASK_LEN] {
    let [c0, c1, c2, c3, nonce @ ..] = *sample;
    let mut core = ChaChaCore::<R20, Ietf>::new(key.into(), &nonce.into());
    core.set_block_pos(u32::from_le_bytes([c0, c1, c2, c3]));
    let mut block = Zeroizing::new([0; 64]);
    core.write_keystream_block((&mut *block).into());
    let [m0, m1, m2, m3, m4, ..] = *block;
    [m0, m1, m2, m3, m4]
}

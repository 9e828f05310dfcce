//! The Noise handshakes IX and IK, `25519_ChaChaPoly_BLAKE2s` (The Noise Protocol Framework, revision 34).
//!
//! ```text
//! IX:                              IK:  <- s
//!   -> e, s                             -> e, es, s, ss
//!   <- e, ee, se, s, es                 <- e, ee, se
//! ```
//!
//! The states are types, and each message consumes the state it is made in, so nothing is sealed twice:
//!
//! | type | holds | next |
//! |---|---|---|
//! | [`Initiator`] | nothing sent yet | `write_message_1` -> [`InitiatorSent`] |
//! | [`InitiatorSent`] | what the reply needs | `read_message_2`, by reference: a bad reply changes nothing |
//! | [`KnownStatic`] | an IK message 1 after its first X25519: the claimed key | `read_payload` -> [`Responder`] |
//! | [`Responder`] | a whole message 1 | `write_message_2` |
//!
//! In both patterns every cipher key seals exactly one text (the static key or a payload) before the next `MixKey`, so
//! the nonce is always 0; [`CipherKey`] is consumed by its one use.
//!
//! On the wire an Init carries `e` before the token, and the token is part of the prologue; so message 1 is handled
//! as `e` and the rest.

mod initiator;
mod responder;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::ops::Range;

pub(crate) use initiator::{Initiator, InitiatorSent};
pub(crate) use responder::{KnownStatic, Responder};

use super::Secret;
use super::backend::{AeadKey, SecretKey};
use super::digest::{digest, digest_after};
use super::identity::{Identity, KeyError, PublicKey};
use super::kdf::kdf;
use super::suite::{NONCE_LEN, Suite, TAG_LEN};
use crate::key_log::KeyLog;

/// Length of a public key and of an X25519 output, in bytes (Noise's DHLEN).
pub(crate) const DH_LEN: usize = 32;

/// What IK message 1 adds to its payload, `e` included: `e`, the sealed static key, the payload's tag; in bytes.
pub(crate) const IK_MESSAGE_1_OVERHEAD: usize = DH_LEN + SEALED_KEY_LEN + TAG_LEN;
/// What IX message 1 adds to its payload: `e` and the static key in clear; in bytes.
pub(crate) const IX_MESSAGE_1_OVERHEAD: usize = DH_LEN + DH_LEN;
/// What IK message 2 adds to its payload: `e` and a tag; in bytes.
pub(crate) const IK_MESSAGE_2_OVERHEAD: usize = DH_LEN + TAG_LEN;
/// What IX message 2 adds to its payload: `e`, the sealed static key, a tag; in bytes.
pub(crate) const IX_MESSAGE_2_OVERHEAD: usize = DH_LEN + SEALED_KEY_LEN + TAG_LEN;

/// Length of a static key under encryption.
pub(crate) const SEALED_KEY_LEN: usize = DH_LEN + TAG_LEN;

/// The prologue of the native wire (docs/PROTOCOL.md, "Handshake"): `"dunlin/1"` · first byte · routing id · token
/// length · token. `header` is the Init's first 9 bytes, `token` the length byte and the token behind it, both as they
/// stand on the wire.
pub(crate) const fn prologue<'a>(header: &'a [u8; 9], token: &'a [u8]) -> [&'a [u8]; 3] {
    [b"dunlin/1", header, token]
}

/// A handshake pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pattern {
    /// The responder's key is not known beforehand.
    Ix,
    /// The responder's key is known beforehand.
    Ik,
}

impl Pattern {
    const fn protocol_name(self) -> &'static [u8] {
        match self {
            Self::Ix => b"Noise_IX_25519_ChaChaPoly_BLAKE2s",
            Self::Ik => b"Noise_IK_25519_ChaChaPoly_BLAKE2s",
        }
    }
}

/// Why a handshake message is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NoiseError {
    /// Too short for its pattern.
    #[error("the handshake message is too short")]
    TooShort,
    /// A public key in it is not acceptable.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// An X25519 gave zero.
    #[error("a shared secret is zero")]
    ZeroSecret,
    /// It is not authentic.
    #[error("the handshake message does not open")]
    NotAuthentic,
    /// Its static key is our own.
    #[error("the peer's key is our own")]
    OwnKey,
}

/// Whether a peer may have our own static key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OwnKey {
    /// It may not: reflected handshakes end here.
    Refuse,
    /// It may: an endpoint that talks to itself.
    Allow,
}

/// Our side of a handshake: what every step needs and no state keeps.
pub(crate) struct Party<'a> {
    /// Who we are.
    pub(crate) identity: &'a Identity,
    /// What to do about a peer with our own key.
    pub(crate) own_key: OwnKey,
    /// Counts the X25519 agreements, failed ones too (making an ephemeral key is not counted).
    pub(crate) agreements: &'a mut u64,
    /// Where what opens the payloads goes, if the application asked for it.
    pub(crate) key_log: &'a mut KeyLog,
}

impl Party<'_> {
    /// Refuses our own key as a peer's, unless it is allowed.
    fn check_static(&self, key: &PublicKey) -> Result<(), NoiseError> {
        match self.own_key {
            OwnKey::Refuse if key == self.identity.public() => Err(NoiseError::OwnKey),
            _ => Ok(()),
        }
    }

    /// X25519 of our static key with `public`.
    fn agree_static(&mut self, public: &PublicKey) -> Result<Secret, NoiseError> {
        self.agree(self.identity.key(), public)
    }

    /// X25519 of `secret` with `public`.
    fn agree(&mut self, secret: &SecretKey, public: &PublicKey) -> Result<Secret, NoiseError> {
        *self.agreements = self.agreements.saturating_add(1);
        secret.agree(public.as_bytes()).ok_or(NoiseError::ZeroSecret)
    }
}

/// A finished handshake: proof that the other side holds `remote_static`, as far as the pattern gives it, and the
/// secrets that everything else is derived from. Wiped on drop.
pub(crate) struct Finished {
    /// The initiator's direction: the first output of Noise's `Split`.
    pub(crate) initiator: Secret,
    /// The responder's direction: the second output of Noise's `Split`.
    pub(crate) responder: Secret,
    /// The third output of the same `HKDF`: the root of exported secrets.
    pub(crate) exporter: Secret,
    /// Noise's `h`: the same on both sides and unique to this handshake.
    pub(crate) hash: [u8; 32],
    /// The peer's static key.
    pub(crate) remote_static: PublicKey,
}

/// A cipher key for one text, made by `MixKey`.
struct CipherKey(Secret);

impl CipherKey {
    fn aead(self) -> AeadKey {
        AeadKey::new(Suite::ChaCha20Poly1305, &self.0)
    }
}

/// Noise's `SymmetricState` without the cipher key.
#[derive(Clone)]
struct Symmetric {
    chaining_key: Secret,
    hash: [u8; 32],
}

impl Symmetric {
    /// `InitializeSymmetric` and the prologue, joined from its parts.
    fn new(pattern: Pattern, prologue: &[&[u8]]) -> Self {
        // The name is longer than HASHLEN, so it is hashed (section 5.2).
        let name = digest(&[pattern.protocol_name()]);
        let mut symmetric = Self { chaining_key: Secret::new(name), hash: name };
        symmetric.mix_hash(prologue);
        symmetric
    }

    /// `MixHash` over the joined `parts`.
    fn mix_hash(&mut self, parts: &[&[u8]]) {
        self.hash = digest_after(&self.hash, parts);
    }

    /// `MixKey`.
    fn mix_key(&mut self, secret: &Secret) -> CipherKey {
        let [chaining_key, key] = kdf(&self.chaining_key, &[&secret[..]]);
        self.chaining_key = chaining_key;
        CipherKey(key)
    }

    /// `EncryptAndHash`, appending to `out`.
    fn seal(&mut self, key: CipherKey, text: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        let start = out.len();
        out.extend_from_slice(text);
        out.extend_from_slice(&[0; TAG_LEN]);
        let sealed = out.get_mut(start..).unwrap_or_default();
        key.aead().seal(&[0; NONCE_LEN], &self.hash, sealed).map_err(|_| NoiseError::TooShort)?;
        self.mix_hash(&[sealed]);
        Ok(())
    }

    /// [`Self::seal`] of the payload of the message with this `e`.
    fn seal_payload(
        &mut self,
        party: &mut Party<'_>,
        e: &[u8; DH_LEN],
        key: CipherKey,
        text: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), NoiseError> {
        party.key_log.message(e, &key.0, &self.hash);
        self.seal(key, text, out)
    }

    /// [`Self::open`] of the payload of the message with this `e`.
    fn open_payload(
        &mut self,
        party: &mut Party<'_>,
        e: &[u8; DH_LEN],
        key: CipherKey,
        sealed: &mut [u8],
    ) -> Result<usize, NoiseError> {
        let (secret, hash) = (key.0.clone(), self.hash);
        let len = self.open(key, sealed)?;
        party.key_log.message(e, &secret, &hash);
        Ok(len)
    }

    /// `DecryptAndHash` in place: returns the length of the text at the start of `sealed`.
    fn open(&mut self, key: CipherKey, sealed: &mut [u8]) -> Result<usize, NoiseError> {
        let before = self.hash;
        self.mix_hash(&[sealed]);
        key.aead().open(&[0; NONCE_LEN], &before, sealed).map_err(|_| NoiseError::NotAuthentic)
    }

    /// `DecryptAndHash` of a static key, which must be acceptable to `party`.
    fn open_static(
        &mut self,
        key: CipherKey,
        sealed: &[u8; SEALED_KEY_LEN],
        party: &Party<'_>,
    ) -> Result<PublicKey, NoiseError> {
        let mut text = *sealed;
        self.open(key, &mut text)?;
        let [bytes @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = text;
        let public = PublicKey::from_bytes(bytes)?;
        party.check_static(&public)?;
        Ok(public)
    }

    /// `Split`, with a third output for the exporter.
    fn finish(self, remote_static: PublicKey) -> Finished {
        let [initiator, responder, exporter] = kdf(&self.chaining_key, &[]);
        Finished { initiator, responder, exporter, hash: self.hash, remote_static }
    }
}

/// Opens the payload of a handshake message in place, with the key and the handshake hash that it was sealed with, as the
/// key log has them. Returns the length of the text at the start of `sealed`.
///
/// # Errors
/// [`NoiseError::NotAuthentic`].
pub(crate) fn open_logged(key: &Secret, hash: &[u8; 32], sealed: &mut [u8]) -> Result<usize, NoiseError> {
    let aead = CipherKey(key.clone()).aead();
    aead.open(&[0; NONCE_LEN], hash, sealed).map_err(|_| NoiseError::NotAuthentic)
}

/// The first `N` bytes of a message and where the rest starts.
fn split_key<const N: usize>(message: &mut [u8]) -> Result<(&mut [u8; N], &mut [u8]), NoiseError> {
    message.split_first_chunk_mut().ok_or(NoiseError::TooShort)
}

/// The range of a payload of `len` bytes that starts at `start`.
const fn payload_range(start: usize, len: usize) -> Range<usize> {
    start..start.saturating_add(len)
}

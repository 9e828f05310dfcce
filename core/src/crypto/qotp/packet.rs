//! The protection of QOTP's packets, in place (QOTP v0.2.19; docs/PROTOCOL.md, "QOTP").
//!
//! ```text
//! clear header(9 to 73) · number(6) · payload(8 or more) · tag(16)
//! ```
//!
//! The payload is sealed first: ChaCha20-Poly1305 with the clear header as associated data. Then the number is
//! encrypted: XChaCha20 under the same key, its nonce the 24 bytes behind the number. The epoch is not on the wire; a
//! receiver tries the ones that it [expects](Epochs).

use core::fmt;
use core::ops::Range;

use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};

use crate::Role;
use crate::crypto::Secret;
use crate::crypto::backend::{AeadError, AeadKey, SecretKey};
use crate::crypto::suite::{NONCE_LEN, Suite, TAG_LEN};

/// Length of the encrypted number, in bytes.
pub(crate) const NUMBER_LEN: usize = 6;
const NUMBER_BITS: u32 = 48;
/// The shortest payload, in bytes: with its tag it fills the nonce of the number's encryption.
pub(crate) const MIN_PAYLOAD: usize = NUMBER_NONCE_LEN - TAG_LEN;
/// Length of an XChaCha20 nonce, in bytes (draft-irtf-cfrg-xchacha-03 section 2.3).
const NUMBER_NONCE_LEN: usize = 24;
/// Length of a ChaCha20 block, in bytes (RFC 8439 section 2.3). Block 0 makes a Poly1305 key, the number takes block 1.
const BLOCK_LEN: usize = 64;
/// The bit of the nonce's first byte that packets of the initiator have set.
const FROM_INITIATOR: u8 = 0x80;

/// Where a packet stands in its direction, and so its nonce: no two packets under one key may share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Sequence {
    /// How often the number has begun again from 0. At most [`Self::MAX_EPOCH`].
    pub(crate) epoch: u64,
    /// Packets before this one in the epoch. At most [`Self::MAX_NUMBER`].
    pub(crate) number: u64,
}

impl Sequence {
    /// The first packet's.
    pub(crate) const FIRST: Self = Self { epoch: 0, number: 0 };
    /// The largest number: 6 bytes.
    pub(crate) const MAX_NUMBER: u64 = (1 << NUMBER_BITS) - 1;
    /// The largest epoch: QOTP counts 47 bits.
    pub(crate) const MAX_EPOCH: u64 = (1 << 47) - 1;
    /// The last epoch to send in. The direction takes bit 7 of the epoch, so that 128 has the nonces of 0 again.
    pub(crate) const LAST_SENT_EPOCH: u64 = 127;

    /// The `count`-th packet's, from 0; `None` when every nonce of the key is used up.
    #[must_use]
    pub(crate) const fn of(count: u64) -> Option<Self> {
        let epoch = count >> NUMBER_BITS;
        if epoch > Self::LAST_SENT_EPOCH {
            None
        } else {
            Some(Self { epoch, number: count & Self::MAX_NUMBER })
        }
    }

    /// The nonce of a packet from this side: epoch, then number, both little-endian; bit 7 of the first byte says who
    /// sends, whatever the epoch has there.
    pub(super) const fn nonce(self, from: Role) -> [u8; NONCE_LEN] {
        let [e0, e1, e2, e3, e4, e5, ..] = self.epoch.to_le_bytes();
        let [n0, n1, n2, n3, n4, n5] = number_bytes(self.number);
        let e0 = match from {
            Role::Initiator => e0 | FROM_INITIATOR,
            Role::Responder => e0 & !FROM_INITIATOR,
        };
        [e0, e1, e2, e3, e4, e5, n0, n1, n2, n3, n4, n5]
    }
}

/// The low 48 bits, little-endian.
const fn number_bytes(number: u64) -> [u8; NUMBER_LEN] {
    let [n0, n1, n2, n3, n4, n5, ..] = number.to_le_bytes();
    [n0, n1, n2, n3, n4, n5]
}

/// The epochs that a receiver expects Data packets in.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Epochs {
    current: u64,
}

impl Epochs {
    /// What handshake packets are opened with: they are sealed with the first, and the reference tries the second too.
    pub(crate) const HANDSHAKE: [u64; 2] = [0, 1];

    /// The current epoch, the one before and the one after, where there are such, in the order to try them.
    pub(crate) fn candidates(self) -> impl Iterator<Item = u64> {
        let before = self.current.checked_sub(1);
        let after = self.current.checked_add(1).filter(|after| *after <= Sequence::MAX_EPOCH);
        [Some(self.current), before, after].into_iter().flatten()
    }

    /// A packet of this epoch has opened: moves up, never down.
    pub(crate) fn on_opened(&mut self, epoch: u64) {
        self.current = self.current.max(epoch);
    }
}

/// The key of a connection, or of a first packet, for both layers and both directions: a plain X25519 result. Wiped on
/// drop.
pub(crate) struct PacketKey {
    /// Seals. Opening needs a cipher that leaves alone what it cannot open.
    sealer: AeadKey,
    secret: Secret,
}

impl PacketKey {
    /// X25519 of `own` and the peer's public key; `None` if the result is all zero.
    pub(crate) fn agree(own: &SecretKey, peer: &[u8; 32]) -> Option<Self> {
        own.agree(peer).map(Self::new)
    }

    /// The key of this shared secret.
    pub(crate) fn new(secret: Secret) -> Self {
        Self { sealer: AeadKey::new(Suite::ChaCha20Poly1305, &secret), secret }
    }

    /// The same, for tests.
    #[cfg(test)]
    pub(crate) fn from_shared(secret: [u8; 32]) -> Self {
        Self::new(Secret::new(secret))
    }

    /// The shared secret.
    pub(crate) const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Encrypts or decrypts the number that stands before `body`, a ciphertext with its tag.
    fn crypt_number(&self, number: &mut [u8; NUMBER_LEN], body: &[u8]) -> Result<(), AeadError> {
        let nonce: &[u8; NUMBER_NONCE_LEN] = body.first_chunk().ok_or(AeadError)?;
        let mut stream = XChaCha20::new((&*self.secret).into(), nonce.into());
        stream.try_seek(BLOCK_LEN).map_err(|_| AeadError)?;
        stream.try_apply_keystream(number).map_err(|_| AeadError)
    }

    /// Opens `body`, a ciphertext with its tag, in place. On failure it is as it was: the tag is checked before
    /// anything is decrypted. That is a property of this implementation (`tests.rs` holds it to that) and not of every other, so
    /// it is the same one whatever the features say.
    fn open(&self, nonce: &[u8; NONCE_LEN], header: &[u8], body: &mut [u8]) -> Result<(), AeadError> {
        let (text, tag) = body.split_last_chunk_mut::<TAG_LEN>().ok_or(AeadError)?;
        let cipher = ChaCha20Poly1305::new((&*self.secret).into());
        let text = InOutBuf::from(text);
        cipher.decrypt_inout_detached(nonce.into(), header, text, (&*tag).into()).map_err(|_| AeadError)
    }
}

impl fmt::Debug for PacketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketKey").finish_non_exhaustive()
    }
}

/// Seals `packet` in place: `clear` bytes of header, room for the number, plaintext, room for the tag.
///
/// # Errors
/// The plaintext is shorter than [`MIN_PAYLOAD`], or `sequence` is beyond what the wire has; the packet is then
/// unusable.
pub(crate) fn seal(
    key: &PacketKey,
    from: Role,
    sequence: Sequence,
    clear: usize,
    packet: &mut [u8],
) -> Result<(), AeadError> {
    if sequence.epoch > Sequence::MAX_EPOCH || sequence.number > Sequence::MAX_NUMBER {
        return Err(AeadError);
    }
    let (header, number, body) = split(packet, clear)?;
    key.sealer.seal(&sequence.nonce(from), header, body)?;
    *number = number_bytes(sequence.number);
    key.crypt_number(number, body)
}

/// Opens `packet`, which `from` has sent, in place, with the first of `epochs` that fits. Returns that epoch with the
/// packet's number, and where the payload stands. Header, number and tag stay as they are.
///
/// # Errors
/// Too short, or sealed otherwise. The packet is then as it was.
pub(crate) fn open(
    key: &PacketKey,
    from: Role,
    epochs: impl IntoIterator<Item = u64>,
    clear: usize,
    packet: &mut [u8],
) -> Result<(Sequence, Range<usize>), AeadError> {
    let end = packet.len().saturating_sub(TAG_LEN);
    let (header, number, body) = split(packet, clear)?;
    let mut plain = *number;
    key.crypt_number(&mut plain, body)?;
    let [n0, n1, n2, n3, n4, n5] = plain;
    let number = u64::from_le_bytes([n0, n1, n2, n3, n4, n5, 0, 0]);
    for epoch in epochs {
        let sequence = Sequence { epoch, number };
        if key.open(&sequence.nonce(from), header, body).is_ok() {
            return Ok((sequence, clear.saturating_add(NUMBER_LEN)..end));
        }
    }
    Err(AeadError)
}

/// The parts of a packet: clear header, number, payload with tag.
type Parts<'a> = (&'a mut [u8], &'a mut [u8; NUMBER_LEN], &'a mut [u8]);

/// `packet` in its parts, if its payload is not too short.
fn split(packet: &mut [u8], clear: usize) -> Result<Parts<'_>, AeadError> {
    let (header, rest) = packet.split_at_mut_checked(clear).ok_or(AeadError)?;
    let (number, body) = rest.split_first_chunk_mut().ok_or(AeadError)?;
    if body.len() < MIN_PAYLOAD + TAG_LEN { Err(AeadError) } else { Ok((header, number, body)) }
}

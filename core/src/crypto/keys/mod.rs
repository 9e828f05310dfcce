//! The key schedule of Data packets (docs/PROTOCOL.md, "Keys and protection").
//!
//! ```text
//! (c_i, c_r, exporter)     = KDF(ck, "", 3)                                (in `noise`)
//! (secret_0, sequence_key) = KDF(c, "dunlin/1 data" · suite(1), 2)         for each direction
//! (key_n, iv_n)            = KDF(secret_n, "dunlin/1 key", 2)              the IV cut to 12 bytes
//! secret_(n+1)             = KDF(secret_n, "dunlin/1 next", 1)             secret_n is wiped then
//! ```
//!
//! [`Sealer`] and [`Opener`] own one direction each and ratchet on their own; the phase on the wire is the generation n
//! modulo 4.

mod opener;
mod pace;
mod sealer;
#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

pub(crate) use opener::{OpenError, Opener};
pub(crate) use sealer::{SealError, Sealer};

use super::Secret;
use super::backend::{AeadKey, MaskKey};
use super::kdf::kdf;
use super::noise::Finished;
use super::suite::{NONCE_LEN, Suite};
use crate::{Duration, Instant, PacketNumber, PathId, Role};

/// Phases that the wire can tell apart.
const PHASES: u64 = 4;

/// Keys are kept, and phases last at least, this many of the largest probe timeout (RFC 9001 section 6.5).
const PROBE_TIMEOUTS: u32 = 3;

/// A sender changes its keys after this time.
const ROTATE_EVERY: Duration = Duration::from_secs(3600);
/// The shortest time that can be set instead.
const LEAST_ROTATION: Duration = Duration::from_secs(1);

/// Longest label that [`Exporter::export`] takes, in bytes: its length is one byte.
pub(crate) const MAX_LABEL_LEN: usize = 255;

/// Generations that a connection derives at first: one of its sender, two of its receiver.
pub(crate) const DERIVED: u64 = 3;

/// A key phase as the wire has it: the generation of the keys modulo 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct KeyPhase(u8);

impl KeyPhase {
    /// The phase of the keys' `generation`.
    pub(crate) const fn of(generation: u64) -> Self {
        Self((generation % PHASES) as u8)
    }

    /// The phase in the two low bits of `bits`.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self::of(bits as u64)
    }

    /// The number, 0 to 3.
    pub(crate) const fn get(self) -> u8 {
        self.0
    }
}

/// When something happens, as key phases see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Now.
    pub(crate) now: Instant,
    /// The largest probe timeout of all paths.
    pub(crate) pto: Duration,
}

impl Timing {
    /// Three probe timeouts.
    const fn span(&self) -> Duration {
        self.pto.saturating_mul(PROBE_TIMEOUTS)
    }
}

/// How far a key may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyLimits {
    /// Packets, over all paths, after which the sender wants new keys.
    rotate_after: u64,
    /// Time after which the sender wants new keys, if it has sent anything that was acknowledged, in milliseconds.
    rotate_every: u32,
    /// Packets, over all paths, that one key ever seals.
    seal: u64,
    /// Time that a phase of the peer lasts at least, on average, in microseconds.
    least_phase: u32,
    /// Packets of a connection's life that may fail to open.
    failed_opens: u64,
}

impl KeyLimits {
    /// The limits of `suite`: AES-256-GCM rotates at 2^22 and never seals beyond 2^23 packets (the confidentiality
    /// limit of RFC 9001 section 6.6); ChaCha20-Poly1305 rotates at 2^32. The latter needs no further limit (ibid.);
    /// it gets the same margin. Failed opens end the connection at 2^36 (the integrity limit of ChaCha20-Poly1305,
    /// ibid.; that of AES-256-GCM is larger). Both rotate after an hour with traffic, so that who learns a key reads no
    /// more than that.
    pub(crate) const fn of(suite: Suite) -> Self {
        let rotate_after = match suite {
            Suite::ChaCha20Poly1305 => 1 << 32,
            Suite::Aes256Gcm => 1 << 22,
        };
        Self {
            rotate_after,
            rotate_every: ROTATE_EVERY.as_millis() as u32,
            seal: rotate_after.saturating_mul(2),
            least_phase: pace::LEAST_PHASE,
            failed_opens: 1 << 36,
        }
    }

    /// The same with rotation after `packets` at the latest; more than the suite's limit, or 0, changes nothing.
    pub(crate) const fn rotate_after(mut self, packets: u64) -> Self {
        if packets != 0 && packets < self.rotate_after {
            self.rotate_after = packets;
        }
        self
    }

    /// The same with rotation after `time` at the latest; more than an hour changes nothing, and less than a second is a
    /// second.
    pub(crate) fn rotate_every(mut self, time: Duration) -> Self {
        self.rotate_every = time.clamp(LEAST_ROTATION, ROTATE_EVERY).as_millis() as u32;
        self
    }

    /// The same for a reader of captures: the peer may change its keys as often as it likes, because nobody knows when its
    /// packets were received.
    pub(crate) const fn at_any_pace(mut self) -> Self {
        self.least_phase = 0;
        self
    }

    /// Packets after which a sender no longer waits for three probe timeouts: half way to the last.
    const fn pressing(&self) -> u64 {
        self.rotate_after.midpoint(self.seal)
    }
}

/// Both directions' keys of generation 0, for the end `role`.
pub(crate) fn data_keys(
    finished: &Finished,
    role: Role,
    suite: Suite,
    limits: KeyLimits,
    now: Instant,
) -> (Sealer, Opener) {
    let (send, receive) = match role {
        Role::Initiator => (&finished.initiator, &finished.responder),
        Role::Responder => (&finished.responder, &finished.initiator),
    };
    (Sealer::new(suite, send, limits, now), Opener::new(suite, receive, limits))
}

/// `secret_0` and the expanded sequence key of one direction.
fn direction(suite: Suite, chain: &Secret) -> (Secret, MaskKey) {
    let [secret, sequence_key] = kdf(chain, &[b"dunlin/1 data", &[suite.id()]]);
    (secret, MaskKey::new(suite, &sequence_key))
}

/// The raw keys of one generation and the secret of the next.
struct Generation {
    key: Secret,
    iv: Zeroizing<[u8; NONCE_LEN]>,
    successor: Secret,
}

impl Generation {
    /// Generation n from `secret_n`, which is wiped.
    fn derive(secret: Secret) -> Self {
        let [key, iv] = kdf(&secret, &[b"dunlin/1 key"]);
        let [successor] = kdf(&secret, &[b"dunlin/1 next"]);
        let [iv @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *iv;
        Self { key, iv: Zeroizing::new(iv), successor }
    }

    /// The keys, ready for use.
    fn expand(&self, suite: Suite) -> PacketKey {
        PacketKey { aead: AeadKey::new(suite, &self.key), iv: self.iv.clone() }
    }
}

/// The expanded keys of one generation.
struct PacketKey {
    aead: AeadKey,
    iv: Zeroizing<[u8; NONCE_LEN]>,
}

impl PacketKey {
    /// iv xor (path id, 32 bits · full packet number, 64 bits, big-endian).
    fn nonce(&self, path: PathId, number: PacketNumber) -> [u8; NONCE_LEN] {
        let position = u128::from(path.get()) << 64 | u128::from(number.get());
        let [_, _, _, _, position @ ..] = position.to_be_bytes();
        let mut nonce = *self.iv;
        for (byte, position) in nonce.iter_mut().zip(position) {
            *byte ^= position;
        }
        nonce
    }
}

/// Why there is no exported secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an export label has at most {MAX_LABEL_LEN} bytes")]
pub struct LabelTooLong;

/// Makes secrets for other protocols that both ends, and nobody else, can compute. To be used after confirmation.
pub(crate) struct Exporter {
    secret: Secret,
    handshake_hash: [u8; 32],
}

impl Exporter {
    /// The exporter of a handshake.
    pub(crate) fn new(finished: &Finished) -> Self {
        Self { secret: finished.exporter.clone(), handshake_hash: finished.hash }
    }

    /// Noise's `h`: the same at both ends and unique to the handshake, a channel binding.
    pub(crate) const fn handshake_hash(&self) -> &[u8; 32] {
        &self.handshake_hash
    }

    /// `KDF(exporter, h · len(label)(1) · label · context, 1)`.
    ///
    /// # Errors
    /// If `label` is longer than 255 bytes.
    pub(crate) fn export(&self, label: &[u8], context: &[u8]) -> Result<Secret, LabelTooLong> {
        let len = u8::try_from(label.len()).map_err(|_| LabelTooLong)?;
        let [secret] = kdf(&self.secret, &[&self.handshake_hash, &[len], label, context]);
        Ok(secret)
    }
}

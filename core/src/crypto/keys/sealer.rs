//! The keys of the direction in which we send.

use super::{Generation, KeyLimits, KeyPhase, PacketKey, Timing, direction};
use crate::crypto::Secret;
use crate::crypto::backend::{MASK_LEN, MaskKey, SAMPLE_LEN};
use crate::crypto::suite::Suite;
use crate::{Duration, Instant, PacketNumber, PathId};

/// Why a packet was not sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SealError {
    /// This key must not be used any more, and the peer has not let us rotate.
    #[error("the packet limit of the key is reached")]
    LimitReached,
    /// Shorter than the shortest Data packet.
    #[error("the packet is too short")]
    TooShort,
}

/// Seals the packets of one direction and decides when its keys rotate.
pub(crate) struct Sealer {
    suite: Suite,
    mask: MaskKey,
    key: PacketKey,
    /// The secret of the next generation.
    successor: Secret,
    generation: u64,
    /// When this generation began.
    entered: Instant,
    /// Packets sealed in this generation, over all paths.
    sealed: u64,
    /// Whether the peer has shown that it has this generation's keys.
    progress: Progress,
    limits: KeyLimits,
}

/// How far the current generation has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// No packet of it has been acknowledged.
    Entered,
    /// One has.
    Acknowledged,
}

impl Sealer {
    /// Generation 0 of the direction whose Noise chaining key is `chain`.
    pub(super) fn new(suite: Suite, chain: &Secret, limits: KeyLimits, now: Instant) -> Self {
        let (secret, mask) = direction(suite, chain);
        let first = Generation::derive(secret);
        Self {
            suite,
            mask,
            key: first.expand(suite),
            successor: first.successor,
            generation: 0,
            entered: now,
            sealed: 0,
            progress: Progress::Entered,
            limits,
        }
    }

    /// The suite.
    pub(crate) const fn suite(&self) -> Suite {
        self.suite
    }

    /// The phase of the next packet, to be remembered with it for [`Self::on_acked`].
    pub(crate) const fn phase(&self) -> KeyPhase {
        KeyPhase::of(self.generation)
    }

    /// How many times the keys have rotated.
    pub(crate) const fn rotations(&self) -> u64 {
        self.generation
    }

    /// Notes that a Data packet was acknowledged that was `sent` then, sealed in `phase`. An older one than this
    /// generation may have the same phase: on a path that answers late it is acknowledged four generations on.
    ///
    /// The handshake's packet 0 has no phase and does not count. Any other ack comes in a Data packet that has opened,
    /// so it confirms the handshake too: no rotation before confirmation needs no rule of its own.
    pub(crate) fn on_acked(&mut self, phase: KeyPhase, sent: Instant) {
        if phase == self.phase() && sent >= self.entered {
            self.progress = Progress::Acknowledged;
        }
    }

    /// Enters the next phase if it is time, and says whether it did. To be called before packets are built.
    ///
    /// It is time when the packets of this phase are many enough or its age is, the peer has acknowledged one of them, and three
    /// probe timeouts have passed since the phase began (so that the receiver has forgotten the phase before last);
    /// half way from there to the packet limit the third condition is dropped.
    pub(crate) fn rotate_if_due(&mut self, timing: Timing) -> bool {
        let age = timing.now.saturating_since(self.entered);
        let lasted = age >= timing.span();
        let due = (self.sealed >= self.limits.rotate_after
            || age >= Duration::from_millis(self.limits.rotate_every.into()))
            && self.progress == Progress::Acknowledged
            && (lasted || self.sealed >= self.limits.pressing());
        if due {
            self.rotate(timing.now);
        }
        due
    }

    /// Enters the next phase, due or not.
    pub(crate) fn rotate(&mut self, now: Instant) {
        let secret = self.successor.take();
        let next = Generation::derive(secret);
        self.key = next.expand(self.suite);
        self.successor = next.successor;
        self.generation = self.generation.saturating_add(1);
        self.entered = now;
        self.sealed = 0;
        self.progress = Progress::Entered;
    }

    /// Seals `body`, a plaintext with room for the tag behind it.
    pub(in crate::crypto) fn seal(
        &mut self,
        path: PathId,
        number: PacketNumber,
        aad: &[u8],
        body: &mut [u8],
    ) -> Result<(), SealError> {
        if self.sealed >= self.limits.seal {
            return Err(SealError::LimitReached);
        }
        self.sealed = self.sealed.saturating_add(1);
        let nonce = self.key.nonce(path, number);
        self.key.aead.seal(&nonce, aad, body).map_err(|_| SealError::TooShort)
    }

    /// The mask of a sequence field.
    pub(in crate::crypto) fn mask(&self, sample: &[u8; SAMPLE_LEN]) -> [u8; MASK_LEN] {
        self.mask.mask(sample)
    }
}

//! The keys of the direction in which we receive: previous, current and next.

use alloc::boxed::Box;

use smallvec::SmallVec;

use super::pace::Pace;
use super::{Generation, KeyLimits, KeyPhase, PacketKey, Timing, direction};
use crate::crypto::Secret;
use crate::crypto::backend::{MASK_LEN, MaskKey, SAMPLE_LEN};
use crate::crypto::packet::Numbered;
use crate::crypto::suite::Suite;
use crate::{Instant, PacketNumber, PathId};

/// Why a packet was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OpenError {
    /// Shorter than the shortest Data packet: drop it.
    #[error("the packet is too short")]
    TooShort,
    /// In a phase whose keys are gone, or not yet made, or that comes too soon: drop it.
    #[error("the packet's key phase is not one of previous, current and next")]
    UnknownPhase,
    /// It is not authentic: drop it.
    #[error("the packet does not open")]
    NotAuthentic,
    /// It opened, but the peer has mixed up its key phases: close the connection.
    #[error("a packet of an older key phase has a higher number than one of a newer")]
    PhaseOrder,
    /// Too many packets have failed to open: end the connection silently.
    #[error("too many packets failed to open")]
    IntegrityLimit,
}

/// Opens the packets of one direction and follows the sender's key phases.
pub(crate) struct Opener {
    suite: Suite,
    mask: MaskKey,
    generation: u64,
    current: PacketKey,
    /// The next generation, derived in advance.
    next: Generation,
    /// Its keys, from the first packet on that claims to be sealed with them: forged ones do so again and again. Boxed,
    /// because most of the time there are none.
    next_key: Option<Box<PacketKey>>,
    pace: Pace,
    /// Boxed, because most of the time there is none.
    previous: Option<Box<Previous>>,
    failed: u64,
    failed_limit: u64,
}

/// What is left of the generation before the current one.
struct Previous {
    key: PacketKey,
    /// When it goes.
    expires: Instant,
    /// For each path on which packets of the current generation have come: where the two meet. At most 64 entries,
    /// one for each path id.
    borders: SmallVec<[Border; 2]>,
}

/// The border between two phases in the numbers of a path.
struct Border {
    path: PathId,
    /// The highest number opened on the path with older keys.
    older: Option<PacketNumber>,
    /// The lowest number opened on the path with newer keys.
    newer: PacketNumber,
}

impl Border {
    fn check(&self) -> Result<(), OpenError> {
        if self.older.is_some_and(|older| older > self.newer) { Err(OpenError::PhaseOrder) } else { Ok(()) }
    }
}

impl Previous {
    /// Notes a packet opened with this generation's keys.
    fn on_older(&mut self, packet: &Numbered) -> Result<(), OpenError> {
        match self.borders.iter_mut().find(|border| border.path == packet.path) {
            Some(border) => {
                border.older = border.older.max(Some(packet.number));
                border.check()
            }
            // Nothing newer has come on this path.
            None => Ok(()),
        }
    }

    /// Notes a packet opened with the current generation's keys.
    fn on_newer(&mut self, packet: &Numbered) -> Result<(), OpenError> {
        if let Some(border) = self.borders.iter_mut().find(|border| border.path == packet.path) {
            border.newer = border.newer.min(packet.number);
            return border.check();
        }
        // The first of the path: all that came before it had older keys.
        let border = Border { path: packet.path, older: packet.highest, newer: packet.number };
        let result = border.check();
        self.borders.push(border);
        result
    }
}

/// The keys that a phase stands for.
enum Keys {
    Previous,
    Current,
    Next,
}

impl Opener {
    /// Generation 0 of the direction whose Noise chaining key is `chain`.
    pub(crate) fn new(suite: Suite, chain: &Secret, limits: KeyLimits) -> Self {
        let (secret, mask) = direction(suite, chain);
        let first = Generation::derive(secret);
        Self {
            suite,
            mask,
            generation: 0,
            current: first.expand(suite),
            next: Generation::derive(first.successor),
            next_key: None,
            pace: Pace::new(limits.least_phase),
            previous: None,
            failed: 0,
            failed_limit: limits.failed_opens,
        }
    }

    /// The phase of the current keys.
    pub(crate) const fn phase(&self) -> KeyPhase {
        KeyPhase::of(self.generation)
    }

    /// Makes the next generation current although no packet has shown it, and forgets the others: for a reader that did
    /// not see all packets.
    pub(crate) fn skip(&mut self) {
        let secret = self.next.successor.take();
        let next = core::mem::replace(&mut self.next, Generation::derive(secret));
        self.current = next.expand(self.suite);
        self.next_key = None;
        self.generation = self.generation.wrapping_add(1);
        self.previous = None;
    }

    /// How many times the keys have rotated.
    #[cfg(test)]
    pub(crate) const fn rotations(&self) -> u64 {
        self.generation
    }

    /// Packets that failed to open.
    pub(crate) const fn failed(&self) -> u64 {
        self.failed
    }

    /// When the previous generation's keys go, if there are any.
    #[cfg(test)]
    pub(crate) fn previous_expires(&self) -> Option<Instant> {
        self.previous.as_ref().map(|previous| previous.expires)
    }

    /// Drops the previous generation's keys if their time has come. [`Self::open`] does so too.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.previous.take_if(|previous| previous.expires <= now);
    }

    /// Opens `body`, a ciphertext with its tag, in place, with the one key that the packet's phase names. Returns the
    /// length of the plaintext.
    pub(in crate::crypto) fn open(
        &mut self,
        packet: &Numbered,
        aad: &[u8],
        body: &mut [u8],
        timing: Timing,
    ) -> Result<usize, OpenError> {
        if self.failed >= self.failed_limit {
            return Err(OpenError::IntegrityLimit);
        }
        self.expire(timing.now);
        let opened = match self.keys(packet.phase) {
            None => return Err(OpenError::UnknownPhase),
            Some(Keys::Current) => {
                let opened = try_open(&self.current, packet, aad, body);
                match &mut self.previous {
                    Some(previous) => opened.and_then(|len| previous.on_newer(packet).map(|()| len)),
                    None => opened,
                }
            }
            Some(Keys::Previous) => match &mut self.previous {
                Some(previous) => try_open(&previous.key, packet, aad, body)
                    .and_then(|len| previous.on_older(packet).map(|()| len)),
                None => return Err(OpenError::UnknownPhase),
            },
            Some(Keys::Next) => {
                if !self.pace.allows(timing.now) {
                    return Err(OpenError::UnknownPhase);
                }
                let key = self.next_key.get_or_insert_with(|| Box::new(self.next.expand(self.suite)));
                try_open(key, packet, aad, body)
                    .and_then(|len| self.rotate(timing).on_newer(packet).map(|()| len))
            }
        };
        if opened == Err(OpenError::NotAuthentic) {
            self.failed = self.failed.saturating_add(1);
            if self.failed >= self.failed_limit {
                return Err(OpenError::IntegrityLimit);
            }
        }
        opened
    }

    /// The mask of a sequence field.
    pub(in crate::crypto) fn mask(&self, sample: &[u8; SAMPLE_LEN]) -> [u8; MASK_LEN] {
        self.mask.mask(sample)
    }

    fn keys(&self, phase: KeyPhase) -> Option<Keys> {
        let (current, next) = (self.generation, self.generation.wrapping_add(1));
        if phase == KeyPhase::of(current) {
            Some(Keys::Current)
        } else if phase == KeyPhase::of(next) {
            Some(Keys::Next)
        } else if phase == KeyPhase::of(current.wrapping_sub(1)) {
            Some(Keys::Previous)
        } else {
            None
        }
    }

    /// Makes next current and current previous.
    fn rotate(&mut self, timing: Timing) -> &mut Previous {
        let next = self.next_key.take().map_or_else(|| self.next.expand(self.suite), |key| *key);
        let key = core::mem::replace(&mut self.current, next);
        let secret = self.next.successor.take();
        self.next = Generation::derive(secret);
        self.generation = self.generation.wrapping_add(1);
        self.pace.on_change();
        let expires = timing.now + timing.span();
        let old = Previous { key, expires, borders: SmallVec::new() };
        match self.previous.take() {
            Some(mut previous) => {
                *previous = old;
                self.previous.insert(previous)
            }
            None => self.previous.insert(Box::new(old)),
        }
    }
}

fn try_open(key: &PacketKey, packet: &Numbered, aad: &[u8], body: &mut [u8]) -> Result<usize, OpenError> {
    let nonce = key.nonce(packet.path, packet.number);
    key.aead.open(&nonce, aad, body).map_err(|_| OpenError::NotAuthentic)
}

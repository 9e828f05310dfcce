//! Which packet numbers of a path have been seen: a window over the newest 4,096, or more where packets come later.

#[cfg(test)]
mod tests;

use alloc::vec;
use alloc::vec::Vec;

use crate::PacketNumber;
use crate::budget::room;

/// Numbers that a window covers at least, the highest included (docs/PROTOCOL.md, "Paths, numbers, replay").
pub(crate) const WINDOW: u64 = 4096;
/// Numbers that it covers at most: at 1 Gbit/s those of 350 ms, at 100 Mbit/s of more than 3 s. 4 KiB of map.
const MAX_WINDOW: u64 = 32_768;

/// Bits in a word of the map.
const WORD: u64 = 64;
/// Words of a full map.
const WORDS: usize = (WINDOW / WORD) as usize;
/// Words of a young path's map: most connections never see more packets than these have bits for.
const FIRST_WORDS: usize = 4;

/// What a window says about a packet number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freshness {
    /// Not seen before.
    New,
    /// Seen before.
    Duplicate,
    /// Below the window, so nobody knows: to be treated as a duplicate.
    TooOld,
}

/// The numbers seen on one path in one direction. Asking and marking are separate: only a packet that opened marks.
#[derive(Clone, Debug)]
pub(crate) struct ReplayWindow {
    /// The highest number seen.
    highest: Option<u64>,
    /// Bit n modulo the window's size says whether n was seen, for the n of the window; the bits of numbers above `highest`
    /// are zero once `highest` has passed their predecessors. Words that are not there yet are zero: it grows until 4,096
    /// numbers have come, and beyond only by [`Self::widen`].
    seen: Vec<u64>,
}

impl ReplayWindow {
    /// A window that has seen nothing.
    pub(crate) const fn new() -> Self {
        Self { highest: None, seen: Vec::new() }
    }

    /// A window that has seen everything up to `highest`.
    pub(crate) fn behind(highest: PacketNumber) -> Self {
        let mut window = Self::new();
        if highest > PacketNumber::ZERO {
            // Bits of numbers that are still to come are cleared on the way there.
            window.seen.reserve_exact(WORDS);
            window.seen.resize(WORDS, u64::MAX);
        }
        window.mark(highest);
        window
    }

    /// The highest number marked.
    #[cfg(test)]
    pub(crate) fn highest(&self) -> Option<PacketNumber> {
        self.highest.map(PacketNumber)
    }

    /// Whether `number` is new.
    pub(crate) fn check(&self, number: PacketNumber) -> Freshness {
        let number = number.get();
        match self.highest {
            Some(highest) if number <= highest => {
                let (word, bit) = self.position(number);
                if highest.saturating_sub(number) >= self.size() {
                    Freshness::TooOld
                } else if self.seen.get(word).is_some_and(|word| word & bit != 0) {
                    Freshness::Duplicate
                } else {
                    Freshness::New
                }
            }
            _ => Freshness::New,
        }
    }

    /// Notes that `number` was seen, and moves the window if it is the highest yet. Numbers below the window are
    /// ignored.
    pub(crate) fn mark(&mut self, number: PacketNumber) {
        let number = number.get();
        match self.highest {
            Some(highest) if number <= highest => {
                if highest.saturating_sub(number) >= self.size() {
                    return;
                }
            }
            Some(highest) => {
                self.forget(highest.saturating_add(1), number);
                self.highest = Some(number);
            }
            None => self.highest = Some(number),
        }
        if self.seen.len() < WORDS {
            self.grow(number);
        }
        let (word, bit) = self.position(number);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
    }

    /// An authentic packet with `number` came too late to tell whether it was seen: from now on, packets as late as that are
    /// remembered, unless they are very late. What is unknown until then counts as seen.
    pub(crate) fn widen(&mut self, number: PacketNumber) {
        let Some(highest) = self.highest else { return };
        let behind = highest.saturating_sub(number.get());
        let size = behind.saturating_add(1).checked_next_power_of_two().unwrap_or(u64::MAX);
        if size <= self.size() || size > MAX_WINDOW {
            return;
        }
        let mut wide = Self { highest: Some(highest), seen: vec![u64::MAX; (size / WORD) as usize] };
        for number in highest.saturating_sub(self.size().saturating_sub(1))..=highest {
            if self.check(PacketNumber(number)) == Freshness::New {
                let (word, bit) = wide.position(number);
                if let Some(word) = wide.seen.get_mut(word) {
                    *word &= !bit;
                }
            }
        }
        *self = wide;
    }

    /// Numbers covered.
    const fn size(&self) -> u64 {
        let mapped = WORD.saturating_mul(self.seen.len() as u64);
        if mapped > WINDOW { mapped } else { WINDOW }
    }

    /// The word and the bit of `number`.
    const fn position(&self, number: u64) -> (usize, u64) {
        // The size is a power of two; a shift goes round at the size of a word.
        (((number & self.size().saturating_sub(1)) / WORD) as usize, 1_u64.wrapping_shl(number as u32))
    }

    /// Makes room for `number`, the highest or one below it.
    fn grow(&mut self, number: u64) {
        let needed = usize::try_from(number / WORD).unwrap_or(WORDS).saturating_add(1).min(WORDS);
        if needed > self.seen.len() {
            let words = needed.next_power_of_two().max(FIRST_WORDS);
            self.seen.reserve_exact(words.saturating_sub(self.seen.len()));
            self.seen.resize(words, 0);
        }
    }

    /// Heap held, in bytes.
    pub(crate) const fn heap_bytes(&self) -> usize {
        room::<u64>(self.seen.capacity())
    }

    /// Clears the bits of `first..=last`, which still speak of numbers a window's size below: a word at a time.
    fn forget(&mut self, first: u64, last: u64) {
        if last.saturating_sub(first) >= self.size() {
            self.seen.fill(0);
            return;
        }
        let mut next = first;
        while next <= last {
            let run = WORD.saturating_sub(next % WORD).min(last.saturating_sub(next).saturating_add(1));
            let seen = u64::MAX.wrapping_shr(WORD.saturating_sub(run) as u32).wrapping_shl(next as u32);
            let (word, _) = self.position(next);
            if let Some(word) = self.seen.get_mut(word) {
                *word &= !seen;
            }
            let Some(after) = next.checked_add(run) else { return };
            next = after;
        }
    }
}

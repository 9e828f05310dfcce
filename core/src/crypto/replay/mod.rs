//! Which packet numbers of a path have been seen: a window over the newest 4,096.

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use crate::PacketNumber;

/// Numbers that the window covers, the highest included (docs/PROTOCOL.md, "Paths, numbers, replay").
pub(crate) const WINDOW: u64 = 4096;

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
    /// Bit n mod 4,096 says whether n was seen, for the n of the window; the bits of numbers above `highest` are zero
    /// once `highest` has passed their predecessors. Words that are not there yet are zero: it grows until 4,096 numbers
    /// have come.
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
                let (word, bit) = position(number);
                if highest - number >= WINDOW {
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
                if highest - number >= WINDOW {
                    return;
                }
            }
            Some(highest) => {
                self.forget(highest.saturating_add(1), number);
                self.highest = Some(number);
            }
            None => self.highest = Some(number),
        }
        let (word, bit) = position(number);
        if self.seen.len() < WORDS {
            self.grow(number);
        }
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
    }

    /// Makes room for `number`, the highest or one below it.
    fn grow(&mut self, number: u64) {
        let needed = usize::try_from(number / WORD).unwrap_or(WORDS).saturating_add(1).min(WORDS);
        if needed > self.seen.len() {
            let words = needed.next_power_of_two().max(FIRST_WORDS);
            self.seen.reserve_exact(words - self.seen.len());
            self.seen.resize(words, 0);
        }
    }

    /// Heap held, in bytes.
    pub(crate) const fn heap_bytes(&self) -> usize {
        self.seen.capacity() * size_of::<u64>()
    }

    /// Clears the bits of `first..=last`, which still speak of the numbers 4,096 below: a word at a time.
    fn forget(&mut self, first: u64, last: u64) {
        if last - first >= WINDOW {
            self.seen.fill(0);
            return;
        }
        let mut next = first;
        while next <= last {
            let run = (WORD - next % WORD).min(last - next + 1);
            let bits = (u64::MAX >> (WORD - run)) << (next % WORD);
            if let Some(word) = self.seen.get_mut(position(next).0) {
                *word &= !bits;
            }
            let Some(after) = next.checked_add(run) else { return };
            next = after;
        }
    }
}

/// The word and the bit of `number`.
const fn position(number: u64) -> (usize, u64) {
    ((number % WINDOW / WORD) as usize, 1 << (number % WORD))
}

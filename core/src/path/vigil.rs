//! Whether a peer that was sending much has gone silent. Perhaps it sends to where we are not any more: a NAT has forgotten
//! us, and who only receives would never say so. One question from the new address tells the peer where that is.

use crate::time::{Duration, Instant};

/// Packets, none of them a probe timeout after the one before, that make a sender busy.
const BUSY: u32 = 16;

/// Watches over one path. It looks once in a probe timeout, so that packets do not move a timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vigil {
    /// When to look; `MAX` if the peer is not busy.
    due: Instant,
    /// Packets since the last pause, or since the last look.
    heard: u32,
}

impl Vigil {
    pub(crate) const fn new() -> Self {
        Self { due: Instant::MAX, heard: 0 }
    }

    /// A packet that asks for an acknowledgement came, after so much silence.
    pub(crate) fn on_heard(&mut self, now: Instant, silence: Duration, pto: Duration) {
        if self.due != Instant::MAX {
            self.heard = 1;
            return;
        }
        self.heard = if silence < pto { self.heard.saturating_add(1) } else { 1 };
        if self.heard >= BUSY {
            self.due = now + pto;
        }
    }

    /// When to look.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (self.due != Instant::MAX).then_some(self.due)
    }

    /// It is time to look. Says whether the peer has gone silent.
    pub(crate) fn look(&mut self, now: Instant, pto: Duration) -> bool {
        let silent = core::mem::take(&mut self.heard) == 0;
        self.due = if silent { Instant::MAX } else { now + pto };
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTO: Duration = Duration::from_millis(100);

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn busy() -> Vigil {
        let mut vigil = Vigil::new();
        for packet in 0..16 {
            assert_eq!(vigil.deadline(), None, "{packet}");
            vigil.on_heard(at(packet), Duration::from_millis(1), PTO);
        }
        vigil
    }

    #[test]
    fn a_busy_path_that_falls_silent_is_noticed_once() {
        let mut vigil = busy();
        assert_eq!(vigil.deadline(), Some(at(115)));
        assert!(!vigil.look(at(115), PTO), "it was busy before that");
        vigil.on_heard(at(200), Duration::from_millis(85), PTO);
        assert!(!vigil.look(at(215), PTO));
        assert!(vigil.look(at(315), PTO));
        assert_eq!(vigil.deadline(), None);
    }

    #[test]
    fn a_path_with_a_word_now_and_then_is_not_watched() {
        let mut vigil = Vigil::new();
        (0..100).for_each(|packet| vigil.on_heard(at(packet * 100), PTO, PTO));
        assert_eq!(vigil.deadline(), None);
    }
}

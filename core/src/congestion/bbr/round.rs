//! Packet-timed round trips (draft-ietf-ccwg-bbr-06 section 5.5.1).

/// Counts round trips: one ends when a packet is acknowledged that was sent after the round began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Rounds so far (`BBR.round_count`).
    count: u64,
    /// The round ends with a packet sent when at least this much was delivered (`BBR.next_round_delivered`).
    end: u64,
    /// The ACK in hand began a round (`BBR.round_start`).
    started: bool,
}

impl Round {
    /// `UpdateRound`: takes in an ACK whose newest packet was sent when `prior_delivered` bytes were delivered;
    /// `delivered` are now. Returns whether a round began.
    pub(super) fn update(&mut self, prior_delivered: u64, delivered: u64) -> bool {
        self.started = prior_delivered >= self.end;
        if self.started {
            self.end = delivered;
            self.count = self.count.saturating_add(1);
        }
        self.started
    }

    /// `StartRound`: the current round ends one round trip from now.
    pub(super) fn restart(&mut self, delivered: u64) {
        self.end = delivered;
    }

    /// Whether the ACK in hand began a round.
    pub(super) fn started(&self) -> bool {
        self.started
    }

    /// Rounds so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_one_flight() {
        let mut round = Round::default();
        assert!(round.update(0, 1000), "the first ACK begins the first round");
        assert!(!round.update(0, 2000), "sent before that ACK");
        assert!(round.update(1000, 3000));
        round.restart(5000);
        assert!(!round.update(4000, 6000));
        assert!(round.update(5000, 7000));
        assert_eq!(round.count(), 3);
    }
}

//! Whether a path passes ECN codepoints on, so that packets can be sent with ECT(0) (RFC 9000 section 13.4.2 and
//! appendix A.4).
//!
//! ```text
//!               5 sent, or a probe timeout            counts come back right
//!   Testing ──────────────────────────────▶ Unknown ─────────────────────────▶ Capable
//!    ▲  │ ▲         (all of a few lost)        │ │                               │ │
//!    │  │ └────────────────────────────────────┘ │ ◀──── 3 probe timeouts ───────┘ │
//!    │  │        counts missing, too small, too large, or all lost               │
//!    │  └──────────────────────────▶ Failed ◀────┴─────────────────────────────────┘
//!    └─ (at first, and when the path answers again)
//! ```
//!
//! Where this differs from the RFC's example: packets that are only acknowledgements, or only about the path, are never
//! sent with ECT(0), as in TCP (RFC 3168 section 6.1.4). Nothing slows down for a mark on them, and on a path that
//! drops ECT packets they would be what is missed most.

use crate::id::PacketNumber;
use crate::wire::frame::EcnCounts;

use super::addr::Ecn;

/// Packets of a test. RFC 9000 section 13.4.2.2 has ten for an example; with half of it the rest of the first window
/// goes without, and brings a path that drops ECT packets to light without a probe timeout.
const TEST_PACKETS: u64 = 5;
/// So many packets of a test, with none arriving, are no accident.
const ALL_LOST: u64 = 3;
/// After so many probe timeouts in a row the path may be another one than was tested.
const SILENCE: u32 = 3;

/// What is known of how a path treats ECN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EcnState {
    /// ECN is switched off, or the wire has none (QOTP).
    Off,
    /// Some packets are sent with ECT(0), to see what becomes of them.
    Testing,
    /// They are on their way; others are sent without.
    Unknown,
    /// The path passes codepoints on: what carries data is sent with ECT(0).
    Capable,
    /// It does not.
    Failed(EcnFailure),
}

/// Why a path is used without ECN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EcnFailure {
    /// Packets arrived without the codepoint that they were sent with, or the peer does not see or tell it.
    Bleached,
    /// The peer counts what was not sent: ECT(1), or more packets than there were.
    Remarked,
    /// Packets with ECT(0) were lost, all of them.
    BlackHole,
    /// Every packet of the test arrived with the mark of congestion: nothing can be learned from it.
    AlwaysMarked,
}

/// ECN on a path, in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EcnStats {
    /// What is known of the path.
    pub state: EcnState,
    /// Packets sent with ECT(0).
    pub sent: u64,
    /// How they arrived, as the peer told last.
    pub reported: EcnCounts,
    /// How packets arrived here.
    pub received: EcnCounts,
}

/// The sending half of ECN on a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EcnValidation {
    state: EcnState,
    /// Packets sent with ECT(0).
    sent: u64,
    /// The latest counts that were believed.
    reported: EcnCounts,
    test: Test,
}

/// The packets that a test waits for.
#[derive(Clone, Copy, Default, Debug)]
struct Test {
    /// The number of the first; `None` before there is one.
    first: Option<PacketNumber>,
    sent: u64,
    lost: u64,
}

impl EcnValidation {
    /// A path of which nothing is known yet.
    pub(crate) const fn new(enabled: bool) -> Self {
        Self {
            state: if enabled { EcnState::Testing } else { EcnState::Off },
            sent: 0,
            reported: EcnCounts::NONE,
            test: Test { first: None, sent: 0, lost: 0 },
        }
    }

    /// The codepoint of a train whose first packet is to be `next`, and carries more than acknowledgements.
    pub(crate) fn begin_train(&mut self, next: PacketNumber) -> Option<Ecn> {
        if self.state == EcnState::Testing {
            if self.is_test_sent() {
                self.state = EcnState::Unknown;
                return None;
            }
            self.test.first.get_or_insert(next);
        }
        matches!(self.state, EcnState::Testing | EcnState::Capable).then_some(Ecn::Ect0)
    }

    /// The path goes another way: what it does there is to be tested. Counts go on, as the peer's do.
    pub(crate) fn start_anew(&mut self) {
        if self.state != EcnState::Off {
            self.state = EcnState::Testing;
            self.test = Test::default();
        }
    }

    /// The codepoint of a packet that shall fare like data and is part of no test.
    pub(crate) fn of_probe(&self) -> Option<Ecn> {
        (self.state == EcnState::Capable).then_some(Ecn::Ect0)
    }

    /// A packet of a train with ECT(0) was built; only those in flight are acknowledged or lost for certain.
    pub(crate) const fn on_sent(&mut self, in_flight: bool) {
        self.sent = self.sent.saturating_add(1);
        if matches!(self.state, EcnState::Testing) && in_flight {
            self.test.sent = self.test.sent.saturating_add(1);
        }
    }

    /// Whether a train ends here: one more packet would not be part of the test.
    pub(crate) fn is_test_sent(&self) -> bool {
        self.state == EcnState::Testing && self.test.sent >= TEST_PACKETS
    }

    /// A packet that was sent with ECT(0) was declared lost.
    pub(crate) fn on_lost(&mut self, number: PacketNumber) {
        let testing = matches!(self.state, EcnState::Testing | EcnState::Unknown);
        if !testing || self.test.first.is_none_or(|first| number < first) {
            return;
        }
        self.test.lost = self.test.lost.saturating_add(1);
        if self.test.lost < self.test.sent {
            return;
        }
        self.state = match self.test.lost >= ALL_LOST {
            true => EcnState::Failed(EcnFailure::BlackHole),
            false => EcnState::Testing,
        };
    }

    /// The probe timer fired, `in_a_row` times without an acknowledgement in between. The probes of a test go without
    /// ECT(0): perhaps it is to blame.
    pub(crate) fn on_probe_timeout(&mut self, in_a_row: u32) {
        match self.state {
            EcnState::Testing if self.test.sent > 0 => self.state = EcnState::Unknown,
            EcnState::Capable if in_a_row >= SILENCE => {
                self.state = EcnState::Unknown;
                self.test = Test::default();
            }
            _ => {}
        }
    }

    /// An ACK that names a higher number than any before has `counts`, and newly acknowledges `newly` packets that were
    /// sent with ECT(0). Returns how many packets more have met congestion.
    ///
    /// ACKs that are not such may have been overtaken, and say nothing about counts (RFC 9000 section 13.4.2.1).
    pub(crate) fn on_ack(&mut self, newly: u64, counts: Option<EcnCounts>) -> u64 {
        if matches!(self.state, EcnState::Off | EcnState::Failed(_)) {
            return 0;
        }
        if self.state == EcnState::Unknown && self.test.first.is_none() {
            self.state = EcnState::Testing;
        }
        let result = match counts {
            Some(counts) => self.check(newly, counts),
            None if newly > 0 => Err(EcnFailure::Bleached),
            None => Ok(0),
        };
        result.unwrap_or_else(|failure| {
            self.state = EcnState::Failed(failure);
            0
        })
    }

    fn check(&mut self, newly: u64, counts: EcnCounts) -> Result<u64, EcnFailure> {
        if counts.ect1 > 0 || counts.ect0.saturating_add(counts.ce) > self.sent {
            return Err(EcnFailure::Remarked);
        }
        let more = |new: u64, old: u64| new.checked_sub(old).ok_or(EcnFailure::Bleached);
        let (ect0, ce) = (more(counts.ect0, self.reported.ect0)?, more(counts.ce, self.reported.ce)?);
        if ect0.saturating_add(ce) < newly {
            return Err(EcnFailure::Bleached);
        }
        self.reported = counts;
        if newly > 0 && self.state != EcnState::Capable {
            if counts.ect0 > 0 {
                self.state = EcnState::Capable;
            } else if counts.ce >= TEST_PACKETS {
                return Err(EcnFailure::AlwaysMarked);
            }
        }
        Ok(ce)
    }

    /// For statistics; `received` is the other half.
    pub(crate) const fn stats(&self, received: EcnCounts) -> EcnStats {
        EcnStats { state: self.state, sent: self.sent, reported: self.reported, received }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: Option<Ecn> = Some(Ecn::Ect0);

    fn counts(ect0: u64, ect1: u64, ce: u64) -> Option<EcnCounts> {
        Some(EcnCounts { ect0, ect1, ce })
    }

    /// A path on which `count` packets in flight were sent as far as they go with ECT(0), from number 1 on.
    fn sent(count: u64) -> EcnValidation {
        let mut path = EcnValidation::new(true);
        (1..=count).for_each(|number| {
            send(&mut path, number);
        });
        path
    }

    fn send(path: &mut EcnValidation, number: u64) -> bool {
        let marked = path.begin_train(PacketNumber(number)) == MARKED;
        if marked {
            path.on_sent(true);
        }
        marked
    }

    fn capable() -> EcnValidation {
        let mut path = sent(5);
        assert_eq!(path.on_ack(2, counts(2, 0, 0)), 0);
        assert_eq!(path.state, EcnState::Capable);
        assert!((6..=10).all(|number| send(&mut path, number)));
        path
    }

    #[test]
    fn five_packets_are_a_test_and_good_counts_end_it() {
        let mut path = sent(4);
        assert!(!path.is_test_sent());
        assert!(send(&mut path, 5) && path.is_test_sent());
        assert!(!send(&mut path, 6));
        assert_eq!(path.state, EcnState::Unknown);
        assert_eq!(path.on_ack(1, counts(1, 0, 0)), 0);
        assert!(send(&mut path, 7));
        assert_eq!(path.stats(EcnCounts::NONE).sent, 6);
        // It need not be used up.
        let mut path = sent(1);
        path.on_ack(1, counts(1, 0, 0));
        assert_eq!(path.state, EcnState::Capable);
    }

    #[test]
    fn switched_off_nothing_is_marked_nor_believed() {
        let mut path = EcnValidation::new(false);
        assert_eq!(path.begin_train(PacketNumber(1)), None);
        assert_eq!(path.on_ack(0, counts(0, 7, 9)), 0);
        path.on_probe_timeout(3);
        path.on_lost(PacketNumber(1));
        assert_eq!(path.state, EcnState::Off);
    }

    #[test]
    fn missing_small_and_shrinking_counts_are_bleaching() {
        for (first, then) in [
            (None, None),
            (counts(4, 0, 0), None),
            (counts(3, 0, 0), None),
            (counts(4, 0, 0), counts(5, 0, 0)),
        ] {
            let mut path = sent(5);
            path.on_ack(4, first);
            path.on_ack(2, then);
            assert_eq!(path.state, EcnState::Failed(EcnFailure::Bleached), "{first:?} {then:?}");
            assert!(!send(&mut path, 12));
        }
        let mut path = sent(5);
        path.on_ack(3, counts(1, 0, 2));
        path.on_ack(0, counts(3, 0, 1));
        assert_eq!(path.state, EcnState::Failed(EcnFailure::Bleached), "a count went back");
    }

    #[test]
    fn an_ack_of_unmarked_packets_needs_no_counts() {
        let mut path = capable();
        path.on_ack(0, None);
        assert_eq!(path.state, EcnState::Capable);
        path.on_ack(1, counts(3, 0, 0));
        assert_eq!(path.state, EcnState::Capable, "and what was counted before still is");
    }

    #[test]
    fn counts_of_what_was_never_sent_are_remarking() {
        for wrong in [counts(4, 1, 0), counts(6, 0, 0), counts(3, 0, 3), counts(u64::MAX, 0, u64::MAX)] {
            let mut path = sent(5);
            assert_eq!(path.on_ack(4, wrong), 0);
            assert_eq!(path.state, EcnState::Failed(EcnFailure::Remarked), "{wrong:?}");
        }
    }

    #[test]
    fn more_counted_than_acknowledged_is_no_fault() {
        // ACKs get lost.
        let mut path = capable();
        path.on_ack(1, counts(9, 0, 1));
        assert_eq!(path.state, EcnState::Capable);
    }

    #[test]
    fn congestion_is_told_once() {
        let mut path = capable();
        assert_eq!(path.on_ack(3, counts(3, 0, 2)), 2);
        assert_eq!(path.on_ack(1, counts(4, 0, 2)), 0);
        assert_eq!(path.on_ack(4, counts(4, 0, 6)), 4);
        assert_eq!(path.stats(EcnCounts::NONE).reported, EcnCounts { ect0: 4, ect1: 0, ce: 6 });
    }

    #[test]
    fn a_path_that_marks_everything_is_of_no_use() {
        let mut path = sent(5);
        assert_eq!(path.on_ack(4, counts(0, 0, 4)), 4, "until that is certain it is congestion");
        assert_ne!(path.state, EcnState::Capable);
        path.on_ack(1, counts(0, 0, 5));
        assert_eq!(path.state, EcnState::Failed(EcnFailure::AlwaysMarked));
    }

    #[test]
    fn a_test_of_which_nothing_arrives_fails() {
        let mut path = sent(5);
        path.on_probe_timeout(1);
        assert!(!send(&mut path, 6), "a probe goes without");
        path.on_ack(0, None);
        (1..=4).for_each(|number| path.on_lost(PacketNumber(number)));
        assert_eq!(path.state, EcnState::Unknown);
        path.on_lost(PacketNumber(5));
        assert_eq!(path.state, EcnState::Failed(EcnFailure::BlackHole));
    }

    #[test]
    fn a_short_test_that_is_lost_is_repeated() {
        let mut path = EcnValidation::new(true);
        for number in [1, 3] {
            assert!(send(&mut path, number));
            path.on_probe_timeout(1);
            assert!(!send(&mut path, number + 1));
            path.on_lost(PacketNumber(number));
            assert_eq!(path.state, EcnState::Testing);
        }
        assert!(send(&mut path, 5));
        path.on_lost(PacketNumber(5));
        assert_eq!(path.state, EcnState::Failed(EcnFailure::BlackHole));
    }

    #[test]
    fn lost_packets_do_not_matter_where_others_arrive() {
        let mut path = sent(5);
        (1..=4).for_each(|number| path.on_lost(PacketNumber(number)));
        path.on_ack(1, counts(1, 0, 0));
        assert_eq!(path.state, EcnState::Capable);
        (10..=90).for_each(|number| {
            send(&mut path, number);
            path.on_lost(PacketNumber(number));
        });
        assert_eq!(path.state, EcnState::Capable);
    }

    #[test]
    fn silence_makes_a_new_test() {
        let mut path = capable();
        assert!(send(&mut path, 11));
        path.on_probe_timeout(2);
        assert!(send(&mut path, 12));
        path.on_probe_timeout(3);
        assert!(!send(&mut path, 13), "nothing is tested until something is heard");
        path.on_ack(0, counts(2, 0, 0));
        (11..=12).for_each(|number| path.on_lost(PacketNumber(number)));
        assert!(send(&mut path, 14) && send(&mut path, 15) && send(&mut path, 16));
        (14..=16).for_each(|number| path.on_lost(PacketNumber(number)));
        assert_eq!(path.state, EcnState::Failed(EcnFailure::BlackHole));
    }

    #[test]
    fn silence_that_ends_well_costs_nothing() {
        let mut path = capable();
        assert!(send(&mut path, 11));
        path.on_probe_timeout(3);
        assert_eq!(path.on_ack(1, counts(3, 0, 0)), 0);
        assert_eq!(path.state, EcnState::Capable);
    }
}

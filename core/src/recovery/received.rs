//! Packets received on a path: what is a duplicate, and what to acknowledge when (RFC 9000 section 13.2).

use crate::crypto::replay::{Freshness, ReplayWindow};
use crate::id::PacketNumber;
use crate::path::addr::Ecn;
use crate::ranges::RangeSet;
use crate::stats::DropReason;
use crate::time::{Duration, Instant};
use crate::wire::frame::EcnCounts;

/// Ranges of received numbers remembered for acknowledgement; beyond it the oldest are forgotten (RFC 9000 section
/// 13.2.3 asks for a limit). What comes later than all of them is not acknowledged: its sender has sent it again by then. Four
/// times as many were tried, with one packet in ten up to 250 ms late at 400 Mbit/s: 7 % faster, for three times the bytes of
/// acknowledgements.
const MAX_RANGES: usize = 64;
/// Ack-eliciting packets after which an acknowledgement goes out at once (RFC 9000 section 13.2.2).
const ACK_EVERY: u32 = 2;

/// When the next acknowledgement is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// Nothing to acknowledge.
    Never,
    /// With the next packet, or at this time on its own.
    At(Instant),
    /// At the next chance to send.
    Now,
}

/// The receiving half of a path's number space.
#[derive(Debug)]
pub(crate) struct Received {
    window: ReplayWindow,
    highest: PacketNumber,
    highest_at: Instant,
    ranges: RangeSet,
    waiting: u32,
    due: Due,
    counts: EcnCounts,
    /// The last packet had met congestion.
    congested: bool,
}

impl Received {
    /// A path on which only packet `first` was seen, the handshake packet.
    pub(crate) fn new(now: Instant, first: PacketNumber) -> Self {
        let mut window = ReplayWindow::new();
        window.mark(first);
        let mut ranges = RangeSet::default();
        ranges.insert_capped(first.0..first.0.saturating_add(1), MAX_RANGES);
        Self { window, highest: first, ranges, ..Self::empty(now) }
    }

    /// A path whose numbers go on behind `highest`: nothing up to there is read.
    pub(crate) fn resume(now: Instant, highest: PacketNumber) -> Self {
        Self { window: ReplayWindow::behind(highest), highest, ..Self::empty(now) }
    }

    /// A path on which nothing was seen.
    pub(crate) fn empty(now: Instant) -> Self {
        let (window, ranges) = (ReplayWindow::new(), RangeSet::default());
        Self {
            window,
            highest: PacketNumber::ZERO,
            highest_at: now,
            ranges,
            waiting: 0,
            due: Due::Never,
            counts: EcnCounts::NONE,
            congested: false,
        }
    }

    /// The highest authenticated number.
    pub(crate) const fn highest(&self) -> PacketNumber {
        self.highest
    }

    /// Why an authentic packet with `number` is not to be read, if it is not: it was received before, or is too old to tell,
    /// and then packets as late as that are remembered from now on.
    pub(crate) fn reject(&mut self, number: PacketNumber) -> Option<DropReason> {
        match self.window.check(number) {
            Freshness::New => None,
            Freshness::Duplicate => Some(DropReason::Duplicate),
            Freshness::TooOld => {
                self.window.widen(number);
                Some(DropReason::TooOld)
            }
        }
    }

    /// Whether `number` was received before, or is too old to tell.
    pub(crate) fn is_duplicate(&self, number: PacketNumber) -> bool {
        self.window.check(number) != Freshness::New
    }

    /// Remembers that `number` opened.
    pub(crate) fn mark(&mut self, number: PacketNumber) {
        self.window.mark(number);
    }

    /// Puts a packet whose frames were applied on the list to acknowledge. Like a gap, the first mark of congestion is
    /// told at once (RFC 9000 section 13.2.1), if only the first: later ones are no news.
    pub(crate) fn on_applied(
        &mut self,
        now: Instant,
        number: PacketNumber,
        ack_eliciting: bool,
        ecn: Option<Ecn>,
        max_delay: Duration,
    ) {
        let in_order = number.0 == self.highest.0.saturating_add(1);
        if number > self.highest {
            self.highest = number;
            self.highest_at = now;
        }
        self.ranges.insert_capped(number.0..number.0.saturating_add(1), MAX_RANGES);
        let newly_congested = self.count(ecn);
        if ack_eliciting {
            self.waiting = self.waiting.saturating_add(1);
            self.due = match self.due {
                _ if !in_order || newly_congested || self.waiting >= ACK_EVERY => Due::Now,
                Due::Never => Due::At(now + max_delay),
                due => due,
            };
        }
    }

    /// Counts a codepoint; says whether congestion begins with it.
    fn count(&mut self, ecn: Option<Ecn>) -> bool {
        match ecn {
            Some(Ecn::Ect0) => self.counts.ect0 = self.counts.ect0.saturating_add(1),
            Some(Ecn::Ect1) => self.counts.ect1 = self.counts.ect1.saturating_add(1),
            Some(Ecn::Ce) => self.counts.ce = self.counts.ce.saturating_add(1),
            None => {}
        }
        let before = core::mem::replace(&mut self.congested, ecn == Some(Ecn::Ce));
        self.congested && !before
    }

    /// Packets acknowledged by the codepoint they arrived with.
    pub(crate) const fn counts(&self) -> EcnCounts {
        self.counts
    }

    /// Raises the highest number for a packet that opened but whose frames could not be applied. It is not
    /// acknowledged, not even if it is the handshake's, which otherwise is from the beginning.
    pub(crate) fn on_withheld(&mut self, now: Instant, number: PacketNumber) {
        self.ranges.remove(number.0..number.0.saturating_add(1));
        if number > self.highest {
            self.highest = number;
            self.highest_at = now;
        }
    }

    /// Acknowledge at the next chance, whatever was received.
    pub(crate) const fn ack_now(&mut self) {
        self.due = Due::Now;
    }

    /// Whether an acknowledgement must go out by itself.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        match self.due {
            Due::Never => false,
            Due::At(at) => at <= now,
            Due::Now => true,
        }
    }

    /// Whether there is anything new to acknowledge.
    pub(crate) fn is_waiting(&self) -> bool {
        self.due != Due::Never
    }

    /// When an acknowledgement is due by itself.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match self.due {
            Due::At(at) => Some(at),
            Due::Never | Due::Now => None,
        }
    }

    /// How long the acknowledgement of the highest number has waited.
    pub(crate) fn delay(&self, now: Instant) -> Duration {
        now - self.highest_at
    }

    /// What to acknowledge, highest first.
    pub(crate) const fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    /// An acknowledgement went out.
    pub(crate) const fn on_ack_sent(&mut self) {
        self.waiting = 0;
        self.due = Due::Never;
    }

    /// The peer has seen an acknowledgement of everything that had come from `lowest` up to `number`: it need not be told
    /// again, except the highest range, which every acknowledgement carries.
    pub(crate) fn on_ack_acked(&mut self, lowest: PacketNumber, number: PacketNumber) {
        let keep = self.ranges.last().map_or(0, |last| last.start);
        self.ranges.remove(lowest.0..number.0.saturating_add(1).min(keep));
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.window.heap_bytes().saturating_add(self.ranges.capacity_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packet `number` arrives, ack-eliciting; says whether it is acknowledged at once, and if so does it.
    fn at_once(received: &mut Received, number: u64, ecn: Option<Ecn>) -> bool {
        let now = Instant::ZERO;
        received.on_applied(now, PacketNumber(number), true, ecn, Duration::from_millis(25));
        let due = received.is_due(now);
        if due {
            received.on_ack_sent();
        }
        due
    }

    #[test]
    fn congestion_is_told_at_once_when_it_begins() {
        let mut received = Received::new(Instant::ZERO, PacketNumber::ZERO);
        assert!(!at_once(&mut received, 1, Some(Ecn::Ect0)));
        assert!(at_once(&mut received, 2, Some(Ecn::Ect0)), "every second packet");
        assert!(at_once(&mut received, 3, Some(Ecn::Ce)));
        assert!(!at_once(&mut received, 4, Some(Ecn::Ce)), "that is no news");
        assert!(at_once(&mut received, 5, None));
        assert!(at_once(&mut received, 6, Some(Ecn::Ce)));
        assert_eq!(received.counts(), EcnCounts { ect0: 2, ect1: 0, ce: 3 });
    }

    /// An ACK had no room for the lowest ranges: that it has arrived says nothing of them.
    #[test]
    fn what_an_acknowledgement_had_no_room_for_is_told_again() {
        let mut received = Received::new(Instant::ZERO, PacketNumber::ZERO);
        for number in [2, 4, 6] {
            assert!(at_once(&mut received, number, None), "behind a gap");
        }
        received.on_ack_acked(PacketNumber(4), PacketNumber(6));
        assert!(received.ranges().iter().eq([0..1, 2..3, 6..7]));
        received.on_ack_acked(PacketNumber::ZERO, PacketNumber(6));
        assert!(received.ranges().iter().eq(core::iter::once(6..7)));
    }

    #[test]
    fn a_mark_on_an_acknowledgement_asks_for_none() {
        let mut received = Received::new(Instant::ZERO, PacketNumber::ZERO);
        received.on_applied(Instant::ZERO, PacketNumber(1), false, Some(Ecn::Ce), Duration::ZERO);
        assert!(!received.is_waiting());
        assert_eq!(received.counts().ce, 1);
    }
}

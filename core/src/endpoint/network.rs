//! The network is reported to have changed: every connection is visited, some in each call.

use core::ops::Range;

use crate::time::{Duration, Instant};

use super::{Endpoint, Entry};

/// Slots that one call visits; `handle_timeout` stays due for the rest.
const SLOTS_PER_CALL: u32 = 64;
/// From the beginning of one round of visits to that of the next: reports in between make one more round together. With a
/// round trip it is less than the 250 ms that data may take to flow again, and what a connection sends in it is no flood.
const INTERVAL: Duration = Duration::from_millis(200);

/// What is known of a change of the network.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NetworkChange {
    /// Something is not as it was: a link, an address or a route came or went. Which one, and whom it concerns, is not
    /// known.
    Unspecified,
}

/// The round of visits, and whether there is to be another.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Round {
    /// The next slot to visit, and the one behind the last; the same when the round is over.
    next: u32,
    end: u32,
    /// Something was reported since it began.
    again: bool,
    /// When the next one may begin.
    rested: Instant,
}

impl Round {
    /// When there is something to visit; `now` being the latest time told.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.next < self.end { Some(now) } else { self.again.then_some(self.rested) }
    }

    /// The slots to visit in this call, of `count` that there are.
    fn advance(&mut self, now: Instant, count: u32) -> Range<u32> {
        if self.next == self.end && self.again && self.rested <= now {
            *self = Self { next: 0, end: count, again: false, rested: now + INTERVAL };
        }
        let from = self.next;
        self.next = from.saturating_add(SLOTS_PER_CALL).min(self.end);
        from..self.next
    }
}

impl Endpoint {
    /// The network has changed, or is back: what waits for an answer does not wait for its timer.
    ///
    /// On every connection that has something unacknowledged, two probes go at once, beyond the congestion window, and the
    /// probe timer begins anew without its back-off; a dial sends its first packet once more. Connections that have nothing
    /// in flight but open streams, or that have received datagrams, send a PING: perhaps it is the peer whose packets were
    /// lost, and hearing from us it does not wait for its timer either. All others send nothing. What is known of the
    /// path stays as it is, for it may be the same one as before; but the address that a dialler sends from may be gone, so
    /// that the system is to choose one anew ([`Transmit::local`](crate::Transmit::local)).
    ///
    /// One call visits 64 connections at most, and [`handle_timeout`](Self::handle_timeout), which is due until all were
    /// visited, as many each time. Any number of reports within 200 ms of the first make one more round of visits, 200 ms
    /// after the first began, so it does no harm to report what turns out to be nothing.
    pub fn network_changed(&mut self, now: Instant, change: NetworkChange) {
        let now = self.shared.advance(now);
        match change {
            NetworkChange::Unspecified => self.round.again = true,
        }
        self.visit(now);
    }

    /// Tells some connections that the network has changed, if it has.
    pub(super) fn visit(&mut self, now: Instant) {
        for slot in self.round.advance(now, self.slots.places()) {
            if let Some(Entry::Connection(connection)) = self.slots.at_mut(slot)
                && connection.on_network_changed(now)
            {
                connection.finish_verb(&mut self.shared);
                self.ready.push(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_round_visits_every_slot_once_some_in_each_call() {
        let mut round = Round { again: true, ..Round::default() };
        assert_eq!(round.due(at(5)), Some(Instant::ZERO), "overdue");
        assert_eq!(round.advance(at(5), 150), 0..64);
        assert_eq!(round.due(at(6)), Some(at(6)));
        // Who came since then knows the network as it is.
        assert_eq!(round.advance(at(6), 999), 64..128);
        assert_eq!(round.advance(at(7), 999), 128..150);
        assert_eq!(round.due(at(8)), None);
        assert!(round.advance(at(9000), 999).is_empty());
    }

    #[test]
    fn reports_in_quick_succession_make_one_more_round() {
        let mut round = Round { again: true, ..Round::default() };
        assert_eq!(round.advance(at(1000), 10), 0..10);
        for millis in 1001..1200 {
            round.again = true;
            assert!(round.advance(at(millis), 10).is_empty());
            assert_eq!(round.due(at(millis)), Some(at(1200)));
        }
        assert_eq!(round.advance(at(1200), 10), 0..10);
        assert_eq!(round.due(at(1200)), None);
    }

    #[test]
    fn a_report_amid_a_long_round_makes_another_one_from_the_beginning() {
        let mut round = Round { again: true, ..Round::default() };
        assert_eq!(round.advance(at(0), 100), 0..64);
        round.again = true;
        assert_eq!(round.advance(at(300), 100), 64..100);
        assert_eq!(round.due(at(300)), Some(at(200)));
        assert_eq!(round.advance(at(300), 100), 0..64);
    }
}

//! The network is reported to have changed: every connection is visited, some in each call.

use core::net::IpAddr;
use core::ops::Range;

use alloc::vec::Vec;

use crate::time::{Duration, Instant};

use super::sockets::News;
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
    /// The addresses that the host has now, all of them, on interfaces that are up; of either family, in any order, without
    /// scopes. Loopback addresses may be missing, and count as present. A host with more than 1,024 tells no more by them than
    /// by [`Self::Unspecified`].
    ///
    /// Tell the list once at the beginning, and whenever it has changed: an address counts as gone when it was on a list and
    /// is on the latest one no more. Of one that never was on any nothing is concluded, for a host may answer for addresses
    /// that no interface of it has.
    Addresses(Vec<IpAddr>),
}

/// What was told since the last round of visits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Report {
    /// Something has changed, and nobody knows what.
    pub(crate) something: bool,
    /// The host has other addresses than before.
    pub(crate) addresses: bool,
    /// It has those that it had.
    pub(crate) same_addresses: bool,
    /// The endpoint has other sockets.
    pub(crate) sockets: bool,
}

impl Report {
    /// Whether there was one at all.
    fn is_any(self) -> bool {
        self != Self::default()
    }

    /// Whether what waits for an answer is to wait no longer.
    pub(crate) const fn hurries(self) -> bool {
        self.something || self.addresses || self.same_addresses
    }

    /// Whether the network may be another one.
    pub(crate) const fn is_elsewhere(self) -> bool {
        self.something || self.addresses
    }

    /// Whether anything is other than it was, or may be.
    pub(crate) const fn is_news(self) -> bool {
        self.is_elsewhere() || self.sockets
    }

    /// Whether ends of paths may be gone.
    pub(crate) const fn concerns_ends(self) -> bool {
        self.addresses || self.sockets
    }

    const fn with(self, other: Self) -> Self {
        Self {
            something: self.something || other.something,
            addresses: self.addresses || other.addresses,
            same_addresses: self.same_addresses || other.same_addresses,
            sockets: self.sockets || other.sockets,
        }
    }
}

/// The round of visits, and whether there is to be another.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Round {
    /// The next slot to visit, and the one behind the last; the same when the round is over.
    next: u32,
    end: u32,
    /// What is told in it.
    told: Report,
    /// What was reported since it began.
    again: Report,
    /// When the next one may begin.
    rested: Instant,
}

impl Round {
    /// When there is something to visit; `now` being the latest time told.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.next < self.end { Some(now) } else { self.again.is_any().then_some(self.rested) }
    }

    /// There is to be another one.
    pub(super) fn report(&mut self, report: Report) {
        self.again = self.again.with(report);
    }

    /// The slots to visit in this call, of `count` that there are.
    fn advance(&mut self, now: Instant, count: u32) -> Range<u32> {
        if self.next == self.end && self.again.is_any() && self.rested <= now {
            let (told, again) = (self.again, Report::default());
            // Nobody has to rest from a round without a visit, as that for the first list of addresses is.
            let rest = if count == 0 { Duration::ZERO } else { INTERVAL };
            *self = Self { next: 0, end: count, told, again, rested: now + rest };
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
    /// [`NetworkChange::Addresses`] says more, on either side. A path from an address that is gone is abandoned at once if its
    /// connection has another one ([`PathClosed::AddressGone`](crate::PathClosed::AddressGone)): what was on its way goes again
    /// there. The last one goes on from where the system lets it, through a socket that reaches the peer
    /// ([`set_sockets`](Self::set_sockets)): to other connection ids, with what was on its way, and as one of which nothing is
    /// known. The same of a path over a custom transport that does not survive it
    /// ([`TransportProfile::survives_network_change`](crate::TransportProfile::survives_network_change)), as soon as any
    /// address has come or gone. The same list again says no more than that what waits need not.
    ///
    /// One call visits 64 connections at most, and [`handle_timeout`](Self::handle_timeout), which is due until all were
    /// visited, as many each time. Any number of reports within 200 ms of the first make one more round of visits, 200 ms
    /// after the first began, so it does no harm to report what turns out to be nothing.
    pub fn network_changed(&mut self, now: Instant, change: NetworkChange) {
        let now = self.shared.advance(now);
        let mut report = Report::default();
        match change {
            NetworkChange::Unspecified => report.something = true,
            NetworkChange::Addresses(addresses) => match self.shared.sockets.set_addresses(addresses) {
                News::Changed => report.addresses = true,
                News::Same => report.same_addresses = true,
                News::Unclear => report.something = true,
            },
        }
        self.round.report(report);
        self.visit(now);
    }

    /// Tells some connections that the network has changed, if it has.
    pub(super) fn visit(&mut self, now: Instant) {
        for slot in self.round.advance(now, self.slots.places()) {
            if let Some(Entry::Connection(connection)) = self.slots.at_mut(slot)
                && connection.on_network_changed(&mut self.shared, now, self.round.told)
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

    const SOMETHING: Report =
        Report { something: true, addresses: false, same_addresses: false, sockets: false };

    fn reported() -> Round {
        Round { again: SOMETHING, ..Round::default() }
    }

    #[test]
    fn a_round_visits_every_slot_once_some_in_each_call() {
        let mut round = reported();
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
        let mut round = reported();
        assert_eq!(round.advance(at(1000), 10), 0..10);
        for millis in 1001..1200 {
            round.report(SOMETHING);
            assert!(round.advance(at(millis), 10).is_empty());
            assert_eq!(round.due(at(millis)), Some(at(1200)));
        }
        assert_eq!(round.advance(at(1200), 10), 0..10);
        assert_eq!(round.due(at(1200)), None);
    }

    #[test]
    fn a_report_amid_a_long_round_makes_another_one_from_the_beginning() {
        let mut round = reported();
        assert_eq!(round.advance(at(0), 100), 0..64);
        round.report(SOMETHING);
        assert_eq!(round.advance(at(300), 100), 64..100);
        assert_eq!(round.due(at(300)), Some(at(200)));
        assert_eq!(round.advance(at(300), 100), 0..64);
    }

    #[test]
    fn path_a_report_to_nobody_delays_no_other() {
        let mut round = reported();
        assert!(round.advance(at(0), 0).is_empty());
        assert_eq!(round.due(at(0)), None);
        round.report(SOMETHING);
        assert_eq!(round.advance(at(1), 1), 0..1);
    }

    #[test]
    fn path_reports_that_wait_are_told_together() {
        let mut round = reported();
        assert_eq!((round.advance(at(0), 100), round.told), (0..64, SOMETHING));
        let [sockets, addresses] = [Report { sockets: true, ..Report::default() }; 2];
        round.report(sockets);
        round.report(Report { addresses: true, ..addresses });
        assert_eq!((round.advance(at(1), 100), round.told), (64..100, SOMETHING), "they came after it began");
        assert_eq!(round.advance(at(200), 100), 0..64);
        assert_eq!(round.told, Report { sockets: true, addresses: true, ..Report::default() });
    }
}

//! An address at which a peer may be: what is known of it, and from whom.

use crate::path::addr::{LocalAddr, TransportAddr, Tuple};
use crate::time::Instant;

use super::info::AddressFailure;

/// What is known of an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AddressStatus {
    /// Nothing: it was not tried, or the trial is not over.
    Unknown,
    /// A path of some connection is there.
    Open,
    /// There was a path, and is none now.
    Inactive,
    /// It was tried and did not answer.
    Unusable,
}

/// What is heard of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// Somebody says that the peer is there.
    Told,
    /// A path was opened.
    Opened,
    /// The last path to it is gone.
    Abandoned,
    /// The last path to it fell silent.
    Expired,
    /// It was tried as often as it may be, and has not answered.
    Failed,
}

impl AddressStatus {
    /// The status after some news.
    pub(super) const fn after(self, news: News) -> Self {
        match (news, self) {
            (News::Told, same)
            | (News::Expired, same @ (Self::Unknown | Self::Inactive | Self::Unusable)) => same,
            (News::Opened, _) => Self::Open,
            (News::Abandoned | News::Expired, Self::Open) | (News::Abandoned, Self::Inactive) => {
                Self::Inactive
            }
            (News::Abandoned, Self::Unknown | Self::Unusable) | (News::Failed, _) => Self::Unusable,
        }
    }
}

/// From whom an address is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub struct AddressSources {
    /// The application has named it, in a dial or by [`add_address`](crate::Endpoint::add_address).
    pub application: bool,
    /// Somebody else has told of it.
    pub lookup: bool,
    /// The peer was met there.
    pub connection: bool,
}

/// Who tells of an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AddressSource {
    /// The application, or its user: it is dialled wherever it may lead, as often as a dial wants.
    Application,
    /// A directory, or another peer. As [`ConnectOptions::guesses`](crate::ConnectOptions::guesses) it is dialled sparingly,
    /// and not if it is none of a public service.
    Lookup,
}

/// An address of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) addr: TransportAddr,
    /// Since when the status holds; of an unknown address, when it was last told.
    pub(super) since: Instant,
    /// Open paths to it.
    pub(super) open: u16,
    /// Through which of our sockets.
    pub(super) socket: u16,
    pub(super) status: AddressStatus,
    pub(super) sources: AddressSources,
    pub(super) failure: Option<AddressFailure>,
}

impl Candidate {
    /// Nothing is known of it but that it is there.
    pub(super) const fn new(now: Instant, addr: TransportAddr, socket: u16) -> Self {
        let sources = AddressSources { application: false, lookup: false, connection: false };
        Self { addr, since: now, open: 0, socket, status: AddressStatus::Unknown, sources, failure: None }
    }

    /// Where to send to reach it.
    pub(super) const fn way(&self) -> Tuple {
        Tuple { local: LocalAddr { socket: self.socket, ip: None }, remote: self.addr }
    }

    pub(super) const fn is_relay(&self) -> bool {
        matches!(self.addr, TransportAddr::Relay { .. })
    }

    /// Whether a dial may send there as often as it wants: the application says so, or the peer was met there.
    pub(super) const fn is_vouched(&self) -> bool {
        self.sources.application || self.sources.connection
    }

    pub(super) fn on_told(&mut self, now: Instant, source: AddressSource, socket: u16) {
        match source {
            AddressSource::Application => self.sources.application = true,
            AddressSource::Lookup => self.sources.lookup = true,
        }
        self.status = self.status.after(News::Told);
        if self.status == AddressStatus::Unknown {
            (self.since, self.socket) = (now, socket);
        }
    }

    pub(super) fn on_opened(&mut self, now: Instant, socket: u16) {
        self.open = self.open.saturating_add(1);
        (self.sources.connection, self.socket, self.failure) = (true, socket, None);
        self.change(now, News::Opened);
    }

    /// A path to it is gone, and perhaps because nothing was heard any more.
    pub(super) fn on_closed(&mut self, now: Instant, failure: Option<AddressFailure>) {
        self.open = self.open.saturating_sub(1);
        if self.open > 0 {
            return;
        }
        self.failure = failure;
        self.change(now, if failure.is_some() { News::Expired } else { News::Abandoned });
    }

    /// It did not answer a dial. That says little of one where the peer is heard all the while.
    pub(super) fn on_unanswered(&mut self, now: Instant) {
        if self.open == 0 {
            self.failure = Some(AddressFailure::NoAnswer);
            self.change(now, News::Failed);
        }
    }

    fn change(&mut self, now: Instant, news: News) {
        let status = self.status.after(news);
        let renewed = status == AddressStatus::Inactive;
        if status != self.status || renewed {
            (self.status, self.since) = (status, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use AddressStatus::{Inactive, Open, Unknown, Unusable};

    #[test]
    fn path_status_follows_the_table() {
        for (news, after) in [
            (News::Told, [Unknown, Open, Inactive, Unusable]),
            (News::Opened, [Open, Open, Open, Open]),
            (News::Abandoned, [Unusable, Inactive, Inactive, Unusable]),
            (News::Expired, [Unknown, Inactive, Inactive, Unusable]),
            (News::Failed, [Unusable, Unusable, Unusable, Unusable]),
        ] {
            for (before, after) in [Unknown, Open, Inactive, Unusable].into_iter().zip(after) {
                assert_eq!(before.after(news), after, "{before:?}, {news:?}");
            }
        }
    }

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn candidate() -> Candidate {
        Candidate::new(at(0), TransportAddr::Ip(([192, 0, 2, 1], 1).into()), 0)
    }

    #[test]
    fn path_status_is_open_as_long_as_any_path_is() {
        let mut candidate = candidate();
        candidate.on_opened(at(1), 3);
        candidate.on_opened(at(2), 3);
        assert_eq!((candidate.status, candidate.since, candidate.way().local.socket), (Open, at(1), 3));
        candidate.on_closed(at(3), Some(AddressFailure::Silent));
        assert_eq!((candidate.status, candidate.failure), (Open, None), "the other one is there");
        candidate.on_closed(at(4), None);
        assert_eq!((candidate.status, candidate.since), (Inactive, at(4)));
        assert!(candidate.is_vouched(), "the peer was met there");
    }

    #[test]
    fn path_status_unusable_becomes_open() {
        let mut candidate = candidate();
        candidate.on_told(at(1), AddressSource::Lookup, 0);
        assert!(!candidate.is_vouched());
        candidate.on_unanswered(at(2));
        assert_eq!((candidate.status, candidate.failure), (Unusable, Some(AddressFailure::NoAnswer)));
        candidate.on_told(at(3), AddressSource::Application, 0);
        assert_eq!((candidate.status, candidate.since), (Unusable, at(2)), "saying so changes nothing");
        candidate.on_opened(at(4), 0);
        assert_eq!((candidate.status, candidate.failure), (Open, None));
        candidate.on_unanswered(at(5));
        assert_eq!(candidate.status, Open, "it is heard all the while");
    }

    #[test]
    fn path_status_unknown_is_as_old_as_its_last_telling() {
        let mut candidate = candidate();
        candidate.on_told(at(5), AddressSource::Lookup, 0);
        assert_eq!((candidate.status, candidate.since), (Unknown, at(5)));
    }
}

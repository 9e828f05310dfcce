//! The first flight of a dial: which of the peer's addresses get a copy of the Init, and when (docs/PROTOCOL.md, "The first
//! flight").

use alloc::vec::Vec;

use crate::budget::room;
use crate::endpoint::Sockets;
use crate::path::addr::{TransportAddr, Tuple};
use crate::time::{Duration, Instant};

/// Addresses that get their first copy at once.
const BURST: usize = 8;
/// One more address gets its first copy after each of these: so many dials at once are no flood, and an address far down
/// the list is not kept waiting for longer than a round trip.
const STAGGER: Duration = Duration::from_millis(25);
/// Addresses of a dial; of more, the best.
pub(crate) const MAX_WAYS: usize = 32;
/// Copies that an address gets which nobody vouches for.
pub(crate) const UNVOUCHED_COPIES: u32 = 3;
/// First wait for a reply: twice the round trip of most of the internet. With the doubling below, a dial of 5 s sends at
/// most 7 copies to an address.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The wait doubles up to this.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// An address to dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Guess {
    pub(crate) to: Tuple,
    /// The most copies that it may get.
    pub(crate) copies: u32,
}

impl Guess {
    /// One that the application has named, or at which the peer was met before: as many copies as the dial has time for.
    pub(crate) const fn vouched(to: Tuple) -> Self {
        Self { to, copies: u32::MAX }
    }
}

/// The addresses of a dial, the best first, and what each has had.
#[derive(Clone, Debug)]
pub(crate) struct Fanout {
    /// At least one, and no address twice.
    ways: Vec<Way>,
}

#[derive(Clone, Copy, Debug)]
struct Way {
    to: Tuple,
    /// Copies that it may get yet, and has had.
    left: u32,
    sent: u32,
    first: Instant,
    wait: Duration,
    next: Instant,
    /// A reply came from there.
    answered: bool,
    /// A Retry came from there: `sent`, `first` and what follows are of the second Init.
    retried: bool,
}

/// A copy of an Init that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Due {
    pub(crate) to: Tuple,
    /// Whether it is the second Init that goes there.
    pub(crate) retried: bool,
}

impl Way {
    const fn new(guess: Guess) -> Self {
        let Guess { to, copies } = guess;
        let (first, next) = (Instant::ZERO, Instant::ZERO);
        Self { to, left: copies, sent: 0, first, wait: FIRST_WAIT, next, answered: false, retried: false }
    }
}

impl Fanout {
    /// A dial of `first`, and of the `others` after it. Of several guesses at one address the first counts.
    pub(crate) fn new(first: Guess, others: impl IntoIterator<Item = Guess>) -> Self {
        let mut ways = alloc::vec![Way::new(first)];
        for guess in others {
            if ways.len() < MAX_WAYS && ways.iter().all(|way| way.to.remote != guess.to.remote) {
                ways.push(Way::new(guess));
            }
        }
        Self { ways }
    }

    /// The address to begin with.
    #[expect(clippy::indexing_slicing, reason = "a dial begins with one address, and none is taken away")]
    pub(crate) fn best(&self) -> Tuple {
        self.ways[0].to
    }

    /// Whether there are several addresses.
    pub(crate) const fn is_wide(&self) -> bool {
        self.ways.len() > 1
    }

    /// The Init is made, and its first copy due.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.ways.iter_mut().zip(starts(now)).for_each(|(way, start)| way.next = start);
    }

    /// Where a copy of the Init is to go now, if it is time for one.
    pub(crate) fn copy_due(&mut self, now: Instant) -> Option<Due> {
        let way = self.ways.iter_mut().filter(|way| way.left > 0).min_by_key(|way| way.next)?;
        if way.next > now {
            return None;
        }
        if way.sent == 0 {
            way.first = now;
        }
        way.sent = way.sent.saturating_add(1);
        way.left = way.left.saturating_sub(1);
        way.next = now + way.wait;
        way.wait = way.wait.saturating_mul(2).min(MAX_WAIT);
        Some(Due { to: way.to, retried: way.retried })
    }

    /// A Retry came from there: the second Init goes there from now on, the first copy at once. `false`: nothing may be sent
    /// there any more.
    pub(crate) fn on_retry(&mut self, now: Instant, from: &TransportAddr) -> bool {
        let Some(way) = self.ways.iter_mut().find(|way| way.to.remote == *from && way.left > 0) else {
            return false;
        };
        (way.sent, way.wait, way.next, way.retried) = (0, FIRST_WAIT, now, true);
        true
    }

    /// When the next copy is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ways.iter().filter(|way| way.left > 0).map(|way| way.next).min()
    }

    /// The network has changed: the addresses' next copies go as the first ones did, and the waits begin anew.
    pub(crate) fn hurry(&mut self, now: Instant) {
        let open = self.ways.iter_mut().filter(|way| way.left > 0);
        for (way, start) in open.zip(starts(now)) {
            way.next = way.next.min(start);
            way.wait = FIRST_WAIT;
        }
    }

    /// Our own addresses may be gone: the system is to choose.
    pub(crate) fn forget_own(&mut self, sockets: &Sockets) {
        self.ways.iter_mut().for_each(|way| way.to.local = sockets.any_towards(&way.to));
    }

    /// A reply that opened came with these ends. Says whether the Init was sent there; if so, these are what is known of it
    /// from now on.
    pub(crate) fn on_answer(&mut self, ends: &Tuple) -> bool {
        let Some(way) = self.ways.iter_mut().find(|way| way.to.remote == ends.remote) else { return false };
        way.to = *ends;
        way.answered = true;
        true
    }

    /// Between which ends the connection begins whose reply came with these: there, if the Init was sent there. A reply can be
    /// passed on by anybody, so otherwise it says nothing of where the peer is.
    pub(crate) fn beginning(&self, ends: &Tuple) -> Tuple {
        if self.has_asked(&ends.remote) { *ends } else { self.best() }
    }

    /// Whether the Init was sent there.
    pub(crate) fn has_asked(&self, remote: &TransportAddr) -> bool {
        self.ways.iter().any(|way| way.to.remote == *remote && (way.sent > 0 || way.retried))
    }

    /// The round trip of the reply to the first or the second Init that came with these ends, if it is known which copy it
    /// answers (Karn): the one that went there, or the only one.
    pub(crate) fn round_trip(&self, now: Instant, ends: &Tuple, retried: bool) -> Option<Duration> {
        let asked = self.ways.iter().find(|way| way.to.remote == ends.remote);
        let (way, copies) = match asked {
            Some(way) => (way, way.sent),
            None => (self.ways.first()?, self.ways.iter().map(|way| way.sent).sum()),
        };
        (copies == 1 && way.sent == 1 && way.retried == retried).then(|| now - way.first)
    }

    /// The next address behind `last`, in turn, from which the Init was answered.
    pub(crate) fn next_answered(&self, last: &Tuple) -> Option<Tuple> {
        let place = self.ways.iter().position(|way| way.to.remote == last.remote).unwrap_or(0);
        let (sooner, later) = self.ways.split_at(place.saturating_add(1).min(self.ways.len()));
        let next = later.iter().chain(sooner).find(|way| way.answered && way.to.remote != last.remote);
        next.map(|way| way.to)
    }

    /// The addresses to which so many copies went that silence says something.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &TransportAddr> {
        let unanswered = self.ways.iter().filter(|way| way.sent >= UNVOUCHED_COPIES && !way.answered);
        unanswered.map(|way| &way.to.remote)
    }

    /// Heap held, in bytes.
    pub(crate) const fn heap_bytes(&self) -> usize {
        room::<Way>(self.ways.capacity())
    }

    /// Whether the Init was answered from there.
    pub(crate) fn has_answered(&self, ends: &Tuple) -> bool {
        self.ways.iter().any(|way| way.answered && way.to.remote == ends.remote)
    }
}

/// When each of the addresses that get a copy gets it.
fn starts(now: Instant) -> impl Iterator<Item = Instant> {
    let later = core::iter::successors(Some(now), |last| Some(*last + STAGGER));
    core::iter::repeat_n(now, BURST - 1).chain(later)
}

#[cfg(test)]
mod tests;

//! Where in its life a path is, and what is kept of a path id when that life is over (docs/PROTOCOL.md, "Opening and
//! abandoning paths"). Pure.
//!
//! ```text
//!   Opening ──our challenge is answered──▶ Usable ──either side abandons──▶ Closed ──3 probe timeouts──▶ (Retired)
//!      └──────────────no answer, or either side abandons──────────────────────▲
//! ```
//!
//! An id can be used again when each side has told the other that it has done with it, ours is acknowledged, and three
//! probe timeouts have passed since. Its packet numbers go on, so that no nonce comes twice; its generation tells frames
//! about one life from those about another.

use crate::id::{ErrorCode, PacketNumber, PathId};
use crate::time::{Duration, Instant};
use crate::wire::frame::{Abandon, PathStatus};

/// Probe timeouts after which a path that is over is forgotten, and its id free (docs/PROTOCOL.md, "Opening and
/// abandoning paths").
pub(crate) const TIMEOUTS: u32 = 3;

/// How far a path has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Asked for an answer, first at `asked`: before that, no connection id of the peer's is used for it.
    Opening { asked: Option<Instant> },
    /// The peer has answered.
    Usable,
    /// Nothing is sent on it any more. What still comes is read until then.
    Closed { until: Instant },
}

/// A life of a path id: which one, and from which numbers on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life {
    pub(crate) id: PathId,
    /// How often the id was used before.
    pub(crate) generation: u32,
    /// The first number to send.
    pub(crate) next: PacketNumber,
    /// No number up to this one is read any more.
    pub(crate) highest: PacketNumber,
}

impl Life {
    /// The first one of an id. Number 0 belongs to the handshake.
    pub(crate) const fn first(id: PathId) -> Self {
        Self { id, generation: 0, next: PacketNumber(1), highest: PacketNumber::ZERO }
    }
}

/// How far the peer is told of something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Telling {
    Owed,
    Sent,
    Known,
}

/// What is kept of an id that was used and is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Retired {
    life: Life,
    code: ErrorCode,
    ours: Telling,
    /// The peer's PATH_ABANDON has come.
    theirs: bool,
    /// The id is not used again before.
    until: Instant,
}

impl Retired {
    /// A path is abandoned: by us for a reason that has this code, or by the peer. In either case the peer is to be told.
    pub(crate) fn new(now: Instant, life: Life, code: ErrorCode, theirs: bool, period: Duration) -> Self {
        Self { life, code, ours: Telling::Owed, theirs, until: now + period }
    }

    /// The id.
    pub(crate) const fn id(&self) -> PathId {
        self.life.id
    }

    /// Numbers may have moved on as long as what came late was read.
    pub(crate) const fn set_numbers(&mut self, next: PacketNumber, highest: PacketNumber) {
        (self.life.next, self.life.highest) = (next, highest);
    }

    /// The life that is over.
    pub(crate) const fn life(&self) -> &Life {
        &self.life
    }

    /// The next life, if it may begin.
    pub(crate) fn next_life(&self, now: Instant) -> Option<Life> {
        let free = self.ours == Telling::Known && self.theirs && self.until <= now;
        free.then(|| Life { generation: self.life.generation.saturating_add(1), ..self.life })
    }

    /// What the peer is to be told.
    pub(crate) fn owed(&self) -> Option<Abandon> {
        let Life { id, generation, .. } = self.life;
        (self.ours == Telling::Owed).then_some(Abandon { path: id, generation, code: self.code })
    }

    /// It went out.
    pub(crate) const fn on_sent(&mut self) {
        self.ours = Telling::Sent;
    }

    /// What was said of this generation was lost, or perhaps.
    pub(crate) fn on_lost(&mut self, generation: u32) {
        if self.life.generation == generation && self.ours == Telling::Sent {
            self.ours = Telling::Owed;
        }
    }

    /// The peer knows what was said of this generation.
    pub(crate) fn on_acked(&mut self, now: Instant, generation: u32, period: Duration) {
        if self.life.generation == generation && self.ours != Telling::Known {
            self.ours = Telling::Known;
            self.until = self.until.max(now + period);
        }
    }

    /// The peer abandons a path with this id that is not open. Of a path of its own that was never seen here it may be the
    /// next generation: that one has come and gone.
    pub(crate) fn on_abandon(&mut self, now: Instant, generation: u32, is_theirs: bool, period: Duration) {
        if generation == self.life.generation {
            if !self.theirs {
                self.theirs = true;
                self.until = self.until.max(now + period);
            }
        } else if is_theirs && self.theirs && generation == self.life.generation.saturating_add(1) {
            // Who is through with the next life is through with this one, whatever we still wait for.
            let life = Life { generation, ..self.life };
            *self = Self::new(now, life, self.code, true, period);
        }
    }
}

/// What both sides' applications want of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Statuses {
    own: PathStatus,
    /// How often that was set.
    sequence: u64,
    telling: Telling,
    peer: PathStatus,
    /// The highest sequence number of the peer's.
    peer_sequence: Option<u64>,
}

impl Default for Statuses {
    /// Nobody has said anything.
    fn default() -> Self {
        Self {
            own: PathStatus::Available,
            sequence: 0,
            telling: Telling::Known,
            peer: PathStatus::Available,
            peer_sequence: None,
        }
    }
}

impl Statuses {
    /// Ours.
    pub(crate) const fn own(&self) -> PathStatus {
        self.own
    }

    /// The peer's.
    pub(crate) const fn peer(&self) -> PathStatus {
        self.peer
    }

    /// Sets ours. Says whether that is news.
    pub(crate) fn set(&mut self, status: PathStatus) -> bool {
        let news = self.own != status;
        if news {
            self.own = status;
            self.sequence = self.sequence.saturating_add(1);
            self.telling = Telling::Owed;
        }
        news
    }

    /// Takes the peer's, unless it is an old one. Says whether that is news.
    pub(crate) fn on_peer(&mut self, status: PathStatus, sequence: u64) -> bool {
        if self.peer_sequence.is_some_and(|newest| sequence <= newest) {
            return false;
        }
        self.peer_sequence = Some(sequence);
        core::mem::replace(&mut self.peer, status) != status
    }

    /// What the peer is to be told, and its sequence number.
    pub(crate) fn owed(&self) -> Option<(PathStatus, u64)> {
        (self.telling == Telling::Owed).then_some((self.own, self.sequence))
    }

    /// It went out.
    pub(crate) const fn on_sent(&mut self) {
        self.telling = Telling::Sent;
    }

    /// One with this sequence number was lost.
    pub(crate) fn on_lost(&mut self, sequence: u64) {
        if self.sequence == sequence && self.telling == Telling::Sent {
            self.telling = Telling::Owed;
        }
    }

    /// The peer knows the one with this sequence number.
    pub(crate) fn on_acked(&mut self, sequence: u64) {
        if self.sequence == sequence {
            self.telling = Telling::Known;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(3);
    const UNUSED: ErrorCode = ErrorCode(0);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn life() -> Life {
        Life { id: PathId(2), generation: 5, next: PacketNumber(70), highest: PacketNumber(30) }
    }

    #[test]
    fn a_path_id_is_free_when_both_have_said_so_and_time_has_passed() {
        let mut retired = Retired::new(at(0), life(), UNUSED, false, PERIOD);
        assert_eq!(retired.owed(), Some(Abandon { path: PathId(2), generation: 5, code: UNUSED }));
        retired.on_sent();
        assert_eq!(retired.owed(), None);
        retired.on_abandon(at(1), 5, false, PERIOD);
        assert_eq!(retired.next_life(at(100)), None, "the peer may not know yet");
        retired.on_acked(at(10), 5, PERIOD);
        assert_eq!(retired.next_life(at(12)), None);
        assert_eq!(retired.next_life(at(13)), Some(Life { generation: 6, ..life() }), "numbers go on");
    }

    #[test]
    fn a_path_abandon_is_repeated_until_the_peer_knows_and_answered_only_once() {
        let mut retired = Retired::new(at(0), life(), UNUSED, true, PERIOD);
        for _ in 0..3 {
            retired.on_sent();
            retired.on_lost(4);
            assert_eq!(retired.owed(), None, "another generation's");
            retired.on_lost(5);
            assert!(retired.owed().is_some());
        }
        retired.on_acked(at(1), 4, PERIOD);
        assert!(retired.owed().is_some(), "another generation's");
        retired.on_acked(at(1), 5, PERIOD);
        retired.on_lost(5);
        retired.on_abandon(at(2), 5, true, PERIOD);
        assert_eq!((retired.owed(), retired.next_life(at(4)).map(|life| life.generation)), (None, Some(6)));
    }

    #[test]
    fn a_path_that_came_and_went_unseen_is_answered() {
        let mut retired = Retired::new(at(0), life(), UNUSED, false, PERIOD);
        retired.on_abandon(at(9), 6, true, PERIOD);
        assert_eq!(retired.life().generation, 5, "not while the peer has not ended the last life");
        retired.on_abandon(at(9), 5, true, PERIOD);
        retired.on_abandon(at(9), 7, true, PERIOD);
        retired.on_abandon(at(9), 6, false, PERIOD);
        assert_eq!(retired.life().generation, 5, "neither one after the next, nor one of ours");
        retired.on_abandon(at(9), 6, true, PERIOD);
        assert_eq!(retired.owed().map(|abandon| abandon.generation), Some(6));
        retired.on_acked(at(10), 6, PERIOD);
        assert_eq!(retired.next_life(at(13)).map(|life| life.generation), Some(7));
    }

    #[test]
    fn only_the_newest_path_status_counts() {
        let mut statuses = Statuses::default();
        assert_eq!(statuses.owed(), None);
        assert!(!statuses.set(PathStatus::Available), "no news");
        assert!(statuses.set(PathStatus::Backup) && statuses.set(PathStatus::Available));
        assert_eq!(statuses.owed(), Some((PathStatus::Available, 2)));
        statuses.on_sent();
        statuses.on_lost(1);
        assert_eq!(statuses.owed(), None, "there is a newer one");
        statuses.on_lost(2);
        assert!(statuses.owed().is_some());
        statuses.on_acked(2);
        assert_eq!(statuses.owed(), None);
        assert!(statuses.on_peer(PathStatus::Backup, 4));
        assert!(!statuses.on_peer(PathStatus::Available, 4) && !statuses.on_peer(PathStatus::Available, 3));
        assert_eq!(statuses.peer(), PathStatus::Backup);
    }
}

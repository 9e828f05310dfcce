//! Streams that open by use, as in QOTP: either side may use any 32-bit id, in any order, and an id is used up for the
//! life of the connection, so that what comes late for a stream that is over does not begin it anew.

use alloc::collections::VecDeque;

use crate::budget::room;
use crate::error::OpenError;
use crate::id::{Direction, Role, StreamId};
use crate::ranges::{RangeSet, TooManyGaps};

use super::flow::Reception;

/// Ranges of used ids that the peer may make us remember, of each side's ids: 16 KiB. One that scatters its ids more
/// widely opens no further stream, unless its id is next to a used one.
const MAX_RANGES: usize = 1024;
/// Ids of each side: half of all 32-bit numbers.
const IDS: u64 = 1 << 31;

/// Which ids were used, how many streams are open, and what was received on them.
#[derive(Debug)]
pub(crate) struct ByUse {
    /// Those that are or were open.
    used: Used,
    /// Where [`Self::open`] looks for a free id of ours.
    next: u64,
    /// The most streams that each side may have opened and not ended.
    max: usize,
    ours: usize,
    theirs: usize,
    /// Opened by the peer, not accepted yet, in the order of their first use; at most twice `max`.
    unaccepted: VecDeque<StreamId>,
    /// The application saw all there was.
    accept_awaited: bool,
    /// An open was refused: the application waits.
    open_awaited: bool,
    pub(super) reception: Reception,
}

/// Indices of the ids of each side.
#[derive(Debug, Default)]
struct Used {
    initiator: RangeSet,
    responder: RangeSet,
}

impl Used {
    const fn by(&self, opener: Role) -> &RangeSet {
        match opener {
            Role::Initiator => &self.initiator,
            Role::Responder => &self.responder,
        }
    }

    const fn by_mut(&mut self, opener: Role) -> &mut RangeSet {
        match opener {
            Role::Initiator => &mut self.initiator,
            Role::Responder => &mut self.responder,
        }
    }
}

impl ByUse {
    /// No streams yet. Each side may have `max` of them open.
    pub(super) fn new(max: u32, reception: Reception) -> Self {
        Self {
            used: Used::default(),
            next: 0,
            max: usize::try_from(max).unwrap_or(usize::MAX),
            ours: 0,
            theirs: 0,
            unaccepted: VecDeque::new(),
            accept_awaited: true,
            open_awaited: false,
            reception,
        }
    }

    /// Whether a stream with this id is open, or was.
    pub(super) fn is_used(&self, id: StreamId) -> bool {
        let index = id.index();
        self.used.by(id.opener()).gaps(index..index.saturating_add(1)).next().is_none()
    }

    /// Forgets that this id was used.
    pub(super) fn disown(&mut self, id: StreamId) {
        self.used.by_mut(id.opener()).remove(id.index()..id.index().saturating_add(1));
    }

    /// Uses an id up.
    fn take(&mut self, id: StreamId) -> Result<(), TooManyGaps> {
        let used = self.used.by_mut(id.opener());
        let range = id.index()..id.index().saturating_add(1);
        if !used.accepts(&range, MAX_RANGES) {
            return Err(TooManyGaps);
        }
        used.insert(range);
        Ok(())
    }

    /// Opens the lowest of our ids that is above those given before and that nobody has used.
    pub(super) fn open(&mut self, role: Role) -> Result<StreamId, OpenError> {
        self.check_limit()?;
        let used = self.used.by_mut(role);
        let free = used.gaps(self.next..IDS).next().ok_or(OpenError::InUse)?;
        // Whatever the peer has scattered: this adds at most one range to those that it may have.
        self.next = free.start.saturating_add(1);
        used.insert(free.start..self.next);
        self.ours = self.ours.saturating_add(1);
        Ok(StreamId::new(role, Direction::Bidirectional, free.start))
    }

    /// Opens the stream with this id for us.
    pub(super) fn open_id(&mut self, id: StreamId) -> Result<StreamId, OpenError> {
        if self.is_used(id) {
            return Err(OpenError::InUse);
        }
        self.check_limit()?;
        self.take(id).map_err(|_| OpenError::OverBudget)?;
        self.ours = self.ours.saturating_add(1);
        Ok(id)
    }

    fn check_limit(&mut self) -> Result<(), OpenError> {
        if self.ours < self.max {
            return Ok(());
        }
        self.open_awaited = true;
        Err(OpenError::Blocked)
    }

    /// Whether the peer may open another stream, of those that its ids allow.
    pub(super) const fn has_place(&self) -> bool {
        self.theirs < self.max
    }

    /// The peer opens the stream with this id, which is not used. `exists` tells which of the streams that were not
    /// accepted still do. Returns whether the application waits for one.
    pub(super) fn on_peer_opened(
        &mut self,
        id: StreamId,
        exists: impl Fn(&StreamId) -> bool,
    ) -> Result<bool, TooManyGaps> {
        self.take(id)?;
        self.theirs = self.theirs.saturating_add(1);
        if self.unaccepted.len() >= self.max.saturating_mul(2) {
            // At least half of them are over, so each is looked at once.
            self.unaccepted.retain(exists);
        }
        self.unaccepted.push_back(id);
        Ok(core::mem::take(&mut self.accept_awaited))
    }

    /// The next stream of the peer that the application has not seen.
    pub(super) fn accept(&mut self) -> Option<StreamId> {
        let next = self.unaccepted.pop_front();
        self.accept_awaited |= next.is_none();
        next
    }

    /// A stream is over. Returns whether the application waits for its place.
    pub(super) const fn on_closed(&mut self, ours: bool) -> bool {
        if ours {
            self.ours = self.ours.saturating_sub(1);
            core::mem::replace(&mut self.open_awaited, false)
        } else {
            self.theirs = self.theirs.saturating_sub(1);
            false
        }
    }

    /// Heap held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let Used { initiator, responder } = &self.used;
        let queue = room::<StreamId>(self.unaccepted.capacity());
        initiator.capacity_bytes().saturating_add(responder.capacity_bytes()).saturating_add(queue)
    }

    /// Gives the room back that a busier time needed.
    pub(super) fn shrink(&mut self) {
        self.unaccepted.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn by_use(max: u32) -> ByUse {
        ByUse::new(max, Reception::new(0))
    }

    fn peer_opens(by_use: &mut ByUse, number: u32) -> Result<bool, TooManyGaps> {
        by_use.on_peer_opened(StreamId::qotp(number), |_| true)
    }

    #[test]
    fn qotp_ids_are_given_in_order_around_those_in_use() {
        let mut by_use = by_use(10);
        for number in [0, 4, 5, 6] {
            peer_opens(&mut by_use, number).unwrap();
        }
        by_use.open_id(StreamId::qotp(10)).unwrap();
        let given: Vec<_> = (0..4).map(|_| by_use.open(Role::Initiator).unwrap().qotp_number()).collect();
        assert_eq!(given, [Some(2), Some(8), Some(12), Some(14)]);
        assert_eq!(by_use.open_id(StreamId::qotp(8)), Err(OpenError::InUse));
        assert_eq!(by_use.open_id(StreamId::qotp(5)), Err(OpenError::InUse));
        assert_eq!(by_use.open_id(StreamId::qotp(7)), Ok(StreamId::qotp(7)));
    }

    #[test]
    fn qotp_scattered_ids_are_bounded() {
        let mut by_use = by_use(u32::MAX);
        for scattered in 0..MAX_RANGES as u32 {
            peer_opens(&mut by_use, scattered * 4 + 2).unwrap();
        }
        assert_eq!(peer_opens(&mut by_use, u32::MAX - 1), Err(TooManyGaps));
        assert!(!by_use.is_used(StreamId::qotp(u32::MAX - 1)));
        assert_eq!(by_use.open_id(StreamId::qotp(100_000)), Err(OpenError::OverBudget));
        assert!(peer_opens(&mut by_use, u32::MAX).is_ok(), "the other side's ids have ranges of their own");
        assert!(peer_opens(&mut by_use, 4).is_ok(), "next to used ones");
        assert_eq!(by_use.open(Role::Initiator), Ok(StreamId::qotp(0)));
    }

    #[test]
    fn qotp_streams_that_nobody_accepts_are_bounded() {
        let mut by_use = by_use(10);
        for number in 0..1000 {
            by_use.on_peer_opened(StreamId::qotp(number), |id| *id == StreamId::qotp(1)).unwrap();
            by_use.on_closed(false);
            assert!(by_use.unaccepted.len() <= 20);
        }
        assert_eq!(by_use.accept(), Some(StreamId::qotp(1)), "the one that still exists");
    }

    #[test]
    fn qotp_all_ids_can_be_used_up() {
        let mut by_use = by_use(10);
        by_use.used.responder.insert(0..IDS - 1);
        assert_eq!(by_use.open(Role::Responder), Ok(StreamId::qotp(u32::MAX)));
        assert_eq!(by_use.open(Role::Responder), Err(OpenError::InUse));
        assert!(by_use.is_used(StreamId::qotp(u32::MAX)) && !by_use.is_used(StreamId::qotp(u32::MAX - 1)));
    }
}

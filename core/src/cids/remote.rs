//! The ids that the peer gave us.

use alloc::vec::Vec;

use smallvec::SmallVec;

use crate::budget::room;
use crate::id::ConnectionId;

use super::MAX_ISSUED;
use super::reset::ResetToken;

/// An id under which the peer is reached, with its sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RemoteCid {
    pub(crate) sequence: u32,
    pub(crate) id: ConnectionId,
    /// What a reset of it ends with; an initiator's first id has none.
    pub(crate) token: Option<ResetToken>,
}

/// An id that we are done with.
#[derive(Clone, Copy, Debug)]
struct Retired {
    sequence: u32,
    telling: Telling,
}

/// How far the peer is told that an id is retired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Telling {
    /// Not yet: with the next packet, which is the first to another id.
    First,
    Sent,
    /// Not yet, or in vain: at once.
    Urgent,
}

/// What we have of the peer's ids beside those in use.
#[derive(Debug)]
pub(crate) struct RemoteCids {
    /// Not used yet, lowest sequence number first.
    spare: SmallVec<[RemoteCid; 2]>,
    /// Done with, until the peer has acknowledged it.
    retired: Vec<Retired>,
    /// All sequence numbers below this have been seen.
    seen_below: u32,
    /// Bit n says whether `seen_below + 1 + n` has.
    seen: u64,
}

/// What a NEW_CONNECTION_ID is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum News {
    Spare,
    /// Known already.
    Repeated,
    /// More than may be issued, or another id or token under a known number.
    Forbidden,
    /// Its number is too far from what was seen to tell repetitions apart: let it come again.
    TooFar,
}

impl RemoteCids {
    /// None but the handshake's, which has the sequence number 0.
    pub(crate) fn new() -> Self {
        Self { spare: SmallVec::new(), retired: Vec::new(), seen_below: 1, seen: 0 }
    }

    /// Takes a new id in, where `in_use` others are used.
    pub(crate) fn on_new(&mut self, new: RemoteCid, in_use: usize) -> News {
        let same = |spare: &RemoteCid| spare.sequence == new.sequence || spare.id == new.id;
        if let Some(known) = self.spare.iter().find(|spare| same(spare)) {
            return if *known == new { News::Repeated } else { News::Forbidden };
        }
        let Some(ahead) = new.sequence.checked_sub(self.seen_below) else { return News::Repeated };
        let bit = match ahead.checked_sub(1) {
            None => 0,
            Some(place @ 0..64) => 1_u64.wrapping_shl(place),
            Some(_) => return News::TooFar,
        };
        if self.seen & bit != 0 {
            return News::Repeated;
        }
        let kept = self.spare.len().saturating_add(self.retired.len());
        if kept.saturating_add(in_use) >= MAX_ISSUED {
            return News::Forbidden;
        }
        self.seen |= bit;
        if ahead == 0 {
            let run = self.seen.trailing_ones().saturating_add(1);
            self.seen_below = self.seen_below.saturating_add(run);
            self.seen = self.seen.checked_shr(run).unwrap_or(0);
        }
        let at = self.spare.partition_point(|spare| spare.sequence < new.sequence);
        self.spare.insert(at, new);
        News::Spare
    }

    /// Whether there is an id to use.
    pub(crate) fn has_spare(&self) -> bool {
        !self.spare.is_empty()
    }

    /// One of those to use, by any number: for tests that use them without taking them.
    pub(crate) fn any_spare(&self, number: usize) -> Option<ConnectionId> {
        let at = number.checked_rem(self.spare.len())?;
        self.spare.get(at).map(|spare| spare.id)
    }

    /// The next id to use.
    pub(crate) fn take(&mut self) -> Option<RemoteCid> {
        if self.spare.is_empty() { None } else { Some(self.spare.remove(0)) }
    }

    /// An id is not used any more.
    pub(crate) fn retire(&mut self, sequence: u32) {
        self.retired.push(Retired { sequence, telling: Telling::First });
    }

    /// The same, where no packet to another id follows.
    pub(crate) fn retire_at_once(&mut self, sequence: u32) {
        self.retired.push(Retired { sequence, telling: Telling::Urgent });
    }

    /// The next that the peer is to be told of.
    pub(crate) fn next_owed(&self) -> Option<u32> {
        // There are a handful.
        self.retired.iter().find(|retired| retired.telling != Telling::Sent).map(|retired| retired.sequence)
    }

    /// Whether the peer is to be told something that does not wait for a packet that goes anyway.
    pub(crate) fn is_urgent(&self) -> bool {
        self.retired.iter().any(|retired| retired.telling == Telling::Urgent)
    }

    /// A RETIRE_CONNECTION_ID went out.
    pub(crate) fn on_sent(&mut self, sequence: u32) {
        self.set(sequence, Telling::Sent);
    }

    /// A RETIRE_CONNECTION_ID was lost.
    pub(crate) fn on_lost(&mut self, sequence: u32) {
        self.set(sequence, Telling::Urgent);
    }

    fn set(&mut self, sequence: u32, telling: Telling) {
        if let Some(retired) = self.retired.iter_mut().find(|retired| retired.sequence == sequence) {
            retired.telling = telling;
        }
    }

    /// The peer knows.
    pub(crate) fn on_acked(&mut self, sequence: u32) {
        self.retired.retain(|retired| retired.sequence != sequence);
        if self.retired.is_empty() {
            self.retired.shrink_to_fit();
        }
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let spare = if self.spare.spilled() { room::<RemoteCid>(self.spare.capacity()) } else { 0 };
        spare.saturating_add(room::<Retired>(self.retired.capacity()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn cid(sequence: u32) -> RemoteCid {
        let token = Some(ResetToken::new([sequence as u8; 16]));
        RemoteCid { sequence, id: ConnectionId::from_bytes(u64::from(sequence).to_be_bytes()), token }
    }

    #[test]
    fn path_ids_are_used_in_the_order_of_their_numbers() {
        let mut cids = RemoteCids::new();
        for sequence in [2, 1, 3] {
            assert_eq!(cids.on_new(cid(sequence), 1), News::Spare);
        }
        assert_eq!(
            (1..=4).map(|_| cids.take()).collect::<Vec<_>>(),
            [Some(cid(1)), Some(cid(2)), Some(cid(3)), None]
        );
    }

    #[test]
    fn path_ids_with_a_known_number_are_the_same_or_a_violation() {
        let mut cids = RemoteCids::new();
        assert_eq!(cids.on_new(cid(1), 1), News::Spare);
        assert_eq!(cids.on_new(cid(1), 1), News::Repeated);
        assert_eq!(cids.on_new(RemoteCid { sequence: 1, ..cid(2) }, 1), News::Forbidden);
        assert_eq!(cids.on_new(RemoteCid { sequence: 2, ..cid(1) }, 1), News::Forbidden);
        let token = Some(ResetToken::new([9; 16]));
        assert_eq!(cids.on_new(RemoteCid { token, ..cid(1) }, 1), News::Forbidden);
        assert_eq!(cids.on_new(cid(0), 1), News::Repeated, "the handshake's");
    }

    #[test]
    fn path_ids_without_end_are_a_violation() {
        let mut cids = RemoteCids::new();
        let taken = (1..).take_while(|sequence| cids.on_new(cid(*sequence), 1) == News::Spare).count();
        assert_eq!(taken, MAX_ISSUED - 1);
        assert_eq!(cids.on_new(cid(MAX_ISSUED as u32), 1), News::Forbidden);
    }

    #[test]
    fn path_ids_are_retired_until_the_peer_knows() {
        let mut cids = RemoteCids::new();
        cids.retire(0);
        assert_eq!((cids.next_owed(), cids.is_urgent()), (Some(0), false));
        cids.on_sent(0);
        assert_eq!(cids.next_owed(), None);
        cids.on_lost(0);
        assert_eq!((cids.next_owed(), cids.is_urgent()), (Some(0), true));
        cids.on_acked(0);
        cids.on_lost(0);
        assert_eq!((cids.next_owed(), cids.heap_bytes()), (None, 0));
    }

    proptest! {
        /// Each number is a spare once, however often and in whatever order it comes.
        #[test]
        fn path_ids_come_once(sequences in proptest::collection::vec(0..80_u32, 1..200)) {
            let (mut cids, mut known) = (RemoteCids::new(), BTreeMap::from([(0, true)]));
            for sequence in sequences {
                match cids.on_new(cid(sequence), 1) {
                    News::Spare => prop_assert_eq!(known.insert(sequence, true), None),
                    News::Repeated => prop_assert!(known.contains_key(&sequence)),
                    News::Forbidden => prop_assert!(false, "{sequence}"),
                    News::TooFar => prop_assert!((1..sequence).any(|below| !known.contains_key(&below))),
                }
                // Used and done with at once, so that the limit is not what this is about.
                if let Some(cid) = cids.take() {
                    cids.retire(cid.sequence);
                    cids.on_acked(cid.sequence);
                }
            }
        }
    }
}

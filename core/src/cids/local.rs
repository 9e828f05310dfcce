//! The ids that we gave the peer.

use alloc::vec::Vec;

use smallvec::SmallVec;

use crate::budget::room;
use crate::id::ConnectionId;
use crate::time::{Duration, Instant};

use super::PATIENCE;

/// An id that the peer may use.
#[derive(Clone, Copy, Debug)]
struct Issued {
    sequence: u32,
    id: ConnectionId,
    /// The peer is to be told of it.
    owed: bool,
}

/// The ids under which packets come to us.
#[derive(Debug)]
pub(crate) struct LocalCids {
    /// What the peer has not retired, lowest number first.
    issued: SmallVec<[Issued; 3]>,
    /// What it has, oldest first: packets that were on their way still come.
    retired: Vec<(ConnectionId, Instant)>,
    /// The sequence number of the next one.
    next: u32,
    due: Due,
}

/// When what the peer is to be told must go, if nothing goes before that could take it along.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// There is nothing.
    Never,
    At(Instant),
    Now,
}

/// The peer named an id that it was never given, or the one that its packet was sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotIssued;

impl LocalCids {
    /// The id of the handshake, which has the sequence number 0.
    pub(crate) fn new(first: ConnectionId) -> Self {
        let mut issued = SmallVec::new();
        issued.push(Issued { sequence: 0, id: first, owed: false });
        Self { issued, retired: Vec::new(), next: 1, due: Due::Never }
    }

    /// How many more the peer is to get, so that it has `supply`. Those that it has retired count as long as they are
    /// kept, up to as many again: who retires them without end waits.
    pub(crate) fn missing(&self, supply: usize) -> usize {
        let kept = self.issued.len().saturating_add(self.retired.len());
        let room = supply.saturating_mul(2).saturating_sub(kept);
        supply.saturating_sub(self.issued.len()).min(room)
    }

    /// Gives the peer one more.
    pub(crate) fn issue(&mut self, now: Instant, id: ConnectionId) {
        self.issued.push(Issued { sequence: self.next, id, owed: true });
        self.next = self.next.saturating_add(1);
        if self.due == Due::Never {
            self.due = Due::At(now + PATIENCE);
        }
    }

    /// What is owed waits no longer.
    pub(crate) fn hurry(&mut self) {
        if self.due != Due::Never {
            self.due = Due::Now;
        }
    }

    /// The next id that the peer is to be told of.
    pub(crate) fn next_owed(&self) -> Option<(u32, ConnectionId)> {
        // There are a handful.
        self.issued.iter().find(|issued| issued.owed).map(|issued| (issued.sequence, issued.id))
    }

    /// A NEW_CONNECTION_ID went out.
    pub(crate) fn on_sent(&mut self, sequence: u32) {
        if let Some(issued) = self.find(sequence) {
            issued.owed = false;
        }
        self.settle();
    }

    /// A NEW_CONNECTION_ID was lost.
    pub(crate) fn on_lost(&mut self, sequence: u32) {
        if let Some(issued) = self.find(sequence) {
            issued.owed = true;
            self.due = Due::Now;
        }
    }

    fn find(&mut self, sequence: u32) -> Option<&mut Issued> {
        self.issued.iter_mut().find(|issued| issued.sequence == sequence)
    }

    /// Whether something is owed that waits no longer.
    pub(crate) fn is_urgent(&self) -> bool {
        self.due == Due::Now
    }

    /// What has waited for long enough waits no longer.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        if matches!(self.due, Due::At(at) if at <= now) {
            self.due = Due::Now;
        }
    }

    /// The peer retired an id, in a packet that was sent to `used`. It is kept for `period`.
    ///
    /// # Errors
    /// [`NotIssued`].
    pub(crate) fn on_retire(
        &mut self,
        now: Instant,
        sequence: u32,
        used: ConnectionId,
        period: Duration,
    ) -> Result<(), NotIssued> {
        if sequence >= self.next {
            return Err(NotIssued);
        }
        let Some(id) = self.find(sequence).map(|issued| issued.id) else { return Ok(()) };
        if id == used {
            return Err(NotIssued);
        }
        self.issued.retain(|issued| issued.sequence != sequence);
        self.retired.push((id, now + period));
        self.settle();
        Ok(())
    }

    /// Nothing is due where nothing is owed.
    fn settle(&mut self) {
        if self.next_owed().is_none() {
            self.due = Due::Never;
        }
    }

    /// A retired id that need not be kept any more.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<ConnectionId> {
        let (id, until) = *self.retired.first()?;
        if until > now {
            return None;
        }
        self.retired.remove(0);
        if self.retired.is_empty() {
            self.retired.shrink_to_fit();
        }
        Some(id)
    }

    /// When something is to be told, or forgotten.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let expiry = self.retired.first().map(|(_, until)| *until);
        let due = match self.due {
            Due::At(at) => Some(at),
            Due::Never | Due::Now => None,
        };
        [due, expiry].into_iter().flatten().min()
    }

    /// All under which packets still come.
    pub(crate) fn all(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.issued.iter().map(|issued| issued.id).chain(self.retired.iter().map(|(id, _)| *id))
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let issued = if self.issued.spilled() { room::<Issued>(self.issued.capacity()) } else { 0 };
        issued.saturating_add(room::<(ConnectionId, Instant)>(self.retired.capacity()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(3);

    fn id(byte: u8) -> ConnectionId {
        ConnectionId::from_bytes([byte; 8])
    }

    fn supplied() -> LocalCids {
        let mut cids = LocalCids::new(id(0));
        for byte in 1..=2 {
            assert_eq!(cids.missing(3), 3 - usize::from(byte));
            cids.issue(Instant::ZERO, id(byte));
        }
        assert_eq!(cids.missing(3), 0);
        cids
    }

    #[test]
    fn path_ids_go_with_the_next_packet_or_after_a_while_and_again_at_once() {
        let mut cids = supplied();
        assert_eq!(cids.next_owed(), Some((1, id(1))));
        assert!(!cids.is_urgent());
        assert_eq!(cids.deadline(), Some(Instant::ZERO + PATIENCE));
        cids.on_timeout(Instant::ZERO + PATIENCE);
        assert!(cids.is_urgent());
        cids.on_sent(1);
        cids.on_sent(2);
        assert_eq!((cids.next_owed(), cids.deadline()), (None, None));
        cids.on_lost(2);
        assert_eq!(cids.next_owed(), Some((2, id(2))));
        assert!(cids.is_urgent());
    }

    #[test]
    fn path_ids_that_are_retired_live_on_for_a_while_and_are_replaced() {
        let mut cids = supplied();
        cids.on_retire(Instant::ZERO, 0, id(1), PERIOD).unwrap();
        assert_eq!(cids.missing(3), 1);
        assert!(cids.all().any(|known| known == id(0)));
        assert_eq!(cids.pop_expired(Instant::ZERO), None);
        assert_eq!(cids.pop_expired(Instant::ZERO + PERIOD), Some(id(0)));
        assert!(!cids.all().any(|known| known == id(0)));
        // Told again, because an acknowledgement was lost.
        assert_eq!(cids.on_retire(Instant::ZERO, 0, id(1), PERIOD), Ok(()));
    }

    #[test]
    fn path_ids_that_were_never_issued_or_are_in_use_cannot_be_retired() {
        let mut cids = supplied();
        assert_eq!(cids.on_retire(Instant::ZERO, 3, id(1), PERIOD), Err(NotIssued));
        assert_eq!(cids.on_retire(Instant::ZERO, 1, id(1), PERIOD), Err(NotIssued));
    }

    #[test]
    fn path_ids_retired_in_a_flood_are_not_replaced_before_the_old_ones_are_gone() {
        let mut cids = supplied();
        let mut next = 3;
        for sequence in 0..1000 {
            if cids.on_retire(Instant::ZERO, sequence, id(255), PERIOD).is_err() {
                break;
            }
            while cids.missing(3) > 0 {
                cids.issue(Instant::ZERO, id(next));
                next += 1;
            }
        }
        assert_eq!(cids.all().count(), 6);
        assert_eq!(next, 6);
        while cids.pop_expired(Instant::ZERO + PERIOD).is_some() {}
        assert_eq!(cids.missing(3), 3);
    }
}

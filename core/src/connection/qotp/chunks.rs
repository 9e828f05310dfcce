//! What was sent and not acknowledged, by the only name that QOTP's acknowledgements have for it: stream, offset, length.
//!
//! A chunk that is lost goes again exactly as it was: QOTP v0.2.19's receiver hangs for ever on segments that overlap what
//! it has in other ways.

use alloc::collections::VecDeque;

use hashbrown::HashMap;

use crate::budget::{room, total};
use crate::hash::KeyedState;
use crate::id::StreamId;
use crate::recovery::sent::Item;

/// How an acknowledgement names a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Name {
    pub(super) id: StreamId,
    pub(super) offset: u64,
    pub(super) len: u16,
}

/// A chunk that was sent at least once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Flight {
    /// The packet that carried it last.
    packet: u64,
    /// The packet that carried it before that one.
    before: Option<u64>,
    /// How often it was sent, as far as it matters whether that was once.
    sendings: u32,
    /// The end of the stream.
    fin: bool,
    /// PINGs with this name: an acknowledgement may be for them.
    pings: u32,
    /// Waits in the queue to be sent again.
    queued: bool,
    /// Acknowledged for an earlier packet: the last one will be too, if it arrives.
    arrived: bool,
}

/// What an acknowledgement says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Credit {
    /// The packet that it is credited to.
    pub(super) packet: u64,
    /// Whether it can only be for that one: then it tells the round-trip time (Karn's rule).
    pub(super) clean: bool,
    /// What has arrived; `None` if that cannot be told yet.
    pub(super) item: Option<Item>,
}

/// Room beyond this many bytes is given back when the connection rests.
const KEEP: usize = 1 << 10;
/// A chunk that was sent so often is perhaps one that the peer has no room for.
const OFTEN: u32 = 3;

/// All chunks in flight or lost.
#[derive(Debug)]
pub(super) struct Chunks {
    flights: HashMap<Name, Flight, KeyedState>,
    /// To be sent again, first come first served. May name chunks that were acknowledged meanwhile.
    lost: VecDeque<Name>,
    /// The last turn was given to new data.
    yielded: bool,
}

impl Chunks {
    pub(super) fn new(hasher: KeyedState) -> Self {
        Self { flights: HashMap::with_hasher(hasher), lost: VecDeque::new(), yielded: false }
    }

    /// A packet went out with this chunk.
    pub(super) fn on_sent(&mut self, name: Name, fin: bool, packet: u64) {
        let ping = name.len == 0 && !fin;
        let first =
            Flight { packet, before: None, sendings: 0, fin, pings: 0, queued: false, arrived: false };
        if self.flights.get(&name).is_some_and(|flight| flight.arrived) {
            // Another PING.
            self.flights.remove(&name);
        }
        let flight = self.flights.entry(name).or_insert(first);
        flight.before = (flight.sendings > 0).then_some(flight.packet);
        flight.packet = packet;
        flight.sendings = flight.sendings.saturating_add(1);
        flight.fin |= fin;
        flight.pings = flight.pings.saturating_add(u32::from(ping));
        flight.queued = false;
    }

    /// Whether packet `number` was the last to carry this chunk.
    pub(super) fn is_in(&self, name: Name, number: u64) -> bool {
        self.flights.get(&name).is_some_and(|flight| flight.packet == number)
    }

    /// An acknowledgement came. `None`: it names nothing that waits for one. `too_soon` says whether a packet was sent so
    /// recently that the acknowledgement cannot be for it: then it is for the one before.
    pub(super) fn on_acked(&mut self, name: Name, too_soon: impl FnOnce(u64) -> bool) -> Option<Credit> {
        let flight = self.flights.get_mut(&name)?;
        let credit = Credit { packet: flight.packet, clean: flight.sendings == 1, item: None };
        if flight.arrived {
            self.flights.remove(&name);
            return Some(credit);
        }
        if flight.fin && flight.pings > 0 {
            // It may be the PING that arrived: the end of the stream goes again until there are more acknowledgements
            // than there were PINGs.
            flight.pings = flight.pings.saturating_sub(1);
            self.requeue(name);
            return Some(credit);
        }
        let item = Some(name.item(flight.fin));
        if let Some(packet) = flight.before.filter(|_| too_soon(flight.packet)) {
            (flight.arrived, flight.queued) = (true, false);
            return Some(Credit { packet, clean: flight.sendings == 2, item });
        }
        self.flights.remove(&name);
        Some(Credit { item, ..credit })
    }

    /// Packet `number`, which carried this chunk, is lost. Says whether the chunk goes again.
    pub(super) fn on_lost(&mut self, name: Name, number: u64) -> bool {
        match self.flights.get(&name) {
            Some(flight) if flight.packet != number => false,
            // PINGs are not repeated for their own sake.
            Some(flight) if flight.arrived || (name.len == 0 && !flight.fin) => {
                self.flights.remove(&name);
                false
            }
            Some(_) => self.requeue(name),
            None => false,
        }
    }

    /// Sends the chunk again if nobody has acknowledged it. Says whether it does.
    pub(super) fn requeue(&mut self, name: Name) -> bool {
        let Some(flight) = self.flights.get_mut(&name).filter(|flight| !flight.arrived) else { return false };
        if !core::mem::replace(&mut flight.queued, true) {
            self.lost.push_back(name);
        }
        true
    }

    /// The next chunk to be sent again.
    pub(super) fn first_lost(&mut self) -> Option<(Name, bool)> {
        while let Some(name) = self.lost.front() {
            match self.flights.get(name) {
                Some(flight) if flight.queued => return Some((*name, flight.fin)),
                _ => self.lost.pop_front(),
            };
        }
        None
    }

    /// Whether new data goes before the next chunk to be sent again. Chunks that were sent often take turns with it: a peer
    /// that allows fewer streams than we have open takes nothing of the others until the ones that it knows are done, and
    /// what it does not take must not keep those from that.
    pub(super) fn yields(&mut self) -> bool {
        let next = self.first_lost().and_then(|(name, _)| self.flights.get(&name));
        self.yielded = next.is_some_and(|flight| flight.sendings >= OFTEN) && !self.yielded;
        self.yielded
    }

    /// The stream of a chunk to be sent again is gone.
    pub(super) fn forget(&mut self, name: Name) {
        self.flights.remove(&name);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        total([self.flights.allocation_size(), room::<Name>(self.lost.capacity())])
    }

    pub(super) fn is_roomy(&self) -> bool {
        self.flights.is_empty() && self.heap_bytes() > KEEP
    }

    pub(super) fn shrink(&mut self) {
        self.flights.shrink_to_fit();
        self.lost.shrink_to_fit();
    }
}

impl Name {
    pub(super) const fn item(self, fin: bool) -> Item {
        Item::Stream { id: self.id, offset: self.offset, len: self.len, fin }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn chunks() -> Chunks {
        Chunks::new(Rng::new(&[1; 32], &[2; 32]).hasher())
    }

    /// Every acknowledgement may be for the last packet.
    fn late(_: u64) -> bool {
        false
    }

    fn name(offset: u64, len: u16) -> Name {
        Name { id: StreamId::qotp(3), offset, len }
    }

    #[test]
    fn qotp_acks_are_credited_to_the_packet_that_carried_the_range_last() {
        let mut chunks = chunks();
        chunks.on_sent(name(0, 10), false, 1);
        chunks.on_sent(name(10, 5), true, 2);
        assert_eq!(chunks.on_acked(name(0, 9), late), None, "no such chunk");
        let item = Some(name(10, 5).item(true));
        assert_eq!(chunks.on_acked(name(10, 5), late), Some(Credit { packet: 2, clean: true, item }));
        assert_eq!(chunks.on_acked(name(10, 5), late), None, "a second acknowledgement says nothing");

        assert!(chunks.on_lost(name(0, 10), 1));
        assert_eq!(chunks.first_lost(), Some((name(0, 10), false)));
        chunks.on_sent(name(0, 10), false, 3);
        assert!(!chunks.on_lost(name(0, 10), 1), "a newer packet has it");
        assert_eq!(chunks.first_lost(), None);
        let item = Some(name(0, 10).item(false));
        assert_eq!(chunks.on_acked(name(0, 10), late), Some(Credit { packet: 3, clean: false, item }));
    }

    #[test]
    fn qotp_chunks_acked_while_they_wait_do_not_go_again() {
        let mut chunks = chunks();
        chunks.on_sent(name(0, 10), false, 1);
        assert!(chunks.on_lost(name(0, 10), 1) && chunks.requeue(name(0, 10)));
        assert!(chunks.on_acked(name(0, 10), late).is_some());
        assert_eq!(chunks.first_lost(), None);
    }

    #[test]
    fn a_qotp_ping_does_not_acknowledge_the_end_of_an_empty_stream() {
        let mut chunks = chunks();
        chunks.on_sent(name(0, 0), false, 1);
        chunks.on_sent(name(0, 0), true, 2);
        assert_eq!(chunks.on_acked(name(0, 0), late).and_then(|credit| credit.item), None);
        assert_eq!(chunks.first_lost(), Some((name(0, 0), true)), "the end goes once more");
        chunks.on_sent(name(0, 0), true, 3);
        let credit = chunks.on_acked(name(0, 0), late).unwrap();
        assert_eq!(credit.item, Some(name(0, 0).item(true)));
    }

    #[test]
    fn a_lost_qotp_ping_is_forgotten() {
        let mut chunks = chunks();
        chunks.on_sent(name(0, 0), false, 1);
        assert!(!chunks.on_lost(name(0, 0), 1));
        assert_eq!((chunks.on_acked(name(0, 0), late), chunks.first_lost()), (None, None));
    }

    #[test]
    fn qotp_acks_that_come_too_soon_are_credited_to_the_packet_before() {
        let mut chunks = chunks();
        for packet in [1, 7] {
            chunks.on_sent(name(0, 10), false, packet);
        }
        let item = Some(name(0, 10).item(false));
        let credit = chunks.on_acked(name(0, 10), |packet| packet == 7);
        assert_eq!(credit, Some(Credit { packet: 1, clean: true, item }));
        assert!(!chunks.requeue(name(0, 10)), "it has arrived");
        let credit = chunks.on_acked(name(0, 10), late);
        assert_eq!(credit, Some(Credit { packet: 7, clean: false, item: None }), "the copy's own");
        assert_eq!(chunks.on_acked(name(0, 10), late), None);
    }

    #[test]
    fn a_lost_copy_of_a_qotp_chunk_that_arrived_is_forgotten() {
        let mut chunks = chunks();
        chunks.on_sent(name(0, 10), false, 1);
        assert!(chunks.on_lost(name(0, 10), 1));
        chunks.on_sent(name(0, 10), false, 7);
        assert!(chunks.on_acked(name(0, 10), |_| true).is_some());
        assert!(!chunks.on_lost(name(0, 10), 7));
        assert_eq!((chunks.first_lost(), chunks.flights.len()), (None, 0));
    }

    #[test]
    fn qotp_acks_of_a_single_sending_never_come_too_soon() {
        let mut chunks = chunks();
        chunks.on_sent(name(0, 10), true, 1);
        let item = Some(name(0, 10).item(true));
        assert_eq!(chunks.on_acked(name(0, 10), |_| true), Some(Credit { packet: 1, clean: true, item }));
    }
}

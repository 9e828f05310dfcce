//! Packets in flight: a ring indexed by packet number, with what each carried.
//!
//! The frames of a packet lie in a second ring of small items in sending order, so neither ring allocates in the
//! steady state however few or many frames a packet has. A record stays until it is acknowledged, or for a while after
//! it was declared lost, so that a late acknowledgement can still undo the loss.

use alloc::collections::VecDeque;

use crate::budget::room;
use crate::congestion::SentInfo;
use crate::crypto::keys::KeyPhase;
use crate::id::{Direction, PacketNumber, PathId, StreamId};
use crate::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// A part of a packet that must be dealt with when the packet is acknowledged or lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Item {
    /// Acknowledged everything received on a path from the lowest number up to the other: all there was, if it fitted.
    Ack {
        path: PathId,
        lowest: PacketNumber,
        number: PacketNumber,
    },
    /// Stream data.
    Stream {
        id: StreamId,
        offset: u64,
        len: u16,
        fin: bool,
    },
    ResetStream(StreamId),
    StopSending(StreamId),
    MaxData,
    MaxStreamData(StreamId),
    MaxStreams(Direction),
    /// Told the peer of the id with this sequence number.
    NewConnectionId(u32),
    /// Told the peer that we are done with the id with this sequence number.
    RetireConnectionId(u32),
    /// Told the peer that this generation of a path is over.
    PathAbandon {
        path: PathId,
        generation: u32,
    },
    /// Told the peer a path's status, under this sequence number.
    PathStatus {
        path: PathId,
        generation: u32,
        sequence: u64,
    },
    /// Gave the peer a token for a later dial.
    NewToken,
    /// An unreliable datagram: counted if lost, never repeated.
    Datagram,
}

impl Item {
    /// Whether it is about what is sent over paths, not about paths and packets.
    pub(crate) const fn is_payload(&self) -> bool {
        match self {
            Self::Ack { .. }
            | Self::NewConnectionId(_)
            | Self::RetireConnectionId(_)
            | Self::PathAbandon { .. }
            | Self::PathStatus { .. }
            | Self::NewToken => false,
            Self::Stream { .. }
            | Self::ResetStream(_)
            | Self::StopSending(_)
            | Self::MaxData
            | Self::MaxStreamData(_)
            | Self::MaxStreams(_)
            | Self::Datagram => true,
        }
    }
}

/// What happened to a packet so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Sent and in flight.
    Outstanding,
    /// Sent, but nothing waits for it: an acknowledgement of it is not asked for.
    Unawaited,
    /// Never sent: the number was left out.
    Skipped,
    Acked,
    Lost,
    /// Given up, for the path goes another way now, of which an acknowledgement says nothing; but what it carried has
    /// arrived then.
    Left,
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentPacket {
    pub(crate) sent: Instant,
    pub(crate) size: u16,
    fate: Fate,
    /// Sent with ECT(0).
    pub(crate) ect: bool,
    items: u16,
    first_item: u64,
    /// Numbers left out before it, modulo 2^16.
    pub(crate) skips: u16,
    /// The key phase it was sealed in.
    pub(crate) phase: KeyPhase,
    /// Of an acknowledged one: so many numbers from it on are known to be acknowledged.
    run: u32,
    pub(crate) info: SentInfo,
}

impl SentPacket {
    /// Absolute index behind its last item.
    fn items_end(&self) -> u64 {
        self.first_item.saturating_add(u64::from(self.items))
    }
}

/// What an acknowledgement newly says about a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Acked {
    /// It was in flight.
    InFlight(SentPacket),
    /// It had been declared lost.
    Spurious(SentPacket),
    /// Nothing waited for it: it was not ack-eliciting, or went another way than the path's now.
    Unawaited(SentPacket),
}

impl Acked {
    pub(crate) const fn packet(&self) -> &SentPacket {
        let (Self::InFlight(packet) | Self::Spurious(packet) | Self::Unawaited(packet)) = self;
        packet
    }
}

/// The ring of sent packets of one path.
#[derive(Debug)]
pub(crate) struct SentPackets {
    packets: VecDeque<SentPacket>,
    /// Number of the first record; equal to `next` when there is none.
    base: u64,
    /// No record below this is outstanding.
    cursor: u64,
    items: VecDeque<Item>,
    /// Absolute index of the first item.
    items_base: u64,
    /// Records in flight.
    outstanding: usize,
    /// Numbers left out so far, modulo 2^16.
    skips: u16,
    /// There is no memory for more items than there is room for.
    tight: bool,
}

/// Records for which there is room kept when most are forgotten, 72 KiB: a busy connection must not allocate over and over.
const KEPT: usize = 1024;
/// Records of packets that nobody has to acknowledge are few, if there are not so many for each packet in flight.
const PER_OUTSTANDING: usize = 8;
/// Records behind a packet in flight that most connections never have, as long as those in flight are few: acknowledgements of
/// every second packet at 2 Gbit/s over 700 ms. Beyond that what is in flight is given up sooner.
const MOST_UNAWAITED: usize = 1 << 16;
/// Room for items that one packet is assumed to need. Some have many more, for instance the ends of a hundred streams: where
/// there is no memory for those they go in several packets.
const ITEMS_PER_PACKET: usize = 32;

impl SentPackets {
    /// A ring whose first packet will have the number `first`.
    pub(crate) fn new(first: PacketNumber) -> Self {
        Self {
            packets: VecDeque::new(),
            base: first.0,
            cursor: first.0,
            items: VecDeque::new(),
            items_base: 0,
            outstanding: 0,
            skips: 0,
            tight: false,
        }
    }

    /// The number that the next recorded packet gets.
    pub(crate) fn next(&self) -> PacketNumber {
        PacketNumber(self.base.saturating_add(self.packets.len() as u64))
    }

    /// Packets in flight.
    pub(crate) const fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let packets = room::<SentPacket>(self.packets.capacity());
        packets.saturating_add(room::<Item>(self.items.capacity()))
    }

    /// By how many bytes the heap held grows if one more packet is recorded, and perhaps a number left out before it.
    pub(crate) fn growth(&self) -> usize {
        let packets = growth::<SentPacket>(self.packets.len().saturating_add(2), self.packets.capacity());
        let items = self.items.len().saturating_add(ITEMS_PER_PACKET);
        packets.saturating_add(growth::<Item>(items, self.items.capacity()))
    }

    /// Whether [`Self::shrink`] is worth calling.
    pub(crate) fn is_roomy(&self) -> bool {
        self.packets.is_empty() && (self.packets.capacity() > 0 || self.items.capacity() > 0)
    }

    /// Gives the room back that a busier time needed.
    pub(crate) fn shrink(&mut self) {
        self.packets.shrink_to_fit();
        self.items.shrink_to_fit();
    }

    /// A packet is going to be built, whose items may take `spare` bytes more than there are now.
    pub(crate) fn begin_packet(&mut self, spare: usize) {
        self.tight = room::<Item>(self.items.capacity()) > spare;
    }

    /// Whether the packet that is being built may have one more item. Those that it has at most one or a few of need not ask:
    /// [`Self::growth`] speaks of some in any case.
    pub(crate) fn takes_item(&self) -> bool {
        !self.tight || self.items.len() < self.items.capacity()
    }

    /// Adds an item to the packet that is being built.
    pub(crate) fn push_item(&mut self, item: Item) {
        self.items.push_back(item);
    }

    /// Whether the packet that is being built carries what a path is there for.
    pub(crate) fn has_open_payload(&self) -> bool {
        self.items.iter().rev().take(self.open_items() as usize).any(|item| item.is_payload())
    }

    /// Whether the packet that is being built has an item yet.
    pub(crate) fn has_open_items(&self) -> bool {
        self.open_items() > 0
    }

    /// Records the handshake packet: congestion control does not count it.
    pub(crate) fn record_early(&mut self, sent: Instant) {
        self.record(sent, 0, SentInfo::default(), KeyPhase::default(), true);
    }

    /// Absolute index behind the last item.
    fn items_end(&self) -> u64 {
        self.items_base.saturating_add(self.items.len() as u64)
    }

    /// Items of the packet that is being built.
    fn open_items(&self) -> u64 {
        let end = self.items_end();
        let start = self.packets.back().map_or(self.items_base, SentPacket::items_end);
        end.saturating_sub(start.max(self.items_base))
    }

    /// Records the packet that was built, with the items pushed since the last one.
    pub(crate) fn record(
        &mut self,
        sent: Instant,
        size: u16,
        info: SentInfo,
        phase: KeyPhase,
        ack_eliciting: bool,
    ) {
        let items = self.open_items();
        let fate = if ack_eliciting { Fate::Outstanding } else { Fate::Unawaited };
        self.outstanding = self.outstanding.saturating_add(usize::from(ack_eliciting));
        self.packets.push_back(SentPacket {
            sent,
            size,
            fate,
            ect: false,
            items: items.min(u64::from(u16::MAX)) as u16,
            first_item: self.items_end().saturating_sub(items),
            skips: self.skips,
            phase,
            run: 1,
            info,
        });
    }

    /// Leaves a number out. Not while a packet is being built: its items belong to the number behind.
    pub(crate) fn skip(&mut self, now: Instant) {
        debug_assert!(!self.has_open_items(), "a number is left out in the middle of a packet");
        self.record(now, 0, SentInfo::default(), KeyPhase::default(), false);
        if let Some(skipped) = self.packets.back_mut() {
            skipped.fate = Fate::Skipped;
        }
        self.skips = self.skips.wrapping_add(1);
    }

    /// Whether `number` was left out, as long as it has its record.
    pub(crate) fn is_skipped(&self, number: u64) -> bool {
        let index = number.checked_sub(self.base).map(|index| index as usize);
        index.and_then(|index| self.packets.get(index)).is_some_and(|packet| packet.fate == Fate::Skipped)
    }

    /// Numbers left out before `number`, modulo 2^16; of no interest where it has no record any more, because then nothing
    /// below it has one.
    pub(crate) fn skips_before(&self, number: PacketNumber) -> u16 {
        let index = number.0.checked_sub(self.base).map(|index| index as usize);
        index.and_then(|index| self.packets.get(index)).map_or(self.skips, |packet| packet.skips)
    }

    /// The packet recorded last goes with ECT(0).
    pub(crate) fn set_ect(&mut self) {
        if let Some(last) = self.packets.back_mut() {
            last.ect = true;
        }
    }

    /// The items of a packet that still has its record.
    pub(crate) fn items(&self, packet: &SentPacket) -> impl Iterator<Item = Item> + '_ {
        let start = packet.first_item.saturating_sub(self.items_base) as usize;
        let end = start.saturating_add(usize::from(packet.items)).min(self.items.len());
        self.items.range(start.min(end)..end).copied()
    }

    /// The lowest number in `from..=to` that was not acknowledged yet and still has a record.
    pub(crate) fn next_unacked(&self, from: u64, to: u64) -> Option<u64> {
        let (mut at, end) = self.recorded(from, to);
        while at < end {
            let packet = self.packets.get(at)?;
            match packet.fate {
                Fate::Acked => at = at.saturating_add(packet.run as usize),
                Fate::Outstanding | Fate::Unawaited | Fate::Skipped | Fate::Lost | Fate::Left => {
                    return Some(self.base.saturating_add(at as u64));
                }
            }
        }
        None
    }

    /// Remembers that the whole range is acknowledged, so that it is not walked again when the peer repeats it: from each
    /// record that was looked at one jump leads to its end (path compression, as in Tarjan, "Efficiency of a Good But Not
    /// Linear Set Union Algorithm", JACM 1975), so that no order of ranges makes more than a few steps for each. Says at how many
    /// records it has looked.
    pub(crate) fn remember_acked(&mut self, from: u64, to: u64) -> u64 {
        let (mut at, end) = self.recorded(from, to);
        let mut looked_at: u64 = 0;
        while at < end {
            let Some(packet) = self.packets.get_mut(at) else { break };
            looked_at = looked_at.saturating_add(1);
            let rest = u32::try_from(end.saturating_sub(at)).unwrap_or(u32::MAX);
            let run = core::mem::replace(&mut packet.run, rest);
            at = at.saturating_add(run as usize);
        }
        looked_at
    }

    /// Where the records lie that there are of these numbers: from the first up to, but not including, the second place.
    fn recorded(&self, from: u64, to: u64) -> (usize, usize) {
        let place = |number: u64| (number.saturating_sub(self.base) as usize).min(self.packets.len());
        (place(from), place(to.saturating_add(1)))
    }

    /// When a packet was sent that still has its record.
    pub(crate) fn sent_at(&self, number: u64) -> Option<Instant> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        self.packets.get(index).map(|packet| packet.sent)
    }

    /// Marks a packet acknowledged. `None` if that was known, or if it was so long ago that the record is gone.
    pub(crate) fn ack(&mut self, number: u64) -> Option<Acked> {
        let index = number.checked_sub(self.base)? as usize;
        let packet = self.packets.get_mut(index)?;
        let before = packet.fate;
        packet.fate = Fate::Acked;
        let packet = *packet;
        match before {
            Fate::Outstanding => {
                self.outstanding = self.outstanding.saturating_sub(1);
                Some(Acked::InFlight(packet))
            }
            Fate::Lost => Some(Acked::Spurious(packet)),
            Fate::Unawaited | Fate::Left => Some(Acked::Unawaited(packet)),
            Fate::Acked | Fate::Skipped => None,
        }
    }

    /// The items of the `most` oldest packets in flight. O(packets that still have their record).
    pub(crate) fn outstanding_items(&self, most: usize) -> impl Iterator<Item = Item> + '_ {
        let start = (self.cursor.saturating_sub(self.base) as usize).min(self.packets.len());
        let outstanding = self.packets.range(start..).filter(|packet| packet.fate == Fate::Outstanding);
        outstanding.take(most).flat_map(|packet| self.items(packet))
    }

    /// The oldest packet in flight.
    pub(crate) fn oldest(&mut self) -> Option<(PacketNumber, SentPacket)> {
        let end = self.next().0;
        while self.cursor < end {
            let packet = self.packets.get(self.cursor.saturating_sub(self.base) as usize)?;
            if packet.fate == Fate::Outstanding {
                return Some((PacketNumber(self.cursor), *packet));
            }
            self.cursor = self.cursor.saturating_add(1);
        }
        None
    }

    /// Declares the oldest packet in flight lost.
    pub(crate) fn lose_oldest(&mut self) -> Option<SentPacket> {
        let (number, _) = self.oldest()?;
        let packet = self.packets.get_mut(number.0.saturating_sub(self.base) as usize)?;
        packet.fate = Fate::Lost;
        self.outstanding = self.outstanding.saturating_sub(1);
        Some(*packet)
    }

    /// The path goes another way: of what was lost until now it matters no more when, nor how it was marked, but still whether
    /// it arrived.
    pub(crate) fn leave_lost(&mut self) {
        for packet in self.packets.iter_mut().filter(|packet| packet.fate == Fate::Lost) {
            (packet.fate, packet.ect) = (Fate::Left, false);
        }
    }

    /// Whether the oldest record is of a packet in flight that is not worth the records behind it: most of these are of packets
    /// that asked for no acknowledgement, there are more than are kept anyway, and it is older than `age`, or than `flight`
    /// where there are very many. No sooner: its acknowledgement may be under way.
    pub(crate) fn is_front_stale(&self, now: Instant, age: Duration, flight: Duration) -> bool {
        let records = self.packets.len();
        let age = if records > MOST_UNAWAITED { flight.min(age) } else { age };
        records > KEPT
            && records / PER_OUTSTANDING > self.outstanding
            && self
                .packets
                .front()
                .is_some_and(|front| front.fate == Fate::Outstanding && front.sent + age <= now)
    }

    /// Whether the oldest record is of a packet in flight; `None` if there is no record.
    pub(crate) fn is_front_outstanding(&self) -> Option<bool> {
        self.packets.front().map(|front| front.fate == Fate::Outstanding)
    }

    /// Forgets the oldest record, which is of no packet in flight.
    pub(crate) fn forget_front(&mut self) {
        debug_assert_ne!(self.is_front_outstanding(), Some(true), "a packet in flight is forgotten");
        self.pop_front();
    }

    /// Forgets the oldest records, up to the first packet in flight, as long as one more packet would need more memory.
    pub(crate) fn forget_settled(&mut self) {
        while self.growth() > 0 && self.is_front_outstanding() == Some(false) {
            self.forget_front();
        }
    }

    fn pop_front(&mut self) {
        let Some(front) = self.packets.pop_front() else { return };
        self.base = self.base.saturating_add(1);
        self.cursor = self.cursor.max(self.base);
        let end = front.items_end();
        while self.items_base < end && self.items.pop_front().is_some() {
            self.items_base = self.items_base.saturating_add(1);
        }
    }

    /// Forgets what nobody waits for: everything at the front that was acknowledged, needed no acknowledgement, or was
    /// lost before `now` minus `memory`.
    pub(crate) fn forget(&mut self, now: Instant, memory: Duration) {
        while let Some(front) = self.packets.front() {
            match front.fate {
                Fate::Outstanding => break,
                Fate::Lost | Fate::Left if front.sent + memory > now => break,
                Fate::Lost | Fate::Left | Fate::Acked | Fate::Unawaited | Fate::Skipped => {}
            }
            self.pop_front();
        }
        if self.packets.capacity() > KEPT && self.packets.len() <= self.packets.capacity() / 32 {
            self.packets.shrink_to(KEPT);
            self.items.shrink_to(KEPT);
        }
    }
}

/// Bytes by which a queue of `capacity` entries grows, doubling, to hold `len` of them.
const fn growth<T>(len: usize, capacity: usize) -> usize {
    let missing = len.saturating_sub(capacity);
    let more = if missing > capacity { missing } else { capacity };
    if missing == 0 { 0 } else { more.saturating_mul(size_of::<T>()) }
}

//! Unreliable datagrams (RFC 9221): two bounded queues of bytes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::budget::{room, total};
use crate::config::{DatagramConfig, Overflow};
use crate::error::DatagramError;
use crate::recovery::sent::{Item, SentPackets};
use crate::stats::count;
use crate::wire::codec::cut;
use crate::wire::frame::{datagram_header_len, put_datagram_header};

/// What a queued datagram costs beside its bytes, so that empty ones are not free.
const OVERHEAD: usize = 8;

/// A queue of byte strings in one ring of bytes: no allocation per datagram once it has its size.
#[derive(Debug, Default)]
struct Queue {
    bytes: VecDeque<u8>,
    lens: VecDeque<u16>,
}

impl Queue {
    fn cost(&self) -> usize {
        total([self.bytes.len(), self.lens.len().saturating_mul(OVERHEAD)])
    }

    /// By how many bytes the heap held grows if `len` more bytes are queued.
    fn growth(&self, len: usize) -> usize {
        let missing = self.bytes.len().saturating_add(len).saturating_sub(self.bytes.capacity());
        let more = if missing > 0 { missing.max(self.bytes.capacity()) } else { 0 };
        let full = self.lens.len() == self.lens.capacity();
        total([more, if full { room::<u16>(self.lens.capacity().saturating_add(4)) } else { 0 }])
    }

    /// Whether `len` more bytes stay within `limit`, and grow the heap held by at most `room` bytes.
    fn admits(&self, len: usize, limit: usize, room: usize) -> bool {
        total([self.cost(), len, OVERHEAD]) <= limit && self.growth(len) <= room
    }

    fn push(&mut self, data: &[u8]) {
        self.bytes.extend(data);
        self.lens.push_back(data.len() as u16);
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(len) = self.lens.pop_front() else { return false };
        self.bytes.drain(..usize::from(len));
        true
    }

    /// Appends the oldest to `out` and drops it.
    fn pop_into(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let len = usize::from(self.lens.pop_front()?);
        let (front, back) = self.bytes.as_slices();
        let head = cut(front, len);
        out.extend_from_slice(head);
        out.extend_from_slice(cut(back, len.saturating_sub(head.len())));
        self.bytes.drain(..len);
        Some(len)
    }

    fn is_roomy(&self) -> bool {
        self.lens.is_empty() && self.heap_bytes() > KEEP
    }

    fn heap_bytes(&self) -> usize {
        total([self.bytes.capacity(), room::<u16>(self.lens.capacity())])
    }
}

/// An empty queue with more room than this gives it back when the connection rests, in bytes.
const KEEP: usize = 2 << 10;

/// What became of a datagram handed to [`Datagrams::send`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    /// Older ones that had to go.
    pub(crate) dropped: u64,
}

/// The datagram queues of a connection.
#[derive(Debug)]
pub(crate) struct Datagrams {
    config: DatagramConfig,
    outgoing: Queue,
    incoming: Queue,
    /// The application saw the queue empty: tell it when there is something.
    awaited: bool,
    /// A datagram was refused: tell the application when there is room.
    send_awaited: bool,
}

impl Datagrams {
    pub(crate) fn new(config: DatagramConfig) -> Self {
        Self {
            config,
            outgoing: Queue::default(),
            incoming: Queue::default(),
            awaited: true,
            send_awaited: false,
        }
    }

    /// Queues a datagram of at most `max` bytes. The heap held grows by at most `room` bytes.
    pub(crate) fn send(&mut self, data: &[u8], max: usize, room: usize) -> Result<Sent, DatagramError> {
        if data.len() > max {
            return Err(DatagramError::TooLarge { max });
        }
        let limit = self.config.send_buffer as usize;
        let mut dropped = 0;
        while !self.outgoing.admits(data.len(), limit, room) {
            match self.config.overflow {
                Overflow::DropOldest if self.outgoing.drop_oldest() => count(&mut dropped, 1),
                Overflow::DropOldest | Overflow::Refuse => {
                    self.send_awaited = true;
                    return Err(DatagramError::Full);
                }
            }
        }
        self.outgoing.push(data);
        Ok(Sent { dropped })
    }

    /// The oldest datagram received.
    #[cfg(test)]
    pub(crate) fn read(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.read_into(&mut out).map(|_| out)
    }

    /// Appends the oldest datagram received to `out`, and says how long it is.
    pub(crate) fn read_into(&mut self, out: &mut Vec<u8>) -> Option<usize> {
        let read = self.incoming.pop_into(out);
        self.awaited |= read.is_none();
        read
    }

    /// A datagram came. Returns how many older ones had to go, and whether the application waits for one; `None` if
    /// none are accepted. The heap held grows by at most `room` bytes.
    pub(crate) fn on_received(&mut self, data: &[u8], room: usize) -> Option<(u64, bool)> {
        let limit = self.config.receive_buffer as usize;
        if limit == 0 {
            return None;
        }
        let mut dropped = 0_u64;
        while !self.incoming.admits(data.len(), limit, room) {
            if !self.incoming.drop_oldest() {
                return Some((dropped.saturating_add(1), false));
            }
            count(&mut dropped, 1);
        }
        self.incoming.push(data);
        Some((dropped, core::mem::take(&mut self.awaited)))
    }

    /// Whether there is something to read.
    pub(crate) fn has_input(&self) -> bool {
        !self.incoming.lens.is_empty()
    }

    /// Whether there is something to send.
    pub(crate) fn has_output(&self) -> bool {
        !self.outgoing.lens.is_empty()
    }

    /// The length of the next datagram's frame.
    pub(crate) fn next_frame(&self) -> Option<usize> {
        self.next().map(|(_, frame)| frame)
    }

    /// The lengths of the next datagram and of its frame.
    fn next(&self) -> Option<(usize, usize)> {
        let len = usize::from(*self.outgoing.lens.front()?);
        Some((len, datagram_header_len(len).saturating_add(len)))
    }

    /// Appends DATAGRAM frames below `end`. Returns how many.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, end: usize, sent: &mut SentPackets) -> u64 {
        let mut put = 0;
        while let Some((len, frame)) = self.next() {
            if out.len().saturating_add(frame) > end || !sent.takes_item() {
                break;
            }
            put_datagram_header(out, len);
            self.outgoing.pop_into(out);
            sent.push_item(Item::Datagram);
            count(&mut put, 1);
        }
        put
    }

    /// Drops the oldest datagram if it can never be sent in a packet with `room` bytes.
    pub(crate) fn drop_oversized(&mut self, room: usize) -> bool {
        self.next_frame().is_some_and(|frame| frame > room) && self.outgoing.drop_oldest()
    }

    /// Takes the mark that the application waits for room, if there is room.
    pub(crate) fn take_send_awaited(&mut self) -> bool {
        self.outgoing.cost() <= self.config.send_buffer as usize / 2
            && core::mem::take(&mut self.send_awaited)
    }

    /// Drops what would be sent.
    pub(crate) fn discard_sending(&mut self) {
        self.outgoing = Queue::default();
    }

    /// Drops what was received and not read.
    pub(crate) fn discard_received(&mut self) {
        self.incoming = Queue::default();
    }

    /// Whether [`Self::shrink`] is worth calling.
    pub(crate) fn is_roomy(&self) -> bool {
        self.outgoing.is_roomy() || self.incoming.is_roomy()
    }

    /// Gives the room back that a busier time needed.
    pub(crate) fn shrink(&mut self) {
        for queue in [&mut self.outgoing, &mut self.incoming] {
            if queue.is_roomy() {
                *queue = Queue::default();
            }
        }
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        total([self.outgoing.heap_bytes(), self.incoming.heap_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = usize::MAX;

    fn datagrams(limit: u32, overflow: Overflow) -> Datagrams {
        Datagrams::new(DatagramConfig { receive_buffer: limit, send_buffer: limit, overflow })
    }

    #[test]
    fn a_full_send_queue_drops_the_oldest_or_refuses() {
        let mut fresh = datagrams(30, Overflow::DropOldest);
        assert_eq!(fresh.send(&[1; 7], 100, ROOM), Ok(Sent { dropped: 0 }));
        assert_eq!(fresh.send(&[2; 7], 100, ROOM), Ok(Sent { dropped: 0 }));
        assert_eq!(fresh.send(&[3; 7], 100, ROOM), Ok(Sent { dropped: 1 }));
        assert_eq!(fresh.send(&[4; 101], 100, ROOM), Err(DatagramError::TooLarge { max: 100 }));
        assert_eq!(fresh.send(&[4; 23], 100, ROOM), Err(DatagramError::Full), "larger than the whole queue");
        let mut strict = datagrams(30, Overflow::Refuse);
        assert!(strict.send(&[1; 7], 100, ROOM).is_ok() && strict.send(&[2; 7], 100, ROOM).is_ok());
        assert_eq!(strict.send(&[3; 7], 100, ROOM), Err(DatagramError::Full));
        assert!(!strict.take_send_awaited());
    }

    #[test]
    fn received_datagrams_are_bounded_and_empty_ones_are_not_free() {
        let mut queue = datagrams(80, Overflow::DropOldest);
        for round in 0..10u64 {
            assert_eq!(queue.on_received(&[], ROOM), Some((0, round == 0)));
        }
        assert_eq!(queue.on_received(b"new", ROOM), Some((2, false)));
        let mut read = Vec::new();
        while let Some(datagram) = queue.read() {
            read.push(datagram);
        }
        assert_eq!(read.len(), 9);
        assert_eq!(read.last().unwrap(), b"new");
        assert_eq!(queue.on_received(b"x", ROOM), Some((0, true)), "the reader waits again");
        assert_eq!(datagrams(0, Overflow::DropOldest).on_received(b"x", ROOM), None);
    }
}

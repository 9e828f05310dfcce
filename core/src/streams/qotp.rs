//! QOTP's streams (QOTP v0.2.19): opened by use and bidirectional. Nothing bounds a stream of its own, one window bounds
//! the data in flight on all; data goes in chunks, one a packet, which keep their boundaries when they go again.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::config::Limits;
use crate::error::{OpenError, ReadError};
use crate::hash::NumberState;
use crate::id::{Role, StreamId};
use crate::recovery::sent::Item;
use crate::wire::params::TransportParams;

use super::blocks::Memory;
use super::by_use::ByUse;
use super::flow::{Flow, Reception};
use super::opening::Opening;
use super::send::Outgoing;
use super::transmit::outgoing;
use super::{Credit, Refusal, STREAM_COST, StreamEvent, Streams};

#[cfg(test)]
mod tests;

/// Bytes received and not read that a connection holds: the receive buffer of QOTP v0.2.19.
const RECEIVE_CAPACITY: u64 = 16 << 20;
/// The window before the peer tells one: it starts with an empty buffer of that size.
const INITIAL_WINDOW: u64 = RECEIVE_CAPACITY;
/// The packet size before the connection tells one: the MTU of QOTP v0.2.19.
const PACKET: u16 = 1400;
/// The longest stream, in bytes: its end, too, has to fit into the 48 bits of an offset.
const MAX_LEN: u64 = (1 << 48) - 1;

/// What the stream at the head of the schedule has.
enum Turn {
    Chunk(Item),
    /// Data, for which the packet has no room.
    NoRoom,
    Nothing,
}

impl Streams {
    /// No streams yet, on a connection that speaks QOTP. `limits.streams_bidi` holds for each side.
    pub(crate) fn by_use(role: Role, limits: &Limits, announce: bool, hasher: NumberState) -> Self {
        let mut streams = Self::new(role, limits, announce, hasher);
        let reception = Reception::new(RECEIVE_CAPACITY.min(limits.max_window));
        streams.opening = Opening::ByUse(Box::new(ByUse::new(limits.streams_bidi, reception)));
        streams.flow = Flow::sliding(INITIAL_WINDOW, PACKET);
        streams.settings.max_len = MAX_LEN;
        streams.peer = TransportParams {
            max_stream_data_bidi_local: MAX_LEN,
            max_stream_data_bidi_remote: MAX_LEN,
            ..TransportParams::DEFAULT
        };
        streams
    }

    /// Opens the stream with this number.
    pub(crate) fn open_id(&mut self, number: u32, memory: &mut Memory<'_>) -> Result<StreamId, OpenError> {
        let open = |opening: &mut Opening, _| {
            opening.by_use_mut().ok_or(OpenError::Unsupported)?.open_id(StreamId::qotp(number))
        };
        self.open_by(open, memory)
    }

    /// Whether a stream with this id was open and no longer is.
    pub(crate) fn is_over(&self, id: StreamId) -> bool {
        self.opening.by_use().is_some_and(|by_use| by_use.is_used(id)) && !self.table.contains_key(&id)
    }

    /// Creates the stream that a chunk of the peer names, unless it is or was there.
    pub(super) fn admit_by_use(&mut self, id: StreamId, memory: &mut Memory<'_>) -> Result<(), Refusal> {
        let Some(by_use) = self.opening.by_use_mut() else { return Ok(()) };
        if by_use.is_used(id) {
            return Ok(());
        }
        if !by_use.has_place() {
            return Err(Refusal::Withhold);
        }
        memory.account.charge(memory.budget, STREAM_COST).map_err(|_| Refusal::Withhold)?;
        let Ok(awaited) = by_use.on_peer_opened(id, |id| self.table.contains_key(id)) else {
            memory.account.release(memory.budget, STREAM_COST);
            return Err(Refusal::Withhold);
        };
        self.insert(id, false);
        if self.ending {
            // A new stream can be finished.
            let _ = self.finish(id, memory);
        }
        if awaited {
            self.events.push_back(StreamEvent::Opened(id.direction()));
        }
        Ok(())
    }

    /// Takes a chunk of the peer. What comes for a stream that is over is fine: it has to be acknowledged again.
    pub(super) fn on_chunk(
        &mut self,
        id: StreamId,
        offset: u64,
        data: &[u8],
        fin: bool,
        memory: &mut Memory<'_>,
    ) -> Result<Credit, Refusal> {
        self.admit_by_use(id, memory)?;
        let Some(by_use) = self.opening.by_use_mut() else { return Ok(Credit::Same) };
        let Some(stream) = self.table.get_mut(&id) else { return Ok(Credit::Same) };
        let Some(receive) = &mut stream.receive else { return Ok(Credit::Same) };
        let (room, gaps) = (by_use.reception.room(), self.settings.max_gaps);
        let arrived = receive.on_chunk(offset, data, fin, room, gaps, memory)?;
        by_use.reception.on_received(arrived.held, arrived.readable);
        let tell = arrived.news && receive.take_awaited();
        stream.measure(&mut self.buffers);
        if tell {
            self.events.push_back(StreamEvent::Readable(id));
        }
        Ok(Credit::Same)
    }

    /// The application wants no more of a stream. The peer cannot be told: what it sends is thrown away.
    pub(crate) fn abandon(&mut self, id: StreamId, memory: &mut Memory<'_>) -> Result<(), ReadError> {
        let by_use = self.opening.by_use_mut().ok_or(ReadError::Unsupported)?;
        let stream = self.table.get_mut(&id).ok_or(ReadError::Closed)?;
        let (held, unread) =
            stream.receive.as_mut().and_then(|receive| receive.abandon(memory)).ok_or(ReadError::Closed)?;
        by_use.reception.on_gone(held, unread);
        self.reap(id, memory);
        Ok(())
    }

    /// Bytes in order that the application has not read, on all streams together.
    pub(crate) fn unread(&self) -> u64 {
        self.opening.by_use().map_or(0, |by_use| by_use.reception.unread())
    }

    /// The window to tell the peer, in bytes.
    pub(crate) fn receive_window(&self) -> u64 {
        self.receive_capacity().saturating_sub(self.unread())
    }

    /// Bytes received and not read that there is room for in all: the window to tell is this without what is unread.
    pub(crate) fn receive_capacity(&self) -> u64 {
        self.opening.by_use().map_or(0, |by_use| by_use.reception.capacity())
    }

    /// The peer allows `window` bytes in flight, at times less than before; packets have `packet` bytes.
    pub(crate) fn set_peer_window(&mut self, window: u64, packet: u16) {
        self.flow.set_peer_window(window, packet);
        self.release_held();
    }

    /// Lets the streams that the window held go on, if it is worth it.
    pub(super) fn release_held(&mut self) {
        if !self.held.is_empty() && self.flow.can_release(self.held.len()) {
            self.wake_held(usize::MAX);
        }
    }

    /// Bytes of data that were sent and not acknowledged.
    #[cfg(test)]
    pub(crate) fn in_flight_data(&self) -> u64 {
        self.flow.in_flight()
    }

    /// Whether streams wait for a wider window of the peer.
    pub(crate) fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes the next chunk that was never sent, of the stream whose turn it is: new data, or an end or a greeting without
    /// any. `room` says how many bytes of data the packet holds if they begin at an offset; none leaves room for a chunk
    /// without data.
    pub(crate) fn take_chunk(&mut self, room: impl Fn(u64) -> usize) -> Option<Item> {
        while let Some(id) = self.schedule.first() {
            match self.turn(id, &room) {
                Turn::Chunk(item) => {
                    self.schedule.rotate();
                    return Some(item);
                }
                Turn::NoRoom => return None,
                Turn::Nothing => self.schedule.pop(),
            }
        }
        None
    }

    fn turn(&mut self, id: StreamId, room: impl Fn(u64) -> usize) -> Turn {
        // As long as some streams wait for the window, no other overtakes them.
        let credit = if self.held.is_empty() { self.flow.send_credit() } else { 0 };
        let Some(stream) = self.table.get_mut(&id) else { return Turn::Nothing };
        let Some(send) = &mut stream.send else {
            stream.scheduled = false;
            return Turn::Nothing;
        };
        let room = room(send.sent_end()).min(usize::from(u16::MAX));
        if let Some(next) = send.next(room, credit) {
            let Outgoing { chunk, fin } = next;
            self.flow.on_sent(send.on_sent(next));
            return Turn::Chunk(Item::Stream { id, offset: chunk.offset, len: chunk.len as u16, fin });
        }
        if send.next(usize::MAX, credit).is_some() {
            return Turn::NoRoom;
        }
        stream.scheduled = false;
        if send.next(usize::MAX, u64::MAX).is_some() && !core::mem::replace(&mut stream.held, true) {
            self.hold(id);
        }
        Turn::Nothing
    }

    /// Appends the data of a chunk that was taken, now or earlier. `false` if it need not go (again).
    pub(crate) fn append_chunk(&self, item: &Item, out: &mut Vec<u8>) -> bool {
        let &Item::Stream { id, offset, len, fin } = item else { return false };
        let send = self.table.get(&id).and_then(|stream| stream.send.as_ref());
        send.is_some_and(|send| !send.is_done() && send.append_to(outgoing(offset, len, fin), out))
    }
}

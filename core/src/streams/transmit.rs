//! What streams put into packets, and what becomes of it.

use alloc::vec::Vec;

use crate::id::{Direction, StreamId};
use crate::recovery::sent::{Item, SentPackets};
use crate::wire::codec::varint_len;
use crate::wire::frame::{Control, Length, MAX_CONTROL, put_control, put_stream_header, stream_header_len};

use super::blocks::Memory;
use super::send::{Delivery, Outgoing, SendHalf};
use super::send_buffer::Chunk;
use super::{Owed, StreamEvent, Streams};

#[cfg(test)]
mod tests;

/// A STREAM frame with less room than this for data waits for the next packet.
pub(super) const MIN_CHUNK: usize = 16;

/// What stands behind the data of streams when it fills its room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Behind {
    /// The end of the packet, so that the last frame needs no length.
    Nothing,
    /// Padding.
    Padding,
}

/// What became of a stream's turn.
enum Put {
    /// Its frame reaches to the end of the packet.
    Filled,
    /// There is room behind its frame.
    More,
    /// Its next frame does not fit any more.
    NoRoom,
    /// It has nothing to send now.
    Nothing,
}

/// Streams whose waiting bytes are counted: of more there is enough in any case.
const COUNTED: usize = 8;

impl Streams {
    /// Whether there is a control frame or stream data that may be sent now.
    pub(crate) fn has_output(&self) -> bool {
        !self.owed.is_empty()
            || !self.schedule.is_empty()
            || self.can_wake_held()
            || self.owes_credit()
            || self.owes_max_streams()
    }

    /// Bytes of streams that wait to be sent for the first time. Where many streams do, that is as much as one likes.
    pub(crate) fn backlog(&self) -> u64 {
        let unsent =
            |id| self.table.get(&id).and_then(|stream| stream.send.as_ref()).map_or(0, |send| send.unsent());
        self.schedule.all(COUNTED).map_or(u64::MAX, |ids| ids.map(unsent).fold(0, u64::saturating_add))
    }

    /// Whether the peer is to be told of more credit.
    pub(crate) fn owes_credit(&self) -> bool {
        self.flow.window.pending || !self.credit.is_empty()
    }

    fn owes_max_streams(&self) -> bool {
        self.opening.counts().is_some_and(|counts| {
            [Direction::Bidirectional, Direction::Unidirectional]
                .iter()
                .any(|direction| counts.max_streams_to_send(*direction).is_some())
        })
    }

    /// Appends the new limits of flow control, as far as they fit below `end`.
    pub(crate) fn put_credit(&mut self, out: &mut Vec<u8>, end: usize, sent: &mut SentPackets) {
        if self.flow.window.pending && fits_control(out, end, sent) {
            put_control(out, &Control::MaxData(self.flow.window.max()));
            self.flow.window.pending = false;
            sent.push_item(Item::MaxData);
        }
        while fits_control(out, end, sent) {
            let Some(id) = self.credit.pop_front() else { return };
            let Some(receive) = self.receive_half(id) else { continue };
            if core::mem::take(&mut receive.window.pending) && receive.wants_credit() {
                put_control(out, &Control::MaxStreamData { id, max: receive.window.max() });
                sent.push_item(Item::MaxStreamData(id));
            }
        }
    }

    /// Appends the other control frames that are owed, as far as they fit below `end`.
    pub(crate) fn put_controls(&mut self, out: &mut Vec<u8>, end: usize, sent: &mut SentPackets) {
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            if let Some(counts) = self.opening.counts_mut()
                && let Some(max) = counts.max_streams_to_send(direction)
                && fits_control(out, end, sent)
            {
                put_control(out, &Control::MaxStreams { direction, max });
                counts.set_max_streams_pending(direction, false);
                sent.push_item(Item::MaxStreams(direction));
            }
        }
        while fits_control(out, end, sent) {
            let Some((id, owed)) = self.owed.pop_front() else { return };
            let Some(stream) = self.table.get_mut(&id) else { continue };
            match owed {
                Owed::Reset => {
                    let Some(send) = &mut stream.send else { continue };
                    let Some((code, final_size)) = send.reset_to_send() else { continue };
                    put_control(out, &Control::ResetStream { id, code, final_size });
                    send.set_reset_delivery(Delivery::InFlight);
                    sent.push_item(Item::ResetStream(id));
                }
                Owed::Stop => {
                    let Some(receive) = &mut stream.receive else { continue };
                    let Some(code) = receive.stop_to_send() else { continue };
                    put_control(out, &Control::StopSending { id, code });
                    receive.set_stop_delivery(Delivery::InFlight);
                    sent.push_item(Item::StopSending(id));
                }
            }
        }
    }

    /// Appends STREAM frames, as far as they fit below `end`.
    pub(crate) fn put_data(&mut self, out: &mut Vec<u8>, end: usize, behind: Behind, sent: &mut SentPackets) {
        // In a full packet no stream has anything to send, which does not mean that it has nothing to send.
        while out.len() < end
            && sent.takes_item()
            && let Some(id) = self.next_to_send()
        {
            let room = end.saturating_sub(out.len());
            match self.put_stream(id, room, behind, out, sent) {
                Put::Filled => {
                    self.schedule.rotate();
                    return;
                }
                Put::More => self.schedule.rotate(),
                Put::NoRoom => return,
                Put::Nothing => self.schedule.pop(),
            }
        }
    }

    /// The stream whose turn it is.
    fn next_to_send(&mut self) -> Option<StreamId> {
        while self.schedule.is_empty() && self.can_wake_held() {
            self.wake_useful(self.flow.send_credit());
        }
        self.schedule.first()
    }

    /// Appends one frame of a stream with at most `room` bytes.
    fn put_stream(
        &mut self,
        id: StreamId,
        room: usize,
        behind: Behind,
        out: &mut Vec<u8>,
        sent: &mut SentPackets,
    ) -> Put {
        let credit = self.flow.send_credit();
        let Some(stream) = self.table.get_mut(&id) else { return Put::Nothing };
        let Some((send, next)) =
            stream.send.as_mut().and_then(|send| send.next(room, credit).map(|next| (send, next)))
        else {
            stream.scheduled = false;
            let waits =
                credit == 0 && stream.send.as_ref().is_some_and(|send| send.next(room, u64::MAX).is_some());
            let limited = stream.send.as_ref().is_some_and(SendHalf::lacks_credit);
            stream.set_limited(limited, &mut self.limited);
            if waits && !core::mem::replace(&mut stream.held, true) {
                self.hold(id);
            }
            return Put::Nothing;
        };
        let header = stream_header_len(id, next.chunk.offset);
        let least = next.chunk.len.min(MIN_CHUNK).saturating_add(varint_len(MIN_CHUNK as u64));
        if room < header.saturating_add(least) {
            return Put::NoRoom;
        }
        let (outgoing, length) = fit(next, room.saturating_sub(header), behind);
        let Outgoing { chunk, fin } = outgoing;
        let start = out.len();
        put_stream_header(out, id, chunk.offset, length, fin);
        if !send.append_to(outgoing, out) {
            debug_assert!(false, "{outgoing:?} is not in the send buffer");
            out.truncate(start);
            stream.scheduled = false;
            return Put::Nothing;
        }
        sent.push_item(Item::Stream { id, offset: chunk.offset, len: chunk.len as u16, fin });
        self.flow.on_sent(send.on_sent(outgoing));
        if length == Length::ToTheEnd { Put::Filled } else { Put::More }
    }

    /// A frame of a packet was acknowledged.
    pub(crate) fn on_acked(&mut self, item: Item, memory: &mut Memory<'_>) {
        let id = match item {
            Item::Stream { id, offset, len, fin } => {
                let cap = self.cap();
                let Some(stream) = self.table.get_mut(&id) else { return };
                let Some(send) = stream.send.as_mut().filter(|send| !send.is_done()) else { return };
                let newly = send.on_acked(outgoing(offset, len, fin), memory);
                let (awaited, done) = (send.take_awaited(cap), send.is_done());
                stream.measure(&mut self.buffers);
                if self.flow.on_acked(newly) {
                    self.release_held();
                }
                if awaited {
                    self.refused = self.refused.filter(|refused| *refused != id);
                    self.events.push_back(StreamEvent::Writable(id));
                }
                if !done {
                    return;
                }
                id
            }
            Item::ResetStream(id) => {
                let Some(send) = self.send_half(id).filter(|send| !send.is_done()) else { return };
                send.set_reset_delivery(Delivery::Acked);
                id
            }
            Item::StopSending(id) => {
                if let Some(receive) = self.receive_half(id) {
                    receive.set_stop_delivery(Delivery::Acked);
                }
                return;
            }
            Item::Ack { .. }
            | Item::PathAbandon { .. }
            | Item::PathStatus { .. }
            | Item::MaxData
            | Item::MaxStreamData(_)
            | Item::MaxStreams(_)
            | Item::NewConnectionId(_)
            | Item::RetireConnectionId(_)
            | Item::NewToken
            | Item::Datagram => return,
        };
        if self.send_half(id).is_some_and(|send| send.is_done()) {
            self.undelivered = self.undelivered.saturating_sub(1);
            self.events.push_back(StreamEvent::Finished(id));
            self.reap(id, memory);
        }
    }

    /// A frame of a packet is lost, or is to be probed with. Returns how many bytes of stream data go again.
    pub(crate) fn on_lost(&mut self, item: Item) -> usize {
        match item {
            Item::Stream { id, offset, len, fin } => {
                let again = self.send_half(id).map_or(0, |send| send.on_lost(outgoing(offset, len, fin)));
                self.wake(id);
                again
            }
            Item::ResetStream(id) => {
                // What waits to be sent already is not queued twice, however often it is to be probed with.
                if self.send_half(id).is_some_and(|send| send.set_reset_delivery(Delivery::Pending)) {
                    self.owed.push_back((id, Owed::Reset));
                }
                0
            }
            Item::StopSending(id) => {
                if self.receive_half(id).is_some_and(|receive| receive.set_stop_delivery(Delivery::Pending)) {
                    self.owed.push_back((id, Owed::Stop));
                }
                0
            }
            Item::MaxData => {
                self.flow.window.pending = true;
                0
            }
            Item::MaxStreamData(id) => {
                if let Some(receive) = self.receive_half(id)
                    && !core::mem::replace(&mut receive.window.pending, true)
                {
                    self.credit.push_back(id);
                }
                0
            }
            Item::MaxStreams(direction) => {
                if let Some(counts) = self.opening.counts_mut() {
                    counts.set_max_streams_pending(direction, true);
                }
                0
            }
            Item::Ack { .. }
            | Item::NewConnectionId(_)
            | Item::RetireConnectionId(_)
            | Item::PathAbandon { .. }
            | Item::PathStatus { .. }
            | Item::NewToken
            | Item::Datagram => 0,
        }
    }
}

/// Whether one more control frame fits below `end` and into the records.
fn fits_control(out: &[u8], end: usize, sent: &SentPackets) -> bool {
    out.len().saturating_add(MAX_CONTROL) <= end && sent.takes_item()
}

pub(super) const fn outgoing(offset: u64, len: u16, fin: bool) -> Outgoing {
    Outgoing { chunk: Chunk { offset, len: len as usize }, fin }
}

/// Cuts a frame to `room` bytes of length field and data. What fills the packet needs no length; anything shorter has
/// one, because padding may follow.
fn fit(next: Outgoing, room: usize, behind: Behind) -> (Outgoing, Length) {
    let len = next.chunk.len;
    let cut =
        |len: usize| Outgoing { chunk: Chunk { len, ..next.chunk }, fin: next.fin && len == next.chunk.len };
    if len >= room && behind == Behind::Nothing {
        return (cut(room), Length::ToTheEnd);
    }
    let fits = len.min(room.saturating_sub(varint_len(len.min(room) as u64)));
    (cut(fits), Length::Explicit(fits as u16))
}

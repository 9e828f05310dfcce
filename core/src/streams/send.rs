//! The sending half of a stream: what was written, how far the peer lets it go, and how it ends
//! (RFC 9000 section 3.1).

use alloc::vec::Vec;

use crate::error::WriteError;
use crate::id::ErrorCode;

use super::blocks::{Memory, length};
use super::send_buffer::{Chunk, SendBuffer};

/// Whether something that must arrive has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Delivery {
    /// To be sent, for the first time or again.
    Pending,
    InFlight,
    Acked,
}

impl Delivery {
    /// What has arrived stays so. Says whether it was something else before.
    pub(super) fn advance(&mut self, to: Self) -> bool {
        let news = *self != to && *self != Self::Acked;
        if news {
            *self = to;
        }
        news
    }

    fn on_lost(&mut self) {
        if *self == Self::InFlight {
            *self = Self::Pending;
        }
    }
}

/// Who ended a stream early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ResetBy {
    Application,
    /// The peer's STOP_SENDING. `told`: the application has been given the code, or had ended the stream before.
    Peer {
        told: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// `announce`: the peer is to see the stream although nothing was written.
    Open {
        announce: bool,
    },
    /// The application wrote everything; the FIN travels with the last bytes.
    Finished(Delivery),
    Reset {
        by: ResetBy,
        code: ErrorCode,
        final_size: u64,
        delivery: Delivery,
    },
}

/// A STREAM frame to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outgoing {
    pub(crate) chunk: Chunk,
    pub(crate) fin: bool,
}

/// What a stream may hold for sending, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SendCap {
    /// Written and not acknowledged: what keeps the path busy.
    pub(crate) unacked: u64,
    /// From the first byte that is not acknowledged: what memory is held for. With a hole at the front it is far more.
    pub(crate) buffered: u64,
}

/// A writer that waits is woken when a quarter of what it may hold is free, or this many bytes: one wake-up moves many
/// packets' worth, and the path is not idle meanwhile.
const WAKE_ROOM: u64 = 1 << 20;

/// The sending half of a stream.
#[derive(Debug)]
pub(crate) struct SendHalf {
    buffer: SendBuffer,
    /// The peer's limit for the offset of this stream.
    max_data: u64,
    state: State,
    /// A write was refused: the application waits for room.
    awaited: bool,
}

impl SendHalf {
    pub(crate) fn new(max_data: u64, announce: bool) -> Self {
        Self { buffer: SendBuffer::default(), max_data, state: State::Open { announce }, awaited: false }
    }

    /// Takes what fits of `data`, within `cap`. A stream of `max_len` bytes takes no more.
    pub(crate) fn write(
        &mut self,
        data: &[u8],
        cap: SendCap,
        max_len: u64,
        memory: &mut Memory<'_>,
    ) -> Result<usize, WriteError> {
        self.writable()?;
        let left = max_len.saturating_sub(self.buffer.written_end());
        if left == 0 && !data.is_empty() {
            return Err(WriteError::Closed);
        }
        let room = length(self.room(cap).min(left));
        let written = self.buffer.write(data, room, memory);
        if written == 0 && !data.is_empty() {
            self.awaited = true;
            return Err(WriteError::Blocked);
        }
        Ok(written)
    }

    /// Whether the application may write or finish. If not, it knows why from now on.
    fn writable(&mut self) -> Result<(), WriteError> {
        match &mut self.state {
            State::Open { .. } => Ok(()),
            State::Reset { by: ResetBy::Peer { told }, code, .. } => {
                *told = true;
                Err(WriteError::Stopped(*code))
            }
            State::Finished(_) | State::Reset { .. } => Err(WriteError::Closed),
        }
    }

    /// No more data will be written.
    pub(crate) fn finish(&mut self) -> Result<(), WriteError> {
        self.writable()?;
        self.state = State::Finished(Delivery::Pending);
        Ok(())
    }

    /// Gives up on everything not yet acknowledged. `false` if the stream ended before.
    pub(crate) fn reset(&mut self, by: ResetBy, code: ErrorCode, memory: &mut Memory<'_>) -> bool {
        let ended = match &mut self.state {
            State::Open { .. } => false,
            State::Finished(delivery) => *delivery == Delivery::Acked && self.buffer.is_all_acked(),
            State::Reset { by: ResetBy::Peer { told }, .. } => {
                *told |= by == ResetBy::Application;
                true
            }
            State::Reset { by: ResetBy::Application, .. } => true,
        };
        let by = match (by, self.state) {
            // Whoever ended the stream does not look at it again.
            (ResetBy::Peer { .. }, State::Finished(_)) => ResetBy::Peer { told: true },
            _ => by,
        };
        if !ended {
            let final_size = self.buffer.sent_end();
            self.buffer.discard(memory);
            self.state = State::Reset { by, code, final_size, delivery: Delivery::Pending };
        }
        !ended
    }

    /// Bytes that were never sent.
    pub(crate) const fn unsent(&self) -> u64 {
        self.buffer.written_end().saturating_sub(self.buffer.sent_end())
    }

    /// The next STREAM frame of at most `room` bytes of data, with `credit` bytes of connection flow control left.
    pub(crate) fn next(&self, room: usize, credit: u64) -> Option<Outgoing> {
        let sent_end = self.buffer.sent_end();
        match self.state {
            State::Reset { .. } => None,
            State::Open { announce } => {
                let limit = self.max_data.min(sent_end.saturating_add(credit));
                match self.buffer.next_chunk(room, limit) {
                    Some(chunk) => Some(Outgoing { chunk, fin: false }),
                    None if announce => Some(Outgoing { chunk: Chunk { offset: 0, len: 0 }, fin: false }),
                    None => None,
                }
            }
            State::Finished(delivery) => {
                let limit = self.max_data.min(sent_end.saturating_add(credit));
                let end = self.buffer.written_end();
                match self.buffer.next_chunk(room, limit) {
                    Some(chunk) => {
                        Some(Outgoing { chunk, fin: chunk.offset.saturating_add(chunk.len as u64) == end })
                    }
                    None if delivery == Delivery::Pending && sent_end == end => {
                        Some(Outgoing { chunk: Chunk { offset: end, len: 0 }, fin: true })
                    }
                    None => None,
                }
            }
        }
    }

    /// A packet with `outgoing` was sent. Returns how many of its bytes are new, which connection flow control counts.
    pub(crate) fn on_sent(&mut self, outgoing: Outgoing) -> u64 {
        let before = self.buffer.sent_end();
        self.buffer.mark_sent(outgoing.chunk);
        match &mut self.state {
            State::Open { announce } => *announce = false,
            State::Finished(delivery) if outgoing.fin && *delivery == Delivery::Pending => {
                *delivery = Delivery::InFlight;
            }
            State::Finished(_) | State::Reset { .. } => {}
        }
        self.buffer.sent_end().saturating_sub(before)
    }

    /// Appends the bytes of `outgoing`. `false` if they are not there, which would be a bug of ours.
    pub(crate) fn append_to(&self, outgoing: Outgoing, out: &mut Vec<u8>) -> bool {
        self.buffer.append_to(outgoing.chunk, out).is_ok()
    }

    /// The peer has this part of the stream. Returns how many of its bytes are news.
    pub(crate) fn on_acked(&mut self, outgoing: Outgoing, memory: &mut Memory<'_>) -> u64 {
        if matches!(self.state, State::Reset { .. }) {
            return 0;
        }
        let newly = self.buffer.on_acked(outgoing.chunk, memory);
        if let State::Finished(delivery) = &mut self.state
            && outgoing.fin
        {
            *delivery = Delivery::Acked;
        }
        newly
    }

    /// This part of the stream was in a lost packet. Returns how many bytes go again.
    pub(crate) fn on_lost(&mut self, outgoing: Outgoing) -> usize {
        match &mut self.state {
            State::Reset { .. } => return 0,
            State::Open { announce } => {
                *announce |= outgoing.chunk.len == 0 && self.buffer.sent_end() == 0;
            }
            State::Finished(delivery) => {
                if outgoing.fin {
                    delivery.on_lost();
                }
            }
        }
        self.buffer.on_lost(outgoing.chunk);
        outgoing.chunk.len
    }

    /// The peer's HELLO tells its limit.
    pub(crate) const fn set_max_data(&mut self, max: u64) {
        self.max_data = max;
    }

    /// The peer raised its limit.
    pub(crate) fn on_max_data(&mut self, max: u64) {
        self.max_data = self.max_data.max(max);
    }

    /// The RESET_STREAM to send: code and final size.
    pub(crate) fn reset_to_send(&self) -> Option<(ErrorCode, u64)> {
        match self.state {
            State::Reset { code, final_size, delivery: Delivery::Pending, .. } => Some((code, final_size)),
            _ => None,
        }
    }

    /// The RESET_STREAM was sent, acknowledged or lost.
    /// Says whether that is news.
    pub(crate) fn set_reset_delivery(&mut self, to: Delivery) -> bool {
        match &mut self.state {
            State::Reset { delivery, .. } => delivery.advance(to),
            _ => false,
        }
    }

    /// Whether the peer has everything it will get, or knows of the reset.
    pub(crate) fn is_done(&self) -> bool {
        match self.state {
            State::Open { .. } => false,
            State::Finished(delivery) => delivery == Delivery::Acked && self.buffer.is_all_acked(),
            State::Reset { delivery, .. } => delivery == Delivery::Acked,
        }
    }

    /// Whether it is done and the application needs nothing of it: one that the peer stopped stays until the
    /// application has seen the code.
    pub(crate) fn is_forgettable(&self) -> bool {
        self.is_done() && !matches!(self.state, State::Reset { by: ResetBy::Peer { told: false }, .. })
    }

    /// Bytes ever sent, as an offset: where new data goes on.
    pub(crate) const fn sent_end(&self) -> u64 {
        self.buffer.sent_end()
    }

    /// Whether the application has said that it will write no more.
    pub(crate) const fn is_ended(&self) -> bool {
        !matches!(self.state, State::Open { .. })
    }

    /// Bytes written that the peer's transport does not have yet.
    pub(crate) const fn unacked(&self) -> u64 {
        self.buffer.unacked_len()
    }

    /// Whether the application was refused although the stream may hold more than it does: there was no memory.
    pub(crate) fn lacks_memory(&self, cap: SendCap) -> bool {
        self.awaited && self.room(cap) > 0
    }

    /// Whether the application waits for room to write.
    pub(crate) const fn is_awaited(&self) -> bool {
        self.awaited && !self.is_ended()
    }

    /// Whether more was written than the peer allows this stream.
    pub(crate) const fn lacks_credit(&self) -> bool {
        let may_send = !matches!(self.state, State::Reset { .. });
        may_send && self.buffer.written_end() > self.max_data
    }

    fn room(&self, cap: SendCap) -> u64 {
        let unacked = cap.unacked.saturating_sub(self.buffer.unacked_len());
        unacked.min(cap.buffered.saturating_sub(self.buffer.buffered_len()))
    }

    /// Takes the mark that the application waits for room, because there is memory.
    pub(crate) const fn take_starved(&mut self) -> bool {
        core::mem::replace(&mut self.awaited, false)
    }

    /// Takes the mark that the application waits for room, if there is room below `cap` now.
    pub(crate) fn take_awaited(&mut self, cap: SendCap) -> bool {
        let room = self.room(cap) >= (cap.unacked / 4).min(WAKE_ROOM) || self.is_ended();
        room && core::mem::take(&mut self.awaited)
    }

    pub(crate) fn discard(&mut self, memory: &mut Memory<'_>) {
        self.buffer.discard(memory);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.buffer.heap_bytes()
    }
}

//! The receiving half of a stream: reassembly, credit, and how it ends (RFC 9000 section 3.2).

use bytes::Bytes;

use crate::error::{ReadError, TransportError};
use crate::id::ErrorCode;

use super::blocks::{Memory, length};
use super::flow::{Usage, Window};
use super::receive_buffer::{ReceiveBuffer, WriteError};
use super::send::Delivery;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    /// The FIN came: the stream has this many bytes.
    SizeKnown(u64),
    /// The peer gave up; the application has not been told yet.
    Reset(ErrorCode),
    /// The application wants no more; the peer is to know.
    Stopped {
        code: ErrorCode,
        final_size: Option<u64>,
        delivery: Delivery,
    },
    /// Read to the end, or told of the reset.
    Done,
}

/// What a frame changed for the connection's flow control.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Progress {
    /// By how much the highest offset grew.
    pub(crate) received: u64,
    /// By how much the offset grew below which nobody will read anything any more.
    pub(crate) discarded: u64,
    /// Bytes that waited behind holes.
    pub(crate) was_ahead: u64,
    /// Bytes that wait behind holes now.
    pub(crate) is_ahead: u64,
    /// Whether the application has something new to look at.
    pub(crate) news: bool,
}

/// What a chunk brought to a stream that grants no credit, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Arrived {
    /// That are held now and were not before.
    pub(crate) held: u64,
    /// That can be read now and could not before.
    pub(crate) readable: u64,
    /// Whether the application has something new to look at.
    pub(crate) news: bool,
}

/// Why a frame was not applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The peer broke a rule.
    Violation(TransportError),
    /// No room: drop the packet unacknowledged, the peer will send it again.
    Withhold,
}

impl From<TransportError> for Refusal {
    fn from(error: TransportError) -> Self {
        Self::Violation(error)
    }
}

/// The receiving half of a stream.
#[derive(Debug)]
pub(crate) struct ReceiveHalf {
    buffer: ReceiveBuffer,
    pub(crate) window: Window,
    state: State,
    /// The application saw all there was: tell it when there is more.
    awaited: bool,
}

impl ReceiveHalf {
    pub(crate) fn new(window: u64) -> Self {
        Self {
            buffer: ReceiveBuffer::default(),
            window: Window::new(window),
            state: State::Open,
            awaited: true,
        }
    }

    /// Applies a STREAM frame. `credit` is what the connection's flow control still allows.
    pub(crate) fn on_stream(
        &mut self,
        offset: u64,
        data: &[u8],
        fin: bool,
        credit: u64,
        max_gaps: usize,
        memory: &mut Memory<'_>,
    ) -> Result<Progress, Refusal> {
        let end = offset.saturating_add(data.len() as u64);
        let received = match self.state {
            // An end that comes before the data takes no credit: the data will, when it comes.
            State::Open | State::SizeKnown(_) if data.is_empty() => 0,
            _ => end.saturating_sub(self.buffer.end_received()),
        };
        self.check_size(end, fin)?;
        if end > self.window.max() || received > credit {
            return Err(TransportError::FlowControl.into());
        }
        match self.state {
            State::Open | State::SizeKnown(_) => {
                let (before, was_ahead) = (self.readable(), self.buffer.ahead_bytes());
                match self.buffer.write(offset, data, memory, max_gaps) {
                    Ok(_) => {}
                    Err(WriteError::OverBudget(_) | WriteError::TooManyGaps(_)) => {
                        return Err(Refusal::Withhold);
                    }
                    Err(WriteError::BeyondMaximum) => return Err(TransportError::FrameEncoding.into()),
                }
                let first_fin = fin && self.state == State::Open;
                if fin {
                    self.state = State::SizeKnown(end);
                }
                let news = self.readable() > before || (first_fin && self.is_at_end());
                let is_ahead = self.buffer.ahead_bytes();
                Ok(Progress { received, was_ahead, is_ahead, news, ..Progress::default() })
            }
            State::Stopped { ref mut final_size, .. } => {
                if fin {
                    *final_size = Some(end);
                }
                // Nothing is kept: what arrives counts as read at once.
                self.buffer.skip_to(end);
                Ok(Progress { received, discarded: received, ..Progress::default() })
            }
            State::Reset(_) | State::Done => Ok(Progress::default()),
        }
    }

    /// Applies a chunk of QOTP, which knows no violations: what lies beyond the known end, or ends elsewhere, is thrown
    /// away, and of bytes that come twice the first stay. `room` is how much more the connection holds; data at the
    /// read position may go beyond that, for else what waits behind it could keep out what it waits for.
    pub(crate) fn on_chunk(
        &mut self,
        offset: u64,
        data: &[u8],
        fin: bool,
        room: Option<u64>,
        max_gaps: usize,
        memory: &mut Memory<'_>,
    ) -> Result<Arrived, Refusal> {
        let size = match self.state {
            State::Open => None,
            State::SizeKnown(size) => Some(size),
            State::Reset(_) | State::Stopped { .. } | State::Done => return Ok(Arrived::default()),
        };
        let end = offset.saturating_add(data.len() as u64);
        let below_end = size.map_or(data.len(), |size| length(size.saturating_sub(offset)).min(data.len()));
        let data = data.get(..below_end).unwrap_or(&[]);
        let (missing, before) = (self.buffer.missing(offset, data.len()), self.buffer.readable());
        let fills_hole = before == 0 && offset <= self.buffer.read_end();
        let fits = room.is_some_and(|room| missing <= room || fills_hole);
        if missing > 0 && !fits {
            return Err(Refusal::Withhold);
        }
        self.buffer.write(offset, data, memory, max_gaps).map_err(|_| Refusal::Withhold)?;
        let first_end = fin && size.is_none();
        if first_end {
            self.state = State::SizeKnown(end.max(self.buffer.end_received()));
        }
        let readable = self.buffer.readable().saturating_sub(before) as u64;
        let news = readable > 0 || (first_end && self.is_at_end());
        Ok(Arrived { held: missing, readable, news })
    }

    /// The application wants no more, and the peer need not know. Returns how many bytes were held and how many of them
    /// could have been read, or `None` if it had ended before.
    pub(crate) fn abandon(&mut self, memory: &mut Memory<'_>) -> Option<(u64, u64)> {
        if self.state == State::Done {
            return None;
        }
        let gone = self.held_and_readable();
        self.buffer.discard(memory);
        self.state = State::Done;
        Some(gone)
    }

    /// Bytes held, and how many of them can be read.
    pub(crate) fn held_and_readable(&self) -> (u64, u64) {
        (self.buffer.held_bytes(), self.readable())
    }

    /// Applies a RESET_STREAM frame.
    pub(crate) fn on_reset(
        &mut self,
        code: ErrorCode,
        final_size: u64,
        credit: u64,
        memory: &mut Memory<'_>,
    ) -> Result<Progress, TransportError> {
        self.check_size(final_size, true)?;
        let received = final_size.saturating_sub(self.buffer.end_received());
        if final_size > self.window.max() || received > credit {
            return Err(TransportError::FlowControl);
        }
        let complete = matches!(self.state, State::SizeKnown(size) if self.buffer.read_end().saturating_add(self.readable()) == size);
        match self.state {
            // RFC 9000 section 3.2 allows to ignore a reset after all data has arrived.
            State::SizeKnown(_) if complete => Ok(Progress::default()),
            State::Open | State::SizeKnown(_) | State::Stopped { .. } => {
                let discarded = final_size.saturating_sub(self.buffer.read_end());
                let was_ahead = self.buffer.ahead_bytes();
                let news = !matches!(self.state, State::Stopped { .. });
                self.buffer.discard(memory);
                self.buffer.skip_to(final_size);
                self.state = if news { State::Reset(code) } else { State::Done };
                Ok(Progress { received, discarded, was_ahead, news, ..Progress::default() })
            }
            State::Reset(_) | State::Done => Ok(Progress::default()),
        }
    }

    /// The final size of a stream never changes (RFC 9000 section 4.5).
    fn check_size(&self, end: u64, is_final: bool) -> Result<(), TransportError> {
        let known = match self.state {
            State::SizeKnown(size) | State::Stopped { final_size: Some(size), .. } => Some(size),
            State::Reset(_) | State::Done => Some(self.buffer.end_received()),
            State::Open | State::Stopped { final_size: None, .. } => None,
        };
        let wrong = match known {
            Some(size) => end > size || (is_final && end != size),
            None => is_final && end < self.buffer.end_received(),
        };
        if wrong { Err(TransportError::FinalSize) } else { Ok(()) }
    }

    /// Moves bytes to `out`. `Ok(0)` is the end of the stream, unless `out` is empty.
    pub(crate) fn read(&mut self, out: &mut [u8], memory: &mut Memory<'_>) -> Result<usize, ReadError> {
        self.ready(out.is_empty())?;
        let read = self.buffer.read(out, memory);
        self.after_read(read);
        Ok(read)
    }

    /// As [`Self::read`], into a buffer of exact size; `None` is the end of the stream.
    pub(crate) fn read_chunk(
        &mut self,
        max: usize,
        memory: &mut Memory<'_>,
    ) -> Result<Option<Bytes>, ReadError> {
        self.ready(max == 0)?;
        let chunk = self.buffer.read_chunk(max, memory);
        self.after_read(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }

    fn ready(&mut self, wants_nothing: bool) -> Result<(), ReadError> {
        match self.state {
            State::Reset(code) => {
                self.state = State::Done;
                return Err(ReadError::Reset(code));
            }
            State::Stopped { .. } | State::Done => return Err(ReadError::Closed),
            State::Open | State::SizeKnown(_) => {}
        }
        if self.buffer.readable() == 0 && !self.is_at_end() && !wants_nothing {
            self.awaited = true;
            return Err(ReadError::Blocked);
        }
        Ok(())
    }

    /// The stream is over when the application has seen its end, not when it has its last byte.
    fn after_read(&mut self, read: usize) {
        if read == 0 && self.is_at_end() {
            self.state = State::Done;
        }
    }

    fn is_at_end(&self) -> bool {
        matches!(self.state, State::SizeKnown(size) if size == self.buffer.read_end())
    }

    /// Bytes read or thrown away so far, as an offset.
    pub(crate) const fn consumed(&self) -> u64 {
        self.buffer.read_end()
    }

    /// The application wants no more. Returns the bytes that nobody will read, or `None` if it had ended before.
    pub(crate) fn stop(&mut self, code: ErrorCode, memory: &mut Memory<'_>) -> Option<u64> {
        let final_size = match self.state {
            State::Open => None,
            State::SizeKnown(size) => Some(size),
            State::Reset(_) => {
                self.state = State::Done;
                return Some(0);
            }
            State::Stopped { .. } | State::Done => return None,
        };
        let unread = self.buffer.end_received().saturating_sub(self.buffer.read_end());
        let all_here = final_size == Some(self.buffer.end_received());
        self.buffer.discard(memory);
        self.state = if all_here {
            State::Done
        } else {
            State::Stopped { code, final_size, delivery: Delivery::Pending }
        };
        Some(unread)
    }

    /// The STOP_SENDING to send.
    pub(crate) fn stop_to_send(&self) -> Option<ErrorCode> {
        match self.state {
            State::Stopped { code, delivery: Delivery::Pending, .. } => Some(code),
            _ => None,
        }
    }

    /// The STOP_SENDING was sent, acknowledged or lost.
    /// Says whether that is news.
    pub(crate) fn set_stop_delivery(&mut self, to: Delivery) -> bool {
        match &mut self.state {
            State::Stopped { delivery, .. } => delivery.advance(to),
            _ => false,
        }
    }

    /// What became of the data that was received. Of a stream that was stopped nothing is read any more.
    pub(crate) fn usage(&self) -> Usage {
        let consumed = self.consumed();
        let read = if matches!(self.state, State::Stopped { .. }) { 0 } else { consumed };
        Usage { consumed, read, ahead: self.ahead() }
    }

    /// Bytes that wait behind holes.
    pub(crate) const fn ahead(&self) -> u64 {
        self.buffer.ahead_bytes()
    }

    /// Bytes that can be read now.
    pub(crate) fn readable(&self) -> u64 {
        self.buffer.readable() as u64
    }

    /// Whether [`Window::update`] has something to do.
    pub(crate) fn is_credit_due(&self) -> bool {
        self.wants_credit() && self.window.is_due(self.usage())
    }

    /// Whether more credit makes sense: the peer may still have data to send.
    pub(crate) const fn wants_credit(&self) -> bool {
        matches!(self.state, State::Open | State::Stopped { final_size: None, .. })
    }

    /// Whether nothing of interest can come any more.
    pub(crate) fn is_done(&self) -> bool {
        match self.state {
            State::Done => true,
            State::Stopped { final_size: Some(size), .. } => self.buffer.end_received() >= size,
            State::Open | State::SizeKnown(_) | State::Reset(_) | State::Stopped { .. } => false,
        }
    }

    /// Whether the application still has something to read here.
    pub(crate) fn has_unread(&self) -> bool {
        self.buffer.readable() > 0
    }

    /// Takes the mark that the application waits for news.
    pub(crate) const fn take_awaited(&mut self) -> bool {
        core::mem::replace(&mut self.awaited, false)
    }

    pub(crate) fn discard(&mut self, memory: &mut Memory<'_>) {
        self.buffer.discard(memory);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.buffer.heap_bytes()
    }
}

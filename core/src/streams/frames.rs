//! What the peer's frames do to streams.

use crate::error::TransportError;
use crate::id::{Direction, ErrorCode, StreamId};

use super::blocks::{Memory, length};
use super::receive::Progress;
use super::{Credit, Owed, Refusal, ResetBy, STREAM_COST, StreamEvent, Streams};

impl Streams {
    /// Applies a STREAM frame.
    pub(crate) fn on_stream(
        &mut self,
        id: StreamId,
        offset: u64,
        data: &[u8],
        fin: bool,
        memory: &mut Memory<'_>,
    ) -> Result<Credit, Refusal> {
        if self.opening.by_use().is_some() {
            return self.on_chunk(id, offset, data, fin, memory);
        }
        self.admit(id, memory)?;
        let (credit, gaps) = (self.flow.receive_credit(), self.settings.max_gaps);
        let Some(stream) = self.table.get_mut(&id) else { return Ok(Credit::Same) };
        let receive = stream.receive.as_mut().ok_or(TransportError::StreamState)?;
        let progress = receive.on_stream(offset, data, fin, credit, gaps, memory)?;
        let (tell, done) = (progress.news && receive.take_awaited(), receive.is_done());
        let due = receive.is_credit_due();
        stream.measure(&mut self.buffers);
        self.progress(id, progress, tell, done, memory);
        let due = due || self.flow.window.is_due(self.flow.usage());
        Ok(if due { Credit::Due } else { Credit::Same })
    }

    pub(crate) fn on_reset_stream(
        &mut self,
        id: StreamId,
        code: ErrorCode,
        final_size: u64,
        memory: &mut Memory<'_>,
    ) -> Result<(), Refusal> {
        self.admit(id, memory)?;
        let credit = self.flow.receive_credit();
        let Some(stream) = self.table.get_mut(&id) else { return Ok(()) };
        let receive = stream.receive.as_mut().ok_or(TransportError::StreamState)?;
        let progress = receive.on_reset(code, final_size, credit, memory)?;
        let (tell, done) = (progress.news && receive.take_awaited(), receive.is_done());
        self.progress(id, progress, tell, done, memory);
        Ok(())
    }

    fn progress(
        &mut self,
        id: StreamId,
        progress: Progress,
        tell: bool,
        done: bool,
        memory: &mut Memory<'_>,
    ) {
        self.flow.on_received(progress.received);
        self.flow.on_ahead(progress.was_ahead, progress.is_ahead);
        self.flow.on_discarded(progress.discarded);
        if tell {
            self.events.push_back(StreamEvent::Readable(id));
        }
        if done {
            self.reap(id, memory);
        }
    }

    pub(crate) fn on_stop_sending(
        &mut self,
        id: StreamId,
        code: ErrorCode,
        memory: &mut Memory<'_>,
    ) -> Result<(), Refusal> {
        self.admit(id, memory)?;
        let Some(stream) = self.table.get_mut(&id) else { return Ok(()) };
        let send = stream.send.as_mut().ok_or(TransportError::StreamState)?;
        if send.reset(ResetBy::Peer { told: false }, code, memory) {
            stream.set_limited(false, &mut self.limited);
            self.owed.push_back((id, Owed::Reset));
            self.events.push_back(StreamEvent::Writable(id));
        }
        Ok(())
    }

    pub(crate) fn on_max_stream_data(
        &mut self,
        id: StreamId,
        max: u64,
        memory: &mut Memory<'_>,
    ) -> Result<(), Refusal> {
        self.admit(id, memory)?;
        let Some(stream) = self.table.get_mut(&id) else { return Ok(()) };
        stream.send.as_mut().ok_or(TransportError::StreamState)?.on_max_data(max);
        self.wake(id);
        Ok(())
    }

    pub(crate) fn on_max_data(&mut self, max: u64) {
        let more = self.flow.on_max_data(max);
        if self.can_wake_held() {
            self.wake_useful(more);
        }
    }

    pub(crate) fn on_max_streams(&mut self, direction: Direction, max: u64) {
        let Some(counts) = self.opening.counts_mut() else { return };
        if counts.on_max_streams(direction, max) {
            self.events.push_back(StreamEvent::Available(direction));
        }
    }

    /// Checks that a frame of the peer may name this stream, and creates it (and all of its kind before it, RFC 9000
    /// section 3.2) if the peer opens it by that. Afterwards a stream that is not in the table is one that is over.
    fn admit(&mut self, id: StreamId, memory: &mut Memory<'_>) -> Result<(), Refusal> {
        let Some(counts) = self.opening.counts() else { return self.admit_by_use(id, memory) };
        if id.opener() == self.settings.role {
            let opened = counts.is_opened(id.direction(), id.index());
            return if opened { Ok(()) } else { Err(TransportError::StreamState.into()) };
        }
        let new = counts.peer_opens(id.direction(), id.index()).ok_or(TransportError::StreamLimit)?;
        if new.is_empty() {
            return Ok(());
        }
        let cost = STREAM_COST.saturating_mul(length(new.end.saturating_sub(new.start)));
        memory.account.charge(memory.budget, cost).map_err(|_| Refusal::Withhold)?;
        for index in new.clone() {
            let id = StreamId::new(id.opener(), id.direction(), index);
            self.insert(id, false);
            if self.ending {
                // A stream that only the peer sends on has no end of ours.
                let _ = self.finish(id, memory);
            }
        }
        let counts = self.opening.counts_mut();
        if counts.is_some_and(|counts| counts.on_peer_opened(id.direction(), new.end)) {
            self.events.push_back(StreamEvent::Opened(id.direction()));
        }
        Ok(())
    }
}

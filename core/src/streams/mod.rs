//! Streams: the table of a connection, with credit, limits and scheduling. The halves of a stream have their own
//! files; here they meet.

pub(crate) mod blocks;
mod by_use;
mod counts;
mod flow;
mod frames;
mod holdings;
mod opening;
mod qotp;
mod receive;
pub(crate) mod receive_buffer;
mod schedule;
mod send;
pub(crate) mod send_buffer;
mod starving;
mod transmit;
mod waiting;
mod windows;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::config::Limits;
use crate::error::{OpenError, ReadError, WriteError};
use crate::hash::NumberState;
use crate::id::{Direction, ErrorCode, Role, StreamId};
use crate::wire::params::TransportParams;

use blocks::{MAX_LEN, Memory};
use counts::Counts;
use flow::Flow;
use opening::Opening;
use receive::ReceiveHalf;
pub(crate) use receive::Refusal;
use schedule::Schedule;
use send::ResetBy;
use send::{SendCap, SendHalf};
pub(crate) use transmit::Behind;

/// Something that a stream wants the application to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StreamEvent {
    Opened(Direction),
    Readable(StreamId),
    Writable(StreamId),
    Finished(StreamId),
    Available(Direction),
}

/// A control frame that a stream owes the peer, beside credit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owed {
    Reset,
    Stop,
}

/// What a frame means for the credit of the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Credit {
    Same,
    /// There may be more of it to give.
    Due,
}

#[derive(Debug)]
struct Stream {
    priority: i32,
    /// Opened by this side.
    ours: bool,
    /// In the schedule.
    scheduled: bool,
    /// In the queue of those that connection flow control holds.
    held: bool,
    /// In the queue of those that found no memory for what the application writes.
    starving: bool,
    /// It has more to send than the peer's limit for it allows.
    limited: bool,
    /// Heap of its buffers' bookkeeping when it was last looked at, in bytes.
    measured: usize,
    send: Option<SendHalf>,
    receive: Option<ReceiveHalf>,
}

impl Stream {
    /// Brings `total`, the heap of all streams' bookkeeping, up to date with this one's.
    fn measure(&mut self, total: &mut usize) {
        let sending = self.send.as_ref().map_or(0, SendHalf::heap_bytes);
        let held = sending.saturating_add(self.receive.as_ref().map_or(0, ReceiveHalf::heap_bytes));
        *total = total.saturating_sub(self.measured).saturating_add(held);
        self.measured = held;
    }

    fn is_done(&self) -> bool {
        self.send.as_ref().is_none_or(SendHalf::is_forgettable)
            && self.receive.as_ref().is_none_or(ReceiveHalf::is_done)
    }
}

/// Heap of one stream beside its buffers: the boxed struct and its place in the table.
const STREAM_COST: usize = size_of::<Stream>() + PLACE_COST;
/// A place in the table, and as much of the room that the table keeps free.
const PLACE_COST: usize = 2 * size_of::<(StreamId, Box<Stream>)>();

/// What a stream may hold for sending on the slowest of paths: a writer should not have to be woken for every packet.
const MIN_SEND_CAP: u64 = 256 << 10;

/// Settings that do not change over the life of a connection.
#[derive(Clone, Copy, Debug)]
struct Settings {
    role: Role,
    stream_window: u64,
    max_window: u64,
    max_stream_window: u64,
    send_buffer: u64,
    max_gaps: usize,
    /// The longest that a stream may become, in bytes.
    max_len: u64,
    announce: bool,
}

/// The streams of a connection.
#[derive(Debug)]
pub(crate) struct Streams {
    settings: Settings,
    table: HashMap<StreamId, Box<Stream>, NumberState>,
    opening: Opening,
    flow: Flow,
    /// The peer's initial limits per stream.
    peer: TransportParams,
    /// Bytes that one stream may hold for sending now: enough for the path, as far as the limit allows.
    send_cap: u64,
    /// Heap of the bookkeeping in the streams' buffers, in bytes.
    buffers: usize,
    schedule: Schedule,
    /// Streams held by connection flow control alone.
    held: VecDeque<StreamId>,
    /// Streams whose writers found no memory.
    starving: VecDeque<StreamId>,
    owed: VecDeque<(StreamId, Owed)>,
    /// Streams whose new limit the peer is to know.
    credit: VecDeque<StreamId>,
    events: VecDeque<StreamEvent>,
    /// Sending halves whose data, or reset, the peer does not have yet.
    undelivered: usize,
    /// How many streams have more to send than the peer's limits for them allow.
    limited: u32,
    /// The stream whose writer was refused last.
    refused: Option<StreamId>,
    /// Nothing is to be written any more: streams that the peer opens from now on are ended at once.
    ending: bool,
}

impl Streams {
    /// No streams yet. `window` is the receive credit that the connection starts with.
    pub(crate) fn new(role: Role, limits: &Limits, announce: bool, hasher: NumberState) -> Self {
        let peer = TransportParams::DEFAULT;
        Self {
            settings: Settings {
                role,
                stream_window: limits.granted_window(),
                max_window: limits.max_window,
                max_stream_window: limits.max_stream_window,
                send_buffer: limits.send_buffer,
                max_gaps: limits.stream_gaps,
                max_len: MAX_LEN,
                announce,
            },
            table: HashMap::with_hasher(hasher),
            opening: Opening::Counted(Counts::new(role, limits.streams_bidi, limits.streams_uni, &peer)),
            flow: Flow::new(limits.granted_window(), peer.max_data),
            peer,
            send_cap: limits.send_buffer.min(MIN_SEND_CAP),
            buffers: 0,
            schedule: Schedule::default(),
            held: VecDeque::new(),
            starving: VecDeque::new(),
            owed: VecDeque::new(),
            credit: VecDeque::new(),
            events: VecDeque::new(),
            undelivered: 0,
            limited: 0,
            refused: None,
            ending: false,
        }
    }

    /// The peer's HELLO came: its limits replace the assumed ones, the lower ones too.
    pub(crate) fn set_peer_params(&mut self, params: &TransportParams) {
        self.peer = *params;
        self.flow.set_peer_max(params.max_data);
        for (direction, max) in [
            (Direction::Bidirectional, params.max_streams_bidi),
            (Direction::Unidirectional, params.max_streams_uni),
        ] {
            if let Some(counts) = self.opening.counts_mut() {
                counts.set_peer_max(direction, max);
            }
            self.on_max_streams(direction, max);
        }
        let role = self.settings.role;
        for (id, stream) in &mut self.table {
            if let Some(send) = &mut stream.send {
                send.set_max_data(initial_send_limit(params, role, *id));
            }
        }
    }

    fn cap(&self) -> SendCap {
        SendCap { unacked: self.send_cap, buffered: self.settings.send_buffer }
    }

    /// The congestion window has moved: two of it let a writer keep the path full, more would only sit in memory.
    pub(crate) fn on_window(&mut self, window: u64) {
        self.send_cap = window.saturating_mul(2).max(MIN_SEND_CAP).min(self.settings.send_buffer);
    }

    /// Opens a stream.
    pub(crate) fn open(
        &mut self,
        direction: Direction,
        memory: &mut Memory<'_>,
    ) -> Result<StreamId, OpenError> {
        self.open_by(|opening, role| opening.open(role, direction), memory)
    }

    /// Opens the stream whose id `take` takes.
    fn open_by(
        &mut self,
        take: impl FnOnce(&mut Opening, Role) -> Result<StreamId, OpenError>,
        memory: &mut Memory<'_>,
    ) -> Result<StreamId, OpenError> {
        memory.account.charge(memory.budget, STREAM_COST).map_err(|_| OpenError::OverBudget)?;
        let opened = take(&mut self.opening, self.settings.role);
        match opened {
            Ok(id) => {
                self.insert(id, true);
                if self.settings.announce {
                    self.wake(id);
                }
            }
            Err(_) => memory.account.release(memory.budget, STREAM_COST),
        }
        opened
    }

    /// The next stream that the peer opened.
    pub(crate) fn accept(&mut self, direction: Direction) -> Option<StreamId> {
        self.opening.accept(self.settings.role, direction)
    }

    fn insert(&mut self, id: StreamId, ours: bool) {
        let both = id.direction() == Direction::Bidirectional;
        let send = (ours || both).then(|| {
            let limit = initial_send_limit(&self.peer, self.settings.role, id);
            SendHalf::new(limit, ours && self.settings.announce)
        });
        let receive = (!ours || both).then(|| ReceiveHalf::new(self.settings.stream_window));
        self.undelivered = self.undelivered.saturating_add(usize::from(send.is_some()));
        self.table.insert(
            id,
            Box::new(Stream {
                priority: 0,
                ours,
                scheduled: false,
                held: false,
                starving: false,
                limited: false,
                measured: 0,
                send,
                receive,
            }),
        );
    }

    /// Puts a stream into the schedule unless it is there.
    fn wake(&mut self, id: StreamId) {
        let Some(stream) = self.table.get_mut(&id) else { return };
        stream.measure(&mut self.buffers);
        stream.set_limited(false, &mut self.limited);
        if !stream.scheduled {
            stream.scheduled = true;
            self.schedule.push(stream.priority, id);
        }
    }

    pub(crate) fn write(
        &mut self,
        id: StreamId,
        data: &[u8],
        memory: &mut Memory<'_>,
    ) -> Result<usize, WriteError> {
        let (cap, max_len) = (self.cap(), self.settings.max_len);
        let send = self.send_half(id).ok_or(WriteError::Closed)?;
        let written = send.write(data, cap, max_len, memory);
        if send.lacks_memory(cap) {
            self.starve(id);
        }
        if matches!(written, Err(WriteError::Blocked)) {
            self.refused = Some(id);
        }
        self.after_write(id, written, memory)
    }

    pub(crate) fn finish(&mut self, id: StreamId, memory: &mut Memory<'_>) -> Result<(), WriteError> {
        let finished = self.send_half(id).ok_or(WriteError::Closed)?.finish();
        self.after_write(id, finished, memory)
    }

    /// What was written is to be sent; a stream that turned out to be stopped can be forgotten.
    fn after_write<T>(
        &mut self,
        id: StreamId,
        result: Result<T, WriteError>,
        memory: &mut Memory<'_>,
    ) -> Result<T, WriteError> {
        match result {
            Ok(_) => self.wake(id),
            Err(WriteError::Stopped(_)) => self.reap(id, memory),
            Err(_) => {}
        }
        result
    }

    /// Ends every stream that the application still writes on, and those to come.
    pub(crate) fn finish_all(&mut self, memory: &mut Memory<'_>) {
        self.ending = true;
        let mut open: Vec<StreamId> = self.table.keys().copied().collect();
        // The order of a hash table differs between machines, and this one reaches the wire.
        open.sort_unstable();
        for id in open {
            // Streams that cannot be finished have ended already.
            let _ = self.finish(id, memory);
        }
    }

    /// Whether the peer has all that was written, and knows of all ends.
    pub(crate) const fn is_all_delivered(&self) -> bool {
        self.undelivered == 0
    }

    /// Streams whose data is not all delivered, and the bytes of it.
    pub(crate) fn undelivered(&self) -> (usize, u64) {
        let halves = self.table.values().filter_map(|stream| stream.send.as_ref());
        let waiting = halves.filter(|send| !send.is_done());
        waiting.fold((0, 0_u64), |(streams, bytes), send| {
            (usize::saturating_add(streams, 1), bytes.saturating_add(send.unacked()))
        })
    }

    pub(crate) fn reset(
        &mut self,
        id: StreamId,
        code: ErrorCode,
        memory: &mut Memory<'_>,
    ) -> Result<(), WriteError> {
        if self.opening.by_use().is_some() {
            return Err(WriteError::Unsupported);
        }
        let send = self.send_half(id).ok_or(WriteError::Closed)?;
        if send.reset(ResetBy::Application, code, memory) {
            self.unlimit(id);
            self.owed.push_back((id, Owed::Reset));
            Ok(())
        } else {
            self.reap(id, memory);
            Err(WriteError::Closed)
        }
    }

    pub(crate) fn set_priority(&mut self, id: StreamId, priority: i32) -> Result<(), WriteError> {
        let stream = self.table.get_mut(&id).ok_or(WriteError::Closed)?;
        let before = core::mem::replace(&mut stream.priority, priority);
        if stream.scheduled && before != priority {
            self.schedule.remove(before, id);
            self.schedule.push(priority, id);
        }
        Ok(())
    }

    pub(crate) fn read(
        &mut self,
        id: StreamId,
        out: &mut [u8],
        memory: &mut Memory<'_>,
    ) -> Result<usize, ReadError> {
        let receive = self.receive_half(id).ok_or(ReadError::Closed)?;
        let read = receive.read(out, memory);
        self.on_read(id, *read.as_ref().unwrap_or(&0), memory);
        read
    }

    pub(crate) fn read_chunk(
        &mut self,
        id: StreamId,
        max: usize,
        memory: &mut Memory<'_>,
    ) -> Result<Option<Bytes>, ReadError> {
        let receive = self.receive_half(id).ok_or(ReadError::Closed)?;
        let chunk = receive.read_chunk(max, memory);
        let len = chunk.as_ref().ok().and_then(Option::as_ref).map_or(0, Bytes::len);
        self.on_read(id, len, memory);
        chunk
    }

    fn on_read(&mut self, id: StreamId, len: usize, memory: &mut Memory<'_>) {
        self.flow.on_read(len as u64);
        if let Some(by_use) = self.opening.by_use_mut() {
            by_use.reception.on_gone(len as u64, len as u64);
        }
        self.reap(id, memory);
    }

    pub(crate) fn stop(
        &mut self,
        id: StreamId,
        code: ErrorCode,
        memory: &mut Memory<'_>,
    ) -> Result<(), ReadError> {
        if self.opening.by_use().is_some() {
            return Err(ReadError::Unsupported);
        }
        let receive = self.receive_half(id).ok_or(ReadError::Closed)?;
        let ahead = receive.ahead();
        let unread = receive.stop(code, memory).ok_or(ReadError::Closed)?;
        if receive.stop_to_send().is_some() {
            self.owed.push_back((id, Owed::Stop));
        }
        self.flow.on_ahead(ahead, 0);
        self.flow.on_discarded(unread);
        self.reap(id, memory);
        Ok(())
    }

    fn send_half(&mut self, id: StreamId) -> Option<&mut SendHalf> {
        self.table.get_mut(&id)?.send.as_mut()
    }

    fn receive_half(&mut self, id: StreamId) -> Option<&mut ReceiveHalf> {
        self.table.get_mut(&id)?.receive.as_mut()
    }

    /// Whether this stream still has something for the application to read.
    pub(crate) fn any_unread(&self) -> bool {
        self.table.values().filter_map(|stream| stream.receive.as_ref()).any(ReceiveHalf::has_unread)
    }

    /// Whether there is a stream that is not over.
    pub(crate) fn any_open(&self) -> bool {
        !self.table.is_empty()
    }

    /// The next event for the application.
    pub(crate) fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }
}

/// How far the peer lets us go on `id` before it says more (RFC 9000 section 18.2; local and remote are the peer's view).
const fn initial_send_limit(peer: &TransportParams, role: Role, id: StreamId) -> u64 {
    let opened_by_us = matches!(
        (id.opener(), role),
        (Role::Initiator, Role::Initiator) | (Role::Responder, Role::Responder)
    );
    match (id.direction(), opened_by_us) {
        (Direction::Unidirectional, _) => peer.max_stream_data_uni,
        (Direction::Bidirectional, true) => peer.max_stream_data_bidi_remote,
        (Direction::Bidirectional, false) => peer.max_stream_data_bidi_local,
    }
}

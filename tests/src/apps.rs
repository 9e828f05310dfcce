//! Applications for tests: one that sends patterned data, one that receives and checks it.

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_core::{
    ConnectionHandle, Direction, Duration, Endpoint, Event, Instant, OpenError, ReadError, StreamId,
    WriteError,
};

use crate::host::{App, accept_incoming};
use crate::meters::Arrivals;

/// The byte at `offset` of stream `id` in patterned data.
#[must_use]
pub const fn pattern(id: StreamId, offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
        ^ (id.get() as u8).wrapping_mul(31)
        ^ (offset >> 13) as u8
}

/// Bytes of pattern that a sender offers at once.
const PIECE: usize = 32 << 10;

/// Sends `bytes` of pattern on each of `streams` streams as soon as it is connected.
#[derive(Debug)]
pub struct Sender {
    streams: usize,
    bytes: u64,
    direction: Direction,
    written: BTreeMap<StreamId, u64>,
    piece: Vec<u8>,
}

impl Sender {
    /// Unidirectional streams.
    #[must_use]
    pub fn new(streams: usize, bytes: u64) -> Self {
        Self {
            streams,
            bytes,
            direction: Direction::Unidirectional,
            written: BTreeMap::new(),
            piece: Vec::new(),
        }
    }

    /// Bidirectional streams.
    #[must_use]
    pub fn bidirectional(self) -> Self {
        Self { direction: Direction::Bidirectional, ..self }
    }

    fn open(&mut self, endpoint: &mut Endpoint, handle: ConnectionHandle) {
        while self.streams > 0 {
            let Some(mut connection) = endpoint.connection(handle) else { return };
            match connection.open(self.direction) {
                Ok(id) => {
                    self.streams -= 1;
                    self.written.insert(id, 0);
                    self.write(endpoint, handle, id);
                }
                Err(OpenError::Blocked) => return,
                Err(error) => panic!("open: {error}"),
            }
        }
    }

    fn write(&mut self, endpoint: &mut Endpoint, handle: ConnectionHandle, id: StreamId) {
        let Some(mut connection) = endpoint.connection(handle) else { return };
        let Some(written) = self.written.get_mut(&id) else { return };
        while *written < self.bytes {
            let len = (self.bytes - *written).min(PIECE as u64);
            self.piece.clear();
            self.piece.extend((*written..*written + len).map(|offset| pattern(id, offset)));
            match connection.write(id, &self.piece) {
                Ok(n) => *written += n as u64,
                Err(WriteError::Blocked) => return,
                Err(error) => panic!("write: {error}"),
            }
        }
        connection.finish(id).expect("a written stream can be finished");
        self.written.remove(&id);
    }
}

impl App for Sender {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
        accept_incoming(now, endpoint, handle, event);
        match event {
            Event::Connected | Event::StreamsAvailable(_) => self.open(endpoint, handle),
            Event::Writable(id) => self.write(endpoint, handle, *id),
            _ => {}
        }
    }
}

/// What a [`Receiver`] has seen.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes read and checked, per stream (summed over connections that have streams of that id).
    pub bytes: BTreeMap<StreamId, u64>,
    /// Streams read to their end.
    pub finished: usize,
    /// When the last byte or end was read.
    pub last: Instant,
    /// When bytes were read.
    pub arrivals: Arrivals,
}

impl Received {
    /// Bytes read in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.bytes.values().sum()
    }
}

/// Accepts connections and streams, reads everything and checks it against the pattern.
#[derive(Debug)]
pub struct Receiver {
    seen: Rc<RefCell<Received>>,
    buffer: Vec<u8>,
    /// Reads at most so many bytes of each stream every so often, and nothing in between; `None` reads at once.
    pace: Option<(usize, Duration)>,
    next: Option<Instant>,
    waiting: Vec<(ConnectionHandle, StreamId)>,
    offsets: BTreeMap<(ConnectionHandle, StreamId), u64>,
}

impl Receiver {
    /// A receiver that reads at once, and what it will have seen.
    #[must_use]
    pub fn new() -> (Self, Rc<RefCell<Received>>) {
        let seen = Rc::new(RefCell::new(Received::default()));
        let receiver = Self {
            seen: Rc::clone(&seen),
            buffer: vec![0; 64 << 10],
            pace: None,
            next: None,
            waiting: Vec::new(),
            offsets: BTreeMap::new(),
        };
        (receiver, seen)
    }

    /// A receiver that reads at most `bytes` of each stream every `interval`.
    #[must_use]
    pub fn slow(bytes: usize, interval: Duration) -> (Self, Rc<RefCell<Received>>) {
        let (receiver, seen) = Self::new();
        (Self { pace: Some((bytes, interval)), ..receiver }, seen)
    }

    /// A stream has something to read: now, or when it is time.
    fn on_readable(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, id: StreamId) {
        match self.pace {
            Some((_, interval)) => {
                if !self.waiting.contains(&(handle, id)) {
                    self.waiting.push((handle, id));
                }
                self.next = self.next.or(Some(now + interval));
            }
            None => self.read(now, endpoint, handle, id),
        }
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, id: StreamId) {
        let Some(mut connection) = endpoint.connection(handle) else { return };
        let mut most = self.pace.map_or(usize::MAX, |(bytes, _)| bytes);
        let mut seen = self.seen.borrow_mut();
        loop {
            let room = most.min(self.buffer.len());
            if room == 0 {
                self.waiting.push((handle, id));
                let interval = self.pace.map_or(Duration::ZERO, |(_, interval)| interval);
                self.next = self.next.or(Some(now + interval));
                return;
            }
            match connection.read(id, &mut self.buffer[..room]) {
                Ok(0) => {
                    seen.finished += 1;
                    seen.last = now;
                    if id.direction() == Direction::Bidirectional {
                        // Nothing to answer; it may be over already.
                        let _ = connection.finish(id);
                    }
                    return;
                }
                Ok(len) => {
                    let offset = self.offsets.entry((handle, id)).or_insert(0);
                    for byte in &self.buffer[..len] {
                        assert_eq!(*byte, pattern(id, *offset), "stream {id:?} differs at {offset}");
                        *offset += 1;
                    }
                    *seen.bytes.entry(id).or_insert(0) += len as u64;
                    seen.last = now;
                    seen.arrivals.note(now);
                    most -= len;
                }
                // Events are hints: this one may be older than the end that was read meanwhile.
                Err(ReadError::Blocked | ReadError::Closed) => return,
                Err(error) => panic!("read of {id:?}: {error}"),
            }
        }
    }
}

impl App for Receiver {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
        accept_incoming(now, endpoint, handle, event);
        match event {
            Event::StreamOpened(direction) => {
                while let Some(id) =
                    endpoint.connection(handle).and_then(|mut connection| connection.accept(*direction))
                {
                    self.seen.borrow_mut().bytes.entry(id).or_insert(0);
                    self.on_readable(now, endpoint, handle, id);
                }
            }
            Event::Readable(id) => self.on_readable(now, endpoint, handle, *id),
            _ => {}
        }
    }

    fn on_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.next = None;
        for (handle, id) in core::mem::take(&mut self.waiting) {
            self.read(now, endpoint, handle, id);
        }
    }

    fn timeout(&self) -> Option<Instant> {
        self.next
    }
}

/// Two applications on one endpoint: both see every event.
#[derive(Clone, Copy, Debug)]
pub struct Both<A, B>(pub A, pub B);

impl<A: App, B: App> App for Both<A, B> {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
        self.0.on_event(now, endpoint, handle, event);
        self.1.on_event(now, endpoint, handle, event);
    }

    fn on_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for app in [&mut self.0 as &mut dyn App, &mut self.1] {
            if app.timeout().is_some_and(|at| at <= now) {
                app.on_timeout(now, endpoint);
            }
        }
    }

    fn timeout(&self) -> Option<Instant> {
        [self.0.timeout(), self.1.timeout()].into_iter().flatten().min()
    }
}

/// Accepts connections, and writes back on every bidirectional stream what comes on it. A reset is answered by one.
#[derive(Debug, Default)]
pub struct Echo {
    /// What was read and not written back yet, and whether the end was read.
    owed: BTreeMap<(ConnectionHandle, StreamId), (Vec<u8>, bool)>,
}

impl Echo {
    fn pump(&mut self, endpoint: &mut Endpoint, handle: ConnectionHandle, id: StreamId) {
        let Some(mut connection) = endpoint.connection(handle) else { return };
        let Some((owed, ended)) = self.owed.get_mut(&(handle, id)) else { return };
        let mut buffer = [0; 4096];
        loop {
            while !owed.is_empty() {
                match connection.write(id, owed) {
                    Ok(len) => drop(owed.drain(..len)),
                    Err(WriteError::Blocked) => return,
                    Err(_) => owed.clear(),
                }
            }
            if *ended {
                let _ = connection.finish(id);
                break;
            }
            match connection.read(id, &mut buffer) {
                Ok(0) => *ended = true,
                Ok(len) => owed.extend_from_slice(&buffer[..len]),
                Err(ReadError::Blocked) => return,
                Err(ReadError::Reset(code)) => {
                    let _ = connection.reset(id, code);
                    break;
                }
                Err(_) => break,
            }
        }
        self.owed.remove(&(handle, id));
    }
}

impl App for Echo {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
        accept_incoming(now, endpoint, handle, event);
        match event {
            Event::StreamOpened(Direction::Bidirectional) => {
                while let Some(id) =
                    endpoint.connection(handle).and_then(|mut c| c.accept(Direction::Bidirectional))
                {
                    self.owed.insert((handle, id), (Vec::new(), false));
                    self.pump(endpoint, handle, id);
                }
            }
            Event::Readable(id) | Event::Writable(id) => self.pump(endpoint, handle, *id),
            _ => {}
        }
    }
}

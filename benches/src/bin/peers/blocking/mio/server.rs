//! The server's side.

use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::time::Instant;

use dunlin_mio::{ConnectionHandle, Direction, Driver, Event, StreamId};

use super::stream::{Reading, Stream};
use crate::grid::{Load, Way};
use crate::load::{REQUEST, is_datagram};
use crate::pattern::{self, Check, PIECE};
use crate::roles::announce;
use crate::setup::{Contact, Setup, any_port};
use crate::stack::dunlin::{config, identity};

/// Serves until the process is ended.
pub(crate) fn serve(setup: &Setup) -> io::Result<()> {
    let driver = Driver::bind(any_port(), config(setup), identity(2)).map_err(io::Error::other)?;
    let proof = driver.engine().public_key().to_string().into_bytes();
    announce(&Contact { addr: driver.local_addr(), proof });
    let load = setup.scenario.load;
    let mut server = Server {
        driver,
        load,
        streams: HashMap::new(),
        received: HashMap::new(),
        buffer: vec![0; PIECE],
        datagram: Vec::new(),
    };
    loop {
        server.driver.run_once(None).map_err(io::Error::other)?;
        while let Some((handle, event)) = server.driver.poll_event() {
            server.hear(handle, event);
        }
    }
}

struct Server {
    driver: Driver,
    load: Load,
    streams: HashMap<(ConnectionHandle, StreamId), Answer>,
    /// Datagrams.
    received: HashMap<ConnectionHandle, u64>,
    buffer: Vec<u8>,
    datagram: Vec<u8>,
}

impl Server {
    fn hear(&mut self, handle: ConnectionHandle, event: Event) {
        match event {
            // An attempt that is gone is none.
            Event::Incoming => drop(self.driver.accept(handle)),
            Event::StreamOpened(Direction::Bidirectional) => self.admit(handle),
            Event::Readable(id) | Event::Writable(id) => self.drive(handle, id),
            Event::DatagramReceived => self.count(handle),
            Event::Closed(_) => {
                self.streams.retain(|(connection, _), _| *connection != handle);
                self.received.remove(&handle);
            }
            _ => {}
        }
    }

    fn admit(&mut self, handle: ConnectionHandle) {
        loop {
            let connection = self.driver.connection(handle);
            let Some(id) = connection.and_then(|mut connection| connection.accept(Direction::Bidirectional))
            else {
                return;
            };
            self.streams.insert((handle, id), Answer::to(self.load));
            self.drive(handle, id);
        }
    }

    fn drive(&mut self, handle: ConnectionHandle, id: StreamId) {
        let Some(answer) = self.streams.get_mut(&(handle, id)) else { return };
        let Some(mut connection) = self.driver.connection(handle) else { return };
        let received = self.received.get(&handle).copied().unwrap_or(0);
        let mut stream = Stream { connection: &mut connection, id, buffer: &mut self.buffer };
        if answer.drive(&mut stream, received) {
            self.streams.remove(&(handle, id));
        }
    }

    fn count(&mut self, handle: ConnectionHandle) {
        let Some(mut connection) = self.driver.connection(handle) else { return };
        let received = self.received.entry(handle).or_default();
        self.datagram.clear();
        while connection.read_datagram(&mut self.datagram).is_some() {
            assert!(is_datagram(&self.datagram), "wrong data in a datagram");
            *received += 1;
            self.datagram.clear();
        }
    }
}

/// What is to be said on a stream.
enum Answer {
    /// How much came.
    Sink(Check),
    /// As much as there is time for, once the time is known.
    Source { question: Vec<u8>, deadline: Option<Instant>, written: u64 },
    /// What came; this much is not said yet.
    Echo(Vec<u8>),
    /// An answer of the same length.
    Reply(Check),
    /// How many datagrams came.
    Tell,
}

impl Answer {
    fn to(load: Load) -> Self {
        match load {
            Load::Bulk { way: Way::Up, .. } | Load::Many => Self::Sink(Check::default()),
            Load::Bulk { way: Way::Down, .. } => {
                Self::Source { question: Vec::new(), deadline: None, written: 0 }
            }
            Load::PingPong | Load::Handshakes { .. } | Load::Idle => Self::Echo(Vec::new()),
            Load::Requests => Self::Reply(Check::default()),
            Load::Datagrams => Self::Tell,
        }
    }

    /// Goes as far as possible; whether all is said.
    fn drive(&mut self, stream: &mut Stream<'_, '_>, received: u64) -> bool {
        match self {
            Self::Sink(check) => {
                let end = stream.read(|piece| check.take(piece)) == Reading::End;
                if end {
                    stream.write_last(&check.offset().to_be_bytes());
                }
                end
            }
            Self::Source { question, deadline, written } => {
                if deadline.is_none()
                    && stream.read(|piece| question.extend_from_slice(piece)) == Reading::End
                {
                    let millis = question.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                    *deadline = Some(Instant::now() + Duration::from_millis(millis));
                }
                deadline.is_some_and(|deadline| write_until(stream, deadline, PIECE, written))
            }
            Self::Echo(backlog) => {
                let reading = stream.read(|piece| backlog.extend_from_slice(piece));
                let written = stream.write(backlog);
                backlog.drain(..written);
                let end = reading == Reading::End && backlog.is_empty();
                if end {
                    stream.finish();
                }
                end
            }
            Self::Reply(check) => {
                let end = stream.read(|piece| check.take(piece)) == Reading::End;
                if end {
                    assert_eq!(check.offset(), REQUEST as u64, "a request of another length");
                    stream.write_last(pattern::at(0, REQUEST));
                }
                end
            }
            Self::Tell => {
                let end = stream.read(|_| {}) == Reading::End;
                if end {
                    stream.write_last(&received.to_be_bytes());
                }
                end
            }
        }
    }
}

/// Writes in pieces until the time is over, and finishes then; whether it is over.
pub(super) fn write_until(
    stream: &mut Stream<'_, '_>,
    deadline: Instant,
    piece: usize,
    written: &mut u64,
) -> bool {
    // A piece that was begun is written to its end.
    while !written.is_multiple_of(piece as u64) || Instant::now() < deadline {
        let rest = piece - (*written % piece as u64) as usize;
        match stream.write(pattern::at(*written, rest)) {
            0 => return false,
            len => *written += len as u64,
        }
    }
    stream.finish();
    true
}

//! The client's side.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::thread::sleep;
use std::time::Instant;

use dunlin_mio::{
    CloseReason, ConnectionHandle, DatagramError, Driver, Event, OpenError, Peer, PublicKey, StreamId,
};

use super::server::write_until;
use super::stream::{Reading, Stream};
use crate::grid::{Load, Way};
use crate::load::{self, DATAGRAM, DIALS, IDLE, MANY, MESSAGE, PING, REQUEST, REQUESTS, fill_datagram};
use crate::pattern::{self, Check, PIECE};
use crate::process::Meter;
use crate::sample::Sample;
use crate::setup::{ALPN, Contact, any_port};
use crate::stack::dunlin::{config, identity, server_key};

/// Runs the client's side of a scenario.
pub(crate) fn load(told: load::Client, contact: &Contact) -> io::Result<Sample> {
    let driver = Driver::bind(any_port(), config(&told.setup), identity(1)).map_err(io::Error::other)?;
    let mut client = Client {
        told,
        driver,
        contact: contact.clone(),
        key: server_key(contact),
        works: HashMap::new(),
        waiting: VecDeque::new(),
        buffer: vec![0; PIECE],
    };
    client.run()
}

struct Client {
    told: load::Client,
    driver: Driver,
    contact: Contact,
    key: PublicKey,
    works: HashMap<(ConnectionHandle, StreamId), Work>,
    /// What has no stream yet.
    waiting: VecDeque<(ConnectionHandle, Work)>,
    buffer: Vec<u8>,
}

/// What the loads wait for.
enum Happened {
    Connected(ConnectionHandle),
    Done(ConnectionHandle, Work),
}

/// Runs.
impl Client {
    fn run(&mut self) -> io::Result<Sample> {
        let load = self.told.setup.scenario.load;
        let dials = if load == Load::Many { MANY } else { 1 };
        match load {
            Load::Idle => return self.idle(),
            Load::Handshakes { in_flight } => return self.handshakes(in_flight),
            _ => {}
        }
        let connections = self.dial_all(dials)?;
        let meter = Meter::start(self.told.ends);
        let deadline = self.told.deadline();
        let first = connections[0];
        let work = |piece| Work::Write { piece, deadline, written: 0, finished: false, answer: Vec::new() };
        match load {
            Load::Bulk { streams, way } => {
                for _ in 0..streams {
                    self.begin(first, if way == Way::Up { work(PIECE) } else { Work::fetch(self.told) });
                }
            }
            Load::Many => connections.iter().for_each(|connection| self.begin(*connection, work(MESSAGE))),
            Load::PingPong => self.begin(first, Work::ping(Some(deadline))),
            Load::Datagrams => self.datagrams(first, deadline)?,
            _ => (0..REQUESTS).for_each(|_| self.begin(first, Work::ask())),
        }
        let (mut amount, mut times) = (0, Vec::new());
        while !self.works.is_empty() || !self.waiting.is_empty() {
            for happened in self.turn(None)? {
                let Happened::Done(connection, work) = happened else { continue };
                if matches!(work, Work::Ask { .. }) && Instant::now() < deadline {
                    self.begin(connection, Work::ask());
                }
                amount += work.result(&mut times);
            }
        }
        let amount = if load == Load::Many { amount / MESSAGE as u64 } else { amount };
        let sample = Sample::new(meter, amount);
        Ok(if times.is_empty() { sample } else { sample.with_times(times) })
    }

    fn datagrams(&mut self, handle: ConnectionHandle, deadline: Instant) -> io::Result<()> {
        let (mut sent, mut datagram) = (0u64, [0; DATAGRAM]);
        while Instant::now() < deadline {
            let mut connection = self.driver.connection(handle).expect("a connection");
            let full = (0..16).any(|_| {
                fill_datagram(&mut datagram, sent);
                match connection.send_datagram(&datagram) {
                    Ok(()) => sent += 1,
                    Err(DatagramError::Full) => return true,
                    Err(error) => panic!("datagrams are on: {error}"),
                }
                false
            });
            // A full queue says when there is room.
            let wait = if full { deadline - Instant::now().min(deadline) } else { Duration::ZERO };
            self.turn(Some(wait))?;
        }
        self.begin(handle, Work::Count { asked: false, answer: Vec::new() });
        Ok(())
    }

    fn handshakes(&mut self, in_flight: u8) -> io::Result<Sample> {
        let meter = Meter::start(self.told.ends);
        let deadline = self.told.deadline();
        let mut begun: HashMap<ConnectionHandle, Instant> = HashMap::new();
        let mut times = Vec::new();
        for _ in 0..in_flight {
            begun.insert(self.dial(), Instant::now());
        }
        while !begun.is_empty() {
            for happened in self.turn(None)? {
                match happened {
                    Happened::Connected(handle) => self.begin(handle, Work::ping(None)),
                    Happened::Done(handle, _) => {
                        let before = begun.remove(&handle).expect("it was dialled");
                        times.push(before.elapsed().as_nanos() as u64);
                        if let Some(mut connection) = self.driver.connection(handle) {
                            connection.close(0.into(), b"");
                        }
                        if Instant::now() < deadline {
                            begun.insert(self.dial(), Instant::now());
                        }
                    }
                }
            }
        }
        Ok(Sample::new(meter, times.len() as u64).with_times(times))
    }

    fn idle(&mut self) -> io::Result<Sample> {
        self.greet_all(DIALS)?;
        let before = self.rest()?;
        let meter = Meter::start(self.told.ends);
        self.greet_all(IDLE)?;
        let sample = Sample::new(meter, IDLE as u64);
        let after = self.rest()?;
        Ok(Sample { growth: Some([0, 1].map(|end| after[end] as f64 - before[end] as f64)), ..sample })
    }

    fn greet_all(&mut self, count: usize) -> io::Result<()> {
        for connection in self.dial_all(count)? {
            self.begin(connection, Work::ping(None));
            while !self.works.is_empty() {
                self.turn(None)?;
            }
        }
        Ok(())
    }

    /// Memory of both processes, a second later.
    fn rest(&mut self) -> io::Result<[u64; 2]> {
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            self.turn(Some(Duration::from_millis(10)))?;
            sleep(Duration::from_millis(10));
        }
        Ok(self.told.ends.resident())
    }
}

/// The loop.
impl Client {
    fn turn(&mut self, wait: Option<Duration>) -> io::Result<Vec<Happened>> {
        let mut happened = Vec::new();
        self.driver.run_once(wait).map_err(io::Error::other)?;
        while let Some((handle, event)) = self.driver.poll_event() {
            match event {
                Event::Connected => happened.push(Happened::Connected(handle)),
                Event::Readable(id) | Event::Writable(id) => {
                    happened.extend(self.drive(handle, id).map(|work| Happened::Done(handle, work)));
                }
                Event::StreamsAvailable(_) => {
                    for (handle, work) in core::mem::take(&mut self.waiting) {
                        self.begin(handle, work);
                    }
                }
                // What we close ourselves ends so; anything else would be waited for in vain.
                Event::Closed(reason) => {
                    assert!(matches!(reason, CloseReason::Local { .. }), "a connection ended: {reason}");
                }
                _ => {}
            }
        }
        Ok(happened)
    }

    fn dial(&mut self) -> ConnectionHandle {
        self.driver.connect(self.contact.addr, Peer::Key(self.key), ALPN).expect("a dial")
    }

    fn dial_all(&mut self, count: usize) -> io::Result<Vec<ConnectionHandle>> {
        let mut connections = Vec::new();
        let mut dialled = 0;
        while dialled < DIALS.min(count) {
            self.dial();
            dialled += 1;
        }
        while connections.len() < count {
            for happened in self.turn(None)? {
                let Happened::Connected(handle) = happened else { continue };
                connections.push(handle);
                if dialled < count {
                    self.dial();
                    dialled += 1;
                }
            }
        }
        Ok(connections)
    }

    /// Begins a work on a stream of its own, now or when there is one.
    fn begin(&mut self, handle: ConnectionHandle, work: Work) {
        let mut connection = self.driver.connection(handle).expect("a connection");
        match connection.open_bi() {
            Ok(id) => {
                self.works.insert((handle, id), work);
                let done = self.drive(handle, id);
                assert!(done.is_none(), "nothing is done before there is an answer");
            }
            Err(OpenError::Blocked) => self.waiting.push_back((handle, work)),
            Err(error) => panic!("a stream: {error}"),
        }
    }

    /// Goes on with a work as far as possible; gives it back when it is done.
    fn drive(&mut self, handle: ConnectionHandle, id: StreamId) -> Option<Work> {
        let work = self.works.get_mut(&(handle, id))?;
        let mut connection = self.driver.connection(handle)?;
        let mut stream = Stream { connection: &mut connection, id, buffer: &mut self.buffer };
        let done = work.drive(&mut stream);
        if done { self.works.remove(&(handle, id)) } else { None }
    }
}

/// What is done on a stream.
enum Work {
    /// Writes until the time is over; the server says how much came.
    Write { piece: usize, deadline: Instant, written: u64, finished: bool, answer: Vec<u8> },
    /// Has the server write.
    Fetch { millis: u64, asked: bool, check: Check },
    /// Pings, until the time is over if there is one, else once.
    Ping { deadline: Option<Instant>, sent: u64, check: Check, before: Instant, times: Vec<u64> },
    /// A request.
    Ask { asked: bool, check: Check, before: Instant },
    /// Asks how many datagrams came.
    Count { asked: bool, answer: Vec<u8> },
}

impl Work {
    fn fetch(client: load::Client) -> Self {
        let millis = client.setup.time.as_millis() as u64;
        Self::Fetch { millis, asked: false, check: Check::default() }
    }

    fn ping(deadline: Option<Instant>) -> Self {
        Self::Ping { deadline, sent: 0, check: Check::default(), before: Instant::now(), times: Vec::new() }
    }

    fn ask() -> Self {
        Self::Ask { asked: false, check: Check::default(), before: Instant::now() }
    }

    /// Goes as far as possible; whether it is done.
    fn drive(&mut self, stream: &mut Stream<'_, '_>) -> bool {
        match self {
            Self::Write { piece, deadline, written, finished, answer } => {
                *finished = *finished || write_until(stream, *deadline, *piece, written);
                *finished && stream.read(|piece| answer.extend_from_slice(piece)) == Reading::End
            }
            Self::Fetch { millis, asked, check } => {
                if !core::mem::replace(asked, true) {
                    stream.write_last(&millis.to_be_bytes());
                }
                stream.read(|piece| check.take(piece)) == Reading::End
            }
            Self::Ping { deadline, sent, check, before, times } => loop {
                if check.offset() == *sent * PING as u64 {
                    let now = Instant::now();
                    if *sent > 0 {
                        times.push((now - *before).as_nanos() as u64);
                        if deadline.is_none_or(|deadline| now >= deadline) {
                            stream.finish();
                            return true;
                        }
                    }
                    *before = now;
                    assert_eq!(stream.write(pattern::at(*sent * PING as u64, PING)), PING, "so little fits");
                    *sent += 1;
                }
                let had = check.offset();
                let reading = stream.read(|piece| check.take(piece));
                assert!(reading == Reading::Blocked, "the server has ended the stream");
                if check.offset() == had {
                    return false;
                }
            },
            Self::Ask { asked, check, .. } => {
                if !core::mem::replace(asked, true) {
                    stream.write_last(pattern::at(0, REQUEST));
                }
                stream.read(|piece| check.take(piece)) == Reading::End
            }
            Self::Count { asked, answer } => {
                if !core::mem::replace(asked, true) {
                    stream.write_last(&[0; size_of::<u64>()]);
                }
                stream.read(|piece| answer.extend_from_slice(piece)) == Reading::End
            }
        }
    }

    /// How much was done; adds the times that it took.
    fn result(self, all: &mut Vec<u64>) -> u64 {
        let number = |answer: &[u8]| u64::from_be_bytes(*answer.first_chunk().expect("a number"));
        match self {
            Self::Write { written, answer, .. } => {
                assert_eq!(number(&answer), written, "the server has something else");
                written
            }
            Self::Fetch { check, .. } => check.offset(),
            Self::Ping { mut times, .. } => {
                all.append(&mut times);
                all.len() as u64
            }
            Self::Ask { check, before, .. } => {
                assert_eq!(check.offset(), REQUEST as u64, "an answer of another length");
                all.push(before.elapsed().as_nanos() as u64);
                1
            }
            Self::Count { answer, .. } => number(&answer),
        }
    }
}

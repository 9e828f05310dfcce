//! Two endpoints and the datagrams between them, under the control of a test; every verb checks the contract.

use core::fmt::Debug;
use core::net::SocketAddr;

use dunlin_core::{
    Arrival, Config, ConnectionHandle, Disposition, Duration, Endpoint, Event, Identity, Instant, LocalAddr,
    StreamId, TrainLimit, Transmit, TransportAddr, fuzzing,
};
use dunlin_sim::Fingerprint;

use super::journal::Journal;

/// Calls of `poll_transmit` after which one drain has surely gone wrong.
const MAX_CALLS: usize = 20_000;
/// Connections whose timers one call of `handle_timeout` serves at least.
pub const TIMERS_PER_CALL: usize = 64;

/// Sockets of a side; their ports follow one another.
pub const SOCKETS: u8 = 4;

/// What a connection may hold beyond the limits, in bytes, so that it can go on: the records of some packets, and the
/// blocks of one packet (the largest has 65,000 bytes) of readable data.
const SLACK: u64 = 130 << 10;

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    /// The side that it goes to.
    pub to: usize,
    /// The socket that it comes in at there.
    pub socket: u16,
    /// The address that it says it comes from.
    pub from: SocketAddr,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// One of the two endpoints, and what a test knows of it.
#[derive(Debug)]
pub struct Side {
    /// The engine.
    pub endpoint: Endpoint,
    /// Where it lives.
    pub addr: SocketAddr,
    /// Everything that was ever a handle.
    pub handles: Vec<ConnectionHandle>,
    /// Handles that were found to be stale.
    stale: Vec<ConnectionHandle>,
    /// Every stream id that was ever seen, of whatever connection.
    pub streams: Vec<StreamId>,
    /// The latest time told.
    latest: Instant,
    /// Whether attempts are accepted as soon as their event is seen.
    pub accepts: bool,
}

impl Side {
    fn new(config: Config, secret: u8, addr: SocketAddr) -> Self {
        Self {
            endpoint: Endpoint::new(config, Identity::from_secret([secret; 32]), [secret; 32]),
            addr,
            handles: Vec::new(),
            stale: Vec::new(),
            streams: Vec::new(),
            latest: Instant::ZERO,
            accepts: true,
        }
    }

    /// The number of the socket that has this address.
    fn socket_at(&self, addr: SocketAddr) -> Option<u16> {
        let number = addr.port().checked_sub(self.addr.port())?;
        (addr.ip() == self.addr.ip() && number < SOCKETS.into()).then_some(number)
    }

    /// Checks that what is gone stays gone, and notices what has gone.
    fn check_handles(&mut self) {
        for handle in &self.stale {
            assert!(self.endpoint.connection(*handle).is_none(), "{handle:?} came back to life");
            assert!(self.endpoint.incoming(*handle).is_none(), "{handle:?} came back to life");
        }
        for handle in &self.handles {
            let known =
                self.endpoint.connection(*handle).is_some() || self.endpoint.incoming(*handle).is_some();
            if !known && !self.stale.contains(handle) {
                self.stale.push(*handle);
            }
        }
    }
}

/// Two endpoints and what is under way between them.
#[derive(Debug)]
pub struct Duo {
    /// The one that dials first, and the other.
    pub sides: [Side; 2],
    /// What the test's clock says.
    pub now: Instant,
    /// Datagrams on their way.
    pub wire: Vec<Flight>,
    /// Every answer of either endpoint, to the byte.
    pub trace: Fingerprint,
    /// Never tell an endpoint an older time than the latest.
    pub monotonic: bool,
    /// What was written to streams and read from them.
    pub(super) journal: Journal,
    buffer: Vec<u8>,
}

impl Duo {
    /// Two endpoints that know nothing of each other.
    #[must_use]
    pub fn new(dialler: Config, answerer: Config) -> Self {
        Self {
            sides: [
                Side::new(dialler, 1, SocketAddr::from(([10, 0, 0, 1], 1000))),
                Side::new(answerer, 2, SocketAddr::from(([10, 0, 0, 2], 2000))),
            ],
            now: Instant::from_nanos(1_000_000_000),
            wire: Vec::new(),
            trace: Fingerprint::default(),
            monotonic: false,
            journal: Journal::default(),
            buffer: Vec::new(),
        }
    }

    /// Somebody has spoken with keys that are not his: from now on streams may say anything.
    pub const fn on_forged(&mut self) {
        self.journal.forged = true;
    }

    /// Takes an answer into the trace.
    pub fn note(&mut self, answer: &impl Debug) {
        self.trace.bytes(format!("{answer:?}").as_bytes());
    }

    /// `now`, which is what a side is to be told; what counts there is the latest of all it was told.
    pub fn tell_time(&mut self, side: usize) -> Instant {
        let latest = &mut self.sides[side].latest;
        *latest = self.now.max(*latest);
        if self.monotonic { *latest } else { self.now }
    }

    /// Takes all output of a side and puts it on the wire.
    pub fn drain(&mut self, side: usize, limit: TrainLimit) {
        let told = self.tell_time(side);
        let latest = self.sides[side].latest;
        let due = self.sides[side].endpoint.poll_timeout();
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.clear();
        let mut calls = 0;
        loop {
            let start = buffer.len();
            let Some(transmit) = self.sides[side].endpoint.poll_transmit(told, limit, &mut buffer) else {
                assert_eq!(buffer.len(), start, "`None` appends nothing");
                break;
            };
            assert!(
                due.is_some_and(|due| due <= latest),
                "output at {latest:?}, but nothing due before {due:?}"
            );
            calls += 1;
            assert!(calls < MAX_CALLS, "poll_transmit does not end");
            check_train(&transmit, limit, &buffer[start..]);
            self.note(&transmit);
            self.trace.bytes(&buffer[start..]);
            self.send(side, &transmit, &buffer[start..]);
            // What was appended before must stay: keep some of it, drop it now and then.
            if buffer.len() > 200_000 {
                buffer.clear();
            }
        }
        self.buffer = buffer;
        self.note(&self.sides[side].endpoint.poll_timeout());
    }

    fn send(&mut self, side: usize, transmit: &Transmit, train: &[u8]) {
        let TransportAddr::Ip(remote) = transmit.remote else { panic!("no such address was ever used") };
        let found =
            self.sides.iter().enumerate().find_map(|(to, other)| Some((to, other.socket_at(remote)?)));
        let Some((to, socket)) = found else { return };
        let mut from = self.sides[side].addr;
        from.set_port(from.port() + transmit.local.socket % u16::from(SOCKETS));
        let flights = train.chunks(transmit.segment_size);
        let flights = flights.map(|bytes| Flight { to, socket, from, bytes: bytes.to_vec() });
        self.wire.extend(flights);
    }

    /// Calls `handle_timeout`, which is harmless whenever it is called: if nothing is due nothing changes.
    pub fn fire(&mut self, side: usize) {
        let told = self.tell_time(side);
        let latest = self.sides[side].latest;
        let endpoint = &mut self.sides[side].endpoint;
        let (due, before) = (endpoint.poll_timeout(), endpoint.stats());
        endpoint.handle_timeout(told);
        let fired = endpoint.stats().timers_fired - before.timers_fired;
        assert!(fired <= TIMERS_PER_CALL as u64, "one call is bounded work");
        if due.is_none_or(|due| due > latest) {
            assert_eq!((endpoint.poll_timeout(), fired), (due, 0), "early is harmless");
            assert_eq!(endpoint.stats(), before, "early is harmless");
        }
    }

    /// Does what is due at a side until nothing is: no spin.
    pub fn settle(&mut self, side: usize, limit: TrainLimit) {
        // A report of the network also visits the places of connections that are gone.
        let connections = self.sides[side].endpoint.stats().connections as usize;
        let known = connections + self.sides[side].handles.len();
        for _ in 0..=known / TIMERS_PER_CALL {
            self.fire(side);
            self.drain(side, limit);
        }
        let (due, latest) = (self.sides[side].endpoint.poll_timeout(), self.sides[side].latest);
        assert!(due.is_none_or(|due| due > latest), "still due at {due:?} after all was done at {latest:?}");
        let (stats, limits) = (self.sides[side].endpoint.stats(), &self.sides[side].endpoint.config().limits);
        let most = limits.per_endpoint.saturating_add(stats.connections * SLACK);
        assert!(stats.memory_used <= most, "{} bytes held, more than {most}", stats.memory_used);
        fuzzing::recount(&self.sides[side].endpoint);
        // Once more, and it changes nothing.
        self.fire(side);
        let told = self.tell_time(side);
        let again = self.sides[side].endpoint.poll_transmit(told, limit, &mut Vec::new());
        assert_eq!(again, None, "nothing was due");
    }

    /// Hands a datagram over.
    pub fn deliver(&mut self, flight: Flight) -> Disposition {
        let side = flight.to;
        let told = self.tell_time(side);
        let mut bytes = flight.bytes;
        let local = LocalAddr { socket: flight.socket, ip: Some(self.sides[flight.to].addr.ip()) };
        let arrival = Arrival { local, ..Arrival::from_remote(flight.from) };
        let disposition = self.sides[side].endpoint.handle_datagram(told, arrival, &mut bytes);
        self.note(&disposition);
        disposition
    }

    /// Takes the events of a side, and accepts what is to be accepted.
    pub fn events(&mut self, side: usize) -> Vec<(ConnectionHandle, Event)> {
        let events: Vec<_> = core::iter::from_fn(|| self.sides[side].endpoint.poll_event()).collect();
        for (handle, event) in &events {
            self.note(&(handle, event));
            let known = &mut self.sides[side];
            if !known.handles.contains(handle) {
                known.handles.push(*handle);
            }
            if let Event::Readable(id) | Event::Writable(id) | Event::Finished(id) = event
                && !known.streams.contains(id)
            {
                known.streams.push(*id);
            }
            if *event == Event::Incoming && known.accepts {
                let told = self.tell_time(side);
                let accepted =
                    self.sides[side].endpoint.incoming(*handle).map(|incoming| incoming.accept(told));
                self.note(&accepted);
            }
        }
        events
    }

    /// Lets `span` pass on a link that delays by `delay`, or less for what follows another packet, and loses what `loses`
    /// says. Events are left alone unless a side accepts.
    pub fn run(&mut self, span: Duration, delay: Duration, mut loses: impl FnMut() -> bool) {
        let end = self.now + span;
        let limit = TrainLimit::OFFLOAD;
        let mut arrival = Instant::MAX;
        while self.now < end {
            for side in 0..2 {
                if self.sides[side].accepts {
                    self.events(side);
                }
                self.settle(side, limit);
            }
            if !self.wire.is_empty() {
                arrival = arrival.min(self.now + delay);
            }
            let due = self.sides.iter().filter_map(|side| side.endpoint.poll_timeout()).min();
            self.now = arrival.min(due.unwrap_or(Instant::MAX)).min(end).max(self.now);
            if self.now == arrival {
                arrival = Instant::MAX;
                for flight in core::mem::take(&mut self.wire) {
                    if !loses() {
                        self.deliver(flight);
                    }
                }
            }
        }
        for side in 0..2 {
            self.settle(side, limit);
            self.sides[side].check_handles();
        }
    }

    /// Closes everything, lets time pass, and checks that nothing is left.
    pub fn end(&mut self) {
        self.now = self.sides.iter().map(|side| side.latest).fold(self.now, Instant::max);
        for side in 0..2 {
            self.sides[side].accepts = false;
            self.events(side);
            for handle in self.sides[side].handles.clone() {
                if let Some(mut connection) = self.sides[side].endpoint.connection(handle) {
                    connection.close(7u32.into(), b"the end");
                }
            }
        }
        self.run(Duration::from_secs(1_000), Duration::from_millis(10), || false);
        for side in 0..2 {
            let endpoint = &mut self.sides[side].endpoint;
            let stats = endpoint.stats();
            assert_eq!((stats.connections, stats.memory_used), (0, 0), "side {side} is empty");
            assert_eq!(endpoint.poll_timeout(), None, "side {side} waits for nothing");
            self.sides[side].check_handles();
        }
    }
}

/// What holds for every train.
fn check_train(transmit: &Transmit, limit: TrainLimit, train: &[u8]) {
    assert_eq!(transmit.len, train.len(), "the length is what was appended");
    assert!(transmit.len > 0 && transmit.segment_size > 0, "a train is not empty");
    let segments = train.len().div_ceil(transmit.segment_size);
    assert!(segments <= limit.segments.max(1), "{segments} segments of {limit:?}");
    assert!(train.len() <= TrainLimit::MAX_BYTES, "{} bytes", train.len());
    assert!(segments == 1 || train.len() <= limit.bytes, "{} bytes of {limit:?}", train.len());
}

//! Two endpoints on a link in virtual time, with every call into the engine measured.

use core::net::SocketAddr;
use std::collections::VecDeque;

use dunlin_core::{
    Arrival, Config, ConnectOptions, Connection, ConnectionHandle, Disposition, Duration, Endpoint, Event,
    Identity, Instant, LocalAddr, Peer, TrainLimit, Transmit,
};
use dunlin_sim::{ALPN, Ppm, Rng};

use crate::counter::{Heap, forget_peak, peak};
use crate::promise::Promise;

/// One way of the link: 100 Mbit/s.
const BYTES_PER_SECOND: u64 = 12_500_000;
/// One way of the link.
const DELAY: Duration = Duration::from_millis(10);
/// Datagrams beyond this many bytes of queue are lost.
const QUEUE: Duration = Duration::from_millis(30);

struct Flight {
    at: Instant,
    from: Arrival,
    bytes: Vec<u8>,
}

pub(crate) struct Side {
    pub(crate) endpoint: Endpoint,
    addr: SocketAddr,
    /// What the calls into this endpoint did with the heap; `live` is what it holds.
    pub(crate) heap: Heap,
    /// The most it ever held, within calls too.
    pub(crate) peak: i64,
    /// What is promised of that, if somebody wants it checked within every call.
    pub(crate) promise: Option<Promise>,
    /// Whether the application takes its events.
    pub(crate) polls: bool,
    pub(crate) handles: Vec<ConnectionHandle>,
    pub(crate) connected: usize,
    pub(crate) packets: u64,
    /// Under way to this side.
    wire: VecDeque<Flight>,
    link_free: Instant,
}

/// Reacts to an event of a side: the application.
pub(crate) type React<'a> = &'a mut dyn FnMut(&mut Rig, usize, ConnectionHandle, &Event);

pub(crate) struct Rig {
    pub(crate) sides: [Side; 2],
    pub(crate) now: Instant,
    pub(crate) loss: Ppm,
    /// Whether what goes to a side gets there.
    pub(crate) reaches: [bool; 2],
    /// Whether attempts are accepted.
    pub(crate) accepts: bool,
    /// Dials are in QOTP, with the key known or not.
    pub(crate) qotp: Option<bool>,
    rng: Rng,
    buffer: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

/// Calls the engine on behalf of a side.
macro_rules! core {
    ($rig:expr, $side:expr, $call:expr) => {{
        let before = Heap::now();
        forget_peak();
        let result = $call;
        let side = &mut $rig.sides[$side];
        let most = side.heap.live + peak() - before.live;
        side.peak = side.peak.max(most);
        side.heap += Heap::now() - before;
        if let Some(promise) = &mut side.promise {
            promise.on_call(&side.endpoint.stats(), most);
        }
        result
    }};
}
pub(crate) use core;

impl Rig {
    pub(crate) fn new(dialler: Config, answerer: Config) -> Self {
        let mut secret = 0;
        let sides = [dialler, answerer].map(|config| {
            secret += 1;
            let (identity, seed) = (Identity::from_secret([secret; 32]), [secret; 32]);
            // The settings themselves are the embedder's.
            let before = Heap::now();
            let endpoint = Endpoint::new(config, identity, seed);
            Side {
                endpoint,
                addr: SocketAddr::from(([10, 0, 0, secret], 1000)),
                heap: Heap::now() - before,
                peak: 0,
                promise: None,
                polls: true,
                handles: Vec::new(),
                connected: 0,
                packets: 0,
                wire: VecDeque::new(),
                link_free: Instant::ZERO,
            }
        });
        Self {
            sides,
            now: Instant::from_nanos(1_000_000_000),
            loss: Ppm::NEVER,
            reaches: [true; 2],
            accepts: true,
            qotp: None,
            rng: Rng::new(1),
            buffer: Vec::with_capacity(200_000),
            spare: Vec::new(),
        }
    }

    pub(crate) fn dial(&mut self) -> ConnectionHandle {
        let endpoint = &self.sides[1].endpoint;
        let peer = match self.qotp {
            None => Peer::Key(*endpoint.public_key()),
            Some(true) => Peer::QotpKey(*endpoint.qotp_public_key()),
            Some(false) => Peer::AnyKey,
        };
        self.dial_as(peer)
    }

    pub(crate) fn dial_as(&mut self, peer: Peer) -> ConnectionHandle {
        let to = self.sides[1].addr;
        let options =
            if self.qotp.is_some() { ConnectOptions::qotp(to) } else { ConnectOptions::new(to, ALPN) };
        let handle = core!(self, 0, self.sides[0].endpoint.connect(self.now, peer, options)).expect("a dial");
        self.sides[0].handles.push(handle);
        handle
    }

    /// A connection that stands; both handles.
    pub(crate) fn connect(&mut self) -> [ConnectionHandle; 2] {
        let dialled = self.dial();
        self.run(Duration::from_millis(200), &mut |_, _, _, _| {});
        [dialled, *self.sides[1].handles.last().expect("the answerer heard of it")]
    }

    /// Calls a connection, measured.
    pub(crate) fn with<R>(
        &mut self,
        side: usize,
        handle: ConnectionHandle,
        act: impl FnOnce(&mut Connection<'_>) -> R,
    ) -> Option<R> {
        core!(
            self,
            side,
            self.sides[side].endpoint.connection(handle).map(|mut connection| act(&mut connection))
        )
    }

    pub(crate) fn memory_used(&self, side: usize) -> i64 {
        self.sides[side].endpoint.stats().memory_used as i64
    }

    /// Lets `span` pass.
    pub(crate) fn run(&mut self, span: Duration, react: React<'_>) {
        let end = self.now + span;
        while self.now < end {
            for side in 0..2 {
                self.serve(side, react);
            }
            let arrivals = self.sides.iter().filter_map(|side| side.wire.front().map(|flight| flight.at));
            let deadlines = self.sides.iter().filter_map(|side| side.endpoint.poll_timeout());
            self.now = arrivals.chain(deadlines).min().unwrap_or(end).clamp(self.now, end);
            for side in 0..2 {
                self.receive(side);
            }
        }
    }

    /// Hands a datagram to a side at once, as if it came over the link.
    pub(crate) fn deliver(&mut self, side: usize, datagram: &mut [u8]) -> Disposition {
        self.deliver_from(self.sides[1 - side].addr, side, datagram)
    }

    /// The same, from any address.
    pub(crate) fn deliver_from(&mut self, from: SocketAddr, side: usize, datagram: &mut [u8]) -> Disposition {
        let from = Arrival::from_remote(from);
        let endpoint = &mut self.sides[side].endpoint;
        core!(self, side, endpoint.handle_datagram(self.now, from, datagram))
    }

    /// Lets a side send what it has to send; it is lost.
    pub(crate) fn flush(&mut self, side: usize) {
        loop {
            self.buffer.clear();
            let endpoint = &mut self.sides[side].endpoint;
            let limit = TrainLimit::OFFLOAD;
            let transmit = core!(self, side, endpoint.poll_transmit(self.now, limit, &mut self.buffer));
            if transmit.is_none() {
                return;
            }
        }
    }

    /// A batch of what has arrived, as an adapter does it.
    fn receive(&mut self, side: usize) {
        while self.sides[side].wire.front().is_some_and(|flight| flight.at <= self.now) {
            let Some(mut flight) = self.sides[side].wire.pop_front() else { return };
            let endpoint = &mut self.sides[side].endpoint;
            let (from, bytes) = (flight.from, &mut flight.bytes);
            let disposition = core!(self, side, endpoint.handle_datagram(self.now, from, bytes));
            self.sides[side].packets += u64::from(disposition == Disposition::Accepted);
            self.spare.push(flight.bytes);
        }
    }

    fn serve(&mut self, side: usize, react: React<'_>) {
        core!(self, side, self.sides[side].endpoint.handle_timeout(self.now));
        loop {
            self.events(side, react);
            let mut buffer = core::mem::take(&mut self.buffer);
            buffer.clear();
            let limit = TrainLimit::OFFLOAD;
            let endpoint = &mut self.sides[side].endpoint;
            let transmit = core!(self, side, endpoint.poll_transmit(self.now, limit, &mut buffer));
            if let Some(transmit) = &transmit {
                let from = self.arrival(side, transmit);
                buffer.chunks(transmit.segment_size).for_each(|segment| self.send(1 - side, from, segment));
            }
            self.buffer = buffer;
            if transmit.is_none() {
                return;
            }
        }
    }

    pub(crate) fn events(&mut self, side: usize, react: React<'_>) {
        if !self.sides[side].polls {
            return;
        }
        while let Some((handle, event)) = core!(self, side, self.sides[side].endpoint.poll_event()) {
            match event {
                Event::Incoming if self.accepts => {
                    let endpoint = &mut self.sides[side].endpoint;
                    let now = self.now;
                    let accepted =
                        core!(self, side, endpoint.incoming(handle).map(|incoming| incoming.accept(now)));
                    if let Some(Ok(handle)) = accepted {
                        self.sides[side].handles.push(handle);
                    }
                }
                Event::Connected => self.sides[side].connected += 1,
                _ => {}
            }
            react(self, side, handle, &event);
        }
    }

    /// The address of the dialler's socket with this number, which is the port's last digit.
    pub(crate) fn socket(&self, number: u16) -> SocketAddr {
        SocketAddr::new(self.sides[0].addr.ip(), self.sides[0].addr.port() + number)
    }

    /// The answerer's address.
    pub(crate) const fn answerer(&self) -> SocketAddr {
        self.sides[1].addr
    }

    /// How the other side sees what `side` sends: the dialler has a socket for each path, the answerer one for all.
    fn arrival(&self, side: usize, transmit: &Transmit) -> Arrival {
        if side == 0 {
            return Arrival::from_remote(self.socket(transmit.local.socket));
        }
        let to = (0..8).find(|number| transmit.remote == self.socket(*number).into());
        let local = LocalAddr { socket: to.unwrap_or(0), ip: None };
        Arrival { local, ..Arrival::from_remote(self.sides[1].addr) }
    }

    fn send(&mut self, to: usize, from: Arrival, bytes: &[u8]) {
        let (now, lost) = (self.now, self.rng.chance(self.loss) || !self.reaches[to]);
        let side = &mut self.sides[to];
        let start = side.link_free.max(now);
        if lost || start.saturating_since(now) > QUEUE {
            return;
        }
        side.link_free = start + Duration::from_nanos(bytes.len() as u64 * 1_000_000_000 / BYTES_PER_SECOND);
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(bytes);
        side.wire.push_back(Flight { at: side.link_free + DELAY, from, bytes: copy });
    }
}

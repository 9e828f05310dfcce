//! The loop: hand in what is due, fire timers, collect what is sent, go on to the next event.

use core::mem;
use core::net::SocketAddr;

use dunlin_core::{Duration, Instant};

use super::edge::Exit;
use super::tap::Seen;
use super::{AddressId, Event, Flight, LinkId, NodeId, Verdict, World};
use crate::link::DropCause;
use crate::node::{Ecn, Node, Transmit};

/// How often one node's timer may be due at one instant before that counts as spinning. An engine may serve a bounded
/// number of connections per call; 10,000 calls are enough for a million connections.
const MAX_TIMEOUTS: u32 = 10_000;
/// How many datagrams or trains a node may send at one instant without anything arriving in between.
const MAX_TRANSMITS: u32 = 1_000_000;
/// How often datagrams may go back and forth at one instant, over links without delay.
const MAX_ROUNDS: u32 = 100_000;

impl<N: Node> World<N> {
    /// Runs until nothing is left to do up to and including `deadline`, and sets the clock to it.
    ///
    /// # Panics
    /// If a node spins, or misdescribes what it sends. The message has its name.
    pub fn run_until(&mut self, deadline: Instant) {
        self.run_while(deadline, |_| true);
    }

    /// Runs for so long.
    ///
    /// # Panics
    /// As [`run_until`](Self::run_until).
    pub fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Runs until `condition` holds, which is asked at the beginning and whenever the nodes have done all they had to at
    /// an instant. Returns whether it came to hold by `deadline`; if not, the clock stands there.
    ///
    /// # Panics
    /// As [`run_until`](Self::run_until).
    pub fn run_until_true(
        &mut self,
        deadline: Instant,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        !self.run_while(deadline, |world| !condition(world))
    }

    /// Runs instant by instant as long as `go_on` says so; returns whether it still did at `deadline`.
    fn run_while(&mut self, deadline: Instant, mut go_on: impl FnMut(&mut Self) -> bool) -> bool {
        self.settle();
        while go_on(self) {
            // `go_on` may have touched nodes.
            self.settle();
            if !self.advance(deadline) {
                self.now = self.now.max(deadline);
                return true;
            }
            self.settle();
        }
        false
    }

    /// Does what is left to do now, then goes to the next event and does all that is due then. Returns that instant, or
    /// `None` if nothing is ever going to happen any more.
    ///
    /// # Panics
    /// As [`run_until`](Self::run_until).
    pub fn step(&mut self) -> Option<Instant> {
        self.settle();
        let advanced = self.advance(Instant::MAX);
        self.settle();
        advanced.then_some(self.now)
    }

    /// Sets the clock to the next event, if that is not after `deadline`.
    fn advance(&mut self, deadline: Instant) -> bool {
        match self.events.next_at() {
            Some(next) if next <= deadline => {
                self.now = self.now.max(next);
                true
            }
            _ => false,
        }
    }

    /// Does all that is due now.
    fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS {
            self.hand_in();
            if self.touched.is_empty() {
                return;
            }
            self.poll_touched();
        }
        panic!("datagrams go back and forth at {:?} without end (seed {:#018x})", self.now, self.seed);
    }

    /// Hands in the datagrams that are due, and finds out whose timer is.
    pub(super) fn hand_in(&mut self) {
        while let Some(event) = self.events.pop_due(self.now) {
            match event {
                Event::Arrival(flight) => self.arrive(flight),
                Event::Timer(id, at) => self.ring(id, at),
            }
        }
    }

    /// A timer event: the node may have put its timer off, or have an earlier event by now.
    fn ring(&mut self, id: NodeId, at: Instant) {
        let slot = &mut self.nodes[id.0];
        if slot.armed != Some(at) {
            return;
        }
        slot.armed = None;
        match slot.node.poll_timeout() {
            Some(timeout) if timeout <= self.now => self.touch(id),
            timeout => self.arm(id, timeout),
        }
    }

    fn arrive(&mut self, mut flight: Flight) {
        if !self.edges.is_empty() {
            match self.come_in(flight.from, flight.to) {
                Some(to) => flight.to = to,
                None => return self.refuse(flight),
            }
        }
        let (local, remote) = (&self.addresses[flight.to.0], self.addresses[flight.from.0].socket);
        let Some(owner) = local.owner else {
            self.stats.no_destination += 1;
            self.events.recycle(flight.bytes);
            return;
        };
        let local = local.socket;
        self.stats.delivered += 1;
        self.note(Kind::Arrival, flight.from, flight.to, flight.ecn, &flight.bytes);
        self.nodes[owner.0].node.handle_datagram(self.now, local, remote, flight.ecn, &mut flight.bytes);
        self.events.recycle(flight.bytes);
        self.touch(owner);
    }

    pub(super) fn poll_touched(&mut self) {
        let mut touched = mem::take(&mut self.touched);
        for id in touched.drain(..) {
            self.nodes[id.0].touched = false;
            self.poll_node(id);
        }
        // Polling schedules events and touches nobody, so that the buffer can be used again.
        self.touched = touched;
    }

    /// Fires the node's timer as long as it is due, and collects all it has to send.
    fn poll_node(&mut self, id: NodeId) {
        for _ in 0..MAX_TIMEOUTS {
            let due = self.timeout_of(id).is_some_and(|at| at <= self.now);
            if due {
                self.nodes[id.0].node.handle_timeout(self.now);
                self.stats.timeouts += 1;
                self.note_timer(id);
            }
            self.collect(id);
            match self.timeout_of(id) {
                Some(at) if at <= self.now => {}
                timeout => return self.arm(id, timeout),
            }
        }
        self.blame(id, "its timer stays due, however often it is fired");
    }

    fn timeout_of(&self, id: NodeId) -> Option<Instant> {
        self.nodes[id.0].node.poll_timeout()
    }

    /// Sees to it that there is an event no later than the node's timer. One that is too early is put off when its
    /// time comes, which is cheaper than a new one for every move.
    fn arm(&mut self, id: NodeId, timeout: Option<Instant>) {
        let Some(timeout) = timeout else { return };
        let armed = &mut self.nodes[id.0].armed;
        if armed.is_none_or(|armed| timeout < armed) {
            *armed = Some(timeout);
            self.events.push_timer(timeout, id);
        }
    }

    /// Polls a node for all that it has to send.
    fn collect(&mut self, id: NodeId) {
        let mut out = mem::take(&mut self.out);
        for _ in 0..MAX_TRANSMITS {
            out.clear();
            let Some(transmit) = self.nodes[id.0].node.poll_transmit(self.now, &mut out) else {
                self.out = out;
                return;
            };
            if transmit.len == 0 || transmit.len != out.len() || transmit.segment_size == Some(0) {
                self.blame(id, &format!("it appended {} bytes and called them {transmit:?}", out.len()));
            }
            self.send_train(id, &transmit, &out);
        }
        self.blame(id, "it never stops sending");
    }

    fn send_train(&mut self, id: NodeId, transmit: &Transmit, train: &[u8]) {
        let segments = train.chunks(transmit.segment_size.unwrap_or(train.len()));
        let Some(from) = self.source(id, transmit) else {
            self.stats.sent += segments.len() as u64;
            self.stats.no_source += segments.len() as u64;
            return;
        };
        let (from_id, to_id) = (self.intern(from), self.intern(transmit.remote));
        for segment in segments {
            let seen = Seen { now: self.now, index: self.stats.sent, from, to: transmit.remote };
            self.stats.sent += 1;
            let mut bytes = self.events.buffer(segment);
            let mut ecn = transmit.ecn;
            match self.taps.show(seen, &mut ecn, &mut bytes) {
                Verdict::Pass => self.depart(Flight { from: from_id, to: to_id, ecn, bytes }),
                Verdict::Drop => {
                    self.stats.tapped += 1;
                    self.events.recycle(bytes);
                }
            }
            while let Some(injection) = self.taps.pop_injection() {
                self.inject(injection);
            }
        }
    }

    /// The address that a node sends from: its own one that it names, or its first of the right family. None reaches
    /// an address of another family.
    fn source(&self, id: NodeId, transmit: &Transmit) -> Option<SocketAddr> {
        if transmit.local.is_some_and(|local| local.is_ipv4() != transmit.remote.is_ipv4()) {
            return None;
        }
        let fits = |own: &&SocketAddr| match transmit.local {
            Some(local) if local.port() == 0 => own.ip() == local.ip(),
            Some(local) => **own == local,
            None => own.is_ipv4() == transmit.remote.is_ipv4(),
        };
        self.nodes[id.0].addresses.iter().find(fits).copied()
    }

    /// Sends a datagram through what its sender is behind, and on its link.
    fn depart(&mut self, flight: Flight) {
        match self.exit(flight.from, flight.to) {
            Some(Exit { from, link }) => self.enter(link, Flight { from, ..flight }),
            None => self.refuse(flight),
        }
    }

    /// A NAT or a firewall has kept a datagram in or out.
    fn refuse(&mut self, flight: Flight) {
        self.stats.refused += 1;
        self.note(Kind::Refused, flight.from, flight.to, flight.ecn, &flight.bytes);
        self.events.recycle(flight.bytes);
    }

    /// Puts a datagram on its link.
    fn enter(&mut self, link: LinkId, mut flight: Flight) {
        let deliveries = match self.links[link.0].send(self.now, &flight.bytes, flight.ecn) {
            Ok(deliveries) => deliveries,
            Err(cause) => {
                self.stats.dropped += 1;
                self.note(Kind::Drop(cause), flight.from, flight.to, flight.ecn, &flight.bytes);
                return self.events.recycle(flight.bytes);
            }
        };
        let copy = deliveries.copy.map(|copy| (copy, self.events.buffer(&flight.bytes)));
        let Flight { from, to, .. } = flight;
        if let Some(corruption) = deliveries.first.corruption {
            corruption.apply(&mut flight.bytes);
        }
        flight.ecn = deliveries.first.ecn;
        self.events.push_flight(deliveries.first.at, flight);
        if let Some((copy, mut bytes)) = copy {
            if let Some(corruption) = copy.corruption {
                corruption.apply(&mut bytes);
            }
            self.events.push_flight(copy.at, Flight { from, to, ecn: copy.ecn, bytes });
        }
    }

    fn note(&mut self, kind: Kind, from: AddressId, to: AddressId, ecn: Option<Ecn>, bytes: &[u8]) {
        if let Some(trace) = &mut self.trace {
            trace.number(kind.code());
            trace.number(self.now.as_nanos());
            trace.number((from.0 as u64) << 32 | to.0 as u64);
            trace.number(ecn.map_or(0, |ecn| ecn as u64 + 1));
            trace.bytes(bytes);
        }
    }

    fn note_timer(&mut self, id: NodeId) {
        if let Some(trace) = &mut self.trace {
            trace.number(Kind::Timer.code());
            trace.number(self.now.as_nanos());
            trace.number(id.0 as u64);
        }
    }

    fn blame(&self, id: NodeId, what: &str) -> ! {
        panic!("node {:?} at {:?}: {what} (seed {:#018x})", self.nodes[id.0].name, self.now, self.seed);
    }
}

/// What a trace tells apart.
#[derive(Clone, Copy)]
enum Kind {
    Arrival,
    Timer,
    Refused,
    Drop(DropCause),
}

impl Kind {
    fn code(self) -> u64 {
        match self {
            Self::Arrival => 0,
            Self::Timer => 1,
            Self::Drop(cause) => 2 + cause as u64,
            Self::Refused => 100,
        }
    }
}

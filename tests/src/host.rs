//! An endpoint in a simulated world, with an application that reacts to its events.

use core::net::{Ipv6Addr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};

use dunlin_core::{
    Arrival, CloseReason, ConnectionHandle, DropReason, Ecn, Endpoint, Event, Instant, LocalAddr,
    LocalSocket, TrainLimit, TransportAddr,
};

use crate::node::{Node, Transmit};

/// What an application in the simulator does.
pub trait App {
    /// Something happened on a connection, or somebody dials.
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event);

    /// The application's own timer is due.
    fn on_timeout(&mut self, _now: Instant, _endpoint: &mut Endpoint) {}

    /// When the application wants [`App::on_timeout`].
    fn timeout(&self) -> Option<Instant> {
        None
    }
}

/// A closure that reacts to events, for tests with a single twist.
impl<F: FnMut(Instant, &mut Endpoint, ConnectionHandle, &Event)> App for F {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
        self(now, endpoint, handle, event);
    }
}

/// Accepts everybody and does nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAll;

impl App for AcceptAll {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
        accept_incoming(now, endpoint, handle, event);
    }
}

/// Accepts the attempt that `event` tells of, if it does.
pub fn accept_incoming(now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
    if *event == Event::Incoming
        && let Some(incoming) = endpoint.incoming(handle)
    {
        // An attempt that cannot be accepted any more ends by itself.
        let _ = incoming.accept(now);
    }
}

/// A socket of a host. Its place among them is the number by which the engine knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Socket {
    /// Bound to no address in particular, as a dual-stack socket: it has all addresses of the node that no other socket
    /// is bound to, and what names no source leaves from the node's first address of the right family.
    Any,
    /// Bound to this address. If the node has it no more, what is sent is lost.
    At(SocketAddr),
}

/// An endpoint and its application.
#[allow(missing_debug_implementations, reason = "the application is opaque")]
pub struct Host {
    /// The engine.
    pub endpoint: Endpoint,
    /// What reacts to its events.
    pub app: Box<dyn App>,
    /// Every event so far, for tests to look at.
    pub events: Vec<(Instant, ConnectionHandle, Event)>,
    /// Trains sent are at most this long.
    pub train: TrainLimit,
    /// What the endpoint is told of the codepoints that arrive: the truth, unless a test makes it lie to its peer.
    pub ecn: fn(Option<Ecn>) -> Option<Ecn>,
    /// Bytes received from and sent to each address.
    pub traffic: BTreeMap<SocketAddr, (u64, u64)>,
    /// Addresses that it has sent to before anything came from there: those that it has dialled.
    pub dialled: BTreeSet<SocketAddr>,
    /// The sockets; at first one that has every address. What arrives on an address that none has goes nowhere.
    pub sockets: Vec<Socket>,
    /// Trains that were lost because there is no socket as the engine named it, because that socket does not have the
    /// address that it named, or because no socket reaches such a destination.
    pub astray: u64,
    /// Its machine is suspended: what arrives is lost, and nothing is due.
    pub asleep: bool,
}

impl Host {
    /// A host with the longest trains.
    pub fn new(endpoint: Endpoint, app: impl App + 'static) -> Self {
        Self {
            endpoint,
            app: Box::new(app),
            events: Vec::new(),
            train: TrainLimit::OFFLOAD,
            ecn: |ecn| ecn,
            traffic: BTreeMap::new(),
            dialled: BTreeSet::new(),
            sockets: vec![Socket::Any],
            astray: 0,
            asleep: false,
        }
    }

    /// The events of one connection so far.
    pub fn events_of(&self, handle: ConnectionHandle) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |(_, of, _)| *of == handle).map(|(_, _, event)| event)
    }

    /// Whether a connection has had this event.
    #[must_use]
    pub fn has(&self, handle: ConnectionHandle, event: &Event) -> bool {
        self.events_of(handle).any(|seen| seen == event)
    }

    /// How many events there were on all connections for which `wanted` holds.
    pub fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, _, event)| wanted(event)).count()
    }

    /// When a connection had this event first.
    #[must_use]
    pub fn when(&self, handle: ConnectionHandle, event: &Event) -> Option<Instant> {
        self.events.iter().find(|(_, of, seen)| *of == handle && seen == event).map(|(at, ..)| *at)
    }

    /// When and why a connection ended, if it did.
    #[must_use]
    pub fn closed(&self, handle: ConnectionHandle) -> Option<(Instant, &CloseReason)> {
        self.events.iter().find_map(|(at, of, event)| match event {
            Event::Closed(reason) if *of == handle => Some((*at, reason)),
            _ => None,
        })
    }

    /// Closes every connection that had an event so far and is still open.
    pub fn close_all(&mut self) {
        for (_, handle, _) in &self.events {
            if let Some(mut connection) = self.endpoint.connection(*handle) {
                connection.close(0u32.into(), b"");
            }
        }
    }

    /// Asserts that the endpoint has forgotten everything: no connection, no memory, no timer, no handle that works.
    ///
    /// # Panics
    /// If it has not.
    pub fn assert_forgotten(&mut self, name: &str) {
        let stats = self.endpoint.stats();
        assert_eq!(stats.connections, 0, "{name} still has connections: {stats:?}");
        assert_eq!(stats.memory_used, 0, "{name} still holds memory: {stats:?}");
        assert_eq!(self.endpoint.poll_timeout(), None, "{name} still waits for something");
        for (_, handle, _) in &self.events {
            assert!(self.endpoint.connection(*handle).is_none() && self.endpoint.incoming(*handle).is_none());
        }
    }

    /// Tells the engine of its sockets. The port of one that has all addresses is not known here.
    pub fn tell_sockets(&mut self, now: Instant) {
        let bound = self.sockets.iter().map(|socket| match socket {
            Socket::At(bound) => *bound,
            Socket::Any => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        });
        let sockets: Vec<_> =
            (0..).zip(bound).map(|(number, bound)| LocalSocket::new(number, bound)).collect();
        self.endpoint.set_sockets(now, &sockets);
    }

    /// Datagrams dropped for `reason` so far.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.endpoint.stats().dropped(reason)
    }

    /// The number of the socket that has an address of the node.
    fn socket_at(&self, local: SocketAddr) -> Option<u16> {
        let place = |wanted| self.sockets.iter().position(|socket| *socket == wanted);
        place(Socket::At(local)).or_else(|| place(Socket::Any)).and_then(|place| u16::try_from(place).ok())
    }

    /// Where a train leaves from and goes to on the simulated wire, if there is a way. This is the place that turns
    /// further kinds of addresses into those of the wire.
    fn wire(&self, local: LocalAddr, remote: TransportAddr) -> Option<(Option<SocketAddr>, SocketAddr)> {
        let TransportAddr::Ip(remote) = remote else { return None };
        let source = match *self.sockets.get(usize::from(local.socket))? {
            Socket::At(bound) if local.ip.is_none_or(|ip| ip == bound.ip()) => Some(bound),
            Socket::At(_) => return None,
            Socket::Any => local.ip.map(|ip| SocketAddr::new(ip, 0)),
        };
        Some((source, remote))
    }

    fn react(&mut self, now: Instant) {
        while let Some((handle, event)) = self.endpoint.poll_event() {
            self.app.on_event(now, &mut self.endpoint, handle, &event);
            self.events.push((now, handle, event));
        }
    }
}

impl Node for Host {
    fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    ) {
        let Some(socket) = self.socket_at(local).filter(|_| !self.asleep) else { return };
        self.traffic.entry(remote).or_default().0 += datagram.len() as u64;
        let local = LocalAddr { socket, ip: Some(local.ip()) };
        let ecn = (self.ecn)(ecn);
        self.endpoint.handle_datagram(now, Arrival { local, remote: remote.into(), ecn }, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.asleep {
            return;
        }
        self.endpoint.handle_timeout(now);
        if self.app.timeout().is_some_and(|at| at <= now) {
            self.app.on_timeout(now, &mut self.endpoint);
        }
        self.react(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        if self.asleep {
            return None;
        }
        self.react(now);
        loop {
            let transmit = self.endpoint.poll_transmit(now, self.train, out);
            self.react(now);
            let transmit = transmit?;
            let Some((local, remote)) = self.wire(transmit.local, transmit.remote) else {
                // Lost like any packet: others have to go on.
                self.astray += 1;
                out.clear();
                continue;
            };
            let traffic = self.traffic.entry(remote).or_default();
            if *traffic == (0, 0) {
                self.dialled.insert(remote);
            }
            traffic.1 += transmit.len as u64;
            let segment_size = Some(transmit.segment_size);
            return Some(Transmit { local, remote, len: transmit.len, segment_size, ecn: transmit.ecn });
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.asleep {
            return None;
        }
        [self.endpoint.poll_timeout(), self.app.timeout()].into_iter().flatten().min()
    }
}

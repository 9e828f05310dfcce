//! An endpoint in a simulated world, with an application that reacts to its events.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use dunlin_core::{
    Arrival, CloseReason, ConnectionHandle, DropReason, Ecn, Endpoint, Event, Instant, LocalAddr, TrainLimit,
    TransportAddr,
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

    /// Datagrams dropped for `reason` so far.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.endpoint.stats().dropped(reason)
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
        self.traffic.entry(remote).or_default().0 += datagram.len() as u64;
        let local = LocalAddr { socket: 0, ip: Some(local.ip()) };
        let ecn = (self.ecn)(ecn);
        self.endpoint.handle_datagram(now, Arrival { local, remote: remote.into(), ecn }, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        if self.app.timeout().is_some_and(|at| at <= now) {
            self.app.on_timeout(now, &mut self.endpoint);
        }
        self.react(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        self.react(now);
        let transmit = self.endpoint.poll_transmit(now, self.train, out);
        self.react(now);
        let transmit = transmit?;
        let TransportAddr::Ip(remote) = transmit.remote else { return None };
        self.traffic.entry(remote).or_default().1 += transmit.len as u64;
        Some(Transmit {
            local: None,
            remote,
            len: transmit.len,
            segment_size: Some(transmit.segment_size),
            ecn: transmit.ecn,
        })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.endpoint.poll_timeout(), self.app.timeout()].into_iter().flatten().min()
    }
}

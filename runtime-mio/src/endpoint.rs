//! How the engine is embedded: a socket, a clock, and what is done with them on either side of a wait.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;

use dunlin_core::{
    AcceptError, Config, ConnectOptions, Connection, ConnectionHandle, ErrorCode, Event, Identity, Instant,
    NetworkChange, Peer,
};
use dunlin_udp::{
    BindOptions, Clock, DatagramSocket, Left, Receiver, SHUTDOWN_LIMIT, Sending, Transmitter, UdpSocket,
    has_aes,
};
use mio::{Registry, Token};

#[cfg(feature = "watch")]
use crate::alarm::Alarm;
use crate::builder::Builder;
use crate::error::{BindError, ConnectError, RunError};
use crate::exchange::Exchange;
use crate::socket::Socket;

/// Loads, of one full train or several smaller ones, that are sent before arrivals are looked at again.
const LOADS_PER_TURN: usize = 4;

/// An engine and its socket, for a loop that has a [`mio::Poll`] already. [`Driver`](crate::Driver) has one of its own.
///
/// A turn of the loop is [`transmit`](Self::transmit), a wait of at most [`poll_timeout`](Self::poll_timeout),
/// [`receive`](Self::receive), and then [`poll_event`](Self::poll_event) until there are no more.
///
/// It owns the socket. When it is dropped, the socket is closed and every connection with it, with code 0; the peers
/// are told, but nobody sees to it that they hear it. [`close`](Self::close) does.
#[derive(Debug)]
pub struct Endpoint {
    engine: dunlin_core::Endpoint,
    clock: Clock,
    local: SocketAddr,
    /// `None`: closed, for good.
    socket: Option<Socket>,
    receiver: Receiver,
    transmitter: Transmitter,
    /// Whether the socket may have more than was received.
    left: Left,
    /// With the other shards, if there are any.
    exchange: Exchange,
    /// Rings when the system's addresses change, if that is watched.
    #[cfg(feature = "watch")]
    alarm: Option<Alarm>,
    /// `Some`: closed, but peers have to hear of it yet.
    farewell: Option<Farewell>,
}

/// Connections that are closing, and when nobody waits for them any more.
#[derive(Debug)]
struct Farewell {
    closing: VecDeque<ConnectionHandle>,
    deadline: Instant,
}

/// Coming into being.
impl Endpoint {
    /// An endpoint on `address` (port 0: any that is free), with the system's defaults for the socket. What
    /// [`Config::aes_hardware`] says is completed by what this machine's processor says.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(address: SocketAddr, config: Config, identity: Identity) -> Result<Self, BindError> {
        Self::with_socket(UdpSocket::bind(address, &BindOptions::default())?, config, identity)
    }

    /// An endpoint on a socket that is bound already, which it owns from now on. [`UdpSocket::bind`] takes options,
    /// [`UdpSocket::from_std`] a socket of somebody else. For all else that may be said there is the
    /// [`builder`](Self::builder).
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn with_socket(socket: UdpSocket, config: Config, identity: Identity) -> Result<Self, BindError> {
        let endpoint = Self::new(socket, config, identity, Exchange::none())?;
        #[cfg(feature = "watch")]
        let endpoint = endpoint.watching();
        Ok(endpoint)
    }

    pub(crate) fn new(
        socket: UdpSocket,
        mut config: Config,
        identity: Identity,
        exchange: Exchange,
    ) -> Result<Self, BindError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(BindError::Random)?;
        config.aes_hardware |= has_aes();
        Ok(Self {
            engine: dunlin_core::Endpoint::new(config, identity, seed),
            clock: Clock::start(),
            local: socket.local_addr(),
            socket: Some(Socket::new(socket).map_err(BindError::Poll)?),
            receiver: Receiver::new(),
            transmitter: Transmitter::new(),
            left: Left::Nothing,
            exchange,
            #[cfg(feature = "watch")]
            alarm: None,
            farewell: None,
        })
    }

    /// Has the system's addresses watched from now on.
    #[cfg(feature = "watch")]
    pub(crate) fn watching(mut self) -> Self {
        self.alarm = Alarm::new(&[self.local]);
        self
    }

    /// Several endpoints behind one address, for as many threads.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Has `registry` watch the socket. Every event with `token` is for a turn of the loop; what it says does not matter,
    /// since a turn tries everything.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotConnected`] if the endpoint is closed.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?.register(registry, token)?;
        #[cfg(feature = "watch")]
        if let Some(alarm) = &mut self.alarm {
            alarm.register(registry, token)?;
        }
        self.exchange.register(registry, token)
    }

    /// Has the registry forget the socket, if it is registered. Dropping the endpoint does so too, and so does its end.
    ///
    /// # Errors
    /// The system's.
    pub fn deregister(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        if let Some((registry, _)) = socket.registered() {
            self.exchange.deregister(registry)?;
            #[cfg(feature = "watch")]
            if let Some(alarm) = &mut self.alarm {
                alarm.deregister(registry)?;
            }
        }
        socket.deregister()
    }
}

/// The loop.
impl Endpoint {
    /// Does what is due and sends what there is to send, in trains, as far as the socket takes it. What it does not take
    /// is kept until it does. Bounded work: while there is more, [`poll_timeout`](Self::poll_timeout) is zero.
    ///
    /// # Errors
    /// [`RunError::Closed`]; [`RunError::Poll`].
    pub fn transmit(&mut self) -> Result<(), RunError> {
        #[cfg(feature = "watch")]
        if self.alarm.as_mut().is_some_and(Alarm::has_rung) {
            self.network_changed();
        }
        for _ in 0..LOADS_PER_TURN {
            let socket = self.socket.as_ref().ok_or(RunError::Closed)?;
            let now = self.clock.now();
            let loaded = self.transmitter.load(now, &mut self.engine, &socket.udp);
            if !loaded || !self.send(now)? || !self.transmitter.has_more() {
                break;
            }
        }
        self.part()?;
        if let Some(deadline) = self.deadline()
            && let Some(socket) = &mut self.socket
        {
            socket.timer.wake_by(self.clock.now(), deadline);
        }
        Ok(())
    }

    /// Sends what is loaded. `false`: the socket takes no more.
    fn send(&mut self, now: Instant) -> Result<bool, RunError> {
        let socket = self.socket.as_mut().ok_or(RunError::Closed)?;
        loop {
            match socket.send(&mut self.transmitter).map_err(RunError::Poll)? {
                Sending::Done => return Ok(true),
                Sending::Blocked => return Ok(false),
                Sending::TooLarge { connection, size } => {
                    self.engine.datagram_too_large(now, connection, size);
                }
            }
        }
    }

    /// How long the loop may wait now for something to arrive; `None`: until then. Zero while there are events. What the
    /// application does later may shorten it: ask last.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        // Whoever has closed need not look at events any more.
        let told = self.engine.has_events() && !self.is_closed();
        if told || self.left == Left::Perhaps {
            return Some(Duration::ZERO);
        }
        self.deadline().map(|deadline| deadline - self.clock.now())
    }

    /// When there is something to do though nothing arrives.
    fn deadline(&self) -> Option<Instant> {
        // What the socket does not take now has to wait for the socket, not for the clock.
        let blocked = self.transmitter.is_loaded();
        let engine = if blocked { None } else { self.engine.poll_timeout() };
        let farewell = self.farewell.as_ref().map(|farewell| farewell.deadline);
        [engine, farewell].into_iter().flatten().min()
    }

    /// Receives one batch and hands it to the engine, if there is one. Bounded work: while there may be more,
    /// [`poll_timeout`](Self::poll_timeout) is zero.
    ///
    /// # Errors
    /// [`RunError::Closed`], or [`RunError::Socket`], which closes the endpoint.
    pub fn receive(&mut self) -> Result<(), RunError> {
        let socket = self.socket.as_ref().ok_or(RunError::Closed)?;
        self.left = match socket.receive(&mut self.receiver) {
            Ok(left) => left,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Left::Nothing,
            Err(error) => {
                self.end_all(ErrorCode::default(), b"");
                self.socket = None;
                return Err(RunError::Socket(error));
            }
        };
        let now = self.clock.now();
        self.receiver.hand_over(|arrival, datagram| {
            if !self.exchange.pass_on(arrival, datagram) {
                self.engine.handle_datagram(now, arrival, datagram);
            }
        });
        for (arrival, mut datagram) in self.exchange.take() {
            self.engine.handle_datagram(now, arrival, &mut datagram);
        }
        Ok(())
    }

    /// What happened. Events are hints, and the state is asked through [`connection`](Self::connection); but a loop does
    /// not wait before they are fetched.
    pub fn poll_event(&mut self) -> Option<(ConnectionHandle, Event)> {
        loop {
            let (handle, event) = self.engine.poll_event()?;
            if event == Event::Incoming && self.is_closed() {
                // Only QOTP's, which no list of application protocols keeps out.
                if let Some(attempt) = self.engine.incoming(handle) {
                    attempt.ignore();
                }
                continue;
            }
            return Some((handle, event));
        }
    }
}

/// Connections.
impl Endpoint {
    /// Dials `peer` at `remote`, offering the application protocol `alpn`. [`Event::Connected`], [`Event::PeerKey`] or
    /// [`Event::Closed`] says how it went.
    ///
    /// Streams can be opened and written at once. What there is of them at the next turn goes with the first packet, as
    /// far as it fits, if the peer's key is known.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(
        &mut self,
        remote: SocketAddr,
        peer: Peer,
        alpn: &[u8],
    ) -> Result<ConnectionHandle, ConnectError> {
        self.connect_with(peer, ConnectOptions::new(remote, alpn))
    }

    /// Dials with all options: several protocols to offer, another timeout, the other wire.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect_with(
        &mut self,
        peer: Peer,
        options: ConnectOptions,
    ) -> Result<ConnectionHandle, ConnectError> {
        if self.is_closed() {
            return Err(ConnectError::Closed);
        }
        Ok(self.engine.connect(self.clock.now(), peer, options)?)
    }

    /// Answers an attempt that [`Event::Incoming`] told. To look at it first, to refuse or to ignore it, ask the
    /// [`engine_mut`](Self::engine_mut) for [`incoming`](dunlin_core::Endpoint::incoming).
    ///
    /// # Errors
    /// [`AcceptError::Gone`] if the attempt has expired or the endpoint is closed.
    pub fn accept(&mut self, handle: ConnectionHandle) -> Result<ConnectionHandle, AcceptError> {
        if self.is_closed() {
            return Err(AcceptError::Gone);
        }
        self.engine.incoming(handle).ok_or(AcceptError::Gone)?.accept(self.clock.now())
    }

    /// A connection: its streams, datagrams, statistics, and its end. `None` if it is forgotten.
    pub fn connection(&mut self, handle: ConnectionHandle) -> Option<Connection<'_>> {
        self.engine.connection(handle)
    }

    /// Says that the network is not what it was: a link is back, an address or a route came or went, the machine has woken
    /// up. The endpoint finds out by itself when the system's addresses change
    /// ([`Builder::watch_network`](crate::Builder::watch_network)); call it for all else. What was lost is sent again in the next turn of the loop, where it would wait for a timer; to say it in vain does
    /// no harm. See [`dunlin_core::Endpoint::network_changed`].
    pub fn network_changed(&mut self) {
        self.engine.network_changed(self.clock.now(), NetworkChange::Unspecified);
    }

    /// Puts another socket in the place of the one that there is, keeps all connections, and does what
    /// [`network_changed`](Self::network_changed) does. Where the old socket was registered, the new one is. What waits
    /// unread in the old one is lost, and is sent again.
    ///
    /// Connections do not move to another address yet: peers go on sending to where they sent before, so that something on
    /// the way, a NAT or a relay, has to know better. Of several shards, each needs its own of a new
    /// [`SocketGroup`](dunlin_udp::SocketGroup), in their order.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotConnected`] if the endpoint is closed. Nothing has changed then.
    pub fn rebind(&mut self, udp: UdpSocket) -> io::Result<()> {
        let old =
            self.socket.as_mut().filter(|_| self.farewell.is_none()).ok_or(io::ErrorKind::NotConnected)?;
        let local = udp.local_addr();
        let mut socket = Socket::new(udp)?;
        if let Some((registry, token)) = old.registered() {
            socket.register(registry, token)?;
        }
        *old = socket;
        self.local = local;
        // What could not be sent is tried again before the next wait.
        self.left = Left::Perhaps;
        self.network_changed();
        Ok(())
    }

    /// The engine, with all its counters.
    #[must_use]
    pub const fn engine(&self) -> &dunlin_core::Endpoint {
        &self.engine
    }

    /// The engine, for all that has no shorter name here. The five verbs belong to the loop: leave them to it.
    pub const fn engine_mut(&mut self) -> &mut dunlin_core::Endpoint {
        &mut self.engine
    }

    /// The engine's time, for the verbs that ask for it.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The address that the socket is, or was, bound to.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The socket, with its counters; `None` once it is closed.
    #[must_use]
    pub fn socket(&self) -> Option<&UdpSocket> {
        self.socket.as_ref().map(|socket| &socket.udp)
    }
}

/// The end.
impl Endpoint {
    /// Closes the endpoint: takes nothing new, and closes every connection with `code` and `reason`. What was not
    /// delivered is lost: [`Connection::close_graceful`] comes first where that matters.
    ///
    /// Go on with the loop until it says [`RunError::Closed`]: when the peers have heard of it or have had the time to,
    /// at most 3 seconds later, the socket is closed. Closing again does nothing.
    pub fn close(&mut self, code: ErrorCode, reason: &[u8]) {
        if !self.is_closed() {
            let closing = self.end_all(code, reason);
            self.farewell = Some(Farewell { closing, deadline: self.clock.now() + SHUTDOWN_LIMIT });
        }
    }

    /// Whether the endpoint is closed, though perhaps not all peers have heard of it.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.farewell.is_some() || self.socket.is_none()
    }

    /// Refuses everything new, closes every connection, and says which peers have to hear of it.
    fn end_all(&mut self, code: ErrorCode, reason: &[u8]) -> VecDeque<ConnectionHandle> {
        self.engine.set_alpns(Vec::new());
        let mut handles: VecDeque<_> = self.engine.handles().collect();
        handles.retain(|handle| {
            if let Some(attempt) = self.engine.incoming(*handle) {
                attempt.ignore();
            }
            self.engine.connection(*handle).is_some_and(|mut connection| {
                connection.close(code, reason);
                connection.is_closing()
            })
        });
        handles
    }

    /// Closes the socket once everybody has heard the farewell or has had the time to.
    fn part(&mut self) -> Result<(), RunError> {
        let Some(Farewell { closing, deadline }) = &mut self.farewell else { return Ok(()) };
        while let Some(handle) = closing.front()
            && self.engine.connection(*handle).is_none_or(|connection| !connection.is_closing())
        {
            closing.pop_front();
        }
        if !closing.is_empty() && self.clock.now() < *deadline {
            return Ok(());
        }
        self.socket = None;
        Err(RunError::Closed)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.close(ErrorCode::default(), b"");
        // As far as the socket takes it at once; nobody waits here.
        let _ = self.transmit();
    }
}

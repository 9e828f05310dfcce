//! How the engine is embedded: sockets, a clock, and what is done with them on either side of a wait.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;

use dunlin_core::{
    AcceptError, AddressError, AddressSource, Config, ConnectOptions, Connection, ConnectionHandle,
    ErrorCode, Event, Identity, Instant, LocalAddr, NetworkChange, Peer, PublicKey, RemoteInfo,
    TransportAddr, Tuple,
};
use dunlin_udp::{
    BindOptions, Clock, DatagramSocket, Left, Receiver, SHUTDOWN_LIMIT, Sending, Transmitter, UdpSocket,
    has_aes, socket_for,
};
use mio::{Registry, Token};

#[cfg(feature = "watch")]
use crate::alarm::Alarm;
use crate::builder::Builder;
use crate::error::{BindError, ConnectError, RunError};
use crate::exchange::Exchange;
use crate::sockets::Sockets;

/// Loads, of one full train or several smaller ones, that are sent before arrivals are looked at again.
const LOADS_PER_TURN: usize = 4;

/// An engine and its sockets, for a loop that has a [`mio::Poll`] already. [`Driver`](crate::Driver) has one of its own.
///
/// A turn of the loop is [`transmit`](Self::transmit), a wait of at most [`poll_timeout`](Self::poll_timeout),
/// [`receive`](Self::receive), and then [`poll_event`](Self::poll_event) until there are no more.
///
/// It owns its sockets. When it is dropped, they are closed and every connection with them, with code 0; the peers
/// are told, but nobody sees to it that they hear it. [`close`](Self::close) does.
#[derive(Debug)]
pub struct Endpoint {
    engine: dunlin_core::Endpoint,
    clock: Clock,
    /// By the sockets' numbers; at least one.
    local: Vec<SocketAddr>,
    /// `None`: closed, for good.
    sockets: Option<Sockets>,
    receiver: Receiver,
    transmitter: Transmitter,
    /// Whether a socket may have more than was received.
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
        let endpoint = Self::new(vec![socket], config, identity, Exchange::none())?;
        #[cfg(feature = "watch")]
        let endpoint = endpoint.watching();
        Ok(endpoint)
    }

    pub(crate) fn new(
        sockets: Vec<UdpSocket>,
        mut config: Config,
        identity: Identity,
        exchange: Exchange,
    ) -> Result<Self, BindError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(BindError::Random)?;
        config.aes_hardware |= has_aes();
        let mut engine = dunlin_core::Endpoint::new(config, identity, seed);
        let local: Vec<SocketAddr> = sockets.iter().map(DatagramSocket::local_addr).collect();
        engine.set_own_addresses(&local);
        Ok(Self {
            engine,
            clock: Clock::start(),
            local,
            transmitter: Transmitter::new(sockets.len()),
            sockets: Some(Sockets::new(sockets).map_err(BindError::Poll)?),
            receiver: Receiver::new(),
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
        self.alarm = Alarm::new(&self.local);
        self
    }

    /// Several endpoints behind one address, for as many threads.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Has `registry` watch the sockets. Every event with `token` is for a turn of the loop; what it says does not matter,
    /// since a turn tries everything.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotConnected`] if the endpoint is closed.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.sockets.as_mut().ok_or(io::ErrorKind::NotConnected)?.register(registry, token)?;
        #[cfg(feature = "watch")]
        if let Some(alarm) = &mut self.alarm {
            alarm.register(registry, token)?;
        }
        self.exchange.register(registry, token)
    }

    /// Has the registry forget the sockets, if they are registered. Dropping the endpoint does so too, and so does its end.
    ///
    /// # Errors
    /// The system's.
    pub fn deregister(&mut self) -> io::Result<()> {
        let Some(sockets) = &mut self.sockets else { return Ok(()) };
        if let Some(registry) = sockets.registered() {
            self.exchange.deregister(registry)?;
            #[cfg(feature = "watch")]
            if let Some(alarm) = &mut self.alarm {
                alarm.deregister(registry)?;
            }
        }
        sockets.deregister()
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
            let segments = self.sockets.as_ref().ok_or(RunError::Closed)?.max_gso_segments();
            let now = self.clock.now();
            let loaded = self.transmitter.load(now, &mut self.engine, segments);
            if !loaded || !self.send(now)? || !self.transmitter.has_more() {
                break;
            }
        }
        self.part()?;
        if let Some(deadline) = self.deadline()
            && let Some(sockets) = &mut self.sockets
        {
            sockets.wake_by(self.clock.now(), deadline);
        }
        Ok(())
    }

    /// Sends what is loaded. `false`: no socket takes more.
    fn send(&mut self, now: Instant) -> Result<bool, RunError> {
        let mut sent = false;
        for number in 0..self.local.len() {
            if self.transmitter.is_loaded(number) {
                sent |= self.send_through(number, now)?;
            }
        }
        // What is built for those that are stuck is lost, and there may be something for others behind it.
        Ok(sent || self.transmitter.has_more() && !self.transmitter.is_full())
    }

    /// Sends what is loaded for one of them. `false`: it takes no more.
    fn send_through(&mut self, number: usize, now: Instant) -> Result<bool, RunError> {
        let Some(socket) = self.sockets.as_mut().ok_or(RunError::Closed)?.get_mut(number) else {
            self.transmitter.discard(number);
            return Ok(true);
        };
        loop {
            match socket.send(number, &mut self.transmitter).map_err(RunError::Poll)? {
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
        // What no socket takes now has to wait for one of them, not for the clock.
        let blocked = self.transmitter.is_full();
        let engine = if blocked { None } else { self.engine.poll_timeout() };
        let farewell = self.farewell.as_ref().map(|farewell| farewell.deadline);
        [engine, farewell].into_iter().flatten().min()
    }

    /// Receives one batch from each socket and hands it to the engine, if there is one. Bounded work: while there may be more,
    /// [`poll_timeout`](Self::poll_timeout) is zero.
    ///
    /// # Errors
    /// [`RunError::Closed`], or [`RunError::Socket`], which closes the endpoint.
    pub fn receive(&mut self) -> Result<(), RunError> {
        self.left = Left::Nothing;
        for number in 0..self.sockets.as_ref().ok_or(RunError::Closed)?.count() {
            if self.receive_from(number)? == Left::Perhaps {
                self.left = Left::Perhaps;
            }
            let now = self.clock.now();
            self.receiver.hand_over(|arrival, datagram| {
                if !self.exchange.pass_on(arrival, datagram) {
                    self.engine.handle_datagram(now, arrival, datagram);
                }
            });
        }
        for (arrival, mut datagram) in self.exchange.take() {
            self.engine.handle_datagram(self.clock.now(), arrival, &mut datagram);
        }
        Ok(())
    }

    /// Receives one batch from one socket.
    fn receive_from(&mut self, number: usize) -> Result<Left, RunError> {
        let sockets = self.sockets.as_mut().ok_or(RunError::Closed)?;
        let Some(socket) = sockets.get_mut(number) else { return Ok(Left::Nothing) };
        match socket.receive(number, &mut self.receiver) {
            Ok(left) => Ok(left),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Left::Nothing),
            Err(error) => match sockets.fail(number, error) {
                Ok(()) => Ok(Left::Nothing),
                Err(error) => {
                    self.end_all(ErrorCode::default(), b"");
                    self.sockets = None;
                    Err(RunError::Socket(error))
                }
            },
        }
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

    /// Dials with all options: several addresses of the peer, several protocols to offer, another timeout, the other wire. Of
    /// several sockets, it is [`ConnectOptions::local`] that says which, and what stands beside each further address; where
    /// that is as it is by default, the first that reaches the address ([`socket_for`]).
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect_with(
        &mut self,
        peer: Peer,
        mut options: ConnectOptions,
    ) -> Result<ConnectionHandle, ConnectError> {
        if self.is_closed() {
            return Err(ConnectError::Closed);
        }
        options.choose_sockets(|remote| self.socket_number(remote));
        Ok(self.engine.connect(self.clock.now(), peer, options)?)
    }

    /// The number of the socket to reach `remote` through.
    fn socket_number(&self, remote: &TransportAddr) -> u16 {
        match remote {
            TransportAddr::Ip(remote) => socket_for(&self.local, *remote),
            _ => 0,
        }
    }

    /// What is known of a peer, over all its connections and for a minute after the last one: see
    /// [`dunlin_core::Endpoint::remote`].
    #[must_use]
    pub fn remote(&self, peer: &PublicKey) -> Option<RemoteInfo> {
        self.engine.remote(peer)
    }

    /// Says that a peer is at an address, which the next dial of this peer tries too: see
    /// [`dunlin_core::Endpoint::add_address`].
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn add_address(
        &mut self,
        peer: &PublicKey,
        remote: impl Into<TransportAddr>,
        source: AddressSource,
    ) -> Result<(), AddressError> {
        let remote = remote.into();
        let local = LocalAddr { socket: self.socket_number(&remote), ip: None };
        self.engine.add_address(self.clock.now(), peer, Tuple { local, remote }, source)
    }

    /// Says that a peer is not at an address any more; `false` if that was not known of it, or if it is in use: see
    /// [`dunlin_core::Endpoint::remove_address`].
    pub fn remove_address(&mut self, peer: &PublicKey, remote: &TransportAddr) -> bool {
        self.engine.remove_address(peer, remote)
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

    /// Puts another socket in the place of the one that there is, or of the first ([`Builder::also_on`]), keeps all
    /// connections, and does what [`network_changed`](Self::network_changed) does. Where the old socket was registered, the new one is. What waits
    /// unread in the old one is lost, and is sent again.
    ///
    /// Peers go on sending to where they sent before until they hear from the new address, which they do at once of connections
    /// that have something to send or to wait for. Of several shards, each needs its own of a new
    /// [`SocketGroup`](dunlin_udp::SocketGroup), in their order.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotConnected`] if the endpoint is closed. Nothing has changed then.
    pub fn rebind(&mut self, udp: UdpSocket) -> io::Result<()> {
        let open = self.sockets.as_mut().filter(|_| self.farewell.is_none());
        let local = udp.local_addr();
        open.ok_or(io::ErrorKind::NotConnected)?.replace_first(udp)?;
        self.local[0] = local;
        self.engine.set_own_addresses(&self.local);
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

    /// The address that the socket is, or was, bound to; of several, the first one's.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local[0]
    }

    /// The addresses that the sockets are, or were, bound to, by their numbers
    /// ([`LocalAddr::socket`](dunlin_core::LocalAddr::socket)): the first one's, then those of [`Builder::also_on`].
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local
    }

    /// The socket, with its counters, or the first of several; `None` once it is closed.
    #[must_use]
    pub fn socket(&self) -> Option<&UdpSocket> {
        self.sockets().next()
    }

    /// The sockets that are open, with their counters, in the order of [`local_addrs`](Self::local_addrs). One that has
    /// failed is not among them, and the others go on.
    pub fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        self.sockets.iter().flat_map(Sockets::open)
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
        self.farewell.is_some() || self.sockets.is_none()
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
        self.sockets = None;
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

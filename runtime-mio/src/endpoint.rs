//! How the engine is embedded: sockets, a clock, and what is done with them on either side of a wait.

mod end;
mod turn;

use core::net::SocketAddr;
use std::io;

use dunlin_core::{
    AcceptError, AddressError, AddressSource, Config, ConnectOptions, Connection, ConnectionHandle, Identity,
    Instant, LocalAddr, NetworkChange, Peer, PublicKey, RemoteInfo, TransportAddr, Tuple,
};
use dunlin_udp::{
    BindOptions, Clock, DatagramSocket, Left, Receiver, Strays, Transmitter, TransportStats, Transports,
    UdpSocket, choose_sockets, engine, local_sockets, socket_for,
};
use mio::{Registry, Token};

use crate::builder::Builder;
use crate::error::{BindError, ConnectError};
use crate::exchange::Exchange;
use crate::sockets::Sockets;
#[cfg(feature = "watch")]
use crate::watch::NetworkWatch;

use end::Farewell;

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
    /// Whether a socket or a transport may have more than was received.
    left: Left,
    /// With the other shards, if there are any.
    exchange: Exchange,
    strays: Strays,
    /// Of the system's addresses, if they are watched.
    #[cfg(feature = "watch")]
    watch: Option<NetworkWatch>,
    /// `Some`: closed, but peers have to hear of it yet.
    farewell: Option<Farewell>,
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
        let endpoint = Self::new(vec![socket], Transports::default(), config, identity, Exchange::none())?;
        #[cfg(feature = "watch")]
        let endpoint = endpoint.watching();
        Ok(endpoint)
    }

    pub(crate) fn new(
        sockets: Vec<UdpSocket>,
        transports: Transports,
        config: Config,
        identity: Identity,
        exchange: Exchange,
    ) -> Result<Self, BindError> {
        let local: Vec<SocketAddr> = sockets.iter().map(DatagramSocket::local_addr).collect();
        let mut engine = engine(config, identity, &transports).map_err(BindError::Random)?;
        let clock = Clock::start();
        engine.set_sockets(clock.now(), &local_sockets(&local));
        Ok(Self {
            engine,
            clock,
            local,
            transmitter: Transmitter::new(sockets.len()).with_transports(transports.clone()),
            sockets: Some(Sockets::new(sockets, transports).map_err(BindError::Poll)?),
            receiver: Receiver::new(),
            left: Left::Nothing,
            strays: Strays::new(exchange.shard()),
            exchange,
            #[cfg(feature = "watch")]
            watch: None,
            farewell: None,
        })
    }

    /// Has the system's addresses watched from now on.
    #[cfg(feature = "watch")]
    pub(crate) fn watching(mut self) -> Self {
        self.watch = NetworkWatch::new(&self.local);
        self
    }

    /// Several endpoints behind one address, for as many threads.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Has `registry` watch the sockets and the transports. Every event with `token` is for a turn of the loop; what it says does not matter,
    /// since a turn tries everything.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::NotConnected`] if the endpoint is closed.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.sockets.as_mut().ok_or(io::ErrorKind::NotConnected)?.register(registry, token)?;
        #[cfg(feature = "watch")]
        if let Some(watch) = &mut self.watch {
            watch.alarm.register(registry, token)?;
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
            if let Some(watch) = &mut self.watch {
                watch.alarm.deregister(registry)?;
            }
        }
        sockets.deregister()
    }
}

/// Connections.
impl Endpoint {
    /// Dials `peer` at `remote`, offering the application protocol `alpn`. [`Event::Connected`](dunlin_core::Event::Connected),
    /// [`Event::PeerKey`](dunlin_core::Event::PeerKey) or [`Event::Closed`](dunlin_core::Event::Closed) says how it went.
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
    /// that is as it is by default, the first that reaches the address ([`dunlin_udp::choose_sockets`]).
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
        choose_sockets(&mut options, &self.local);
        Ok(self.engine.connect(self.clock.now(), peer, options)?)
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
        let local = LocalAddr { socket: socket_for(&self.local, &remote), ip: None };
        self.engine.add_address(self.clock.now(), peer, Tuple { local, remote }, source)
    }

    /// Says that a peer is not at an address any more; `false` if that was not known of it, or if it is in use: see
    /// [`dunlin_core::Endpoint::remove_address`].
    pub fn remove_address(&mut self, peer: &PublicKey, remote: &TransportAddr) -> bool {
        self.engine.remove_address(peer, remote)
    }

    /// Answers an attempt that [`Event::Incoming`](dunlin_core::Event::Incoming) told. To look at it first, to refuse or to
    /// ignore it, ask the [`engine_mut`](Self::engine_mut) for [`incoming`](dunlin_core::Endpoint::incoming).
    ///
    /// Where the peers are known there is a policy for that ([`Config::admission`](dunlin_core::Config::admission), with
    /// [`admission::Known`](dunlin_core::admission::Known)): those that it accepts come as
    /// [`Event::Connected`](dunlin_core::Event::Connected), and nothing need be called.
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
        self.tell_sockets();
        // What could not be sent is tried again before the next wait.
        self.left = Left::Perhaps;
        self.network_changed();
        Ok(())
    }

    /// Tells the engine which sockets there are.
    fn tell_sockets(&mut self) {
        let mut open = local_sockets(&self.local);
        open.retain(|socket| self.sockets.as_ref().is_some_and(|sockets| sockets.has(socket.number.into())));
        self.engine.set_sockets(self.clock.now(), &open);
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

    /// Counters of the transports beside the sockets ([`Builder::transport`]), of all shards together; none once the endpoint
    /// is closed.
    #[must_use]
    pub fn transport_stats(&self) -> TransportStats {
        self.sockets.as_ref().map(|sockets| sockets.custom.transports().stats()).unwrap_or_default()
    }
}

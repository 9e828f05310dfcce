//! The endpoint: one socket, one identity, any number of connections.

use core::net::SocketAddr;
use std::io;
use std::sync::Arc;

use dunlin_core::{
    Config, ConnectOptions, EndpointStats, ErrorCode, Identity, KeyLogEntry, NetworkChange, Peer, PublicKey,
    QotpIdentity, QotpPublicKey,
};
use dunlin_udp::{BindOptions, Clock, DatagramSocket, UdpSocket, has_aes};
use tokio::runtime::Handle;

use crate::connecting::Connecting;
use crate::driver::{Driver, KeyLogSink};
use crate::error::{BindError, ConnectError};
use crate::incoming::Incoming;
use crate::link::Link;
use crate::state::{Phase, Shared};

/// One UDP socket, one identity, any number of connections, to dial and to be dialled. Clones are handles of the same
/// endpoint.
///
/// When the last handle is dropped, the endpoint closes with code 0, as by [`Endpoint::close`]: connections do not
/// outlive it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    local: SocketAddr,
    public: PublicKey,
}

impl Endpoint {
    /// An endpoint on `addr` (port 0: any that is free), with the system's defaults for the socket. What
    /// [`Config::aes_hardware`] says is completed by what this machine's processor says; [`Config::key_log`] is on with
    /// [`Endpoint::with_key_log`] only.
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// As tokio does, if the runtime's I/O or time driver is not enabled.
    pub fn bind(addr: SocketAddr, config: Config, identity: Identity) -> Result<Self, BindError> {
        Self::bind_with(addr, config, identity, &BindOptions::default())
    }

    /// An endpoint on `addr` with these options for its socket.
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// As tokio does, if the runtime's I/O or time driver is not enabled.
    pub fn bind_with(
        addr: SocketAddr,
        config: Config,
        identity: Identity,
        options: &BindOptions,
    ) -> Result<Self, BindError> {
        Self::with_socket(UdpSocket::bind(addr, options)?, config, identity)
    }

    /// An endpoint on a socket that is bound already.
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// As tokio does, if the runtime's I/O or time driver is not enabled.
    pub fn with_socket(socket: UdpSocket, config: Config, identity: Identity) -> Result<Self, BindError> {
        Self::start(socket, config, identity, None)
    }

    /// The same, and the secrets of every connection go to `key_log`, as [`Config::key_log`] has it: whoever gets them
    /// reads everything that is sent. For finding out what went wrong, with a capture and `dunlin decrypt`.
    ///
    /// The endpoint's task calls `key_log`, a few times for each connection, and waits for it: it must be quick.
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// As tokio does, if the runtime's I/O or time driver is not enabled.
    pub fn with_key_log(
        socket: UdpSocket,
        config: Config,
        identity: Identity,
        key_log: impl FnMut(KeyLogEntry) + Send + 'static,
    ) -> Result<Self, BindError> {
        Self::start(socket, config, identity, Some(KeyLogSink::new(key_log)))
    }

    fn start(
        socket: UdpSocket,
        mut config: Config,
        identity: Identity,
        key_log: Option<KeyLogSink>,
    ) -> Result<Self, BindError> {
        let runtime = Handle::try_current().map_err(|error| BindError::Runtime(io::Error::other(error)))?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(BindError::Random)?;
        config.aes_hardware |= has_aes();
        config.key_log = key_log.is_some();
        let (local, public) = (socket.local_addr(), *identity.public());
        let engine = dunlin_core::Endpoint::new(config, identity, seed);
        let shared = Arc::new(Shared::new(engine, Clock::start()));
        let driver = Driver::new(Arc::clone(&shared), socket, key_log).map_err(BindError::Runtime)?;
        runtime.spawn(driver);
        Ok(Self { inner: Arc::new(Inner { shared, local, public }) })
    }

    /// Dials `peer` at `remote`, offering the application protocol `alpn`.
    ///
    /// With [`Peer::Unknown`] ask [`Connecting::peer_key`] whom you have reached, and trust it or not.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(&self, remote: SocketAddr, peer: Peer, alpn: &[u8]) -> Result<Connecting, ConnectError> {
        self.connect_with(peer, ConnectOptions::new(remote, alpn))
    }

    /// Dials `remote` in QOTP: the short form of [`Endpoint::connect_with`] and [`ConnectOptions::qotp`]. With `peer`, the
    /// holder of that key, and nobody else, can read what goes with the first packet; without, nothing goes with it.
    ///
    /// Nobody is authenticated, whether `peer` is given or not: read [`WireVersion::Qotp`](dunlin_core::WireVersion::Qotp)
    /// on when that will do. There is no way back to the native wire, or from it to this one: what does not answer in
    /// QOTP does not answer.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect_qotp(
        &self,
        remote: SocketAddr,
        peer: Option<QotpPublicKey>,
    ) -> Result<Connecting, ConnectError> {
        self.connect_with(peer.map_or(Peer::AnyKey, Peer::QotpKey), ConnectOptions::qotp(remote))
    }

    /// Dials with all options: several protocols to offer, another timeout, the other wire.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect_with(&self, peer: Peer, options: ConnectOptions) -> Result<Connecting, ConnectError> {
        let shared = &self.inner.shared;
        let mut locked = shared.lock();
        if locked.phase != Phase::Open {
            return Err(ConnectError::EndpointClosed);
        }
        let handle = locked.engine.connect(shared.clock.now(), peer, options)?;
        Ok(Connecting::new(Link::new(shared, &mut locked, handle, true)))
    }

    /// Waits for somebody to dial; `None` when the endpoint is closed. Several tasks may wait at once. Nobody can dial
    /// an endpoint whose [`Config::alpns`] are empty, except in QOTP where [`Config::accept_qotp`] is on.
    pub async fn accept(&self) -> Option<Incoming> {
        let shared = &self.inner.shared;
        loop {
            let notified = shared.incoming.notified();
            {
                let mut locked = shared.lock();
                if let Some(incoming) = Incoming::next(shared, &mut locked) {
                    // There may be more for the next one who waits.
                    locked.wakes.one_of(&shared.incoming);
                    return Some(incoming);
                }
                if locked.phase != Phase::Open {
                    return None;
                }
            }
            notified.await;
        }
    }

    /// Sets the application protocols that are accepted from now on, best first.
    pub fn set_alpns(&self, alpns: Vec<Vec<u8>>) {
        let mut locked = self.inner.shared.lock();
        if locked.phase == Phase::Open {
            locked.engine.set_alpns(alpns);
        }
    }

    /// Sets the key pair for QOTP connections from now on. Without it, it is the one that belongs to our identity
    /// ([`Identity::qotp`]).
    ///
    /// Call it before the first [`Endpoint::accept`] or dial. Who dialled even earlier, with the right key, is heard when
    /// its first packet comes again.
    pub fn set_qotp_identity(&self, identity: QotpIdentity) {
        self.inner.shared.lock().engine.set_qotp_identity(identity);
    }

    /// Our key on QOTP's wire, for peers that are to reach us with data in their first packet. It is never the native
    /// one, and proves nothing.
    #[must_use]
    pub fn qotp_public_key(&self) -> QotpPublicKey {
        *self.inner.shared.lock().engine.qotp_public_key()
    }

    /// Says that the network is not what it was: a link is back, an address or a route came or went, the machine has woken
    /// up. Call it whenever the system says so; the endpoint does not watch for it.
    ///
    /// What was lost is sent again at once, where it would wait for a timer of up to two seconds, and dials try again. Either
    /// side of a connection may say it, the one that receives too. What waits for nothing sends nothing, and to say it in
    /// vain, or a thousand times in a second, does no harm: see [`dunlin_core::Endpoint::network_changed`].
    ///
    /// The socket stays as it is. Connections outlive an outage that is shorter than [`Config::idle_timeout`]; they do not
    /// move to another address yet.
    pub fn network_changed(&self) {
        let shared = &self.inner.shared;
        let mut locked = shared.lock();
        locked.engine.network_changed(shared.clock.now(), NetworkChange::Unspecified);
        locked.nudge();
    }

    /// Closes the endpoint: refuses everything new and closes every connection with `code` and `reason`. Once their
    /// peers have heard of it or have had the time to, at most 3 seconds later, the socket is closed;
    /// [`Endpoint::wait_idle`] waits for that. Closing again does nothing; later calls say that the endpoint is closed.
    pub fn close(&self, code: ErrorCode, reason: &[u8]) {
        self.inner.shared.lock().close_all(code, reason);
    }

    /// Waits until there is no connection: all have ended, and their peers have heard of it or have had the time to.
    /// After [`Endpoint::close`] it waits for the socket to be closed.
    pub async fn wait_idle(&self) {
        let shared = &self.inner.shared;
        loop {
            let notified = shared.idle.notified();
            {
                let mut locked = shared.lock();
                let done = match locked.phase {
                    Phase::Open => locked.is_idle(),
                    Phase::Closing { .. } => false,
                    Phase::Stopped => true,
                };
                if done {
                    return;
                }
                locked.await_idle();
            }
            notified.await;
        }
    }

    /// The address that the socket is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// Our public key, by which others dial us.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.inner.public
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        self.inner.shared.lock().engine.stats()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.lock().close_all(ErrorCode::default(), b"");
    }
}

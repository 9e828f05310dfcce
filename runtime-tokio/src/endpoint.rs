//! The endpoint: one identity, any number of connections.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_core::admission::Admission;
use dunlin_core::{
    AddressError, AddressSource, Config, ConnectOptions, EndpointStats, ErrorCode, Identity, LocalAddr,
    NetworkChange, Peer, PublicKey, QotpIdentity, QotpPublicKey, RemoteInfo, TransportAddr, Tuple,
};
use dunlin_udp::{SocketGroup, SocketStats, TransportStats, choose_sockets, socket_for};
use tokio::sync::Notify;

use crate::builder::Builder;
use crate::connecting::Connecting;
use crate::error::{BindError, ConnectError, RebindError};
use crate::incoming::Incoming;
use crate::link::Link;
use crate::state::{Phase, Shared};

/// One identity, one address or several, any number of connections, to dial and to be dialled. Clones are handles of the same
/// endpoint.
///
/// When the last handle is dropped, the endpoint closes with code 0, as by [`Endpoint::close`]: connections do not
/// outlive it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    /// At least one.
    pub(crate) shards: Arc<[Arc<Shared>]>,
    /// Somebody dials one of them.
    pub(crate) incoming: Arc<Notify>,
    /// Dials so far, which the shards take in turn; and looks for attempts, which begin with each in turn.
    pub(crate) dials: AtomicUsize,
    pub(crate) accepts: AtomicUsize,
    /// By the sockets' numbers; at least one.
    pub(crate) local: Mutex<Vec<SocketAddr>>,
    pub(crate) public: PublicKey,
    /// Until the endpoint is dropped.
    #[cfg(feature = "watch")]
    pub(crate) _watch: Option<dunlin_udp::Watch>,
}

impl Inner {
    /// The shards, beginning with the one whose turn it is.
    fn in_turn(&self, turn: &AtomicUsize) -> impl Iterator<Item = &Arc<Shared>> {
        let first = turn.fetch_add(1, Relaxed) % self.shards.len();
        let (later, sooner) = self.shards.split_at(first);
        sooner.iter().chain(later)
    }
}

impl Endpoint {
    /// An endpoint on `addr` (port 0: any that is free), with all else as it is by default: the short form of
    /// [`Endpoint::builder`].
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// As tokio does, if the runtime's I/O or time driver is not enabled.
    pub fn bind(addr: SocketAddr, config: Config, identity: Identity) -> Result<Self, BindError> {
        Self::builder().config(config).bind(addr, identity)
    }

    /// An endpoint of which more is to be said: shards, options of the socket, where the secrets go.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
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

    /// Dials with all options: several addresses of the peer, several protocols to offer, another timeout, the other wire. Of
    /// several sockets, it is [`ConnectOptions::local`] that says which, and what stands beside each further address; where
    /// that is as it is by default, the first that reaches the address ([`dunlin_udp::choose_sockets`]).
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect_with(&self, peer: Peer, mut options: ConnectOptions) -> Result<Connecting, ConnectError> {
        choose_sockets(&mut options, &self.local());
        let shared = self.inner.in_turn(&self.inner.dials).next().ok_or(ConnectError::EndpointClosed)?;
        let mut locked = shared.lock();
        if locked.phase != Phase::Open {
            return Err(ConnectError::EndpointClosed);
        }
        let handle = locked.engine.connect(shared.clock.now(), peer, options)?;
        Ok(Connecting::new(Link::new(shared, &mut locked, handle, true)))
    }

    /// What is known of a peer, over all its connections and for a minute after the last one: see
    /// [`dunlin_core::Endpoint::remote`].
    #[must_use]
    pub fn remote(&self, peer: &PublicKey) -> Option<RemoteInfo> {
        let known = self.inner.shards.iter().filter_map(|shared| shared.lock().engine.remote(peer));
        known.reduce(RemoteInfo::merge)
    }

    /// Says that a peer is at an address, which the next dial of this peer tries too: see
    /// [`dunlin_core::Endpoint::add_address`].
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn add_address(
        &self,
        peer: &PublicKey,
        remote: impl Into<TransportAddr>,
        source: AddressSource,
    ) -> Result<(), AddressError> {
        let remote = remote.into();
        let socket = socket_for(&self.local(), &remote);
        let to = Tuple { local: LocalAddr { socket, ip: None }, remote };
        for shared in &*self.inner.shards {
            let mut locked = shared.lock();
            locked.engine.add_address(shared.clock.now(), peer, to, source)?;
            locked.nudge();
        }
        Ok(())
    }

    /// Says that a peer is not at an address any more; `false` if that was not known of it, or if it is in use: see
    /// [`dunlin_core::Endpoint::remove_address`].
    pub fn remove_address(&self, peer: &PublicKey, remote: &TransportAddr) -> bool {
        let mut any = false;
        for shared in &*self.inner.shards {
            any |= shared.lock().engine.remove_address(peer, remote);
        }
        any
    }

    /// Waits for somebody to dial; `None` when the endpoint is closed. Several tasks may wait at once. Nobody can dial
    /// an endpoint whose [`Config::alpns`] are empty, except in QOTP where [`Config::accept_qotp`] is on.
    pub async fn accept(&self) -> Option<Incoming> {
        let inner = &self.inner;
        loop {
            let notified = inner.incoming.notified();
            let mut open = false;
            for shared in inner.in_turn(&inner.accepts) {
                let mut locked = shared.lock();
                if let Some(incoming) = Incoming::next(shared, &mut locked) {
                    // There may be more for the next one who waits.
                    locked.wakes.one_of(&inner.incoming);
                    return Some(incoming);
                }
                open |= locked.phase == Phase::Open;
            }
            if !open {
                return None;
            }
            notified.await;
        }
    }

    /// Sets what becomes of incoming attempts from now on; without a policy each comes out of [`Endpoint::accept`].
    pub fn set_admission(&self, policy: Option<Arc<dyn Admission>>) {
        for shared in &*self.inner.shards {
            shared.lock().engine.set_admission(policy.clone());
        }
    }

    /// Sets the application protocols that are accepted from now on, best first.
    pub fn set_alpns(&self, alpns: Vec<Vec<u8>>) {
        for shared in &*self.inner.shards {
            let mut locked = shared.lock();
            if locked.phase == Phase::Open {
                locked.engine.set_alpns(alpns.clone());
            }
        }
    }

    /// Sets the key pair for QOTP connections from now on. Without it, it is the one that belongs to our identity
    /// ([`Identity::qotp`]).
    ///
    /// Call it before the first [`Endpoint::accept`] or dial. Who dialled even earlier, with the right key, is heard when
    /// its first packet comes again.
    pub fn set_qotp_identity(&self, identity: QotpIdentity) {
        for shared in &*self.inner.shards {
            shared.lock().engine.set_qotp_identity(identity.clone());
        }
    }

    /// Our key on QOTP's wire, for peers that are to reach us with data in their first packet. It is never the native
    /// one, and proves nothing.
    #[must_use]
    pub fn qotp_public_key(&self) -> QotpPublicKey {
        *self.inner.shards[0].lock().engine.qotp_public_key()
    }

    /// Says that the network is not what it was: a link is back, an address or a route came or went, the machine has woken
    /// up. The endpoint finds out by itself when the system's addresses change ([`Builder::watch_network`]); call it for all
    /// else that the system or the user says.
    ///
    /// What was lost is sent again at once, where it would wait for a timer of up to two seconds, and dials try again. Either
    /// side of a connection may say it, the one that receives too. What waits for nothing sends nothing, and to say it in
    /// vain, or a thousand times in a second, does no harm: see [`dunlin_core::Endpoint::network_changed`].
    ///
    /// The socket stays as it is; [`Endpoint::rebind`] puts another one in its place. Connections outlive an outage that is
    /// shorter than [`Config::idle_timeout`], and peers follow to another address when they hear from there.
    pub fn network_changed(&self) {
        network_changed(&self.inner.shards, &NetworkChange::Unspecified);
    }

    /// Puts another socket, or group of sockets, in the place of the one that there is, or of the first
    /// ([`Builder::also_on`]), keeps all connections, and does what [`Endpoint::network_changed`] does. For an interface that comes and goes, or a system that takes its sockets back
    /// from a program that sleeps. What waits unread in the old socket is lost, and is sent again.
    ///
    /// Peers go on sending to where they sent before until they hear from the new address, which they do at once of connections
    /// that have something to send or to wait for. All others speak from there next, or with their next keep-alive.
    ///
    /// The drivers take the sockets over in their next turn. Where the runtime does not take one, the endpoint closes, as it
    /// does when a socket fails.
    ///
    /// # Errors
    /// See [`RebindError`]; nothing has changed then.
    pub fn rebind(&self, sockets: impl Into<SocketGroup>) -> Result<(), RebindError> {
        let (sockets, shards) = (sockets.into(), &self.inner.shards);
        if sockets.shards() != shards.len() {
            return Err(RebindError::Shards { sockets: sockets.shards(), shards: shards.len() });
        }
        if shards.iter().any(|shared| shared.lock().phase != Phase::Open) {
            return Err(RebindError::Closed);
        }
        self.local()[0] = sockets.local_addr();
        for (shared, socket) in shards.iter().zip(sockets) {
            shared.lock().rebind(socket);
        }
        Ok(())
    }

    /// Closes the endpoint: refuses everything new and closes every connection with `code` and `reason`. Once their
    /// peers have heard of it or have had the time to, at most 3 seconds later, the socket is closed;
    /// [`Endpoint::wait_idle`] waits for that. Closing again does nothing; later calls say that the endpoint is closed.
    pub fn close(&self, code: ErrorCode, reason: &[u8]) {
        self.inner.close(code, reason);
    }

    /// Waits until there is no connection: all have ended, and their peers have heard of it or have had the time to.
    /// After [`Endpoint::close`] it waits for the socket to be closed.
    pub async fn wait_idle(&self) {
        // While it waited for one shard, another may have got a connection.
        let mut waited = true;
        while waited {
            waited = false;
            for shared in &*self.inner.shards {
                waited |= shared.wait_idle().await;
            }
        }
    }

    /// The address that the socket is bound to; of several, the first one's.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local()[0]
    }

    /// The addresses that the sockets are bound to, by their numbers ([`LocalAddr::socket`](dunlin_core::LocalAddr::socket)):
    /// the first one's, then those of [`Builder::also_on`].
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.local().clone()
    }

    fn local(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.inner.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Our public key, by which others dial us.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.inner.public
    }

    /// How many shards there are. It may be 1 where more were asked for: see [`Builder::shards`].
    #[must_use]
    pub fn shards(&self) -> usize {
        self.inner.shards.len()
    }

    /// Counters, of all shards together.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        self.shard_stats().into_iter().sum()
    }

    /// Counters of each shard.
    #[must_use]
    pub fn shard_stats(&self) -> Vec<EndpointStats> {
        self.inner.shards.iter().map(|shared| shared.lock().engine.stats()).collect()
    }

    /// Counters of each socket since it was bound: what was sent in how many system calls, what was lost and why, and what
    /// the kernel received and threw away. One after the other those of the first shard, in the order of
    /// [`Endpoint::local_addrs`], then those of the next; none of a socket that is closed.
    #[must_use]
    pub fn socket_stats(&self) -> Vec<SocketStats> {
        let mut all = Vec::new();
        for shared in &*self.inner.shards {
            // Under the lock, so that whoever hears of a socket's end finds it closed.
            all.extend(shared.lock().socket_stats());
        }
        all
    }

    /// Counters of the transports beside the sockets ([`Builder::transport`]), of all shards together; none once the endpoint
    /// is closed.
    #[must_use]
    pub fn transport_stats(&self) -> TransportStats {
        self.inner.shards[0].lock().transport_stats()
    }
}

/// Tells all shards.
pub(crate) fn network_changed(shards: &[Arc<Shared>], change: &NetworkChange) {
    for shared in shards {
        let mut locked = shared.lock();
        locked.engine.network_changed(shared.clock.now(), change.clone());
        locked.nudge();
    }
}

impl Inner {
    fn close(&self, code: ErrorCode, reason: &[u8]) {
        for shared in &*self.shards {
            shared.lock().close_all(code, reason);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close(ErrorCode::default(), b"");
    }
}

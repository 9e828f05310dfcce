//! Endpoints with more than defaults.

use core::mem;
use core::net::SocketAddr;
use core::sync::atomic::AtomicUsize;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use dunlin_core::admission::Admission;
use dunlin_core::{Config, Identity, KeyLogEntry, Shard, TransportId};
use dunlin_udp::{
    BindOptions, Clock, CustomTransport, SocketGroup, SocketGroups, Transports, UdpSocket, engine,
    settings_of_a_port,
};
use tokio::runtime::{self, Handle};
use tokio::sync::Notify;
use tracing::warn;

use crate::driver::{Driver, KeyLogSink, Place};
use crate::endpoint::{Endpoint, Inner};
use crate::error::BindError;
use crate::state::Shared;
#[cfg(feature = "watch")]
use crate::watch::watch;

/// Makes an [`Endpoint`]; from [`Endpoint::builder`].
#[derive(Debug)]
#[must_use = "nothing is bound yet"]
pub struct Builder {
    config: Config,
    options: BindOptions,
    also_on: Vec<SocketAddr>,
    transports: Vec<(TransportId, Box<dyn CustomTransport>)>,
    shards: usize,
    drivers: Drivers,
    key_log: Option<KeyLogSink>,
    #[cfg(feature = "watch")]
    watch: bool,
}

/// Where the drivers run.
#[derive(Clone, Copy, Debug)]
enum Drivers {
    /// On the runtime in which the endpoint is bound.
    Tasks,
    /// Each on a thread of its own.
    Threads,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            options: BindOptions::default(),
            also_on: Vec::new(),
            transports: Vec::new(),
            shards: 1,
            drivers: Drivers::Tasks,
            key_log: None,
            #[cfg(feature = "watch")]
            watch: true,
        }
    }

    /// The engine's settings. What [`Config::aes_hardware`] says is completed by what this machine's processor says;
    /// [`Config::shard`] and [`Config::key_log`] are set by what is said here.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Has this policy decide on incoming attempts: [`Known`](dunlin_core::admission::Known) lets in those with one of some keys
    /// and nobody else. What it accepts comes out of [`Endpoint::accept`] when its key is proved.
    ///
    /// ```
    /// use dunlin_tokio::admission::Known;
    /// use dunlin_tokio::{Config, Endpoint, Identity, PublicKey};
    ///
    /// async fn serve(config: Config, identity: Identity, peers: Vec<PublicKey>) -> Result<(), Box<dyn std::error::Error>> {
    ///     let server = Endpoint::builder().config(config).admission(Known::new(peers));
    ///     let server = server.bind("[::]:4433".parse()?, identity)?;
    ///     while let Some(incoming) = server.accept().await {
    ///         let connection = incoming.accept()?.await?;
    ///         println!("{:?} is here", connection.peer_identity());
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn admission(mut self, policy: impl Admission + 'static) -> Self {
        self.config.admission = Some(Arc::new(policy));
        self
    }

    /// What each socket is asked for.
    pub fn socket_options(mut self, options: BindOptions) -> Self {
        self.options = options;
        self
    }

    /// Has the endpoint on this address too, through a socket of its own: for several interfaces, or one address of each
    /// family. Port 0 is any that is free, another one than the others'. Up to 15 beside the first.
    ///
    /// Whoever dials any of them is answered from the same one. A dial leaves through the one that
    /// [`ConnectOptions::local`](dunlin_core::ConnectOptions::local) says, or the first that reaches the peer. A socket that
    /// takes no more, or that fails, holds no other one up.
    pub fn also_on(mut self, addr: SocketAddr) -> Self {
        self.also_on.push(addr);
        self
    }

    /// Gives the endpoint a transport beside its sockets, for addresses with this number
    /// ([`TransportAddr::Custom`](dunlin_core::TransportAddr::Custom)). Up to 16, each with a number of its own.
    ///
    /// Whoever dials by it is answered by it, and a dial leaves by the one that its address names. The endpoint drops it when
    /// it has closed. A transport that fails is dropped at once: what is sent to it is lost, and the endpoint goes on.
    pub fn transport(mut self, id: TransportId, transport: impl CustomTransport + 'static) -> Self {
        self.transports.push((id, Box::new(transport)));
        self
    }

    /// Spreads the connections over so many shards, at least 1 and at most 64. Default: 1.
    ///
    /// A shard is an engine with a socket, a lock and a task of its own, and shards share nothing on the packet path, so
    /// that an endpoint uses as many cores as it has shards, where it has at least as many connections. A connection belongs
    /// to one shard for all its life, wherever its peer's packets come from; those who dial are spread at random, our own
    /// dials in turn.
    ///
    /// The limits in [`Limits`](dunlin_core::Limits) that are the endpoint's hold for all shards together: each gets its
    /// part ([`Config::for_shard`]). The socket's buffers are for each.
    ///
    /// It takes Linux: elsewhere, and where the kernel refuses, there is one shard, and [`Endpoint::shards`] says so.
    /// [`SocketGroup`] has what is to be known of the sockets.
    pub const fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Gives each shard a thread of its own, with a small runtime in it, instead of a task of the runtime in which the
    /// endpoint is bound. For endpoints that serve so much that no application task should wait for them, or for runtimes
    /// that have one thread only. Each thread ends when the endpoint has closed.
    ///
    /// The application's tasks stay where they are, and every wake-up crosses threads: measure before you keep it.
    pub const fn own_threads(mut self) -> Self {
        self.drivers = Drivers::Threads;
        self
    }

    /// Whether the endpoint watches the system's addresses, and does by itself what [`Endpoint::network_changed`] does when they
    /// change, and more, for it knows which are gone ([`NetworkChange::Addresses`](dunlin_core::NetworkChange::Addresses)):
    /// [`dunlin_udp::Watch`], one thread for all endpoints of the process. Default: `true`.
    ///
    /// An endpoint that is bound to a loopback address never watches. Where the system does not tell, the endpoint warns of
    /// it in the log and goes without.
    #[cfg(feature = "watch")]
    pub const fn watch_network(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
    }

    /// Hands the secrets of every connection to `key_log`, as [`Config::key_log`] has it: whoever gets them reads
    /// everything that is sent. For finding out what went wrong, with a capture and `dunlin decrypt`.
    ///
    /// The endpoint's driver calls `key_log`, a few times for each connection, and waits for it: it must be quick.
    pub fn key_log(mut self, key_log: impl FnMut(KeyLogEntry) + Send + 'static) -> Self {
        self.key_log = Some(KeyLogSink::new(key_log));
        self
    }

    /// An endpoint on `addr`; port 0 is any that is free.
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// As tokio does, if the runtime's I/O or time driver is not enabled.
    pub fn bind(self, addr: SocketAddr, identity: Identity) -> Result<Endpoint, BindError> {
        let sockets = SocketGroup::bind(addr, &self.options, self.shards)?;
        self.on(sockets, identity)
    }

    /// An endpoint on what is bound already, in the place of its first address: one [`UdpSocket`], or a [`SocketGroup`], which has as many shards as sockets.
    ///
    /// # Errors
    /// See [`BindError`].
    ///
    /// # Panics
    /// As tokio does, if the runtime's I/O or time driver is not enabled.
    pub fn on(mut self, sockets: impl Into<SocketGroup>, identity: Identity) -> Result<Endpoint, BindError> {
        let sockets = sockets.into();
        if let Some(error) = sockets.refused() {
            warn!(%error, shards = self.shards, "the system has no shards: one socket serves all");
        }
        let sockets = SocketGroups::bind(sockets, &self.also_on, &self.options)?;
        let (local, public) = (sockets.local_addrs(), *identity.public());
        let (clock, incoming) = (Clock::start(), Arc::new(Notify::new()));
        let transports = Transports::among(sockets.shards(), mem::take(&mut self.transports))?;
        self.config = settings_of_a_port(self.config).map_err(BindError::Random)?;
        let all = || Shard::all(sockets.shards() as u8);
        let shards = all().map(|shard| {
            let engine = self.engine(shard, &identity, &transports[0])?;
            Ok(Arc::new(Shared::new(engine, clock, &incoming)))
        });
        let shards: Arc<[Arc<Shared>]> = shards.collect::<Result<_, BindError>>()?;
        let places: Vec<Place> = all().map(|shard| Place::new(Arc::clone(&shards), shard)).collect();
        #[cfg(feature = "watch")]
        let watch = if self.watch { watch(&local, &shards) } else { None };
        let endpoint = Endpoint::new(Inner {
            shards,
            incoming,
            dials: AtomicUsize::new(0),
            accepts: AtomicUsize::new(0),
            local: Mutex::new(local),
            public,
            #[cfg(feature = "watch")]
            _watch: watch,
        });
        for ((place, sockets), transports) in places.into_iter().zip(sockets.into_shards()).zip(transports) {
            self.drive(place, sockets, transports).map_err(BindError::Runtime)?;
        }
        Ok(endpoint)
    }

    fn engine(
        &self,
        shard: Shard,
        identity: &Identity,
        transports: &Transports,
    ) -> Result<dunlin_core::Endpoint, BindError> {
        let mut config = self.config.clone().for_shard(shard);
        config.key_log = self.key_log.is_some();
        engine(config, identity.clone(), transports).map_err(BindError::Random)
    }

    /// Sets the driver of a shard going.
    fn drive(&self, place: Place, sockets: Vec<UdpSocket>, transports: Transports) -> io::Result<()> {
        let name = format!("dunlin {}", place.index());
        let driver = || Driver::new(place, sockets, transports, self.key_log.clone());
        match self.drivers {
            Drivers::Tasks => {
                let runtime = Handle::try_current().map_err(io::Error::other)?;
                runtime.spawn(driver()?);
            }
            Drivers::Threads => {
                let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
                let driver = {
                    let _within = runtime.enter();
                    driver()?
                };
                thread::Builder::new().name(name).spawn(move || runtime.block_on(driver))?;
            }
        }
        Ok(())
    }
}

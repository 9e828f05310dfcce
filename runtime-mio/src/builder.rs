//! Several endpoints behind one address.

use core::net::SocketAddr;

use dunlin_core::{Config, Identity, Shard, TransportId};
use dunlin_udp::{BindOptions, CustomTransport, SocketGroup, SocketGroups, Transports, settings_of_a_port};

use crate::endpoint::Endpoint;
use crate::error::BindError;
use crate::exchange::Exchange;

/// Makes the shards of an address, or of several, each an [`Endpoint`] of its own; from [`Endpoint::builder`].
#[derive(Debug)]
#[must_use = "nothing is bound yet"]
pub struct Builder {
    config: Config,
    options: BindOptions,
    also_on: Vec<SocketAddr>,
    transports: Vec<(TransportId, Box<dyn CustomTransport>)>,
    shards: usize,
    #[cfg(feature = "watch")]
    watch: bool,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            options: BindOptions::default(),
            also_on: Vec::new(),
            transports: Vec::new(),
            shards: 1,
            #[cfg(feature = "watch")]
            watch: true,
        }
    }

    /// The engines' settings, as for [`Endpoint::bind`]. [`Config::shard`] is set by what is said here.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What each socket is asked for.
    pub fn socket_options(mut self, options: BindOptions) -> Self {
        self.options = options;
        self
    }

    /// Has each endpoint on this address too, through a socket of its own: for several interfaces, or one address of each
    /// family. Port 0 is any that is free, another one than the others'. Up to 15 beside the first.
    ///
    /// Whoever dials any of them is answered from the same one. A dial leaves through the one that
    /// [`ConnectOptions::local`](dunlin_core::ConnectOptions::local) says, or the first that reaches the peer. A socket that
    /// takes no more, or that fails, holds no other one up.
    pub fn also_on(mut self, address: SocketAddr) -> Self {
        self.also_on.push(address);
        self
    }

    /// Gives the endpoints a transport beside their sockets, for addresses with this number
    /// ([`TransportAddr::Custom`](dunlin_core::TransportAddr::Custom)). Up to 16, each with a number of its own.
    ///
    /// Whoever dials by it is answered by it, and a dial leaves by the one that its address names. A transport that fails is
    /// dropped: what is sent to it is lost, and the endpoints go on. Of several shards, all send by it, and the first one
    /// receives for all, as long as it is not closed; it is dropped when the last one has closed. What comes ends a wait
    /// where the system has pipes; elsewhere, no endpoint is bound with transports.
    pub fn transport(mut self, id: TransportId, transport: impl CustomTransport + 'static) -> Self {
        self.transports.push((id, Box::new(transport)));
        self
    }

    /// How many endpoints, for as many threads: at least 1 and at most 64. Default: 1.
    ///
    /// They have the address and the identity in common and nothing else. A connection belongs to one of them for all its
    /// life, wherever its peer's packets come from; those who dial are spread over them at random. The limits in
    /// [`Limits`](dunlin_core::Limits) that are an endpoint's hold for all of them together: each gets its part
    /// ([`Config::for_shard`]). The sockets' buffers are for each.
    ///
    /// It takes Linux: elsewhere, and where the kernel refuses, there is one. [`SocketGroup`] has what is to be known of
    /// the sockets.
    pub const fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Whether each endpoint watches the system's addresses, and does by itself what [`Endpoint::network_changed`] does when they
    /// change, and more, for it knows which are gone ([`NetworkChange::Addresses`](dunlin_core::NetworkChange::Addresses)):
    /// [`dunlin_udp::Watch`], one thread for all endpoints of the process. Default: `true`.
    ///
    /// An endpoint that is bound to a loopback address never watches, nor does any where the system does not tell. Where the
    /// system has pipes, word of a change ends a wait; elsewhere it is heard in the next turn of the loop.
    #[cfg(feature = "watch")]
    pub const fn watch_network(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
    }

    /// The endpoints on `address`; port 0 is any that is free. At least one, though it may be only one.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(self, address: SocketAddr, identity: Identity) -> Result<Vec<Endpoint>, BindError> {
        let sockets = SocketGroup::bind(address, &self.options, self.shards)?;
        self.on(sockets, identity)
    }

    /// One endpoint for each of the sockets, which are bound already, in the place of the first address.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn on(self, sockets: SocketGroup, identity: Identity) -> Result<Vec<Endpoint>, BindError> {
        let sockets = SocketGroups::bind(sockets, &self.also_on, &self.options)?;
        let count = sockets.shards() as u8;
        let transports = Transports::among(sockets.shards(), self.transports)?;
        let exchanges = Exchange::among(count).map_err(BindError::Poll)?;
        let config = settings_of_a_port(self.config).map_err(BindError::Random)?;
        let parts = sockets.into_shards().into_iter().zip(transports).zip(exchanges);
        let endpoints = Shard::all(count).zip(parts).map(|(shard, ((sockets, transports), exchange))| {
            let config = config.clone().for_shard(shard);
            let endpoint = Endpoint::new(sockets, transports, config, identity.clone(), exchange)?;
            #[cfg(feature = "watch")]
            let endpoint = if self.watch { endpoint.watching() } else { endpoint };
            Ok(endpoint)
        });
        endpoints.collect()
    }
}

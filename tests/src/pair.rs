//! Two endpoints and a link: what most tests start from.

use core::net::SocketAddr;

use dunlin_core::{
    Config, ConnectOptions, Connection, ConnectionHandle, Duration, Endpoint, Event, Identity, Instant, Peer,
    PublicKey,
};

use crate::host::{AcceptAll, App, Host};
use crate::link::LinkConfig;
use crate::world::{NodeId, World};

/// The application protocol of the simulator's endpoints.
pub const ALPN: &[u8] = b"sim";

/// A dialler and an answerer in a world of their own.
#[allow(missing_debug_implementations, reason = "applications are opaque")]
pub struct Pair {
    /// The world.
    pub world: World<Host>,
    /// The node that dials.
    pub client: NodeId,
    /// The node that answers.
    pub server: NodeId,
    /// The answerer's address.
    pub server_addr: SocketAddr,
    /// The dialler's address.
    pub client_addr: SocketAddr,
}

/// Settings that the simulator's endpoints start from: defaults, with its protocol.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::default();
    config.alpns = vec![ALPN.to_vec()];
    config.reserved_frames = true;
    config
}

/// An endpoint with keys made from small numbers.
#[must_use]
pub fn endpoint(config: Config, secret: u8, seed: u64) -> Endpoint {
    let mut bytes = [secret; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Endpoint::new(config, Identity::from_secret([secret; 32]), bytes)
}

impl Pair {
    /// A pair with default settings, the same link in both directions, and an answerer that accepts everybody.
    #[must_use]
    pub fn new(seed: u64, link: LinkConfig) -> Self {
        Self::with(seed, link, config(), config(), AcceptAll, AcceptAll)
    }

    /// A pair with everything chosen.
    #[must_use]
    pub fn with(
        seed: u64,
        link: LinkConfig,
        client: Config,
        server: Config,
        client_app: impl App + 'static,
        server_app: impl App + 'static,
    ) -> Self {
        let client_addr = SocketAddr::from(([10, 0, 0, 1], 1000));
        let server_addr = SocketAddr::from(([10, 0, 0, 2], 2000));
        let mut world = World::new(seed, link);
        let client_host = Host::new(endpoint(client, 1, seed), client_app);
        let server_host = Host::new(endpoint(server, 2, seed), server_app);
        let client = world.add_node("client", &[client_addr], client_host);
        let server = world.add_node("server", &[server_addr], server_host);
        Self { world, client, server, server_addr, client_addr }
    }

    /// The dialler.
    #[must_use]
    pub fn client(&self) -> &Host {
        self.world.node(self.client)
    }

    /// The answerer.
    #[must_use]
    pub fn server(&self) -> &Host {
        self.world.node(self.server)
    }

    /// The dialler's key.
    #[must_use]
    pub fn client_key(&self) -> PublicKey {
        *self.client().endpoint.public_key()
    }

    /// The answerer's key.
    #[must_use]
    pub fn server_key(&self) -> PublicKey {
        *self.world.node(self.server).endpoint.public_key()
    }

    /// Dials with the answerer's key known.
    pub fn dial(&mut self) -> ConnectionHandle {
        let peer = Peer::Key(self.server_key());
        self.dial_as(peer)
    }

    /// Dials.
    pub fn dial_as(&mut self, peer: Peer) -> ConnectionHandle {
        let (now, remote) = (self.world.now(), self.server_addr);
        let host = self.world.node_mut(self.client);
        host.endpoint.connect(now, peer, ConnectOptions::new(remote, ALPN)).expect("the dial starts")
    }

    /// Dials in QOTP, with the answerer's key known or not.
    pub fn dial_qotp(&mut self, known: bool) -> ConnectionHandle {
        let (now, remote) = (self.world.now(), self.server_addr);
        let key = *self.server().endpoint.qotp_public_key();
        let peer = if known { Peer::QotpKey(key) } else { Peer::AnyKey };
        let host = self.world.node_mut(self.client);
        host.endpoint.connect(now, peer, ConnectOptions::qotp(remote)).expect("the dial starts")
    }

    /// Dials and runs until both sides are connected, for at most 30 s. Returns both handles.
    pub fn connect(&mut self) -> (ConnectionHandle, ConnectionHandle) {
        let client = self.dial();
        let server = self.server_connection(Duration::from_secs(30)).expect("the server sees a connection");
        assert!(self.world.node(self.client).has(client, &Event::Connected), "the client is connected first");
        (client, server)
    }

    /// Runs until the server has a connection, for at most `span`.
    pub fn server_connection(&mut self, span: Duration) -> Option<ConnectionHandle> {
        let server = self.server;
        let connected = |world: &World<Host>| {
            let events = &world.node(server).events;
            events.iter().rev().find(|(_, _, event)| *event == Event::Connected).map(|(_, handle, _)| *handle)
        };
        let deadline = self.world.now() + span;
        self.world.run_until_true(deadline, |world| connected(world).is_some());
        connected(&self.world)
    }

    /// Runs for `span` or until `done`, and says whether it was that.
    pub fn run_until(&mut self, span: Duration, done: impl FnMut(&mut World<Host>) -> bool) -> bool {
        let deadline = self.world.now() + span;
        self.world.run_until_true(deadline, done)
    }

    /// Ends the scenario as [`wind_down`] does. Every test ends with it.
    pub fn finish(mut self) {
        wind_down(&mut self.world);
    }

    /// The same for one in which strangers have spoken from addresses that no node has: asserts that nobody was of use to flood
    /// them. No more has gone to any of them than three times what came in his name (RFC 9000 section 8), unless he was dialled.
    ///
    /// # Panics
    /// If more has.
    pub fn finish_among_strangers(mut self) {
        wind_down(&mut self.world);
        for (id, host) in self.world.nodes() {
            for (address, (came, went)) in &host.traffic {
                let stranger = self.world.is_made_up(*address) && !host.dialled.contains(address);
                assert!(
                    !stranger || *went <= 3 * came,
                    "{id:?} has sent {went} bytes to {address} for {came}"
                );
            }
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// Acts on a connection of the dialler.
    pub fn on_client<R>(
        &mut self,
        handle: ConnectionHandle,
        act: impl FnOnce(&mut Connection<'_>) -> R,
    ) -> R {
        act(&mut self
            .world
            .node_mut(self.client)
            .endpoint
            .connection(handle)
            .expect("the client's connection exists"))
    }

    /// Acts on a connection of the answerer.
    pub fn on_server<R>(
        &mut self,
        handle: ConnectionHandle,
        act: impl FnOnce(&mut Connection<'_>) -> R,
    ) -> R {
        act(&mut self
            .world
            .node_mut(self.server)
            .endpoint
            .connection(handle)
            .expect("the server's connection exists"))
    }
}

/// Longer than anything that an endpoint does by itself after a close: data that was received stays readable for 90 s, tokens
/// that were used are remembered for 10 minutes.
const AFTERMATH: Duration = Duration::from_secs(700);

/// Closes what is open, gives all endpoints of a world time to forget, and asserts that they hold nothing any more:
/// no connection, no memory, no timer.
///
/// # Panics
/// If one of them does.
pub fn wind_down(world: &mut World<Host>) {
    let ids: Vec<NodeId> = world.nodes().map(|(id, _)| id).collect();
    for &id in &ids {
        world.node_mut(id).close_all();
    }
    world.run_for(AFTERMATH);
    for id in ids {
        world.node_mut(id).assert_forgotten(&format!("{id:?}"));
    }
}

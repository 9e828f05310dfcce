//! Two endpoints with several interfaces each, and a link for each pair of them: what tests of paths start from.

mod topology;

use core::net::SocketAddr;

use dunlin_core::{Config, NetworkChange};

pub use topology::{End, Topology, Toward};

use crate::host::{AcceptAll, App, Host, Socket};
use crate::link::{Count, Filter, Link, LinkConfig};
use crate::pair::{Pair, config, endpoint};
use crate::world::{LinkId, NatConfig, NatId, NodeId, World};
use topology::outside_of;

/// A dialler and an answerer with several interfaces each.
///
/// Each interface has a socket bound to its address, and the engines are told of both, by the interfaces' numbers; a test may
/// give [`Host::sockets`] anew before it dials, for example one [`Socket::Any`] with all addresses, and
/// [tell that](Self::tell_network). What dials,
/// runs and ends is the [`pair`](Self::pair): it dials the answerer's interface 0 unless its `server_addr` is set.
///
/// ```
/// use dunlin_sim::{Duration, End, LinkConfig, Topology, Web};
/// let link = |millis| LinkConfig { delay: Duration::from_millis(millis), ..LinkConfig::default() };
/// let mut web = Web::new(1, &Topology::fan(&[link(20), link(60)]));
/// web.down(End::Client(0));
/// web.pair.dial();
/// assert!(web.pair.server_connection(Duration::from_secs(1)).is_none());
/// web.up(End::Client(0));
/// assert!(web.pair.server_connection(Duration::from_secs(3)).is_some());
/// ```
#[allow(missing_debug_implementations, reason = "applications are opaque")]
pub struct Web {
    /// The world, the two nodes, and the verbs of a pair.
    pub pair: Pair,
    clients: Vec<Interface>,
    servers: Vec<Interface>,
    /// By the number of the dialler's interface, then of the answerer's.
    ways: Vec<Vec<Option<Way>>>,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    address: SocketAddr,
    nat: Option<NatId>,
    silent: Silence,
}

/// The links between two interfaces.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// By direction.
    links: [LinkId; 2],
    cut: Silence,
}

/// In which directions nothing passes.
#[derive(Clone, Copy, Default, Debug)]
struct Silence([bool; 2]);

impl Web {
    /// A web with default settings, and an answerer that accepts everybody.
    #[must_use]
    pub fn new(seed: u64, topology: &Topology) -> Self {
        Self::with(seed, topology, config(), config(), AcceptAll, AcceptAll)
    }

    /// A web with everything chosen.
    ///
    /// # Panics
    /// If a side has no interface, or two have the same address.
    #[must_use]
    pub fn with(
        seed: u64,
        topology: &Topology,
        client: Config,
        server: Config,
        client_app: impl App + 'static,
        server_app: impl App + 'static,
    ) -> Self {
        let Topology { clients, servers, links } = topology;
        // Between interfaces that are not joined there is nothing.
        let mut world = World::new(seed, LinkConfig { down: true, ..LinkConfig::default() });
        let host = |mut host: Host, addresses: &[SocketAddr]| {
            host.sockets = addresses.iter().copied().map(Socket::At).collect();
            host
        };
        let client = host(Host::new(endpoint(client, 1, seed), client_app), clients);
        let server = host(Host::new(endpoint(server, 2, seed), server_app), servers);
        let client = world.add_node("client", clients, client);
        let server = world.add_node("server", servers, server);
        let mut add = |link: &LinkConfig| [world.add_link(link.clone()), world.add_link(link.clone())];
        let ways = (clients.iter().zip(links))
            .map(|(client, links)| {
                (servers.iter().zip(links))
                    .map(|(server, link)| {
                        let link = link.as_ref().filter(|_| client.is_ipv4() == server.is_ipv4())?;
                        Some(Way { links: add(link), cut: Silence::default() })
                    })
                    .collect()
            })
            .collect();
        let interface =
            |address: &SocketAddr| Interface { address: *address, nat: None, silent: Silence::default() };
        let (client_addr, server_addr) = (clients[0], servers[0]);
        let mut web = Self {
            pair: Pair { world, client, server, server_addr, client_addr },
            clients: clients.iter().map(interface).collect(),
            servers: servers.iter().map(interface).collect(),
            ways,
        };
        web.join();
        [End::Client(0), End::Server(0)].into_iter().for_each(|end| web.tell_network(end));
        web
    }

    /// The address of an interface.
    #[must_use]
    pub fn address(&self, end: End) -> SocketAddr {
        self.interface(end).address
    }

    /// The link between two interfaces in one direction, to read its counters or to change its settings: all but
    /// [`LinkConfig::down`], which belongs to [`down`](Self::down), [`silent`](Self::silent) and [`cut`](Self::cut).
    ///
    /// # Panics
    /// If there is none.
    pub fn link(&mut self, client: usize, server: usize, toward: Toward) -> &mut Link {
        let id = self.way(client, server).links[toward as usize];
        self.pair.world.link_mut(id)
    }

    /// What has arrived between two interfaces so far, or will from what is on the wire.
    pub fn carried(&mut self, client: usize, server: usize, toward: Toward) -> Count {
        if self.ways[client][server].is_none() {
            return Count::default();
        }
        let now = self.pair.now();
        self.link(client, server, toward).stats(now).delivered
    }

    /// Nothing passes an interface any more, in either direction, and nobody is told: the address stays.
    pub fn down(&mut self, end: End) {
        Toward::BOTH.into_iter().for_each(|toward| self.silent(end, toward));
    }

    /// Everything passes again that [`down`](Self::down) or [`silent`](Self::silent) has stopped here.
    pub fn up(&mut self, end: End) {
        self.interface_mut(end).silent = Silence::default();
        self.apply();
    }

    /// Nothing passes an interface in one direction.
    pub fn silent(&mut self, end: End, toward: Toward) {
        self.interface_mut(end).silent.0[toward as usize] = true;
        self.apply();
    }

    /// Nothing passes between two interfaces in one direction.
    ///
    /// # Panics
    /// If there is no link.
    pub fn cut(&mut self, client: usize, server: usize, toward: Toward) {
        self.way_mut(client, server).cut.0[toward as usize] = true;
        self.apply();
    }

    /// Everything passes again that [`cut`](Self::cut) has stopped.
    ///
    /// # Panics
    /// If there is no link.
    pub fn mend(&mut self, client: usize, server: usize, toward: Toward) {
        self.way_mut(client, server).cut.0[toward as usize] = false;
        self.apply();
    }

    /// All links of an interface get this filter, in both directions; `None` takes it away.
    pub fn filter(&mut self, end: End, filter: Option<&Filter>) {
        for (client, server, way) in self.all_ways() {
            if end == End::Client(client) || end == End::Server(server) {
                for link in way.links {
                    self.pair.world.link_mut(link).configure(|config| config.filter = filter.cloned());
                }
            }
        }
    }

    /// Puts an interface behind a NAT of its own. Who is outside of it can reach it only by the addresses that the NAT
    /// gives it.
    pub fn behind_nat(&mut self, end: End, config: NatConfig) -> NatId {
        let outside = outside_of(end, self.address(end));
        let nat = self.pair.world.add_nat(outside, config);
        self.put_behind(end, nat);
        nat
    }

    /// Puts an interface behind a firewall of its own.
    pub fn behind_firewall(&mut self, end: End, config: NatConfig) -> NatId {
        let firewall = self.pair.world.add_firewall(config);
        self.put_behind(end, firewall);
        firewall
    }

    fn put_behind(&mut self, end: End, nat: NatId) {
        let inner = self.address(end).ip();
        self.pair.world.put_behind(nat, inner);
        self.interface_mut(end).nat = Some(nat);
        self.join();
    }

    /// Gives an interface another address. Its links stay, and so does the NAT that it is behind; a socket bound to the old
    /// address is bound to the new one now. The engine is told nothing.
    ///
    /// # Panics
    /// If it has no address now, or somebody else has the new one.
    pub fn renumber(&mut self, end: End, address: SocketAddr) {
        let old = self.address(end);
        self.pair.world.change_address(old, address);
        let node = self.node(end);
        for socket in &mut self.pair.world.node_mut(node).sockets {
            if *socket == Socket::At(old) {
                *socket = Socket::At(address);
            }
        }
        self.interface_mut(end).address = address;
        if let Some(nat) = self.interface(end).nat {
            self.pair.world.put_behind(nat, address.ip());
        }
        self.join();
    }

    /// Takes the address of an interface away: what is sent from there or to there is lost.
    pub fn unplug(&mut self, end: End) {
        let address = self.address(end);
        self.pair.world.remove_address(address);
    }

    /// Gives an interface its address back. It is now the last of its host's: if several have the same family, a socket
    /// with all addresses prefers the others.
    pub fn plug(&mut self, end: End) {
        let (node, address) = (self.node(end), self.address(end));
        self.pair.world.add_address(node, address);
    }

    /// The host that has an interface.
    pub fn host_mut(&mut self, end: End) -> &mut Host {
        let node = self.node(end);
        self.pair.world.node_mut(node)
    }

    /// Tells the engine on this side of an interface which sockets its host has now, and which addresses.
    pub fn tell_network(&mut self, end: End) {
        let (now, node) = (self.pair.now(), self.node(end));
        let addresses = self.pair.world.addresses(node).iter().map(SocketAddr::ip).collect();
        let host = self.pair.world.node_mut(node);
        host.tell_sockets(now);
        host.endpoint.network_changed(now, NetworkChange::Addresses(addresses));
    }

    fn node(&self, end: End) -> NodeId {
        match end {
            End::Client(_) => self.pair.client,
            End::Server(_) => self.pair.server,
        }
    }

    fn interface(&self, end: End) -> &Interface {
        match end {
            End::Client(i) => &self.clients[i],
            End::Server(j) => &self.servers[j],
        }
    }

    fn interface_mut(&mut self, end: End) -> &mut Interface {
        match end {
            End::Client(i) => &mut self.clients[i],
            End::Server(j) => &mut self.servers[j],
        }
    }

    fn way(&self, client: usize, server: usize) -> &Way {
        let way = self.ways[client][server].as_ref();
        way.unwrap_or_else(|| panic!("there is no link between {client} and {server}"))
    }

    fn way_mut(&mut self, client: usize, server: usize) -> &mut Way {
        let way = self.ways[client][server].as_mut();
        way.unwrap_or_else(|| panic!("there is no link between {client} and {server}"))
    }

    fn all_ways(&self) -> Vec<(usize, usize, Way)> {
        let rows = self.ways.iter().enumerate();
        rows.flat_map(|(i, row)| row.iter().enumerate().filter_map(move |(j, way)| Some((i, j, (*way)?))))
            .collect()
    }

    /// The address by which an interface is on its links.
    fn outer(&self, interface: &Interface) -> SocketAddr {
        let outside = interface.nat.and_then(|nat| self.pair.world.nat(nat).outside());
        outside.map_or(interface.address, |ip| SocketAddr::new(ip, 0))
    }

    /// Lays the links between the addresses that the interfaces have now.
    fn join(&mut self) {
        for (client, server, way) in self.all_ways() {
            let (client, server) = (self.outer(&self.clients[client]), self.outer(&self.servers[server]));
            self.pair.world.route(client, server, way.links[Toward::Server as usize]);
            self.pair.world.route(server, client, way.links[Toward::Client as usize]);
        }
    }

    /// Stops what has to be silent, and nothing else.
    fn apply(&mut self) {
        for (client, server, way) in self.all_ways() {
            let silences = [self.clients[client].silent, self.servers[server].silent, way.cut];
            for toward in Toward::BOTH.map(|toward| toward as usize) {
                let down = silences.iter().any(|silence| silence.0[toward]);
                let link = self.pair.world.link_mut(way.links[toward]);
                // To set a link anew lets what follows overtake.
                if link.config().down != down {
                    link.configure(|config| config.down = down);
                }
            }
        }
    }
}

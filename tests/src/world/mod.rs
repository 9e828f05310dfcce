//! The clock, the nodes with their addresses, and the links between them.

mod edge;
mod nat;
mod queue;
mod run;
mod tap;
#[cfg(test)]
mod tests;

use core::net::SocketAddr;
use core::{fmt, mem};
use std::collections::HashMap;
use std::thread;

use dunlin_core::Instant;

pub use edge::NatId;
pub use nat::{Filtering, Lifetime, Mapping, Nat, NatConfig, NatStats};
pub use tap::{Injection, Passing, Verdict};

use crate::link::{Link, LinkConfig};
use crate::node::Node;
use crate::rng::Rng;
use crate::trace::Fingerprint;
use edge::{Edges, Site};
use queue::{AddressId, Event, EventQueue, Flight};
use tap::Taps;

/// A node of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(usize);

/// A link of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(usize);

/// A simulated network. See the [crate's documentation](crate) for an example.
///
/// All nodes have one type; an enum or `Box<dyn Node>` mixes several. Every pair of addresses that talks has a link of
/// its own in each direction, set like the world's default, unless [`route`](Self::route) says otherwise.
///
/// Dropping a world in a panic prints its seed.
pub struct World<N> {
    seed: u64,
    now: Instant,
    nodes: Vec<Slot<N>>,
    /// Nodes that were touched and have to be polled before time goes on, in the order of touching.
    touched: Vec<NodeId>,
    addresses: Vec<Address>,
    address_ids: HashMap<SocketAddr, AddressId>,
    links: Vec<Link>,
    routes: HashMap<(AddressId, AddressId), LinkId>,
    default_link: LinkConfig,
    edges: Edges,
    rng: Rng,
    events: EventQueue,
    /// Where nodes append what they send.
    out: Vec<u8>,
    taps: Taps,
    trace: Option<Fingerprint>,
    stats: WorldStats,
}

/// What a world has counted over all links.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WorldStats {
    /// Datagrams that nodes have sent.
    pub sent: u64,
    /// Datagrams that were handed to nodes; injected ones and copies too.
    pub delivered: u64,
    /// Datagrams that a tap has dropped.
    pub tapped: u64,
    /// Datagrams that a link has dropped.
    pub dropped: u64,
    /// Datagrams sent from an address that the sender did not have.
    pub no_source: u64,
    /// Datagrams that reached an address which nobody had.
    pub no_destination: u64,
    /// Datagrams that a NAT or a firewall did not let out or in.
    pub refused: u64,
    /// Datagrams injected.
    pub injected: u64,
    /// Timers fired.
    pub timeouts: u64,
}

struct Slot<N> {
    name: String,
    node: N,
    /// The node's addresses, the first of each family being the one it sends from if it names none.
    addresses: Vec<SocketAddr>,
    /// The earliest timer event in the queue for this node; it may be too early, never too late.
    armed: Option<Instant>,
    touched: bool,
}

struct Address {
    socket: SocketAddr,
    owner: Option<NodeId>,
    /// Whether a node has or had it.
    owned: bool,
    site: Site,
}

impl<N: Node> World<N> {
    /// An empty world at [`Instant::ZERO`], with links like `default_link`.
    #[must_use]
    pub fn new(seed: u64, default_link: LinkConfig) -> Self {
        Self {
            seed,
            now: Instant::ZERO,
            nodes: Vec::new(),
            touched: Vec::new(),
            addresses: Vec::new(),
            address_ids: HashMap::new(),
            links: Vec::new(),
            routes: HashMap::new(),
            default_link,
            edges: Edges::default(),
            rng: Rng::new(seed),
            events: EventQueue::default(),
            out: Vec::new(),
            taps: Taps::default(),
            trace: None,
            stats: WorldStats::default(),
        }
    }

    /// The seed of this world.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A generator for the application's own choices, seeded from the world's seed. Different labels, different
    /// numbers.
    #[must_use]
    pub fn rng(&self, label: u64) -> Rng {
        self.rng.fork(label).fork(u64::MAX)
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Adds a node. Its name appears in panics.
    ///
    /// # Panics
    /// If another node has one of the addresses.
    pub fn add_node(&mut self, name: impl Into<String>, addresses: &[SocketAddr], node: N) -> NodeId {
        let id = NodeId(self.nodes.len());
        let name = name.into();
        self.nodes.push(Slot { name, node, addresses: Vec::new(), armed: None, touched: false });
        for address in addresses {
            self.add_address(id, *address);
        }
        self.touch(id);
        id
    }

    /// Gives a node one more address.
    ///
    /// # Panics
    /// If another node has it.
    pub fn add_address(&mut self, node: NodeId, address: SocketAddr) {
        let id = self.intern(address);
        self.addresses[id.0].owned = true;
        let owner = &mut self.addresses[id.0].owner;
        assert!(owner.is_none_or(|owner| owner == node), "{address} belongs to another node already");
        if owner.replace(node).is_none() {
            self.nodes[node.0].addresses.push(address);
        }
    }

    /// Gives a node another address in the place of one that it has, as a network does that hands out addresses anew.
    /// The links are those of the new address.
    ///
    /// # Panics
    /// If nobody has the old address, or somebody the new one.
    pub fn change_address(&mut self, old: SocketAddr, new: SocketAddr) {
        let (old_id, new_id) = (self.intern(old), self.intern(new));
        let Some(owner) = self.addresses[old_id.0].owner.take() else { panic!("nobody has {old}") };
        self.addresses[new_id.0].owned = true;
        let before = self.addresses[new_id.0].owner.replace(owner);
        assert!(before.is_none(), "{new} belongs to somebody already");
        for own in &mut self.nodes[owner.0].addresses {
            if *own == old {
                *own = new;
            }
        }
    }

    /// Takes an address away from the node that has it, if any: what arrives there, or is sent from there, is lost.
    pub fn remove_address(&mut self, address: SocketAddr) {
        let id = self.intern(address);
        if let Some(owner) = self.addresses[id.0].owner.take() {
            self.nodes[owner.0].addresses.retain(|own| *own != address);
        }
    }

    /// Whether no node has ever had an address, so that whoever spoke from there has made it up. In a world with NATs nobody can
    /// tell.
    #[must_use]
    pub fn is_made_up(&self, address: SocketAddr) -> bool {
        self.edges.is_empty() && !self.address_ids.get(&address).is_some_and(|id| self.addresses[id.0].owned)
    }

    /// The addresses of a node.
    #[must_use]
    pub fn addresses(&self, id: NodeId) -> &[SocketAddr] {
        &self.nodes[id.0].addresses
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &N {
        &self.nodes[id.0].node
    }

    /// A node, to be changed: it will be polled for datagrams and its timer when the world runs on.
    pub fn node_mut(&mut self, id: NodeId) -> &mut N {
        self.touch(id);
        &mut self.nodes[id.0].node
    }

    /// All nodes, in the order in which they were added.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &N)> {
        self.nodes.iter().enumerate().map(|(index, slot)| (NodeId(index), &slot.node))
    }

    /// Adds a link that nothing uses until it gets a [`route`](Self::route).
    pub fn add_link(&mut self, config: LinkConfig) -> LinkId {
        self.push_link(config, self.links.len() as u64)
    }

    fn push_link(&mut self, config: LinkConfig, label: u64) -> LinkId {
        self.links.push(Link::new(config, self.rng.fork(label)));
        LinkId(self.links.len() - 1)
    }

    /// Sends what goes from one address to another through this link, from now on. Several pairs may share a link: that
    /// is a common bottleneck.
    pub fn route(&mut self, from: SocketAddr, to: SocketAddr, link: LinkId) {
        let (from, to) = (self.intern(from), self.intern(to));
        self.routes.insert((self.end(from), self.end(to)), link);
    }

    /// Two new links between two addresses, set alike: there and back.
    pub fn connect(&mut self, a: SocketAddr, b: SocketAddr, config: LinkConfig) -> (LinkId, LinkId) {
        let (there, back) = (self.add_link(config.clone()), self.add_link(config));
        self.route(a, b, there);
        self.route(b, a, back);
        (there, back)
    }

    /// The link that leads from one address to another.
    pub fn link_between(&mut self, from: SocketAddr, to: SocketAddr) -> LinkId {
        let pair = (self.intern(from), self.intern(to));
        self.link_of(pair)
    }

    /// A link, to read its counters or to change its settings.
    pub fn link_mut(&mut self, id: LinkId) -> &mut Link {
        &mut self.links[id.0]
    }

    /// Shows every datagram to `tap` when it is sent, before its link gets it. Several taps see it one after the other.
    pub fn add_tap(&mut self, tap: impl FnMut(&mut Passing<'_>) -> Verdict + 'static) {
        self.taps.add(Box::new(tap));
    }

    /// Lets a datagram arrive that no node has sent.
    pub fn inject(&mut self, injection: Injection) {
        let Injection { after, from, to, ecn, bytes } = injection;
        let (from, to) = (self.intern(from), self.intern(to));
        self.stats.injected += 1;
        self.events.push_flight(self.now + after, Flight { from, to, ecn, bytes });
    }

    /// Starts to take a fingerprint of all that happens: every arrival, drop and timer, with its time and bytes.
    pub fn record_trace(&mut self) {
        self.trace.get_or_insert_default();
    }

    /// The fingerprint of what happened since [`record_trace`](Self::record_trace).
    #[must_use]
    pub fn trace(&self) -> Option<u64> {
        self.trace.as_ref().map(Fingerprint::value)
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> WorldStats {
        self.stats
    }

    fn touch(&mut self, id: NodeId) {
        if !mem::replace(&mut self.nodes[id.0].touched, true) {
            self.touched.push(id);
        }
    }

    fn intern(&mut self, socket: SocketAddr) -> AddressId {
        *self.address_ids.entry(socket).or_insert_with(|| {
            self.addresses.push(Address {
                socket,
                owner: None,
                owned: false,
                site: self.edges.site(socket.ip()),
            });
            AddressId(self.addresses.len() - 1)
        })
    }

    fn link_of(&mut self, (from, to): (AddressId, AddressId)) -> LinkId {
        let pair = (self.end(from), self.end(to));
        if let Some(link) = self.routes.get(&pair) {
            return *link;
        }
        // Named by its ends, so that its chances do not depend on which pair happened to talk first.
        let mut label = Fingerprint::default();
        for end in [pair.0, pair.1] {
            label.bytes(self.addresses[end.0].socket.to_string().as_bytes());
        }
        let link = self.push_link(self.default_link.clone(), label.value());
        self.routes.insert(pair, link);
        link
    }
}

impl<N> Drop for World<N> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the world was at {:?}, its seed {:#018x}", self.now, self.seed);
        }
    }
}

impl<N> fmt::Debug for World<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .field("nodes", &self.nodes.iter().map(|slot| slot.name.as_str()).collect::<Vec<_>>())
            .field("links", &self.links.len())
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

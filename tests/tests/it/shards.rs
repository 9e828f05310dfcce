//! Several endpoints behind one port: whoever hands datagrams to them looks at byte 1 and nothing else.

use core::cell::RefCell;
use core::net::SocketAddr;
use core::num::NonZeroU8;
use std::rc::Rc;

use dunlin_core::{
    ConnectOptions, ConnectionHandle, DropReason, Duration, Ecn, EndpointStats, Event, Instant, Peer, Shard,
};
use dunlin_sim::{
    ALPN, AcceptAll, App, Host, LinkConfig, Node, NodeId, Received, Receiver, Sender, Transmit, World,
    config, endpoint, seeds,
};

use crate::common::{INIT, INIT_KNOWN, bad_line, kind, line, ms, quick, trusting};

const CLIENT: SocketAddr =
    SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1)), 1000);
const SERVER: SocketAddr =
    SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2)), 2000);

/// Long enough for every handshake here.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a dial is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    Known,
    Unknown,
    QotpKnown,
    QotpUnknown,
}

const FLOWS: [Flow; 4] = [Flow::Known, Flow::Unknown, Flow::QotpKnown, Flow::QotpUnknown];

/// The shards of a port, and the part of the kernel that chooses among them.
struct Port {
    shards: Vec<Host>,
    count: NonZeroU8,
    /// Where datagrams are sent from, if not from the first address.
    source: Option<SocketAddr>,
}

impl Port {
    fn new(secret: u8, seed: u64, count: u8, app: impl Fn() -> Box<dyn App>) -> Self {
        let shards = Shard::all(count).map(|shard| {
            let mut config = config().accept_qotp(true).for_shard(shard);
            config.connect_timeout = PATIENCE;
            let mut host =
                Host::new(endpoint(config, secret, seed << 8 | u64::from(shard.index())), AcceptAll);
            host.app = app();
            host
        });
        Self { shards: shards.collect(), count: NonZeroU8::new(count).unwrap(), source: None }
    }

    fn stats(&self) -> EndpointStats {
        self.shards.iter().map(|host| host.endpoint.stats()).sum()
    }

    /// Connections that were made, for each shard.
    fn connected(&self) -> Vec<usize> {
        self.shards.iter().map(|host| host.count(|event| *event == Event::Connected)).collect()
    }
}

impl Node for Port {
    fn handle_datagram(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        ecn: Option<Ecn>,
        datagram: &mut [u8],
    ) {
        let shard = Shard::of(datagram, self.count);
        self.shards[usize::from(shard)].handle_datagram(now, local, remote, ecn, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        for host in &mut self.shards {
            if host.poll_timeout().is_some_and(|at| at <= now) {
                host.handle_timeout(now);
            }
        }
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        for (index, host) in (0..).zip(&mut self.shards) {
            if let Some(transmit) = host.poll_transmit(now, out) {
                if [INIT, INIT_KNOWN].contains(&kind(out)) {
                    assert_eq!(Shard::of(out, self.count), index, "an Init of this shard names another one");
                }
                return Some(Transmit { local: self.source, ..transmit });
            }
        }
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.shards.iter().filter_map(Node::poll_timeout).min()
    }
}

/// Two ports and what lies between them.
struct Ports {
    world: World<Port>,
    client: NodeId,
    server: NodeId,
}

impl Ports {
    fn new(
        seed: u64,
        link: LinkConfig,
        [clients, servers]: [u8; 2],
        client_app: impl Fn() -> Box<dyn App>,
        server_app: impl Fn() -> Box<dyn App>,
    ) -> Self {
        let mut world = World::new(seed, link);
        let client = world.add_node("client", &[CLIENT], Port::new(1, seed, clients, client_app));
        let server = world.add_node("server", &[SERVER], Port::new(2, seed, servers, server_app));
        Self { world, client, server }
    }

    fn server(&self) -> &Port {
        self.world.node(self.server)
    }

    /// Dials on a shard of the client's.
    fn dial(&mut self, shard: usize, flow: Flow) -> ConnectionHandle {
        let now = self.world.now();
        let server = &self.server().shards[0].endpoint;
        let (key, qotp_key) = (*server.public_key(), *server.qotp_public_key());
        let (peer, options) = match flow {
            Flow::Known => (Peer::Key(key), ConnectOptions::new(SERVER, ALPN)),
            Flow::Unknown => (Peer::Unknown, ConnectOptions::new(SERVER, ALPN)),
            Flow::QotpKnown => (Peer::QotpKey(qotp_key), ConnectOptions::qotp(SERVER)),
            Flow::QotpUnknown => (Peer::AnyKey, ConnectOptions::qotp(SERVER)),
        };
        let host = &mut self.world.node_mut(self.client).shards[shard];
        host.endpoint.connect(now, peer, options).expect("the dial starts")
    }

    /// Runs until both ends of `dials` connections know of each other.
    fn meet(&mut self, dials: usize) {
        let (client, server) = (self.client, self.server);
        let made = |world: &World<Port>, id| world.node(id).connected().iter().sum::<usize>() >= dials;
        let deadline = self.world.now() + PATIENCE;
        let met = self.world.run_until_true(deadline, |world| made(world, client) && made(world, server));
        let connected = [client, server].map(|id| self.world.node(id).connected());
        assert!(met, "seed {}: of {dials} dials: {connected:?}", self.world.seed());
    }

    /// No datagram came to a shard that does not know its connection.
    fn assert_none_astray(&self) {
        for (_, port) in self.world.nodes() {
            assert_eq!(port.stats().dropped(DropReason::UnknownConnection), 0, "seed {}", self.world.seed());
        }
    }
}

fn accepting() -> Box<dyn App> {
    Box::new(trusting)
}

#[test]
fn every_handshake_finds_its_shards() {
    for seed in seeds(3) {
        for counts in [[1, 4], [4, 1], [4, 4], [3, 7], [2, 64]] {
            let mut ports = Ports::new(seed, bad_line(5), counts, accepting, accepting);
            let mut dials = 0;
            for shard in 0..counts[0].into() {
                for flow in FLOWS.into_iter().cycle().take(16) {
                    ports.dial(shard, flow);
                    dials += 1;
                }
            }
            ports.meet(dials);
            ports.world.run_for(ms(2000));
            ports.assert_none_astray();
        }
    }
}

#[test]
fn dials_spread_over_the_shards_of_the_answerer() {
    let mut ports = Ports::new(7, quick(), [1, 4], accepting, accepting);
    for _ in 0..200 {
        ports.dial(0, Flow::Known);
    }
    ports.meet(200);
    let spread = ports.server().connected();
    // A quarter each, within four standard deviations.
    assert!(spread.iter().all(|made| (25..=75).contains(made)), "{spread:?}");
}

/// A world in which each of a client's four shards has a connection to a server of three, and sends two streams of `bytes`
/// each on it.
fn busy(seed: u64, bytes: u64) -> (Ports, Vec<Rc<RefCell<Received>>>) {
    let seen = RefCell::new(Vec::new());
    let sender = || Box::new(Sender::new(2, bytes)) as Box<dyn App>;
    let receiver = || {
        let (receiver, received) = Receiver::new();
        seen.borrow_mut().push(received);
        Box::new(receiver) as Box<dyn App>
    };
    let mut ports = Ports::new(seed, line(), [4, 3], sender, receiver);
    for shard in 0..4 {
        ports.dial(shard, Flow::Known);
    }
    (ports, seen.into_inner())
}

fn finished(seen: &[Rc<RefCell<Received>>]) -> usize {
    seen.iter().map(|seen| seen.borrow().finished).sum()
}

#[test]
fn a_connection_stays_on_its_shard_when_its_peer_sends_from_elsewhere() {
    for seed in seeds(5) {
        let (mut ports, seen) = busy(seed, 1 << 20);
        ports.meet(4);
        let (client, before) = (ports.client, ports.server().connected());
        let elsewhere = SocketAddr::new(CLIENT.ip(), 1001);
        ports.world.add_address(client, elsewhere);
        ports.world.node_mut(client).source = Some(elsewhere);
        let deadline = ports.world.now() + PATIENCE;
        assert!(ports.world.run_until_true(deadline, |_| finished(&seen) == 8), "seed {seed}");
        ports.assert_none_astray();
        assert_eq!(ports.server().connected(), before);
        let from_elsewhere =
            ports.server().shards.iter().filter(|host| host.traffic.contains_key(&elsewhere)).count();
        assert_eq!(from_elsewhere, before.iter().filter(|made| **made > 0).count());
    }
}

#[test]
fn shards_forget_as_any_endpoint_does() {
    let (mut ports, seen) = busy(3, 100_000);
    let deadline = ports.world.now() + PATIENCE;
    assert!(ports.world.run_until_true(deadline, |_| finished(&seen) == 8));
    let ids: Vec<NodeId> = ports.world.nodes().map(|(id, _)| id).collect();
    for &id in &ids {
        ports.world.node_mut(id).shards.iter_mut().for_each(Host::close_all);
    }
    ports.world.run_for(Duration::from_secs(300));
    for id in ids {
        for host in &mut ports.world.node_mut(id).shards {
            host.assert_forgotten("a shard");
        }
    }
}

/// The whole port keeps the promise, not each shard for itself.
#[test]
fn limits_hold_for_all_shards_together() {
    let mut settings = config();
    settings.limits.per_endpoint = 1 << 20;
    settings.limits.connections = 10;
    settings.limits.half_open = 1;
    settings.limits.stateless_per_second = 100;
    let shards: Vec<_> = Shard::all(4).map(|shard| settings.clone().for_shard(shard)).collect();
    assert_eq!(shards.iter().map(|config| config.limits.per_endpoint).sum::<u64>(), 1 << 20);
    assert_eq!(shards.iter().map(|config| config.limits.connections).sum::<u32>(), 8);
    assert_eq!(shards.iter().map(|config| config.limits.stateless_per_second).sum::<u32>(), 100);
    assert!(shards.iter().all(|config| config.limits.half_open == 1), "or it could answer nobody");
    assert_eq!(shards[0].limits.per_connection, settings.limits.per_connection);
    assert_eq!(settings.clone().for_shard(Shard::default()).limits.connections, 10);
}

//! Worlds with NATs and firewalls: who reaches whom, seen as whom, over which link.

use core::net::{IpAddr, SocketAddr};

use super::super::tests::{Peer, at, ms};
use crate::{Filtering, LinkConfig, NatConfig, NatId, NatStats, NodeId, Rate, Verdict, World};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

const HOME: &str = "198.51.100.1";

/// Two nodes at home, a server and a stranger outside. The nodes at home are at 192.168.0.2:7 and 192.168.0.3:7.
struct Town {
    world: World<Peer>,
    home: [NodeId; 2],
    server: NodeId,
    stranger: NodeId,
}

fn server() -> SocketAddr {
    addr("203.0.113.1:443")
}

fn at_home(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 168, 0, host], 7))
}

impl Town {
    fn new() -> Self {
        let mut world = World::new(1, LinkConfig { delay: ms(10), ..LinkConfig::default() });
        let home = [2, 3].map(|host| world.add_node("home", &[at_home(host)], Peer::default()));
        let server = world.add_node("server", &[server()], Peer::echo());
        let stranger = world.add_node("stranger", &[addr("203.0.113.2:1")], Peer::default());
        Self { world, home, server, stranger }
    }

    fn behind_nat(config: NatConfig) -> (Self, NatId) {
        let mut town = Self::new();
        let nat = town.world.add_nat(ip(HOME), config);
        for host in [2, 3] {
            town.world.put_behind(nat, at_home(host).ip());
        }
        (town, nat)
    }

    fn send(&mut self, from: NodeId, to: SocketAddr, bytes: &[u8]) {
        self.world.node_mut(from).send(to, bytes);
        self.world.run_for(ms(100));
    }

    /// Who a node has heard from, in order.
    fn heard(&self, node: NodeId) -> Vec<SocketAddr> {
        self.world.node(node).heard.iter().map(|heard| heard.remote).collect()
    }
}

#[test]
fn path_nat_hides_those_behind_it_and_lets_answers_in() {
    let (mut town, nat) = Town::behind_nat(NatConfig::default());
    town.send(town.home[0], server(), b"ask");
    let outer = town.heard(town.server)[0];
    assert_eq!(outer.ip(), ip(HOME));
    assert_eq!(town.world.nat(nat).outer(town.world.now(), at_home(2), server()), Some(outer));
    let answer = &town.world.node(town.home[0]).heard[0];
    assert_eq!((answer.local, answer.remote, answer.at), (at_home(2), server(), at(20)));

    for target in [at_home(2), outer, SocketAddr::new(ip(HOME), 9)] {
        town.send(town.stranger, target, b"let me in");
    }
    assert_eq!(town.world.stats().refused, 3);
    assert_eq!(town.heard(town.home[0]), [server()]);
}

#[test]
fn path_nat_leaves_those_at_home_to_each_other() {
    let (mut town, nat) = Town::behind_nat(NatConfig::default());
    town.send(town.home[0], at_home(3), b"neighbour");
    assert_eq!(town.heard(town.home[1]), [at_home(2)]);
    assert_eq!(town.world.nat(nat).stats(), NatStats::default());
}

#[test]
fn path_nat_hairpins_or_does_not() {
    for hairpin in [false, true] {
        let filtering = Filtering::EndpointIndependent;
        let (mut town, nat) = Town::behind_nat(NatConfig { hairpin, filtering, ..NatConfig::default() });
        town.send(town.home[0], server(), b"1");
        town.send(town.home[1], server(), b"2");
        let outer = town.heard(town.server);
        town.send(town.home[0], outer[1], b"neighbour");
        let heard = town.heard(town.home[1]);
        match hairpin {
            true => assert_eq!(heard, [server(), outer[0]], "it sees the outer address"),
            false => assert_eq!((heard, town.world.nat(nat).stats().kept_in), (vec![server()], 1)),
        }
    }
}

#[test]
fn path_nat_behind_a_nat() {
    let (mut town, home) = Town::behind_nat(NatConfig::default());
    let carrier = town.world.add_nat(ip("192.0.2.1"), NatConfig::default());
    town.world.put_behind(carrier, ip(HOME));
    town.send(town.home[0], server(), b"ask");
    assert_eq!(town.heard(town.server)[0].ip(), ip("192.0.2.1"));
    assert_eq!(town.heard(town.home[0]), [server()]);
    // The carrier's network is no part of the world either.
    let middle = town.world.nat(home).outer(town.world.now(), at_home(2), server()).unwrap();
    town.send(town.server, middle, b"?");
    assert_eq!((town.heard(town.home[0]).len(), town.world.stats().refused), (1, 1));
    // Somebody else behind the carrier's reaches the NAT at home, which keeps it out.
    let neighbour = town.world.add_node("neighbour", &[addr("198.51.100.9:1")], Peer::default());
    town.world.put_behind(carrier, ip("198.51.100.9"));
    town.send(neighbour, middle, b"?");
    assert_eq!(town.world.nat(home).stats().kept_out, 1);
}

#[test]
fn path_nat_two_of_them_behind_each_other_lead_nowhere() {
    let (mut town, home) = Town::behind_nat(NatConfig::default());
    let other = town.world.add_nat(ip("192.0.2.1"), NatConfig::default());
    town.world.put_behind(other, ip(HOME));
    town.world.put_behind(home, ip("192.0.2.1"));
    town.send(town.home[0], server(), b"ask");
    assert_eq!((town.heard(town.server).len(), town.world.stats().refused), (0, 1));
}

#[test]
fn path_firewall_opens_outwards() {
    let mut town = Town::new();
    let wall = town.world.add_firewall(NatConfig::default());
    town.world.put_behind(wall, at_home(2).ip());
    town.send(town.server, at_home(2), b"early");
    assert_eq!(town.heard(town.home[0]), []);
    town.send(town.home[0], server(), b"ask");
    assert_eq!(town.heard(town.home[0]), [server()]);
    assert_eq!(town.heard(town.server), [at_home(2)], "nothing is translated");
    town.send(town.stranger, at_home(2), b"me too");
    assert_eq!(town.heard(town.home[0]), [server()]);
}

#[test]
fn path_nat_shares_its_links_among_all_ports() {
    let (mut town, nat) = Town::behind_nat(NatConfig::default());
    let slow = town.world.add_link(LinkConfig { rate: Some(Rate::kbit(8)), ..LinkConfig::default() });
    town.world.route(addr("198.51.100.1:5555"), server(), slow);
    for host in town.home {
        town.world.node_mut(host).send(server(), &[0; 10]);
    }
    town.world.run_until(at(100));
    town.world.nat_mut(nat).forget();
    town.send(town.home[0], server(), &[0; 10]);
    let times: Vec<_> = town.world.node(town.server).heard.iter().map(|heard| heard.at).collect();
    assert_eq!(times, [at(10), at(20), at(110)]);
    let mut sources = town.heard(town.server);
    sources.dedup();
    assert_eq!(sources.len(), 3, "three ports: {sources:?}");
    assert_eq!(town.world.link_between(addr("198.51.100.1:1"), server()), slow);
}

/// What a tap keeps from the network opens nothing.
#[test]
fn path_nat_stands_behind_the_taps() {
    let (mut town, nat) = Town::behind_nat(NatConfig::default());
    town.world.add_tap(|passing| if passing.bytes == b"x" { Verdict::Drop } else { Verdict::Pass });
    town.send(town.home[0], server(), b"x");
    assert_eq!(town.world.nat(nat).stats(), NatStats::default());
}

#[test]
#[should_panic(expected = "belongs to another NAT")]
fn path_nat_has_its_address_alone() {
    let (mut town, _) = Town::behind_nat(NatConfig::default());
    town.world.add_nat(ip(HOME), NatConfig::default());
}

//! Connections behind NATs and firewalls.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{Duration, NetworkChange};
use dunlin_sim::{
    Both, Echo, End, Filtering, Host, Lifetime, Mapping, NatConfig, NatId, Received, Receiver, Sender,
    Topology, Web, World, config, seeds,
};

use crate::common::{bad_line, line, patterned};

const MAPPINGS: [Mapping; 2] = [Mapping::EndpointIndependent, Mapping::EndpointDependent];
const FILTERINGS: [Filtering; 3] =
    [Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent];
const LIFETIMES: [Lifetime; 3] = [
    Lifetime::Unlimited,
    Lifetime::Idle(Duration::from_secs(30)),
    Lifetime::Absolute(Duration::from_secs(60)),
];

/// Every kind of NAT, with mappings that outlive a handshake and a transfer.
fn kinds() -> impl Iterator<Item = NatConfig> {
    MAPPINGS.into_iter().flat_map(|mapping| {
        FILTERINGS.into_iter().flat_map(move |filtering| {
            LIFETIMES.map(|lifetime| NatConfig { mapping, filtering, lifetime, hairpin: false })
        })
    })
}

/// A megabyte in each direction at once.
const BYTES: u64 = 1_000_000;

fn both_ways(seed: u64, topology: &Topology) -> (Web, [Rc<RefCell<Received>>; 2]) {
    let ((client, at_client), (server, at_server)) = (Receiver::new(), Receiver::new());
    let (client, server) = (Both(Sender::new(1, BYTES), client), Both(Sender::new(1, BYTES), server));
    (Web::with(seed, topology, config(), config(), client, server), [at_client, at_server])
}

/// Makes a connection, lets all bytes through, and says so in a failure.
fn handshake_and_transfer(mut web: Web, seen: &[Rc<RefCell<Received>>; 2], what: &str) -> Web {
    web.pair.connect();
    let all = |seen: &[Rc<RefCell<Received>>; 2]| seen.iter().all(|seen| seen.borrow().finished == 1);
    assert!(web.pair.run_until(Duration::from_secs(25), |_| all(seen)), "{what}");
    assert!(seen.iter().all(|seen| seen.borrow().total() == BYTES), "{what}");
    web
}

/// One mapping was enough, and nothing that belonged to the connection was kept out or in.
fn assert_used(web: &Web, nat: NatId, what: &str) {
    let stats = web.pair.world.nat(nat).stats();
    assert_eq!((stats.mappings, stats.kept_out, stats.kept_in), (1, 0, 0), "{what}");
    assert!(stats.went_out > 100 && stats.let_in > 100, "{what}: {stats:?}");
}

#[test]
fn path_nat_of_every_kind_lets_a_dialler_and_its_transfer_through() {
    for seed in seeds(2) {
        for config in kinds() {
            for link in [line(), bad_line(3)] {
                let (mut web, seen) = both_ways(seed, &Topology::fan(&[link]));
                let nat = web.behind_nat(End::Client(0), config);
                let what = format!("{config:?}");
                let web = handshake_and_transfer(web, &seen, &what);
                assert_used(&web, nat, &what);
                let seen_by_server: Vec<_> = web.pair.server().traffic.keys().map(|from| from.ip()).collect();
                assert_eq!(seen_by_server, [web.pair.world.nat(nat).outside().unwrap()]);
                web.pair.finish();
            }
        }
    }
}

#[test]
fn path_firewall_of_every_kind_lets_a_dialler_and_its_transfer_through() {
    for config in kinds().filter(|config| config.mapping == Mapping::EndpointIndependent) {
        for family in [4, 6] {
            let topology = Topology::fan(&[line()]);
            let topology = match family {
                4 => topology,
                _ => topology.v6(End::Client(0)).v6(End::Server(0)),
            };
            let (mut web, seen) = both_ways(1, &topology);
            let firewall = web.behind_firewall(End::Client(0), config);
            let what = format!("{config:?}, IPv{family}");
            let web = handshake_and_transfer(web, &seen, &what);
            assert_used(&web, firewall, &what);
            web.pair.finish();
        }
    }
}

#[test]
fn path_nat_of_a_carrier_around_one_at_home_is_no_different() {
    for config in kinds() {
        let (mut web, seen) = both_ways(1, &Topology::fan(&[line()]));
        let home = web.behind_nat(End::Client(0), config);
        let carrier = web.pair.world.add_nat("192.0.2.1".parse().unwrap(), config);
        let outside = web.pair.world.nat(home).outside().unwrap();
        web.pair.world.put_behind(carrier, outside);
        let server = web.address(End::Server(0));
        web.pair.world.connect("192.0.2.1:0".parse().unwrap(), server, line());
        let web = handshake_and_transfer(web, &seen, "two NATs");
        assert_used(&web, home, "at home");
        assert_used(&web, carrier, "the carrier's");
        web.pair.finish();
    }
}

/// Nobody dials an answerer behind a NAT or a firewall that it has sent nothing through.
#[test]
fn path_nat_or_firewall_in_front_of_an_answerer_keeps_diallers_out() {
    for config in kinds() {
        for firewall in [false, true] {
            let (mut web, _) = both_ways(1, &Topology::fan(&[line()]));
            match firewall {
                true => web.behind_firewall(End::Server(0), config),
                false => web.behind_nat(End::Server(0), config),
            };
            web.pair.dial();
            assert_eq!(web.pair.server_connection(Duration::from_secs(10)), None, "{config:?}");
            assert_eq!(web.pair.server().traffic.len(), 0);
            assert!(web.pair.world.stats().refused > 0);
            web.pair.finish();
        }
    }
}

/// The network behind a NAT hands out addresses anew: from outside that is another port of the same address.
#[test]
fn path_nat_stays_in_front_of_an_interface_that_gets_another_address() {
    let (mut web, _) = both_ways(1, &Topology::fan(&[line()]));
    let nat = web.behind_nat(End::Client(0), NatConfig::default());
    web.pair.connect();
    web.renumber(End::Client(0), "10.77.0.1:1000".parse().unwrap());
    let (client, now) = (web.pair.client, web.pair.now());
    web.pair.world.node_mut(client).endpoint.network_changed(now, NetworkChange::Unspecified);
    web.pair.world.run_for(Duration::from_millis(100));
    let seen_by_server: Vec<_> = web.pair.server().traffic.keys().map(|from| from.ip()).collect();
    assert_eq!(seen_by_server, [web.pair.world.nat(nat).outside().unwrap(); 2]);
    assert_eq!(web.pair.world.nat(nat).stats().mappings, 2);
    web.pair.finish();
}

/// Another interface has another NAT: what comes from one is seen as one address, and never as the other's.
#[test]
fn path_nats_of_two_interfaces_are_two() {
    let (mut web, seen) = both_ways(1, &Topology::fan(&[line(), line()]));
    let nats = [0, 1].map(|i| web.behind_nat(End::Client(i), NatConfig::default()));
    let web = handshake_and_transfer(web, &seen, "over the first");
    assert_used(&web, nats[0], "over the first");
    assert_eq!(web.pair.world.nat(nats[1]).stats().went_out, 0);
    web.pair.finish();
}

/// A NAT that forgets after 30 s of silence, and a dialler that says something now and then, without a keep-alive: after
/// every longer pause it is seen at another port. What it says arrives at once all the same, and so does the answer.
#[test]
fn port_changes_on_idle() {
    for seed in seeds(5) {
        for mapping in MAPPINGS {
            let (receiver, answers) = Receiver::new();
            let topology = Topology::fan(&[line()]);
            let mut web = Web::with(seed, &topology, config(), config(), receiver, Echo::default());
            let lifetime = Lifetime::Idle(Duration::from_secs(30));
            let nat = web.behind_nat(End::Client(0), NatConfig { mapping, lifetime, ..NatConfig::default() });
            let (client, _) = web.pair.connect();
            let (mut rng, end) = (web.pair.world.rng(0), web.pair.now() + Duration::from_secs(600));
            let (mut messages, mut bytes) = (0, 0);
            while web.pair.now() < end {
                web.pair.world.run_for(Duration::from_millis(1_000 + rng.below(60_000)));
                let len = 1 + rng.below(30_000) as usize;
                web.pair.on_client(client, |connection| {
                    let id = connection.open_bi().unwrap();
                    assert_eq!(connection.write(id, &patterned(id, len)), Ok(len));
                    connection.finish(id).unwrap();
                });
                (messages, bytes) = (messages + 1, bytes + len as u64);
                let answered = |_: &mut World<Host>| answers.borrow().finished == messages;
                assert!(web.pair.run_until(Duration::from_secs(1), answered), "{mapping:?}: {messages}");
            }
            assert_eq!(answers.borrow().total(), bytes);
            let changes = web.pair.world.nat(nat).stats().mappings - 1;
            assert!(changes >= 5 && messages >= 15, "{changes} changes, {messages} messages");
            web.pair.finish();
        }
    }
}

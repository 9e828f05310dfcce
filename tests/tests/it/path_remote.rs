//! What endpoints know of their peers beyond one connection.

use core::net::SocketAddr;

use dunlin_core::{
    AddressError, AddressFailure, AddressInfo, AddressSource, AddressStatus, CloseReason, ConnectOptions,
    Duration, Event, LocalAddr, Peer, PublicKey, RemoteInfo, TransportAddr, Tuple, WhyNot,
};
use dunlin_sim::{ALPN, AcceptAll, End, NodeId, Topology, Web, config, seeds};

use crate::common::{at, ms, quick, record};
use crate::path_dial::{all, copies, count_per_address, dial, spread};
use crate::path_move::{behind_nat, mapped};

fn ip(addr: SocketAddr) -> TransportAddr {
    TransportAddr::Ip(addr)
}

fn way(addr: SocketAddr) -> Tuple {
    Tuple { local: LocalAddr::default(), remote: ip(addr) }
}

/// What a node knows of the holder of a key.
fn known(web: &Web, node: NodeId, key: &PublicKey) -> Option<RemoteInfo> {
    web.pair.world.node(node).endpoint.remote(key)
}

fn address(info: &RemoteInfo, addr: SocketAddr) -> AddressInfo {
    *info.addresses.iter().find(|info| info.remote == ip(addr)).expect("it is known")
}

#[test]
fn second_dial_starts_at_what_worked() {
    for seed in seeds(3) {
        let mut web = Web::new(seed, &spread(&vec![quick(); 20]));
        (0..20).filter(|n| *n != 15).for_each(|n| web.down(End::Server(n)));
        let options = all(&web, 20);
        let client = dial(&mut web, options.clone());
        web.pair.world.run_for(Duration::from_secs(1));
        assert_eq!(web.pair.client().when(client, &Event::Connected), Some(at(8 * 25 + 40)));
        web.pair.on_client(client, |connection| connection.close(0u32.into(), b""));
        web.pair.world.run_for(Duration::from_secs(30));
        let seen = record(&mut web.pair.world);
        let (began, worked) = (web.pair.now(), web.address(End::Server(15)));
        let client = dial(&mut web, options);
        web.pair.world.run_for(Duration::from_secs(1));
        assert_eq!(web.pair.client().when(client, &Event::Connected), Some(began + ms(40)));
        assert_eq!(copies(&seen)[1].1, worked, "right behind the best that is named");
        // So it is if the application has forgotten it.
        web.pair.on_client(client, |connection| connection.close(0u32.into(), b""));
        web.pair.world.run_for(Duration::from_secs(30));
        let (began, options) = (web.pair.now(), ConnectOptions::new(web.address(End::Server(0)), ALPN));
        let client = dial(&mut web, options);
        web.pair.world.run_for(Duration::from_secs(1));
        assert_eq!(web.pair.client().when(client, &Event::Connected), Some(began + ms(40)));
        web.pair.finish();
    }
}

#[test]
fn what_worked_is_forgotten_after_a_minute() {
    let mut web = Web::new(1, &spread(&[quick(), quick()]));
    let (worked, node, key) = (web.address(End::Server(1)), web.pair.client, web.pair.server_key());
    let options = ConnectOptions::new(worked, ALPN);
    let client = dial(&mut web, options);
    web.pair.world.run_for(Duration::from_secs(1));
    web.pair.on_client(client, |connection| connection.close(0u32.into(), b""));
    web.pair.world.run_for(Duration::from_secs(59));
    assert!(known(&web, node, &key).is_some());
    web.pair.world.run_for(Duration::from_secs(2));
    assert_eq!(known(&web, node, &key), None);
    web.down(End::Client(0));
    let seen = record(&mut web.pair.world);
    let options = ConnectOptions::new(web.address(End::Server(0)), ALPN);
    dial(&mut web, options);
    web.pair.world.run_for(Duration::from_secs(6));
    assert!(!count_per_address(&copies(&seen)).contains_key(&worked));
    web.pair.finish();
}

#[test]
fn a_dead_selected_address_is_not_dialled_alone() {
    let mut web = Web::new(1, &spread(&[quick(), quick()]));
    let options = ConnectOptions::new(web.address(End::Server(0)), ALPN);
    let first = dial(&mut web, options);
    web.pair.world.run_for(Duration::from_secs(1));
    // The first connection is still there when its address dies.
    web.down(End::Server(0));
    let (began, options) = (web.pair.now(), ConnectOptions::new(web.address(End::Server(1)), ALPN));
    let second = dial(&mut web, options);
    web.pair.world.run_for(Duration::from_secs(1));
    assert!(web.pair.client().has(first, &Event::Connected));
    assert_eq!(web.pair.client().when(second, &Event::Connected), Some(began + ms(40)));
    web.pair.finish();
}

#[test]
fn both_sides_know_where_the_other_is_and_was() {
    let mut web = Web::new(1, &spread(&[quick(), quick()]));
    let (client_key, server_key) = (web.pair.client_key(), web.pair.server_key());
    let (client_node, server_node) = (web.pair.client, web.pair.server);
    let options = all(&web, 2);
    web.down(End::Server(1));
    let client = dial(&mut web, options);
    let info = known(&web, client_node, &server_key).unwrap();
    assert_eq!((info.connections, info.addresses.len()), (1, 2));
    let (good, dead) = (web.address(End::Server(0)), web.address(End::Server(1)));
    assert_eq!(address(&info, good).why_not, Some(WhyNot::NotTried));
    web.pair.world.run_for(Duration::from_secs(1));
    for (node, key, addr) in
        [(client_node, server_key, good), (server_node, client_key, web.pair.client_addr)]
    {
        let there = address(&known(&web, node, &key).unwrap(), addr);
        assert_eq!((there.status, there.why_not), (AddressStatus::Open, None));
        assert!(there.sources.connection);
    }
    // One copy without an answer says nothing.
    let info = known(&web, client_node, &server_key).unwrap();
    assert_eq!(address(&info, dead).status, AddressStatus::Unknown);
    web.pair.on_client(client, |connection| connection.close(0u32.into(), b""));
    web.pair.world.run_for(Duration::from_secs(1));
    for (node, key, addr) in
        [(client_node, server_key, good), (server_node, client_key, web.pair.client_addr)]
    {
        let info = known(&web, node, &key).unwrap();
        let there = address(&info, addr);
        assert_eq!((info.connections, there.status), (0, AddressStatus::Inactive));
        assert_eq!(there.why_not, Some(WhyNot::Left));
    }
    web.pair.finish();
}

#[test]
fn a_dial_in_vain_and_a_peer_that_fell_silent_are_remembered_as_such() {
    let mut web = Web::new(1, &spread(&[quick(), quick()]));
    let (node, key) = (web.pair.client, web.pair.server_key());
    let addresses = [web.address(End::Server(0)), web.address(End::Server(1))];
    let options = ConnectOptions::new(addresses[0], ALPN);
    let client = dial(&mut web, options);
    web.pair.world.run_for(Duration::from_secs(1));
    web.down(End::Client(0));
    web.pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, b"anybody there?").unwrap();
    });
    let options = ConnectOptions::new(addresses[1], ALPN);
    dial(&mut web, options);
    web.pair.world.run_for(Duration::from_secs(6));
    let info = known(&web, node, &key).unwrap();
    assert_eq!(address(&info, addresses[0]).status, AddressStatus::Open, "that connection has not ended");
    let vain = address(&info, addresses[1]);
    assert_eq!(vain.why_not, Some(WhyNot::Failed(AddressFailure::NoAnswer)));
    assert_eq!(vain.status, AddressStatus::Unusable);
    assert!(web.pair.run_until(Duration::from_secs(200), |world| world.node(node).closed(client).is_some()));
    assert_eq!(web.pair.client().closed(client).unwrap().1, &CloseReason::IdleTimeout);
    let silent = address(&known(&web, node, &key).unwrap(), addresses[0]);
    assert_eq!(silent.status, AddressStatus::Inactive);
    assert_eq!(silent.why_not, Some(WhyNot::Failed(AddressFailure::Silent)));
    web.pair.finish();
}

#[test]
fn an_address_that_did_not_answer_is_tried_again_and_becomes_open() {
    let mut web = Web::new(1, &spread(&[quick()]));
    let (node, key, addr) = (web.pair.client, web.pair.server_key(), web.address(End::Server(0)));
    web.down(End::Client(0));
    dial(&mut web, ConnectOptions::new(addr, ALPN));
    web.pair.world.run_for(Duration::from_secs(6));
    assert_eq!(address(&known(&web, node, &key).unwrap(), addr).status, AddressStatus::Unusable);
    web.up(End::Client(0));
    dial(&mut web, ConnectOptions::new(addr, ALPN));
    web.pair.world.run_for(Duration::from_secs(1));
    assert_eq!(address(&known(&web, node, &key).unwrap(), addr).status, AddressStatus::Open);
    web.pair.finish();
}

#[test]
fn addresses_that_are_told_are_dialled() {
    let mut web = Web::new(1, &spread(&[quick(), quick(), quick()]));
    let (node, key, now) = (web.pair.client, web.pair.server_key(), web.pair.now());
    let addresses: Vec<SocketAddr> = (0..3).map(|n| web.address(End::Server(n))).collect();
    let private: SocketAddr = "127.0.0.1:4433".parse().unwrap();
    let endpoint = &mut web.pair.world.node_mut(node).endpoint;
    let mut add = |addr, source| endpoint.add_address(now, &key, way(addr), source);
    assert_eq!(add(addresses[1], AddressSource::Application), Ok(()));
    assert_eq!(add(addresses[2], AddressSource::Lookup), Ok(()));
    assert_eq!(add(private, AddressSource::Lookup), Ok(()));
    assert_eq!(add("0.0.0.0:1".parse().unwrap(), AddressSource::Application), Err(AddressError::Address));
    let seen = record(&mut web.pair.world);
    web.down(End::Client(0));
    dial(&mut web, ConnectOptions::new(addresses[0], ALPN));
    web.pair.world.run_for(Duration::from_secs(6));
    let counts = count_per_address(&copies(&seen));
    assert_eq!([0, 1, 2].map(|n| counts[&addresses[n]]), [7, 7, 3]);
    assert_eq!(counts.len(), 3, "nothing goes to this machine on a stranger's word");
    let info = known(&web, node, &key).unwrap();
    assert_eq!(address(&info, private).why_not, Some(WhyNot::NotPublic));
    let endpoint = &mut web.pair.world.node_mut(node).endpoint;
    assert!(endpoint.remove_address(&key, &ip(addresses[1])));
    assert!(!endpoint.remove_address(&key, &ip(addresses[1])));
    web.up(End::Client(0));
    seen.borrow_mut().clear();
    let client = dial(&mut web, ConnectOptions::new(addresses[0], ALPN));
    web.pair.world.run_for(Duration::from_secs(1));
    assert!(web.pair.client().has(client, &Event::Connected));
    assert!(!count_per_address(&copies(&seen)).contains_key(&addresses[1]));
    // What is in use stays known.
    let endpoint = &mut web.pair.world.node_mut(node).endpoint;
    assert!(!endpoint.remove_address(&key, &ip(addresses[0])));
    let sources = address(&known(&web, node, &key).unwrap(), addresses[0]).sources;
    assert_eq!((sources.application, sources.connection), (false, true));
    web.pair.finish();
}

#[test]
fn who_moves_is_known_where_it_is_now() {
    let mut pair = dunlin_sim::Pair::new(1, quick());
    let inside = pair.client_addr;
    let nat = behind_nat(&mut pair, inside);
    let (client, _) = pair.connect();
    pair.world.run_for(ms(200));
    let (key, before, after) = (pair.client_key(), mapped(1), mapped(2));
    nat.outside.set(after);
    pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, b"here I am").unwrap();
    });
    pair.world.run_for(Duration::from_secs(1));
    let info = pair.server().endpoint.remote(&key).unwrap();
    assert_eq!(address(&info, after).status, AddressStatus::Open);
    assert_eq!(address(&info, before).status, AddressStatus::Inactive);
    assert_eq!(info.connections, 1);
    pair.finish();
}

/// A key that was not known before it was proved.
#[test]
fn whoever_answers_becomes_known() {
    let topology = Topology::fan(&[quick()]);
    let mut web = Web::with(1, &topology, config(), config(), AcceptAll, AcceptAll);
    let (node, key, now) = (web.pair.client, web.pair.server_key(), web.pair.now());
    let addr = web.address(End::Server(0));
    let endpoint = &mut web.pair.world.node_mut(node).endpoint;
    endpoint.connect(now, Peer::AnyKey, ConnectOptions::new(addr, ALPN)).unwrap();
    assert_eq!(known(&web, node, &key), None);
    web.pair.world.run_for(Duration::from_secs(1));
    let info = known(&web, node, &key).unwrap();
    assert_eq!((info.connections, address(&info, addr).status), (1, AddressStatus::Open));
    web.pair.finish();
}

//! Reports of the network that say which addresses and sockets there are: what is gone is left at once, what is there goes on.

use core::cell::RefCell;
use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;
use std::rc::Rc;

use dunlin_core::{
    Config, ConnectOptions, Duration, Endpoint, ErrorCode, Event, LocalSocket, NetworkChange, PathClosed,
    PathEvent, PathId, PathState, Peer,
};
use dunlin_sim::{
    ALPN, AcceptAll, End, LinkConfig, QueueLimit, Rate, Received, Receiver, Sender, Socket, Topology, Web,
    config, seeds,
};

use crate::common::{DATA, Seen, kind, line, ms, record};
use crate::duo::{BOTH, Duo, Side, parallel};

/// A round trip of the links here.
const ROUND_TRIP: Duration = ms(40);

/// 20 ms each way, and slow enough that a test may fill it for a while.
fn narrow() -> LinkConfig {
    LinkConfig {
        delay: ROUND_TRIP / 2,
        rate: Some(Rate::mbit(20)),
        queue: QueueLimit::Bytes(50_000),
        ..line()
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

const fn end(side: Side, number: usize) -> End {
    match side {
        Side::Client => End::Client(number),
        Side::Server => End::Server(number),
    }
}

/// Two interfaces on one side, each with a link to the one on the other side.
fn forked(side: Side) -> Topology {
    match side {
        Side::Client => Topology::mesh(2, 1, |_, _| Some(narrow())),
        Side::Server => Topology::mesh(1, 2, |_, _| Some(narrow())),
    }
}

fn closed(events: &[PathEvent]) -> Vec<(PathId, PathClosed)> {
    let closed = |event: &PathEvent| match event {
        PathEvent::Closed { id, reason, .. } => Some((*id, *reason)),
        _ => None,
    };
    events.iter().filter_map(closed).collect()
}

/// The connection ids in what leaves one address.
fn ids_from(seen: &[Seen], from: SocketAddr) -> BTreeSet<Vec<u8>> {
    let data = seen.iter().filter(|seen| seen.from == from && kind(&seen.bytes) == DATA);
    data.map(|seen| seen.bytes[1..9].to_vec()).collect()
}

fn tell(duo: &mut Duo, side: Side, addresses: &[IpAddr]) {
    let (now, change) = (duo.web.pair.now(), NetworkChange::Addresses(addresses.to_vec()));
    endpoint(duo, side).network_changed(now, change);
}

fn endpoint(duo: &mut Duo, side: Side) -> &mut Endpoint {
    let node = match side {
        Side::Client => duo.web.pair.client,
        Side::Server => duo.web.pair.server,
    };
    &mut duo.web.pair.world.node_mut(node).endpoint
}

/// How long it takes until more arrives.
fn resumes(duo: &mut Duo, received: &Rc<RefCell<Received>>) -> Duration {
    let (start, before) = (duo.web.pair.now(), received.borrow().total());
    let more = |received: &Rc<RefCell<Received>>| received.borrow().total() > before;
    assert!(duo.web.pair.run_until(Duration::from_secs(10), |_| more(received)), "nothing arrives any more");
    duo.web.pair.now() - start
}

/// The one address that a connection uses is gone, and there is another one: through the same socket, or through another.
#[test]
fn path_whose_address_is_gone_goes_on_from_another_within_a_round_trip() {
    for seed in seeds(10) {
        for side in BOTH {
            for sender in BOTH {
                for sockets in [None, Some(vec![Socket::Any])] {
                    let (mut duo, received) = Duo::sending(seed, &forked(side), &config(), sender, 1 << 30);
                    if let Some(sockets) = &sockets {
                        duo.web.host_mut(end(side, 0)).sockets.clone_from(sockets);
                    }
                    duo.web.tell_network(end(side, 0));
                    duo.run(ms(500));
                    let seen = record(&mut duo.web.pair.world);
                    duo.run(ms(100));
                    duo.web.unplug(end(side, 0));
                    // What was sent before still arrives.
                    duo.run(ms(100));
                    let old = ids_from(&seen.borrow(), duo.web.address(end(side, 0)));
                    let told = duo.web.pair.now();
                    duo.web.tell_network(end(side, 0));
                    let gap = resumes(&mut duo, &received);
                    // The other side asks at the new address before it sends there: data, or word of what has arrived.
                    assert!(gap <= ROUND_TRIP * 5 / 2 + ms(10), "{side:?} moves, {sender:?} sends: {gap:?}");
                    duo.run(ms(1000));
                    let new_address = duo.web.address(end(side, 1));
                    let from_there = |seen: &&Seen| seen.from == new_address && kind(&seen.bytes) == DATA;
                    let first = seen.borrow().iter().find(from_there).map(|seen| seen.at);
                    assert_eq!(first, Some(told), "what can go goes at once");
                    let new = ids_from(&seen.borrow(), new_address);
                    assert!(!new.is_empty() && old.is_disjoint(&new), "{old:?} and {new:?}");
                    assert_eq!(duo.paths(side)[0].id, PathId::ZERO, "the same path");
                    let moved = duo.events(side);
                    assert!(matches!(moved[..], [.., PathEvent::Moved { .. }]), "{moved:?}");
                    duo.finish();
                }
            }
        }
    }
}

/// Of two paths one has lost its address: data is on the other one before anybody could miss it.
#[test]
fn path_from_an_address_that_is_gone_is_abandoned_where_there_is_another() {
    for seed in seeds(10) {
        for side in BOTH {
            for sender in BOTH {
                let (mut duo, received) = Duo::sending(
                    seed,
                    &Topology::parallel(&[narrow(), narrow()]),
                    &config(),
                    sender,
                    1 << 30,
                );
                let second = duo.open(Side::Client, 1, 1);
                duo.on(sender, |connection| connection.select_path(PathId::ZERO)).unwrap();
                duo.run(ms(500));
                BOTH.into_iter().for_each(|side| drop(duo.events(side)));
                duo.web.unplug(end(side, 0));
                let start = duo.web.pair.now();
                duo.web.tell_network(end(side, 0));
                duo.run(ms(1000));
                let gap = received.borrow().arrivals.longest_gap(start, duo.web.pair.now());
                // What was on its way goes again first, through a window that has yet to grow.
                assert!(gap <= ROUND_TRIP * 4, "{side:?} loses an address, {sender:?} sends: {gap:?}");
                assert_eq!(closed(&duo.events(side)), [(PathId::ZERO, PathClosed::AddressGone)]);
                let peers = (PathId::ZERO, PathClosed::Peer(ErrorCode::from(2u32)));
                assert_eq!(closed(&duo.events(other(side))), [peers]);
                for side in BOTH {
                    assert_eq!(duo.selected(side), second);
                }
                duo.finish();
            }
        }
    }
}

#[test]
fn path_is_left_when_all_addresses_are_gone_and_goes_on_from_the_first_new_one() {
    let new: SocketAddr = "10.77.0.1:1000".parse().unwrap();
    for seed in seeds(10) {
        for sender in BOTH {
            let (mut duo, received) =
                Duo::sending(seed, &Topology::parallel(&[narrow(), narrow()]), &config(), sender, 1 << 30);
            duo.open(Side::Client, 1, 1);
            duo.on(Side::Client, |connection| connection.select_path(PathId::ZERO)).unwrap();
            duo.run(ms(500));
            duo.events(Side::Client);
            [0, 1].into_iter().for_each(|number| duo.web.unplug(End::Client(number)));
            duo.web.tell_network(End::Client(0));
            duo.run(ms(2000));
            let left = duo.paths(Side::Client);
            assert_eq!(left.iter().map(|path| path.id).collect::<Vec<_>>(), [PathId::ZERO], "the one in use");
            duo.web.plug(End::Client(0));
            duo.web.renumber(End::Client(0), new);
            duo.web.tell_network(End::Client(0));
            let gap = resumes(&mut duo, &received);
            // After so long it goes again even if it had arrived.
            assert!(gap <= ROUND_TRIP * 6, "{sender:?} sends: {gap:?}");
            duo.run(ms(500));
            assert_eq!(duo.paths(Side::Server)[0].remote, new.into());
            duo.finish();
        }
    }
}

/// What the engine is not sure of it does not act on.
#[test]
fn path_is_kept_where_it_is_not_known_that_its_address_is_gone() {
    for side in BOTH {
        let mut duo = Duo::new(1, &parallel(2));
        let second = duo.open(Side::Client, 1, 1);
        let own = [0, 1].map(|number| duo.web.address(end(side, number)).ip());
        let open = |duo: &mut Duo| {
            duo.run(ms(1000));
            duo.paths(side).iter().filter(|path| path.state == PathState::Open).count()
        };
        duo.web.unplug(end(side, 1));
        let now = duo.web.pair.now();
        endpoint(&mut duo, side).network_changed(now, NetworkChange::Unspecified);
        assert_eq!(open(&mut duo), 2, "nobody has said which address");
        duo.web.plug(end(side, 1));
        tell(&mut duo, side, &own.map(|ip| if ip == own[0] { ip } else { mapped(ip) }));
        assert_eq!(open(&mut duo), 2, "the same address in another form");
        let many: Vec<IpAddr> =
            (0..1025u16).map(|n| IpAddr::from([10, 99, (n >> 8) as u8, n as u8])).collect();
        tell(&mut duo, side, &many);
        assert_eq!(open(&mut duo), 2, "too many to tell");
        tell(&mut duo, side, &[own[0]]);
        assert_eq!(open(&mut duo), 2, "an address that never was on a list");
        tell(&mut duo, side, &own);
        tell(&mut duo, side, &[own[0]]);
        assert_eq!(open(&mut duo), 1, "it was, and is not");
        assert_eq!(closed(&duo.events(side)), [(second, PathClosed::AddressGone)]);
        duo.finish();
    }
}

fn mapped(ip: IpAddr) -> IpAddr {
    let IpAddr::V4(v4) = ip else { panic!("{ip} is not IPv4") };
    v4.to_ipv6_mapped().into()
}

#[test]
fn path_through_a_socket_that_is_gone_fares_like_one_from_an_address_that_is() {
    for side in BOTH {
        let (mut duo, received) =
            Duo::sending(1, &Topology::mesh(2, 2, |_, _| Some(narrow())), &config(), side, 1 << 30);
        let second = duo.open(Side::Client, 1, 1);
        duo.on(side, |connection| connection.select_path(PathId::ZERO)).unwrap();
        duo.run(ms(300));
        let bound = [0, 1].map(|number| duo.web.address(end(side, number)));
        let sockets: [LocalSocket; 2] = core::array::from_fn(|n| LocalSocket::new(n as u16, bound[n]));
        let set = |duo: &mut Duo, sockets: &[LocalSocket]| {
            let now = duo.web.pair.now();
            endpoint(duo, side).set_sockets(now, sockets);
            duo.run(ms(500));
        };
        duo.events(side);
        duo.web.unplug(end(side, 0));
        set(&mut duo, &[sockets[1]]);
        assert_eq!(closed(&duo.events(side)), [(PathId::ZERO, PathClosed::AddressGone)]);
        assert_eq!(duo.selected(side), second);
        // One that comes makes nothing by itself, and the last path goes where a socket is.
        duo.web.plug(end(side, 0));
        set(&mut duo, &sockets);
        assert_eq!((duo.paths(side).len(), duo.events(side).len()), (1, 0));
        duo.web.unplug(end(side, 1));
        set(&mut duo, &sockets[..1]);
        assert_eq!(duo.paths(side)[0].local.socket, 0);
        let before = received.borrow().total();
        duo.run(ms(500));
        assert!(received.borrow().total() > before, "data goes on");
        duo.finish();
    }
}

#[test]
fn path_that_opens_from_an_address_that_is_gone_ends() {
    let mut duo = Duo::new(1, &parallel(2));
    duo.web.down(End::Server(1));
    let id = duo.try_open(Side::Client, 1, 1).unwrap();
    duo.run(ms(20));
    duo.web.unplug(End::Client(1));
    duo.web.tell_network(End::Client(1));
    duo.run(ms(20));
    assert_eq!(closed(&duo.events(Side::Client)), [(id, PathClosed::AddressGone)]);
    assert_eq!(duo.paths(Side::Client).len(), 1);
    duo.finish();
}

/// The scope of the peer's address says on which link it is, and nothing else does.
#[test]
fn path_on_a_link_keeps_its_scope_when_its_own_address_is_gone() {
    let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
    let topology = Topology {
        clients: ["[fe80::1%3]:1000", "[fe80::2%3]:1000"].map(parse).to_vec(),
        servers: vec![parse("[fe80::9%3]:2000")],
        links: vec![vec![Some(narrow())]; 2],
    };
    let (mut duo, received) = Duo::sending(1, &topology, &config(), Side::Client, 1 << 30);
    duo.web.unplug(End::Client(0));
    duo.web.tell_network(End::Client(0));
    assert!(resumes(&mut duo, &received) <= ROUND_TRIP);
    duo.run(ms(500));
    assert_eq!(duo.paths(Side::Client)[0].remote, topology.servers[0].into());
    assert_eq!(duo.paths(Side::Server)[0].remote, topology.clients[1].into());
    duo.finish();
}

#[test]
fn path_ids_and_memory_are_not_used_up_by_a_thousand_lists_of_addresses() {
    for changing in [false, true] {
        let (mut duo, received) =
            Duo::sending(1, &Topology::parallel(&[narrow(), narrow()]), &config(), Side::Client, 1 << 30);
        duo.open(Side::Client, 1, 1);
        let seen = record(&mut duo.web.pair.world);
        let own = [0, 1].map(|number| duo.web.address(End::Client(number)).ip());
        let further = |n: u16| IpAddr::from([10, 99, (n >> 8) as u8, n as u8]);
        duo.run(ms(1000));
        let before = duo.memory();
        for n in 0..1000 {
            let third = if changing { vec![further(n)] } else { Vec::new() };
            tell(&mut duo, Side::Client, &[&own[..], &third].concat());
            duo.run(ms(10));
        }
        duo.run(ms(2000));
        let after = duo.memory();
        assert!(
            after.iter().zip(before).all(|(after, before)| *after < before + before / 4),
            "{before:?} {after:?}"
        );
        // In ten seconds there are 50 rounds, each of which takes an id for each path if something has changed.
        let most = if changing { 60 } else { 1 };
        for number in 0..2 {
            let ids = ids_from(&seen.borrow(), duo.web.address(End::Client(number)));
            assert!(ids.len() <= most, "changing: {changing}, {} ids", ids.len());
        }
        assert!(received.borrow().total() > 0);
        assert_eq!(duo.paths(Side::Client).len(), 2);
        duo.finish();
    }
}

/// Whatever a connection is about, a report does it no harm.
#[test]
fn path_reports_in_every_state_do_no_harm() {
    let lists: [Option<Vec<IpAddr>>; 4] =
        [None, Some(Vec::new()), Some(vec![[10, 1, 0, 1].into()]), Some(vec![[10, 9, 9, 9].into()])];
    for step in 0..12 {
        for list in &lists {
            let settings: Config = config();
            let mut web =
                Web::with(1, &parallel(1), settings.clone(), settings, Sender::new(1, 3000), AcceptAll);
            let peer = Peer::Key(web.pair.server_key());
            let (now, remote) = (web.pair.now(), web.address(End::Server(0)));
            let client = web.pair.world.node_mut(web.pair.client);
            client.endpoint.connect(now, peer, ConnectOptions::new(remote, ALPN)).unwrap();
            for turn in 0..12 {
                if turn == 8 {
                    web.pair.world.node_mut(web.pair.client).close_all();
                }
                if turn == step {
                    for node in [web.pair.client, web.pair.server] {
                        let now = web.pair.now();
                        let change =
                            list.clone().map_or(NetworkChange::Unspecified, NetworkChange::Addresses);
                        let endpoint = &mut web.pair.world.node_mut(node).endpoint;
                        endpoint.network_changed(now, change);
                        endpoint.set_sockets(now, &[LocalSocket::new(0, "[::]:1".parse().unwrap())]);
                    }
                }
                web.pair.world.run_for(ms(10));
            }
            assert_eq!(web.pair.server().count(|event| *event == Event::Connected), 1, "at step {step}");
            web.pair.finish();
        }
    }
}

/// What a connection opens by itself leaves through sockets whose address is there, and a new one is made use of.
#[test]
fn path_to_spare_is_opened_when_another_address_comes() {
    let (receiver, _) = Receiver::new();
    let mut web = Web::with(
        1,
        &Topology::fan(&[narrow(), narrow()]),
        config(),
        config(),
        Sender::new(1, 1 << 30),
        receiver,
    );
    web.unplug(End::Client(1));
    web.tell_network(End::Client(1));
    let (client, _) = web.pair.connect();
    web.pair.world.run_for(Duration::from_secs(10));
    let sockets = |web: &mut Web| {
        web.pair.on_client(client, |connection| {
            connection.paths().map(|path| path.local.socket).collect::<Vec<_>>()
        })
    };
    assert_eq!(sockets(&mut web), [0], "there is one way only");
    web.plug(End::Client(1));
    web.tell_network(End::Client(1));
    web.pair.world.run_for(Duration::from_secs(10));
    assert_eq!(sockets(&mut web), [0, 1]);
    web.unplug(End::Client(0));
    web.tell_network(End::Client(0));
    web.pair.world.run_for(ms(500));
    assert_eq!(sockets(&mut web), [1]);
    web.pair.finish();
}

#[test]
fn path_no_dial_goes_to_an_address_that_the_host_has() {
    let mut web = Web::new(1, &parallel(1));
    web.host_mut(End::Client(0)).sockets = vec![Socket::Any];
    let own: SocketAddr = "10.1.0.1:1000".parse().unwrap();
    let now = web.pair.now();
    let endpoint = &mut web.host_mut(End::Client(0)).endpoint;
    endpoint.set_sockets(now, &[LocalSocket::new(0, "[::]:1000".parse().unwrap())]);
    let mut dial = |to: SocketAddr| endpoint.connect(now, Peer::AnyKey, ConnectOptions::new(to, ALPN));
    assert_eq!(dial(own), Err(dunlin_core::ConnectError::Address));
    assert!(dial("10.1.0.1:1001".parse().unwrap()).is_ok());
    web.pair.finish();
}

//! Hosts with several interfaces: which socket and address a packet arrives on and leaves from, and what a web of links
//! can do to them.

use core::net::SocketAddr;
use std::rc::Rc;

use core::cell::RefCell;

use dunlin_core::{ConnectionHandle, Duration, Event, Instant, NetworkChange};
use dunlin_sim::{
    AcceptAll, End, Filter, LinkConfig, MemoryMark, QueueLimit, Rate, Received, Receiver, Sender, Socket,
    Topology, Toward, Web, config, seeds,
};

use crate::common::{DATA, kind, ms, quick, record};

fn delayed(millis: u64) -> LinkConfig {
    LinkConfig { delay: ms(millis), ..LinkConfig::default() }
}

fn narrow(mbit: u32) -> LinkConfig {
    LinkConfig { rate: Some(Rate::mbit(mbit)), queue: QueueLimit::Bytes(100_000), ..quick() }
}

/// A web with `bytes` from the dialler to the answerer, and what will have arrived. The dialler keeps to its path.
fn upload(seed: u64, topology: &Topology, bytes: u64) -> (Web, Rc<RefCell<Received>>) {
    let (receiver, seen) = Receiver::new();
    let mut settings = config();
    settings.automatic_paths = false;
    let web = Web::with(seed, topology, settings, config(), Sender::new(1, bytes), receiver);
    (web, seen)
}

/// Which pairs of interfaces have carried something, in which direction.
fn used(web: &mut Web, clients: usize, servers: usize) -> Vec<(usize, usize, Toward)> {
    let mut used = Vec::new();
    for client in 0..clients {
        for server in 0..servers {
            for toward in Toward::BOTH {
                if web.carried(client, server, toward).packets > 0 {
                    used.push((client, server, toward));
                }
            }
        }
    }
    used
}

fn when_connected(web: &Web, handle: ConnectionHandle) -> Instant {
    web.pair.client().when(handle, &Event::Connected).expect("it is connected")
}

/// Nothing was sent that could not be.
fn assert_all_sent(web: &Web) {
    assert_eq!((web.pair.client().astray, web.pair.server().astray), (0, 0));
    assert_eq!(web.pair.world.stats().no_source, 0);
}

#[test]
fn path_answers_leave_from_the_socket_and_address_that_was_asked() {
    for server in 0..3 {
        let topology = Topology::mesh(2, 3, |i, j| Some(delayed(10 + 5 * i as u64 + j as u64)));
        let (mut web, seen) = upload(1, &topology, 300_000);
        web.pair.server_addr = web.address(End::Server(server));
        let (client, _) = web.pair.connect();
        assert_eq!(when_connected(&web, client), Instant::ZERO + 2 * ms(10 + server as u64));
        assert!(web.pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1));
        let expected = Toward::BOTH.map(|toward| (0, server, toward));
        assert_eq!(
            used(&mut web, 2, 3),
            expected,
            "a dial leaves from socket 0, answers from where they were asked"
        );
        assert_all_sent(&web);
        web.pair.finish();
    }
}

#[test]
fn path_one_socket_may_have_both_families() {
    let topology = Topology::mesh(2, 2, |_, _| Some(quick())).v6(End::Client(1)).v6(End::Server(1));
    for (server, shared) in [(0, [true, true]), (1, [true, true]), (0, [true, false]), (1, [true, false])] {
        let (mut web, seen) = upload(1, &topology, 100_000);
        for (node, shared) in [web.pair.client, web.pair.server].into_iter().zip(shared) {
            if shared {
                let host = web.pair.world.node_mut(node);
                host.sockets = vec![Socket::Any];
                host.tell_sockets(Instant::ZERO);
            }
        }
        web.pair.server_addr = web.address(End::Server(server));
        web.pair.connect();
        assert!(web.pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1));
        assert_eq!(used(&mut web, 2, 2), Toward::BOTH.map(|toward| (server, server, toward)));
        assert_all_sent(&web);
        web.pair.finish();
    }
}

/// Socket 0 is bound to an IPv4 address and cannot reach an IPv6 one: its packets are lost, and everything else goes on.
#[test]
fn path_a_socket_of_the_wrong_family_reaches_nobody() {
    let topology = Topology::parallel(&[quick(), quick()]).v6(End::Client(1)).v6(End::Server(1));
    let mut web = Web::new(1, &topology);
    web.pair.server_addr = web.address(End::Server(1));
    web.pair.dial();
    assert_eq!(web.pair.server_connection(Duration::from_secs(10)), None);
    assert!(web.pair.world.stats().no_source > 0);
    assert_eq!(web.pair.server().traffic.len(), 0);
    web.pair.finish();
}

/// As when an adapter has lost a socket: packets are lost, and the engine is none the worse for it.
#[test]
fn path_what_a_missing_socket_should_send_is_lost() {
    let (mut web, seen) = upload(1, &Topology::mesh(1, 2, |_, _| Some(narrow(20))), 10_000_000);
    web.pair.server_addr = web.address(End::Server(1));
    web.pair.connect();
    web.pair.world.run_for(ms(500));
    let server = web.pair.server;
    let lost = web.pair.world.node_mut(server).sockets.pop();
    let start = web.pair.now();
    web.pair.world.run_for(Duration::from_secs(2));
    assert!(seen.borrow().arrivals.longest_gap(start, web.pair.now()) > ms(1900), "it hears nothing");
    assert!(web.pair.server().astray > 0);
    web.pair.world.node_mut(server).sockets.extend(lost);
    assert!(web.pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1));
    web.pair.finish();
}

#[test]
fn path_every_pair_has_a_link_of_its_own_and_unjoined_ones_have_none() {
    let mut web = Web::new(1, &Topology::parallel(&[delayed(10), delayed(30)]));
    web.pair.server_addr = web.address(End::Server(1));
    web.pair.dial();
    assert_eq!(web.pair.server_connection(Duration::from_secs(10)), None);
    assert_eq!(used(&mut web, 2, 2), []);
    web.pair.server_addr = web.address(End::Server(0));
    let (client, _) = web.pair.connect();
    let since = web.pair.client().events.iter().filter(|(_, of, _)| *of == client).count();
    assert_eq!(since, 1, "connected, and nothing else");
    assert_eq!(used(&mut web, 2, 2), Toward::BOTH.map(|toward| (0, 0, toward)));
    web.pair.finish();
}

#[test]
fn path_an_interface_that_is_down_stalls_a_transfer_until_it_is_up() {
    for seed in seeds(5) {
        let (mut web, seen) = upload(seed, &Topology::fan(&[narrow(20), narrow(20)]), 20_000_000);
        web.pair.connect();
        web.pair.world.run_for(Duration::from_secs(1));
        for end in [End::Client(0), End::Server(0)] {
            let start = web.pair.now();
            web.down(end);
            web.pair.world.run_for(Duration::from_secs(2));
            // What was on the wire still came.
            let gap = seen.borrow().arrivals.longest_gap(start, web.pair.now());
            assert!(gap >= Duration::from_secs(2) - ms(100), "{end:?}: {gap:?}");
            let up = web.pair.now();
            web.up(end);
            web.pair.world.run_for(Duration::from_secs(4));
            let first = seen.borrow().arrivals.first_after(up).expect("it goes on");
            assert!(first < Duration::from_secs(4), "{end:?}: {first:?}");
        }
        assert!(web.pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1));
        assert_eq!(seen.borrow().total(), 20_000_000);
        assert_eq!(web.carried(1, 0, Toward::Server).packets, 0, "the other one is not used");
        web.pair.finish();
    }
}

#[test]
fn path_silence_has_a_direction() {
    for (end, toward) in [
        (End::Client(0), Toward::Server),
        (End::Client(0), Toward::Client),
        (End::Server(0), Toward::Server),
        (End::Server(0), Toward::Client),
    ] {
        let (mut web, seen) = upload(1, &Topology::fan(&[narrow(20)]), 10_000_000);
        web.pair.connect();
        web.pair.world.run_for(ms(500));
        web.silent(end, toward);
        web.pair.world.run_for(ms(100));
        let carried = |web: &mut Web| Toward::BOTH.map(|toward| web.carried(0, 0, toward).packets);
        let before = carried(&mut web);
        web.pair.world.run_for(Duration::from_secs(2));
        let after = carried(&mut web);
        assert_eq!(before[toward as usize], after[toward as usize], "{toward:?}");
        if toward == Toward::Client {
            let there = Toward::Server as usize;
            assert!(before[there] < after[there], "the sender asks");
        }
        web.up(end);
        assert!(web.pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1));
        web.pair.finish();
    }
}

#[test]
fn path_ways_are_cut_and_mended_one_by_one() {
    let mut web = Web::new(1, &Topology::mesh(1, 2, |_, _| Some(quick())));
    web.cut(0, 0, Toward::Client);
    web.pair.dial();
    assert_eq!(web.pair.server_connection(Duration::from_secs(3)), None);
    assert_eq!(used(&mut web, 1, 2), [(0, 0, Toward::Server)]);
    web.pair.server_addr = web.address(End::Server(1));
    web.pair.connect();
    // What is silent for two reasons needs both to go.
    web.pair.server_addr = web.address(End::Server(0));
    web.down(End::Server(0));
    web.mend(0, 0, Toward::Client);
    let before = web.carried(0, 0, Toward::Client).packets;
    web.pair.dial();
    web.pair.world.run_for(ms(100));
    assert_eq!(web.carried(0, 0, Toward::Client).packets, before);
    web.up(End::Server(0));
    web.pair.world.run_for(Duration::from_secs(2));
    assert!(web.carried(0, 0, Toward::Client).packets > before);
    web.pair.finish();
}

#[test]
fn path_filters_keep_out_by_size_and_by_kind() {
    for filter in [Filter::longer_than(600), Filter::packet_types(&[DATA])] {
        let (mut web, seen) = upload(1, &Topology::fan(&[narrow(20)]), 10_000_000);
        web.pair.connect();
        web.pair.world.run_for(ms(500));
        let start = web.pair.now();
        web.filter(End::Client(0), Some(&filter));
        web.pair.world.run_for(Duration::from_secs(3));
        let gap = seen.borrow().arrivals.longest_gap(start, web.pair.now());
        assert!(gap > Duration::from_secs(2), "{gap:?}");
        let now = web.pair.now();
        assert!(web.link(0, 0, Toward::Server).stats(now).dropped_filter.packets > 0);
        web.filter(End::Client(0), None);
        assert!(web.pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1));
        web.pair.finish();
    }
}

/// The dialler's network hands out another address. Its socket has all addresses, so that a report is enough for it to
/// send from the new one.
#[test]
fn path_an_interface_gets_another_address() {
    let new: SocketAddr = "10.77.0.1:1000".parse().unwrap();
    for socket in [Socket::Any, Socket::At("10.1.0.1:1000".parse().unwrap())] {
        let (mut web, _) = upload(1, &Topology::fan(&[narrow(20)]), 100_000_000);
        let client = web.pair.client;
        let host = web.pair.world.node_mut(client);
        host.sockets = vec![socket];
        host.tell_sockets(Instant::ZERO);
        web.pair.connect();
        web.pair.world.run_for(ms(500));
        let old = web.address(End::Client(0));
        web.renumber(End::Client(0), new);
        assert_eq!(web.address(End::Client(0)), new);
        let now = web.pair.now();
        let stuck = web.pair.client().astray + web.pair.world.stats().no_source;
        web.pair.world.node_mut(client).endpoint.network_changed(now, NetworkChange::Unspecified);
        let seen = record(&mut web.pair.world);
        web.pair.world.run_for(ms(200));
        assert!(web.pair.server().traffic.contains_key(&new), "over the links of the old one");
        let seen = seen.borrow();
        let mut data =
            seen.iter().filter(|seen| kind(&seen.bytes) == DATA && seen.from != web.pair.server_addr);
        assert!(data.all(|seen| seen.from == new), "{socket:?}");
        assert!(web.pair.world.stats().no_destination > 0, "what was under way to {old} is lost");
        assert_eq!(web.pair.client().astray + web.pair.world.stats().no_source, stuck);
        drop(seen);
        web.pair.finish();
    }
}

#[test]
fn path_an_address_that_is_gone_sends_and_hears_nothing() {
    let (mut web, seen) = upload(1, &Topology::fan(&[narrow(20)]), 10_000_000);
    web.pair.connect();
    web.pair.world.run_for(ms(500));
    web.unplug(End::Client(0));
    let start = web.pair.now();
    web.pair.world.run_for(Duration::from_secs(2));
    assert!(seen.borrow().arrivals.longest_gap(start, web.pair.now()) > ms(1900));
    let stats = web.pair.world.stats();
    assert!(stats.no_source > 0 && stats.no_destination > 0, "{stats:?}");
    web.plug(End::Client(0));
    assert!(web.pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1));
    web.pair.finish();
}

/// Ten transfers one after the other leave the memory of an idle connection as the first one left it.
#[test]
fn path_memory_is_flat_over_transfers() {
    let mut web = Web::with(1, &Topology::fan(&[quick()]), config(), config(), AcceptAll, Receiver::new().0);
    let (client, _) = web.pair.connect();
    let mut mark = None;
    for _ in 0..10 {
        web.pair.on_client(client, |connection| {
            let id = connection.open_uni().unwrap();
            let bytes: Vec<u8> = (0..10_000).map(|offset| dunlin_sim::pattern(id, offset)).collect();
            assert_eq!(connection.write(id, &bytes), Ok(10_000));
            connection.finish(id).unwrap();
        });
        web.pair.world.run_for(Duration::from_secs(1));
        mark.get_or_insert_with(|| MemoryMark::of(&web.pair.world)).assert_unchanged(&web.pair.world);
    }
    web.pair.finish();
}

#[test]
fn path_the_same_seed_gives_the_same_web() {
    let run = |seed| {
        let lossy = LinkConfig { loss: dunlin_sim::Loss::Random(dunlin_sim::Ppm::percent(5)), ..narrow(20) };
        let (mut web, seen) = upload(seed, &Topology::fan(&[lossy.clone(), lossy]), 1_000_000);
        web.pair.world.record_trace();
        web.pair.dial();
        web.pair.world.run_for(ms(300));
        web.silent(End::Client(0), Toward::Client);
        web.pair.world.run_for(ms(300));
        web.up(End::Client(0));
        assert!(web.pair.run_until(Duration::from_secs(60), |_| seen.borrow().finished == 1));
        let trace = web.pair.world.trace();
        web.pair.finish();
        trace
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

//! Dials of a peer with several addresses (docs/PROTOCOL.md, "The first flight").

use core::cell::RefCell;
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_core::{
    CloseReason, ConnectError, ConnectOptions, ConnectionHandle, Duration, Event, Instant, LocalSocket,
    NetworkChange, PathEvent, Peer, TransportAddr,
};
use dunlin_sim::{
    ALPN, AcceptAll, End, Filter, LinkConfig, Loss, Ppm, Received, Receiver, Sender, Topology, Toward, Web,
    config, seeds,
};

use crate::common::{
    DATA, INIT_KNOWN, INIT_KNOWN_REPLY, INIT_REPLY, Seen, at, kind, ms, patient, quick, record, trusting,
};

fn delayed(millis: u64) -> LinkConfig {
    LinkConfig { delay: ms(millis), ..LinkConfig::default() }
}

/// A dialler with one interface, and an answerer with one for each of these links.
pub(crate) fn spread(links: &[LinkConfig]) -> Topology {
    Topology::mesh(1, links.len(), |_, j| Some(links[j].clone()))
}

/// A web with `bytes` from the dialler to the answerer, and what will have arrived.
fn upload(seed: u64, links: &[LinkConfig], bytes: u64) -> (Web, Rc<RefCell<Received>>) {
    let (receiver, seen) = Receiver::new();
    let web = Web::with(seed, &spread(links), patient(), config(), Sender::new(1, bytes), receiver);
    (web, seen)
}

/// All addresses of the answerer, in their order.
pub(crate) fn all(web: &Web, servers: usize) -> ConnectOptions {
    let address = |n| web.address(End::Server(n));
    (1..servers).fold(ConnectOptions::new(address(0), ALPN), |options, n| options.also(address(n)))
}

pub(crate) fn dial(web: &mut Web, options: ConnectOptions) -> ConnectionHandle {
    try_dial(web, options).expect("the dial starts")
}

fn try_dial(web: &mut Web, options: ConnectOptions) -> Result<ConnectionHandle, ConnectError> {
    let (now, peer) = (web.pair.now(), Peer::Key(web.pair.server_key()));
    let client = web.pair.client;
    web.pair.world.node_mut(client).endpoint.connect(now, peer, options)
}

fn remote(web: &mut Web, client: ConnectionHandle) -> SocketAddr {
    match web.pair.on_client(client, |connection| connection.path().remote) {
        TransportAddr::Ip(remote) => remote,
        other => panic!("{other:?} is no IP address"),
    }
}

/// When and where copies of an Init went.
pub(crate) fn copies(seen: &RefCell<Vec<Seen>>) -> Vec<(u64, SocketAddr)> {
    let seen = seen.borrow();
    let inits = seen.iter().filter(|seen| kind(&seen.bytes) == INIT_KNOWN);
    inits.map(|seen| (seen.at.as_nanos() / 1_000_000, seen.to)).collect()
}

pub(crate) fn count_per_address(copies: &[(u64, SocketAddr)]) -> BTreeMap<SocketAddr, usize> {
    let mut counts = BTreeMap::new();
    for (_, to) in copies {
        *counts.entry(*to).or_default() += 1;
    }
    counts
}

#[test]
fn first_arrival_wins() {
    for quickest in 0..3 {
        let mut links = [delayed(60), delayed(50), delayed(40)];
        links[quickest] = delayed(20);
        let (mut web, seen) = upload(1, &links, 300_000);
        let options = all(&web, 3);
        let client = dial(&mut web, options);
        web.pair.world.run_for(ms(100));
        assert_eq!(web.pair.client().when(client, &Event::Connected), Some(at(40)));
        assert_eq!(remote(&mut web, client), web.address(End::Server(quickest)));
        // The copy that went there was answered by the first reply, and its round trip is known.
        let rtt = web.pair.on_client(client, |connection| connection.path().rtt.min());
        assert_eq!(rtt, ms(40));
        assert!(web.pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1));
        for other in (0..3).filter(|other| *other != quickest) {
            let there = web.carried(0, other, Toward::Server).packets;
            assert_eq!(there, 1, "the Init, and nothing else");
        }
        web.pair.finish();
    }
}

#[test]
fn a_dead_first_address_costs_no_wait() {
    for dead in [Toward::Server, Toward::Client] {
        let (mut web, seen) = upload(1, &[delayed(5), delayed(30)], 300_000);
        web.cut(0, 0, dead);
        let options = all(&web, 2);
        let client = dial(&mut web, options);
        assert!(web.pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1));
        assert_eq!(web.pair.client().when(client, &Event::Connected), Some(at(60)));
        assert_eq!(remote(&mut web, client), web.address(End::Server(1)));
        web.pair.finish();
    }
}

/// The best guess carries packets to the peer, and nothing back.
#[test]
fn a_one_way_best_guess_does_not_stall() {
    for seed in seeds(10) {
        let lossy = |millis| LinkConfig { loss: Loss::Random(Ppm::percent(10)), ..delayed(millis) };
        let (mut web, seen) = upload(seed, &[lossy(5), lossy(30)], 300_000);
        web.cut(0, 0, Toward::Client);
        let options = all(&web, 2);
        dial(&mut web, options);
        assert!(web.pair.run_until(Duration::from_secs(10), |_| seen.borrow().finished == 1));
        assert_eq!(seen.borrow().total(), 300_000);
        web.pair.finish();
    }
}

#[test]
fn eight_then_one_per_25_ms() {
    let mut web = Web::new(1, &spread(&vec![quick(); 12]));
    let seen = record(&mut web.pair.world);
    web.down(End::Client(0));
    let options = all(&web, 12);
    let client = dial(&mut web, options);
    web.pair.world.run_for(Duration::from_secs(6));
    assert_eq!(web.pair.client().closed(client), Some((at(5000), &CloseReason::NoAnswer)));
    let copies = copies(&seen);
    let first: Vec<_> =
        (0..12_u64).map(|n| (25 * n.saturating_sub(7), web.address(End::Server(n as usize)))).collect();
    assert_eq!(copies[..12], first);
    assert!(count_per_address(&copies).values().all(|count| (6..=7).contains(count)), "{copies:?}");
    let seen = seen.borrow();
    assert!(seen.iter().all(|copy| copy.bytes == seen[0].bytes), "the same bytes to everybody");
    drop(seen);
    web.pair.finish();
}

#[test]
fn three_copies_six_a_minute() {
    let mut web = Web::new(1, &spread(&[quick(), quick()]));
    let seen = record(&mut web.pair.world);
    web.down(End::Client(0));
    let (named, found) = (web.address(End::Server(0)), web.address(End::Server(1)));
    let options = ConnectOptions::new(named, ALPN).guess(found);
    for _ in 0..7 {
        dial(&mut web, options.clone());
        web.pair.world.run_for(Duration::from_secs(10));
    }
    let copies = copies(&seen);
    let at_found: Vec<u64> = copies.iter().filter(|(_, to)| *to == found).map(|(at, _)| *at).collect();
    assert_eq!(count_per_address(&copies)[&named], 7 * 7, "the application may ask as often as it likes");
    assert_eq!(at_found[..6], [0, 250, 750, 10_000, 10_250, 10_750]);
    for from in &at_found {
        let within = at_found.iter().filter(|at| (*from..from + 60_000).contains(at)).count();
        assert!(within <= 6, "{at_found:?}");
    }
    web.pair.finish();
}

#[test]
fn guesses_are_dialled_where_they_may_be() {
    let (mut web, seen) = upload(1, &[quick(), quick(), quick()], 300_000);
    web.down(End::Server(0));
    web.down(End::Server(1));
    let (first, second) = (web.address(End::Server(0)), web.address(End::Server(1)));
    let options = ConnectOptions::new(first, ALPN).guess(second).guess(web.address(End::Server(2)));
    let client = dial(&mut web, options);
    assert!(web.pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1));
    assert_eq!(web.pair.client().when(client, &Event::Connected), Some(at(40)));
    web.pair.finish();
}

#[test]
fn forbidden_addresses_need_a_name() {
    let never = [
        "0.0.0.0:4433",
        "[::]:4433",
        "224.0.0.1:4433",
        "[ff02::1]:4433",
        "255.255.255.255:4433",
        "10.9.9.9:0",
    ];
    let named_only = ["127.0.0.1:4433", "[::1]:4433", "169.254.9.9:4433", "10.9.9.9:53", "10.9.9.9:1023"];
    let fine = ["10.9.9.9:443", "10.9.9.9:1024"];
    let own = ["10.1.0.1:1000", "[::ffff:10.1.0.1]:1000", "127.0.0.1:1000"];
    let parse = |text: &&str| text.parse::<SocketAddr>().unwrap();
    for named in [false, true] {
        let mut web = Web::new(1, &spread(&[quick()]));
        let client = web.pair.client;
        let own_socket: SocketAddr = "0.0.0.0:1000".parse().unwrap();
        let sockets = [web.address(End::Client(0)), own_socket].map(|bound| LocalSocket::new(0, bound));
        web.pair.world.node_mut(client).endpoint.set_sockets(Instant::ZERO, &sockets);
        web.down(End::Client(0));
        let peer = web.address(End::Server(0));
        let everything = never.iter().chain(&named_only).chain(&fine).chain(&own).map(parse);
        let options = everything.fold(ConnectOptions::new(peer, ALPN), |options, addr| {
            if named { options.also(addr) } else { options.guess(addr) }
        });
        dial(&mut web, options);
        let mut asked = std::collections::BTreeSet::new();
        // The simulated socket has no address for some of them: look at what the engine wants.
        let mut train = Vec::new();
        let now = web.pair.now();
        let endpoint = &mut web.pair.world.node_mut(client).endpoint;
        for millis in 0..400 {
            while let Some(transmit) =
                endpoint.poll_transmit(now + ms(millis), dunlin_core::TrainLimit::SINGLE, &mut train)
            {
                let TransportAddr::Ip(to) = transmit.remote else { continue };
                asked.insert(to);
                train.clear();
            }
        }
        let named_only = named_only.iter().filter(|_| named);
        let expected = [peer].into_iter().chain(fine.iter().chain(named_only).map(parse)).collect();
        assert_eq!(asked, expected, "named: {named}");
        web.pair.finish();
    }
}

#[test]
fn what_leads_nowhere_is_not_dialled() {
    let mut web = Web::new(1, &spread(&[quick()]));
    let nowhere: SocketAddr = "0.0.0.0:1".parse().unwrap();
    let options = ConnectOptions::new(nowhere, ALPN)
        .also(nowhere)
        .guess("127.0.0.1:4433".parse::<SocketAddr>().unwrap());
    assert_eq!(try_dial(&mut web, options.clone()), Err(ConnectError::Address));
    let options = options.also(web.address(End::Server(0)));
    let client = dial(&mut web, options);
    assert!(web.pair.server_connection(Duration::from_secs(1)).is_some());
    assert!(web.pair.client().has(client, &Event::Connected));
    web.pair.finish();
}

#[test]
fn one_connection_only() {
    for seed in seeds(10) {
        let lossy = |millis| LinkConfig {
            loss: Loss::Random(Ppm::percent(20)),
            duplicate: Ppm::percent(10),
            ..delayed(millis)
        };
        let links: Vec<_> = (0..10).map(|n| lossy(10 + 3 * n)).collect();
        let (mut web, seen) = upload(seed, &links, 100_000);
        let options = all(&web, 10);
        dial(&mut web, options);
        assert!(web.pair.run_until(Duration::from_secs(30), |_| seen.borrow().finished == 1));
        web.pair.world.run_for(Duration::from_secs(5));
        for event in [Event::Incoming, Event::Connected] {
            assert_eq!(web.pair.server().count(|seen| *seen == event), 1, "{event:?}");
        }
        assert_eq!(web.pair.client().count(|event| *event == Event::Connected), 1);
        web.pair.finish();
    }
}

#[test]
fn replies_to_each_copy() {
    // All copies of the first burst come before the confirmation.
    let mut web = Web::new(1, &spread(&vec![quick(); 10]));
    let seen = record(&mut web.pair.world);
    let options = all(&web, 10);
    let client = dial(&mut web, options);
    web.pair.world.run_for(Duration::from_secs(1));
    assert!(web.pair.client().has(client, &Event::Connected));
    let seen = seen.borrow();
    let replies: Vec<&Seen> = seen.iter().filter(|seen| kind(&seen.bytes) == INIT_KNOWN_REPLY).collect();
    let mut from: Vec<SocketAddr> = replies.iter().map(|reply| reply.from).collect();
    from.sort();
    let expected: Vec<SocketAddr> = (0..9).map(|n| web.address(End::Server(n))).collect();
    assert_eq!(
        from, expected,
        "eight at once, and one that left after 25 ms; the tenth would have left after 50"
    );
    assert!(replies.iter().all(|reply| reply.bytes == replies[0].bytes));
    drop(seen);
    web.pair.finish();
}

/// The first address carries the handshake, and no Data at all or none in one direction.
#[test]
fn a_candidate_that_drops_data_is_left_while_unconfirmed() {
    for seed in seeds(5) {
        for silent in [None, Some(Toward::Server), Some(Toward::Client)] {
            for known in [true, false] {
                let (receiver, seen) = Receiver::new();
                let mut sender = Sender::new(1, 300_000);
                let app = move |now, endpoint: &mut dunlin_core::Endpoint, handle, event: &Event| {
                    trusting(now, endpoint, handle, event);
                    dunlin_sim::App::on_event(&mut sender, now, endpoint, handle, event);
                };
                // All copies come before the confirmation: those after it get no reply.
                let links = [delayed(10), delayed(25), delayed(20)];
                let mut web = Web::with(seed, &spread(&links), patient(), config(), app, receiver);
                let data = Filter::packet_types(&[DATA]);
                for toward in Toward::BOTH {
                    if silent.is_none_or(|silent| silent == toward) {
                        web.link(0, 0, toward).configure(|config| config.filter = Some(data.clone()));
                    }
                }
                // Nor does this one.
                web.filter(End::Server(2), Some(&data));
                let (now, options) = (web.pair.now(), all(&web, 3));
                let peer = if known { Peer::Key(web.pair.server_key()) } else { Peer::Unknown };
                let node = web.pair.client;
                let client = web.pair.world.node_mut(node).endpoint.connect(now, peer, options).unwrap();
                let mut events = web.pair.on_client(client, |connection| connection.subscribe_paths());
                let first = web.address(End::Server(0));
                let done = web.pair.run_until(Duration::from_secs(20), |_| seen.borrow().finished == 1);
                assert!(done, "{silent:?} {known}");
                assert_eq!(seen.borrow().total(), 300_000);
                assert_eq!(remote(&mut web, client), web.address(End::Server(1)));
                let events: Vec<PathEvent> = web.pair.on_client(client, |connection| {
                    core::iter::from_fn(|| connection.path_events(&mut events)).collect()
                });
                assert!(
                    matches!(&events[..], [
                        PathEvent::Opened { remote: opened, .. },
                        PathEvent::Moved { from, .. },
                    ] if *opened == first.into() && from.remote == first.into()),
                    "{events:?}"
                );
                let confirmed =
                    web.pair.server().events.iter().find(|(_, _, event)| *event == Event::Connected);
                let confirmed = confirmed.unwrap().0;
                assert!(confirmed < at(1000), "{silent:?} {known}: {confirmed:?}");
                web.pair.finish();
            }
        }
    }
}

/// Once the peer was heard, an address is not left for another by the rules of the first flight.
#[test]
fn a_confirmed_path_stays_where_it_is() {
    let (receiver, seen) = Receiver::new();
    let mut settings = patient();
    settings.automatic_paths = false;
    let links = [delayed(10), delayed(20)];
    let mut web = Web::with(1, &spread(&links), settings, config(), Sender::new(1, 10_000_000), receiver);
    let options = all(&web, 2);
    let client = dial(&mut web, options);
    web.pair.world.run_for(ms(300));
    let first = web.address(End::Server(0));
    assert_eq!(remote(&mut web, client), first);
    let before = web.carried(0, 1, Toward::Server).packets;
    web.down(End::Server(0));
    web.pair.world.run_for(Duration::from_secs(3));
    assert_eq!(remote(&mut web, client), first);
    assert_eq!(web.carried(0, 1, Toward::Server).packets, before);
    web.up(End::Server(0));
    assert!(web.pair.run_until(Duration::from_secs(20), |_| seen.borrow().finished == 1));
    web.pair.finish();
}

/// Who sees a reply can pass it on from anywhere, and be faster: the dial goes on where it began, and nobody else gets a byte.
#[test]
fn path_begins_where_it_was_dialled_whoever_passes_the_reply_on() {
    for known in [true, false] {
        let (mut web, seen) = upload(1, &[delayed(10)], 100_000);
        let stranger = SocketAddr::from(([203, 0, 113, 7], 7));
        let client_addr = web.pair.client_addr;
        web.pair.world.add_tap(move |passing| {
            if [INIT_KNOWN_REPLY, INIT_REPLY].contains(&kind(passing.bytes)) && passing.from != stranger {
                let (from, to, bytes) = (stranger, client_addr, passing.bytes.clone());
                passing.inject(dunlin_sim::Injection { after: ms(1), from, to, ecn: None, bytes });
            }
            dunlin_sim::Verdict::Pass
        });
        let client = if known { web.pair.dial() } else { web.pair.dial_as(Peer::AnyKey) };
        assert!(web.pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1));
        web.pair.world.run_for(Duration::from_secs(1));
        assert_eq!(remote(&mut web, client), web.address(End::Server(0)));
        assert_eq!(web.pair.client().traffic.get(&stranger).map_or(0, |traffic| traffic.1), 0);
        web.pair.finish();
    }
}

/// A reply from an address that was not dialled, or with other bytes, is nobody's word that data can go there.
#[test]
fn only_dialled_addresses_with_the_same_reply_are_tried() {
    let (mut web, seen) = upload(1, &[delayed(10), delayed(20)], 100_000);
    let stranger = SocketAddr::from(([203, 0, 113, 7], 7));
    let (client_addr, good) = (web.pair.client_addr, web.address(End::Server(1)));
    web.filter(End::Server(0), Some(&Filter::packet_types(&[DATA])));
    web.pair.world.add_tap(move |passing| {
        if kind(passing.bytes) == INIT_KNOWN_REPLY {
            let mut forged = passing.bytes.clone();
            let copy = |from, bytes| dunlin_sim::Injection {
                after: ms(15),
                from,
                to: client_addr,
                ecn: None,
                bytes,
            };
            passing.inject(copy(stranger, forged.clone()));
            forged[50] ^= 1;
            passing.inject(copy(good, forged));
            if passing.from == good {
                return dunlin_sim::Verdict::Drop;
            }
        }
        dunlin_sim::Verdict::Pass
    });
    let options = all(&web, 2);
    dial(&mut web, options);
    web.pair.world.run_for(Duration::from_secs(5));
    assert_eq!(seen.borrow().total(), 0);
    assert!(
        !web.pair.client().traffic.contains_key(&stranger) || web.pair.client().traffic[&stranger].1 == 0
    );
    assert_eq!(web.carried(0, 1, Toward::Server).packets, 1, "the Init");
    web.pair.finish();
}

#[test]
fn a_change_of_the_network_dials_all_of_them_again() {
    let (mut web, seen) = upload(1, &[delayed(10), delayed(20)], 100_000);
    web.down(End::Client(0));
    let options = all(&web, 2);
    let client = dial(&mut web, options);
    web.pair.world.run_for(ms(1000));
    web.up(End::Client(0));
    let (now, node) = (web.pair.now(), web.pair.client);
    web.pair.world.node_mut(node).endpoint.network_changed(now, NetworkChange::Unspecified);
    assert!(web.pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1));
    assert_eq!(web.pair.client().when(client, &Event::Connected), Some(at(1020)));
    web.pair.finish();
}

#[test]
fn qotp_dials_one_address() {
    let mut web =
        Web::with(1, &spread(&[quick()]), config(), config().accept_qotp(true), AcceptAll, AcceptAll);
    let address = web.address(End::Server(0));
    let (now, node) = (web.pair.now(), web.pair.client);
    let endpoint = &mut web.pair.world.node_mut(node).endpoint;
    for options in [ConnectOptions::qotp(address).also(address), ConnectOptions::qotp(address).guess(address)]
    {
        assert_eq!(endpoint.connect(now, Peer::AnyKey, options), Err(ConnectError::OneAddress));
    }
    web.pair.finish();
}

//! Paths that a dialler opens and closes by itself (docs/PROTOCOL.md, "Paths that are kept").

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    AddressSource, Config, ConnectOptions, ConnectionHandle, Duration, LocalAddr, PathClosed, PathCursor,
    PathEvent, PathStats, TransportAddr, Tuple,
};
use dunlin_sim::{
    ALPN, AcceptAll, End, LinkConfig, Rate, Received, Receiver, Sender, Topology, Toward, Web, config, seeds,
};

use crate::common::{line, ms, quick};
use crate::duo::fan;
use crate::path_dial::{all, dial, spread};

const ENDLESS: u64 = 1 << 32;

/// A connection of a dialler that knows several addresses of its peer.
struct Kept {
    web: Web,
    client: ConnectionHandle,
    cursor: PathCursor,
}

impl Kept {
    fn dial(mut web: Web, options: ConnectOptions) -> Self {
        let client = dial(&mut web, options);
        let cursor = web.pair.on_client(client, |connection| connection.subscribe_paths());
        web.pair.world.run_for(ms(500));
        Self { web, client, cursor }
    }

    /// The first address is dialled, and the others are told of. Data flows from the dialler.
    fn uploading(seed: u64, links: &[LinkConfig], settings: Config) -> (Self, Rc<RefCell<Received>>) {
        let (receiver, received) = Receiver::new();
        let web = Web::with(seed, &spread(links), settings, config(), Sender::new(1, ENDLESS), receiver);
        let options = all(&web, 1);
        let mut kept = Self::dial(web, options);
        for n in 1..links.len() {
            let address = kept.server(n);
            kept.add_address(address, AddressSource::Application);
        }
        (kept, received)
    }

    /// All addresses are dialled, and nothing is said.
    fn idle(links: &[LinkConfig]) -> Self {
        let web = Web::with(1, &spread(links), config(), config(), AcceptAll, AcceptAll);
        let options = all(&web, links.len());
        Self::dial(web, options)
    }

    fn add_address(&mut self, address: SocketAddr, source: AddressSource) {
        let (now, key, node) = (self.web.pair.now(), self.web.pair.server_key(), self.web.pair.client);
        let way = Tuple { local: LocalAddr::default(), remote: TransportAddr::Ip(address) };
        self.web.pair.world.node_mut(node).endpoint.add_address(now, &key, way, source).unwrap();
    }

    fn run(&mut self, span: Duration) {
        self.web.pair.world.run_for(span);
    }

    /// Which of the peer's interfaces have an open path, by the order of ids.
    fn hosts(&mut self) -> Vec<SocketAddr> {
        let ip = |path: PathStats| match path.remote {
            TransportAddr::Ip(addr) => addr,
            other => panic!("{other:?}"),
        };
        self.web.pair.on_client(self.client, |connection| connection.paths().map(ip).collect())
    }

    fn server(&self, n: usize) -> SocketAddr {
        self.web.address(End::Server(n))
    }

    fn events(&mut self) -> Vec<PathEvent> {
        let mut cursor = self.cursor.clone();
        let events = self.web.pair.on_client(self.client, |connection| {
            core::iter::from_fn(|| connection.path_events(&mut cursor)).collect()
        });
        self.cursor = cursor;
        events
    }

    /// Where data goes.
    fn remote(&mut self) -> SocketAddr {
        match self.web.pair.on_client(self.client, |connection| connection.path().remote) {
            TransportAddr::Ip(addr) => addr,
            other => panic!("{other:?}"),
        }
    }

    fn pto(&mut self) -> Duration {
        self.web.pair.on_client(self.client, |connection| connection.path().rtt.pto(ms(25)))
    }

    fn say_something(&mut self) {
        self.web.pair.on_client(self.client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, b"something").unwrap();
            connection.finish(id).unwrap();
        });
    }
}

/// 10 Mbit/s, and so many milliseconds there and back.
fn slow(round_trip: u64) -> LinkConfig {
    LinkConfig { delay: ms(round_trip / 2), rate: Some(Rate::mbit(10)), ..line() }
}

#[test]
fn path_to_spare_is_there_after_five_seconds_and_taken_when_it_is_needed() {
    for seed in seeds(3) {
        let (mut kept, received) = Kept::uploading(seed, &[slow(20), slow(20), slow(20)], config());
        kept.run(ms(4000));
        assert_eq!(kept.hosts(), [kept.server(0)]);
        kept.run(ms(1500));
        assert_eq!(kept.hosts(), [kept.server(0), kept.server(1)]);
        kept.web.down(End::Server(0));
        let from = kept.web.pair.now();
        kept.run(ms(5000));
        let gap = received.borrow().arrivals.longest_gap(from, kept.web.pair.now());
        assert!(gap < ms(300), "{gap:?}");
        // And again there is one to spare.
        kept.run(ms(20_000));
        assert_eq!(kept.hosts(), [kept.server(1), kept.server(2)]);
        kept.web.pair.finish();
    }
}

#[test]
fn path_in_need_is_opened_at_the_first_probe_timeout() {
    for seed in seeds(3) {
        let (mut kept, received) = Kept::uploading(seed, &[slow(20), slow(20)], config());
        kept.run(ms(2000));
        kept.web.down(End::Server(0));
        let (from, pto) = (kept.web.pair.now(), kept.pto());
        kept.run(ms(3000));
        let gap = received.borrow().arrivals.longest_gap(from, kept.web.pair.now());
        // To ask and to be answered takes a round trip; what is under way goes again a probe timeout later.
        assert!(gap < pto * 2 + 4 * ms(20), "{gap:?}, probe timeout {pto:?}");
        kept.web.pair.finish();
    }
}

#[test]
fn path_is_sought_until_there_is_one() {
    let (mut kept, received) = Kept::uploading(1, &[slow(20), slow(20), slow(20)], config());
    kept.run(ms(6000));
    (0..3).for_each(|n| kept.web.down(End::Server(n)));
    kept.run(ms(40_000));
    kept.web.up(End::Server(2));
    let from = kept.web.pair.now();
    kept.run(ms(3000));
    let gap = received.borrow().arrivals.longest_gap(from, kept.web.pair.now());
    assert!(gap < ms(2300), "{gap:?}");
    kept.web.pair.finish();
}

/// The answer to a question that was asked again after a long silence says how long the way is, and not the silence.
#[test]
fn path_that_was_sought_for_long_is_measured_by_its_last_question() {
    for pause in [3_000, 9_000, 20_000, 20_700] {
        let (mut kept, _) = Kept::uploading(1, &[slow(20), slow(20)], config());
        kept.run(ms(2000));
        (0..2).for_each(|n| kept.web.down(End::Server(n)));
        kept.run(ms(pause));
        kept.web.up(End::Server(1));
        let back = kept.web.pair.now();
        while kept.remote() != kept.server(1) {
            kept.run(ms(10));
            assert!(kept.web.pair.now() < back + ms(2500), "{pause}");
        }
        let rtt = kept.web.pair.on_client(kept.client, |connection| connection.path().rtt.smoothed());
        assert!(rtt <= ms(333), "{pause}: {rtt:?}");
        kept.web.pair.finish();
    }
}

/// Where data has gone on elsewhere, the path of the handshake is one too many when the connection rests.
#[test]
fn path_of_the_handshake_goes_at_rest_when_another_one_is_better() {
    let (receiver, _) = Receiver::new();
    let links = [slow(60), slow(10)];
    let web = Web::with(1, &spread(&links), config(), config(), Sender::new(1, 20_000_000), receiver);
    let options = all(&web, 1);
    let mut kept = Kept::dial(web, options);
    let better = kept.server(1);
    kept.add_address(better, AddressSource::Application);
    kept.run(ms(15_000));
    assert_eq!(kept.remote(), better);
    assert_eq!(kept.hosts().len(), 2);
    kept.run(ms(110_000));
    assert_eq!(kept.hosts(), [better]);
    kept.web.pair.finish();
}

/// The application opens the second way by hand: then there are two to choose from.
#[test]
fn path_to_an_address_at_which_the_peer_was_met_is_opened_again() {
    let web = Web::with(1, &spread(&[quick(), quick()]), config(), config(), AcceptAll, AcceptAll);
    let options = all(&web, 1);
    let mut kept = Kept::dial(web, options);
    let other = kept.server(1);
    kept.run(ms(1500));
    kept.web.pair.on_client(kept.client, |connection| connection.open_path(other, None).unwrap());
    kept.run(ms(1000));
    kept.web.down(End::Server(1));
    kept.run(ms(30_000));
    assert_eq!(kept.hosts(), [kept.server(0)], "it is silent");
    kept.web.up(End::Server(1));
    for _ in 0..8 {
        kept.say_something();
        kept.run(ms(10_000));
    }
    assert_eq!(kept.hosts(), [kept.server(0), other]);
    kept.web.pair.finish();
}

#[test]
fn path_to_spare_goes_when_the_connection_rests_and_comes_back_with_it() {
    let mut kept = Kept::idle(&[quick(), quick()]);
    kept.run(ms(6000));
    assert_eq!(kept.hosts().len(), 2, "it has just begun");
    kept.run(ms(80_000));
    assert_eq!(kept.hosts(), [kept.server(0)]);
    let closed = kept.events().into_iter().any(|event| {
        matches!(event, PathEvent::Closed { reason: PathClosed::Unneeded, stats, .. } if stats.rtt.smoothed() < ms(50))
    });
    assert!(closed);
    let before = kept.web.carried(0, 1, Toward::Server).packets;
    kept.run(ms(5000));
    kept.say_something();
    kept.run(ms(4000));
    assert_eq!(kept.web.carried(0, 1, Toward::Server).packets, before, "nothing more than that");
    kept.run(ms(2000));
    assert_eq!(kept.hosts(), [kept.server(0), kept.server(1)]);
    kept.web.pair.finish();
}

#[test]
fn path_that_is_better_is_found_within_a_minute_and_what_is_not_needed_any_more_is_closed() {
    let (mut kept, _) = Kept::uploading(1, &[slow(60), slow(80), slow(10)], config());
    kept.run(ms(7000));
    assert_eq!(kept.hosts(), [kept.server(0), kept.server(1)]);
    kept.run(ms(63_000));
    assert_eq!(kept.remote(), kept.server(2));
    kept.run(ms(22_000));
    assert_eq!(kept.hosts(), [kept.server(0), kept.server(2)], "the dialled one is the application's own");
    let tried = kept.web.carried(0, 1, Toward::Server).packets;
    kept.run(ms(300_000));
    assert_eq!(kept.web.carried(0, 1, Toward::Server).packets, tried, "it is known to be worse");
    assert_eq!(kept.remote(), kept.server(2));
    kept.web.pair.finish();
}

#[test]
fn path_that_the_application_closes_is_not_opened_again_and_its_own_are_not_closed() {
    let mut kept = Kept::idle(&[quick(), quick(), quick()]);
    kept.run(ms(6000));
    let spare = kept.server(1);
    assert_eq!(kept.hosts(), [kept.server(0), spare]);
    kept.web.pair.on_client(kept.client, |connection| {
        let id = connection.paths().find(|path| path.remote == TransportAddr::Ip(spare)).unwrap().id;
        connection.close_path(id).unwrap();
    });
    kept.run(ms(10_000));
    assert_eq!(kept.hosts(), [kept.server(0), kept.server(2)], "another one, then");
    kept.web.pair.on_client(kept.client, |connection| connection.open_path(spare, None).unwrap());
    kept.run(ms(80_000));
    assert_eq!(kept.hosts(), [kept.server(0), spare]);
    kept.web.pair.finish();
}

#[test]
fn path_to_an_address_told_of_later_is_opened() {
    for source in [AddressSource::Application, AddressSource::Lookup] {
        let web = Web::with(1, &spread(&[quick(), quick()]), config(), config(), AcceptAll, AcceptAll);
        let options = ConnectOptions::new(web.address(End::Server(0)), ALPN);
        let mut kept = Kept::dial(web, options);
        kept.run(ms(10_000));
        assert_eq!(kept.hosts(), [kept.server(0)]);
        let addresses = [kept.server(1), "127.0.0.1:4433".parse().unwrap()];
        addresses.into_iter().for_each(|address| kept.add_address(address, source));
        kept.say_something();
        kept.run(ms(6000));
        assert_eq!(kept.hosts(), [kept.server(0), kept.server(1)], "{source:?}");
        kept.web.pair.finish();
    }
}

#[test]
fn path_of_a_connection_that_is_to_have_one_only_stays_alone() {
    let alone = |settings: &dyn Fn(&mut Config)| {
        let mut config = config();
        settings(&mut config);
        let (mut kept, _) = Kept::uploading(1, &[slow(20), slow(20)], config);
        kept.run(ms(10_000));
        assert_eq!(kept.hosts(), [kept.server(0)]);
        kept.web.pair.finish();
    };
    alone(&|config| config.automatic_paths = false);
    alone(&|config| config.max_paths = 1);
}

/// Which paths are there is the dialler's business: two who see to it would do everything twice.
#[test]
fn path_to_spare_is_not_opened_by_the_answerer() {
    let mut settings = config();
    settings.automatic_paths = false;
    let web =
        Web::with(1, &Topology::parallel(&[quick(), quick()]), settings, config(), AcceptAll, AcceptAll);
    let options = all(&web, 1);
    let mut kept = Kept::dial(web, options);
    let (now, node, key) = (kept.web.pair.now(), kept.web.pair.server, kept.web.pair.client_key());
    let remote = TransportAddr::Ip(kept.web.address(End::Client(1)));
    let way = Tuple { local: LocalAddr { socket: 1, ip: None }, remote };
    let endpoint = &mut kept.web.pair.world.node_mut(node).endpoint;
    endpoint.add_address(now, &key, way, AddressSource::Application).unwrap();
    kept.say_something();
    kept.run(ms(30_000));
    assert_eq!(kept.hosts(), [kept.server(0)]);
    kept.web.pair.finish();
}

/// The answerer has one address, and both sockets of the dialler reach it.
#[test]
fn path_to_spare_leaves_through_another_socket() {
    let web = Web::with(1, &fan(3), config(), config(), AcceptAll, AcceptAll);
    let options = all(&web, 1);
    let mut kept = Kept::dial(web, options);
    kept.say_something();
    kept.run(ms(6000));
    let sockets: Vec<u16> = kept
        .web
        .pair
        .on_client(kept.client, |connection| connection.paths().map(|path| path.local.socket).collect());
    assert_eq!(sockets, [0, 1]);
    kept.web.pair.finish();
}

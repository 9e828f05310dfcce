//! MTU discovery: what the path carries is found, followed when it changes, and never given up for loss alone.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    Config, ConnectionHandle, DatagramError, Direction, Duration, Endpoint, Event, Instant, LocalAddr,
    PathStats, TrainLimit, Tuple,
};
use dunlin_sim::{
    AcceptAll, LinkConfig, Loss, Pair, Ppm, Received, Receiver, Sender, accept_incoming, config, seeds,
};

use crate::common::{drop_if, drop_while, line, ms, quick, record};

/// Settings that look for up to `max` bytes.
fn probing(max: u16) -> Config {
    let mut config = config();
    config.mtu_discovery.max = max;
    config
}

/// A transfer of `bytes` from the dialler, or to it.
struct Transfer {
    pair: Pair,
    seen: Rc<RefCell<Received>>,
    upload: bool,
}

impl Transfer {
    fn new(seed: u64, link: LinkConfig, max: u16, bytes: u64, upload: bool) -> Self {
        let (receiver, seen) = Receiver::new();
        let sender = Sender::new(1, bytes);
        let mut pair = if upload {
            Pair::with(seed, link, probing(max), probing(max), sender, receiver)
        } else {
            Pair::with(seed, link, probing(max), probing(max), receiver, sender)
        };
        pair.dial();
        Self { pair, seen, upload }
    }

    /// Another MTU from now on, both ways.
    fn set_mtu(&mut self, mtu: usize) {
        for (from, to) in
            [(self.pair.client_addr, self.pair.server_addr), (self.pair.server_addr, self.pair.client_addr)]
        {
            let link = self.pair.world.link_between(from, to);
            self.pair.world.link_mut(link).configure(|config| config.mtu = Some(mtu));
        }
    }

    fn sender(&self) -> ConnectionHandle {
        let host = if self.upload { self.pair.client() } else { self.pair.server() };
        host.events.iter().find(|(_, _, event)| *event == Event::Connected).expect("it is connected").1
    }

    fn path(&mut self) -> PathStats {
        let sender = self.sender();
        let on = |connection: &mut dunlin_core::Connection<'_>| connection.path();
        if self.upload { self.pair.on_client(sender, on) } else { self.pair.on_server(sender, on) }
    }

    fn stats(&mut self) -> dunlin_core::ConnectionStats {
        let sender = self.sender();
        let on = |connection: &mut dunlin_core::Connection<'_>| connection.stats();
        if self.upload { self.pair.on_client(sender, on) } else { self.pair.on_server(sender, on) }
    }

    fn run(&mut self, span: Duration) {
        self.pair.world.run_for(span);
    }
}

fn link(mtu: usize) -> LinkConfig {
    LinkConfig { mtu: Some(mtu), ..line() }
}

#[test]
fn what_the_path_carries_is_found_in_both_directions() {
    for upload in [true, false] {
        for (mtu, max) in
            [(1500, 1452), (1452, 1452), (1400, 1452), (1300, 1452), (1280, 1452), (1200, 1452), (9000, 9000)]
        {
            let mut transfer = Transfer::new(1, link(mtu), max, 100 << 20, upload);
            transfer.run(Duration::from_secs(2));
            let path = transfer.path();
            let truth = u16::try_from(mtu).unwrap().min(max);
            assert!(path.mtu <= truth && truth - path.mtu <= 20, "{} of {truth}", path.mtu);
            assert_eq!((path.packet_size, path.black_holes), (path.mtu, 0));
            let stats = transfer.stats();
            assert_eq!((stats.packets_lost, stats.bytes_retransmitted), (0, 0), "probes lost are no loss");
            transfer.pair.finish();
        }
    }
}

#[test]
fn jumbo_and_loopback_sizes_are_found_in_few_probes() {
    for (max, mtu, most) in [(9000, 8972, 24), (65_000, 65_000, 1), (65_000, 1472, 40)] {
        let link = LinkConfig { delay: ms(1), mtu: Some(mtu), ..LinkConfig::default() };
        let mut transfer = Transfer::new(1, link, max, 100 << 20, true);
        transfer.run(Duration::from_secs(3));
        let path = transfer.path();
        assert!(usize::from(path.mtu) * 64 >= mtu * 62, "{} of {mtu}", path.mtu);
        assert!(path.mtu_probes_sent <= most, "{path:?}");
        transfer.pair.finish();
    }
}

#[test]
fn probes_do_not_slow_the_sender() {
    // With every probe lost, and without any.
    let run = |max| {
        let mut transfer = Transfer::new(1, link(1200), max, 100 << 20, true);
        transfer.run(Duration::from_secs(2));
        let (path, stats) = (transfer.path(), transfer.stats());
        let total = transfer.seen.borrow().total();
        transfer.pair.finish();
        (path, stats, total)
    };
    let ((with, stats, more), (without, _, less)) = (run(1452), run(1200));
    assert_eq!((without.mtu_probes_sent, with.mtu_probes_sent, with.mtu_probes_lost), (0, 15, 15));
    assert_eq!((stats.packets_lost, stats.probe_timeouts), (0, 0));
    assert!(more * 100 > less * 99, "{more} bytes with probes, {less} without");
    assert!(with.congestion.window * 10 >= without.congestion.window * 9, "{with:?} {without:?}");
}

#[test]
fn a_probe_is_alone_in_its_transmit_and_says_nothing_but_ping() {
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(1, line(), probing(1452), probing(1452), Sender::new(1, 100_000), receiver);
    let sent = record(&mut pair.world);
    pair.dial();
    assert!(pair.run_until(Duration::from_secs(2), |_| seen.borrow().finished == 1));
    let from = pair.client_addr;
    let first = sent.borrow().iter().position(|seen| seen.from == from && seen.bytes.len() > 1200).unwrap();
    assert_eq!(sent.borrow()[first].bytes.len(), 1452);
    let until_acked = sent.borrow()[first].at + ms(20);
    assert!(
        sent.borrow()[first + 1..]
            .iter()
            .filter(|seen| seen.from == from && seen.at < until_acked)
            .all(|seen| seen.bytes.len() <= 1200),
        "one at a time"
    );
    pair.finish();
}

#[test]
fn small_messages_and_silence_send_no_probes() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    for _ in 0..50 {
        pair.on_client(client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &[7; 500]).unwrap();
            connection.finish(id).unwrap();
        });
        pair.world.run_for(ms(100));
    }
    for path in [
        pair.on_client(client, |connection| connection.path()),
        pair.on_server(server, |connection| connection.path()),
    ] {
        assert_eq!((path.mtu_probes_sent, path.mtu), (0, 1200));
    }
    pair.finish();
}

/// How long a transfer takes to get going again after the MTU dropped from `before` to `after`, in probe timeouts.
fn drop_mtu(seed: u64, delay: Duration, (before, after): (usize, usize), upload: bool) {
    let what = format!("seed {seed:#x}: {before} to {after} after {delay:?}, upload: {upload}");
    let link = LinkConfig { delay, ..link(before) };
    let max = u16::try_from(before).unwrap();
    let mut transfer = Transfer::new(seed, link, max, 1 << 30, upload);
    transfer.run(Duration::from_secs(3) + ms(seed % 200));
    assert_eq!(usize::from(transfer.path().mtu), before, "{what}");
    transfer.set_mtu(after);
    // What is on the wire already still arrives, with the queue in front of it.
    let path = transfer.path();
    let pto = path.rtt.pto(ms(25));
    let dropped = transfer.pair.now();
    transfer.run(path.rtt.smoothed());
    let stuck = transfer.seen.borrow().total();
    let seen = Rc::clone(&transfer.seen);
    assert!(transfer.pair.run_until(Duration::from_secs(10), |_| seen.borrow().total() > stuck), "{what}");
    let wait = transfer.pair.now() - dropped;
    assert!(wait <= pto * 3, "{what}: {wait:?}, {pto:?} each");
    // And then at speed, in packets as large as they can be.
    transfer.run(Duration::from_secs(3));
    let path = transfer.path();
    let total = transfer.seen.borrow().total();
    assert_eq!(path.black_holes, 1, "{what}");
    assert!(
        usize::from(path.mtu) <= after && after - usize::from(path.mtu) <= 20.max(after / 64),
        "{what}: {path:?}"
    );
    transfer.run(Duration::from_secs(2));
    let moved = transfer.seen.borrow().total() - total;
    assert!(moved > 18_000_000, "{what}: {moved} bytes in 2 s at 100 Mbit/s");
    transfer.pair.finish();
}

#[test]
fn a_drop_in_mid_transfer_is_repaired_within_three_probe_timeouts() {
    for seed in seeds(2) {
        for (delay, upload) in [(2, true), (10, false), (50, true), (50, false)] {
            drop_mtu(seed, ms(delay), (1452, 1280), upload);
        }
    }
    for after in [1200, 1440] {
        drop_mtu(1, ms(10), (1452, after), true);
    }
    drop_mtu(1, ms(10), (8952, 1452), true);
}

#[test]
fn a_larger_size_is_looked_for_again_after_the_interval() {
    let mut settings = probing(1452);
    settings.mtu_discovery.interval = Duration::from_secs(20);
    let (receiver, _) = Receiver::new();
    let mut pair = Pair::with(1, link(1300), settings.clone(), settings, Sender::new(1, 1 << 30), receiver);
    let client = pair.dial();
    pair.world.run_for(Duration::from_secs(5));
    let (to, from) = (pair.server_addr, pair.client_addr);
    let link = pair.world.link_between(from, to);
    pair.world.link_mut(link).configure(|config| config.mtu = None);
    pair.world.run_for(Duration::from_secs(10));
    assert!(pair.on_client(client, |connection| connection.path().mtu) <= 1300);
    pair.world.run_for(Duration::from_secs(7));
    assert_eq!(pair.on_client(client, |connection| connection.path().mtu), 1452);
    pair.finish();
}

/// Sends a message of 1,400 bytes every so often.
fn chatter(every: Duration, bytes: usize) -> impl dunlin_sim::App {
    struct Chatter(Duration, usize, Option<(ConnectionHandle, dunlin_core::StreamId)>, Option<Instant>);
    impl dunlin_sim::App for Chatter {
        fn on_event(
            &mut self,
            now: Instant,
            endpoint: &mut Endpoint,
            handle: ConnectionHandle,
            event: &Event,
        ) {
            accept_incoming(now, endpoint, handle, event);
            if *event == Event::Connected {
                let mut connection = endpoint.connection(handle).expect("it stands");
                self.2 = Some((handle, connection.open(Direction::Unidirectional).expect("a stream")));
                self.3 = Some(now);
            }
        }
        fn on_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
            self.3 = Some(now + self.0);
            let Some((handle, id)) = self.2 else { return };
            let Some(mut connection) = endpoint.connection(handle) else { return };
            let _ = connection.write(id, &vec![7; self.1]);
        }
        fn timeout(&self) -> Option<Instant> {
            self.3
        }
    }
    Chatter(every, bytes, None, None)
}

/// Reads everything, whatever it is.
fn drain(now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
    accept_incoming(now, endpoint, handle, event);
    let Some(mut connection) = endpoint.connection(handle) else { return };
    let id = match event {
        Event::StreamOpened(direction) => connection.accept(*direction),
        Event::Readable(id) => Some(*id),
        _ => None,
    };
    while let Some(id) = id
        && matches!(connection.read_chunk(id, usize::MAX), Ok(Some(_)))
    {}
}

#[test]
fn fifteen_percent_of_loss_for_ten_minutes_is_no_black_hole() {
    for seed in seeds(2) {
        // A slow bulk transfer; and full packets now and then, each of which raises a doubt if it is lost.
        let lossy = LinkConfig {
            loss: Loss::Random(Ppm::percent(15)),
            rate: Some(dunlin_sim::Rate::mbit(2)),
            ..line()
        };
        let mut transfer = Transfer::new(seed, lossy.clone(), 1452, 1 << 30, true);
        let mut sparse = Pair::with(seed, lossy, probing(1452), config(), chatter(ms(100), 2800), drain);
        let handle = sparse.dial();
        transfer.run(Duration::from_secs(20));
        sparse.world.run_for(Duration::from_secs(20));
        for _ in 0..580 {
            transfer.run(Duration::from_secs(1));
            sparse.world.run_for(Duration::from_secs(1));
            for path in [transfer.path(), sparse.on_client(handle, |connection| connection.path())] {
                assert_eq!((path.mtu, path.black_holes), (1452, 0), "seed {seed:#x}: {path:?}");
            }
        }
        assert!(transfer.seen.borrow().total() > 50_000_000, "{}", transfer.seen.borrow().total());
        transfer.pair.finish();
        sparse.finish();
    }
}

#[test]
fn an_outage_is_no_black_hole() {
    for seed in seeds(3) {
        for dark in [100, 1000, 10_000] {
            let mut transfer = Transfer::new(seed, line(), 1452, 1 << 30, true);
            transfer.run(Duration::from_secs(2));
            let off = drop_while(&mut transfer.pair.world, |_| true);
            transfer.run(ms(dark));
            off.set(false);
            transfer.run(Duration::from_secs(4));
            let path = transfer.path();
            assert_eq!((path.mtu, path.packet_size, path.black_holes), (1452, 1452, 0), "dark for {dark} ms");
            transfer.pair.finish();
        }
    }
}

#[test]
fn datagrams_may_be_as_long_as_the_path_carries() {
    let mut pair = Pair::with(1, link(1400), probing(1452), probing(1452), AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    pair.world.run_for(ms(200));
    let before = pair.on_client(client, |connection| connection.max_datagram()).unwrap();
    assert!((1160..1200).contains(&before), "{before}");
    // One that is too long makes the search begin.
    let refused = pair.on_client(client, |connection| connection.send_datagram(&[1; 1300]));
    assert_eq!(refused, Err(DatagramError::TooLarge { max: before }));
    pair.world.run_for(Duration::from_secs(2));
    let max = pair.on_client(client, |connection| connection.max_datagram()).unwrap();
    assert!((1345..1400).contains(&max), "{max}");
    pair.on_client(client, |connection| connection.send_datagram(&vec![1; max])).unwrap();
    pair.world.run_for(ms(200));
    let mut read = Vec::new();
    assert_eq!(pair.on_server(server, |connection| connection.read_datagram(&mut read)), Some(max));
    // The other side has its own path to look for.
    assert_eq!(pair.on_server(server, |connection| connection.path().mtu), 1200);
    pair.finish();
}

/// While the largest size is tested, stream data goes in smaller packets and datagrams still count on it: the pacer waits
/// for the one or for the other, and the world notices if it does not know for which.
#[test]
fn a_paced_sender_with_datagrams_waits_for_packets_of_their_size() {
    for max in [1452, 9000] {
        let link = LinkConfig { rate: Some(dunlin_sim::Rate::mbit(2)), ..link(max.into()) };
        let mut transfer = Transfer::new(1, link, max, 100 << 20, true);
        transfer.run(Duration::from_secs(4));
        assert_eq!(transfer.path().packet_size, max);
        transfer.set_mtu(1300);
        let sender = transfer.sender();
        let mut tested = 0;
        for _ in 0..2000 {
            transfer.pair.on_client(sender, |connection| connection.send_datagram(&[7; 300])).unwrap();
            transfer.run(ms(1));
            let path = transfer.path();
            tested += u32::from(path.packet_size < path.mtu);
        }
        assert!(tested > 100, "{tested} ms of doubt");
        transfer.pair.finish();
    }
}

#[test]
fn what_the_own_system_refuses_is_known_at_once() {
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(1, line(), probing(9000), probing(9000), Sender::new(1, 1 << 30), receiver);
    // An interface that takes 1,472 bytes, and an adapter that says so.
    let refused = Rc::new(RefCell::new(Vec::new()));
    let (log, from) = (Rc::clone(&refused), pair.client_addr);
    drop_if(&mut pair.world, move |passing| {
        let refuse = passing.from == from && passing.bytes.len() > 1472;
        if refuse {
            log.borrow_mut().push(passing.bytes.len());
        }
        refuse
    });
    let handle = pair.dial();
    let ends = Tuple { local: LocalAddr::default(), remote: pair.server_addr.into() };
    for _ in 0..3000 {
        pair.world.run_for(ms(1));
        let now = pair.now();
        for size in refused.borrow_mut().drain(..) {
            pair.world.node_mut(pair.client).endpoint.datagram_too_large(now, handle, ends, size);
        }
    }
    let path = pair.on_client(handle, |connection| connection.path());
    assert!((1452..=1472).contains(&path.mtu), "{path:?}");
    // Seven sizes are refused, none of them twice, and the rest is confirmed.
    assert!(path.mtu_probes_sent <= 12 && path.mtu_probes_lost == 0, "{path:?}");
    // The interface takes less: data that was under way in larger packets goes again in smaller ones.
    let total = seen.borrow().total();
    let now = pair.now();
    pair.world.node_mut(pair.client).endpoint.datagram_too_large(now, handle, ends, usize::from(path.mtu));
    let after = pair.on_client(handle, |connection| connection.path());
    assert_eq!((after.mtu, after.packet_size), (1200, 1200));
    pair.world.run_for(Duration::from_secs(1));
    assert!(seen.borrow().total() > total + 9_000_000);
    // What goes elsewhere is another path's.
    let elsewhere = Tuple { remote: "192.0.2.1:443".parse::<SocketAddr>().unwrap().into(), ..ends };
    // Nonsense changes nothing.
    let before = pair.on_client(handle, |connection| connection.path().mtu);
    let endpoint = &mut pair.world.node_mut(pair.client).endpoint;
    for size in [0, 1200, 60_000, usize::MAX] {
        endpoint.datagram_too_large(now, handle, ends, size);
        endpoint.datagram_too_large(now, handle, elsewhere, 1300);
    }
    assert_eq!(pair.on_client(handle, |connection| connection.path().mtu), before);
    pair.finish();
}

#[test]
fn a_train_says_whose_it_is() {
    let mut pair = Pair::new(1, quick());
    let handle = pair.dial();
    let (mut out, now) = (Vec::new(), pair.now());
    let endpoint = &mut pair.world.node_mut(pair.client).endpoint;
    let transmit = endpoint.poll_transmit(now, TrainLimit::OFFLOAD, &mut out).unwrap();
    assert_eq!((transmit.connection, transmit.len), (handle, 1200));
    pair.finish();
}

#[test]
fn qotp_connections_send_no_probes() {
    let (receiver, seen) = Receiver::new();
    let mut answerer = config().accept_qotp(true);
    answerer.mtu_discovery.max = 9000;
    let dialler = answerer.clone();
    let mut pair =
        Pair::with(1, line(), dialler, answerer, Sender::new(1, 1 << 20).bidirectional(), receiver);
    let client = pair.dial_qotp(true);
    pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1);
    let path = pair.on_client(client, |connection| connection.path());
    assert_eq!((path.mtu, path.packet_size, path.mtu_probes_sent), (1400, 1400, 0));
    pair.finish();
}

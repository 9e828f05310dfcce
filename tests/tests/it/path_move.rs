//! A peer that goes on at another address is followed there, in the middle of whatever is under way (docs/PROTOCOL.md,
//! "Moving to another address").

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    CongestionPhase, ConnectionHandle, Duration, Endpoint, Event, Instant, LocalAddr, PathStats, TrainLimit,
    TransportAddr,
};
use dunlin_sim::{AcceptAll, App, Both, Injection, Pair, Received, Receiver, Sender, Verdict, config, seeds};

use crate::common::{DATA, drop_while, kind, ms, quick, record, trusting};

/// The round trip of the NAT's line.
const RTT: Duration = ms(20);
/// What an application may notice of a move: the way of the first packet from the new address, a round trip for the
/// question, the way of what was lost, and a delayed acknowledgement.
const GAP: Duration = ms(2 * 20 + 30);

/// An address that a NAT shows.
pub(crate) fn mapped(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], port))
}

/// Shows a host under another address, which may be changed: what goes to an earlier one is lost. 20 Mbit/s and 10 ms each
/// way, with a queue of 250 kB.
pub(crate) fn behind_nat(pair: &mut Pair, inside: SocketAddr) -> Rc<Nat> {
    behind_lossy_nat(pair, inside, 0)
}

/// The same, with so many of 100 packets lost each way.
fn behind_lossy_nat(pair: &mut Pair, inside: SocketAddr, percent: u64) -> Rc<Nat> {
    let nat = Rc::new(Nat { outside: Cell::new(mapped(1)), dark: Cell::new(false) });
    let (here, mut free) = (Rc::clone(&nat), [Instant::ZERO; 2]);
    let mut rng = pair.world.rng(7);
    pair.world.add_tap(move |passing| {
        let (from, to, way) = if passing.from == inside {
            (here.outside.get(), passing.to, 0)
        } else if passing.to == here.outside.get() && !here.dark.get() {
            (passing.from, inside, 1)
        } else {
            return Verdict::Drop;
        };
        let bytes = passing.bytes.clone();
        let sent = free[way].max(passing.now) + Duration::from_nanos(bytes.len() as u64 * 400);
        if sent - passing.now < ms(100) && rng.below(100) >= percent {
            free[way] = sent;
            passing.inject(Injection {
                after: sent + ms(10) - passing.now,
                from,
                to,
                ecn: passing.ecn,
                bytes,
            });
        }
        Verdict::Drop
    });
    nat
}

/// A NAT of one host.
pub(crate) struct Nat {
    /// The address that it shows.
    pub(crate) outside: Cell<SocketAddr>,
    /// Whether nothing passes to the host.
    dark: Cell<bool>,
}

/// Which way data goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Up,
    Down,
    Both,
}

const WAYS: [Way; 3] = [Way::Up, Way::Down, Way::Both];
/// What goes there, in bytes: about a second and a half's worth.
const BYTES: u64 = 4_000_000;

/// A transfer through a NAT in front of one side.
struct Transfer {
    pair: Pair,
    client: ConnectionHandle,
    server: ConnectionHandle,
    nat: Rc<Nat>,
    /// What the server and the client receive.
    seen: [Rc<RefCell<Received>>; 2],
    way: Way,
}

/// An application that sends, or receives, or both.
fn app(sends: bool, receives: bool) -> (Box<dyn App>, Rc<RefCell<Received>>) {
    let (receiver, seen) = Receiver::new();
    let sender = Sender::new(usize::from(sends), BYTES);
    let app: Box<dyn App> = if receives { Box::new(Both(sender, receiver)) } else { Box::new(sender) };
    (app, seen)
}

/// A boxed application.
struct Boxed(Box<dyn App>);

impl App for Boxed {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
        self.0.on_event(now, endpoint, handle, event);
    }
}

impl Transfer {
    /// Begins one; `client_moves` says who is behind the NAT.
    fn begin(seed: u64, way: Way, client_moves: bool) -> Self {
        Self::through(seed, way, client_moves, 0)
    }

    /// The same, with so many of 100 packets lost each way. Then both sides speak now and again, for who has heard the last
    /// of what it hears has nothing to say.
    fn through(seed: u64, way: Way, client_moves: bool, loss: u64) -> Self {
        let (client_app, at_client) = app(way != Way::Down, way != Way::Up);
        let (server_app, at_server) = app(way != Way::Up, way != Way::Down);
        let mut settings = config();
        settings.keep_alive = (loss > 0).then_some(ms(200));
        let mut pair =
            Pair::with(seed, quick(), settings.clone(), settings, Boxed(client_app), Boxed(server_app));
        let inside = if client_moves { pair.client_addr } else { pair.server_addr };
        let nat = behind_lossy_nat(&mut pair, inside, loss);
        if !client_moves {
            pair.server_addr = nat.outside.get();
        }
        let client = pair.dial();
        let server = pair.server_connection(Duration::from_secs(5)).expect("it connects");
        pair.world.run_for(ms(500 + seed % 100));
        Self { pair, client, server, nat, seen: [at_server, at_client], way }
    }

    /// The NAT forgets its mapping: from now on it shows `to`.
    fn remap(&mut self, to: SocketAddr) {
        self.nat.outside.set(to);
    }

    fn path(&mut self, at_server: bool) -> PathStats {
        if at_server {
            self.pair.on_server(self.server, |connection| connection.path())
        } else {
            self.pair.on_client(self.client, |connection| connection.path())
        }
    }

    fn totals(&self) -> [u64; 2] {
        [0, 1].map(|side| self.seen[side].borrow().total())
    }

    /// Runs until all is there, and says what the longest time was in which a side that expects data got none.
    fn longest_gap(&mut self) -> Duration {
        let mut last = [self.pair.now(); 2];
        let (mut totals, mut longest) = (self.totals(), Duration::ZERO);
        let expects = [self.way != Way::Down, self.way != Way::Up];
        while !self.is_done() {
            self.pair.world.run_for(ms(1));
            let (now, new) = (self.pair.now(), self.totals());
            for side in [0, 1] {
                if new[side] > totals[side] || !expects[side] || new[side] == BYTES {
                    last[side] = now;
                }
                longest = longest.max(now - last[side]);
            }
            totals = new;
            assert!(longest < Duration::from_secs(20), "it never goes on");
        }
        longest
    }

    fn is_done(&self) -> bool {
        let whole = |side: usize| self.seen[side].borrow().finished == 1;
        (self.way == Way::Down || whole(0)) && (self.way == Way::Up || whole(1))
    }
}

#[test]
fn a_nat_rebinding_is_followed() {
    for seed in seeds(5) {
        for way in WAYS {
            let mut transfer = Transfer::begin(seed, way, true);
            transfer.remap(mapped(2));
            let gap = transfer.longest_gap();
            assert!(gap <= GAP, "{way:?}: {gap:?}");
            assert_eq!(transfer.path(true).remote, TransportAddr::Ip(mapped(2)));
            transfer.pair.finish();
        }
    }
}

/// The NAT forgets in a pause, and whoever receives has acknowledged all that it has.
#[test]
fn a_nat_rebinding_between_two_packets_is_followed() {
    for seed in seeds(5) {
        for way in WAYS {
            for client_moves in [true, false] {
                let mut transfer = Transfer::begin(seed, way, client_moves);
                // What would reach the one behind the NAT is lost from now on, until nothing is left to acknowledge.
                transfer.nat.dark.set(true);
                transfer.pair.world.run_for(ms(60));
                transfer.nat.dark.set(false);
                transfer.remap(mapped(2));
                let gap = transfer.longest_gap();
                // A probe timeout until somebody asks, and the rest as usual.
                assert!(gap <= ms(60) + GAP, "{way:?}, {client_moves}: {gap:?}");
                assert_eq!(transfer.path(client_moves).remote, TransportAddr::Ip(mapped(2)));
                transfer.pair.finish();
            }
        }
    }
}

#[test]
fn server_changes_its_address() {
    for seed in seeds(5) {
        for way in WAYS {
            for to in [mapped(2), SocketAddr::from(([203, 0, 113, 9], 1))] {
                let mut transfer = Transfer::begin(seed, way, false);
                transfer.remap(to);
                let gap = transfer.longest_gap();
                assert!(gap <= GAP, "{way:?} to {to}: {gap:?}");
                assert_eq!(transfer.path(false).remote, TransportAddr::Ip(to));
                transfer.pair.finish();
            }
        }
    }
}

#[test]
fn a_nat_that_changes_its_mind_again_and_again_is_followed() {
    for way in WAYS {
        let mut transfer = Transfer::begin(1, way, true);
        for port in 2..8 {
            transfer.remap(mapped(port));
            transfer.pair.world.run_for(ms(120));
            assert_eq!(transfer.path(true).remote, TransportAddr::Ip(mapped(port)), "{way:?}");
        }
        let gap = transfer.longest_gap();
        assert!(gap <= GAP, "{way:?}: {gap:?}");
        transfer.pair.finish();
    }
}

/// Whatever is lost, questions and answers too, and however often it changes.
#[test]
fn a_restless_nat_on_a_bad_line_loses_nothing() {
    for seed in seeds(20) {
        for way in WAYS {
            for client_moves in [true, false] {
                let mut transfer = Transfer::through(seed, way, client_moves, 5);
                let mut rng = transfer.pair.world.rng(8);
                for port in 2..12 {
                    transfer.remap(mapped(port));
                    transfer.pair.world.run_for(ms(1 + rng.below(600)));
                }
                transfer.longest_gap();
                // The last word may have been lost: with the next one the path is where the peer is.
                transfer.pair.world.run_for(Duration::from_secs(5));
                assert_eq!(transfer.path(client_moves).remote, TransportAddr::Ip(mapped(11)));
                transfer.pair.finish();
            }
        }
    }
}

/// The server after its client was seen elsewhere, when it has just followed.
fn moved(to: SocketAddr) -> (Transfer, PathStats, PathStats) {
    let mut transfer = Transfer::begin(1, Way::Down, true);
    let before = transfer.path(true);
    transfer.remap(to);
    let (server, handle) = (transfer.pair.server, transfer.server);
    let followed = transfer.pair.run_until(ms(200), |world| {
        let connection = world.node_mut(server).endpoint.connection(handle);
        connection.is_some_and(|connection| connection.path().remote == TransportAddr::Ip(to))
    });
    assert!(followed);
    let after = transfer.path(true);
    (transfer, before, after)
}

#[test]
fn port_change_keeps_congestion() {
    let (mut transfer, before, after) = moved(mapped(2));
    assert!(before.mtu > config().packet_size, "MTU discovery has found something: {before:?}");
    assert_eq!((after.mtu, after.rtt.is_measured()), (before.mtu, true));
    let bandwidth = after.congestion.bandwidth;
    assert!(bandwidth >= before.congestion.bandwidth * 9 / 10, "{bandwidth} after {before:?}");
    let start = transfer.totals()[1];
    transfer.pair.world.run_for(ms(500));
    let bytes = transfer.totals()[1] - start;
    assert!(bytes > 2_500_000 / 2 * 9 / 10, "{bytes} bytes in half a second of 20 Mbit/s");
    transfer.longest_gap();
    transfer.pair.finish();
}

#[test]
fn address_change_resets_it() {
    let (mut transfer, before, after) = moved(SocketAddr::from(([203, 0, 113, 9], 1)));
    assert!(before.mtu > config().packet_size, "MTU discovery has found something: {before:?}");
    assert_eq!((after.mtu, after.rtt.is_measured()), (config().packet_size, false));
    assert_eq!((after.congestion.phase, after.congestion.bandwidth), (CongestionPhase::Startup, 0));
    assert!(after.mtu_probes_sent >= before.mtu_probes_sent, "counters go on");
    transfer.pair.world.run_for(ms(500));
    let again = transfer.path(true);
    assert!(again.rtt.min() >= RTT && again.rtt.min() < RTT * 2, "{again:?}");
    assert_eq!(again.mtu, before.mtu);
    transfer.longest_gap();
    transfer.pair.finish();
}

/// Until the confirming packet has come, and until the application trusts who has answered, there is nothing to move.
#[test]
fn an_unconfirmed_connection_does_not_move() {
    let mut pair = Pair::with(1, quick(), config(), config(), trusting, AcceptAll);
    let inside = pair.client_addr;
    let sent = record(&mut pair.world);
    let lost = drop_while(&mut pair.world, |passing| kind(passing.bytes) == DATA);
    let nat = behind_nat(&mut pair, inside);
    pair.dial();
    pair.world.run_for(ms(300));
    nat.outside.set(mapped(2));
    pair.world.run_for(ms(300));
    assert!(!pair.server().traffic.contains_key(&mapped(2)), "no Data has come, so nothing goes there");
    lost.set(false);
    let server = pair.server_connection(Duration::from_secs(3)).expect("it connects in the end");
    // It began there: that is no move, but an address of which nothing is known.
    let remote = pair.on_server(server, |connection| connection.path().remote);
    assert_eq!(remote, TransportAddr::Ip(mapped(2)));
    pair.world.run_for(ms(200));
    assert!(sent.borrow().iter().all(|seen| seen.to != mapped(1) || kind(&seen.bytes) != DATA));
    pair.finish();
}

#[test]
fn who_is_not_trusted_yet_is_not_followed() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let inside = pair.server_addr;
    let nat = behind_nat(&mut pair, inside);
    pair.server_addr = nat.outside.get();
    let client = pair.dial_as(dunlin_core::Peer::Unknown);
    let server = pair.server_connection(Duration::from_secs(1)).expect("it connects");
    pair.world.run_for(ms(200));
    nat.outside.set(mapped(2));
    let speak = |pair: &mut Pair| {
        pair.on_server(server, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, b"here I am").unwrap();
        });
        pair.world.run_for(ms(300));
    };
    speak(&mut pair);
    assert_eq!(pair.client().traffic[&mapped(2)].1, 0);
    pair.on_client(client, |connection| connection.trust());
    speak(&mut pair);
    let remote = pair.on_client(client, |connection| connection.path().remote);
    assert_eq!(remote, TransportAddr::Ip(mapped(2)));
    pair.finish();
}

/// A host with several addresses answers from the one that was spoken to, and goes on from there.
#[test]
fn another_local_address_is_answered_from() {
    let other = SocketAddr::from(([10, 0, 0, 3], 2000));
    let mut pair = Pair::new(1, quick());
    let (client, server) = pair.connect();
    pair.world.run_for(ms(200));
    let (from, node) = (pair.client_addr, pair.server);
    pair.world.add_address(node, other);
    pair.world.add_tap(move |passing| {
        if passing.from != from {
            return Verdict::Pass;
        }
        let bytes = passing.bytes.clone();
        passing.inject(Injection { after: ms(20), from, to: other, ecn: None, bytes });
        Verdict::Drop
    });
    let spoken_to = LocalAddr { socket: 0, ip: Some(other.ip()) };
    // Where the server sends from when it has heard `bytes` from there.
    let sources = |pair: &mut Pair| {
        pair.on_server(server, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, b"from here").unwrap();
        });
        let (now, mut out, mut sources) = (pair.now(), Vec::new(), Vec::new());
        let endpoint = &mut pair.world.node_mut(node).endpoint;
        while let Some(transmit) = endpoint.poll_transmit(now, TrainLimit::SINGLE, &mut out) {
            sources.push(transmit.local);
        }
        sources
    };
    assert!(sources(&mut pair).iter().all(|local| *local != spoken_to));
    pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, b"anybody there?").unwrap();
    });
    pair.world.run_for(ms(300));
    let sources = sources(&mut pair);
    assert!(!sources.is_empty() && sources.iter().all(|local| *local == spoken_to), "{sources:?}");
    pair.finish();
}

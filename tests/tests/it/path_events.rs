//! What applications hear of their connection's path.

use core::net::SocketAddr;

use dunlin_core::{
    ConnectionHandle, Duration, ErrorCode, Event, NetworkChange, PathClosed, PathCursor, PathEvent, PathId,
    TransportAddr, Tuple,
};
use dunlin_sim::{AcceptAll, Pair, config, seeds};

use crate::common::{ms, quick};
use crate::path_move::{behind_nat, mapped};

/// A connection with a subscriber on each side.
struct Watched {
    pair: Pair,
    client: ConnectionHandle,
    server: ConnectionHandle,
    at_client: PathCursor,
    at_server: PathCursor,
}

impl Watched {
    /// Makes one of a pair that may have been tampered with.
    fn connect(mut pair: Pair) -> Self {
        let (client, server) = pair.connect();
        pair.world.run_for(ms(200));
        let at_client = pair.on_client(client, |connection| connection.subscribe_paths());
        let at_server = pair.on_server(server, |connection| connection.subscribe_paths());
        Self { pair, client, server, at_client, at_server }
    }

    /// The client says something and is answered.
    fn speak(&mut self) {
        self.pair.on_client(self.client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, b"hello").unwrap();
            connection.finish(id).unwrap();
        });
        self.pair.world.run_for(ms(300));
    }

    fn client_events(&mut self) -> Vec<PathEvent> {
        let cursor = &mut self.at_client;
        self.pair.on_client(self.client, |connection| {
            core::iter::from_fn(|| connection.path_events(cursor)).collect()
        })
    }

    fn server_events(&mut self) -> Vec<PathEvent> {
        let cursor = &mut self.at_server;
        self.pair.on_server(self.server, |connection| {
            core::iter::from_fn(|| connection.path_events(cursor)).collect()
        })
    }

    fn remote_at_server(&mut self) -> TransportAddr {
        self.pair.on_server(self.server, |connection| connection.path().remote)
    }
}

/// The ends of the one move among `events`.
fn one_move(events: &[PathEvent]) -> (Tuple, Tuple) {
    match events {
        [PathEvent::Moved { id: PathId::ZERO, from, to }] => (*from, *to),
        _ => panic!("not one move: {events:?}"),
    }
}

fn ip(addr: SocketAddr) -> TransportAddr {
    TransportAddr::Ip(addr)
}

#[test]
fn path_events_a_nat_rebinding_is_one_move_for_who_sees_it() {
    for seed in seeds(5) {
        let mut pair = Pair::new(seed, quick());
        let inside = pair.client_addr;
        let nat = behind_nat(&mut pair, inside);
        let mut watched = Watched::connect(pair);
        nat.outside.set(mapped(2));
        for _ in 0..5 {
            watched.speak();
        }
        let (from, to) = one_move(&watched.server_events());
        assert_eq!((from.remote, to.remote), (ip(mapped(1)), ip(mapped(2))));
        assert_eq!(from.local, to.local);
        assert_eq!(watched.client_events(), [], "who is behind the NAT does not see it");
        assert_eq!(watched.pair.server().count(|event| *event == Event::Path), 1);
        assert_eq!(watched.pair.client().count(|event| *event == Event::Path), 0);
        watched.pair.finish();
    }
}

#[test]
fn path_events_an_address_of_ours_is_one_move_on_both_sides() {
    let mut watched = Watched::connect(Pair::new(1, quick()));
    let (old, new) = (watched.pair.client_addr, SocketAddr::from(([10, 9, 9, 9], 7)));
    watched.pair.world.change_address(old, new);
    let (now, client) = (watched.pair.now(), watched.pair.client);
    watched.pair.world.node_mut(client).endpoint.network_changed(now, NetworkChange::Unspecified);
    for _ in 0..3 {
        watched.speak();
    }
    let (from, to) = one_move(&watched.client_events());
    assert_eq!((from.local.ip, to.local.ip), (Some(old.ip()), Some(new.ip())));
    let local = watched.pair.on_client(watched.client, |connection| connection.path().local);
    assert_eq!(local, to.local);
    let (from, to) = one_move(&watched.server_events());
    assert_eq!((from.remote, to.remote), (ip(old), ip(new)));
    watched.pair.finish();
}

/// A report after which nothing is different is no event.
#[test]
fn path_events_a_report_of_nothing_is_none() {
    let mut watched = Watched::connect(Pair::new(1, quick()));
    let (now, client) = (watched.pair.now(), watched.pair.client);
    let before = watched.pair.on_client(watched.client, |connection| connection.path().local);
    watched.pair.world.node_mut(client).endpoint.network_changed(now, NetworkChange::Unspecified);
    let local = watched.pair.on_client(watched.client, |connection| connection.path().local);
    assert_eq!(local, before, "what was known is not forgotten");
    watched.speak();
    assert_eq!((watched.client_events(), watched.server_events()), (vec![], vec![]));
    watched.pair.finish();
}

#[test]
fn path_events_snapshot_after_lag_is_current() {
    let mut pair = Pair::new(1, quick());
    let inside = pair.client_addr;
    let nat = behind_nat(&mut pair, inside);
    let mut watched = Watched::connect(pair);
    for port in 2..=14 {
        nat.outside.set(mapped(port));
        watched.speak();
        assert_eq!(watched.remote_at_server(), ip(mapped(port)));
    }
    let (events, current) = (watched.server_events(), watched.remote_at_server());
    assert_eq!(events.first(), Some(&PathEvent::Lagged(5)));
    assert_eq!(events.len(), 1 + 8);
    assert!(matches!(events.last(), Some(PathEvent::Moved { to, .. }) if to.remote == current));
    assert_eq!(watched.pair.server().count(|event| *event == Event::Path), 1, "told until looked at");
    watched.pair.finish();
}

#[test]
fn path_events_ring_is_made_late() {
    let mut pair = Pair::new(1, quick());
    let inside = pair.client_addr;
    let nat = behind_nat(&mut pair, inside);
    let (client, server) = pair.connect();
    pair.world.run_for(ms(200));
    nat.outside.set(mapped(2));
    pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, b"here").unwrap();
    });
    pair.world.run_for(ms(300));
    pair.on_server(server, |connection| {
        assert_eq!(connection.path().remote, ip(mapped(2)), "it has moved");
        assert!(connection.path_log().is_none(), "and nobody wanted to know");
        let mut late = connection.subscribe_paths();
        assert!(connection.path_log().is_some());
        assert_eq!(connection.path_events(&mut late), None);
    });
    assert_eq!(pair.server().count(|event| *event == Event::Path), 0);
    pair.finish();
}

/// From a subscription before the handshake to after the end, on both wires.
#[test]
fn path_events_begin_with_the_handshake_and_end_with_the_connection() {
    for qotp in [false, true] {
        let mut pair = Pair::with(1, quick(), config(), config().accept_qotp(qotp), AcceptAll, AcceptAll);
        let client = if qotp { pair.dial_qotp(true) } else { pair.dial() };
        let mut cursor = pair.on_client(client, |connection| connection.subscribe_paths());
        assert_eq!(pair.on_client(client, |connection| connection.path_events(&mut cursor)), None);
        if qotp {
            pair.on_client(client, |connection| {
                let id = connection.open_bi().unwrap();
                connection.write(id, b"hello").unwrap();
            });
        }
        pair.server_connection(Duration::from_secs(5)).expect("it connects");
        pair.world.run_for(ms(300));
        let mut next =
            |pair: &mut Pair| pair.on_client(client, |connection| connection.path_events(&mut cursor));
        let (here, there) = (pair.client_addr, pair.server_addr);
        let opened = next(&mut pair);
        let Some(PathEvent::Opened { id: PathId::ZERO, local, remote }) = opened else {
            panic!("{opened:?}");
        };
        assert_eq!((local.ip, remote), (Some(here.ip()), ip(there)));
        assert_eq!(next(&mut pair), None);
        pair.on_client(client, |connection| connection.close(ErrorCode::default(), b""));
        let last = pair.on_client(client, |connection| connection.path());
        assert!(last.rtt.is_measured());
        assert_eq!(
            next(&mut pair),
            Some(PathEvent::Closed {
                id: PathId::ZERO,
                reason: PathClosed::ConnectionClosed,
                stats: Box::new(last)
            })
        );
        assert_eq!(next(&mut pair), None);
        pair.world.run_for(ms(10));
        let events: Vec<_> = pair.client().events_of(client).cloned().collect();
        let told = |wanted: &Event| events.iter().position(|event| event == wanted);
        assert!(told(&Event::Path) < told(&Event::Connected), "{events:?}");
        assert!(matches!(events[..], [.., Event::Path, Event::Closed(_)]), "{events:?}");
        pair.finish();
    }
}

/// What never was does not end.
#[test]
fn path_events_a_dial_in_vain_has_none() {
    let mut pair = Pair::new(1, quick());
    pair.world.add_tap(|_| dunlin_sim::Verdict::Drop);
    let client = pair.dial();
    let mut cursor = pair.on_client(client, |connection| connection.subscribe_paths());
    pair.on_client(client, |connection| {
        connection.close(ErrorCode::default(), b"");
        assert_eq!(connection.path_events(&mut cursor), None);
    });
    pair.finish();
}

/// The copy outlives the connection.
#[test]
fn path_events_are_read_when_the_connection_is_forgotten() {
    let mut watched = Watched::connect(Pair::new(1, quick()));
    let log = watched.pair.on_client(watched.client, |connection| {
        connection.close(ErrorCode::default(), b"");
        connection.path_log().expect("somebody has subscribed")
    });
    watched.pair.finish();
    assert!(matches!(log.read(&mut watched.at_client), Some(PathEvent::Closed { .. })));
    assert_eq!(log.read(&mut watched.at_client), None);
}

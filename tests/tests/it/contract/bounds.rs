//! Bounds that hold whatever a peer does or an application neglects.

use core::net::SocketAddr;

use dunlin_core::{
    Arrival, Config, ConnectError, ConnectOptions, ConnectionHandle, DatagramError, Direction, Disposition,
    DropReason, Duration, Event, NetworkChange, Peer, ReadError, Role, StreamId, TrainLimit, WriteError,
};
use dunlin_fuzzing::session::{Duo, Flight, TIMERS_PER_CALL};
use dunlin_sim::{ALPN, config};

const DELAY: Duration = Duration::from_millis(5);
/// An endpoint may hold this many events that say nothing new before it cleans up.
const FEW_EVENTS: usize = 256;

fn dial(duo: &mut Duo) -> ConnectionHandle {
    let peer = Peer::Key(*duo.sides[1].endpoint.public_key());
    let options = ConnectOptions::new(duo.sides[1].addr, ALPN);
    let handle = duo.sides[0].endpoint.connect(duo.now, peer, options).expect("the dial starts");
    duo.sides[0].handles.push(handle);
    handle
}

/// A thousand dials whose first datagrams are on their way.
fn a_thousand_dials() -> Duo {
    let mut settings = config();
    settings.limits.per_endpoint = 1 << 30;
    let mut duo = Duo::new(settings.clone(), settings);
    for _ in 0..1000 {
        dial(&mut duo);
    }
    duo.drain(0, TrainLimit::SINGLE);
    duo
}

/// A connection that stands, seen from both sides.
fn connected(settings: &Config) -> (Duo, [ConnectionHandle; 2]) {
    let mut duo = Duo::new(settings.clone(), settings.clone());
    let dialled = dial(&mut duo);
    duo.run(Duration::from_millis(100), DELAY, || false);
    let accepted = *duo.sides[1].handles.first().expect("the answerer has heard of it");
    (duo, [dialled, accepted])
}

#[test]
fn a_thousand_due_connections_are_served_in_turn() {
    let mut duo = a_thousand_dials();
    duo.now += duo.sides[0].endpoint.config().connect_timeout;
    let rounds = 1000usize.div_ceil(TIMERS_PER_CALL);
    for round in 0..rounds {
        assert!(
            duo.sides[0].endpoint.poll_timeout().is_some_and(|due| due <= duo.now),
            "still due in round {round}"
        );
        duo.fire(0);
    }
    duo.drain(0, TrainLimit::SINGLE);
    let forget = duo.now + Duration::from_secs(60);
    assert_eq!(duo.sides[0].endpoint.poll_timeout(), Some(forget), "the peer is remembered for a minute");
    assert_eq!(duo.sides[0].endpoint.stats().connections, 0, "all dials have failed");
    assert_eq!(duo.events(0).len(), 1000);
}

/// A report of the network concerns all connections, but one call serves some; no time has to pass for the rest.
#[test]
fn a_report_reaches_a_thousand_connections_in_turn() {
    let mut duo = a_thousand_dials();
    duo.now += DELAY;
    let rounds = 1000usize.div_ceil(TIMERS_PER_CALL);
    for _ in 0..3 {
        duo.wire.clear();
        for round in 0..rounds {
            match round {
                0 => duo.sides[0].endpoint.network_changed(duo.now, NetworkChange::Unspecified),
                _ => duo.fire(0),
            }
            let sent = duo.wire.len();
            duo.drain(0, TrainLimit::SINGLE);
            let left = 1000 - sent;
            assert_eq!(duo.wire.len() - sent, left.min(TIMERS_PER_CALL), "in round {round}");
            let due = duo.sides[0].endpoint.poll_timeout().is_some_and(|due| due <= duo.now);
            assert_eq!(due, left > TIMERS_PER_CALL, "in round {round}");
        }
        // Less than the first wait of a dial.
        duo.now += Duration::from_millis(200);
    }
}

#[test]
fn attempts_that_come_and_go_leave_no_events() {
    let mut settings = config();
    settings.limits.half_open = 10;
    settings.limits.half_open_lifetime = Duration::from_millis(1);
    let mut duo = Duo::new(config(), settings);
    duo.sides[1].accepts = false;
    for _ in 0..1000 {
        let handle = dial(&mut duo);
        duo.drain(0, TrainLimit::SINGLE);
        for flight in core::mem::take(&mut duo.wire) {
            assert_eq!(duo.deliver(flight), Disposition::Accepted);
        }
        duo.sides[0].endpoint.connection(handle).expect("it dials").forget();
        duo.now += Duration::from_millis(1);
        duo.settle(1, TrainLimit::SINGLE);
    }
    assert_eq!(duo.sides[1].endpoint.stats().connections, 0);
    let waiting = duo.events(1).len();
    assert!(waiting <= 2 * FEW_EVENTS, "{waiting} events of attempts that are gone");
}

#[test]
fn ends_of_all_connections_at_once_wait_until_they_are_polled() {
    let mut duo = a_thousand_dials();
    duo.wire.clear();
    // The network is away, and the application looks late.
    for _ in 0..30 {
        duo.now += Duration::from_secs(1);
        duo.settle(0, TrainLimit::SINGLE);
        duo.wire.clear();
    }
    let endpoint = &mut duo.sides[0].endpoint;
    assert_eq!(endpoint.stats().connections, 0);
    let stray = Arrival::from_remote(SocketAddr::from(([192, 0, 2, 9], 9)));
    let _ = endpoint.handle_datagram(duo.now, stray, &mut [0x90; 40]);
    let ends = core::iter::from_fn(|| endpoint.poll_event());
    let ends = ends.filter(|(_, event)| matches!(event, Event::Closed(_))).count();
    assert_eq!(ends, 1000);
}

#[test]
fn hints_that_nobody_polls_do_not_pile_up() {
    let (mut duo, [dialled, accepted]) = connected(&config());
    let mut stream = None;
    let mut buffer = [0; 100];
    for side in &mut duo.sides {
        side.accepts = false;
    }
    for _ in 0..3000 {
        let mut sender = duo.sides[0].endpoint.connection(dialled).expect("it stands");
        let id = *stream.get_or_insert_with(|| sender.open_bi().expect("the first stream"));
        sender.write(id, b"news").expect("there is room");
        sender.send_datagram(b"more").expect("there is room");
        duo.run(Duration::from_millis(12), DELAY, || false);
        let mut reader = duo.sides[1].endpoint.connection(accepted).expect("it stands");
        while reader.accept(Direction::Bidirectional).is_some() {}
        assert_eq!(reader.read(id, &mut buffer), Ok(4));
        assert_eq!(reader.read(id, &mut buffer), Err(ReadError::Blocked));
        while reader.read_datagram(&mut Vec::new()).is_some() {}
    }
    let waiting = duo.events(1).len();
    assert!(waiting <= 2 * FEW_EVENTS, "{waiting} events of one connection with one stream");
}

#[test]
fn half_open_places_come_back_however_an_attempt_ends() {
    let mut settings = config();
    settings.limits.half_open = 4;
    settings.limits.half_open_lifetime = Duration::from_secs(1);
    let mut duo = Duo::new(config(), settings);
    duo.sides[1].accepts = false;
    for round in 0..100 {
        dial(&mut duo);
        duo.drain(0, TrainLimit::SINGLE);
        for flight in core::mem::take(&mut duo.wire) {
            assert_eq!(duo.deliver(flight), Disposition::Accepted, "attempt {round} is admitted");
        }
        let now = duo.now;
        let (handle, _) =
            duo.events(1).into_iter().find(|(_, event)| *event == Event::Incoming).expect("an attempt");
        let endpoint = &mut duo.sides[1].endpoint;
        let incoming = endpoint.incoming(handle).expect("it waits");
        match round % 5 {
            0 => incoming.ignore(),
            1 => incoming.refuse(now, 1u32.into()),
            2 => drop(incoming.accept(now)),
            3 => {
                incoming.accept(now).expect("there is room");
                endpoint.connection(handle).expect("accepted").close(1u32.into(), b"");
            }
            _ => {
                incoming.accept(now).expect("there is room");
                endpoint.connection(handle).expect("accepted").forget();
            }
        }
        duo.now += Duration::from_millis(600);
        duo.settle(1, TrainLimit::SINGLE);
        duo.wire.clear();
    }
    duo.end();
}

#[test]
fn wrong_stream_ids_are_errors() {
    let (mut duo, [dialled, accepted]) = connected(&config());
    let mut connection = duo.sides[0].endpoint.connection(dialled).expect("it stands");
    let uni = connection.open_uni().expect("the peer allows one");
    assert_eq!(connection.read(uni, &mut [0; 9]), Err(ReadError::Closed), "nothing comes on our own way");
    assert_eq!(connection.stop(uni, 0u32.into()), Err(ReadError::Closed));
    duo.run(Duration::from_millis(100), DELAY, || false);
    let mut peer = duo.sides[1].endpoint.connection(accepted).expect("it stands");
    assert_eq!(peer.accept(Direction::Unidirectional), Some(uni));
    assert_eq!(peer.write(uni, b"back"), Err(WriteError::Closed), "nor goes anything on the peer's");
    assert_eq!(peer.finish(uni), Err(WriteError::Closed));
    for opener in [Role::Initiator, Role::Responder] {
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            let never = StreamId::new(opener, direction, 77);
            assert_eq!(peer.write(never, b"x"), Err(WriteError::Closed));
            assert_eq!(peer.finish(never), Err(WriteError::Closed));
            assert_eq!(peer.reset(never, 0u32.into()), Err(WriteError::Closed));
            assert_eq!(peer.set_priority(never, 1), Err(WriteError::Closed));
            assert_eq!(peer.read(never, &mut [0; 9]), Err(ReadError::Closed));
            assert_eq!(peer.read_chunk(never, 9), Err(ReadError::Closed));
            assert_eq!(peer.stop(never, 0u32.into()), Err(ReadError::Closed));
        }
    }
    peer.forget();
    assert!(duo.sides[1].endpoint.connection(accepted).is_some_and(|mut gone| gone.open_bi().is_err()));
    duo.run(Duration::from_millis(1), DELAY, || false);
    assert!(duo.sides[1].endpoint.connection(accepted).is_none(), "forgotten for good");
}

#[test]
fn nothing_is_dialled_or_answered_at_no_address() {
    let (mut duo, _) = connected(&config());
    let (before, bytes) = (duo.sides[0].endpoint.stats(), vec![0; 1200]);
    for addr in ["0.0.0.0:5", "10.0.0.2:0", "224.0.0.1:5", "255.255.255.255:5", "[ff02::1]:5", "[::]:5"] {
        let addr: SocketAddr = addr.parse().expect("an address");
        let dialled = duo.sides[0].endpoint.connect(duo.now, Peer::AnyKey, ConnectOptions::new(addr, ALPN));
        assert_eq!(dialled, Err(ConnectError::Address));
        let arrival = Arrival::from_remote(addr);
        let disposition = duo.sides[0].endpoint.handle_datagram(duo.now, arrival, &mut bytes.clone());
        assert_eq!(disposition, Disposition::Dropped(DropReason::Source), "{addr}");
    }
    let after = duo.sides[0].endpoint.stats();
    assert_eq!(after.datagrams_sent, before.datagrams_sent);
    assert_eq!(after.dropped(DropReason::Source), 6);
}

/// Every length that the wire, or a socket, could deliver.
#[test]
fn datagrams_of_any_length_are_taken_or_counted() {
    let (mut duo, _) = connected(&config());
    let from = duo.sides[0].addr;
    let before = duo.sides[1].endpoint.stats();
    let mut taken = 0;
    for ty in 0..8u8 {
        for len in (0..100).chain([1199, 1200, 1201, 1500, 9000, 65_507, 65_535]) {
            let mut bytes = vec![0x55; len];
            bytes.first_mut().into_iter().for_each(|first| *first = ty << 5 | 16);
            taken +=
                u64::from(duo.deliver(Flight { to: 1, socket: 0, from, bytes }) == Disposition::Accepted);
        }
    }
    let after = duo.sides[1].endpoint.stats();
    let dropped = after.dropped_total() - before.dropped_total();
    assert_eq!(after.datagrams_received - before.datagrams_received, taken + dropped);
}

#[test]
fn a_datagram_too_long_for_its_path_is_refused_before_it_is_queued() {
    let (mut duo, [dialled, _]) = connected(&config());
    let mut connection = duo.sides[0].endpoint.connection(dialled).expect("it stands");
    let max = connection.max_datagram().expect("the peer takes them");
    assert_eq!(connection.send_datagram(&vec![0; max + 1]), Err(DatagramError::TooLarge { max }));
    assert_eq!(connection.send_datagram(&vec![0; max]), Ok(()));
}

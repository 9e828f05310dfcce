//! Early data: what is written before the reply travels in the Init (docs/PROTOCOL.md, "Packet 0 and early data").

use dunlin_core::{
    ConnectionHandle, Direction, DropReason, Duration, Event, OpenError, Peer, ReadError, StreamId,
};
use dunlin_sim::{AcceptAll, LinkConfig, Loss, Pair, Ppm, Receiver, config, seeds};

use crate::common::{
    DATA, INIT, INIT_KNOWN, at, drop_if, kind, ms, patient, patterned, quick, read_all, record,
};

/// Writes and finishes a stream of `len` bytes.
fn write(pair: &mut Pair, client: ConnectionHandle, direction: Direction, len: usize) -> StreamId {
    pair.on_client(client, |connection| {
        let id = connection.open(direction).unwrap();
        assert_eq!(connection.write(id, &patterned(id, len)), Ok(len));
        connection.finish(id).unwrap();
        id
    })
}

#[test]
fn early_data_is_handed_over_with_the_confirmation_and_once() {
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, receiver);
    let packets = record(&mut pair.world);
    let client_addr = pair.client_addr;
    drop_if(&mut pair.world, move |passing| {
        passing.from == client_addr && kind(passing.bytes) == DATA && passing.now < at(2000)
    });
    let client = pair.dial();
    let id = write(&mut pair, client, Direction::Unidirectional, 700);
    pair.world.run_for(ms(1900));
    assert_eq!(pair.server().count(|event| *event != Event::Incoming), 0, "held back");
    pair.world.run_for(Duration::from_secs(3));
    let server = pair.server().events[0].1;
    let events: Vec<&Event> = pair.server().events_of(server).collect();
    assert_eq!(events[..2], [&Event::Incoming, &Event::Connected]);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::StreamOpened(_))).count(), 1);
    assert_eq!((seen.borrow().finished, seen.borrow().total()), (1, 700));
    assert!(pair.client().has(client, &Event::Finished(id)));
    let data: usize = packets
        .borrow()
        .iter()
        .filter(|seen| seen.from == client_addr && kind(&seen.bytes) == DATA)
        .map(|seen| seen.bytes.len())
        .sum();
    assert!(data < 1000, "held data is not sent again: {data} bytes");
    pair.finish();
}

#[test]
fn early_data_saves_a_round_trip() {
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, receiver);
    let client = pair.dial();
    write(&mut pair, client, Direction::Unidirectional, 900);
    pair.world.run_for(Duration::from_secs(1));
    assert_eq!(seen.borrow().last, at(60), "with the confirming packet");
    pair.finish();
}

#[test]
fn early_data_is_one_datagram_and_what_does_not_fit_follows() {
    for seed in seeds(10) {
        let (receiver, seen) = Receiver::new();
        let link = LinkConfig { loss: Loss::Random(Ppm::percent(20)), ..quick() };
        let mut pair = Pair::with(seed, link, patient(), config(), AcceptAll, receiver);
        let packets = record(&mut pair.world);
        let client = pair.dial();
        for _ in 0..4 {
            write(&mut pair, client, Direction::Unidirectional, 5000);
        }
        assert!(pair.run_until(Duration::from_secs(30), |_| seen.borrow().finished == 4));
        assert_eq!(seen.borrow().total(), 20_000);
        let inits: Vec<_> =
            packets.borrow().iter().filter(|seen| kind(&seen.bytes) == INIT_KNOWN).cloned().collect();
        assert!(inits.iter().all(|init| init.bytes.len() == 1200 && init.bytes == inits[0].bytes));
        pair.finish();
    }
}

#[test]
fn four_streams_of_each_kind_can_be_opened_early() {
    for direction in [Direction::Bidirectional, Direction::Unidirectional] {
        let mut pair = Pair::new(1, quick());
        let client = pair.dial();
        pair.on_client(client, |connection| {
            for _ in 0..4 {
                connection.open(direction).unwrap();
            }
            assert_eq!(connection.open(direction), Err(OpenError::Blocked));
        });
        pair.world.run_for(ms(200));
        assert_eq!(pair.client().when(client, &Event::StreamsAvailable(direction)), Some(at(40)));
        pair.on_client(client, |connection| assert!(connection.open(direction).is_ok()));
        let server = pair.server().events[0].1;
        pair.on_server(server, |connection| {
            let accepted = core::iter::from_fn(|| connection.accept(direction)).count();
            assert_eq!(accepted, 4);
        });
        pair.finish();
    }
}

#[test]
fn small_limits_of_the_answerer_hold_from_the_first_round_trip_on() {
    for early in [true, false] {
        let (receiver, seen) = Receiver::new();
        let mut answerer = config();
        answerer.limits.streams_uni = 1;
        answerer.limits.streams_bidi = 0;
        answerer.limits.initial_window = 2000;
        let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, receiver);
        let client = pair.dial();
        if early {
            for _ in 0..3 {
                write(&mut pair, client, Direction::Unidirectional, 200);
            }
        }
        pair.world.run_for(ms(45));
        for _ in 0..if early { 0 } else { 1 } {
            write(&mut pair, client, Direction::Unidirectional, 9000);
        }
        pair.on_client(client, |connection| {
            assert_eq!(connection.open_uni(), Err(OpenError::Blocked), "early {early}");
            assert_eq!(connection.open_bi(), Err(OpenError::Blocked));
        });
        pair.world.run_for(Duration::from_secs(1));
        assert_eq!(pair.client().closed(client), None);
        let expected = if early { (3, 600) } else { (1, 9000) };
        assert_eq!((seen.borrow().finished, seen.borrow().total()), expected);
        // Streams that ended make room for others.
        assert!(pair.client().has(client, &Event::StreamsAvailable(Direction::Unidirectional)));
        write(&mut pair, client, Direction::Unidirectional, 100);
        pair.world.run_for(ms(100));
        assert_eq!(seen.borrow().finished, expected.0 + 1);
        pair.finish();
    }
}

#[test]
fn small_limits_of_the_dialler_hold_for_the_answerer() {
    let mut dialler = config();
    dialler.limits.streams_uni = 1;
    dialler.limits.initial_window = 2000;
    let mut pair = Pair::with(1, quick(), dialler, config(), AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    let id = pair.on_server(server, |connection| {
        let id = connection.open_uni().unwrap();
        assert_eq!(connection.open_uni(), Err(OpenError::Blocked));
        connection.write(id, &patterned(id, 5000)).unwrap();
        id
    });
    pair.world.run_for(Duration::from_secs(1));
    pair.on_client(client, |connection| assert_eq!(read_all(connection, id).0.len(), 2000));
    pair.world.run_for(Duration::from_secs(1));
    pair.on_client(client, |connection| assert!(read_all(connection, id).0.len() >= 2000));
    assert_eq!(pair.client().closed(client), None);
    pair.finish();
}

#[test]
fn what_is_written_to_an_unknown_key_never_travels_in_clear() {
    let secret = b"attack at dawn, by the northern gate";
    for known in [true, false] {
        let mut pair = Pair::new(1, quick());
        let packets = record(&mut pair.world);
        let client = pair.dial_as(if known { Peer::Key(pair.server_key()) } else { Peer::AnyKey });
        let id = pair.on_client(client, |connection| {
            let id = connection.open_bi().unwrap();
            connection.write(id, secret).unwrap();
            connection.send_datagram(secret).unwrap();
            id
        });
        pair.world.run_for(Duration::from_secs(1));
        let server = pair.server().events[0].1;
        pair.on_server(server, |connection| {
            assert_eq!(read_all(connection, id), (secret.to_vec(), false));
            assert_eq!(connection.read_datagram(&mut Vec::new()), Some(secret.len()));
        });
        let packets = packets.borrow();
        assert!(packets.iter().all(|seen| !seen.bytes.windows(10).any(|window| window == &secret[..10])));
        assert_eq!(kind(&packets[0].bytes), if known { INIT_KNOWN } else { INIT });
        drop(packets);
        pair.finish();
    }
}

#[test]
fn a_handshake_packet_gives_a_round_trip_sample_only_if_one_copy_was_sent() {
    // Without loss, with a lost Init, with a lost reply: whom is the sample for?
    for (lost, client_measures, server_measures) in
        [(None, true, true), (Some(0), false, true), (Some(1), false, false)]
    {
        let mut pair = Pair::new(1, quick());
        drop_if(&mut pair.world, move |passing| Some(passing.index) == lost);
        let client = pair.dial();
        assert!(pair.run_until(Duration::from_secs(2), |world| {
            world.nodes().next().unwrap().1.has(client, &Event::Connected)
        }));
        let rtt = pair.on_client(client, |connection| connection.path().rtt);
        assert_eq!(rtt.is_measured(), client_measures, "without {lost:?}");
        if client_measures {
            assert_eq!(rtt.latest(), ms(40));
        }
        let server = pair.server_connection(Duration::from_secs(2)).unwrap();
        let rtt = pair.on_server(server, |connection| connection.path().rtt);
        assert_eq!(rtt.is_measured(), server_measures, "without {lost:?}");
        if server_measures {
            assert_eq!(rtt.latest(), ms(40));
        }
        pair.finish();
    }
}

#[test]
fn a_reset_of_an_early_stream_is_told() {
    let mut pair = Pair::new(1, quick());
    let client = pair.dial();
    let (kept, gone) = pair.on_client(client, |connection| {
        let (kept, gone) = (connection.open_bi().unwrap(), connection.open_bi().unwrap());
        connection.write(kept, b"kept").unwrap();
        connection.write(gone, b"gone").unwrap();
        connection.reset(gone, 5u32.into()).unwrap();
        (kept, gone)
    });
    pair.world.run_for(ms(200));
    let server = pair.server().events[0].1;
    pair.on_server(server, |connection| {
        assert_eq!(read_all(connection, kept), (b"kept".to_vec(), false));
        assert_eq!(connection.read(gone, &mut [0; 9]), Err(ReadError::Reset(5u32.into())));
    });
    pair.finish();
}

#[test]
fn early_data_for_which_there_is_no_room_is_not_acknowledged() {
    // Room for a connection that does nothing: it cannot hold a stream.
    let (receiver, seen) = Receiver::new();
    let mut answerer = config();
    answerer.limits.per_connection = (64 << 10) + (27 << 8) + 100;
    let mut pair = Pair::with(1, quick(), config(), answerer, AcceptAll, receiver);
    let client = pair.dial();
    write(&mut pair, client, Direction::Unidirectional, 500);
    pair.world.run_for(Duration::from_secs(3));
    assert!(pair.client().has(client, &Event::Connected), "nothing breaks, and nothing is lost");
    assert!(pair.server().dropped(DropReason::OverBudget) > 0);
    assert_eq!(seen.borrow().total(), 0);
    let undelivered = pair.on_client(client, |connection| {
        connection.close(0u32.into(), b"");
        connection.undelivered()
    });
    assert_eq!((undelivered.streams, undelivered.bytes), (1, 500));
    pair.finish();
}

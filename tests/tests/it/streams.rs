//! Streams: how they open, end, are given up, and share a connection.

use dunlin_core::{
    Config, ConnectionHandle, Direction, Duration, Event, OpenError, ReadError, Role, StreamId, WriteError,
};
use dunlin_sim::{AcceptAll, Echo, LinkConfig, Pair, Rate, Receiver, Sender, config, pattern, seeds};

use crate::common::{at, bad_line, drop_while, line, ms, patterned, quick, read_all, record};

const BI: Direction = Direction::Bidirectional;
const UNI: Direction = Direction::Unidirectional;

fn connected_with(change: impl Fn(&mut Config)) -> (Pair, ConnectionHandle, ConnectionHandle) {
    let mut settings = config();
    change(&mut settings);
    let mut pair = Pair::with(1, quick(), settings.clone(), settings, AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    pair.world.run_for(ms(500));
    (pair, client, server)
}

fn connected() -> (Pair, ConnectionHandle, ConnectionHandle) {
    connected_with(|_| {})
}

#[test]
fn what_goes_there_comes_back() {
    for seed in seeds(3) {
        let mut pair = Pair::with(seed, bad_line(3), config(), config(), AcceptAll, Echo::default());
        let (client, _) = pair.connect();
        let len = 300_000;
        let ids: Vec<StreamId> = (0..3).map(|_| pair.on_client(client, |c| c.open_bi().unwrap())).collect();
        let sent: Vec<Vec<u8>> = ids.iter().map(|id| patterned(*id, len)).collect();
        let mut written = vec![0; ids.len()];
        let mut back = vec![Vec::new(); ids.len()];
        let mut ended = vec![false; ids.len()];
        while !ended.iter().all(|ended| *ended) {
            assert!(
                pair.now() < at(20_000),
                "{written:?} {:?}",
                back.iter().map(Vec::len).collect::<Vec<_>>()
            );
            pair.on_client(client, |connection| {
                for (n, id) in ids.iter().enumerate() {
                    match connection.write(*id, &sent[n][written[n]..]) {
                        Ok(more) => {
                            written[n] += more;
                            if more > 0 && written[n] == len {
                                connection.finish(*id).unwrap();
                            }
                        }
                        Err(error) => assert!(matches!(error, WriteError::Blocked | WriteError::Closed)),
                    }
                    let (more, end) = if ended[n] { (Vec::new(), true) } else { read_all(connection, *id) };
                    back[n].extend_from_slice(&more);
                    ended[n] = end;
                }
            });
            pair.world.run_for(ms(5));
        }
        assert!(back == sent);
        pair.finish();
    }
}

/// Runs three streams of these priorities over a slow line, and returns for each what had arrived when the first one
/// was complete.
fn race(priorities: [i32; 3], change: Option<(usize, i32)>) -> Vec<u64> {
    let (receiver, seen) = Receiver::new();
    let link = LinkConfig { rate: Some(Rate::mbit(10)), ..line() };
    let mut roomy = config();
    roomy.limits.initial_window = 4 << 20;
    let mut pair = Pair::with(1, link, config(), roomy, AcceptAll, receiver);
    let (client, _) = pair.connect();
    let ids: Vec<StreamId> = priorities
        .iter()
        .map(|priority| {
            pair.on_client(client, |connection| {
                let id = connection.open_uni().unwrap();
                connection.set_priority(id, *priority).unwrap();
                id
            })
        })
        .collect();
    pair.world.run_for(ms(100));
    pair.on_client(client, |connection| {
        for id in &ids {
            assert_eq!(connection.write(*id, &patterned(*id, 250_000)), Ok(250_000));
            connection.finish(*id).unwrap();
        }
    });
    if let Some((n, priority)) = change {
        pair.world.run_for(ms(100));
        pair.on_client(client, |connection| connection.set_priority(ids[n], priority)).unwrap();
    }
    assert!(pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished > 0));
    let shares = ids.iter().map(|id| seen.borrow().bytes[id]).collect();
    assert!(pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 3));
    pair.finish();
    shares
}

#[test]
fn a_higher_priority_goes_first_and_equals_share() {
    let shares = race([0, 10, -3], None);
    assert!(shares[1] == 250_000 && shares[0] < 10_000 && shares[2] == 0, "{shares:?}");
    let shares = race([5, 5, 5], None);
    assert!(shares.iter().all(|share| *share > 240_000), "{shares:?}");
    let shares = race([1, 0, 1], None);
    assert!(shares[0].abs_diff(shares[2]) < 10_000 && shares[1] < 10_000, "{shares:?}");
}

#[test]
fn a_priority_can_be_changed_while_data_waits() {
    let shares = race([0, 0, 0], Some((2, 1)));
    assert!(shares[2] == 250_000 && shares[0] < 60_000 && shares[1] < 60_000, "{shares:?}");
    let shares = race([0, 0, 0], Some((0, -1)));
    assert!(shares[0] < 60_000 && shares[1].abs_diff(shares[2]) < 10_000, "{shares:?}");
}

#[test]
fn a_thousand_streams_pass_a_hundred_at_a_time() {
    for lossy in [false, true] {
        let (receiver, seen) = Receiver::new();
        let link = if lossy { bad_line(5) } else { line() };
        let mut pair = Pair::with(1, link, config(), config(), Sender::new(1000, 2000), receiver);
        pair.dial();
        let done = pair.run_until(Duration::from_secs(60), |_| {
            let seen = seen.borrow();
            let open = seen.bytes.len() - seen.finished;
            assert!(open <= 100, "{open} at once");
            seen.finished == 1000
        });
        assert!(done, "{} of 1000", seen.borrow().finished);
        assert_eq!(seen.borrow().total(), 2_000_000);
        pair.finish();
    }
}

#[test]
fn a_thousand_streams_at_once_where_they_are_allowed() {
    let (receiver, seen) = Receiver::new();
    let mut generous = config();
    generous.limits.streams_uni = 1000;
    let mut pair = Pair::with(1, bad_line(2), config(), generous, AcceptAll, receiver);
    let (client, _) = pair.connect();
    pair.world.run_for(ms(100));
    let ids: Vec<StreamId> = (0..1000).map(|_| pair.on_client(client, |c| c.open_uni().unwrap())).collect();
    pair.on_client(client, |connection| {
        assert_eq!(connection.open_uni(), Err(OpenError::Blocked));
        for id in &ids {
            connection.write(*id, &patterned(*id, 1000)).unwrap();
        }
    });
    assert!(pair.run_until(Duration::from_secs(20), |_| seen.borrow().total() == 1_000_000));
    pair.on_client(client, |connection| ids.iter().for_each(|id| connection.finish(*id).unwrap()));
    assert!(pair.run_until(Duration::from_secs(20), |_| seen.borrow().finished == 1000));
    pair.finish();
}

#[test]
fn both_sides_may_open_both_kinds() {
    let (mut pair, client, server) = connected();
    for direction in [BI, UNI] {
        let ours = pair.on_client(client, |c| c.open(direction).unwrap());
        let theirs = pair.on_server(server, |c| c.open(direction).unwrap());
        assert_eq!(ours, StreamId::new(Role::Initiator, direction, 0));
        assert_eq!(theirs, StreamId::new(Role::Responder, direction, 0));
        pair.on_client(client, |c| c.write(ours, b"ours")).unwrap();
        pair.on_server(server, |c| c.write(theirs, b"theirs")).unwrap();
        pair.world.run_for(ms(200));
        pair.on_server(server, |c| {
            assert_eq!(c.accept(direction), Some(ours));
            assert_eq!(c.accept(direction), None);
            assert_eq!(read_all(c, ours), (b"ours".to_vec(), false));
            assert_eq!(c.write(ours, b"back").is_ok(), direction == BI);
        });
        pair.on_client(client, |c| {
            assert_eq!(c.accept(direction), Some(theirs));
            assert_eq!(read_all(c, theirs), (b"theirs".to_vec(), false));
            assert_eq!(c.write(theirs, b"back").is_ok(), direction == BI);
        });
    }
    pair.finish();
}

#[test]
fn opening_a_stream_is_visible_unless_that_is_switched_off() {
    for announce in [true, false] {
        let (mut pair, client, server) = connected_with(|config| config.announce_streams = announce);
        let sent = pair.world.stats().sent;
        let ids: Vec<StreamId> = (0..3).map(|_| pair.on_client(client, |c| c.open_bi().unwrap())).collect();
        pair.world.run_for(ms(200));
        if announce {
            assert_eq!(pair.server().when(server, &Event::StreamOpened(BI)), Some(at(560 + 20)));
            assert_eq!(
                pair.server().count(|event| *event == Event::StreamOpened(BI)),
                1,
                "one event for three"
            );
        } else {
            assert_eq!(pair.world.stats().sent, sent, "nothing goes out");
            // Using a stream opens those before it.
            pair.on_client(client, |connection| connection.write(ids[2], b"x")).unwrap();
            pair.world.run_for(ms(200));
        }
        pair.on_server(server, |connection| {
            let accepted: Vec<StreamId> = core::iter::from_fn(|| connection.accept(BI)).collect();
            assert_eq!(accepted, ids, "in the order of their ids");
        });
        pair.finish();
    }
}

#[test]
fn an_announcement_that_is_lost_is_repeated() {
    let (mut pair, client, server) = connected();
    let open = drop_while(&mut pair.world, |_| true);
    pair.on_client(client, |connection| connection.open_bi().map(drop)).unwrap();
    pair.world.run_for(ms(10));
    open.set(false);
    pair.world.run_for(Duration::from_secs(1));
    pair.on_server(server, |connection| assert!(connection.accept(BI).is_some()));
    pair.finish();
}

#[test]
fn streams_are_accepted_in_the_order_of_their_ids_whatever_the_order_of_arrival() {
    for seed in seeds(5) {
        let link = LinkConfig { reorder: dunlin_sim::Ppm::percent(50), reorder_by: ms(100), ..quick() };
        let mut pair = Pair::with(seed, link, config(), config(), AcceptAll, AcceptAll);
        let (client, server) = pair.connect();
        pair.world.run_for(ms(200));
        for _ in 0..50 {
            pair.on_client(client, |connection| connection.open_uni().map(drop)).unwrap();
            pair.world.run_for(ms(3));
        }
        pair.world.run_for(Duration::from_secs(2));
        pair.on_server(server, |connection| {
            let accepted: Vec<u64> =
                core::iter::from_fn(|| connection.accept(UNI)).map(StreamId::index).collect();
            assert_eq!(accepted, (0..50).collect::<Vec<u64>>());
        });
        pair.finish();
    }
}

#[test]
fn chunks_have_the_size_that_was_asked_for_or_what_there_is() {
    let (mut pair, client, server) = connected();
    let id = pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &patterned(id, 50_000)).unwrap();
        connection.finish(id).unwrap();
        id
    });
    pair.world.run_for(Duration::from_secs(1));
    let mut got = Vec::new();
    pair.on_server(server, |connection| {
        for max in [1, 2, 3, 1000, 2048, 5000, 16_384, 1] {
            let chunk = connection.read_chunk(id, max).unwrap().unwrap();
            assert!((1..=max).contains(&chunk.len()), "{} of at most {max}", chunk.len());
            got.extend_from_slice(&chunk);
        }
        assert_eq!(connection.read(id, &mut []), Ok(0), "an empty buffer is no end");
        let (rest, ended) = read_all(connection, id);
        got.extend_from_slice(&rest);
        assert!(ended);
    });
    assert_eq!(got, patterned(id, 50_000));
    pair.finish();
}

#[test]
fn readable_is_told_once_until_everything_was_read() {
    let (mut pair, client, server) = connected();
    let id = pair.on_client(client, |connection| connection.open_uni().unwrap());
    let told = |pair: &Pair| pair.server().count(|event| *event == Event::Readable(id));
    for _ in 0..5 {
        pair.on_client(client, |connection| connection.write(id, b"drop by drop")).unwrap();
        pair.world.run_for(ms(100));
    }
    assert_eq!(told(&pair), 1);
    pair.on_server(server, |connection| {
        assert_eq!(connection.read(id, &mut [0; 30]), Ok(30));
    });
    pair.on_client(client, |connection| connection.write(id, b"more")).unwrap();
    pair.world.run_for(ms(100));
    assert_eq!(told(&pair), 1, "the application knows that there is something");
    pair.on_server(server, |connection| assert_eq!(read_all(connection, id).0.len(), 34));
    pair.on_client(client, |connection| connection.write(id, b"even more")).unwrap();
    pair.world.run_for(ms(100));
    assert_eq!(told(&pair), 2);
    pair.finish();
}

#[test]
fn a_writer_is_held_at_its_buffer_and_told_of_room() {
    let (receiver, seen) = Receiver::new();
    let mut small = config();
    small.limits.send_buffer = 50_000;
    let mut pair = Pair::with(1, line(), small, config(), AcceptAll, receiver);
    let (client, _) = pair.connect();
    pair.world.run_for(ms(100));
    let id = pair.on_client(client, |connection| connection.open_uni().unwrap());
    let data = patterned(id, 200_000);
    let mut written = 0;
    pair.on_client(client, |connection| {
        while let Ok(more) = connection.write(id, &data[written..]) {
            written += more;
        }
        assert!((1..=50_000).contains(&written), "{written} taken");
    });
    while written < data.len() {
        let told = pair.client().count(|event| *event == Event::Writable(id));
        let node = pair.client;
        let room = pair.run_until(Duration::from_secs(2), |world| {
            world.node(node).count(|event| *event == Event::Writable(id)) > told
        });
        assert!(room, "a blocked writer is told, at {written}");
        pair.on_client(client, |connection| {
            let before = written;
            while written < data.len()
                && let Ok(more) = connection.write(id, &data[written..])
            {
                written += more;
            }
            assert!(written > before, "there is room when it is told");
        });
    }
    pair.on_client(client, |connection| connection.finish(id)).unwrap();
    assert!(pair.run_until(Duration::from_secs(2), |_| seen.borrow().finished == 1));
    assert_eq!(seen.borrow().total(), 200_000);
    pair.finish();
}

#[test]
fn streams_that_are_not_there_are_closed() {
    let (mut pair, client, _) = connected();
    pair.on_client(client, |connection| {
        let ours = connection.open_uni().unwrap();
        assert_eq!(connection.read(ours, &mut [0; 1]), Err(ReadError::Closed));
        for opener in [Role::Initiator, Role::Responder] {
            for direction in [BI, UNI] {
                let id = StreamId::new(opener, direction, 7);
                assert_eq!(connection.read(id, &mut [0; 1]), Err(ReadError::Closed));
                assert_eq!(connection.read_chunk(id, 1), Err(ReadError::Closed));
                assert_eq!(connection.stop(id, 1u32.into()), Err(ReadError::Closed));
                assert_eq!(connection.write(id, b"x"), Err(WriteError::Closed));
                assert_eq!(connection.finish(id), Err(WriteError::Closed));
                assert_eq!(connection.reset(id, 1u32.into()), Err(WriteError::Closed));
                assert_eq!(connection.set_priority(id, 1), Err(WriteError::Closed));
            }
        }
    });
    pair.finish();
}

#[test]
fn small_writes_share_packets() {
    let (mut pair, client, server) = connected();
    let seen = record(&mut pair.world);
    let ids: Vec<StreamId> = (0..20).map(|_| pair.on_client(client, |c| c.open_uni().unwrap())).collect();
    pair.on_client(client, |connection| {
        for id in &ids {
            for offset in 0..40 {
                connection.write(*id, &[pattern(*id, offset)]).unwrap();
            }
        }
    });
    pair.world.run_for(ms(200));
    let packets = seen.borrow().iter().filter(|seen| seen.from == pair.client_addr).count();
    assert!(packets <= 2, "{packets} packets for 800 bytes");
    pair.on_server(server, |connection| {
        for id in &ids {
            assert_eq!(read_all(connection, *id), (patterned(*id, 40), false));
        }
    });
    pair.finish();
}

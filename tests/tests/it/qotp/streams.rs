//! Streams of QOTP: any ids, by either side, closed in each direction by itself.

use dunlin_core::{
    Connection, ConnectionHandle, DatagramError, Direction, Duration, Event, OpenError, ReadError, StreamId,
    WriteError,
};
use dunlin_sim::{AcceptAll, Echo, LinkConfig, Loss, Pair, Ppm, seeds};

use super::kit::{DATA, connect, connected, connected_with, drain, pair, write_all};
use crate::common::{bad_line, drop_if, kind, ms, patterned, quick, read_all};

const BI: Direction = Direction::Bidirectional;

/// Ids from all over.
const NUMBERS: [u32; 9] = [0, 1, 2, 7, 1000, 65_537, 1 << 31, u32::MAX - 1, u32::MAX];

fn accepted(connection: &mut Connection<'_>) -> Vec<StreamId> {
    core::iter::from_fn(|| connection.accept(BI)).collect()
}

#[test]
fn either_side_opens_any_id_of_qotp_and_the_other_answers_on_it() {
    for by_client in [true, false] {
        let (mut pair, client, server) = connected(false);
        let open = |connection: &mut Connection<'_>| {
            for number in NUMBERS {
                let id = connection.open_id(number).unwrap();
                assert_eq!((id, id.qotp_number()), (StreamId::qotp(number), Some(number)));
                assert_eq!(connection.open_id(number), Err(OpenError::InUse));
                write_all(connection, id, &patterned(id, 2000));
            }
        };
        let answer = |connection: &mut Connection<'_>| {
            let ids = accepted(connection);
            assert_eq!(ids.len(), NUMBERS.len());
            for id in ids {
                assert_eq!(read_all(connection, id), (patterned(id, 2000), true));
                assert_eq!(connection.open_id(id.qotp_number().unwrap()), Err(OpenError::InUse));
                write_all(connection, id, &patterned(id, 900));
            }
        };
        let finish = |connection: &mut Connection<'_>| {
            for number in NUMBERS {
                let id = StreamId::qotp(number);
                assert_eq!(read_all(connection, id), (patterned(id, 900), true));
                assert_eq!(connection.open_id(number), Err(OpenError::InUse), "used up for good");
                assert_eq!(connection.read(id, &mut [0; 9]), Err(ReadError::Closed));
                assert_eq!(connection.write(id, b"x"), Err(WriteError::Closed));
            }
        };
        if by_client {
            pair.on_client(client, open)
        } else {
            pair.on_server(server, open)
        };
        pair.world.run_for(ms(200));
        if by_client {
            pair.on_server(server, answer)
        } else {
            pair.on_client(client, answer)
        };
        pair.world.run_for(ms(200));
        if by_client {
            pair.on_client(client, finish)
        } else {
            pair.on_server(server, finish)
        };
        pair.finish();
    }
}

#[test]
fn ids_that_qotp_chooses_are_even_for_the_initiator_and_odd_for_the_responder() {
    let (mut pair, client, server) = connected(false);
    pair.on_server(server, |connection| {
        // One of the initiator's, which is skipped when it comes to that.
        let id = connection.open_id(2).unwrap();
        write_all(connection, id, b"x");
    });
    pair.world.run_for(ms(100));
    let numbers = |connection: &mut Connection<'_>| -> Vec<u32> {
        (0..3).map(|_| connection.open_bi().unwrap().qotp_number().unwrap()).collect()
    };
    assert_eq!(pair.on_client(client, numbers), [0, 4, 6]);
    assert_eq!(pair.on_server(server, numbers), [1, 3, 5]);
    pair.world.run_for(ms(100));
    let all = |connection: &mut Connection<'_>| -> Vec<u32> {
        accepted(connection).iter().filter_map(|id| id.qotp_number()).collect()
    };
    assert_eq!(pair.on_client(client, all), [2, 1, 3, 5]);
    assert_eq!(pair.on_server(server, all), [0, 4, 6]);
    pair.finish();
}

/// Both sides open the same id at the same time: it is one stream, and each has opened it.
#[test]
fn a_qotp_stream_that_both_sides_open_at_once_is_one_stream() {
    for number in [0, 5, u32::MAX] {
        let (mut pair, client, server) = connected(false);
        let id = StreamId::qotp(number);
        let open = |connection: &mut Connection<'_>| {
            assert_eq!(connection.open_id(number), Ok(id));
            write_all(connection, id, &patterned(id, 5000));
        };
        pair.on_client(client, open);
        pair.on_server(server, open);
        pair.world.run_for(ms(200));
        let check = |connection: &mut Connection<'_>| {
            assert_eq!(connection.accept(BI), None);
            assert_eq!(read_all(connection, id), (patterned(id, 5000), true));
        };
        pair.on_client(client, check);
        pair.on_server(server, check);
        pair.finish();
    }
}

#[test]
fn the_limit_on_open_qotp_streams_holds_and_ends_with_them() {
    let (mut pair, client, server) = connected_with(true, |config| config.limits.streams_bidi = 3);
    let ids: Vec<StreamId> = pair.on_client(client, |connection| {
        let ids = (0..3).map(|_| connection.open_bi().unwrap()).collect();
        assert_eq!(connection.open_bi(), Err(OpenError::Blocked));
        assert_eq!(connection.open_id(77), Err(OpenError::Blocked));
        ids
    });
    pair.world.run_for(ms(100));
    let available = |pair: &Pair| pair.client().has(client, &Event::StreamsAvailable(BI));
    pair.on_client(client, |connection| connection.finish(ids[1]).unwrap());
    pair.world.run_for(ms(100));
    assert!(!available(&pair), "the other direction is open");
    pair.on_server(server, |connection| {
        assert_eq!(accepted(connection), ids);
        // Its own limit is another one.
        for _ in 0..3 {
            connection.open_bi().unwrap();
        }
        assert_eq!(connection.open_bi(), Err(OpenError::Blocked));
        assert_eq!(read_all(connection, ids[1]), (vec![], true));
        connection.finish(ids[1]).unwrap();
    });
    pair.world.run_for(ms(100));
    pair.on_client(client, |connection| assert_eq!(read_all(connection, ids[1]), (vec![], true)));
    pair.world.run_for(ms(1));
    assert!(available(&pair));
    pair.on_client(client, |connection| {
        assert_eq!(connection.open_id(77), Ok(StreamId::qotp(77)));
        assert_eq!(connection.open_bi(), Err(OpenError::Blocked));
    });
    pair.world.run_for(ms(100));
    pair.on_server(server, |connection| assert_eq!(accepted(connection), [StreamId::qotp(77)]));
    pair.finish();
}

/// How many streams the other side takes is told by nobody. What it has no room for slows the streams that it has, and
/// must not stop them.
#[test]
fn qotp_streams_beyond_what_the_other_side_allows_do_not_stop_the_others() {
    for seed in seeds(3) {
        let mut answerer = super::kit::qotp();
        answerer.limits.streams_bidi = 5;
        let settings = [super::kit::qotp(), answerer];
        let mut upload = super::kit::Upload::new(seed, bad_line(2), settings, true, 8, 40_000);
        upload.complete(Duration::from_secs(300));
        upload.pair.finish();
    }
}

#[test]
fn each_direction_of_a_qotp_stream_closes_by_itself() {
    for client_first in [true, false] {
        let (mut pair, client, server) = connected(false);
        let id = pair.on_client(client, |connection| {
            let id = connection.open_bi().unwrap();
            assert_eq!(connection.write(id, &patterned(id, 3000)), Ok(3000));
            id
        });
        pair.world.run_for(ms(100));
        pair.on_server(server, |connection| assert_eq!(accepted(connection), [id]));
        let close = |connection: &mut Connection<'_>| connection.finish(id).unwrap();
        if client_first {
            pair.on_client(client, close)
        } else {
            pair.on_server(server, close)
        }
        pair.world.run_for(Duration::from_secs(20));
        // The other direction works as long as it likes.
        let more = |connection: &mut Connection<'_>| {
            drain(connection, id);
            assert_eq!(connection.write(id, &[9; 7000]), Ok(7000));
        };
        for _ in 0..3 {
            if client_first {
                pair.on_server(server, more)
            } else {
                pair.on_client(client, more)
            }
            pair.world.run_for(Duration::from_secs(20));
        }
        if client_first {
            pair.on_server(server, close)
        } else {
            pair.on_client(client, close)
        }
        pair.world.run_for(ms(200));
        let read = |connection: &mut Connection<'_>| read_all(connection, id);
        if client_first {
            let (bytes, ended) = pair.on_client(client, read);
            assert_eq!((bytes.len(), ended), (21_000, true));
        } else {
            let (bytes, ended) = pair.on_server(server, read);
            assert_eq!((bytes.len(), ended), (24_000, true));
        }
        for host in [pair.client(), pair.server()] {
            assert_eq!(host.count(|event| *event == Event::Finished(id)), 1);
        }
        pair.finish();
    }
}

/// The end of an empty stream looks like a PING that closes: it must arrive, whatever gets lost or is answered besides.
#[test]
fn empty_qotp_streams_end_whatever_gets_lost() {
    for seed in seeds(20) {
        let link = LinkConfig { loss: Loss::Random(Ppm::percent(30)), ..quick() };
        let mut settings = super::kit::qotp();
        settings.connect_timeout = Duration::from_secs(60);
        settings.keep_alive = Some(ms(300));
        let mut pair = Pair::with(seed, link, settings.clone(), settings, AcceptAll, AcceptAll);
        // Stream 0 has the PINGs too, and 2^32 - 1 the acknowledgements of nothing.
        let numbers = [0, u32::MAX, 3, 4];
        let client = pair.dial_qotp(seed % 2 == 0);
        pair.on_client(client, |connection| {
            for number in numbers {
                let id = connection.open_id(number).unwrap();
                if number != 4 {
                    connection.finish(id).unwrap();
                }
            }
        });
        let server = pair.server_connection(Duration::from_secs(60)).unwrap();
        pair.world.run_for(ms(seed % 700));
        pair.on_client(client, |connection| connection.finish(StreamId::qotp(4)).unwrap());
        pair.world.run_for(Duration::from_secs(15));
        for number in numbers {
            let id = StreamId::qotp(number);
            assert!(pair.client().has(client, &Event::Finished(id)), "{number} is not acknowledged");
            let got = pair.on_server(server, |connection| read_all(connection, id));
            assert_eq!(got, (vec![], true), "{number}");
        }
        pair.finish();
    }
}

/// Acknowledgements that only tell a window name a stream that is hardly ever used. If it is, they must not be taken for
/// acknowledgements of what it carried.
#[test]
fn a_window_told_does_not_acknowledge_an_empty_qotp_stream() {
    let (mut pair, client, server) = connected_with(true, |config| config.limits.max_window = 64 << 10);
    let id = pair.on_client(client, |connection| {
        let id = connection.open_id(0).unwrap();
        assert_eq!(connection.write(id, &[1; 200_000]), Ok(200_000));
        id
    });
    pair.world.run_for(Duration::from_secs(2));
    let (from, until) = (pair.client_addr, pair.now() + ms(400));
    drop_if(&mut pair.world, move |passing| passing.from == from && passing.now < until);
    pair.on_client(client, |connection| {
        let id = connection.open_id(u32::MAX).unwrap();
        connection.finish(id).unwrap();
    });
    let received = pair.on_client(client, |connection| connection.stats().packets_received);
    // What is read makes room that the client is told of.
    assert!(pair.on_server(server, |connection| drain(connection, id)).is_some_and(|read| read > 40_000));
    pair.world.run_for(ms(300));
    assert!(pair.on_client(client, |connection| connection.stats().packets_received) > received);
    let id = StreamId::qotp(u32::MAX);
    assert!(!pair.client().has(client, &Event::Finished(id)));
    pair.world.run_for(Duration::from_secs(3));
    assert!(pair.client().has(client, &Event::Finished(id)));
    pair.on_server(server, |connection| assert_eq!(read_all(connection, id), (vec![], true)));
    pair.finish();
}

#[test]
fn the_last_bytes_and_the_end_of_a_qotp_stream_share_a_packet() {
    let (mut pair, client, server) = connected(true);
    pair.world.run_for(Duration::from_secs(10));
    let before = pair.on_client(client, |connection| connection.stats().packets_sent);
    let id = pair.on_client(client, |connection| {
        let id = connection.open_bi().unwrap();
        write_all(connection, id, b"one packet");
        id
    });
    pair.world.run_for(ms(300));
    assert_eq!(pair.on_client(client, |connection| connection.stats().packets_sent) - before, 1);
    pair.on_server(server, |connection| assert_eq!(read_all(connection, id), (b"one packet".to_vec(), true)));
    pair.finish();
}

#[test]
fn ten_thousand_qotp_streams_in_a_row_leave_nothing_behind() {
    let mut pair =
        pair(1, LinkConfig { delay: Duration::from_micros(500), ..quick() }, AcceptAll, Echo::default());
    let (client, server) = connect(&mut pair, true);
    let node = pair.client;
    let mut held = [0; 2];
    for round in 0..100 {
        let ids: Vec<StreamId> = pair.on_client(client, |connection| {
            (0..100)
                .map(|_| {
                    let id = connection.open_bi().unwrap();
                    write_all(connection, id, &patterned(id, 40));
                    id
                })
                .collect()
        });
        let mut left = ids.clone();
        let done = pair.run_until(Duration::from_secs(5), |world| {
            let mut connection = world.node_mut(node).endpoint.connection(client).unwrap();
            left.retain(|id| {
                let (bytes, ended) = read_all(&mut connection, *id);
                assert!(bytes.is_empty() || bytes == patterned(*id, 40));
                !ended
            });
            left.is_empty()
        });
        assert!(done, "round {round}: {} are left", left.len());
        pair.world.run_for(ms(5));
        if round == 10 || round == 99 {
            pair.world.run_for(Duration::from_secs(2));
            let used = [pair.on_client(client, used), pair.on_server(server, used)];
            if round == 10 {
                held = used;
            }
            assert!(used[0] <= held[0] && used[1] <= held[1], "{used:?} bytes, {held:?} at first");
        }
    }
    pair.finish();
}

fn used(connection: &mut Connection<'_>) -> u64 {
    connection.stats().memory_used
}

#[test]
fn what_qotp_has_not_is_unsupported() {
    let (mut pair, client, server) = connected(true);
    let check = |connection: &mut Connection<'_>| {
        let id = connection.open_bi().unwrap();
        assert_eq!(connection.open_uni(), Err(OpenError::Unsupported));
        assert_eq!(connection.accept(Direction::Unidirectional), None);
        assert_eq!(connection.reset(id, 1u32.into()), Err(WriteError::Unsupported));
        assert_eq!(connection.stop(id, 1u32.into()), Err(ReadError::Unsupported));
        assert_eq!(connection.send_datagram(b"x"), Err(DatagramError::Unsupported));
        assert_eq!((connection.read_datagram(&mut Vec::new()), connection.max_datagram()), (None, None));
        assert_eq!(connection.export(b"label", b""), Ok(None));
        assert_eq!((connection.handshake_hash(), connection.alpn()), (None, None));
        connection.trust();
    };
    pair.on_client(client, check);
    pair.on_server(server, check);
    pair.world.run_for(ms(100));
    // And what QOTP has the native wire has not.
    let native = pair.dial();
    pair.world.run_for(ms(100));
    pair.on_client(native, |connection| {
        let id = connection.open_bi().unwrap();
        assert_eq!(connection.open_id(5), Err(OpenError::Unsupported));
        assert_eq!(connection.abandon(id), Err(ReadError::Unsupported));
        assert_eq!(connection.qotp_claimed_key(), None);
    });
    pair.finish();
}

#[test]
fn dialling_in_qotp_opens_streams_but_has_nothing_else_to_offer() {
    let mut pair = pair(1, quick(), AcceptAll, AcceptAll);
    let client = pair.dial_qotp(false);
    pair.on_client(client, |connection| {
        let id = connection.open_id(9).unwrap();
        assert_eq!(connection.write(id, b"hello"), Ok(5));
        assert_eq!(connection.read(id, &mut [0; 5]), Err(ReadError::Blocked));
        assert_eq!(connection.open_uni(), Err(OpenError::Unsupported));
        assert_eq!(connection.send_datagram(b"x"), Err(DatagramError::Unsupported));
        assert_eq!((connection.qotp_claimed_key(), connection.suite()), (None, None));
    });
    pair.world.run_for(ms(100));
    assert_eq!(pair.server().count(|event| *event == Event::StreamOpened(BI)), 1);
    pair.finish();
}

/// A reader that wants no more: the sender is not held up by it, and hears nothing of it.
#[test]
fn an_abandoned_qotp_stream_is_acknowledged_and_thrown_away() {
    for seed in seeds(3) {
        let mut settings = super::kit::qotp();
        settings.limits.max_window = 64 << 10;
        let mut pair = Pair::with(seed, bad_line(3), settings.clone(), settings, AcceptAll, AcceptAll);
        let (client, server) = connect(&mut pair, true);
        let ids: Vec<StreamId> = pair.on_client(client, |connection| {
            let open = |connection: &mut Connection<'_>| {
                let id = connection.open_bi().unwrap();
                let _ = connection.write(id, &patterned(id, 200_000)).unwrap();
                connection.finish(id).unwrap();
                id
            };
            (0..2).map(|_| open(connection)).collect()
        });
        pair.world.run_for(Duration::from_secs(3));
        assert!(ids.iter().all(|id| !pair.client().has(client, &Event::Finished(*id))), "nobody reads");
        pair.on_server(server, |connection| {
            assert_eq!(accepted(connection), ids);
            assert_eq!(connection.abandon(ids[0]), Ok(()));
            assert_eq!(connection.abandon(ids[0]), Err(ReadError::Closed));
            assert_eq!(connection.read(ids[0], &mut [0; 10]), Err(ReadError::Closed));
            connection.finish(ids[0]).unwrap();
        });
        // The window is one for all streams: the other one has to be read for this one to go on.
        let mut read = Vec::new();
        let node = pair.server;
        let done = pair.run_until(Duration::from_secs(20), |world| {
            let mut connection = world.node_mut(node).endpoint.connection(server).unwrap();
            let (bytes, ended) = read_all(&mut connection, ids[1]);
            read.extend(bytes);
            ended
        });
        assert!(done && read == patterned(ids[1], 200_000), "{} bytes of the other one", read.len());
        pair.world.run_for(Duration::from_secs(2));
        assert!(pair.client().has(client, &Event::Finished(ids[0])), "all of it was acknowledged");
        pair.finish();
    }
}

/// Streams of several priorities take turns as on the native wire.
#[test]
fn qotp_streams_of_higher_priority_go_first() {
    let (mut pair, client, server) = connected(true);
    pair.world.run_for(ms(100));
    let (low, high): (StreamId, StreamId) = pair.on_client(client, |connection| {
        let (low, high) = (connection.open_bi().unwrap(), connection.open_bi().unwrap());
        connection.set_priority(low, -1).unwrap();
        for id in [low, high] {
            let _ = connection.write(id, &patterned(id, 150_000)).unwrap();
        }
        (low, high)
    });
    let count = |pair: &mut Pair, server: ConnectionHandle, id| {
        pair.on_server(server, |connection| drain(connection, id).unwrap_or(0))
    };
    pair.world.run_for(ms(25));
    let (mut first, mut second) = (0, 0);
    for _ in 0..100 {
        let more = count(&mut pair, server, high);
        first += more;
        if first < 140_000 {
            second += count(&mut pair, server, low);
        }
        pair.world.run_for(ms(5));
    }
    assert!(first >= 140_000 && second < 10_000, "{first} {second}");
    pair.finish();
}

#[test]
fn data_of_qotp_keeps_its_pieces_when_it_goes_again() {
    // Every Data packet of the client is lost the first time, and its size recorded.
    let (mut pair, client, server) = connected(true);
    pair.world.run_for(ms(500));
    let from = pair.client_addr;
    let sizes = std::rc::Rc::new(core::cell::RefCell::new(Vec::new()));
    let (record, mut count) = (std::rc::Rc::clone(&sizes), 0);
    drop_if(&mut pair.world, move |passing| {
        let hit = passing.from == from && kind(passing.bytes) == DATA && passing.bytes.len() > 100;
        if hit {
            count += 1;
            record.borrow_mut().push(passing.bytes.len());
        }
        hit && count <= 3
    });
    let id = pair.on_client(client, |connection| {
        let id = connection.open_bi().unwrap();
        write_all(connection, id, &patterned(id, 3000));
        id
    });
    // The other side talks too, so that there are acknowledgements to go beside what goes again.
    pair.on_server(server, |connection| {
        let id = connection.open_bi().unwrap();
        write_all(connection, id, &patterned(id, 3000));
    });
    pair.world.run_for(Duration::from_secs(2));
    pair.on_server(server, |connection| assert_eq!(read_all(connection, id), (patterned(id, 3000), true)));
    // 1361, 1361 and 278 bytes, however often; an acknowledgement goes beside the last one only.
    let mut sizes = sizes.borrow().clone();
    sizes.sort_unstable();
    sizes.dedup();
    assert!(sizes.iter().all(|size| [278 + 39, 278 + 49, 1400].contains(size)), "{sizes:?}");
    pair.finish();
}

//! How streams end: read to the end, reset, stopped.

use dunlin_core::{Config, ConnectionHandle, Direction, Duration, Event, ReadError, StreamId, WriteError};
use dunlin_sim::{AcceptAll, Pair, config, seeds};

use crate::common::{bad_line, drop_while, ms, quick, read_all};

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
fn one_half_of_a_stream_lives_on_when_the_other_has_ended() {
    let (mut pair, client, server) = connected();
    let id = pair.on_client(client, |connection| {
        let id = connection.open_bi().unwrap();
        connection.write(id, b"question").unwrap();
        connection.finish(id).unwrap();
        assert_eq!(connection.write(id, b"more"), Err(WriteError::Closed));
        assert_eq!(connection.finish(id), Err(WriteError::Closed));
        id
    });
    pair.world.run_for(ms(200));
    assert!(pair.client().has(client, &Event::Finished(id)));
    for part in 0..5u8 {
        pair.on_server(server, |connection| {
            if part == 0 {
                assert_eq!(connection.accept(BI), Some(id));
                assert_eq!(read_all(connection, id), (b"question".to_vec(), true));
                assert_eq!(connection.read(id, &mut [0; 1]), Err(ReadError::Closed));
            }
            connection.write(id, &[part; 1000]).unwrap();
        });
        pair.world.run_for(Duration::from_secs(10));
        pair.on_client(client, |connection| assert_eq!(read_all(connection, id), (vec![part; 1000], false)));
    }
    pair.on_server(server, |connection| connection.finish(id)).unwrap();
    pair.world.run_for(ms(200));
    pair.on_client(client, |connection| assert_eq!(read_all(connection, id), (vec![], true)));
    assert_eq!(pair.server().count(|event| *event == Event::Finished(id)), 1);
    assert_eq!(pair.client().count(|event| *event == Event::Finished(id)), 1);
    pair.finish();
}

#[test]
fn a_reset_reaches_the_reader_with_its_code() {
    let (mut pair, client, server) = connected();
    let id = pair.on_client(client, |connection| {
        let id = connection.open_bi().unwrap();
        connection.write(id, &[1; 3000]).unwrap();
        id
    });
    pair.world.run_for(ms(200));
    pair.on_server(server, |connection| assert_eq!(connection.read(id, &mut [0; 100]), Ok(100)));
    pair.on_client(client, |connection| {
        connection.reset(id, 77u32.into()).unwrap();
        assert_eq!(connection.reset(id, 78u32.into()), Err(WriteError::Closed));
        assert_eq!(connection.write(id, b"x"), Err(WriteError::Closed));
    });
    pair.world.run_for(ms(200));
    pair.on_server(server, |connection| {
        assert_eq!(connection.read(id, &mut [0; 100]), Err(ReadError::Reset(77u32.into())));
        assert_eq!(connection.read(id, &mut [0; 100]), Err(ReadError::Closed));
        // The other direction is untouched.
        connection.write(id, b"still here").unwrap();
    });
    pair.world.run_for(ms(200));
    pair.on_client(client, |connection| {
        assert_eq!(read_all(connection, id), (b"still here".to_vec(), false));
    });
    assert!(pair.client().has(client, &Event::Finished(id)), "the peer knows of the reset");
    pair.finish();
}

#[test]
fn a_stop_reaches_the_writer_with_its_code_however_late_it_looks() {
    for wait in [ms(100), Duration::from_secs(20)] {
        for direction in [BI, UNI] {
            let (mut pair, client, server) = connected();
            let id = pair.on_client(client, |connection| {
                let id = connection.open(direction).unwrap();
                connection.write(id, &[1; 3000]).unwrap();
                id
            });
            pair.world.run_for(ms(200));
            pair.on_server(server, |connection| {
                connection.stop(id, 99u32.into()).unwrap();
                assert_eq!(connection.read(id, &mut [0; 9]), Err(ReadError::Closed));
                assert_eq!(connection.stop(id, 98u32.into()), Err(ReadError::Closed));
            });
            pair.world.run_for(wait);
            assert!(pair.client().has(client, &Event::Writable(id)), "told of it");
            pair.on_client(client, |connection| {
                assert_eq!(connection.write(id, b"x"), Err(WriteError::Stopped(99u32.into())), "{wait:?}");
            });
            pair.world.run_for(ms(200));
            pair.finish();
        }
    }
}

#[test]
fn stopped_streams_make_room_for_others() {
    let (mut pair, client, server) = connected_with(|config| config.limits.streams_uni = 2);
    for _ in 0..50 {
        let id = pair.on_client(client, |connection| {
            let id = connection.open_uni().unwrap();
            connection.write(id, &[1; 3000]).unwrap();
            id
        });
        pair.world.run_for(ms(50));
        pair.on_server(server, |connection| connection.stop(id, 1u32.into())).unwrap();
        pair.world.run_for(ms(200));
        pair.on_client(client, |connection| {
            assert!(matches!(connection.write(id, b"x"), Err(WriteError::Stopped(_))));
        });
        pair.world.run_for(ms(200));
    }
    pair.finish();
}

#[test]
fn stopping_a_stream_that_has_all_arrived_disturbs_nobody() {
    let (mut pair, client, server) = connected();
    let ids: Vec<StreamId> = (0..2)
        .map(|_| {
            pair.on_client(client, |connection| {
                let id = connection.open_uni().unwrap();
                connection.write(id, &[1; 3000]).unwrap();
                connection.finish(id).unwrap();
                id
            })
        })
        .collect();
    pair.world.run_for(ms(200));
    pair.on_server(server, |connection| {
        assert_eq!(connection.read(ids[0], &mut [0; 4000]), Ok(3000));
        assert_eq!(connection.read(ids[0], &mut [0; 4000]), Ok(0));
        assert_eq!(connection.stop(ids[0], 1u32.into()), Err(ReadError::Closed), "read to its end");
        assert_eq!(connection.stop(ids[1], 1u32.into()), Ok(()), "not read yet");
    });
    pair.world.run_for(ms(200));
    for id in ids {
        assert!(pair.client().has(client, &Event::Finished(id)));
        pair.on_client(client, |connection| assert_eq!(connection.write(id, b"x"), Err(WriteError::Closed)));
    }
    assert!(pair.client().closed(client).is_none());
    pair.finish();
}

#[test]
fn a_reset_and_a_stop_may_cross() {
    for seed in seeds(5) {
        let mut pair = Pair::with(seed, bad_line(20), config(), config(), AcceptAll, AcceptAll);
        let (client, server) = pair.connect();
        for _ in 0..20 {
            let id = pair.on_client(client, |connection| {
                let id = connection.open_bi().unwrap();
                connection.write(id, &[1; 5000]).unwrap();
                id
            });
            pair.world.run_for(ms(seed % 50));
            pair.on_client(client, |connection| connection.reset(id, 1u32.into())).unwrap();
            // It may not have come yet, and then it cannot be stopped.
            pair.on_server(server, |connection| connection.stop(id, 2u32.into()).ok());
            pair.on_server(server, |connection| connection.reset(id, 3u32.into()).ok());
            pair.on_client(client, |connection| connection.stop(id, 4u32.into()).ok());
            pair.world.run_for(ms(300));
        }
        pair.world.run_for(Duration::from_secs(5));
        assert!(pair.client().closed(client).is_none() && pair.server().closed(server).is_none());
        pair.finish();
    }
}

#[test]
fn a_finished_stream_can_be_reset_until_it_is_delivered() {
    let (mut pair, client, server) = connected();
    let open = drop_while(&mut pair.world, |_| true);
    let id = pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &[1; 3000]).unwrap();
        connection.finish(id).unwrap();
        id
    });
    pair.world.run_for(ms(10));
    open.set(false);
    pair.on_client(client, |connection| connection.reset(id, 5u32.into())).unwrap();
    pair.world.run_for(Duration::from_secs(1));
    pair.on_server(server, |connection| {
        assert_eq!(connection.read(id, &mut [0; 9]), Err(ReadError::Reset(5u32.into())));
    });
    let delivered = pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.finish(id).unwrap();
        id
    });
    pair.world.run_for(ms(200));
    pair.on_client(client, |connection| {
        assert_eq!(connection.reset(delivered, 5u32.into()), Err(WriteError::Closed));
    });
    pair.finish();
}

#[test]
fn an_empty_stream_is_its_end() {
    let (mut pair, client, server) = connected();
    let ids: Vec<StreamId> = [BI, UNI]
        .iter()
        .map(|direction| {
            pair.on_client(client, |connection| {
                let id = connection.open(*direction).unwrap();
                connection.finish(id).unwrap();
                id
            })
        })
        .collect();
    pair.world.run_for(ms(200));
    pair.on_server(server, |connection| {
        assert_eq!(connection.accept(BI), Some(ids[0]));
        assert_eq!(connection.accept(UNI), Some(ids[1]));
        assert_eq!(connection.read(ids[0], &mut [0; 9]), Ok(0));
        assert_eq!(connection.read_chunk(ids[1], 9), Ok(None));
        assert_eq!(connection.read_chunk(ids[1], 9), Err(ReadError::Closed));
    });
    for id in ids {
        assert!(pair.client().has(client, &Event::Finished(id)));
    }
    pair.finish();
}

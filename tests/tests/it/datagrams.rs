//! Unreliable datagrams: bounded queues, sizes, and what is lost stays lost.

use dunlin_core::{Config, ConnectionHandle, DatagramError, Duration, Event, Overflow, TrainLimit};
use dunlin_sim::{AcceptAll, LinkConfig, Loss, Pair, Ppm, Rate, Receiver, config};

use crate::common::{at, drop_if, hand_in, line, ms, patterned, quick};

fn connected(link: LinkConfig, ours: Config, theirs: Config) -> (Pair, ConnectionHandle, ConnectionHandle) {
    let mut pair = Pair::with(1, link, ours, theirs, AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    pair.world.run_for(ms(440));
    (pair, client, server)
}

fn read_all(pair: &mut Pair, server: ConnectionHandle) -> Vec<Vec<u8>> {
    pair.on_server(server, |connection| {
        core::iter::from_fn(|| {
            let mut out = Vec::new();
            connection.read_datagram(&mut out).map(|len| {
                assert_eq!(len, out.len());
                out
            })
        })
        .collect()
    })
}

#[test]
fn datagrams_arrive_whole_and_in_order_on_a_good_line() {
    let (mut pair, client, server) = connected(quick(), config(), config());
    let max = pair.on_client(client, |connection| connection.max_datagram().unwrap());
    assert!((1100..1200).contains(&max), "{max} bytes in a packet of 1,200");
    let sent: Vec<Vec<u8>> =
        [0, 1, 10, 500, max, max - 1, 0, 7].iter().map(|len| vec![*len as u8; *len]).collect();
    pair.on_client(client, |connection| {
        for datagram in &sent {
            connection.send_datagram(datagram).unwrap();
        }
    });
    pair.world.run_for(ms(100));
    assert_eq!(
        pair.server().count(|event| *event == Event::DatagramReceived),
        1,
        "one event until all are read"
    );
    assert_eq!(read_all(&mut pair, server), sent);
    pair.on_client(client, |connection| connection.send_datagram(b"again")).unwrap();
    pair.world.run_for(ms(100));
    assert_eq!(pair.server().count(|event| *event == Event::DatagramReceived), 2);
    assert_eq!(read_all(&mut pair, server), [b"again"]);
    let stats = pair.on_client(client, |connection| connection.stats());
    assert_eq!((stats.datagrams_sent, stats.datagrams_dropped), (9, 0));
    assert_eq!(pair.on_server(server, |connection| connection.stats().datagrams_received), 9);
    pair.finish();
}

/// Else each would cost a system call.
#[test]
fn datagrams_smaller_than_a_packet_leave_in_one_train() {
    // Reserved frames would make packets of different lengths.
    let mut plain = config();
    plain.reserved_frames = false;
    plain.mtu_discovery.enabled = false;
    let near = LinkConfig { delay: Duration::from_micros(100), ..LinkConfig::default() };
    let (mut pair, client, server) = connected(near, plain.clone(), plain);
    // Once the path is known the pacer lets several go at once.
    pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &vec![1; 2_000_000]).unwrap();
        connection.finish(id).unwrap();
    });
    pair.world.run_for(ms(1_000));
    pair.on_client(client, |connection| {
        for len in [700, 700, 700, 700, 650, 700] {
            connection.send_datagram(&vec![1; len]).unwrap();
        }
    });
    let now = pair.world.now();
    let node = pair.client;
    let mut out = Vec::new();
    let mut trains = Vec::new();
    while let Some(transmit) =
        pair.world.node_mut(node).endpoint.poll_transmit(now, TrainLimit::OFFLOAD, &mut out)
    {
        trains.push((transmit.len, transmit.segment_size));
    }
    let packet = trains[0].1;
    assert!((700..750).contains(&packet), "{trains:?}");
    assert_eq!(trains, [(packet * 5 - 50, packet), (packet, packet)], "a shorter one ends a train");
    let (local, remote, node) = (pair.server_addr, pair.client_addr, pair.server);
    let mut rest = &out[..];
    for (len, segment_size) in trains {
        let (train, others) = rest.split_at(len);
        for datagram in train.chunks(segment_size) {
            hand_in(&mut pair.world, node, local, remote, datagram);
        }
        rest = others;
    }
    assert_eq!(read_all(&mut pair, server).len(), 6);
}

#[test]
fn what_does_not_fit_is_refused_with_the_size_that_does() {
    let (mut pair, client, server) = connected(quick(), config(), config());
    pair.on_client(client, |connection| {
        let max = connection.max_datagram().unwrap();
        assert_eq!(connection.send_datagram(&vec![1; max + 1]), Err(DatagramError::TooLarge { max }));
        assert_eq!(connection.send_datagram(&[1; 100_000]), Err(DatagramError::TooLarge { max }));
        assert_eq!(connection.send_datagram(&vec![1; max]), Ok(()));
    });
    pair.world.run_for(ms(100));
    assert_eq!(read_all(&mut pair, server).len(), 1);
    pair.finish();
}

#[test]
fn larger_packets_take_larger_datagrams_as_far_as_the_peer_receives_them() {
    for (packet_size, max_receive_size, expected) in
        [(9000, 65_000, 8900..9000), (9000, 1500, 1400..1500), (100, 65_000, 1100..1200)]
    {
        let (mut ours, mut theirs) = (config(), config());
        ours.packet_size = packet_size;
        theirs.max_receive_size = max_receive_size;
        let (mut pair, client, server) = connected(quick(), ours, theirs);
        let max = pair.on_client(client, |connection| connection.max_datagram().unwrap());
        assert!(expected.contains(&max), "{max}");
        pair.on_client(client, |connection| connection.send_datagram(&vec![1; max])).unwrap();
        pair.world.run_for(ms(100));
        assert_eq!(read_all(&mut pair, server), [vec![1; max]]);
        pair.finish();
    }
}

#[test]
fn a_peer_that_takes_none_is_sent_none() {
    let mut deaf = config();
    deaf.datagrams.receive_buffer = 0;
    let (mut pair, client, server) = connected(quick(), config(), deaf.clone());
    pair.on_client(client, |connection| {
        assert_eq!(connection.max_datagram(), None);
        assert_eq!(connection.send_datagram(b"x"), Err(DatagramError::Unsupported));
    });
    pair.on_server(server, |connection| connection.send_datagram(b"but it may send")).unwrap();
    pair.world.run_for(ms(100));
    let mut out = Vec::new();
    pair.on_client(client, |connection| assert!(connection.read_datagram(&mut out).is_some()));
    pair.finish();

    // Queued before that was known.
    let mut pair = Pair::with(1, quick(), config(), deaf, AcceptAll, AcceptAll);
    let client = pair.dial();
    pair.on_client(client, |connection| connection.send_datagram(b"x")).unwrap();
    pair.world.run_for(Duration::from_secs(1));
    assert_eq!(pair.client().closed(client), None);
    pair.on_client(client, |connection| {
        let stats = connection.stats();
        assert_eq!((stats.datagrams_sent, stats.datagrams_dropped), (0, 1));
        connection.open_uni().unwrap();
    });
    pair.world.run_for(ms(100));
    assert_eq!(pair.server().count(|event| matches!(event, Event::StreamOpened(_))), 1);
    pair.finish();
}

#[test]
fn a_full_send_queue_drops_the_oldest() {
    let mut small = config();
    small.datagrams.send_buffer = 10_000;
    let (mut pair, client, server) = connected(quick(), small, config());
    pair.on_client(client, |connection| {
        for n in 0..100u8 {
            connection.send_datagram(&[n; 992]).unwrap();
        }
        assert_eq!(connection.stats().datagrams_dropped, 90);
    });
    pair.world.run_for(Duration::from_secs(1));
    let got: Vec<u8> = read_all(&mut pair, server).iter().map(|datagram| datagram[0]).collect();
    assert_eq!(got, (90..100).collect::<Vec<u8>>());
    pair.finish();
}

#[test]
fn a_full_send_queue_may_refuse_and_then_tells_of_room() {
    let mut small = config();
    small.datagrams.send_buffer = 10_000;
    small.datagrams.overflow = Overflow::Refuse;
    let link = LinkConfig { rate: Some(Rate::mbit(1)), ..line() };
    let (mut pair, client, server) = connected(link, small, config());
    let mut sent = 0u32;
    while sent < 100 {
        assert!(pair.now() < at(30_000), "{sent}");
        pair.on_client(client, |connection| {
            let before = sent;
            while sent < 100 && connection.send_datagram(&[sent as u8; 992]).is_ok() {
                sent += 1;
            }
            assert!(sent > before, "there is room when it is told");
            if sent < 100 {
                assert_eq!(connection.send_datagram(&[0; 992]), Err(DatagramError::Full));
            }
        });
        let told = pair.client().count(|event| *event == Event::DatagramSendable);
        let node = pair.client;
        let room = pair.run_until(Duration::from_secs(5), |world| {
            world.node(node).count(|event| *event == Event::DatagramSendable) > told
        });
        assert!(room || sent == 100, "a refused sender is told");
    }
    pair.world.run_for(Duration::from_secs(3));
    let got: Vec<u8> = read_all(&mut pair, server).iter().map(|datagram| datagram[0]).collect();
    assert_eq!(got, (0..100).collect::<Vec<u8>>());
    pair.finish();
}

#[test]
fn a_full_receive_queue_drops_the_oldest() {
    let mut small = config();
    small.datagrams.receive_buffer = 10_000;
    let (mut pair, client, server) = connected(quick(), config(), small);
    for n in 0..100u8 {
        pair.on_client(client, |connection| connection.send_datagram(&[n; 992])).unwrap();
        pair.world.run_for(ms(10));
    }
    pair.world.run_for(ms(100));
    let got: Vec<u8> = read_all(&mut pair, server).iter().map(|datagram| datagram[0]).collect();
    assert_eq!(got, (90..100).collect::<Vec<u8>>());
    let stats = pair.on_server(server, |connection| connection.stats());
    assert_eq!((stats.datagrams_received, stats.datagrams_dropped), (100, 90));
    pair.finish();
}

#[test]
fn lost_datagrams_are_counted_and_not_repeated() {
    let link = LinkConfig { loss: Loss::Random(Ppm::percent(20)), ..quick() };
    let (mut pair, client, server) = connected(link, config(), config());
    for n in 0..200u32 {
        pair.on_client(client, |connection| connection.send_datagram(&n.to_be_bytes())).unwrap();
        pair.world.run_for(ms(20));
    }
    pair.world.run_for(Duration::from_secs(5));
    let got: Vec<u32> = read_all(&mut pair, server)
        .iter()
        .map(|datagram| u32::from_be_bytes(datagram[..].try_into().unwrap()))
        .collect();
    assert!(got.is_sorted() && got.windows(2).all(|pair| pair[0] != pair[1]));
    let stats = pair.on_client(client, |connection| connection.stats());
    assert_eq!(stats.datagrams_sent, 200);
    // Lost, or only its acknowledgements lost for too long.
    let missing = 200 - got.len() as u64;
    assert!(
        missing > 10 && stats.datagrams_dropped >= missing - 1,
        "{missing} missing, {} counted",
        stats.datagrams_dropped
    );
    assert!(stats.datagrams_dropped < missing + 40);
    pair.finish();
}

#[test]
fn datagrams_and_streams_share_a_connection() {
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(1, line(), config(), config(), AcceptAll, receiver);
    let (client, server) = pair.connect();
    let id = pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &patterned(id, 200_000)).unwrap();
        connection.finish(id).unwrap();
        id
    });
    let mut sent = 0;
    while seen.borrow().finished == 0 {
        assert!(pair.now() < at(5000), "{} of 200,000, beside {sent} datagrams", seen.borrow().total());
        // Sizes of all kinds, so that packets fill up in every way.
        pair.on_client(client, |connection| connection.send_datagram(&vec![1; (sent * 37) % 1150])).unwrap();
        sent += 1;
        pair.world.run_for(Duration::from_micros(500));
    }
    pair.world.run_for(ms(500));
    assert!(pair.client().has(client, &Event::Finished(id)));
    assert_eq!(
        read_all(&mut pair, server).len() as u64 + pair.on_server(server, |c| c.stats().datagrams_dropped),
        sent as u64
    );
    pair.finish();
}

#[test]
fn datagrams_are_held_by_congestion_control() {
    let link = LinkConfig { rate: Some(Rate::mbit(2)), ..line() };
    let mut eager = config();
    eager.datagrams.send_buffer = 4 << 20;
    let (mut pair, client, _) = connected(link, eager, config());
    pair.on_client(client, |connection| {
        for _ in 0..2000 {
            connection.send_datagram(&[1; 1000]).unwrap();
        }
    });
    pair.world.run_for(Duration::from_secs(4));
    let (from, to) = (pair.client_addr, pair.server_addr);
    let link = pair.world.link_between(from, to);
    let now = pair.now();
    let stats = pair.world.link_mut(link).stats(now).clone();
    assert!(stats.sent.bytes < 2 * 1_150_000, "{} bytes in 4 s at 2 Mbit/s", stats.sent.bytes);
    assert!(stats.delivered.bytes > 700_000, "{}", stats.delivered.bytes);
    pair.finish();
}

#[test]
fn a_datagram_on_a_dead_line_does_not_live_for_ever() {
    let (mut pair, client, _) = connected(quick(), config(), config());
    drop_if(&mut pair.world, |_| true);
    pair.on_client(client, |connection| connection.send_datagram(b"anybody")).unwrap();
    pair.world.run_for(Duration::from_secs(100));
    assert_eq!(pair.client().closed(client).unwrap().1, &dunlin_core::CloseReason::IdleTimeout);
    pair.finish();
}

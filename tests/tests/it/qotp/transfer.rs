//! Data gets through, whatever the network does to it.

use dunlin_core::Duration;
use dunlin_sim::{Echo, LinkConfig, Loss, Pair, Ppm, Received, Receiver, seeds};
use std::rc::Rc;

use super::kit::{MTU, Upload, connect, pair, qotp};
use crate::common::{line, ms, patterned, read_all, record};

/// 5 % of loss, reordering, duplication.
fn lossy() -> LinkConfig {
    LinkConfig {
        loss: Loss::Random(Ppm::percent(5)),
        reorder: Ppm::percent(2),
        reorder_by: ms(3),
        duplicate: Ppm::percent(1),
        jitter: ms(1),
        ..line()
    }
}

fn transfer(seed: u64, link: LinkConfig, known: bool, streams: usize, bytes: u64, limit: u64) {
    let mut upload = Upload::new(seed, link, [qotp(), qotp()], known, streams, bytes);
    upload.complete(Duration::from_secs(limit));
    upload.pair.finish();
}

#[test]
fn qotp_moves_streams_in_both_flows() {
    for known in [false, true] {
        for streams in [1, 4, 90] {
            transfer(1, line(), known, streams, (2 << 20) / streams as u64, 5);
        }
    }
}

#[test]
fn qotp_moves_sixteen_mebibytes_over_five_percent_of_loss_and_reordering() {
    for (seed, known) in seeds(4).zip([true, false, true, false]) {
        // One stream beyond 16 MiB has offsets of both lengths.
        let (streams, bytes) = if known { (1, 17 << 20) } else { (4, 4 << 20) };
        transfer(seed, lossy(), known, streams, bytes, 60);
    }
}

#[test]
fn qotp_survives_bursts_of_loss() {
    let bursts = Loss::GilbertElliott {
        to_bad: Ppm::percent(1),
        to_good: Ppm::percent(10),
        in_good: Ppm::NEVER,
        in_bad: Ppm::percent(70),
    };
    for seed in seeds(6) {
        let link = LinkConfig { loss: bursts.clone(), ..line() };
        transfer(seed, link, seed % 2 == 0, 3, 1 << 20, 40);
    }
}

#[test]
fn qotp_survives_every_datagram_twice() {
    for known in [false, true] {
        transfer(1, LinkConfig { duplicate: Ppm::percent(100), ..line() }, known, 2, 2 << 20, 10);
    }
}

#[test]
fn qotp_survives_a_round_trip_of_300_ms() {
    for (percent, limit) in [(0, 20), (2, 60)] {
        let link = LinkConfig { delay: ms(150), loss: Loss::Random(Ppm::percent(percent)), ..line() };
        transfer(1, link.clone(), true, 1, 4 << 20, limit);
        transfer(2, link, false, 4, 1 << 20, limit);
    }
}

#[test]
fn qotp_fits_a_link_of_1400_bytes_and_fills_it() {
    for known in [false, true] {
        let link = LinkConfig { mtu: Some(MTU), loss: Loss::Random(Ppm::percent(2)), ..line() };
        let mut upload = Upload::new(3, link, [qotp(), qotp()], known, 3, 700_000);
        let seen = record(&mut upload.pair.world);
        upload.complete(Duration::from_secs(20));
        let from = upload.pair.client_addr;
        let longest = seen.borrow().iter().map(|seen| seen.bytes.len()).max();
        assert_eq!(longest, Some(MTU));
        let full = seen.borrow().iter().filter(|seen| seen.from == from && seen.bytes.len() == MTU).count();
        assert!(full >= 3 * 700_000 / 1361, "{full} full datagrams");
        upload.pair.finish();
    }
}

#[test]
fn qotp_moves_data_both_ways_at_once() {
    for seed in seeds(3) {
        let (there, server_seen) = Receiver::new();
        let (back, client_seen) = Receiver::new();
        let mut pair = pair(seed, lossy(), back, there);
        let (client, server) = connect(&mut pair, seed % 2 == 0);
        let write = |connection: &mut dunlin_core::Connection<'_>| {
            for _ in 0..5 {
                let id = connection.open_bi().unwrap();
                super::kit::write_all(connection, id, &patterned(id, 200_000));
            }
        };
        pair.on_client(client, write);
        pair.on_server(server, write);
        // Five streams of the peer, and the ends of five of our own.
        let whole = |seen: &Received| seen.finished == 10 && seen.total() == 1_000_000;
        let done = pair.run_until(Duration::from_secs(30), |_| {
            whole(&server_seen.borrow()) && whole(&client_seen.borrow())
        });
        assert!(done, "{:?} {:?}", server_seen.borrow(), client_seen.borrow());
        pair.finish();
    }
}

#[test]
fn qotp_echoes_come_back_whole() {
    for seed in seeds(3) {
        let mut pair: Pair = pair(seed, lossy(), dunlin_sim::AcceptAll, Echo::default());
        let client = pair.dial_qotp(seed % 2 == 1);
        let ids: Vec<_> = pair.on_client(client, |connection| {
            (0..8)
                .map(|_| {
                    let id = connection.open_bi().unwrap();
                    super::kit::write_all(connection, id, &patterned(id, 100_000));
                    id
                })
                .collect()
        });
        let back = Rc::new(core::cell::RefCell::new(vec![Vec::new(); ids.len()]));
        let node = pair.client;
        let done = pair.run_until(Duration::from_secs(30), |world| {
            let Some(mut connection) = world.node_mut(node).endpoint.connection(client) else { return false };
            let mut back = back.borrow_mut();
            let mut ended = 0;
            for (at, id) in ids.iter().enumerate() {
                back[at].extend(read_all(&mut connection, *id).0);
                ended += usize::from(back[at].len() == 100_000);
            }
            ended == ids.len()
        });
        assert!(done, "{:?}", back.borrow().iter().map(Vec::len).collect::<Vec<_>>());
        for (id, bytes) in ids.iter().zip(&*back.borrow()) {
            assert_eq!(*bytes, patterned(*id, 100_000));
        }
        pair.finish();
    }
}

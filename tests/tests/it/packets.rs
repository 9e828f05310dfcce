//! Packets that are repeated, damaged, cut, forged or not packets at all (docs/PROTOCOL.md, "Keys and protection" and
//! "Paths, numbers, replay").

use dunlin_core::{ConnectionHandle, Disposition, DropReason, Duration};
use dunlin_sim::{
    AcceptAll, Injection, LinkConfig, Loss, Pair, Ppm, Receiver, Sender, Verdict, config, seeds,
};

use crate::common::{DATA, Seen, bad_line, drop_while, hand_in, kind, line, ms, quick, record};

/// A connected pair, and a Data packet of the dialler that has not arrived.
fn with_fresh_packet() -> (Pair, ConnectionHandle, Seen) {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    pair.world.run_for(ms(500));
    let seen = record(&mut pair.world);
    let lost = drop_while(&mut pair.world, |_| true);
    pair.on_client(client, |connection| connection.send_datagram(b"the last letter of the Tsar")).unwrap();
    pair.world.run_for(ms(1));
    lost.set(false);
    let fresh = seen.borrow()[0].clone();
    (pair, server, fresh)
}

#[test]
fn every_packet_may_be_replayed_and_counts_once() {
    for seed in seeds(3) {
        let (receiver, received) = Receiver::new();
        let mut pair = Pair::with(seed, bad_line(2), config(), config(), Sender::new(3, 200_000), receiver);
        let mut rng = pair.world.rng(7);
        pair.world.add_tap(move |passing| {
            if kind(passing.bytes) == DATA {
                for _ in 0..2 {
                    let (from, to, bytes) = (passing.from, passing.to, passing.bytes.clone());
                    let after = Duration::from_micros(10_000 + rng.below(200_000));
                    passing.inject(Injection { after, from, to, ecn: None, bytes });
                }
            }
            Verdict::Pass
        });
        let client = pair.dial();
        assert!(pair.run_until(Duration::from_secs(30), |_| received.borrow().finished == 3));
        assert_eq!(received.borrow().total(), 600_000);
        pair.world.run_for(Duration::from_secs(1));
        let stats = pair.on_client(client, |connection| connection.stats());
        assert_eq!(stats.forged_packets, 0);
        let server = pair.server().events[0].1;
        let packets = pair.on_server(server, |connection| connection.stats().packets_received);
        assert!(packets <= stats.packets_sent, "{packets} of {}", stats.packets_sent);
        assert!(pair.server().dropped(DropReason::Duplicate) >= packets);
        pair.finish();
    }
}

#[test]
fn a_replayed_packet_changes_nothing() {
    let (mut pair, server, fresh) = with_fresh_packet();
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    assert_eq!(hand_in(&mut pair.world, node, to, from, &fresh.bytes), Disposition::Accepted);
    pair.world.run_for(ms(2000));
    let before = pair.on_server(server, |connection| connection.stats());
    let sent = pair.server().endpoint.stats().datagrams_sent;
    for n in 1..=10 {
        let other = core::net::SocketAddr::from(([192, 0, 2, n], 1));
        let got = hand_in(&mut pair.world, node, to, if n % 2 == 0 { from } else { other }, &fresh.bytes);
        assert_eq!(got, Disposition::Dropped(DropReason::Duplicate));
    }
    pair.world.run_for(ms(500));
    assert_eq!(pair.on_server(server, |connection| connection.stats()), before);
    assert_eq!(pair.server().endpoint.stats().datagrams_sent, sent);
    pair.finish();
}

#[test]
fn a_data_packet_with_any_bit_changed_is_dropped_and_changes_nothing() {
    let (mut pair, server, fresh) = with_fresh_packet();
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    let before = pair.on_server(server, |connection| connection.stats());
    let mut forged = 0;
    for place in 0..fresh.bytes.len() {
        for bit in 0..8 {
            let mut changed = fresh.bytes.clone();
            changed[place] ^= 1 << bit;
            let Disposition::Dropped(reason) = hand_in(&mut pair.world, node, to, from, &changed) else {
                panic!("byte {place}, bit {bit} is taken");
            };
            forged += u64::from(reason == DropReason::Unauthentic);
        }
    }
    let mut after = pair.on_server(server, |connection| connection.stats());
    assert!(after.forged_packets > 0 && after.forged_packets <= forged);
    after.forged_packets = before.forged_packets;
    assert_eq!(after, before);
    assert_eq!(hand_in(&mut pair.world, node, to, from, &fresh.bytes), Disposition::Accepted);
    let mut read = Vec::new();
    pair.on_server(server, |connection| assert!(connection.read_datagram(&mut read).is_some()));
    assert_eq!(read, b"the last letter of the Tsar");
    pair.finish();
}

#[test]
fn a_data_packet_cut_or_lengthened_is_dropped() {
    let (mut pair, _, fresh) = with_fresh_packet();
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    for len in 0..fresh.bytes.len() {
        let got = hand_in(&mut pair.world, node, to, from, &fresh.bytes[..len]);
        let expected = if len < 31 { DropReason::TooShort } else { DropReason::Unauthentic };
        if len < 31 {
            assert_eq!(got, Disposition::Dropped(expected), "{len} bytes");
        } else {
            assert!(
                matches!(got, Disposition::Dropped(DropReason::Unauthentic | DropReason::UnknownPath)),
                "{got:?}"
            );
        }
    }
    let mut longer = fresh.bytes.clone();
    for _ in 0..100 {
        longer.push(0);
        let got = hand_in(&mut pair.world, node, to, from, &longer);
        assert!(matches!(got, Disposition::Dropped(_)));
    }
    pair.finish();
}

#[test]
fn packets_of_one_connection_mean_nothing_to_another() {
    let (mut pair, _, fresh) = with_fresh_packet();
    let seen = record(&mut pair.world);
    let other = pair.dial();
    pair.world.run_for(ms(200));
    pair.on_client(other, |connection| connection.send_datagram(b"x")).unwrap();
    pair.world.run_for(ms(200));
    let others = seen
        .borrow()
        .iter()
        .find(|seen| kind(&seen.bytes) == DATA && seen.to == pair.server_addr)
        .unwrap()
        .bytes
        .clone();
    let mut crossed = fresh.bytes.clone();
    crossed[1..9].copy_from_slice(&others[1..9]);
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    let got = hand_in(&mut pair.world, node, to, from, &crossed);
    assert!(
        matches!(got, Disposition::Dropped(DropReason::Unauthentic | DropReason::UnknownPath)),
        "{got:?}"
    );
    // A packet sent back to its sender.
    let (node, to, from) = (pair.client, pair.client_addr, pair.server_addr);
    let got = hand_in(&mut pair.world, node, to, from, &fresh.bytes);
    assert_eq!(got, Disposition::Dropped(DropReason::UnknownConnection));
    pair.finish();
}

#[test]
fn garbage_of_all_lengths_is_dropped_and_counted() {
    let (mut pair, server, fresh) = with_fresh_packet();
    let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
    let mut rng = pair.world.rng(1);
    let before = pair.on_server(server, |connection| connection.stats());
    let dropped = pair.server().endpoint.stats().dropped_total();
    let mut count = 0;
    for len in (0..1600).chain([9000, 65_000]) {
        for header in [&[][..], &[0x90], &fresh.bytes[..9], &[0x10], &[0x50], &[0x30], &[0x70], &[0xff]] {
            let mut garbage: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
            let common = garbage.len().min(header.len());
            garbage[..common].copy_from_slice(&header[..common]);
            let got = hand_in(&mut pair.world, node, to, from, &garbage);
            assert!(matches!(got, Disposition::Dropped(_)), "{len} bytes of garbage");
            count += 1;
        }
    }
    assert_eq!(pair.server().endpoint.stats().dropped_total() - dropped, count);
    assert_eq!(pair.server().endpoint.stats().connections, 1);
    let mut after = pair.on_server(server, |connection| connection.stats());
    assert!(after.forged_packets > 0);
    after.forged_packets = before.forged_packets;
    assert_eq!(after, before);
    pair.finish();
}

#[test]
fn a_storm_of_forgeries_does_not_disturb_a_transfer() {
    let (receiver, received) = Receiver::new();
    let mut pair = Pair::with(1, line(), config(), config(), Sender::new(1, 1 << 20), receiver);
    let mut rng = pair.world.rng(3);
    pair.world.add_tap(move |passing| {
        for _ in 0..3 {
            let (from, to, mut bytes) = (passing.from, passing.to, passing.bytes.clone());
            let place = rng.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << rng.below(8);
            passing.inject(Injection {
                after: Duration::from_micros(rng.below(20_000)),
                from,
                to,
                ecn: None,
                bytes,
            });
        }
        Verdict::Pass
    });
    let client = pair.dial();
    assert!(pair.run_until(Duration::from_secs(5), |_| received.borrow().finished == 1));
    let server = pair.server().events[0].1;
    assert!(pair.on_server(server, |connection| connection.stats().forged_packets) > 500);
    assert_eq!(pair.on_client(client, |connection| connection.stats().packets_lost), 0);
    pair.finish();
}

#[test]
fn corruption_on_the_wire_is_loss() {
    let (receiver, received) = Receiver::new();
    let link = LinkConfig { corrupt: Ppm::percent(10), loss: Loss::Random(Ppm::percent(1)), ..line() };
    let mut pair = Pair::with(1, link, config(), config(), Sender::new(2, 500_000), receiver);
    pair.dial();
    assert!(pair.run_until(Duration::from_secs(20), |_| received.borrow().finished == 2));
    assert_eq!(received.borrow().total(), 1_000_000);
    pair.finish();
}

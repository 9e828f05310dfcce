//! Loss recovery: everything arrives, lost packets are repaired soon, and silence is probed at a bounded pace.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{ConnectionStats, Duration, Event, Instant};
use dunlin_sim::{LinkConfig, Loss, Pair, Ppm, QueueLimit, Rate, Received, Receiver, Sender, config, seeds};

use crate::common::{DATA, at, drop_while, kind, line, ms, quick, record};

/// A transfer in progress.
fn upload(seed: u64, link: LinkConfig, streams: usize, bytes: u64) -> (Pair, Rc<RefCell<Received>>) {
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(seed, link, config(), config(), Sender::new(streams, bytes), receiver);
    pair.dial();
    (pair, seen)
}

/// Runs a transfer to its end, and returns how long it took and the sender's counters.
fn transfer(
    seed: u64,
    link: LinkConfig,
    streams: usize,
    bytes: u64,
    limit: Duration,
) -> (Duration, ConnectionStats) {
    let (mut pair, seen) = upload(seed, link, streams, bytes);
    let done = pair.run_until(limit, |_| seen.borrow().finished == streams);
    assert!(done, "{} of {} bytes", seen.borrow().total(), bytes * streams as u64);
    assert_eq!(seen.borrow().total(), bytes * streams as u64);
    let client = pair.client().events[0].1;
    let stats = pair.on_client(client, |connection| connection.stats());
    let span = pair.now() - Instant::ZERO;
    pair.finish();
    (span, stats)
}

#[test]
fn sixty_four_megabytes_arrive_over_one_and_ten_percent_of_loss() {
    for (percent, limit) in [(1, 12), (10, 25)] {
        let link = LinkConfig {
            loss: Loss::Random(Ppm::percent(percent)),
            reorder: Ppm::percent(1),
            reorder_by: ms(3),
            duplicate: Ppm::percent(1),
            ..line()
        };
        let (_, stats) = transfer(u64::from(percent), link, 1, 64 << 20, Duration::from_secs(limit));
        let lost = stats.packets_lost * 100 / stats.packets_sent;
        assert!(
            (u64::from(percent) / 2..=u64::from(percent) * 2 + 2).contains(&lost),
            "{lost} % lost: {stats:?}"
        );
        assert!(stats.bytes_retransmitted < (64 << 20) * (u64::from(percent) * 2 + 2) / 100, "{stats:?}");
    }
}

#[test]
fn bursts_of_loss_are_repaired() {
    for seed in seeds(4) {
        let bursts = Loss::GilbertElliott {
            to_bad: Ppm::percent(1),
            to_good: Ppm::percent(10),
            in_good: Ppm::NEVER,
            in_bad: Ppm::percent(70),
        };
        transfer(seed, LinkConfig { loss: bursts, ..line() }, 2, 2 << 20, Duration::from_secs(30));
    }
}

#[test]
fn half_of_the_acknowledgements_may_get_lost() {
    for seed in seeds(3) {
        let (mut pair, seen) = upload(seed, line(), 1, 4 << 20);
        let (from, to) = (pair.server_addr, pair.client_addr);
        let back = pair.world.add_link(LinkConfig { loss: Loss::Random(Ppm::percent(50)), ..line() });
        pair.world.route(from, to, back);
        let done = pair.run_until(Duration::from_secs(20), |_| seen.borrow().finished == 1);
        let client = pair.client().events[0].1;
        let stats = pair.on_client(client, |connection| connection.stats());
        let path = pair.on_client(client, |connection| connection.path());
        assert!(done, "{} bytes, {stats:?} {path:?}", seen.borrow().total());
        assert!(stats.packets_lost < stats.packets_sent / 100, "nothing was lost: {stats:?}");
        pair.finish();
    }
}

#[test]
fn a_blackout_in_mid_transfer_ends_within_a_probe_and_two_round_trips() {
    for seed in seeds(5) {
        for dark in [500, 5000, 20_000] {
            let (mut pair, seen) = upload(seed, line(), 1, 100 << 20);
            pair.world.run_for(ms(700 + seed % 100));
            let up = drop_while(&mut pair.world, |_| true);
            pair.world.run_for(ms(dark));
            let before = seen.borrow().total();
            up.set(false);
            let light = pair.now();
            assert!(
                pair.run_until(Duration::from_secs(10), |_| seen.borrow().total() > before),
                "dark for {dark} ms"
            );
            let wait = pair.now() - light;
            assert!(wait <= ms(2000 + 2 * 60), "{wait:?} after {dark} ms in the dark");
            // And at speed again: 1 MB in the next second.
            pair.world.run_for(Duration::from_secs(1));
            let moved = seen.borrow().total() - before;
            assert!(moved > 1_000_000, "{moved} bytes in a second after {dark} ms in the dark");
            pair.finish();
        }
    }
}

#[test]
fn silence_is_probed_every_two_seconds_at_least_and_not_much_more() {
    let (mut pair, _) = upload(1, line(), 1, 100 << 20);
    pair.world.run_for(ms(500));
    let seen = record(&mut pair.world);
    let up = drop_while(&mut pair.world, |_| true);
    let dark = pair.now();
    pair.world.run_for(Duration::from_secs(85));
    let from = pair.client_addr;
    let mut times: Vec<Instant> =
        seen.borrow().iter().filter(|seen| seen.from == from).map(|seen| seen.at).collect();
    times.dedup();
    let waits: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| *wait <= ms(2001)), "{waits:?}");
    let probes = seen
        .borrow()
        .iter()
        .filter(|seen| seen.from == from && seen.at > dark + Duration::from_secs(10))
        .count();
    assert!((37..80).contains(&probes), "{probes} packets in 75 s of silence");
    up.set(false);
    pair.finish();
}

#[test]
fn the_last_packet_of_a_stream_is_repaired_by_a_probe() {
    let (mut pair, seen) = upload(1, quick(), 0, 0);
    pair.world.run_for(Duration::from_secs(1));
    let client = pair.client().events[0].1;
    let lost = drop_while(&mut pair.world, |passing| kind(passing.bytes) == DATA);
    let id = pair.on_client(client, |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, &crate::common::patterned(id, 800)).unwrap();
        connection.finish(id).unwrap();
        id
    });
    pair.world.run_for(ms(1));
    lost.set(false);
    let start = pair.now();
    assert!(pair.run_until(Duration::from_secs(3), |_| seen.borrow().finished == 1));
    // 40 ms, four deviations, 25 ms of acknowledgement delay, and the way there.
    let wait = pair.now() - start;
    assert!(wait < ms(200), "{wait:?}");
    pair.world.run_for(Duration::from_secs(1));
    assert_eq!(pair.client().count(|event| *event == Event::Finished(id)), 1);
    pair.finish();
}

#[test]
fn reordering_without_loss_is_learned_to_be_borne() {
    let link = LinkConfig { reorder: Ppm::percent(10), reorder_by: ms(2), ..line() };
    let (mut pair, seen) = upload(1, link, 1, 100 << 20);
    pair.world.run_for(Duration::from_secs(2));
    let client = pair.client().events[0].1;
    let before = pair.on_client(client, |connection| connection.stats());
    pair.world.run_for(Duration::from_secs(3));
    let after = pair.on_client(client, |connection| connection.stats());
    let (lost, sent) = (after.packets_lost - before.packets_lost, after.packets_sent - before.packets_sent);
    assert!(lost * 100 < sent, "{lost} of {sent} are taken for lost");
    assert!(seen.borrow().total() > 30_000_000, "{} bytes in 5 s", seen.borrow().total());
    pair.finish();
}

/// One in a hundred packets comes up to a round trip late: what is known of it lasts, and the sender is at speed.
#[test]
fn reordering_by_more_than_an_eighth_of_a_round_trip_is_borne() {
    for (by, seed) in [(6, 1), (10, 2), (18, 3)] {
        let link = LinkConfig { reorder: Ppm::percent(1), reorder_by: ms(by), ..line() };
        let (mut pair, seen) = upload(seed, link, 1, 1 << 30);
        pair.world.run_for(Duration::from_secs(2));
        let client = pair.client().events[0].1;
        let before = pair.on_client(client, |connection| connection.stats());
        let received = seen.borrow().total();
        pair.world.run_for(Duration::from_secs(6));
        let after = pair.on_client(client, |connection| connection.stats());
        let late = (after.packets_sent - before.packets_sent) / 100;
        let lost = after.packets_lost - before.packets_lost;
        assert!(lost * 4 < late, "{lost} of {late} that come up to {by} ms late are taken for lost");
        let moved = seen.borrow().total() - received;
        assert!(moved > 60_000_000, "{moved} bytes in 6 s at 100 Mbit/s");
        pair.finish();
    }
}

/// What was learned of reordering is forgotten when it is over: losses are found as early as ever.
#[test]
fn reordering_that_is_over_is_forgotten() {
    let (mut pair, seen) =
        upload(1, LinkConfig { reorder: Ppm::percent(2), reorder_by: ms(18), ..line() }, 1, 1 << 30);
    pair.world.run_for(Duration::from_secs(3));
    let client = pair.client().events[0].1;
    let learned = pair.on_client(client, |connection| connection.path().reordering);
    assert!(learned > ms(6), "{learned:?}");
    let link = pair.world.link_between(pair.client_addr, pair.server_addr);
    pair.world.link_mut(link).configure(|config| config.reorder = Ppm::NEVER);
    pair.world.run_for(Duration::from_secs(4));
    let path = pair.on_client(client, |connection| connection.path());
    assert_eq!(path.reordering, path.rtt.smoothed().max(path.rtt.latest()) / 8, "an eighth again");
    assert!(seen.borrow().total() > 60_000_000);
    pair.finish();
}

#[test]
fn everything_twice_is_only_half_used() {
    let link = LinkConfig { duplicate: Ppm::ALWAYS, ..line() };
    let (_, stats) = transfer(1, link, 3, 1 << 20, Duration::from_secs(3));
    assert_eq!((stats.packets_lost, stats.bytes_retransmitted), (0, 0));
}

#[test]
fn jitter_of_half_the_delay_costs_nothing() {
    let link = LinkConfig { jitter: ms(10), ..line() };
    let (_, stats) = transfer(1, link, 1, 8 << 20, Duration::from_secs(3));
    assert!(stats.bytes_retransmitted < 100_000, "{stats:?}");
}

#[test]
fn a_short_queue_is_no_obstacle() {
    let link = LinkConfig { queue: QueueLimit::Packets(8), rate: Some(Rate::mbit(20)), ..line() };
    transfer(1, link, 1, 4 << 20, Duration::from_secs(10));
}

#[test]
fn the_receiver_acknowledges_at_most_every_second_packet_of_a_clean_transfer() {
    let (mut pair, seen) = upload(1, line(), 1, 4 << 20);
    assert!(pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1));
    let (client, server) = (pair.client().endpoint.stats(), pair.server().endpoint.stats());
    assert!(
        server.datagrams_sent <= client.datagrams_sent * 55 / 100 + 10,
        "{} for {}",
        server.datagrams_sent,
        client.datagrams_sent
    );
    pair.finish();
}

#[test]
fn a_path_that_comes_and_goes_gets_everything_across() {
    for seed in seeds(3) {
        let (mut pair, seen) = upload(seed, line(), 4, 300_000);
        let up = drop_while(&mut pair.world, |_| true);
        let mut rng = pair.world.rng(1);
        while seen.borrow().finished < 4 {
            assert!(pair.now() < at(80_000), "{} of 1,200,000", seen.borrow().total());
            up.set(!up.get());
            // Up for longer than a probe timeout, down for up to 3 s.
            let span = if up.get() { ms(rng.below(3000)) } else { ms(2200) };
            pair.world.run_for(span);
        }
        up.set(false);
        pair.finish();
    }
}

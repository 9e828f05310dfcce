//! Policers: they drop what exceeds a rate and make no queue that could tell of it.

use super::link::{Link, MTU, Network};
use super::ms;
use crate::congestion::CongestionPhase;
use std::format;

/// Runs a policer with a bucket of so many milliseconds. Returns how many of a thousand packets it drops
/// between two probes from 10 to 20 seconds on, and the share of its rate that is used, in percent.
fn cruising(rate: u64, rtt: u64, bucket: u64, seed: u64) -> (u64, u64) {
    let mut link = Link::new(rate, ms(rtt), 0);
    link.queue = link.rate.bytes_in(ms(bucket)).max(5 * u64::from(MTU));
    link.polices = true;
    let mut network = Network::seeded(link, seed);
    network.run(ms(10_000));
    let (mut sent, mut dropped, mut delivered) = (0, 0, 0);
    for _ in 0..10_000 {
        let phase = network.bbr.snapshot().phase;
        network.measure(ms(1));
        delivered += network.measured.delivered;
        if matches!(phase, CongestionPhase::ProbeCruise | CongestionPhase::ProbeDown) {
            sent += network.measured.sent;
            dropped += network.measured.overflowed;
        }
    }
    (dropped * 1000 / sent, delivered * 100 / link.rate.bytes_in(ms(10_000)))
}

#[test]
fn cruising_behind_a_policer_of_a_long_path_loses_nothing() {
    for (rate, rtt, bucket) in [(10, 100, 10), (50, 20, 5), (100, 40, 5), (100, 40, 20), (100, 100, 50)] {
        for seed in 0..3 {
            let (dropped, used) = cruising(rate, rtt, bucket, seed);
            let run = format!("{rate} Mbit/s, {rtt} ms, {bucket} ms, seed {seed}");
            assert!(dropped <= 5 && used >= 85, "{run}: {dropped} permille, {used} %");
        }
    }
}

#[test]
fn what_a_policer_drops_does_not_become_background_that_is_made_up_for() {
    for (rate, rtt) in [(10, 40), (50, 20), (100, 20)] {
        for (bucket, seed) in
            [20, 50, 100].into_iter().flat_map(|bucket| [0, 1, 2, 3].map(|seed| (bucket, seed)))
        {
            let (dropped, used) = cruising(rate, rtt, bucket, seed);
            let run = format!("{rate} Mbit/s, {rtt} ms, {bucket} ms, seed {seed}");
            assert!(dropped <= 60 && used >= 95, "{run}: {dropped} permille, {used} %");
        }
    }
}

//! Links that become slower and faster again.

use super::link::{Link, MTU, Network};
use super::{megabits, ms};
use crate::congestion::CongestionPhase;
use crate::time::Duration;

/// Has a link run at `from` Mbit/s with a queue of so many BDP, then carry `to`.
fn after_a_fall(from: u64, to: u64, rtt: Duration, bdps: u64, seed: u64) -> Network {
    let mut link = Link::new(from, rtt, 0);
    link.queue *= bdps;
    let mut network = Network::seeded(link, seed);
    network.run(ms(4000));
    network.link.rate = megabits(to);
    network
}

#[test]
fn a_fall_is_known_and_its_queue_drained_within_ten_rtts() {
    for (from, to, rtt, bdps) in
        [(100, 10, 40, 1), (100, 10, 40, 4), (100, 20, 100, 1), (1000, 100, 40, 1), (100, 10, 5, 4)]
    {
        for seed in 0..3 {
            let mut network = after_a_fall(from, to, ms(rtt), bdps, seed);
            // A span is at least 30 ms long.
            network.run(ms((10 * rtt).max(150)));
            let run = (from, to, rtt, bdps, seed);
            assert!(network.bbr.snapshot().bandwidth <= megabits(to * 11 / 10).as_bytes_per_sec(), "{run:?}");
            network.measure(ms(rtt));
            let (queue, packets) = (network.measured.queue_p95(), megabits(to).time_for(4 * u64::from(MTU)));
            assert!(queue <= ms(rtt) + packets, "{run:?}: {queue:?}");
            for _ in 0..100 {
                network.run(ms(20));
                let bandwidth = network.bbr.snapshot().bandwidth;
                assert!(
                    bandwidth <= megabits(to * 11 / 10).as_bytes_per_sec(),
                    "{run:?}: {bandwidth} is back"
                );
            }
        }
    }
}

#[test]
fn ten_times_the_capacity_is_found_within_ten_rtts_of_probing() {
    for (rtt, seed) in [5, 20, 40, 100].into_iter().flat_map(|rtt| [0, 1, 2].map(|seed| (rtt, seed))) {
        let mut network = after_a_fall(100, 10, ms(rtt), 1, seed);
        network.run(ms(3000));
        network.link.rate = megabits(100);
        let since = network.now;
        let mut probe = since;
        while network.bbr.snapshot().bandwidth < megabits(90).as_bytes_per_sec() {
            network.run(ms(1));
            if network.bbr.snapshot().phase != CongestionPhase::ProbeUp {
                probe = network.now;
            }
            assert!(network.now - since <= ms(3000), "{rtt} ms, seed {seed}");
        }
        assert!(network.now - probe <= ms(10 * rtt), "{rtt} ms, seed {seed}: {:?}", network.now - probe);
    }
}

#[test]
fn a_rate_that_falls_to_more_than_half_is_followed_too() {
    let mut network = after_a_fall(100, 60, ms(40), 1, 0);
    network.run(ms(10_000));
    let used = network.measure(ms(4000));
    let bandwidth = network.bbr.snapshot().bandwidth;
    assert!(used >= 95, "{used} %");
    assert!(bandwidth <= megabits(61).as_bytes_per_sec(), "{bandwidth}");
}

//! The whole controller on a modelled link.

mod changes;
pub(crate) mod link;
mod policer;

use crate::congestion::CongestionPhase;
use crate::congestion::bandwidth::Bandwidth;
use crate::time::Duration;
use link::{Link, MTU, Network};
use std::format;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn megabits(rate: u64) -> Bandwidth {
    Bandwidth::from_bytes_per_sec(rate * 125_000)
}

/// Runs every rate with every RTT at a random loss of `permille`: after two seconds at least `percent` of the link
/// must be used, with a queue of at most one RTT and 30 packets for 95 % of the packets.
fn grid(permille: u64, percent: u64) {
    for (rate, seeds, secs) in [(10, 0..8, 10), (100, 0..3, 8), (1000, 0..1, 3)] {
        for (rtt, seed) in [5, 40, 100].into_iter().flat_map(|rtt| seeds.clone().map(move |seed| (rtt, seed)))
        {
            let mut network = Network::seeded(Link::new(rate, ms(rtt), permille), seed);
            network.run(ms(2000));
            let used = network.measure(ms(secs * 1000));
            let queue = network.measured.queue_p95();
            let bound = ms(rtt) + megabits(rate).time_for(30 * u64::from(MTU));
            let (overflowed, sent) = (network.measured.overflowed, network.measured.sent);
            let run = format!("{rate} Mbit/s, {rtt} ms, {permille} permille, seed {seed}");
            assert!(used >= percent, "{run}: {used} %");
            assert!(queue <= bound, "{run}: queue {queue:?}");
            assert!(overflowed * 50 <= sent, "{run}: {overflowed} of {sent} overflowed");
        }
    }
}

#[test]
fn a_clean_link_is_used() {
    grid(0, 93);
}

#[test]
fn one_percent_of_random_loss_costs_little() {
    grid(10, 92);
}

#[test]
fn five_percent_of_random_loss_cost_hardly_more_than_they_take() {
    grid(50, 87);
}

#[test]
fn ten_percent_of_random_loss_leave_most_of_the_link() {
    grid(100, 75);
}

#[test]
fn a_queue_much_shorter_than_the_path_is_enough() {
    for permille in [0, 10, 50] {
        for (rate, rtt) in [(10, 40), (100, 5), (100, 40)] {
            let mut link = Link::new(rate, ms(rtt), permille);
            link.queue = (link.rate.bytes_in(link.rtt) / 10).max(5 * u64::from(MTU));
            let mut network = Network::new(link);
            network.run(ms(3000));
            let used = network.measure(ms(8000));
            let lost = network.measured.overflowed * 1000 / network.measured.sent;
            assert!(used >= 85, "{rate} Mbit/s, {rtt} ms, {permille} permille: {used} %");
            assert!(lost <= 15, "{rate} Mbit/s, {rtt} ms, {permille} permille: {lost} permille overflowed");
        }
    }
}

#[test]
fn loopback_and_satellite_are_both_at_home() {
    let mut loopback = Network::new(Link::new(20_000, Duration::from_micros(50), 0));
    loopback.run(ms(50));
    assert!(loopback.measure(ms(100)) >= 95);
    let mut satellite = Network::new(Link::new(1, ms(300), 0));
    satellite.run(ms(3000));
    assert!(satellite.measure(ms(20_000)) >= 88);
}

#[test]
fn a_timer_that_is_a_millisecond_late_costs_nothing() {
    let mut link = Link::new(100, ms(40), 0);
    link.timer_slack = ms(1);
    let mut network = Network::new(link);
    network.run(ms(2000));
    assert!(network.measure(ms(8000)) >= 93);
}

#[test]
fn startup_finds_the_rate_within_two_percent_and_every_phase_has_its_turn_but_probe_rtt() {
    let mut network = Network::new(Link::new(100, ms(40), 0));
    let mut seen = [0; 7];
    for _ in 0..800 {
        network.run(ms(10));
        let stats = network.bbr.snapshot();
        seen[stats.phase as usize] += 1;
        if stats.phase != CongestionPhase::Startup {
            let error = stats.bandwidth.abs_diff(megabits(100).as_bytes_per_sec());
            assert!(error * 50 <= stats.bandwidth, "{stats:?}");
        }
    }
    for phase in [
        CongestionPhase::Startup,
        CongestionPhase::Drain,
        CongestionPhase::ProbeDown,
        CongestionPhase::ProbeCruise,
        CongestionPhase::ProbeRefill,
        CongestionPhase::ProbeUp,
    ] {
        assert!(seen[phase as usize] > 0, "{phase}: {seen:?}");
    }
    assert_eq!(seen[CongestionPhase::ProbeRtt as usize], 0, "the RTT without a queue is seen all the time");
    assert!(seen[CongestionPhase::ProbeCruise as usize] > 400, "{seen:?}");
}

#[test]
fn a_rise_of_the_rate_is_found_within_seconds() {
    for permille in [0, 10] {
        let mut network = Network::new(Link::new(10, ms(40), permille));
        network.run(ms(4000));
        network.link = Link::new(100, ms(40), permille);
        network.run(ms(4000));
        assert!(network.measure(ms(1000)) >= 90, "{permille} permille");
    }
}

#[test]
fn a_fall_of_the_rate_is_followed() {
    let mut network = Network::new(Link::new(100, ms(40), 0));
    network.run(ms(4000));
    network.link = Link::new(10, ms(40), 0);
    network.run(ms(12_000));
    let used = network.measure(ms(4000));
    let (overflowed, sent) = (network.measured.overflowed, network.measured.sent);
    assert!(used >= 90 && overflowed * 50 <= sent, "{used} %, {overflowed} of {sent} overflowed");
    assert!(network.bbr.snapshot().bandwidth < megabits(12).as_bytes_per_sec());
}

#[test]
fn an_application_that_sends_little_neither_raises_nor_lowers_the_estimate_nor_grows_the_window() {
    let mut network = Network::new(Link::new(100, ms(40), 0));
    network.run(ms(3000));
    let before = network.bbr.snapshot();
    for _ in 0..1500 {
        network.backlog = 10 * u64::from(MTU);
        network.run(ms(10));
        let stats = network.bbr.snapshot();
        assert_eq!(stats.bandwidth, before.bandwidth);
        assert!(stats.window * 4 <= before.window * 5, "{stats:?}");
    }
}

#[test]
fn an_application_that_sends_little_from_the_start_does_not_invent_bandwidth() {
    let mut network = Network::new(Link::new(100, ms(40), 0));
    for _ in 0..500 {
        network.backlog = 20 * u64::from(MTU);
        network.run(ms(20));
        let stats = network.bbr.snapshot();
        assert!(stats.bandwidth <= megabits(100).as_bytes_per_sec(), "{stats:?}");
        assert!(stats.window <= 2 * megabits(100).bytes_in(ms(45)), "{stats:?}");
    }
}

#[test]
fn after_an_idle_minute_the_pace_is_the_old_one_without_a_burst() {
    let mut network = Network::new(Link::new(100, ms(40), 0));
    network.run(ms(3000));
    network.backlog = 0;
    network.run(ms(60_000));
    network.backlog = u64::MAX;
    network.measure(ms(20));
    assert_eq!(network.measured.overflowed, 0);
    let queue = network.measured.queue_p95();
    assert!(queue <= ms(1), "a burst of a millisecond at most: {queue:?}");
    let paced = megabits(100).bytes_in(ms(21)) / u64::from(MTU);
    assert!(
        (paced * 9 / 10..=paced).contains(&network.measured.sent),
        "{} of {paced}",
        network.measured.sent
    );
    network.run(ms(100));
    assert!(network.measure(ms(1000)) >= 95);
}

#[test]
fn the_same_history_gives_the_same_numbers() {
    let run = || {
        let mut network = Network::new(Link::new(100, ms(20), 20));
        network.measure(ms(6000));
        (network.bbr.snapshot(), network.measured.sent, network.measured.delivered)
    };
    assert_eq!(run(), run());
}

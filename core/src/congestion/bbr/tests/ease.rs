//! A queue that stands while cruising, by hand; and that a flow alone on a path leaves none, on modelled links.

use super::hand::{Hand, MTU, RTT};
use super::per_round;
use crate::congestion::bandwidth::Bandwidth;
use crate::congestion::bbr::CongestionPhase;
use crate::congestion::tests::link::{self, Link, Network};
use crate::time::Duration;
use std::vec::Vec;

/// With this RTT there is a queue of two BDP, and each round is a span.
const QUEUED: Duration = Duration::from_millis(30);

fn rate(hand: &Hand) -> u64 {
    hand.bbr.snapshot().bandwidth
}

/// Cruises behind a queue that does not go away, as fast as is allowed, until the rate has given way `steps` times.
fn given_way(steps: usize) -> Hand {
    let mut hand = Hand::cruising();
    hand.rtt = QUEUED;
    for _ in 0..steps {
        let before = rate(&hand);
        while rate(&hand) == before {
            round(&mut hand);
        }
    }
    assert_eq!(hand.phase(), CongestionPhase::ProbeCruise);
    hand
}

/// A round at the rate that is allowed.
fn round(hand: &mut Hand) {
    hand.round(Bandwidth::from_bytes_per_sec(rate(hand)).bytes_in(hand.rtt) as usize / usize::from(MTU));
}

#[test]
fn a_standing_queue_makes_cruising_give_way_step_by_step_down_to_half() {
    let mut hand = Hand::cruising();
    hand.rtt = QUEUED;
    hand.round(300);
    let mut steps = Vec::from([(rate(&hand), 0)]);
    while hand.phase() == CongestionPhase::ProbeCruise {
        let (last, rounds) = steps.last_mut().unwrap();
        match rate(&hand) == *last {
            true => *rounds += 1,
            false => steps.push((rate(&hand), 1)),
        }
        round(&mut hand);
    }
    assert_eq!(steps[0].0, per_round(100));
    assert_eq!(steps.last().unwrap().0, per_round(50), "{steps:?}");
    assert_eq!(steps.len(), 10, "{steps:?}");
    for pair in steps.windows(2) {
        let percent = pair[1].0 * 100 / pair[0].0;
        assert!((91..=92).contains(&percent) || pair[1].0 == per_round(50), "{steps:?}");
    }
    for (_, rounds) in &steps[1..9] {
        assert_eq!(*rounds, 4, "{steps:?}");
    }
    assert!(hand.bbr.pacing_rate() >= Bandwidth::from_bytes_per_sec(per_round(49)));
}

#[test]
fn it_comes_back_when_the_queue_is_gone() {
    let mut hand = given_way(2);
    let mut last = rate(&hand);
    assert!(last <= per_round(85), "{last}");
    hand.rtt = RTT;
    // Six spans of three rounds.
    for _ in 0..18 {
        round(&mut hand);
        assert!(rate(&hand) >= last && rate(&hand) <= last * 105 / 100, "{} after {last}", rate(&hand));
        last = rate(&hand);
    }
    assert_eq!((hand.phase(), last), (CongestionPhase::ProbeCruise, per_round(100)));
    assert!(!hand.bbr.ease.is_active());
}

#[test]
fn the_next_probe_starts_between_the_rate_that_was_left_and_the_estimate() {
    let mut hand = given_way(4);
    let mut left = rate(&hand);
    while hand.phase() == CongestionPhase::ProbeCruise {
        left = rate(&hand);
        round(&mut hand);
    }
    assert_eq!(hand.phase(), CongestionPhase::ProbeRefill);
    assert_eq!(rate(&hand), left * 5 / 6 + per_round(100) / 6);
}

#[test]
fn a_refill_that_meets_no_queue_forgets_that_others_were_there() {
    let mut hand = given_way(4);
    while hand.phase() == CongestionPhase::ProbeCruise {
        round(&mut hand);
    }
    assert!(hand.bbr.ease.is_active());
    hand.rtt = RTT;
    let mut rounds = 0;
    while hand.bbr.ease.is_active() {
        assert_ne!(hand.phase(), CongestionPhase::ProbeDown);
        round(&mut hand);
        rounds += 1;
    }
    assert!(rounds <= 4, "{rounds}");
    assert_eq!(rate(&hand), per_round(100));
}

#[test]
fn the_queue_of_a_probe_that_finds_more_makes_nothing_give_way() {
    let mut hand = Hand::probing_up();
    hand.rtt = QUEUED;
    for count in [375, 469, 587, 734, 918, 1148] {
        hand.round(count);
        assert_eq!((hand.phase(), rate(&hand)), (CongestionPhase::ProbeUp, count as u64 * 1_000_000 / 30));
    }
}

#[test]
fn after_a_probe_its_queue_has_eight_spans_to_drain() {
    let mut hand = Hand::probing_up();
    // More than the BDP stays in flight, so that the way down does not end.
    hand.send(300);
    let round = |hand: &mut Hand| {
        hand.send(300);
        hand.now += QUEUED;
        hand.ack(300, QUEUED);
    };
    while hand.phase() == CongestionPhase::ProbeUp {
        round(&mut hand);
    }
    // The ACK that ended the probe has also ended the first span.
    for spans in 1..8 {
        assert_eq!((hand.phase(), rate(&hand)), (CongestionPhase::ProbeDown, per_round(100)), "{spans}");
        round(&mut hand);
    }
    assert_eq!((hand.phase(), rate(&hand)), (CongestionPhase::ProbeDown, per_round(92)));
}

#[test]
fn a_flow_alone_on_a_path_never_gives_way() {
    for (rate, seeds, secs) in [(10, 0..3, 10), (100, 0..2, 6), (1000, 0..1, 2)] {
        for (rtt, permille) in [5, 40, 200].into_iter().flat_map(|rtt| [0, 10, 50].map(|loss| (rtt, loss))) {
            for (quarters, seed) in [2, 4, 16].into_iter().flat_map(|q| seeds.clone().map(move |s| (q, s))) {
                let mut link = Link::new(rate, Duration::from_millis(rtt), permille);
                link.queue = (link.rate.bytes_in(link.rtt) * quarters / 4).max(16 * u64::from(link::MTU));
                let mut network = Network::seeded(link, seed);
                for _ in 0..secs * 100 {
                    network.run(Duration::from_millis(10));
                    let run = (rate, rtt, permille, quarters, seed, network.now);
                    assert!(!network.bbr.ease.is_active(), "{run:?} {:?}", network.bbr.ease);
                    assert!(!network.bbr.fall.is_unprobed(), "{run:?}");
                }
            }
        }
    }
}

#[test]
fn giving_way_on_a_slow_link_does_not_fill_its_queue() {
    // So short a path is full with less than the least window: a queue stands always.
    for (rate, rtt) in [(1, 5), (1, 20), (3, 5), (5, 5)] {
        let mut network = Network::new(Link::new(rate, Duration::from_millis(rtt), 0));
        network.run(Duration::from_secs(3));
        let used = network.measure(Duration::from_secs(10));
        let queue = network.measured.queue_p95();
        let bound = network.link.rate.time_for(8 * u64::from(link::MTU));
        assert!(queue <= bound && used >= 97, "{rate} Mbit/s, {rtt} ms: {queue:?}, {used} %");
    }
}

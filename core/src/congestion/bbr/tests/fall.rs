//! A capacity that falls to a fraction, driven by hand.

use super::hand::{Hand, RTT};
use super::per_round;
use crate::congestion::bbr::CongestionPhase;
use crate::time::Duration;

/// What cruising has put into the queue of a path that has become ten times slower takes so long.
const SLOW: Duration = Duration::from_millis(100);

/// `hand`'s path carried 100 packets each RTT and now carries 10, behind a queue, for so many spans.
fn fall(hand: &mut Hand, spans: usize) {
    hand.rtt = SLOW;
    // The span that had begun has still seen the RTT without a queue.
    (0..spans + 1).for_each(|_| hand.round(100));
}

fn fallen_for(spans: usize) -> Hand {
    let mut hand = Hand::cruising();
    fall(&mut hand, spans);
    hand
}

#[test]
fn three_slow_spans_with_a_queue_end_what_was_believed() {
    let mut hand = fallen_for(2);
    assert_eq!((hand.phase(), hand.bbr.snapshot().bandwidth), (CongestionPhase::ProbeCruise, per_round(100)));
    hand.round(100);
    assert_eq!((hand.phase(), hand.bbr.snapshot().bandwidth), (CongestionPhase::Drain, per_round(10)));
    assert_eq!(hand.gain_percent(), 50);
    assert!(
        hand.bbr.window() <= 24_000,
        "twice the new BDP, and some for aggregation: {}",
        hand.bbr.window()
    );
}

#[test]
fn what_was_sent_before_does_not_bring_the_estimate_back() {
    let mut hand = fallen_for(2);
    hand.send(200);
    hand.now += SLOW;
    hand.ack(100, SLOW);
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(10));
    // What else was in flight is acknowledged in a bunch: for a round trip at twice the rate.
    hand.now += RTT / 10;
    hand.ack(100, SLOW);
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(10));
    hand.rtt = RTT;
    hand.round(12);
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(12), "from here on samples count again");
}

#[test]
fn bounds_and_aggregation_of_before_are_forgotten_too() {
    let mut hand = Hand::cruising();
    hand.bbr.on_marked();
    hand.round(100);
    assert!(hand.bbr.short_term.in_flight < u64::MAX && hand.bbr.extra_acked.get() >= 50_000);
    fall(&mut hand, 3);
    assert_eq!(hand.bbr.short_term.in_flight, u64::MAX);
    assert_eq!(hand.bbr.extra_acked.get(), 0);
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(10));
}

#[test]
fn without_a_queue_a_slow_delivery_proves_nothing() {
    let mut hand = Hand::cruising();
    // An application that sends little and does not say so; a policer delivers as little, as fast.
    (0..40).for_each(|_| hand.round(10));
    assert_eq!(hand.phase(), CongestionPhase::ProbeCruise);
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(100));
}

#[test]
fn a_slow_application_behind_a_queue_of_others_proves_nothing() {
    let mut hand = Hand::cruising();
    hand.rtt = SLOW;
    for _ in 0..10 {
        hand.bbr.on_app_limited(0);
        hand.round(10);
    }
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(100));
}

#[test]
fn a_dip_shorter_than_three_spans_changes_nothing_however_often_it_comes() {
    let mut hand = Hand::cruising();
    for _ in 0..6 {
        hand.rtt = SLOW;
        hand.rounds(&[100, 100]);
        hand.rtt = RTT;
        hand.rounds(&[100, 100, 100]);
        assert_eq!(
            (hand.phase(), hand.bbr.snapshot().bandwidth),
            (CongestionPhase::ProbeCruise, per_round(100))
        );
    }
}

#[test]
fn half_of_the_rate_is_not_yet_a_fall() {
    let mut hand = Hand::cruising();
    hand.rtt = 3 * RTT;
    for _ in 0..10 {
        hand.round(150);
        assert_eq!(hand.phase(), CongestionPhase::ProbeCruise);
    }
    assert_eq!(hand.bbr.max_bw.get().as_bytes_per_sec(), per_round(100));
}

#[test]
fn startup_does_not_fall() {
    let mut hand = Hand::new();
    hand.rounds(&[10, 20]);
    // One flight, of which the queue lets a little through at a time.
    hand.send(200);
    for _ in 0..10 {
        hand.now += SLOW;
        hand.ack(20, SLOW);
    }
    assert_eq!((hand.phase(), hand.bbr.snapshot().bandwidth), (CongestionPhase::Startup, per_round(20)));
}

#[test]
fn the_next_probe_comes_at_once_but_only_one() {
    let mut hand = fallen_for(3);
    hand.rtt = RTT;
    let start = hand.bbr.round.count();
    hand.round_until(10, CongestionPhase::ProbeRefill);
    assert!(hand.bbr.round.count() - start <= 4, "{} rounds", hand.bbr.round.count() - start);
    hand.round_until(10, CongestionPhase::ProbeDown);
    let start = hand.bbr.round.count();
    hand.round_until(10, CongestionPhase::ProbeRefill);
    assert!(
        hand.bbr.round.count() - start >= 8,
        "as often as Reno would: {}",
        hand.bbr.round.count() - start
    );
}

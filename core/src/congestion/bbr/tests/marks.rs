//! Marks of congestion, told by hand.

use super::hand::{Hand, MTU, RTT};
use super::per_round;
use crate::congestion::bbr::CongestionPhase;
use crate::congestion::bbr::params::UNBOUNDED;

/// A round of which the ACK tells of marks.
fn marked_round(hand: &mut Hand, count: usize) {
    hand.bbr.on_marked();
    hand.round(count);
}

#[test]
fn a_mark_while_cruising_lowers_the_bounds_once_a_round_trip_until_the_next_refill() {
    let mut hand = Hand::cruising();
    marked_round(&mut hand, 100);
    let bound = hand.bbr.short_term.in_flight;
    assert_eq!(bound, 85 * u64::from(MTU), "85 % of what was in flight, not of the window");
    assert!(hand.bbr.window() <= bound);
    // What was in flight then brings its marks now.
    marked_round(&mut hand, 85);
    assert_eq!(hand.bbr.short_term.in_flight, bound);
    marked_round(&mut hand, 85);
    assert_eq!(hand.bbr.short_term.in_flight, bound * 85 / 100);
    assert!(hand.bbr.snapshot().bandwidth >= per_round(85));
    hand.round_until(72, CongestionPhase::ProbeRefill);
    assert_eq!(hand.bbr.short_term.in_flight, UNBOUNDED);
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(100));
}

#[test]
fn in_a_storm_of_marks_the_window_stays_small_probes_included() {
    let mut hand = Hand::cruising();
    let mut most = [0; 2];
    for round in 0..200 {
        let window = hand.bbr.window() / u64::from(MTU);
        most[round / 100] = window.max(most[round / 100]);
        marked_round(&mut hand, window.min(100) as usize);
    }
    assert!(most[0] >= 200 && most[1] <= 75, "{most:?}");
}

#[test]
fn one_mark_ends_a_probe_and_bounds_what_is_in_flight() {
    let mut hand = Hand::probing_up();
    assert_eq!(hand.bbr.inflight_longterm, UNBOUNDED);
    marked_round(&mut hand, 120);
    assert_ne!(hand.phase(), CongestionPhase::ProbeUp);
    assert_eq!(hand.bbr.inflight_longterm, 120 * u64::from(MTU));
    // Its echo neither lowers nor raises anything.
    marked_round(&mut hand, 130);
    assert_eq!(hand.bbr.inflight_longterm, 120 * u64::from(MTU));
    assert_eq!(hand.bbr.short_term.in_flight, UNBOUNDED);
}

#[test]
fn marks_end_startup_only_when_the_bandwidth_does_not_grow() {
    let mut hand = Hand::new();
    for count in [10, 20, 40, 80, 160] {
        marked_round(&mut hand, count);
        assert_eq!(hand.phase(), CongestionPhase::Startup);
    }
    marked_round(&mut hand, 160);
    marked_round(&mut hand, 160);
    assert_ne!(hand.phase(), CongestionPhase::Startup);
    assert_eq!(hand.bbr.inflight_longterm, 160 * u64::from(MTU));
    assert_eq!(hand.bbr.short_term.in_flight, UNBOUNDED, "one response is enough");
}

#[test]
fn a_spurious_loss_does_not_take_back_what_marks_did() {
    let mut hand = Hand::cruising();
    hand.send(100);
    hand.now += RTT;
    hand.lose(1);
    hand.bbr.on_marked();
    hand.ack(99, RTT);
    hand.round(80);
    let bound = hand.bbr.short_term.in_flight;
    assert!(bound <= 85 * u64::from(MTU), "{bound}");
    let (_, info) = hand.lost.pop_front().unwrap();
    hand.bbr.on_spurious_loss(hand.now, MTU, &info);
    hand.round(80);
    assert_eq!(hand.bbr.short_term.in_flight, bound);
}

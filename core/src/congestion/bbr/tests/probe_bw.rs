//! The probing cycle, driven by hand.

use super::hand::{Hand, MTU, RTT};
use super::per_round;
use crate::congestion::bandwidth::Gain;
use crate::congestion::bbr::CongestionPhase;
use crate::time::Duration;

#[test]
fn the_probing_cycle() {
    let mut hand = Hand::cruising();
    assert_eq!(hand.gain_percent(), 99);
    let start = hand.now;
    hand.round_until(100, CongestionPhase::ProbeRefill);
    let rounds = (hand.now - start).as_millis() / RTT.as_millis();
    assert!((55..=64).contains(&rounds), "Reno coexistence: 62 or 63 rounds in all, not {rounds}");
    assert_eq!(hand.gain_percent(), 99);
    hand.round(100);
    assert_eq!((hand.phase(), hand.gain_percent()), (CongestionPhase::ProbeUp, 124));
    hand.rounds(&[110, 110]);
    assert_eq!(hand.phase(), CongestionPhase::ProbeUp);
    hand.round(110);
    assert_eq!((hand.phase(), hand.gain_percent()), (CongestionPhase::ProbeDown, 89));
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(110));
}

#[test]
fn a_probe_that_finds_more_goes_on() {
    let mut hand = Hand::probing_up();
    hand.rounds(&[125, 125, 160, 160, 200, 200, 250, 250, 320]);
    assert_eq!(hand.phase(), CongestionPhase::ProbeUp);
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(320));
}

#[test]
fn an_application_limited_probe_neither_ends_nor_grows() {
    let mut hand = Hand::probing_up();
    let before = hand.bbr.snapshot();
    for _ in 0..20 {
        hand.bbr.on_app_limited(0);
        hand.round(20);
    }
    let after = hand.bbr.snapshot();
    assert_eq!((after.phase, after.bandwidth), (CongestionPhase::ProbeUp, before.bandwidth));
    assert!(after.window <= before.window + 25 * u64::from(MTU), "{} {}", before.window, after.window);
}

fn up_gain(hand: &Hand) -> Gain {
    assert_eq!(hand.phase(), CongestionPhase::ProbeUp);
    hand.bbr.probe.up_gain
}

#[test]
fn a_probe_that_finds_room_doubles_its_excess_up_to_twice_the_rate() {
    let mut hand = Hand::probing_up();
    assert_eq!(up_gain(&hand), Gain::percent(125));
    let gains = [125, 188, 376, 752, 1504].map(|count| {
        hand.round(count);
        assert_eq!(hand.bbr.snapshot().bandwidth, per_round(count as u64));
        up_gain(&hand)
    });
    assert_eq!(gains, [150, 200, 200, 200, 200].map(Gain::percent));
    assert_eq!(hand.gain_percent(), 198);
    hand.round_until(1504, CongestionPhase::ProbeDown);
    hand.round_until(1504, CongestionPhase::ProbeUp);
    assert_eq!(up_gain(&hand), Gain::percent(125), "each probe begins gently");
}

#[test]
fn half_of_the_excess_must_come_through_in_a_round_and_without_a_queue() {
    let gain = |count, micros| {
        let mut hand = Hand::probing_up();
        hand.rtt = Duration::from_micros(micros);
        hand.round(count);
        up_gain(&hand)
    };
    assert_eq!(gain(112, 10_000), Gain::percent(150));
    assert_eq!(gain(111, 10_000), Gain::percent(125));
    // An eighth more than before, the RTT near the minimum and a little above it.
    assert_eq!(gain(119, 10_600), Gain::percent(150));
    assert_eq!(gain(120, 10_640), Gain::percent(125));
    // The next step asks for more.
    let mut hand = Hand::probing_up();
    hand.rounds(&[125, 155]);
    assert_eq!(up_gain(&hand), Gain::percent(150), "155 is less than a quarter above 125");
    hand.round(157);
    assert_eq!(up_gain(&hand), Gain::percent(200));
}

/// Rounds of the probe under way until it ends, the RTT being so many microseconds and the rate what it was.
fn flat_rounds(hand: &mut Hand, micros: u64) -> u32 {
    hand.rtt = Duration::from_micros(micros);
    let mut rounds = 0;
    while hand.phase() == CongestionPhase::ProbeUp {
        hand.round(micros as usize / 100);
        rounds += 1;
    }
    assert_eq!(hand.phase(), CongestionPhase::ProbeDown);
    rounds
}

#[test]
fn a_probe_that_only_fills_a_queue_ends_after_two_rounds_and_without_one_after_three() {
    assert_eq!(flat_rounds(&mut Hand::probing_up(), 10_000), 3);
    assert_eq!(flat_rounds(&mut Hand::probing_up(), 12_500), 3);
    assert_eq!(flat_rounds(&mut Hand::probing_up(), 12_600), 2, "more than a quarter above the minimum");
}

#[test]
fn the_queue_of_others_does_not_end_a_probe_early() {
    let mut hand = Hand::cruising();
    hand.rtt = Duration::from_millis(30);
    hand.round_until(300, CongestionPhase::ProbeUp);
    assert!(hand.bbr.ease.is_active());
    assert_eq!(flat_rounds(&mut hand, 30_000), 3);
}

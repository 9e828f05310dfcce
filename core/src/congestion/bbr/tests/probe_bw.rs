//! The probing cycle, driven by hand.

use super::hand::{Hand, MTU, RTT};
use super::per_round;
use crate::congestion::bbr::CongestionPhase;

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

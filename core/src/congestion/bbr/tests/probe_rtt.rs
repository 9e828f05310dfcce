//! When ProbeRTT comes and what it does, driven by hand.

use super::hand::{Hand, RTT};
use super::per_round;
use crate::congestion::bbr::CongestionPhase;
use crate::time::Duration;

#[test]
fn probe_rtt_is_due_after_five_seconds_without_a_sample_near_the_minimum() {
    let mut hand = Hand::cruising();
    let start = hand.now;
    hand.rtt = RTT + RTT / 10;
    hand.round_until(110, CongestionPhase::ProbeRtt);
    assert!(hand.now - start > Duration::from_millis(4800));
    hand.rtt = RTT;
    let entered = hand.now;
    assert_eq!(hand.bbr.window(), 50_000, "half the BDP");
    hand.round_until(50, CongestionPhase::ProbeCruise);
    let held = hand.now - entered;
    assert!((Duration::from_millis(200)..Duration::from_millis(230)).contains(&held), "{held:?}");
    assert!(hand.bbr.window() >= 190_000, "restored");
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(100), "its low rates do not count");
}

#[test]
fn a_sample_near_the_minimum_now_and_then_makes_probe_rtt_needless() {
    let mut hand = Hand::cruising();
    let start = hand.now;
    while hand.now - start < Duration::from_secs(30) {
        // Four seconds at 1.1 times the minimum, a moment at 1.06.
        hand.rtt = RTT + RTT / 10;
        for _ in 0..360 {
            hand.round(110);
            assert_ne!(hand.phase(), CongestionPhase::ProbeRtt);
        }
        hand.rtt = RTT + RTT / 17;
        hand.round(106);
    }
    assert_eq!(hand.bbr.snapshot().min_rtt, Some(RTT));
}

#[test]
fn probe_rtt_before_the_pipe_was_full_leads_back_to_startup() {
    let mut hand = Hand::new();
    hand.rounds(&[10, 20]);
    hand.send(1);
    hand.now += Duration::from_secs(6);
    hand.ack(1, Duration::from_secs(6));
    assert_eq!(hand.phase(), CongestionPhase::ProbeRtt);
    hand.round_until(4, CongestionPhase::Startup);
}

#[test]
fn idleness_counts_as_a_probe_of_the_rtt() {
    let mut hand = Hand::cruising();
    hand.bbr.on_app_limited(0);
    hand.now += Duration::from_secs(60);
    hand.send(10);
    assert_eq!(hand.gain_percent(), 99);
    hand.now += RTT;
    hand.ack(10, RTT * 2);
    assert_ne!(hand.phase(), CongestionPhase::ProbeRtt);
    assert_eq!(hand.bbr.snapshot().min_rtt, Some(RTT * 2), "the old minimum is ten seconds old");
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(100));
}

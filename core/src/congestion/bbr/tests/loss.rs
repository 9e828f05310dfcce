//! Loss while cruising, told by hand.

use super::hand::Hand;
use super::per_round;
use crate::congestion::bbr::CongestionPhase;

#[test]
fn excessive_loss_while_cruising_slows_down_to_what_was_delivered_until_the_next_refill() {
    let mut hand = Hand::cruising();
    (0..4).for_each(|_| hand.lossy_round(100, 20));
    let slowed = hand.bbr.snapshot();
    assert_eq!(slowed.phase, CongestionPhase::ProbeCruise);
    assert!(slowed.bandwidth < per_round(100) && slowed.bandwidth >= per_round(70), "{slowed:?}");
    hand.round_until(80, CongestionPhase::ProbeRefill);
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(100));
}

#[test]
fn a_little_loss_while_cruising_changes_nothing() {
    let mut hand = Hand::cruising();
    for _ in 0..20 {
        hand.lossy_round(100, 2);
        assert_eq!(hand.bbr.snapshot().bandwidth, per_round(100));
    }
    assert!((18..=20).contains(&hand.bbr.snapshot().background_loss_permille));
}

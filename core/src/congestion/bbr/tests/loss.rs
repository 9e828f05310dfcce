//! Loss while cruising, told by hand.

use super::hand::{Hand, RTT};
use super::per_round;
use crate::congestion::bbr::CongestionPhase;
use crate::time::Duration;

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

/// Ten cycles of a path that delivers 100 packets each 10 ms, and loses `lost` of those it is sent in every round.
fn ten_lossy_cycles(lost: usize, micros: u64) -> Hand {
    let mut hand = Hand::cruising();
    hand.rtt = Duration::from_micros(micros);
    (0..640).for_each(|_| hand.lossy_round(micros as usize / 100 + lost, lost));
    hand
}

#[test]
fn a_little_loss_while_cruising_changes_nothing_and_is_known_some_cycles_later() {
    let mut hand = Hand::cruising();
    for _ in 0..20 {
        hand.lossy_round(100, 2);
        assert_eq!(hand.bbr.snapshot().bandwidth, per_round(100));
    }
    let known = ten_lossy_cycles(2, 10_000).bbr.snapshot();
    assert_eq!(known.bandwidth, per_round(100));
    assert!((17..=20).contains(&known.background_loss_permille), "{known:?}");
}

#[test]
fn background_is_learned_only_where_a_window_saw_no_queue() {
    let near = ten_lossy_cycles(2, 10_600).bbr.snapshot().background_loss_permille;
    assert!((15..=19).contains(&near), "{near}");
    let mut hand = Hand::cruising();
    hand.rtt = Duration::from_micros(10_700);
    // Not so long that a ProbeRTT finds that this is the path's RTT now.
    (0..400).for_each(|_| hand.lossy_round(109, 2));
    assert_eq!(hand.bbr.snapshot().background_loss_permille, 0);
}

#[test]
fn background_is_learned_only_in_the_first_rounds_of_a_cruise() {
    let mut hand = Hand::cruising();
    let mut cruised = 3;
    for _ in 0..640 {
        match hand.phase() == CongestionPhase::ProbeCruise && cruised >= 3 {
            true => hand.lossy_round(102, 2),
            false => hand.round(100),
        }
        cruised = if hand.phase() == CongestionPhase::ProbeCruise { cruised + 1 } else { 0 };
    }
    assert_eq!(hand.bbr.snapshot().background_loss_permille, 0);
}

#[test]
fn cruising_makes_up_for_the_background_but_for_its_first_rounds_and_only_without_a_queue() {
    let mut hand = ten_lossy_cycles(5, 10_000);
    let background = hand.bbr.snapshot().background_loss_permille;
    assert!((43..=48).contains(&background), "{background}");
    let round = |hand: &mut Hand| hand.lossy_round(105, 5);
    let until = |hand: &mut Hand, phase| {
        while hand.phase() != phase {
            round(hand);
        }
    };
    until(&mut hand, CongestionPhase::ProbeDown);
    assert_eq!(hand.gain_percent(), 89);
    until(&mut hand, CongestionPhase::ProbeCruise);
    assert_eq!(hand.gain_percent(), 99);
    round(&mut hand);
    assert_eq!(hand.gain_percent(), 99);
    round(&mut hand);
    assert_eq!(hand.gain_percent(), 104);
    until(&mut hand, CongestionPhase::ProbeRefill);
    assert_eq!(hand.gain_percent(), 104);
    until(&mut hand, CongestionPhase::ProbeUp);
    assert_eq!(hand.gain_percent(), 124);
    until(&mut hand, CongestionPhase::ProbeCruise);
    (0..5).for_each(|_| round(&mut hand));
    assert_eq!(hand.gain_percent(), 104);
    hand.rtt = RTT + RTT / 10;
    (0..2).for_each(|_| hand.lossy_round(115, 5));
    assert_eq!((hand.phase(), hand.gain_percent()), (CongestionPhase::ProbeCruise, 99));
}

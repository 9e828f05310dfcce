//! Losses that turn out to be none, told by hand.

use super::hand::{Hand, MTU};
use crate::congestion::bbr::CongestionPhase;

#[test]
fn a_spurious_loss_episode_is_undone() {
    let mut hand = Hand::probing_up();
    let before = hand.bbr.window();
    hand.lossy_round(150, 20);
    assert_ne!(hand.phase(), CongestionPhase::ProbeUp);
    for (_, info) in hand.lost.clone().iter().take(19) {
        hand.bbr.on_spurious_loss(hand.now, MTU, info);
    }
    assert_ne!(hand.phase(), CongestionPhase::ProbeRefill, "one packet was really lost");
    let last = hand.lost[19].1;
    hand.bbr.on_spurious_loss(hand.now, MTU, &last);
    assert_eq!(hand.phase(), CongestionPhase::ProbeRefill);
    assert_eq!(hand.bbr.inflight_longterm, u64::MAX);
    assert!(hand.bbr.window() >= before);
}

#[test]
fn a_spurious_loss_in_startup_leads_back_there() {
    let mut hand = Hand::new();
    hand.rounds(&[10, 20, 40, 80]);
    hand.lossy_round(110, 30);
    hand.lossy_round(110, 30);
    assert_ne!(hand.phase(), CongestionPhase::Startup);
    for (_, info) in hand.lost.clone() {
        hand.bbr.on_spurious_loss(hand.now, MTU, &info);
    }
    assert_eq!(hand.phase(), CongestionPhase::Startup);
    hand.round(160);
    assert_eq!(hand.phase(), CongestionPhase::Startup);
}

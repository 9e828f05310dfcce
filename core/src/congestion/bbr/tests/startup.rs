//! Startup and Drain, driven by hand.

use super::hand::{Hand, MTU, RTT};
use super::per_round;
use crate::congestion::bbr::CongestionPhase;

#[test]
fn startup_follows_the_rate_and_ends_on_a_plateau() {
    let mut hand = Hand::new();
    hand.rounds(&[10, 20, 40]);
    assert_eq!(hand.bbr.snapshot().bandwidth, per_round(40));
    assert_eq!(hand.gain_percent(), 274, "2.77 less 1 %");
    hand.rounds(&[45, 45]);
    assert_eq!(hand.phase(), CongestionPhase::Startup);
    hand.send(200);
    hand.now += RTT;
    hand.ack(45, RTT);
    assert_eq!((hand.phase(), hand.gain_percent()), (CongestionPhase::Drain, 50));
}

#[test]
fn loss_while_the_rate_grows_does_not_end_startup_and_loss_without_growth_does() {
    let mut hand = Hand::new();
    hand.rounds(&[10, 20, 40]);
    hand.lossy_round(80, 6);
    hand.lossy_round(160, 12);
    assert_eq!(hand.phase(), CongestionPhase::Startup);
    hand.lossy_round(200, 50);
    hand.lossy_round(200, 50);
    assert_ne!(hand.phase(), CongestionPhase::Startup);
    hand.round(100);
    assert!(hand.bbr.window() < 2 * 160 * u64::from(MTU), "bounded by what was delivered");
}

#[test]
fn drain_ends_when_the_queue_is_gone_or_after_three_rounds() {
    let draining = || {
        let mut hand = Hand::new();
        hand.rounds(&[10, 20, 40, 40, 40]);
        hand.send(200);
        hand.now += RTT;
        hand.ack(40, RTT);
        assert_eq!(hand.phase(), CongestionPhase::Drain);
        hand
    };
    let mut hand = draining();
    hand.now += RTT;
    hand.ack(119, RTT);
    assert_eq!(hand.phase(), CongestionPhase::Drain, "81 packets are in flight, twice the BDP");
    hand.ack(41, RTT);
    assert_eq!(
        hand.phase(),
        CongestionPhase::ProbeCruise,
        "40 are, and with no queue there is no need to go down"
    );

    let mut hand = draining();
    let start = hand.bbr.round.count();
    while hand.phase() == CongestionPhase::Drain {
        hand.send(40);
        hand.now += RTT;
        hand.ack(40, RTT);
    }
    assert_eq!(hand.bbr.round.count() - start, 4);
    assert_eq!((hand.phase(), hand.gain_percent()), (CongestionPhase::ProbeDown, 89));
}

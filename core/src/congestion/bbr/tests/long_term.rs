//! What probes teach about what fits in flight, driven by hand.

use super::hand::{Hand, MTU, RTT};
use crate::congestion::bbr::CongestionPhase;

#[test]
fn excessive_loss_ends_a_probe_bounds_the_window_and_makes_the_next_one_careful() {
    let mut hand = Hand::probing_up();
    hand.lossy_round(150, 20);
    assert_ne!(hand.phase(), CongestionPhase::ProbeUp);
    let bound = hand.bbr.inflight_longterm;
    assert!((80_000..150_000).contains(&bound), "{bound}");
    hand.round_until(80, CongestionPhase::ProbeCruise);
    hand.round(80);
    assert!(hand.bbr.window() <= bound * 85 / 100 + 1, "headroom is left while cruising");
    hand.round_until(80, CongestionPhase::ProbeUp);
    // In flight reaches the bound: down at once, and if nothing is lost up again without a cruise.
    hand.send(250);
    hand.now += RTT;
    hand.ack(80, RTT);
    assert_eq!(hand.phase(), CongestionPhase::ProbeDown);
    hand.now += RTT;
    hand.ack(170, RTT);
    hand.round(80);
    assert_eq!(hand.phase(), CongestionPhase::ProbeRefill);
}

#[test]
fn the_long_term_bound_rises_ever_faster_while_it_is_the_limit() {
    let mut hand = Hand::probing_up();
    hand.bbr.inflight_longterm = 120_000;
    hand.round(100);
    hand.send(120);
    let growth = [(); 5].map(|()| {
        let before = hand.bbr.inflight_longterm;
        hand.now += RTT;
        let flight = hand.flight.len();
        for _ in 0..flight {
            let room = (hand.bbr.window() - hand.in_flight()) / u64::from(MTU);
            hand.send(room as usize);
            hand.ack(1, RTT);
        }
        (hand.bbr.inflight_longterm - before) / u64::from(MTU)
    });
    assert!(growth.windows(2).all(|pair| pair[1] + 1 >= 2 * pair[0]), "{growth:?}");
    assert!(growth[4] >= 16, "{growth:?}");
}

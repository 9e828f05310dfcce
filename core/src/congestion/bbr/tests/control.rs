//! Window and pacing rate, driven by hand.

use super::hand::{Hand, MTU, RTT};
use crate::congestion::bandwidth::{Bandwidth, Gain};
use crate::congestion::bbr::{Bbr, CongestionPhase};
use crate::time::{Duration, Instant};

#[test]
fn before_any_sample_the_initial_window_is_paced_over_the_initial_rtt() {
    let mut bbr = Bbr::new(1200, 0);
    assert_eq!(bbr.window(), 12_000);
    assert_eq!(bbr.pacing_rate().as_bytes_per_sec(), 12_000 * 1000 / 333 * 277 / 100);
    bbr.set_max_datagram(1400);
    assert_eq!(bbr.window(), 14_000);
    bbr.set_max_datagram(9000);
    assert_eq!(bbr.window(), 18_000);
    // A sample without packets, as from a path challenge, sets the pace at once.
    bbr.begin_ack(Instant::ZERO);
    bbr.finish_ack(Instant::ZERO, Some(RTT), 0);
    assert_eq!(bbr.pacing_rate(), Bandwidth::from_bytes_per_sec(1_800_000 * 277 / 100));
    bbr.set_max_datagram(1200);
    assert_eq!(bbr.pacing_rate(), Bandwidth::from_bytes_per_sec(1_200_000 * 277 / 100));
}

#[test]
fn an_absurd_first_rtt_still_leaves_a_rate() {
    let mut bbr = Bbr::new(MTU, 0);
    bbr.begin_ack(Instant::ZERO);
    bbr.finish_ack(Instant::ZERO, Some(Duration::from_secs(1 << 33)), 0);
    assert_eq!(bbr.pacing_rate().as_bytes_per_sec(), 1000);
}

#[test]
fn persistent_congestion_leaves_one_datagram_until_an_ack_restores_the_window() {
    let mut hand = Hand::cruising();
    hand.send(100);
    hand.now += Duration::from_secs(3);
    let before = hand.bbr.window();
    hand.lose(100);
    hand.bbr.on_persistent_congestion(hand.now, hand.in_flight());
    assert_eq!(hand.bbr.window(), u64::from(MTU));
    hand.send(1);
    hand.now += RTT;
    hand.ack(1, RTT);
    assert!(hand.bbr.window() > before / 2, "{} {before}", hand.bbr.window());
}

/// A path of `count` packets each `rtt`, cruising; what one BDP takes in flight there.
fn one_bdp(count: usize, rtt: Duration) -> u64 {
    let mut hand = Hand::new();
    hand.rtt = rtt;
    (0..8).for_each(|_| hand.round(count));
    hand.round_until(count, CongestionPhase::ProbeCruise);
    hand.bbr.inflight_at(hand.bbr.bw, Gain::UNIT)
}

#[test]
fn a_slow_link_gets_no_room_for_offload_and_a_short_path_does() {
    // A packet takes 2 ms: three aggregates of two packets each would leave one waiting.
    assert_eq!(one_bdp(5, RTT), 5000);
    assert_eq!(one_bdp(3, RTT), 4000, "the least that keeps a pipe full");
    // 20 packets each millisecond, paced at 99 %: what three milliseconds take.
    assert_eq!(one_bdp(20, RTT / 10), 3 * 19_800);
    assert_eq!(one_bdp(500, RTT / 10), 500_000);
    assert_eq!(one_bdp(50, RTT / 100), 3 * 65_536, "an aggregate has at most 64 KiB");
}

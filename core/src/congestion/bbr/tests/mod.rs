//! Transitions of the state machine, driven by hand.

mod hand;
mod marks;

use super::{Bbr, CongestionPhase};
use crate::congestion::bandwidth::Bandwidth;
use crate::time::{Duration, Instant};
use hand::{Hand, MTU, RTT};
use proptest::prelude::*;

/// The rate of `packets` per round trip, in bytes per second.
const fn per_round(packets: u64) -> u64 {
    packets * MTU as u64 * 100
}

#[test]
fn the_controller_is_small() {
    assert!(size_of::<Bbr>() <= 720, "{}", size_of::<Bbr>());
}

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

#[derive(Clone, Debug)]
enum Operation {
    Pass(u64),
    Send(usize),
    Ack(usize, u64),
    Lose(usize),
    Spurious,
    Idle,
    Persistent,
    Datagram(u16),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        prop_oneof![0..10_000_000_u64, any::<u64>().prop_map(|n| n >> 12)].prop_map(Operation::Pass),
        (1..64_usize).prop_map(Operation::Send),
        (1..64_usize, any::<u64>()).prop_map(|(count, rtt)| Operation::Ack(count, rtt >> (rtt % 64))),
        (1..16_usize).prop_map(Operation::Lose),
        Just(Operation::Spurious),
        Just(Operation::Idle),
        Just(Operation::Persistent),
        any::<u16>().prop_map(Operation::Datagram),
    ]
}

proptest! {
    /// Whatever happens: no panic, always something may be sent, and never at no rate.
    #[test]
    fn any_history_leaves_a_window_and_a_rate(operations in proptest::collection::vec(operation(), 1..200)) {
        let mut hand = Hand::new();
        for operation in operations {
            let flight = hand.flight.len();
            match operation {
                Operation::Pass(nanos) => hand.now += Duration::from_nanos(nanos),
                Operation::Send(count) => hand.send(count),
                Operation::Ack(count, rtt) => hand.ack(count.min(flight), Duration::from_nanos(rtt)),
                Operation::Lose(count) => hand.lose(count.min(flight)),
                Operation::Spurious => {
                    if let Some((_, info)) = hand.lost.pop_front() {
                        hand.bbr.on_spurious_loss(hand.now, MTU, &info);
                    }
                }
                Operation::Idle => hand.bbr.on_app_limited(hand.in_flight()),
                Operation::Persistent => hand.bbr.on_persistent_congestion(hand.now, hand.in_flight()),
                Operation::Datagram(bytes) => hand.bbr.set_max_datagram(bytes.max(1200)),
            }
            prop_assert!(hand.bbr.window() >= u64::from(MTU));
            prop_assert!(hand.bbr.pacing_rate() > Bandwidth::ZERO);
        }
    }
}

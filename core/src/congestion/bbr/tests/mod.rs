//! The controller driven by hand, by topic; here what holds for all of it.

mod control;
mod ease;
mod fall;
mod hand;
mod long_term;
mod loss;
mod marks;
mod probe_bw;
mod probe_rtt;
mod startup;
mod undo;

use super::Bbr;
use crate::congestion::bandwidth::Bandwidth;
use crate::time::Duration;
use hand::{Hand, MTU};
use proptest::prelude::*;

/// The rate of `packets` per round trip, in bytes per second.
const fn per_round(packets: u64) -> u64 {
    packets * MTU as u64 * 100
}

#[test]
fn the_controller_is_small() {
    assert!(size_of::<Bbr>() <= 720, "{}", size_of::<Bbr>());
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

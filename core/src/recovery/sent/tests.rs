use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn ring(packets: u64) -> SentPackets {
    let mut sent = SentPackets::new(PacketNumber(1));
    for _ in 0..packets {
        sent.record(Instant::ZERO, 1_200, SentInfo::default(), KeyPhase::default(), true);
    }
    sent
}

/// What an ACK frame does with a range. Returns the numbers that were new.
fn acknowledge(sent: &mut SentPackets, from: u64, to: u64) -> Vec<u64> {
    let mut new = Vec::new();
    let mut next = from;
    while let Some(number) = sent.next_unacked(next, to) {
        assert!(sent.ack(number).is_some());
        new.push(number);
        next = number + 1;
    }
    sent.remember_acked(from, to);
    new
}

proptest! {
    #[test]
    fn ranges_in_any_order_name_each_packet_once(
        ranges in prop::collection::vec((0_u64..120, 0_u64..40, any::<bool>()), 0..60),
    ) {
        let mut sent = ring(100);
        let mut acked = BTreeSet::new();
        for (from, len, forgets) in ranges {
            let to = from + len;
            let known: Vec<u64> = (from..=to)
                .filter(|number| (sent.base..=100).contains(number) && !acked.contains(number))
                .collect();
            prop_assert_eq!(acknowledge(&mut sent, from, to), known.clone());
            acked.extend(known);
            if forgets {
                sent.forget(Instant::ZERO, Duration::ZERO);
            }
        }
    }
}

/// Each range leads to its end in a few steps, in whichever order the peer says them.
#[test]
fn hostile_ranges_that_are_said_again_are_not_walked_again() {
    const PACKETS: u64 = 10_000;
    let mut sent = ring(PACKETS);
    let (all, backwards) = ((1..=PACKETS), (1..=PACKETS).rev());
    for from in backwards.chain(all) {
        acknowledge(&mut sent, from, PACKETS);
        let mut steps = 0;
        let mut at = (from - 1) as usize;
        while at < PACKETS as usize {
            at += sent.packets[at].run as usize;
            steps += 1;
        }
        assert!(steps <= 2, "{steps} steps from {from}");
    }
}

#[test]
fn hostile_records_that_piled_up_give_their_room_back() {
    let mut sent = ring(40_000);
    let full = sent.heap_bytes();
    acknowledge(&mut sent, 1, 39_990);
    sent.forget(Instant::ZERO, Duration::ZERO);
    assert_eq!(sent.outstanding(), 10);
    assert!(sent.heap_bytes() < full / 20, "{} of {full}", sent.heap_bytes());
}

#[test]
fn hostile_piles_of_records_do_not_give_up_what_is_still_under_way() {
    let (age, flight) = (Duration::from_secs(6), Duration::from_secs(1));
    let stale = |records: u64, millis| {
        let mut sent = ring(1);
        for _ in 1..records {
            sent.record(Instant::ZERO, 60, SentInfo::default(), KeyPhase::default(), false);
        }
        sent.is_front_stale(Instant::ZERO + Duration::from_millis(millis), age, flight)
    };
    for (records, end) in [(KEPT as u64 + 1, 6_000), (MOST_UNAWAITED as u64 + 1, 1_000)] {
        assert_eq!([stale(records, end - 1), stale(records, end)], [false, true], "{records}");
    }
    assert!(!stale(KEPT as u64, 60_000));
}

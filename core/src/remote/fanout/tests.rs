use std::vec::Vec;

use super::*;
use crate::path::addr::LocalAddr;

fn to(n: u16) -> Tuple {
    Tuple { local: LocalAddr::default(), remote: TransportAddr::Ip(([192, 0, 2, 1], n).into()) }
}

fn vouched(n: u16) -> Guess {
    Guess::vouched(to(n))
}

const fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A dial of addresses 0 and so on, begun at once.
fn begun(guesses: impl IntoIterator<Item = Guess>) -> Fanout {
    let mut guesses = guesses.into_iter();
    let mut fanout = Fanout::new(guesses.next().unwrap(), guesses);
    fanout.begin(Instant::ZERO);
    fanout
}

/// What is sent in the first `millis`, and when: by one who looks exactly when he should.
fn sent(fanout: &mut Fanout, millis: u64) -> Vec<(u64, u16)> {
    let mut sent = Vec::new();
    while let Some(due) = fanout.deadline().filter(|due| *due < at(millis)) {
        let Due { to, .. } = fanout.copy_due(due).expect("it is due");
        let number = (0..100).find(|n| self::to(*n).remote == to.remote).unwrap();
        sent.push((due.as_nanos() / 1_000_000, number));
    }
    sent
}

#[test]
fn path_a_single_address_gets_seven_copies_in_five_seconds() {
    let times = sent(&mut begun([vouched(0)]), 5000);
    assert_eq!(times, [0, 250, 750, 1750, 2750, 3750, 4750].map(|millis| (millis, 0)));
}

#[test]
fn path_eight_addresses_at_once_then_one_each_25_ms() {
    let sent = sent(&mut begun((0..12).map(vouched)), 250);
    let expected: Vec<(u64, u16)> = (0..12).map(|n| (25 * u64::from(n).saturating_sub(7), n)).collect();
    assert_eq!(sent, expected);
}

#[test]
fn path_an_address_that_nobody_vouches_for_gets_what_it_was_granted() {
    let mut fanout = begun([vouched(0), Guess { to: to(1), copies: 3 }, Guess { to: to(2), copies: 0 }]);
    let all = sent(&mut fanout, 5000);
    let of = |number| all.iter().filter(|(_, n)| *n == number).map(|(at, _)| *at).collect::<Vec<_>>();
    assert_eq!(of(0).len(), 7);
    assert_eq!(of(1), [0, 250, 750]);
    assert!(of(2).is_empty());
    let mut fanout = begun([Guess { to: to(1), copies: 3 }]);
    assert_eq!(sent(&mut fanout, 60_000).len(), 3);
    assert_eq!((fanout.deadline(), fanout.copy_due(at(60_000))), (None, None));
}

#[test]
fn path_no_address_is_dialled_twice_and_no_more_than_32() {
    let fanout = begun([1, 2, 1, 3, 2].map(vouched));
    assert_eq!(fanout.ways.len(), 3);
    assert!(fanout.is_wide() && !begun([vouched(1), vouched(1)]).is_wide());
    assert_eq!(begun((0..100).map(vouched)).ways.len(), 32);
}

#[test]
fn path_a_change_of_the_network_is_a_new_first_flight() {
    let mut fanout = begun((0..10).map(vouched));
    fanout.ways[3].to.local.ip = Some([192, 0, 2, 9].into());
    sent(&mut fanout, 600);
    fanout.hurry(at(600));
    fanout.forget_own(&Sockets::default());
    let again = sent(&mut fanout, 1000);
    let expected: Vec<(u64, u16)> = (0..8).map(|n| (600, n)).chain([(625, 8), (650, 9)]).collect();
    assert_eq!(again[..10], expected);
    assert_eq!(again[10], (850, 0), "and waits as at first");
    assert!(fanout.ways.iter().all(|way| way.to.local.ip.is_none()));
    // What is due sooner stays.
    let mut fanout = begun((0..10).map(vouched));
    sent(&mut fanout, 30);
    fanout.hurry(at(240));
    assert_eq!(sent(&mut fanout, 300).iter().filter(|(at, _)| *at == 250).count(), 0, "all went at 240");
}

#[test]
fn path_a_round_trip_is_known_where_a_single_copy_was_sent() {
    let mut fanout = begun([vouched(0), vouched(1)]);
    sent(&mut fanout, 100);
    assert_eq!(fanout.round_trip(at(40), &to(1), false), Some(Duration::from_millis(40)));
    assert_eq!(fanout.round_trip(at(40), &to(9), false), None, "of two copies nobody knows which one");
    sent(&mut fanout, 300);
    assert_eq!(fanout.round_trip(at(310), &to(1), false), None);
    let mut alone = begun([vouched(0)]);
    sent(&mut alone, 100);
    assert_eq!(alone.round_trip(at(70), &to(9), false), Some(Duration::from_millis(70)), "the only copy");
}

#[test]
fn path_addresses_that_answered_take_turns() {
    let mut fanout = begun((0..5).map(vouched));
    assert_eq!(fanout.next_answered(&to(0)), None);
    for n in [1, 3, 4] {
        assert!(fanout.on_answer(&to(n)));
    }
    assert!(!fanout.on_answer(&to(77)), "the Init did not go there");
    let mut turns = Vec::new();
    let mut last = to(3);
    for _ in 0..5 {
        last = fanout.next_answered(&last).unwrap();
        turns.push(last);
    }
    assert_eq!(turns, [4, 1, 3, 4, 1].map(to));
    assert_eq!(fanout.next_answered(&to(77)), Some(to(1)), "from anywhere");
    assert!(fanout.has_answered(&to(4)) && !fanout.has_answered(&to(2)));
    // A single one has nobody to take turns with.
    let mut fanout = begun((0..3).map(vouched));
    fanout.on_answer(&to(2));
    assert_eq!(fanout.next_answered(&to(2)), None);
}

#[test]
fn path_three_copies_without_an_answer_say_something() {
    let mut fanout = begun([vouched(0), vouched(1), vouched(2)]);
    let unanswered = |fanout: &Fanout| fanout.unanswered().copied().collect::<Vec<_>>();
    sent(&mut fanout, 700);
    assert_eq!(unanswered(&fanout), []);
    sent(&mut fanout, 800);
    fanout.on_answer(&to(1));
    assert_eq!(unanswered(&fanout), [to(0).remote, to(2).remote]);
}

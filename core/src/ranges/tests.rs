use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Small enough that ranges often meet.
const UNIVERSE: u64 = 48;

#[derive(Clone, Debug)]
enum Op {
    Insert(Range<u64>),
    InsertBounded(Range<u64>, usize),
    InsertCapped(Range<u64>, usize),
    Remove(Range<u64>),
    RemoveBelow(u64),
    PopFirst,
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (0..UNIVERSE, 0..8u64).prop_map(|(start, len)| start..(start + len).min(UNIVERSE))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => range().prop_map(Op::Insert),
        2 => (range(), 0..6usize).prop_map(|(range, max)| Op::InsertBounded(range, max)),
        2 => (range(), 0..12usize).prop_map(|(range, max)| Op::InsertCapped(range, max)),
        3 => range().prop_map(Op::Remove),
        1 => (0..UNIVERSE).prop_map(Op::RemoveBelow),
        1 => Just(Op::PopFirst),
    ]
}

type Model = BTreeSet<u64>;

fn ranges_of(model: &Model) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for &value in model {
        match ranges.last_mut() {
            Some(last) if last.end == value => last.end += 1,
            _ => ranges.push(value..value + 1),
        }
    }
    ranges
}

fn add(model: &mut Model, range: &Range<u64>) -> u64 {
    let before = model.len();
    model.extend(range.clone());
    (model.len() - before) as u64
}

fn take(model: &mut Model, gone: impl Fn(u64) -> bool) -> u64 {
    let before = model.len();
    model.retain(|&value| !gone(value));
    (before - model.len()) as u64
}

fn apply(set: &mut RangeSet, model: &mut Model, op: Op) {
    match op {
        Op::Insert(range) => assert_eq!(set.insert(range.clone()), add(model, &range)),
        Op::InsertBounded(range, max) => {
            let mut after = model.clone();
            let added = add(&mut after, &range);
            let limit = ranges_of(model).len().max(max);
            if ranges_of(&after).len() <= limit {
                assert!(set.accepts(&range, max));
                assert_eq!(set.insert(range), added);
                *model = after;
            } else {
                assert!(!set.accepts(&range, max));
            }
        }
        Op::InsertCapped(range, max) => {
            set.insert_capped(range.clone(), max);
            add(model, &range);
            let ranges = ranges_of(model);
            let dropped = ranges.len().saturating_sub(max);
            let keep_from = ranges.get(dropped).map_or(UNIVERSE, |range| range.start);
            take(model, |value| value < keep_from);
        }
        Op::Remove(range) => assert_eq!(set.remove(range.clone()), take(model, |v| range.contains(&v))),
        Op::RemoveBelow(limit) => assert_eq!(set.remove_below(limit), take(model, |v| v < limit)),
        Op::PopFirst => {
            let first = ranges_of(model).first().cloned();
            take(model, |value| first.as_ref().is_some_and(|first| first.contains(&value)));
            assert_eq!(set.pop_first(), first);
        }
    }
}

fn compare(set: &RangeSet, model: &Model, probe: Range<u64>) {
    set.check();
    let ranges = ranges_of(model);
    assert_eq!(set.iter().collect::<Vec<_>>(), ranges);
    assert_eq!(set.iter().rev().collect::<Vec<_>>(), ranges.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!((set.len(), set.is_empty()), (ranges.len(), ranges.is_empty()));
    assert_eq!((set.first(), set.last()), (ranges.first().cloned(), ranges.last().cloned()));
    let missing: Model = probe.clone().filter(|value| !model.contains(value)).collect();
    assert_eq!(set.gaps(probe).collect::<Vec<_>>(), ranges_of(&missing));
}

proptest! {
    #[test]
    fn behaves_like_a_set_of_numbers(ops in proptest::collection::vec((op(), range()), 1..80)) {
        let (mut set, mut model) = (RangeSet::default(), Model::new());
        for (op, probe) in ops {
            apply(&mut set, &mut model, op);
            compare(&set, &model, probe);
        }
    }
}

#[test]
fn one_range_and_one_gap_need_no_heap() {
    let mut set = RangeSet::default();
    set.insert(0..10);
    set.insert(20..30);
    assert_eq!(set.capacity_bytes(), 0);
    set.insert(40..50);
    assert!(set.capacity_bytes() > 0);
}

#[test]
fn heap_is_given_back_when_the_set_has_become_small() {
    let mut popped = RangeSet::default();
    for i in 0..1000 {
        popped.insert(2 * i..2 * i + 1);
    }
    assert!(popped.capacity_bytes() >= 1000 * size_of::<Span>());
    let mut merged = popped.clone();

    while popped.len() > 3 {
        popped.pop_first();
        assert!(popped.capacity_bytes() <= size_of::<Span>() * KEPT.max(8 * popped.len()));
    }
    merged.insert(0..2000);
    assert_eq!((merged.len(), merged.capacity_bytes()), (1, 0));
}

#[test]
fn the_ends_of_the_number_line_are_ordinary() {
    let mut set = RangeSet::default();
    assert_eq!(set.insert(u64::MAX - 1..u64::MAX), 1);
    assert_eq!(set.insert(0..u64::MAX), u64::MAX - 1);
    assert_eq!(set.remove(1..u64::MAX), u64::MAX - 1);
    assert_eq!(set.pop_first(), Some(0..1));
    assert!(set.is_empty());
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "what is tested")]
fn reversed_ranges_are_empty() {
    let mut set = RangeSet::default();
    set.insert(0..10);
    assert_eq!((set.insert(9..3), set.remove(9..3)), (0, 0));
    assert!(set.accepts(&(30..20), 0));
    assert_eq!((set.len(), set.first()), (1, Some(0..10)));
}

//! Sets of ranges and the replay window, beside a set of single numbers.

use core::ops::Range;
use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use dunlin_core::fuzzing::{Ranges, Window};

use crate::input::{choice, number};

/// Small enough that ranges often meet.
const UNIVERSE: u64 = 64;
/// Numbers that a replay window tells apart at least, the highest included (docs/PROTOCOL.md, "Paths, numbers, replay").
const WINDOW: u64 = 4096;

/// Operations on both, as the bytes say.
///
/// # Panics
/// Something does not hold.
pub fn ranges(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(kind) = choice(&mut input) else { return };
    // Whoever has used up the bytes is done.
    let _ = match kind {
        // At the beginning of the number line, at a power of two, and at its end.
        0..=159 => set(&mut input, [0, (1 << 32) - 20, u64::MAX - UNIVERSE][usize::from(kind % 3)]),
        160..=255 => window(&mut input),
    };
}

fn set(input: &mut Unstructured<'_>, base: u64) -> Result<()> {
    let (mut set, mut model) = (Ranges::default(), BTreeSet::new());
    loop {
        let kind = choice(input)?;
        let start = input.arbitrary::<u8>()? as u64 % UNIVERSE;
        let len = input.arbitrary::<u8>()? as u64 % 12;
        let range = base + start..base + (start + len).min(UNIVERSE);
        match kind {
            0..=79 => assert_eq!(set.insert(range.clone()), add(&mut model, range)),
            80..=119 => {
                let max = usize::from(kind % 8);
                let mut after = model.clone();
                let added = add(&mut after, range.clone());
                let fits = spans(&after).len() <= spans(&model).len().max(max);
                assert_eq!(set.accepts(&range, max), fits, "{range:?} in {set:?}");
                if fits {
                    assert_eq!(set.insert(range), added);
                    model = after;
                }
            }
            120..=159 => {
                let max = usize::from(kind % 16);
                set.insert_capped(range.clone(), max);
                add(&mut model, range);
                let spans = spans(&model);
                let kept = spans.len().saturating_sub(max);
                let from = spans.get(kept).map_or(u64::MAX, |span| span.start);
                model.retain(|&number| number >= from);
            }
            160..=219 => {
                assert_eq!(set.remove(range.clone()), take(&mut model, |n| range.contains(&n)));
            }
            220..=237 => {
                assert_eq!(set.remove_below(range.start), take(&mut model, |n| n < range.start));
            }
            238..=255 => {
                let first = spans(&model).first().cloned();
                take(&mut model, |n| first.as_ref().is_some_and(|first| first.contains(&n)));
                assert_eq!(set.pop_first(), first);
            }
        }
        compare(&set, &model, base);
    }
}

fn add(model: &mut BTreeSet<u64>, range: Range<u64>) -> u64 {
    let before = model.len();
    model.extend(range);
    (model.len() - before) as u64
}

fn take(model: &mut BTreeSet<u64>, gone: impl Fn(u64) -> bool) -> u64 {
    let before = model.len();
    model.retain(|&number| !gone(number));
    (before - model.len()) as u64
}

fn spans(model: &BTreeSet<u64>) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    for &number in model {
        match spans.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            _ => spans.push(number..number + 1),
        }
    }
    spans
}

fn compare(set: &Ranges, model: &BTreeSet<u64>, base: u64) {
    let spans = spans(model);
    // A range is two numbers; a store that is not tiny is no more than a quarter empty after it shrank.
    assert!(set.check() <= 16 * (16 + 8 * spans.len()), "{} bytes for {set:?}", set.check());
    assert!(set.iter().eq(spans.iter().cloned()), "{set:?} is not {spans:?}");
    let missing = (base..base + UNIVERSE).filter(|number| !model.contains(number)).collect();
    assert!(set.gaps(base..base + UNIVERSE).eq(self::spans(&missing)));
}

/// What was marked is never new again, and what lies within the window and was not marked is.
fn window(input: &mut Unstructured<'_>) -> Result<()> {
    let behind = number(input)?;
    let resumed = input.arbitrary::<bool>()?;
    let mut window = if resumed { Window::behind(behind) } else { Window::default() };
    let mut model = BTreeSet::new();
    let mut highest = if resumed { behind } else { 0 };
    loop {
        let number = match choice(input)? {
            step @ 0..=99 => highest.saturating_add(u64::from(step % 4)),
            100..=129 => highest.saturating_add(input.arbitrary::<u16>()? as u64 % 9_000),
            step @ 130..=199 => highest.saturating_sub(u64::from(step - 130)),
            200..=239 => highest.saturating_sub(input.arbitrary::<u16>()? as u64 % 9_000),
            240..=255 => input.arbitrary()?,
        };
        let seen = model.contains(&number) || resumed && number <= behind;
        let near = number > highest || highest - number < WINDOW;
        let new = window.take(number);
        assert!(!(new && seen), "{number} was read twice");
        assert!(new || seen || !near, "{number} of {highest} was refused");
        if new {
            model.insert(number);
        }
        highest = highest.max(number);
        assert!(window.heap_bytes() <= 4096);
    }
}

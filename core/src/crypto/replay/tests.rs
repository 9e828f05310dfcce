use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// The window as its definition reads: every number ever seen, and the highest.
struct Model {
    seen: BTreeSet<u64>,
    size: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self { seen: BTreeSet::new(), size: WINDOW }
    }
}

impl Model {
    fn check(&self, number: u64) -> Freshness {
        match self.seen.last() {
            Some(highest) if highest.saturating_sub(number) >= self.size => Freshness::TooOld,
            _ if self.seen.contains(&number) => Freshness::Duplicate,
            _ => Freshness::New,
        }
    }

    fn mark(&mut self, number: u64) {
        if self.check(number) != Freshness::TooOld {
            self.seen.insert(number);
        }
    }

    /// What was below the window until now counts as seen.
    fn widen(&mut self, number: u64) {
        let Some(highest) = self.seen.last().copied() else { return };
        let Some(size) = (highest.saturating_sub(number).saturating_add(1)).checked_next_power_of_two()
        else {
            return;
        };
        if size > self.size && size <= MAX_WINDOW {
            self.seen.extend(highest.saturating_sub(size - 1)..=highest - self.size);
            self.size = size;
        }
    }
}

/// How the next number lies relative to the highest so far.
#[derive(Clone, Copy, Debug)]
enum Step {
    Ahead(u64),
    Behind(u64),
    At(u64),
    /// Comes so late, and the window is to be widened if it is too late.
    Late(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (1..4_u64).prop_map(Step::Ahead),
        2 => (1..5_000_u64).prop_map(Step::Ahead),
        8 => (0..70_u64).prop_map(Step::Behind),
        4 => (4_000..4_200_u64).prop_map(Step::Behind),
        1 => (3_000..40_000_u64).prop_map(Step::Late),
        1 => any::<u64>().prop_map(Step::At),
        1 => (0..3_u64).prop_map(|below| Step::At(u64::MAX - below)),
    ];
    prop::collection::vec(step, 1..400)
}

proptest! {
    #[test]
    fn the_window_agrees_with_a_set_of_all_numbers(steps in steps()) {
        let (mut window, mut model) = (ReplayWindow::new(), Model::default());
        for step in steps {
            let highest = model.seen.last().copied().unwrap_or(0);
            let number = match step {
                Step::Ahead(n) => highest.saturating_add(n),
                Step::Behind(n) | Step::Late(n) => highest.saturating_sub(n),
                Step::At(n) => n,
            };
            if matches!(step, Step::Late(_)) {
                window.widen(PacketNumber(number));
                model.widen(number);
            }
            prop_assert_eq!(window.check(PacketNumber(number)), model.check(number), "{}", number);
            window.mark(PacketNumber(number));
            model.mark(number);
            prop_assert_eq!(window.highest().map(PacketNumber::get), model.seen.last().copied());
        }
        let highest = model.seen.last().copied().unwrap_or(0);
        for number in highest.saturating_sub(model.size + 70)..=highest.saturating_add(70) {
            prop_assert_eq!(window.check(PacketNumber(number)), model.check(number), "{}", number);
        }
    }
}

#[test]
fn the_window_is_exactly_4096_numbers_and_fits_into_528_bytes() {
    let mut window = ReplayWindow::new();
    window.mark(PacketNumber(10_000));
    assert_eq!(window.check(PacketNumber(10_000 - 4_095)), Freshness::New);
    assert_eq!(window.check(PacketNumber(10_000 - 4_096)), Freshness::TooOld);
    assert!(size_of::<ReplayWindow>() <= 528);
}

#[test]
fn a_window_is_widened_for_late_packets_and_not_for_very_late_ones() {
    let mut window = ReplayWindow::new();
    (1..=100_000).filter(|number| number % 2 == 0).for_each(|number| window.mark(PacketNumber(number)));
    let late = PacketNumber(100_000 - 10_001);
    assert_eq!(window.check(late), Freshness::TooOld);
    window.widen(PacketNumber(100_000 - 32_768));
    assert_eq!((window.check(late), window.heap_bytes()), (Freshness::TooOld, 512));
    window.widen(late);
    assert_eq!((window.check(late), window.heap_bytes()), (Freshness::Duplicate, 2_048), "nobody knows");
    let known = PacketNumber(100_000 - 4_095);
    assert_eq!(window.check(known), Freshness::New);
    window.mark(known);
    assert_eq!(window.check(known), Freshness::Duplicate);
    // From here on it is known.
    (100_001..=120_000).filter(|number| number % 2 == 0).for_each(|number| window.mark(PacketNumber(number)));
    assert_eq!(window.check(PacketNumber(120_000 - 16_383)), Freshness::New);
    assert_eq!(window.check(PacketNumber(120_000 - 16_382)), Freshness::Duplicate);
    assert_eq!(window.check(PacketNumber(120_000 - 16_384)), Freshness::TooOld);
}

#[test]
fn checking_marks_nothing() {
    let window = ReplayWindow::new();
    assert_eq!(window.check(PacketNumber(5)), Freshness::New);
    assert_eq!((window.check(PacketNumber(5)), window.highest()), (Freshness::New, None));
}

#[test]
fn a_young_window_is_small_and_a_full_one_does_not_grow() {
    let mut window = ReplayWindow::new();
    assert_eq!(window.heap_bytes(), 0);
    window.mark(PacketNumber(255));
    assert_eq!(window.heap_bytes(), 32);
    window.mark(PacketNumber(256));
    assert_eq!(window.heap_bytes(), 64);
    for number in [4095, 1 << 40, u64::MAX] {
        window.mark(PacketNumber(number));
        assert_eq!(window.heap_bytes(), 512);
    }
}

#[test]
fn a_path_that_goes_on_reads_nothing_that_it_may_have_read_before() {
    for highest in [0, 1, 63, 64, 300, 4_095, 4_096, 10_000] {
        let mut window = ReplayWindow::behind(PacketNumber::new(highest));
        for number in highest.saturating_sub(5_000)..=highest {
            assert_ne!(window.check(PacketNumber::new(number)), Freshness::New, "{number} behind {highest}");
        }
        for number in (highest + 1..highest + 9_000).step_by(3) {
            assert_eq!(window.check(PacketNumber::new(number)), Freshness::New);
            window.mark(PacketNumber::new(number));
            assert_eq!(window.check(PacketNumber::new(number)), Freshness::Duplicate);
            let between = if number > highest + 1 { Freshness::New } else { Freshness::Duplicate };
            assert_eq!(window.check(PacketNumber::new(number - 1)), between);
        }
    }
}

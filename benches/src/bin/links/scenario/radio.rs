//! Rates as radio links have them, made up by a seeded generator: not measured, but of the kind.

use dunlin_sim::{Duration, Rate, RateTrace, Rng};

const MILLI: Duration = Duration::from_millis(1);

/// Like Wi-Fi: a station that moves between eight rates (those of one 802.11n stream at 20 MHz, less the overhead of
/// the medium), a step up or down every 20 to 200 ms, and for a tenth of the time shares the medium with another.
pub(super) fn wifi() -> RateTrace {
    const KBIT: [u32; 8] = [5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 45_000, 50_000];
    let mut rng = Rng::new(1);
    let mut index = 5usize;
    let steps: Vec<_> = (0..300)
        .map(|_| {
            index = match rng.below(3) {
                0 => index.saturating_sub(1),
                1 => (index + 1).min(KBIT.len() - 1),
                _ => index,
            };
            let span = MILLI * (20 + rng.below(180) as u32);
            let share = if rng.below(10) == 0 { 2 } else { 1 };
            (span, Rate::kbit(KBIT[index] / share))
        })
        .collect();
    RateTrace::new(&steps)
}

/// Like LTE in a car: the rate wanders by up to a fifth every 20 ms between 2 and 60 Mbit/s, and fades to a tenth
/// for 100 to 400 ms about every ten seconds.
pub(super) fn lte() -> RateTrace {
    const SPAN: Duration = Duration::from_millis(20);
    let mut rng = Rng::new(2);
    let mut kbit = 20_000u64;
    let mut fade = 0;
    let steps: Vec<_> = (0..3_000)
        .map(|_| {
            let less = 100 - rng.below(21);
            kbit = if rng.below(2) == 0 { kbit * less / 100 } else { kbit * 100 / less };
            kbit = kbit.clamp(2_000, 60_000);
            if fade == 0 && rng.below(500) == 0 {
                fade = 5 + rng.below(16);
            }
            let now = if fade > 0 { kbit / 10 } else { kbit };
            fade = fade.saturating_sub(1);
            (SPAN, Rate::bits(now * 1_000))
        })
        .collect();
    RateTrace::new(&steps)
}

//! Seeds for tests: a fixed list, or the one that the environment asks for; the one that failed is printed.

use std::{env, thread};

use crate::rng::Rng;

/// The environment variable that replaces the list by one seed.
const VARIABLE: &str = "DUNLIN_SEED";

/// The seeds of a test: `count` of them, the same in every run; or only the one in the environment variable
/// `DUNLIN_SEED` (decimal, or hexadecimal after `0x`).
///
/// If the test panics while the iterator is alive, as it is in the body of a `for`, the seed at hand is printed:
///
/// ```
/// for seed in dunlin_sim::seeds(10) {
///     assert_eq!(seed, seed);
/// }
/// ```
///
/// # Panics
/// If the variable is set to something that is no seed: a run that silently tried others would mislead.
#[must_use]
pub fn seeds(count: u32) -> Seeds {
    let only = env::var(VARIABLE).ok().map(|text| match parse(&text) {
        Some(seed) => seed,
        None => panic!("{VARIABLE}={text} is no seed: 64 bits, decimal or 0x-hexadecimal"),
    });
    match only {
        Some(seed) => Seeds { left: Left::Only(seed), current: None },
        None => Seeds { left: Left::List { rng: Rng::new(0), count }, current: None },
    }
}

/// See [`seeds`].
#[derive(Debug)]
pub struct Seeds {
    left: Left,
    current: Option<u64>,
}

/// What is still to come.
#[derive(Debug)]
enum Left {
    Only(u64),
    List { rng: Rng, count: u32 },
    Nothing,
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.current = match &mut self.left {
            Left::Only(seed) => {
                let seed = *seed;
                self.left = Left::Nothing;
                Some(seed)
            }
            Left::List { rng, count } => {
                *count = count.checked_sub(1)?;
                Some(rng.next_u64())
            }
            Left::Nothing => None,
        };
        self.current
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        if let Some(seed) = self.current
            && thread::panicking()
        {
            eprintln!("to run the failing seed alone: {VARIABLE}={seed:#018x}");
        }
    }
}

/// A seed as people write it.
fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_in_both_bases() {
        assert_eq!(parse("17"), Some(17));
        assert_eq!(parse(" 0x00000000000000ff\n"), Some(255));
        assert_eq!(parse("0xg"), None);
        assert_eq!(parse("-1"), None);
    }

    #[test]
    fn the_list_is_fixed_and_without_repetition() {
        let list = || Seeds { left: Left::List { rng: Rng::new(0), count: 50 }, current: None };
        let mut first: Vec<u64> = list().collect();
        assert_eq!(first, list().collect::<Vec<_>>());
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 50);
    }

    #[test]
    fn the_environments_seed_comes_once() {
        let only = Seeds { left: Left::Only(5), current: None };
        assert_eq!(only.collect::<Vec<_>>(), [5]);
    }
}

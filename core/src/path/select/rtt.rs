//! The default policy, and the frame of those that choose one path.

use crate::time::Duration;

use super::{Choice, PathSelector, PathView, Rank};

/// A path of the same rank has to be better by so much (iroh's socket layer): less is within what round-trip times vary by
/// anyway.
const WORTH_IT: i128 = Duration::from_millis(5).as_nanos() as i128;

/// The path with the shortest round trip, where IPv6 counts as 3 ms faster; relays only while there is nothing else.
///
/// The best [`Rank`] wins at once. Within a rank data stays where it is unless another path is better by 5 ms or more,
/// biases included. Where every path is suspect, it stays as well: then nothing is known of any.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BiasedRtt;

impl PathSelector for BiasedRtt {
    fn select(&self, current: Option<&PathView>, paths: &[PathView]) -> Choice {
        select(current, paths.iter())
    }
}

/// The rule, for some of the paths.
pub(super) fn select<'a>(
    current: Option<&PathView>,
    paths: impl Iterator<Item = &'a PathView> + Clone,
) -> Choice {
    let key = |path: &PathView| (path.rank(), path.biased_rtt());
    let is_worth_it =
        |own: (Rank, i128), best: (Rank, i128)| own.0 != best.0 || best.1.saturating_add(WORTH_IT) <= own.1;
    choose(current, paths, key, is_worth_it)
}

/// The first path with the smallest key; but the current one, or another with the same ends, as long as changing is not
/// worth it.
pub(super) fn choose<'a, K: Ord + Copy>(
    current: Option<&PathView>,
    paths: impl Iterator<Item = &'a PathView> + Clone,
    key: impl Fn(&PathView) -> K,
    is_worth_it: impl Fn(K, K) -> bool,
) -> Choice {
    let Some(best) = paths.clone().min_by_key(|path| key(path)) else { return Choice::Keep };
    let own = current.and_then(|current| paths.filter(|path| path.tuple == current.tuple).map(&key).min());
    match own {
        Some(own) if best.suspect || !is_worth_it(own, key(best)) => Choice::Keep,
        _ => Choice::Use(best.id),
    }
}

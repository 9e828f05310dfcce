//! Policies for those who know what they want.

use crate::path::slots::MAX_PATHS;

use super::{Choice, PathSelector, PathView, Tier, rtt};

/// The path with the shortest round trip, without biases, and relays as good as any: for games and calls. A path that is
/// suspect, or that an application calls a backup, still comes last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LowestLatency;

impl PathSelector for LowestLatency {
    fn select(&self, current: Option<&PathView>, paths: &[PathView]) -> Choice {
        let key = |path: &PathView| (path.suspect, path.backup, path.rtt);
        rtt::choose(current, paths.iter(), key, |own, best| best < own)
    }
}

/// As [`BiasedRtt`](super::BiasedRtt), but among primary paths alone. A connection that loses its last one ends if none comes
/// within three seconds. One that was dialled over a relay stays there until it has a primary path, so who must never use a relay
/// must not dial one either.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DirectOnly;

impl PathSelector for DirectOnly {
    fn select(&self, current: Option<&PathView>, paths: &[PathView]) -> Choice {
        rtt::select(current, paths.iter().filter(|path| path.tier == Tier::Primary))
    }
}

/// All paths of the best rank at once, for transfers that no single one of them is fast enough for. What is sent on
/// different paths arrives in another order, and one path's losses hold up what the others brought, so it is not for those
/// who wait for single messages.
///
/// With less than two good paths it is [`BiasedRtt`](super::BiasedRtt).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spread;

impl PathSelector for Spread {
    fn select(&self, current: Option<&PathView>, paths: &[PathView]) -> Choice {
        let best = paths.iter().map(PathView::rank).min();
        let among = paths.iter().filter(|path| Some(path.rank()) == best);
        let is_good = |path: &PathView| !path.suspect && !path.backup;
        if among.filter(|path| is_good(path)).count() > 1 {
            Choice::Spread
        } else {
            rtt::select(current, paths.iter())
        }
    }

    fn spares(&self) -> usize {
        usize::from(MAX_PATHS)
    }
}

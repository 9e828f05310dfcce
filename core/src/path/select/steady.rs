//! When the wish of a policy is followed: at once where data is at stake, and where there is only something to gain once
//! that has lasted. Policies judge by the moment, and round-trip times vary.

use crate::id::PathId;
use crate::time::{Duration, Instant};

use super::PathView;

/// A gain has to last so long, and to be seen so often: a burst in a queue is over by then.
const LASTING: Duration = Duration::from_secs(1);
/// As [`LASTING`], in looks.
const LOOKS: u8 = 3;
/// After a change, one that gains less than [`is_large`] waits so long.
const REST: Duration = Duration::from_secs(60);
/// After so many failures in a row the wait for another try does not double any more: it is [`REST`] then.
const MAX_SETBACKS: u8 = 6;

/// Keeps data from going to and fro between paths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steady {
    wish: Option<Wish>,
    /// When data changed its path last.
    changed: Option<Instant>,
    /// How often in a row a path failed within [`REST`] of being chosen; one less for each change that could wait so long.
    setbacks: u8,
}

/// What the policy has wanted at every look since.
#[derive(Clone, Copy, Debug)]
struct Wish {
    to: PathId,
    since: Instant,
    looks: u8,
}

impl Steady {
    pub(crate) const fn new() -> Self {
        Self { wish: None, changed: None, setbacks: 0 }
    }

    /// The policy was asked, and wants data to go to `wish`; `None`: to stay. Says whether it goes there now.
    ///
    /// It does at once where there is no current path or it is suspect, and for a better rank. But each path that fails soon
    /// after it was chosen makes everything else wait for longer, up to a minute.
    pub(crate) fn follow(
        &mut self,
        now: Instant,
        current: Option<&PathView>,
        wish: Option<&PathView>,
    ) -> bool {
        let Some(to) = wish else {
            self.wish = None;
            return false;
        };
        let before = self.wish.filter(|wish| wish.to == to.id);
        let Wish { since, looks, .. } = before.unwrap_or(Wish { to: to.id, since: now, looks: 0 });
        let (lasted, looks) = (now - since, looks.saturating_add(1));
        self.wish = Some(Wish { to: to.id, since, looks });
        let failed = current.is_none_or(|from| from.suspect && !to.suspect);
        let settled = self.changed.is_none_or(|changed| now - changed >= self.patience());
        let lasting = looks >= LOOKS && lasted >= LASTING;
        let is_worth_it = |from: &PathView| {
            to.rank() < from.rank() || lasting && (is_large(from, to) || self.is_rested(now))
        };
        let follow = failed || settled && current.is_some_and(is_worth_it);
        if follow {
            self.on_change(now, failed);
        }
        follow
    }

    fn on_change(&mut self, now: Instant, failed: bool) {
        self.setbacks = match (self.is_rested(now), failed) {
            (true, true) => 0,
            (true, false) => self.setbacks.saturating_sub(1),
            (false, true) => self.setbacks.saturating_add(1).min(MAX_SETBACKS),
            (false, false) => self.setbacks,
        };
        (self.wish, self.changed) = (None, Some(now));
    }

    /// Whether data has been where it is for long.
    fn is_rested(&self, now: Instant) -> bool {
        self.changed.is_none_or(|changed| now - changed >= REST)
    }

    /// How long data stays where it went when a path failed.
    fn patience(&self) -> Duration {
        match self.setbacks {
            0 => Duration::ZERO,
            setbacks => LASTING.saturating_mul(1_u32.wrapping_shl(setbacks.into())).min(REST),
        }
    }
}

/// Whether the round trip gets shorter by two fifths or more. Where it varies by 20 % both ways, two equal paths differ by
/// 1 - 0.8 / 1.2, a third, at most.
fn is_large(from: &PathView, to: &PathView) -> bool {
    to.rtt.saturating_mul(5) <= from.rtt.saturating_mul(3)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::path::addr::{LocalAddr, TransportAddr, Tuple};
    use crate::path::select::{BiasedRtt, Choice, PathSelector, Tier};
    use crate::recovery::rtt::Rtt;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn path(id: u8, rtt: u64) -> PathView {
        let remote = TransportAddr::Ip(([192, 0, 2, id], 443).into());
        let rtt = Duration::from_millis(rtt);
        PathView { rtt, ..PathView::new(PathId(id), Tuple { local: LocalAddr::default(), remote }) }
    }

    fn suspect(path: PathView) -> PathView {
        PathView { suspect: true, ..path }
    }

    /// One that went to its path long ago.
    fn rested() -> Steady {
        let mut steady = Steady::new();
        assert!(steady.follow(at(0), None, Some(&path(0, 100))));
        steady
    }

    /// When a wish that begins then is followed, if it is seen every 500 ms; at most `most` ms later.
    fn followed(
        steady: &mut Steady,
        from: u64,
        most: u64,
        current: &PathView,
        wish: &PathView,
    ) -> Option<u64> {
        (0..=most / 500)
            .map(|look| look * 500)
            .find(|after| steady.follow(at(from + after), Some(current), Some(wish)))
    }

    #[test]
    fn gain_must_last() {
        let (slow, fast) = (path(0, 100), path(2, 50));
        let mut steady = rested();
        for second in 100..160 {
            let now = second * 1000;
            assert!(!steady.follow(at(now), Some(&slow), Some(&fast)));
            assert!(!steady.follow(at(now + 500), Some(&slow), Some(&fast)));
            assert!(!steady.follow(at(now + 900), Some(&slow), None), "not any more");
        }
        assert_eq!(followed(&mut steady, 200_000, 2_000, &slow, &fast), Some(1_000));
        let mut steady = rested();
        for look in 0..100 {
            assert!(!steady.follow(at(100_000 + look), Some(&slow), Some(&fast)), "many looks at once");
        }
        assert!(!steady.follow(at(101_000), Some(&slow), Some(&path(4, 50))), "another wish");
    }

    #[test]
    fn small_gains_once_a_minute() {
        let (slow, fast) = (path(0, 100), path(2, 70));
        let mut steady = rested();
        assert_eq!(followed(&mut steady, 60_000, 2_000, &slow, &fast), Some(1_000));
        assert_eq!(followed(&mut steady, 62_000, 70_000, &fast, &slow), Some(59_000));
    }

    #[test]
    fn half_the_rtt_within_two_seconds() {
        let (slow, fast) = (path(0, 100), path(2, 50));
        let mut steady = rested();
        assert_eq!(followed(&mut steady, 5_000, 2_000, &slow, &fast), Some(1_000), "soon after a change");
        assert_eq!(followed(&mut steady, 7_000, 2_000, &path(2, 100), &path(0, 50)), Some(1_000));
    }

    #[test]
    fn suspicion_tier_and_loss_of_current_switch_at_once() {
        let (one, other) = (path(0, 10), path(2, 100));
        let relay = PathView { tier: Tier::Backup, ..path(4, 1) };
        let metered = PathView { backup: true, ..path(6, 1) };
        for (current, wish) in [
            (Some(&suspect(one)), &other),
            (Some(&suspect(one)), &relay),
            (Some(&relay), &other),
            (Some(&metered), &other),
            (None, &other),
        ] {
            assert!(rested().follow(at(1), current, Some(wish)), "{current:?}");
        }
    }

    #[test]
    fn what_fails_again_and_again_has_to_wait_for_longer_each_time() {
        let (flaky, relay) = (path(0, 10), PathView { tier: Tier::Backup, ..path(2, 100) });
        let mut steady = rested();
        let (mut now, mut waits) = (100_000, Vec::new());
        for _ in 0..9 {
            assert!(steady.follow(at(now), Some(&suspect(flaky)), Some(&relay)), "at once");
            let wait = followed(&mut steady, now + 500, 61_000, &relay, &flaky);
            waits.push(wait.unwrap());
            now += 500 + wait.unwrap() + 2_000;
        }
        assert_eq!(waits, [0, 1_500, 3_500, 7_500, 15_500, 31_500, 59_500, 59_500, 59_500]);
        let mut steady = rested();
        for now in [100_000, 161_000, 222_000] {
            assert!(steady.follow(at(now), Some(&suspect(flaky)), Some(&relay)));
            assert!(steady.follow(at(now + 500), Some(&relay), Some(&flaky)), "it had stood for long");
        }
    }

    /// Lets two paths of the same mean run for an hour, data on one of them, and says when data changed its path.
    fn changes(seed: u64, jitter: u64) -> Vec<Instant> {
        let mut state = seed | 1;
        let mut sample = || {
            // An xorshift generator (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            Duration::from_micros(100_000 - 1_000 * jitter + state % (2_000 * jitter + 1))
        };
        let (mut rtts, mut current) = ([Rtt::new(), Rtt::new()], 0);
        let (mut steady, mut changes) = (rested(), Vec::new());
        for look in 1..=7_200 {
            (0..4).for_each(|_| rtts[current].update(sample(), Duration::ZERO));
            if look % 2 == 0 {
                rtts[1 - current].update(sample(), Duration::ZERO);
            }
            let paths = [0, 1].map(|at| PathView { rtt: rtts[at].smoothed(), ..path(at as u8, 0) });
            let wish = match BiasedRtt.select(Some(&paths[current]), &paths) {
                Choice::Use(_) => Some(&paths[1 - current]),
                _ => None,
            };
            if steady.follow(at(look * 500), Some(&paths[current]), wish) {
                current = 1 - current;
                changes.push(at(look * 500));
            }
        }
        changes
    }

    #[test]
    fn one_switch_a_minute_where_round_trips_vary_by_a_fifth() {
        for seed in 1..=1_000_u64 {
            let changes = changes(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), 20);
            let apart = changes.windows(2).map(|pair| pair[1] - pair[0]).min();
            assert!(apart.is_none_or(|apart| apart >= REST), "seed {seed}: {apart:?}");
        }
    }

    proptest! {
        #[test]
        fn only_what_is_wished_for_is_followed(
            looks in prop::collection::vec((0..3_000_u64, 0..4_u8, 0..4_u8, any::<[bool; 3]>()), 1..60),
        ) {
            let (mut steady, mut now) = (Steady::new(), Instant::ZERO);
            for (wait, from, to, [suspected, backup, none]) in looks {
                now += Duration::from_millis(wait);
                let from = PathView { suspect: suspected, backup, ..path(from, 50) };
                let wish = (to > 0).then(|| path(to, 40));
                let current = (!none).then_some(&from);
                let follow = steady.follow(now, current, wish.as_ref());
                prop_assert!(!follow || wish.is_some());
                let is_needed = wish.is_some() && (suspected || none);
                prop_assert!(!is_needed || follow);
            }
        }
    }
}

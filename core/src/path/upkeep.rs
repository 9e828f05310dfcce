//! Which paths a connection opens and closes by itself: one to spare while there is something to lose, a better one now
//! and then, and any at all where those that it has do not deliver (docs/PROTOCOL.md, "Paths that are kept"). Pure.
//!
//! Only the dialler does this, so that both sides never open the same path at once, nor close each other's last one. What
//! the applications open is theirs to close.

use alloc::vec::Vec;
use smallvec::SmallVec;

use crate::budget::room;
use crate::id::PathId;
use crate::time::{Duration, Instant};

use super::addr::Tuple;
use super::events::PathClosed;
use super::select::PathView;

/// After how long in use a connection gets a path to spare. Most exchanges are over by then; and a NAT that forgets after a
/// fixed time does not forget both at once.
const SETTLED: Duration = Duration::from_secs(5);
/// How often a connection in use is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The same where none of its paths delivers.
const LOOK_IN_NEED: Duration = Duration::from_millis(500);
/// For how long after its last payload a connection counts as in use.
const IN_USE: Duration = Duration::from_secs(60);
/// A path that is neither used nor to spare goes after this.
const UNNEEDED: Duration = Duration::from_secs(15);
/// How often a better path is looked for, and for how long a way that did not answer is left alone
/// (iroh's interval between attempts at a direct path).
const RETRY: Duration = Duration::from_secs(60);
/// That doubles with each failure in a row, up to 16 minutes.
const MAX_FAILURES: u32 = 5;
/// With a round trip as short as this nothing better is looked for.
const GOOD_ENOUGH: Duration = Duration::from_millis(10);
/// What a path has to be better by to take another one's place, in nanoseconds: as in
/// [`BiasedRtt`](super::select::BiasedRtt).
const WORTH_IT: i128 = Duration::from_millis(5).as_nanos() as i128;
/// Paths that are begun at one look in need.
const AT_ONCE: usize = 2;
/// Ways of which it is remembered how they did.
pub(crate) const REMEMBERED: usize = 32;

/// An open path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) view: PathView,
    /// The peer has not answered yet.
    pub(crate) opening: bool,
    /// Data takes it.
    pub(crate) carries: bool,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Steps {
    pub(crate) open: SmallVec<[Tuple; AT_ONCE]>,
    pub(crate) close: SmallVec<[PathId; 2]>,
}

/// What is remembered from one look to the next.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// When the last payload was sent or received.
    used: Instant,
    /// When to look again; `None` while the connection rests.
    due: Option<Instant>,
    /// No path that delivers carried data at the last look.
    in_need: bool,
    /// When that was last so.
    hurried: Option<Instant>,
    /// When a better path is looked for again.
    upgrade: Instant,
    /// The paths that were opened here and are not gone.
    own: Vec<Own>,
    /// The latest last.
    tried: Vec<Trial>,
}

/// A path that was opened here.
#[derive(Clone, Copy, Debug)]
struct Own {
    id: PathId,
    /// Somebody vouches for the address.
    vouched: bool,
    /// When it was needed last, or opened.
    needed: Instant,
    /// It was needed at the last look.
    spared: bool,
}

/// How a way did that is not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Trial {
    ends: Tuple,
    /// The biased round-trip time in nanoseconds that it had, if it answered.
    found: Result<i128, Failure>,
}

/// A way did not answer, so often in a row, the last time then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Failure {
    at: Instant,
    times: u32,
}

impl Failure {
    /// When it may be tried again.
    fn over(self) -> Instant {
        self.at + RETRY.saturating_mul(1_u32.wrapping_shl(self.times.saturating_sub(1)))
    }
}

impl Upkeep {
    /// The connection is there.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            used: now,
            due: Some(now + SETTLED),
            in_need: false,
            hurried: None,
            upgrade: now + RETRY,
            own: Vec::new(),
            tried: Vec::new(),
        }
    }

    /// Payload was sent or received.
    #[inline]
    pub(crate) fn on_payload(&mut self, now: Instant) {
        self.used = now;
        if self.due.is_none() {
            self.due = Some(now + SETTLED);
        }
    }

    /// When to look again.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether none of the paths delivers.
    pub(crate) const fn is_in_need(&self) -> bool {
        self.in_need
    }

    /// Whether the path was opened here, to an address that may be asked as often as one likes.
    pub(crate) fn may_ask_on(&self, id: PathId) -> bool {
        self.own.iter().any(|own| own.id == id && own.vouched)
    }

    /// A path does not deliver, or is gone: to be looked at now.
    pub(crate) fn hurry(&mut self, now: Instant) {
        let earliest = self.hurried.map_or(now, |hurried| now.max(hurried + LOOK_IN_NEED));
        self.due = Some(self.due.map_or(earliest, |due| due.min(earliest)));
    }

    /// There are other ways than before, or other networks: what failed may work now.
    pub(crate) fn on_news(&mut self, now: Instant) {
        self.tried.clear();
        if self.in_need {
            self.hurry(now);
        }
    }

    /// A path was begun here, to an address for which somebody vouches or not.
    pub(crate) fn on_opened(&mut self, now: Instant, id: PathId, vouched: bool) {
        self.own.push(Own { id, vouched, needed: now, spared: false });
    }

    /// A path is over.
    pub(crate) fn on_closed(&mut self, now: Instant, view: &PathView, why: PathClosed) {
        self.own.retain(|own| own.id != view.id);
        let before = self.trial(&view.tuple).and_then(|trial| trial.found.err());
        self.tried.retain(|trial| !trial.ends.matches(&view.tuple));
        let times = match why {
            PathClosed::Unneeded => 0,
            // The application does not want it.
            PathClosed::Local => MAX_FAILURES,
            _ => before.map_or(1, |failure| failure.times.saturating_add(1).min(MAX_FAILURES)),
        };
        let found = if times == 0 { Ok(view.biased_rtt()) } else { Err(Failure { at: now, times }) };
        if self.tried.len() >= REMEMBERED {
            self.tried.remove(0);
        }
        self.tried.push(Trial { ends: view.tuple, found });
        if self.in_need {
            self.hurry(now);
        } else {
            let soon = now + LOOK_IN_NEED;
            self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
        }
    }

    fn trial(&self, ends: &Tuple) -> Option<&Trial> {
        self.tried.iter().find(|trial| trial.ends.matches(ends))
    }

    /// Looks at the paths that there are, and at the ways that there may be, the best first. `spares` are to be kept open
    /// beside those that data takes.
    pub(crate) fn look(&mut self, now: Instant, paths: &[Seen], ways: &[Tuple], spares: usize) -> Steps {
        let mut steps = Steps::default();
        let usable = || paths.iter().filter(|path| !path.opening);
        self.in_need = !paths.iter().any(|path| path.carries && !path.view.suspect);
        let in_use = now - self.used < IN_USE;
        self.close_unneeded(now, paths, if in_use { spares } else { 0 }, &mut steps);
        if self.in_need {
            let ways = self.promising(now, paths, ways, true);
            steps.open.extend(ways.into_iter().take(AT_ONCE));
            self.hurried = Some(now);
            self.due = Some(now + LOOK_IN_NEED);
            return steps;
        }
        if !in_use {
            // Who has gone on elsewhere by itself does not need where it began, either.
            let is_elsewhere = self.own.iter().any(|own| is_carrying(paths, own.id));
            let first =
                paths.iter().find(|path| path.view.id == PathId::ZERO && !path.carries && !path.opening);
            steps.close.extend(first.filter(|_| is_elsewhere).map(|path| path.view.id));
            let left = self.own.iter().any(|own| !is_carrying(paths, own.id));
            self.due = left.then(|| now + LOOK);
            return steps;
        }
        self.due = Some(now + LOOK);
        if paths.iter().any(|path| path.opening) {
            return steps;
        }
        let spare = usable().filter(|path| !path.carries && !path.view.suspect).count();
        let best = usable().filter(|path| path.carries).map(|path| path.view.rtt).min();
        if spare < spares {
            steps.open.extend(self.spare(now, paths, ways, spare));
        }
        let slow = best.is_none_or(|rtt| rtt > GOOD_ENOUGH);
        if steps.open.is_empty() && self.upgrade <= now && slow {
            self.upgrade = now + RETRY;
            steps.open.extend(self.better(now, paths, ways));
        }
        steps
    }

    /// A way for a spare path. Beyond the first one it has to leave through another socket than all paths that are there:
    /// what shares its way with others adds nothing.
    fn spare(&self, now: Instant, paths: &[Seen], ways: &[Tuple], spare: usize) -> Option<Tuple> {
        let apart = |way: &Tuple| paths.iter().all(|path| path.view.tuple.local.socket != way.local.socket);
        self.promising(now, paths, ways, false).into_iter().find(|way| spare == 0 || apart(way))
    }

    /// A way that may be better than the one in use: one of which nothing is known, or that was better than that is now.
    fn better(&self, now: Instant, paths: &[Seen], ways: &[Tuple]) -> Option<Tuple> {
        let current = paths.iter().filter(|path| path.carries).map(|path| path.view.biased_rtt()).min();
        let promises = |way: &Tuple| match self.trial(way) {
            Some(Trial { found: Ok(rtt), .. }) => {
                current.is_none_or(|current| rtt.saturating_add(WORTH_IT) <= current)
            }
            _ => true,
        };
        self.promising(now, paths, ways, false).into_iter().find(promises)
    }

    /// The ways that are not open and did not fail lately, the best first: what has failed comes last, and what shares
    /// the least with paths that are there comes first. In need everything is tried again and again.
    fn promising(&self, now: Instant, paths: &[Seen], ways: &[Tuple], in_need: bool) -> Vec<Tuple> {
        let is_open = |way: &Tuple| paths.iter().any(|path| path.view.tuple.matches(way));
        let failure = |way: &Tuple| self.trial(way).and_then(|trial| trial.found.err());
        let may_be = |way: &&Tuple| in_need || failure(way).is_none_or(|failure| failure.over() <= now);
        let mut ways: Vec<Tuple> = ways.iter().filter(|way| !is_open(way)).filter(may_be).copied().collect();
        ways.sort_by_cached_key(|way| (failure(way).map(|failure| failure.at), overlap(paths, way)));
        ways
    }

    /// Closes what was opened here and has not been needed for long. Paths are needed that carry data, that are opening, and
    /// of the others the best that are to be spared.
    fn close_unneeded(&mut self, now: Instant, paths: &[Seen], spares: usize, steps: &mut Steps) {
        let was_spared = |id: PathId| self.own.iter().find(|own| own.id == id).is_none_or(|own| own.spared);
        let mut others: SmallVec<[&Seen; 8]> =
            paths.iter().filter(|path| !path.carries && !path.opening).collect();
        others.sort_by_key(|path| {
            // The one that is spared is not given up for a little.
            let head_start = if was_spared(path.view.id) { WORTH_IT } else { 0 };
            (path.view.rank(), path.view.biased_rtt().saturating_sub(head_start))
        });
        let unneeded: SmallVec<[PathId; 8]> = others.iter().skip(spares).map(|path| path.view.id).collect();
        for own in &mut self.own {
            own.spared = !unneeded.contains(&own.id);
            if own.spared {
                own.needed = now;
            } else if now - own.needed >= UNNEEDED {
                steps.close.push(own.id);
            }
        }
    }

    /// Its heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        room::<Own>(self.own.capacity()).saturating_add(room::<Trial>(self.tried.capacity()))
    }
}

/// How much a way has in common with the paths that are there.
fn overlap(paths: &[Seen], way: &Tuple) -> (usize, usize) {
    let count = |is: &dyn Fn(&Tuple) -> bool| paths.iter().filter(|path| is(&path.view.tuple)).count();
    let same_socket = count(&|open| open.local.socket == way.local.socket);
    (same_socket, count(&|open| open.remote == way.remote))
}

fn is_carrying(paths: &[Seen], id: PathId) -> bool {
    paths.iter().any(|path| path.view.id == id && path.carries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::addr::{LocalAddr, TransportAddr};

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// From socket n to host m.
    fn way(socket: u16, host: u8) -> Tuple {
        let remote = TransportAddr::Ip(([192, 0, 2, host], 443).into());
        Tuple { local: LocalAddr { socket, ip: None }, remote }
    }

    fn path(id: u8, tuple: Tuple, millis: u64) -> Seen {
        let view = PathView { rtt: Duration::from_millis(millis), ..PathView::new(PathId(id), tuple) };
        Seen { view, opening: false, carries: id == 0 }
    }

    fn suspect(path: Seen) -> Seen {
        Seen { view: PathView { suspect: true, ..path.view }, ..path }
    }

    /// A connection that is in use until then.
    fn upkeep(until: u64) -> Upkeep {
        let mut upkeep = Upkeep::new(at(0));
        upkeep.on_payload(at(until));
        upkeep
    }

    fn opened(steps: Steps) -> Vec<Tuple> {
        assert!(steps.close.is_empty(), "{steps:?}");
        steps.open.to_vec()
    }

    #[test]
    fn path_to_spare_shares_as_little_as_possible_with_the_one_in_use() {
        let ways = [way(0, 1), way(0, 2), way(1, 1), way(1, 2)];
        let mut upkeep = upkeep(60);
        assert_eq!(upkeep.due(), Some(at(5)));
        let first = path(0, ways[0], 40);
        assert_eq!(opened(upkeep.look(at(5), &[first], &ways, 1)), [way(1, 2)]);
        let second = path(2, way(1, 2), 60);
        let opening = Seen { opening: true, ..second };
        assert_eq!(opened(upkeep.look(at(10), &[first, opening], &ways, 1)), [], "one at a time");
        assert_eq!(opened(upkeep.look(at(15), &[first, second], &ways, 1)), []);
        assert_eq!(opened(upkeep.look(at(20), &[first, suspect(second)], &ways, 1)), [way(0, 2)]);
        assert_eq!(opened(upkeep.look(at(25), &[first, second], &ways, 9)), [], "no third socket");
        let ways = [ways[0], ways[3], way(2, 1)];
        assert_eq!(opened(upkeep.look(at(30), &[first, second], &ways, 9)), [way(2, 1)]);
    }

    #[test]
    fn path_that_did_not_answer_is_left_alone_for_a_while_longer_each_time() {
        let ways = [way(0, 1), way(0, 2)];
        let mut upkeep = upkeep(0);
        let first = path(0, ways[0], 40);
        let mut tries = Vec::new();
        for second in 5..4000 {
            upkeep.on_payload(at(second));
            if !opened(upkeep.look(at(second), &[first], &ways, 1)).is_empty() {
                tries.push(second);
                upkeep.on_closed(at(second), &path(2, ways[1], 333).view, PathClosed::NoAnswer);
            }
        }
        assert_eq!(tries, [5, 65, 185, 425, 905, 1865, 2825, 3785]);
        upkeep.on_news(at(4000));
        assert_eq!(
            opened(upkeep.look(at(4000), &[first], &ways, 1)),
            [ways[1]],
            "the network is another one"
        );
        upkeep.on_closed(at(4000), &path(2, ways[1], 333).view, PathClosed::Local);
        assert_eq!(opened(upkeep.look(at(4900), &[first], &ways, 1)), [], "the application has closed it");
    }

    #[test]
    fn path_in_need_is_sought_every_half_second_whatever_was_tried() {
        let ways = [way(0, 1), way(0, 2), way(0, 3), way(0, 4)];
        let mut upkeep = upkeep(0);
        let first = suspect(path(0, ways[0], 40));
        upkeep.hurry(at(2));
        assert_eq!(upkeep.due(), Some(at(2)));
        upkeep.on_closed(at(2), &path(2, ways[1], 333).view, PathClosed::NoAnswer);
        assert_eq!(opened(upkeep.look(at(2), &[first], &ways, 1)), [ways[2], ways[3]]);
        let opening =
            [path(4, ways[2], 333), path(6, ways[3], 333)].map(|path| Seen { opening: true, ..path });
        upkeep.hurry(at(2));
        let next = at(2) + LOOK_IN_NEED;
        assert_eq!(upkeep.due(), Some(next));
        assert_eq!(opened(upkeep.look(next, &[first, opening[0], opening[1]], &ways, 1)), [ways[1]]);
        assert_eq!(opened(upkeep.look(at(100), &[], &ways, 1)).len(), 2, "even if nothing was sent for long");
        let unwanted = Seen { carries: false, ..path(0, ways[0], 40) };
        assert_eq!(opened(upkeep.look(at(200), &[unwanted], &ways, 1)).len(), 2, "no policy takes that one");
    }

    #[test]
    fn path_that_is_neither_used_nor_to_spare_is_closed_after_a_while() {
        let ways = [way(0, 1), way(1, 1), way(2, 1)];
        let mut upkeep = upkeep(1000);
        let mut paths = [path(0, ways[0], 40), path(2, ways[1], 60), path(4, ways[2], 58)];
        upkeep.on_opened(at(0), PathId(2), true);
        assert_eq!(opened(upkeep.look(at(5), &paths[..2], &ways, 1)), []);
        upkeep.on_opened(at(5), PathId(4), true);
        for second in [10, 15] {
            assert_eq!(upkeep.look(at(second), &paths, &ways, 1).close.to_vec(), [], "{second}");
        }
        let closed = upkeep.look(at(20), &paths, &ways, 1).close;
        assert_eq!(closed.to_vec(), [PathId(4)], "2 ms are no reason to give the other one up");
        paths[2].view.rtt = Duration::from_millis(54);
        assert_eq!(upkeep.look(at(25), &paths, &ways, 1).close.to_vec(), []);
        assert_eq!(upkeep.look(at(40), &paths, &ways, 1).close.to_vec(), [PathId(2)]);
        // What the application has opened is its own.
        upkeep.on_closed(at(40), &paths[1].view, PathClosed::Unneeded);
        upkeep.on_closed(at(40), &paths[2].view, PathClosed::Unneeded);
        assert_eq!(upkeep.look(at(100), &paths, &ways, 1).close.to_vec(), []);
    }

    #[test]
    fn path_that_may_be_better_is_tried_each_minute() {
        let ways = [way(0, 1), way(0, 2), way(0, 3), way(0, 4)];
        let mut upkeep = upkeep(1000);
        let [first, spare] = [path(0, ways[0], 40), path(2, ways[1], 60)];
        assert_eq!(opened(upkeep.look(at(59), &[first, spare], &ways, 1)), []);
        assert_eq!(opened(upkeep.look(at(60), &[first, spare], &ways, 1)), [ways[2]]);
        upkeep.on_opened(at(60), PathId(4), true);
        upkeep.on_closed(at(80), &path(4, ways[2], 50).view, PathClosed::Unneeded);
        assert_eq!(opened(upkeep.look(at(119), &[first, spare], &ways, 1)), []);
        assert_eq!(
            opened(upkeep.look(at(120), &[first, spare], &ways, 1)),
            [ways[3]],
            "not known to be worse"
        );
        upkeep.on_closed(at(120), &path(4, ways[3], 333).view, PathClosed::NoAnswer);
        let slower = path(0, ways[0], 55);
        assert_eq!(opened(upkeep.look(at(180), &[slower, spare], &ways, 1)), [ways[2]], "that had 50 ms");
        let fast = path(0, ways[0], 10);
        assert_eq!(opened(upkeep.look(at(600), &[fast, spare], &ways, 1)), []);
    }

    #[test]
    fn path_upkeep_rests_with_its_connection() {
        let ways = [way(0, 1), way(0, 2)];
        let mut upkeep = upkeep(0);
        let paths = [path(0, ways[0], 40), path(2, ways[1], 60)];
        upkeep.on_opened(at(5), PathId(2), true);
        assert_eq!(opened(upkeep.look(at(55), &paths, &ways, 1)), []);
        assert_eq!(opened(upkeep.look(at(60), &paths, &ways, 1)), [], "since 55 it was needed");
        assert_eq!(upkeep.look(at(70), &paths, &ways, 1).close.to_vec(), [PathId(2)]);
        upkeep.on_closed(at(70), &paths[1].view, PathClosed::Unneeded);
        assert_eq!(opened(upkeep.look(at(70), &paths[..1], &ways, 1)), []);
        assert_eq!(upkeep.due(), None);
        upkeep.on_payload(at(90));
        assert_eq!(upkeep.due(), Some(at(95)));
        assert_eq!(opened(upkeep.look(at(95), &paths[..1], &ways, 1)), [ways[1]]);
    }

    #[test]
    fn path_upkeep_remembers_so_many_ways_and_no_more() {
        let mut upkeep = upkeep(0);
        for host in 0..200 {
            upkeep.on_closed(at(1), &path(2, way(0, host), 60).view, PathClosed::Idle);
        }
        assert_eq!(upkeep.tried.len(), REMEMBERED);
    }
}

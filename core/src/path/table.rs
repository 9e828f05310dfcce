//! The paths of a connection, and where each is kept.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use crate::budget::room;
use crate::id::{ErrorCode, PathId, Role};
use crate::time::{Duration, Instant, part};
use crate::wire::frame::Abandon;

use super::Path;
use super::selection::Selection;
use super::slots::{FIRST, MAX_PATHS, PathSlot, SlotSet};
use super::standing::{Life, Retired, Standing};

/// All paths of a connection. Most have one for as long as they live, and pay for no more.
#[derive(Debug)]
pub(crate) struct Paths {
    first: Path,
    /// Made with the second path, and there from then on.
    more: Option<Box<More>>,
}

/// What several paths need.
#[derive(Debug)]
struct More {
    /// The path at place n + 1.
    others: Vec<Option<Box<Path>>>,
    /// Opening or usable.
    open: SlotSet,
    /// May carry data.
    usable: SlotSet,
    /// Over, and still read from.
    closed: SlotSet,
    /// Carry data.
    carrying: SlotSet,
    /// Of these, those that leave it to faster ones while a train is built.
    held_back: SlotSet,
    /// The one that carries data, or did last.
    selected: PathSlot,
    /// The one that was served last, of those that do not.
    turn: PathSlot,
    /// Ids that were used and are not.
    retired: Vec<Retired>,
    selection: Selection,
    /// When the connection ends for want of a path.
    homeless: Option<Instant>,
    /// When the peer was heard again after a silence on all paths.
    awake: Instant,
}

impl More {
    fn new() -> Self {
        let first = SlotSet::of(FIRST);
        Self {
            others: Vec::new(),
            open: first,
            usable: first,
            closed: SlotSet::default(),
            carrying: first,
            held_back: SlotSet::default(),
            selected: FIRST,
            turn: FIRST,
            retired: Vec::new(),
            selection: Selection::new(Instant::ZERO),
            homeless: None,
            awake: Instant::ZERO,
        }
    }
}

impl Paths {
    /// The path of the handshake alone.
    pub(crate) const fn new(first: Path) -> Self {
        Self { first, more: None }
    }

    /// Whether there never was another path.
    #[inline]
    pub(crate) const fn is_single(&self) -> bool {
        self.more.is_none()
    }

    /// Where the path with this id is kept, if it is open, or closed and still read from.
    #[inline]
    pub(crate) fn find(&self, id: PathId) -> Option<PathSlot> {
        match &self.more {
            None => (self.first.id == id).then_some(FIRST),
            Some(more) => {
                let all = more.open.union(more.closed);
                // Most packets are of the one in use.
                let selected = Some(more.selected).filter(|at| all.contains(*at) && self[*at].id == id);
                selected.or_else(|| all.iter().find(|at| self[*at].id == id))
            }
        }
    }

    /// The places of all paths that are opening or usable.
    pub(crate) fn slots(&self) -> impl Iterator<Item = PathSlot> + use<> {
        self.open().iter()
    }

    /// The paths that are opening or usable.
    pub(crate) fn open(&self) -> SlotSet {
        self.more.as_ref().map_or(SlotSet::of(FIRST), |more| more.open)
    }

    /// The paths that may carry data.
    pub(crate) fn usable(&self) -> SlotSet {
        self.more.as_ref().map_or(SlotSet::of(FIRST), |more| more.usable)
    }

    /// The paths that are over and still read from.
    pub(crate) fn closed(&self) -> SlotSet {
        self.more.as_ref().map_or_else(SlotSet::default, |more| more.closed)
    }

    /// The paths that carry data now.
    pub(crate) fn carrying(&self) -> SlotSet {
        self.more.as_ref().map_or(SlotSet::of(FIRST), |more| more.carrying)
    }

    /// The path that data takes, or took before the last one was lost.
    #[inline]
    pub(crate) fn selected(&self) -> PathSlot {
        self.more.as_ref().map_or(FIRST, |more| more.selected)
    }

    /// Whether a path carries data now.
    #[inline]
    pub(crate) fn carries(&self, at: PathSlot) -> bool {
        self.more.as_ref().is_none_or(|more| more.carrying.contains(at) && !more.held_back.contains(at))
    }

    /// Data takes these paths from now on, `main` above all.
    pub(crate) fn carry(&mut self, paths: SlotSet, main: PathSlot) {
        if let Some(more) = &mut self.more {
            debug_assert!(paths.without(more.usable).is_empty(), "{paths:?} are not all usable");
            (more.selected, more.carrying) = (main, paths);
            if !paths.is_empty() {
                more.homeless = None;
            }
        }
    }

    /// These leave data to faster ones for now.
    pub(crate) fn hold_back(&mut self, paths: SlotSet) {
        if let Some(more) = &mut self.more {
            more.held_back = paths;
        }
    }

    /// What is remembered of the choice, where there is one.
    pub(crate) fn selection(&self) -> Option<&Selection> {
        self.more.as_ref().map(|more| &more.selection)
    }

    /// The same, to change it.
    pub(crate) fn selection_mut(&mut self) -> Option<&mut Selection> {
        self.more.as_mut().map(|more| &mut more.selection)
    }

    /// The same, made for the occasion if there never was a choice.
    pub(crate) fn selection_or_new(&mut self) -> &mut Selection {
        &mut self.more.get_or_insert_with(|| Box::new(More::new())).selection
    }

    /// A path that does not carry data is served: the next turn is the next one's.
    pub(crate) fn take_turn(&mut self, duties: &mut SlotSet) -> Option<PathSlot> {
        let more = self.more.as_mut()?;
        let at = duties.after(more.turn)?;
        more.turn = at;
        duties.remove(at);
        Some(at)
    }

    /// The longest probe timeout of all usable paths, without back-off: what concerns all of them (keys, the end of the
    /// connection) waits for the slowest.
    pub(crate) fn largest_pto(&self, max_ack_delay: Duration) -> Duration {
        self.over_usable(|path| path.pto(max_ack_delay))
    }

    /// The longest smoothed round-trip time of all usable paths.
    pub(crate) fn largest_rtt(&self) -> Duration {
        self.over_usable(|path| path.rtt.smoothed())
    }

    /// The path in a place, if one is there. Not `get`, or Clippy would take `paths[at]` for what may panic.
    fn path_at(&self, at: PathSlot) -> Option<&Path> {
        match at.0.checked_sub(1) {
            None => Some(&self.first),
            Some(index) => self.more.as_ref()?.others.get(usize::from(index))?.as_deref(),
        }
    }

    fn over_usable(&self, of: impl Fn(&Path) -> Duration) -> Duration {
        match &self.more {
            None => of(&self.first),
            Some(more) if more.usable.is_empty() => of(&self[more.selected]),
            Some(more) => more.usable.iter().map(|at| of(&self[at])).max().unwrap_or_default(),
        }
    }

    /// The round-trip time by which windows are made: the longest of the paths in use, for what is sent last on the
    /// fastest one waits for what was sent first on the slowest.
    pub(crate) fn rtt_in_use(&self) -> Duration {
        match &self.more {
            None => self.first.rtt.credible(),
            Some(more) => more.carrying.iter().map(|at| self[at].rtt.credible()).max().unwrap_or_default(),
        }
    }

    /// What may be in flight on all paths in use together, in bytes.
    pub(crate) fn window_in_use(&self) -> u64 {
        match &self.more {
            None => self.first.bbr.window(),
            Some(more) => more.carrying.iter().map(|at| self[at].bbr.window()).sum(),
        }
    }

    /// The largest datagram that every path in use was shown to carry.
    pub(crate) fn datagram_in_use(&self) -> u16 {
        let last = self[self.selected()].largest_datagram();
        match &self.more {
            None => last,
            Some(more) => more.carrying.iter().map(|at| self[at].largest_datagram()).min().unwrap_or(last),
        }
    }

    /// The life with which a path may begin now under this id, if it may.
    pub(crate) fn vacant(&self, id: PathId, now: Instant) -> Option<Life> {
        match (self.find(id), self.retired(id)) {
            (Some(_), _) => None,
            (None, Some(retired)) => retired.next_life(now),
            (None, None) => Some(Life::first(id)),
        }
    }

    /// The lowest id under which this side may open a path now.
    pub(crate) fn next_vacant(&self, role: Role, now: Instant) -> Option<Life> {
        let ids = (0..=PathId::MAX.get()).map(PathId).filter(|id| id.opener() == role);
        ids.filter_map(|id| self.vacant(id, now)).next()
    }

    /// What is kept of an id that is not used.
    pub(crate) fn retired(&self, id: PathId) -> Option<&Retired> {
        self.more.as_ref()?.retired.iter().find(|retired| retired.id() == id)
    }

    /// The same, to change it.
    pub(crate) fn retired_mut(&mut self, id: PathId) -> Option<&mut Retired> {
        self.more.as_mut()?.retired.iter_mut().find(|retired| retired.id() == id)
    }

    /// All ids that were used and are not: at most one entry for each of the 64.
    pub(crate) fn all_retired(&mut self) -> impl Iterator<Item = &mut Retired> {
        self.more.iter_mut().flat_map(|more| more.retired.iter_mut())
    }

    /// The next end of a path that the peer is to be told of.
    pub(crate) fn next_abandon(&self) -> Option<Abandon> {
        self.more.as_ref()?.retired.iter().find_map(Retired::owed)
    }

    /// The next path whose end the peer is to be told of, and that is still there.
    pub(crate) fn next_to_end(&self) -> Option<PathSlot> {
        let owed = self.more.as_ref()?.retired.iter().filter_map(Retired::owed);
        owed.filter_map(|abandon| self.find(abandon.path)).next()
    }

    /// Takes down what is to be remembered of an id.
    pub(crate) fn retire(&mut self, retired: Retired) {
        let more = self.more.get_or_insert_with(|| Box::new(More::new()));
        more.retired.retain(|other| other.id() != retired.id());
        more.retired.push(retired);
    }

    /// A path begins, under an id that is vacant.
    pub(crate) fn insert(&mut self, path: Path) -> PathSlot {
        let more = self.more.get_or_insert_with(|| Box::new(More::new()));
        more.retired.retain(|retired| retired.id() != path.id);
        let at = more.open.union(more.closed).vacancy();
        more.open.insert(at);
        match at.0.checked_sub(1).map(usize::from) {
            None => self.first = path,
            Some(index) => {
                if more.others.len() <= index {
                    more.others.resize_with(index.saturating_add(1), || None);
                }
                if let Some(place) = more.others.get_mut(index) {
                    *place = Some(Box::new(path));
                }
            }
        }
        at
    }

    /// The peer has answered on a path.
    pub(crate) fn on_usable(&mut self, at: PathSlot) {
        if let Some(more) = &mut self.more {
            more.usable.insert(at);
        }
        self[at].standing = Standing::Usable;
    }

    /// A path is over, for a reason that has this code. It is read from for three probe timeouts, `period`, from when the
    /// peer has said so, or is known to be told: until then it may send nowhere else.
    pub(crate) fn close(
        &mut self,
        at: PathSlot,
        now: Instant,
        code: ErrorCode,
        theirs: bool,
        period: Duration,
    ) {
        let life = self[at].life();
        self.retire(Retired::new(now, life, code, theirs, period));
        let until = if theirs { now + period } else { Instant::MAX };
        self[at].standing = Standing::Closed { until };
        let Some(more) = &mut self.more else { return };
        more.open.remove(at);
        more.usable.remove(at);
        more.carrying.remove(at);
        more.closed.insert(at);
        if more.closed.len() > usize::from(MAX_PATHS) {
            let until = |at: &PathSlot| self[*at].closed_until();
            if let Some(oldest) = self.closed().iter().min_by_key(until) {
                self.forget(oldest);
            }
        }
    }

    /// The peer knows of the end of a path: what it sent before that comes within `period`.
    pub(crate) fn on_end_known(&mut self, id: PathId, now: Instant, period: Duration) {
        if let Some(at) = self.find(id)
            && let Standing::Closed { until } = &mut self[at].standing
        {
            *until = (*until).min(now + period);
        }
    }

    /// A closed path is not read from any more.
    pub(crate) fn forget(&mut self, at: PathSlot) {
        let life = self[at].life();
        if let Some(retired) = self.retired_mut(life.id) {
            retired.set_numbers(life.next, life.highest);
        }
        let Some(more) = &mut self.more else { return };
        more.closed.remove(at);
        if at == more.selected {
            // Whatever is said of the selected path where there is none is said of one that is there still.
            more.selected = more.open.union(more.closed).iter().next().unwrap_or(FIRST);
        }
        match at.0.checked_sub(1).map(usize::from) {
            None => self.first.clear(),
            Some(index) => {
                if let Some(place) = more.others.get_mut(index) {
                    *place = None;
                }
                while more.others.pop_if(|path| path.is_none()).is_some() {}
            }
        }
        more.others.shrink_to_fit();
    }

    /// The peer was heard on a path. Where it had not been on any of several for `long`, each of them counts as heard.
    #[inline]
    pub(crate) fn on_heard(&mut self, at: PathSlot, now: Instant, long: Duration) {
        // Else it was heard here, which is the rule.
        if self.more.is_some() && self[at].pulse.heard() + long <= now {
            let last = self.usable().iter().map(|at| self[at].pulse.heard()).max();
            if let Some(more) = self.more.as_mut().filter(|_| last.is_some_and(|last| last + long <= now)) {
                more.awake = now;
            }
        }
        let path = &mut self[at];
        path.pulse.on_received(now);
        path.end_left = false;
    }

    /// When a path is idle after such a `limit`, counted from when it was heard, or first asked since then. Never while all
    /// others are silent, too: then it is the network that is away, or was one of the two machines.
    pub(crate) fn idle_at(&self, at: PathSlot, limit: Duration) -> Option<Instant> {
        let more = self.more.as_ref()?;
        let heard = self[at].pulse.heard() + part(limit, 2);
        let mut others = more.usable.without(SlotSet::of(at)).iter();
        let one_lives = others.any(|other| self[other].pulse.heard() >= heard);
        one_lives.then(|| self[at].pulse.silent_for(limit).max(more.awake + limit))
    }

    /// No path carries data: the connection ends at `until` unless there is one by then.
    pub(crate) fn set_homeless(&mut self, until: Instant) {
        if let Some(more) = &mut self.more {
            more.homeless.get_or_insert(until);
        }
    }

    /// When the connection ends for want of a path.
    pub(crate) fn homeless(&self) -> Option<Instant> {
        self.more.as_ref()?.homeless
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.first.heap_bytes().saturating_add(self.more.as_ref().map_or(0, |more| more.heap_bytes()))
    }

    /// Panics in debug builds where sums do not add up.
    pub(crate) fn check(&self) {
        self.slots().for_each(|at| self[at].check());
        if let Some(more) = &self.more {
            debug_assert_eq!(more.usable.without(more.open), SlotSet::default());
            debug_assert_eq!(more.carrying.without(more.usable), SlotSet::default());
            debug_assert_eq!(more.open.without(more.closed), more.open);
        }
    }
}

impl More {
    fn heap_bytes(&self) -> usize {
        let path = |path: &Path| size_of::<Path>().saturating_add(path.heap_bytes());
        let paths = self.others.iter().flatten().map(|other| path(other));
        size_of::<Self>()
            .saturating_add(room::<Option<Box<Path>>>(self.others.capacity()))
            .saturating_add(room::<Retired>(self.retired.capacity()))
            .saturating_add(paths.sum::<usize>())
    }
}

/// A place without a path stands for the first one, so that nothing a peer does can make this panic.
impl Index<PathSlot> for Paths {
    type Output = Path;

    #[inline]
    fn index(&self, at: PathSlot) -> &Path {
        let path = self.path_at(at);
        debug_assert!(path.is_some(), "no path at {at:?}");
        path.unwrap_or(&self.first)
    }
}

impl IndexMut<PathSlot> for Paths {
    #[inline]
    fn index_mut(&mut self, at: PathSlot) -> &mut Path {
        match at.0.checked_sub(1) {
            None => &mut self.first,
            Some(index) => {
                let others = self.more.as_mut().map_or(&mut [][..], |more| &mut more.others);
                others.get_mut(usize::from(index)).and_then(Option::as_deref_mut).unwrap_or(&mut self.first)
            }
        }
    }
}

#[cfg(test)]
mod tests;

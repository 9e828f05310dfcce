//! Paths that the dialler opens and closes by itself: what conducts [`Upkeep`](crate::path::upkeep::Upkeep).

use alloc::boxed::Box;
use alloc::vec::Vec;

use smallvec::SmallVec;

use crate::budget::total;
use crate::id::{Role, WireVersion};
use crate::path::addr::{LocalAddr, Tuple};
use crate::path::events::PathClosed;
use crate::path::select::PathView;
use crate::path::slots::{PathSlot, SlotSet};
use crate::path::upkeep::{REMEMBERED, Seen, Upkeep};
use crate::remote::scope::is_public;
use crate::remote::{Known, Standing};
use crate::shared::Shared;
use crate::time::Instant;

use super::Connection;

/// Ways that are considered: as many as it is remembered of how they did.
const MAX_WAYS: usize = REMEMBERED;

impl Connection {
    /// Whether this side looks after the paths.
    pub(super) fn keeps_paths(&self, cx: &Shared) -> bool {
        self.role == Role::Initiator && self.wire == WireVersion::Native && cx.config.automatic_paths
    }

    /// There may be more ways to the peer than before: because it was met, because somebody has told of an address, or because
    /// our own network has changed.
    pub(crate) fn on_new_ways(&mut self, cx: &Shared, now: Instant) {
        if let Some(upkeep) = &mut self.upkeep {
            upkeep.on_news(now);
        } else if self.keeps_paths(cx) && self.max_paths() > 1 && self.ways(cx).len() > 1 {
            self.upkeep = Some(Box::new(Upkeep::new(now)));
        }
    }

    /// The peer was met somewhere: there may be several ways to it now.
    pub(super) fn look_for_ways(&mut self, cx: &Shared) {
        if self.upkeep.is_none() {
            self.on_new_ways(cx, cx.now);
        }
    }

    /// Payload was sent, or came.
    #[inline]
    pub(super) fn note_payload(&mut self, now: Instant) {
        if let Some(upkeep) = &mut self.upkeep {
            upkeep.on_payload(now);
        }
    }

    /// A path does not deliver.
    pub(super) fn hurry_upkeep(&mut self, now: Instant) {
        if let Some(upkeep) = &mut self.upkeep {
            upkeep.hurry(now);
        }
    }

    /// Whether a path that has not answered is asked again all the same: none that is there delivers, and to try another way
    /// instead is either not necessary, or not possible without ids that only the peer can give.
    pub(super) fn is_still_sought(&self, at: PathSlot) -> bool {
        let is_sought = |upkeep: &Upkeep| upkeep.is_in_need() && upkeep.may_ask_on(self.paths[at].id);
        let is_free = self.paths.open().len() < self.max_paths();
        self.upkeep.as_ref().is_some_and(|upkeep| is_sought(upkeep))
            && (is_free || !self.cids.remote.has_spare())
    }

    /// A path is over.
    pub(super) fn note_closed(&mut self, view: &PathView, now: Instant, why: PathClosed) {
        if let Some(upkeep) = &mut self.upkeep {
            upkeep.on_closed(now, view, why);
        }
    }

    /// When the paths are to be looked at.
    pub(super) fn upkeep_due(&self) -> Option<Instant> {
        self.upkeep.as_ref().and_then(|upkeep| upkeep.due())
    }

    /// Looks at the paths, and opens and closes some.
    pub(super) fn look_after_paths(&mut self, cx: &mut Shared, now: Instant) {
        let mut ways = self.ways(cx);
        // What may not be tried now is not to keep others from being tried.
        ways.retain(|(way, vouched)| *vouched || cx.rations.has_for_path(now, &way.remote));
        let paths = self.seen(cx);
        let spares = cx.config.selector.spares();
        let Some(upkeep) = &mut self.upkeep else { return };
        let steps = upkeep.look(now, &paths, &ways.iter().map(|way| way.0).collect::<Vec<_>>(), spares);
        for to in steps.open {
            if !self.cids.remote.has_spare() {
                break;
            }
            // Where there is no room now there may be at the next look.
            let Ok(id) = self.open_path(cx, to.remote, Some(to.local)) else { break };
            let is_vouched = ways.iter().any(|(way, vouched)| *way == to && *vouched);
            if !is_vouched {
                cx.rations.grant_path(now, &to.remote);
            }
            if let Some(upkeep) = &mut self.upkeep {
                upkeep.on_opened(now, id, is_vouched);
            }
        }
        for id in steps.close {
            let is_last = |at: &PathSlot| self.paths.usable().without(SlotSet::of(*at)).is_empty();
            if let Some(at) = self.paths.find(id).filter(|at| !is_last(at)) {
                self.end_path(at, cx, now, PathClosed::Unneeded);
            }
        }
    }

    /// The open paths.
    fn seen(&self, cx: &Shared) -> SmallVec<[Seen; 4]> {
        let alone = self.paths.usable().len() == 1;
        let seen = |at: PathSlot| {
            let (path, view) = (&self.paths[at], self.view_of(cx, at));
            // Where there is one path only, its probe timer has to do.
            let suspect = view.suspect || alone && path.loss.backoff() > 0;
            let view = PathView { suspect, ..view };
            Seen { view, opening: path.is_opening(), carries: self.paths.carries(at) }
        };
        self.paths.slots().map(seen).collect()
    }

    /// Where the peer may be reached, the best first, and whether somebody vouches for it: at each of its addresses, through
    /// each of our sockets that can send there.
    fn ways(&self, cx: &Shared) -> Vec<(Tuple, bool)> {
        let Some(acquaintance) = &self.acquaintance else { return Vec::new() };
        let mut ways = Vec::new();
        for Known { to, standing } in cx.remotes.known_of(acquaintance.id) {
            let vouched = !matches!(standing, Standing::Found | Standing::Failed { found: true });
            let is_own = !cx.config.allow_self && cx.sockets.is_own(&to.remote);
            if !to.remote.is_sendable() || is_own || !vouched && !is_public(&to.remote) {
                continue;
            }
            let usual = cx.sockets.towards(&to.remote, to.local.socket);
            let others = cx.sockets.reaching(&to.remote).map(|socket| socket.number).filter(|n| *n != usual);
            let from = |socket| (Tuple { local: LocalAddr { socket, ip: None }, ..to }, vouched);
            ways.extend(core::iter::once(usual).chain(others).map(from));
        }
        ways.truncate(MAX_WAYS);
        ways
    }

    /// Its heap, in bytes.
    pub(super) fn upkeep_bytes(&self) -> usize {
        self.upkeep.as_ref().map_or(0, |upkeep| total([size_of::<Upkeep>(), upkeep.heap_bytes()]))
    }
}

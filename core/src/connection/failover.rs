//! Which path data takes: what conducts the policy, the watch over payload, and what becomes of what is under way on a
//! path that has fallen silent (docs/PROTOCOL.md, "Choosing a path").

use smallvec::SmallVec;

use crate::congestion::CongestionStats;
use crate::error::PathError;
use crate::id::PathId;
use crate::path::Path;
use crate::path::liveness;
use crate::path::select::{Choice, PathView};
use crate::path::slots::{PathSlot, SlotSet};
use crate::recovery::sent::SentPacket;
use crate::shared::Shared;
use crate::time::{Duration, Instant};

use super::Connection;

/// After how long a path without data is measured again, while there is data to send on another one.
const SAMPLE: Duration = Duration::from_secs(1);

/// So many full packets go again elsewhere without further ado: whoever waits for what is little is waiting for all of it,
/// and where it was sent in vain no more is lost than an initial window (RFC 9002 section 7.2).
const LITTLE: u64 = 10;

impl Connection {
    /// Sends data on a path from now on, whatever the policy says, as long as that delivers.
    pub(super) fn select_path(&mut self, cx: &mut Shared, id: PathId) -> Result<(), PathError> {
        let at = self.open_slot(id)?;
        if !self.paths.usable().contains(at) {
            return Err(PathError::NotConnected);
        }
        self.paths.selection_or_new().pinned = Some(id);
        self.reselect(cx);
        Ok(())
    }

    /// Asks the policy, and goes where it wants if it is time for that.
    pub(super) fn reselect(&mut self, cx: &mut Shared) {
        if self.paths.is_single() {
            return;
        }
        let now = cx.now;
        let mut slots: SmallVec<[PathSlot; 4]> = self.paths.usable().iter().collect();
        slots.sort_unstable_by_key(|at| self.paths[*at].id);
        let views: SmallVec<[PathView; 4]> = slots.iter().map(|at| self.view_of(cx, *at)).collect();
        // One that is gone may have left its place to another.
        let selected = Some(self.paths.selected()).filter(|at| self.paths.carries(*at));
        let viewed =
            |at: PathSlot| slots.iter().zip(&views).find(|(slot, _)| **slot == at).map(|(_, view)| view);
        let offered = |id| slots.iter().zip(&views).find(|(_, view)| view.id == id).map(|(slot, _)| *slot);
        let current = selected.and_then(viewed);
        let Some(selection) = self.paths.selection_mut() else { return };
        selection.on_look(now);
        let pinned = selection.pinned.and_then(offered);
        if pinned.is_none() {
            selection.pinned = None;
        }
        let trusted = |at: &PathSlot| viewed(*at).is_some_and(|view| !view.suspect);
        let carrying = match pinned.filter(trusted) {
            Some(at) => SlotSet::of(at),
            None => {
                let chosen = match cx.config.selector.select(current, &views) {
                    Choice::Spread => None,
                    Choice::Use(id) => Some(offered(id)),
                    Choice::Keep => Some(None),
                };
                let stay = selected.map_or_else(SlotSet::default, SlotSet::of);
                match chosen {
                    None => best(&slots, &views),
                    Some(to) => {
                        let to = to.filter(|to| Some(*to) != selected);
                        let follow = selection.steady.follow(now, current, to.and_then(viewed));
                        to.filter(|_| follow).map_or(stay, SlotSet::of)
                    }
                }
            }
        };
        self.carry(cx, carrying);
        self.rescue();
    }

    /// Data takes these paths from now on.
    fn carry(&mut self, cx: &mut Shared, carrying: SlotSet) {
        if carrying.is_empty() {
            self.become_homeless(cx.now);
        }
        let is_main_in = carrying.is_empty() || carrying.contains(self.paths.selected());
        if carrying == self.paths.carrying() && is_main_in {
            return;
        }
        for at in self.paths.usable().without(carrying).iter() {
            let path = &mut self.paths[at];
            path.bbr.on_app_limited(path.in_flight);
        }
        let rtt = |at: &PathSlot| self.paths[*at].rtt.smoothed();
        let before = self.paths.selected();
        let main = if carrying.contains(before) { Some(before) } else { carrying.iter().min_by_key(rtt) };
        self.paths.carry(carrying, main.unwrap_or(before));
        self.streams.on_window(self.paths.window_in_use());
        if let Some(main) = main.filter(|main| *main != before) {
            self.on_path_selected(main, cx);
        }
    }

    /// What is outstanding on paths that have let go of it for too long goes again, where data goes now.
    fn rescue(&mut self) {
        let carrying = self.paths.carrying();
        if carrying.is_empty() || carrying.iter().any(|at| self.is_suspect(at)) {
            return;
        }
        for at in self.paths.usable().without(carrying).iter() {
            let path = &mut self.paths[at];
            let little = path.in_flight <= LITTLE * u64::from(path.packet_size);
            if !path.liveness.take_left(little) {
                continue;
            }
            while self.withdraw_oldest(at).is_some() {}
            // Trust comes back with what is acknowledged.
            self.paths[at].ping_owed = true;
        }
    }

    /// Whether other paths are to be preferred: payload is not acknowledged in time, or the peer seems to be elsewhere.
    pub(super) fn is_suspect(&self, at: PathSlot) -> bool {
        self.paths[at].is_suspect()
    }

    /// Whether a path that carries no data has not answered what it was asked last. Payload says nothing of it, and it is the
    /// wrong one to go to in need: data would wait there for as long as patience lasts.
    fn is_mute(&self, at: PathSlot) -> bool {
        !self.paths.carries(at) && self.paths[at].loss.backoff() > 0
    }

    /// A path as the policy sees it.
    pub(super) fn view_of(&self, cx: &Shared, at: PathSlot) -> PathView {
        let path = &self.paths[at];
        let (congestion, view) = (path.bbr.snapshot(), PathView::new(path.id, path.tuple()));
        let view = cx.config.profile(&path.remote).map_or(view, |profile| view.with_profile(profile));
        PathView {
            rtt: without_own_queue(path, &congestion),
            is_measured: path.rtt.is_measured(),
            suspect: self.is_suspect(at) || self.is_mute(at),
            backup: path.is_backup(),
            loss_permille: congestion.background_loss_permille,
            bandwidth: congestion.bandwidth,
            window: congestion.window,
            in_flight: path.in_flight,
            mtu: path.largest_datagram(),
            ..view
        }
    }

    /// Whether anybody asks how paths are doing: on the only one there is, and is to be, nobody does.
    #[inline]
    pub(super) const fn watches_payload(&self) -> bool {
        !self.paths.is_single() || self.upkeep.is_some()
    }

    /// Whether a packet had payload.
    pub(super) fn was_payload(&self, at: PathSlot, packet: &SentPacket) -> bool {
        let mut items = self.paths[at].sent.items(packet);
        liveness::is_payload(packet.size.into(), items.any(|item| item.is_payload()))
    }

    /// A packet with payload was acknowledged, by one that came on the same path.
    pub(super) fn on_payload_acked(&mut self, at: PathSlot, cx: &mut Shared, now: Instant) {
        let path = &mut self.paths[at];
        let was_suspect = path.liveness.is_suspect();
        path.liveness.on_payload_acked(now, path.sent.outstanding() > 0);
        if was_suspect {
            self.reselect(cx);
        }
    }

    /// When the patience with a path is at an end; of no interest while there is no other.
    pub(super) fn patience_deadline(&self, at: PathSlot) -> Option<Instant> {
        if !self.has_resort() {
            return None;
        }
        self.paths[at].liveness.deadline(self.patience(at))
    }

    /// Whether there is another path, or may be.
    fn has_resort(&self) -> bool {
        self.paths.usable().len() > 1 || self.upkeep.is_some()
    }

    fn patience(&self, at: PathSlot) -> Duration {
        liveness::patience(self.pto(at), self.paths[at].rtt.smoothed())
    }

    /// Looks whether the patience with a path is at an end.
    pub(super) fn check_patience(&mut self, at: PathSlot, cx: &mut Shared, now: Instant) {
        if !self.has_resort() {
            return;
        }
        let (patience, liveness) = (self.patience(at), &mut self.paths[at].liveness);
        let mut at_an_end = false;
        while liveness.on_timeout(now, patience).is_some() {
            at_an_end = true;
        }
        if at_an_end {
            self.hurry_upkeep(now);
            self.reselect(cx);
        }
    }

    /// When the policy is to be asked again, where there is a choice.
    pub(super) fn look_due(&self) -> Option<Instant> {
        let usable = self.paths.usable();
        if usable.len() < 2 {
            return None;
        }
        let busy = usable.iter().any(|at| self.paths[at].liveness.is_waiting());
        self.paths.selection().map(|selection| selection.due(busy))
    }

    /// When a path that carries no data is to be measured again: who has data to send on another one wants to know, and who
    /// suspects it wants to be shown that it works.
    pub(super) fn sample_due(&self, at: PathSlot) -> Option<Instant> {
        let path = &self.paths[at];
        if self.paths.carries(at) || path.sent.outstanding() > 0 {
            return None;
        }
        let busy = self.paths.carrying().iter().any(|at| self.paths[at].liveness.is_waiting());
        (busy || self.is_suspect(at)).then(|| path.loss.last_eliciting() + SAMPLE)
    }
}

/// The round-trip time less what our own packets add to it by their number: that queue would be wherever data went.
fn without_own_queue(path: &Path, congestion: &CongestionStats) -> Duration {
    let smoothed = path.rtt.smoothed();
    let Some(least) = path.floor.get().filter(|_| congestion.bandwidth > 0) else { return smoothed };
    let bits = u128::from(path.in_flight).saturating_mul(1_000_000_000);
    let nanos = bits.checked_div(u128::from(congestion.bandwidth)).unwrap_or(0);
    let queue = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).saturating_sub(least);
    smoothed.saturating_sub(queue).max(least.min(smoothed))
}

/// The paths of the best rank.
fn best(slots: &[PathSlot], views: &[PathView]) -> SlotSet {
    let best = views.iter().map(PathView::rank).min();
    let mut set = SlotSet::default();
    slots.iter().zip(views).filter(|(_, view)| Some(view.rank()) == best).for_each(|(at, _)| set.insert(*at));
    set
}

//! Not to wait for a timer when there is word from outside: the network was reported to have changed, or the peer is
//! heard again.

use smallvec::SmallVec;

use crate::config::TransportProfile;
use crate::endpoint::{Report, Sockets};
use crate::id::Role;
use crate::path::addr::{LocalAddr, TransportAddr};
use crate::path::events::PathClosed;
use crate::path::slots::{FIRST, PathSlot, SlotSet};
use crate::shared::Shared;
use crate::time::Instant;

use super::Connection;
use super::state::State;

impl Connection {
    /// A QOTP dial leaves through this socket, from this address.
    pub(crate) fn leave_from(&mut self, local: LocalAddr) {
        self.paths[FIRST].local = local;
    }

    /// The network has changed: what waits for an answer goes again at once. Says whether there may be anything to
    /// do.
    ///
    /// Round-trip time and congestion control keep what they know, unless an end of the path is gone. If the path is the
    /// same, that is what it is worth; if it is another one, its probes will show.
    pub(crate) fn on_network_changed(&mut self, cx: &mut Shared, now: Instant, report: Report) -> bool {
        let alone = self.paths.open().len() == 1;
        let mut busy = report.concerns_ends() && self.leave_what_is_gone(cx, now, report);
        if report.is_news() && matches!(self.state, State::Established(_)) {
            self.on_new_ways(cx, now);
            busy |= self.upkeep.is_some();
        }
        // A dialler's own address may be gone: the system chooses one anew. An answerer's is the one that its peer sends to,
        // and of several paths each has the address that makes it another one.
        if report.is_elsewhere() && alone && self.role == Role::Initiator {
            self.paths.slots().for_each(|at| self.leave_end(at, &cx.sockets));
        }
        match &mut self.state {
            State::Dialling(dialling) => dialling.hurry(now, &cx.sockets),
            State::Qotp(qotp) if qotp.is_dialling() => qotp.hurry_dial(now),
            State::Untrusted(_) | State::Established(_) if report.hurries() => {
                // Who watches the old network and the new one shall not see the same ids.
                for at in self.paths.usable().iter().filter(|_| report.is_elsewhere()) {
                    self.paths[at].cid_stale = true;
                }
                self.probe_at_once() | self.ask_at_once(cx, now) | busy
            }
            State::Qotp(qotp) if report.hurries() => {
                qotp.forgive_silence();
                self.probe_at_once()
            }
            State::Untrusted(_) | State::Established(_) | State::Qotp(_) => busy,
            // These only answer.
            State::Answering(_)
            | State::Confirming(_)
            | State::Closing(_)
            | State::Lingering(_)
            | State::Draining { .. }
            | State::Over => false,
        }
    }

    /// Abandons the paths whose own end is gone, as long as another one is left; the last one goes on from elsewhere. Says
    /// whether there were any that concern the peer.
    fn leave_what_is_gone(&mut self, cx: &mut Shared, now: Instant, report: Report) -> bool {
        let mut gone = SlotSet::default();
        self.paths.slots().filter(|at| self.is_end_gone(*at, cx, report)).for_each(|at| gone.insert(at));
        if !matches!(self.state, State::Established(_)) {
            gone.iter().for_each(|at| self.leave_end(at, &cx.sockets));
            return false;
        }
        let (usable, selected) = (self.paths.usable(), SlotSet::of(self.paths.selected()));
        let last = if usable.without(gone).is_empty() {
            // The one in use, if it is one of several.
            usable.iter().find(|at| selected.contains(*at)).or_else(|| usable.iter().next())
        } else {
            None
        };
        let any = !gone.is_empty();
        if let Some(last) = last.filter(|last| gone.contains(*last)) {
            gone.remove(last);
            self.go_on_from_elsewhere(last, cx);
        }
        // The one in use at the end, so that data goes to one that stays.
        let others = gone.without(selected);
        for at in others.iter().chain(gone.without(others).iter()) {
            self.end_path(at, cx, now, PathClosed::AddressGone);
        }
        any
    }

    /// Whether our end of a path is gone.
    fn is_end_gone(&self, at: PathSlot, cx: &Shared, report: Report) -> bool {
        let path = &self.paths[at];
        match path.remote {
            TransportAddr::Ip(_) if path.end_left => !cx.sockets.has(path.local),
            TransportAddr::Ip(_) => !cx.sockets.has(path.known_tuple().local),
            TransportAddr::Relay { .. } => false,
            TransportAddr::Custom { .. } => {
                let survives = |profile: &TransportProfile| profile.survives_network_change;
                report.addresses && !cx.config.profile(&path.remote).is_none_or(survives)
            }
        }
    }

    /// The system is to choose our end of a path.
    pub(super) fn leave_end(&mut self, at: PathSlot, sockets: &Sockets) {
        let path = &mut self.paths[at];
        path.local = sockets.any_towards(&path.tuple());
        (path.moving, path.end_left) = (None, true);
        if let Some(flight) = self.first_flight.as_mut().filter(|_| at == FIRST) {
            flight.forget_own(sockets);
        }
    }

    /// Where a path is being opened the peer is asked again at once. Says whether there is one.
    fn ask_at_once(&mut self, cx: &mut Shared, now: Instant) -> bool {
        let mut any = false;
        for at in self.paths.slots().filter(|at| self.paths[*at].is_opening()).collect::<SmallVec<[_; 4]>>() {
            let is_sought = self.is_still_sought(at);
            if !self.paths[at].validation.hurry(now) && is_sought {
                self.paths[at].ask_anew(now, cx.rng.bytes());
            }
            any = true;
        }
        any
    }

    fn probe_at_once(&mut self) -> bool {
        let mut any = false;
        for at in self.paths.usable().iter() {
            any |= self.probe_path_at_once(at);
        }
        any
    }

    fn probe_path_at_once(&mut self, at: PathSlot) -> bool {
        if self.paths[at].sent.outstanding() > 0 {
            self.offer_oldest(at);
            self.paths[at].loss.probe_at_once();
            true
        } else if self.awaits_peer() {
            self.paths[at].ping_owed = true;
            true
        } else {
            false
        }
    }

    /// If the peer was busy and is not heard any more, and there may be more to come, it is asked: perhaps it sends to an
    /// address at which we were.
    pub(super) fn look_for_peer(&mut self, at: PathSlot, now: Instant) {
        let (pto, awaited) = (self.pto(at), self.awaits_peer());
        let path = &mut self.paths[at];
        path.ping_owed |= path.vigil.look(now, pto) && awaited;
    }

    /// Whether the peer may have something in flight to us: streams are open, or it sends datagrams, which end without a
    /// word.
    fn awaits_peer(&self) -> bool {
        self.streams.any_open() || self.stats.datagrams_received > 0
    }

    /// Whether the peer has been silent for so long that our packets, and its answers, may have gone nowhere.
    pub(super) fn is_peer_missed(&self, at: PathSlot, now: Instant) -> bool {
        self.paths[at].loss.backoff() > 0 && self.paths[at].pulse.silence(now) >= self.pto(at)
    }
}

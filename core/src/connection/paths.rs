//! Paths beside the handshake's: opening, accepting, abandoning (docs/PROTOCOL.md, "Opening and abandoning paths").

use crate::crypto::packet::Numbered;
use crate::error::{CloseReason, PathError, TransportError};
use crate::id::{ConnectionId, PacketNumber, PathId, Role};
use crate::path::addr::{Arrival, LocalAddr, PathKind, TransportAddr, Tuple};
use crate::path::events::PathClosed;
use crate::path::mtu::Mtu;
use crate::path::pulse::{IDLE, IDLE_RELAY, KEEP_ALIVE, KEEP_ALIVE_BUSY, Pulse};
use crate::path::slots::{PathSlot, SlotSet};
use crate::path::standing::{Life, Retired, Standing, TIMEOUTS};
use crate::path::validate::Validation;
use crate::path::{Own, Path};
use crate::recovery::loss::MAX_PROBE_TIMEOUT;
use crate::recovery::rtt::Rtt;
use crate::shared::Shared;
use crate::stats::count;
use crate::time::{Duration, Instant};
use crate::wire::frame::{Abandon, Frame, Frames, PathStatus, StatusChange};

use super::Connection;
use super::receive::Stop;
use super::state::State;

/// What another path takes at least, in bytes: it is not opened where there is no room for it.
const PATH_COST: usize = 4 << 10;
/// The wait for the answer to the first challenge of a path is between these, and twice the longest round trip that is
/// known: a path that is there answers, and one that is not is given up after 3 to 9 s.
const OPENING_WAIT: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

impl Connection {
    /// Paths that may be open at once.
    pub(super) fn max_paths(&self) -> usize {
        usize::from(self.peer.max_paths)
    }

    /// The application wants another path, to `remote`, from `local` if that is given.
    pub(super) fn open_path(
        &mut self,
        cx: &mut Shared,
        remote: TransportAddr,
        local: Option<LocalAddr>,
    ) -> Result<PathId, PathError> {
        let now = cx.now;
        match &self.state {
            State::Established(_) if self.max_paths() > 1 => {}
            State::Established(_) | State::Qotp(_) => return Err(PathError::Unsupported),
            state if state.is_open() => return Err(PathError::NotConnected),
            _ => return Err(PathError::Closed),
        }
        let remote = remote.canonical();
        let usual = self.paths[self.paths.selected()].local.socket;
        let unnamed = LocalAddr { socket: cx.sockets.towards(&remote, usual), ip: None };
        let ends = Tuple { local: local.unwrap_or(unnamed).towards(&remote), remote };
        if !ends.remote.is_sendable() {
            return Err(PathError::Address);
        }
        if self.paths.slots().any(|at| self.paths[at].tuple().matches(&ends)) {
            return Err(PathError::Exists);
        }
        if self.paths.open().len() >= self.max_paths() {
            return Err(PathError::TooMany);
        }
        if self.room(cx) < PATH_COST {
            return Err(PathError::OverBudget);
        }
        let life = self.paths.next_vacant(self.role, now).ok_or(PathError::NoPathId)?;
        let validation = Validation::start_own(now, cx.rng.bytes());
        self.insert_path(cx, now, life, ends, validation, ConnectionId::from_bytes([0; 8]));
        Ok(life.id)
    }

    fn insert_path(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        life: Life,
        ends: Tuple,
        validation: Validation,
        local_id: ConnectionId,
    ) -> PathSlot {
        let (base, discovery) = cx.config.sizes_to(&ends.remote);
        let mtu = Mtu::new(base, self.peer.max_udp_payload, &discovery);
        let own = Own { local_id, mtu, ecn: cx.config.ecn, seed: cx.rng.next_u64() };
        let at = self.paths.insert(Path::open(now, life, ends, validation, own));
        // There may be more paths soon.
        self.supply_cids(cx, now);
        self.cids.local.hurry();
        at
    }

    /// A packet opened that names a path which is not open: `payload` came `to` an id of ours. The place of the path, if
    /// it is the peer's way to open one and we follow; else nothing has happened.
    pub(super) fn admit(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        arrival: &Arrival,
        to: ConnectionId,
        packet: &Numbered,
        payload: &[u8],
    ) -> Option<PathSlot> {
        let Numbered { path: id, number, .. } = *packet;
        let established = matches!(self.state, State::Established(_));
        if !established || id.opener() == self.role || self.paths.open().len() >= self.max_paths() {
            return None;
        }
        let life = self.paths.vacant(id, now).filter(|life| number > life.highest)?;
        let is_taken = self.paths.slots().any(|at| self.paths[at].local_id == to);
        if is_taken || self.room(cx) < PATH_COST || !is_challenge(cx, payload) {
            return None;
        }
        // Who has no id to answer to does not answer: the peer asks again.
        let cid = self.cids.remote.take()?;
        // What has come is counted with every other packet of the path.
        let validation = Validation::start(now, cx.rng.bytes(), 0, 0);
        let at = self.insert_path(cx, now, life, arrival.tuple(), validation, to);
        self.use_cid(at, cx, cid);
        let path = &mut self.paths[at];
        path.cid_changes.theirs = 1;
        path.standing = Standing::Opening { asked: Some(now) };
        Some(at)
    }

    /// How long the first challenge of a path waits for its answer.
    pub(super) fn opening_wait(&self) -> Duration {
        let [least, most] = OPENING_WAIT;
        self.paths.largest_rtt().saturating_mul(2).clamp(least, most)
    }

    /// The peer has answered on a path: it may carry data.
    pub(super) fn on_path_usable(&mut self, at: PathSlot, cx: &mut Shared, now: Instant) {
        let Standing::Opening { asked } = self.paths[at].standing else { return };
        let path = &mut self.paths[at];
        // Which of several challenges is answered nobody knows (Karn's algorithm).
        if let Some(asked) = asked.filter(|_| path.validation.challenges_sent() == 1) {
            path.on_handshake_round_trip(now, now - asked);
        }
        path.validation = Validation::Valid;
        path.pulse = Pulse::new(now);
        if self.paths.usable().len() == 1 {
            // Only now it matters since when the other one is silent.
            let other = self.paths.selected();
            self.paths[other].pulse = Pulse::new(now);
        }
        self.paths.on_usable(at);
        // What was said on a path that is gone may not have been heard.
        if self.paths.carrying().is_empty() {
            self.paths.all_retired().for_each(|retired| {
                let generation = retired.life().generation;
                retired.on_lost(generation);
            });
        }
        self.on_path_opened(at, cx);
        self.reselect(cx);
    }

    /// The application abandons a path.
    pub(super) fn close_path(&mut self, cx: &mut Shared, id: PathId) -> Result<(), PathError> {
        let at = self.open_slot(id)?;
        if self.paths.open() == SlotSet::of(at) || self.paths.usable() == SlotSet::of(at) {
            return Err(PathError::LastPath);
        }
        let now = cx.now;
        self.end_path(at, cx, now, PathClosed::Local);
        Ok(())
    }

    /// The place of an open path.
    pub(super) fn open_slot(&self, id: PathId) -> Result<PathSlot, PathError> {
        if !self.state.is_established() {
            return Err(PathError::Closed);
        }
        self.paths.find(id).filter(|at| self.paths.open().contains(*at)).ok_or(PathError::Unknown)
    }

    /// A path is over. What is in flight there goes again elsewhere, and is no loss to congestion control.
    pub(super) fn end_path(&mut self, at: PathSlot, cx: &mut Shared, now: Instant, why: PathClosed) {
        let period = self.largest_pto().saturating_mul(TIMEOUTS);
        let was_usable = self.paths.usable().contains(at);
        while self.withdraw_oldest(at).is_some() {}
        let path = &mut self.paths[at];
        path.loss.on_moved();
        path.moving = None;
        if path.has_cid() {
            self.cids.remote.retire_at_once(path.remote_sequence);
        }
        self.disbelieve_resets(at, cx);
        if let Some(owed) = &mut self.owed {
            while owed.take_if(|owed| owed.at == at).is_some() {}
            if owed.is_empty() {
                self.owed = None;
            }
        }
        let theirs = matches!(why, PathClosed::Peer(_));
        let (stats, view) = (self.paths[at].stats(), self.view_of(cx, at));
        self.paths.close(at, now, why.code(), theirs, period);
        self.part_from(cx, &stats, was_usable, why);
        if was_usable || stats.id.opener() == self.role {
            self.on_path_closed(cx, stats, why);
        }
        self.reselect(cx);
        self.note_closed(&view, now, why);
        if self.paths.carrying().is_empty() {
            self.hurry_upkeep(now);
        }
    }

    /// The peer abandons a path.
    pub(super) fn on_abandon(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        abandon: &Abandon,
    ) -> Result<(), Stop> {
        let Abandon { path: id, generation, code } = *abandon;
        if self.max_paths() <= 1 {
            return Err(TransportError::Protocol.into());
        }
        let period = self.largest_pto().saturating_mul(TIMEOUTS);
        let is_theirs = id.opener() != self.role;
        if let Some(at) = self.paths.find(id).filter(|at| self.paths.open().contains(*at)) {
            if self.paths[at].generation == generation {
                self.end_path(at, cx, now, PathClosed::Peer(code));
            }
        } else if let Some(retired) = self.paths.retired_mut(id) {
            retired.on_abandon(now, generation, is_theirs, period);
            if retired.life().generation == generation {
                self.paths.on_end_known(id, now, period);
            }
        } else if !is_theirs {
            // There never was such a path.
            return Err(TransportError::Protocol.into());
        } else if generation == 0 {
            // It came and went unseen.
            self.paths.retire(Retired::new(now, Life::first(id), code, true, period));
        }
        Ok(())
    }

    /// The application says what it wants a path to be used for.
    pub(super) fn set_path_status(
        &mut self,
        cx: &mut Shared,
        id: PathId,
        status: PathStatus,
    ) -> Result<(), PathError> {
        let at = self.open_slot(id)?;
        if self.max_paths() <= 1 {
            return Err(PathError::Unsupported);
        }
        if self.paths[at].statuses_mut().set(status) {
            self.reselect(cx);
        }
        Ok(())
    }

    /// The peer's application says so. Returns whether that is news, after which a path is to be selected anew.
    pub(super) fn on_path_status(&mut self, cx: &mut Shared, change: &StatusChange) -> Result<bool, Stop> {
        let StatusChange { path: id, generation, sequence, status } = *change;
        if self.max_paths() <= 1 {
            return Err(TransportError::Protocol.into());
        }
        let Some(at) = self.paths.find(id).filter(|at| self.paths.open().contains(*at)) else {
            let known = id.opener() != self.role || self.paths.retired(id).is_some();
            return if known { Ok(false) } else { Err(TransportError::Protocol.into()) };
        };
        let path = &mut self.paths[at];
        let news = path.generation == generation && path.statuses_mut().on_peer(status, sequence);
        if news {
            self.on_path_status_told(cx, id, status);
        }
        Ok(news)
    }

    /// What is due for a path that is opening or over, or idle.
    pub(super) fn handle_standing_timeout(&mut self, at: PathSlot, cx: &mut Shared, now: Instant) {
        if self.standing_timeout(at).is_none_or(|due| due > now) {
            return;
        }
        match self.paths[at].standing {
            Standing::Opening { .. } if self.is_still_sought(at) => {
                self.paths[at].ask_anew(now, cx.rng.bytes());
            }
            Standing::Opening { .. } => self.end_path(at, cx, now, PathClosed::NoAnswer),
            Standing::Usable => self.end_path(at, cx, now, PathClosed::Idle),
            Standing::Closed { .. } => self.paths.forget(at),
        }
    }

    /// When an opening path is given up, an idle one is abandoned, and a closed one is forgotten.
    pub(super) fn standing_timeout(&self, at: PathSlot) -> Option<Instant> {
        let path = &self.paths[at];
        match path.standing {
            Standing::Opening { .. } => path.validation.gives_up(),
            Standing::Usable => {
                let idle = if path.remote.kind() == PathKind::Relay { IDLE_RELAY } else { IDLE };
                let limit = idle.max(self.pto(at).saturating_mul(TIMEOUTS));
                // One side decides: where each hears the other one on another path, each would keep another.
                self.paths.idle_at(at, limit).filter(|_| self.role == Role::Initiator)
            }
            Standing::Closed { until } => Some(until),
        }
    }

    /// When a path is to be tried, so that neither side nor what is between them forgets it: by who has opened it, where
    /// there are others.
    pub(super) fn heartbeat_due(&self, at: PathSlot) -> Option<Instant> {
        let path = &self.paths[at];
        if path.id.opener() != self.role || self.paths.usable().len() < 2 || path.sent.outstanding() > 0 {
            return None;
        }
        let selected = &self.paths[self.paths.selected()];
        let busy = selected.in_flight > 0 || selected.vigil.deadline().is_some();
        Some(path.pulse.silent_for(if busy { KEEP_ALIVE_BUSY } else { KEEP_ALIVE }))
    }

    /// There is no path to send data on: for so long there may be none, and then the connection ends.
    pub(super) fn become_homeless(&mut self, now: Instant) {
        let unmeasured = Rtt::new().pto(self.peer.max_ack_delay).min(MAX_PROBE_TIMEOUT);
        self.paths.set_homeless(now + unmeasured.saturating_mul(TIMEOUTS));
    }

    /// There was no path for too long.
    pub(super) fn end_if_homeless(&mut self, cx: &mut Shared, now: Instant) -> bool {
        let over = self.paths.homeless().is_some_and(|until| until <= now);
        if over {
            self.end(cx, CloseReason::NoPath);
        }
        over
    }

    /// An ACK names a path that is not open: nothing, if there was one once.
    pub(super) fn on_late_ack(&self, id: PathId, largest: PacketNumber) -> Result<(), TransportError> {
        match self.paths.retired(id) {
            Some(retired) if largest < retired.life().next => Ok(()),
            _ => Err(TransportError::Protocol),
        }
    }
}

/// Whether a packet opens a path: it does so by asking whether anybody is there.
fn is_challenge(cx: &mut Shared, payload: &[u8]) -> bool {
    let mut frames = Frames::new(payload).inspect(|_| count(&mut cx.stats.frames, 1));
    frames.any(|frame| matches!(frame, Ok(Frame::PathChallenge(_))))
}

//! What is taken down of the paths for those who subscribed to it. Where nobody did, nothing is.

use alloc::boxed::Box;

use crate::error::CloseReason;
use crate::event::Event;
use crate::id::PathId;
use crate::path::addr::Tuple;
use crate::path::events::{PathClosed, PathCursor, PathEvent, PathLog};
use crate::path::slots::PathSlot;
use crate::path::stats::PathStats;
use crate::shared::Shared;
use crate::wire::frame::PathStatus;

use super::Connection;
use super::state::State;

impl Connection {
    /// Somebody wants to know.
    pub(super) fn subscribe_paths(&mut self) -> PathCursor {
        let open = match &self.state {
            State::Untrusted(_) | State::Established(_) => true,
            State::Qotp(qotp) => !qotp.is_dialling(),
            _ => false,
        };
        self.path_log.get_or_insert_with(|| Box::new(PathLog::new(open))).subscribe()
    }

    /// The peer has answered on a path, in the handshake or later.
    pub(super) fn on_path_opened(&mut self, at: PathSlot, cx: &mut Shared) {
        let (id, Tuple { local, remote }) = (self.paths[at].id, self.paths[at].known_tuple());
        self.meet_at(cx, &Tuple { local, remote });
        self.look_for_ways(cx);
        self.record_path(cx, PathEvent::Opened { id, local, remote });
    }

    /// A path is over; this is the last that was known of it.
    pub(super) fn on_path_closed(&mut self, cx: &mut Shared, stats: PathStats, reason: PathClosed) {
        if self.is_path_log_open() {
            self.record_path(cx, PathEvent::Closed { id: stats.id, reason, stats: Box::new(stats) });
        }
    }

    /// Data takes another path.
    pub(super) fn on_path_selected(&mut self, at: PathSlot, cx: &mut Shared) {
        let (id, Tuple { local, remote }) = (self.paths[at].id, self.paths[at].known_tuple());
        self.record_path(cx, PathEvent::Selected { id, local, remote });
    }

    /// The peer has told the status of a path.
    pub(super) fn on_path_status_told(&mut self, cx: &mut Shared, id: PathId, status: PathStatus) {
        self.record_path(cx, PathEvent::Status { id, status });
    }

    fn is_path_log_open(&self) -> bool {
        self.path_log.as_ref().is_some_and(|log| log.is_open())
    }

    /// A path has moved, `from` where it was.
    pub(super) fn on_path_moved(&mut self, at: PathSlot, cx: &mut Shared, from: Tuple) {
        self.meet_elsewhere(cx, &from.remote, &self.paths[at].tuple());
        self.look_for_ways(cx);
        if self.is_path_log_open() {
            let (id, to) = (self.paths[at].id, self.paths[at].known_tuple());
            self.record_path(cx, PathEvent::Moved { id, from, to });
        }
    }

    /// A packet came over the path. Where the system chooses our address, it may have chosen another one.
    pub(super) fn note_own_address(&mut self, at: PathSlot, cx: &mut Shared, ends: &Tuple) {
        let path = &mut self.paths[at];
        let news = ends.local != path.heard_on && ends.local.ip.is_some() && path.local.ip.is_none();
        if !news || !ends.matches(&path.tuple()) {
            return;
        }
        let from = path.known_tuple();
        path.heard_on = ends.local;
        if from.local.ip.is_some() {
            self.on_path_moved(at, cx, from);
        }
    }

    /// The end, of the connection and its paths.
    pub(super) fn tell_end(&mut self, cx: &mut Shared, reason: CloseReason) {
        self.part(cx, &reason);
        for at in self.paths.slots() {
            let stats = self.paths[at].stats();
            if !self.paths[at].is_opening() || stats.id.opener() == self.role {
                self.on_path_closed(cx, stats, PathClosed::ConnectionClosed);
            }
        }
        if let Some(log) = &mut self.path_log {
            log.end();
        }
        if !self.quiet {
            self.tell(cx, Event::Closed(reason));
        }
    }

    fn record_path(&mut self, cx: &mut Shared, event: PathEvent) {
        if let Some(log) = &mut self.path_log
            && log.record(event)
        {
            self.tell(cx, Event::Path);
        }
    }

    /// Heap of what is taken down, in bytes.
    pub(super) fn path_log_bytes(&self) -> usize {
        self.path_log.as_ref().map_or(0, |_| PathLog::bytes())
    }
}

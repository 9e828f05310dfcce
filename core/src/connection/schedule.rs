//! Which path the next train is for, and which one data goes over to: decided here.
//!
//! First come packets that are to leave from or for another address than a path's, then what paths without data owe (an
//! acknowledgement, an answer, a PING, a probe), each in turn, then data. What is owed is little, and ends; data does not.

use alloc::vec::Vec;

use crate::path::addr::{Ecn, TrainLimit, Tuple};
use crate::path::table::{FIRST, PathSlot, SlotSet};
use crate::shared::Shared;
use crate::time::{Duration, Instant};

use super::Connection;

/// A path that may carry data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) at: PathSlot,
    /// One of the applications wants it spared.
    pub(super) backup: bool,
    /// Its smoothed round-trip time.
    pub(super) rtt: Duration,
}

/// The path to change over to from `selected`, if that is no candidate any more, or is to be spared where another one is
/// not: the one with the shortest round trip.
pub(super) fn change(
    selected: PathSlot,
    candidates: impl Iterator<Item = Candidate> + Clone,
) -> Option<PathSlot> {
    let best = candidates.clone().min_by_key(|candidate| (candidate.backup, candidate.rtt))?;
    let stays = |current: Candidate| current.backup == best.backup;
    let current = { candidates }.find(|candidate| candidate.at == selected);
    (!current.is_some_and(stays)).then_some(best.at)
}

/// A train of datagrams that was built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Train {
    pub(super) to: Tuple,
    pub(super) segment_size: usize,
    pub(super) ecn: Option<Ecn>,
}

impl Connection {
    /// Appends the next train to `out`.
    pub(super) fn poll_paths(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        limit: TrainLimit,
        out: &mut Vec<u8>,
    ) -> Option<Train> {
        let start = out.len();
        if let Some(to) = self.put_errand(cx, now, out) {
            return Some(Train { to, segment_size: out.len() - start, ecn: None });
        }
        if self.paths.is_single() {
            return self.poll_path(FIRST, cx, now, limit, out);
        }
        if let Some(to) = self.put_last_words(cx, now, out) {
            return Some(Train { to, segment_size: out.len() - start, ecn: None });
        }
        let mut duties = self.paths_with_duties(now);
        while let Some(at) = self.paths.take_turn(&mut duties) {
            if let train @ Some(_) = self.poll_path(at, cx, now, limit, out) {
                return train;
            }
        }
        self.paths.carrying().iter().find_map(|at| self.poll_path(at, cx, now, limit, out))
    }

    fn poll_path(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        limit: TrainLimit,
        out: &mut Vec<u8>,
    ) -> Option<Train> {
        let (segment_size, ecn) = self.poll_train(at, cx, now, limit, out)?;
        Some(Train { to: self.paths[at].tuple(), segment_size, ecn })
    }

    /// The paths without data that have something to send now.
    fn paths_with_duties(&self, now: Instant) -> SlotSet {
        let mut duties = self.paths.usable().without(self.paths.carrying());
        for at in duties.iter() {
            let path = &self.paths[at];
            let due = path.received.is_due(now)
                || path.ping_owed
                || path.loss.probes() > 0
                || self.has_path_duty(at, now);
            if !due || self.muted(at).is_some() {
                duties.remove(at);
            }
        }
        duties
    }
}

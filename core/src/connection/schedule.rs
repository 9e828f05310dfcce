//! Which path the next train is for.
//!
//! First come packets that are to leave from or for another address than a path's, then what paths without data owe (an
//! acknowledgement, an answer, a PING, a probe), each in turn, then data. What is owed is little, and ends; data does not.

use alloc::vec::Vec;

use crate::limiter::Gate;
use crate::path::addr::{Ecn, TrainLimit, Tuple};
use crate::path::slots::{FIRST, PathSlot, SlotSet};
use crate::shared::Shared;
use crate::time::Instant;

use super::Connection;

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
        if self.paths.carrying().is_empty() {
            self.limiter.on_held(now, Gate::Path);
        }
        let mut carrying = self.paths.carrying();
        // The fastest first, as long as it takes more.
        while let Some(at) = carrying.iter().min_by_key(|at| self.paths[*at].rtt.smoothed()) {
            carrying.remove(at);
            if let train @ Some(_) = self.poll_path(at, cx, now, limit, out) {
                return train;
            }
        }
        None
    }

    fn poll_path(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        limit: TrainLimit,
        out: &mut Vec<u8>,
    ) -> Option<Train> {
        let start = out.len();
        let (segment_size, ecn) = self.poll_train(at, cx, now, limit, out)?;
        self.paths[at].counts.on_sent(out.len() - start, segment_size);
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

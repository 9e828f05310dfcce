//! Which path the next train is for.
//!
//! First come packets that are to leave from or for another address than a path's, then what paths without data owe (an
//! acknowledgement, an answer, a PING, a probe), each in turn, then data. What is owed is little, and ends; data does not.

use alloc::vec::Vec;

use smallvec::SmallVec;

use crate::limiter::Gate;
use crate::path::addr::{Ecn, TrainLimit, Tuple};
use crate::path::slots::{FIRST, PathSlot, SlotSet};
use crate::path::spread::{self, Lane, Load, Pick};
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
            return Some(Train { to, segment_size: out.len().saturating_sub(start), ecn: None });
        }
        if self.paths.is_single() {
            return self.poll_path(FIRST, cx, now, limit, out);
        }
        if let Some(to) = self.put_last_words(cx, now, out) {
            return Some(Train { to, segment_size: out.len().saturating_sub(start), ecn: None });
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
        let train = self.poll_carrying(cx, now, limit, out);
        self.paths.hold_back(SlotSet::default());
        train
    }

    /// The next train with data, or about the paths that carry it: on the path on which it arrives first.
    fn poll_carrying(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        limit: TrainLimit,
        out: &mut Vec<u8>,
    ) -> Option<Train> {
        let (mut left, mut waiting, mut paced) = (self.paths.carrying(), false, SlotSet::default());
        while let Some((at, wait)) = self.next_carrier(now, left) {
            if wait && !waiting {
                waiting = true;
                self.paths.hold_back(left.without(SlotSet::of(at)));
            }
            if let train @ Some(_) = self.poll_path(at, cx, now, limit, out) {
                return train;
            }
            // Only now it is known how long its pacer holds it: is it worth the wait?
            let is_held = self.paths[at].pacer.until().is_some_and(|until| until > now);
            if is_held && !waiting && !paced.contains(at) {
                paced.insert(at);
            } else {
                left.remove(at);
            }
        }
        None
    }

    /// The next of these paths to be served, and whether all others are to leave data to it, although it has to wait.
    fn next_carrier(&self, now: Instant, left: SlotSet) -> Option<(PathSlot, bool)> {
        let slots: SmallVec<[PathSlot; 4]> = left.iter().collect();
        if slots.len() < 2 {
            return slots.first().map(|at| (*at, false));
        }
        let lanes: SmallVec<[Lane; 4]> = slots.iter().map(|at| self.lane(*at, now)).collect();
        let packet = slots.iter().map(|at| u64::from(self.full_size(*at))).max().unwrap_or_default();
        let load = Load { packet, train: packet, left: self.streams.backlog() };
        match spread::pick(now, &lanes, load)? {
            Pick::Send(place) => Some((*slots.get(place)?, false)),
            Pick::Wait(place) => Some((*slots.get(place)?, true)),
        }
    }

    /// A path as far as it matters for when data would arrive on it.
    fn lane(&self, at: PathSlot, now: Instant) -> Lane {
        let path = &self.paths[at];
        Lane {
            ready: path.pacer.until().unwrap_or(now),
            in_flight: path.in_flight,
            window: path.bbr.window(),
            bandwidth: path.bbr.snapshot().bandwidth,
            min_rtt: path.floor.get().unwrap_or_else(|| path.rtt.smoothed()),
        }
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
        self.paths[at].counts.on_sent(out.len().saturating_sub(start), segment_size);
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

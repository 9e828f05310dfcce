//! What keeps the connection from sending more.

use crate::limiter::Gate;
use crate::path::slots::PathSlot;
use crate::time::Instant;

use super::Connection;
use super::plan::Held;

impl Connection {
    /// Takes down what stands in the way of another packet, if it is one with data: a path without has its own concerns.
    pub(super) fn book(&mut self, at: PathSlot, now: Instant, gate: Gate) {
        if self.paths.carries(at) {
            self.limiter.on_held(now, gate);
        }
    }

    /// What has to open before another packet can go.
    pub(super) fn gate(&self, at: PathSlot, held: Held) -> Gate {
        let path = &self.paths[at];
        match held {
            Held::Amplification | Held::Numbers => Gate::Path,
            Held::Memory => Gate::Budget,
            // The window and what is left to send say nothing while what was sent may have gone nowhere.
            _ if path.loss.backoff() > 0 && path.sent.outstanding() > 0 => Gate::Path,
            Held::Window => Gate::Window,
            Held::Pacer => Gate::Pacer,
            Held::Idle => self.streams.gate(),
        }
    }
}

//! Probes of MTU discovery: packets outside of recovery and congestion control.

use alloc::vec::Vec;

use crate::path::addr::{Ecn, TrainLimit, Tuple};
use crate::path::mtu::Wanted;
use crate::path::slots::PathSlot;
use crate::shared::Shared;
use crate::time::Instant;
use crate::wire::frame::{Control, put_control};

use super::Connection;
use super::plan::MIN_RECORDS;
use super::send::put_header;
use super::state::State;

impl Connection {
    /// Appends the probe that MTU discovery wants, if it may go now, and says how long it is and with what codepoint.
    /// `budget` is what the pacer lets go in bytes.
    pub(super) fn put_mtu_probe(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        limit: TrainLimit,
        budget: u64,
        out: &mut Vec<u8>,
    ) -> Option<(usize, Option<Ecn>)> {
        let wanted = self.paths[at].mtu().wanted()?;
        let size = usize::from(wanted.size());
        let room = self.room(cx);
        if !self.may_probe(at, now, wanted, budget, room) || size > limit.bytes {
            return None;
        }
        let start = out.len();
        put_header(self.paths[at].remote_id, out);
        put_control(out, &Control::Ping);
        out.resize(start.saturating_add(size), 0);
        let number = self.seal_apart(at, cx, now, start, out)?;
        let (pto, path) = (self.pto(at), &mut self.paths[at]);
        let ecn = path.ecn.of_probe();
        if ecn.is_some() {
            path.sent.set_ect();
            path.ecn.on_sent(false);
        }
        path.tell_mtu(|mtu| mtu.on_probe_sent(now, number, wanted.size(), pto));
        path.pacer.on_sent(now, size as u64, path.bbr.pacing_rate());
        // A test needs something smaller behind it: this, unless there is data.
        path.ping_owed |= matches!(wanted, Wanted::Test(_));
        Some((size, ecn))
    }

    /// A search waits for a moment at which a full packet might go; a test does not, for the window may be full of what is
    /// being lost.
    fn may_probe(&mut self, at: PathSlot, now: Instant, wanted: Wanted, budget: u64, room: usize) -> bool {
        let path = &self.paths[at];
        if !matches!(self.state, State::Established(_))
            || path.validation.challenge().is_some()
            || self.muted(at).is_some()
            || path.sent.growth() > room.max(MIN_RECORDS)
        {
            return false;
        }
        if matches!(wanted, Wanted::Test(_)) {
            return true;
        }
        let size = u64::from(path.packet_size);
        if path.loss.probes() > 0 || path.in_flight.saturating_add(size) > path.bbr.window() {
            return false;
        }
        if budget < size {
            let (rate, size) = (path.bbr.pacing_rate(), path.packet_size);
            self.paths[at].pacer.wait(now, rate, size);
        }
        budget >= size
    }

    /// What is acknowledged by now may tell that the probe is lost.
    pub(super) fn judge_mtu_probe(&mut self, at: PathSlot, now: Instant) {
        let path = &mut self.paths[at];
        if path.mtu().is_probing() {
            let (largest, delay) = (path.loss.largest_acked(), path.loss.delay(&path.rtt));
            path.tell_mtu(|mtu| mtu.judge(now, largest, delay));
        }
    }

    /// The time of the probe has come: it is lost, or a word from the peer is needed to know.
    pub(super) fn on_mtu_deadline(&mut self, at: PathSlot, now: Instant) {
        self.judge_mtu_probe(at, now);
        self.paths[at].ping_owed |= self.paths[at].tell_mtu(|mtu| mtu.is_unanswered(now));
    }

    /// The own system did not take a datagram of `size` bytes between these ends: see
    /// [`Endpoint::datagram_too_large`](crate::Endpoint::datagram_too_large).
    pub(crate) fn on_too_large(&mut self, now: Instant, ends: &Tuple, size: usize) {
        let at = self.paths.slots().find(|at| self.paths[*at].tuple().matches(ends));
        if let (Some(at), Ok(size)) = (at, u16::try_from(size)) {
            self.paths[at].tell_mtu(|mtu| mtu.on_too_large(now, size));
        }
    }
}

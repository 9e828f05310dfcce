//! What a mark of congestion (ECN's CE) means.
//!
//! The draft leaves ECN open (draft-ietf-ccwg-bbr-06 has no response to it), and Linux's BBRv3 responds as DCTCP does,
//! in proportion to the share of marks, which suits switches that mark early and often. The path sends ECT(0), so marks
//! come from queues that mark where they would else drop: RFC 3168 asks for the response to a loss, RFC 8511 for a
//! milder one. So a mark is no weather, and needs no threshold and no background, unlike loss in `loss`:
//!
//! - On what was sent while probing, it ends the probe and sets the long-term bound, as Linux does, but for one mark.
//! - In Startup it ends Startup once the bandwidth does not grow any more, as loss does.
//! - Otherwise it lowers the short-term bounds by RFC 8511's factor, from what was in flight and not below what keeps
//!   the sender alive: unlike the draft for loss, not only down to what was delivered, for that includes the queue.
//! - Marks on what was sent before the last response are not news (RFC 9002 section 7.3.2's recovery period): at most
//!   one response each round trip.
//!
//! A response to marks is never undone: they are no accident of reordering.

use super::{Ack, Bbr, Phase};
use crate::time::Instant;

/// Marks seen, and whether they have been answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// The ACK in hand tells of marks.
    in_ack: bool,
    /// There were some in this round that are not answered yet.
    pending: bool,
    /// When the last ones were answered.
    answered: Option<Instant>,
}

impl Marks {
    /// The ACK in hand is dealt with.
    pub(super) fn end_ack(&mut self) {
        self.in_ack = false;
    }

    /// Whether the path is congested as far as marks can tell: no time to raise a bound.
    pub(super) fn are_seen(&self) -> bool {
        self.in_ack || self.pending
    }

    fn answer(&mut self, now: Instant) {
        self.pending = false;
        self.answered = Some(now);
    }
}

impl Bbr {
    /// The peer has told of packets that met congestion. Between `begin_ack` and `finish_ack`.
    pub(crate) fn on_marked(&mut self) {
        self.marks.in_ack = true;
    }

    /// Near the start of an ACK: notes its marks, and ends a probe that made them.
    pub(super) fn note_marks(&mut self, ack: &Ack) {
        if !self.marks.in_ack || self.marks.answered.is_some_and(|answered| ack.sample.sent <= answered) {
            return;
        }
        self.marks.pending = true;
        if self.probe.is_sample {
            self.handle_inflight_too_high(ack.now, ack.sample.tx_in_flight, ack.sample.app_limited);
            self.finish_answer(ack.now);
        }
    }

    /// A round in `phase` has ended: answers its marks. `grew` is whether the bandwidth still does.
    pub(super) fn end_mark_round(&mut self, now: Instant, phase: Phase, grew: bool) {
        if !core::mem::take(&mut self.marks.pending) {
            return;
        }
        match phase {
            // Perhaps its loss was excessive too.
            Phase::Startup if self.phase != phase => {}
            Phase::Startup if !grew => self.leave_startup_for_loss(),
            phase if !phase.is_accelerating() => {
                let bdp = self.bdp();
                self.short_term.lower_for_marks(self.max_bw.get(), self.control.window, bdp);
            }
            _ => return,
        }
        self.finish_answer(now);
    }

    /// The model as it is now is what an undone loss falls back to.
    fn finish_answer(&mut self, now: Instant) {
        self.marks.answer(now);
        self.save_state_upon_loss();
    }
}

//! Following the peer to another address, and answering where it asked from: what conducts [`Move`] and
//! [`OwedResponses`](crate::path::validate::OwedResponses) (docs/PROTOCOL.md, "Moving to another address").

use alloc::boxed::Box;

use crate::path::addr::{Arrival, Tuple};
use crate::path::liveness::Liveness;
use crate::path::moving::{Ends, Move, MoveStep, Patience};
use crate::path::slots::PathSlot;
use crate::path::standing::Standing;
use crate::path::validate::Validation;
use crate::recovery::loss::MAX_PROBE_TIMEOUT;
use crate::recovery::rtt::Rtt;
use crate::shared::Shared;
use crate::time::Instant;

use super::Connection;
use super::state::State;

/// A packet that came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) from: Tuple,
    pub(super) bytes: usize,
    /// No packet of its path had a higher number.
    pub(super) newest: bool,
}

impl Heard {
    pub(super) const fn new(arrival: &Arrival, bytes: usize, newest: bool) -> Self {
        Self { from: arrival.tuple(), bytes, newest }
    }
}

/// What the frames of a packet said, beside what they did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    /// One of them asks for an acknowledgement.
    pub(super) ack_eliciting: bool,
    /// There was more than is said about paths, and all of it was applied.
    pub(super) substance: bool,
    /// The peer wants its paths used in another way.
    pub(super) statuses: bool,
    /// The challenge among them.
    pub(super) challenge: Option<[u8; 8]>,
    /// What an answer among them means for the move under way.
    pub(super) step: MoveStep,
}

impl Connection {
    /// A PATH_RESPONSE came, from wherever. Says what becomes of the move.
    pub(super) fn on_path_response(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        data: &[u8; 8],
    ) -> MoveStep {
        let (pto, path) = (self.pto(at), &mut self.paths[at]);
        if path.is_opening() {
            if path.validation.is_answered_by(data) {
                self.on_path_usable(at, cx, now);
            }
            return MoveStep::Stay;
        }
        path.validation.on_response(data);
        match &mut path.moving {
            Some(moving) if now < moving.over() => moving.on_response(now, pto, data),
            _ => MoveStep::Stay,
        }
    }

    /// A packet was applied. If it came from where the path is, that is all there is to it.
    pub(super) fn follow(&mut self, at: PathSlot, cx: &mut Shared, now: Instant, heard: &Heard, said: &Said) {
        let path = &self.paths[at];
        // What the packet says may have ended the path.
        if matches!(path.standing, Standing::Closed { .. }) {
            return;
        }
        let usual = path.moving.is_none() && self.owed.is_none() && said.challenge.is_none();
        if usual && heard.from.remote == path.remote && heard.from.local == path.heard_on {
            return;
        }
        if heard.newest {
            self.note_own_address(at, cx, &heard.from);
        }
        if usual && heard.from.matches(&self.paths[at].tuple()) {
            return;
        }
        self.follow_opening(at, cx, now, heard);
        self.owe(at, heard, said);
        let counts = heard.newest
            && said.substance
            && self.paths[at].standing == Standing::Usable
            && matches!(self.state, State::Established(_));
        let mut step = said.step;
        if let Some(moving) = &mut self.paths[at].moving {
            moving.on_received(&heard.from.remote, heard.bytes);
            if counts && let MoveStep::Go(to) = moving.on_packet(&heard.from) {
                step = MoveStep::Go(to);
            }
        }
        if let MoveStep::Go(to) = step {
            self.go(at, cx, to);
        }
        self.end_move_if_over(at, cx, now);
        if counts {
            self.begin_move(at, cx, now, heard);
        }
    }

    /// The first packet of a path that the peer opens may have come by way of somebody else, who only has to be faster once:
    /// until the path is usable it is where the peer asks from last.
    fn follow_opening(&mut self, at: PathSlot, cx: &mut Shared, now: Instant, heard: &Heard) {
        let path = &mut self.paths[at];
        let is_theirs = path.is_opening() && path.id.opener() != self.role;
        if is_theirs && heard.newest && !heard.from.matches(&path.tuple()) {
            path.set_tuple(heard.from);
            path.validation = Validation::start(now, cx.rng.bytes(), heard.bytes as u64, 0);
            path.standing = Standing::Opening { asked: Some(now) };
        }
    }

    fn owe(&mut self, at: PathSlot, heard: &Heard, said: &Said) {
        match (said.challenge, &mut self.owed) {
            (Some(data), owed) => {
                owed.get_or_insert_default().on_challenge(at, heard.from, data, heard.bytes);
            }
            (None, Some(owed)) => owed.on_received(at, &heard.from.remote, heard.bytes),
            (None, None) => {}
        }
    }

    /// The peer has sent something new, and more than is said about paths: if that came from elsewhere, both addresses are
    /// asked.
    fn begin_move(&mut self, at: PathSlot, cx: &mut Shared, now: Instant, heard: &Heard) {
        let (old, was_proved) = (self.paths[at].tuple(), self.paths[at].validation.is_valid());
        let unproved = !was_proved && heard.from.remote == old.remote;
        let busy = self.paths[at].moving.as_ref().is_some_and(|moving| !moving.gives_way_to(&heard.from));
        if heard.from.matches(&old) || unproved || busy {
            return;
        }
        let unmeasured = Rtt::new().pto(self.peer.max_ack_delay).min(MAX_PROBE_TIMEOUT);
        let patience = Patience { pto: self.pto(at), unmeasured };
        let ends = Ends { old, was_proved, new: heard.from };
        let challenges = [cx.rng.bytes(), cx.rng.bytes()];
        let begun = Move::begin(now, ends, heard.bytes, patience, challenges);
        match &mut self.paths[at].moving {
            Some(moving) => **moving = begun,
            none => *none = Some(Box::new(begun)),
        }
        self.reselect(cx);
    }

    /// The time of a move may be over.
    pub(super) fn end_move_if_over(&mut self, at: PathSlot, cx: &mut Shared, now: Instant) {
        let over = self.paths[at].moving.take_if(|moving| moving.over() <= now);
        match over.map(|moving| moving.end()) {
            Some(MoveStep::Go(to)) => self.go(at, cx, to),
            Some(MoveStep::Stay) => self.reselect(cx),
            None => {}
        }
    }

    /// The path goes on at another address, at which the peer has answered.
    pub(super) fn go(&mut self, at: PathSlot, cx: &mut Shared, to: Tuple) {
        let (from, known) = (self.paths[at].tuple(), self.paths[at].known_tuple());
        if from == to {
            return;
        }
        self.give_up_flight(at);
        let path = &mut self.paths[at];
        while path.sent.is_front_outstanding() == Some(false) {
            path.sent.forget_front();
        }
        path.set_tuple(to);
        path.validation = Validation::Valid;
        if !to.is_same_route(&from) {
            self.start_anew(at, cx);
        }
        self.on_path_moved(at, cx, known);
        self.reselect(cx);
    }

    /// Our own end of the last path is gone: it goes on from another one. The peer follows when it hears from there.
    pub(super) fn go_on_from_elsewhere(&mut self, at: PathSlot, cx: &mut Shared) {
        self.give_up_flight(at);
        self.leave_end(at, &cx.sockets);
        self.start_anew(at, cx);
        let path = &mut self.paths[at];
        // It may have arrived, and the acknowledgements found nobody at home.
        path.sent.leave_lost();
        (path.ping_owed, path.cid_stale) = (true, true);
        self.reselect(cx);
    }

    /// What is in flight went to where the peer is not any more, or came from where we are not, and says nothing about the way
    /// from now on: it goes again, and is no loss to congestion control.
    fn give_up_flight(&mut self, at: PathSlot) {
        while self.withdraw_oldest(at).is_some() {}
        let path = &mut self.paths[at];
        path.loss.on_moved();
        path.liveness = Liveness::new();
        // The peer has heard nothing for a round trip.
        path.received.ack_now();
    }

    /// Nothing is known of the way that a path takes from now on.
    fn start_anew(&mut self, at: PathSlot, cx: &mut Shared) {
        let path = &mut self.paths[at];
        let (base, discovery) = cx.config.sizes_to(&path.remote);
        let mtu = path.mtu().renewed(base, self.peer.max_udp_payload, &discovery);
        path.start_anew(mtu, cx.rng.next_u64());
    }

    /// When the move of a path is over, or an address that is not the path's is to be asked once more.
    pub(super) fn move_timeout(&self, at: PathSlot) -> Option<Instant> {
        let moving = self.paths[at].moving.as_ref()?;
        let asked = moving.there().filter(|there| there.may_be_asked()).and_then(|there| there.deadline);
        asked.into_iter().chain([moving.over()]).min()
    }

    /// Its heap, in bytes.
    pub(super) fn owed_bytes(&self) -> usize {
        self.owed.as_ref().map_or(0, |owed| size_of_val(&**owed))
    }
}

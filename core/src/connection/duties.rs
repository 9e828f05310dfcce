//! Packets about paths: challenges and answers to them, with what goes to the path's own address or in packets of their
//! own to another one (docs/PROTOCOL.md, "Address validation").

use alloc::vec::Vec;

use crate::path::addr::Tuple;
use crate::path::moving::SMALLEST_ERRAND;
use crate::path::slots::{PathSlot, SlotSet};
use crate::path::standing::Standing;
use crate::path::validate::OwedResponses;
use crate::recovery::sent::Item;
use crate::shared::Shared;
use crate::time::Instant;
use crate::wire::frame::{Abandon, Control, MAX_CONTROL, StatusChange, put_control};
use crate::wire::header::TAG;

use super::Connection;
use super::plan::{MIN_RECORDS, Plan};
use super::send::put_header;
use super::state::State;

/// A packet with a challenge has at least this size, so that the path is known to carry it (RFC 9000 section 8.2.1).
pub(super) const CHALLENGE_SIZE: usize = 1200;
/// A PATH_CHALLENGE or a PATH_RESPONSE.
const PATH_FRAME: usize = 1 + 8;
/// Room in which an acknowledgement says something worth its bytes.
const SMALL_ACK: usize = 64;

/// A packet to another address than the path's.
#[derive(Clone, Copy, Debug)]
struct Errand {
    to: Tuple,
    response: Option<[u8; 8]>,
    challenge: Option<[u8; 8]>,
    /// The most bytes that it may have.
    allowance: u64,
}

impl Connection {
    /// Whether something about the path is to be said on it now.
    pub(super) fn has_path_duty(&self, at: PathSlot, now: Instant) -> bool {
        let path = &self.paths[at];
        path.validation.challenge_due(now).is_some()
            || path.moving.as_ref().is_some_and(|moving| moving.here_due(now).is_some())
            || self.owed.as_ref().is_some_and(|owed| {
                let here = path.tuple();
                owed.iter().any(|owed| owed.at == at && owed.to.matches(&here))
            })
    }

    /// What [`Self::put_path_frames`] needs, which acknowledgements must leave: a peer makes those as long as it likes.
    pub(super) fn room_for_path_frames(&self, at: PathSlot) -> usize {
        let path = &self.paths[at];
        let nothing = self.owed.is_none() && path.moving.is_none() && path.validation.is_valid();
        if nothing { 0 } else { 2 * PATH_FRAME }
    }

    /// Challenges and answers to them. Says whether the packet is to be padded.
    ///
    /// Until the address is proved every packet carries the challenge: as long as the peer has anything from us it has
    /// something to answer, and as long as it has not, something of its own to repeat. So it goes on although nothing
    /// may be sent here without something received.
    pub(super) fn put_path_frames(
        &mut self,
        at: PathSlot,
        now: Instant,
        plan: Plan,
        out: &mut Vec<u8>,
        end: usize,
    ) -> bool {
        let room = self.room_for_path_frames(at);
        if room == 0 || out.len().saturating_add(room) > end {
            return false;
        }
        let (here, pto) = (self.paths[at].tuple(), self.pto(at));
        if let Some(data) = self.take_owed(at, &here) {
            put_control(out, &Control::PathResponse(data));
        }
        let path = &mut self.paths[at];
        let mut challenged = false;
        if let Some(data) = path.validation.challenge() {
            put_control(out, &Control::PathChallenge(data));
            if path.validation.challenge_due(now).is_some() {
                path.validation.on_challenge_sent(now, pto);
                challenged = true;
            }
        }
        if let Some(moving) = &mut path.moving
            && let Some(data) = moving.here_due(now)
            && out.len().saturating_add(PATH_FRAME) <= end
        {
            put_control(out, &Control::PathChallenge(data));
            moving.on_sent_here(now, pto);
            challenged = true;
        }
        // Where the allowance is smaller, padding would prove nothing and use it up (RFC 9000 section 8.2.1).
        challenged && plan.size >= CHALLENGE_SIZE
    }

    /// Takes the answer that an address is owed.
    fn take_owed(&mut self, at: PathSlot, to: &Tuple) -> Option<[u8; 8]> {
        let owed = self.owed.as_mut()?;
        let taken = owed.take_if(|owed| owed.at == at && owed.to.matches(to));
        if owed.is_empty() {
            self.owed = None;
        }
        taken.map(|owed| owed.data)
    }

    /// Appends a packet to an address that is not its path's, if one is due, and says where to.
    ///
    /// It holds what is said about paths and nothing else: anything more would look to the peer as if we had moved.
    pub(super) fn put_errand(&mut self, cx: &mut Shared, now: Instant, out: &mut Vec<u8>) -> Option<Tuple> {
        self.paths.slots().find_map(|at| {
            let errand = self.errand(at, now)?;
            self.put_errand_of(at, cx, now, errand, out)
        })
    }

    /// What is due elsewhere on a path.
    fn errand(&self, at: PathSlot, now: Instant) -> Option<Errand> {
        let path = &self.paths[at];
        let nothing = path.moving.is_none() && self.owed.is_none() && !path.is_opening();
        if nothing || !matches!(self.state, State::Established(_)) {
            return None;
        }
        let (here, moving) = (path.tuple(), path.moving.as_deref());
        let there = moving.and_then(|moving| moving.there());
        let challenge = there
            .filter(|there| there.may_be_asked())
            .and_then(|there| Some((there.to, moving?.there_due(now)?, there.allowance)));
        // Where nothing more may be sent it counts as sent, or the path would never be given up.
        let own = || Some((here, path.validation.challenge_due(now)?, path.validation.allowance()));
        let challenge = if path.is_opening() { own() } else { challenge };
        let allowed = |to: &Tuple, alone: u64| match there {
            _ if to.remote == here.remote => path.validation.allowance(),
            Some(there) if there.to.remote == to.remote => there.allowance,
            _ => alone,
        };
        let owed = self.owed.as_deref().into_iter().flat_map(OwedResponses::iter);
        let answer = owed
            .filter(|owed| owed.at == at && (path.is_opening() || !owed.to.matches(&here)))
            // A challenge buys three times its bytes and no more, wherever it came from.
            .map(|owed| (owed.to, owed.data, allowed(&owed.to, owed.allowance()).min(owed.allowance())))
            .find(|(.., allowance)| *allowance >= SMALLEST_ERRAND);
        match (answer, challenge) {
            (Some((to, response, allowance)), challenge) => {
                let challenge = challenge.filter(|(asked, ..)| asked.matches(&to));
                let allowance = challenge.map_or(allowance, |(.., own)| own.max(allowance));
                let challenge = challenge.map(|(_, data, _)| data);
                Some(Errand { to, response: Some(response), challenge, allowance })
            }
            (None, Some((to, data, allowance))) => {
                Some(Errand { to, response: None, challenge: Some(data), allowance })
            }
            (None, None) => None,
        }
    }

    fn put_errand_of(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        errand: Errand,
        out: &mut Vec<u8>,
    ) -> Option<Tuple> {
        let Errand { to, response, challenge, allowance } = errand;
        if response.is_some() {
            self.take_owed(at, &to);
        }
        let len = self.put_errand_packet(at, cx, now, &errand, out);
        // Without room for it, an id to send it to, or the right to, it counts as lost: the challenge is repeated some time, and
        // so is the peer's.
        let wait = self.opening_wait();
        let (pto, path) = (self.pto(at), &mut self.paths[at]);
        let sent = len.unwrap_or(0);
        if path.is_opening() && challenge.is_some() {
            path.validation.on_challenge_sent(now, wait);
        }
        if to.remote == path.remote {
            path.validation.on_sent(sent);
            path.counts.on_sent(sent, sent);
        }
        if let Some(moving) = &mut path.moving {
            moving.on_sent_elsewhere(&to.remote, now, pto, sent, challenge.is_some());
        }
        debug_assert!(sent as u64 <= allowance, "{sent} bytes where {allowance} may be sent");
        len.map(|_| to)
    }

    /// The packet itself, which recovery and congestion control do not see, for it takes another way. Its length.
    fn put_errand_packet(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        errand: &Errand,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let room = self.room_to_send(at, cx);
        let no_room = self.paths[at].sent.growth() > room.max(MIN_RECORDS);
        if errand.allowance < SMALLEST_ERRAND || no_room || self.is_too_far_ahead(at) {
            return None;
        }
        if !self.take_first_cid(at, cx, now) {
            return None;
        }
        self.renew_cid(at, cx);
        let start = out.len();
        put_header(self.paths[at].remote_id, out);
        if let Some(data) = errand.response {
            put_control(out, &Control::PathResponse(data));
        }
        if let Some(data) = errand.challenge {
            put_control(out, &Control::PathChallenge(data));
        }
        // Some transports carry less.
        let size = CHALLENGE_SIZE.min(usize::from(self.paths[at].mtu().base()));
        if errand.allowance >= size as u64 {
            out.resize(out.len().max(start.saturating_add(size).saturating_sub(TAG)), 0);
        }
        out.resize(out.len().saturating_add(TAG), 0);
        self.seal_apart(at, cx, now, start, out)?;
        Some(out.len().saturating_sub(start))
    }

    /// The paths whose acknowledgements go on others: those that are over, and those on which nothing may be sent now.
    pub(super) fn orphans(&self) -> impl Iterator<Item = PathSlot> + '_ {
        let mute = self.paths.usable().iter().filter(|at| self.muted(*at).is_some());
        self.paths.closed().iter().chain(mute).filter(|at| self.paths[*at].received.is_waiting())
    }

    /// Acknowledgements of paths that cannot carry their own.
    pub(super) fn put_orphaned_acks(&mut self, at: PathSlot, now: Instant, out: &mut Vec<u8>, end: usize) {
        if !self.paths.carries(at) {
            return;
        }
        let mut orphans = SlotSet::default();
        self.orphans().for_each(|of| orphans.insert(of));
        for of in orphans.iter().filter(|of| *of != at) {
            if out.len().saturating_add(SMALL_ACK) <= end {
                self.put_ack_of(of, at, now, out, end);
            }
        }
    }

    /// Whether something about other paths is to be said now on this one.
    pub(super) fn has_word_of_others(&self, at: PathSlot, now: Instant) -> bool {
        if self.paths.is_single() || !self.paths.carries(at) {
            return false;
        }
        self.orphans().any(|of| of != at && self.paths[of].received.is_due(now))
            || self.paths.next_abandon().is_some()
            || self.next_status().is_some()
    }

    /// The next path whose status the peer is to be told. It knows the path by then: it has answered there.
    fn next_status(&self) -> Option<(PathSlot, StatusChange)> {
        self.paths.usable().iter().find_map(|at| {
            let (path, generation) = (self.paths[at].id, self.paths[at].generation);
            let (status, sequence) = self.paths[at].statuses().owed()?;
            Some((at, StatusChange { path, generation, sequence, status }))
        })
    }

    /// What is said about paths on one that carries data.
    pub(super) fn put_words_of_others(&mut self, at: PathSlot, out: &mut Vec<u8>, end: usize) {
        if !self.paths.carries(at) {
            return;
        }
        while let Some(Abandon { path, generation, .. }) = self.put_abandon(out, end) {
            self.paths[at].sent.push_item(Item::PathAbandon { path, generation });
        }
        while out.len().saturating_add(MAX_CONTROL) <= end
            && let Some((of, change)) = self.next_status()
        {
            put_control(out, &Control::PathStatus(change));
            self.paths[of].statuses_mut().on_sent();
            let StatusChange { path, generation, sequence, .. } = change;
            self.paths[at].sent.push_item(Item::PathStatus { path, generation, sequence });
        }
    }

    /// Tells the peer of the next end of a path.
    fn put_abandon(&mut self, out: &mut Vec<u8>, end: usize) -> Option<Abandon> {
        let abandon = self.paths.next_abandon().filter(|_| out.len().saturating_add(MAX_CONTROL) <= end)?;
        put_control(out, &Control::PathAbandon(abandon));
        if let Some(retired) = self.paths.retired_mut(abandon.path) {
            retired.on_sent();
        }
        Some(abandon)
    }

    /// Where no path is left, the peer is told on the one that it has abandoned. Once: there is nowhere to hear from it.
    pub(super) fn put_last_words(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<Tuple> {
        if self.paths.is_single() || !self.paths.usable().is_empty() {
            return None;
        }
        let at = self.paths.next_to_end()?;
        let (start, allowance) = (out.len(), self.paths[at].validation.allowance());
        if allowance < CHALLENGE_SIZE as u64 || self.is_too_far_ahead(at) {
            return None;
        }
        put_header(self.paths[at].remote_id, out);
        // Nobody waits for an acknowledgement: when there is a path again, all of them are told there.
        while self.put_abandon(out, start.saturating_add(CHALLENGE_SIZE - TAG)).is_some() {}
        out.resize(out.len().saturating_add(TAG), 0);
        self.seal_apart(at, cx, now, start, out)?;
        self.paths[at].validation.on_sent(out.len().saturating_sub(start));
        Some(self.paths[at].tuple())
    }

    /// A path that this side opens gets an id of the peer's when something is sent there for the first time. `false` if
    /// there is none.
    fn take_first_cid(&mut self, at: PathSlot, cx: &mut Shared, now: Instant) -> bool {
        if self.paths[at].has_cid() {
            return true;
        }
        let Some(cid) = self.cids.remote.take() else { return false };
        self.use_cid(at, cx, cid);
        self.paths[at].standing = Standing::Opening { asked: Some(now) };
        true
    }
}

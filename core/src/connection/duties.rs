//! Packets about paths: challenges and answers to them, with what goes to the path's own address or in packets of their
//! own to another one (docs/PROTOCOL.md, "Address validation").

use alloc::vec::Vec;

use crate::path::addr::Tuple;
use crate::path::moving::SMALLEST_ERRAND;
use crate::path::table::PathSlot;
use crate::path::validate::OwedResponses;
use crate::shared::Shared;
use crate::time::Instant;
use crate::wire::frame::{Control, put_control};
use crate::wire::header::TAG;

use super::Connection;
use super::plan::{MIN_RECORDS, Plan};
use super::send::put_header;
use super::state::State;

/// A packet with a challenge has at least this size, so that the path is known to carry it (RFC 9000 section 8.2.1).
pub(super) const CHALLENGE_SIZE: usize = 1200;
/// A PATH_CHALLENGE or a PATH_RESPONSE.
const PATH_FRAME: usize = 1 + 8;

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
        let path = &self.paths[at];
        let nothing = self.owed.is_none() && path.moving.is_none() && path.validation.is_valid();
        if nothing || out.len() + 2 * PATH_FRAME > end {
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
            && out.len() + PATH_FRAME <= end
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
        if path.moving.is_none() && self.owed.is_none() || !matches!(self.state, State::Established(_)) {
            return None;
        }
        let (here, moving) = (path.tuple(), path.moving.as_deref());
        let there = moving.and_then(|moving| moving.there());
        let challenge = there
            .filter(|there| there.may_be_asked())
            .and_then(|there| Some((there.to, moving?.there_due(now)?, there.allowance)));
        let allowed = |to: &Tuple, alone: u64| match there {
            _ if to.remote == here.remote => path.validation.allowance(),
            Some(there) if there.to.remote == to.remote => there.allowance,
            _ => alone,
        };
        let owed = self.owed.as_deref().into_iter().flat_map(OwedResponses::iter);
        let answer = owed
            .filter(|owed| owed.at == at && !owed.to.matches(&here))
            .map(|owed| (owed.to, owed.data, allowed(&owed.to, owed.allowance())))
            .find(|(.., allowance)| *allowance >= SMALLEST_ERRAND);
        match (answer, challenge) {
            (Some((to, response, allowance)), challenge) => {
                let challenge = challenge.filter(|(asked, ..)| asked.matches(&to)).map(|(_, data, _)| data);
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
        // Without room for it, it counts as lost: the challenge is repeated some time, and so is the peer's.
        let (pto, path) = (self.pto(at), &mut self.paths[at]);
        let sent = len.unwrap_or(0);
        if to.remote == path.remote {
            path.validation.on_sent(sent);
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
        if self.paths[at].sent.growth() > room.max(MIN_RECORDS) || self.is_too_far_ahead(at) {
            return None;
        }
        self.renew_cid(at);
        let start = out.len();
        put_header(self.paths[at].remote_id, out);
        if let Some(data) = errand.response {
            put_control(out, &Control::PathResponse(data));
        }
        if let Some(data) = errand.challenge {
            put_control(out, &Control::PathChallenge(data));
        }
        if errand.allowance >= CHALLENGE_SIZE as u64 {
            out.resize(start + CHALLENGE_SIZE - TAG, 0);
        }
        out.resize(out.len() + TAG, 0);
        self.seal_apart(at, cx, now, start, out)?;
        Some(out.len() - start)
    }
}

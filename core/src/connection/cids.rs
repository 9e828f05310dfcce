//! Further connection ids: the supply that the peer is kept in, what it gives us, and when which is used.

use alloc::vec::Vec;

use crate::cids::EXTRA;
use crate::cids::remote::{News, RemoteCid};
use crate::cids::reset::ResetToken;
use crate::error::{CloseReason, TransportError};
use crate::id::ConnectionId;
use crate::path::Path;
use crate::path::addr::TransportAddr;
use crate::path::slots::PathSlot;
use crate::recovery::sent::Item;
use crate::shared::Shared;
use crate::stats::count;
use crate::time::Instant;
use crate::wire::frame::{Control, MAX_CONTROL, NewConnectionId, put_control};

use super::Connection;
use super::receive::Stop;
use super::state::State;

impl Connection {
    /// Ids that the peer is to have, those in use included. None where it has not said that it knows of more than one.
    fn cid_supply(&self) -> usize {
        match self.peer.max_paths {
            0 => 0,
            _ if self.paths.is_single() => 1 + EXTRA,
            paths => usize::from(paths) + EXTRA,
        }
    }

    /// Issues what the peer lacks.
    pub(super) fn supply_cids(&mut self, cx: &mut Shared, now: Instant) {
        for _ in 0..self.cids.local.missing(self.cid_supply()) {
            let id = cx.ids.fresh(&mut cx.rng);
            cx.ids.insert(id, self.handle.slot);
            self.cids.local.issue(now, id);
        }
    }

    /// The peer gave us an id.
    pub(super) fn on_new_cid(&mut self, new: &NewConnectionId) -> Result<(), Stop> {
        if self.cid_supply() == 0 {
            return Err(TransportError::Protocol.into());
        }
        let new = RemoteCid { sequence: new.sequence, id: new.id, token: Some(new.reset_token) };
        let in_use = self.paths.slots().filter(|at| self.paths[*at].has_cid()).count();
        match self.cids.remote.on_new(new, in_use) {
            News::Spare | News::Repeated => Ok(()),
            News::Forbidden => Err(TransportError::Protocol.into()),
            News::TooFar => Err(Stop::Withhold),
        }
    }

    /// The peer is done with an id of ours, and has used another one on the path.
    pub(super) fn on_retire_cid(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        at: PathSlot,
        sequence: u32,
    ) -> Result<(), Stop> {
        let used = self.paths[at].local_id;
        let period = self.largest_pto().saturating_mul(3);
        if self.cid_supply() == 0 || self.cids.local.on_retire(now, sequence, used, period).is_err() {
            return Err(TransportError::Protocol.into());
        }
        self.supply_cids(cx, now);
        Ok(())
    }

    /// A packet with the highest number of its path was sent to `used`. A peer that has changed its id is answered in
    /// kind, or who watches could link the two by ours (RFC 9000 section 9.5).
    pub(super) fn on_packet_to(&mut self, at: PathSlot, used: ConnectionId) {
        let path = &mut self.paths[at];
        if used == path.local_id {
            return;
        }
        path.local_id = used;
        path.cid_changes.theirs = path.cid_changes.theirs.saturating_add(1);
        path.cid_stale |= path.cid_changes.theirs > path.cid_changes.ours;
    }

    /// Before a packet is built: sends to another id of the peer's from now on, if that is wanted and there is one.
    pub(super) fn renew_cid(&mut self, at: PathSlot, cx: &mut Shared) {
        if !self.paths[at].cid_stale || !matches!(self.state, State::Established(_)) {
            return;
        }
        let Some(cid) = self.cids.remote.take() else { return };
        let old = self.paths[at].remote_sequence;
        self.use_cid(at, cx, cid);
        let path = &mut self.paths[at];
        path.cid_stale = false;
        path.cid_changes.ours = path.cid_changes.ours.saturating_add(1);
        self.cids.remote.retire(old);
    }

    /// Sends to this id of the peer's from now on, and believes a reset of it.
    pub(super) fn use_cid(&mut self, at: PathSlot, cx: &mut Shared, cid: RemoteCid) {
        self.disbelieve_resets(at, cx);
        if let Some(token) = &cid.token {
            cx.resets.insert(token, self.handle.slot);
        }
        let path = &mut self.paths[at];
        (path.remote_id, path.remote_sequence, path.remote_token) = (cid.id, cid.sequence, cid.token);
    }

    /// Resets of the id that a path has sent to mean nothing any more.
    pub(super) fn disbelieve_resets(&mut self, at: PathSlot, cx: &mut Shared) {
        if let Some(token) = self.paths[at].remote_token.take() {
            cx.resets.remove(&token, self.handle.slot);
        }
    }

    /// A datagram from `remote` that is no packet of ours ends with `token`. If that belongs to an id that we send to there, the
    /// peer knows nothing of the connection any more, and it is over. Says whether it is.
    pub(crate) fn on_reset(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        remote: &TransportAddr,
        token: &ResetToken,
    ) -> bool {
        let stands = matches!(self.state, State::Untrusted(_) | State::Established(_));
        let is_of = |path: &Path| path.remote == *remote && path.remote_token.as_ref() == Some(token);
        let over = stands && self.paths.slots().any(|at| is_of(&self.paths[at]));
        if over {
            count(&mut cx.stats.resets_received, 1);
            self.drain(cx, now, CloseReason::PeerRestarted);
        }
        over
    }

    /// Appends what is owed, as far as it fits before `end`.
    pub(super) fn put_cids(&mut self, at: PathSlot, cx: &Shared, out: &mut Vec<u8>, end: usize) {
        while out.len().saturating_add(MAX_CONTROL) <= end
            && self.paths[at].sent.takes_item()
            && let Some(sequence) = self.cids.remote.next_owed()
        {
            put_control(out, &Control::RetireConnectionId(sequence));
            self.cids.remote.on_sent(sequence);
            self.paths[at].sent.push_item(Item::RetireConnectionId(sequence));
        }
        while out.len().saturating_add(MAX_CONTROL) <= end
            && self.paths[at].sent.takes_item()
            && let Some((sequence, id)) = self.cids.local.next_owed()
        {
            let reset_token = cx.reset_token(id);
            put_control(out, &Control::NewConnectionId(NewConnectionId { sequence, id, reset_token }));
            self.cids.local.on_sent(sequence);
            self.paths[at].sent.push_item(Item::NewConnectionId(sequence));
        }
    }

    /// Forgets the retired ids whose time has come.
    pub(super) fn on_cid_timeout(&mut self, cx: &mut Shared, now: Instant) {
        self.cids.local.on_timeout(now);
        let mut any = false;
        while let Some(id) = self.cids.local.pop_expired(now) {
            cx.ids.remove(id);
            any = true;
        }
        if any {
            self.supply_cids(cx, now);
        }
    }

    /// Nobody is reached under any of our ids any more.
    pub(super) fn release_cids(&mut self, cx: &mut Shared) {
        for at in self.paths.slots() {
            self.disbelieve_resets(at, cx);
        }
        self.cids.local.all().for_each(|id| cx.ids.remove(id));
    }
}

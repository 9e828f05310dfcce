//! Further connection ids: the supply that the peer is kept in, what it gives us, and when which is used.

use alloc::vec::Vec;

use crate::cids::EXTRA;
use crate::cids::remote::{News, RemoteCid};
use crate::error::TransportError;
use crate::id::ConnectionId;
use crate::path::slots::PathSlot;
use crate::recovery::sent::Item;
use crate::shared::Shared;
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
        let in_use = self.paths.slots().filter(|at| self.paths[*at].has_cid()).count();
        match self.cids.remote.on_new(RemoteCid { sequence: new.sequence, id: new.id }, in_use) {
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
        let period = self.largest_pto() * 3;
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
    pub(super) fn renew_cid(&mut self, at: PathSlot) {
        if !self.paths[at].cid_stale || !matches!(self.state, State::Established(_)) {
            return;
        }
        let Some(RemoteCid { sequence, id }) = self.cids.remote.take() else { return };
        let path = &mut self.paths[at];
        let old = core::mem::replace(&mut path.remote_sequence, sequence);
        (path.remote_id, path.cid_stale) = (id, false);
        path.cid_changes.ours = path.cid_changes.ours.saturating_add(1);
        self.cids.remote.retire(old);
    }

    /// Appends what is owed, as far as it fits before `end`.
    pub(super) fn put_cids(&mut self, at: PathSlot, cx: &Shared, out: &mut Vec<u8>, end: usize) {
        while out.len() + MAX_CONTROL <= end
            && let Some(sequence) = self.cids.remote.next_owed()
        {
            put_control(out, &Control::RetireConnectionId(sequence));
            self.cids.remote.on_sent(sequence);
            self.paths[at].sent.push_item(Item::RetireConnectionId(sequence));
        }
        while out.len() + MAX_CONTROL <= end
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
    pub(super) fn release_cids(&self, cx: &mut Shared) {
        self.cids.local.all().for_each(|id| cx.ids.remove(id));
    }
}

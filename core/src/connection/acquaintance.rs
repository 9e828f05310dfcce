//! What a connection tells the endpoint of its peer, for the dials that come after it.

use crate::crypto::PublicKey;
use crate::error::CloseReason;
use crate::path::addr::{TransportAddr, Tuple};
use crate::path::events::PathClosed;
use crate::path::slots::FIRST;
use crate::path::stats::PathStats;
use crate::remote::{AddressFailure, RemoteId};
use crate::shared::Shared;

use super::Connection;
use super::state::State;

/// What the endpoint knows of the peer of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acquaintance {
    pub(super) id: RemoteId,
    /// The connection has paths.
    met: bool,
}

impl Connection {
    /// Whose connection it is, or is to be.
    pub(crate) fn seek(&mut self, cx: &mut Shared, key: &PublicKey) {
        if self.acquaintance.is_none() {
            let id = cx.remotes.join(cx.now, key);
            self.acquaintance = Some(Acquaintance { id, met: false });
            if self.keeps_paths(cx) {
                cx.remotes.attend(id, self.handle.slot);
            }
        }
    }

    /// A path to the peer is there. On QOTP's wire nobody knows who that is.
    pub(super) fn meet_at(&mut self, cx: &mut Shared, ends: &Tuple) {
        let Some(key) = self.state.secured().map(|secured| secured.peer) else { return };
        self.seek(cx, &key);
        if let Some(acquaintance) = &mut self.acquaintance {
            acquaintance.met = true;
            cx.remotes.on_opened(cx.now, &mut cx.budget, acquaintance.id, ends);
        }
    }

    /// A path to the peer goes on between these ends.
    pub(super) fn meet_elsewhere(&self, cx: &mut Shared, from: &TransportAddr, ends: &Tuple) {
        let Some(Acquaintance { id, met: true }) = self.acquaintance else { return };
        if *from != ends.remote {
            cx.remotes.on_opened(cx.now, &mut cx.budget, id, ends);
            cx.remotes.on_closed(cx.now, id, from, None);
        }
    }

    /// A path to the peer is over, which had opened if it `was_usable`.
    pub(super) fn part_from(&self, cx: &mut Shared, stats: &PathStats, was_usable: bool, why: PathClosed) {
        let Some(Acquaintance { id, met: true }) = self.acquaintance else { return };
        if was_usable {
            let silent = (why == PathClosed::Idle).then_some(AddressFailure::Silent);
            cx.remotes.on_closed(cx.now, id, &stats.remote, silent);
        } else if why == PathClosed::NoAnswer && stats.id.opener() == self.role {
            cx.remotes.on_unanswered(cx.now, id, &stats.remote);
        }
    }

    /// The dial is over: where it was not answered, the peer is not.
    pub(super) fn judge_unanswered(&self, cx: &mut Shared) {
        let (State::Dialling(dialling), Some(acquaintance)) = (&self.state, &self.acquaintance) else {
            return;
        };
        for addr in dialling.fanout().unanswered() {
            cx.remotes.on_unanswered(cx.now, acquaintance.id, addr);
        }
    }

    /// The connection has ended.
    pub(super) fn part(&mut self, cx: &mut Shared, reason: &CloseReason) {
        let Some(Acquaintance { id, met }) = self.acquaintance.take() else { return };
        self.upkeep = None;
        cx.remotes.ignore(id, self.handle.slot);
        let silent = matches!(reason, CloseReason::IdleTimeout).then_some(AddressFailure::Silent);
        for at in self.paths.usable().iter().filter(|_| met) {
            // What is sent may be going to the next address of a dial, and the peer was met at the first.
            let met_at =
                self.first_flight.as_ref().filter(|_| at == FIRST).map(|flight| flight.first().remote);
            cx.remotes.on_closed(cx.now, id, &met_at.unwrap_or(self.paths[at].remote), silent);
        }
        cx.remotes.leave(cx.now, &mut cx.budget, id);
    }
}

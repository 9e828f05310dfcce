//! Not to wait for a timer when there is word from outside: the network was reported to have changed, or the peer is
//! heard again.

use crate::id::Role;
use crate::path::addr::LocalAddr;
use crate::path::table::{FIRST, PathSlot};
use crate::time::Instant;

use super::Connection;
use super::state::State;

impl Connection {
    /// A QOTP dial leaves through this socket, from this address.
    pub(crate) fn leave_from(&mut self, local: LocalAddr) {
        self.paths[FIRST].local = local;
    }

    /// The network has changed: what waits for an answer goes again at once. Says whether there is anything to send.
    ///
    /// Round-trip time and congestion control keep what they know. If the path is the same, that is what it is worth; if it
    /// is another one, its probes will show.
    ///
    /// A dialler's own address may be gone: the system chooses one anew. An answerer's is the one that its peer sends to.
    pub(crate) fn on_network_changed(&mut self, now: Instant) -> bool {
        // Of several paths, each has the address that makes it another one.
        if self.role == Role::Initiator && self.paths.open().len() == 1 {
            for at in self.paths.slots() {
                self.paths[at].local.ip = None;
                self.paths[at].moving = None;
            }
            if let Some(flight) = &mut self.first_flight {
                flight.forget_own();
            }
        }
        match &mut self.state {
            State::Dialling(dialling) => dialling.hurry(now),
            State::Qotp(qotp) if qotp.is_dialling() => qotp.hurry_dial(now),
            State::Untrusted(_) | State::Established(_) => {
                // Who watches the old network and the new one shall not see the same ids.
                for at in self.paths.usable().iter() {
                    self.paths[at].cid_stale = true;
                }
                self.probe_at_once()
            }
            State::Qotp(qotp) => {
                qotp.forgive_silence();
                self.probe_at_once()
            }
            // These only answer.
            State::Confirming(_)
            | State::Closing(_)
            | State::Lingering(_)
            | State::Draining { .. }
            | State::Over => false,
        }
    }

    fn probe_at_once(&mut self) -> bool {
        let mut any = false;
        for at in self.paths.usable().iter() {
            any |= self.probe_path_at_once(at);
        }
        any
    }

    fn probe_path_at_once(&mut self, at: PathSlot) -> bool {
        if self.paths[at].sent.outstanding() > 0 {
            self.offer_oldest(at);
            self.paths[at].loss.probe_at_once();
            true
        } else if self.awaits_peer() {
            self.paths[at].ping_owed = true;
            true
        } else {
            false
        }
    }

    /// If the peer was busy and is not heard any more, and there may be more to come, it is asked: perhaps it sends to an
    /// address at which we were.
    pub(super) fn look_for_peer(&mut self, at: PathSlot, now: Instant) {
        let (pto, awaited) = (self.pto(at), self.awaits_peer());
        let path = &mut self.paths[at];
        path.ping_owed |= path.vigil.look(now, pto) && awaited;
    }

    /// Whether the peer may have something in flight to us: streams are open, or it sends datagrams, which end without a
    /// word.
    fn awaits_peer(&self) -> bool {
        self.streams.any_open() || self.stats.datagrams_received > 0
    }

    /// Whether the peer has been silent for so long that our packets, and its answers, may have gone nowhere.
    pub(super) fn is_peer_missed(&self, at: PathSlot, now: Instant) -> bool {
        self.paths[at].loss.backoff() > 0 && self.paths[at].pulse.silence(now) >= self.pto(at)
    }
}

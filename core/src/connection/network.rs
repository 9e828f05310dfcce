//! Not to wait for a timer when there is word from outside: the network was reported to have changed, or the peer is
//! heard again.

use crate::id::Role;
use crate::path::addr::LocalAddr;
use crate::time::Instant;

use super::Connection;
use super::state::State;

impl Connection {
    /// A dial leaves through this socket, from this address.
    pub(crate) fn leave_from(&mut self, local: LocalAddr) {
        self.path.local = local;
    }

    /// The network has changed: what waits for an answer goes again at once. Says whether there is anything to send.
    ///
    /// Round-trip time and congestion control keep what they know. If the path is the same, that is what it is worth; if it
    /// is another one, its probes will show.
    ///
    /// A dialler's own address may be gone: the system chooses one anew. An answerer's is the one that its peer sends to.
    pub(crate) fn on_network_changed(&mut self, now: Instant) -> bool {
        if self.role == Role::Initiator {
            self.path.local.ip = None;
        }
        match &mut self.state {
            State::Dialling(dialling) => dialling.hurry(now),
            State::Qotp(qotp) if qotp.is_dialling() => qotp.hurry_dial(now),
            State::Untrusted(_) | State::Established(_) => self.probe_at_once(),
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
        if self.path.sent.outstanding() > 0 {
            self.offer_oldest();
            self.path.loss.probe_at_once();
            true
        } else if self.awaits_peer() {
            self.ping_owed = true;
            true
        } else {
            false
        }
    }

    /// Whether the peer may have something in flight to us: streams are open, or it sends datagrams, which end without a
    /// word.
    fn awaits_peer(&self) -> bool {
        self.streams.any_open() || self.stats.datagrams_received > 0
    }

    /// Whether the peer has been silent for so long that our packets, and its answers, may have gone nowhere.
    pub(super) fn is_peer_missed(&self, now: Instant) -> bool {
        self.path.loss.backoff() > 0 && self.idle.silence(now) >= self.pto()
    }
}

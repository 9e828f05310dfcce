//! What may the next packet be? Decided here, purely; `send` builds it.

use crate::path::slots::PathSlot;
use crate::time::Instant;

use super::Connection;
use super::state::State;

/// A packet that may be sent now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// The most bytes that it may have.
    pub(super) size: usize,
}

/// What a packet may carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// An acknowledgement, answers about the path, and credit: not held by congestion control.
    Quiet,
    /// Anything, beyond the congestion window: the probe timer fired.
    Probe,
    /// Anything.
    Full,
}

/// Why nothing may be sent now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// There is nothing to send.
    Idle,
    /// The congestion window is full.
    Window,
    /// The pacer wants to wait.
    Pacer,
    /// The peer's address is not validated, and has had its share.
    Amplification,
    /// The peer acknowledges nothing: packet numbers would become ambiguous.
    Numbers,
    /// A memory limit is reached, and one more packet to remember would cost more.
    Memory,
}

/// A packet smaller than this is not worth an address's small allowance.
const MIN_SIZE: u64 = 64;
/// The records of sent packets may double as long as that costs no more bytes than this, whatever the limits say: room
/// for about a hundred packets.
pub(super) const MIN_RECORDS: usize = 8 << 10;
/// A sender stays this close to the highest acknowledged number, so that 32 bits tell packets apart
/// (docs/PROTOCOL.md, "Keys and protection").
const MAX_AHEAD: u64 = 1 << 30;

impl Connection {
    /// What holds back every packet, acknowledgements too, until the peer is heard.
    pub(super) fn muted(&self, at: PathSlot) -> Option<Held> {
        let path = &self.paths[at];
        if matches!(self.state, State::Untrusted(_)) && !path.ping_owed && path.loss.probes() == 0 {
            // Before the application trusts the peer, nothing goes to it but the confirming packet.
            Some(Held::Idle)
        } else if path.validation.allowance() < MIN_SIZE {
            Some(Held::Amplification)
        } else if self.is_too_far_ahead(at) {
            Some(Held::Numbers)
        } else {
            None
        }
    }

    /// Whether one more packet number would be ambiguous.
    pub(super) fn is_too_far_ahead(&self, at: PathSlot) -> bool {
        let path = &self.paths[at];
        let acked = path.loss.largest_acked().map_or(0, |largest| largest.get());
        path.sent.next().get().saturating_sub(acked) >= MAX_AHEAD
    }

    /// Bytes in a full packet of what is to be sent now, which planning and pacing are about.
    pub(super) fn full_size(&self, at: PathSlot) -> u16 {
        if self.datagrams.has_output() {
            self.paths[at].largest_datagram()
        } else {
            self.paths[at].packet_size
        }
    }

    /// Decides on the next packet. `budget` is what the pacer lets go in bytes, `room` what the memory limits leave.
    pub(super) fn plan(&self, at: PathSlot, now: Instant, budget: u64, room: usize) -> Result<Plan, Held> {
        if let Some(held) = self.muted(at) {
            return Err(held);
        }
        let path = &self.paths[at];
        let allowance = usize::try_from(path.validation.allowance()).unwrap_or(usize::MAX);
        if path.loss.probes() > 0 {
            // Whatever has become of the path, this gets through.
            return Ok(Plan { kind: Kind::Probe, size: usize::from(path.mtu().base()).min(allowance) });
        }
        let size = usize::from(self.full_size(at)).min(allowance);
        if path.sent.growth() > room.max(MIN_RECORDS) {
            return Err(Held::Memory);
        }
        let held = if !self.has_output(at) {
            Held::Idle
        } else if path.in_flight > 0 && path.in_flight.saturating_add(size as u64) > path.bbr.window() {
            // One packet may always go: the window may be of a time when packets were smaller.
            Held::Window
        } else if budget < size as u64 {
            Held::Pacer
        } else {
            return Ok(Plan { kind: Kind::Full, size });
        };
        let about_path = self.has_path_duty(at, now) || self.has_word_of_others(at, now);
        // Else what one side sends would be held up by what fills the way back. There is little of it: credit is given for
        // what has arrived.
        let credit = matches!(self.state, State::Established(_))
            && self.paths.carries(at)
            && self.streams.owes_credit();
        if path.received.is_due(now) || about_path || credit {
            Ok(Plan { kind: Kind::Quiet, size })
        } else {
            Err(held)
        }
    }

    /// Whether there is anything that congestion control has a say in.
    fn has_output(&self, at: PathSlot) -> bool {
        self.paths[at].ping_owed
            || (matches!(self.state, State::Established(_))
                && self.paths.carries(at)
                && (self.streams.has_output()
                    || self.datagrams.has_output()
                    || self.cids.has_output()
                    || self.owes_token()))
    }
}

//! What a socket has counted.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::send::LossCause;

/// The counters of a socket since it was bound.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct SocketStats {
    /// Sends that the kernel took: trains and single datagrams.
    pub sends: u64,
    /// Sends for which the kernel's buffer had no room.
    pub blocked: u64,
    /// Sends lost as too big for the interface.
    pub lost_too_big: u64,
    /// Sends lost because the interface's queue was full.
    pub lost_no_buffers: u64,
    /// Sends lost because an earlier one was refused by its destination.
    pub lost_refused: u64,
    /// Sends lost for want of a route.
    pub lost_unreachable: u64,
    /// Sends lost because a rule of this machine forbids them.
    pub lost_forbidden: u64,
    /// Sends lost because the source address is not, or no longer, one of this machine's.
    pub lost_invalid: u64,
    /// Sends lost for other reasons.
    pub lost_other: u64,
    /// How often the kernel refused to segment a train whose datagrams it took one by one; offload is off since.
    pub offload_refused: u64,
    /// Reads that gave a batch.
    pub receives: u64,
    /// Errors that the kernel reported on reading about something sent earlier.
    pub receive_errors: u64,
}

/// The same, as they are counted.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    pub(crate) sends: AtomicU64,
    pub(crate) blocked: AtomicU64,
    lost: [AtomicU64; LossCause::COUNT],
    pub(crate) offload_refused: AtomicU64,
    pub(crate) receives: AtomicU64,
    pub(crate) receive_errors: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Counters {
    pub(crate) fn count_loss(&self, cause: LossCause) {
        count(&self.lost[cause as usize]);
    }

    pub(crate) fn snapshot(&self) -> SocketStats {
        let lost = |cause: LossCause| self.lost[cause as usize].load(Relaxed);
        SocketStats {
            sends: self.sends.load(Relaxed),
            blocked: self.blocked.load(Relaxed),
            lost_too_big: lost(LossCause::TooBig),
            lost_no_buffers: lost(LossCause::NoBuffers),
            lost_refused: lost(LossCause::Refused),
            lost_unreachable: lost(LossCause::Unreachable),
            lost_forbidden: lost(LossCause::Forbidden),
            lost_invalid: lost(LossCause::Invalid),
            lost_other: lost(LossCause::Other),
            offload_refused: self.offload_refused.load(Relaxed),
            receives: self.receives.load(Relaxed),
            receive_errors: self.receive_errors.load(Relaxed),
        }
    }
}

//! What a socket has counted.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::buffers::{BufferSizes, SmallBuffers};
use crate::send::LossCause;

/// The counters of a socket since it was bound, and the kernel's buffers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct SocketStats {
    /// System calls made to send, whatever came of them.
    pub send_calls: u64,
    /// Messages that the kernel took: trains and single datagrams.
    pub sends: u64,
    /// Sends for which the kernel's buffer had no room.
    pub blocked: u64,
    /// Sends lost as too big for the interface.
    pub lost_too_big: u64,
    /// Sends lost because the interface's queue was full.
    pub lost_no_buffers: u64,
    /// Errors that the kernel reported on sending about something sent earlier. What was to be sent was tried again.
    pub send_echoes: u64,
    /// Sends lost because earlier ones were refused by their destination, twice running.
    pub lost_refused: u64,
    /// Sends lost for want of a route.
    pub lost_unreachable: u64,
    /// Sends lost because a rule of this machine forbids them.
    pub lost_forbidden: u64,
    /// Sends lost because the source address is not, or no longer, one of this machine's.
    pub lost_invalid: u64,
    /// Sends lost because the socket was closed.
    pub lost_closed: u64,
    /// Sends lost for other reasons.
    pub lost_other: u64,
    /// Trains lost before they were tried, because as many as are kept waited for this socket already. Only where an
    /// endpoint has several sockets: otherwise nothing is built while the socket takes no more.
    pub lost_overflow: u64,
    /// How often the kernel refused to segment a train whose datagrams it took one by one. Offload is off since: for
    /// datagrams of that length and longer ones to that destination (EINVAL), or, once the kernel has said repeatedly
    /// and without exception that it cannot (EIO), for all until the next socket.
    pub offload_refused: u64,
    /// Reads that gave a batch.
    pub receives: u64,
    /// Errors that the kernel reported on reading about something sent earlier.
    pub receive_errors: u64,
    /// What the kernel received for this socket and threw away, mostly because the receive buffer was full
    /// ([`BindOptions::recv_buffer`](crate::BindOptions)), also because of a wrong checksum. A train that arrived as one
    /// counts once. Linux's own counter, the one that SO_RXQ_OVFL tells, of 32 bits; `None` where there is none.
    pub receive_drops: Option<u32>,
    /// The kernel's buffers as they were when the socket was bound.
    pub buffers: BufferSizes,
    /// What was asked for, if the system gave less.
    pub small_buffers: Option<SmallBuffers>,
}

/// The same, as they are counted.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    pub(crate) send_calls: AtomicU64,
    pub(crate) sends: AtomicU64,
    pub(crate) send_echoes: AtomicU64,
    pub(crate) blocked: AtomicU64,
    lost: [AtomicU64; LossCause::COUNT],
    pub(crate) lost_overflow: AtomicU64,
    pub(crate) offload_refused: AtomicU64,
    pub(crate) receives: AtomicU64,
    pub(crate) receive_errors: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Adds several.
pub(crate) fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Relaxed);
}

impl Counters {
    pub(crate) fn count_loss(&self, cause: LossCause) {
        count(&self.lost[cause as usize]);
    }

    /// The counters, with what the kernel counts; of the buffers they know nothing.
    pub(crate) fn snapshot(&self, receive_drops: Option<u32>) -> SocketStats {
        let lost = |cause: LossCause| self.lost[cause as usize].load(Relaxed);
        SocketStats {
            send_calls: self.send_calls.load(Relaxed),
            sends: self.sends.load(Relaxed),
            send_echoes: self.send_echoes.load(Relaxed),
            blocked: self.blocked.load(Relaxed),
            lost_too_big: lost(LossCause::TooBig),
            lost_no_buffers: lost(LossCause::NoBuffers),
            lost_refused: lost(LossCause::Refused),
            lost_unreachable: lost(LossCause::Unreachable),
            lost_forbidden: lost(LossCause::Forbidden),
            lost_invalid: lost(LossCause::Invalid),
            lost_closed: lost(LossCause::Closed),
            lost_other: lost(LossCause::Other),
            lost_overflow: self.lost_overflow.load(Relaxed),
            offload_refused: self.offload_refused.load(Relaxed),
            receives: self.receives.load(Relaxed),
            receive_errors: self.receive_errors.load(Relaxed),
            receive_drops,
            ..SocketStats::default()
        }
    }
}

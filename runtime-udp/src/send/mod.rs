//! Sending a train: as few system calls as the kernel allows, and what its refusals mean.

#[cfg(all(test, unix))]
mod tests;

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::io;

use quinn_udp::{Transmit, is_msg_size_err};

use crate::platform;
use crate::stats::{Counters, count};

/// What became of a send.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub enum Outcome {
    /// The kernel has all of it.
    Sent,
    /// The kernel's buffer is full. Wait until the socket is writable, then send what follows the first `accepted`
    /// bytes, which are gone: zero, or a multiple of the segment size.
    Blocked {
        /// Bytes that the kernel took.
        accepted: usize,
    },
    /// Some or all of it is lost, and no later call will save it.
    Lost(LossCause),
}

/// Why the kernel would not send something. All of these pass, or concern one destination only, so that the socket
/// lives on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum LossCause {
    /// A datagram is longer than the interface or the route takes: what an MTU probe is there to find out.
    TooBig,
    /// The interface's queue is full.
    NoBuffers,
    /// An earlier datagram found nobody listening.
    Refused,
    /// There is no route, or not for this IP version.
    Unreachable,
    /// A firewall of this machine, or a broadcast address.
    Forbidden,
    /// The source address is not one of this machine's, perhaps since a moment ago. (For IPv4, Linux finds this
    /// `Unreachable` instead.)
    Invalid,
    /// Something else.
    Other,
}

impl LossCause {
    pub(crate) const COUNT: usize = Self::Other as usize + 1;

    fn of(error: &io::Error) -> Self {
        match error.kind() {
            _ if is_msg_size_err(error) => Self::TooBig,
            _ if platform::is_no_buffers(error) => Self::NoBuffers,
            _ if platform::is_no_family(error) => Self::Unreachable,
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Self::Refused,
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::Unreachable,
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            io::ErrorKind::InvalidInput | io::ErrorKind::AddrNotAvailable => Self::Invalid,
            _ => Self::Other,
        }
    }
}

/// Whether an error may mean that the kernel or the driver cannot segment (udp(7) has no complete list): EIO where the
/// driver has no checksum offload, EINVAL otherwise. EINVAL has other causes too, and a path whose MTU shrank is one.
pub(crate) fn may_be_offload(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput || platform::is_io_error(error)
}

/// How many datagrams go into one system call: what the kernel takes, or one, once it has shown that it cannot.
#[derive(Debug)]
pub(crate) struct Offload {
    segments: AtomicUsize,
}

impl Offload {
    pub(crate) fn new(segments: usize) -> Self {
        Self { segments: AtomicUsize::new(segments.max(1)) }
    }

    pub(crate) fn segments(&self) -> usize {
        self.segments.load(Relaxed)
    }

    /// Sends a datagram or a train through `call`, the system call.
    pub(crate) fn send(
        &self,
        transmit: &Transmit<'_>,
        counters: &Counters,
        call: impl Fn(&Transmit<'_>) -> io::Result<()>,
    ) -> Outcome {
        let outcome = self.send_pieces(transmit, counters, call);
        match outcome {
            Outcome::Sent => {}
            Outcome::Blocked { .. } => count(&counters.blocked),
            Outcome::Lost(cause) => counters.count_loss(cause),
        }
        outcome
    }

    fn send_pieces(
        &self,
        transmit: &Transmit<'_>,
        counters: &Counters,
        call: impl Fn(&Transmit<'_>) -> io::Result<()>,
    ) -> Outcome {
        let len = transmit.contents.len();
        let segment = transmit.segment_size.unwrap_or(len).clamp(1, len.max(1));
        let send = |range: core::ops::Range<usize>| {
            let segment_size = (range.len() > segment).then_some(segment);
            let result =
                call(&Transmit { contents: &transmit.contents[range], segment_size, ..transmit.clone() });
            if result.is_ok() {
                count(&counters.sends);
            }
            result
        };
        let mut accepted = 0;
        loop {
            // Offload may go off in the middle of a train.
            let end = len.min(accepted + segment.saturating_mul(self.segments()));
            let mut result = send(accepted..end);
            let mut taken = end;
            let one = accepted + segment;
            if end > one && result.as_ref().is_err_and(may_be_offload) {
                // If the kernel takes one of them alone, then it was the segmenting; if not, something else.
                result = send(accepted..one);
                taken = one;
                if result.is_ok() {
                    self.segments.store(1, Relaxed);
                    count(&counters.offload_refused);
                }
            }
            match result {
                Ok(()) if taken == len => return Outcome::Sent,
                Ok(()) => accepted = taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Outcome::Blocked { accepted };
                }
                // What the kernel does not take for one datagram it takes for none of its equals.
                Err(error) => return Outcome::Lost(LossCause::of(&error)),
            }
        }
    }
}

//! Sending: as few system calls as the kernel allows, and what its refusals mean.

mod offload;
mod sender;
#[cfg(all(test, unix))]
mod tests;

use std::io;

use quinn_udp::is_msg_size_err;

use crate::platform;

pub(crate) use offload::Offload;
pub(crate) use sender::Sender;

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

/// How far a batch came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use]
pub struct BatchOutcome {
    /// So many messages are sent: the first ones.
    pub sent: usize,
    /// What became of the one after them, at which it stopped. [`Outcome::Sent`]: there is none. The messages behind it
    /// were not tried.
    pub last: Outcome,
}

/// Why the kernel would not send something. All but `Closed` pass, or concern one destination only, so that the socket
/// lives on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum LossCause {
    /// A datagram is longer than the interface or the route takes: what an MTU probe is there to find out.
    TooBig,
    /// The interface's queue is full.
    NoBuffers,
    /// Earlier datagrams found nobody listening, again and again.
    Refused,
    /// There is no route, or not for this IP version.
    Unreachable,
    /// A firewall of this machine, or a broadcast address.
    Forbidden,
    /// The source address is not one of this machine's, perhaps since a moment ago. (For IPv4, Linux finds this
    /// `Unreachable` instead.)
    Invalid,
    /// The socket was closed with [`UdpSocket::close`](crate::UdpSocket::close).
    Closed,
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

//! The socket, and what adapters need of one.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::io::{self, IoSliceMut};
use std::net::{Shutdown, UdpSocket as StdSocket};
use std::sync::Arc;

use quinn_udp::{RecvMeta, Transmit};
use socket2::SockRef;

use crate::buffers::{BufferSizes, SmallBuffers};
use crate::kernel::Kernel;
use crate::platform;
use crate::recv::receive;
use crate::send::{BatchOutcome, LossCause, Offload, Outcome, Sender};
use crate::stats::{Counters, SocketStats};

/// The most buffers that one receive fills.
pub const BATCH_SIZE: usize = quinn_udp::BATCH_SIZE;

/// The most messages that one system call sends: more in a batch take more calls. 1 where the system takes one a call.
pub const SEND_BATCH_SIZE: usize = platform::MANY;

/// The length of a buffer that no receive can overfill, however many datagrams the kernel has put together: the length
/// field of IP and UDP has 16 bits (RFC 768). What does not fit into a buffer is cut off without a word.
pub const RECV_BUFFER_LEN: usize = 1 << 16;

/// What an adapter's loop needs of a socket. Nothing here blocks.
///
/// Sending and receiving may go on at the same time; two receives at the same time would tear batches apart.
pub trait DatagramSocket {
    /// Sends one datagram, or a train of them, to one destination.
    fn try_send(&self, transmit: &Transmit<'_>) -> Outcome;

    /// Sends several datagrams or trains, to one destination or many, in this order and in as few system calls as there
    /// can be. It stops at the first one that is blocked or lost: what is behind that is for another call, without the
    /// lost one.
    fn try_send_batch(&self, batch: &[Transmit<'_>]) -> BatchOutcome {
        for (sent, transmit) in batch.iter().enumerate() {
            match self.try_send(transmit) {
                Outcome::Sent => {}
                last => return BatchOutcome { sent, last },
            }
        }
        BatchOutcome { sent: batch.len(), last: Outcome::Sent }
    }

    /// Receives into as many buffers as there are `metas` for, and returns how many were filled. Each holds one
    /// datagram or several of the length `stride`, the last of which may be shorter; an empty datagram's stride is zero.
    /// IPv4 addresses come as such, even where the socket speaks IPv6. Zero means that there may be more: ask again.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing to receive. Others mean that the socket is of no use any
    /// more.
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize>;

    /// The address that the socket is bound to.
    fn local_addr(&self) -> SocketAddr;

    /// How many datagrams a train may have to be sent in one system call; 1 without offload. May fall, never rises. A
    /// destination may take fewer: the socket sees to that.
    fn max_gso_segments(&self) -> usize;

    /// How many datagrams one buffer may receive at most; 1 without offload.
    fn max_gro_segments(&self) -> usize;

    /// Whether datagrams may be fragmented on the way, so that looking for the path's MTU is no use.
    fn may_fragment(&self) -> bool;

    /// Counts trains that were not even tried, because too many wait for this socket already. Not all sockets count.
    fn count_overflow(&self, _trains: u64) {}
}

/// A UDP socket of the operating system. See the [crate's documentation](crate) and
/// [`bind`](Self::bind). Dropping it closes it.
#[derive(Debug)]
pub struct UdpSocket {
    kernel: Kernel,
    local: SocketAddr,
    buffers: BufferSizes,
    small_buffers: Option<SmallBuffers>,
    offload: Offload,
    counters: Counters,
    closed: AtomicBool,
    /// All sockets of its group, which keeps its order as long as none of them is closed.
    pub(crate) group: Option<Arc<[StdSocket]>>,
}

/// The socket was closed with [`UdpSocket::close`]: what the error says that [`DatagramSocket::try_recv`] then returns
/// (of the kind [`io::ErrorKind::NotConnected`], with this inside).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the socket is closed")
    }
}

impl core::error::Error for Closed {}

impl UdpSocket {
    pub(crate) fn new(
        kernel: Kernel,
        buffers: BufferSizes,
        small_buffers: Option<SmallBuffers>,
    ) -> io::Result<Self> {
        Ok(Self {
            local: kernel.local_addr()?,
            buffers,
            small_buffers,
            offload: Offload::new(kernel.state(|state| state.max_gso_segments())),
            counters: Counters::default(),
            closed: AtomicBool::new(false),
            group: None,
            kernel,
        })
    }

    /// The socket inside, to wait for readiness and to set options on. Reading from it or writing to it directly loses
    /// the boundaries between datagrams.
    #[must_use]
    pub fn as_std(&self) -> &StdSocket {
        self.kernel.socket()
    }

    /// Whether datagrams to and from this family pass here.
    #[must_use]
    pub fn speaks(&self, address: IpAddr) -> bool {
        self.kernel.families().speak(address)
    }

    /// The kernel's buffers as they were when the socket was bound.
    #[must_use]
    pub fn buffer_sizes(&self) -> BufferSizes {
        self.buffers
    }

    /// What the system gave, if it is less than [`bind`](Self::bind) asked for. `None` too of a socket that somebody else has
    /// bound: nothing was asked for.
    #[must_use]
    pub fn small_buffers(&self) -> Option<SmallBuffers> {
        self.small_buffers
    }

    /// The counters, and the buffers. One of them is the kernel's and costs a system call.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        SocketStats {
            buffers: self.buffers,
            small_buffers: self.small_buffers,
            ..self.counters.snapshot(platform::receive_drops(self.as_std()))
        }
    }

    /// Closes the socket for all that share it: later sends are [`LossCause::Closed`], later receives say [`Closed`]. On
    /// Unix, whoever waits for the socket is woken (on Linux by an event of its own, EPOLLHUP; elsewhere where the system
    /// does that for a socket without a peer). Closing again does nothing.
    ///
    /// The descriptor, and with it the port, is given back when the socket is dropped, as is a descriptor that was cloned
    /// from it. Until then [`local_addr`](DatagramSocket::local_addr) says what it was, for logs. An adapter's endpoint
    /// owns its socket and drops it at its end; this is for those who share one.
    pub fn close(&self) {
        if !self.closed.swap(true, Relaxed) {
            // Linux says that there is no peer to part from, and wakes those who wait all the same.
            let _ = SockRef::from(self.as_std()).shutdown(Shutdown::Both);
        }
    }

    /// Whether it was closed with [`close`](Self::close).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    fn sender(&self) -> Sender<'_, Kernel> {
        Sender { calls: &self.kernel, offload: &self.offload, counters: &self.counters }
    }

    /// What becomes of sends to a closed socket.
    fn refuse_closed(&self) -> Result<(), Outcome> {
        if self.is_closed() {
            self.counters.count_loss(LossCause::Closed);
            return Err(Outcome::Lost(LossCause::Closed));
        }
        Ok(())
    }
}

impl DatagramSocket for UdpSocket {
    fn try_send(&self, transmit: &Transmit<'_>) -> Outcome {
        self.refuse_closed().map_or_else(|closed| closed, |()| self.sender().send(transmit))
    }

    fn try_send_batch(&self, batch: &[Transmit<'_>]) -> BatchOutcome {
        if batch.is_empty() {
            return BatchOutcome { sent: 0, last: Outcome::Sent };
        }
        self.refuse_closed()
            .map_or_else(|last| BatchOutcome { sent: 0, last }, |()| self.sender().send_batch(batch))
    }

    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        if self.is_closed() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, Closed));
        }
        receive(&self.kernel, &self.counters, buffers, metas)
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn max_gso_segments(&self) -> usize {
        self.offload.segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.kernel.state(|state| state.gro_segments())
    }

    fn may_fragment(&self) -> bool {
        self.kernel.state(|state| state.may_fragment())
    }

    fn count_overflow(&self, trains: u64) {
        self.counters.lost_overflow.fetch_add(trains, Relaxed);
    }
}

#[cfg(unix)]
mod fd {
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

    use super::UdpSocket;

    impl AsFd for UdpSocket {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.as_std().as_fd()
        }
    }

    impl AsRawFd for UdpSocket {
        fn as_raw_fd(&self) -> RawFd {
            self.as_std().as_raw_fd()
        }
    }
}

#[cfg(windows)]
mod handle {
    use std::os::windows::io::{AsRawSocket, AsSocket, BorrowedSocket, RawSocket};

    use super::UdpSocket;

    impl AsSocket for UdpSocket {
        fn as_socket(&self) -> BorrowedSocket<'_> {
            self.as_std().as_socket()
        }
    }

    impl AsRawSocket for UdpSocket {
        fn as_raw_socket(&self) -> RawSocket {
            self.as_std().as_raw_socket()
        }
    }
}

//! The socket: addresses as the engine knows them on one side, as the kernel wants them on the other.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::io::{self, IoSliceMut};
use std::net::UdpSocket as StdSocket;
use std::sync::Arc;

use quinn_udp::{RecvMeta, Transmit};

use crate::bind::BufferSizes;
use crate::kernel::Kernel;
use crate::send::{LossCause, Offload, Outcome};
use crate::stats::{Counters, SocketStats, count};

/// The most buffers that one receive fills.
pub const BATCH_SIZE: usize = quinn_udp::BATCH_SIZE;

/// The length of a buffer that no receive can overfill, however many datagrams the kernel has put together: the length
/// field of IP and UDP has 16 bits (RFC 768). What does not fit into a buffer is cut off without a word.
pub const RECV_BUFFER_LEN: usize = 1 << 16;

/// How many errors of earlier sends one receive skips.
const MAX_SKIPPED_ERRORS: usize = 64;

/// What an adapter's loop needs of a socket. Nothing here blocks.
///
/// Sending and receiving may go on at the same time; two receives at the same time would tear batches apart.
pub trait DatagramSocket {
    /// Sends one datagram, or a train of them, to one destination.
    fn try_send(&self, transmit: &Transmit<'_>) -> Outcome;

    /// Receives into as many buffers as there are `metas` for, and returns how many were filled. Each holds one
    /// datagram or several of the length `stride`, the last of which may be shorter; an empty datagram's stride is zero. IPv4 addresses come as such, even
    /// where the socket speaks IPv6. Zero means that there may be more: ask again.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing to receive. Others mean that the socket is of no use any
    /// more.
    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize>;

    /// The address that the socket is bound to.
    fn local_addr(&self) -> SocketAddr;

    /// How many datagrams a train may have to be sent in one system call; 1 without offload. May fall, never rises.
    fn max_gso_segments(&self) -> usize;

    /// How many datagrams one buffer may receive at most; 1 without offload.
    fn max_gro_segments(&self) -> usize;

    /// Whether datagrams may be fragmented on the way, so that looking for the path's MTU is no use.
    fn may_fragment(&self) -> bool;
}

/// A UDP socket of the operating system. See the [crate's documentation](crate) and
/// [`bind`](Self::bind). Dropping it closes it.
#[derive(Debug)]
pub struct UdpSocket {
    kernel: Kernel,
    local: SocketAddr,
    speaks: Speaks,
    buffers: BufferSizes,
    offload: Offload,
    counters: Counters,
    /// All sockets of its group, which keeps its order as long as none of them is closed.
    pub(crate) group: Option<Arc<[StdSocket]>>,
}

/// The families of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Speaks {
    V4,
    V6,
    /// An IPv6 socket, to which IPv4 addresses are shown as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).
    Both,
}

impl UdpSocket {
    pub(crate) fn new(kernel: Kernel, dual_stack: bool, buffers: BufferSizes) -> io::Result<Self> {
        let local = kernel.local_addr()?;
        let speaks = match local {
            SocketAddr::V4(_) => Speaks::V4,
            SocketAddr::V6(_) if dual_stack => Speaks::Both,
            SocketAddr::V6(_) => Speaks::V6,
        };
        let offload = Offload::new(kernel.state(|state| state.max_gso_segments()));
        Ok(Self { kernel, local, speaks, buffers, offload, counters: Counters::default(), group: None })
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
        match (address.to_canonical(), self.speaks) {
            (_, Speaks::Both) | (IpAddr::V4(_), Speaks::V4) | (IpAddr::V6(_), Speaks::V6) => true,
            (IpAddr::V4(_), Speaks::V6) | (IpAddr::V6(_), Speaks::V4) => false,
        }
    }

    /// The kernel's buffers as they were when the socket was bound.
    #[must_use]
    pub fn buffer_sizes(&self) -> BufferSizes {
        self.buffers
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        self.counters.snapshot()
    }

    /// The destination as the kernel wants it.
    fn outward(&self, destination: SocketAddr) -> SocketAddr {
        match (self.speaks, destination) {
            (Speaks::Both, SocketAddr::V4(v4)) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            (Speaks::V4, SocketAddr::V6(v6)) => (v6.ip().to_canonical(), v6.port()).into(),
            _ => destination,
        }
    }
}

/// An address as the engine knows it.
fn inward(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if is_mapped(v6.ip()) => (v6.ip().to_canonical(), v6.port()).into(),
        other => other,
    }
}

fn is_mapped(address: &Ipv6Addr) -> bool {
    address.to_ipv4_mapped().is_some()
}

impl DatagramSocket for UdpSocket {
    fn try_send(&self, transmit: &Transmit<'_>) -> Outcome {
        if !self.speaks(transmit.destination.ip()) {
            self.counters.count_loss(LossCause::Unreachable);
            return Outcome::Lost(LossCause::Unreachable);
        }
        let transmit = Transmit {
            destination: self.outward(transmit.destination),
            src_ip: transmit.src_ip.map(|ip| ip.to_canonical()),
            ..transmit.clone()
        };
        self.offload.send(&transmit, &self.counters, |transmit| self.kernel.send(transmit))
    }

    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        let room = buffers.len().min(metas.len());
        let (buffers, metas) = (&mut buffers[..room], &mut metas[..room]);
        if room == 0 {
            return Ok(0);
        }
        for _ in 0..MAX_SKIPPED_ERRORS {
            match self.kernel.recv(buffers, metas) {
                Ok(filled) => {
                    count(&self.counters.receives);
                    for meta in metas.iter_mut().take(filled) {
                        meta.addr = inward(meta.addr);
                        meta.dst_ip = meta.dst_ip.map(|ip| ip.to_canonical());
                    }
                    return Ok(filled);
                }
                Err(error) if concerns_a_send(&error) => count(&self.counters.receive_errors),
                Err(error) => return Err(error),
            }
        }
        Ok(0)
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
}

/// Whether an error on reading is the echo of something sent: an ICMP message, which anybody can forge. On Windows the
/// echo is a reset.
fn concerns_a_send(error: &io::Error) -> bool {
    quinn_udp::is_msg_size_err(error)
        || matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::PermissionDenied
        )
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

//! The system calls: quinn-udp's, with a memory that can be renewed, and the platform's for many messages at once.

use core::net::SocketAddr;
use std::io::{self, IoSliceMut};
use std::net::UdpSocket as StdSocket;
use std::sync::{PoisonError, RwLock};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use crate::address::Families;
use crate::platform;
use crate::send::may_be_offload;

/// The system calls of a non-blocking socket. Tests have a kernel of their own, which fails as it is told.
pub(crate) trait Calls {
    /// The most messages that [`send_many`](Self::send_many) takes; 1 where the system takes only one at a time.
    const MANY: usize;

    /// Sends a datagram or a train: all of it, unless there is an error.
    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()>;

    /// Sends the first of several datagrams or trains, and says how many: at least one, unless there is an error, which is
    /// the first one's.
    fn send_many(&self, batch: &[Transmit<'_>]) -> io::Result<usize>;

    /// Receives, and says how many buffers were filled.
    fn recv(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize>;
}

/// A bound, non-blocking socket.
#[derive(Debug)]
pub(crate) struct Kernel {
    socket: StdSocket,
    families: Families,
    /// Behind a lock only to be replaced; it is read for each send.
    state: RwLock<UdpSocketState>,
}

impl Kernel {
    pub(crate) fn new(socket: StdSocket, dual_stack: bool) -> io::Result<Self> {
        let state = RwLock::new(set_up(&socket)?);
        let families = Families::of(socket.local_addr()?, dual_stack);
        Ok(Self { socket, families, state })
    }

    pub(crate) fn socket(&self) -> &StdSocket {
        &self.socket
    }

    pub(crate) fn families(&self) -> Families {
        self.families
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn state<T>(&self, read: impl FnOnce(&UdpSocketState) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// After one such error quinn-udp takes the kernel for one that knows no ECN on IPv4, for good. But it may have
    /// been the segmenting or the source address, and congestion marks are worth having.
    fn forget_errors(&self) {
        if let Ok(fresh) = set_up(&self.socket) {
            *self.state.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

impl Calls for Kernel {
    const MANY: usize = platform::MANY;

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let transmit = self.families.outward(transmit)?;
        let result = self.state(|state| state.try_send(UdpSockRef::from(&self.socket), &transmit));
        if result.as_ref().is_err_and(may_be_offload) {
            self.forget_errors();
        }
        result
    }

    fn send_many(&self, batch: &[Transmit<'_>]) -> io::Result<usize> {
        platform::send_many(&self.socket, self.families, batch)
    }

    fn recv(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        self.state(|state| state.recv(UdpSockRef::from(&self.socket), buffers, metas))
    }
}

/// Sets the socket's options as quinn-udp likes them, but for the timestamps of arrivals: with them, what the kernel
/// says about several datagrams put together is longer than the 96 bytes that quinn-udp 0.6.3 has for it, and the ECN
/// codepoint, which comes last, is cut off.
fn set_up(socket: &StdSocket) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(UdpSockRef::from(socket))?;
    platform::stop_timestamps(socket)?;
    Ok(state)
}

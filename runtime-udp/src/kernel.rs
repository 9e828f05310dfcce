//! The system calls: quinn-udp's, with a memory that can be renewed.

use core::net::SocketAddr;
use std::io::{self, IoSliceMut};
use std::net::UdpSocket as StdSocket;
use std::sync::{PoisonError, RwLock};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use crate::platform;
use crate::send::may_be_offload;

/// A bound, non-blocking socket.
#[derive(Debug)]
pub(crate) struct Kernel {
    socket: StdSocket,
    /// Behind a lock only to be replaced; it is read for each send.
    state: RwLock<UdpSocketState>,
}

impl Kernel {
    pub(crate) fn new(socket: StdSocket) -> io::Result<Self> {
        let state = RwLock::new(set_up(&socket)?);
        Ok(Self { socket, state })
    }

    pub(crate) fn socket(&self) -> &StdSocket {
        &self.socket
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn state<T>(&self, read: impl FnOnce(&UdpSocketState) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let result = self.state(|state| state.try_send(UdpSockRef::from(&self.socket), transmit));
        if result.as_ref().is_err_and(may_be_offload) {
            self.forget_errors();
        }
        result
    }

    /// After one such error quinn-udp takes the kernel for one that knows no ECN on IPv4, for good. But it may have
    /// been the segmenting or the source address, and congestion marks are worth having.
    fn forget_errors(&self) {
        if let Ok(fresh) = set_up(&self.socket) {
            *self.state.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }

    pub(crate) fn recv(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
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

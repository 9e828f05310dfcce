//! What client and server of a run have to agree on.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::UdpSocket;

use crate::grid::{Aead, Peer, Scenario};

/// The application protocol.
pub(crate) const ALPN: &[u8] = b"bench";
/// Streams that a peer may have open at once: more than any scenario has.
pub(crate) const STREAMS: u32 = 1000;
/// Unreliable datagrams that wait, at both ends, in bytes.
pub(crate) const DATAGRAM_BUFFER: usize = 1 << 20;
/// The kernel's buffers of a socket: what Linux commonly allows at most.
const SOCKET_BUFFER: usize = 4 << 20;

/// A run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) peer: Peer,
    pub(crate) aead: Aead,
    pub(crate) scenario: &'static Scenario,
    /// How long the client goes on.
    pub(crate) time: Duration,
}

/// How to find a server.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    pub(crate) addr: SocketAddr,
    /// What proves that it is this server: a certificate or a key.
    pub(crate) proof: Vec<u8>,
}

/// A UDP socket on loopback with large buffers.
pub(crate) fn udp_socket() -> UdpSocket {
    let socket = UdpSocket::bind(any_port()).expect("a socket");
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER).expect("the kernel takes what it allows");
    options.set_send_buffer_size(SOCKET_BUFFER).expect("the kernel takes what it allows");
    socket
}

/// Any free port on the loopback address.
pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

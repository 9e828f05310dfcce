//! Systems where nothing chooses among the sockets of a port by what a datagram says.

use std::io;
use std::net::UdpSocket;

/// There is no use in sharing it.
pub(crate) fn may_share_port(_socket: &socket2::Socket, _may: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is nothing to steer with.
pub(crate) fn steer(_member: &UdpSocket, _count: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

//! Systems that take one message a call.

use std::io;
use std::net::UdpSocket;

use quinn_udp::Transmit;

use crate::address::Families;

/// The most messages in one system call.
pub(crate) const MANY: usize = 1;

/// Never called with what [`MANY`] allows: several messages.
pub(crate) fn send_many(_: &UdpSocket, _: Families, _: &[Transmit<'_>]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

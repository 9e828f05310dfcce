//! Linux and Android.

use std::io;
use std::net::UdpSocket;

use nix::sys::socket::{setsockopt, sockopt};

/// Tells the kernel not to report when datagrams arrived.
pub(crate) fn stop_timestamps(socket: &UdpSocket) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::ReceiveTimestampns, &false)?)
}

//! Other systems, whose kernels report no time of arrival and count no drops.

use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket;

use socket2::Socket;

/// There is nothing to stop.
pub(crate) fn stop_timestamps(_socket: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Nothing of the kind is known here.
pub(crate) fn set_mark(_socket: &Socket, _mark: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sends and receives through this interface only (IP_BOUND_IF).
#[cfg(target_vendor = "apple")]
pub(crate) fn bind_to_interface(socket: &Socket, address: SocketAddr, name: &str) -> io::Result<()> {
    let index = core::num::NonZeroU32::new(nix::net::if_::if_nametoindex(name)?);
    if address.is_ipv6() {
        socket.bind_device_by_index_v6(index)
    } else {
        socket.bind_device_by_index_v4(index)
    }
}

/// Nothing of the kind is known here.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn bind_to_interface(_socket: &Socket, _address: SocketAddr, _name: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Nobody counts.
pub(crate) fn receive_drops(_socket: &UdpSocket) -> Option<u32> {
    None
}

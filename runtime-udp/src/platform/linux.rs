//! Linux and Android.

use core::mem::size_of_val;
use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;

/// Tells the kernel not to report when datagrams arrived.
pub(crate) fn stop_timestamps(socket: &UdpSocket) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::ReceiveTimestampns, &false)?)
}

/// Marks what is sent (SO_MARK of socket(7)).
pub(crate) fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    socket.set_mark(mark)
}

/// Sends and receives through this interface only (SO_BINDTODEVICE of socket(7)).
pub(crate) fn bind_to_interface(socket: &Socket, _address: SocketAddr, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

#[cfg(target_os = "linux")]
use libc::SO_MEMINFO;

/// As asm-generic/socket.h has it for all of Android's processors; `libc` does not.
#[cfg(target_os = "android")]
const SO_MEMINFO: libc::c_int = 55;

/// The values that SO_MEMINFO tells (SK_MEMINFO_VARS of linux/sock_diag.h), and which of them counts drops
/// (SK_MEMINFO_DROPS).
const MEMINFO_VARS: usize = 9;
const MEMINFO_DROPS: usize = 8;

/// How many messages the kernel received for the socket and threw away.
///
/// SO_RXQ_OVFL would tell the same number with what is received, but quinn-udp 0.6.3 has no room for it (see `kernel`).
#[expect(unsafe_code, reason = "no safe wrapper knows SO_MEMINFO")]
pub(crate) fn receive_drops(socket: &UdpSocket) -> Option<u32> {
    let mut values = [0_u32; MEMINFO_VARS];
    let mut len = libc::socklen_t::try_from(size_of_val(&values)).ok()?;
    // SAFETY: the descriptor is open as long as the socket lives; `values` and `len` are exclusively ours, `len` says how
    // much room `values` has, and whatever bytes the kernel writes there are valid integers.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    // An older kernel knows fewer of them.
    let told = usize::try_from(len).is_ok_and(|len| len == size_of_val(&values));
    (answer == 0 && told).then(|| values[MEMINFO_DROPS])
}

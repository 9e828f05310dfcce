//! Many messages in one system call: sendmmsg(2), each with its own destination, source, ECN codepoint and segment size.
//!
//! Written on the bare call because no safe wrapper carries these: rustix 1.1 has no control messages for UDP, nix 0.31
//! gives all messages the same ones, and reads addresses that nobody wrote to tell how many it sent.

use core::ffi::{c_int, c_uint};
use core::mem::{size_of, zeroed};
use core::net::IpAddr;
use core::ptr;
use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use quinn_udp::Transmit;
use smallvec::SmallVec;
use socket2::SockAddr;

use crate::address::Families;

/// The most messages in one system call. The kernel takes 1,024 (UIO_MAXIOV); beyond a hundred the call costs little
/// beside what it does.
pub(crate) const MANY: usize = 128;

/// Sends the first of these messages, at least one, and says how many.
pub(crate) fn send_many(socket: &UdpSocket, families: Families, batch: &[Transmit<'_>]) -> io::Result<usize> {
    let mut names: SmallVec<[SockAddr; MANY]> = SmallVec::new();
    let mut controls: SmallVec<[Control; MANY]> = SmallVec::new();
    let mut bytes: SmallVec<[IoSlice<'_>; MANY]> = SmallVec::new();
    for transmit in batch.iter().take(MANY) {
        let transmit = match families.outward(transmit) {
            Ok(transmit) => transmit,
            Err(error) if names.is_empty() => return Err(error),
            // Those before it first.
            Err(_) => break,
        };
        names.push(transmit.destination.into());
        controls.push(Control::of(&transmit));
        bytes.push(IoSlice::new(transmit.contents));
    }
    call(socket, &names, &controls, &bytes)
}

/// The system call.
#[expect(unsafe_code, reason = "no safe wrapper has control messages for UDP")]
fn call(
    socket: &UdpSocket,
    names: &[SockAddr],
    controls: &[Control],
    bytes: &[IoSlice<'_>],
) -> io::Result<usize> {
    let mut headers: SmallVec<[libc::mmsghdr; MANY]> = SmallVec::new();
    for ((name, control), bytes) in names.iter().zip(controls).zip(bytes) {
        // SAFETY: a C struct of integers and pointers, for all of which zero is a value.
        let mut header: libc::mmsghdr = unsafe { zeroed() };
        let message = &mut header.msg_hdr;
        message.msg_name = name.as_ptr().cast_mut().cast();
        message.msg_namelen = name.len();
        // An `IoSlice` is an `iovec` on Unix, as its documentation says.
        message.msg_iov = ptr::from_ref(bytes).cast_mut().cast();
        message.msg_iovlen = 1;
        message.msg_control = control.space.bytes.as_ptr().cast_mut().cast();
        // The type of the field differs between C libraries.
        message.msg_controllen = control.len as _;
        headers.push(header);
    }
    let count = c_uint::try_from(headers.len()).unwrap_or(c_uint::MAX);
    // SAFETY: the descriptor is open as long as the socket lives. `headers` has `count` elements, exclusively ours. What
    // they point to is borrowed until after the call, with the lengths beside it, and the kernel only reads it.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Room for the control messages of one datagram or train: three, with headers of at most 16 bytes and values that are
/// padded to 8 each, 24 for the longest.
const CONTROL_ROOM: usize = 3 * 16 + 8 + 8 + 24;

/// What goes beside a message.
struct Control {
    space: Space,
    len: usize,
}

/// As aligned as a `cmsghdr` has to be.
#[repr(C, align(8))]
struct Space {
    bytes: [u8; CONTROL_ROOM],
}

impl Control {
    fn of(transmit: &Transmit<'_>) -> Self {
        let mut control = Self { space: Space { bytes: [0; CONTROL_ROOM] }, len: 0 };
        let codepoint = transmit.ecn.map_or(0, |ecn| ecn as c_int).to_ne_bytes();
        if transmit.destination.ip().to_canonical().is_ipv4() {
            control.push(libc::IPPROTO_IP, libc::IP_TOS, &codepoint);
        } else {
            control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &codepoint);
        }
        // Old drivers refuse to segment what is one datagram.
        if let Some(segment) = transmit.segment_size.filter(|segment| *segment < transmit.contents.len()) {
            let segment = u16::try_from(segment).unwrap_or(u16::MAX);
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        match transmit.src_ip {
            // in_pktinfo of ip(7): interface (any), local address, and one that only counts on receiving.
            Some(IpAddr::V4(source)) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&source.octets());
                control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            // in6_pktinfo of RFC 3542 section 6.1: address, interface (any).
            Some(IpAddr::V6(source)) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&source.octets());
                control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
        control
    }

    /// Appends one control message, in the form of cmsg(3).
    #[expect(unsafe_code, reason = "the header's layout is the C library's")]
    fn push(&mut self, level: c_int, kind: c_int, value: &[u8]) {
        let len = c_uint::try_from(value.len()).unwrap_or(c_uint::MAX);
        // SAFETY: these two only compute.
        let (used, space) = unsafe { (libc::CMSG_LEN(len) as usize, libc::CMSG_SPACE(len) as usize) };
        let header_len = used - value.len();
        let Some(room) = self.space.bytes.get_mut(self.len..self.len + space) else {
            debug_assert!(false, "CONTROL_ROOM is the sum of what there can be");
            return;
        };
        room[header_len..used].copy_from_slice(value);
        // SAFETY: a C struct of integers, for all of which zero is a value.
        let mut header: libc::cmsghdr = unsafe { zeroed() };
        header.cmsg_len = used as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        assert!(room.len() >= size_of::<libc::cmsghdr>(), "CMSG_SPACE has the header in it");
        // SAFETY: there is room for it, as asserted, and the write asks for no alignment.
        unsafe { ptr::write_unaligned(room.as_mut_ptr().cast(), header) };
        self.len += space;
    }
}

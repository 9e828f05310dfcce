//! Linux: sockets share a port, and a program of ours chooses among them (socket(7), `SO_REUSEPORT` and
//! `SO_ATTACH_REUSEPORT_CBPF`).

use std::io;
use std::net::UdpSocket;

use libc::{
    BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_K, BPF_LD, BPF_MOD, BPF_RET, c_ushort, sock_filter, sock_fprog,
};
use nix::sys::socket::{setsockopt, sockopt};

/// Lets later sockets of the same user, which say the same, be bound to the port of this one; or forbids it again.
pub(crate) fn may_share_port(socket: &socket2::Socket, may: bool) -> io::Result<()> {
    Ok(setsockopt(socket, sockopt::ReusePort, &may)?)
}

/// From now on, a datagram for the port that `member` shares goes to the socket with the number: its byte 1 modulo
/// `count`. The number of a socket is how many were bound to the port before.
///
/// The program is one of the classic Berkeley packet filter. For it, a datagram begins with UDP's payload; one that has no
/// byte 1 goes to number 0, as all do for which a program fails.
pub(crate) fn steer(member: &UdpSocket, count: u32) -> io::Result<()> {
    let mut program = [
        instruction(BPF_LD | BPF_B | BPF_ABS, 1),
        instruction(BPF_ALU | BPF_MOD | BPF_K, count),
        instruction(BPF_RET | BPF_A, 0),
    ];
    let program = sock_fprog { len: program.len() as c_ushort, filter: program.as_mut_ptr() };
    Ok(setsockopt(member, sockopt::AttachReusePortCbpf, &program)?)
}

/// An instruction that goes on with the next one. All codes fit: they are of 16 bits (`struct sock_filter`).
const fn instruction(code: u32, operand: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k: operand }
}

//! Getting a socket: family, port, buffers.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io;
use std::net::UdpSocket as StdSocket;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracing::warn;

use crate::buffers::{self, BufferSizes, SmallBuffers};
use crate::error::BindError;
use crate::kernel::Kernel;
use crate::platform;
use crate::socket::UdpSocket;

/// What a socket is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindOptions {
    /// The kernel's receive buffer, in bytes. 4 MiB hold 3 ms of 10 Gbit/s, and what Linux commonly allows at most.
    pub recv_buffer: usize,
    /// The kernel's send buffer, in bytes.
    pub send_buffer: usize,
    /// A mark for all that is sent, by which Linux can route and filter it (SO_MARK): so a VPN keeps its own packets out
    /// of its tunnel. Needs CAP_NET_ADMIN, or, since Linux 5.17, CAP_NET_RAW. Linux and Android only.
    pub mark: Option<u32>,
    /// The name of the only interface to send and receive through, whatever the routes say: `"wlan0"`. Linux and Android
    /// (SO_BINDTODEVICE; before Linux 5.7 it needs CAP_NET_RAW) and Apple's systems (IP_BOUND_IF).
    pub interface: Option<String>,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self { recv_buffer: 4 << 20, send_buffer: 4 << 20, mark: None, interface: None }
    }
}

impl UdpSocket {
    /// Binds a non-blocking socket. The unspecified IPv6 address `[::]` speaks IPv4 too, on the same port, where the
    /// system can; all others speak their own family only. Port 0 is any that is free.
    ///
    /// Logs a warning if its buffers are smaller than `options` has them ([`small_buffers`](Self::small_buffers)).
    ///
    /// # Errors
    /// What is in the way, and what to do about it.
    pub fn bind(address: SocketAddr, options: &BindOptions) -> Result<Self, BindError> {
        let socket = Self::bind_by(address, options, |socket| socket.bind(&address.into()))?;
        if let Some(small) = socket.small_buffers() {
            warn!(%address, "{small}");
        }
        Ok(socket)
    }

    /// The same without the warning, with another way to bind it.
    pub(crate) fn bind_by(
        address: SocketAddr,
        options: &BindOptions,
        bind: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> Result<Self, BindError> {
        let failed = |error| BindError::new(address, error);
        let socket =
            Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)).map_err(failed)?;
        if let Some(mark) = options.mark {
            platform::set_mark(&socket, mark).map_err(|error| BindError::mark(mark, error))?;
        }
        if let Some(name) = &options.interface {
            platform::bind_to_interface(&socket, address, name)
                .map_err(|error| BindError::interface(name, error))?;
        }
        Self::open(socket, address, options, bind).map_err(failed)
    }

    /// Binds `port` on all addresses of all families that the system has: `[::]`, or `0.0.0.0` where there is no IPv6.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_any(port: u16, options: &BindOptions) -> Result<Self, BindError> {
        on_all_addresses(port, |address| Self::bind(address, options))
    }

    /// Takes a socket that somebody else has bound, and owns it from now on. It no longer blocks; its buffers stay as
    /// they are. The families that it speaks are those that it was bound to.
    ///
    /// # Errors
    /// The system's.
    pub fn from_std(socket: StdSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let dual_stack =
            local.is_ipv6() && local.ip().is_unspecified() && !SockRef::from(&socket).only_v6()?;
        let buffers = buffers::of(&socket)?;
        Self::new(Kernel::new(socket, dual_stack)?, buffers, None)
    }

    fn open(
        socket: Socket,
        address: SocketAddr,
        options: &BindOptions,
        bind: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut dual_stack = false;
        if address.is_ipv6() {
            let both = address.ip().is_unspecified();
            // Some systems know one answer only.
            let set = socket.set_only_v6(!both);
            dual_stack = both && set.is_ok();
        }
        bind(&socket)?;
        let asked = BufferSizes { recv: options.recv_buffer, send: options.send_buffer };
        let given = buffers::ask(&socket, asked)?;
        Self::new(Kernel::new(socket.into(), dual_stack)?, given, SmallBuffers::compare(asked, given))
    }
}

/// Binds `port` on all addresses of all families that the system has.
pub(crate) fn on_all_addresses<T>(
    port: u16,
    bind: impl Fn(SocketAddr) -> Result<T, BindError>,
) -> Result<T, BindError> {
    match bind((Ipv6Addr::UNSPECIFIED, port).into()) {
        // A system may know IPv6 and have it switched off, down to the unspecified address.
        Err(BindError::NoFamily { .. } | BindError::NotLocal { .. }) => {
            bind((Ipv4Addr::UNSPECIFIED, port).into())
        }
        outcome => outcome,
    }
}

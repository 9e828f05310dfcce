//! The sockets of one port, among which the kernel hands datagrams out by the first byte of their connection id.

use core::net::SocketAddr;
use std::io;
use std::net::UdpSocket as StdSocket;
use std::sync::Arc;

use dunlin_core::Shard;
use socket2::SockRef;

use crate::bind::{BindOptions, on_all_addresses};
use crate::buffers::SmallBuffers;
use crate::error::BindError;
use crate::platform;
use crate::socket::{DatagramSocket, UdpSocket};

/// One socket for each shard of a port, in their order ([`dunlin_core::Shard`]).
///
/// Linux's kernel hands each datagram to the shard that its connection id names, wherever it comes from: without a lock,
/// without a table, and without a word between the threads that read. Elsewhere, or where the kernel refuses, a group has
/// one socket, and [`shards`](Self::shards) says so.
///
/// The port belongs to the group: it cannot be bound if any other socket has it. But once it is bound, another process
/// *of the same user* may join it, if it asks for that by `SO_REUSEPORT`, and what the kernel hands to it is lost to us.
/// Programs that do not trust each other belong to different users.
///
/// Whoever reads hands on what is not for its shard ([`Shard::sibling_of`]): where the kernel puts datagrams together that
/// came from a network card one after the other (GRO), it looks at the source and the destination only. So several
/// connections *between the same two ports* may come in one train, all of which goes to the shard of the first datagram.
#[derive(Debug)]
pub struct SocketGroup {
    /// At least one.
    sockets: Vec<UdpSocket>,
    refused: Option<io::Error>,
}

/// How sockets share a port and are chosen among: the system's ways, or a test's.
#[derive(Clone, Copy)]
struct Ways {
    may_share_port: fn(&socket2::Socket, bool) -> io::Result<()>,
    steer: fn(&StdSocket, u32) -> io::Result<()>,
}

const SYSTEM: Ways = Ways { may_share_port: platform::may_share_port, steer: platform::steer };

impl SocketGroup {
    /// Binds a socket for each of `shards` shards to `address`; at least 1 and at most 64 is used. For what is said of
    /// addresses and options, see [`UdpSocket::bind`]; the options are those of each socket.
    ///
    /// # Errors
    /// What is in the way of one socket, and what to do about it. What is in the way of several is no error: see
    /// [`refused`](Self::refused).
    pub fn bind(address: SocketAddr, options: &BindOptions, shards: usize) -> Result<Self, BindError> {
        Self::bind_by(SYSTEM, address, options, shards.clamp(1, Shard::MAX_COUNT.into()))
    }

    /// The same for `port` on all addresses, as [`UdpSocket::bind_any`] has it.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_any(port: u16, options: &BindOptions, shards: usize) -> Result<Self, BindError> {
        on_all_addresses(port, |address| Self::bind(address, options, shards))
    }

    fn bind_by(
        ways: Ways,
        address: SocketAddr,
        options: &BindOptions,
        shards: usize,
    ) -> Result<Self, BindError> {
        // The first does not share its port yet, so that whoever has it is in the way.
        let first = UdpSocket::bind(address, options)?;
        let (others, refused) = match Self::others(ways, &first, options, shards) {
            Ok(others) => (others, None),
            Err(error) => {
                // Where it cannot be switched on it need not be switched off.
                let _ = (ways.may_share_port)(&SockRef::from(first.as_std()), false);
                (Vec::new(), Some(error))
            }
        };
        let mut sockets = vec![first];
        sockets.extend(others);
        if sockets.len() > 1 {
            let all: io::Result<Vec<StdSocket>> =
                sockets.iter().map(|socket| socket.as_std().try_clone()).collect();
            let all: Arc<[StdSocket]> = all.map_err(|error| BindError::new(address, error))?.into();
            for socket in &mut sockets {
                socket.group = Some(Arc::clone(&all));
            }
        }
        Ok(Self { sockets, refused })
    }

    /// Binds all but the first to the first one's port, and has the kernel choose among all of them.
    fn others(
        ways: Ways,
        first: &UdpSocket,
        options: &BindOptions,
        shards: usize,
    ) -> io::Result<Vec<UdpSocket>> {
        let mut others = Vec::with_capacity(shards);
        if shards > 1 {
            (ways.may_share_port)(&SockRef::from(first.as_std()), true)?;
            let local = first.local_addr();
            // The kernel numbers them as they are bound.
            for _ in 1..shards {
                let other = UdpSocket::bind_by(local, options, |socket| {
                    (ways.may_share_port)(socket, true)?;
                    socket.bind(&local.into())
                });
                others.push(other.map_err(io::Error::other)?);
            }
            // Only now are they a group for the kernel.
            (ways.steer)(first.as_std(), shards as u32)?;
        }
        Ok(others)
    }

    /// How many there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.sockets.len()
    }

    /// The address that they are bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.sockets[0].local_addr()
    }

    /// Why there is one socket where more were asked for, if it is so: [`io::ErrorKind::Unsupported`] where the system
    /// has no such thing.
    #[must_use]
    pub fn refused(&self) -> Option<&io::Error> {
        self.refused.as_ref()
    }

    /// What the system gave each of them, if it is less than was asked for ([`UdpSocket::small_buffers`]).
    #[must_use]
    pub fn small_buffers(&self) -> Option<SmallBuffers> {
        self.sockets[0].small_buffers()
    }
}

/// A group of one.
impl From<UdpSocket> for SocketGroup {
    fn from(socket: UdpSocket) -> Self {
        Self { sockets: vec![socket], refused: None }
    }
}

/// The sockets, in the order of their shards. The kernel's group stays whole until the last one is closed: what comes for
/// one that is gone waits unread, and the others' datagrams still come to them.
impl IntoIterator for SocketGroup {
    type Item = UdpSocket;
    type IntoIter = std::vec::IntoIter<UdpSocket>;

    fn into_iter(self) -> Self::IntoIter {
        self.sockets.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    fn refuse_to_share(_: &socket2::Socket, may: bool) -> io::Result<()> {
        if may { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }

    fn refuse_to_steer(_: &StdSocket, _: u32) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    #[test]
    fn where_the_system_refuses_there_is_one_socket_and_the_reason() {
        for (ways, reason) in [
            (Ways { may_share_port: refuse_to_share, ..SYSTEM }, io::ErrorKind::Unsupported),
            (Ways { steer: refuse_to_steer, ..SYSTEM }, io::ErrorKind::PermissionDenied),
        ] {
            let group = SocketGroup::bind_by(ways, any(), &BindOptions::default(), 4).unwrap();
            assert_eq!(group.shards(), 1);
            if cfg!(target_os = "linux") {
                assert_eq!(group.refused().map(io::Error::kind), Some(reason));
            }
            // Nor does anybody share its port.
            let again = SocketGroup::bind(group.local_addr(), &BindOptions::default(), 2);
            assert!(matches!(again, Err(BindError::InUse { .. })));
        }
    }

    #[test]
    fn one_shard_is_one_socket() {
        let everywhere = SocketGroup::bind_any(0, &BindOptions::default(), 1).unwrap();
        assert!(everywhere.shards() == 1 && everywhere.local_addr().ip().is_unspecified());
        let group = SocketGroup::bind(any(), &BindOptions::default(), 0).unwrap();
        assert_eq!((group.shards(), group.refused().is_none()), (1, true));
        let local = group.local_addr();
        let sockets: Vec<UdpSocket> = group.into_iter().collect();
        assert!(sockets[0].group.is_none());
        assert_eq!(sockets[0].local_addr(), local);
    }
}

//! Linux: the kernel's own word (rtnetlink(7)), and the list of addresses (getifaddrs(3)).
//!
//! That something changed is all that is taken from a message. What it says is asked anew, so that nothing is lost when
//! the kernel's buffer overflows, and the many messages that concern no address (each router advertisement is one) are
//! not told on.

use core::net::IpAddr;
use core::ops::ControlFlow;
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use dunlin_core::NetworkChange;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use super::hub::Opened;
use super::worker::Source;

/// Links, and addresses of both families.
const GROUPS: libc::c_int = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;

/// An address, and the name of the interface that has it.
type Address = (String, IpAddr);

struct Netlink {
    messages: OwnedFd,
    /// Readable when the other end is gone.
    end: UnixStream,
    seen: Vec<Address>,
}

pub(super) fn open() -> io::Result<Opened> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let messages = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    // The kernel chooses our number.
    bind(messages.as_raw_fd(), &NetlinkAddr::new(0, GROUPS.cast_unsigned()))?;
    let (end, stop) = UnixStream::pair()?;
    // Once messages come, so that nothing happens in between.
    let seen = present()?;
    Ok((Box::new(Netlink { messages, end, seen }), Box::new(stop)))
}

/// The addresses that there are on interfaces that are up and have a link.
fn present() -> io::Result<Vec<Address>> {
    let in_use = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let mut all: Vec<Address> = getifaddrs()?
        .filter(|entry| entry.flags.contains(in_use))
        .filter_map(|entry| {
            let address = entry.address?;
            let v4 = address.as_sockaddr_in().map(|v4| v4.ip().into());
            let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))?;
            Some((entry.interface_name, ip))
        })
        .collect();
    all.sort_unstable();
    Ok(all)
}

fn ips(addresses: &[Address]) -> Vec<IpAddr> {
    addresses.iter().map(|(_, ip)| *ip).collect()
}

/// Waits for one of them. Whether the first is the one.
fn wait_for<const N: usize>(sources: [&dyn AsFd; N], time: PollTimeout) -> Result<bool, Errno> {
    let mut polled = sources.map(|source| PollFd::new(source.as_fd(), PollFlags::POLLIN));
    poll(&mut polled, time)?;
    // An error is an event too: reading tells what it is.
    Ok(polled[0].revents().is_none_or(|events| !events.is_empty()))
}

impl Source for Netlink {
    fn wait(&mut self) -> ControlFlow<()> {
        loop {
            match wait_for([&self.end, &self.messages], PollTimeout::NONE) {
                Ok(false) => return ControlFlow::Continue(()),
                Err(Errno::EINTR) => {}
                Ok(true) | Err(_) => return ControlFlow::Break(()),
            }
        }
    }

    fn pause(&mut self, time: Duration) -> ControlFlow<()> {
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match wait_for([&self.end], time) {
            // A signal makes it shorter, which does no harm.
            Ok(false) | Err(Errno::EINTR) => ControlFlow::Continue(()),
            Ok(true) | Err(_) => ControlFlow::Break(()),
        }
    }

    fn change(&mut self) -> Option<NetworkChange> {
        // Messages are cut off, for nobody reads them.
        let mut start = [0; 64];
        while matches!(
            recv(self.messages.as_raw_fd(), &mut start, MsgFlags::MSG_DONTWAIT),
            Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS)
        ) {}
        // Where nobody knows, something may have.
        let Ok(now) = present() else { return Some(NetworkChange::Unspecified) };
        let before = core::mem::replace(&mut self.seen, now);
        (before != self.seen).then(|| NetworkChange::Addresses(ips(&self.seen)))
    }

    fn addresses(&self) -> Option<Vec<IpAddr>> {
        Some(ips(&self.seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_source_pauses_as_long_as_it_was_asked_to_and_ends_at_once() {
        let (mut source, stop) = open().unwrap();
        assert!(source.pause(Duration::from_millis(1)).is_continue());
        drop(stop);
        assert!(source.pause(Duration::from_secs(600)).is_break());
        assert!(source.wait().is_break());
    }

    #[test]
    fn the_loopback_address_is_seen() {
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert!(open().unwrap().0.addresses().unwrap().contains(&loopback));
    }
}

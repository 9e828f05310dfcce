//! Why a socket could not be had.

use core::net::SocketAddr;
use std::io;

use dunlin_core::TransportId;

use crate::platform;

/// Why a socket could not be bound, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another socket has the port.
    #[error(
        "{address} is in use: stop the program that has it, choose another port, or port 0 for any that is free"
    )]
    InUse {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system forbids it.
    #[error(
        "not permitted to bind {address}: ports below 1024 need a privilege (on Linux CAP_NET_BIND_SERVICE); \
         otherwise look for a sandbox or a firewall"
    )]
    NotPermitted {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address is not one of this machine's.
    #[error(
        "{address} is no address of this machine: use one that it has, or 0.0.0.0 or [::] for all of them; \
         a link-local IPv6 address needs its interface, as in [fe80::1%2]"
    )]
    NotLocal {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no such protocol.
    #[error("this system does not speak the protocol of {address}: use an address of the other IP version")]
    NoFamily {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system forbids to mark packets.
    #[error(
        "not permitted to mark packets: {mark:#x} needs CAP_NET_ADMIN (CAP_NET_RAW is enough since Linux 5.17); \
         run with one of them, or leave BindOptions::mark out"
    )]
    MarkNotPermitted {
        /// What was asked for.
        mark: u32,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such interface.
    #[error(
        "there is no interface {name:?}: its name is that of `ip link` or `ifconfig`, without its address"
    )]
    NoInterface {
        /// What was asked for.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system forbids to keep to an interface.
    #[error(
        "not permitted to keep to the interface {name:?}: before Linux 5.7 that needs CAP_NET_RAW; \
         bind to one of the interface's addresses instead"
    )]
    InterfaceNotPermitted {
        /// What was asked for.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system has nothing of the kind.
    #[error("this system has no socket option for BindOptions::{option}: leave it out")]
    Unsupported {
        /// What was asked for: a field of [`BindOptions`](crate::BindOptions).
        option: &'static str,
    },
    /// Another option was refused.
    #[error("the system refuses BindOptions::{option}")]
    OptionRefused {
        /// What was asked for: a field of [`BindOptions`](crate::BindOptions).
        option: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// More addresses than an endpoint can have.
    #[error("{count} addresses: an endpoint has at most 16")]
    TooManyAddresses {
        /// How many were asked for.
        count: usize,
    },
    /// More custom transports than an endpoint can have.
    #[error("{count} custom transports: an endpoint has at most 16")]
    TooManyTransports {
        /// How many were asked for.
        count: usize,
    },
    /// Two custom transports with one number.
    #[error("two custom transports have the number {}: addresses would not say which they are of", id.get())]
    SameTransport {
        /// Their number.
        id: TransportId,
    },
    /// One address can be had by as many shards as were asked for, another one cannot.
    #[error("{address} cannot be had by {shards} shards, as the first address can: bind one shard")]
    Shards {
        /// What was asked for.
        address: SocketAddr,
        /// How many shards the first address has.
        shards: usize,
    },
    /// Something else.
    #[error("cannot open a UDP socket on {address}")]
    Other {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    pub(crate) fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address, source },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address, source },
            io::ErrorKind::AddrNotAvailable => Self::NotLocal { address, source },
            _ if platform::is_no_family(&source) => Self::NoFamily { address, source },
            _ => Self::Other { address, source },
        }
    }

    pub(crate) fn mark(mark: u32, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::MarkNotPermitted { mark, source },
            io::ErrorKind::Unsupported => Self::Unsupported { option: "mark" },
            _ => Self::OptionRefused { option: "mark", source },
        }
    }

    pub(crate) fn interface(name: &str, source: io::Error) -> Self {
        let name = name.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::InterfaceNotPermitted { name, source },
            io::ErrorKind::Unsupported => Self::Unsupported { option: "interface" },
            // EINVAL: longer than a name can be.
            io::ErrorKind::InvalidInput => Self::NoInterface { name, source },
            _ if platform::is_no_device(&source) => Self::NoInterface { name, source },
            _ => Self::OptionRefused { option: "interface", source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: io::ErrorKind) -> io::Error {
        kind.into()
    }

    #[test]
    fn what_is_not_permitted_says_what_it_takes() {
        let mark = BindError::mark(0x51, said(io::ErrorKind::PermissionDenied));
        assert!(matches!(mark, BindError::MarkNotPermitted { mark: 0x51, .. }));
        assert!(mark.to_string().contains("0x51 needs CAP_NET_ADMIN"), "{mark}");
        let interface = BindError::interface("wlan0", said(io::ErrorKind::PermissionDenied));
        assert!(matches!(&interface, BindError::InterfaceNotPermitted { name, .. } if name == "wlan0"));
        assert!(interface.to_string().contains("CAP_NET_RAW"), "{interface}");
    }

    #[test]
    fn what_a_system_does_not_have_is_named_by_its_option() {
        let unsupported = || said(io::ErrorKind::Unsupported);
        for (error, name) in [
            (BindError::mark(1, unsupported()), "mark"),
            (BindError::interface("x", unsupported()), "interface"),
        ] {
            assert!(matches!(error, BindError::Unsupported { option } if option == name), "{error}");
        }
        for error in [
            BindError::mark(1, said(io::ErrorKind::Other)),
            BindError::interface("x", said(io::ErrorKind::Other)),
        ] {
            assert!(matches!(error, BindError::OptionRefused { .. }), "{error}");
        }
    }
}

//! Addresses as people and programs write them: `192.0.2.7:443`, `[fe80::1%2]:443`, `custom:7/c0ffee`, `relay:1/2`.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use thiserror::Error;

use super::{CustomAddr, TransportAddr, TransportId};
use crate::hex::{self, Hex};

const CUSTOM: &str = "custom:";
const RELAY: &str = "relay:";

impl fmt::Display for TransportAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Relay { relay, peer } => write!(f, "{RELAY}{}/{}", relay.get(), peer.get()),
            Self::Custom { transport, address } => write!(f, "{CUSTOM}{}/{address}", transport.get()),
        }
    }
}

/// Two hexadecimal digits for each byte.
impl fmt::Display for CustomAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(self.as_bytes()).fmt(f)
    }
}

/// Why a text is no transport address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ParseAddrError {
    /// Neither an IP address with a port nor a custom address.
    #[error("write an IP address and a port, as 192.0.2.7:443 or [2001:db8::7]:443, or custom:TRANSPORT/HEX")]
    Syntax,
    /// The numbers of a relay and its peer mean nothing outside of the program that gave them.
    #[error("an address behind a relay cannot be written: it is a number in a table of the running program")]
    Relay,
}

/// An IP address with its port, or a custom address. What [`Display`](fmt::Display) writes of these is read again.
impl FromStr for TransportAddr {
    type Err = ParseAddrError;

    fn from_str(text: &str) -> Result<Self, ParseAddrError> {
        if text.starts_with(RELAY) {
            return Err(ParseAddrError::Relay);
        }
        let Some(custom) = text.strip_prefix(CUSTOM) else {
            return text.parse::<SocketAddr>().map(Self::Ip).map_err(|_| ParseAddrError::Syntax);
        };
        let (transport, address) = custom.split_once('/').ok_or(ParseAddrError::Syntax)?;
        let transport = TransportId::new(transport.parse().map_err(|_| ParseAddrError::Syntax)?);
        Ok(Self::Custom { transport, address: address.parse()? })
    }
}

impl FromStr for CustomAddr {
    type Err = ParseAddrError;

    fn from_str(text: &str) -> Result<Self, ParseAddrError> {
        let mut bytes = [0; Self::MAX_LEN];
        let bytes = bytes.get_mut(..text.len() / 2).ok_or(ParseAddrError::Syntax)?;
        hex::read(text, bytes).ok_or(ParseAddrError::Syntax)?;
        Self::new(bytes).map_err(|_| ParseAddrError::Syntax)
    }
}

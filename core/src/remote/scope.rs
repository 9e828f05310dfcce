//! Which addresses may be dialled, and which of those only if the application means them (docs/PROTOCOL.md, "The first
//! flight").

use core::net::IpAddr;

use crate::path::addr::TransportAddr;

/// Ports below this belong to services that do not expect us (RFC 6335 section 6).
const FIRST_FREE_PORT: u16 = 1024;
/// The one among them where UDP of many peers is usual: HTTP/3 (RFC 9114 section 3.1).
const HTTPS: u16 = 443;

/// Whether packets may be sent to an address of which somebody else than the application has told: in vain they might be
/// sent to this machine, to a service of its own network, or to one that an attacker wants to be disturbed. Relays and custom
/// transports see to that themselves.
pub(crate) fn is_public(addr: &TransportAddr) -> bool {
    let TransportAddr::Ip(addr) = addr else { return true };
    let local = match addr.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    };
    !local && (addr.port() >= FIRST_FREE_PORT || addr.port() == HTTPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> TransportAddr {
        TransportAddr::Ip(text.parse().unwrap())
    }

    #[test]
    fn path_addresses_of_this_machine_and_of_services_are_not_public() {
        for public in ["192.0.2.1:1024", "10.0.0.1:4433", "[2001:db8::1]:65535", "192.0.2.1:443"] {
            assert!(is_public(&addr(public)), "{public}");
        }
        for private in [
            "127.0.0.1:4433",
            "127.9.9.9:443",
            "[::1]:4433",
            "169.254.1.1:4433",
            "[fe80::1]:4433",
            "192.0.2.1:53",
            "192.0.2.1:1023",
            "[2001:db8::1]:123",
        ] {
            assert!(!is_public(&addr(private)), "{private}");
        }
    }
}

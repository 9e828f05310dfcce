use std::string::ToString;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::crypto::Identity;
use crate::endpoint::{ConnectOptions, Endpoint, Peer};
use crate::error::ConnectError;
use crate::stats::{Disposition, DropReason};
use crate::time::Instant;

fn addr(text: &str) -> TransportAddr {
    text.parse().unwrap()
}

fn relayed(relay: u32, peer: u32) -> TransportAddr {
    TransportAddr::Relay { relay: RelayId::new(relay), peer: PeerRef::new(peer) }
}

#[test]
fn path_address_has_one_canonical_form() {
    for (given, canonical) in [
        ("[::ffff:192.0.2.7]:443", "192.0.2.7:443"),
        ("192.0.2.7:443", "192.0.2.7:443"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("[2001:db8::1%3]:443", "[2001:db8::1]:443"),
        ("[fe80::1%3]:443", "[fe80::1%3]:443"),
        ("[febf::1%3]:443", "[febf::1%3]:443"),
        ("[fec0::1%3]:443", "[fec0::1]:443"),
        ("custom:7/c0ffee", "custom:7/c0ffee"),
    ] {
        assert_eq!(addr(given).canonical(), addr(canonical), "{given}");
        assert_eq!(addr(canonical).canonical(), addr(canonical), "once and for all: {given}");
    }
    let labelled = core::net::SocketAddrV6::new("2001:db8::1".parse().unwrap(), 443, 7, 0);
    assert_eq!(TransportAddr::Ip(labelled.into()).canonical(), addr("[2001:db8::1]:443"), "a flow label");
    assert_eq!(relayed(1, 2).canonical(), relayed(1, 2));
}

#[test]
fn path_addresses_to_which_nothing_can_be_sent() {
    for bad in [
        "0.0.0.0:1",
        "[::]:1",
        "224.0.0.1:1",
        "[ff02::1]:1",
        "[ff02::1%1]:1",
        "255.255.255.255:1",
        "192.0.2.1:0",
        "[2001:db8::1]:0",
        "[fe80::1]:443",
        "[fd15:70a:510b::1]:443",
        "[fd15:70a:510b:3:1:2:3:4]:12345",
        "[fd15:70a:510b:ffff::1%9]:443",
    ] {
        assert!(!addr(bad).is_sendable(), "{bad}");
    }
    for good in [
        "127.0.0.1:9",
        "[::1]:9",
        "[fe80::1%2]:443",
        "[fec0::1]:443",
        "[fd15:70a:510c::1]:443",
        "[fd15:70a:510a:ffff::1]:443",
        "custom:0/",
        "custom:65535/00",
    ] {
        assert!(addr(good).is_sendable(), "{good}");
    }
    assert!(relayed(0, 0).is_sendable(), "what becomes of it is the embedder's concern");
}

#[test]
fn path_kinds() {
    for (text, kind) in [
        ("192.0.2.7:443", PathKind::Ipv4),
        ("[::ffff:192.0.2.7]:443", PathKind::Ipv4),
        ("[2001:db8::1]:443", PathKind::Ipv6),
        ("custom:7/c0ffee", PathKind::Custom(TransportId::new(7))),
    ] {
        assert_eq!(addr(text).kind(), kind, "{text}");
    }
    assert_eq!(relayed(1, 2).kind(), PathKind::Relay);
}

#[test]
fn path_address_as_text() {
    for text in ["192.0.2.7:443", "[2001:db8::1]:443", "[fe80::1%2]:443", "custom:7/c0ffee", "custom:0/"] {
        assert_eq!(addr(text).to_string(), text);
    }
    assert_eq!(addr("custom:7/C0FFEE"), addr("custom:7/c0ffee"));
    assert_eq!(relayed(1, 2).to_string(), "relay:1/2");
    assert_eq!("relay:1/2".parse::<TransportAddr>(), Err(ParseAddrError::Relay));
    for bad in [
        "",
        "192.0.2.7",
        "example.com:443",
        "custom:",
        "custom:7",
        "custom:/00",
        "custom:65536/00",
        "custom:-1/00",
        "custom:7/0",
        "custom:7/0g",
        "custom:7/+1",
        "custom:7/000102030405060708090a0b0c0d0e0f1011121314",
        "Custom:7/00",
    ] {
        assert_eq!(bad.parse::<TransportAddr>(), Err(ParseAddrError::Syntax), "{bad}");
    }
}

#[test]
fn path_address_of_a_custom_transport_has_20_bytes_at_most() {
    let bytes = [7; 21];
    for len in 0..=20 {
        assert_eq!(CustomAddr::new(&bytes[..len]).unwrap().as_bytes(), &bytes[..len]);
    }
    assert_eq!(CustomAddr::new(&bytes), Err(CustomAddrTooLong { len: 21 }));
}

/// A path has several of them, and so has each entry of a table.
#[test]
fn path_address_is_small() {
    assert_eq!(size_of::<TransportAddr>(), 32);
    assert_eq!(size_of::<Option<TransportAddr>>(), 32);
}

proptest! {
    #[test]
    fn path_custom_addresses_sort_as_their_bytes_and_are_read_as_written(
        one in prop::collection::vec(0u8..3, 0..=20),
        other in prop::collection::vec(0u8..3, 0..=20),
    ) {
        let [a, b] = [&one, &other].map(|bytes| CustomAddr::new(bytes).unwrap());
        prop_assert_eq!(a.cmp(&b), one.cmp(&other));
        prop_assert_eq!(a.to_string().parse(), Ok(a));
    }
}

fn tuple(socket: u16, local: Option<&str>, remote: &str) -> Tuple {
    Tuple { local: LocalAddr { socket, ip: local.map(|ip| ip.parse().unwrap()) }, remote: addr(remote) }
}

#[test]
fn two_ends_of_a_path_match_as_far_as_is_known() {
    let known = tuple(0, Some("192.0.2.1"), "198.51.100.1:1");
    let unknown = tuple(0, None, "198.51.100.1:1");
    assert!(known.matches(&known) && known.matches(&unknown) && unknown.matches(&known));
    for (other, same_route) in [
        (tuple(0, Some("192.0.2.1"), "198.51.100.1:2"), true),
        (tuple(1, Some("192.0.2.1"), "198.51.100.1:1"), true),
        (tuple(0, Some("192.0.2.2"), "198.51.100.1:1"), false),
        (tuple(0, Some("192.0.2.1"), "198.51.100.2:1"), false),
        (tuple(1, None, "198.51.100.1:1"), false),
        (tuple(0, None, "custom:1/00"), false),
    ] {
        assert!(!known.matches(&other), "{other:?}");
        assert_eq!(known.is_same_route(&other), same_route, "{other:?}");
    }
    let here = tuple(0, None, "custom:1/00");
    assert!(here.is_same_route(&here) && !here.is_same_route(&tuple(0, None, "custom:1/01")));
    let link = tuple(0, None, "[fe80::1%1]:1");
    assert!(link.is_same_route(&tuple(0, None, "[fe80::1%1]:2")));
    assert!(!link.is_same_route(&tuple(0, None, "[fe80::1%2]:1")), "another link");
}

#[test]
fn path_ends_are_canonical_at_the_door() {
    let arrival = |socket, local: Option<&str>, remote| {
        let Tuple { local, remote } = tuple(socket, local, remote);
        Arrival { local, remote, ecn: None }.canonical().tuple()
    };
    assert_eq!(
        arrival(2, Some("::ffff:192.0.2.1"), "[::ffff:198.51.100.1]:1"),
        tuple(2, Some("192.0.2.1"), "198.51.100.1:1")
    );
    assert_eq!(arrival(2, Some("192.0.2.1"), "custom:1/00"), tuple(0, None, "custom:1/00"));

    let mut endpoint = Endpoint::new(Config::default(), Identity::from_secret([1; 32]), [1; 32]);
    let mut options = ConnectOptions::new(addr("custom:1/00"), b"test");
    options.local = tuple(2, Some("192.0.2.1"), "custom:1/00").local;
    endpoint.connect(Instant::ZERO, Peer::AnyKey, options.clone()).unwrap();
    let transmit = endpoint.poll_transmit(Instant::ZERO, TrainLimit::SINGLE, &mut Vec::new()).unwrap();
    assert_eq!((transmit.local, transmit.remote), (LocalAddr::default(), options.remote));
}

/// Nothing of ours is ever sent from there, so whoever says so lies.
#[test]
fn path_address_of_a_map_is_nobodys_source() {
    let mut endpoint = Endpoint::new(Config::default(), Identity::from_secret([1; 32]), [1; 32]);
    let forged = addr("[fd15:70a:510b:3:1:2:3:4]:12345");
    let dropped = endpoint.handle_datagram(Instant::ZERO, Arrival::from_remote(forged), &mut [0; 1200]);
    assert_eq!(dropped, Disposition::Dropped(DropReason::Source));
    let dialled = endpoint.connect(Instant::ZERO, Peer::AnyKey, ConnectOptions::new(forged, b"test"));
    assert_eq!(dialled, Err(ConnectError::Address));
}

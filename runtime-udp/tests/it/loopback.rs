//! Single datagrams, trains, addresses.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io::{ErrorKind, IoSliceMut};

use dunlin_udp::{DatagramSocket, EcnCodepoint, LossCause, Outcome, RecvMeta, Transmit, UdpSocket};

use crate::net::{Datagram, Delivery, V4, V6, bind, deaf, deliver, receive, to};

fn port_of(socket: &UdpSocket, ip: IpAddr) -> SocketAddr {
    (ip, socket.local_addr().port()).into()
}

#[test]
fn datagrams_carry_addresses_and_codepoints_both_ways() {
    for ip in [V4, V6] {
        let (Some(a), Some(b)) = (bind(ip), bind(ip)) else { continue };
        for ecn in [None, Some(EcnCodepoint::Ect0), Some(EcnCodepoint::Ect1), Some(EcnCodepoint::Ce)] {
            let bytes = format!("there, with {ecn:?}").into_bytes();
            let there = deliver(&a, &Transmit { ecn, ..to(b.local_addr(), &bytes) }, &b);
            assert_eq!(there.datagrams, [Datagram { remote: a.local_addr(), local: Some(ip), ecn, bytes }]);
        }
        let back = deliver(&b, &to(a.local_addr(), b"back"), &a);
        assert_eq!(back.datagrams[0].remote, b.local_addr());
    }
}

#[test]
fn a_train_of_forty_arrives_whole() {
    for ip in [V4, V6] {
        let (Some(a), Some(b)) = (bind(ip), bind(ip)) else { continue };
        let train: Vec<u8> = (0..39 * 1_200 + 300).map(|n: usize| (n / 1_200 + n % 7) as u8).collect();
        let ecn = Some(EcnCodepoint::Ect0);
        let transmit = Transmit { segment_size: Some(1_200), ecn, ..to(b.local_addr(), &train) };
        let Delivery { datagrams, buffers, sends } = deliver(&a, &transmit, &b);
        assert_eq!(datagrams.len(), 40);
        assert!(datagrams.iter().zip(train.chunks(1_200)).all(|(datagram, sent)| datagram.bytes == sent));
        assert!(datagrams.iter().all(|datagram| datagram.ecn == ecn));
        if a.max_gso_segments() > 1 && b.max_gro_segments() > 1 {
            assert_eq!((buffers, a.stats().sends), (1, sends), "one system call each way");
        }
    }
}

#[test]
fn the_unspecified_ipv6_address_speaks_both_families_on_one_port() {
    let Some(server) = bind(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) else { return };
    if !server.speaks(V4) {
        return;
    }
    for ip in [V4, V6] {
        let Some(client) = bind(ip) else { continue };
        let ecn = Some(EcnCodepoint::Ect1);
        let hi = deliver(&client, &Transmit { ecn, ..to(port_of(&server, ip), b"hi") }, &server);
        let (remote, bytes) = (client.local_addr(), b"hi".to_vec());
        assert_eq!(hi.datagrams, [Datagram { remote, local: Some(ip), ecn, bytes }]);

        // Back from the address that was spoken to, as a train.
        let reply = Transmit { segment_size: Some(10), ecn, src_ip: Some(ip), ..to(remote, &[1; 25]) };
        let replies = deliver(&server, &reply, &client).datagrams;
        assert_eq!(replies.iter().map(|reply| reply.bytes.len()).collect::<Vec<_>>(), [10, 10, 5]);
        assert!(replies.iter().all(|reply| reply.remote == port_of(&server, ip) && reply.ecn == ecn));
    }
}

#[test]
fn a_mapped_destination_is_an_ipv4_one() {
    let (Some(a), Some(b)) = (bind(V4), bind(V4)) else { return };
    let mapped = (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), b.local_addr().port()).into();
    assert_eq!(deliver(&a, &to(mapped, b"mapped"), &b).datagrams[0].remote, a.local_addr());
}

/// Linux has all of 127/8 on the loopback interface.
#[cfg(target_os = "linux")]
#[test]
fn the_source_address_can_be_chosen() {
    let (Some(a), Some(b)) = (bind(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), bind(V4)) else { return };
    let src_ip = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    let delivery = deliver(&a, &Transmit { src_ip, ..to(b.local_addr(), b"x") }, &b);
    assert_eq!(Some(delivery.datagrams[0].remote.ip()), src_ip);
}

/// EINVAL, which is also what a kernel without offload says: a multicast source on IPv4, on IPv6 any that is not ours.
#[cfg(target_os = "linux")]
#[test]
fn a_wrong_source_address_loses_the_train_but_neither_offload_nor_ecn() {
    for (ip, wrong) in [(V4, "224.0.0.1"), (V6, "2001:db8::1")] {
        let (Some(a), Some(b)) = (bind(ip), bind(ip)) else { continue };
        let before = a.max_gso_segments();
        let train = [7; 2_500];
        let segment_size = Some(1_000);
        let gone = Transmit { segment_size, src_ip: wrong.parse().ok(), ..to(b.local_addr(), &train) };
        assert_eq!(a.try_send(&gone), Outcome::Lost(LossCause::Invalid));
        assert_eq!((a.max_gso_segments(), a.stats().offload_refused, a.stats().lost_invalid), (before, 0, 1));

        let ecn = Some(EcnCodepoint::Ect0);
        let delivery = deliver(&a, &Transmit { segment_size, ecn, ..to(b.local_addr(), &train) }, &b);
        assert!(delivery.datagrams.iter().all(|datagram| datagram.ecn == ecn));
    }
}

/// The most that the length field of UDP can say is more than IP carries beside its own header. (65,508 bytes, the least
/// that is too much, are not for tests: Linux then makes a new route to 127.0.0.1 for the whole machine, and what others
/// have under way may get lost with the old one.)
#[test]
fn what_is_too_big_is_lost_and_the_socket_lives_on() {
    let (Some(a), Some(b)) = (bind(V4), bind(V4)) else { return };
    assert_eq!(a.try_send(&to(b.local_addr(), &[0; 65_535])), Outcome::Lost(LossCause::TooBig));
    let small = deliver(&a, &to(b.local_addr(), b"small"), &b);
    assert_eq!((a.stats().lost_too_big, a.stats().sends), (1, small.sends));
}

#[test]
fn a_destination_that_nobody_listens_on_hurts_nobody() {
    let (a, nobody) = (bind(V4).unwrap(), deaf());
    let mut received = Vec::new();
    for _ in 0..3 {
        assert_eq!(a.try_send(&to(nobody.local_addr(), b"anybody?")), Outcome::Sent);
        receive(&a, &mut received, &mut 0);
    }
    assert!(received.iter().all(|(_, datagram)| datagram.remote != nobody.local_addr()), "{received:?}");
}

/// Only a connected socket hears on reading that a datagram was refused, unless it asks.
#[cfg(target_os = "linux")]
#[test]
fn a_refusal_is_counted_and_hurts_nobody_either() {
    let (a, nobody) = (bind(V4).unwrap(), deaf());
    a.as_std().connect(nobody.local_addr()).unwrap();
    let mut buffer = [0; 10];
    for _ in 0..1_000 {
        let outcome = a.try_send(&to(nobody.local_addr(), b"anybody?"));
        assert!(matches!(outcome, Outcome::Sent | Outcome::Lost(LossCause::Refused)), "{outcome:?}");
        let received = a.try_recv(&mut [IoSliceMut::new(&mut buffer)], &mut [RecvMeta::default()]);
        assert_eq!(received.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    let stats = a.stats();
    assert!(stats.receive_errors + stats.lost_refused > 0, "{stats:?}");
}

#[test]
fn the_other_family_is_unreachable() {
    let Some(four) = bind(V4) else { return };
    assert!(!four.speaks(V6));
    assert_eq!(four.try_send(&to((V6, 9).into(), b"x")), Outcome::Lost(LossCause::Unreachable));
    let Some(six) = bind(V6) else { return };
    assert!(!six.speaks(V4));
    assert_eq!(six.try_send(&to((V4, 9).into(), b"x")), Outcome::Lost(LossCause::Unreachable));
}

#[test]
fn an_empty_socket_would_block_and_no_room_is_no_error() {
    let socket = deaf();
    let mut buffer = [0; 10];
    let mut buffers = [IoSliceMut::new(&mut buffer)];
    assert_eq!(socket.try_recv(&mut buffers, &mut []).unwrap(), 0);
    let error = socket.try_recv(&mut buffers, &mut [RecvMeta::default()]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_socket_of_somebody_else_is_taken_over() {
    for (ip, families) in [(V4, [true, false]), (V6, [false, true])] {
        let Ok(bound) = std::net::UdpSocket::bind((ip, 0)) else { continue };
        let local = bound.local_addr().unwrap();
        // It hears nobody but itself.
        bound.connect(local).unwrap();
        let socket = UdpSocket::from_std(bound).unwrap();
        assert_eq!(socket.local_addr(), local);
        assert_eq!([V4, V6].map(|ip| socket.speaks(ip)), families);
        assert!(socket.buffer_sizes().recv > 0);
        let mut buffer = [0; 10];
        let received = socket.try_recv(&mut [IoSliceMut::new(&mut buffer)], &mut [RecvMeta::default()]);
        assert_eq!(received.unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn a_socket_of_somebody_else_speaks_what_it_was_bound_to() {
    let Some(socket) = bind(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) else { return };
    let only_v6 = !socket.speaks(V4);
    let again = UdpSocket::from_std(socket.as_std().try_clone().unwrap()).unwrap();
    assert_eq!((again.speaks(V4), again.speaks(V6)), (!only_v6, true));
    assert_eq!(again.buffer_sizes(), socket.buffer_sizes());
}

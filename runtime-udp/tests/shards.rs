//! The sockets of a port, with Linux's kernel choosing among them.
#![cfg(target_os = "linux")]

use core::net::SocketAddr;
use core::num::NonZeroU8;
use std::io::{ErrorKind, IoSliceMut};
use std::net::UdpSocket as StdSocket;

use dunlin_core::Shard;
use dunlin_udp::{
    BATCH_SIZE, BindError, BindOptions, DatagramSocket, Outcome, RECV_BUFFER_LEN, RecvMeta, SocketGroup,
    Transmit, UdpSocket,
};

fn bind(address: &str, shards: usize) -> (SocketAddr, Vec<UdpSocket>) {
    let group = SocketGroup::bind(address.parse().unwrap(), &BindOptions::default(), shards).unwrap();
    assert_eq!(group.shards(), shards, "{:?}", group.refused());
    (group.local_addr(), group.into_iter().collect())
}

/// What waits in a socket of loopback, where a datagram that was sent has arrived.
fn drain(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let mut buffers = vec![[0; RECV_BUFFER_LEN]; BATCH_SIZE];
    loop {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        match socket.try_recv(&mut slices, &mut metas) {
            Ok(filled) => {
                for (meta, buffer) in metas.iter().zip(&buffers).take(filled) {
                    datagrams.extend(buffer[..meta.len].chunks(meta.stride.max(1)).map(<[u8]>::to_vec));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return datagrams,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn byte_1_names_the_socket_wherever_a_datagram_comes_from() {
    for count in [2, 3, 7, 64] {
        let (address, sockets) = bind("127.0.0.1:0", count.into());
        for source in 0..4 {
            let sender = StdSocket::bind("127.0.0.1:0").unwrap();
            for first in 0..=u8::MAX {
                sender.send_to(&[0x90, first, source, 0], address).unwrap();
            }
        }
        let mut all = 0;
        for (index, socket) in (0..).zip(&sockets) {
            let datagrams = drain(socket);
            all += datagrams.len();
            for datagram in &datagrams {
                assert_eq!(Shard::of(datagram, NonZeroU8::new(count).unwrap()), index, "of {count}");
            }
        }
        assert_eq!(all, 4 * 256);
    }
}

#[test]
fn what_has_no_byte_1_goes_to_the_first() {
    let (address, sockets) = bind("127.0.0.1:0", 3);
    let sender = StdSocket::bind("127.0.0.1:0").unwrap();
    for datagram in [&[][..], &[9]] {
        sender.send_to(datagram, address).unwrap();
    }
    assert!(!drain(&sockets[0]).is_empty());
    assert!(sockets[1..].iter().all(|socket| drain(socket).is_empty()));
}

#[test]
fn both_families_of_a_port_are_steered_and_so_are_trains() {
    let Ok(group) = SocketGroup::bind("[::]:0".parse().unwrap(), &BindOptions::default(), 4) else {
        // There is no IPv6 here.
        return;
    };
    let port = group.local_addr().port();
    let sockets: Vec<UdpSocket> = group.into_iter().collect();
    for (from, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let sender = UdpSocket::bind(from.parse().unwrap(), &BindOptions::default()).unwrap();
        let destination = SocketAddr::new(to.parse().unwrap(), port);
        let contents = [0x90, 0x41].repeat(1_500);
        let train =
            Transmit { destination, ecn: None, contents: &contents, segment_size: Some(1_000), src_ip: None };
        assert_eq!(sender.try_send(&train), Outcome::Sent);
        assert_eq!(drain(&sockets[1]).concat(), contents, "{to}");
        assert!([0, 2, 3].iter().all(|index| drain(&sockets[*index]).is_empty()));
    }
}

#[test]
fn a_group_keeps_its_order_while_one_of_it_is_there() {
    let (address, mut sockets) = bind("127.0.0.1:0", 3);
    drop(sockets.remove(0));
    let sender = StdSocket::bind("127.0.0.1:0").unwrap();
    for first in 0..=u8::MAX {
        sender.send_to(&[0x90, first], address).unwrap();
    }
    for (index, socket) in (1..).zip(&sockets) {
        let datagrams = drain(socket);
        assert_eq!(datagrams.len(), 85);
        assert!(datagrams.iter().all(|datagram| datagram[1] % 3 == index));
    }
    // With the last one the port is free.
    drop(sockets);
    bind(&address.to_string(), 2);
}

#[test]
fn a_port_that_somebody_has_is_in_use_also_if_he_would_share_it() {
    let (shared, _sockets) = bind("127.0.0.1:0", 2);
    let alone = StdSocket::bind("127.0.0.1:0").unwrap();
    for address in [shared, alone.local_addr().unwrap()] {
        let taken = SocketGroup::bind(address, &BindOptions::default(), 2);
        assert!(matches!(taken, Err(BindError::InUse { .. })), "{taken:?}");
    }
}

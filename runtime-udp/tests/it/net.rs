//! Sockets on the loopback interface, and waiting for what they get.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io::{ErrorKind, IoSliceMut};

use dunlin_udp::{
    BATCH_SIZE, BindError, BindOptions, DatagramSocket, EcnCodepoint, Outcome, RECV_BUFFER_LEN, RecvMeta,
    Transmit, UdpSocket,
};

pub(crate) const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// How long nothing may come before something is sent again. Loopback mostly delivers within the send itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often something is sent before it counts as undeliverable.
pub(crate) const SENDS: u64 = 120;

/// One datagram as it was received.
#[derive(PartialEq, Debug)]
pub(crate) struct Datagram {
    pub(crate) remote: SocketAddr,
    pub(crate) local: Option<IpAddr>,
    pub(crate) ecn: Option<EcnCodepoint>,
    pub(crate) bytes: Vec<u8>,
}

/// What was sent, as it arrived.
pub(crate) struct Delivery {
    pub(crate) datagrams: Vec<Datagram>,
    /// How many buffers the kernel put them into.
    pub(crate) buffers: usize,
    /// How often it had to be sent.
    pub(crate) sends: u64,
}

pub(crate) fn bind(ip: IpAddr) -> Option<UdpSocket> {
    match UdpSocket::bind((ip, 0).into(), &BindOptions::default()) {
        Ok(socket) => Some(socket),
        Err(BindError::NoFamily { .. } | BindError::NotLocal { .. }) if ip.is_ipv6() => {
            eprintln!("no IPv6 here: not tested");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A socket that hears nobody but itself, and keeps others from its port: to them, nobody listens there.
pub(crate) fn deaf() -> UdpSocket {
    let socket = bind(V4).unwrap();
    socket.as_std().connect(socket.local_addr()).unwrap();
    socket
}

/// Sends until all of it has arrived in order. Even over loopback a datagram can get lost, as those are that Linux finds
/// on a route which it is just replacing, and a stranger may still be sending to whoever had the port before.
///
/// What is delivered to one socket must differ each time, so that it is not taken for what came late.
pub(crate) fn deliver(from: &UdpSocket, transmit: &Transmit<'_>, to: &UdpSocket) -> Delivery {
    let sent = transmit.contents.chunks(transmit.segment_size.unwrap_or(transmit.contents.len()));
    let (mut received, mut buffers) = (Vec::new(), 0);
    for sends in 1..=SENDS {
        assert_eq!(from.try_send(transmit), Outcome::Sent);
        while wait(to) {
            receive(to, &mut received, &mut buffers);
            received.retain(|(_, datagram)| datagram.remote.port() == from.local_addr().port());
            let before = received.len().saturating_sub(sent.len());
            if received[before..].iter().map(|(_, datagram)| &datagram.bytes[..]).eq(sent.clone()) {
                let last = received.split_off(before);
                let buffers = buffers - last[0].0;
                let datagrams = last.into_iter().map(|(_, datagram)| datagram).collect();
                return Delivery { datagrams, buffers, sends };
            }
        }
    }
    panic!("sent {SENDS} times, and only this came: {received:?}");
}

/// Receives all that is there, each datagram with the number of buffers before its own; `buffers` counts them.
pub(crate) fn receive(socket: &UdpSocket, received: &mut Vec<(usize, Datagram)>, buffers: &mut usize) {
    let mut storage = vec![0; 4 * RECV_BUFFER_LEN];
    let mut metas = [RecvMeta::default(); BATCH_SIZE];
    loop {
        let mut slices: Vec<_> = storage.chunks_mut(RECV_BUFFER_LEN).map(IoSliceMut::new).collect();
        let filled = match socket.try_recv(&mut slices, &mut metas) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            filled => filled.unwrap(),
        };
        for (slice, meta) in slices.iter().zip(&metas).take(filled) {
            for bytes in slice[..meta.len].chunks(meta.stride.max(1)) {
                let (remote, local, ecn) = (meta.addr, meta.dst_ip, meta.ecn);
                received.push((*buffers, Datagram { remote, local, ecn, bytes: bytes.to_vec() }));
            }
            *buffers += 1;
        }
    }
}

/// Blocks until something can be read; `false` if nothing comes.
pub(crate) fn wait(socket: &UdpSocket) -> bool {
    let inner = socket.as_std();
    inner.set_nonblocking(false).unwrap();
    inner.set_read_timeout(Some(PATIENCE)).unwrap();
    let peeked = inner.peek_from(&mut [0; 1]);
    inner.set_nonblocking(true).unwrap();
    !matches!(peeked, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

pub(crate) fn to(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
    Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None }
}

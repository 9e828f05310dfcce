//! Two engines, and a socket whose network is the test.

mod lanes;

use core::net::SocketAddr;
use std::io;

use dunlin_core::{
    Arrival, Config, ConnectOptions, ConnectionHandle, Ecn, Endpoint, Event, Identity, Instant, LocalAddr,
    Peer, TrainLimit, Tuple,
};
use quinn_udp::EcnCodepoint;

use super::*;
use crate::fake::{FakeSocket, SentTrain};
use crate::send::{LossCause, Outcome};
use crate::socket::{BATCH_SIZE, DatagramSocket};

const NOW: Instant = Instant::ZERO;
/// When the pacer lets a burst go again, of two packets.
const LATER: Instant = Instant::from_nanos(10_000_000);

fn addr(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

fn endpoint(secret: u8) -> Endpoint {
    let mut config = Config::default();
    config.alpns = vec![b"test".to_vec()];
    // A test of either has trains of its own.
    config.ecn = false;
    config.mtu_discovery.enabled = false;
    Endpoint::new(config, Identity::from_secret([secret; 32]), [secret; 32])
}

/// An engine with a connection that stands and has as much to send as it may.
fn busy() -> (Endpoint, ConnectionHandle) {
    let (engine, handles) = busy_with(1);
    (engine, handles[0])
}

/// The same with several connections.
fn busy_with(connections: usize) -> (Endpoint, Vec<ConnectionHandle>) {
    let (mut client, mut server) = (endpoint(1), endpoint(2));
    let key = *server.public_key();
    let mut dial = |_| client.connect(NOW, Peer::Key(key), ConnectOptions::new(addr(2), b"test")).unwrap();
    let handles: Vec<_> = (0..connections).map(&mut dial).collect();
    for _ in 0..4 {
        carry(&mut client, &mut server, 1);
        while let Some((handle, event)) = server.poll_event() {
            if event == Event::Incoming {
                server.incoming(handle).unwrap().accept(NOW).unwrap();
            }
        }
        carry(&mut server, &mut client, 2);
    }
    for handle in &handles {
        let mut connection = client.connection(*handle).unwrap();
        let stream = connection.open_uni().unwrap();
        connection.write(stream, &[7; 30_000]).unwrap();
    }
    (client, handles)
}

fn carry(from: &mut Endpoint, to: &mut Endpoint, source: u16) {
    let mut bytes = Vec::new();
    while let Some(transmit) = from.poll_transmit(NOW, TrainLimit::OFFLOAD, &mut bytes) {
        for datagram in bytes.chunks_mut(transmit.segment_size) {
            to.handle_datagram(NOW, Arrival::from_remote(addr(source)), datagram);
        }
        bytes.clear();
    }
}

/// What `receiver` hands over: the port it came from, the codepoint, the bytes.
fn handed(receiver: &mut Receiver) -> Vec<(SocketAddr, Option<Ecn>, Vec<u8>)> {
    let mut all = Vec::new();
    receiver.hand_over(|arrival, datagram| {
        let dunlin_core::TransportAddr::Ip(remote) = arrival.remote else { panic!("{arrival:?}") };
        assert_eq!(arrival.local.ip, Some(addr(9).ip()));
        all.push((remote, arrival.ecn, datagram.to_vec()));
    });
    all
}

#[test]
fn a_received_train_is_cut_into_datagrams() {
    let (socket, mut receiver) = (FakeSocket::new(addr(9), 64), Receiver::new());
    socket.arrive(addr(1), Some(EcnCodepoint::Ce), 2, b"aabbc");
    socket.arrive(addr(2), None, 0, b"");
    socket.arrive(addr(3), Some(EcnCodepoint::Ect0), 9, b"single");
    let left = receiver.receive(0, &socket).unwrap();
    assert_eq!(left, if BATCH_SIZE > 3 { Left::Nothing } else { Left::Perhaps });
    let ce = Some(Ecn::Ce);
    assert_eq!(
        handed(&mut receiver),
        [
            (addr(1), ce, b"aa".to_vec()),
            (addr(1), ce, b"bb".to_vec()),
            (addr(1), ce, b"c".to_vec()),
            (addr(2), None, Vec::new()),
            (addr(3), Some(Ecn::Ect0), b"single".to_vec()),
        ]
    );
    assert!(receiver.is_empty() && handed(&mut receiver).is_empty(), "each is handed over once");
}

#[test]
fn a_full_batch_may_have_left_something() {
    let (socket, mut receiver) = (FakeSocket::new(addr(9), 64), Receiver::new());
    for _ in 0..9 {
        socket.arrive(addr(1), None, 1, b"x");
    }
    assert_eq!(receiver.receive(0, &socket).unwrap(), Left::Perhaps);
    assert_eq!(handed(&mut receiver).len(), 8);
    receiver.receive(0, &socket).unwrap();
    assert_eq!(handed(&mut receiver).len(), 1);
    assert_eq!(receiver.receive(0, &socket).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(receiver.is_empty());
}

#[test]
fn a_blocked_train_goes_on_where_it_stopped() {
    let (mut engine, _) = busy();
    let (socket, mut transmitter) = (FakeSocket::new(addr(1), 64), Transmitter::default());
    assert!(transmitter.load(LATER, &mut engine, socket.max_gso_segments()));
    socket.script_send(Outcome::Blocked { accepted: 1_200 });
    socket.script_send(Outcome::Blocked { accepted: 0 });
    assert_eq!(transmitter.send(0, &socket), Sending::Blocked);
    let packets = engine.stats().datagrams_sent;
    assert!(transmitter.is_loaded(0) && transmitter.load(LATER, &mut engine, socket.max_gso_segments()));
    assert_eq!(engine.stats().datagrams_sent, packets, "no train is built before the last one is gone");
    assert_eq!(
        (transmitter.send(0, &socket), transmitter.send(0, &socket)),
        (Sending::Blocked, Sending::Done)
    );
    assert!(!transmitter.is_loaded(0));
    let sent = socket.take_sent();
    let bytes: Vec<u8> = sent.iter().flat_map(|train| train.contents.clone()).collect();
    assert!(sent.len() == 2 && sent[0].contents.len() == 1_200 && bytes.len() == 2_400);
    assert!(sent.iter().all(|train| (train.destination, train.segment_size) == (addr(2), Some(1_200))));
    // Each datagram of a connection is another one.
    let mut datagrams: Vec<&[u8]> = bytes.chunks(1_200).collect();
    datagrams.sort_unstable();
    datagrams.dedup();
    assert_eq!(datagrams.len(), bytes.len().div_ceil(1_200));
}

#[test]
fn a_lost_train_is_gone_and_one_that_was_too_large_says_whose_it_was() {
    let (mut engine, connection) = busy();
    let (socket, mut transmitter) = (FakeSocket::new(addr(1), 1), Transmitter::default());
    socket.script_send(Outcome::Lost(LossCause::NoBuffers));
    socket.script_send(Outcome::Lost(LossCause::TooBig));
    assert!(transmitter.load(LATER, &mut engine, socket.max_gso_segments()));
    let ends = Tuple { local: LocalAddr::default(), remote: addr(2).into() };
    assert_eq!(transmitter.send(0, &socket), Sending::TooLarge { connection, ends, size: 1_200 });
    assert_eq!(transmitter.send(0, &socket), Sending::Done, "nothing to send is no error");
    assert!(transmitter.has_more(), "the engine may take it up with smaller ones");
    assert!(!transmitter.is_loaded(0) && socket.take_sent().is_empty());
}

/// The lengths of what was sent.
fn trains(sent: &[SentTrain]) -> Vec<usize> {
    sent.iter().map(|train| train.contents.len()).collect()
}

#[test]
fn trains_of_several_connections_are_gathered() {
    let (mut engine, _) = busy_with(5);
    let (socket, mut transmitter) = (FakeSocket::new(addr(1), 64), Transmitter::default());
    assert!(transmitter.load(LATER, &mut engine, socket.max_gso_segments()));
    assert_eq!(transmitter.send(0, &socket), Sending::Done);
    assert_eq!(trains(&socket.take_sent()), [2_400; 5]);
}

#[test]
fn no_more_is_gathered_than_half_a_full_train_and_one_more() {
    let (mut engine, _) = busy_with(30);
    let (socket, mut transmitter) = (FakeSocket::new(addr(1), 64), Transmitter::default());
    let mut loads = Vec::new();
    while transmitter.load(LATER, &mut engine, socket.max_gso_segments()) {
        assert_eq!(transmitter.send(0, &socket), Sending::Done);
        loads.push(socket.take_sent().len());
        assert_eq!(transmitter.has_more(), loads.len() < 3);
    }
    // 32,500 bytes: the fourteenth train of 2,400 passes them.
    assert_eq!(loads, [14, 14, 2]);
}

#[test]
fn what_is_blocked_waits_with_all_that_is_behind_it() {
    let (mut engine, _) = busy_with(4);
    let (socket, mut transmitter) = (FakeSocket::new(addr(1), 64), Transmitter::default());
    assert!(transmitter.load(LATER, &mut engine, socket.max_gso_segments()));
    socket.script_send(Outcome::Sent);
    socket.script_send(Outcome::Blocked { accepted: 1_200 });
    socket.script_send(Outcome::Blocked { accepted: 0 });
    assert_eq!(transmitter.send(0, &socket), Sending::Blocked);
    let packets = engine.stats().datagrams_sent;
    assert!(transmitter.load(LATER, &mut engine, socket.max_gso_segments()));
    assert_eq!(transmitter.send(0, &socket), Sending::Blocked);
    assert_eq!(transmitter.send(0, &socket), Sending::Done);
    assert_eq!(engine.stats().datagrams_sent, packets);
    let sent = socket.take_sent();
    assert_eq!(trains(&sent), [2_400, 1_200, 1_200, 2_400, 2_400]);
    let mut datagrams: Vec<&[u8]> = sent.iter().flat_map(|train| train.contents.chunks(1_200)).collect();
    datagrams.sort_unstable();
    datagrams.dedup();
    assert_eq!(datagrams.len(), 8, "each once");
}

#[test]
fn losses_among_several_are_their_own_connections() {
    let (mut engine, handles) = busy_with(5);
    let (socket, mut transmitter) = (FakeSocket::new(addr(1), 64), Transmitter::default());
    assert!(transmitter.load(LATER, &mut engine, socket.max_gso_segments()));
    for cause in [LossCause::TooBig, LossCause::NoBuffers] {
        socket.script_send(Outcome::Lost(cause));
        socket.script_send(Outcome::Sent);
    }
    socket.script_send(Outcome::Lost(LossCause::TooBig));
    let mut too_large = Vec::new();
    while let Sending::TooLarge { connection, size: 1_200, .. } = transmitter.send(0, &socket) {
        too_large.push(connection);
    }
    assert_eq!(too_large, [handles[0], handles[4]]);
    assert_eq!(trains(&socket.take_sent()), [2_400; 2]);
    assert!(!transmitter.is_loaded(0));
}

#[test]
fn trains_are_no_longer_than_the_socket_takes() {
    for segments in [1, 2] {
        let (mut engine, _) = busy();
        let (socket, mut transmitter) = (FakeSocket::new(addr(1), segments), Transmitter::default());
        assert!(transmitter.load(LATER, &mut engine, socket.max_gso_segments()));
        assert_eq!(transmitter.send(0, &socket), Sending::Done);
        assert_eq!(socket.take_sent()[0].contents.len(), segments * 1_200);
    }
}

#[test]
fn an_idle_engine_has_nothing_to_load() {
    assert!(!Transmitter::default().load(LATER, &mut endpoint(1), 64));
}

#[test]
fn the_clock_advances_and_finds_its_way_back() {
    let clock = Clock::start();
    let (first, second) = (clock.now(), clock.now());
    assert!(first <= second);
    assert!(clock.to_std(first).unwrap() <= std::time::Instant::now());
}

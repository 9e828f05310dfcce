//! Several sockets, some of which take no more.

use super::*;

/// Two sockets of an endpoint.
fn two() -> [FakeSocket; 2] {
    [9, 10].map(|port| FakeSocket::new(addr(port), 64))
}

/// An engine that was dialled once through each of these sockets, and has as much to send to each as it may. The peers'
/// ports count from 100.
fn dialled(through: &[u16]) -> Endpoint {
    let (mut server, mut connected) = (endpoint(2), Vec::new());
    for (port, socket) in (100..).zip(through) {
        let mut client = endpoint(port as u8);
        let options = ConnectOptions::new(addr(9), b"test");
        client.connect(NOW, Peer::Key(*server.public_key()), options).unwrap();
        for _ in 0..4 {
            let mut bytes = Vec::new();
            while let Some(transmit) = client.poll_transmit(NOW, TrainLimit::OFFLOAD, &mut bytes) {
                for datagram in bytes.chunks_mut(transmit.segment_size) {
                    let mut arrival = Arrival::from_remote(addr(port));
                    arrival.local.socket = *socket;
                    server.handle_datagram(NOW, arrival, datagram);
                }
                bytes.clear();
            }
            while let Some((handle, event)) = server.poll_event() {
                match event {
                    Event::Incoming => drop(server.incoming(handle).unwrap().accept(NOW).unwrap()),
                    Event::Connected => connected.push(handle),
                    _ => {}
                }
            }
            carry(&mut server, &mut client, 9);
        }
    }
    assert_eq!(connected.len(), through.len());
    for handle in connected {
        let mut connection = server.connection(handle).unwrap();
        let stream = connection.open_uni().unwrap();
        connection.write(stream, &[7; 30_000]).unwrap();
    }
    server
}

/// What is sent in so many rounds, 10 ms apart, of a load and a send through each socket.
fn rounds(count: u64, engine: &mut Endpoint, transmitter: &mut Transmitter, sockets: &[FakeSocket]) {
    for round in 1..=count {
        let now = NOW + Duration::from_millis(10 * round);
        transmitter.load(now, engine, 64);
        for (number, socket) in sockets.iter().enumerate() {
            let _ = transmitter.send(number, socket);
        }
    }
}

/// The datagrams for each port, in their order.
fn by_port(sent: &[SentTrain]) -> std::collections::BTreeMap<u16, Vec<Vec<u8>>> {
    let mut all = std::collections::BTreeMap::<_, Vec<_>>::new();
    for train in sent {
        let datagrams = train.contents.chunks(train.segment_size.unwrap()).map(<[u8]>::to_vec);
        all.entry(train.destination.port()).or_default().extend(datagrams);
    }
    all
}

#[test]
fn path_trains_leave_through_the_socket_that_was_dialled() {
    let mut engine = dialled(&[0, 1, 0, 1, 1]);
    let (sockets, mut transmitter) = (two(), Transmitter::new(2));
    assert!(transmitter.load(LATER, &mut engine, 64));
    for (number, ports) in [vec![100, 102], vec![101, 103, 104]].iter().enumerate() {
        assert_eq!(transmitter.send(number, &sockets[number]), Sending::Done);
        assert!(by_port(&sockets[number].take_sent()).keys().eq(ports));
    }
    assert!(!transmitter.is_loaded(0) && !transmitter.is_loaded(1));
}

#[test]
fn path_a_received_datagram_says_through_which_socket_it_came() {
    let (sockets, mut receiver) = (two(), Receiver::new());
    for number in [1, 0, 1] {
        sockets[usize::from(number)].arrive(addr(1), None, 1, b"x");
        receiver.receive(number, &sockets[usize::from(number)]).unwrap();
        receiver.hand_over(|arrival, _| assert_eq!(arrival.local.socket, number));
    }
}

#[test]
fn path_a_blocked_socket_holds_no_other_up() {
    // Six connections may send 12,000 bytes each at first: more than two loads.
    let through = [0, 1, 1, 1, 1, 1, 1, 0];
    let (mut engine, free) = (dialled(&through), two());
    rounds(30, &mut engine, &mut Transmitter::new(2), &free);
    let unhindered = free.map(|socket| socket.take_sent());

    let (mut engine, sockets, mut transmitter) = (dialled(&through), two(), Transmitter::new(2));
    for _ in 0..30 {
        sockets[1].script_send(Outcome::Blocked { accepted: 0 });
    }
    rounds(30, &mut engine, &mut transmitter, &sockets);
    assert_eq!(sockets[0].take_sent(), unhindered[0], "the other one is as it was");
    assert!(sockets[1].take_sent().is_empty() && transmitter.is_loaded(1) && !transmitter.is_full());

    // What was kept is a load, the oldest, and the rest is counted.
    assert_eq!(transmitter.send(1, &sockets[1]), Sending::Done);
    let kept = sockets[1].take_sent();
    let bytes: usize = trains(&kept).iter().sum();
    assert!((32_500..97_500).contains(&bytes), "{bytes}");
    assert_eq!(kept, unhindered[1][..kept.len()]);
    assert_eq!(sockets[1].overflowed(), (unhindered[1].len() - kept.len()) as u64);
}

#[test]
fn path_stops_and_starts_change_neither_order_nor_contents() {
    let through = [0, 1, 1, 0];
    let (mut engine, free) = (dialled(&through), two());
    rounds(20, &mut engine, &mut Transmitter::new(2), &free);
    let (mut engine, sockets, mut transmitter) = (dialled(&through), two(), Transmitter::new(2));
    for _ in 0..6 {
        sockets[1].script_send(Outcome::Blocked { accepted: 1_200 });
        sockets[1].script_send(Outcome::Sent);
        sockets[1].script_send(Outcome::Blocked { accepted: 0 });
    }
    rounds(20, &mut engine, &mut transmitter, &sockets);
    for (calm, troubled) in free.iter().zip(&sockets) {
        assert_eq!(by_port(&calm.take_sent()), by_port(&troubled.take_sent()));
        assert_eq!(troubled.overflowed(), 0);
    }
}

#[test]
fn path_a_socket_that_loses_everything_stops_no_other() {
    let (mut engine, sockets, mut transmitter) = (dialled(&[1, 0]), two(), Transmitter::new(2));
    for _ in 0..100 {
        sockets[1].script_send(Outcome::Lost(LossCause::Unreachable));
    }
    rounds(10, &mut engine, &mut transmitter, &sockets);
    assert!(by_port(&sockets[0].take_sent()).keys().eq(&[101]));
    assert!(!transmitter.is_loaded(1));
}

#[test]
fn path_nothing_is_built_while_no_socket_takes_anything() {
    let (mut engine, sockets, mut transmitter) = (dialled(&[0, 1]), two(), Transmitter::new(2));
    for socket in &sockets {
        (0..10).for_each(|_| socket.script_send(Outcome::Blocked { accepted: 0 }));
    }
    rounds(1, &mut engine, &mut transmitter, &sockets);
    let built = engine.stats().datagrams_sent;
    rounds(9, &mut engine, &mut transmitter, &sockets);
    assert!(transmitter.is_full() && engine.stats().datagrams_sent == built);
}

#[test]
fn path_trains_for_a_socket_that_is_not_there_are_dropped() {
    let (mut engine, sockets, mut transmitter) = (dialled(&[5, 0]), two(), Transmitter::new(2));
    rounds(10, &mut engine, &mut transmitter, &sockets);
    assert!(by_port(&sockets[0].take_sent()).keys().eq(&[101]));
    assert!(sockets[1].take_sent().is_empty() && !transmitter.is_loaded(1));
}

//! Endpoints of several shards, and sockets that are replaced.

use core::net::SocketAddr;
use core::num::NonZeroU8;

use dunlin_tokio::dunlin_core::{DropReason, Shard};
use dunlin_tokio::dunlin_udp::{DatagramSocket, Outcome, Transmit};
use dunlin_tokio::{
    BindOptions, Builder, CloseReason, ConnectError, Connection, Endpoint, EndpointStats, Identity, Peer,
    RebindError, SocketGroup, UdpSocket,
};
use tokio::task::JoinSet;

use crate::relay::Relay;
use crate::{config, soon};

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn identity(secret: u8) -> Identity {
    Identity::from_secret([secret; 32])
}

fn builder() -> Builder {
    Endpoint::builder().config(config().accept_qotp(true))
}

/// An endpoint of `shards` shards, where the system has them.
fn bind(secret: u8, shards: usize) -> Endpoint {
    let endpoint = builder().shards(shards).bind(any(), identity(secret)).unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(endpoint.shards(), shards);
    }
    endpoint
}

/// Accepts everybody and sends back what comes on any stream of theirs.
fn serve(server: &Endpoint) {
    let server = server.clone();
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            tokio::spawn(async move {
                let Ok(connection) = incoming.accept().unwrap().await else { return };
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    let Ok(text) = recv.read_to_end(1 << 20).await else { return };
                    let _ = send.write_all(&text).await;
                }
            });
        }
    });
}

/// `count` connections at once.
async fn dial(client: &Endpoint, server: &Endpoint, at: SocketAddr, count: usize) -> Vec<Connection> {
    let mut dials = JoinSet::new();
    for _ in 0..count {
        dials.spawn(client.connect(at, Peer::Key(*server.public_key()), b"test").unwrap());
    }
    soon(dials.join_all()).await.into_iter().map(Result::unwrap).collect()
}

/// Has `text` come back on a stream of each connection, all at once.
async fn echo(connections: &[Connection], text: &'static [u8]) {
    let mut echoes = JoinSet::new();
    for connection in connections {
        let connection = connection.clone();
        echoes.spawn(async move {
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            send.write_all(text).await.unwrap();
            send.finish().unwrap();
            assert_eq!(recv.read_to_end(1 << 20).await.unwrap(), text);
        });
    }
    soon(echoes.join_all()).await;
}

/// No shard got what belongs to another one.
fn assert_none_astray(endpoint: &Endpoint) {
    for (index, shard) in endpoint.shard_stats().iter().enumerate() {
        assert_eq!(shard.dropped(DropReason::UnknownConnection), 0, "shard {index}: {shard:?}");
    }
}

fn each(endpoint: &Endpoint, counter: fn(&EndpointStats) -> u64) -> Vec<u64> {
    endpoint.shard_stats().iter().map(counter).collect()
}

#[tokio::test]
async fn many_connections_use_all_shards_and_every_one_works() {
    let server = bind(9, 4);
    serve(&server);
    let mut held = Vec::new();
    for secret in 1..=8 {
        let client = bind(secret, 1);
        let connections = dial(&client, &server, server.local_addr(), 8).await;
        echo(&connections, b"is anybody there?").await;
        held.push((client, connections));
    }
    let connections = each(&server, |shard| shard.connections);
    // A shard that gets none of 64 is one of 10^8 draws.
    assert!(connections.iter().all(|count| *count > 0), "{connections:?}");
    assert_eq!(connections.iter().sum::<u64>(), 64);
    assert_eq!(server.stats().connections, 64);
    assert_none_astray(&server);
}

#[tokio::test]
async fn path_every_shard_has_every_address() {
    let also = "127.0.0.2:0".parse().unwrap();
    let both = |secret, shards| {
        let builder = builder().also_on(also).shards(shards);
        builder.bind(any(), identity(secret)).unwrap()
    };
    let server = both(2, 3);
    serve(&server);
    // Who knows the one address would try it too when he dials the other one.
    let clients = [1, 4].map(|secret| both(secret, 2));
    for (client, address) in clients.iter().zip(server.local_addrs()) {
        let connections = dial(client, &server, address, 32).await;
        echo(&connections, b"which of them is it?").await;
        for connection in &connections {
            assert_eq!(connection.path().map(|path| path.remote), Some(address.into()));
        }
    }
    let connections = each(&server, |shard| shard.connections);
    // A shard that gets none of 64 is one of 10^11 draws.
    assert!(connections.iter().all(|count| *count > 0), "{connections:?}");
    let stats = server.socket_stats();
    assert_eq!(stats.len(), 2 * server.shards());
    assert!(stats.iter().all(|socket| socket.sends > 0), "{stats:?}");
    assert_none_astray(&server);
    let addresses = vec![also; 16];
    let many = addresses.into_iter().fold(builder(), Builder::also_on).bind(any(), identity(3));
    let too_many = many.unwrap_err();
    assert_eq!(too_many.to_string(), "17 addresses: an endpoint has at most 16");
}

#[tokio::test]
async fn diallers_have_shards_too_and_take_them_in_turn() {
    let (client, server) = (bind(1, 3), bind(2, 2));
    serve(&server);
    let connections = dial(&client, &server, server.local_addr(), 12).await;
    echo(&connections, b"one after the other").await;
    if client.shards() == 3 {
        assert_eq!(each(&client, |shard| shard.dials), [4, 4, 4]);
    }
    for _ in 0..6 {
        let dial = client.connect_qotp(server.local_addr(), Some(server.qotp_public_key())).unwrap();
        echo(&[soon(dial).await.unwrap()], b"the other wire").await;
    }
    assert_none_astray(&client);
    assert_none_astray(&server);
}

#[tokio::test]
async fn a_connection_stays_on_its_shard_when_the_source_port_changes() {
    let server = bind(9, 4);
    serve(&server);
    let relay = Relay::to(server.local_addr()).await;
    let client = bind(1, 1);
    let connections = dial(&client, &server, relay.address, 16).await;
    echo(&connections, b"from here").await;
    let (before, heard) =
        (each(&server, |shard| shard.connections), each(&server, |shard| shard.datagrams_received));

    relay.change_source();
    echo(&connections, b"from there").await;
    assert_eq!(each(&server, |shard| shard.connections), before);
    assert_eq!(server.stats().incoming, 16, "they are the same ones");
    for (index, now) in each(&server, |shard| shard.datagrams_received).into_iter().enumerate() {
        assert!(before[index] == 0 || now > heard[index], "shard {index} hears its connections");
    }
    assert_none_astray(&server);
}

/// As a network card may put together what several connections between the same two ports send.
#[tokio::test]
async fn a_train_of_several_connections_reaches_all_their_shards() {
    const INIT: usize = 1200;
    let (client, server) = (bind(1, 1), bind(9, 4));
    let catcher = tokio::net::UdpSocket::bind(any()).await.unwrap();
    let (mut train, mut expected) = (Vec::new(), vec![0; server.shards()]);
    let count = NonZeroU8::new(server.shards() as u8).unwrap();
    let mut dials = JoinSet::new();
    for _ in 0..16 {
        let key = Peer::Key(*server.public_key());
        dials.spawn(client.connect(catcher.local_addr().unwrap(), key, b"test").unwrap());
        let mut datagram = [0; INIT];
        // A copy of an Init that came before has its place already.
        while datagram[0] == 0 || train.chunks(INIT).any(|known| known == datagram) {
            assert_eq!(soon(catcher.recv(&mut datagram)).await.unwrap(), INIT);
        }
        expected[usize::from(Shard::of(&datagram, count))] += 1;
        train.extend(datagram);
    }
    let sender = UdpSocket::bind(any(), &BindOptions::default()).unwrap();
    let train = Transmit {
        destination: server.local_addr(),
        ecn: None,
        contents: &train,
        segment_size: Some(INIT),
        src_ip: None,
    };
    assert_eq!(sender.try_send(&train), Outcome::Sent);
    let all_came = async {
        while server.stats().incoming < 16 {
            tokio::task::yield_now().await;
        }
    };
    soon(all_came).await;
    assert_eq!(each(&server, |shard| shard.incoming), expected);
}

#[tokio::test]
async fn a_socket_of_somebody_else_is_one_shard() {
    let socket = UdpSocket::bind(any(), &BindOptions::default()).unwrap();
    let server = builder().shards(4).on(socket, identity(2)).unwrap();
    assert_eq!((server.shards(), server.shard_stats().len()), (1, 1));
    serve(&server);
    let client = bind(1, 1);
    let connections = dial(&client, &server, server.local_addr(), 4).await;
    echo(&connections, b"alone").await;
    assert_eq!(server.stats(), server.shard_stats()[0]);
}

#[tokio::test]
async fn shards_can_have_threads_of_their_own() {
    let server = builder().shards(2).own_threads().bind(any(), identity(2)).unwrap();
    serve(&server);
    let client = bind(1, 1);
    let connections = dial(&client, &server, server.local_addr(), 8).await;
    echo(&connections, b"across threads").await;
    assert_none_astray(&server);
    server.close(3.into(), b"");
    soon(server.wait_idle()).await;
    for connection in &connections {
        let reason = soon(connection.closed()).await;
        assert_eq!(reason, CloseReason::Peer { code: 3.into(), reason: (&b""[..]).into() });
    }
}

#[tokio::test]
async fn closing_closes_every_shard() {
    let (client, server) = (bind(1, 2), bind(2, 4));
    serve(&server);
    let connections = dial(&client, &server, server.local_addr(), 16).await;
    echo(&connections, b"for the last time").await;
    server.close(7.into(), b"bye");
    for connection in &connections {
        let reason = soon(connection.closed()).await;
        assert_eq!(reason, CloseReason::Peer { code: 7.into(), reason: (&b"bye"[..]).into() });
    }
    soon(server.wait_idle()).await;
    assert!(soon(server.accept()).await.is_none());
    for _ in 0..4 {
        let dial = server.connect(client.local_addr(), Peer::AnyKey, b"test");
        assert_eq!(dial.err(), Some(ConnectError::EndpointClosed));
    }
    // All sockets are gone, and the port is free.
    builder().shards(3).bind(server.local_addr(), identity(3)).unwrap();
    soon(client.wait_idle()).await;
}

#[tokio::test]
async fn another_socket_keeps_all_connections() {
    let (client, server) = (bind(1, 1), bind(2, 3));
    serve(&server);
    let relay = Relay::to(server.local_addr()).await;
    let connections = dial(&client, &server, relay.address, 9).await;
    echo(&connections, b"before").await;

    let old = client.local_addr();
    client.rebind(UdpSocket::bind(any(), &BindOptions::default()).unwrap()).unwrap();
    assert_ne!(client.local_addr(), old);
    echo(&connections, b"from another port").await;

    let group = SocketGroup::bind(any(), &BindOptions::default(), server.shards()).unwrap();
    let address = group.local_addr();
    server.rebind(group).unwrap();
    assert_eq!(server.local_addr(), address);
    relay.change_server(address);
    echo(&connections, b"at another port").await;
    assert_eq!(server.stats().incoming, 9, "they are the same ones");
}

#[tokio::test]
async fn a_socket_that_does_not_fit_changes_nothing() {
    let server = bind(2, 2);
    let (shards, local) = (server.shards(), server.local_addr());
    let group = || SocketGroup::bind(any(), &BindOptions::default(), shards + 1).unwrap();
    if group().shards() != shards {
        assert_eq!(server.rebind(group()), Err(RebindError::Shards { sockets: 3, shards: 2 }));
    }
    assert_eq!(server.local_addr(), local);
    server.close(0.into(), b"");
    let fitting = SocketGroup::bind(any(), &BindOptions::default(), shards).unwrap();
    assert_eq!(server.rebind(fitting), Err(RebindError::Closed));
}

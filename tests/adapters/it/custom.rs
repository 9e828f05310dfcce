//! What is each adapter's own about transports beside UDP.

use core::time::Duration;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

use dunlin_core::{
    Config, ConnectOptions, CustomAddr, Event, Identity, LocalAddr, PathKind, PathState, PathStats, Peer,
    PublicKey, TransportAddr, TransportId, TransportProfile,
};
use dunlin_udp::{CustomTransport, MemoryNetwork};
use tokio::task::JoinSet;

use crate::adapter::TOO_LONG;

const ID: TransportId = TransportId::new(1);

fn address(name: u8) -> CustomAddr {
    CustomAddr::new(&[name]).unwrap()
}

fn network() -> MemoryNetwork {
    MemoryNetwork::new(TransportProfile::new(2_000), 100)
}

fn config() -> Config {
    let mut config = Config::default();
    config.alpns = vec![b"test".to_vec()];
    config
}

fn identity(secret: u8) -> Identity {
    Identity::from_secret([secret; 32])
}

fn key(secret: u8) -> PublicKey {
    *identity(secret).public()
}

/// An endpoint with a transport called like its secret.
fn tokio(network: &MemoryNetwork, secret: u8, shards: usize) -> dunlin_tokio::Endpoint {
    let transport = network.attach(address(secret));
    let builder = dunlin_tokio::Endpoint::builder().config(config()).transport(ID, transport).shards(shards);
    builder.bind("127.0.0.1:0".parse().unwrap(), identity(secret)).unwrap()
}

async fn echo(server: dunlin_tokio::Endpoint) {
    while let Some(incoming) = server.accept().await {
        let Ok(connecting) = incoming.accept() else { continue };
        tokio::spawn(async move {
            let connection = connecting.await.unwrap();
            let (mut send, mut receive) = connection.accept_bi().await.unwrap();
            send.write_all(&receive.read_to_end(1 << 20).await.unwrap()).await.unwrap();
            send.finish().unwrap();
            connection.closed().await;
        });
    }
}

/// Each packet reaches the shard that has its connection, and all shards send.
#[test]
fn path_custom_transport_serves_all_shards() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = async {
        let network = network();
        let (client, server) = (tokio(&network, 1, 1), tokio(&network, 2, 2));
        tokio::spawn(echo(server.clone()));
        let mut dials = JoinSet::new();
        for _ in 0..32 {
            let remote = TransportAddr::Custom { transport: ID, address: address(2) };
            let options = ConnectOptions::new(remote, b"test");
            let dial = client.connect_with(Peer::Key(key(2)), options).unwrap();
            dials.spawn(async move {
                let connection = dial.await.unwrap();
                let (mut send, mut receive) = connection.open_bi().await.unwrap();
                send.write_all(&[7; 20_000]).await.unwrap();
                send.finish().unwrap();
                assert!(receive.read_to_end(1 << 20).await.unwrap() == [7; 20_000]);
                connection
            });
        }
        let connections = dials.join_all().await;
        for shard in server.shard_stats() {
            // That all 32 fall to one of two happens once in two billion times.
            assert!(server.shards() == 1 || shard.connections > 0, "{shard:?}");
        }
        let stats = server.transport_stats();
        assert!(stats.each[&ID].received > 32 * 10 && stats.lost_homeless == 0, "{stats:?}");
        drop(connections);
    };
    runtime.block_on(async { tokio::time::timeout(TOO_LONG, all).await.expect("it hangs") });
}

/// What comes by a transport ends a wait, however long.
#[test]
fn path_custom_transport_ends_a_wait_on_mio() {
    let network = network();
    let endpoints =
        dunlin_mio::Endpoint::builder().config(config()).transport(ID, network.attach(address(1)));
    let mut bound = endpoints.bind("127.0.0.1:0".parse().unwrap(), identity(1)).unwrap();
    let mut driver = dunlin_mio::Driver::new(bound.remove(0)).unwrap();
    let mut far = network.attach(address(2));
    for number in 1..=3 {
        driver.run_once(Some(Duration::ZERO)).unwrap();
        assert_eq!(driver.poll_timeout(), None, "nothing else would end it");
        let sending = thread::spawn(move || {
            far.try_send(&address(1), b"who is there?", None).unwrap();
            far
        });
        while driver.engine().stats().datagrams_received < number {
            driver.run_once(None).unwrap();
        }
        far = sending.join().unwrap();
    }
    assert_eq!(driver.transport_stats().each[&ID].received, 3);
}

/// A connection that was dialled by UDP goes on by the transport, and keeps to what that carries.
#[test]
fn path_custom_transport_takes_a_connection_over_on_mio() {
    const BYTES: usize = 500_000;
    let network = network();
    let [mut client, mut server] = [1, 2].map(|secret| {
        let builder = dunlin_mio::Endpoint::builder().config(config());
        let builder = builder.transport(ID, network.attach(address(secret)));
        let mut bound = builder.bind("127.0.0.1:0".parse().unwrap(), identity(secret)).unwrap();
        dunlin_mio::Driver::new(bound.remove(0)).unwrap()
    });
    let dial = client.connect(server.local_addr(), Peer::Key(key(2)), b"test").unwrap();
    let stream = client.connection(dial).unwrap().open_uni().unwrap();
    let (mut written, mut read, mut opened) = (0, 0, false);
    let begun = Instant::now();
    while read < BYTES {
        assert!(begun.elapsed() < TOO_LONG, "it hangs");
        let mut connection = client.connection(dial).unwrap();
        let custom = |path: &PathStats| matches!(path.remote.kind(), PathKind::Custom(ID));
        let joined = connection.paths().find(|path| custom(path) && path.state == PathState::Open);
        match joined {
            Some(path) if connection.path().id != path.id => connection.select_path(path.id).unwrap(),
            Some(_) => {
                written += connection.write(stream, &[7; BYTES][written..]).unwrap_or(0);
            }
            // It takes ids of the peer's, which are on their way.
            None if !opened => {
                let local = Some(LocalAddr { socket: 9, ip: None });
                opened = connection
                    .open_path(TransportAddr::Custom { transport: ID, address: address(2) }, local)
                    .is_ok();
            }
            None => {}
        }
        client.run_once(Some(Duration::from_millis(1))).unwrap();
        while client.poll_event().is_some() {}
        server.run_once(Some(Duration::from_millis(1))).unwrap();
        while let Some((handle, event)) = server.poll_event() {
            match event {
                Event::Incoming => drop(server.accept(handle).unwrap()),
                Event::Readable(stream) => {
                    let mut connection = server.connection(handle).unwrap();
                    while let Ok(Some(chunk)) = connection.read_chunk(stream, usize::MAX) {
                        read += chunk.len();
                    }
                }
                _ => {}
            }
        }
    }
    let path = client.connection(dial).unwrap().path();
    assert_eq!((path.remote.kind(), path.local), (PathKind::Custom(ID), LocalAddr::default()));
    assert_eq!(path.mtu, 2_000);
    assert!(client.transport_stats().each[&ID].sent > (BYTES / 2_000) as u64);
}

/// A transport that can be seen to be dropped.
#[derive(Debug)]
struct Watched<T>(T, #[expect(dead_code, reason = "it is held")] Arc<()>);

impl<T: CustomTransport> CustomTransport for Watched<T> {
    fn profile(&self) -> TransportProfile {
        self.0.profile()
    }

    fn try_send(
        &mut self,
        to: &CustomAddr,
        datagram: &[u8],
        ecn: Option<dunlin_core::Ecn>,
    ) -> std::io::Result<()> {
        self.0.try_send(to, datagram, ecn)
    }

    fn try_recv(&mut self, buffer: &mut [u8]) -> std::io::Result<dunlin_udp::Received> {
        self.0.try_recv(buffer)
    }

    fn set_waker(&mut self, waker: &core::task::Waker) {
        self.0.set_waker(waker);
    }
}

fn watched(network: &MemoryNetwork) -> (Watched<dunlin_udp::MemoryTransport>, Weak<()>) {
    let held = Arc::new(());
    let seen = Arc::downgrade(&held);
    (Watched(network.attach(address(1)), held), seen)
}

#[test]
fn path_custom_transport_is_dropped_when_its_endpoint_has_closed() {
    let any = "127.0.0.1:0".parse().unwrap();
    let (transport, seen) = watched(&network());
    let bound = dunlin_mio::Endpoint::builder().transport(ID, transport).bind(any, identity(1));
    let mut driver = dunlin_mio::Driver::new(bound.unwrap().remove(0)).unwrap();
    driver.close(0.into(), b"");
    while driver.run_once(None).is_ok() {}
    assert_eq!(seen.strong_count(), 0);
    assert!(driver.transport_stats().each.is_empty());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (transport, seen) = watched(&network());
        let endpoint =
            dunlin_tokio::Endpoint::builder().transport(ID, transport).bind(any, identity(1)).unwrap();
        endpoint.close(0.into(), b"");
        endpoint.wait_idle().await;
        while seen.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(endpoint.transport_stats().each.is_empty());
    });
}

//! Transports beside UDP.

use dunlin_core::{ConnectOptions, CustomAddr, Peer, TransportAddr, TransportId, TransportProfile};
use dunlin_udp::{CustomTransport, MemoryNetwork};
use sha2::{Digest, Sha256};
use tokio::join;

use super::{LinkOf, TRIES, any, config, meet, pattern};
use crate::adapter::{Adapter, Link, Node, RecvHalf, SendHalf};
use crate::tunnel::{Tunnel, nobody};

const ID: TransportId = TransportId::new(7);

fn address(name: u8) -> CustomAddr {
    CustomAddr::new(&[name]).unwrap()
}

/// Two endpoints with a transport each, the second of which calls itself so on it.
struct Hosts<A: Adapter> {
    client: A::Node,
    server: A::Node,
    remote: CustomAddr,
}

impl<A: Adapter> Hosts<A> {
    fn new(adapter: &A, [here, there]: [impl CustomTransport + 'static; 2], remote: CustomAddr) -> Self {
        let client = adapter.bind_custom(any(), (ID, Box::new(here)), 1, config());
        let server = adapter.bind_custom(any(), (ID, Box::new(there)), 2, config());
        Self { client, server, remote }
    }

    /// On a network in memory.
    fn in_memory(adapter: &A, network: &MemoryNetwork) -> Self {
        Self::new(adapter, [1, 2].map(|name| network.attach(address(name))), address(2))
    }

    /// A connection by the transport: both ends.
    async fn meet(&self) -> (LinkOf<A>, LinkOf<A>) {
        let remote = TransportAddr::Custom { transport: ID, address: self.remote };
        let options = ConnectOptions::new(remote, b"test").exact();
        let dial = self.client.connect(Peer::Key(self.server.public_key()), options);
        let (dialled, accepted) = join!(dial, self.server.accept());
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        assert_eq!(dialled.remote(), remote);
        assert!(matches!(accepted.remote(), TransportAddr::Custom { transport: ID, .. }));
        (dialled, accepted)
    }
}

fn network(max_datagram: u16, room: usize) -> MemoryNetwork {
    MemoryNetwork::new(TransportProfile::new(max_datagram), room)
}

/// So many bytes from one end to the other: they have the same hash.
async fn carry(from: &impl Link, to: &impl Link, number: u64, bytes: usize) {
    let sent = pattern(number, bytes);
    let writing = async {
        let mut send = from.open_uni().await.unwrap();
        send.write_all(&sent).await.unwrap();
        send.finish().unwrap();
    };
    let reading = async { to.accept_uni().await.unwrap().read_to_end().await.unwrap() };
    let ((), received) = join!(writing, reading);
    assert_eq!(Sha256::digest(&sent), Sha256::digest(&received));
}

/// A whole connection: streams both ways, and the largest datagram.
async fn use_all_of(dialled: &impl Link, accepted: &impl Link, bytes: usize) {
    join!(carry(dialled, accepted, 1, bytes), carry(accepted, dialled, 2, bytes));
    for _ in 0..TRIES {
        let large = pattern(3, dialled.max_datagram().unwrap());
        dialled.send_datagram(&large).unwrap();
        carry(dialled, accepted, 4, 10).await;
        if accepted.read_datagram().is_some_and(|datagram| datagram == large) {
            return;
        }
    }
    panic!("no datagram came");
}

pub(crate) async fn path_custom_in_memory<A: Adapter>(adapter: A) {
    for room in [30, 1_000] {
        let hosts = Hosts::in_memory(&adapter, &network(3_000, room));
        let (dialled, accepted) = hosts.meet().await;
        use_all_of(&dialled, &accepted, 2_000_000).await;
        for (node, link) in [(&hosts.client, dialled.path()), (&hosts.server, accepted.path())] {
            assert_eq!(link.mtu, 3_000, "it was looked for up to what the transport carries");
            let stats = node.transport_stats().each[&ID];
            assert!(stats.is_open && stats.sent > 600 && stats.received > 600, "{stats:?}");
            assert_eq!((stats.lost, stats.lost_too_big), (0, 0));
            assert_eq!(node.sends().iter().sum::<u64>(), 0, "nothing went by UDP");
        }
    }
}

pub(crate) async fn path_custom_tunnelled_over_tcp<A: Adapter>(adapter: A) {
    let hosts = Hosts::new(&adapter, Tunnel::pair(), nobody());
    let (dialled, accepted) = hosts.meet().await;
    use_all_of(&dialled, &accepted, 2_000_000).await;
    for link in [dialled.path(), accepted.path()] {
        assert!(link.mtu <= Tunnel::MAX_DATAGRAM);
    }
}

pub(crate) async fn path_custom_carries_no_more_than_it_says<A: Adapter>(adapter: A) {
    let hosts = Hosts::in_memory(&adapter, &network(1_300, 1_000));
    let (dialled, accepted) = hosts.meet().await;
    use_all_of(&dialled, &accepted, 500_000).await;
    for (node, link) in [(&hosts.client, dialled.path()), (&hosts.server, accepted.path())] {
        assert_eq!(link.mtu, 1_300);
        assert_eq!(node.transport_stats().each[&ID].lost_too_big, 0);
    }
}

pub(crate) async fn path_custom_that_loses_what_is_large_is_found_out<A: Adapter>(adapter: A) {
    let network = network(3_000, 1_000);
    let hosts = Hosts::in_memory(&adapter, &network);
    let (dialled, accepted) = hosts.meet().await;
    carry(&dialled, &accepted, 1, 500_000).await;
    assert_eq!(dialled.path().mtu, 3_000);
    network.lose_longer_than(1_250);
    carry(&dialled, &accepted, 2, 500_000).await;
    assert!(dialled.path().packet_size <= 1_250, "{:?}", dialled.path());
}

pub(crate) async fn path_custom_beside_udp<A: Adapter>(adapter: A) {
    let hosts = Hosts::in_memory(&adapter, &network(3_000, 1_000));
    let by_udp = meet::<A>(&hosts.client, &hosts.server).await;
    let custom = hosts.meet().await;
    // Neither waits until the other has nothing more.
    join!(
        carry(&by_udp.0, &by_udp.1, 1, 4_000_000),
        carry(&custom.0, &custom.1, 2, 4_000_000),
        carry(&by_udp.1, &by_udp.0, 3, 4_000_000),
        carry(&custom.1, &custom.0, 4, 4_000_000),
    );
    assert!(matches!(by_udp.0.remote(), TransportAddr::Ip(_)));
    for node in [&hosts.client, &hosts.server] {
        assert!(node.sends()[0] > 50 && node.transport_stats().each[&ID].sent > 1_000);
    }
}

pub(crate) async fn path_custom_that_fails_loses_packets_and_nothing_else<A: Adapter>(adapter: A) {
    let hosts = Hosts::new(&adapter, Tunnel::pair(), nobody());
    let by_udp = meet::<A>(&hosts.client, &hosts.server).await;
    let (dialled, accepted) = hosts.meet().await;
    carry(&dialled, &accepted, 1, 10_000).await;
    // Closing drops the transport, and with it the other end's falls.
    hosts.server.close(0.into(), b"");
    hosts.server.closed().await;
    let other = adapter.bind(any(), 3, config());
    let still = meet::<A>(&hosts.client, &other).await;
    carry(&still.0, &still.1, 2, 100_000).await;
    while hosts.client.transport_stats().each[&ID].is_open {
        carry(&still.0, &still.1, 3, 1_000).await;
    }
    // Who dials by it hears nothing, as when the network is gone.
    let before = hosts.client.transport_stats().each[&ID].lost;
    let mut options =
        ConnectOptions::new(TransportAddr::Custom { transport: ID, address: nobody() }, b"test");
    options.timeout = Some(super::BRIEF);
    assert!(hosts.client.connect(Peer::Key(hosts.server.public_key()), options).await.is_err());
    assert!(hosts.client.transport_stats().each[&ID].lost > before);
    carry(&still.0, &still.1, 4, 100_000).await;
    drop((by_udp, dialled, accepted));
}

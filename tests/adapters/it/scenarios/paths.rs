//! Several sockets for one endpoint.

use core::net::SocketAddr;
use std::net::UdpSocket as StdSocket;

use dunlin_core::{ConnectOptions, Peer, TransportAddr};
use dunlin_mio::{BindOptions, UdpSocket};
use tokio::join;

use super::{LinkOf, config, pattern};
use crate::adapter::{Adapter, Link, Node, RecvHalf, SendHalf};

/// Two addresses of IPv4, and one of IPv6 where there is any.
fn loopback() -> Vec<SocketAddr> {
    let all = ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"].map(|text| text.parse().unwrap());
    all.into_iter().filter(|address: &SocketAddr| StdSocket::bind(address).is_ok()).collect()
}

/// A connection from one of the client's sockets, or from any, to one of the server's: both ends of it.
async fn meet<A: Adapter>(
    client: &A::Node,
    from: Option<u16>,
    server: &A::Node,
    to: usize,
) -> (LinkOf<A>, LinkOf<A>) {
    let mut options = ConnectOptions::new(server.local_addrs()[to], b"test").exact();
    options.local.socket = from.unwrap_or(options.local.socket);
    let (dialled, accepted) = join!(client.connect(Peer::Key(server.public_key()), options), server.accept());
    (dialled.unwrap(), accepted.unwrap())
}

/// Bytes there, and back.
async fn echo(dialled: &impl Link, accepted: &impl Link, number: u64, bytes: usize) {
    let there = async {
        let (mut send, mut receive) = dialled.open_bi().await.unwrap();
        let sent = pattern(number, bytes);
        let write = async {
            send.write_all(&sent).await.unwrap();
            send.finish().unwrap();
        };
        let ((), heard) = join!(write, receive.read_to_end());
        assert!(heard.unwrap() == sent);
    };
    let back = async {
        let (mut send, mut receive) = accepted.accept_bi().await.unwrap();
        let heard = receive.read_to_end().await.unwrap();
        send.write_all(&heard).await.unwrap();
        send.finish().unwrap();
    };
    join!(there, back);
}

pub(crate) async fn path_every_address_answers_for_itself<A: Adapter>(adapter: A) {
    let addresses = loopback();
    let (client, server) =
        (adapter.bind_all(&addresses, 1, config()), adapter.bind_all(&addresses, 2, config()));
    let local = server.local_addrs();
    assert!(local.iter().zip(&addresses).all(|(bound, asked)| bound.ip() == asked.ip() && bound.port() != 0));
    for number in 0..addresses.len() {
        let before = server.sends();
        let (dialled, accepted) = meet::<A>(&client, None, &server, number).await;
        echo(&dialled, &accepted, number as u64, 100_000).await;
        assert_eq!(
            dialled.remote(),
            TransportAddr::Ip(local[number]),
            "the answer came from where it was asked"
        );
        let TransportAddr::Ip(from) = accepted.remote() else { panic!("{:?}", accepted.remote()) };
        assert_eq!(from.is_ipv4(), local[number].is_ipv4(), "of its own accord");
        assert!(server.sends()[number] > before[number]);
    }
}

pub(crate) async fn path_a_dial_leaves_through_the_socket_that_it_names<A: Adapter>(adapter: A) {
    let addresses = &loopback()[..2];
    let (client, server) =
        (adapter.bind_all(addresses, 1, config()), adapter.bind_all(addresses, 2, config()));
    for (from, to) in [(1, 0), (1, 1), (0, 1)] {
        let (dialled, accepted) = meet::<A>(&client, Some(from), &server, to).await;
        echo(&dialled, &accepted, 1, 10_000).await;
        // What is as it is by default leaves the choice to the endpoint, which is the first one here.
        assert_eq!(accepted.remote(), TransportAddr::Ip(client.local_addrs()[usize::from(from)]));
        assert_eq!(dialled.remote(), TransportAddr::Ip(server.local_addrs()[to]));
    }
}

pub(crate) async fn path_sockets_are_used_side_by_side<A: Adapter>(adapter: A) {
    let addresses = &loopback()[..2];
    let (client, server) =
        (adapter.bind_all(addresses, 1, config()), adapter.bind_all(addresses, 2, config()));
    let (one, two) =
        (meet::<A>(&client, Some(0), &server, 0).await, meet::<A>(&client, Some(1), &server, 1).await);
    join!(echo(&one.0, &one.1, 1, 4_000_000), echo(&two.0, &two.1, 2, 4_000_000));
    for sends in [client.sends(), server.sends()] {
        // A train has 65,000 bytes at most.
        assert!(sends.len() == 2 && sends.iter().all(|sends| *sends > 4_000_000 / 65_000), "{sends:?}");
    }
}

pub(crate) async fn path_another_first_socket_leaves_the_others_alone<A: Adapter>(adapter: A) {
    let addresses = &loopback()[..2];
    let (client, server) =
        (adapter.bind_all(addresses, 1, config()), adapter.bind_all(addresses, 2, config()));
    let (dialled, accepted) = meet::<A>(&client, Some(1), &server, 1).await;
    let before = client.local_addrs();
    client.rebind(UdpSocket::bind(addresses[0], &BindOptions::default()).unwrap());
    let after = client.local_addrs();
    assert!(before[0] != after[0] && before[1] == after[1] && client.local_addr() == after[0]);
    echo(&dialled, &accepted, 1, 100_000).await;
    assert_eq!(accepted.remote(), TransportAddr::Ip(before[1]));
    let (dialled, accepted) = meet::<A>(&client, None, &server, 0).await;
    echo(&dialled, &accepted, 2, 100_000).await;
    assert_eq!(accepted.remote(), TransportAddr::Ip(after[0]));
}

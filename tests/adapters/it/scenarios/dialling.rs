//! Who gets a connection, and who is told what.

use std::net::UdpSocket;

use dunlin_core::{CloseReason, ConnectOptions, ErrorCode, Identity, Peer, TransportError};
use tokio::join;

use super::{BRIEF, any, config, pattern, to};
use crate::adapter::{Adapter, Fault, Link, Node, RecvHalf, SendHalf};

fn brief(mut options: ConnectOptions) -> ConnectOptions {
    options.timeout = Some(BRIEF);
    options
}

pub(crate) async fn nobody_answers_where_nobody_is<A: Adapter>(adapter: A) {
    let client = adapter.bind(any(), 1, config());
    // It keeps others from its port, and hears nobody but itself.
    let deaf = UdpSocket::bind(any()).unwrap();
    let address = deaf.local_addr().unwrap();
    deaf.connect(address).unwrap();
    let key = Peer::Key(*Identity::from_secret([2; 32]).public());
    let dialled = client.connect(key, brief(ConnectOptions::new(address, b"test"))).await;
    assert_eq!(dialled.err(), Some(Fault::Lost(CloseReason::NoAnswer)));
}

pub(crate) async fn nobody_answers_to_a_wrong_key<A: Adapter>(adapter: A) {
    let (client, server) = (adapter.bind(any(), 1, config()), adapter.bind(any(), 2, config()));
    let wrong = Peer::Key(*Identity::from_secret([3; 32]).public());
    let dialled = client.connect(wrong, brief(to(&server))).await;
    assert_eq!(dialled.err(), Some(Fault::Lost(CloseReason::NoAnswer)));
}

pub(crate) async fn a_refusal_carries_its_code<A: Adapter>(adapter: A) {
    let (client, server) = (adapter.bind(any(), 1, config()), adapter.bind(any(), 2, config()));
    let code = ErrorCode::from(42);
    let dial = client.connect(Peer::Key(server.public_key()), to(&server));
    let (refused, ()) = join!(dial, server.refuse(code));
    assert_eq!(refused.err(), Some(Fault::Lost(CloseReason::Refused { code })));
}

pub(crate) async fn without_a_common_protocol_there_is_no_connection<A: Adapter>(adapter: A) {
    let (client, server) = (adapter.bind(any(), 1, config()), adapter.bind(any(), 2, config()));
    let options = ConnectOptions::new(server.local_addr(), b"other");
    let dialled = client.connect(Peer::Key(server.public_key()), options).await;
    let reason = CloseReason::PeerTransport(TransportError::NoCommonAlpn);
    assert_eq!(dialled.err(), Some(Fault::Lost(reason)));
}

pub(crate) async fn both_families_meet_on_one_port<A: Adapter>(adapter: A) {
    if UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 here: not tested");
        return;
    }
    let server = adapter.bind("[::]:0".parse().unwrap(), 9, config());
    for (number, host) in [(1, "127.0.0.1"), (2, "[::1]")] {
        let client = adapter.bind(format!("{host}:0").parse().unwrap(), number, config());
        let address =
            format!("{host}:{}", server.local_addr().port()).parse::<core::net::SocketAddr>().unwrap();
        let options = ConnectOptions::new(address, b"test");
        let dial = client.connect(Peer::Key(server.public_key()), options);
        let (dialled, accepted) = join!(dial, server.accept());
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        let mut send = dialled.open_uni().await.unwrap();
        send.write_all(&pattern(0, 10_000)).await.unwrap();
        send.finish().unwrap();
        let mut recv = accepted.accept_uni().await.unwrap();
        assert!(recv.read_to_end().await.unwrap() == pattern(0, 10_000));
    }
}

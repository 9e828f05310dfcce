//! How connections and endpoints end.

use dunlin_core::{CloseReason, Peer, Undelivered};
use tokio::join;

use super::{Pair, any, config, pattern, to};
use crate::adapter::{Adapter, Fault, Link, Node, RecvHalf, SendHalf};

fn by_peer(code: u32, reason: &'static [u8]) -> CloseReason {
    CloseReason::Peer { code: code.into(), reason: reason.into() }
}

pub(crate) async fn a_close_carries_its_code_and_ends_everything<A: Adapter>(adapter: A) {
    let pair = Pair::new(&adapter).await;
    let (mut send, mut recv) = pair.dialled.open_bi().await.unwrap();
    let (_their_send, mut their_recv) = pair.accepted.accept_bi().await.unwrap();
    pair.dialled.close(5.into(), b"enough");
    pair.dialled.close(6.into(), b"too late");
    let (here, there) = (CloseReason::Local { code: 5.into() }, by_peer(5, b"enough"));
    let mut byte = [0];
    let (read, accepted, end) =
        join!(their_recv.read(&mut byte), pair.accepted.accept_uni(), pair.accepted.closed());
    assert_eq!(read, Err(Fault::Lost(there.clone())));
    assert_eq!(accepted.err(), Some(Fault::Lost(there.clone())));
    assert_eq!((end, pair.dialled.closed().await), (there, here.clone()));

    let lost = Fault::Lost(here);
    assert_eq!(pair.dialled.open_uni().await.err(), Some(lost.clone()));
    assert_eq!(send.write_all(b"x").await, Err(lost.clone()));
    assert_eq!(recv.read(&mut byte).await, Err(lost));
    assert!(pair.dialled.send_datagram(b"x").is_err());
}

pub(crate) async fn a_graceful_close_delivers_first<A: Adapter>(adapter: A) {
    let pair = Pair::new(&adapter).await;
    let sent = pattern(1, 300_000);
    let writing = async {
        let mut send = pair.dialled.open_uni().await.unwrap();
        send.write_all(&sent).await.unwrap();
        // The stream is finished by the way.
        let undelivered = pair.dialled.close_graceful(1.into(), b"bye").await;
        (send, undelivered)
    };
    let reading = async {
        let mut recv = pair.accepted.accept_uni().await.unwrap();
        recv.read_to_end().await.unwrap()
    };
    let ((_send, undelivered), received) = join!(writing, reading);
    assert!(received == sent);
    assert_eq!(undelivered, Undelivered::default());
    assert_eq!(pair.accepted.closed().await, by_peer(1, b"bye"));
}

pub(crate) async fn a_closed_endpoint_takes_nothing_new<A: Adapter>(adapter: A) {
    let pair = Pair::new(&adapter).await;
    let closing = async {
        pair.server.close(8.into(), b"going down");
        pair.server.close(9.into(), b"twice");
        pair.server.closed().await;
    };
    let ((), end) = join!(closing, pair.dialled.closed());
    assert_eq!(end, by_peer(8, b"going down"));
    assert_eq!(pair.accepted.closed().await, CloseReason::Local { code: 8.into() });
    let dialled = pair.server.connect(Peer::Key(pair.client.public_key()), to(&pair.client)).await;
    assert_eq!(dialled.err(), Some(Fault::EndpointClosed));
    assert_eq!(pair.server.accept().await.err(), Some(Fault::EndpointClosed));
    pair.server.close(10.into(), b"three times");
    pair.server.closed().await;
}

pub(crate) async fn an_endpoint_without_connections_closes_at_once<A: Adapter>(adapter: A) {
    let node = adapter.bind(any(), 1, config());
    node.close(0.into(), b"");
    node.closed().await;
}

//! How connections and endpoints end.

use core::time::Duration;
use std::net::UdpSocket;

use dunlin_tokio::{
    BindError, CloseReason, Config, ConnectError, Endpoint, Identity, OpenError, Peer, ReadError,
    Undelivered, WriteError, dunlin_udp,
};

use crate::{Pair, TOO_LONG, TRIES, bind, bind_quiet_port, config, one_way, poll_once, soon};

fn by_peer(code: u32, reason: &'static [u8]) -> CloseReason {
    CloseReason::Peer { code: code.into(), reason: reason.into() }
}

#[tokio::test]
async fn a_close_ends_everything_on_both_sides() {
    let pair = Pair::new().await;
    let (mut send, mut recv) = pair.dialled.open_bi().await.unwrap();
    let (_their_send, mut their_recv) = soon(pair.accepted.accept_bi()).await.unwrap();
    let waiting = (
        tokio::spawn({
            let accepted = pair.accepted.clone();
            async move { accepted.accept_uni().await.map(drop) }
        }),
        tokio::spawn({
            let accepted = pair.accepted.clone();
            async move { accepted.read_datagram().await.map(drop) }
        }),
        tokio::spawn(async move { their_recv.read(&mut [0; 8]).await }),
    );
    pair.dialled.close(5.into(), b"enough");
    pair.dialled.close(6.into(), b"too late");
    let (here, there) = (CloseReason::Local { code: 5.into() }, by_peer(5, b"enough"));
    assert_eq!(soon(pair.accepted.closed()).await, there);
    assert_eq!(soon(waiting.0).await.unwrap(), Err(there.clone()));
    assert_eq!(soon(waiting.1).await.unwrap(), Err(there.clone()));
    assert_eq!(soon(waiting.2).await.unwrap(), Err(ReadError::ConnectionLost(there)));
    assert_eq!(pair.dialled.closed().await, here);
    assert_eq!(pair.dialled.open_uni().await.map(drop), Err(OpenError::ConnectionLost(here.clone())));
    assert_eq!(send.write(b"x").await, Err(WriteError::ConnectionLost(here.clone())));
    assert_eq!(recv.read(&mut [0; 8]).await, Err(ReadError::ConnectionLost(here.clone())));
    assert!(pair.dialled.send_datagram(b"x").is_err());
    assert!(pair.dialled.stats().packets_sent > 0, "the last counters are kept");
    let limiter = pair.dialled.limiter().unwrap();
    assert!(!limiter.total().is_zero() && pair.dialled.limiter() == Some(limiter), "its time is over");
}

#[tokio::test]
async fn what_came_before_the_end_can_be_read() {
    let end = by_peer(1, b"bye");
    for _ in 0..TRIES {
        let pair = Pair::new().await;
        let mut send = pair.dialled.open_uni().await.unwrap();
        send.write_all(b"last words").await.unwrap();
        pair.dialled.send_datagram(b"ps").unwrap();
        let undelivered = soon(pair.dialled.close_graceful(TOO_LONG, 1.into(), b"bye")).await;
        assert_eq!(undelivered, Undelivered::default());
        assert_eq!(soon(pair.accepted.closed()).await, end);
        let mut recv = soon(pair.accepted.accept_uni()).await.unwrap();
        assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), b"last words");
        match soon(pair.accepted.read_datagram()).await {
            Ok(datagram) => {
                assert_eq!(datagram, &b"ps"[..]);
                assert_eq!(soon(pair.accepted.read_datagram()).await, Err(end));
                return;
            }
            // A datagram may get lost.
            Err(reason) => assert_eq!(reason, end),
        }
    }
    panic!("the datagram never came");
}

#[tokio::test]
async fn a_graceful_close_says_what_did_not_arrive() {
    let pair = Pair::new().await;
    let mut send = pair.dialled.open_uni().await.unwrap();
    // As much as the buffer takes, which is more than the credit that a connection starts with; and nobody reads.
    while poll_once(core::pin::pin!(send.write(&[0; 64 << 10]))).await.is_some() {}
    let written = send.written();
    let undelivered = soon(pair.dialled.close_graceful(Duration::from_millis(100), 1.into(), b"")).await;
    assert_eq!(undelivered.streams, 1);
    assert!((1..=written).contains(&undelivered.bytes), "{undelivered:?} of {written}");
}

#[tokio::test]
async fn the_last_handle_closes() {
    let pair = Pair::new().await;
    let clone = pair.dialled.clone();
    let (send, recv) = pair.dialled.open_bi().await.unwrap();
    drop(pair.dialled);
    drop(clone);
    drop(recv);
    assert!(poll_once(core::pin::pin!(pair.accepted.closed())).await.is_none());
    drop(send);
    assert_eq!(soon(pair.accepted.closed()).await, by_peer(0, b""));
    soon(pair.client.wait_idle()).await;
}

#[tokio::test]
async fn an_endpoint_that_is_dropped_closes() {
    let pair = Pair::new().await;
    let clone = pair.client.clone();
    drop(pair.client);
    assert_eq!(pair.dialled.close_reason(), None);
    drop(clone);
    assert_eq!(pair.dialled.close_reason(), Some(CloseReason::Local { code: 0.into() }));
    assert_eq!(soon(pair.accepted.closed()).await, by_peer(0, b""));
}

#[tokio::test]
async fn a_closed_endpoint_is_closed_for_good() {
    let pair = Pair::between(bind(1, config()), bind_quiet_port(2, &config())).await.unwrap();
    let server = pair.server.clone();
    let accepting = tokio::spawn(async move { server.accept().await.is_none() });
    pair.server.close(8.into(), b"going down");
    pair.server.close(9.into(), b"twice");
    assert_eq!(soon(pair.dialled.closed()).await, by_peer(8, b"going down"));
    assert!(soon(accepting).await.unwrap());
    assert!(soon(pair.server.accept()).await.is_none());
    let dial = pair.server.connect(pair.client.local_addr(), Peer::AnyKey, b"test");
    assert_eq!(dial.map(drop), Err(ConnectError::EndpointClosed));
    soon(pair.server.wait_idle()).await;
    // The port is free again.
    let again = Endpoint::bind(pair.server.local_addr(), config(), Identity::from_secret([2; 32])).unwrap();
    let (client, key) = (pair.client, *again.public_key());
    let dial = client.connect(again.local_addr(), Peer::Key(key), b"test").unwrap();
    let accept = async { again.accept().await.unwrap().accept().unwrap().await };
    let (dialled, accepted) = soon(async { tokio::join!(dial, accept) }).await;
    assert!(dialled.is_ok() && accepted.is_ok());
}

#[tokio::test]
async fn an_endpoint_without_connections_is_idle() {
    let endpoint = bind(1, config());
    soon(endpoint.wait_idle()).await;
    endpoint.close(0.into(), b"");
    soon(endpoint.wait_idle()).await;
    soon(endpoint.wait_idle()).await;
}

#[tokio::test]
async fn a_silent_connection_times_out() {
    let (mut brief, mut patient) = (config(), config());
    brief.idle_timeout = Some(Duration::from_millis(100));
    (brief.keep_alive, patient.keep_alive) = (None, None);
    let mut tries = 0;
    let pair = loop {
        // While a machine pauses, so much time may pass before both are connected.
        match Pair::between(bind(1, brief.clone()), bind(2, patient.clone())).await {
            Err(error) if tries < TRIES => eprintln!("once more: {error}"),
            pair => break pair.unwrap(),
        }
        tries += 1;
    };
    assert_eq!(soon(pair.dialled.closed()).await, CloseReason::IdleTimeout);
    assert_eq!(soon(pair.accepted.closed()).await, CloseReason::IdleTimeout);
    soon(pair.client.wait_idle()).await;
}

#[tokio::test]
async fn a_dial_that_is_dropped_is_given_up() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let key = Peer::Key(*server.public_key());
    drop(client.connect(server.local_addr(), key, b"test").unwrap());
    let mut begun = Box::pin(client.connect(server.local_addr(), key, b"test").unwrap());
    assert!(poll_once(begun.as_mut()).await.is_none());
    drop(begun);
    soon(client.wait_idle()).await;
    assert_eq!(client.stats().connections, 0);
}

#[tokio::test]
async fn garbage_does_not_matter() {
    let pair = Pair::new().await;
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    for len in [0, 1, 8, 30, 31, 100, 1200, 1400, 9000] {
        for first in [0x10, 0x30, 0x50, 0x70, 0x90, 0xff] {
            let mut datagram = vec![0xa5; len];
            datagram.iter_mut().take(1).for_each(|byte| *byte = first);
            let before = pair.server.stats().dropped_total();
            let mut tries = 0;
            // It may get lost on the way.
            while pair.server.stats().dropped_total() == before {
                assert!(tries < TRIES, "{len} bytes {first:#x}: {:?}", pair.server.stats());
                noise.send_to(&datagram, pair.server.local_addr()).unwrap();
                one_way(&pair).await;
                tries += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = bind(1, config());
    let error =
        Endpoint::bind(taken.local_addr(), Config::default(), Identity::from_secret([2; 32])).unwrap_err();
    assert!(matches!(error, BindError::Socket(dunlin_udp::BindError::InUse { .. })), "{error}");
}

#[test]
fn outside_a_runtime_there_is_an_error_and_no_panic() {
    let addr = "127.0.0.1:0".parse().unwrap();
    let error = Endpoint::bind(addr, Config::default(), Identity::from_secret([2; 32])).unwrap_err();
    assert!(matches!(error, BindError::Runtime(_)), "{error}");
}

#[test]
fn a_runtime_that_shuts_down_ends_its_connections() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pair = runtime.block_on(Pair::new());
    drop(runtime);
    assert_eq!(pair.dialled.close_reason(), Some(CloseReason::Local { code: 0.into() }));
    let dial = pair.client.connect(pair.server.local_addr(), Peer::AnyKey, b"test");
    assert_eq!(dial.map(drop), Err(ConnectError::EndpointClosed));
}

#[tokio::test]
async fn the_sockets_counters_can_be_asked_until_it_is_closed() {
    let pair = Pair::new().await;
    let [stats] = pair.client.socket_stats()[..] else { panic!("one shard") };
    assert!(stats.sends > 0 && stats.send_calls > 0 && stats.receives > 0, "{stats:?}");
    if cfg!(target_os = "linux") {
        assert!(stats.receive_drops.is_some());
    }
    pair.client.close(0.into(), b"");
    soon(pair.client.wait_idle()).await;
    assert!(pair.client.socket_stats().is_empty());
}

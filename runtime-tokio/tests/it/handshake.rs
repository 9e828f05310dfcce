//! Who gets a connection, and who is told what.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use dunlin_tokio::admission::{Everyone, Known};
use dunlin_tokio::{
    CloseReason, ConnectError, ConnectOptions, ConnectionError, Endpoint, ErrorCode, Identity, Peer,
    PublicKey, RetryError, TransportError, dunlin_core,
};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::{Pair, TRIES, bind, config, poll_once, soon};

/// A dial that gives up soon, for where nobody will answer.
fn brief(server: SocketAddr) -> ConnectOptions {
    let mut options = ConnectOptions::new(server, b"test");
    options.timeout = Some(Duration::from_millis(200));
    options
}

fn key(secret: u8) -> PublicKey {
    *Identity::from_secret([secret; 32]).public()
}

#[tokio::test]
async fn both_ends_agree() {
    let pair = Pair::new().await;
    let (a, b) = (&pair.dialled, &pair.accepted);
    assert_eq!(a.peer_identity(), Some(pair.server.public_key()));
    assert_eq!(b.peer_identity(), Some(pair.client.public_key()));
    assert_eq!((a.alpn(), b.alpn()), (&b"test"[..], &b"test"[..]));
    assert_eq!(a.suite(), b.suite());
    assert_eq!(a.handshake_hash(), b.handshake_hash());
    let secret = a.export(b"label", b"context").unwrap();
    assert_eq!(b.export(b"label", b"context"), Ok(secret.clone()));
    assert_ne!(b.export(b"other", b"context"), Ok(secret));
    assert!(a.path().is_some_and(|path| path.remote == pair.server.local_addr().into()));
    assert_eq!(a.close_reason(), None);
}

#[tokio::test]
async fn nobody_answers_to_a_wrong_key() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let dial = client.connect_with(Peer::Key(key(3)), brief(server.local_addr())).unwrap();
    assert_eq!(soon(dial).await.unwrap_err(), ConnectionError::Closed(CloseReason::NoAnswer));
}

#[tokio::test]
async fn who_is_asked_shows_his_address_and_comes_again() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let dial = client.connect(server.local_addr(), Peer::Key(key(2)), b"test").unwrap();
    let answer = async {
        let incoming = server.accept().await.unwrap();
        assert!(!incoming.is_validated());
        incoming.retry().unwrap();
        let incoming = server.accept().await.unwrap();
        assert!(incoming.is_validated());
        let (error, incoming) = incoming.retry().unwrap_err();
        assert_eq!(error, RetryError::Validated);
        incoming.accept().unwrap().await.unwrap()
    };
    let (dialled, accepted) = soon(async { tokio::join!(dial, answer) }).await;
    assert_eq!(accepted.peer_identity(), Some(&key(1)));
    assert!(dialled.is_ok());
}

#[tokio::test]
async fn a_refusal_carries_its_code() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let dial = client.connect(server.local_addr(), Peer::Key(key(2)), b"test").unwrap();
    let answer = async {
        let incoming = server.accept().await.unwrap();
        assert_eq!(incoming.remote(), client.local_addr().into());
        assert_eq!(incoming.identity().key(), Some(&key(1)));
        assert_eq!(incoming.alpns(), [b"test"]);
        incoming.refuse(42.into());
    };
    let (refused, ()) = soon(async { tokio::join!(dial, answer) }).await;
    let code = ErrorCode::from(42);
    assert_eq!(refused.unwrap_err(), ConnectionError::Closed(CloseReason::Refused { code }));
}

#[tokio::test]
async fn an_attempt_that_is_dropped_is_refused_and_one_that_is_ignored_hears_nothing() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let at = server.local_addr();
    let dial = client.connect(at, Peer::Key(key(2)), b"test").unwrap();
    let (refused, _) = soon(async { tokio::join!(dial, async { drop(server.accept().await) }) }).await;
    let code = ErrorCode::from(0);
    assert_eq!(refused.unwrap_err(), ConnectionError::Closed(CloseReason::Refused { code }));

    let ignoring = tokio::spawn(async move { server.accept().await.unwrap().ignore() });
    let mut tries = 0;
    // In so short a time a lost packet is not sent again.
    while !ignoring.is_finished() {
        assert!(tries < TRIES, "no attempt arrives");
        let dial = client.connect_with(Peer::Key(key(2)), brief(at)).unwrap();
        let ignored = soon(dial).await;
        assert_eq!(ignored.unwrap_err(), ConnectionError::Closed(CloseReason::NoAnswer));
        tries += 1;
    }
    ignoring.await.unwrap();
}

#[tokio::test]
async fn without_a_common_protocol_there_is_no_connection() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let dial = client.connect(server.local_addr(), Peer::Key(key(2)), b"other").unwrap();
    let reason = CloseReason::PeerTransport(TransportError::NoCommonAlpn);
    assert_eq!(soon(dial).await.unwrap_err(), ConnectionError::Closed(reason));
}

#[tokio::test]
async fn an_unknown_peer_is_trusted_or_not() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let accept_all = tokio::spawn({
        let server = server.clone();
        async move {
            let mut attempts = JoinSet::new();
            while let Some(incoming) = server.accept().await {
                attempts.spawn(incoming.accept().unwrap());
            }
            attempts.join_all().await
        }
    });
    let dial = || client.connect(server.local_addr(), Peer::Unknown, b"test").unwrap();

    assert_eq!(soon(dial()).await.unwrap_err(), ConnectionError::Untrusted(key(2)));
    let candidate = soon(dial().peer_key()).await.unwrap();
    assert_eq!(*candidate.key(), key(2));
    let connection = candidate.trust().unwrap();
    assert_eq!(connection.peer_identity(), Some(&key(2)));
    let rejected = soon(dial().peer_key()).await.unwrap();
    drop(rejected);

    let anybody = client.connect(server.local_addr(), Peer::AnyKey, b"test").unwrap();
    assert_eq!(soon(anybody).await.unwrap().peer_identity(), Some(&key(2)));
    client.close(0.into(), b"");
    soon(client.wait_idle()).await;
    server.close(0.into(), b"");
    let attempts = soon(accept_all).await.unwrap();
    assert_eq!(attempts.len(), 4);
    // Of those that were not trusted, the one packet after the first may have got lost.
    assert!(attempts.iter().flatten().count() >= 2, "{attempts:?}");
    assert!(attempts.iter().flatten().all(|connection| connection.close_reason().is_some()));
}

#[tokio::test]
async fn what_is_written_before_the_dial_goes_with_it() {
    // The Init, the confirmation and an acknowledgement: the question does not need a packet of its own. Only what was
    // lost or late makes more.
    let mut received = u64::MAX;
    for _ in 0..TRIES {
        received = received.min(packets_of_an_early_question().await);
        if received <= 4 {
            return;
        }
    }
    panic!("at least {received} packets");
}

/// Has something written early echoed, and returns how many packets that took to the server.
async fn packets_of_an_early_question() -> u64 {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let connecting = client.connect(server.local_addr(), Peer::Key(key(2)), b"test").unwrap();
    let (mut send, mut recv) = connecting.open_bi().await.unwrap();
    send.write_all(b"early").await.unwrap();
    send.finish().unwrap();
    let answer = async {
        let connection = server.accept().await.unwrap().accept().unwrap().await.unwrap();
        let (mut send, mut recv) = connection.accept_bi().await.unwrap();
        send.write_all(&recv.read_to_end(9).await.unwrap()).await.unwrap();
        send.finish().unwrap();
        send.delivered().await.unwrap();
        connection
    };
    // Nobody awaits the dial: waiting for the answer sets it off.
    let (echoed, accepted) = soon(async { tokio::join!(recv.read_to_end(9), answer) }).await;
    assert_eq!(echoed.unwrap(), b"early");
    assert_eq!(soon(connecting).await.unwrap().peer_identity(), Some(server.public_key()));
    accepted.stats().packets_received
}

#[tokio::test]
async fn a_dial_is_hurried_by_word_of_the_network() {
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..TRIES {
        let client = bind(1, config());
        let _dial = client.connect(mute.local_addr().unwrap(), Peer::Key(key(2)), b"test").unwrap();
        // The second copy goes 250 ms after the first, and the third 500 ms after that.
        copy_from(&client, &mute).await;
        copy_from(&client, &mute).await;
        let start = Instant::now();
        client.network_changed();
        copy_from(&client, &mute).await;
        if start.elapsed() < Duration::from_millis(200) {
            return;
        }
    }
    panic!("the driver sleeps on");
}

/// Waits for a packet.
async fn copy_from(client: &Endpoint, mute: &UdpSocket) {
    let mut packet = [0; 2000];
    while soon(mute.recv_from(&mut packet)).await.unwrap().1 != client.local_addr() {}
}

#[tokio::test]
async fn dials_that_make_no_sense_fail_at_once() {
    let endpoint = bind(1, config());
    let dial =
        |addr: &str, peer| endpoint.connect(addr.parse().unwrap(), peer, b"test").map(drop).unwrap_err();
    assert_eq!(
        dial("127.0.0.1:9", Peer::Key(key(1))),
        ConnectError::Refused(dunlin_core::ConnectError::OwnKey)
    );
    assert_eq!(
        dial("0.0.0.0:9", Peer::Key(key(2))),
        ConnectError::Refused(dunlin_core::ConnectError::Address)
    );
}

#[tokio::test]
async fn both_dial_and_get_two_connections() {
    let (a, b) = (bind(1, config()), bind(2, config()));
    let meet = |from: &Endpoint, to: &Endpoint| {
        let dial = from.connect(to.local_addr(), Peer::Key(*to.public_key()), b"test").unwrap();
        let to = to.clone();
        async move {
            let accept = async { to.accept().await.unwrap().accept().unwrap().await.unwrap() };
            let (dialled, accepted) = tokio::join!(dial, accept);
            (dialled.unwrap(), accepted)
        }
    };
    let ((ab, ba), (cd, dc)) = soon(async { tokio::join!(meet(&a, &b), meet(&b, &a)) }).await;
    assert_eq!(ab.handshake_hash(), ba.handshake_hash());
    assert_eq!(cd.handshake_hash(), dc.handshake_hash());
    assert_ne!(ab.handshake_hash(), cd.handshake_hash());
}

#[tokio::test]
async fn several_tasks_accept() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    let accept = || {
        let server = server.clone();
        tokio::spawn(async move { server.accept().await.unwrap().accept().unwrap().await.unwrap() })
    };
    let accepting = [accept(), accept(), accept()];
    let mut cancelled = Box::pin(server.accept());
    assert!(poll_once(cancelled.as_mut()).await.is_none());
    drop(cancelled);
    let mut dialled = Vec::new();
    for _ in 0..3 {
        let dial = client.connect(server.local_addr(), Peer::Key(key(2)), b"test").unwrap();
        dialled.push(soon(dial).await.unwrap());
    }
    for task in accepting {
        soon(task).await.unwrap();
    }
}

#[tokio::test]
async fn one_socket_speaks_both_families() {
    let Ok(server) = Endpoint::bind("[::]:0".parse().unwrap(), config(), Identity::from_secret([2; 32]))
    else {
        return; // A machine without IPv6.
    };
    for host in ["127.0.0.1", "[::1]"] {
        let any = if host.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
        let client = Endpoint::bind(any.parse().unwrap(), config(), Identity::from_secret([1; 32])).unwrap();
        let addr = format!("{host}:{}", server.local_addr().port()).parse().unwrap();
        let dial = client.connect(addr, Peer::Key(key(2)), b"test").unwrap();
        let accept = async { server.accept().await.unwrap().accept().unwrap().await.unwrap() };
        let (dialled, _accepted) = soon(async { tokio::join!(dial, accept) }).await;
        dialled.unwrap();
    }
}

#[tokio::test]
async fn a_policy_lets_in_who_is_known_and_nobody_else_is_heard_of() {
    let server = Endpoint::builder().config(config()).admission(Known::new([key(1)]));
    let server = server.bind("127.0.0.1:0".parse().unwrap(), Identity::from_secret([2; 32])).unwrap();
    let (friend, stranger) = (bind(1, config()), bind(3, config()));
    let refused = stranger.connect_with(Peer::Key(key(2)), brief(server.local_addr())).unwrap();
    assert_eq!(soon(refused).await.unwrap_err(), ConnectionError::Closed(CloseReason::NoAnswer));

    let dialled =
        soon(friend.connect(server.local_addr(), Peer::Key(key(2)), b"test").unwrap()).await.unwrap();
    // What it does before anybody asks for it is not lost.
    let mut stream = dialled.open_uni().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.finish().unwrap();
    let incoming = soon(server.accept()).await.unwrap();
    assert!(incoming.is_accepted() && incoming.identity().key() == Some(&key(1)));
    assert_eq!((incoming.remote(), incoming.alpns()), (friend.local_addr().into(), &[b"test".to_vec()][..]));
    let (error, incoming) = incoming.retry().unwrap_err();
    assert_eq!(error, RetryError::Validated);
    let accepted = soon(incoming.accept().unwrap()).await.unwrap();
    assert_eq!(accepted.peer_identity(), Some(&key(1)));
    let mut stream = soon(accepted.accept_uni()).await.unwrap();
    assert_eq!(soon(stream.read_to_end(100)).await.unwrap(), b"hello");

    // Known no longer.
    server.set_admission(Some(Arc::new(Known::default())));
    let again = bind(1, config());
    let refused = again.connect_with(Peer::Key(key(2)), brief(server.local_addr())).unwrap();
    assert_eq!(soon(refused).await.unwrap_err(), ConnectionError::Closed(CloseReason::NoAnswer));
}

#[tokio::test]
async fn what_a_policy_has_let_in_can_be_turned_out_unseen() {
    let server = Endpoint::builder().config(config()).admission(Everyone);
    let server = server.bind("127.0.0.1:0".parse().unwrap(), Identity::from_secret([2; 32])).unwrap();
    let client = bind(1, config());
    for code in [7, 0] {
        let dialled =
            soon(client.connect(server.local_addr(), Peer::Key(key(2)), b"test").unwrap()).await.unwrap();
        let incoming = soon(server.accept()).await.unwrap();
        if code == 0 {
            incoming.ignore()
        } else {
            incoming.refuse(ErrorCode::from(code))
        }
        let reason = soon(dialled.closed()).await;
        assert!(matches!(reason, CloseReason::Peer { code: told, .. } if told == ErrorCode::from(code)));
    }
    // Nobody asks for this one, and closing ends it all the same.
    let dialled =
        soon(client.connect(server.local_addr(), Peer::Key(key(2)), b"test").unwrap()).await.unwrap();
    server.close(ErrorCode::from(9), b"");
    soon(server.wait_idle()).await;
    assert!(matches!(soon(dialled.closed()).await, CloseReason::Peer { .. }));
}

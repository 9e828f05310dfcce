//! QOTP through the same door, and apart from the native wire.

use core::time::Duration;

use dunlin_tokio::{
    CloseReason, Config, ConnectOptions, Connection, ConnectionError, DatagramError, Endpoint, ErrorCode,
    ExportError, IncomingIdentity, OpenError, Peer, QotpIdentity, QotpPublicKey, ReadError, StreamId,
    Undelivered, WireVersion, WriteError,
};
use tokio::task::JoinSet;

use crate::{bind, config, poll_once, soon};

fn accepting() -> Config {
    config().accept_qotp(true)
}

/// Whether the dialler knows the key of whom it dials, and so which of QOTP's flows it takes.
#[derive(Clone, Copy, Debug)]
enum Flow {
    InBand,
    KnownKey,
}

impl Flow {
    const BOTH: [Self; 2] = [Self::InBand, Self::KnownKey];

    fn key(self, server: &Endpoint) -> Option<QotpPublicKey> {
        match self {
            Self::InBand => None,
            Self::KnownKey => Some(server.qotp_public_key()),
        }
    }
}

/// Two endpoints and a QOTP connection between them.
struct Pair {
    client: Endpoint,
    server: Endpoint,
    dialled: Connection,
    accepted: Connection,
}

impl Pair {
    async fn new(flow: Flow) -> Self {
        Self::with(flow, accepting()).await
    }

    async fn with(flow: Flow, server: Config) -> Self {
        let (client, server) = (bind(1, config()), bind(2, server));
        let dial = client.connect_qotp(server.local_addr(), flow.key(&server)).unwrap();
        let (dialled, accepted) = soon(async { tokio::join!(dial, accept(&server)) }).await;
        Self { dialled: dialled.unwrap(), accepted, client, server }
    }
}

async fn accept(server: &Endpoint) -> Connection {
    server.accept().await.unwrap().accept().unwrap().await.unwrap()
}

/// Bytes of stream `number` that never repeat.
fn pattern(number: u64, bytes: usize) -> Vec<u8> {
    let word = |index: u64| (index + (number << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (0..bytes.div_ceil(8) as u64).flat_map(word).take(bytes).collect()
}

#[tokio::test]
async fn a_qotp_connection_says_what_it_is_and_proves_nobody() {
    for flow in Flow::BOTH {
        let pair = Pair::new(flow).await;
        for (end, peer) in [(&pair.dialled, &pair.server), (&pair.accepted, &pair.client)] {
            assert_eq!((end.wire(), end.peer_identity()), (WireVersion::Qotp, None));
            assert_eq!(end.qotp_claimed_key(), Some(peer.qotp_public_key()));
            assert_eq!((end.alpn(), end.handshake_hash()), (&b""[..], None));
            assert_eq!(end.export(b"label", b""), Err(ExportError::Unsupported));
            assert_eq!(end.open_uni().await.unwrap_err(), OpenError::Unsupported);
            assert_eq!(end.send_datagram(b"x"), Err(DatagramError::Unsupported));
            assert_eq!(end.max_datagram(), None);
            assert!(end.path().is_some_and(|path| path.packet_size == 1400));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qotp_streams_carry_eight_mebibytes_and_close_gracefully() {
    const STREAMS: u32 = 4;
    const BYTES: usize = 2 << 20;
    for flow in Flow::BOTH {
        let pair = Pair::new(flow).await;
        let accepted = pair.accepted.clone();
        let server = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            for _ in 0..STREAMS {
                let (mut send, mut recv) = accepted.accept_bi().await.unwrap();
                tasks.spawn(async move {
                    let number = send.id().qotp_number().unwrap();
                    let all = recv.read_to_end(BYTES).await.unwrap();
                    assert!(all == pattern(number.into(), BYTES), "stream {number}");
                    // The other half has outlived the end of this one.
                    send.write_all(&all.len().to_be_bytes()).await.unwrap();
                    send.finish().unwrap();
                    number
                });
            }
            let mut numbers = tasks.join_all().await;
            numbers.sort_unstable();
            numbers
        });
        let mut tasks = JoinSet::new();
        let mut answers = Vec::new();
        for number in 0..STREAMS {
            let (mut send, recv) = pair.dialled.open_id(number).await.unwrap();
            answers.push(recv);
            tasks.spawn(async move {
                send.write_all(&pattern(number.into(), BYTES)).await.unwrap();
            });
        }
        tasks.join_all().await;
        for mut recv in answers {
            assert_eq!(soon(recv.read_to_end(8)).await.unwrap(), BYTES.to_be_bytes());
        }
        assert_eq!(soon(server).await.unwrap(), [0, 1, 2, 3]);
        for end in [&pair.dialled, &pair.accepted] {
            let left = soon(end.close_graceful(Duration::from_secs(10), 0.into(), b"")).await;
            assert_eq!(left, Undelivered::default());
            assert!(matches!(end.close_reason(), Some(CloseReason::Local { .. })));
        }
        soon(pair.client.wait_idle()).await;
        soon(pair.server.wait_idle()).await;
    }
}

#[tokio::test]
async fn what_is_written_before_a_qotp_dial_goes_with_it_if_the_key_is_known() {
    let (client, server) = (bind(1, config()), bind(2, accepting()));
    let connecting = client.connect_qotp(server.local_addr(), Some(server.qotp_public_key())).unwrap();
    let (mut send, mut recv) = connecting.open_id(7).await.unwrap();
    send.write_all(b"early").await.unwrap();
    let answer = async {
        let incoming = server.accept().await.unwrap();
        assert_eq!(incoming.wire(), WireVersion::Qotp);
        assert_eq!(incoming.identity(), IncomingIdentity::Qotp(Some(client.qotp_public_key())));
        assert!(incoming.alpns().is_empty());
        let read = async {
            let accepted = incoming.accept().unwrap().await.unwrap();
            let (send, mut recv) = accepted.accept_bi().await.unwrap();
            let mut early = [0; 16];
            assert_eq!(recv.read(&mut early).await, Ok(Some(5)));
            (accepted, send, early)
        };
        let (accepted, mut send, early) =
            poll_once(core::pin::pin!(read)).await.expect("all of it came with the first packet");
        send.write_all(&early[..5]).await.unwrap();
        accepted
    };
    let (dialled, accepted) = soon(async { tokio::join!(connecting, answer) }).await;
    let mut back = [0; 16];
    assert_eq!(soon(recv.read(&mut back)).await, Ok(Some(5)));
    assert_eq!((&back[..5], recv.id()), (&b"early"[..], StreamId::qotp(7)));
    drop((dialled, accepted, send));
}

#[tokio::test]
async fn native_and_qotp_connections_share_an_endpoint() {
    let (client, server) = (bind(1, config()), bind(2, accepting()));
    let address = server.local_addr();
    let native = client.connect(address, Peer::Key(*server.public_key()), b"test").unwrap();
    let (native, answered) = soon(async { tokio::join!(native, accept(&server)) }).await;
    let native = native.unwrap();
    let qotp = client.connect_qotp(address, None).unwrap();
    let (qotp, qotp_answered) = soon(async { tokio::join!(qotp, accept(&server)) }).await;
    let qotp = qotp.unwrap();

    assert_eq!((native.wire(), qotp.wire()), (WireVersion::Native, WireVersion::Qotp));
    assert_eq!((answered.wire(), qotp_answered.wire()), (WireVersion::Native, WireVersion::Qotp));
    assert_eq!((native.peer_identity(), native.qotp_claimed_key()), (Some(server.public_key()), None));
    assert_eq!(native.open_id(2).await.unwrap_err(), OpenError::Unsupported);
    for (here, there) in [(&native, &answered), (&qotp, &qotp_answered)] {
        let (mut send, _recv) = here.open_bi().await.unwrap();
        send.write_all(&pattern(1, 100_000)).await.unwrap();
        send.finish().unwrap();
        let (_send, mut recv) = soon(there.accept_bi()).await.unwrap();
        assert!(soon(recv.read_to_end(100_000)).await.unwrap() == pattern(1, 100_000));
    }
    qotp.close(0.into(), b"");
    let (mut send, _recv) = native.open_bi().await.unwrap();
    send.finish().unwrap();
    assert_eq!(soon(send.delivered()).await, Ok(()), "the native one goes on");
}

#[tokio::test]
async fn a_qotp_dial_to_an_endpoint_that_does_not_accept_it_gets_no_answer() {
    let (client, server) = (bind(1, config()), bind(2, config()));
    for peer in [Peer::AnyKey, Peer::QotpKey(server.qotp_public_key())] {
        let mut options = ConnectOptions::qotp(server.local_addr());
        options.timeout = Some(Duration::from_millis(300));
        let dial = client.connect_with(peer, options).unwrap();
        assert_eq!(soon(dial).await.unwrap_err(), ConnectionError::Closed(CloseReason::NoAnswer));
    }
    assert!(
        poll_once(core::pin::pin!(server.accept())).await.is_none(),
        "nothing fell back to the other wire"
    );
    assert_eq!(server.stats().incoming, 0);
    let wrong = client.connect(server.local_addr(), Peer::QotpKey(server.qotp_public_key()), b"test");
    assert!(wrong.is_err(), "the wire is named, not guessed");
}

#[tokio::test]
async fn qotp_has_no_key_to_decide_on() {
    let (client, server) = (bind(1, config()), bind(2, accepting()));
    let dial = client.connect_qotp(server.local_addr(), None).unwrap();
    let (candidate, _accepted) = soon(async { tokio::join!(dial.peer_key(), accept(&server)) }).await;
    assert_eq!(candidate.unwrap_err(), ConnectionError::NoIdentity);
}

#[tokio::test]
async fn qotp_keys_can_be_chosen() {
    let (client, server) = (bind(1, config()), bind(2, accepting()));
    let derived = server.qotp_public_key();
    server.set_qotp_identity(QotpIdentity::from_seed_text("a seed"));
    let key = server.qotp_public_key();
    assert_eq!(key, *QotpIdentity::from_seed_text("a seed").public());
    assert_ne!(key, derived);
    let dial = client.connect_qotp(server.local_addr(), Some(key)).unwrap();
    let (dialled, accepted) = soon(async { tokio::join!(dial, accept(&server)) }).await;
    assert_eq!(dialled.unwrap().qotp_claimed_key(), Some(key));
    assert_eq!(accepted.qotp_claimed_key(), Some(client.qotp_public_key()));

    let mut options = ConnectOptions::qotp(server.local_addr());
    options.timeout = Some(Duration::from_millis(300));
    let dial = client.connect_with(Peer::QotpKey(derived), options).unwrap();
    assert_eq!(soon(dial).await.unwrap_err(), ConnectionError::Closed(CloseReason::NoAnswer));
}

#[tokio::test]
async fn qotp_stream_numbers_are_used_once_and_either_side_may_choose_them() {
    let pair = Pair::new(Flow::InBand).await;
    let (mut one, _) = pair.dialled.open_id(1).await.unwrap();
    one.write_all(b"1").await.unwrap();
    let (their, _) = soon(pair.accepted.accept_bi()).await.unwrap();
    assert_eq!(their.id(), StreamId::qotp(1));
    assert_eq!(pair.accepted.open_id(1).await.unwrap_err(), OpenError::InUse);
    assert_eq!(pair.dialled.open_id(1).await.unwrap_err(), OpenError::InUse);
    let (by_custom, _) = pair.accepted.open_bi().await.unwrap();
    assert_eq!(by_custom.id(), StreamId::qotp(3));
}

#[tokio::test]
async fn a_dropped_qotp_half_finishes_or_throws_away() {
    let pair = Pair::new(Flow::InBand).await;
    let (mut send, recv) = pair.dialled.open_bi().await.unwrap();
    send.write_all(b"all of it").await.unwrap();
    drop(send);
    let (mut their_send, mut their_recv) = soon(pair.accepted.accept_bi()).await.unwrap();
    assert_eq!(soon(their_recv.read_to_end(100)).await.unwrap(), b"all of it");
    // Nobody reads this, and nobody can say so: it is delivered all the same.
    drop(recv);
    their_send.write_all(&pattern(0, 1 << 20)).await.unwrap();
    their_send.finish().unwrap();
    assert_eq!(soon(their_send.delivered()).await, Ok(()));

    let (mut send, mut recv) = pair.dialled.open_bi().await.unwrap();
    recv.stop(5.into());
    assert_eq!(soon(recv.read(&mut [0])).await, Err(ReadError::Closed));
    send.finish().unwrap();
    assert_eq!(soon(send.delivered()).await, Ok(()));
}

#[tokio::test]
async fn a_qotp_stream_that_should_be_reset_never_looks_complete() {
    let pair = Pair::new(Flow::InBand).await;
    let (mut send, _recv) = pair.dialled.open_bi().await.unwrap();
    send.write_all(b"half of").await.unwrap();
    let (_their_send, mut their_recv) = soon(pair.accepted.accept_bi()).await.unwrap();
    let mut part = [0; 16];
    assert_eq!(soon(their_recv.read(&mut part)).await, Ok(Some(7)));
    assert_eq!(send.reset(ErrorCode::from(7)), Err(WriteError::Unsupported));
    send.write_all(b" it").await.unwrap();
    assert_eq!(soon(their_recv.read(&mut part)).await, Ok(Some(3)), "the stream goes on");
    assert_eq!(send.reset(ErrorCode::from(7)), Err(WriteError::Unsupported));
    drop(send);
    // A stream that is finished later is read to its end; this one still waits.
    let (mut later, _recv) = pair.dialled.open_bi().await.unwrap();
    later.finish().unwrap();
    assert_eq!(soon(later.delivered()).await, Ok(()));
    assert!(poll_once(core::pin::pin!(their_recv.read(&mut part))).await.is_none());

    let (mut kept, _recv) = pair.dialled.open_bi().await.unwrap();
    assert_eq!(kept.reset(ErrorCode::from(7)), Err(WriteError::Unsupported));
    kept.finish().unwrap();
    assert_eq!(soon(kept.delivered()).await, Ok(()), "whoever wants the good end can have it");
}

#[tokio::test]
async fn opening_qotp_streams_waits_for_a_place() {
    let mut few = accepting();
    few.limits.streams_bidi = 2;
    let pair = Pair::with(Flow::InBand, few).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        open.push(pair.accepted.open_bi().await.unwrap());
    }
    let mut waits = Box::pin(pair.accepted.open_id(9));
    assert!(poll_once(waits.as_mut()).await.is_none());
    drop(open);
    for _ in 0..2 {
        let (_send, mut recv) = soon(pair.dialled.accept_bi()).await.unwrap();
        soon(recv.read_to_end(0)).await.unwrap();
    }
    let (opened, _) = soon(waits).await.unwrap();
    assert_eq!(opened.id(), StreamId::qotp(9));
}

#[tokio::test]
async fn a_closed_endpoint_hands_out_no_qotp_attempts() {
    let (client, server) = (bind(1, config()), bind(2, accepting()));
    // A connection that its peer does not let go keeps the socket open for a while.
    let pair = client.connect_qotp(server.local_addr(), None).unwrap();
    let (_dialled, _accepted) = soon(async { tokio::join!(pair, accept(&server)) }).await;
    server.close(0.into(), b"");
    let mut options = ConnectOptions::qotp(server.local_addr());
    options.timeout = Some(Duration::from_millis(300));
    let dial = client.connect_with(Peer::AnyKey, options).unwrap();
    assert_eq!(soon(dial).await.unwrap_err(), ConnectionError::Closed(CloseReason::NoAnswer));
    assert!(soon(server.accept()).await.is_none());
}

//! QOTP through the same door, and apart from the native wire.

use dunlin_core::{CloseReason, Config, ConnectOptions, Duration, Peer, Undelivered, WireVersion};
use tokio::join;

use super::{BRIEF, LinkOf, any, config, meet, pattern};
use crate::adapter::{Adapter, Fault, Link, Node, RecvHalf, SendHalf};

/// Without PINGs: they name stream 0, which the peer then takes for opened.
fn quiet() -> Config {
    let mut config = config();
    config.keep_alive = None;
    config
}

fn accepting() -> Config {
    quiet().accept_qotp(true)
}

async fn meet_in_qotp<A: Adapter>(client: &A::Node, server: &A::Node, peer: Peer) -> (LinkOf<A>, LinkOf<A>) {
    let dial = client.connect(peer, ConnectOptions::qotp(server.local_addr()));
    let (dialled, accepted) = join!(dial, server.accept());
    (dialled.unwrap(), accepted.unwrap())
}

pub(crate) async fn qotp_carries_streams_in_both_flows<A: Adapter>(adapter: A) {
    const STREAMS: u64 = 4;
    const BYTES: usize = 512 << 10;
    for known in [false, true] {
        let (client, server) = (adapter.bind(any(), 1, quiet()), adapter.bind(any(), 2, accepting()));
        let peer = if known { Peer::QotpKey(server.qotp_public_key()) } else { Peer::AnyKey };
        let (dialled, accepted) = meet_in_qotp::<A>(&client, &server, peer).await;
        assert_eq!((dialled.wire(), accepted.wire()), (WireVersion::Qotp, WireVersion::Qotp));
        let asking = async {
            for number in 0..STREAMS {
                let (mut send, mut recv) = dialled.open_bi().await.unwrap();
                send.write_all(&pattern(number, BYTES)).await.unwrap();
                send.finish().unwrap();
                assert_eq!(recv.read_to_end().await.unwrap(), number.to_be_bytes());
            }
        };
        let answering = async {
            for number in 0..STREAMS {
                let (mut send, mut recv) = accepted.accept_bi().await.unwrap();
                assert!(recv.read_to_end().await.unwrap() == pattern(number, BYTES));
                send.write_all(&number.to_be_bytes()).await.unwrap();
                send.finish().unwrap();
                send.delivered().await.unwrap();
            }
        };
        join!(asking, answering);
        assert_eq!(dialled.open_uni().await.err(), Some(Fault::Unsupported));
        assert_eq!(dialled.send_datagram(b"x"), Err(Fault::Unsupported));
        let (here, there) =
            join!(dialled.close_graceful(0.into(), b""), accepted.close_graceful(0.into(), b""));
        assert_eq!((here, there), (Undelivered::default(), Undelivered::default()));
    }
}

pub(crate) async fn native_and_qotp_share_an_endpoint<A: Adapter>(adapter: A) {
    let (client, server) = (adapter.bind(any(), 1, quiet()), adapter.bind(any(), 2, accepting()));
    let native = meet::<A>(&client, &server).await;
    let qotp = meet_in_qotp::<A>(&client, &server, Peer::AnyKey).await;
    assert_eq!((native.0.wire(), qotp.0.wire()), (WireVersion::Native, WireVersion::Qotp));
    assert_eq!((native.1.wire(), qotp.1.wire()), (WireVersion::Native, WireVersion::Qotp));
    for (number, (here, there)) in [(1, &native), (2, &qotp)] {
        let asking = async {
            let (mut send, recv) = here.open_bi().await.unwrap();
            send.write_all(&pattern(number, 100_000)).await.unwrap();
            send.finish().unwrap();
            (send, recv)
        };
        let answering = async {
            let (_send, mut recv) = there.accept_bi().await.unwrap();
            assert!(recv.read_to_end().await.unwrap() == pattern(number, 100_000));
        };
        join!(asking, answering);
    }
}

pub(crate) async fn qotp_is_not_there_unless_switched_on<A: Adapter>(adapter: A) {
    let (client, server) = (adapter.bind(any(), 1, config()), adapter.bind(any(), 2, config()));
    for peer in [Peer::AnyKey, Peer::QotpKey(server.qotp_public_key())] {
        let mut options = ConnectOptions::qotp(server.local_addr());
        options.timeout = Some(BRIEF + Duration::from_millis(100));
        let dialled = client.connect(peer, options).await;
        assert_eq!(dialled.err(), Some(Fault::Lost(CloseReason::NoAnswer)));
    }
}

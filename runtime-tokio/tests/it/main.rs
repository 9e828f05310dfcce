//! The adapter over real sockets on loopback.

mod close;
mod early;
mod handshake;
mod key_log;
mod path;
mod qotp;
mod relay;
mod restart;
mod shards;
mod streams;
mod transfer;

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;

use dunlin_tokio::{Config, Connection, ConnectionError, Endpoint, Identity, Peer};

/// Nothing takes this long unless it hangs, not even on a machine that stands still for a while. What is not about time
/// waits for so long.
const TOO_LONG: Duration = Duration::from_secs(600);

/// How often something is tried that the loss of a packet, or a pause of the machine, can spoil.
const TRIES: usize = 100;

/// Fails instead of hanging.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(TOO_LONG, future).await.expect("the test hangs")
}

/// Polls a future once.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Time ends nothing here, and who misses the other's last packet asks for it.
fn config() -> Config {
    let mut config = Config::default();
    config.alpns = vec![b"test".to_vec()];
    config.connect_timeout = TOO_LONG;
    config.idle_timeout = Some(TOO_LONG);
    config.limits.half_open_lifetime = TOO_LONG;
    config.keep_alive = Some(Duration::from_millis(20));
    config
}

fn bind(secret: u8, config: Config) -> Endpoint {
    Endpoint::bind("127.0.0.1:0".parse().unwrap(), config, Identity::from_secret([secret; 32])).unwrap()
}

/// Binds a port that the system gives to nobody who does not ask for it (RFC 6335 section 6; Linux begins at 32,768).
fn bind_quiet_port(secret: u8, config: &Config) -> Endpoint {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let bind = |port: u16| {
        Endpoint::bind(([127, 0, 0, 1], port).into(), config.clone(), Identity::from_secret([secret; 32]))
    };
    (first..first + 1_000).find_map(|port| bind(port).ok()).expect("one of a thousand ports is free")
}

/// Two endpoints and a connection between them.
struct Pair {
    client: Endpoint,
    server: Endpoint,
    /// The dialler's end.
    dialled: Connection,
    /// The other end.
    accepted: Connection,
}

impl Pair {
    async fn new() -> Self {
        Self::with(config(), config()).await
    }

    async fn with(client: Config, server: Config) -> Self {
        Self::between(bind(1, client), bind(2, server)).await.unwrap()
    }

    /// # Errors
    /// The first end's that got none.
    async fn between(client: Endpoint, server: Endpoint) -> Result<Self, ConnectionError> {
        let connecting =
            client.connect(server.local_addr(), Peer::Key(*server.public_key()), b"test").unwrap();
        let accepting = async { server.accept().await.unwrap().accept().unwrap().await };
        let (dialled, accepted) = soon(async { tokio::join!(connecting, accepting) }).await;
        Ok(Self { dialled: dialled?, accepted: accepted?, client, server })
    }
}

/// Has a few bytes go from the dialler's end to the other.
async fn one_way(pair: &Pair) {
    let mut send = soon(pair.dialled.open_uni()).await.unwrap();
    send.write_all(b"still here").await.unwrap();
    send.finish().unwrap();
    let mut recv = soon(pair.accepted.accept_uni()).await.unwrap();
    assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), b"still here");
}

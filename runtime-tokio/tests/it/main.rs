//! The adapter over real sockets on loopback.

mod close;
mod handshake;
mod key_log;
mod streams;
mod transfer;

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;

use dunlin_tokio::{Config, Connection, Endpoint, Identity, Peer};

/// No test takes this long, unless something hangs.
const TOO_LONG: Duration = Duration::from_secs(60);

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

fn config() -> Config {
    let mut config = Config::default();
    config.alpns = vec![b"test".to_vec()];
    config
}

fn bind(secret: u8, config: Config) -> Endpoint {
    Endpoint::bind("127.0.0.1:0".parse().unwrap(), config, Identity::from_secret([secret; 32])).unwrap()
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
        let (client, server) = (bind(1, client), bind(2, server));
        let connecting =
            client.connect(server.local_addr(), Peer::Key(*server.public_key()), b"test").unwrap();
        let accepting = async { server.accept().await.unwrap().accept().unwrap().await.unwrap() };
        let (dialled, accepted) = soon(async { tokio::join!(connecting, accepting) }).await;
        Self { dialled: dialled.unwrap(), accepted, client, server }
    }
}

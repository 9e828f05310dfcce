//! dunlin through its tokio adapter, with default windows (they grow to the peer's fixed ones).

use std::net::SocketAddr;

use dunlin_tokio::{AeadPolicy, Config, Endpoint, Identity, Peer, PublicKey};

use crate::{Aead, PACKET, PIECE, WINDOW};

fn config(aead: Aead) -> Config {
    let mut config = Config::default();
    config.alpns = vec![b"bench".to_vec()];
    config.packet_size = PACKET;
    config.mtu_discovery.enabled = false;
    config.limits.max_stream_window = u64::from(WINDOW);
    config.limits.max_window = u64::from(2 * WINDOW);
    config.aead = match aead {
        Aead::Aes => AeadPolicy::Aes,
        Aead::ChaCha => AeadPolicy::ChaCha20,
    };
    config
}

fn bind(aead: Aead, secret: u8) -> Endpoint {
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    Endpoint::bind(addr, config(aead), Identity::from_secret([secret; 32])).expect("a socket")
}

/// Answers one connection: reads every stream to its end.
pub(crate) async fn serve(aead: Aead, ready: impl FnOnce(SocketAddr, String)) {
    let endpoint = bind(aead, 2);
    ready(endpoint.local_addr(), endpoint.public_key().to_string());
    let connection =
        endpoint.accept().await.expect("a client").accept().expect("accepts").await.expect("a handshake");
    let mut stream = connection.accept_uni().await.expect("a stream");
    let mut buffer = vec![0; PIECE];
    let mut total = 0u64;
    while let Some(len) = stream.read(&mut buffer).await.expect("data") {
        total += len as u64;
    }
    let mut answer = connection.open_uni().await.expect("a stream");
    answer.write_all(&total.to_be_bytes()).await.expect("writes");
    answer.finish().expect("finishes");
    connection.closed().await;
}

/// Sends `bytes` on one stream and waits for the count to come back.
pub(crate) async fn send(aead: Aead, server: SocketAddr, secret: &str, bytes: u64) -> std::time::Duration {
    let key: PublicKey = secret.parse().expect("a key");
    let endpoint = bind(aead, 1);
    let connection =
        endpoint.connect(server, Peer::Key(key), b"bench").expect("dials").await.expect("a handshake");
    let start = std::time::Instant::now();
    let mut stream = connection.open_uni().await.expect("a stream");
    let piece = vec![0x5a; PIECE];
    let mut left = bytes;
    while left > 0 {
        let len = left.min(PIECE as u64);
        stream.write_all(&piece[..len as usize]).await.expect("writes");
        left -= len;
    }
    stream.finish().expect("finishes");
    let mut answer = connection.accept_uni().await.expect("an answer");
    let count = answer.read_to_end(8).await.expect("eight bytes");
    assert_eq!(count, bytes.to_be_bytes(), "the server counted something else");
    let time = start.elapsed();
    if std::env::var_os("LOOPBACK_STATS").is_some() {
        eprintln!("{:?}\n{:?}", connection.stats(), connection.path());
    }
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
    time
}

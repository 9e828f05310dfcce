//! quinn with ring, as its users have it: same packet size, same windows, one AEAD allowed.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::crypto::{CryptoProvider, ring};
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use quinn::rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use quinn::{Endpoint, MtuDiscoveryConfig, TransportConfig};

use crate::{Aead, PACKET, PIECE, WINDOW};

fn provider(aead: Aead) -> Arc<CryptoProvider> {
    // TLS 1.3 requires AES-128-GCM for QUIC's Initial packets; the connection itself then takes the first in the list.
    let first = match aead {
        Aead::Aes => ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        Aead::ChaCha => ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    };
    let suites = vec![first, ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites: suites, ..ring::default_provider() })
}

fn transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .initial_mtu(PACKET)
        .min_mtu(1200)
        .mtu_discovery_config(None::<MtuDiscoveryConfig>)
        .stream_receive_window(WINDOW.into())
        .receive_window((2 * WINDOW).into())
        .send_window(u64::from(2 * WINDOW));
    Arc::new(transport)
}

/// Answers one connection: reads every stream to its end.
pub(crate) async fn serve(aead: Aead, ready: impl FnOnce(SocketAddr, String)) {
    let cert = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(cert.signing_key.serialize_der()));
    let mut tls = ServerConfig::builder_with_provider(provider(aead))
        .with_protocol_versions(&[&version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![cert.cert.der().clone()], key)
        .expect("the certificate fits its key");
    tls.alpn_protocols = vec![b"bench".to_vec()];
    let mut config =
        quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("suites for QUIC")));
    config.transport_config(transport());
    let endpoint = Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], 0))).expect("a socket");
    let secret: String = cert.cert.der().iter().map(|byte| format!("{byte:02x}")).collect();
    ready(endpoint.local_addr().expect("bound"), secret);
    let connection = endpoint.accept().await.expect("a client").await.expect("a handshake");
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
    let der: Vec<u8> = (0..secret.len() / 2)
        .map(|at| u8::from_str_radix(&secret[2 * at..2 * at + 2], 16).expect("hex"))
        .collect();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(der)).expect("a certificate");
    let mut tls = ClientConfig::builder_with_provider(provider(aead))
        .with_protocol_versions(&[&version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"bench".to_vec()];
    let mut config =
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("suites for QUIC")));
    config.transport_config(transport());
    let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a socket");
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(server, "localhost").expect("dials").await.expect("a handshake");
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
    connection.close(0u32.into(), b"");
    endpoint.wait_idle().await;
    time
}

//! Certificates and TLS 1.3 for the stacks that have them: one AEAD for data, X25519, no resumption.

use std::sync::Arc;

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, version};

use crate::grid::Aead;
use crate::setup::ALPN;

/// The name in the certificate.
pub(super) const NAME: &str = "localhost";

/// A new key, and a certificate of its own making.
pub(super) fn certificate() -> rcgen::CertifiedKey<rcgen::KeyPair> {
    rcgen::generate_simple_self_signed(vec![NAME.into()]).expect("a certificate")
}

/// ring with one AEAD for data.
pub(super) fn ring_provider(aead: Aead) -> CryptoProvider {
    let first = match aead {
        Aead::ChaCha => ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        Aead::Aes | Aead::None => ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
    };
    // QUIC's first packets are sealed with AES-128-GCM; both ends take the first of the list for the data.
    let cipher_suites = vec![first, ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    CryptoProvider { cipher_suites, kx_groups: vec![ring::kx_group::X25519], ..ring::default_provider() }
}

/// aws-lc-rs with ChaCha20-Poly1305 alone.
pub(super) fn chacha_provider() -> CryptoProvider {
    let cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    let kx_groups = vec![aws_lc_rs::kx_group::X25519];
    CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() }
}

/// A server's settings, and its certificate.
pub(super) fn server(provider: CryptoProvider) -> (ServerConfig, Vec<u8>) {
    let own = certificate();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("the certificate fits its key");
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    (config, own.cert.der().to_vec())
}

/// The settings of a client that trusts this certificate.
pub(super) fn client(provider: CryptoProvider, certificate: CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config
}

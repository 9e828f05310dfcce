//! noq with ring and its defaults, but for what all stacks are given alike.

use std::sync::Arc;

use bytes::Bytes;
use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use noq::{Endpoint, EndpointConfig, MtuDiscoveryConfig, TokioRuntime, TransportConfig};

use super::{Connection, Gone, RecvHalf, SendHalf, Stack, tls};
use crate::pattern::PIECE;
use crate::setup::{Contact, DATAGRAM_BUFFER, STREAMS, Setup, udp_socket};

pub(crate) struct Noq;

pub(crate) struct Dialer {
    endpoint: Endpoint,
    contact: Contact,
}

fn transport(setup: &Setup) -> Arc<TransportConfig> {
    let window = setup.scenario.window();
    let mut transport = TransportConfig::default();
    transport
        .initial_mtu(setup.scenario.packet)
        .mtu_discovery_config(None::<MtuDiscoveryConfig>)
        .max_concurrent_bidi_streams(STREAMS.into())
        .stream_receive_window(window.into())
        .receive_window((2 * window).into())
        .send_window(u64::from(2 * window))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_BUFFER);
    Arc::new(transport)
}

/// Packets that fill the path are received only where this allows it.
fn endpoint_config(setup: &Setup) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(setup.scenario.packet.max(1472)).expect("more than the least");
    config
}

impl Stack for Noq {
    type Listener = Endpoint;
    type Arriving = noq::Incoming;
    type Dialer = Dialer;
    type Connection = noq::Connection;

    fn listen(setup: &Setup) -> (Endpoint, Contact) {
        let (tls, proof) = tls::server(tls::ring_provider(setup.aead));
        let crypto = QuicServerConfig::try_from(tls).expect("suites for QUIC");
        let mut server = noq::ServerConfig::with_crypto(Arc::new(crypto));
        server.transport_config(transport(setup));
        let endpoint =
            Endpoint::new(endpoint_config(setup), Some(server), udp_socket(), Arc::new(TokioRuntime))
                .expect("an endpoint");
        let contact = Contact { addr: endpoint.local_addr().expect("bound"), proof };
        (endpoint, contact)
    }

    async fn accept(listener: &mut Endpoint) -> noq::Incoming {
        listener.accept().await.expect("the endpoint is open")
    }

    async fn welcome(arriving: noq::Incoming) -> Option<noq::Connection> {
        arriving.await.ok()
    }

    fn dialer(setup: &Setup, contact: &Contact) -> Dialer {
        let tls = tls::client(tls::ring_provider(setup.aead), contact.proof.clone().into());
        let crypto = QuicClientConfig::try_from(tls).expect("suites for QUIC");
        let mut client = noq::ClientConfig::new(Arc::new(crypto));
        client.transport_config(transport(setup));
        let endpoint = Endpoint::new(endpoint_config(setup), None, udp_socket(), Arc::new(TokioRuntime))
            .expect("an endpoint");
        endpoint.set_default_client_config(client);
        Dialer { endpoint, contact: contact.clone() }
    }

    async fn dial(dialer: &Dialer) -> noq::Connection {
        let connecting = dialer.endpoint.connect(dialer.contact.addr, tls::NAME);
        connecting.expect("a dial").await.expect("a handshake")
    }
}

pub(crate) struct Recv {
    stream: noq::RecvStream,
    /// What is lent to the reader.
    piece: Bytes,
}

impl Recv {
    const fn new(stream: noq::RecvStream) -> Self {
        Self { stream, piece: Bytes::new() }
    }
}

impl Connection for noq::Connection {
    type Send = noq::SendStream;
    type Recv = Recv;

    async fn open(&self) -> (noq::SendStream, Recv) {
        let (send, recv) = self.open_bi().await.expect("a stream");
        (send, Recv::new(recv))
    }

    async fn accept(&self) -> Option<(noq::SendStream, Recv)> {
        let (send, recv) = self.accept_bi().await.ok()?;
        Some((send, Recv::new(recv)))
    }

    async fn send_datagram(&self, data: &[u8]) {
        self.send_datagram_wait(Bytes::copy_from_slice(data)).await.expect("datagrams are on");
    }

    async fn read_datagram(&self) -> Option<Bytes> {
        Self::read_datagram(self).await.ok()
    }

    fn close(&self) {
        Self::close(self, 0u32.into(), b"");
    }
}

impl SendHalf for noq::SendStream {
    async fn write(&mut self, data: &[u8]) -> Result<(), Gone> {
        self.write_all(data).await.map_err(Gone::new)
    }

    async fn finish(&mut self) -> Result<(), Gone> {
        Self::finish(self).map_err(Gone::new)
    }
}

impl RecvHalf for Recv {
    async fn read(&mut self) -> Option<&[u8]> {
        self.piece = self.stream.read_chunk(PIECE).await.ok()??;
        Some(&self.piece)
    }
}

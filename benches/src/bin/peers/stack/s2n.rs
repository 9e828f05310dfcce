//! s2n-quic with its own I/O, limits and datagram endpoint, and s2n-tls.
//!
//! s2n-tls has no policy that prefers ChaCha20-Poly1305, and its server takes it from a client that offers nothing else:
//! there the client has rustls with aws-lc-rs.

use core::net::SocketAddr;
use core::task::Poll;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use s2n_quic::Server;
use s2n_quic::client::{Client, Connect};
use s2n_quic::connection::{Handle, StreamAcceptor};
use s2n_quic::provider::datagram::default as datagrams;
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::tls::{rustls as rustls_tls, s2n_tls as own_tls};
use s2n_quic::provider::{StartError, io};
use s2n_quic::stream::{BidirectionalStream, ReceiveStream, SendStream};
use s2n_tls::security::Policy;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::{Gone, RecvHalf, SendHalf, Stack, tls};
use crate::grid::Aead;
use crate::setup::{ALPN, Contact, DATAGRAM_BUFFER, STREAMS, Setup, udp_socket};

/// AES-256-GCM first, ChaCha20-Poly1305 if need be; X25519 first.
const POLICY: &str = "20190801";
/// Its MTU counts the headers of IPv4 and UDP.
const HEADERS: u16 = 28;
/// Its queues count datagrams.
const DATAGRAMS: usize = DATAGRAM_BUFFER / 1200;

fn policy() -> Policy {
    Policy::from_version(POLICY).expect("a name")
}

fn io(setup: &Setup) -> io::tokio::Provider {
    let mtu = setup.scenario.packet + HEADERS;
    io::tokio::Builder::default()
        .with_rx_socket(udp_socket())
        .and_then(|io| io.with_max_mtu(mtu))
        .and_then(|io| io.with_initial_mtu(mtu))
        .and_then(|io| io.build())
        .expect("a socket")
}

fn limits(setup: &Setup) -> Limits {
    let window = u64::from(setup.scenario.window());
    Limits::new()
        .with_data_window(2 * window)
        .and_then(|limits| limits.with_bidirectional_local_data_window(window))
        .and_then(|limits| limits.with_bidirectional_remote_data_window(window))
        .and_then(|limits| limits.with_max_send_buffer_size(setup.scenario.window()))
        .and_then(|limits| limits.with_max_open_local_bidirectional_streams(STREAMS.into()))
        .and_then(|limits| limits.with_max_open_remote_bidirectional_streams(STREAMS.into()))
        .expect("limits in their ranges")
}

fn datagram_endpoint() -> datagrams::Endpoint {
    let builder = datagrams::Endpoint::builder()
        .with_send_capacity(DATAGRAMS)
        .and_then(|builder| builder.with_recv_capacity(DATAGRAMS));
    let Ok(endpoint) = builder.expect("room for some").build();
    endpoint
}

fn own_client(pem: &str) -> own_tls::Client {
    let mut builder = own_tls::Client::builder();
    builder.config_mut().set_security_policy(&policy()).expect("a policy");
    builder
        .with_application_protocols([ALPN])
        .and_then(|builder| builder.with_certificate(pem))
        .and_then(|builder| builder.build())
        .expect("a client")
}

fn rustls_client(pem: &str) -> rustls_tls::Client {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    tls::client(tls::chacha_provider(), certificate).into()
}

fn client(setup: &Setup, pem: &str) -> Result<Client, StartError> {
    let client = Client::builder();
    if setup.aead == Aead::ChaCha {
        let client = client.with_tls(rustls_client(pem)).expect("no failure");
        let client = client.with_io(io(setup)).expect("no failure");
        let client = client.with_limits(limits(setup)).expect("no failure");
        client.with_datagram(datagram_endpoint()).expect("no failure").start()
    } else {
        let client = client.with_tls(own_client(pem)).expect("no failure");
        let client = client.with_io(io(setup)).expect("no failure");
        let client = client.with_limits(limits(setup)).expect("no failure");
        client.with_datagram(datagram_endpoint()).expect("no failure").start()
    }
}

fn server(setup: &Setup) -> (Server, String) {
    let own = tls::certificate();
    let pem = own.cert.pem();
    let mut builder = own_tls::Server::builder();
    builder.config_mut().set_security_policy(&policy()).expect("a policy");
    let tls = builder
        .with_application_protocols([ALPN])
        .and_then(|builder| builder.with_certificate(pem.as_str(), own.signing_key.serialize_pem().as_str()))
        .and_then(|builder| builder.build())
        .expect("a server");
    let server = Server::builder().with_tls(tls).expect("no failure");
    let server = server.with_io(io(setup)).expect("no failure");
    let server = server.with_limits(limits(setup)).expect("no failure");
    let server = server.with_datagram(datagram_endpoint()).expect("no failure").start().expect("a server");
    (server, pem)
}

pub(crate) struct S2n;

pub(crate) struct Dialer {
    client: Client,
    addr: SocketAddr,
}

impl Stack for S2n {
    type Listener = Server;
    type Arriving = s2n_quic::Connection;
    type Dialer = Dialer;
    type Connection = Connection;

    fn listen(setup: &Setup) -> (Server, Contact) {
        let (server, pem) = server(setup);
        let contact = Contact { addr: server.local_addr().expect("bound"), proof: pem.into_bytes() };
        (server, contact)
    }

    async fn accept(listener: &mut Server) -> s2n_quic::Connection {
        listener.accept().await.expect("the endpoint is open")
    }

    async fn welcome(arriving: s2n_quic::Connection) -> Option<Connection> {
        Some(Connection::new(arriving))
    }

    fn dialer(setup: &Setup, contact: &Contact) -> Dialer {
        let pem = core::str::from_utf8(&contact.proof).expect("the certificate of the server");
        Dialer { client: client(setup, pem).expect("a client"), addr: contact.addr }
    }

    async fn dial(dialer: &Dialer) -> Connection {
        let connect = Connect::new(dialer.addr).with_server_name(tls::NAME);
        Connection::new(dialer.client.connect(connect).await.expect("a handshake"))
    }
}

pub(crate) struct Connection {
    handle: Handle,
    acceptor: Mutex<StreamAcceptor>,
}

impl Connection {
    fn new(connection: s2n_quic::Connection) -> Self {
        let (handle, acceptor) = connection.split();
        Self { handle, acceptor: Mutex::new(acceptor) }
    }
}

fn halves(stream: BidirectionalStream) -> (SendStream, Recv) {
    let (recv, send) = stream.split();
    (send, Recv { stream: recv, piece: Bytes::new() })
}

impl super::Connection for Connection {
    type Send = SendStream;
    type Recv = Recv;

    async fn open(&self) -> (SendStream, Recv) {
        // A handle knows its own waker: each task has one.
        let mut handle = self.handle.clone();
        halves(handle.open_bidirectional_stream().await.expect("a stream"))
    }

    async fn accept(&self) -> Option<(SendStream, Recv)> {
        let next = core::future::poll_fn(|cx| {
            self.acceptor.lock().unwrap_or_else(PoisonError::into_inner).poll_accept_bidirectional_stream(cx)
        });
        next.await.ok()?.map(halves)
    }

    async fn send_datagram(&self, data: &[u8]) {
        let mut data = Bytes::copy_from_slice(data);
        let sent = core::future::poll_fn(|cx| {
            let send = |sender: &mut datagrams::Sender| sender.poll_send_datagram(&mut data, cx);
            self.handle.datagram_mut(send).expect("the default sender")
        });
        sent.await.expect("datagrams are on");
    }

    async fn read_datagram(&self) -> Option<Bytes> {
        let received = core::future::poll_fn(|cx| {
            let receive = |receiver: &mut datagrams::Receiver| receiver.poll_recv_datagram(cx);
            self.handle.datagram_mut(receive).map_or(Poll::Ready(None), |polled| polled.map(Result::ok))
        });
        received.await
    }

    fn close(&self) {
        self.handle.close(0u32.into());
    }
}

impl SendHalf for SendStream {
    async fn write(&mut self, data: &[u8]) -> Result<(), Gone> {
        self.send(Bytes::copy_from_slice(data)).await.map_err(Gone::new)
    }

    async fn finish(&mut self) -> Result<(), Gone> {
        Self::finish(self).map_err(Gone::new)
    }
}

pub(crate) struct Recv {
    stream: ReceiveStream,
    /// What is lent to the reader.
    piece: Bytes,
}

impl RecvHalf for Recv {
    async fn read(&mut self) -> Option<&[u8]> {
        self.piece = self.stream.receive().await.ok()??;
        Some(&self.piece)
    }
}

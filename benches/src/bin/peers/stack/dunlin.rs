//! dunlin through its tokio adapter.

use bytes::Bytes;
use dunlin_tokio::{AeadPolicy, Config, Connecting, Endpoint, Identity, Overflow, Peer, PublicKey};

use super::{Buffer, Connection, Gone, RecvHalf, SendHalf, Stack};
use crate::grid::{Aead, Drivers};
use crate::setup::{ALPN, Contact, DATAGRAM_BUFFER, STREAMS, Setup, any_port};

/// The settings of both adapters. Windows begin at the default of 64 KiB, and grow to what the others have from the start.
pub(crate) fn config(setup: &Setup) -> Config {
    let window = u64::from(setup.scenario.window());
    let mut config = Config::default();
    config.alpns = vec![ALPN.to_vec()];
    config.packet_size = setup.scenario.packet;
    config.mtu_discovery.enabled = false;
    config.limits.streams_bidi = STREAMS;
    // No peer here counts what handshakes cost.
    config.limits.dh_per_second = u32::MAX;
    config.limits.max_stream_window = window;
    config.limits.max_window = 2 * window;
    config.datagrams.receive_buffer = DATAGRAM_BUFFER as u32;
    config.datagrams.send_buffer = DATAGRAM_BUFFER as u32;
    config.datagrams.overflow = Overflow::Refuse;
    config.aead = match setup.aead {
        Aead::ChaCha => AeadPolicy::ChaCha20,
        Aead::Aes | Aead::None => AeadPolicy::Aes,
    };
    config
}

/// Who the two ends are.
pub(crate) fn identity(byte: u8) -> Identity {
    Identity::from_secret([byte; 32])
}

/// The key of the server that is meant.
pub(crate) fn server_key(contact: &Contact) -> PublicKey {
    let text = core::str::from_utf8(&contact.proof).ok();
    text.and_then(|text| text.parse().ok()).expect("the key that the server has told")
}

/// An endpoint, with the shards that the scenario wants.
fn endpoint(setup: &Setup, identity: Identity) -> Endpoint {
    let builder = Endpoint::builder().config(config(setup));
    let (builder, shards) = match setup.scenario.drivers {
        Drivers::Runtime => (builder, 1),
        Drivers::Threads { shards } => (builder.shards(shards.into()).own_threads(), shards.into()),
    };
    let endpoint = builder.bind(any_port(), identity).expect("a socket");
    assert_eq!(endpoint.shards(), shards, "the system has no shards");
    endpoint
}

pub(crate) struct Dunlin;

pub(crate) struct Dialer {
    endpoint: Endpoint,
    contact: Contact,
    key: PublicKey,
}

impl Stack for Dunlin {
    type Listener = Endpoint;
    type Arriving = Option<Connecting>;
    type Dialer = Dialer;
    type Connection = dunlin_tokio::Connection;

    fn listen(setup: &Setup) -> (Endpoint, Contact) {
        let endpoint = endpoint(setup, identity(2));
        let proof = endpoint.public_key().to_string().into_bytes();
        let contact = Contact { addr: endpoint.local_addr(), proof };
        (endpoint, contact)
    }

    async fn accept(listener: &mut Endpoint) -> Option<Connecting> {
        listener.accept().await.expect("the endpoint is open").accept().ok()
    }

    async fn welcome(arriving: Option<Connecting>) -> Option<dunlin_tokio::Connection> {
        arriving?.await.ok()
    }

    fn dialer(setup: &Setup, contact: &Contact) -> Dialer {
        Dialer { endpoint: endpoint(setup, identity(1)), contact: contact.clone(), key: server_key(contact) }
    }

    async fn dial(dialer: &Dialer) -> dunlin_tokio::Connection {
        let connecting = dialer.endpoint.connect(dialer.contact.addr, Peer::Key(dialer.key), ALPN);
        connecting.expect("a dial").await.expect("a handshake")
    }
}

pub(crate) struct Recv {
    stream: dunlin_tokio::RecvStream,
    buffer: Buffer,
}

impl Recv {
    fn new(stream: dunlin_tokio::RecvStream) -> Self {
        Self { stream, buffer: Buffer::default() }
    }
}

impl Connection for dunlin_tokio::Connection {
    type Send = dunlin_tokio::SendStream;
    type Recv = Recv;

    async fn open(&self) -> (Self::Send, Recv) {
        let (send, recv) = self.open_bi().await.expect("a stream");
        (send, Recv::new(recv))
    }

    async fn accept(&self) -> Option<(Self::Send, Recv)> {
        let (send, recv) = self.accept_bi().await.ok()?;
        Some((send, Recv::new(recv)))
    }

    async fn send_datagram(&self, data: &[u8]) {
        self.send_datagram_wait(data).await.expect("datagrams are on");
    }

    async fn read_datagram(&self) -> Option<Bytes> {
        Self::read_datagram(self).await.ok()
    }

    fn close(&self) {
        Self::close(self, 0.into(), b"");
    }
}

impl SendHalf for dunlin_tokio::SendStream {
    async fn write(&mut self, data: &[u8]) -> Result<(), Gone> {
        self.write_all(data).await.map_err(Gone::new)
    }

    async fn finish(&mut self) -> Result<(), Gone> {
        Self::finish(self).map_err(Gone::new)
    }
}

impl RecvHalf for Recv {
    async fn read(&mut self) -> Option<&[u8]> {
        let len = self.stream.read(self.buffer.room()).await.ok()??;
        Some(self.buffer.filled(len))
    }
}

//! TCP, plain and with TLS 1.3: a stream is a connection of its own.

use core::marker::PhantomData;
use core::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Buffer, Connection, Gone, RecvHalf, SendHalf, Stack, tls};
use crate::setup::{Contact, Setup, any_port};

/// What is laid over TCP.
pub(crate) trait Layer: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Send + 'static;
    type Server: Clone + Send + Sync;
    type Client: Clone + Send + Sync;

    fn server(setup: &Setup) -> (Self::Server, Vec<u8>);
    fn client(setup: &Setup, proof: &[u8]) -> Self::Client;
    fn accept(server: Self::Server, tcp: TcpStream) -> impl Future<Output = Option<Self::Stream>> + Send;
    fn connect(client: &Self::Client, tcp: TcpStream) -> impl Future<Output = Self::Stream> + Send;
}

/// Nothing.
pub(crate) struct Plain;

impl Layer for Plain {
    type Stream = TcpStream;
    type Server = ();
    type Client = ();

    fn server(_: &Setup) -> ((), Vec<u8>) {
        ((), Vec::new())
    }

    fn client(_: &Setup, _: &[u8]) {}

    async fn accept((): (), tcp: TcpStream) -> Option<TcpStream> {
        Some(tcp)
    }

    async fn connect((): &(), tcp: TcpStream) -> TcpStream {
        tcp
    }
}

/// rustls with ring.
pub(crate) struct Tls;

impl Layer for Tls {
    type Stream = tokio_rustls::TlsStream<TcpStream>;
    type Server = TlsAcceptor;
    type Client = TlsConnector;

    fn server(setup: &Setup) -> (TlsAcceptor, Vec<u8>) {
        let (config, proof) = tls::server(tls::ring_provider(setup.aead));
        (Arc::new(config).into(), proof)
    }

    fn client(setup: &Setup, proof: &[u8]) -> TlsConnector {
        Arc::new(tls::client(tls::ring_provider(setup.aead), proof.to_vec().into())).into()
    }

    async fn accept(server: TlsAcceptor, tcp: TcpStream) -> Option<Self::Stream> {
        Some(server.accept(tcp).await.ok()?.into())
    }

    async fn connect(client: &TlsConnector, tcp: TcpStream) -> Self::Stream {
        let name = ServerName::try_from(tls::NAME).expect("a name");
        client.connect(name, tcp).await.expect("a handshake").into()
    }
}

pub(crate) struct Tcp<L>(PhantomData<L>);

pub(crate) struct Listener<L: Layer> {
    socket: TcpListener,
    server: L::Server,
}

pub(crate) struct Dialer<L: Layer> {
    addr: SocketAddr,
    client: L::Client,
}

impl<L: Layer> Dialer<L> {
    async fn connect(&self) -> L::Stream {
        let tcp = TcpStream::connect(self.addr).await.expect("the server listens");
        tcp.set_nodelay(true).expect("TCP");
        L::connect(&self.client, tcp).await
    }
}

impl<L: Layer> Stack for Tcp<L> {
    type Listener = Listener<L>;
    type Arriving = (TcpStream, L::Server);
    type Dialer = Dialer<L>;
    type Connection = Streams<L>;

    fn listen(setup: &Setup) -> (Listener<L>, Contact) {
        let socket = std::net::TcpListener::bind(any_port()).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let (server, proof) = L::server(setup);
        let contact = Contact { addr: socket.local_addr().expect("bound"), proof };
        (Listener { socket: TcpListener::from_std(socket).expect("a runtime"), server }, contact)
    }

    async fn accept(listener: &mut Listener<L>) -> (TcpStream, L::Server) {
        let (tcp, _) = listener.socket.accept().await.expect("the socket is open");
        tcp.set_nodelay(true).expect("TCP");
        (tcp, listener.server.clone())
    }

    async fn welcome((tcp, server): Self::Arriving) -> Option<Streams<L>> {
        Some(Streams { first: Mutex::new(Some(L::accept(server, tcp).await?)), dialer: None })
    }

    fn dialer(setup: &Setup, contact: &Contact) -> Dialer<L> {
        Dialer { addr: contact.addr, client: L::client(setup, &contact.proof) }
    }

    async fn dial(dialer: &Dialer<L>) -> Streams<L> {
        let first = dialer.connect().await;
        let dialer = Dialer { addr: dialer.addr, client: dialer.client.clone() };
        Streams { first: Mutex::new(Some(first)), dialer: Some(dialer) }
    }
}

/// What stands for a connection with streams: the first is there, the client dials for more.
pub(crate) struct Streams<L: Layer> {
    first: Mutex<Option<L::Stream>>,
    dialer: Option<Dialer<L>>,
}

impl<L: Layer> Streams<L> {
    fn first(&self) -> Option<L::Stream> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn halves<S: AsyncRead + AsyncWrite>(stream: S) -> (WriteHalf<S>, Recv<S>) {
    let (read, write) = split(stream);
    (write, Recv { half: read, buffer: Buffer::default() })
}

impl<L: Layer> Connection for Streams<L> {
    type Send = WriteHalf<L::Stream>;
    type Recv = Recv<L::Stream>;

    async fn open(&self) -> (Self::Send, Self::Recv) {
        if let Some(stream) = self.first() {
            return halves(stream);
        }
        halves(self.dialer.as_ref().expect("a client opens").connect().await)
    }

    async fn accept(&self) -> Option<(Self::Send, Self::Recv)> {
        self.first().map(halves)
    }

    async fn send_datagram(&self, _: &[u8]) {
        unreachable!("TCP has no datagrams, and no scenario asks it for them");
    }

    async fn read_datagram(&self) -> Option<Bytes> {
        core::future::pending().await
    }

    fn close(&self) {}
}

impl<S: AsyncWrite + Send + 'static> SendHalf for WriteHalf<S> {
    async fn write(&mut self, data: &[u8]) -> Result<(), Gone> {
        self.write_all(data).await.map_err(Gone::new)?;
        self.flush().await.map_err(Gone::new)
    }

    async fn finish(&mut self) -> Result<(), Gone> {
        self.shutdown().await.map_err(Gone::new)
    }
}

pub(crate) struct Recv<S> {
    half: ReadHalf<S>,
    buffer: Buffer,
}

impl<S: AsyncRead + Send + 'static> RecvHalf for Recv<S> {
    async fn read(&mut self) -> Option<&[u8]> {
        let len = self.half.read(self.buffer.room()).await.ok().filter(|len| *len > 0)?;
        Some(self.buffer.filled(len))
    }
}

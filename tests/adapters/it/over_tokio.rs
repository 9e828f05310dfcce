//! The scenarios' traits over `dunlin-tokio`.

use core::future::Future;
use core::net::SocketAddr;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use dunlin_core::{
    LocalAddr, PathError, PathEvent, PathId, PathStats, PathStatus, TransportAddr, TransportId,
};
use dunlin_tokio::{
    CloseReason, Config, ConnectError, ConnectOptions, Connection, ConnectionError, DatagramError, Endpoint,
    ErrorCode, Identity, OpenError, PathEvents, Peer, PublicKey, QotpPublicKey, ReadError, RecvStream,
    SendStream, UdpSocket, Undelivered, WireVersion, WriteError,
};
use dunlin_udp::{CustomTransport, TransportStats};

use crate::adapter::{Adapter, Fault, Link, Listener, Node, RecvHalf, SendHalf, TOO_LONG};

/// A runtime of one thread.
pub(crate) struct Tokio;

impl Adapter for Tokio {
    type Node = Endpoint;

    fn run<F: Future<Output = ()>>(scenario: impl FnOnce(Self) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let guarded = async { tokio::time::timeout(TOO_LONG, scenario(Self)).await };
        runtime.block_on(guarded).expect("the scenario hangs");
    }

    fn bind_all(&self, addresses: &[SocketAddr], secret: u8, config: Config) -> Endpoint {
        let builder = addresses[1..].iter().fold(Endpoint::builder(), |builder, also| builder.also_on(*also));
        builder.config(config).bind(addresses[0], Identity::from_secret([secret; 32])).unwrap()
    }

    fn bind_custom(
        &self,
        address: SocketAddr,
        (id, transport): (TransportId, Box<dyn CustomTransport>),
        secret: u8,
        config: Config,
    ) -> Endpoint {
        let builder = Endpoint::builder().transport(id, transport).config(config);
        builder.bind(address, Identity::from_secret([secret; 32])).unwrap()
    }
}

impl Node for Endpoint {
    type Link = Connection;

    fn local_addr(&self) -> SocketAddr {
        Self::local_addr(self)
    }

    fn local_addrs(&self) -> Vec<SocketAddr> {
        Self::local_addrs(self)
    }

    fn sends(&self) -> Vec<u64> {
        self.socket_stats().iter().map(|stats| stats.sends).collect()
    }

    fn transport_stats(&self) -> TransportStats {
        Self::transport_stats(self)
    }

    fn rebind(&self, socket: UdpSocket) {
        Self::rebind(self, socket).unwrap();
    }

    fn public_key(&self) -> PublicKey {
        *Self::public_key(self)
    }

    fn qotp_public_key(&self) -> QotpPublicKey {
        Self::qotp_public_key(self)
    }

    async fn connect(&self, peer: Peer, options: ConnectOptions) -> Result<Connection, Fault> {
        Ok(self.connect_with(peer, options)?.await?)
    }

    async fn accept(&self) -> Result<Connection, Fault> {
        let incoming = Self::accept(self).await.ok_or(Fault::EndpointClosed)?;
        Ok(incoming.accept().map_err(Fault::other)?.await?)
    }

    async fn refuse(&self, code: ErrorCode) {
        Self::accept(self).await.expect("the endpoint is open").refuse(code);
    }

    fn close(&self, code: ErrorCode, reason: &[u8]) {
        Self::close(self, code, reason);
    }

    async fn closed(&self) {
        self.wait_idle().await;
    }
}

impl Link for Connection {
    type Send = SendStream;
    type Recv = RecvStream;
    type Listener = PathEvents;

    fn wire(&self) -> WireVersion {
        Self::wire(self)
    }

    fn path(&self) -> PathStats {
        Self::path(self).expect("it stands")
    }

    fn paths(&self) -> Vec<PathStats> {
        Self::paths(self)
    }

    fn open_path(&self, remote: TransportAddr, local: LocalAddr) -> Result<PathId, PathError> {
        Self::open_path(self, remote, Some(local))
    }

    fn close_path(&self, id: PathId) -> Result<(), PathError> {
        Self::close_path(self, id)
    }

    fn select_path(&self, id: PathId) -> Result<(), PathError> {
        Self::select_path(self, id)
    }

    fn set_path_status(&self, id: PathId, status: PathStatus) -> Result<(), PathError> {
        Self::set_path_status(self, id, status)
    }

    fn path_events(&self) -> PathEvents {
        Self::path_events(self)
    }

    async fn open_bi(&self) -> Result<(SendStream, RecvStream), Fault> {
        Ok(Self::open_bi(self).await?)
    }

    async fn open_uni(&self) -> Result<SendStream, Fault> {
        Ok(Self::open_uni(self).await?)
    }

    async fn accept_bi(&self) -> Result<(SendStream, RecvStream), Fault> {
        Self::accept_bi(self).await.map_err(Fault::Lost)
    }

    async fn accept_uni(&self) -> Result<RecvStream, Fault> {
        Self::accept_uni(self).await.map_err(Fault::Lost)
    }

    fn max_datagram(&self) -> Option<usize> {
        Self::max_datagram(self)
    }

    fn send_datagram(&self, data: &[u8]) -> Result<(), Fault> {
        Ok(Self::send_datagram(self, data)?)
    }

    fn read_datagram(&self) -> Option<Vec<u8>> {
        match pin!(Self::read_datagram(self)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(datagram) => datagram.ok().map(Into::into),
            Poll::Pending => None,
        }
    }

    fn close(&self, code: ErrorCode, reason: &[u8]) {
        Self::close(self, code, reason);
    }

    async fn close_graceful(&self, code: ErrorCode, reason: &[u8]) -> Undelivered {
        Self::close_graceful(self, TOO_LONG, code, reason).await
    }

    async fn closed(&self) -> CloseReason {
        Self::closed(self).await
    }
}

impl Listener for PathEvents {
    async fn next(&mut self) -> Option<PathEvent> {
        Self::next(self).await
    }
}

impl SendHalf for SendStream {
    async fn write_all(&mut self, data: &[u8]) -> Result<(), Fault> {
        Ok(Self::write_all(self, data).await?)
    }

    fn finish(&mut self) -> Result<(), Fault> {
        Ok(Self::finish(self)?)
    }

    fn reset(&mut self, code: ErrorCode) -> Result<(), Fault> {
        Ok(Self::reset(self, code)?)
    }

    async fn delivered(&mut self) -> Result<(), Fault> {
        Ok(Self::delivered(self).await?)
    }
}

impl RecvHalf for RecvStream {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        Ok(Self::read(self, out).await?.unwrap_or(0))
    }

    fn stop(&mut self, code: ErrorCode) {
        Self::stop(self, code);
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::EndpointClosed => Self::EndpointClosed,
            error => Self::other(error),
        }
    }
}

impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Closed(reason) => Self::Lost(reason),
            error => Self::other(error),
        }
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::ConnectionLost(reason) => Self::Lost(reason),
            OpenError::Unsupported => Self::Unsupported,
            error => Self::other(error),
        }
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(reason) => Self::Lost(reason),
            WriteError::Stopped(code) => Self::Stopped(code),
            WriteError::Unsupported => Self::Unsupported,
            error => Self::other(error),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(reason) => Self::Lost(reason),
            ReadError::Reset(code) => Self::Reset(code),
            error => Self::other(error),
        }
    }
}

impl From<DatagramError> for Fault {
    fn from(error: DatagramError) -> Self {
        match error {
            DatagramError::ConnectionLost(reason) => Self::Lost(reason),
            DatagramError::Unsupported => Self::Unsupported,
            error => Self::other(error),
        }
    }
}

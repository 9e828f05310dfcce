//! What the scenarios need of an adapter.

use core::future::Future;
use core::net::SocketAddr;

use dunlin_core::{
    CloseReason, Config, ConnectOptions, Duration, ErrorCode, LocalAddr, PathError, PathEvent, PathId,
    PathStats, PathStatus, Peer, PublicKey, QotpPublicKey, TransportAddr, TransportId, Undelivered,
    WireVersion,
};
use dunlin_udp::{CustomTransport, TransportStats, UdpSocket};

/// Nothing takes this long unless it hangs, not even on a machine that stands still for a while.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(600);

/// How a call failed, in words that all adapters share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The connection ended.
    Lost(CloseReason),
    /// The peer gave the stream up.
    Reset(ErrorCode),
    /// The peer wants no more of the stream.
    Stopped(ErrorCode),
    /// The connection's wire has no such thing, or its peer takes none.
    Unsupported,
    /// The endpoint is closed.
    EndpointClosed,
    /// Something else, which no scenario expects.
    Other(String),
}

impl Fault {
    pub(crate) fn other(error: impl core::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// An adapter, and the loop in which all endpoints of a scenario live.
pub(crate) trait Adapter: Sized {
    type Node: Node;

    /// Runs a scenario to its end.
    fn run<F: Future<Output = ()>>(scenario: impl FnOnce(Self) -> F);

    /// Binds an endpoint to all of these addresses, at least one.
    fn bind_all(&self, addresses: &[SocketAddr], secret: u8, config: Config) -> Self::Node;

    /// Binds an endpoint to this address, with a transport beside.
    fn bind_custom(
        &self,
        address: SocketAddr,
        transport: (TransportId, Box<dyn CustomTransport>),
        secret: u8,
        config: Config,
    ) -> Self::Node;

    /// Binds an endpoint.
    fn bind(&self, address: SocketAddr, secret: u8, config: Config) -> Self::Node {
        self.bind_all(&[address], secret, config)
    }
}

/// An endpoint.
pub(crate) trait Node {
    type Link: Link;

    fn local_addr(&self) -> SocketAddr;
    fn local_addrs(&self) -> Vec<SocketAddr>;
    /// What each socket has sent.
    fn sends(&self) -> Vec<u64>;
    /// What the transports beside the sockets have counted.
    fn transport_stats(&self) -> TransportStats;
    /// Puts another socket in the place of the first.
    fn rebind(&self, socket: UdpSocket);
    fn public_key(&self) -> PublicKey;
    fn qotp_public_key(&self) -> QotpPublicKey;
    /// Dials, and waits until the connection stands.
    async fn connect(&self, peer: Peer, options: ConnectOptions) -> Result<Self::Link, Fault>;
    /// Accepts whoever dials next, and waits until the connection stands.
    async fn accept(&self) -> Result<Self::Link, Fault>;
    /// Refuses whoever dials next.
    async fn refuse(&self, code: ErrorCode);
    fn close(&self, code: ErrorCode, reason: &[u8]);
    /// Waits until the endpoint has closed and its socket with it.
    async fn closed(&self);
}

/// A connection. It is not dropped before its scenario is done with it, since adapters differ in what that does.
pub(crate) trait Link {
    type Send: SendHalf;
    type Recv: RecvHalf;
    type Listener: Listener;

    fn wire(&self) -> WireVersion;
    /// How its path is doing.
    fn path(&self) -> PathStats;
    /// Where the peer is.
    fn remote(&self) -> TransportAddr {
        self.path().remote
    }
    /// How all of them are doing.
    fn paths(&self) -> Vec<PathStats>;
    fn open_path(&self, remote: TransportAddr, local: LocalAddr) -> Result<PathId, PathError>;
    fn close_path(&self, id: PathId) -> Result<(), PathError>;
    fn select_path(&self, id: PathId) -> Result<(), PathError>;
    fn set_path_status(&self, id: PathId, status: PathStatus) -> Result<(), PathError>;
    fn path_events(&self) -> Self::Listener;
    async fn open_bi(&self) -> Result<(Self::Send, Self::Recv), Fault>;
    async fn open_uni(&self) -> Result<Self::Send, Fault>;
    async fn accept_bi(&self) -> Result<(Self::Send, Self::Recv), Fault>;
    async fn accept_uni(&self) -> Result<Self::Recv, Fault>;
    fn max_datagram(&self) -> Option<usize>;
    fn send_datagram(&self, data: &[u8]) -> Result<(), Fault>;
    /// A datagram that is there already.
    fn read_datagram(&self) -> Option<Vec<u8>>;
    fn close(&self, code: ErrorCode, reason: &[u8]);
    async fn close_graceful(&self, code: ErrorCode, reason: &[u8]) -> Undelivered;
    async fn closed(&self) -> CloseReason;
}

/// What happens to the paths of a connection.
pub(crate) trait Listener {
    /// `None` when the connection has ended and all was told.
    async fn next(&mut self) -> Option<PathEvent>;
}

/// The half of a stream that is written to.
pub(crate) trait SendHalf {
    async fn write_all(&mut self, data: &[u8]) -> Result<(), Fault>;
    fn finish(&mut self) -> Result<(), Fault>;
    fn reset(&mut self, code: ErrorCode) -> Result<(), Fault>;
    /// Waits until the peer's transport has everything.
    async fn delivered(&mut self) -> Result<(), Fault>;
}

/// The half of a stream that is read from.
pub(crate) trait RecvHalf {
    /// Zero bytes: the end of the stream.
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Fault>;
    fn stop(&mut self, code: ErrorCode);

    async fn read_to_end(&mut self) -> Result<Vec<u8>, Fault> {
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match self.read(&mut piece).await? {
                0 => return Ok(all),
                read => all.extend_from_slice(&piece[..read]),
            }
        }
    }
}

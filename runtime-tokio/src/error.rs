//! Errors, one small enum per operation. What the engine says is kept.

use std::io;

use dunlin_core::{CloseReason, ErrorCode, LabelTooLong, PublicKey};
use thiserror::Error;

/// Why there is no endpoint.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] dunlin_udp::BindError),
    /// The system has no randomness to give.
    #[error("the system's random generator does not answer")]
    Random(#[source] getrandom::Error),
    /// Not called from within a tokio runtime, the runtime does not take the socket, or there is no thread to be had.
    #[error(
        "an endpoint must be bound within a tokio runtime, and the system must have room for its drivers"
    )]
    Runtime(#[source] io::Error),
}

/// Why an endpoint keeps the socket that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum RebindError {
    /// The endpoint is closed.
    #[error("the endpoint is closed")]
    Closed,
    /// There must be one socket for each shard.
    #[error("{sockets} sockets for {shards} shards: bind a group of as many as `Endpoint::shards` says")]
    Shards {
        /// How many sockets were given.
        sockets: usize,
        /// How many shards the endpoint has.
        shards: usize,
    },
}

/// Why a dial did not even start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The endpoint is closed.
    #[error("the endpoint is closed")]
    EndpointClosed,
    /// The engine says no.
    #[error(transparent)]
    Refused(#[from] dunlin_core::ConnectError),
}

/// Why a handshake led to no connection.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The attempt ended.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// The peer proved this key, and nobody said that it is trusted. See [`Connecting::peer_key`](crate::Connecting::peer_key).
    #[error("the peer has the key {0}, which nobody trusted")]
    Untrusted(PublicKey),
    /// A peer's key was asked for on QOTP's wire, where nobody proves one.
    #[error("QOTP proves nobody's key: there is none to decide on, only the connection to take or leave")]
    NoIdentity,
}

/// Why a stream could not be opened.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer's key is not trusted yet.
    #[error("the peer's key has not been trusted yet")]
    Untrusted,
    /// No memory left in the budget.
    #[error("the memory budget is used up")]
    OverBudget,
    /// The wire of the connection has no such streams: QOTP knows bidirectional ones only, and the native wire chooses
    /// their numbers itself.
    #[error("the wire of this connection has no such streams")]
    Unsupported,
    /// QOTP: a stream with the number asked for is open, or was.
    #[error("that stream number is in use, or was: choose another")]
    InUse,
    /// The connection waits for its last data to arrive and takes no more.
    #[error("the connection is closing")]
    Closing,
    /// The connection ended.
    #[error("the connection is lost: {0}")]
    ConnectionLost(#[source] CloseReason),
}

/// Why a write failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The peer asked us to stop; its code says why.
    #[error("the peer stopped the stream with code {0}")]
    Stopped(ErrorCode),
    /// The stream was finished or reset by us.
    #[error("the stream was finished or reset")]
    Closed,
    /// QOTP has no resets. See [`SendStream::reset`](crate::SendStream::reset) for what is left to do.
    #[error("QOTP cannot reset a stream: finish it, or close the connection")]
    Unsupported,
    /// The peer's key is not trusted yet.
    #[error("the peer's key has not been trusted yet")]
    Untrusted,
    /// The connection ended.
    #[error("the connection is lost: {0}")]
    ConnectionLost(#[source] CloseReason),
}

/// Why a read failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer reset the stream; its code says why.
    #[error("the peer reset the stream with code {0}")]
    Reset(ErrorCode),
    /// The stream was stopped by us.
    #[error("the stream was stopped")]
    Closed,
    /// The connection ended before the stream did.
    #[error("the connection is lost: {0}")]
    ConnectionLost(#[source] CloseReason),
}

/// Why a stream was not read to its end.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ReadToEndError {
    /// The stream is longer than the limit given.
    #[error("the stream is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The stream failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why an unreliable datagram was not queued.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// The peer does not accept datagrams, or the wire of the connection (QOTP) has none.
    #[error("the peer, or the wire of this connection, takes no datagrams")]
    Unsupported,
    /// Longer than a packet of this path can carry, or than the peer accepts.
    #[error("the datagram is longer than the {max} bytes that fit")]
    TooLarge {
        /// Largest datagram that fits now, in bytes.
        max: usize,
    },
    /// The send queue is full and set to refuse.
    #[error("the datagram queue is full")]
    Full,
    /// The peer's key is not trusted yet.
    #[error("the peer's key has not been trusted yet")]
    Untrusted,
    /// The connection ended.
    #[error("the connection is lost: {0}")]
    ConnectionLost(#[source] CloseReason),
}

/// Why no secret was exported.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The label has more than 255 bytes.
    #[error(transparent)]
    Label(#[from] LabelTooLong),
    /// The connection is QOTP's, which has no secret that is its own alone.
    #[error("QOTP connections have no secrets to export")]
    Unsupported,
    /// The connection ended, and its keys are wiped.
    #[error("the connection is lost: {0}")]
    ConnectionLost(#[source] CloseReason),
}

/// The kind of I/O error that stands for the end of a connection.
fn kind_of(reason: &CloseReason) -> io::ErrorKind {
    match reason {
        CloseReason::Local { .. } => io::ErrorKind::NotConnected,
        CloseReason::IdleTimeout
        | CloseReason::NoAnswer
        | CloseReason::Versions(_)
        | CloseReason::Unconfirmed => io::ErrorKind::TimedOut,
        CloseReason::Refused { .. } => io::ErrorKind::ConnectionRefused,
        CloseReason::Peer { .. } | CloseReason::PeerTransport(_) | CloseReason::PeerRestarted => {
            io::ErrorKind::ConnectionReset
        }
        _ => io::ErrorKind::ConnectionAborted,
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Stopped(_) => io::ErrorKind::ConnectionReset,
            WriteError::Closed => io::ErrorKind::BrokenPipe,
            WriteError::Unsupported => io::ErrorKind::Unsupported,
            WriteError::Untrusted => io::ErrorKind::PermissionDenied,
            WriteError::ConnectionLost(reason) => kind_of(reason),
        };
        Self::new(kind, error)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Reset(_) => io::ErrorKind::ConnectionReset,
            ReadError::Closed => io::ErrorKind::NotConnected,
            ReadError::ConnectionLost(reason) => kind_of(reason),
        };
        Self::new(kind, error)
    }
}

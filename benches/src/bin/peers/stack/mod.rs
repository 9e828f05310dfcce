//! What the scenarios need of a stack, and who has it.

pub(crate) mod dunlin;
pub(crate) mod noq;
pub(crate) mod quinn;
pub(crate) mod s2n;
pub(crate) mod tcp;
mod tls;

use bytes::Bytes;

use crate::pattern::PIECE;
use crate::setup::{Contact, Setup};

/// A transport with an asynchronous API. Its functions panic where they fail: there is nothing to measure then.
pub(crate) trait Stack: Send + Sync + 'static {
    type Listener: Send;
    type Arriving: Send + 'static;
    type Dialer: Send + Sync + 'static;
    type Connection: Connection;

    /// A server on loopback.
    fn listen(setup: &Setup) -> (Self::Listener, Contact);

    /// Waits for somebody to dial.
    fn accept(listener: &mut Self::Listener) -> impl Future<Output = Self::Arriving> + Send;

    /// Waits until a handshake is over; `None` if it fails.
    fn welcome(arriving: Self::Arriving) -> impl Future<Output = Option<Self::Connection>> + Send;

    /// What dials a server.
    fn dialer(setup: &Setup, contact: &Contact) -> Self::Dialer;

    /// Dials it.
    fn dial(dialer: &Self::Dialer) -> impl Future<Output = Self::Connection> + Send;
}

/// A connection.
pub(crate) trait Connection: Send + Sync + 'static {
    type Send: SendHalf;
    type Recv: RecvHalf;

    /// Opens a bidirectional stream.
    fn open(&self) -> impl Future<Output = (Self::Send, Self::Recv)> + Send;

    /// Waits for the next bidirectional stream of the peer; `None` when there will be none.
    fn accept(&self) -> impl Future<Output = Option<(Self::Send, Self::Recv)>> + Send;

    /// Queues an unreliable datagram, when there is room for it.
    fn send_datagram(&self, data: &[u8]) -> impl Future<Output = ()> + Send;

    /// Waits for an unreliable datagram; `None` when there will be none.
    fn read_datagram(&self) -> impl Future<Output = Option<Bytes>> + Send;

    /// Ends it.
    fn close(&self);
}

/// What a stack that copies reads into: small for a request, large once it was filled.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    full: bool,
}

impl Buffer {
    /// The first size: enough for a request.
    const SMALL: usize = 2 << 10;

    /// Room to read into.
    fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() || self.full {
            self.bytes.resize(if self.full { PIECE } else { Self::SMALL }, 0);
        }
        &mut self.bytes
    }

    /// What was read.
    fn filled(&mut self, len: usize) -> &[u8] {
        self.full = len == self.bytes.len();
        &self.bytes[..len]
    }
}

/// The peer takes no more, which is nothing unusual for a server.
#[derive(Debug, thiserror::Error)]
#[error("the stream is gone: {0}")]
pub(crate) struct Gone(String);

impl Gone {
    fn new(error: impl ToString) -> Self {
        Self(error.to_string())
    }
}

/// The sending half of a stream.
pub(crate) trait SendHalf: Send + 'static {
    /// Writes all of it.
    fn write(&mut self, data: &[u8]) -> impl Future<Output = Result<(), Gone>> + Send;

    /// Says that there is no more.
    fn finish(&mut self) -> impl Future<Output = Result<(), Gone>> + Send;
}

/// The receiving half of a stream.
pub(crate) trait RecvHalf: Send + 'static {
    /// Waits for what comes next, in pieces of any size; `None` at the end of the stream, or of the connection.
    fn read(&mut self) -> impl Future<Output = Option<&[u8]>> + Send;
}

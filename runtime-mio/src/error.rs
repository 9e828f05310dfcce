//! Errors, one small enum per operation. What the engine says is kept.

use std::io;

use thiserror::Error;

/// Why there is no endpoint, or no driver.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] dunlin_udp::BindError),
    /// The system has no randomness to give.
    #[error("the system's random generator does not answer")]
    Random(#[source] getrandom::Error),
    /// The system has no means to wait for the socket, or no descriptors left for it.
    #[error("the socket cannot be waited for")]
    Poll(#[source] io::Error),
}

/// Why a dial did not even start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The endpoint is closed.
    #[error("the endpoint is closed")]
    Closed,
    /// The engine says no.
    #[error(transparent)]
    Refused(#[from] dunlin_core::ConnectError),
}

/// Why the loop ends.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The endpoint was closed, and every peer has heard of it or has had the time to. There is nothing more to do.
    #[error("the endpoint is closed")]
    Closed,
    /// The socket is of no use any more: it is closed, and every connection has ended.
    #[error("the socket failed")]
    Socket(#[source] io::Error),
    /// Waiting failed. The endpoint is as it was.
    #[error("cannot wait for the socket")]
    Poll(#[source] io::Error),
}

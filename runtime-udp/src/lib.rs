//! The UDP socket that dunlin's adapters share.
//!
//! [`UdpSocket`] sends trains of datagrams in one message (GSO) and receives them so (GRO), sends up to 128 datagrams or
//! trains to as many destinations in one system call (`sendmmsg`, on Linux and Android), carries ECN codepoints and source
//! addresses both ways, forbids fragmentation, and speaks IPv4 and IPv6 on one port. It stands on [`quinn_udp`] and never
//! blocks; waiting until it is ready belongs to the adapters, which register what [`UdpSocket::as_std`], `AsFd` or
//! `AsSocket` gives them.
//!
//! It owns the file descriptor, and closes it when it is dropped; [`UdpSocket::close`] is for those who share one. It has
//! no thread, no buffer and no lock that is held across a wait; what is received lies in the caller's buffers.
//!
//! What the kernel says about a single datagram is no error here: the datagram is lost, as so many are on the way, and
//! counted ([`Outcome::Lost`], [`SocketStats`]). What it says about an earlier one, or because of a signal, costs nothing:
//! the call is made again. Where it refuses to segment, the same train goes out one by one in the same call, and offload
//! stays off: for that destination, or for all if it refuses throughout. A new socket tries again.
//!
//! Several sockets can share a port, a [`SocketGroup`], among which Linux's kernel hands datagrams out by the connection
//! id in them: one for each engine, on as many cores. An endpoint with several addresses has one for each
//! ([`SocketGroups`]).
//!
//! Beside sockets there may be transports of the embedder's own, which carry datagrams to addresses of their own kind
//! ([`CustomTransport`]); `MemoryNetwork` (feature `fake`) has some in memory.
//!
//! [`DatagramSocket`] is the part that an adapter's loop needs; `FakeSocket` (feature `fake`) implements it in memory.
//!
//! The steps of such a loop are here too, for they are the same however it waits: a [`Receiver`] cuts what was received
//! into datagrams for the engine, a [`Transmitter`] sends the engine's trains and keeps what a socket does not take,
//! a [`Clock`] tells the engine's time and a [`FineTimer`] ends short waits, and [`engine`] makes one. And a `Watch` (feature `watch`) says when the system's addresses have changed.
//!
//! ```
//! use dunlin_udp::{BindOptions, DatagramSocket, Outcome, Transmit, UdpSocket};
//!
//! let a = UdpSocket::bind("127.0.0.1:0".parse()?, &BindOptions::default())?;
//! let b = UdpSocket::bind("127.0.0.1:0".parse()?, &BindOptions::default())?;
//! let transmit =
//!     Transmit { destination: b.local_addr(), ecn: None, contents: &[7; 3000], segment_size: Some(1200), src_ip: None };
//! assert_eq!(a.try_send(&transmit), Outcome::Sent);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

mod address;
mod bind;
mod buffers;
mod error;
#[cfg(any(test, feature = "fake"))]
mod fake;
mod groups;
mod kernel;
mod platform;
mod recv;
#[cfg(all(test, unix))]
mod scripted;
mod send;
mod shards;
mod socket;
mod stats;
mod steps;
mod transports;
#[cfg(feature = "watch")]
mod watch;

pub use bind::BindOptions;
pub use buffers::{BufferSizes, SmallBuffers};
pub use error::BindError;
#[cfg(any(test, feature = "fake"))]
pub use fake::{FakeSocket, SentTrain};
pub use groups::{SocketGroups, choose_sockets, local_sockets, socket_for};
pub use quinn_udp::{EcnCodepoint, RecvMeta, Transmit};
pub use send::{BatchOutcome, LossCause, Outcome};
pub use shards::SocketGroup;
pub use socket::{BATCH_SIZE, Closed, DatagramSocket, RECV_BUFFER_LEN, SEND_BATCH_SIZE, UdpSocket};
pub use stats::SocketStats;
pub use steps::{
    Clock, FineTimer, Left, Receiver, SHUTDOWN_LIMIT, Sending, Strays, Transmitter, engine,
    settings_of_a_port,
};
#[cfg(any(test, feature = "fake"))]
pub use transports::memory::{MemoryNetwork, MemoryTransport};
pub use transports::{CustomStats, CustomTransport, Received, TransportStats, Transports};
#[cfg(feature = "watch")]
pub use watch::Watch;

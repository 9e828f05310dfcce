//! dunlin, a secure multipath UDP transport, for applications on tokio.
//!
//! An [`Endpoint`] is a UDP socket and an identity: a key pair, in place of certificates. It dials others by address and
//! public key ([`Endpoint::connect`]) and is dialled ([`Endpoint::accept`]); each [`Connection`] carries any number of
//! streams ([`SendStream`], [`RecvStream`]) and unreliable datagrams.
//!
//! ```
//! use dunlin_tokio::{Config, Endpoint, Identity, Peer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let mut config = Config::default();
//! config.alpns = vec![b"hello".to_vec()];
//! let server = Endpoint::bind("127.0.0.1:0".parse()?, config, Identity::from_secret([1; 32]))?;
//! let client = Endpoint::bind("127.0.0.1:0".parse()?, Config::default(), Identity::from_secret([2; 32]))?;
//!
//! let dial = client.connect(server.local_addr(), Peer::Key(*server.public_key()), b"hello")?;
//! let answer = async { Ok(server.accept().await.ok_or("closed")?.accept()?.await?) };
//! let (here, there) = tokio::try_join!(async { Ok(dial.await?) }, answer)
//! #   .map_err(|error: Box<dyn core::error::Error>| error)?;
//!
//! let mut send = here.open_uni().await?;
//! send.write_all(b"hello, dunlin").await?;
//! send.finish()?;
//! let mut recv = there.accept_uni().await?;
//! assert_eq!(recv.read_to_end(100).await?, b"hello, dunlin");
//! # Ok(())
//! # }
//! ```
//! (Take your secrets from the system's random generator instead, and keep them.)
//!
//! # Futures
//!
//! Every future may be dropped at any time, as `tokio::select!` does, and nothing is lost by that:
//!
//! | future | when it is dropped before it is ready |
//! |---|---|
//! | [`Endpoint::accept`] | the attempt waits for the next call |
//! | [`Endpoint::wait_idle`], [`Connection::closed`] | nothing has changed |
//! | [`Connecting`], [`Connecting::peer_key`] | the attempt is given up (they are values, not calls: dropping a `&mut` borrow of a [`Connecting`] only stops waiting) |
//! | [`Connection::open_bi`], [`Connection::open_uni`], [`Connection::open_id`] | no stream was opened; the place goes to the next who waits |
//! | [`Connection::accept_bi`], [`Connection::accept_uni`], [`Connection::read_datagram`] | the stream or datagram waits for the next call |
//! | [`Connection::send_datagram_wait`] | the datagram was not queued |
//! | [`PathEvents::next`] | the event waits for the next call |
//! | [`Connection::close_graceful`] | the close goes on |
//! | [`SendStream::write`] | nothing was written |
//! | [`SendStream::write_all`] | a part was written; [`SendStream::written`] tells how much |
//! | [`SendStream::delivered`], [`SendStream::stopped`] | nothing has changed |
//! | [`RecvStream::read`], [`RecvStream::read_chunk`] | nothing was read |
//! | [`RecvStream::read_to_end`] | what was read is read again by the next call |
//!
//! # Handles
//!
//! | when this is dropped | this happens |
//! |---|---|
//! | [`SendStream`] | the stream is finished: the peer reads to the end of what was written |
//! | [`RecvStream`] | the peer is asked to stop, with code 0, unless the stream was read to its end; in QOTP, which cannot ask, what comes is thrown away |
//! | [`Incoming`] | the attempt is refused with code 0; in QOTP, which cannot refuse, it is ignored |
//! | [`Connecting`], [`Candidate`] | the attempt is given up, unless streams of it are still held |
//! | the last [`Connection`], stream and [`PathEvents`] of a connection | it is closed with code 0; what was not delivered is lost |
//! | the last [`Endpoint`] | it closes with code 0, and with it its connections |
//!
//! # QOTP
//!
//! An endpoint can speak another wire beside its own: QOTP, version 0, as its reference implementation v0.2.19 does. It
//! encrypts, but **it authenticates nobody**: neither side's key enters the keys of a connection, so whoever can intercept
//! packets can pose as either side, read everything and change everything. (A dial with the responder's key hides what
//! goes with its first packet from everybody else. That is all that keys do there.) It is right for talking to existing
//! QOTP programs, where the network is trusted or the application authenticates by itself; it is wrong for secrets, for
//! permissions, and wherever both sides are dunlins, which have the native wire.
//!
//! So nothing speaks it by accident. Dialling ([`Endpoint::connect_qotp`], or [`ConnectOptions::qotp`]) and accepting
//! ([`Config::accept_qotp`]) are separate switches, both off, and nothing falls back from one wire to the other. An
//! attempt says what it is before it is accepted ([`Incoming::wire`]). The connection has no
//! [`Connection::peer_identity`], only a [`Connection::qotp_claimed_key`], of a type that does not convert to
//! [`PublicKey`].
//!
//! ```
//! use dunlin_tokio::{Config, Endpoint, Identity, WireVersion};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let config = Config::default().accept_qotp(true);
//! let server = Endpoint::bind("127.0.0.1:0".parse()?, config, Identity::from_secret([1; 32]))?;
//! let client = Endpoint::bind("127.0.0.1:0".parse()?, Config::default(), Identity::from_secret([2; 32]))?;
//!
//! let dial = client.connect_qotp(server.local_addr(), Some(server.qotp_public_key()))?;
//! let (mut send, _recv) = dial.open_bi().await?;
//! send.write_all(b"hello, anybody").await?;
//! send.finish()?;
//! let answer = async { Ok(server.accept().await.ok_or("closed")?.accept()?.await?) };
//! let (here, there) = tokio::try_join!(async { Ok(dial.await?) }, answer)
//! #   .map_err(|error: Box<dyn core::error::Error>| error)?;
//!
//! assert_eq!((here.wire(), here.peer_identity()), (WireVersion::Qotp, None));
//! let (_send, mut recv) = there.accept_bi().await?;
//! assert_eq!(recv.read_to_end(100).await?, b"hello, anybody");
//! # Ok(())
//! # }
//! ```
//! What else is different:
//!
//! - All streams are bidirectional, and have numbers that either side may choose ([`Connection::open_id`]). There are no
//!   resets ([`SendStream::reset`]) and no datagrams: these calls fail with `Unsupported`.
//! - The reference implementation ends its half of a stream when it hears the end of ours: ask it for all you want to
//!   hear before you finish. Two dunlins can go on in one direction.
//! - Nothing on the wire closes a connection. The peer of one that was closed hears only its streams end
//!   ([`Connection::close_graceful`]), or nothing, and finds out by the silence, after 30 s at most.
//! - There are no application protocols; what the streams carry is agreed on beforehand.
//!
//! # How it works
//!
//! The protocol is [`dunlin_core`]'s, which knows no socket and no clock; the socket is [`dunlin_udp`]'s. One task, the
//! driver, receives in batches and sends in trains, with one system call each. Engine and tables are behind one lock,
//! which the driver holds for one batch in or one train out; calls of the application copy under it. No lock is held
//! across a wait or a system call, and no waker runs under it. The driver runs on the runtime on which the endpoint was
//! bound, and all work is done there and where its handles are used.
//!
//! That is about one processor core's worth of work. An endpoint can be made of several such *shards* behind its one
//! address ([`Builder::shards`]), which share nothing on the way of a packet; on Linux, where the kernel hands each packet
//! to the shard of its connection.
//!
//! ```
//! use dunlin_tokio::{Config, Endpoint, Identity};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # let config = Config::default();
//! let cores = std::thread::available_parallelism()?.get();
//! let identity = Identity::from_secret([1; 32]);
//! let server = Endpoint::builder().config(config).shards(cores).bind("127.0.0.1:0".parse()?, identity)?;
//! // Where the system has no such thing, there is one.
//! println!("{} shards", server.shards());
//! # Ok(())
//! # }
//! ```
//!
//! Packets go by UDP, and by transports of the application's own, if it has any ([`Builder::transport`]).
//!
//! # Features
//!
//! | feature | what it brings |
//! |---|---|
//! | `fast` | the fastest measured cryptography, aws-lc-rs's; needs a C compiler |
//! | `watch` (on) | an endpoint hears by itself when the system's addresses change ([`Builder::watch_network`]) |
#![deny(unsafe_code)]

mod backlog;
mod builder;
mod connecting;
mod connection;
mod driver;
mod endpoint;
mod error;
mod incoming;
mod link;
mod path_events;
mod recv_stream;
mod send_stream;
mod state;
mod table;
mod wake;
#[cfg(feature = "watch")]
mod watch;

pub use builder::Builder;
pub use connecting::{Candidate, Connecting};
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use error::{
    BindError, ConnectError, ConnectionError, DatagramError, ExportError, OpenError, ReadError,
    ReadToEndError, RebindError, WriteError,
};
pub use incoming::Incoming;
pub use path_events::PathEvents;
pub use recv_stream::RecvStream;
pub use send_stream::SendStream;

pub use bytes::Bytes;
pub use dunlin_core::admission;
pub use dunlin_core::{
    self, AcceptError, AddressError, AddressFailure, AddressInfo, AddressSource, AddressSources,
    AddressStatus, AeadPolicy, CRYPTO_BACKEND, CloseReason, Config, CongestionStats, ConnectOptions,
    ConnectionStats, CustomAddr, DatagramConfig, EarlyData, EarlyToken, EcnCounts, EcnFailure, EcnState,
    EcnStats, EndpointStats, ErrorCode, Gate, Identity, IncomingIdentity, KeyLogEntry, LimiterStats, Limits,
    LocalAddr, MtuDiscovery, Overflow, PathClosed, PathError, PathEvent, PathId, PathKind, PathState,
    PathStats, PathStatus, Peer, PublicKey, QotpConfig, QotpIdentity, QotpKeyError, QotpPublicKey,
    RemoteInfo, RetryError, RetryPolicy, Secret, StreamId, Suite, TransportAddr, TransportError, TransportId,
    TransportProfile, Tuple, Undelivered, VersionList, WhyNot, WireVersion,
};
pub use dunlin_udp::{
    self, BindOptions, CustomTransport, SocketGroup, SocketStats, TransportStats, UdpSocket,
};

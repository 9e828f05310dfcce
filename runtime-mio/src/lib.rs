//! dunlin, a secure multipath UDP transport, for loops on [mio]: one thread, no async, nothing hidden.
//!
//! It is thin. The protocol, with its streams, datagrams and events, is [`dunlin_core`]'s and is used as it is; the
//! socket is [`dunlin_udp`]'s. What is here brings the two together and waits, in a few hundred lines that are also
//! meant to be read: `endpoint.rs` shows how the engine is embedded, `driver.rs` how it is run.
//!
//! # A whole program
//!
//! ```
//! use dunlin_mio::{Config, Driver, Event, Identity, Peer};
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let mut config = Config::default();
//! config.alpns = vec![b"hello".to_vec()];
//! let mut server = Driver::bind("127.0.0.1:0".parse()?, config, Identity::from_secret([1; 32]))?;
//! let (address, key) = (server.local_addr(), *server.engine().public_key());
//!
//! // One loop: answer whoever dials, and send back what comes on any stream.
//! std::thread::spawn(move || {
//!     while server.run_once(None).is_ok() {
//!         while let Some((handle, event)) = server.poll_event() {
//!             match event {
//!                 Event::Incoming => drop(server.accept(handle)),
//!                 Event::Readable(stream) => {
//!                     let Some(mut connection) = server.connection(handle) else { continue };
//!                     while let Ok(Some(text)) = connection.read_chunk(stream, 1000) {
//!                         connection.write(stream, &text).unwrap();
//!                     }
//!                 }
//!                 _ => {}
//!             }
//!         }
//!     }
//! });
//!
//! // Another one: dial, ask, and take the answer.
//! let mut client = Driver::bind("127.0.0.1:0".parse()?, Config::default(), Identity::from_secret([2; 32]))?;
//! let dial = client.connect(address, Peer::Key(key), b"hello")?;
//! let mut connection = client.connection(dial).ok_or("it was just made")?;
//! let stream = connection.open_bi()?;
//! connection.write(stream, b"hello, mio")?;
//! let answer = 'answer: loop {
//!     client.run_once(None)?;
//!     while let Some((handle, event)) = client.poll_event() {
//!         match event {
//!             Event::Readable(stream) => {
//!                 let mut connection = client.connection(handle).ok_or("it has just told something")?;
//!                 break 'answer connection.read_chunk(stream, 1000)?;
//!             }
//!             Event::Closed(reason) => return Err(reason.into()),
//!             _ => {}
//!         }
//!     }
//! };
//! assert_eq!(answer.as_deref(), Some(&b"hello, mio"[..]));
//!
//! // Leaving: the loop goes on until the peer has heard of it.
//! client.close(0.into(), b"thank you");
//! while client.run_once(None).is_ok() {}
//! # Ok(())
//! # }
//! ```
//! (Take your secrets from the system's random generator instead, and keep them. An echo that has more to say than fits
//! waits for [`Event::Writable`]; the example `echo` does.)
//!
//! # In a loop of your own
//!
//! [`Driver`] has a [`Poll`](::mio::Poll) of its own. Where there is one already, an [`Endpoint`] is registered with it,
//! beside everything else:
//!
//! ```no_run
//! # use dunlin_mio::Endpoint;
//! # use dunlin_mio::mio::{Events, Poll, Token};
//! # fn work(endpoint: &mut Endpoint) -> Result<(), Box<dyn core::error::Error>> {
//! const DUNLIN: Token = Token(7);
//! let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(64));
//! endpoint.register(poll.registry(), DUNLIN)?;
//! loop {
//!     endpoint.transmit()?;
//!     poll.poll(&mut events, endpoint.poll_timeout())?;
//!     // ... what the other tokens say ...
//!     endpoint.receive()?;
//!     while let Some((handle, event)) = endpoint.poll_event() {
//!         // Accept, read, write, ...
//!     }
//! }
//! # }
//! ```
//! [`Driver::run_once`] is these three lines. Several endpoints take the smallest of their timeouts. A loop that does not
//! wait at all, as a game's, calls `receive` at the beginning of a frame and `transmit` at its end, and needs no
//! registration.
//!
//! # More cores
//!
//! An endpoint is one thread's work. Several of them can stand behind one address, where the system's kernel hands each
//! packet to the one that has its connection; Linux's does. They share nothing, and each runs as if it were the only one:
//!
//! ```
//! use dunlin_mio::{Config, Driver, Endpoint, Identity};
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # let config = Config::default();
//! let identity = Identity::from_secret([1; 32]);
//! // Where the system has no such thing, this is one endpoint.
//! for shard in Endpoint::builder().config(config).shards(2).bind("127.0.0.1:0".parse()?, identity)? {
//!     let mut driver = Driver::new(shard)?;
//!     std::thread::spawn(move || while driver.run_once(None).is_ok() {
//!         // ... as above ...
//! #       break;
//!     });
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Rules
//!
//! - Events are hints and told once: a stream is [`Event::Readable`] once until a read has found nothing, so read until
//!   [`ReadError::Blocked`]. A loop does not wait while there are events to fetch.
//! - What happens to paths is told to those who ask: [`Connection::subscribe_paths`], then at each [`Event::Path`]
//!   [`Connection::path_events`] until it has no more. When the event is [`Event::Closed`], the last ones are there still.
//! - [`Endpoint::poll_timeout`] is right until something changes: ask it last.
//! - Everything is one thread's work, though any thread's. From another one, [`Driver::waker`] ends the wait; a channel says what for.
//! - The endpoint owns its socket. [`Endpoint::close`] may come twice; later calls say `Closed`.
//! - Packets go by UDP, and by transports of the application's own, if it has any ([`Builder::transport`]).
//! - [`Connection`] is the engine's own view. Its verbs never wait; what cannot be done now is `Blocked`, and an event
//!   says when to try again.
//!
//! # Features
//!
//! | feature | what it brings |
//! |---|---|
//! | `fast` | the fastest measured cryptography, aws-lc-rs's; needs a C compiler |
//! | `watch` (on) | an endpoint hears by itself when the system's addresses change ([`Builder::watch_network`]) |
#![forbid(unsafe_code)]

mod alarm;
mod bell;
mod builder;
mod custom;
mod driver;
mod endpoint;
mod error;
mod exchange;
mod socket;
mod sockets;
mod timer;
#[cfg(feature = "watch")]
mod watch;

pub use builder::Builder;
pub use driver::Driver;
pub use endpoint::Endpoint;
pub use error::{BindError, ConnectError, RunError};

pub use dunlin_core::admission;
pub use dunlin_core::{
    self, AcceptError, AddressError, AddressFailure, AddressInfo, AddressSource, AddressSources,
    AddressStatus, AeadPolicy, Bytes, CRYPTO_BACKEND, CloseReason, Config, CongestionStats, ConnectOptions,
    Connection, ConnectionHandle, ConnectionState, ConnectionStats, CustomAddr, DatagramConfig,
    DatagramError, Direction, EarlyData, EarlyToken, EndpointStats, ErrorCode, Event, Gate, Identity,
    IncomingIdentity, Instant, KeyLogEntry, LimiterStats, Limits, LocalAddr, MtuDiscovery, OpenError,
    Overflow, PathClosed, PathCursor, PathError, PathEvent, PathId, PathKind, PathLog, PathState, PathStats,
    PathStatus, Peer, PeerIdentity, PublicKey, QotpConfig, QotpIdentity, QotpPublicKey, ReadError,
    RemoteInfo, RetryError, RetryPolicy, Secret, StreamId, Suite, TransportAddr, TransportError, TransportId,
    TransportProfile, Tuple, Undelivered, VersionList, WhyNot, WireVersion, WriteError,
};
pub use dunlin_udp::{self, BindOptions, CustomTransport, SocketGroup, TransportStats, UdpSocket};
pub use mio;

#![doc = include_str!("contract.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admission;
mod budget;
mod cids;
mod config;
mod congestion;
mod connection;
mod crypto;
mod datagrams;
mod endpoint;
mod error;
mod event;
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod hash;
mod hex;
mod id;
mod inspect;
#[doc(hidden)]
pub mod internal;
mod key_log;
mod limiter;
mod path;
mod ranges;
mod recovery;
mod remote;
mod rng;
mod shard;
mod shared;
mod stats;
mod streams;
mod time;
mod wire;
#[cfg(test)]
mod worked_examples;

pub use bytes::Bytes;

pub use config::{
    AeadPolicy, Config, DatagramConfig, EarlyData, Limits, MtuDiscovery, Overflow, QotpConfig, RetryPolicy,
    TransportProfile,
};
pub use congestion::{CongestionPhase, CongestionStats};
pub use connection::Undelivered;
pub use connection::view::{Connection, ConnectionState, PeerIdentity};
pub use crypto::keys::LabelTooLong;
pub use crypto::{
    CRYPTO_BACKEND, EarlyToken, Identity, KeyError, PublicKey, QotpIdentity, QotpKeyError, QotpPublicKey,
    Secret, Suite,
};
pub use endpoint::{
    ConnectOptions, ConnectionHandle, Endpoint, Incoming, IncomingIdentity, LocalSocket, NetworkChange, Peer,
};
pub use error::{
    AcceptError, AddressError, CloseReason, ConnectError, DatagramError, OpenError, PathError, ReadError,
    RetryError, TransportError, WriteError,
};
pub use event::Event;
pub use id::{ConnectionId, Direction, ErrorCode, PacketNumber, PathId, Role, StreamId, WireVersion};
pub use inspect::{Inspected, Inspector, Payload, Sequence};
pub use key_log::{KeyLogEntry, KeyLogError};
pub use limiter::{Gate, LimiterStats};
pub use path::addr::{
    Arrival, CustomAddr, CustomAddrTooLong, Ecn, LocalAddr, ParseAddrError, PathKind, PeerRef, RelayId,
    TrainLimit, Transmit, TransportAddr, TransportId, Tuple,
};
pub use path::ecn::{EcnFailure, EcnState, EcnStats};
pub use path::events::{PathClosed, PathCursor, PathEvent, PathLog};
pub use path::mapped::AddrMap;
pub use path::select;
pub use path::stats::{PathState, PathStats};
pub use recovery::rtt::Rtt;
pub use remote::{
    AddressFailure, AddressInfo, AddressSource, AddressSources, AddressStatus, RemoteInfo, WhyNot,
};
pub use shard::Shard;
pub use stats::{ConnectionStats, Disposition, DropReason, EndpointStats};
pub use time::{Duration, Instant};
pub use wire::frame::{EcnCounts, PathStatus};
pub use wire::header::peek_connection_id;
pub use wire::versions::VersionList;

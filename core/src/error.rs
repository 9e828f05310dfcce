//! Errors, one small enum per operation, and why connections end.

use bytes::Bytes;
use thiserror::Error;

use crate::id::ErrorCode;
use crate::wire::versions::VersionList;

/// Why a dial did not even start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing can be sent to that address, or to any of those, or it is one of our own. Or it was a guess that may not be
    /// tried ([`ConnectOptions::guesses`](crate::ConnectOptions::guesses)).
    #[error(
        "no packet can be sent to that address: it needs a port, and a scope if it is link-local, and must be neither \
         unspecified, multicast, broadcast nor this endpoint's own"
    )]
    Address,
    /// QOTP dials one address at a time.
    #[error("that wire dials one address: leave `others` and `guesses` empty")]
    OneAddress,
    /// The peer is named in a way that the wire does not know: QOTP dials `AnyKey` or a `QotpKey`, the native wire
    /// everything but that.
    #[error(
        "that wire cannot dial such a peer: QOTP takes `AnyKey` or `QotpKey`, and only QOTP takes the latter"
    )]
    Wire,
    /// The peer's key is our own. QOTP cannot dial it at all.
    #[error("that is this endpoint's own key; on the native wire set `allow_self` if you mean it")]
    OwnKey,
    /// The offer is empty, too long, or has an empty name.
    #[error("offer one to 16 application protocols of 1 to 255 bytes, at most 256 bytes together")]
    Alpns,
    /// As many connections as `Limits` allows.
    #[error("the endpoint holds as many connections as its limits allow")]
    TooManyConnections,
    /// No memory left in the endpoint's budget.
    #[error("the endpoint's memory budget is used up")]
    OverBudget,
}

/// Why an address of a peer was not taken down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing can be sent there.
    #[error(
        "no packet can be sent to that address: it needs a port, and a scope if it is link-local, and must be neither \
         unspecified, multicast nor broadcast"
    )]
    Address,
    /// The endpoint's memory budget is used up, or the peer has 16 relays already.
    #[error("there is no room for another address: the memory budget is used up, or the peer has 16 relays")]
    NoRoom,
}

/// Why an incoming attempt could not be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Already accepted, refused, ignored or expired.
    #[error("this attempt is no longer waiting for an answer")]
    Gone,
    /// No memory left in the endpoint's budget.
    #[error("the endpoint's memory budget is used up")]
    OverBudget,
}

/// Why an attempt was not asked to show its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum RetryError {
    /// Already accepted, refused, ignored or expired.
    #[error("this attempt is no longer waiting for an answer")]
    Gone,
    /// It has shown its address. It still waits.
    #[error("this attempt has shown its address already: accept, refuse or ignore it")]
    Validated,
    /// QOTP has no Retry. It still waits.
    #[error("QOTP cannot be asked to show an address: accept or ignore the attempt")]
    Unsupported,
}

/// Why a stream could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer allows no more streams of this kind now; wait for `Event::StreamsAvailable`.
    #[error("the peer allows no more streams of this kind for now")]
    Blocked,
    /// The peer's key is not trusted yet.
    #[error("the peer's key has not been trusted yet: call `trust`")]
    Untrusted,
    /// The connection is closing or closed.
    #[error("the connection is closed")]
    Closed,
    /// No memory left in the budget.
    #[error("the memory budget is used up")]
    OverBudget,
    /// The connection's wire has no such streams: QOTP knows bidirectional ones only, and the native wire chooses the
    /// ids itself.
    #[error("the wire of this connection has no such streams")]
    Unsupported,
    /// A stream with the id asked for is open, or was.
    #[error("that stream id is in use, or was")]
    InUse,
}

/// Why a write failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Nothing fits now; wait for `Event::Writable`.
    #[error("the stream takes no more data for now")]
    Blocked,
    /// The peer asked us to stop; its code says why.
    #[error("the peer stopped the stream with code {0}")]
    Stopped(ErrorCode),
    /// The stream was finished or reset by us, or never was a stream that we send on.
    #[error("the stream is not open for writing")]
    Closed,
    /// The peer's key is not trusted yet.
    #[error("the peer's key has not been trusted yet: call `trust`")]
    Untrusted,
    /// QOTP has no resets: finish the stream instead.
    #[error("the wire of this connection cannot reset a stream: finish it")]
    Unsupported,
}

/// Why a read failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing to read now; wait for `Event::Readable`.
    #[error("no data to read for now")]
    Blocked,
    /// The peer reset the stream; its code says why.
    #[error("the peer reset the stream with code {0}")]
    Reset(ErrorCode),
    /// The stream was stopped by us, read to its end, or never was a stream that we receive on.
    #[error("the stream is not open for reading")]
    Closed,
    /// QOTP cannot ask the peer to stop: read to the end, or abandon the stream.
    #[error(
        "the wire of this connection cannot ask the peer to stop: read to the end, or abandon the stream"
    )]
    Unsupported,
}

/// Why a datagram was not queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
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
    #[error("the peer's key has not been trusted yet: call `trust`")]
    Untrusted,
    /// The connection is closing or closed.
    #[error("the connection is closed")]
    Closed,
}

/// Why nothing was done about a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing can be sent to that address.
    #[error(
        "no packet can be sent to that address: it needs a port and must be neither unspecified, multicast nor broadcast"
    )]
    Address,
    /// There is a path between these ends.
    #[error("there is a path between these ends already")]
    Exists,
    /// There is no open path with that id.
    #[error("there is no open path with that id")]
    Unknown,
    /// It is the only path: open another one first, or close the connection.
    #[error("it is the last path: open another one first, or close the connection")]
    LastPath,
    /// As many paths are open as `Config::max_paths` of both sides allows.
    #[error("as many paths are open as both sides allow: close one first")]
    TooMany,
    /// Every path id of this side is in use, or the peer has not said that it is done with it.
    #[error("no path id is free: wait until the peer has let go of one")]
    NoPathId,
    /// The handshake is not done, or the peer has not answered on that path yet.
    #[error("the peer has not answered there yet")]
    NotConnected,
    /// No memory left in the budget.
    #[error("the memory budget is used up")]
    OverBudget,
    /// The connection is closing or closed.
    #[error("the connection is closed")]
    Closed,
    /// One side allows one path only, or the wire of the connection (QOTP) has no more.
    #[error("the peer, this side's settings, or the wire of this connection allow one path only")]
    Unsupported,
}

/// Why a connection ended.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// This application closed it.
    #[error("closed by this side with code {code}")]
    Local {
        /// The code given.
        code: ErrorCode,
    },
    /// The peer's application closed it.
    #[error("closed by the peer with code {code}{}{}", if reason.is_empty() { "" } else { ": " }, alloc::string::String::from_utf8_lossy(reason).escape_debug())]
    Peer {
        /// The peer's code.
        code: ErrorCode,
        /// The peer's words, at most 512 bytes, usually UTF-8. `Display` shows what is not printable escaped: it may end in a log.
        reason: Bytes,
    },
    /// The peer refused the attempt.
    #[error("the peer refused the connection with code {code}")]
    Refused {
        /// The peer's code.
        code: ErrorCode,
    },
    /// The peer broke the protocol.
    #[error("the peer violated the protocol: {0}")]
    Violation(TransportError),
    /// The peer says that we broke the protocol.
    #[error("the peer reports a protocol violation: {0}")]
    PeerTransport(TransportError),
    /// Nothing was heard from the peer for the idle timeout.
    #[error("nothing was heard from the peer for the idle timeout")]
    IdleTimeout,
    /// The peer abandoned the last path, or the policy wants none of those that are left, and no other one was there in time.
    #[error("the last path is gone, and there was no other one in time")]
    NoPath,
    /// The peer knows nothing of the connection any more: it was restarted, or has lost its state in another way. What was not
    /// acknowledged may or may not have arrived.
    #[error("the peer knows nothing of the connection any more: it was restarted")]
    PeerRestarted,
    /// The dial was not answered: nobody there, or somebody with another key, who stays silent.
    #[error("no answer: nobody is there, or its key is another one")]
    NoAnswer,
    /// The dial was not answered but by somebody who speaks other versions of the wire, or says so: nothing proves it. Nothing is
    /// tried in another version.
    #[error("no answer but that the peer speaks other versions of the wire: {0}")]
    Versions(VersionList),
    /// The attempt was accepted, but the initiator never confirmed it.
    #[error("the initiator did not confirm the handshake")]
    Unconfirmed,
    /// QOTP: a packet was sent six times and never acknowledged, after which QOTP gives up.
    #[error("the peer stopped acknowledging: QOTP gives up after six sendings")]
    RetriesExhausted,
    /// A key sealed or failed to open as many packets as is safe.
    #[error("the keys of the connection are used up")]
    KeysExhausted,
}

/// A protocol violation, by the codes of RFC 9000 section 20.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No error.
    #[error("no error")]
    NoError,
    /// The implementation failed.
    #[error("internal error")]
    Internal,
    /// The peer does not want this connection.
    #[error("connection refused")]
    Refused,
    /// More data than the credit allows.
    #[error("flow control limit exceeded")]
    FlowControl,
    /// More streams than allowed.
    #[error("stream limit exceeded")]
    StreamLimit,
    /// A frame for a stream that cannot have it.
    #[error("frame for a stream in the wrong state")]
    StreamState,
    /// A stream's length changed.
    #[error("final size changed")]
    FinalSize,
    /// Bytes that are no frame.
    #[error("malformed frame")]
    FrameEncoding,
    /// A HELLO with impossible values.
    #[error("bad HELLO")]
    Parameters,
    /// A frame where it must not stand, an acknowledgement of what was never sent, and the like.
    #[error("protocol violation")]
    Protocol,
    /// Key phases out of order.
    #[error("key update out of order")]
    KeyUpdate,
    /// No application protocol in common (RFC 7301's alert in RFC 9001 section 4.8).
    #[error("no application protocol in common")]
    NoCommonAlpn,
    /// A code that this version does not know.
    #[error("transport error {0}")]
    Other(ErrorCode),
}

impl TransportError {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        ErrorCode(match self {
            Self::NoError => 0x00,
            Self::Internal => 0x01,
            Self::Refused => 0x02,
            Self::FlowControl => 0x03,
            Self::StreamLimit => 0x04,
            Self::StreamState => 0x05,
            Self::FinalSize => 0x06,
            Self::FrameEncoding => 0x07,
            Self::Parameters => 0x08,
            Self::Protocol => 0x0a,
            Self::KeyUpdate => 0x0e,
            Self::NoCommonAlpn => 0x0178,
            Self::Other(code) => code.0,
        })
    }

    /// The error that `code` stands for.
    #[must_use]
    pub const fn from_code(code: ErrorCode) -> Self {
        match code.0 {
            0x00 => Self::NoError,
            0x01 => Self::Internal,
            0x02 => Self::Refused,
            0x03 => Self::FlowControl,
            0x04 => Self::StreamLimit,
            0x05 => Self::StreamState,
            0x06 => Self::FinalSize,
            0x07 => Self::FrameEncoding,
            0x08 => Self::Parameters,
            0x0a => Self::Protocol,
            0x0e => Self::KeyUpdate,
            0x0178 => Self::NoCommonAlpn,
            _ => Self::Other(code),
        }
    }
}

//! What the engine tells its embedder. Events are hints; state is asked through the views.

use crate::crypto::PublicKey;
use crate::error::CloseReason;
use crate::id::{Direction, StreamId};

/// Something happened on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Somebody dials us: ask `Endpoint::incoming` and accept, refuse or ignore. Not told where a policy has decided
    /// ([`Config::admission`](crate::Config::admission)).
    Incoming,
    /// The dialler's first packet was acted on at once: what it carried can be read before `Connected` says that the dialler
    /// proved its key. Only where [`Config::early_data`](crate::Config::early_data) allows it.
    EarlyData,
    /// The handshake is done and the peer's key is proved. The first word of a connection that a policy has accepted.
    Connected,
    /// The peer of a dial without a known key has proved this key: call `trust` or close.
    PeerKey(PublicKey),
    /// The peer opened a stream: `accept` returns it.
    StreamOpened(Direction),
    /// A stream has data, its end, or a reset to read.
    Readable(StreamId),
    /// A stream that refused data takes some again, or was stopped by the peer.
    Writable(StreamId),
    /// All data of a finished stream reached the peer's transport, or the stream was reset and the peer knows.
    Finished(StreamId),
    /// The peer allows more streams of this kind.
    StreamsAvailable(Direction),
    /// `read_datagram` has something.
    DatagramReceived,
    /// The datagram queue has room again.
    DatagramSendable,
    /// Something happened to a path: `path_events` has it. Told to those alone who have called `subscribe_paths`.
    Path,
    /// The connection ended. What was received before can still be read until it is forgotten.
    Closed(CloseReason),
}

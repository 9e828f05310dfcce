//! Counters, always on. They only grow; rates are differences.

use core::array;
use core::iter::Sum;

use crate::path::addr::Transmit;

/// Why a datagram was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DropReason {
    /// Shorter than its type allows.
    TooShort,
    /// A wire version that is not spoken here.
    Version,
    /// A packet type that the version does not use.
    Type,
    /// Its routing id belongs to no connection.
    UnknownConnection,
    /// A handshake message that does not open or parse.
    BadHandshake,
    /// A handshake packet that the state of its connection has no use for.
    Unexpected,
    /// The initiator's key is our own.
    OwnKey,
    /// As many half-open attempts or connections as the limits allow, or nobody is accepted here.
    NotAccepting,
    /// No memory left in a budget; the peer will send it again.
    OverBudget,
    /// The packet does not open.
    Unauthentic,
    /// Received before.
    Duplicate,
    /// A path id that is not open.
    UnknownPath,
    /// The connection is closing or was closed by the peer.
    Closed,
    /// It claims to come from an address that nothing can be sent to.
    Source,
    /// QOTP: it opened, but its payload says nothing that makes sense.
    Malformed,
    /// Strangers have had what they get in a second: as many X25519 operations, or answers, as the limits allow.
    RateLimited,
    /// Not of the size that packets of this type have. QOTP: the peer is probably set to another MTU. Native: a first packet
    /// of more than 2,048 bytes.
    Size,
    /// So many packets of its path have come since it was sent that nobody knows whether it was received before.
    TooOld,
    /// The policy does not want whoever it claims to be from ([`Verdict::Ignore`](crate::admission::Verdict::Ignore)).
    Unwanted,
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::Unwanted as usize + 1;

    const fn index(self) -> usize {
        self as usize
    }
}

/// Adds to a counter, which stops at its end.
pub(crate) const fn count(counter: &mut u64, more: u64) {
    *counter = counter.saturating_add(more);
}

/// What became of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Disposition {
    /// It was processed.
    Accepted,
    /// It was dropped and counted.
    Dropped(DropReason),
}

/// Counters of an endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Bytes of UDP payload received.
    pub bytes_received: u64,
    /// Bytes of UDP payload sent.
    pub bytes_sent: u64,
    dropped: [u64; DropReason::COUNT],
    /// Packets sealed or tried to open with an AEAD.
    pub aead_operations: u64,
    /// X25519 operations.
    pub x25519_operations: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// Packets planned: how often a connection was asked for one.
    pub packets_planned: u64,
    /// Frames of authentic packets, and of handshake messages that open, looked at; of a QOTP packet, its acknowledgement and its data.
    pub frames: u64,
    /// Ranges of acknowledgements walked, steps over what others had acknowledged before, and ranges of received or acknowledged stream data moved aside for others, by
    /// four of them (64 bytes).
    pub ranges: u64,
    /// Handshake datagrams digested whole.
    pub digests: u64,
    /// Generations of keys derived for Data packets: three for a connection, and one for each rotation of either
    /// direction.
    pub derivations: u64,
    /// Stateless resets sent, for packets of connections of which nothing is known.
    pub resets_sent: u64,
    /// Connections that ended because the peer knew nothing of them any more.
    pub resets_received: u64,
    /// Dials started.
    pub dials: u64,
    /// Incoming attempts seen.
    pub incoming: u64,
    /// Incoming attempts asked to show their address first.
    pub retries_sent: u64,
    /// Incoming attempts whose early data was acted on at once.
    pub early_applied: u64,
    /// Strangers told which versions of the wire are spoken here.
    pub version_lists_sent: u64,
    /// Bytes of heap reserved by connections, bookkeeping included.
    pub memory_used: u64,
    /// Connections, half-open ones included.
    pub connections: u64,
    /// Incoming attempts that are not confirmed yet.
    pub half_open: u64,
}

impl EndpointStats {
    /// Datagrams dropped for `reason`.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "one place for each reason")]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason.index()]
    }

    /// Datagrams dropped for any reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    pub(crate) const fn count_sent(&mut self, transmit: &Transmit) {
        let segment = if transmit.segment_size == 0 { 1 } else { transmit.segment_size };
        count(&mut self.datagrams_sent, transmit.len.div_ceil(segment) as u64);
        count(&mut self.bytes_sent, transmit.len as u64);
    }

    #[expect(clippy::indexing_slicing, reason = "one place for each reason")]
    pub(crate) const fn count_drop(&mut self, reason: DropReason) {
        count(&mut self.dropped[reason.index()], 1);
    }
}

/// What the shards of a port have counted, together.
impl Sum for EndpointStats {
    #[expect(clippy::indexing_slicing, reason = "one place for each reason")]
    fn sum<I: Iterator<Item = Self>>(shards: I) -> Self {
        let add = u64::saturating_add;
        shards.fold(Self::default(), |sum, shard| Self {
            datagrams_received: add(sum.datagrams_received, shard.datagrams_received),
            datagrams_sent: add(sum.datagrams_sent, shard.datagrams_sent),
            bytes_received: add(sum.bytes_received, shard.bytes_received),
            bytes_sent: add(sum.bytes_sent, shard.bytes_sent),
            dropped: array::from_fn(|reason| add(sum.dropped[reason], shard.dropped[reason])),
            aead_operations: add(sum.aead_operations, shard.aead_operations),
            x25519_operations: add(sum.x25519_operations, shard.x25519_operations),
            timers_fired: add(sum.timers_fired, shard.timers_fired),
            packets_planned: add(sum.packets_planned, shard.packets_planned),
            frames: add(sum.frames, shard.frames),
            ranges: add(sum.ranges, shard.ranges),
            digests: add(sum.digests, shard.digests),
            derivations: add(sum.derivations, shard.derivations),
            resets_sent: add(sum.resets_sent, shard.resets_sent),
            resets_received: add(sum.resets_received, shard.resets_received),
            dials: add(sum.dials, shard.dials),
            incoming: add(sum.incoming, shard.incoming),
            retries_sent: add(sum.retries_sent, shard.retries_sent),
            early_applied: add(sum.early_applied, shard.early_applied),
            version_lists_sent: add(sum.version_lists_sent, shard.version_lists_sent),
            memory_used: add(sum.memory_used, shard.memory_used),
            connections: add(sum.connections, shard.connections),
            half_open: add(sum.half_open, shard.half_open),
        })
    }
}

/// Counters and gauges of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Packets sent, handshake included.
    pub packets_sent: u64,
    /// Packets received and authentic.
    pub packets_received: u64,
    /// Bytes of UDP payload sent.
    pub bytes_sent: u64,
    /// Bytes of UDP payload received in authentic packets.
    pub bytes_received: u64,
    /// Packets declared lost.
    pub packets_lost: u64,
    /// Packets declared lost that were acknowledged later.
    pub spurious_losses: u64,
    /// Bytes of stream data sent more than once.
    pub bytes_retransmitted: u64,
    /// Probe timeouts.
    pub probe_timeouts: u64,
    /// Packets that arrived but did not open.
    pub forged_packets: u64,
    /// Datagrams queued and sent.
    pub datagrams_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams given up: dropped from a full queue, or lost.
    pub datagrams_dropped: u64,
    /// Key phases entered by this side's sender.
    pub key_updates: u64,
    /// Bytes of heap charged to the connection.
    pub memory_used: u64,
}

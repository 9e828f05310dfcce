//! What is told of a path.

use crate::congestion::CongestionStats;
use crate::id::PathId;
use crate::recovery::rtt::Rtt;
use crate::time::Duration;
use crate::wire::frame::PathStatus;

use super::Path;
use super::addr::{LocalAddr, TransportAddr};
use super::ecn::EcnStats;
use super::standing::Standing;

/// How far a path has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PathState {
    /// The peer has not answered there yet.
    Opening,
    /// It may carry data.
    Open,
    /// It is over.
    Closed,
}

/// A path of a connection and how it is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PathStats {
    /// Which one.
    pub id: PathId,
    /// How often its id was used before on this connection.
    pub generation: u32,
    /// How far it has come.
    pub state: PathState,
    /// What this application wants it to be used for.
    pub status: PathStatus,
    /// What the peer's application wants it to be used for.
    pub peer_status: PathStatus,
    /// Our address, as far as it is known: where the peer's packets come to.
    pub local: LocalAddr,
    /// The peer's address.
    pub remote: TransportAddr,
    /// Round-trip time.
    pub rtt: Rtt,
    /// Size of a full packet of stream data now, in bytes of UDP payload. Below `mtu` while there is reason to doubt that
    /// the path still carries so much.
    pub packet_size: u16,
    /// The largest UDP payload that the path was shown to carry, in bytes; `Config::packet_size` as long as nothing larger
    /// was tried.
    pub mtu: u16,
    /// Probes of MTU discovery sent. Lost ones count neither as lost packets nor as congestion.
    pub mtu_probes_sent: u64,
    /// Probes of MTU discovery lost.
    pub mtu_probes_lost: u64,
    /// How often a size that had passed was found not to pass any more.
    pub black_holes: u64,
    /// How much later than a round trip a packet may come without being taken for lost: an eighth of one, more while
    /// reordering is seen, one at most.
    pub reordering: Duration,
    /// Bytes sent and neither acknowledged nor lost.
    pub in_flight: u64,
    /// Explicit congestion notification.
    pub ecn: EcnStats,
    /// Congestion control.
    pub congestion: CongestionStats,
}

impl Path {
    /// How it is doing.
    pub(crate) fn stats(&self) -> PathStats {
        let ends = self.known_tuple();
        PathStats {
            id: self.id,
            generation: self.generation,
            state: match self.standing {
                Standing::Opening { .. } => PathState::Opening,
                Standing::Usable => PathState::Open,
                Standing::Closed { .. } => PathState::Closed,
            },
            status: self.statuses().own(),
            peer_status: self.statuses().peer(),
            local: ends.local,
            remote: ends.remote,
            rtt: self.rtt,
            packet_size: self.packet_size,
            mtu: self.largest_datagram(),
            mtu_probes_sent: self.mtu().stats().probes_sent,
            mtu_probes_lost: self.mtu().stats().probes_lost,
            black_holes: self.mtu().stats().black_holes,
            reordering: self.loss.reordering(&self.rtt),
            in_flight: self.in_flight,
            ecn: self.ecn.stats(self.received.counts()),
            congestion: self.bbr.snapshot(),
        }
    }
}

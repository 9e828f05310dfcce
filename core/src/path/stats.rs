//! What is told of a path.

use crate::congestion::CongestionStats;
use crate::id::PathId;
use crate::recovery::rtt::Rtt;
use crate::stats::count;
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

/// What a path has carried. It only grows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    packets_sent: u64,
    bytes_sent: u64,
    packets_received: u64,
    bytes_received: u64,
    packets_lost: u64,
    spurious_losses: u64,
}

impl Counts {
    /// A train of packets was sent, all of `size` but the last, which may be shorter; of `bytes` in all.
    pub(crate) fn on_sent(&mut self, bytes: usize, size: usize) {
        count(&mut self.packets_sent, bytes.div_ceil(size.max(1)) as u64);
        count(&mut self.bytes_sent, bytes as u64);
    }

    /// An authentic packet came, and was new.
    pub(crate) const fn on_received(&mut self, bytes: usize) {
        count(&mut self.packets_received, 1);
        count(&mut self.bytes_received, bytes as u64);
    }

    /// A packet is taken for lost.
    pub(crate) const fn on_lost(&mut self) {
        count(&mut self.packets_lost, 1);
    }

    /// One that was has arrived.
    pub(crate) const fn on_spurious_loss(&mut self) {
        count(&mut self.spurious_losses, 1);
    }
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
    /// What is sent there is not acknowledged in time, or the peer seems to be elsewhere: data avoids it where there is
    /// another path.
    pub suspect: bool,
    /// Packets sent over it. Those of the handshake and of the end, and answers to other addresses, are counted for the
    /// connection only ([`ConnectionStats`](crate::ConnectionStats)).
    pub packets_sent: u64,
    /// Bytes of UDP payload sent.
    pub bytes_sent: u64,
    /// Packets received and authentic.
    pub packets_received: u64,
    /// Bytes of UDP payload received in authentic packets.
    pub bytes_received: u64,
    /// Packets declared lost, or given up because what they carried goes by another path.
    pub packets_lost: u64,
    /// Those of them that were acknowledged later.
    pub spurious_losses: u64,
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
            suspect: self.is_suspect(),
            packets_sent: self.counts.packets_sent,
            bytes_sent: self.counts.bytes_sent,
            packets_received: self.counts.packets_received,
            bytes_received: self.counts.bytes_received,
            packets_lost: self.counts.packets_lost,
            spurious_losses: self.counts.spurious_losses,
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

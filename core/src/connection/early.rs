//! The frames in the initiator's first packet (docs/PROTOCOL.md, "Packet 0 and early data").

use crate::recovery::sent::SentPackets;
use crate::time::Instant;

/// Early data that is not acknowledged yet.
#[derive(Debug)]
pub(crate) struct EarlyFlight {
    /// Packet 0 and what it carried.
    pub(crate) packet: SentPackets,
    /// When the responder has had enough time to apply it: known once it has acknowledged the confirming packet.
    pub(crate) lost_at: Option<Instant>,
}

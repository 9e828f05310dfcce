//! A path of a connection: two addresses with their own packet numbers, round-trip time and congestion state.

pub(crate) mod addr;
pub(crate) mod ecn;
pub(crate) mod validate;

use crate::congestion::{Bbr, Pacer};
use crate::id::{PacketNumber, PathId};
use crate::recovery::loss::{LossDetector, MAX_PROBE_TIMEOUT};
use crate::recovery::received::Received;
use crate::recovery::rtt::Rtt;
use crate::recovery::sent::SentPackets;
use crate::time::{Duration, Instant};

use addr::{LocalAddr, TransportAddr};
use ecn::EcnValidation;
use validate::Validation;

/// One path.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) id: PathId,
    pub(crate) local: LocalAddr,
    pub(crate) remote: TransportAddr,
    /// Size of a full datagram, in bytes of UDP payload.
    pub(crate) packet_size: u16,
    pub(crate) validation: Validation,
    pub(crate) ecn: EcnValidation,
    pub(crate) received: Received,
    pub(crate) sent: SentPackets,
    pub(crate) in_flight: u64,
    pub(crate) rtt: Rtt,
    pub(crate) loss: LossDetector,
    pub(crate) bbr: Bbr,
    pub(crate) pacer: Pacer,
    /// Something could be sent but for the pacer, until then.
    pub(crate) paced_until: Option<Instant>,
    /// The peer's challenge that is not answered yet; the newest wins.
    pub(crate) response_owed: Option<[u8; 8]>,
    /// Packets without anything ack-eliciting since the last one with.
    pub(crate) quiet: u32,
}

impl Path {
    /// The path of the handshake. Packet 0 of both directions was the handshake's.
    pub(crate) fn new(
        now: Instant,
        local: LocalAddr,
        remote: TransportAddr,
        packet_size: u16,
        seed: u64,
    ) -> Self {
        Self {
            id: PathId::ZERO,
            local,
            remote,
            packet_size,
            validation: Validation::Valid,
            ecn: EcnValidation::new(false),
            received: Received::new(now, PacketNumber::ZERO),
            sent: SentPackets::new(PacketNumber(1)),
            in_flight: 0,
            rtt: Rtt::new(),
            loss: LossDetector::new(),
            bbr: Bbr::new(packet_size, seed),
            pacer: Pacer::new(),
            paced_until: None,
            response_owed: None,
            quiet: 0,
        }
    }

    /// RFC 9002's PTO without back-off, capped at 2 s.
    pub(crate) fn pto(&self, max_ack_delay: Duration) -> Duration {
        self.rtt.pto(max_ack_delay).min(MAX_PROBE_TIMEOUT)
    }

    /// The handshake was answered: a first sample.
    pub(crate) fn on_handshake_round_trip(&mut self, now: Instant, sample: Duration) {
        self.rtt.update(sample, Duration::ZERO);
        self.bbr.begin_ack(now);
        self.bbr.finish_ack(now, Some(sample), self.in_flight);
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.received.heap_bytes() + self.sent.heap_bytes()
    }

    /// Panics in debug builds where sums do not add up.
    pub(crate) fn check(&self) {
        debug_assert!(
            (self.in_flight == 0) == (self.sent.outstanding() == 0),
            "{} bytes but {} packets in flight",
            self.in_flight,
            self.sent.outstanding()
        );
    }
}

//! When is a packet lost, and when is it time to probe (RFC 9002 section 6).

use crate::id::PacketNumber;
use crate::time::{Duration, Instant};

use super::rtt::Rtt;
use super::sent::SentPacket;

/// Packets that may overtake before one counts as lost (kPacketThreshold, RFC 9002 section 6.1.1).
const PACKET_THRESHOLD: u64 = 3;
/// The most that observed reordering raises the packet threshold to; beyond, the time threshold decides.
const MAX_PACKET_THRESHOLD: u64 = 1 << 10;
/// Timer granularity (kGranularity, RFC 9002 section 6.1.2).
const GRANULARITY: Duration = Duration::from_millis(1);
/// No probe timeout is longer, whatever the back-off: recovery after an outage must not take half a minute
/// (docs/PROTOCOL.md, "Recovery").
pub(crate) const MAX_PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Probes sent when the timer fires (RFC 9002 section 6.2.4 allows two).
const PROBES: u8 = 2;

/// Decides on loss and probes of one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LossDetector {
    largest_acked: Option<PacketNumber>,
    packet_threshold: u64,
    /// When the oldest packet in flight will be too late, if one after it was acknowledged.
    deadline: Option<Instant>,
    last_eliciting: Instant,
    backoff: u32,
    probes: u8,
}

impl LossDetector {
    pub(crate) const fn new() -> Self {
        Self {
            largest_acked: None,
            packet_threshold: PACKET_THRESHOLD,
            deadline: None,
            last_eliciting: Instant::ZERO,
            backoff: 0,
            probes: 0,
        }
    }

    /// The highest number that the peer has acknowledged.
    pub(crate) const fn largest_acked(&self) -> Option<PacketNumber> {
        self.largest_acked
    }

    /// An ack-eliciting packet was sent.
    pub(crate) const fn on_sent(&mut self, now: Instant) {
        self.last_eliciting = now;
        self.probes = self.probes.saturating_sub(1);
    }

    /// Something was newly acknowledged, `largest` being the highest number named.
    pub(crate) fn on_acked(&mut self, largest: PacketNumber) {
        self.largest_acked = self.largest_acked.max(Some(largest));
        self.backoff = 0;
        self.probes = 0;
    }

    /// A packet that had been declared lost was acknowledged `behind` numbers behind the highest: such reordering is to
    /// be borne from now on (RFC 8985 section 6.2's idea, in packets).
    pub(crate) fn on_spurious(&mut self, behind: u64) {
        self.packet_threshold = self.packet_threshold.max(behind.saturating_add(1)).min(MAX_PACKET_THRESHOLD);
    }

    /// Whether the oldest packet in flight is lost. If not, the time at which it will be is remembered.
    pub(crate) fn is_lost(
        &mut self,
        now: Instant,
        number: PacketNumber,
        packet: &SentPacket,
        rtt: &Rtt,
    ) -> bool {
        self.deadline = None;
        let Some(largest) = self.largest_acked.filter(|largest| *largest > number) else { return false };
        let too_late = packet.sent + loss_delay(rtt);
        if largest.0 - number.0 >= self.packet_threshold || too_late <= now {
            return true;
        }
        self.deadline = Some(too_late);
        false
    }

    /// Nothing is in flight.
    pub(crate) const fn on_idle(&mut self) {
        self.deadline = None;
    }

    /// When to look for losses, or else to probe. `pto` is the timeout without back-off.
    pub(crate) fn deadline(&self, pto: Duration, outstanding: usize) -> Option<Instant> {
        if outstanding == 0 || self.probes > 0 {
            return None;
        }
        Some(self.deadline.unwrap_or_else(|| self.last_eliciting + self.backed_off(pto)))
    }

    /// Whether the time threshold, not the probe timer, is what is due.
    pub(crate) const fn waits_for_loss(&self) -> bool {
        self.deadline.is_some()
    }

    /// The probe timer fired.
    pub(crate) const fn on_probe_timeout(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
        self.probes = PROBES;
    }

    /// Probes that may be sent now, past the congestion window.
    pub(crate) const fn probes(&self) -> u8 {
        self.probes
    }

    /// Probe timeouts in a row.
    pub(crate) const fn backoff(&self) -> u32 {
        self.backoff
    }

    fn backed_off(&self, pto: Duration) -> Duration {
        pto.saturating_mul(1 << self.backoff.min(16)).min(MAX_PROBE_TIMEOUT)
    }
}

/// RFC 9002 section 6.1.2: 9/8 of the larger of the latest and the smoothed round-trip time.
fn loss_delay(rtt: &Rtt) -> Duration {
    let base = rtt.smoothed().max(rtt.latest());
    (base + base / 8).max(GRANULARITY)
}

//! When is a packet lost, and when is it time to probe (RFC 9002 section 6).

use crate::id::PacketNumber;
use crate::time::{Duration, Instant, part};

use super::rtt::Rtt;
use super::sent::SentPacket;

/// Packets that may overtake before one counts as lost (kPacketThreshold, RFC 9002 section 6.1.1).
const PACKET_THRESHOLD: u64 = 3;
/// The most that observed reordering raises the packet threshold to; beyond, the time threshold decides.
const MAX_PACKET_THRESHOLD: u64 = 1 << 10;
/// How much later than a round trip a packet may come, in eighths of one (kTimeThreshold, RFC 9002 section 6.1.2).
const TIME_THRESHOLD: u32 = 1;
/// The most that observed reordering raises that to: one round trip (RFC 8985 section 6.2, step 4).
const MAX_TIME_THRESHOLD: u32 = 8;
/// Round trips without a spurious loss after which what was learned of reordering is halved (RFC 8985 section 6.2 forgets
/// it after 16 recoveries).
const REORDERING_MEMORY: u32 = 16;
/// Round trips for which a lost packet is remembered after it was sent, so that its acknowledgement can still show that it
/// was not: one more than the longest time threshold.
const LOST_MEMORY: u32 = 3;
/// A round trip counts as no longer than this for it, or a peer that acknowledges late could have us remember every lost
/// packet of an hour: as long as the longest probe timeout.
const LONGEST_ROUND_TRIP: Duration = MAX_PROBE_TIMEOUT;
/// Timer granularity (kGranularity, RFC 9002 section 6.1.2).
const GRANULARITY: Duration = Duration::from_millis(1);
/// No probe timeout is longer, whatever the back-off: recovery after an outage must not take half a minute
/// (docs/PROTOCOL.md, "Recovery").
pub(crate) const MAX_PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// What was sent so long ago and is not acknowledged is given up where it only keeps records of packets that asked for no
/// acknowledgement: three of the longest probe timeouts.
pub(crate) const STALE: Duration = Duration::from_secs(6);
/// Probes sent when the timer fires (RFC 9002 section 6.2.4 allows two).
const PROBES: u8 = 2;

/// Decides on loss and probes of one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LossDetector {
    largest_acked: Option<PacketNumber>,
    /// Numbers left out before that one, modulo 2^16.
    skips: u16,
    packet_threshold: u64,
    time_threshold: u32,
    /// When reordering was last observed, or forgotten in part.
    reordered: Instant,
    /// When the oldest packet in flight will be too late, if one after it was acknowledged.
    deadline: Option<Instant>,
    last_eliciting: Instant,
    backoff: u32,
    patience: Patience,
    probes: u8,
}

/// Whether the probe timer waits for its back-off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Patience {
    Usual,
    /// Not this time: the peer is heard again.
    Little,
    /// It did not the last time, and does now whatever is heard.
    Strained,
}

impl LossDetector {
    pub(crate) const fn new() -> Self {
        Self {
            largest_acked: None,
            skips: 0,
            packet_threshold: PACKET_THRESHOLD,
            time_threshold: TIME_THRESHOLD,
            reordered: Instant::ZERO,
            deadline: None,
            last_eliciting: Instant::ZERO,
            backoff: 0,
            patience: Patience::Usual,
            probes: 0,
        }
    }

    /// A path whose numbers go on from `next`.
    pub(crate) fn resume(next: PacketNumber) -> Self {
        Self { largest_acked: next.0.checked_sub(1).map(PacketNumber), ..Self::new() }
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

    /// When the last ack-eliciting packet was sent.
    pub(crate) const fn last_eliciting(&self) -> Instant {
        self.last_eliciting
    }

    /// Something was newly acknowledged, `largest` being the highest number named, before which so many were left out.
    pub(crate) fn on_acked(&mut self, now: Instant, largest: PacketNumber, skips: u16, rtt: &Rtt) {
        if self.largest_acked.is_none_or(|before| before < largest) {
            self.largest_acked = Some(largest);
            self.skips = skips;
        }
        self.backoff = 0;
        self.patience = Patience::Usual;
        self.probes = 0;
        let learned = self.packet_threshold > PACKET_THRESHOLD || self.time_threshold > TIME_THRESHOLD;
        if learned && now >= self.reordered + rtt.smoothed().saturating_mul(REORDERING_MEMORY) {
            self.reordered = now;
            self.packet_threshold = self.packet_threshold.midpoint(PACKET_THRESHOLD);
            self.time_threshold = self.time_threshold.midpoint(TIME_THRESHOLD);
        }
    }

    /// A packet that had been declared lost was acknowledged after `age`, `behind` numbers behind the highest: such
    /// reordering is to be borne from now on, for a while (the idea of RFC 8985 section 6.2, in packets too).
    pub(crate) fn on_spurious(&mut self, now: Instant, behind: u64, age: Duration, rtt: &Rtt) {
        self.reordered = now;
        self.packet_threshold = self.packet_threshold.max(behind.saturating_add(1)).min(MAX_PACKET_THRESHOLD);
        let round_trip = round_trip(rtt);
        let needed = (TIME_THRESHOLD..MAX_TIME_THRESHOLD)
            .find(|eighths| age < round_trip.saturating_add(part(round_trip, 8).saturating_mul(*eighths)))
            .unwrap_or(MAX_TIME_THRESHOLD);
        self.time_threshold = self.time_threshold.max(needed);
    }

    /// After how long a packet is late, if one sent after it has arrived.
    pub(crate) fn delay(&self, rtt: &Rtt) -> Duration {
        round_trip(rtt).saturating_add(self.reordering(rtt)).max(GRANULARITY)
    }

    /// How much later than a round trip a packet may come.
    pub(crate) fn reordering(&self, rtt: &Rtt) -> Duration {
        part(round_trip(rtt), 8).saturating_mul(self.time_threshold)
    }

    /// For how long after sending a packet is remembered.
    pub(crate) fn memory(rtt: &Rtt) -> Duration {
        rtt.smoothed().min(LONGEST_ROUND_TRIP).saturating_mul(LOST_MEMORY)
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
        let too_late = packet.sent + self.delay(rtt);
        let left_out = u64::from(self.skips.wrapping_sub(packet.skips));
        if largest.0.saturating_sub(number.0).saturating_sub(left_out) >= self.packet_threshold
            || too_late <= now
        {
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
        self.patience = match self.patience {
            Patience::Little => Patience::Strained,
            Patience::Usual | Patience::Strained => Patience::Usual,
        };
        self.probes = PROBES;
    }

    /// What the probe timer has seen so far is of no interest any more: probes go now, and the back-off begins anew.
    pub(crate) const fn probe_at_once(&mut self) {
        self.backoff = 0;
        self.patience = Patience::Usual;
        self.probes = PROBES;
    }

    /// The peer is heard after a silence in which the probe timer fired. If it acknowledged nothing, the probes were lost,
    /// but perhaps the next ones are not: this once the timer does without its back-off. No more than once for each time
    /// that it does not, so that probes at most double where the path carries packets in one direction only. The
    /// back-off itself ends with an acknowledgement (RFC 9002 section 6.2.1).
    pub(crate) const fn on_peer_heard(&mut self) {
        if self.backoff > 0 && matches!(self.patience, Patience::Usual) {
            self.patience = Patience::Little;
        }
    }

    /// The path goes on elsewhere, with nothing in flight: what was waited for, and how much reordering there was, is over.
    pub(crate) const fn on_moved(&mut self) {
        *self = Self { largest_acked: self.largest_acked, skips: self.skips, ..Self::new() };
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
        let backoff = if self.patience == Patience::Little { 0 } else { self.backoff.min(16) };
        pto.saturating_mul(1 << backoff).min(MAX_PROBE_TIMEOUT)
    }
}

/// The larger of the latest and the smoothed round-trip time (RFC 9002 section 6.1.2).
fn round_trip(rtt: &Rtt) -> Duration {
    rtt.smoothed().max(rtt.latest())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTO: Duration = Duration::from_millis(100);

    /// A path that has had so many probe timeouts in a row, its probes sent at zero.
    fn silent(timeouts: u32) -> LossDetector {
        let mut loss = LossDetector::new();
        (0..timeouts).for_each(|_| fire(&mut loss));
        loss
    }

    fn fire(loss: &mut LossDetector) {
        loss.on_probe_timeout();
        (0..PROBES).for_each(|_| loss.on_sent(Instant::ZERO));
    }

    fn wait(loss: &LossDetector) -> Duration {
        loss.deadline(PTO, 1).expect("the timer runs") - Instant::ZERO
    }

    #[test]
    fn timeouts_double_the_wait_up_to_the_cap() {
        let waits: std::vec::Vec<Duration> = (0..7).map(|timeouts| wait(&silent(timeouts))).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 20, 20].map(|times| PTO * times));
    }

    #[test]
    fn a_peer_that_is_heard_shortens_every_other_wait_at_most() {
        let mut loss = silent(4);
        for _ in 0..3 {
            loss.on_peer_heard();
            loss.on_peer_heard();
            assert_eq!(wait(&loss), PTO);
            fire(&mut loss);
            loss.on_peer_heard();
            assert!(wait(&loss) > PTO * 15, "not twice running");
            fire(&mut loss);
        }
        assert_eq!(loss.backoff(), 10, "only an acknowledgement ends the back-off");
        loss.on_acked(Instant::ZERO, PacketNumber(1), 0, &Rtt::new());
        loss.on_peer_heard();
        fire(&mut loss);
        assert_eq!(wait(&loss), PTO * 2, "nothing was missed");
    }

    #[test]
    fn hostile_round_trips_of_a_minute_are_not_how_long_lost_packets_are_remembered() {
        let mut rtt = Rtt::new();
        for (sample, memory) in [(100, 300), (60_000, 6_000)] {
            (0..100).for_each(|_| rtt.update(Duration::from_millis(sample), Duration::ZERO));
            assert!(LossDetector::memory(&rtt).abs_diff(Duration::from_millis(memory)) < GRANULARITY);
        }
    }

    #[test]
    fn probes_at_once_end_the_back_off() {
        let mut loss = silent(9);
        loss.probe_at_once();
        assert_eq!((loss.probes(), loss.deadline(PTO, 1)), (PROBES, None), "to be sent first");
        (0..PROBES).for_each(|_| loss.on_sent(Instant::ZERO));
        assert_eq!((loss.backoff(), wait(&loss)), (0, PTO));
    }
}

//! Delivery-rate samples (draft-ietf-ccwg-bbr-06 section 4.1): how fast the path delivered what was in flight.

use crate::congestion::bandwidth::Bandwidth;
use crate::time::{Duration, Instant};

/// What a packet carries from when it is sent until it is acknowledged or lost: the draft's per-packet state
/// (section 4.1.2.1.2). The time of sending is kept by the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SentInfo {
    /// Bytes delivered on this path before the packet was sent (`P.delivered`).
    delivered: u64,
    /// When that count had last grown (`P.delivered_time`).
    delivered_time: Instant,
    /// When the flight began that this packet ends (`P.first_send_time`).
    first_sent_time: Instant,
    /// Bytes lost on this path before the packet was sent (`P.lost`).
    lost: u64,
    /// Bytes in flight including this packet (`P.tx_in_flight`); 4 GiB is far beyond any window in use.
    in_flight: u32,
    /// The sender had run out of data within the last round trip (`P.is_app_limited`).
    app_limited: bool,
}

impl SentInfo {
    /// Bytes in flight just after the packet was sent.
    pub(crate) fn in_flight(&self) -> u64 {
        u64::from(self.in_flight)
    }

    /// Whether the sender had run out of data.
    pub(crate) fn is_app_limited(&self) -> bool {
        self.app_limited
    }
}

/// One delivery-rate sample: the draft's `RS` (section 4.1.2.1.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateSample {
    /// The rate; zero when no time has passed, which says nothing.
    pub(crate) rate: Bandwidth,
    /// Bytes delivered between the sending of the newest packet acknowledged and now.
    pub(crate) delivered: u64,
    /// Bytes delivered before that packet was sent.
    pub(crate) prior_delivered: u64,
    /// When that packet was sent.
    pub(crate) sent: Instant,
    /// Bytes newly acknowledged.
    pub(crate) newly_acked: u64,
    /// Bytes in flight when that packet was sent.
    pub(crate) tx_in_flight: u64,
    /// Bytes lost since that packet was sent.
    pub(crate) lost: u64,
    /// Whether the sender had run out of data: the rate is then a lower bound only.
    pub(crate) app_limited: bool,
}

/// The path's state for rate samples (section 4.1.2.1.1), and what the ACK in hand has shown so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct RateSampler {
    /// Bytes delivered over the life of the path (`C.delivered`).
    delivered: u64,
    /// When `delivered` last grew.
    delivered_time: Instant,
    /// Bytes lost over the life of the path (`C.lost`).
    lost: u64,
    /// When the newest packet delivered was sent, or after idling the first one since (`C.first_send_time`).
    first_sent_time: Instant,
    /// The path is application-limited until more than this is delivered (`C.app_limited`).
    app_limited_until: Option<u64>,
    /// Bytes acknowledged by the ACK in hand.
    newly_acked: u64,
    /// The newest packet that the ACK in hand acknowledges, and when it was sent.
    newest: Option<(Instant, SentInfo)>,
}

impl RateSampler {
    /// `OnPacketSent`, section 4.1.2.2.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: u16, in_flight_before: u64) -> SentInfo {
        if in_flight_before == 0 {
            self.first_sent_time = now;
            self.delivered_time = now;
        }
        let in_flight = in_flight_before.saturating_add(u64::from(bytes));
        SentInfo {
            delivered: self.delivered,
            delivered_time: self.delivered_time,
            first_sent_time: self.first_sent_time,
            lost: self.lost,
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            app_limited: self.app_limited_until.is_some(),
        }
    }

    /// `InitRateSample`, section 4.1.2.3.
    pub(crate) fn begin_ack(&mut self) {
        self.newly_acked = 0;
        self.newest = None;
    }

    /// `UpdateRateSample`, section 4.1.2.3. Packets may come in any order.
    pub(crate) fn on_acked(&mut self, now: Instant, sent: Instant, bytes: u16, info: &SentInfo) {
        self.delivered = self.delivered.saturating_add(u64::from(bytes));
        self.delivered_time = now;
        self.newly_acked = self.newly_acked.saturating_add(u64::from(bytes));
        if self.newest.as_ref().is_none_or(|(newest, other)| is_newer((sent, info), (*newest, other))) {
            self.newest = Some((sent, *info));
            self.first_sent_time = sent;
        }
    }

    /// A packet is declared lost. Returns the bytes lost since it was sent, itself included.
    pub(crate) fn on_lost(&mut self, bytes: u16, info: &SentInfo) -> u64 {
        self.lost = self.lost.saturating_add(u64::from(bytes));
        self.lost.saturating_sub(info.lost)
    }

    /// A packet declared lost was delivered after all.
    pub(crate) fn on_spurious_loss(&mut self, now: Instant, bytes: u16) {
        self.lost = self.lost.saturating_sub(u64::from(bytes));
        self.delivered = self.delivered.saturating_add(u64::from(bytes));
        self.delivered_time = now;
    }

    /// `GenerateRateSample`, section 4.1.2.3; `None` if the ACK acknowledged nothing new.
    ///
    /// The draft's rule that an interval below the lifetime's smallest RTT is unreliable guards against ambiguous
    /// acknowledgments; packet numbers are never ambiguous.
    pub(crate) fn finish_ack(&mut self) -> Option<RateSample> {
        if self.app_limited_until.is_some_and(|end| self.delivered > end) {
            self.app_limited_until = None;
        }
        let (sent, info) = self.newest.take()?;
        let send_elapsed = sent - info.first_sent_time;
        let ack_elapsed = self.delivered_time - info.delivered_time;
        let interval: Duration = send_elapsed.max(ack_elapsed);
        let delivered = self.delivered.saturating_sub(info.delivered);
        Some(RateSample {
            rate: Bandwidth::from_transfer(delivered, interval).unwrap_or_default(),
            delivered,
            prior_delivered: info.delivered,
            sent,
            newly_acked: self.newly_acked,
            tx_in_flight: info.in_flight(),
            lost: self.lost.saturating_sub(info.lost),
            app_limited: info.app_limited,
        })
    }

    /// `MarkConnectionAppLimited`, section 4.1.2.4: every sample is until what is now in flight has left it.
    pub(crate) fn mark_app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = Some(self.delivered.saturating_add(in_flight));
    }

    /// Whether the path is application-limited.
    pub(crate) fn is_app_limited(&self) -> bool {
        self.app_limited_until.is_some()
    }

    /// Bytes delivered over the life of the path.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }
}

/// `IsNewestPacket`, section 4.1.2.3. Packets of one train are sent at the same instant; of those the later one has
/// more in flight.
fn is_newer((sent, info): (Instant, &SentInfo), (newest, other): (Instant, &SentInfo)) -> bool {
    (sent, info.delivered, info.in_flight) > (newest, other.delivered, other.in_flight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    /// Sends `count` packets of 1000 bytes, `gap` microseconds apart from `start` on.
    fn send(
        sampler: &mut RateSampler,
        start: u64,
        gap: u64,
        count: u64,
    ) -> std::vec::Vec<(Instant, SentInfo)> {
        (0..count)
            .map(|i| (at(start + i * gap), sampler.on_sent(at(start + i * gap), 1000, i * 1000)))
            .collect()
    }

    /// Acknowledges `packets` in one ACK.
    fn ack(sampler: &mut RateSampler, now: u64, packets: &[(Instant, SentInfo)]) -> RateSample {
        sampler.begin_ack();
        for (sent, info) in packets {
            sampler.on_acked(at(now), *sent, 1000, info);
        }
        sampler.finish_ack().unwrap()
    }

    #[test]
    fn measures_the_ack_rate_of_a_bottleneck() {
        let mut sampler = RateSampler::default();
        // Sent at 1000 bytes per 10 us, delivered at 1000 bytes per 100 us.
        let packets = send(&mut sampler, 0, 10, 10);
        let mut last = None;
        for (i, packet) in packets.iter().enumerate() {
            last = Some(ack(&mut sampler, 1000 + 100 * i as u64, &[*packet]));
        }
        let sample = last.unwrap();
        // 10 packets between 0 and 1900 us.
        assert_eq!(sample.delivered, 10_000);
        assert_eq!(sample.rate.as_bytes_per_sec(), 10_000 * 1_000_000 / 1900);
    }

    #[test]
    fn compressed_acks_do_not_exceed_the_send_rate() {
        let mut sampler = RateSampler::default();
        let first = send(&mut sampler, 0, 0, 1);
        ack(&mut sampler, 1000, &first);
        // A packet each 500 us, all acknowledged in one instant, soon after the last was sent.
        let packets: std::vec::Vec<_> = (1..=10)
            .map(|i| (at(1000 + i * 500), sampler.on_sent(at(1000 + i * 500), 1000, i * 1000)))
            .collect();
        let sample = ack(&mut sampler, 6100, &packets);
        assert!(sample.rate.as_bytes_per_sec() <= 10_000 * 1_000_000 / 5000, "{sample:?}");
    }

    #[test]
    fn the_order_within_an_ack_does_not_matter() {
        let mut forward = RateSampler::default();
        let packets = send(&mut forward, 0, 0, 8);
        let mut backward = forward.clone();
        let mut reversed = packets.clone();
        reversed.reverse();
        let (a, b) = (ack(&mut forward, 900, &packets), ack(&mut backward, 900, &reversed));
        assert_eq!((a.rate, a.delivered, a.tx_in_flight), (b.rate, b.delivered, b.tx_in_flight));
        assert_eq!(a.tx_in_flight, 8000);
    }

    #[test]
    fn app_limited_marks_last_until_the_bubble_has_left() {
        let mut sampler = RateSampler::default();
        let before = send(&mut sampler, 0, 10, 2);
        sampler.mark_app_limited(2000);
        let marked = sampler.on_sent(at(30), 1000, 2000);
        assert!(marked.is_app_limited() && !before[1].1.is_app_limited());
        ack(&mut sampler, 1000, &before);
        assert!(sampler.is_app_limited(), "the marked packet is still out");
        assert!(ack(&mut sampler, 1030, &[(at(30), marked)]).app_limited);
        assert!(!sampler.is_app_limited());
        assert!(!sampler.on_sent(at(1040), 1000, 0).is_app_limited());
    }

    #[test]
    fn idle_time_is_not_part_of_a_sample() {
        let mut sampler = RateSampler::default();
        let first = send(&mut sampler, 0, 10, 1);
        ack(&mut sampler, 1000, &first);
        let again = send(&mut sampler, 10_000_000, 10, 1);
        let sample = ack(&mut sampler, 10_001_000, &again);
        assert_eq!(sample.rate.as_bytes_per_sec(), 1_000_000);
    }

    #[test]
    fn losses_are_counted_from_the_sending_of_the_packet() {
        let mut sampler = RateSampler::default();
        let packets = send(&mut sampler, 0, 10, 4);
        assert_eq!(sampler.on_lost(1000, &packets[0].1), 1000);
        assert_eq!(sampler.on_lost(1000, &packets[1].1), 2000);
        let later = sampler.on_sent(at(50), 1000, 2000);
        assert_eq!(sampler.on_lost(1000, &later), 1000);
        assert_eq!(ack(&mut sampler, 1000, &packets[2..]).lost, 3000);
    }

    #[test]
    fn the_per_packet_state_is_small() {
        assert!(size_of::<SentInfo>() <= 40);
    }
}

//! The pacer: a leaky bucket that spreads packets over time, in bursts that one GSO send can carry.

use crate::congestion::bandwidth::Bandwidth;
use crate::time::{Duration, Instant, nanos};

/// How much time's worth of data may leave at once: the slack of an ordinary timer, and the send quantum of
/// draft-ietf-ccwg-bbr-06 section 5.6.3. From about 110 Mbit/s on this is 10 packets and more.
const BURST_TIME: Duration = Duration::from_millis(1);
/// The smallest burst, in packets (the same section).
const MIN_BURST_PACKETS: u64 = 2;
/// The largest burst, in packets: what one GSO send carries on Linux (UDP_MAX_SEGMENTS).
const MAX_BURST_PACKETS: u64 = 64;
/// The largest burst where a host too busy to be on time catches up, in packets: the initial window, which RFC 9002
/// section 7.7 lets leave at once.
const MAX_LATE_PACKETS: u64 = 10;
/// The debt is kept in billionths of a byte, so that nanoseconds times bytes per second is exact.
const NANO: i64 = 1_000_000_000;

/// Decides when bytes may leave, so that no queue builds at the bottleneck.
///
/// The debt grows by what is sent and leaks away at the pacing rate; a packet may leave while the debt is below the
/// burst. A pause earns no more than one burst. A call that comes later than it was asked for earns what would have left
/// in the meantime, up to ten packets: else a host with more connections than it gets round to in time would lower the
/// rate of all of them, and send shorter trains for more work. It counts bytes, not time: a rate that has just risen also
/// shortens the wait for what was sent before. No division on the send path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pacer {
    /// Bytes sent and not yet leaked away at `updated`, times `NANO`. Below zero: what lateness has earned.
    debt: i64,
    /// When the debt was last brought up to date.
    updated: Instant,
    /// When to try again: something waits to be sent then.
    until: Option<Instant>,
}

impl Pacer {
    /// A pacer that owes nothing.
    pub(crate) const fn new() -> Self {
        Self { debt: 0, updated: Instant::ZERO, until: None }
    }

    /// When to try again, if something waits for it.
    pub(crate) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Bytes that may leave now at `rate`, in datagrams of at most `mtu` bytes; at least one whole datagram's worth
    /// means go. Whoever waited does not any more.
    pub(crate) fn grant(&mut self, now: Instant, rate: Bandwidth, mtu: u16) -> u64 {
        let waited = self.until.take().is_some_and(|until| until < now);
        let burst = signed(burst(rate, mtu));
        let late = signed(MAX_LATE_PACKETS * u64::from(mtu)).saturating_sub(burst).max(0);
        let floor = if waited { late.saturating_mul(-NANO) } else { self.debt.min(0) };
        self.leak(now, rate, floor);
        let free = burst.saturating_mul(NANO).saturating_sub(self.debt);
        u64::try_from(free / NANO).unwrap_or(0)
    }

    /// `bytes` have left. Sending more than the budget is allowed (probes): it delays what follows.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: u64, rate: Bandwidth) {
        self.leak(now, rate, self.debt.min(0));
        self.debt = self.debt.saturating_add(signed(bytes).saturating_mul(NANO));
    }

    /// Something is left to send: it is to be tried again when half a burst may leave, so that a timer is worth its cost.
    /// At once if a datagram may leave now; never at once while none may.
    pub(crate) fn wait(&mut self, now: Instant, rate: Bandwidth, mtu: u16) {
        self.leak(now, rate, self.debt.min(0));
        let burst = burst(rate, mtu);
        let may_owe = |free: u64| signed(burst.saturating_sub(free)).saturating_mul(NANO);
        let datagram = u64::from(mtu);
        self.until = Some(if self.debt <= may_owe(datagram) {
            now
        } else {
            let excess = self.debt.saturating_sub(may_owe(datagram.max(burst / 2))).max(0);
            match rate.as_bytes_per_sec() {
                0 => Instant::MAX,
                rate => now + Duration::from_nanos(excess.unsigned_abs().div_ceil(rate)),
            }
        });
    }

    /// Brings the debt up to date: it does not sink below `floor`.
    fn leak(&mut self, now: Instant, rate: Bandwidth, floor: i64) {
        let leaked = signed(nanos(now - self.updated).saturating_mul(rate.as_bytes_per_sec()));
        self.debt = self.debt.saturating_sub(leaked).max(floor);
        self.updated = self.updated.max(now);
    }
}

/// The largest burst at `rate`, in bytes.
fn burst(rate: Bandwidth, mtu: u16) -> u64 {
    let mtu = u64::from(mtu);
    rate.bytes_in(BURST_TIME).clamp(MIN_BURST_PACKETS * mtu, MAX_BURST_PACKETS * mtu)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MTU: u16 = 1400;
    const MEGABIT: u64 = 125_000;

    fn rate(megabits: u64) -> Bandwidth {
        Bandwidth::from_bytes_per_sec(megabits * MEGABIT)
    }

    #[test]
    fn burst_follows_the_rate_between_two_and_sixty_four_packets() {
        let budget = |megabits| Pacer::new().grant(Instant::ZERO, rate(megabits), MTU) / u64::from(MTU);
        assert_eq!(budget(1), 2);
        assert_eq!(budget(112), 10);
        assert_eq!(budget(20_000), 64);
    }

    #[test]
    fn a_pause_earns_one_burst_only() {
        let mut pacer = Pacer::new();
        let rate = rate(10);
        pacer.on_sent(Instant::ZERO, 2800, rate);
        let later = Instant::ZERO + Duration::from_secs(3600);
        assert_eq!(pacer.grant(later, rate, MTU), 2800);
    }

    #[test]
    fn lateness_earns_ten_packets_at_most_and_once() {
        let mut pacer = Pacer::new();
        let rate = rate(10);
        pacer.on_sent(Instant::ZERO, 2800, rate);
        pacer.wait(Instant::ZERO, rate, MTU);
        let later = Instant::ZERO + Duration::from_secs(3600);
        assert_eq!(pacer.grant(later, rate, MTU), 14_000);
        pacer.on_sent(later, 14_000, rate);
        assert_eq!(pacer.grant(later, rate, MTU), 0);
        let much_later = later + Duration::from_secs(3600);
        assert_eq!(pacer.grant(much_later, rate, MTU), 2800);
    }

    #[test]
    fn a_burst_above_ten_packets_earns_nothing_by_lateness() {
        let mut pacer = Pacer::new();
        let rate = rate(200);
        pacer.on_sent(Instant::ZERO, 25_000, rate);
        pacer.wait(Instant::ZERO, rate, MTU);
        assert_eq!(pacer.grant(Instant::ZERO + Duration::from_secs(3600), rate, MTU), 25_000);
    }

    /// A second at `rate`, in which every wake-up comes `late`. The bytes that leave.
    fn sent_in_a_second(rate: Bandwidth, late: Duration) -> u64 {
        let mut pacer = Pacer::new();
        let mut now = Instant::ZERO;
        let mut sent = 0;
        while now < Instant::ZERO + Duration::from_secs(1) {
            let budget = pacer.grant(now, rate, MTU) / u64::from(MTU) * u64::from(MTU);
            pacer.on_sent(now, budget, rate);
            sent += budget;
            pacer.wait(now, rate, MTU);
            now = pacer.until().unwrap().max(now) + late;
        }
        sent
    }

    #[test]
    fn half_a_millisecond_late_costs_nothing() {
        let sent = sent_in_a_second(rate(100), Duration::from_micros(400));
        assert!((12_400_000..12_600_000).contains(&sent), "{sent}");
    }

    #[test]
    fn thirty_milliseconds_late_cost_nothing_where_ten_packets_are_as_much() {
        let sent = sent_in_a_second(rate(3), Duration::from_millis(30));
        assert!((367_000..390_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_higher_rate_pays_old_debt_faster() {
        let mut pacer = Pacer::new();
        pacer.on_sent(Instant::ZERO, 2800, rate(1));
        pacer.wait(Instant::ZERO, rate(10_000), MTU);
        assert_eq!(pacer.until(), Some(Instant::ZERO));
    }

    #[test]
    fn without_a_rate_there_is_one_burst_and_no_timer() {
        let mut pacer = Pacer::new();
        assert_eq!(pacer.grant(Instant::ZERO, Bandwidth::ZERO, MTU), 2800);
        pacer.on_sent(Instant::ZERO, 2800, Bandwidth::ZERO);
        pacer.wait(Instant::ZERO, Bandwidth::ZERO, MTU);
        assert_eq!(pacer.until(), Some(Instant::MAX));
    }

    proptest! {
        /// No spin: the deadline is now exactly if a datagram may leave, and at the deadline one may.
        #[test]
        fn deadline_and_budget_agree(
            rate in 1..3_000_000_000_u64,
            mtu in 1200_u16..9000,
            sends in proptest::collection::vec((0..2_000_000_u64, 1..200_000_u64), 1..20),
        ) {
            let rate = Bandwidth::from_bytes_per_sec(rate);
            let mut pacer = Pacer::new();
            let mut now = Instant::ZERO;
            for (gap, bytes) in sends {
                now += Duration::from_nanos(gap);
                pacer.on_sent(now, bytes, rate);
                pacer.wait(now, rate, mtu);
                let next = pacer.until().unwrap();
                let granted = |mut pacer: Pacer, at| pacer.grant(at, rate, mtu);
                prop_assert_eq!(next == now, granted(pacer, now) >= u64::from(mtu));
                prop_assert!(granted(pacer, next) >= u64::from(mtu));
            }
        }

        /// Over any time no more leaves than the rate allows, plus one burst and one datagram.
        #[test]
        fn never_faster_than_the_rate(
            rate in 10_000..3_000_000_000_u64,
            gaps in proptest::collection::vec((0..5_000_000_u64, any::<bool>()), 1..50),
        ) {
            let rate = Bandwidth::from_bytes_per_sec(rate);
            let mut pacer = Pacer::new();
            let (mut now, mut sent) = (Instant::ZERO, 0);
            for (gap, waits) in gaps {
                now += Duration::from_nanos(gap);
                while pacer.grant(now, rate, MTU) >= u64::from(MTU) {
                    pacer.on_sent(now, u64::from(MTU), rate);
                    sent += u64::from(MTU);
                }
                if waits {
                    pacer.wait(now, rate, MTU);
                }
                prop_assert!(sent <= rate.bytes_in(now - Instant::ZERO) + burst(rate, MTU));
            }
        }
    }
}

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
/// The debt is kept in billionths of a byte, so that nanoseconds times bytes per second is exact.
const NANO: u64 = 1_000_000_000;

/// Decides when bytes may leave, so that no queue builds at the bottleneck.
///
/// The debt grows by what is sent and leaks away at the pacing rate; a packet may leave while the debt is below the
/// burst. Debt never falls below zero, so a pause or a late timer earns no more than one burst. It counts bytes, not
/// time: a rate that has just risen also shortens the wait for what was sent before. No division on the send path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pacer {
    /// Bytes sent and not yet leaked away at `updated`, times `NANO`.
    debt: u64,
    /// When the debt was last brought up to date.
    updated: Instant,
}

impl Pacer {
    /// A pacer that owes nothing.
    pub(crate) const fn new() -> Self {
        Self { debt: 0, updated: Instant::ZERO }
    }

    /// Bytes that may leave now at `rate`, in datagrams of at most `mtu` bytes; at least one whole datagram's worth
    /// means go.
    pub(crate) fn budget(&self, now: Instant, rate: Bandwidth, mtu: u16) -> u64 {
        burst(rate, mtu).saturating_sub(self.debt_at(now, rate).div_ceil(NANO))
    }

    /// `bytes` have left. Sending more than the budget is allowed (probes): it delays what follows.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: u64, rate: Bandwidth) {
        self.debt = self.debt_at(now, rate).saturating_add(bytes.saturating_mul(NANO));
        self.updated = self.updated.max(now);
    }

    /// When to try again: `now` if a datagram may leave, else when half a burst may, so that a timer is worth its
    /// cost. Never `now` while the budget is below a datagram, and at the returned instant it is not.
    pub(crate) fn next_send(&self, now: Instant, rate: Bandwidth, mtu: u16) -> Instant {
        let burst = burst(rate, mtu);
        let debt = self.debt_at(now, rate);
        let datagram = u64::from(mtu);
        if burst.saturating_sub(debt.div_ceil(NANO)) >= datagram {
            return now;
        }
        let allowed = burst.saturating_sub(datagram.max(burst / 2)).saturating_mul(NANO);
        match rate.as_bytes_per_sec() {
            0 => Instant::MAX,
            rate => now + Duration::from_nanos(debt.saturating_sub(allowed).div_ceil(rate)),
        }
    }

    /// What is still owed at `now`, times `NANO`.
    fn debt_at(&self, now: Instant, rate: Bandwidth) -> u64 {
        let leaked = nanos(now - self.updated).saturating_mul(rate.as_bytes_per_sec());
        self.debt.saturating_sub(leaked)
    }
}

/// The largest burst at `rate`, in bytes.
fn burst(rate: Bandwidth, mtu: u16) -> u64 {
    let mtu = u64::from(mtu);
    rate.bytes_in(BURST_TIME).clamp(MIN_BURST_PACKETS * mtu, MAX_BURST_PACKETS * mtu)
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
        let pacer = Pacer::new();
        let budget = |megabits| pacer.budget(Instant::ZERO, rate(megabits), MTU) / u64::from(MTU);
        assert_eq!(budget(1), 2);
        assert_eq!(budget(112), 10);
        assert_eq!(budget(20_000), 64);
    }

    #[test]
    fn a_pause_or_a_late_timer_earns_one_burst_only() {
        let mut pacer = Pacer::new();
        let rate = rate(100);
        pacer.on_sent(Instant::ZERO, 12_500, rate);
        let late = Instant::ZERO + Duration::from_secs(3600);
        assert_eq!(pacer.budget(late, rate, MTU), 12_500);
    }

    #[test]
    fn half_a_millisecond_late_costs_nothing() {
        let mut pacer = Pacer::new();
        let rate = rate(100);
        let mut now = Instant::ZERO;
        let mut sent = 0;
        while now < Instant::ZERO + Duration::from_secs(1) {
            let budget = pacer.budget(now, rate, MTU) / u64::from(MTU) * u64::from(MTU);
            pacer.on_sent(now, budget, rate);
            sent += budget;
            now = pacer.next_send(now, rate, MTU).max(now) + Duration::from_micros(400);
        }
        assert!((12_400_000..12_600_000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_higher_rate_pays_old_debt_faster() {
        let mut pacer = Pacer::new();
        pacer.on_sent(Instant::ZERO, 2800, rate(1));
        assert_eq!(pacer.next_send(Instant::ZERO, rate(10_000), MTU), Instant::ZERO);
    }

    #[test]
    fn without_a_rate_there_is_one_burst_and_no_timer() {
        let mut pacer = Pacer::new();
        assert_eq!(pacer.budget(Instant::ZERO, Bandwidth::ZERO, MTU), 2800);
        pacer.on_sent(Instant::ZERO, 2800, Bandwidth::ZERO);
        assert_eq!(pacer.next_send(Instant::ZERO, Bandwidth::ZERO, MTU), Instant::MAX);
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
                let next = pacer.next_send(now, rate, mtu);
                let may_send = pacer.budget(now, rate, mtu) >= u64::from(mtu);
                prop_assert_eq!(next == now, may_send);
                prop_assert!(pacer.budget(next, rate, mtu) >= u64::from(mtu));
            }
        }

        /// Over any time no more leaves than the rate allows, plus one burst and one datagram.
        #[test]
        fn never_faster_than_the_rate(
            rate in 10_000..3_000_000_000_u64,
            gaps in proptest::collection::vec(0..5_000_000_u64, 1..50),
        ) {
            let rate = Bandwidth::from_bytes_per_sec(rate);
            let mut pacer = Pacer::new();
            let (mut now, mut sent) = (Instant::ZERO, 0);
            for gap in gaps {
                now += Duration::from_nanos(gap);
                while pacer.budget(now, rate, MTU) >= u64::from(MTU) {
                    pacer.on_sent(now, u64::from(MTU), rate);
                    sent += u64::from(MTU);
                }
                prop_assert!(sent <= rate.bytes_in(now - Instant::ZERO) + burst(rate, MTU));
            }
        }
    }
}

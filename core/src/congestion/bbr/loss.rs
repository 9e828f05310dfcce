//! How much loss says that the path is congested, and how much is only its weather.
//!
//! The draft takes any loss above 2 % in a round for congestion (draft-ietf-ccwg-bbr-06 section 2.8), and outside of
//! bandwidth probing any loss at all. On a path that loses packets at random, radio links above all, that makes the
//! estimate shrink by the loss rate every round, down to a fraction of what the path carries. So this file differs
//! from the draft, and alone decides what is excessive; everything that follows from it is the draft's:
//!
//! - Loss is judged over whole rounds and at least 32 datagrams, in every phase, not packet by packet.
//! - The loss of windows in which we did not press on the path (cruising, or growing without hindrance) and in which it
//!   was seen without a queue is remembered as background: no sender is its cause. Excessive is what exceeds 2 % plus
//!   twice the background by more than small numbers scatter.
//! - While there is no queue, cruising makes up for the background: a path that delivers 95 % of what it is sent is full
//!   only with more than it delivers. The first rounds of each cruise do not, and they alone tell of the background, so
//!   that loss of our own making, at a policer above all, shows itself there as what it is.
//! - A window that lost more than an eighth is congestion whatever came before, and teaches no background.
//!
//! Loss of our own making does not stay in the background for long: the response sends at the rate that was
//! delivered, so the next windows are clean. A window that loses far less than the background lowers it in any phase.

use crate::congestion::bandwidth::Bandwidth;
use crate::time::Duration;

/// `BBR.LossThresh`: loss that needs no explanation, in thousandths (section 2.8).
const TOLERATED: u64 = 20;
/// The background counts this often towards the threshold.
const BACKGROUND_FACTOR: u64 = 2;
/// The scatter of small numbers: this many datagrams more than the threshold are still tolerated, and as many again
/// as the square root of what is expected, the standard deviation of random loss.
const SCATTER_DATAGRAMS: u64 = 2;
/// Windows that lost more than one part in this many are not background.
const HEAVY_DIVISOR: u64 = 8;
/// A judgement needs at least this many datagrams.
const MIN_DATAGRAMS: u64 = 32;
/// Where the background would cost this many datagrams, less than half of that is one chance in a hundred (Poisson).
const TELLING_DATAGRAMS: u64 = 16;
/// The background is an average over about this many windows.
const BACKGROUND_WINDOWS: u64 = 8;

/// Bytes lost out of a total.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Bytes declared lost.
    lost: u64,
    /// Bytes lost or delivered.
    total: u64,
}

/// What we did to the path while the window was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pressure {
    /// No more than it was known to carry: loss is the path's own.
    None,
    /// Perhaps more than it carries.
    Some,
}

/// The judgement over a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Too few datagrams yet: the window goes on.
    Pending,
    /// As much as the path always loses.
    Tolerable,
    /// More: congestion.
    Excessive,
}

/// Judges loss, window by window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossJudge {
    /// The window being measured.
    window: Tally,
    /// The smallest RTT seen in it.
    window_rtt: Option<Duration>,
    /// The path was seen without a queue in the window before.
    queue_free: bool,
    /// The decayed sums of past windows without pressure.
    background: Tally,
}

impl LossJudge {
    /// `bytes` were delivered, the newest of them after `rtt`, if that is known.
    pub(super) fn on_delivered(&mut self, bytes: u64, rtt: Option<Duration>) {
        self.window.total = self.window.total.saturating_add(bytes);
        self.window_rtt = self.window_rtt.into_iter().chain(rtt).min();
    }

    /// The smallest RTT seen in the window, if any.
    pub(super) fn window_rtt(&self) -> Option<Duration> {
        self.window_rtt
    }

    /// `bytes` were declared lost.
    pub(super) fn on_lost(&mut self, bytes: u64) {
        self.window.lost = self.window.lost.saturating_add(bytes);
        self.window.total = self.window.total.saturating_add(bytes);
    }

    /// `bytes` declared lost were delivered after all.
    pub(super) fn on_spurious_loss(&mut self, bytes: u64) {
        self.window.lost = self.window.lost.saturating_sub(bytes);
    }

    /// Forgets the window: its loss has been answered.
    pub(super) fn restart(&mut self) {
        self.window = Tally::default();
        self.window_rtt = None;
    }

    /// A round has ended: judges the window, if it is large enough, and begins the next. `queue_free` is whether the
    /// path was seen without a queue in it.
    pub(super) fn end_round(&mut self, max_datagram: u64, pressure: Pressure, queue_free: bool) -> Verdict {
        let window = self.window;
        if window.total < MIN_DATAGRAMS.saturating_mul(max_datagram) {
            return Verdict::Pending;
        }
        self.restart();
        self.queue_free = queue_free;
        let verdict = match self.is_excessive(window.lost, window.total, max_datagram) {
            true => Verdict::Excessive,
            false => Verdict::Tolerable,
        };
        let teaches = pressure == Pressure::None && window.lost <= window.total / HEAVY_DIVISOR;
        if teaches || self.is_far_below_background(window, max_datagram) {
            let decay = |old: u64, new: u64| old.saturating_sub(old / BACKGROUND_WINDOWS).saturating_add(new);
            self.background.lost = decay(self.background.lost, window.lost);
            self.background.total = decay(self.background.total, window.total);
        }
        verdict
    }

    /// Whether so little was lost that the background cannot be what it was, whatever else was going on: less than
    /// half, where that is no accident.
    fn is_far_below_background(&self, window: Tally, max_datagram: u64) -> bool {
        let expected = (window.total / 1000).saturating_mul(self.background_permille());
        expected >= TELLING_DATAGRAMS.saturating_mul(max_datagram) && window.lost < expected / 2
    }

    /// Whether `lost` out of `volume` bytes is more than the path's own loss explains (`IsInflightTooHigh`, section
    /// 5.5.10.2).
    pub(super) fn is_excessive(&self, lost: u64, volume: u64, max_datagram: u64) -> bool {
        lost > self.allowance(volume, max_datagram)
    }

    /// `InflightAtLoss` (section 5.5.10.2): at what volume in flight the loss became excessive, if with a packet of
    /// `size` bytes it was `lost` out of `in_flight`, the packet included in both.
    pub(super) fn volume_at_threshold(&self, lost: u64, in_flight: u64, size: u64, max_datagram: u64) -> u64 {
        let before = in_flight.saturating_sub(size);
        let slack = self.allowance(before, max_datagram).saturating_sub(lost.saturating_sub(size));
        // The draft's prefix of the packet: slack / (1 - threshold), within the packet.
        let rest = 1000_u64.saturating_sub(self.threshold()).max(1);
        let prefix = slack.saturating_mul(1000).checked_div(rest).unwrap_or(u64::MAX);
        before.saturating_add(prefix.min(size))
    }

    /// How many of `volume` bytes may be lost.
    fn allowance(&self, volume: u64, max_datagram: u64) -> u64 {
        let expected = (volume / 1000).saturating_mul(self.threshold());
        let datagrams = expected.checked_div(max_datagram).unwrap_or(expected);
        let scatter = SCATTER_DATAGRAMS.saturating_add(datagrams.isqrt());
        expected.saturating_add(scatter.saturating_mul(max_datagram))
    }

    /// The tolerated share of loss, in thousandths.
    fn threshold(&self) -> u64 {
        TOLERATED.saturating_add(BACKGROUND_FACTOR.saturating_mul(self.background_permille()))
    }

    /// How fast to send for `rate` to be delivered: as much more as the path loses on its way, unless there is a queue
    /// to do without.
    pub(super) fn made_up_for(&self, rate: Bandwidth) -> Bandwidth {
        match self.queue_free {
            true => rate.fraction(1000, 1000_u64.saturating_sub(self.background_permille()).max(1)),
            false => rate,
        }
    }

    /// The path's own loss, in thousandths: at most an eighth.
    pub(super) fn background_permille(&self) -> u64 {
        self.background.lost.saturating_mul(1000).checked_div(self.background.total).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: u64 = 1000;

    /// A window of `total` datagrams of which `lost` are.
    fn window(judge: &mut LossJudge, lost: u64, total: u64, pressure: Pressure) -> Verdict {
        judge.on_delivered((total - lost) * MTU, None);
        (0..lost).for_each(|_| judge.on_lost(MTU));
        judge.end_round(MTU, pressure, true)
    }

    #[test]
    fn a_clean_path_tolerates_two_percent() {
        let mut judge = LossJudge::default();
        assert_eq!(window(&mut judge, 20, 1000, Pressure::Some), Verdict::Tolerable);
        assert_eq!(window(&mut judge, 27, 1000, Pressure::Some), Verdict::Excessive);
    }

    #[test]
    fn small_windows_wait_for_company() {
        let mut judge = LossJudge::default();
        assert_eq!(window(&mut judge, 3, 10, Pressure::Some), Verdict::Pending);
        assert_eq!(window(&mut judge, 0, 10, Pressure::Some), Verdict::Pending);
        assert_eq!(window(&mut judge, 0, 12, Pressure::Some), Verdict::Excessive);
    }

    #[test]
    fn constant_loss_becomes_background_and_more_than_that_is_still_seen() {
        let mut judge = LossJudge::default();
        assert_eq!(window(&mut judge, 50, 1000, Pressure::None), Verdict::Excessive);
        assert_eq!(window(&mut judge, 60, 1000, Pressure::None), Verdict::Tolerable);
        assert_eq!(judge.background_permille(), 55);
        assert_eq!(window(&mut judge, 200, 1000, Pressure::Some), Verdict::Excessive);
    }

    #[test]
    fn heavy_loss_and_loss_under_pressure_teach_nothing() {
        let mut judge = LossJudge::default();
        window(&mut judge, 200, 1000, Pressure::None);
        window(&mut judge, 50, 1000, Pressure::Some);
        assert_eq!(judge.background_permille(), 0);
    }

    #[test]
    fn background_fades_when_the_path_is_clean_again() {
        let mut judge = LossJudge::default();
        window(&mut judge, 100, 1000, Pressure::None);
        (0..20).for_each(|_| assert_eq!(window(&mut judge, 0, 1000, Pressure::None), Verdict::Tolerable));
        assert!(judge.background_permille() <= 3);
    }

    #[test]
    fn the_background_is_made_up_for_unless_the_last_window_saw_a_queue() {
        let rate = Bandwidth::from_bytes_per_sec(950_000);
        let full = Bandwidth::from_bytes_per_sec(1_000_000);
        let mut judge = LossJudge::default();
        assert_eq!(judge.made_up_for(rate), rate);
        window(&mut judge, 50, 1000, Pressure::None);
        assert_eq!(judge.made_up_for(rate), full);
        judge.on_delivered(100 * MTU, None);
        judge.end_round(MTU, Pressure::Some, false);
        assert_eq!(judge.made_up_for(rate), rate);
        judge.on_delivered(10 * MTU, None);
        assert_eq!(judge.end_round(MTU, Pressure::Some, true), Verdict::Pending);
        assert_eq!(judge.made_up_for(rate), rate, "the window is not over");
        judge.on_delivered(30 * MTU, None);
        judge.end_round(MTU, Pressure::Some, true);
        assert_eq!(judge.made_up_for(rate), full);
    }

    #[test]
    fn a_window_remembers_its_smallest_rtt_until_it_is_judged() {
        let mut judge = LossJudge::default();
        for rtt in [None, Some(30), Some(20), None, Some(25)] {
            judge.on_delivered(10 * MTU, rtt.map(Duration::from_millis));
        }
        assert_eq!(judge.window_rtt(), Some(Duration::from_millis(20)));
        judge.end_round(MTU, Pressure::None, true);
        assert_eq!(judge.window_rtt(), None);
        judge.on_delivered(10 * MTU, Some(Duration::from_millis(40)));
        judge.end_round(MTU, Pressure::None, true);
        assert_eq!(judge.window_rtt(), Some(Duration::from_millis(40)), "too small to be judged");
        judge.restart();
        assert_eq!(judge.window_rtt(), None);
    }

    #[test]
    fn the_volume_at_the_threshold_lies_within_the_packet() {
        let judge = LossJudge::default();
        // 2 % of 99 kB, two datagrams and one for the scatter are 4.98 kB; 4.9 kB were lost before.
        let volume = judge.volume_at_threshold(5900, 100_000, 1000, MTU);
        assert_eq!(volume, 99_000 + 80 * 1000 / 980);
        assert_eq!(judge.volume_at_threshold(9000, 100_000, 1000, MTU), 99_000);
    }
}

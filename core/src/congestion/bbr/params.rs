//! The constants of draft-ietf-ccwg-bbr-06. The ones about loss are in `loss`.

use crate::congestion::bandwidth::Gain;
use crate::time::Duration;

/// The draft's `Infinity` for a volume of data: no bound.
pub(super) const UNBOUNDED: u64 = u64::MAX;

/// `BBR.StartupPacingGain`, 4 ln 2: doubles the rate each round (section 2.5).
pub(super) const STARTUP_PACING: Gain = Gain::percent(277);
/// `BBR.DrainPacingGain` (section 2.5).
pub(super) const DRAIN_PACING: Gain = Gain::percent(50);
/// Pacing gain of ProbeBW_DOWN (section 5.3.3.1).
pub(super) const DOWN_PACING: Gain = Gain::percent(90);
/// Pacing gain of ProbeBW_UP (section 5.3.3.5).
pub(super) const UP_PACING: Gain = Gain::percent(125);
/// The highest pacing gain of ProbeBW_UP: doubles the rate each round. Our own choice; see `probe_bw`.
pub(super) const MAX_UP_PACING: Gain = Gain::percent(200);

/// `BBR.DefaultCwndGain` (section 2.6).
pub(super) const DEFAULT_WINDOW: Gain = Gain::percent(200);
/// Window gain of ProbeBW_UP (section 5.3.3.5).
pub(super) const UP_WINDOW: Gain = Gain::percent(225);
/// `BBR.ProbeRTTCwndGain` (section 2.16.2).
pub(super) const PROBE_RTT_WINDOW: Gain = Gain::percent(50);

/// What is left of the rate after `BBR.PacingMarginPercent` (1 %, section 2.5).
pub(super) const PACING_MARGIN: Gain = Gain::percent(99);
/// `BBR.Beta`: the largest cut at one time (section 2.8).
pub(super) const BETA: Gain = Gain::percent(70);
/// What is left of the short-term bounds after marks of congestion (RFC 8511 section 3.1, for CUBIC).
pub(super) const MARK_BETA: Gain = Gain::percent(85);
/// `BBR.Headroom`: the share of the long-term bound left to others (section 2.8).
pub(super) const HEADROOM: Gain = Gain::percent(15);
/// Growth that shows that the pipe is not full yet (section 5.3.1.2).
pub(super) const FULL_PIPE_GROWTH: Gain = Gain::percent(125);
/// Rounds without that growth after which it is (section 5.3.1.2).
pub(super) const FULL_PIPE_ROUNDS: u8 = 3;
/// The same in a probe that has filled a queue: one round for its packets to arrive, one to see that they are no
/// faster. Our own choice.
pub(super) const FULL_QUEUE_ROUNDS: u8 = 2;
/// Rounds after which Drain ends in any case (section 5.3.2).
pub(super) const DRAIN_ROUNDS: u64 = 3;

/// `BBR.MinPipeCwnd`, in datagrams (section 2.8).
pub(super) const MIN_PIPE_DATAGRAMS: u64 = 4;
/// The initial window, in datagrams, and its bound in bytes (RFC 9002 section 7.2).
pub(super) const INITIAL_DATAGRAMS: u64 = 10;
/// The initial window is not above this many bytes, unless two datagrams are.
pub(super) const INITIAL_BYTES: u64 = 14_720;
/// Those two datagrams.
pub(super) const LEAST_INITIAL_DATAGRAMS: u64 = 2;
/// The RTT assumed before the first sample (RFC 9002 section 6.2.2), for the first pacing rate only.
pub(super) const INITIAL_RTT: Duration = Duration::from_millis(333);

/// `BBR.ExtraAckedFilterLen` is 10 rounds (section 2.12); the filter has two slots, of half that each.
pub(super) const EXTRA_ACKED_SLOT_ROUNDS: u64 = 5;
/// `BBR.MinRTTFilterLen` (section 2.16.1).
pub(super) const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
/// A sample is close to the minimum RTT if it is longer by at most one part in this many. Our own choice; see
/// `min_rtt`.
pub(super) const NEAR_DIVISOR: u32 = 16;
/// A sample shows a queue if it is longer than the minimum RTT by at least one part in this many: that of ProbeBW_UP's
/// pacing gain after one round.
pub(super) const QUEUED_DIVISOR: u32 = 4;
/// But at least by this, which bursts of our own pacing take.
pub(super) const LEAST_QUEUE: Duration = Duration::from_millis(1);
/// `BBR.ProbeRTTInterval` (section 2.16.2).
pub(super) const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// `BBR.ProbeRTTDuration` (section 2.16.2).
pub(super) const PROBE_RTT_DURATION: Duration = Duration::from_millis(200);

/// The shortest wall-clock wait before probing for bandwidth again; up to a second is added at random (section
/// 5.3.3.8).
pub(super) const PROBE_WAIT: Duration = Duration::from_secs(2);
/// The longest wait in rounds, for coexistence with Reno and CUBIC (section 5.3.3.8).
pub(super) const RENO_ROUNDS: u64 = 63;
/// The fastest slope of the long-term bound: its increase per round doubles this often at most (section 5.3.3.9).
pub(super) const MAX_UP_ROUNDS: u8 = 30;

/// The pacing rate never falls below this many bytes per second: slower, a path takes longer to recover than to give
/// up.
pub(super) const MIN_PACING: u64 = 1000;
/// The send quantum is what leaves in this time (section 5.6.3).
pub(super) const QUANTUM_TIME: Duration = Duration::from_millis(1);
/// The largest send quantum, in bytes (section 5.6.3).
pub(super) const MAX_QUANTUM: u64 = 64 * 1024;
/// The offload budget, in send quanta (section 5.5.8.1): one being segmented here, one on its way, one gathered by
/// the receiver, which acknowledges whole batches. The draft's one quantum for QUIC leaves either end waiting for
/// the other when the RTT is below a millisecond.
pub(super) const OFFLOAD_QUANTA: u64 = 3;

/// The shortest span of `spans`, longer than acknowledgments are delayed (25 ms by default) or bunched. This and the
/// following are our own choice, found with the link suite.
pub(super) const MIN_SPAN: Duration = Duration::from_millis(30);
/// So many rounds each cycle cruises without making up for loss, to see how much there is.
pub(super) const BACKGROUND_ROUNDS: u8 = 2;
/// What is left of the rate when the capacity has fallen.
pub(super) const FALLEN: Gain = Gain::percent(50);
/// So many spans in a row prove it.
pub(super) const FALL_SPANS: u8 = 3;
/// Rounds from then, when the queue is gone, until the next probe.
pub(super) const FALL_PROBE_ROUNDS: u64 = 1;
/// Spans with a queue after which cruising gives way, each time.
pub(super) const EASE_SPANS: u8 = 4;
/// The same after a probe, whose own queue has to drain first.
pub(super) const EASE_DOWN_SPANS: u8 = 8;
/// To what share of the best delivery.
pub(super) const EASE: Gain = Gain::percent(92);
/// But to no less than this share of the estimate.
pub(super) const EASE_FLOOR: Gain = Gain::percent(50);
/// How fast the rate comes back, each span.
pub(super) const UNEASE: Gain = Gain::percent(104);

//! What the world may know of a path's congestion control.

use super::{Bbr, Phase};
use crate::time::Duration;
use core::fmt;

/// The state of BBR's state machine (draft-ietf-ccwg-bbr-06 section 5.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CongestionPhase {
    /// Doubling the rate each round trip until the path is full.
    Startup,
    /// Emptying the queue that this made.
    Drain,
    /// Sending slower than the path delivers, to leave room.
    ProbeDown,
    /// Sending as fast as the path delivers.
    ProbeCruise,
    /// Filling the path before probing upwards.
    ProbeRefill,
    /// Sending faster than the path delivers, to see whether it can do more.
    ProbeUp,
    /// Keeping little in flight, to see the round-trip time without a queue.
    ProbeRtt,
}

impl CongestionPhase {
    /// The state's name, as in the draft.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Drain => "Drain",
            Self::ProbeDown => "ProbeBW_DOWN",
            Self::ProbeCruise => "ProbeBW_CRUISE",
            Self::ProbeRefill => "ProbeBW_REFILL",
            Self::ProbeUp => "ProbeBW_UP",
            Self::ProbeRtt => "ProbeRTT",
        }
    }
}

impl fmt::Display for CongestionPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A snapshot of a path's congestion control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CongestionStats {
    /// The state of the state machine.
    pub phase: CongestionPhase,
    /// The estimated bandwidth, in bytes per second; 0 while unknown.
    pub bandwidth: u64,
    /// The smallest round-trip time of the last 10 seconds; `None` while unknown.
    pub min_rtt: Option<Duration>,
    /// Bytes that may be in flight.
    pub window: u64,
    /// How fast packets may leave, in bytes per second.
    pub pacing_rate: u64,
    /// The share of packets that the path loses whatever we do, in thousandths, as far as it is known.
    pub background_loss_permille: u16,
    /// Bytes delivered over the life of the path.
    pub delivered: u64,
}

impl Bbr {
    /// The state as numbers, for statistics and tests.
    pub(crate) fn snapshot(&self) -> CongestionStats {
        CongestionStats {
            phase: match self.phase {
                Phase::Startup => CongestionPhase::Startup,
                Phase::Drain { .. } => CongestionPhase::Drain,
                Phase::ProbeDown => CongestionPhase::ProbeDown,
                Phase::ProbeCruise => CongestionPhase::ProbeCruise,
                Phase::ProbeRefill => CongestionPhase::ProbeRefill,
                Phase::ProbeUp => CongestionPhase::ProbeUp,
                Phase::ProbeRtt(_) => CongestionPhase::ProbeRtt,
            },
            bandwidth: self.bw.as_bytes_per_sec(),
            min_rtt: self.min_rtt.get(),
            window: self.control.window,
            pacing_rate: self.pacing_rate().as_bytes_per_sec(),
            background_loss_permille: u16::try_from(self.loss.background_permille()).unwrap_or(u16::MAX),
            delivered: self.sampler.delivered(),
        }
    }
}

//! The engine's time on this machine: one captured epoch for the life of an endpoint.

use std::time::Instant as StdInstant;

use dunlin_core::Instant;

/// Turns the system's monotonic clock into the engine's instants and back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: StdInstant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { epoch: StdInstant::now() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        // 64 bits of nanoseconds last 584 years.
        Instant::from_nanos(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The system's name for `instant`; `None` if that is further away than the system can say.
    #[must_use]
    pub fn to_std(self, instant: Instant) -> Option<StdInstant> {
        self.epoch.checked_add(instant - Instant::ZERO)
    }
}

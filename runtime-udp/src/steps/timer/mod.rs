//! A timer for the pacer's waits.

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "linux.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "portable.rs")]
mod kernel;

use dunlin_core::{Duration, Instant};

use kernel::KernelTimer;

/// A timer that whoever waits for a socket can wait for beside it: it becomes readable when it fires, late by some 50
/// microseconds. Polls and runtimes count in milliseconds, which is as long as a burst of the pacer's.
///
/// A deadline that moves away, as that of loss detection does with every acknowledgement, does not set it anew: it fires
/// once too early instead. The clock decides, not the timer. It need not be read.
#[derive(Debug)]
pub struct FineTimer {
    kernel: KernelTimer,
    /// When it fires, or has fired for all that is known.
    until: Option<Instant>,
}

impl FineTimer {
    /// For waits below this; longer ones do without.
    pub const RANGE: Duration = Duration::from_millis(4);

    /// A timer that is not set; `None` where the system has none.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self { kernel: KernelTimer::new()?, until: None })
    }

    /// Has it fire at `deadline` or before. `false` if the system does not do that.
    #[must_use]
    pub fn fire_by(&mut self, now: Instant, deadline: Instant) -> bool {
        if self.until.is_none_or(|until| until > deadline || until <= now) {
            self.until = self.kernel.set(deadline - now).map(|()| deadline);
        }
        self.until.is_some()
    }

    /// It has fired: it is not set any more, whatever the clock says.
    pub const fn fired(&mut self) {
        self.until = None;
    }
}

#[cfg(unix)]
mod fd {
    use std::os::fd::{AsRawFd, RawFd};

    use super::FineTimer;

    impl AsRawFd for FineTimer {
        fn as_raw_fd(&self) -> RawFd {
            self.kernel.as_raw_fd()
        }
    }
}

//! Linux and Android have timers with a descriptor.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use dunlin_core::Duration;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

#[derive(Debug)]
pub(super) struct KernelTimer(TimerFd);

impl KernelTimer {
    pub(super) fn new() -> Option<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok().map(Self)
    }

    /// Sets it to fire once after `wait`, which also makes it forget that it has fired.
    pub(super) fn set(&self, wait: Duration) -> Option<()> {
        // Zero would switch it off.
        let wait = TimeSpec::from_duration(wait.max(Duration::from_nanos(1)));
        self.0.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty()).ok()
    }
}

impl AsRawFd for KernelTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

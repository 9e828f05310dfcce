//! No fine timer is known here: those of polls and runtimes have to do.

use dunlin_core::Duration;

/// There is none.
#[derive(Debug)]
pub(super) enum KernelTimer {}

impl KernelTimer {
    pub(super) const fn new() -> Option<Self> {
        None
    }

    pub(super) const fn set(&self, _: Duration) -> Option<()> {
        match *self {}
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for KernelTimer {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        match *self {}
    }
}

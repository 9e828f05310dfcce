//! The fine timer, beside the socket in the same registry, since polls count in milliseconds.

use std::io;

use dunlin_core::Instant;
use dunlin_udp::FineTimer;
use mio::{Registry, Token};

/// The timer, if there is one to be had.
#[derive(Debug)]
pub(crate) struct Timer(Option<FineTimer>);

impl Timer {
    pub(crate) fn new() -> Self {
        Self(FineTimer::new())
    }

    /// Has the poll woken at `deadline`, or before, if that is too near for the poll's own count.
    pub(crate) fn wake_by(&mut self, now: Instant, deadline: Instant) {
        if let Some(timer) = &mut self.0
            && now < deadline
            && deadline - now < FineTimer::RANGE
            && !timer.fire_by(now, deadline)
        {
            self.0 = None;
        }
    }

    #[cfg(unix)]
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        use std::os::fd::AsRawFd;

        let Some(timer) = &self.0 else { return Ok(()) };
        registry.register(&mut mio::unix::SourceFd(&timer.as_raw_fd()), token, mio::Interest::READABLE)
    }

    #[cfg(unix)]
    pub(crate) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        use std::os::fd::AsRawFd;

        let Some(timer) = &self.0 else { return Ok(()) };
        registry.deregister(&mut mio::unix::SourceFd(&timer.as_raw_fd()))
    }

    /// No fine timer is known here.
    #[cfg(not(unix))]
    pub(crate) fn register(&self, _: &Registry, _: Token) -> io::Result<()> {
        Ok(())
    }

    #[cfg(not(unix))]
    pub(crate) fn deregister(&self, _: &Registry) -> io::Result<()> {
        Ok(())
    }
}

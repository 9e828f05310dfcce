//! A timer of the kernel's: late by some 50 microseconds.

use core::task::{Context, Poll};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use dunlin_core::Duration;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

/// A timerfd, if there is one to be had.
#[derive(Debug)]
pub(super) struct FineTimer(Option<AsyncFd<Descriptor>>);

#[derive(Debug)]
struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl FineTimer {
    pub(super) fn new() -> Self {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok().and_then(register))
    }

    /// Sets it to fire once after `wait`, which also makes it forget what it was set to. `None` if there is no timer.
    pub(super) fn set(&mut self, wait: Duration) -> Option<()> {
        let timer = &self.0.as_ref()?.get_ref().0;
        let wait = TimeSpec::from_duration(wait.max(Duration::from_nanos(1)));
        timer.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty()).ok()
    }

    /// Ready once when it has fired; else the task is woken then. `None` if there is no timer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Poll<()>> {
        let timer = self.0.as_ref()?;
        Some(match timer.poll_read_ready(cx) {
            Poll::Ready(Ok(mut fired)) => {
                // It need not be read: setting it makes it count anew.
                fired.clear_ready();
                Poll::Ready(())
            }
            Poll::Ready(Err(_)) => return None,
            Poll::Pending => Poll::Pending,
        })
    }
}

#[expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor of this kind")]
fn register(timer: TimerFd) -> Option<AsyncFd<Descriptor>> {
    // SAFETY: the descriptor belongs to the `TimerFd`, is neither replaced nor closed before it is dropped, and stays in
    // the `AsyncFd` for as long as that lives.
    unsafe { AsyncFd::register(Descriptor(timer)) }.ok()
}

//! Sleeping until a point in time.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "portable.rs")]
mod fine;

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use dunlin_core::{Duration, Instant};
use dunlin_udp::Clock;
use tokio::time::{Sleep, sleep};

use fine::FineTimer;

/// A timer that is set again and again: tokio's, which counts in milliseconds and is up to two of them late, and the
/// fine one for what cannot wait so long.
///
/// A deadline that moves away, as that of loss detection does with every acknowledgement, does not set it anew: the task
/// is woken once too early instead. The clock decides, not the sleep.
#[derive(Debug)]
pub(super) struct Timer {
    clock: Clock,
    coarse: Pin<Box<Sleep>>,
    /// What `coarse` is set to; `None` if it has fired.
    coarse_until: Option<Instant>,
    fine: FineTimer,
}

impl Timer {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, coarse: Box::pin(sleep(Duration::ZERO)), coarse_until: None, fine: FineTimer::new() }
    }

    /// Ready if `deadline` has come at `now`; else the task is woken then, or before.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, now: Instant, deadline: Instant) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        if deadline - now < dunlin_udp::FineTimer::RANGE && self.fine.poll(cx, now, deadline) {
            return Poll::Pending;
        }
        self.poll_coarse(cx, deadline);
        Poll::Pending
    }

    /// Has the task woken by tokio's timer.
    fn poll_coarse(&mut self, cx: &mut Context<'_>, deadline: Instant) {
        loop {
            if self.coarse_until.is_none_or(|until| until > deadline) {
                // Beyond what the system can say there is nothing to wait for.
                let Some(at) = self.clock.to_std(deadline) else { return };
                self.coarse.as_mut().reset(at.into());
                self.coarse_until = Some(deadline);
            }
            match self.coarse.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(()) => self.coarse_until = None,
            }
        }
    }
}

//! The fine timer, for a task to wait for.

use core::task::{Context, Poll};

use dunlin_core::Instant;
use tokio::io::unix::AsyncFd;

/// The timer, if there is one to be had.
#[derive(Debug)]
pub(super) struct FineTimer(Option<AsyncFd<dunlin_udp::FineTimer>>);

impl FineTimer {
    pub(super) fn new() -> Self {
        Self(dunlin_udp::FineTimer::new().and_then(register))
    }

    /// Has the task woken at `deadline`, or before. `false` if there is no timer.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant, deadline: Instant) -> bool {
        let Some(timer) = &mut self.0 else { return false };
        while timer.get_mut().fire_by(now, deadline) {
            match timer.poll_read_ready(cx) {
                Poll::Ready(Ok(mut fired)) => fired.clear_ready(),
                Poll::Ready(Err(_)) => return false,
                Poll::Pending => return true,
            }
            timer.get_mut().fired();
        }
        false
    }
}

#[expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor of this kind")]
fn register(timer: dunlin_udp::FineTimer) -> Option<AsyncFd<dunlin_udp::FineTimer>> {
    // SAFETY: the descriptor belongs to the timer, is neither replaced nor closed before that is dropped, and stays in
    // the `AsyncFd` for as long as that lives.
    unsafe { AsyncFd::register(timer) }.ok()
}

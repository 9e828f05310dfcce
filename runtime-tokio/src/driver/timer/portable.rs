//! No fine timer is known here: tokio's have to do.

use core::task::{Context, Poll};

use dunlin_core::Duration;

/// Nothing.
#[derive(Debug)]
pub(super) struct FineTimer;

impl FineTimer {
    pub(super) const fn new() -> Self {
        Self
    }

    pub(super) const fn set(&mut self, _: Duration) -> Option<()> {
        None
    }

    pub(super) const fn poll(&mut self, _: &mut Context<'_>) -> Option<Poll<()>> {
        None
    }
}

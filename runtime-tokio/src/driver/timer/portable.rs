//! No fine timer can be waited for here: tokio's have to do.

use core::task::Context;

use dunlin_core::Instant;

/// Nothing.
#[derive(Debug)]
pub(super) struct FineTimer;

impl FineTimer {
    pub(super) const fn new() -> Self {
        Self
    }

    pub(super) const fn poll(&mut self, _: &mut Context<'_>, _: Instant, _: Instant) -> bool {
        false
    }
}

//! What waits for the application to ask for it.

use std::collections::VecDeque;

use dunlin_core::ConnectionHandle;

/// Below so many nobody minds what has ended among them.
const FEW: usize = 64;

/// Attempts of others, and connections that a policy has accepted, oldest first.
///
/// An attempt ends if nobody decides on it, and a connection may end as well. Those that have ended are thrown out whenever the
/// queue has doubled, so it is never longer than twice what there is behind it, and [`FEW`].
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    queue: VecDeque<ConnectionHandle>,
    limit: usize,
}

impl Backlog {
    /// One more; `is_alive` says of those before it whether they are there still.
    pub(crate) fn push(
        &mut self,
        handle: ConnectionHandle,
        mut is_alive: impl FnMut(ConnectionHandle) -> bool,
    ) {
        if self.queue.len() >= self.limit.max(FEW) {
            self.queue.retain(|handle| is_alive(*handle));
            self.limit = 2 * self.queue.len();
        }
        self.queue.push_back(handle);
    }

    /// The oldest.
    pub(crate) fn pop(&mut self) -> Option<ConnectionHandle> {
        self.queue.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_does_not_pile_up_behind_what_has_not() {
        let (mut backlog, alive) = (Backlog::default(), ConnectionHandle::NONE);
        backlog.push(alive, |_| true);
        for _ in 0..10_000 {
            backlog.push(alive, |_| true);
            backlog.push(alive, |_| false);
            assert!(backlog.queue.len() <= FEW + 1);
        }
        for _ in 0..10_000 {
            backlog.push(alive, |_| true);
        }
        assert!(backlog.queue.len() >= 10_000);
        assert!(core::iter::from_fn(|| backlog.pop()).count() >= 10_000);
    }
}

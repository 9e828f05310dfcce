//! What is remembered of the choice between several paths, from one look to the next.

use crate::id::PathId;

use super::select::steady::Steady;
use crate::time::{Duration, Instant};

/// How often the policy is asked while data flows, so that a path that is twice as good is taken within two seconds: three
/// looks, and a second, have to agree.
const LOOK_BUSY: Duration = Duration::from_millis(500);
/// How often it is asked otherwise.
const LOOK: Duration = Duration::from_secs(5);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) steady: Steady,
    /// The one that the application has chosen itself.
    pub(crate) pinned: Option<PathId>,
    looked: Instant,
}

impl Selection {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { steady: Steady::new(), pinned: None, looked: now }
    }

    /// The policy is asked.
    pub(crate) const fn on_look(&mut self, now: Instant) {
        self.looked = now;
    }

    /// When it is to be asked again.
    pub(crate) fn due(&self, busy: bool) -> Instant {
        self.looked + if busy { LOOK_BUSY } else { LOOK }
    }
}

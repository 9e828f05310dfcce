//! Counters against what they count, for tests: it looks at everything.

use crate::id::WireVersion;

use super::incoming::Init;
use super::{Endpoint, Entry};

impl Endpoint {
    /// See [`crate::fuzzing::recount`].
    #[cfg_attr(
        not(test),
        expect(clippy::arithmetic_side_effects, reason = "where a sum overflows tests are to fail")
    )]
    pub(crate) fn recount(&self) {
        let mut held = self.shared.remotes.held() + self.used_tokens.held();
        let (mut half_open, mut qotp) = (0_u32, 0_usize);
        for entry in self.slots.handles().filter_map(|handle| self.slots.get(handle)) {
            match entry {
                Entry::Pending(pending) => {
                    held += pending.cost;
                    half_open += 1;
                    qotp += usize::from(matches!(pending.init, Init::Qotp(_)));
                }
                Entry::Connection(connection) => {
                    held += connection.held();
                    half_open += u32::from(connection.is_half_open());
                    qotp += usize::from(connection.wire() == WireVersion::Qotp);
                }
            }
        }
        assert_eq!(self.shared.budget.used(), held, "memory charged is not what is held");
        assert_eq!(self.shared.half_open.seats(), half_open, "half-open attempts");
        assert_eq!(self.qotp_ids.len(), qotp, "ids of QOTP");
    }
}

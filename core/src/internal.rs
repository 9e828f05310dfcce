//! Thin doors into the engine for this project's own benchmarks and fuzzers. Not part of the API: anything here may
//! change in any release.

use crate::crypto::keys::{KeyLimits, Opener, Sealer, Timing, data_keys};
use crate::crypto::noise::Finished;
use crate::crypto::{Identity, Secret, Suite, packet};
use crate::id::{PacketNumber, PathId, Role};
use crate::time::{Duration, Instant};

/// Packet protection with fixed keys: what a Data packet costs apart from everything else.
#[allow(missing_debug_implementations, reason = "holds keys")]
pub struct Protection {
    sealer: Sealer,
    opener: Opener,
    sent: u64,
    received: Option<PacketNumber>,
}

impl Protection {
    /// One direction's keys, both ends of it.
    #[must_use]
    pub fn new(suite: Suite) -> Self {
        let key = |byte| Secret::new([byte; 32]);
        let remote_static = *Identity::from_secret([4; 32]).public();
        let finished =
            Finished { initiator: key(1), responder: key(2), exporter: key(3), hash: [5; 32], remote_static };
        let limits = KeyLimits::of(suite);
        let (sealer, _) = data_keys(&finished, Role::Initiator, suite, limits, Instant::ZERO);
        let (_, opener) = data_keys(&finished, Role::Responder, suite, limits, Instant::ZERO);
        Self { sealer, opener, sent: 0, received: None }
    }

    /// Seals a whole packet in place: header, sequence field, payload, room for the tag. `false` if it is too short.
    pub fn seal(&mut self, packet: &mut [u8]) -> bool {
        self.sent = self.sent.saturating_add(1);
        packet::seal(&mut self.sealer, PathId::ZERO, PacketNumber::new(self.sent), packet).is_ok()
    }

    /// Opens a packet in place. `false` if it does not open.
    pub fn open(&mut self, packet: &mut [u8]) -> bool {
        let Some(field) = packet::unmask(&self.opener, packet) else { return false };
        let numbered = field.recover(self.received);
        let timing = Timing { now: Instant::ZERO, pto: Duration::from_secs(1) };
        self.received = Some(numbered.number);
        packet::open(&mut self.opener, &numbered, packet, timing).is_ok()
    }
}

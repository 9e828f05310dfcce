//! What the transports of an endpoint have counted.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::collections::BTreeMap;

use dunlin_core::TransportId;

/// The counters of an endpoint's custom transports.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct TransportStats {
    /// Of each.
    pub each: BTreeMap<TransportId, CustomStats>,
    /// Trains lost because they were for a relay, for a transport that the endpoint does not have, or for a socket that it
    /// does not have.
    pub lost_homeless: u64,
}

/// The counters of a custom transport since the endpoint was bound.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct CustomStats {
    /// Whether it is there: otherwise it has failed.
    pub is_open: bool,
    /// Datagrams that it took.
    pub sent: u64,
    /// Datagrams that it gave.
    pub received: u64,
    /// Sends for which it had no room.
    pub blocked: u64,
    /// Datagrams lost because it refused them, or had failed.
    pub lost: u64,
    /// Datagrams lost as larger than its profile says. They were not tried.
    pub lost_too_big: u64,
    /// Trains lost because as many as are kept waited for it already. They were not tried.
    pub lost_overflow: u64,
}

/// The same, as they are counted.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) blocked: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) lost_too_big: AtomicU64,
    pub(crate) lost_overflow: AtomicU64,
}

impl Counters {
    pub(super) fn snapshot(&self, is_open: bool) -> CustomStats {
        CustomStats {
            is_open,
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
            blocked: self.blocked.load(Relaxed),
            lost: self.lost.load(Relaxed),
            lost_too_big: self.lost_too_big.load(Relaxed),
            lost_overflow: self.lost_overflow.load(Relaxed),
        }
    }
}

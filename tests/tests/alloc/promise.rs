//! What docs/DESIGN.md promises of an endpoint's heap ("Memory accounting"), checked inside every call into the engine.

use dunlin_core::EndpointStats;

/// What one connection may hold beyond a limit that it has reached, to keep going: the records of some packets, the blocks of
/// one packet of readable data, and what a table that grows holds twice while it is copied.
const PER_CONNECTION: i64 = 72 << 10;
/// What lies beside the budget whatever its limit is: the endpoint's own tables, and the events that nobody has polled.
const FIXED: i64 = 64 << 10;
/// The part of the limit that may lie beside the budget: free blocks, peers of the last minute.
const PART: i64 = 32;
/// The most that this part is.
const MOST_OF_PART: i64 = 3 << 20;
/// What a connection or an attempt that was there leaves in tables as long as there are others.
const PLACE: i64 = 200;

/// The promise for one endpoint.
#[derive(Debug)]
pub(crate) struct Promise {
    limit: i64,
    /// The most connections and attempts that there were at once since there were none.
    places: i64,
    /// What may be held, as things were after the last call.
    allowed: i64,
    /// The most that was ever held beyond what was allowed; negative if that never was.
    excess: i64,
    /// The most that was ever charged.
    charged: i64,
}

impl Promise {
    /// Of an endpoint with so many bytes in `limits.per_endpoint`.
    pub(crate) const fn new(limit: i64) -> Self {
        Self { limit, places: 0, allowed: i64::MAX, excess: i64::MIN, charged: 0 }
    }

    /// After a call: what the endpoint says of itself, and the most that was held within the call.
    pub(crate) fn on_call(&mut self, stats: &EndpointStats, peak: i64) {
        self.places = if stats.connections == 0 { 0 } else { self.places.max(stats.connections as i64) };
        self.charged = self.charged.max(stats.memory_used as i64);
        let full = stats.memory_used as i64 + PER_CONNECTION >= self.limit;
        // Attempts have no streams and no records.
        let at_limit = if full { (stats.connections - stats.half_open) as i64 } else { 0 };
        let allowed = self.limit + self.rest() + at_limit * PER_CONNECTION;
        // A connection that ends in the call was there before it, one that begins is there after it.
        self.excess = self.excess.max(peak - allowed.max(self.allowed));
        self.allowed = allowed;
    }

    /// What may be left when everybody is gone.
    pub(crate) fn rest(&self) -> i64 {
        (self.limit / PART).min(MOST_OF_PART) + FIXED + self.places * PLACE
    }

    /// By how many bytes it was broken, if it was.
    pub(crate) fn broken_by(&self) -> Option<i64> {
        Some(self.excess).filter(|excess| *excess > 0)
    }

    /// The most that was charged, in parts of the limit.
    pub(crate) fn fullest(&self) -> f64 {
        self.charged as f64 / self.limit as f64
    }

    /// How many bytes of what was allowed were never held.
    pub(crate) const fn spare(&self) -> i64 {
        -self.excess
    }
}

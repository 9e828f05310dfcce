//! Loss recovery (RFC 9002), per path: packets sent, packets received, round-trip times, and what is lost.

pub(crate) mod loss;
pub(crate) mod received;
pub(crate) mod rtt;
pub(crate) mod sent;
pub(crate) mod skips;

//! Loss recovery (RFC 9002), per path: packets sent, packets received, round-trip times, and what is lost.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub(crate) mod loss;
pub(crate) mod received;
pub(crate) mod rtt;
pub(crate) mod sent;
pub(crate) mod skips;

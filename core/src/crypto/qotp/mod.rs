//! The cryptography of QOTP, wire version 0, as its reference v0.2.19 does it (docs/PROTOCOL.md, "QOTP").
//!
//! Keys are plain X25519 results, without a key derivation behind them; no packet proves an identity. Nothing of this
//! is shared with the native wire, and no key may serve both.

mod identity;
pub(crate) mod packet;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

pub use identity::{QotpIdentity, QotpKeyError, QotpPublicKey};

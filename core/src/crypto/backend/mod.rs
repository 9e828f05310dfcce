//! The primitives: X25519, the two AEADs and the sequence-field mask. One interface, two implementations.
//!
//! `pure` is Rust all the way down and works without `std`. `fast` (the feature of that name) takes what measured
//! fastest. Both give the same bytes; `tests.rs` holds them against each other and against published vectors.
//!
//! | type | what it is |
//! |---|---|
//! | `SecretKey` | an X25519 secret with its public key; `agree` refuses an all-zero result in constant time |
//! | `AeadKey` | an expanded AEAD key; seals and opens in place |
//! | `MaskKey` | an expanded header-protection key (RFC 9001 sections 5.4.3 and 5.4.4); total over all samples |

#[cfg(feature = "fast")]
mod fast;
#[cfg(any(not(feature = "fast"), test))]
mod pure;
#[cfg(test)]
mod tests;

#[cfg(feature = "fast")]
pub(crate) use fast::{AeadKey, MaskKey, NAME, SecretKey};
#[cfg(not(feature = "fast"))]
pub(crate) use pure::{AeadKey, MaskKey, NAME, SecretKey};

/// Length of the sample that a mask is computed from, in bytes (RFC 9001 section 5.4.2).
pub(crate) const SAMPLE_LEN: usize = 16;

/// Length of a mask, in bytes (RFC 9001 section 5.4.1).
pub(crate) const MASK_LEN: usize = 5;

/// The AEAD refused: a tag that does not fit, or a buffer without room for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AeadError;

//! Everything that needs a key, and nothing that knows a connection: identities, the Noise handshakes, the key
//! schedule, packet protection, replay windows. docs/PROTOCOL.md has the rules to the byte.

pub(crate) mod backend;
pub(crate) mod digest;
pub(crate) mod early_token;
mod identity;
mod kdf;
pub(crate) mod keys;
pub(crate) mod noise;
pub(crate) mod packet;
pub(crate) mod qotp;
pub(crate) mod replay;
mod secret;
mod suite;
#[cfg(test)]
mod testing;
pub(crate) mod token;

pub(crate) use early_token::EarlySecret;
pub use early_token::EarlyToken;
pub use identity::{Identity, KeyError, PublicKey};
pub use qotp::{QotpIdentity, QotpKeyError, QotpPublicKey};
pub use secret::Secret;
pub use suite::Suite;
pub(crate) use token::GroupSecret;

/// The implementation of the cryptographic primitives in this build, for reports: the feature `fast` picks another.
pub const CRYPTO_BACKEND: &str = backend::NAME;

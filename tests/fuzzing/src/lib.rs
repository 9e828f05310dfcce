//! What the fuzz targets do with their bytes: one function each, which panics when something does not hold.
//!
//! The targets themselves, for `cargo fuzz`, are in `fuzz/`, and call these. Here they are ordinary functions, so that every
//! input that was ever worth keeping is replayed as a test, on any toolchain.
//!
//! Choices are made by whole ranges of a byte, with room between them: a new choice takes a free range, and old inputs mean
//! what they meant.
#![forbid(unsafe_code)]

mod decoders;
pub mod frames;
mod handshake;
pub mod input;
mod ranges;
mod reassembly;
mod sealed;
pub mod session;

pub use decoders::{header, params, payload};
pub use handshake::handshake;
pub use ranges::ranges;
pub use reassembly::reassembly;
pub use sealed::sealed;

/// The body of a target.
pub type Body = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Body); 9] = [
    ("handshake", handshake),
    ("header", header),
    ("params", params),
    ("payload", payload),
    ("qotp_session", session::qotp),
    ("ranges", ranges),
    ("reassembly", reassembly),
    ("sealed", sealed),
    ("session", session::native),
];

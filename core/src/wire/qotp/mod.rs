//! QOTP's wire, version 0, as its reference implementation v0.2.19 speaks it (docs/PROTOCOL.md, "QOTP"). All integers
//! are little-endian.

pub(crate) mod header;
pub(crate) mod payload;
#[cfg(test)]
mod tests;
pub(crate) mod window;

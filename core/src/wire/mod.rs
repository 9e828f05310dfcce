//! The wires, native and QOTP: bytes to meaning and back. Nothing here keeps state or does cryptography.

pub(crate) mod codec;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod params;
pub(crate) mod qotp;
pub(crate) mod versions;

#[cfg(test)]
mod tests;

//! The wires, native and QOTP: bytes to meaning and back. Nothing here keeps state or does cryptography.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

pub(crate) mod codec;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod params;
pub(crate) mod qotp;
pub(crate) mod versions;

#[cfg(test)]
mod tests;

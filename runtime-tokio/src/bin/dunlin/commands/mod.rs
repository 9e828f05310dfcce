//! The commands, one file each; measuring has a folder of its own.

pub(crate) mod demo;
pub(crate) mod keys;
mod places;
pub(crate) mod recv;
pub(crate) mod send;
mod streams;

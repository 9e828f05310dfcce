//! Systems whose numbers nobody has looked up: their errors have only a kind.

pub(super) const IO: &[i32] = &[];
pub(super) const NO_BUFFERS: &[i32] = &[];
pub(super) const NO_FAMILY: &[i32] = &[];
pub(super) const NO_DEVICE: &[i32] = &[];

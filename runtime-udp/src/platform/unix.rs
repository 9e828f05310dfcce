//! Unix.

pub(super) const IO: &[i32] = &[libc::EIO];
pub(super) const NO_BUFFERS: &[i32] = &[libc::ENOBUFS, libc::ENOMEM];
pub(super) const NO_FAMILY: &[i32] = &[libc::EAFNOSUPPORT];

//! Unix.

pub(super) const IO: &[i32] = &[libc::EIO];
pub(super) const NO_BUFFERS: &[i32] = &[libc::ENOBUFS, libc::ENOMEM];
pub(super) const NO_FAMILY: &[i32] = &[libc::EAFNOSUPPORT];
/// ENXIO is what looking up a name of an interface says.
pub(super) const NO_DEVICE: &[i32] = &[libc::ENODEV, libc::ENXIO];

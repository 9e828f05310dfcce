//! Windows: the numbers of Winsock ("Windows Sockets Error Codes" in its documentation).

pub(super) const IO: &[i32] = &[];
/// WSAENOBUFS.
pub(super) const NO_BUFFERS: &[i32] = &[10_055];
/// WSAEAFNOSUPPORT.
pub(super) const NO_FAMILY: &[i32] = &[10_047];
pub(super) const NO_DEVICE: &[i32] = &[];

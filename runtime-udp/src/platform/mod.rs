//! What differs between systems, one file each: options, sending many messages at once, and error numbers that
//! [`std::io::ErrorKind`] has no name for.

use std::io;

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(unix, windows)), path = "other.rs")]
mod numbers;

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "linux.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "not_linux.rs")]
mod options;

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "sendmmsg.rs")]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), path = "one_by_one.rs")]
mod many;

pub(crate) use many::{MANY, send_many};
pub(crate) use options::{bind_to_interface, receive_drops, set_mark, stop_timestamps};

#[cfg_attr(target_os = "linux", path = "linux_steering.rs")]
#[cfg_attr(not(target_os = "linux"), path = "no_steering.rs")]
mod steering;

pub(crate) use steering::{may_share_port, steer};

/// The driver cannot compute the checksums that segmentation offload needs.
pub(crate) fn is_io_error(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| numbers::IO.contains(&number))
}

/// The queue of the interface is full.
pub(crate) fn is_no_buffers(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| numbers::NO_BUFFERS.contains(&number))
}

/// The system has no such address family.
pub(crate) fn is_no_family(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| numbers::NO_FAMILY.contains(&number))
}

/// There is no such interface.
pub(crate) fn is_no_device(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| numbers::NO_DEVICE.contains(&number))
}

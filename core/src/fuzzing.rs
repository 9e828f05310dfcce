//! A way past the encryption for fuzzers and abuse tests. No part of the API: it may change with any release.

use alloc::vec::Vec;

use crate::connection::view::Connection;

/// Appends a packet of `connection` that opens at its peer and carries `frames` (QOTP: a payload), whatever they say.
/// `false` if there are no keys yet or any more, or `frames` is too short or does not fit into a datagram.
pub fn seal(connection: &mut Connection<'_>, frames: &[u8], out: &mut Vec<u8>) -> bool {
    connection.seal_raw(frames, out)
}

//! Receiving a batch: what is no news about the socket is skipped.

#[cfg(all(test, unix))]
mod tests;

use std::io::{self, IoSliceMut};

use quinn_udp::RecvMeta;

use crate::address::inward;
use crate::kernel::Calls;
use crate::stats::{Counters, count};

/// How many errors of earlier sends one receive skips.
const MAX_SKIPPED_ERRORS: usize = 64;

/// Receives one batch, with addresses as the engine knows them. Zero: ask again.
pub(crate) fn receive(
    calls: &impl Calls,
    counters: &Counters,
    buffers: &mut [IoSliceMut<'_>],
    metas: &mut [RecvMeta],
) -> io::Result<usize> {
    let room = buffers.len().min(metas.len());
    let (buffers, metas) = (&mut buffers[..room], &mut metas[..room]);
    if room == 0 {
        return Ok(0);
    }
    for _ in 0..MAX_SKIPPED_ERRORS {
        match calls.recv(buffers, metas) {
            Ok(filled) => {
                count(&counters.receives);
                for meta in metas.iter_mut().take(filled) {
                    meta.addr = inward(meta.addr);
                    meta.dst_ip = meta.dst_ip.map(|ip| ip.to_canonical());
                }
                return Ok(filled);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if concerns_a_send(&error) => count(&counters.receive_errors),
            Err(error) => return Err(error),
        }
    }
    Ok(0)
}

/// Whether an error on reading is the echo of something sent: an ICMP message, which anybody can forge. On Windows the
/// echo is a reset.
fn concerns_a_send(error: &io::Error) -> bool {
    quinn_udp::is_msg_size_err(error)
        || matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::PermissionDenied
        )
}

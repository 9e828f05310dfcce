//! From the engine to the sockets, in trains.

use core::task::Context;
use std::io;

use dunlin_udp::Transmitter;

use crate::state::Shared;

use super::Sockets;

/// Loads, of one full train or several smaller ones, that are sent before arrivals are looked at again.
const LOADS_PER_ROUND: usize = 4;

/// Sends some trains, after what is due by the clock. `false` if there is nothing to send or no socket takes more; the task
/// is then woken when one does.
///
/// # Errors
/// The runtime's, when it shuts down.
pub(super) fn transmit(
    transmitter: &mut Transmitter,
    cx: &mut Context<'_>,
    shared: &Shared,
    sockets: &Sockets,
) -> io::Result<bool> {
    let segments = sockets.max_gso_segments();
    for loads in 0..LOADS_PER_ROUND {
        if !transmitter.load(shared.clock.now(), &mut shared.lock().engine, segments) {
            return Ok(loads > 0);
        }
        if !sockets.send(transmitter, cx, shared)? {
            return Ok(false);
        }
        if !transmitter.has_more() {
            break;
        }
    }
    Ok(true)
}

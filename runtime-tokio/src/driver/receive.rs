//! From the sockets to the engine, in batches.
//!
//! The kernel hands a train to one shard, by its first datagram. A network card may have put it together from datagrams of
//! several connections, where those are between the same two ports; the others are then handed over here.

use core::task::Context;
use std::io;

use dunlin_udp::Receiver;

use super::{Place, Sockets};

/// Receives one batch and hands it to the engine. `false` if there was none; the task is then woken when one comes. For what
/// `busy` means, see [`Sockets::receive`].
///
/// # Errors
/// No socket is of any use any more.
pub(super) fn receive(
    receiver: &mut Receiver,
    cx: &mut Context<'_>,
    place: &Place,
    sockets: &mut Sockets,
    busy: bool,
) -> io::Result<bool> {
    let shared = place.shared();
    if !sockets.receive(receiver, cx, shared, busy)? {
        return Ok(false);
    }
    let now = shared.clock.now();
    // Hardly ever is there any. They are copied, because no two shards are ever locked at once.
    let mut astray = Vec::new();
    let mut locked = shared.lock();
    receiver.hand_over(|arrival, datagram| match place.elsewhere(datagram) {
        None => {
            locked.engine.handle_datagram(now, arrival, datagram);
            locked.dispatch();
        }
        Some(owner) => astray.push((owner, arrival, datagram.to_vec())),
    });
    drop(locked);
    for (owner, arrival, mut datagram) in astray {
        let mut locked = owner.lock();
        locked.engine.handle_datagram(now, arrival, &mut datagram);
        locked.nudge();
    }
    Ok(true)
}

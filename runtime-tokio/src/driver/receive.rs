//! From the sockets to the engine, in batches.
//!
//! The kernel hands a train to one shard, by its first datagram. A network card may have put it together from datagrams of
//! several connections, where those are between the same two ports; the others are then handed over here. So is what may be a
//! stateless reset, which names its shard by chance only ([`Strays`]).

use core::task::Context;
use std::io;

use dunlin_udp::{Receiver, Strays};

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
    strays: &mut Strays,
    busy: bool,
) -> io::Result<bool> {
    let shared = place.shared();
    if !sockets.receive(receiver, cx, shared, busy)? {
        return Ok(false);
    }
    let now = shared.clock.now();
    // Hardly ever is there any. They are copied, because no two shards are ever locked at once.
    let (mut astray, mut shown) = (Vec::new(), Vec::new());
    let mut locked = shared.lock();
    receiver.hand_over(|arrival, datagram| match place.elsewhere(datagram) {
        None => {
            let said = locked.engine.handle_datagram(now, arrival, datagram);
            locked.dispatch();
            if strays.show(now, said, datagram) {
                shown.push((arrival, datagram.to_vec()));
            }
        }
        Some(owner) => astray.push((owner, arrival, datagram.to_vec())),
    });
    drop(locked);
    for (owner, arrival, mut datagram) in astray {
        let mut locked = owner.lock();
        locked.engine.handle_datagram(now, arrival, &mut datagram);
        locked.nudge();
    }
    for (arrival, datagram) in shown {
        for other in place.others() {
            let mut locked = other.lock();
            locked.engine.handle_datagram(now, arrival, &mut datagram.clone());
            locked.nudge();
        }
    }
    Ok(true)
}

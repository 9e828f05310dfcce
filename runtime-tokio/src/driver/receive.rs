//! From the socket to the engine, in batches.
//!
//! The kernel hands a train to one shard, by its first datagram. A network card may have put it together from datagrams of
//! several connections, where those are between the same two ports; the others are then handed over here.

use core::task::{Context, Poll};
use std::io;

use dunlin_udp::{Left, Receiver};
use tokio::io::Interest;

use super::{Place, Socket};

/// Receives one batch and hands it to the engine. `false` if there was none; the task is then woken when one comes.
///
/// The runtime finds out that the socket is readable when it has nothing else to do, or now and then. A driver that is
/// `busy` sending keeps it from that: it looks for itself, for what was acknowledged is worth knowing soon.
///
/// # Errors
/// The socket is of no use any more.
pub(super) fn receive(
    receiver: &mut Receiver,
    cx: &mut Context<'_>,
    place: &Place,
    socket: &Socket,
    busy: bool,
) -> io::Result<bool> {
    if busy && receiver.is_empty() {
        match receiver.receive(&*socket.udp) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    while receiver.is_empty() {
        let received =
            socket.readiness.try_io(Interest::READABLE, || match receiver.receive(&*socket.udp)? {
                // The runtime may be told without asking the system once more.
                Left::Nothing => Err(io::ErrorKind::WouldBlock.into()),
                Left::Perhaps => Ok(()),
            });
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if receiver.is_empty() {
                    match socket.readiness.poll_recv_ready(cx) {
                        Poll::Ready(ready) => ready?,
                        Poll::Pending => return Ok(false),
                    }
                }
            }
            received => received?,
        }
    }
    let shared = place.shared();
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

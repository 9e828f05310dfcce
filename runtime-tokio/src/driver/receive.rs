//! From the socket to the engine, in batches.

use core::task::{Context, Poll};
use std::io;

use dunlin_udp::{Left, Receiver};
use tokio::io::Interest;

use crate::state::Shared;

use super::Socket;

/// Receives one batch and hands it to the engine. `false` if there was none; the task is then woken when one comes.
///
/// # Errors
/// The socket is of no use any more.
pub(super) fn receive(
    receiver: &mut Receiver,
    cx: &mut Context<'_>,
    shared: &Shared,
    socket: &Socket,
) -> io::Result<bool> {
    while receiver.is_empty() {
        let received =
            socket.readiness.try_io(Interest::READABLE, || match receiver.receive(&socket.udp)? {
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
    let now = shared.clock.now();
    let mut locked = shared.lock();
    receiver.hand_over(|arrival, datagram| {
        locked.engine.handle_datagram(now, arrival, datagram);
        locked.dispatch();
    });
    Ok(true)
}

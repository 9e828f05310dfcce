//! From the engine to the socket, in trains.

use core::task::{Context, Poll};
use std::io;

use dunlin_udp::{Sending, Transmitter};
use tokio::io::Interest;

use crate::state::Shared;

use super::Socket;

/// Loads, of one full train or several smaller ones, that are sent before arrivals are looked at again.
const LOADS_PER_ROUND: usize = 4;

/// Sends some trains, after what is due by the clock. `false` if there is nothing to send or the socket takes no more;
/// the task is then woken when it does.
///
/// # Errors
/// The runtime's, when it shuts down.
pub(super) fn transmit(
    transmitter: &mut Transmitter,
    cx: &mut Context<'_>,
    shared: &Shared,
    socket: &Socket,
) -> io::Result<bool> {
    for loads in 0..LOADS_PER_ROUND {
        if !transmitter.load(shared.clock.now(), &mut shared.lock().engine, &*socket.udp) {
            return Ok(loads > 0);
        }
        if !send(transmitter, cx, shared, socket)? {
            return Ok(false);
        }
        if !transmitter.has_more() {
            break;
        }
    }
    Ok(true)
}

/// Sends what is loaded. `false` if the socket does not take all of it now.
fn send(
    transmitter: &mut Transmitter,
    cx: &mut Context<'_>,
    shared: &Shared,
    socket: &Socket,
) -> io::Result<bool> {
    loop {
        let tried = socket.readiness.try_io(Interest::WRITABLE, || match transmitter.send(&*socket.udp) {
            Sending::Blocked => Err(io::ErrorKind::WouldBlock.into()),
            sending => Ok(sending),
        });
        match tried {
            Ok(Sending::TooLarge { connection, size }) => {
                let now = shared.clock.now();
                shared.lock().engine.datagram_too_large(now, connection, size);
            }
            Ok(Sending::Done | Sending::Blocked) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match socket.readiness.poll_send_ready(cx) {
                    Poll::Ready(ready) => ready?,
                    Poll::Pending => return Ok(false),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

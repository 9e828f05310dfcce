//! From the engine to the socket, in trains.

use core::task::{Context, Poll};
use std::io;

use dunlin_core::{Ecn, TrainLimit, Transmit, TransportAddr};
use dunlin_udp::{DatagramSocket, EcnCodepoint, LossCause, Outcome};
use tokio::io::Interest;

use crate::state::Shared;

use super::Socket;

/// Trains sent before arrivals are looked at again.
const TRAINS_PER_ROUND: usize = 4;

/// The train that is being sent.
#[derive(Debug)]
pub(super) struct Transmitter {
    /// The bytes of the train, used again and again.
    bytes: Vec<u8>,
    train: Option<Train>,
}

/// A train, of which the first `sent` bytes are gone.
#[derive(Clone, Copy, Debug)]
struct Train {
    transmit: Transmit,
    sent: usize,
}

impl Transmitter {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(TrainLimit::MAX_BYTES), train: None }
    }

    /// Whether a train waits for the socket to take it.
    pub(super) const fn is_blocked(&self) -> bool {
        self.train.is_some()
    }

    /// Sends some trains, after what is due by the clock. `false` if there is nothing to send or the socket takes no
    /// more; the task is then woken when it does.
    ///
    /// # Errors
    /// The runtime's, when it shuts down.
    pub(super) fn transmit(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        socket: &Socket,
    ) -> io::Result<bool> {
        for trains in 0..TRAINS_PER_ROUND {
            if self.train.is_none() && !self.build(shared, socket) {
                return Ok(trains > 0);
            }
            if !self.send(cx, shared, socket)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has the engine build a train.
    fn build(&mut self, shared: &Shared, socket: &Socket) -> bool {
        let limit = TrainLimit { segments: socket.udp.max_gso_segments(), bytes: TrainLimit::MAX_BYTES };
        self.bytes.clear();
        let now = shared.clock.now();
        let mut locked = shared.lock();
        locked.engine.handle_timeout(now);
        let transmit = locked.engine.poll_transmit(now, limit, &mut self.bytes);
        self.train = transmit.map(|transmit| Train { transmit, sent: 0 });
        self.train.is_some()
    }

    /// Sends the train. `false` if the socket does not take all of it now.
    fn send(&mut self, cx: &mut Context<'_>, shared: &Shared, socket: &Socket) -> io::Result<bool> {
        while let Some(train) = &mut self.train {
            let TransportAddr::Ip(destination) = train.transmit.remote else {
                self.train = None;
                break;
            };
            let outgoing = dunlin_udp::Transmit {
                destination,
                ecn: train.transmit.ecn.map(ecn),
                contents: self.bytes.get(train.sent..).unwrap_or_default(),
                segment_size: Some(train.transmit.segment_size),
                src_ip: train.transmit.local.ip,
            };
            let mut too_large = false;
            let tried = socket.readiness.try_io(Interest::WRITABLE, || {
                match socket.udp.try_send(&outgoing) {
                    Outcome::Blocked { accepted } => {
                        train.sent += accepted;
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    Outcome::Lost(cause) => {
                        // Lost like any other packet.
                        too_large = cause == LossCause::TooBig;
                        Ok(())
                    }
                    Outcome::Sent => Ok(()),
                }
            });
            if too_large {
                let Transmit { connection, segment_size, .. } = train.transmit;
                let now = shared.clock.now();
                shared.lock().engine.datagram_too_large(now, connection, segment_size);
            }
            match tried {
                Ok(()) => self.train = None,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match socket.readiness.poll_send_ready(cx) {
                        Poll::Ready(ready) => ready?,
                        Poll::Pending => return Ok(false),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

const fn ecn(codepoint: Ecn) -> EcnCodepoint {
    match codepoint {
        Ecn::Ect0 => EcnCodepoint::Ect0,
        Ecn::Ect1 => EcnCodepoint::Ect1,
        Ecn::Ce => EcnCodepoint::Ce,
    }
}

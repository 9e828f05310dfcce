//! From the socket to the engine, in batches.

use core::fmt;
use core::task::{Context, Poll};
use std::io::{self, IoSliceMut};

use dunlin_core::{Arrival, Ecn, LocalAddr};
use dunlin_udp::{BATCH_SIZE, DatagramSocket, EcnCodepoint, RECV_BUFFER_LEN, RecvMeta};
use tokio::io::Interest;

use crate::state::Shared;

use super::Socket;

/// Buffers that one receive fills. With receive offload each holds up to 64 datagrams of a sender; more buffers would
/// only spread the same bytes over more of the processor's cache.
const BUFFERS: usize = 8;

/// A batch of so many may have left something in the socket. Where the system hands out one buffer at a time, every one may.
const FULL_BATCH: usize = if BATCH_SIZE < BUFFERS { BATCH_SIZE } else { BUFFERS };

/// The buffers, used again and again.
pub(super) struct Receiver {
    buffers: Box<[[u8; RECV_BUFFER_LEN]]>,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { buffers: vec![[0; RECV_BUFFER_LEN]; BUFFERS].into_boxed_slice() }
    }

    /// Receives one batch and hands it to the engine. `false` if there was none; the task is then woken when one comes.
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub(super) fn receive(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        socket: &Socket,
    ) -> io::Result<bool> {
        let mut metas = [RecvMeta::default(); BUFFERS];
        let mut filled = 0;
        while filled == 0 {
            let mut buffers = self.buffers.iter_mut();
            let mut slices: [IoSliceMut<'_>; BUFFERS] = core::array::from_fn(|_| {
                IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| &mut buffer[..]))
            });
            let received = socket.readiness.try_io(Interest::READABLE, || {
                filled = socket.udp.try_recv(&mut slices, &mut metas)?;
                // A batch that is not full has emptied the socket: what comes later makes it readable anew, so that
                // the runtime may be told without asking the system once more.
                if (1..FULL_BATCH).contains(&filled) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if filled == 0 {
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
        for (meta, buffer) in metas.iter().zip(&mut self.buffers).take(filled) {
            let arrival = Arrival {
                local: LocalAddr { socket: 0, ip: meta.dst_ip },
                remote: meta.addr.into(),
                ecn: meta.ecn.map(ecn),
            };
            let received = &mut buffer[..meta.len.min(RECV_BUFFER_LEN)];
            if received.is_empty() {
                locked.engine.handle_datagram(now, arrival, received);
            }
            for datagram in received.chunks_mut(meta.stride.max(1)) {
                locked.engine.handle_datagram(now, arrival, datagram);
                locked.dispatch();
            }
        }
        Ok(true)
    }
}

const fn ecn(codepoint: EcnCodepoint) -> Ecn {
    match codepoint {
        EcnCodepoint::Ect0 => Ecn::Ect0,
        EcnCodepoint::Ect1 => Ecn::Ect1,
        EcnCodepoint::Ce => Ecn::Ce,
    }
}

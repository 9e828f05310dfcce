//! From the socket to the engine, in batches.

use core::fmt;
use std::io::{self, IoSliceMut};

use dunlin_core::{Arrival, Ecn, LocalAddr};
use quinn_udp::{EcnCodepoint, RecvMeta};

use crate::socket::{BATCH_SIZE, DatagramSocket, RECV_BUFFER_LEN};

/// Buffers that one receive fills. With receive offload each holds up to 64 datagrams of a sender; more buffers would
/// only spread the same bytes over more of the processor's cache.
const BUFFERS: usize = 8;

/// A batch of so many may have left something in the socket. Where the system hands out one buffer at a time, every one
/// may.
const FULL_BATCH: usize = if BATCH_SIZE < BUFFERS { BATCH_SIZE } else { BUFFERS };

/// What a receive has left in the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Nothing: what comes later makes the socket readable anew, so that it can be waited for without another try.
    Nothing,
    /// Perhaps something: try again before you wait.
    Perhaps,
}

/// The buffers of a socket's only reader, 512 KiB, used again and again.
pub struct Receiver {
    buffers: Box<[[u8; RECV_BUFFER_LEN]]>,
    metas: [RecvMeta; BUFFERS],
    filled: usize,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("filled", &self.filled).finish_non_exhaustive()
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffers: vec![[0; RECV_BUFFER_LEN]; BUFFERS].into_boxed_slice(),
            metas: [RecvMeta::default(); BUFFERS],
            filled: 0,
        }
    }

    /// Receives one batch, in the place of one that was not handed over.
    ///
    /// # Errors
    /// As [`DatagramSocket::try_recv`].
    pub fn receive(&mut self, socket: &impl DatagramSocket) -> io::Result<Left> {
        self.filled = 0;
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; BUFFERS] = core::array::from_fn(|_| {
            IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| &mut buffer[..]))
        });
        self.filled = socket.try_recv(&mut slices, &mut self.metas)?;
        let short = (1..FULL_BATCH).contains(&self.filled);
        Ok(if short { Left::Nothing } else { Left::Perhaps })
    }

    /// Whether there is nothing to hand over.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Hands over what was received, datagram by datagram, for
    /// [`Endpoint::handle_datagram`](dunlin_core::Endpoint::handle_datagram).
    pub fn hand_over(&mut self, mut take: impl FnMut(Arrival, &mut [u8])) {
        let filled = core::mem::take(&mut self.filled);
        for (meta, buffer) in self.metas.iter().zip(&mut self.buffers).take(filled) {
            let arrival = Arrival {
                local: LocalAddr { socket: 0, ip: meta.dst_ip },
                remote: meta.addr.into(),
                ecn: meta.ecn.map(ecn),
            };
            let received = &mut buffer[..meta.len.min(RECV_BUFFER_LEN)];
            if received.is_empty() {
                take(arrival, received);
            }
            for datagram in received.chunks_mut(meta.stride.max(1)) {
                take(arrival, datagram);
            }
        }
    }
}

const fn ecn(codepoint: EcnCodepoint) -> Ecn {
    match codepoint {
        EcnCodepoint::Ect0 => Ecn::Ect0,
        EcnCodepoint::Ect1 => Ecn::Ect1,
        EcnCodepoint::Ce => Ecn::Ce,
    }
}

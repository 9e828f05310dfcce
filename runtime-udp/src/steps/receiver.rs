//! From the socket to the engine, in batches.

use core::fmt;
use std::io::{self, IoSliceMut};

use dunlin_core::{Arrival, Ecn, LocalAddr, TransportAddr, TransportId};
use quinn_udp::{EcnCodepoint, RecvMeta};

use crate::socket::{BATCH_SIZE, DatagramSocket, RECV_BUFFER_LEN};
use crate::transports::{Received, Transports};

/// Buffers that one receive fills while many come that hold little.
const BUFFERS: usize = if BATCH_SIZE < 32 { BATCH_SIZE } else { 32 };
/// The same otherwise. With receive offload each may hold up to 64 datagrams of a sender: more would only spread the same
/// bytes over more of the processor's cache; and where one comes at a time, each that is asked for costs a little.
const FEW_BUFFERS: usize = if BATCH_SIZE < 8 { BATCH_SIZE } else { 8 };
/// What holds little has at most so many bytes in a buffer, on the average.
const LITTLE: usize = 4 << 10;

/// What a receive has left in the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Nothing: what comes later makes the socket readable anew, so that it can be waited for without another try.
    Nothing,
    /// Perhaps something: try again before you wait.
    Perhaps,
}

/// The buffers of the only reader of a socket, or of several sockets and transports in turn, used again and again: 2 MiB, of
/// which the system provides what has ever been written to.
pub struct Receiver {
    buffers: Box<[[u8; RECV_BUFFER_LEN]]>,
    /// What is in them, from a socket, or from a transport.
    metas: [RecvMeta; BUFFERS],
    received: Vec<Received>,
    source: Source,
    filled: usize,
    /// How many buffers the next receive may fill.
    asked: usize,
}

/// Through what a batch came.
#[derive(Clone, Copy, Debug)]
enum Source {
    Socket(u16),
    Transport(TransportId),
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
            received: Vec::new(),
            source: Source::Socket(0),
            filled: 0,
            asked: FEW_BUFFERS,
        }
    }

    /// Receives one batch from the socket that the engine knows by `number`, in the place of one that was not handed over.
    ///
    /// # Errors
    /// As [`DatagramSocket::try_recv`].
    pub fn receive(&mut self, number: u16, socket: &impl DatagramSocket) -> io::Result<Left> {
        self.filled = 0;
        self.source = Source::Socket(number);
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; BUFFERS] = core::array::from_fn(|_| {
            IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| &mut buffer[..]))
        });
        let asked = self.asked;
        self.filled = socket.try_recv(&mut slices[..asked], &mut self.metas[..asked])?;
        let bytes: usize = self.metas.iter().take(self.filled).map(|meta| meta.len).sum();
        let many = self.filled >= FEW_BUFFERS && bytes <= self.filled * LITTLE;
        self.asked = if many { BUFFERS } else { FEW_BUFFERS };
        // Where the system hands out one buffer at a time, every one may have left something.
        let short = (1..asked).contains(&self.filled);
        Ok(if short { Left::Nothing } else { Left::Perhaps })
    }

    /// Receives one batch from the transport at this place, in the place of one that was not handed over. One that fails is
    /// dropped, and has nothing any more.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] alone: there is nothing.
    pub fn receive_custom(&mut self, place: usize, transports: &Transports) -> io::Result<Left> {
        self.filled = 0;
        self.received.clear();
        let line = transports.line(place).ok_or(io::ErrorKind::WouldBlock)?;
        self.source = Source::Transport(line.id);
        for buffer in &mut self.buffers {
            match line.receive(buffer) {
                Ok(received) => self.received.push(received),
                Err(error) if self.received.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        self.filled = self.received.len();
        Ok(if self.filled < BUFFERS { Left::Nothing } else { Left::Perhaps })
    }

    /// Whether there is nothing to hand over.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Hands over what was received, datagram by datagram, for
    /// [`Endpoint::handle_datagram`](dunlin_core::Endpoint::handle_datagram).
    pub fn hand_over(&mut self, take: impl FnMut(Arrival, &mut [u8])) {
        let filled = core::mem::take(&mut self.filled);
        match self.source {
            Source::Socket(number) => self.hand_over_trains(filled, number, take),
            Source::Transport(id) => self.hand_over_datagrams(filled, id, take),
        }
    }

    fn hand_over_trains(&mut self, filled: usize, socket: u16, mut take: impl FnMut(Arrival, &mut [u8])) {
        for (meta, buffer) in self.metas.iter().zip(&mut self.buffers).take(filled) {
            let arrival = Arrival {
                local: LocalAddr { socket, ip: meta.dst_ip },
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

    fn hand_over_datagrams(
        &mut self,
        filled: usize,
        transport: TransportId,
        mut take: impl FnMut(Arrival, &mut [u8]),
    ) {
        for (Received { from, len, ecn }, buffer) in self.received.iter().zip(&mut self.buffers).take(filled)
        {
            let remote = TransportAddr::Custom { transport, address: *from };
            let arrival = Arrival { ecn: *ecn, ..Arrival::from_remote(remote) };
            take(arrival, &mut buffer[..*len]);
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

//! From the engine to the socket, in trains.

use dunlin_core::{ConnectionHandle, Ecn, Endpoint, Instant, TrainLimit, Transmit, TransportAddr};
use quinn_udp::EcnCodepoint;

use crate::send::{LossCause, Outcome};
use crate::socket::DatagramSocket;

/// The train that is being sent.
#[derive(Debug)]
pub struct Transmitter {
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

/// How far a train came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Sending {
    /// It is gone: sent, or lost as so many are on the way.
    Done,
    /// The socket takes no more. Send again when it is writable.
    Blocked,
    /// It is lost, because datagrams of this size are too large for the system:
    /// [`Endpoint::datagram_too_large`] wants to know.
    TooLarge {
        /// Whose they were.
        connection: ConnectionHandle,
        /// Their size, in bytes.
        size: usize,
    },
}

impl Default for Transmitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Transmitter {
    /// No train.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(TrainLimit::MAX_BYTES), train: None }
    }

    /// Whether there is a train that has not been sent. When the last [`send`](Self::send) was blocked, it waits for the
    /// socket, not for the clock.
    #[must_use]
    pub const fn is_loaded(&self) -> bool {
        self.train.is_some()
    }

    /// Has the engine do what is due, and build a train if there is none. `false`: there is nothing to send.
    pub fn load(&mut self, now: Instant, engine: &mut Endpoint, socket: &impl DatagramSocket) -> bool {
        if self.train.is_none() {
            let limit = TrainLimit { segments: socket.max_gso_segments(), bytes: TrainLimit::MAX_BYTES };
            self.bytes.clear();
            engine.handle_timeout(now);
            let transmit = engine.poll_transmit(now, limit, &mut self.bytes);
            self.train = transmit.map(|transmit| Train { transmit, sent: 0 });
        }
        self.train.is_some()
    }

    /// Sends the train, or what is left of it.
    pub fn send(&mut self, socket: &impl DatagramSocket) -> Sending {
        let Some(Train { transmit, sent }) = &mut self.train else { return Sending::Done };
        let Transmit { connection, segment_size, .. } = *transmit;
        let TransportAddr::Ip(destination) = transmit.remote else {
            self.train = None;
            return Sending::Done;
        };
        let outcome = socket.try_send(&quinn_udp::Transmit {
            destination,
            ecn: transmit.ecn.map(ecn),
            contents: self.bytes.get(*sent..).unwrap_or_default(),
            segment_size: Some(segment_size),
            src_ip: transmit.local.ip,
        });
        if let Outcome::Blocked { accepted } = outcome {
            *sent += accepted;
            return Sending::Blocked;
        }
        self.train = None;
        match outcome {
            Outcome::Lost(LossCause::TooBig) => Sending::TooLarge { connection, size: segment_size },
            _ => Sending::Done,
        }
    }
}

const fn ecn(codepoint: Ecn) -> EcnCodepoint {
    match codepoint {
        Ecn::Ect0 => EcnCodepoint::Ect0,
        Ecn::Ect1 => EcnCodepoint::Ect1,
        Ecn::Ce => EcnCodepoint::Ce,
    }
}

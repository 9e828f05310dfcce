//! From the engine to the socket, in trains, and several trains at once.

use core::net::{IpAddr, SocketAddr};

use dunlin_core::{ConnectionHandle, Ecn, Endpoint, Instant, TrainLimit, Transmit, TransportAddr};
use quinn_udp::EcnCodepoint;
use smallvec::SmallVec;

use crate::send::{BatchOutcome, LossCause, Outcome};
use crate::socket::DatagramSocket;

/// The most messages that are gathered for one send.
const MESSAGES: usize = 128;

/// Trains are gathered up to this many bytes, and the one that passes it is the last: half of a full train, so that a
/// full one goes alone, and the engine is not kept for longer than one and a half take to build.
const GATHER: usize = TrainLimit::MAX_BYTES / 2;

/// The trains that are being sent.
#[derive(Debug)]
pub struct Transmitter {
    /// The bytes of the trains, one behind the other, used again and again.
    bytes: Vec<u8>,
    /// What was gathered, of which the first `gone` are sent or lost.
    trains: Vec<Train>,
    gone: usize,
    more: bool,
}

/// What is left to send of a train: `len` bytes from `start` on.
#[derive(Clone, Copy, Debug)]
struct Train {
    connection: ConnectionHandle,
    destination: SocketAddr,
    source: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    segment_size: usize,
    start: usize,
    len: usize,
}

/// How far the trains came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Sending {
    /// They are gone: sent, or lost as so many are on the way.
    Done,
    /// The socket takes no more. Send again when it is writable.
    Blocked,
    /// One is lost, because datagrams of this size are too large for the system:
    /// [`Endpoint::datagram_too_large`] wants to know. Send again: there may be others behind it.
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
    /// No trains.
    #[must_use]
    pub fn new() -> Self {
        let bytes = Vec::with_capacity(GATHER + TrainLimit::MAX_BYTES);
        Self { bytes, trains: Vec::with_capacity(MESSAGES), gone: 0, more: false }
    }

    /// Whether there are trains that have not been sent. When the last [`send`](Self::send) was blocked, they wait for the
    /// socket, not for the clock.
    #[must_use]
    pub const fn is_loaded(&self) -> bool {
        self.gone < self.trains.len()
    }

    /// Whether the engine had more to send when the trains were full, or has since: whether another
    /// [`load`](Self::load) is worth it before something happens.
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.more
    }

    /// Has the engine do what is due, and build trains if there are none: a full one, or several that leave together.
    /// `false`: there is nothing to send.
    pub fn load(&mut self, now: Instant, engine: &mut Endpoint, socket: &impl DatagramSocket) -> bool {
        if !self.is_loaded() {
            let limit = TrainLimit { segments: socket.max_gso_segments(), bytes: TrainLimit::MAX_BYTES };
            self.bytes.clear();
            self.trains.clear();
            self.gone = 0;
            engine.handle_timeout(now);
            self.more = true;
            while self.trains.len() < MESSAGES && self.bytes.len() < GATHER {
                let Some(transmit) = engine.poll_transmit(now, limit, &mut self.bytes) else {
                    self.more = false;
                    break;
                };
                self.trains.extend(Train::new(&transmit, self.bytes.len()));
            }
        }
        self.is_loaded()
    }

    /// Sends the trains, or what is left of them.
    pub fn send(&mut self, socket: &impl DatagramSocket) -> Sending {
        loop {
            let outcome = match &self.trains[self.gone..] {
                [] => return Sending::Done,
                [train] => socket.try_send(&train.of(&self.bytes)),
                trains => {
                    let batch: SmallVec<[_; MESSAGES]> =
                        trains.iter().map(|train| train.of(&self.bytes)).collect();
                    let BatchOutcome { sent, last } = socket.try_send_batch(&batch);
                    self.gone += sent;
                    last
                }
            };
            // The one at which it stopped, if there is one.
            let Some(train) = self.trains.get_mut(self.gone) else { return Sending::Done };
            match outcome {
                Outcome::Sent => {}
                Outcome::Blocked { accepted } => {
                    train.start += accepted;
                    train.len -= accepted.min(train.len);
                    return Sending::Blocked;
                }
                Outcome::Lost(LossCause::TooBig) => {
                    self.gone += 1;
                    self.more = true;
                    return Sending::TooLarge { connection: train.connection, size: train.segment_size };
                }
                Outcome::Lost(_) => {}
            }
            self.gone += 1;
        }
    }
}

impl Train {
    /// A train that ends at `end`. `None` if it is for no IP address, where nobody is heard of here.
    fn new(transmit: &Transmit, end: usize) -> Option<Self> {
        let TransportAddr::Ip(destination) = transmit.remote else { return None };
        Some(Self {
            connection: transmit.connection,
            destination,
            source: transmit.local.ip,
            ecn: transmit.ecn.map(ecn),
            segment_size: transmit.segment_size,
            start: end.saturating_sub(transmit.len),
            len: transmit.len,
        })
    }

    fn of<'a>(&self, bytes: &'a [u8]) -> quinn_udp::Transmit<'a> {
        quinn_udp::Transmit {
            destination: self.destination,
            ecn: self.ecn,
            contents: bytes.get(self.start..self.start + self.len).unwrap_or_default(),
            segment_size: Some(self.segment_size),
            src_ip: self.source,
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

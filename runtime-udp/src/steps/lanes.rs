//! The trains of one socket: what waits for it is nobody else's concern.

use core::net::{IpAddr, SocketAddr};

use dunlin_core::{ConnectionHandle, Ecn, TrainLimit, Transmit, TransportAddr};
use quinn_udp::EcnCodepoint;
use smallvec::SmallVec;

use super::Sending;
use crate::send::{BatchOutcome, LossCause, Outcome};
use crate::socket::DatagramSocket;

/// The most messages that are gathered for one send.
pub(super) const MESSAGES: usize = 128;

/// Trains are gathered up to this many bytes, and the one that passes it is the last: half of a full train, so that a
/// full one goes alone, and the engine is not kept for longer than one and a half take to build.
pub(super) const GATHER: usize = TrainLimit::MAX_BYTES / 2;

/// The trains that are being sent through one socket, or wait for it.
#[derive(Default, Debug)]
pub(super) struct Lane {
    /// The bytes of the trains, one behind the other, used again and again.
    pub(super) bytes: Vec<u8>,
    /// What was gathered, of which the first `gone` are sent or lost.
    trains: Vec<Train>,
    gone: usize,
    /// Trains lost for want of room that the socket has not counted yet.
    overflowed: u64,
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

impl Lane {
    /// With room for all that it ever holds.
    pub(super) fn roomy() -> Self {
        let bytes = Vec::with_capacity(GATHER + TrainLimit::MAX_BYTES);
        Self { bytes, trains: Vec::with_capacity(MESSAGES), ..Self::default() }
    }

    pub(super) const fn is_loaded(&self) -> bool {
        self.gone < self.trains.len()
    }

    /// Forgets what is gone, once everything is.
    pub(super) fn tidy(&mut self) {
        if !self.is_loaded() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.trains.clear();
        self.gone = 0;
    }

    /// Takes the train whose bytes are the last ones here. If there was room for no more, or it is for no IP address, it is
    /// lost.
    pub(super) fn keep_last(&mut self, transmit: &Transmit) {
        let start = self.bytes.len().saturating_sub(transmit.len);
        if !self.push(transmit, start) {
            self.bytes.truncate(start);
        }
    }

    /// Takes the train whose bytes are the last ones of another one.
    pub(super) fn take_last_of(&mut self, other: &mut Self, transmit: &Transmit) {
        let there = other.bytes.len().saturating_sub(transmit.len);
        let start = self.bytes.len();
        if self.push(transmit, start) {
            self.bytes.extend_from_slice(&other.bytes[there..]);
        }
        other.bytes.truncate(there);
    }

    /// Loses the train whose bytes are the last ones here.
    pub(super) fn drop_last(&mut self, transmit: &Transmit) {
        self.bytes.truncate(self.bytes.len().saturating_sub(transmit.len));
    }

    fn push(&mut self, transmit: &Transmit, start: usize) -> bool {
        if start >= GATHER || self.trains.len() >= MESSAGES {
            self.overflowed += 1;
            return false;
        }
        let train = Train::new(transmit, start);
        self.trains.extend(train);
        train.is_some()
    }

    /// Sends the trains, or what is left of them.
    pub(super) fn send(&mut self, socket: &impl DatagramSocket) -> Sending {
        if self.overflowed > 0 {
            socket.count_overflow(core::mem::take(&mut self.overflowed));
        }
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
                    return Sending::TooLarge { connection: train.connection, size: train.segment_size };
                }
                Outcome::Lost(_) => {}
            }
            self.gone += 1;
        }
    }
}

impl Train {
    /// A train whose bytes begin at `start`. `None` if it is for no IP address, where nobody is heard of here.
    fn new(transmit: &Transmit, start: usize) -> Option<Self> {
        let TransportAddr::Ip(destination) = transmit.remote else { return None };
        Some(Self {
            connection: transmit.connection,
            destination,
            source: transmit.local.ip,
            ecn: transmit.ecn.map(ecn),
            segment_size: transmit.segment_size,
            start,
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

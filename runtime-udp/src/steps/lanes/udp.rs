//! A lane to a UDP socket.

use core::net::SocketAddr;

use dunlin_core::{Ecn, LocalAddr, Tuple};
use quinn_udp::EcnCodepoint;
use smallvec::SmallVec;

use crate::send::{BatchOutcome, LossCause, Outcome};
use crate::socket::DatagramSocket;
use crate::steps::Sending;

use super::{Lane, MESSAGES, Train};

impl Lane<SocketAddr> {
    /// Sends the trains, or what is left of them, through the socket with this number.
    pub(in crate::steps) fn send(&mut self, number: usize, socket: &impl DatagramSocket) -> Sending {
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
                    train.advance(accepted);
                    return Sending::Blocked;
                }
                Outcome::Lost(LossCause::TooBig) => {
                    self.gone += 1;
                    let local = LocalAddr { socket: number as u16, ip: train.source };
                    let ends = Tuple { local, remote: train.destination.into() };
                    return Sending::TooLarge {
                        connection: train.connection,
                        ends,
                        size: train.segment_size,
                    };
                }
                Outcome::Lost(_) => {}
            }
            self.gone += 1;
        }
    }
}

impl Train<SocketAddr> {
    fn of<'a>(&self, bytes: &'a [u8]) -> quinn_udp::Transmit<'a> {
        quinn_udp::Transmit {
            destination: self.destination,
            ecn: self.ecn.map(codepoint),
            contents: self.bytes(bytes),
            segment_size: Some(self.segment_size),
            src_ip: self.source,
        }
    }
}

const fn codepoint(ecn: Ecn) -> EcnCodepoint {
    match ecn {
        Ecn::Ect0 => EcnCodepoint::Ect0,
        Ecn::Ect1 => EcnCodepoint::Ect1,
        Ecn::Ce => EcnCodepoint::Ce,
    }
}

//! Sending trains and batches of them: through few system calls, and past those that fail.

use std::io;

use quinn_udp::Transmit;

use super::{BatchOutcome, LossCause, Offload, Outcome, may_be_offload};
use crate::kernel::Calls;
use crate::stats::{Counters, add, count};

/// How often a send is tried again because the kernel told instead how an earlier one ended.
const MAX_ECHOES: usize = 1;

/// The system calls, and what is known of them.
#[derive(Debug)]
pub(crate) struct Sender<'a, C> {
    pub(crate) calls: &'a C,
    pub(crate) offload: &'a Offload,
    pub(crate) counters: &'a Counters,
}

impl<C: Calls> Sender<'_, C> {
    /// Sends a datagram or a train.
    pub(crate) fn send(&self, transmit: &Transmit<'_>) -> Outcome {
        let outcome = self.send_pieces(transmit);
        match outcome {
            Outcome::Sent => {}
            Outcome::Blocked { .. } => count(&self.counters.blocked),
            Outcome::Lost(cause) => self.counters.count_loss(cause),
        }
        outcome
    }

    /// Sends several, in this order, up to one that is blocked or lost.
    pub(crate) fn send_batch(&self, batch: &[Transmit<'_>]) -> BatchOutcome {
        let mut sent = 0;
        while let Some(next) = batch.get(sent) {
            let together =
                batch[sent..].iter().take(C::MANY).take_while(|transmit| self.goes_whole(transmit));
            let together = &batch[sent..sent + together.count()];
            if together.len() > 1 {
                match self.call_many(together) {
                    Ok(taken @ 1..) => {
                        sent += taken.min(together.len());
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        count(&self.counters.blocked);
                        return BatchOutcome { sent, last: Outcome::Blocked { accepted: 0 } };
                    }
                    // The error is the first one's. Sent alone it is treated as such errors are.
                    Ok(0) | Err(_) => {}
                }
            }
            match self.send(next) {
                Outcome::Sent => sent += 1,
                last => return BatchOutcome { sent, last },
            }
        }
        BatchOutcome { sent, last: Outcome::Sent }
    }

    fn send_pieces(&self, transmit: &Transmit<'_>) -> Outcome {
        let (len, segment) = lengths(transmit);
        let destination = transmit.destination;
        let send = |range: core::ops::Range<usize>| {
            let segment_size = (range.len() > segment).then_some(segment);
            self.call(&Transmit { contents: &transmit.contents[range], segment_size, ..transmit.clone() })
        };
        let mut accepted = 0_usize;
        let mut segments = self.offload.segments_to(destination, segment);
        loop {
            let end = len.min(accepted.saturating_add(segment.saturating_mul(segments)));
            let one = accepted + segment;
            let mut result = send(accepted..end);
            let mut taken = end;
            match &result {
                Ok(()) if end > one => self.offload.accepted(),
                Err(error) if end > one && may_be_offload(error) => {
                    // If the kernel takes one of them alone, then it was the segmenting; if not, something else.
                    let alone = send(accepted..one);
                    if alone.is_ok() {
                        self.offload.refused(destination, segment, error);
                        count(&self.counters.offload_refused);
                        // So does the rest of this train, whatever comes of it for others.
                        segments = 1;
                    }
                    (result, taken) = (alone, one);
                }
                _ => {}
            }
            match result {
                Ok(()) if taken == len => return Outcome::Sent,
                Ok(()) => accepted = taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Outcome::Blocked { accepted };
                }
                // What the kernel does not take for one datagram it takes for none of its equals.
                Err(error) => return Outcome::Lost(LossCause::of(&error)),
            }
        }
    }

    /// Whether the kernel is to take it in one message.
    fn goes_whole(&self, transmit: &Transmit<'_>) -> bool {
        let (len, segment) = lengths(transmit);
        len <= segment || len.div_ceil(segment) <= self.offload.segments_to(transmit.destination, segment)
    }

    /// Sends one message.
    fn call(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut echoes = 0;
        loop {
            count(&self.counters.send_calls);
            match self.calls.send(transmit) {
                Ok(()) => {
                    count(&self.counters.sends);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_echo(&error) && echoes < MAX_ECHOES => {
                    count(&self.counters.send_echoes);
                    echoes += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends several messages, or the first of them.
    fn call_many(&self, batch: &[Transmit<'_>]) -> io::Result<usize> {
        loop {
            count(&self.counters.send_calls);
            match self.calls.send_many(batch) {
                Ok(taken) => {
                    add(&self.counters.sends, taken);
                    if batch.iter().take(taken).any(|transmit| lengths(transmit).0 > lengths(transmit).1) {
                        self.offload.accepted();
                    }
                    return Ok(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if is_echo(&error) {
                        count(&self.counters.send_echoes);
                    }
                    return Err(error);
                }
            }
        }
    }
}

/// The length of a train and of a datagram in it.
fn lengths(transmit: &Transmit<'_>) -> (usize, usize) {
    let len = transmit.contents.len();
    (len, transmit.segment_size.unwrap_or(len).clamp(1, len.max(1)))
}

/// Whether an error on sending is about something sent earlier, so that nobody has looked yet at what is sent now: an
/// ICMP message that came back to a connected socket.
fn is_echo(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

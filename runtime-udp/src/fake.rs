//! A socket in memory, for the tests of what is built on [`DatagramSocket`].

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use quinn_udp::{EcnCodepoint, RecvMeta, Transmit};

use crate::send::Outcome;
use crate::socket::DatagramSocket;

/// A socket whose network is the test: it keeps what is sent, gives out what it was told to receive, and answers sends
/// as scripted. Without a script every send succeeds.
#[derive(Debug)]
pub struct FakeSocket {
    local: SocketAddr,
    gso_segments: usize,
    inner: Mutex<Inner>,
}

#[derive(Default, Debug)]
struct Inner {
    script: VecDeque<Outcome>,
    sent: Vec<SentTrain>,
    overflowed: u64,
    arrivals: VecDeque<Arrival>,
}

#[derive(Debug)]
enum Arrival {
    Batch(RecvMeta, Vec<u8>),
    Error(io::Error),
}

/// One send that a [`FakeSocket`] took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentTrain {
    /// Where to.
    pub destination: SocketAddr,
    /// Where from, if that was said.
    pub src_ip: Option<IpAddr>,
    /// The codepoint.
    pub ecn: Option<EcnCodepoint>,
    /// The length of each datagram in a train.
    pub segment_size: Option<usize>,
    /// The bytes.
    pub contents: Vec<u8>,
}

impl FakeSocket {
    /// A socket that claims to be bound to `local` and to take trains of `gso_segments` datagrams.
    #[must_use]
    pub fn new(local: SocketAddr, gso_segments: usize) -> Self {
        Self { local, gso_segments: gso_segments.max(1), inner: Mutex::default() }
    }

    /// Answers a coming send with `outcome`: the next one that has no answer yet. Of a send that is blocked the
    /// accepted bytes count as sent; of a lost one nothing does.
    pub fn script_send(&self, outcome: Outcome) {
        self.inner().script.push_back(outcome);
    }

    /// Lets bytes arrive: one datagram, or several of the length `stride`.
    pub fn arrive(&self, remote: SocketAddr, ecn: Option<EcnCodepoint>, stride: usize, bytes: &[u8]) {
        let mut meta = RecvMeta::default();
        meta.addr = remote;
        meta.len = bytes.len();
        meta.stride = stride;
        meta.ecn = ecn;
        meta.dst_ip = Some(self.local.ip());
        self.inner().arrivals.push_back(Arrival::Batch(meta, bytes.to_vec()));
    }

    /// Lets a receive fail, after what has arrived before.
    pub fn script_recv_error(&self, error: io::Error) {
        self.inner().arrivals.push_back(Arrival::Error(error));
    }

    /// Takes out what was sent since the last call.
    #[must_use]
    pub fn take_sent(&self) -> Vec<SentTrain> {
        core::mem::take(&mut self.inner().sent)
    }

    /// How many trains were lost because too many waited for this socket.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.inner().overflowed
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DatagramSocket for FakeSocket {
    fn try_send(&self, transmit: &Transmit<'_>) -> Outcome {
        let mut inner = self.inner();
        let outcome = inner.script.pop_front().unwrap_or(Outcome::Sent);
        let accepted = match outcome {
            Outcome::Sent => transmit.contents.len(),
            Outcome::Blocked { accepted } => accepted.min(transmit.contents.len()),
            Outcome::Lost(_) => 0,
        };
        if accepted > 0 {
            inner.sent.push(SentTrain {
                destination: transmit.destination,
                src_ip: transmit.src_ip,
                ecn: transmit.ecn,
                segment_size: transmit.segment_size,
                contents: transmit.contents[..accepted].to_vec(),
            });
        }
        outcome
    }

    fn try_recv(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        let mut inner = self.inner();
        if let Some(Arrival::Error(_)) | None = inner.arrivals.front() {
            return match inner.arrivals.pop_front() {
                Some(Arrival::Error(error)) => Err(error),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let mut filled = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Some(Arrival::Batch(..)) = inner.arrivals.front() else { break };
            let Some(Arrival::Batch(arrived, bytes)) = inner.arrivals.pop_front() else { break };
            // Like the kernel: what does not fit is cut off.
            let len = bytes.len().min(buffer.len());
            buffer[..len].copy_from_slice(&bytes[..len]);
            *meta = arrived;
            meta.len = len;
            filled += 1;
        }
        Ok(filled)
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn max_gso_segments(&self) -> usize {
        self.gso_segments
    }

    fn max_gro_segments(&self) -> usize {
        64
    }

    fn may_fragment(&self) -> bool {
        false
    }

    fn count_overflow(&self, trains: u64) {
        self.inner().overflowed += trains;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::LossCause;

    fn transmit(contents: &[u8]) -> Transmit<'_> {
        let destination = SocketAddr::from(([192, 0, 2, 1], 9));
        Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None }
    }

    #[test]
    fn sends_follow_the_script_and_then_succeed() {
        let socket = FakeSocket::new(SocketAddr::from(([192, 0, 2, 7], 1)), 64);
        socket.script_send(Outcome::Blocked { accepted: 2 });
        socket.script_send(Outcome::Lost(LossCause::NoBuffers));
        assert_eq!(socket.try_send(&transmit(b"abcd")), Outcome::Blocked { accepted: 2 });
        assert_eq!(socket.try_send(&transmit(b"gone")), Outcome::Lost(LossCause::NoBuffers));
        assert_eq!(socket.try_send(&transmit(b"cd")), Outcome::Sent);
        let sent: Vec<Vec<u8>> = socket.take_sent().into_iter().map(|train| train.contents).collect();
        assert_eq!(sent, [b"ab", b"cd"]);
        assert!(socket.take_sent().is_empty());
    }

    #[test]
    fn arrivals_and_errors_come_in_order_until_there_is_nothing() {
        let remote = SocketAddr::from(([192, 0, 2, 1], 9));
        let socket = FakeSocket::new(SocketAddr::from(([192, 0, 2, 7], 1)), 1);
        socket.arrive(remote, Some(EcnCodepoint::Ce), 2, b"abc");
        socket.arrive(remote, None, 10, b"too long");
        socket.script_recv_error(io::ErrorKind::NotConnected.into());
        let (mut one, mut two, mut three) = ([0; 4], [0; 4], [0; 4]);
        let mut buffers = [&mut one, &mut two, &mut three].map(|buffer| IoSliceMut::new(buffer));
        let mut metas = [RecvMeta::default(); 3];
        assert_eq!(socket.try_recv(&mut buffers, &mut metas).unwrap(), 2);
        assert_eq!((metas[0].len, metas[0].stride, metas[0].ecn), (3, 2, Some(EcnCodepoint::Ce)));
        assert_eq!((&buffers[0][..3], &buffers[1][..metas[1].len]), (b"abc".as_slice(), b"too ".as_slice()));
        let mut kinds = (0..2).map(|_| socket.try_recv(&mut buffers, &mut metas).unwrap_err().kind());
        assert_eq!(kinds.next(), Some(io::ErrorKind::NotConnected));
        assert_eq!(kinds.next(), Some(io::ErrorKind::WouldBlock));
    }
}

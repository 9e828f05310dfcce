//! A kernel for tests, which answers every system call as it is told and remembers what it was given.

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use std::io::{self, IoSliceMut};

use quinn_udp::{EcnCodepoint, RecvMeta, Transmit};

use crate::kernel::Calls;
use crate::send::{BatchOutcome, Offload, Outcome, Sender};
use crate::stats::{Counters, SocketStats};

/// What the kernel saw of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) destination: SocketAddr,
    pub(crate) contents: Vec<u8>,
    pub(crate) segment_size: Option<usize>,
}

/// Answers a call that sends these messages, the call's number being the second argument: how many it takes.
pub(crate) trait Answer: Fn(&[Transmit<'_>], usize) -> io::Result<usize> {}
impl<A: Fn(&[Transmit<'_>], usize) -> io::Result<usize>> Answer for A {}

/// The kernel of one send.
struct Scripted<'a, A> {
    answer: A,
    calls: &'a RefCell<Vec<Vec<Seen>>>,
    accepted: &'a RefCell<Vec<Seen>>,
}

impl<A: Answer> Scripted<'_, A> {
    fn call(&self, batch: &[Transmit<'_>]) -> io::Result<usize> {
        let seen: Vec<Seen> = batch
            .iter()
            .map(|transmit| {
                assert_eq!(transmit.ecn, Some(EcnCodepoint::Ect0), "what goes beside the bytes stays");
                Seen {
                    destination: transmit.destination,
                    contents: transmit.contents.to_vec(),
                    segment_size: transmit.segment_size,
                }
            })
            .collect();
        let index = self.calls.borrow().len();
        self.calls.borrow_mut().push(seen.clone());
        let taken = (self.answer)(batch, index)?;
        self.accepted.borrow_mut().extend(seen.into_iter().take(taken));
        Ok(taken)
    }
}

impl<A: Answer> Calls for Scripted<'_, A> {
    const MANY: usize = 128;

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.call(core::slice::from_ref(transmit)).map(|taken| assert_eq!(taken, 1))
    }

    fn send_many(&self, batch: &[Transmit<'_>]) -> io::Result<usize> {
        assert!((2..=Self::MANY).contains(&batch.len()));
        self.call(batch)
    }

    fn recv(&self, _: &mut [IoSliceMut<'_>], _: &mut [RecvMeta]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// What lasts from send to send, as a socket has it.
pub(crate) struct Bench {
    pub(crate) offload: Offload,
    counters: Counters,
    /// The calls of the last send.
    calls: RefCell<Vec<Vec<Seen>>>,
    /// What the kernel took since the beginning.
    accepted: RefCell<Vec<Seen>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            offload: Offload::new(64),
            counters: Counters::default(),
            calls: RefCell::default(),
            accepted: RefCell::default(),
        }
    }

    fn sending<O, A: Answer>(&self, answer: A, send: impl FnOnce(&Sender<'_, Scripted<'_, A>>) -> O) -> O {
        self.calls.borrow_mut().clear();
        let calls = &Scripted { answer, calls: &self.calls, accepted: &self.accepted };
        send(&Sender { calls, offload: &self.offload, counters: &self.counters })
    }

    pub(crate) fn send(&self, transmit: &Transmit<'_>, answer: impl Answer) -> Outcome {
        self.sending(answer, |sender| sender.send(transmit))
    }

    pub(crate) fn send_batch(&self, batch: &[Transmit<'_>], answer: impl Answer) -> BatchOutcome {
        self.sending(answer, |sender| sender.send_batch(batch))
    }

    /// The calls of the last send.
    pub(crate) fn calls(&self) -> Vec<Vec<Seen>> {
        self.calls.borrow().clone()
    }

    /// How many messages each call of the last send had.
    pub(crate) fn call_lengths(&self) -> Vec<usize> {
        self.calls.borrow().iter().map(Vec::len).collect()
    }

    /// The datagrams that the kernel has taken since the beginning.
    pub(crate) fn datagrams(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let accepted = self.accepted.borrow();
        let datagrams = accepted.iter().flat_map(|seen| {
            let segment = seen.segment_size.unwrap_or(seen.contents.len()).max(1);
            seen.contents.chunks(segment).map(|bytes| (seen.destination, bytes.to_vec()))
        });
        datagrams.collect()
    }

    pub(crate) fn stats(&self) -> SocketStats {
        self.counters.snapshot(None)
    }
}

/// A kernel that has only what was received.
pub(crate) struct Receiving<R> {
    answer: R,
    calls: Cell<usize>,
}

impl<R: Fn(usize, &mut [RecvMeta]) -> io::Result<usize>> Receiving<R> {
    /// `answer` is told the number of the call.
    pub(crate) fn new(answer: R) -> Self {
        Self { answer, calls: Cell::new(0) }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.get()
    }
}

impl<R: Fn(usize, &mut [RecvMeta]) -> io::Result<usize>> Calls for Receiving<R> {
    const MANY: usize = 1;

    fn send(&self, _: &Transmit<'_>) -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send_many(&self, _: &[Transmit<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn recv(&self, _: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        (self.answer)(call, metas)
    }
}

//! A scripted kernel: what it refuses, and what the rest of the train does then.

use core::cell::RefCell;
use core::net::SocketAddr;

use quinn_udp::EcnCodepoint;

use super::*;
use crate::stats::SocketStats;

/// EIO and ENOBUFS of Linux, in `std`'s clothes.
const EIO: i32 = 5;
#[cfg(target_os = "linux")]
const ENOBUFS: i32 = 105;

/// What the kernel saw: the bytes and the segment size.
type Call = (Vec<u8>, Option<usize>);

struct Bench {
    offload: Offload,
    counters: Counters,
    calls: RefCell<Vec<Call>>,
}

impl Bench {
    fn new() -> Self {
        Self { offload: Offload::new(64), counters: Counters::default(), calls: RefCell::default() }
    }

    /// Sends `contents`; `kernel` says what each system call results in.
    fn send(
        &self,
        contents: &[u8],
        segment_size: Option<usize>,
        kernel: impl Fn(&Transmit<'_>, usize) -> io::Result<()>,
    ) -> Outcome {
        let destination = SocketAddr::from(([192, 0, 2, 1], 1));
        let transmit =
            Transmit { destination, ecn: Some(EcnCodepoint::Ect0), contents, segment_size, src_ip: None };
        self.calls.borrow_mut().clear();
        self.offload.send(&transmit, &self.counters, |transmit| {
            assert_eq!((transmit.destination, transmit.ecn), (destination, Some(EcnCodepoint::Ect0)));
            let index = self.calls.borrow().len();
            self.calls.borrow_mut().push((transmit.contents.to_vec(), transmit.segment_size));
            kernel(transmit, index)
        })
    }

    /// Lengths and segment sizes of the system calls.
    fn shapes(&self) -> Vec<(usize, Option<usize>)> {
        self.calls.borrow().iter().map(|(bytes, segment)| (bytes.len(), *segment)).collect()
    }

    fn stats(&self) -> SocketStats {
        self.counters.snapshot()
    }
}

fn train(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

fn raw(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn kind(kind: io::ErrorKind) -> io::Error {
    io::Error::from(kind)
}

#[test]
fn a_willing_kernel_gets_the_train_in_one_call() {
    let bench = Bench::new();
    assert_eq!(bench.send(&train(2_500), Some(1_000), |_, _| Ok(())), Outcome::Sent);
    assert_eq!(bench.shapes(), [(2_500, Some(1_000))]);
    assert_eq!(bench.send(&train(800), Some(1_000), |_, _| Ok(())), Outcome::Sent);
    assert_eq!(bench.send(&[], None, |_, _| Ok(())), Outcome::Sent);
    assert_eq!(bench.stats().sends, 3);
}

#[test]
fn one_segment_is_sent_without_a_segment_size() {
    let bench = Bench::new();
    for size in [None, Some(800), Some(1_000), Some(0)] {
        let len = if size == Some(0) { 1 } else { 800 };
        assert_eq!(bench.send(&train(len), size, |_, _| Ok(())), Outcome::Sent);
        assert_eq!(bench.shapes(), [(len, None)]);
    }
}

#[test]
fn a_train_longer_than_the_kernel_takes_goes_in_parts() {
    let bench = Bench::new();
    assert_eq!(bench.send(&train(1_290), Some(10), |_, _| Ok(())), Outcome::Sent);
    assert_eq!(bench.shapes(), [(640, Some(10)), (640, Some(10)), (10, None)]);
}

#[test]
fn a_refused_train_goes_out_one_by_one_in_the_same_call_and_offload_stays_off() {
    for refusal in [|| raw(EIO), || kind(io::ErrorKind::InvalidInput)] {
        let bench = Bench::new();
        let contents = train(2_500);
        let kernel = |transmit: &Transmit<'_>, _| match transmit.segment_size {
            Some(_) => Err(refusal()),
            None => Ok(()),
        };
        assert_eq!(bench.send(&contents, Some(1_000), kernel), Outcome::Sent);
        assert_eq!(bench.shapes(), [(2_500, Some(1_000)), (1_000, None), (1_000, None), (500, None)]);
        let sent: Vec<u8> = bench.calls.borrow()[1..].iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        assert_eq!(sent, contents);
        assert_eq!((bench.offload.segments(), bench.stats().offload_refused, bench.stats().sends), (1, 1, 3));

        assert_eq!(bench.send(&contents, Some(1_000), kernel), Outcome::Sent);
        assert_eq!(bench.shapes(), [(1_000, None), (1_000, None), (500, None)]);
        assert_eq!(bench.stats().offload_refused, 1);
    }
}

#[test]
fn an_error_that_a_single_datagram_gets_too_does_not_blame_offload() {
    // What Linux says to a source address that is gone.
    let bench = Bench::new();
    let outcome = bench.send(&train(2_500), Some(1_000), |_, _| Err(kind(io::ErrorKind::InvalidInput)));
    assert_eq!(outcome, Outcome::Lost(LossCause::Invalid));
    assert_eq!(bench.shapes(), [(2_500, Some(1_000)), (1_000, None)]);
    assert_eq!((bench.offload.segments(), bench.stats().offload_refused), (64, 0));
    assert_eq!(bench.stats().lost_invalid, 1);
}

#[test]
fn a_full_buffer_says_how_far_it_came() {
    let bench = Bench::new();
    let block = || Err(kind(io::ErrorKind::WouldBlock));
    assert_eq!(bench.send(&train(2_500), Some(1_000), |_, _| block()), Outcome::Blocked { accepted: 0 });
    assert_eq!(bench.offload.segments(), 64);

    // Refused, the first goes alone, the second finds no room: the caller goes on from there.
    let outcome = bench.send(&train(2_500), Some(1_000), |_, index| match index {
        0 => Err(raw(EIO)),
        1 => Ok(()),
        _ => block(),
    });
    assert_eq!(outcome, Outcome::Blocked { accepted: 1_000 });
    assert_eq!(bench.stats().blocked, 2);

    // Refused, and no room for the first alone: nothing was learned yet.
    let bench = Bench::new();
    let outcome = bench.send(&train(2_500), Some(1_000), |_, index| match index {
        0 => Err(raw(EIO)),
        _ => block(),
    });
    assert_eq!((outcome, bench.offload.segments()), (Outcome::Blocked { accepted: 0 }, 64));
}

#[test]
fn other_errors_are_lost_sends_with_their_cause() {
    let bench = Bench::new();
    for (error, cause) in [
        (io::ErrorKind::ConnectionRefused, LossCause::Refused),
        (io::ErrorKind::NetworkUnreachable, LossCause::Unreachable),
        (io::ErrorKind::HostUnreachable, LossCause::Unreachable),
        (io::ErrorKind::PermissionDenied, LossCause::Forbidden),
        (io::ErrorKind::AddrNotAvailable, LossCause::Invalid),
        (io::ErrorKind::OutOfMemory, LossCause::Other),
    ] {
        let outcome = bench.send(&train(2_500), Some(1_000), |_, _| Err(kind(error)));
        assert_eq!((outcome, bench.shapes().len()), (Outcome::Lost(cause), 1));
    }
    let stats = bench.stats();
    assert_eq!((stats.lost_refused, stats.lost_unreachable, stats.lost_other, stats.sends), (1, 2, 1, 0));
    assert_eq!(bench.offload.segments(), 64);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_interface_queue_is_a_loss() {
    let bench = Bench::new();
    assert_eq!(bench.send(&train(10), None, |_, _| Err(raw(ENOBUFS))), Outcome::Lost(LossCause::NoBuffers));
    assert_eq!(bench.stats().lost_no_buffers, 1);
}

//! Whatever the kernel answers, every datagram is taken by it once, reported lost, or still to be sent; and what goes to one
//! destination goes in order.

use core::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What the kernel says to one call.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// It takes so many of the messages, at least one.
    Takes(usize),
    /// It takes single datagrams only.
    CannotSegment(i32),
    Error(i32),
}

/// A message to be: where to, how many datagrams, how long the last one is.
type Plan = (u8, usize, usize);

const SEGMENT: usize = 8;

fn said() -> impl Strategy<Value = Said> {
    let errors = [
        libc::EAGAIN,
        libc::EINTR,
        libc::EINVAL,
        libc::EIO,
        libc::EMSGSIZE,
        libc::ENOBUFS,
        libc::ECONNREFUSED,
        libc::ENETUNREACH,
    ];
    prop_oneof![
        3 => Just(Said::Takes(usize::MAX)),
        2 => (1_usize..6).prop_map(Said::Takes),
        2 => prop_oneof![Just(libc::EIO), Just(libc::EINVAL)].prop_map(Said::CannotSegment),
        4 => prop::sample::select(errors.to_vec()).prop_map(Said::Error),
    ]
}

/// A kernel that says these things in turn, and takes everything when it has said them all.
fn kernel(script: &RefCell<Vec<Said>>) -> impl Fn(&[Transmit<'_>], usize) -> io::Result<usize> {
    move |batch, call| match script.borrow_mut().pop().unwrap_or(Said::Takes(usize::MAX)) {
        Said::Takes(some) => Ok(some.min(batch.len())),
        Said::CannotSegment(number) => cannot_segment(number)(batch, call),
        Said::Error(number) => Err(raw(number)),
    }
}

/// The bytes of the messages: each datagram is another one, and as long as it was planned.
fn contents(plans: &[Plan]) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut serial = 0_u16;
    let message = |&(destination, datagrams, last): &Plan| {
        let datagram = |n| {
            serial += 1;
            let len = if n + 1 == datagrams { last } else { SEGMENT };
            serial.to_be_bytes().into_iter().chain(core::iter::repeat(0)).take(len).collect::<Vec<u8>>()
        };
        (peer(destination), (0..datagrams).flat_map(datagram).collect())
    };
    plans.iter().map(message).collect()
}

/// The datagrams of a message that begins here.
fn cut((destination, bytes): &(SocketAddr, Vec<u8>)) -> impl Iterator<Item = (SocketAddr, Vec<u8>)> {
    bytes.chunks(SEGMENT).map(|datagram| (*destination, datagram.to_vec()))
}

proptest! {
    #[test]
    fn nothing_of_ours_is_lost(
        plans in vec((1_u8..4, 1_usize..5, 2_usize..=SEGMENT), 1..40),
        script in vec(said(), 0..60),
    ) {
        let (bench, script) = (Bench::new(), RefCell::new(script));
        let mut left = contents(&plans);
        let all: Vec<_> = left.iter().flat_map(cut).collect();
        let mut lost = Vec::new();
        while !left.is_empty() {
            let before = bench.datagrams().len();
            let batch: Vec<_> = left.iter().map(|(peer, bytes)| to(*peer, bytes, Some(SEGMENT))).collect();
            let BatchOutcome { sent, last } = bench.send_batch(&batch, kernel(&script));
            let whole: Vec<_> = left.drain(..sent).flat_map(|message| cut(&message).collect::<Vec<_>>()).collect();
            let took = bench.datagrams().split_off(before);
            prop_assert!(took.starts_with(&whole), "what is said to be sent is what the kernel took");
            let more = &took[whole.len()..];
            match last {
                Outcome::Sent => prop_assert!(left.is_empty() && more.is_empty()),
                Outcome::Blocked { accepted } => {
                    let rest = left[0].1.split_off(accepted);
                    prop_assert!(!rest.is_empty());
                    prop_assert!(more.iter().cloned().eq(cut(&left[0])), "so far the kernel took it");
                    left[0].1 = rest;
                }
                Outcome::Lost(_) => {
                    let message: Vec<_> = cut(&left.remove(0)).collect();
                    prop_assert!(message.starts_with(more) && message.len() > more.len());
                    lost.extend_from_slice(&message[more.len()..]);
                }
            }
        }
        let took = bench.datagrams();
        for number in 1..4 {
            let order = |of: &[(SocketAddr, Vec<u8>)]| -> Vec<Vec<u8>> {
                of.iter().filter(|(to, _)| *to == peer(number)).map(|(_, bytes)| bytes.clone()).collect()
            };
            prop_assert!(order(&took).is_sorted(), "in order");
        }
        let mut dealt_with: Vec<_> = took.into_iter().chain(lost.iter().cloned()).collect();
        dealt_with.sort_unstable_by_key(|(_, bytes)| bytes[..2].to_vec());
        prop_assert_eq!(dealt_with, all);
        let stats = bench.stats();
        prop_assert!(lost.is_empty() || stats.lost_too_big + stats.lost_no_buffers + stats.lost_refused
            + stats.lost_unreachable + stats.lost_invalid + stats.lost_other > 0);
    }
}

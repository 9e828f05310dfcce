//! Several messages in one call, and what happens to the others when one fails.

use super::*;

/// A datagram for each of so many destinations.
fn datagrams(number: u8) -> Vec<Vec<u8>> {
    (0..number).map(|n| vec![n; 100 + usize::from(n)]).collect()
}

fn batch(datagrams: &[Vec<u8>]) -> Vec<Transmit<'_>> {
    datagrams.iter().map(|bytes| to(peer(bytes[0]), bytes, Some(bytes.len()))).collect()
}

/// The first bytes of what the kernel has taken.
fn taken(bench: &Bench) -> Vec<u8> {
    bench.datagrams().iter().map(|(_, bytes)| bytes[0]).collect()
}

/// Nobody gets the datagram that starts with `number`: this is what the kernel says to it.
fn sore(number: u8, error: i32) -> impl Fn(&[Transmit<'_>], usize) -> io::Result<usize> {
    move |batch, _| match batch.iter().position(|transmit| transmit.contents[0] == number) {
        Some(0) => Err(raw(error)),
        Some(before) => Ok(before),
        None => Ok(batch.len()),
    }
}

#[test]
fn a_willing_kernel_gets_as_many_as_one_call_takes() {
    let (bench, datagrams) = (Bench::new(), datagrams(200));
    let outcome = bench.send_batch(&batch(&datagrams), willing);
    assert_eq!(outcome, BatchOutcome { sent: 200, last: Outcome::Sent });
    assert_eq!(bench.call_lengths(), [128, 72]);
    assert_eq!(taken(&bench), (0..200).collect::<Vec<_>>());
    assert_eq!((bench.stats().send_calls, bench.stats().sends), (2, 200));
    let nothing = bench.send_batch(&[], willing);
    assert_eq!((nothing, bench.stats().send_calls), (BatchOutcome { sent: 0, last: Outcome::Sent }, 2));
}

#[test]
fn a_kernel_that_takes_some_gets_the_rest() {
    let (bench, datagrams) = (Bench::new(), datagrams(10));
    let outcome = bench.send_batch(&batch(&datagrams), |batch, _| Ok(batch.len().min(3)));
    assert_eq!(outcome, BatchOutcome { sent: 10, last: Outcome::Sent });
    assert_eq!(bench.call_lengths(), [10, 7, 4, 1]);
    assert_eq!(taken(&bench), (0..10).collect::<Vec<_>>());
}

#[test]
fn one_that_fails_is_reported_and_the_others_can_go_on() {
    for (error, cause) in [
        (libc::EMSGSIZE, LossCause::TooBig),
        (libc::ENOBUFS, LossCause::NoBuffers),
        (libc::ENETUNREACH, LossCause::Unreachable),
        (libc::EINVAL, LossCause::Invalid),
    ] {
        let (bench, datagrams) = (Bench::new(), datagrams(10));
        let batch = batch(&datagrams);
        let outcome = bench.send_batch(&batch, sore(4, error));
        assert_eq!(outcome, BatchOutcome { sent: 4, last: Outcome::Lost(cause) });
        let outcome = bench.send_batch(&batch[5..], sore(4, error));
        assert_eq!(outcome, BatchOutcome { sent: 5, last: Outcome::Sent });
        assert_eq!(taken(&bench), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    }
}

#[test]
fn a_full_buffer_in_the_middle_says_how_many_went() {
    let (bench, datagrams) = (Bench::new(), datagrams(10));
    let outcome = bench.send_batch(&batch(&datagrams), sore(4, libc::EAGAIN));
    assert_eq!(outcome, BatchOutcome { sent: 4, last: Outcome::Blocked { accepted: 0 } });
    assert_eq!(bench.call_lengths(), [10, 6]);
    assert_eq!(bench.stats().blocked, 1);
}

#[test]
fn signals_and_news_of_earlier_sends_cost_nothing() {
    let (bench, datagrams) = (Bench::new(), datagrams(10));
    let outcome = bench.send_batch(&batch(&datagrams), |batch, call| match call {
        0 => Err(raw(libc::EINTR)),
        1 => Err(raw(libc::ECONNREFUSED)),
        _ => Ok(batch.len()),
    });
    assert_eq!(outcome, BatchOutcome { sent: 10, last: Outcome::Sent });
    assert_eq!(bench.call_lengths(), [10, 10, 1, 9]);
    assert_eq!(taken(&bench), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_train_that_is_refused_goes_one_by_one_between_the_others() {
    let (bench, datagrams) = (Bench::new(), datagrams(4));
    let train = bytes(2_500);
    let mut batch = batch(&datagrams);
    batch.insert(2, to(PEER, &train, Some(1_000)));
    let outcome = bench.send_batch(&batch, cannot_segment(libc::EINVAL));
    assert_eq!(outcome, BatchOutcome { sent: 5, last: Outcome::Sent });
    let lengths: Vec<usize> = bench.datagrams().iter().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(lengths, [100, 101, 1_000, 1_000, 500, 102, 103]);
    assert_eq!(bench.stats().offload_refused, 1);

    // Known by now, it does not hold up the others.
    let _ = bench.send_batch(&batch, cannot_segment(libc::EINVAL));
    assert_eq!(bench.call_lengths(), [2, 1, 1, 1, 2]);
}

#[test]
fn a_train_that_is_refused_and_then_blocked_says_how_far_it_came() {
    let (bench, train) = (Bench::new(), bytes(2_500));
    let batch = [to(PEER, &[1], None), to(PEER, &train, Some(1_000)), to(PEER, &[2], None)];
    let outcome = bench.send_batch(&batch, |batch, call| match (call, batch[0].segment_size) {
        (0, _) => Ok(1),
        (_, Some(_)) => Err(raw(libc::EINVAL)),
        (1..=4, None) => Ok(1),
        _ => Err(raw(libc::EAGAIN)),
    });
    assert_eq!(outcome, BatchOutcome { sent: 1, last: Outcome::Blocked { accepted: 2_000 } });
}

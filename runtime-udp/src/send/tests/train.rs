//! One datagram, or one train.

use super::*;

#[test]
fn a_willing_kernel_gets_the_train_in_one_call() {
    let bench = Bench::new();
    assert_eq!(bench.send(&to(PEER, &bytes(2_500), Some(1_000)), willing), Outcome::Sent);
    assert_eq!(shapes(&bench), [(2_500, Some(1_000))]);
    assert_eq!(bench.send(&to(PEER, &bytes(800), Some(1_000)), willing), Outcome::Sent);
    assert_eq!(bench.send(&to(PEER, &[], None), willing), Outcome::Sent);
    assert_eq!((bench.stats().sends, bench.stats().send_calls), (3, 3));
}

#[test]
fn one_segment_is_sent_without_a_segment_size() {
    let bench = Bench::new();
    for size in [None, Some(800), Some(1_000), Some(0)] {
        let len = if size == Some(0) { 1 } else { 800 };
        assert_eq!(bench.send(&to(PEER, &bytes(len), size), willing), Outcome::Sent);
        assert_eq!(shapes(&bench), [(len, None)]);
    }
}

#[test]
fn a_train_longer_than_the_kernel_takes_goes_in_parts() {
    let bench = Bench::new();
    assert_eq!(bench.send(&to(PEER, &bytes(1_290), Some(10)), willing), Outcome::Sent);
    assert_eq!(shapes(&bench), [(640, Some(10)), (640, Some(10)), (10, None)]);
}

#[test]
fn an_error_that_a_single_datagram_gets_too_does_not_blame_offload() {
    // What Linux says to a source address that is gone.
    let bench = Bench::new();
    let outcome = bench.send(&to(PEER, &bytes(2_500), Some(1_000)), |_, _| Err(raw(libc::EINVAL)));
    assert_eq!(outcome, Outcome::Lost(LossCause::Invalid));
    assert_eq!(shapes(&bench), [(2_500, Some(1_000)), (1_000, None)]);
    assert_eq!((bench.offload.segments_to(PEER, 1_000), bench.stats().offload_refused), (64, 0));
    assert_eq!(bench.stats().lost_invalid, 1);
}

/// Before 6.14 Linux says EINVAL of segments that are longer than the route takes, and of one of them EMSGSIZE.
#[test]
fn a_path_that_shrank_is_not_taken_for_a_kernel_that_cannot_segment() {
    let bench = Bench::new();
    let kernel = |batch: &[Transmit<'_>], _| {
        Err(raw(if batch[0].segment_size.is_some() { libc::EINVAL } else { libc::EMSGSIZE }))
    };
    let outcome = bench.send(&to(PEER, &bytes(2_500), Some(1_000)), kernel);
    assert_eq!(outcome, Outcome::Lost(LossCause::TooBig));
    assert_eq!((bench.offload.segments_to(PEER, 1_000), bench.stats().offload_refused), (64, 0));
}

#[test]
fn a_full_buffer_says_how_far_it_came() {
    let (contents, block) = (bytes(2_500), || Err(raw(libc::EAGAIN)));
    let train = to(PEER, &contents, Some(1_000));
    let bench = Bench::new();
    assert_eq!(bench.send(&train, |_, _| block()), Outcome::Blocked { accepted: 0 });
    assert_eq!(bench.offload.segments(), 64);

    // Refused, the first goes alone, the second finds no room: the caller goes on from there.
    let outcome = bench.send(&train, |_, call| match call {
        0 => Err(raw(libc::EINVAL)),
        1 => Ok(1),
        _ => block(),
    });
    assert_eq!(outcome, Outcome::Blocked { accepted: 1_000 });
    assert_eq!(bench.stats().blocked, 2);

    // Refused, and no room for the first alone: nothing was learned yet.
    let bench = Bench::new();
    let outcome = bench.send(&train, |_, call| match call {
        0 => Err(raw(libc::EIO)),
        _ => block(),
    });
    let segments = bench.offload.segments_to(PEER, 1_000);
    assert_eq!((outcome, segments), (Outcome::Blocked { accepted: 0 }, 64));
}

#[test]
fn a_signal_is_no_reason_to_stop() {
    let bench = Bench::new();
    let interrupted = |batch: &[Transmit<'_>], call| {
        if call < 3 { Err(raw(libc::EINTR)) } else { Ok(batch.len()) }
    };
    assert_eq!(bench.send(&to(PEER, &bytes(2_500), Some(1_000)), interrupted), Outcome::Sent);
    assert_eq!(bench.datagrams().len(), 3);
}

#[test]
fn news_of_an_earlier_send_do_not_cost_this_one() {
    let bench = Bench::new();
    let once = |batch: &[Transmit<'_>], call| {
        if call == 0 { Err(raw(libc::ECONNREFUSED)) } else { Ok(batch.len()) }
    };
    assert_eq!(bench.send(&to(PEER, &bytes(10), None), once), Outcome::Sent);
    assert_eq!((bench.stats().send_echoes, bench.stats().lost_refused), (1, 0));
}

#[test]
fn other_errors_are_lost_sends_with_their_cause() {
    let bench = Bench::new();
    for (number, cause, calls) in [
        (libc::ECONNREFUSED, LossCause::Refused, 2),
        (libc::ENETUNREACH, LossCause::Unreachable, 1),
        (libc::EHOSTUNREACH, LossCause::Unreachable, 1),
        (libc::EPERM, LossCause::Forbidden, 1),
        (libc::EADDRNOTAVAIL, LossCause::Invalid, 1),
        (libc::ENOBUFS, LossCause::NoBuffers, 1),
        (libc::EMSGSIZE, LossCause::TooBig, 1),
        (libc::EFAULT, LossCause::Other, 1),
    ] {
        let outcome = bench.send(&to(PEER, &bytes(2_500), Some(1_000)), |_, _| Err(raw(number)));
        assert_eq!((outcome, bench.call_lengths().len()), (Outcome::Lost(cause), calls));
    }
    let stats = bench.stats();
    assert_eq!((stats.lost_refused, stats.lost_unreachable, stats.lost_other, stats.sends), (1, 2, 1, 0));
    assert_eq!(bench.offload.segments(), 64);
}

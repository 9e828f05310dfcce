//! What a kernel has to refuse before trains go datagram by datagram, where to, and for how long.

use super::*;

/// Sends a train of three, and says how many messages it took.
fn messages(bench: &Bench, destination: SocketAddr, segment: usize, error: i32) -> Vec<usize> {
    let contents = bytes(segment * 2 + segment / 2);
    let before = bench.datagrams().len();
    let outcome = bench.send(&to(destination, &contents, Some(segment)), cannot_segment(error));
    assert_eq!(outcome, Outcome::Sent);
    let sent: Vec<u8> = bench.datagrams()[before..].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(sent, contents, "all of it in the same call, in order");
    shapes(bench).into_iter().map(|(len, _)| len).collect()
}

#[test]
fn after_einval_that_destination_goes_without_for_datagrams_as_long() {
    let bench = Bench::new();
    assert_eq!(messages(&bench, PEER, 1_000, libc::EINVAL), [2_500, 1_000, 1_000, 500]);
    assert_eq!(bench.stats().offload_refused, 1);
    for (segment, segments) in [(1_000, 1), (1_200, 1), (999, 64)] {
        assert_eq!(bench.offload.segments_to(PEER, segment), segments);
    }
    assert_eq!((bench.offload.segments_to(peer(2), 1_000), bench.offload.segments()), (64, 64));

    assert_eq!(messages(&bench, PEER, 1_000, libc::EINVAL), [1_000, 1_000, 500], "it is not tried again");
    assert_eq!(messages(&bench, PEER, 500, libc::EINVAL), [1_250, 500, 500, 250], "shorter ones are");
    assert_eq!((bench.offload.segments_to(PEER, 500), bench.stats().offload_refused), (1, 2));
}

#[test]
fn after_two_eio_running_the_whole_socket_goes_without() {
    let bench = Bench::new();
    messages(&bench, PEER, 1_000, libc::EIO);
    assert_eq!((bench.offload.segments(), bench.offload.segments_to(PEER, 1_000)), (64, 64), "may be chance");
    messages(&bench, PEER, 1_000, libc::EIO);
    assert_eq!((bench.offload.segments(), bench.stats().offload_refused), (1, 2));
    assert_eq!(messages(&bench, peer(2), 1_000, libc::EIO), [1_000, 1_000, 500]);
    // Another socket tries anew.
    assert_eq!(Bench::new().offload.segments_to(PEER, 1_000), 64);
}

/// One interface can, the other cannot.
#[test]
fn an_eio_beside_trains_that_pass_concerns_its_destination_only() {
    let bench = Bench::new();
    for _ in 0..3 {
        messages(&bench, PEER, 1_000, libc::EIO);
        assert_eq!(bench.send(&to(peer(2), &bytes(2_000), Some(1_000)), willing), Outcome::Sent);
        assert_eq!(shapes(&bench), [(2_000, Some(1_000))]);
    }
    assert_eq!((bench.offload.segments(), bench.offload.segments_to(PEER, 100)), (64, 1));
    assert_eq!(bench.stats().offload_refused, 2);
}

#[test]
fn when_every_destination_is_refused_it_is_the_socket() {
    let bench = Bench::new();
    for number in 0..32 {
        assert_eq!(bench.offload.segments(), 64);
        messages(&bench, peer(number), 1_000, libc::EINVAL);
    }
    assert_eq!(bench.offload.segments(), 1);
}

#[test]
fn more_refused_destinations_than_are_remembered_forget_the_oldest() {
    let bench = Bench::new();
    for number in 0..40 {
        messages(&bench, peer(number), 1_000, libc::EINVAL);
        assert_eq!(bench.send(&to(peer(99), &bytes(2_000), Some(1_000)), willing), Outcome::Sent);
    }
    let refused = (0..40).filter(|number| bench.offload.segments_to(peer(*number), 1_000) == 1);
    assert_eq!(refused.collect::<Vec<_>>(), (8..40).collect::<Vec<_>>());
    assert_eq!(bench.offload.segments(), 64);
}

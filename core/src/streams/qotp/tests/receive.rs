//! What arrives.

use super::*;

fn limited(window: u64) -> Side {
    Side::new(Role::Responder, &Limits { max_window: window, ..Limits::default() }, usize::MAX)
}

#[test]
fn qotp_the_first_copy_of_a_byte_stays() {
    let mut side = Side::of(Role::Responder);
    side.receive(0, 0, b"abc", false).unwrap();
    side.receive(0, 5, b"fg", false).unwrap();
    side.receive(0, 0, b"XXXXXXXXX", false).unwrap();
    side.receive(0, 1, b"YYY", false).unwrap();
    assert_eq!(side.read(0, 4).unwrap(), b"abcX");
    side.receive(0, 2, b"ZZZZZZZZZZ", true).unwrap();
    assert_eq!(side.read(0, 100).unwrap(), b"XfgXXZZZ");
    assert_eq!(side.read(0, 100).unwrap(), b"");
    side.discard();
}

#[test]
fn qotp_what_lies_beyond_the_end_is_taken_and_thrown_away() {
    let mut side = Side::of(Role::Responder);
    side.receive(0, 2, b"cd", true).unwrap();
    for (offset, data) in [(4, &b"e"[..]), (1_000_000, b"f"), (1 << 48, b"g")] {
        side.receive(0, offset, data, false).unwrap();
    }
    side.receive(0, 0, b"abXXXX", false).unwrap();
    assert_eq!(side.streams.unread(), 4);
    assert_eq!(side.read(0, 100).unwrap(), b"abcd");
    assert_eq!(side.read(0, 100).unwrap(), b"", "the end");
    assert_eq!(side.read(0, 100), Err(ReadError::Closed));
    assert_eq!(side.receive(0, 4, b"e", false), Ok(()), "after the end was read as well");
    side.discard();
}

#[test]
fn qotp_a_second_end_is_ignored_and_an_end_cuts_nothing_off() {
    let mut side = Side::of(Role::Responder);
    side.receive(0, 0, b"abc", true).unwrap();
    side.receive(0, 1, b"", true).unwrap();
    side.receive(0, 0, b"abcdef", true).unwrap();
    assert_eq!((side.read(0, 100).unwrap(), side.read(0, 100).unwrap()), (b"abc".to_vec(), vec![]));

    side.receive(2, 0, b"abc", false).unwrap();
    side.receive(2, 1, b"", true).unwrap();
    assert_eq!((side.read(2, 100).unwrap(), side.read(2, 100).unwrap()), (b"abc".to_vec(), vec![]));
    side.discard();
}

#[test]
fn qotp_the_end_of_one_half_leaves_the_other_open() {
    let mut side = Side::of(Role::Responder);
    side.receive(0, 0, b"", true).unwrap();
    assert_eq!(side.read(0, 100).unwrap(), b"");
    assert_eq!(side.write(0, b"still here"), Ok(10));
    assert_eq!(side.send(100).unwrap().data, b"still here");
    side.discard();
}

#[test]
fn qotp_offsets_beyond_48_bits_do_no_harm() {
    let mut side = Side::of(Role::Responder);
    let far = (1 << 48) - 1;
    side.receive(0, far, &[1; 65_536], false).unwrap();
    assert_eq!(side.receive(0, u64::MAX, b"x", true), Err(Refusal::Withhold));
    side.receive(0, far + 65_536, b"", true).unwrap();
    side.receive(0, 0, b"ok", false).unwrap();
    assert_eq!(side.read(0, 10).unwrap(), b"ok");
    side.discard();
}

#[test]
fn qotp_gaps_are_bounded() {
    let limits = Limits { stream_gaps: 3, ..Limits::default() };
    let mut side = Side::new(Role::Responder, &limits, usize::MAX);
    for offset in [10, 20, 30] {
        side.receive(0, offset, b"x", false).unwrap();
    }
    assert!(withheld(side.receive(0, 40, b"x", true)));
    side.receive(0, 31, b"y", false).unwrap();
    side.receive(2, 10, b"x", false).unwrap();
    side.receive(0, 0, &[0; 10], false).unwrap();
    assert_eq!(side.receive(0, 40, b"x", false), Ok(()), "there is one gap less");
    assert_eq!(side.read(0, 100).unwrap().len(), 11, "and the end that was withheld is not known");
    assert_eq!(side.read(0, 100), Err(ReadError::Blocked));
    side.discard();
}

#[test]
fn qotp_what_is_unread_is_bounded_by_the_smaller_of_the_limits() {
    assert_eq!(Side::of(Role::Responder).streams.receive_capacity(), 16 << 20);
    let mut side = limited(3000);
    assert_eq!(side.streams.receive_capacity(), 3000);
    side.receive(0, 0, &[1; 1000], false).unwrap();
    side.receive(2, 0, &[2; 1000], false).unwrap();
    side.receive(2, 1500, &[2; 1000], false).unwrap();
    assert_eq!(side.streams.unread(), 2000);
    assert!(withheld(side.receive(0, 1000, &[1; 1000], false)), "more can be read there already");
    assert!(withheld(side.receive(4, 1000, &[1; 1], false)));
    side.receive(0, 0, &[1; 1000], false).unwrap();
    side.receive(2, 1600, &[2; 900], false).unwrap();
    side.receive(0, 1000, b"", false).unwrap();
    assert_eq!(side.read(2, 400).unwrap().len(), 400);
    assert_eq!(side.streams.unread(), 1600);
    assert!(withheld(side.receive(0, 1000, &[1; 401], false)));
    assert_eq!(side.receive(0, 1000, &[1; 400], false), Ok(()));
    side.discard();
}

#[test]
fn qotp_a_full_buffer_never_keeps_out_what_it_waits_for() {
    let mut side = limited(3000);
    for (number, offset) in [(0, 2500), (2, 1), (4, 1000)] {
        side.receive(number, offset, &[1; 1000], false).unwrap();
    }
    assert_eq!((side.streams.unread(), side.read(0, 1)), (0, Err(ReadError::Blocked)));
    assert!(withheld(side.receive(0, 1000, &[1; 1000], false)));
    side.receive(0, 0, &[1; 1000], false).unwrap();
    assert!(withheld(side.receive(2, 0, &[1; 1], false)), "one at a time");
    assert!(withheld(side.receive(0, 1000, &[1; 1000], false)));
    assert_eq!(side.read(0, 5000).unwrap().len(), 1000);
    side.receive(0, 1000, &[1; 1500], false).unwrap();
    assert_eq!(side.read(0, 5000).unwrap().len(), 2500, "and what was behind it");
    side.receive(2, 0, &[1; 1], false).unwrap();
    assert_eq!(side.read(2, 5000).unwrap().len(), 1001);
    side.discard();
}

#[test]
fn qotp_blocks_are_charged_as_data_arrives() {
    let mut side = Side::new(Role::Responder, &Limits::default(), STREAM_COST + 2048);
    side.receive(0, 100, &[1; 100], false).unwrap();
    assert_eq!(side.account.used(), STREAM_COST + 2048);
    assert!(withheld(side.receive(0, 3000, &[1; 100], false)));
    side.receive(0, 0, &[1; 100], false).unwrap();
    assert_eq!(side.read(0, 1000).unwrap().len(), 200);
    assert_eq!(side.account.used(), STREAM_COST);
    side.discard();
}

#[test]
fn qotp_the_application_is_told_when_it_has_seen_all() {
    let mut side = Side::of(Role::Responder);
    side.receive(0, 0, b"a", false).unwrap();
    assert_eq!(side.events(), [StreamEvent::Opened(BI), StreamEvent::Readable(id(0))]);
    side.receive(0, 1, b"b", false).unwrap();
    assert_eq!(side.events(), []);
    side.read(0, 10).unwrap();
    assert_eq!(side.read(0, 10), Err(ReadError::Blocked));
    side.receive(0, 3, b"d", false).unwrap();
    assert_eq!(side.events(), []);
    side.receive(0, 2, b"c", false).unwrap();
    assert_eq!(side.events(), [StreamEvent::Readable(id(0))]);
    side.read(0, 10).unwrap();
    assert_eq!(side.read(0, 10), Err(ReadError::Blocked));
    side.receive(0, 4, b"", true).unwrap();
    assert_eq!(side.events(), [StreamEvent::Readable(id(0))], "the end is news");
    side.discard();
}

#[test]
fn qotp_an_abandoned_stream_swallows_what_comes() {
    let mut side = limited(3000);
    side.receive(0, 0, &[1; 1000], false).unwrap();
    side.receive(0, 1500, &[1; 1000], false).unwrap();
    side.receive(2, 0, &[1; 500], false).unwrap();
    assert_eq!(side.abandon(0), Ok(()));
    assert_eq!(side.streams.unread(), 500);
    assert_eq!(side.account.used(), 2 * STREAM_COST + 2048);
    assert_eq!((side.abandon(0), side.read(0, 10)), (Err(ReadError::Closed), Err(ReadError::Closed)));
    for offset in [0, 1000, 2500, 1 << 40] {
        side.receive(0, offset, &[1; 1400], false).unwrap();
    }
    assert_eq!(side.streams.unread(), 500);
    assert!(!side.streams.is_over(id(0)), "the other half is open");
    side.finish(0).unwrap();
    let packet = side.send(1000).unwrap();
    side.acked(&packet);
    assert!(side.streams.is_over(id(0)));
    side.receive(0, 0, b"late", true).unwrap();
    assert_eq!(side.abandon(0), Err(ReadError::Closed));
    side.discard();
}

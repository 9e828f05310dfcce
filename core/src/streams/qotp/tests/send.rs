//! What goes out.

use super::*;

/// The next chunk: stream, offset, length, end.
fn next(side: &mut Side, room: usize) -> Option<(u32, u64, u16, bool)> {
    let Item::Stream { id, offset, len, fin } = side.send(room)?.item else { unreachable!() };
    Some((id.qotp_number().unwrap(), offset, len, fin))
}

fn with_streams(numbers: &[u32]) -> Side {
    let mut side = Side::of(Role::Initiator);
    for number in numbers {
        side.open_id(*number).unwrap();
    }
    side
}

#[test]
fn qotp_streams_take_turns_by_priority() {
    let mut side = with_streams(&[0, 2, 4]);
    side.streams.set_priority(id(4), 1).unwrap();
    for number in [0, 2, 4] {
        side.write(number, &[1; 250]).unwrap();
    }
    side.finish(0).unwrap();
    let order: Vec<_> = core::iter::from_fn(|| next(&mut side, 100)).collect();
    let expected = [
        (4, 0, 100, false),
        (4, 100, 100, false),
        (4, 200, 50, false),
        (0, 0, 100, false),
        (2, 0, 100, false),
        (0, 100, 100, false),
        (2, 100, 100, false),
        (0, 200, 50, true),
        (2, 200, 50, false),
    ];
    assert_eq!(order, expected);
    assert!(!side.streams.has_output());
    assert_eq!(side.streams.in_flight_data(), 750);
    side.discard();
}

#[test]
fn qotp_a_chunk_is_as_long_as_the_room_for_its_offset() {
    let mut side = with_streams(&[0]);
    side.write(0, &[1; 300]).unwrap();
    let room = |offset| if offset < 100 { 100 } else { 50 };
    let lens: Vec<_> = core::iter::from_fn(|| side.streams.take_chunk(room))
        .map(|item| if let Item::Stream { offset, len, .. } = item { (offset, len) } else { unreachable!() })
        .collect();
    assert_eq!(lens, [(0, 100), (100, 50), (150, 50), (200, 50), (250, 50)]);
    side.write(0, &[1; 100_000]).unwrap();
    assert_eq!(next(&mut side, 0), None);
    assert!(side.streams.has_output(), "it keeps its turn");
    assert_eq!(next(&mut side, 100_000), Some((0, 300, u16::MAX, false)));
    side.discard();
}

#[test]
fn qotp_an_end_needs_neither_room_nor_window() {
    let mut side = with_streams(&[0, 2]);
    side.streams.set_peer_window(0, 1400);
    side.finish(0).unwrap();
    side.write(2, b"held").unwrap();
    assert_eq!(next(&mut side, 0), Some((0, 0, 0, true)));
    assert_eq!(next(&mut side, 1000), None);
    side.discard();
}

#[test]
fn qotp_a_stream_is_announced_by_a_chunk_without_data() {
    let mut side = Side::of(Role::Initiator);
    side.streams.settings.announce = true;
    side.open(BI).unwrap();
    assert!(side.streams.has_output());
    let greeting = side.send(1000).unwrap();
    assert_eq!(greeting.item, Item::Stream { id: id(0), offset: 0, len: 0, fin: false });
    assert_eq!(side.send(1000), None);
    side.streams.on_lost(greeting.item);
    assert_eq!(side.send(1000).as_ref(), Some(&greeting));
    side.write(0, b"data").unwrap();
    assert_eq!(next(&mut side, 1000), Some((0, 0, 4, false)));
    side.streams.on_lost(greeting.item);
    assert_eq!(side.send(1000), None, "the data says it as well");
    side.acked(&greeting);
    assert_eq!(side.streams.in_flight_data(), 4);
    side.discard();
}

#[test]
fn qotp_the_window_bounds_what_is_in_flight_on_all_streams() {
    let mut side = with_streams(&[0, 2]);
    side.write(0, &[1; 10_000]).unwrap();
    side.write(2, &[1; 10_000]).unwrap();
    side.streams.set_peer_window(3000, 1000);
    let sent: Vec<_> = core::iter::from_fn(|| side.send(900)).collect();
    assert_eq!(sent.len(), 3, "a fourth would need room for a whole packet");
    assert_eq!(side.streams.in_flight_data(), 2700);
    assert!(!side.streams.has_output());

    side.acked(&sent[1]);
    assert!(side.streams.has_output());
    assert_eq!(next(&mut side, 900), Some((2, 900, 900, false)), "whose turn it was");
    assert_eq!(next(&mut side, 900), None);
    side.acked(&sent[1]);
    assert_eq!((next(&mut side, 900), side.streams.in_flight_data()), (None, 2700), "a second time is none");

    side.streams.set_peer_window(1000, 1000);
    for packet in [&sent[0], &sent[2]] {
        side.acked(packet);
        assert_eq!(next(&mut side, 900), None, "the window has shrunk below what is in flight");
    }
    assert_eq!(side.streams.in_flight_data(), 900);
    side.streams.set_peer_window(4600, 1000);
    assert_eq!(core::iter::from_fn(|| side.send(900)).count(), 4);
    side.streams.set_peer_window(0, 1000);
    side.streams.set_peer_window(u64::MAX, 1000);
    assert!(next(&mut side, 900).is_some());
    side.discard();
}

#[test]
fn qotp_the_window_is_16_mib_before_the_peer_tells_one() {
    let mut side = with_streams(&[0, 2]);
    side.streams.on_window(u64::MAX);
    for number in [0, 2] {
        assert_eq!(side.write(number, &vec![1; 16 << 20]), Ok(16 << 20));
    }
    while side.send(1361).is_some() {}
    assert!((16 << 20) - 1400 < side.streams.in_flight_data());
    assert!(side.streams.in_flight_data() <= 16 << 20);
    side.discard();
}

#[test]
fn qotp_no_stream_overtakes_those_that_wait_for_the_window() {
    let mut side = with_streams(&[0, 2, 4, 6, 8]);
    side.streams.set_peer_window(16_000, 1000);
    for number in [0, 2, 4, 6] {
        side.write(number, &[1; 6000]).unwrap();
    }
    let sent: Vec<_> = core::iter::from_fn(|| side.send(1000)).collect();
    assert_eq!((sent.len(), side.streams.held.len()), (16, 4));
    for packet in &sent[..3] {
        side.acked(packet);
    }
    assert!(!side.streams.has_output(), "not worth looking at four streams for three packets");
    side.write(8, &[1; 1000]).unwrap();
    side.streams.set_priority(id(8), 1).unwrap();
    assert_eq!(next(&mut side, 1000), None, "nor for the newcomer");
    side.acked(&sent[3]);
    side.acked(&sent[4]);
    let order: Vec<_> = core::iter::from_fn(|| next(&mut side, 1000)).map(|chunk| chunk.0).collect();
    assert_eq!(order, [8, 0, 2, 4, 6], "a packet for each");
    side.discard();
}

#[test]
fn qotp_a_chunk_goes_again_as_it_went() {
    let mut side = with_streams(&[0]);
    let data: Vec<u8> = (0..5000u32).map(|at| (at % 251) as u8).collect();
    side.write(0, &data).unwrap();
    side.finish(0).unwrap();
    let sent: Vec<_> = core::iter::from_fn(|| side.send(700)).collect();
    assert_eq!(sent.len(), 8);
    for acked in [0, 2, 3, 5] {
        side.acked(&sent[acked]);
    }
    for lost in [1, 4, 6, 7] {
        assert_eq!(side.data(&sent[lost].item).unwrap(), data[lost * 700..5000.min(lost * 700 + 700)]);
    }
    assert_eq!(side.data(&sent[0].item), None, "acknowledged, and gone");
    assert_eq!(side.send(700), None, "what is lost is the caller's to remember");
    for acked in [7, 1, 4, 6] {
        side.acked(&sent[acked]);
    }
    assert_eq!((side.streams.in_flight_data(), side.events()), (0, vec![StreamEvent::Finished(id(0))]));
    assert!(sent.iter().all(|packet| side.data(&packet.item).is_none()));
    assert_eq!(side.account.used(), STREAM_COST, "the peer's half is open");
    side.discard();
}

#[test]
fn qotp_an_end_goes_again_until_it_is_acknowledged() {
    let mut side = with_streams(&[0]);
    side.write(0, b"data").unwrap();
    let data = side.send(100).unwrap();
    side.finish(0).unwrap();
    let end = side.send(100).unwrap();
    assert_eq!(end.item, Item::Stream { id: id(0), offset: 4, len: 0, fin: true });
    side.acked(&data);
    assert_eq!(side.data(&end.item), Some(vec![]));
    side.acked(&end);
    assert_eq!(side.data(&end.item), None);
    side.discard();
}

#[test]
fn qotp_only_what_was_taken_can_be_appended() {
    let mut side = with_streams(&[0]);
    side.write(0, b"data").unwrap();
    let chunk = |number, offset, len| Item::Stream { id: id(number), offset, len, fin: false };
    assert_eq!(side.data(&chunk(2, 0, 1)), None);
    assert_eq!(side.data(&chunk(0, 3, 2)), None);
    assert_eq!(side.data(&chunk(0, u64::MAX, 2)), None);
    assert_eq!(side.data(&Item::MaxData), None);
    side.discard();
}

#[test]
fn qotp_a_stream_ends_where_offsets_do() {
    let mut side = with_streams(&[0]);
    assert_eq!(side.streams.settings.max_len, (1 << 48) - 1);
    side.streams.settings.max_len = 1000;
    assert_eq!(side.write(0, &[1; 600]), Ok(600));
    assert_eq!(side.write(0, &[1; 600]), Ok(400));
    assert_eq!(side.write(0, &[1; 1]), Err(WriteError::Closed));
    side.finish(0).unwrap();
    assert_eq!(next(&mut side, 2000), Some((0, 0, 1000, true)));
    side.discard();
}

//! What a peer makes us promise: windows grow with what it sends and what is read, not with what it says.

use std::collections::HashMap;

use dunlin_core::{Disposition, Duration, StreamId};
use dunlin_sim::{Evil, config};

use crate::common::{ms, quick, read_all};
use crate::frames::{ack, ping, reset_stream, stream};
use crate::puppet::take_varint;

/// A stream of the dialler's.
const UNI: u64 = 2;
/// What a connection, and a stream, may have sent at first.
const WINDOW: u64 = 64 << 10;

/// How far the peer may go, on the connection and on each of its streams.
#[derive(Debug, Default)]
struct Allowed(HashMap<Option<u64>, u64>);

impl Allowed {
    /// Takes down what the victim has said of it, and says which packets that was in.
    fn hear(&mut self, evil: &mut Evil) -> Vec<u64> {
        let heard = evil.hear();
        heard.iter().flat_map(|heard| limits(&heard.frames)).for_each(|(of, max)| {
            let known = self.0.entry(of).or_default();
            *known = max.max(*known);
        });
        heard.iter().map(|heard| heard.number).collect()
    }

    /// How far a stream may go if it is the only one.
    fn of(&self, id: u64) -> u64 {
        let [all, stream] = [None, Some(id)].map(|of| self.0.get(&of).copied().unwrap_or(WINDOW));
        all.min(stream)
    }
}

/// The limits that frames tell, of the connection or of a stream, up to the first frame that is of no interest here.
fn limits(mut frames: &[u8]) -> Vec<(Option<u64>, u64)> {
    let mut limits = Vec::new();
    while !frames.is_empty() {
        match take_varint(&mut frames) {
            0x00 | 0x01 => {}
            0x10 => limits.push((None, take_varint(&mut frames))),
            0x11 => limits.push((Some(take_varint(&mut frames)), take_varint(&mut frames))),
            ty @ 0x3e..=0x3f => {
                let [_, _, _, ranges, _] = [(); 5].map(|()| take_varint(&mut frames));
                let counts = if ty == 0x3f { 3 } else { 0 };
                (0..ranges * 2 + counts).for_each(|_| _ = take_varint(&mut frames));
            }
            0x18 => {
                take_varint(&mut frames);
                frames = &frames[8 + 16..];
            }
            reserved if reserved % 31 == 27 => {
                let len = usize::try_from(take_varint(&mut frames)).expect("it fits into a packet");
                frames = &frames[len..];
            }
            _ => break,
        }
    }
    limits
}

/// What has become of the victim's memory.
fn grown(evil: &Evil, before: u64) -> u64 {
    evil.stats().memory_used.saturating_sub(before)
}

/// A byte in the middle of what is allowed, and one at its end, over and over.
#[test]
fn ac_10_single_bytes_far_apart_make_no_window_grow() {
    let mut evil = Evil::new(1, quick(), config());
    let (mut allowed, before) = (Allowed::default(), evil.stats().memory_used);
    for _ in 0..10 {
        let end = allowed.of(UNI);
        for offset in [end / 2, end - 1] {
            assert_eq!(evil.strike(&stream(UNI, offset, b"x", false)), Disposition::Accepted);
        }
        evil.run(ms(50));
        allowed.hear(&mut evil);
    }
    assert!(grown(&evil, before) < 64 << 10, "{} bytes for 20", grown(&evil, before));
    evil.finish();
}

/// What nobody will read gives the credit back that it took, and that is all it does.
#[test]
fn ac_10_offsets_of_streams_that_are_over_make_no_window_grow() {
    let mut evil = Evil::new(1, quick(), config());
    let mut allowed = Allowed::default();
    let before = evil.stats().memory_used;
    // A stream that the victim's application wants no more of, after which others end far out.
    evil.strike(&stream(UNI, 0, b"x", false));
    let id = StreamId::new(dunlin_core::Role::Initiator, dunlin_core::Direction::Unidirectional, 0);
    evil.as_victim(|connection| connection.stop(id, 1_u32.into()).expect("it is open"));
    for index in 1..50 {
        let end = allowed.of(UNI);
        assert_eq!(evil.strike(&stream(UNI, end - 1, b"x", false)), Disposition::Accepted);
        evil.run(ms(20));
        allowed.hear(&mut evil);
        let (other, size) = (index * 4 + UNI, WINDOW.min(allowed.of(UNI) - end));
        assert_eq!(evil.strike(&reset_stream(other, 1, size)), Disposition::Accepted);
        evil.run(ms(20));
        allowed.hear(&mut evil);
    }
    assert!(allowed.of(UNI) > 40 * WINDOW / 2, "the peer may go on: {allowed:?}");
    assert!(grown(&evil, before) < 128 << 10, "{} bytes for 50", grown(&evil, before));
    evil.finish();
}

/// A peer that lets us wait a minute for each acknowledgement, so that a round trip seems to take as long, and then sends
/// 2 MB a second, which is read at once.
#[test]
fn ac_32_a_round_trip_that_seems_long_makes_no_window_grow() {
    let mut evil = Evil::new(1, quick(), config());
    let mut allowed = Allowed::default();
    for _ in 0..30 {
        evil.strike(&ping());
        evil.run(Duration::from_secs(2));
    }
    let numbers = allowed.hear(&mut evil);
    evil.strike(&numbers.iter().flat_map(|number| ack(0, *number, 0, &[])).collect::<Vec<_>>());
    let rtt = evil.as_victim(|connection| connection.path().rtt.smoothed());
    assert!(rtt > Duration::from_secs(1), "{rtt:?}: it is not believed in the first place");
    let (before, mut sent) = (evil.stats().memory_used, 0);
    let id = StreamId::new(dunlin_core::Role::Initiator, dunlin_core::Direction::Unidirectional, 0);
    for _ in 0..500 {
        let len = (allowed.of(UNI) - sent).min(40_000);
        let data = vec![7; usize::try_from(len).expect("little")];
        assert_eq!(evil.strike(&stream(UNI, sent, &data, false)), Disposition::Accepted);
        sent += len;
        evil.as_victim(|connection| drop(read_all(connection, id)));
        evil.run(ms(20));
        allowed.hear(&mut evil);
    }
    assert!(sent > 19_000_000, "{sent} bytes in ten seconds");
    // Four times what comes in eight times the true round trip of 40 ms, and a quarter more.
    let most = 2_000_000 / 25 * 8 * 4 * 5 / 4;
    assert!(grown(&evil, before) < most, "{} bytes", grown(&evil, before));
    evil.finish();
}

//! Peers that acknowledge, and let in, what suits them.

use std::collections::{BTreeSet, VecDeque};

use dunlin_core::{Connection, Disposition, Duration, Instant, PathId, StreamId, fuzzing};
use dunlin_sim::{Evil, config};

use crate::common::{ms, quick};
use crate::frames::{ack, datagram, max_data, max_stream_data, ping};

/// The answerer's first unidirectional stream.
const THEIR_UNI: u64 = 3;

/// What is let in at a second.
type Credit = fn(u64) -> u64;

/// Acknowledges all that has come.
pub(super) fn acknowledge(evil: &mut Evil) {
    let newest = evil.hear().iter().map(|heard| heard.number).max();
    if let Some(newest) = newest {
        evil.strike(&ack(0, newest, 0, &[]));
    }
}

/// Writes as much as there is room for, and says how much that was.
fn fill(connection: &mut Connection<'_>, id: StreamId) -> u64 {
    let all = core::iter::from_fn(|| connection.write(id, &[7; 50_000]).ok().filter(|written| *written > 0));
    all.map(|written| written as u64).sum()
}

/// A window that is shut, wide open, or one and the other in turn. For an hour the writer has more than goes out.
#[test]
fn ac_31_windows_that_flap_cost_no_timers_and_no_packets() {
    const HOUR: u64 = 3_600;
    let credits: [(&str, Credit); 3] = [
        ("shut", |_| 0),
        ("wide open", |_| (1 << 62) - 1),
        ("in turn", |n| if n % 2 == 0 { 0 } else { 1 << 40 }),
    ];
    for (what, credit) in credits {
        let mut evil = Evil::new(1, quick(), config());
        evil.as_victim(|connection| {
            let id = connection.open_uni().expect("a stream");
            fill(connection, id);
        });
        for _ in 0..200 {
            evil.run(ms(50));
            acknowledge(&mut evil);
        }
        let before = evil.stats();
        for second in 0..HOUR {
            let max = credit(second);
            evil.strike(&[max_stream_data(THEIR_UNI, max), ping()].concat());
            evil.run(Duration::from_secs(1));
            acknowledge(&mut evil);
        }
        let after = evil.stats();
        assert_eq!(evil.end(), None, "{what}");
        let fired = after.timers_fired - before.timers_fired;
        assert!(fired <= 4 * HOUR, "{what}: {fired} timers in an hour");
        let sent = after.datagrams_sent - before.datagrams_sent;
        assert!(sent <= 3 * HOUR, "{what}: {sent} datagrams in an hour");
        let limit = config().limits.send_buffer + (128 << 10);
        assert!(after.memory_used <= before.memory_used.max(limit), "{what}: {} bytes", after.memory_used);
        evil.finish();
    }
}

/// What is let in beyond all measure changes only what may be sent: not what is buffered.
#[test]
fn ac_31_credit_beyond_measure_buys_no_memory() {
    let mut evil = Evil::new(1, quick(), config());
    let id = evil.as_victim(|connection| connection.open_uni().expect("a stream"));
    evil.strike(&[max_data((1 << 62) - 1), max_stream_data(THEIR_UNI, (1 << 62) - 1)].concat());
    let written = evil.as_victim(|connection| fill(connection, id));
    let limits = config().limits;
    assert!(written <= limits.send_buffer, "{written} bytes");
    evil.finish();
}

/// The peer lets us record twenty thousand packets, then acknowledges every second one, in one packet. That is work for each
/// range, and none for those that are there already. Filled in from the low end later, each range goes before all others.
#[test]
fn acknowledgements_with_thousands_of_ranges_are_read_in_their_stride() {
    const PACKETS: u64 = 20_000;
    let mut evil = Evil::new(1, quick(), config());
    for _ in 0..PACKETS {
        // Answered at once, as one that was before it has not come.
        evil.as_dialler(|dialler| fuzzing::skip_numbers(dialler, PathId::ZERO, 1));
        evil.strike(&ping());
        evil.run(Duration::ZERO);
    }
    // The first ones are not, so that no record is forgotten.
    let heard: BTreeSet<u64> = evil.hear().iter().skip(500).map(|heard| heard.number).collect();
    let all = spans(&heard.iter().copied().filter(|number| number % 2 == 0).collect());
    assert!(all.len() > 5_000, "{} ranges", all.len());
    let frames = acknowledgement_of(&all);
    evil.work();
    assert_eq!(evil.strike(&frames), Disposition::Accepted);
    let work = evil.work();
    println!("{work} for {} ranges of {} packets", all.len(), heard.len());
    assert!(work <= 3 * PACKETS, "work of {work} for {} ranges", all.len());
    for numbers in heard.iter().copied().filter(|number| number % 2 == 1).collect::<Vec<_>>().chunks(500) {
        let frames = acknowledgement_of(&spans(&numbers.iter().copied().collect()));
        evil.work();
        evil.strike(&frames);
        let work = evil.work();
        assert!(work <= 3 * PACKETS, "work of {work} for {} ranges later", numbers.len());
    }
    // All of it over and over, in a few long ranges: each packet is passed once more, then all at once.
    let frames = acknowledgement_of(&spans(&heard));
    evil.work();
    for _ in 0..100 {
        evil.strike(&frames);
    }
    let (work, bytes) = (evil.work(), 100 * frames.len() as u64);
    assert!(work <= PACKETS + 2 * bytes, "work of {work} for {bytes} bytes, again and again");
    assert_eq!(evil.end(), None);
    evil.finish();
}

/// Unreliable data and small talk for an hour, of which the peer acknowledges nothing. What was never acknowledged is given up
/// where it only keeps records of our acknowledgements.
#[test]
fn ac_18_an_hour_without_acknowledgements_costs_a_thousand_records() {
    /// Bytes of a record, whose tables double.
    const RECORD: u64 = 240;
    const RECORDS: u64 = 1_100;
    let mut evil = Evil::new(1, quick(), config());
    let before = evil.stats();
    for _ in 0..36_000 {
        evil.strike(&[ping(), datagram(b"x")].concat());
        evil.as_victim(|connection| {
            // Refused once its queue is full.
            let _ = connection.send_datagram(&[7; 100]);
            while connection.read_datagram(&mut Vec::new()).is_some() {}
        });
        evil.run(ms(100));
    }
    assert_eq!(evil.end(), None);
    let after = evil.stats();
    let (sent, grown) =
        (after.datagrams_sent - before.datagrams_sent, after.memory_used.saturating_sub(before.memory_used));
    let queue = u64::from(config().datagrams.send_buffer);
    assert!(sent > 30_000, "{sent} packets");
    assert!(grown <= RECORD * RECORDS + queue, "{grown} bytes for {sent} packets");
    // Once the newest are acknowledged the others are lost, and when nothing is under way any more all records are gone.
    for _ in 0..10 {
        let heard = evil.hear();
        let newest = heard.iter().rev().take(100).flat_map(|heard| ack(0, heard.number, 0, &[]));
        let newest: Vec<u8> = newest.chain(vec![0]).collect();
        evil.strike(&newest);
        evil.run(Duration::from_secs(1));
    }
    evil.run(Duration::from_secs(60));
    let left = evil.stats().memory_used.saturating_sub(before.memory_used);
    assert!(left <= queue + (64 << 10), "{left} bytes");
    evil.finish();
}

/// What a receiver behind a line has got and says so: 10 Mbit/s with a quarter of a second of queue, 20 ms each way.
#[derive(Default)]
struct Line {
    /// Until when the line is taken.
    busy: Instant,
    /// When the acknowledgement of a number is due, and its packet's size.
    queue: VecDeque<(Instant, u64, u64)>,
    arrived: BTreeSet<u64>,
    bytes: u64,
}

impl Line {
    const RATE: u64 = 10_000_000 / 8;
    const QUEUE: Duration = Duration::from_millis(250);
    const ROUND_TRIP: Duration = Duration::from_millis(40);

    /// Lets time pass in which the acknowledgements come `late`.
    fn run(&mut self, evil: &mut Evil, id: StreamId, span: Duration, late: Duration) {
        let end = evil.pair.now() + span;
        while evil.pair.now() < end {
            evil.as_victim(|connection| fill(connection, id));
            evil.run(ms(2));
            let now = evil.pair.now();
            for heard in evil.hear() {
                let size = heard.frames.len() as u64 + 30;
                let start = self.busy.max(now);
                if start - now < Self::QUEUE {
                    self.busy = start + Duration::from_nanos(size * 1_000_000_000 / Self::RATE);
                    self.queue.push_back((self.busy + late, heard.number, size));
                }
            }
            self.acknowledge(evil, now);
        }
    }

    fn acknowledge(&mut self, evil: &mut Evil, now: Instant) {
        let before = self.arrived.len();
        while let Some((_, number, size)) = self.queue.front().filter(|(due, ..)| *due <= now) {
            self.arrived.insert(*number);
            self.bytes += size;
            self.queue.pop_front();
        }
        if self.arrived.len() > before {
            let spans = spans(&self.arrived);
            evil.strike(&acknowledgement_of(&spans[..spans.len().min(32)]));
        }
    }
}

/// The numbers as ranges, highest first.
fn spans(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for &number in numbers.iter().rev() {
        match spans.last_mut() {
            Some((low, _)) if *low == number + 1 => *low = number,
            _ => spans.push((number, number)),
        }
    }
    spans
}

/// Acknowledges these ranges.
fn acknowledgement_of(spans: &[(u64, u64)]) -> Vec<u8> {
    let gaps: Vec<_> = spans.windows(2).map(|two| (two[0].0 - two[1].1 - 2, two[1].1 - two[1].0)).collect();
    spans.first().map_or_else(Vec::new, |(low, high)| ack(0, *high, high - low, &gaps))
}

/// Round trips that look as if there were none, or as if they took two seconds, and then are what they are.
#[test]
fn ac_32_a_round_trip_that_was_a_lie_is_forgotten_within_twelve_seconds() {
    for late in [Duration::ZERO, ms(1_900)] {
        let mut evil = Evil::new(1, quick(), config());
        let id = evil.as_victim(|connection| connection.open_uni().expect("a stream"));
        let most = (1 << 62) - 1;
        evil.strike(&[max_data(most), max_stream_data(THEIR_UNI, most)].concat());
        let mut line = Line::default();
        line.run(&mut evil, id, Duration::from_secs(4), Line::ROUND_TRIP);
        line.run(&mut evil, id, Duration::from_secs(4), late);
        line.run(&mut evil, id, Duration::from_secs(12), Line::ROUND_TRIP);
        let before = line.bytes;
        line.run(&mut evil, id, Duration::from_secs(4), Line::ROUND_TRIP);
        let rate = (line.bytes - before) / 4;
        assert!(rate >= Line::RATE * 9 / 10, "{rate} bytes a second after acknowledgements {late:?} late");
        evil.finish();
    }
}

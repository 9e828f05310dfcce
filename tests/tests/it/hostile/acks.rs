//! Peers that acknowledge, and let in, what suits them.

use dunlin_core::{Connection, Duration, StreamId};
use dunlin_sim::{Evil, config};

use crate::common::{ms, quick};
use crate::frames::{ack, datagram, max_data, max_stream_data, ping};

/// The answerer's first unidirectional stream.
const THEIR_UNI: u64 = 3;

/// What is let in at a second.
type Credit = fn(u64) -> u64;

/// Acknowledges all that has come.
fn acknowledge(evil: &mut Evil) {
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

/// Unreliable data and small talk for an hour, of which the peer acknowledges nothing. Every packet has a record until an older
/// one is acknowledged or given up, and records count as memory.
#[test]
fn ac_18_an_hour_without_acknowledgements_costs_a_record_for_each_packet() {
    /// Bytes of a record, whose tables double.
    const RECORD: u64 = 240;
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
    assert!(grown <= RECORD * sent + queue, "{grown} bytes for {sent} packets");
    assert!(grown <= config().limits.per_connection);
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

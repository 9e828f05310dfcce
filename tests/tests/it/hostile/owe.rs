//! Frames that make us owe an answer, said over and over by a peer that acknowledges nothing and takes its time.

use core::ops::ControlFlow;

use dunlin_core::fuzzing;
use dunlin_core::{Disposition, Duration, PathId};
use dunlin_sim::{Evil, config};

use super::acks::acknowledge;
use crate::common::{ms, quick};
use crate::frames::{
    datagram, max_data, max_stream_data, max_streams, new_connection_id, path_challenge, path_status, ping,
    reset_stream, retire_connection_id, stop_sending, stream,
};

/// Packets that a flood has, a millisecond apart.
const PACKETS: u64 = 4_000;
/// Bytes by which what is held may grow, beside the records of packets that nobody acknowledges.
const GROWTH: u64 = 16 << 10;
/// Bytes of such a record, whose tables double.
const RECORD: u64 = 240;

/// The frames of the packet of a number.
type Flood = Box<dyn FnMut(u64) -> Vec<u8>>;

/// What a flood cost.
struct Cost {
    /// Packets that the victim sent meanwhile.
    sent: u64,
    /// Bytes of memory more than before.
    grown: u64,
    /// Work, in the units of `work_between`.
    work: u64,
    /// Packets that were accepted before the connection ended, if it did.
    accepted: u64,
}

/// Says `frames` of one number after the other.
fn flood(mut frames: impl FnMut(u64) -> Vec<u8>) -> Cost {
    let mut evil = Evil::new(1, quick(), config());
    evil.as_victim(|connection| {
        let id = connection.open_uni().expect("a stream");
        connection.write(id, &[7; 60_000]).expect("room");
    });
    evil.run(ms(200));
    evil.work();
    let (before, mut accepted) = (evil.stats(), 0);
    let _ = (0..PACKETS).try_for_each(|number| {
        accepted += u64::from(evil.strike(&frames(number)) == Disposition::Accepted);
        evil.run(ms(1));
        if evil.end().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    evil.run(Duration::from_secs(2));
    let after = evil.stats();
    let cost = Cost {
        sent: after.datagrams_sent - before.datagrams_sent,
        grown: after.memory_used.saturating_sub(before.memory_used),
        work: evil.work(),
        accepted,
    };
    evil.finish();
    cost
}

/// Whatever is owed, it is owed once: no more packets than came (and some probes), memory as before, work for each frame.
#[test]
fn ac_12_what_is_owed_is_bounded_however_often_it_is_asked_for() {
    let ids = |number: u64| new_connection_id(number, (number + 1).to_le_bytes(), [3; 16]);
    let floods: [(&str, u64, Flood); 11] = [
        ("pings", 20, Box::new(|_| ping().repeat(20))),
        ("challenges", 20, Box::new(|n| path_challenge(n.to_le_bytes()).repeat(20))),
        ("ids to retire", 1, Box::new(move |n| retire_connection_id(n % 8))),
        ("ids", 1, Box::new(ids)),
        ("credit", 3, Box::new(|n| [max_data(n), max_stream_data(3, n), max_streams(true, n)].concat())),
        ("stops", 20, Box::new(|_| stop_sending(3, 1).repeat(20))),
        ("resets", 20, Box::new(|_| reset_stream(2, 1, 5).repeat(20))),
        (
            "a path's status",
            20,
            Box::new(|n| (0..20).flat_map(|at| path_status(at % 2 == 0, 0, 0, n * 20 + at)).collect()),
        ),
        ("empty streams", 20, Box::new(|_| stream(2, 0, b"", false).repeat(20))),
        ("empty datagrams", 20, Box::new(|_| datagram(b"").repeat(20))),
        ("padding", 1, Box::new(|_| vec![0; 1_000])),
    ];
    for (what, frames, flood_of) in floods {
        let cost = flood(flood_of);
        let packets = cost.accepted;
        println!(
            "{what}: {} sent, {} bytes, work of {}, {packets} accepted",
            cost.sent, cost.grown, cost.work
        );
        assert!(cost.sent <= packets + 60, "{what}: {} packets for {packets}", cost.sent);
        assert!(cost.grown <= GROWTH + RECORD * cost.sent, "{what}: {} bytes", cost.grown);
        let bound = packets * (4 * frames + 24) + 4_000;
        assert!(cost.work <= bound, "{what}: work of {}, more than {bound}", cost.work);
    }
}

/// Streams of the peer's, opened and given up at once, all of them one after the other. In the end nothing is kept.
fn open_and_give_up(streams: u64) {
    let mut evil = Evil::new(1, quick(), config());
    evil.work();
    let before = evil.stats();
    let mut refused = 0;
    for number in 0..streams {
        let id = number * 4 + 2;
        let frames = [stream(id, 0, b"x", false), reset_stream(id, 0, 1)].concat();
        refused += u64::from(evil.strike(&frames) != Disposition::Accepted);
        evil.as_victim(|connection| {
            while let Some(id) = connection.accept(dunlin_core::Direction::Unidirectional) {
                assert!(connection.read(id, &mut [0; 9]).is_err());
            }
        });
        evil.run(ms(1));
        if number % 100 == 99 {
            acknowledge(&mut evil);
        }
        if let Some(reason) = evil.end() {
            panic!("{reason} at stream {number}");
        }
    }
    assert_eq!(refused, 0);
    let grown = evil.stats().memory_used.saturating_sub(before.memory_used);
    assert!(grown <= GROWTH + RECORD * 1_000, "{grown} bytes for {streams} streams that are over");
    let work = evil.work();
    assert!(work <= streams * 40, "work of {work}");
    evil.finish();
}

#[test]
fn ac_13_streams_opened_and_given_up_leave_nothing() {
    open_and_give_up(2_000);
}

#[test]
#[ignore = "takes a minute"]
fn ac_13_a_million_streams_opened_and_given_up_leave_nothing() {
    open_and_give_up(1_000_000);
}

/// A peer that has been told of no path and no stream names them all the same, under keys that it changes in between.
#[test]
fn ac_12_keys_changed_in_a_hurry_cost_a_few_derivations() {
    let mut evil = Evil::new(1, quick(), config());
    let before = evil.stats().derivations;
    for _ in 0..1_000 {
        evil.as_dialler(fuzzing::rotate_keys);
        let from = evil.pair.client_addr;
        evil.strike_from(from, PathId::ZERO, &ping());
        evil.run(Duration::from_micros(100));
    }
    let derived = evil.stats().derivations - before;
    assert!(derived <= 8 + 34 + 2, "{derived} generations in a tenth of a second");
    evil.finish();
}

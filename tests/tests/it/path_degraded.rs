//! A path that gets worse in the middle of a transfer, and a good one beside it.

use dunlin_core::{Duration, PathId};
use dunlin_sim::{LinkConfig, Loss, Ppm, QueueLimit, Rate, Topology, Toward, config, seeds};

use crate::common::{line, ms};
use crate::duo::{BOTH, Duo, Side};

/// More than is sent in the time of a test.
const ENDLESS: u64 = 1 << 32;

/// Rate in kbit/s, round trip in ms, loss in parts per thousand, from a home line to the edge of a cell, and a satellite;
/// and within how many milliseconds it is left. What is only a little longer looks like a queue of the sender's own until
/// the shortest round trip of the last ten seconds is forgotten.
const LADDER: [(u32, u64, u32, u64); 7] = [
    (100_000, 16, 1, 2_000),
    (25_000, 40, 10, 4_000),
    (8_000, 90, 20, 2_000),
    (3_000, 200, 30, 500),
    (1_500, 300, 50, 500),
    (800, 450, 80, 500),
    (25_000, 600, 15, 500),
];

/// A rung of the ladder, with a queue of a round trip.
fn rung(kbit: u32, rtt: u64, permille: u32) -> LinkConfig {
    LinkConfig {
        rate: Some(Rate::kbit(kbit)),
        delay: ms(rtt) / 2,
        loss: Loss::Random(Ppm::new(permille * 1_000)),
        queue: QueueLimit::Bytes((u64::from(kbit) * rtt / 8).max(20_000) as usize),
        ..LinkConfig::default()
    }
}

/// Two lines of 100 Mbit/s, 20 ms there and back: to two interfaces of the dialler or of the answerer.
fn lines(several: Side) -> Topology {
    match several {
        Side::Client => Topology::mesh(2, 1, |_, _| Some(line())),
        Side::Server => Topology::mesh(1, 2, |_, _| Some(line())),
    }
}

/// The interfaces between which the second path is.
const fn second(several: Side) -> (usize, usize) {
    match several {
        Side::Client => (1, 0),
        Side::Server => (0, 1),
    }
}

#[test]
fn path_that_degrades_in_mid_transfer_is_left() {
    for (seed, (kbit, rtt, permille, patience)) in seeds(7).zip(LADDER) {
        for sender in BOTH {
            for several in BOTH.into_iter().filter(|several| kbit != 25_000 || *several == sender) {
                let what = format!("{kbit} kbit/s, {rtt} ms, {sender:?} sends, the {several:?} has two");
                let (mut duo, received) = Duo::sending(seed, &lines(several), &config(), sender, ENDLESS);
                let other = duo.open(Side::Client, second(several).0, second(several).1);
                duo.run(ms(1500));
                assert_eq!(duo.selected(sender), PathId::ZERO, "{what}");
                for toward in Toward::BOTH {
                    duo.web.link(0, 0, toward).configure(|link| *link = rung(kbit, rtt, permille));
                }
                duo.run(ms(patience));
                // The first rung is as good as what there was, and no reason to go.
                assert!(kbit == 100_000 || duo.selected(sender) == other, "{what}");
                let before = received.borrow().total();
                duo.run(Duration::from_secs(3));
                let rate = (received.borrow().total() - before) * 8 / 3_000_000;
                assert!(rate >= 60, "{what}: {rate} of 100 Mbit/s");
            }
        }
    }
}

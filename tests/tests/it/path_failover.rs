//! A path that stops delivering is left, and a better one is taken (docs/PROTOCOL.md, "Choosing a path").

use core::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use dunlin_core::select::Spread;
use dunlin_core::{Duration, PathEvent, PathId};
use dunlin_sim::{End, Filter, LinkConfig, QueueLimit, Rate, Received, Topology, Toward, config, seeds};

use crate::common::{line, ms};
use crate::duo::{BOTH, Duo, Side};

/// More than is sent in the time of a test.
const ENDLESS: u64 = 1 << 32;

/// Data flows from one side on the first of two paths, each a line of 100 Mbit/s, 20 and 30 ms there and back; the other
/// one was opened by one side.
fn flowing(seed: u64, sender: Side, opener: Side, bytes: u64) -> (Duo, Rc<RefCell<Received>>) {
    let topology = Topology::parallel(&[line(), LinkConfig { delay: ms(15), ..line() }]);
    let (mut duo, received) = Duo::sending(seed, &topology, &config(), sender, bytes);
    duo.open(opener, 1, 1);
    assert!(BOTH.map(|side| duo.selected(side)) == [PathId::ZERO; 2]);
    (duo, received)
}

/// In which directions a path is silent.
const SILENCES: [&[Toward]; 3] = [&Toward::BOTH, &[Toward::Server], &[Toward::Client]];

#[test]
fn path_that_falls_silent_is_left_within_two_probe_timeouts_and_nothing_is_lost() {
    for (seed, sender) in seeds(4).zip(BOTH.into_iter().cycle()) {
        for opener in BOTH {
            for silence in SILENCES {
                let (mut duo, received) = flowing(seed, sender, opener, 60_000_000);
                let pto = duo.on(sender, |connection| connection.path().rtt.pto(ms(25)));
                let what = format!("seed {seed:#x}: {sender:?} sends, {opener:?} opened, silent {silence:?}");
                silence.iter().for_each(|toward| duo.web.cut(0, 0, *toward));
                let from = duo.web.pair.now();
                let toward = if sender == Side::Client { Toward::Server } else { Toward::Client };
                let before = duo.web.carried(1, 1, toward).bytes;
                duo.run(pto * 2 + ms(1));
                let moved = duo.web.carried(1, 1, toward).bytes - before;
                assert!(moved > 2_000, "{what}: {moved} bytes");
                duo.run(ms(3000));
                // Behind what is missing nothing can be read: that goes at the second probe timeout, behind what has gone
                // since the first, and the path has never carried much.
                let gap = received.borrow().arrivals.longest_gap(from, duo.web.pair.now());
                assert!(
                    gap <= pto * 2 + 4 * ms(30) && gap < ms(1000),
                    "{what}: {gap:?}, probe timeout {pto:?}"
                );
                assert_ne!(duo.selected(sender), PathId::ZERO);
                assert!(duo.web.pair.run_until(ms(60_000), |_| received.borrow().finished == 1), "{what}");
                assert_eq!(received.borrow().total(), 60_000_000);
                duo.finish();
            }
        }
    }
}

/// When it carries them again and the other path fails, data comes back to it.
#[test]
fn path_that_drops_large_packets_is_left_within_three_probe_timeouts_and_used_again_when_it_is_well() {
    let large = Filter::longer_than(600);
    for sender in BOTH {
        let (mut duo, received) = flowing(1, sender, Side::Client, ENDLESS);
        let pto = duo.on(sender, |connection| connection.path().rtt.pto(ms(25)));
        duo.web.filter(End::Client(0), Some(&large));
        duo.run(pto * 3);
        assert_ne!(duo.selected(sender), PathId::ZERO, "{sender:?}");
        let from = duo.web.pair.now();
        duo.run(ms(5000));
        assert_ne!(duo.selected(sender), PathId::ZERO, "{sender:?}");
        assert!(received.borrow().arrivals.longest_gap(from + ms(200), duo.web.pair.now()) < ms(100));
        duo.web.filter(End::Client(0), None);
        duo.web.cut(1, 1, Toward::Client);
        duo.run(ms(5000));
        assert_eq!(duo.selected(sender), PathId::ZERO, "{sender:?}");
        let from = duo.web.pair.now();
        duo.run(ms(1000));
        assert!(received.borrow().arrivals.longest_gap(from, duo.web.pair.now()) < ms(100));
    }
}

/// A path to spare that has failed carries no payload by which it could be found out, only what it is asked now and then.
#[test]
fn path_to_spare_that_does_not_answer_is_not_taken_when_the_one_in_use_pauses() {
    let (pause, silence) = (ms(200), ms(3000));
    for (seed, sender) in seeds(4).zip(BOTH.into_iter().cycle()) {
        let (mut duo, received) = flowing(seed, sender, Side::Client, ENDLESS);
        // What the receiver answers there is lost, and nothing else.
        duo.web.cut(1, 1, if sender == Side::Client { Toward::Client } else { Toward::Server });
        duo.run(silence);
        let from = duo.web.pair.now();
        Toward::BOTH.iter().for_each(|toward| duo.web.cut(0, 0, *toward));
        duo.run(pause);
        Toward::BOTH.iter().for_each(|toward| duo.web.mend(0, 0, *toward));
        duo.run(ms(2000));
        let gap = received.borrow().arrivals.longest_gap(from, duo.web.pair.now());
        assert!(gap < pause * 2, "seed {seed:#x}: {sender:?} sends, for {gap:?} nothing came");
        assert_eq!(duo.selected(sender), PathId::ZERO);
    }
}

#[test]
fn path_that_has_delivered_everything_is_not_left_when_another_one_opens() {
    for sender in BOTH {
        let (mut duo, received) =
            Duo::sending(2, &Topology::parallel(&[line(), line()]), &config(), sender, 10_000);
        assert_eq!(received.borrow().finished, 1);
        duo.run(ms(3000));
        duo.open(Side::Client, 1, 1);
        duo.run(ms(2000));
        assert_eq!(BOTH.map(|side| switches(&mut duo, side)), [0, 0], "{sender:?}");
        duo.finish();
    }
}

fn switches(duo: &mut Duo, side: Side) -> usize {
    duo.events(side).iter().filter(|event| matches!(event, PathEvent::Selected { .. })).count()
}

#[test]
fn path_jitter_moves_data_at_most_once_a_minute() {
    for sender in BOTH {
        let shaky = |millis: u64| LinkConfig {
            rate: Some(Rate::mbit(5)),
            delay: ms(millis),
            jitter: ms(millis) / 5,
            ..line()
        };
        let topology = Topology::parallel(&[shaky(20), shaky(20)]);
        let (mut duo, received) = Duo::sending(3, &topology, &config(), sender, ENDLESS);
        duo.open(Side::Client, 1, 1);
        for minute in 0..2 {
            duo.run(Duration::from_secs(60));
            let switches = switches(&mut duo, sender);
            assert!(switches <= 1, "minute {minute}: {switches}");
        }
        assert!(received.borrow().total() > 40_000_000);
    }
}

#[test]
fn path_that_is_half_as_long_is_used_within_two_seconds() {
    for (sender, opener) in BOTH.into_iter().zip([Side::Server, Side::Client]) {
        let topology = Topology::parallel(&[
            LinkConfig { delay: ms(40), ..line() },
            LinkConfig { delay: ms(20), ..line() },
        ]);
        let (mut duo, _) = Duo::sending(4, &topology, &config(), sender, ENDLESS);
        let other = duo.try_open(opener, 1, 1).unwrap();
        duo.run(ms(2000) + ms(200));
        assert_eq!(duo.selected(sender), other, "{sender:?} sends, {opener:?} opened");
        duo.run(ms(30_000));
        assert_eq!(switches(&mut duo, sender), 1);
    }
}

#[test]
fn path_spread_has_the_bandwidth_of_both() {
    for sender in BOTH {
        let link = |mbit, millis| LinkConfig {
            rate: Some(Rate::mbit(mbit)),
            delay: ms(millis),
            queue: QueueLimit::Bytes(500_000),
            ..LinkConfig::default()
        };
        let topology = Topology::parallel(&[link(100, 10), link(50, 30)]);
        let mut settings = config();
        settings.selector = Arc::new(Spread);
        let (mut duo, received) = Duo::sending(5, &topology, &settings, sender, ENDLESS);
        duo.open(Side::Client, 1, 1);
        duo.run(ms(2000));
        let before = received.borrow().total();
        duo.run(ms(10_000));
        let rate = (received.borrow().total() - before) * 8 / 10_000_000;
        assert!(rate >= 128, "{rate} of 150 Mbit/s");
    }
}

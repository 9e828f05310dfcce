//! A peer with the right keys that makes its victim hold as much as it can: the heap stays within what the limits say.

use dunlin_core::{Config, ConnectionHandle, Disposition, Duration, Event, fuzzing};
use dunlin_sim::config;

use crate::frames;
use crate::rig::Rig;

/// What an endpoint holds beside its budget: free blocks, the room of its tables, events nobody polled.
pub(crate) const SLACK: i64 = 5 << 19;
/// What one connection may hold beyond a limit that it has reached, to keep going: the records of some packets, and the
/// blocks of one packet of readable data.
pub(crate) const SLACK_PER_CONNECTION: i64 = 72 << 10;

const ATTACKERS: usize = 40;

/// A victim (side 1) of peers whose packets are made by hand.
struct Attack {
    rig: Rig,
    handles: Vec<ConnectionHandle>,
    /// The victim's limit, in bytes.
    limit: i64,
}

impl Attack {
    fn new(victim: Config) -> Self {
        let limit = victim.limits.per_endpoint as i64;
        let mut peer = config();
        peer.limits.per_endpoint = 8 << 30;
        let mut rig = Rig::new(peer, victim);
        for _ in 0..ATTACKERS {
            rig.dial();
            rig.run(Duration::from_millis(1), &mut |_, _, _, _| {});
        }
        rig.run(Duration::from_millis(200), &mut |_, _, _, _| {});
        assert_eq!(rig.sides[1].connected, ATTACKERS);
        // From now on the attackers hear, and say only what is made up.
        rig.reaches[1] = false;
        let handles = rig.sides[0].handles.clone();
        Self { rig, handles, limit }
    }

    /// Sends a packet with these frames on one of the connections, and says whether it was taken.
    fn send(&mut self, which: usize, frames: &[u8]) -> Disposition {
        let mut packet = Vec::with_capacity(frames.len() + 40);
        let sealed = self.rig.with(0, self.handles[which], |peer| fuzzing::seal(peer, frames, &mut packet));
        assert_eq!(sealed, Some(true), "the attacker has keys");
        self.rig.deliver(1, &mut packet)
    }

    /// Makes the victim write as much as it may on a new stream, with credit for all of it.
    fn let_write(&mut self, which: usize) {
        let handle = self.rig.sides[1].handles[which];
        let opened = self.rig.with(1, handle, |connection| {
            let id = connection.open_uni().ok()?;
            while connection.write(id, &[5; 30_000]).is_ok() {}
            Some(id)
        });
        if let Some(id) = opened.expect("it stands") {
            let credit = [frames::max_data(1 << 40), frames::max_stream_data(id.get(), 1 << 40)];
            self.send(which, &credit.concat());
        }
    }

    /// Time for the victim to answer, to probe, to time out.
    fn wait(&mut self, span: Duration) {
        self.rig.run(span, &mut |_, _, _, _| {});
        self.check();
    }

    /// What is held is accounted for.
    fn check(&self) {
        let (live, used) = (self.rig.sides[1].heap.live, self.rig.memory_used(1));
        assert!(live <= used + SLACK, "{live} bytes live, {used} charged");
        let most = self.limit + ATTACKERS as i64 * SLACK_PER_CONNECTION;
        assert!(used <= most, "{used} bytes charged, more than {most}");
    }

    /// Prints and checks what came of it.
    fn done(mut self, what: &str) {
        self.check();
        let limit = self.limit;
        let side = &self.rig.sides[1];
        println!(
            "{what}: {} bytes live, at most {}, {} charged of {limit}",
            side.heap.live,
            side.peak,
            self.rig.memory_used(1)
        );
        let most = limit + SLACK + ATTACKERS as i64 * SLACK_PER_CONNECTION;
        assert!(side.peak <= most, "{} bytes live at the peak, more than {most}", side.peak);
        self.rig.run(Duration::from_secs(400), &mut |_, _, _, _| {});
        assert_eq!((self.rig.memory_used(1), self.rig.sides[1].endpoint.stats().connections), (0, 0));
        let left = self.rig.sides[1].heap.live;
        assert!(left <= SLACK, "{left} bytes live after everything is over");
    }
}

fn victim(limit: u64) -> Config {
    let mut config = config();
    config.limits.per_endpoint = limit;
    config
}

const ROOMY: u64 = 512 << 20;
const TIGHT: u64 = 6 << 20;

fn stream(opener: u64, kind: u64, index: u64) -> u64 {
    index << 2 | kind << 1 | opener
}

/// As many separate ranges of received data as possible.
#[test]
fn gaps_in_streams_are_accounted_for() {
    for limit in [ROOMY, TIGHT] {
        let mut attack = Attack::new(victim(limit));
        for which in 0..ATTACKERS {
            for kind in 0..2 {
                for index in 0..6 {
                    for piece in 0..5 {
                        let id = stream(0, kind, index);
                        let offsets = (piece * 200..(piece + 1) * 200).map(|at| 1 + at * 2);
                        let frames: Vec<u8> =
                            offsets.flat_map(|at| frames::stream(id, at, b"x", false)).collect();
                        attack.send(which, &frames);
                    }
                }
            }
        }
        attack.done("gaps");
    }
}

/// As many streams as the limits allow, with a byte in each.
#[test]
fn streams_are_accounted_for() {
    for limit in [ROOMY, TIGHT] {
        let mut attack = Attack::new(victim(limit));
        for which in 0..ATTACKERS {
            for kind in 0..2 {
                for index in (0..100).rev() {
                    attack.send(which, &frames::stream(stream(0, kind, index), 300, b"x", false));
                }
            }
        }
        attack.wait(Duration::from_secs(1));
        attack.done("streams");
    }
}

/// Streams that are opened, reset and forgotten, over and over.
#[test]
fn streams_that_come_and_go_leave_nothing() {
    let mut attack = Attack::new(victim(ROOMY));
    for round in 0..100 {
        for which in 0..ATTACKERS {
            let ids = (round * 50..(round + 1) * 50).map(|index| stream(0, 1, index));
            let frames: Vec<u8> = ids.flat_map(|id| frames::reset_stream(id, 1, 0)).collect();
            assert_eq!(attack.send(which, &frames), Disposition::Accepted);
        }
        // The application reads the resets, so that there is room for more.
        attack.rig.run(Duration::from_millis(1), &mut |rig, side, handle, event| {
            if let Event::StreamOpened(direction) = event {
                rig.with(side, handle, |connection| {
                    while let Some(id) = connection.accept(*direction) {
                        let _ = connection.read(id, &mut [0; 10]);
                    }
                });
            }
        });
        attack.check();
    }
    attack.done("churn");
}

/// Packets that ask for acknowledgements, from a peer that never gives one.
#[test]
fn withheld_acknowledgements_are_accounted_for() {
    for limit in [ROOMY, TIGHT] {
        let mut attack = Attack::new(victim(limit));
        for round in 0..2500 {
            for which in 0..ATTACKERS {
                attack.send(which, &frames::ping());
            }
            if round % 10 == 0 {
                attack.wait(Duration::from_micros(500));
            }
            attack.rig.flush(1);
        }
        attack.wait(Duration::from_secs(60));
        attack.done("withheld acknowledgements");
    }
}

/// Unreliable datagrams that nobody reads.
#[test]
fn unread_datagrams_are_accounted_for() {
    for limit in [ROOMY, TIGHT] {
        let mut attack = Attack::new(victim(limit));
        for _ in 0..300 {
            for which in 0..ATTACKERS {
                attack.send(which, &frames::datagram(&[9; 1100]));
            }
        }
        attack.done("datagrams");
    }
}

/// The victim writes as much as it may, and the peer acknowledges nothing.
#[test]
fn unacknowledged_data_is_accounted_for() {
    for limit in [ROOMY, TIGHT] {
        let mut attack = Attack::new(victim(limit));
        for which in 0..ATTACKERS {
            (0..3).for_each(|_| attack.let_write(which));
        }
        attack.wait(Duration::from_secs(30));
        attack.done("unacknowledged data");
    }
}

/// Data up to the credit, on scattered offsets, that the application does not read.
#[test]
fn unread_data_is_accounted_for() {
    for limit in [ROOMY, TIGHT] {
        let mut attack = Attack::new(victim(limit));
        for which in 0..ATTACKERS {
            for index in 0..60 {
                attack.send(which, &frames::stream(stream(0, 1, index), 1000, &[3; 90], false));
            }
        }
        attack.wait(Duration::from_secs(1));
        attack.done("unread data");
    }
}

/// Acknowledgements of every second packet, so that what is acknowledged and what is lost falls into as many ranges as
/// there are packets.
#[test]
fn acknowledgements_with_holes_are_accounted_for() {
    for limit in [ROOMY, TIGHT] {
        let mut attack = Attack::new(victim(limit));
        let handles = attack.rig.sides[1].handles.clone();
        (0..ATTACKERS).for_each(|which| attack.let_write(which));
        // The engine behind the attacker would object to what comes beyond its own windows.
        attack.rig.reaches[0] = false;
        for _ in 0..40 {
            attack.rig.flush(1);
            for (which, handle) in handles.iter().enumerate() {
                // Of the numbers left out no word, or the connection would end. What the engine does is measured, so the
                // room for this comes from outside.
                let mut acked = Vec::with_capacity(5_000);
                attack.rig.with(1, *handle, |connection| {
                    let sent = (1..10_000).filter(|number| fuzzing::is_sent(connection, *number));
                    sent.step_by(2).for_each(|number| acked.push(number));
                });
                acked.reverse();
                acked.truncate(100);
                let holes: Vec<(u64, u64)> =
                    acked.windows(2).map(|pair| (pair[0] - pair[1] - 2, 0)).collect();
                attack.send(which, &frames::ack(0, acked[0], 0, &holes));
            }
            attack.wait(Duration::from_millis(30));
        }
        attack.done("acknowledgements with holes");
    }
}

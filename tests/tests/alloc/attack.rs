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
        Self::over(None, victim)
    }

    /// Over the native wire, or over QOTP with the key known or not.
    fn over(qotp: Option<bool>, victim: Config) -> Self {
        let limit = victim.limits.per_endpoint as i64;
        let mut peer = config();
        peer.limits.per_endpoint = 8 << 30;
        let mut rig = Rig::new(peer, victim);
        rig.qotp = qotp;
        for _ in 0..ATTACKERS {
            // One stands before the next one comes, so that both sides list them in the same order.
            rig.dial();
            rig.run(Duration::from_millis(50), &mut |_, _, _, _| {});
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

/// A part of a QOTP stream.
pub(crate) fn part(stream: u32, offset: u64, data: &[u8]) -> Vec<u8> {
    let mut payload = vec![0xa0];
    payload.extend_from_slice(&stream.to_le_bytes());
    payload.extend_from_slice(&offset.to_le_bytes()[..6]);
    payload.extend_from_slice(data);
    payload
}

/// An acknowledgement of a part of a QOTP stream, with a wide window.
fn qotp_ack(stream: u32, offset: u64, len: u16) -> Vec<u8> {
    let mut payload = vec![0x80];
    payload.extend_from_slice(&stream.to_le_bytes());
    payload.extend_from_slice(&offset.to_le_bytes()[..6]);
    payload.extend_from_slice(&len.to_le_bytes());
    payload.push(130);
    payload
}

/// The same attack on a victim with much memory and on one with little.
fn over_qotp(what: &str, act: impl Fn(&mut Attack)) {
    for limit in [ROOMY, TIGHT] {
        let mut attack = Attack::over(Some(limit == ROOMY), victim(limit).accept_qotp(true));
        act(&mut attack);
        attack.wait(Duration::from_secs(1));
        attack.done(what);
    }
}

#[test]
fn gaps_in_qotp_streams_are_accounted_for() {
    over_qotp("QOTP: gaps", |attack| {
        for which in 0..ATTACKERS {
            for stream in 0..10 {
                for at in 0..400 {
                    attack.send(which, &part(stream, 1 + at * 2, b"x"));
                }
            }
            attack.rig.flush(1);
        }
    });
}

#[test]
fn sparse_data_in_qotp_streams_is_accounted_for() {
    over_qotp("QOTP: a byte in each block", |attack| {
        for which in 0..ATTACKERS {
            for at in 0..600u64 {
                attack.send(which, &part(2, 1 + at * (16 << 10), b"x"));
                attack.send(which, &part(4, (1 << 47) + at * (1 << 30), b"x"));
            }
            attack.rig.flush(1);
        }
    });
}

#[test]
fn sparse_ids_of_qotp_streams_are_accounted_for() {
    over_qotp("QOTP: sparse ids", |attack| {
        for which in 0..ATTACKERS {
            for number in 0..100u32 {
                attack.send(which, &part(number.wrapping_mul(0x9e37_79b9), 300, b"x"));
            }
            attack.rig.flush(1);
        }
    });
}

#[test]
fn qotp_streams_that_come_and_go_with_sparse_ids_leave_a_bounded_memory() {
    over_qotp("QOTP: churn of ids", |attack| {
        for round in 0..40u32 {
            for which in 0..ATTACKERS {
                for number in round * 50..(round + 1) * 50 {
                    let mut empty = part(number.wrapping_mul(0x9e37_79b9), 0, b"");
                    empty[0] |= 0x40;
                    attack.send(which, &empty);
                }
            }
            // The application reads the ends and ends its own half, so that there is room for more.
            attack.rig.run(Duration::from_millis(1), &mut |rig, side, handle, event| {
                if let Event::StreamOpened(direction) = event {
                    rig.with(side, handle, |connection| {
                        while let Some(id) = connection.accept(*direction) {
                            let _ = (connection.read(id, &mut [0; 10]), connection.finish(id));
                        }
                    });
                }
            });
            for which in 0..ATTACKERS {
                for number in round * 50..(round + 1) * 50 {
                    attack.send(which, &qotp_ack(number.wrapping_mul(0x9e37_79b9), 0, 0));
                }
            }
            attack.rig.flush(1);
            attack.check();
        }
    });
}

#[test]
fn acknowledgements_owed_in_qotp_are_accounted_for() {
    over_qotp("QOTP: bursts of packets to acknowledge", |attack| {
        for which in 0..ATTACKERS {
            for at in 0..5000 {
                attack.send(which, &part(0, at, b"x"));
            }
        }
    });
}

#[test]
fn unread_data_of_qotp_is_accounted_for() {
    over_qotp("QOTP: unread data", |attack| {
        for at in 0..400 {
            for which in 0..ATTACKERS {
                attack.send(which, &part(0, at * 1300, &[7; 1300]));
            }
            attack.rig.flush(1);
        }
    });
}

#[test]
fn unacknowledged_data_of_qotp_is_accounted_for() {
    over_qotp("QOTP: unacknowledged data", |attack| {
        for which in 0..ATTACKERS {
            let handle = attack.rig.sides[1].handles[which];
            let wrote = attack.rig.with(1, handle, |connection| {
                for _ in 0..20 {
                    let Ok(id) = connection.open_bi() else { return };
                    while connection.write(id, &[5; 30_000]).is_ok() {}
                }
            });
            wrote.expect("it stands");
        }
        attack.wait(Duration::from_secs(1));
        // Each acknowledges every other packet of what it has: chunks of 1361 bytes, the second one of each pair.
        for round in 0..100u64 {
            for which in 0..ATTACKERS {
                for stream in 0..20u32 {
                    attack.send(which, &qotp_ack(stream * 2 + 1, (round * 2 + 1) * 1361, 1361));
                }
            }
            attack.wait(Duration::from_millis(20));
        }
    });
}

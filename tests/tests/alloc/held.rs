//! What endpoints hold: little when idle, and never more than they say.

use dunlin_core::{AeadPolicy, Config, Connection, ConnectionHandle, Direction, Duration, Event, Peer};
use dunlin_sim::config;

use crate::rig::Rig;

const CONNECTIONS: usize = 1000;

fn roomy(aead: AeadPolicy) -> Config {
    let mut config = config();
    config.aead = aead;
    config.limits.per_endpoint = 8 << 30;
    config
}

/// Every connection carries a question and an answer on a stream, then nothing.
fn small_talk(rig: &mut Rig) {
    for _ in 0..CONNECTIONS {
        rig.dial();
        rig.run(Duration::from_micros(300), &mut |_, _, _, _| {});
    }
    rig.run(Duration::from_secs(1), &mut |_, _, _, _| {});
    assert_eq!((rig.sides[0].connected, rig.sides[1].connected), (CONNECTIONS, CONNECTIONS));
    for handle in rig.sides[0].handles.clone() {
        let asked = rig.with(0, handle, |connection| {
            let id = connection.open_bi().expect("a stream");
            connection.write(id, &[1; 300]).expect("room");
            connection.finish(id).expect("open");
        });
        asked.expect("it stands");
        rig.run(Duration::from_micros(300), &mut answer);
    }
    rig.run(Duration::from_secs(3), &mut answer);
}

/// Reads everything, and answers each stream once it has ended.
fn answer(rig: &mut Rig, side: usize, handle: ConnectionHandle, event: &Event) {
    let id = match event {
        Event::StreamOpened(_) => {
            rig.with(side, handle, |connection| connection.accept(Direction::Bidirectional)).flatten()
        }
        Event::Readable(id) => Some(*id),
        _ => None,
    };
    let Some(id) = id else { return };
    let mut buffer = [0; 2000];
    rig.with(side, handle, |connection| {
        while let Ok(read) = connection.read(id, &mut buffer) {
            if read == 0 {
                // The answerer's own half is still open then.
                if connection.write(id, &[2; 1500]).is_ok() {
                    connection.finish(id).expect("open");
                }
                return;
            }
        }
    });
}

#[test]
fn an_idle_connection_is_small() {
    for aead in [AeadPolicy::ChaCha20, AeadPolicy::Aes] {
        let mut rig = Rig::new(roomy(aead), roomy(aead));
        let empty = [0, 1].map(|side| rig.sides[side].heap.live);
        small_talk(&mut rig);
        for (side, empty) in empty.into_iter().enumerate() {
            let live = (rig.sides[side].heap.live - empty) / CONNECTIONS as i64;
            let used = rig.memory_used(side) / CONNECTIONS as i64;
            println!(
                "idle, {aead:?}, side {side}: {live} bytes live, {used} bytes charged (64 KiB of it credit)"
            );
            assert!(live <= 8 << 10, "{live} bytes for an idle connection");
            assert!(live + (64 << 10) <= used, "an idle connection is accounted for");
        }
    }
}

#[test]
fn an_idle_qotp_connection_is_small() {
    for known in [false, true] {
        let settings = || roomy(AeadPolicy::Auto).accept_qotp(true);
        let mut rig = Rig::new(settings(), settings());
        rig.qotp = Some(known);
        let empty = [0, 1].map(|side| rig.sides[side].heap.live);
        small_talk(&mut rig);
        for (side, empty) in empty.into_iter().enumerate() {
            let live = (rig.sides[side].heap.live - empty) / CONNECTIONS as i64;
            let used = rig.memory_used(side) / CONNECTIONS as i64;
            println!("idle QOTP, key known: {known}, side {side}: {live} bytes live, {used} bytes charged");
            assert!(live <= 8 << 10, "{live} bytes for an idle connection");
            assert!(live <= used, "an idle connection is accounted for: {live} bytes, {used} charged");
        }
    }
}

/// QOTP attempts that nobody confirms, decided on and not, and dials that nobody answers.
#[test]
fn half_open_qotp_attempts_are_small_and_go_away() {
    for (accepts, known) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut answerer = roomy(AeadPolicy::Auto).accept_qotp(true);
        answerer.limits.half_open = 1_000;
        let mut rig = Rig::new(roomy(AeadPolicy::Auto), answerer);
        rig.qotp = Some(known);
        (rig.reaches[0], rig.accepts) = (false, accepts);
        let before = [0, 1].map(|side| rig.sides[side].heap.live);
        for _ in 0..500 {
            let handle = rig.dial();
            rig.with(0, handle, |connection| {
                let id = connection.open_bi().expect("there is room");
                let _ = connection.write(id, &[1; 2000]);
            });
            rig.run(Duration::from_micros(150), &mut |_, _, _, _| {});
        }
        rig.run(Duration::from_millis(100), &mut |_, _, _, _| {});
        assert_eq!(rig.sides[1].endpoint.stats().connections, 500);
        for (side, before) in before.into_iter().enumerate() {
            let (live, used) = (rig.sides[side].heap.live - before, rig.memory_used(side));
            println!(
                "QOTP, accepted: {accepts}, known: {known}, side {side}: {} bytes live, {} charged",
                live / 500,
                used / 500
            );
            assert!(live <= used, "{live} bytes live, {used} charged");
            assert!(live <= 500 * (12 << 10), "{live} bytes for 500 attempts");
        }
        // What is left in the end are the rooms of the tables and free blocks.
        rig.run(Duration::from_secs(11), &mut |_, _, _, _| {});
        for (side, before) in before.into_iter().enumerate() {
            let left = rig.sides[side].heap.live - before;
            assert_eq!((rig.memory_used(side), rig.sides[side].endpoint.stats().connections), (0, 0));
            assert!(left <= (5 << 19) + 500 * 256, "{left} bytes are left");
        }
    }
}

/// Attempts that nobody confirms: charged while they last, and gone after their lifetime.
#[test]
fn half_open_attempts_are_small_and_go_away() {
    for accepts in [false, true] {
        for peer in [Peer::Key(*Rig::new(config(), config()).sides[1].endpoint.public_key()), Peer::AnyKey] {
            let mut answerer = roomy(AeadPolicy::Aes);
            answerer.limits.half_open = 1_000;
            let mut rig = Rig::new(roomy(AeadPolicy::Aes), answerer);
            rig.reaches[0] = false;
            rig.accepts = accepts;
            let before = rig.sides[1].heap.live;
            for _ in 0..500 {
                let handle = rig.dial_as(peer);
                // Early data, as much as fits.
                rig.with(0, handle, |connection| {
                    let id = connection.open_uni().expect("early data has four");
                    let _ = connection.write(id, &[1; 2000]);
                });
                rig.run(Duration::from_micros(150), &mut |_, _, _, _| {});
            }
            rig.run(Duration::from_millis(100), &mut |_, _, _, _| {});
            assert_eq!(rig.sides[1].endpoint.stats().connections, 500);
            let (live, used) = (rig.sides[1].heap.live - before, rig.memory_used(1));
            let credit = if accepts { 500 * (64 << 10) } else { 0 };
            println!(
                "half-open, accepted: {accepts}, {peer:.5?}: {} bytes live, {} charged",
                live / 500,
                (used - credit) / 500
            );
            assert!(live <= used - credit, "{live} bytes live, {used} charged");
            assert!(live <= 500 * (8 << 10), "{live} bytes for 500 attempts");
            rig.run(Duration::from_secs(11), &mut |_, _, _, _| {});
            let left = rig.sides[1].heap.live - before;
            assert_eq!((rig.memory_used(1), rig.sides[1].endpoint.stats().connections), (0, 0));
            assert!(left <= 500 * 256, "{left} bytes are left, more than the room of the tables");
        }
    }
}

/// Dials that nobody answers.
#[test]
fn dials_are_accounted_for() {
    let mut rig = Rig::new(roomy(AeadPolicy::Aes), config());
    rig.reaches[1] = false;
    let before = rig.sides[0].heap.live;
    for _ in 0..500 {
        rig.dial();
    }
    rig.run(Duration::from_millis(100), &mut |_, _, _, _| {});
    let (live, used) = (rig.sides[0].heap.live - before, rig.memory_used(0) - 500 * (64 << 10));
    println!("dials: {} bytes live, {} charged", live / 500, used / 500);
    assert!(live <= used, "{live} bytes live, {used} charged");
}

/// A busy time leaves nothing behind once the connection rests.
#[test]
fn a_connection_at_rest_gives_back_what_it_needed() {
    // Credit is not given back: here it does not grow.
    let mut config = roomy(AeadPolicy::Auto);
    config.limits.max_window = config.limits.initial_window;
    let mut rig = Rig::new(config.clone(), config);
    let [dialled, accepted] = rig.connect();
    let before = [0, 1].map(|side| rig.sides[side].heap.live);
    for _ in 0..20 {
        for (side, handle) in [(0, dialled), (1, accepted)] {
            rig.with(side, handle, |connection| {
                for _ in 0..100 {
                    let Ok(id) = connection.open_uni() else { break };
                    let _ = connection.write(id, &[1; 10_000]);
                    let _ = connection.finish(id);
                    let _ = connection.send_datagram(&[2; 1000]);
                }
            });
        }
        rig.run(Duration::from_millis(200), &mut read_all);
    }
    let busy = [0, 1].map(|side| rig.sides[side].peak - before[side]);
    rig.run(Duration::from_secs(5), &mut read_all);
    for side in 0..2 {
        let pool = 5 << 19;
        let left = rig.sides[side].heap.live - before[side];
        println!("after {} bytes at the most, {left} are left, most of it free blocks", busy[side]);
        assert!(left <= pool, "{left} bytes are left");
        let used = rig.memory_used(side) - (64 << 10);
        assert!(used <= 8 << 10, "{used} bytes charged for an idle connection");
    }
}

/// Reads every stream to its end, and every datagram.
fn read_all(rig: &mut Rig, side: usize, handle: ConnectionHandle, event: &Event) {
    rig.with(side, handle, |connection| {
        let mut buffer = [0; 4000];
        while connection.read_datagram(&mut Vec::new()).is_some() {}
        let mut read = |connection: &mut Connection<'_>, id| {
            while connection.read(id, &mut buffer).is_ok_and(|read| read > 0) {}
        };
        match event {
            Event::StreamOpened(direction) => {
                while let Some(id) = connection.accept(*direction) {
                    read(connection, id);
                }
            }
            Event::Readable(id) => read(connection, *id),
            _ => {}
        }
    });
}

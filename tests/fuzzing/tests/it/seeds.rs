//! The corpus that a fuzzer starts from, made anew: `cargo test -p dunlin-fuzzing -- --ignored write_seeds`. To be run when
//! the wire has changed.

use std::fs;

use dunlin_core::{Duration, TrainLimit};
use dunlin_fuzzing::session::{Action, Dial, Duo, Verb, opening, roomy};
use dunlin_fuzzing::{TARGETS, frames};
use dunlin_sim::Rng;

/// Random inputs for the targets whose bytes describe operations.
const RANDOM: u64 = 40;

/// Every datagram of a short conversation.
fn conversation(dial: Dial) -> Vec<Vec<u8>> {
    let mut duo = Duo::new(roomy(), roomy());
    let mut seen = Vec::new();
    for action in opening(dial) {
        action.apply(&mut duo);
    }
    let acts = [Verb::Write(200, 3_000), Verb::SendDatagram(100), Verb::Finish(200), Verb::Close];
    for verb in acts {
        Action::On(0, 0, verb).apply(&mut duo);
        duo.drain(0, TrainLimit::SINGLE);
        seen.extend(duo.wire.iter().map(|flight| flight.bytes.clone()));
        duo.run(Duration::from_millis(30), Duration::from_millis(5), || false);
    }
    seen
}

/// The datagrams that open a conversation.
fn first_datagrams(dial: Dial) -> Vec<Vec<u8>> {
    let mut duo = Duo::new(roomy(), roomy());
    Action::Connect(0, dial).apply(&mut duo);
    let mut seen = Vec::new();
    for side in [0, 1, 0] {
        duo.drain(side, TrainLimit::SINGLE);
        seen.extend(duo.wire.iter().map(|flight| flight.bytes.clone()));
        for flight in core::mem::take(&mut duo.wire) {
            duo.deliver(flight);
        }
        duo.events(1 - side);
    }
    seen
}

fn datagrams() -> Vec<Vec<u8>> {
    let dials = [Dial::Known, Dial::Unknown, Dial::Qotp, Dial::QotpKey];
    let mut all: Vec<_> = dials.into_iter().flat_map(first_datagrams).collect();
    all.extend([Dial::Known, Dial::QotpKey].into_iter().flat_map(conversation));
    all.push(b"TRAFFIC 0 0 0".to_vec());
    all
}

/// One frame of each kind.
fn payloads() -> Vec<Vec<u8>> {
    let mut all = vec![
        frames::ping(),
        frames::ack(0, 9, 1, &[(0, 1), (1, 2)]),
        frames::ack_ecn(1, 9, 1, [3, 0, 1]),
        frames::stream(2, 5, b"hello", true),
        frames::reset_stream(2, 7, 10),
        frames::stop_sending(3, 7),
        frames::max_data(70_000),
        frames::max_stream_data(1, 70_000),
        frames::max_streams(true, 9),
        frames::path_challenge([7; 8]),
        frames::path_response([7; 8]),
        frames::datagram(b"unreliable"),
        frames::new_connection_id(1, [3; 8], [4; 16]),
        frames::retire_connection_id(1),
        frames::path_status(true, 1, 0, 2),
        frames::path_abandon(1, 0, 3),
        frames::close(true, 7, b"done"),
    ];
    all.push(all.concat());
    all
}

/// Values as a HELLO has them.
fn hellos() -> Vec<Vec<u8>> {
    let good: [(u64, &[u8]); 6] = [
        (0x30, &[16]),
        (0x31, &[2, 1]),
        (0x32, b"\x03sim"),
        (0x0f, b"12345678"),
        (0x04, &[0x80, 1, 0, 0]),
        (0x34, &[8]),
    ];
    let list = |values: &[(u64, &[u8])]| {
        let mut out = Vec::new();
        for (id, value) in values {
            frames::varint(&mut out, *id);
            frames::varint(&mut out, value.len() as u64);
            out.extend_from_slice(value);
        }
        out
    };
    (1..=good.len()).map(|count| list(&good[..count])).collect()
}

fn random(seed: u64) -> Vec<Vec<u8>> {
    (0..RANDOM)
        .map(|number| {
            let mut rng = Rng::new(seed.wrapping_mul(RANDOM).wrapping_add(number));
            (0..64 << (number % 6)).map(|_| rng.next_u64() as u8).collect()
        })
        .collect()
}

#[test]
#[ignore = "writes the corpus"]
fn write_seeds() {
    for (number, (target, body)) in (0..).zip(TARGETS) {
        let inputs = match target {
            "header" => datagrams(),
            "payload" => payloads(),
            "params" => hellos(),
            _ => random(number),
        };
        let folder = super::folder("corpus", target);
        fs::create_dir_all(&folder).expect("a folder can be made");
        for (number, input) in inputs.iter().enumerate() {
            body(input);
            fs::write(folder.join(format!("seed-{number:02}")), input).expect("a file can be written");
        }
    }
}

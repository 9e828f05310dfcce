//! The engine alone: two endpoints in memory, one stream of bulk data. Prints nanoseconds per data packet for each part
//! of the work, and what the AEAD has of it.
//!
//! `cargo run --release -p dunlin-benches [--features fast] --bin engine [packets]`

use core::hint::black_box;
use std::time::Instant as Clock;

use dunlin_benches::{InMemory, ONE_WAY, arrival};
use dunlin_core::internal::Protection;
use dunlin_core::{AeadPolicy, CRYPTO_BACKEND, Event, StreamId, Suite, TrainLimit};

const PACKET: u16 = 1400;

#[derive(Default)]
struct Times {
    write: u128,
    send: u128,
    receive: u128,
    read: u128,
    ack_out: u128,
    ack_in: u128,
    packets: u128,
    acks: u128,
}

fn main() {
    let packets = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(400_000);
    println!("backend: {CRYPTO_BACKEND}; {PACKET}-byte packets; ns per data packet");
    println!(
        "{:<18} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} | {:>8} {:>8} | {:>11} {:>11}",
        "AEAD",
        "write",
        "send",
        "ack in",
        "receive",
        "read",
        "ack out",
        "seal",
        "open",
        "send - AEAD",
        "recv - AEAD"
    );
    for (policy, suite, name) in [
        (AeadPolicy::Aes, Suite::Aes256Gcm, "AES-256-GCM"),
        (AeadPolicy::ChaCha20, Suite::ChaCha20Poly1305, "ChaCha20-Poly1305"),
    ] {
        let times = bulk(policy, packets);
        let (seal, open) = protection(suite);
        let per = |total: u128| total as f64 / times.packets as f64;
        let sender = per(times.write + times.send + times.ack_in);
        let receiver = per(times.receive + times.read + times.ack_out);
        println!(
            "{name:<18} {:>7.0} {:>7.0} {:>7.0} {:>7.0} {:>7.0} {:>7.0} | {seal:>8.0} {open:>8.0} | {:>11.0} {:>11.0}   ({} packets, {} acks)",
            per(times.write),
            per(times.send),
            per(times.ack_in),
            per(times.receive),
            per(times.read),
            per(times.ack_out),
            sender - seal,
            receiver - open,
            times.packets,
            times.acks,
        );
    }
}

/// Sends until `packets` data packets have crossed.
fn bulk(policy: AeadPolicy, packets: u128) -> Times {
    let mut pair = InMemory::connect(policy, PACKET);
    let handle = pair.client_handle;
    let id = pair.client.connection(handle).expect("connected").open_uni().expect("a stream");
    let piece = vec![0x5a; 1 << 20];
    let mut out = Vec::new();
    let mut sink = vec![0; 1 << 20];
    let mut times = Times::default();
    let warm_up = packets / 10;
    let mut warm = false;
    while times.packets < packets {
        if !warm && times.packets > warm_up {
            warm = true;
            times = Times::default();
        }
        let clock = Clock::now();
        while pair.client.connection(handle).expect("connected").write(id, &piece).is_ok() {}
        times.write += clock.elapsed().as_nanos();
        pair.now += ONE_WAY;
        loop {
            out.clear();
            let clock = Clock::now();
            let train = pair.client.poll_transmit(pair.now, TrainLimit::OFFLOAD, &mut out);
            times.send += clock.elapsed().as_nanos();
            let Some(train) = train else { break };
            let clock = Clock::now();
            for datagram in out.chunks_mut(train.segment_size) {
                black_box(pair.server.handle_datagram(pair.now, arrival(1), datagram));
                times.packets += 1;
            }
            times.receive += clock.elapsed().as_nanos();
        }
        let clock = Clock::now();
        read(&mut pair, id, &mut sink);
        times.read += clock.elapsed().as_nanos();
        pair.now += ONE_WAY;
        loop {
            out.clear();
            let clock = Clock::now();
            let train = pair.server.poll_transmit(pair.now, TrainLimit::OFFLOAD, &mut out);
            times.ack_out += clock.elapsed().as_nanos();
            let Some(train) = train else { break };
            let clock = Clock::now();
            for datagram in out.chunks_mut(train.segment_size) {
                black_box(pair.client.handle_datagram(pair.now, arrival(2), datagram));
                times.acks += 1;
            }
            while pair.client.poll_event().is_some() {}
            times.ack_in += clock.elapsed().as_nanos();
        }
        // When nothing moved, time must: the next deadline of either side is due.
        let next = [pair.client.poll_timeout(), pair.server.poll_timeout()].into_iter().flatten().min();
        if let Some(next) = next {
            pair.now = pair.now.max(next.min(pair.now + ONE_WAY));
        }
        pair.client.handle_timeout(pair.now);
        pair.server.handle_timeout(pair.now);
    }
    times
}

fn read(pair: &mut InMemory, id: StreamId, sink: &mut [u8]) {
    while let Some((_, event)) = pair.server.poll_event() {
        if matches!(event, Event::Closed(_)) {
            panic!("{event:?}");
        }
    }
    let mut connection = pair.server.connection(pair.server_handle).expect("connected");
    while connection.read(id, sink).is_ok() {}
}

/// Nanoseconds to seal and to open one packet.
fn protection(suite: Suite) -> (f64, f64) {
    let mut protection = Protection::new(suite);
    let rounds = 100_000;
    let mut packets = vec![[0u8; PACKET as usize]; 64];
    let (mut seal, mut open) = (0, 0);
    for _ in 0..rounds / packets.len() {
        let clock = Clock::now();
        for packet in &mut packets {
            black_box(protection.seal(packet));
        }
        seal += clock.elapsed().as_nanos();
        let clock = Clock::now();
        for packet in &mut packets {
            assert!(protection.open(packet));
        }
        open += clock.elapsed().as_nanos();
    }
    (seal as f64 / rounds as f64, open as f64 / rounds as f64)
}

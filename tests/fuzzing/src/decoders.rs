//! Bytes of strangers: through the decoders and back, and into an endpoint that knows nobody.

use core::net::SocketAddr;
use core::num::NonZeroU8;

use arbitrary::Unstructured;
use dunlin_core::{
    Arrival, Config, Disposition, Endpoint, Identity, Inspector, Instant, KeyLogEntry, Shard, TrainLimit,
    fuzzing, peek_connection_id,
};
use dunlin_sim::config;

use crate::input;

/// The secret key and the seed of the endpoint that the target `header` attacks.
const SECRET: [u8; 32] = [2; 32];

/// A datagram through everything that reads one without a connection: headers, routing, the inspector, an endpoint.
///
/// # Panics
/// Something does not hold.
pub fn header(data: &[u8]) {
    fuzzing::decode_native(data);
    fuzzing::decode_qotp(data);
    let routed = peek_connection_id(data);
    for count in [1, 3, 255] {
        let count = NonZeroU8::new(count).expect("not zero");
        assert!(Shard::of(data, count) < count.get());
    }
    let mut inspector = Inspector::default();
    let seen = inspector.read(data);
    assert!(seen.id.is_none() || seen.id == routed, "{seen}");
    assert!(!seen.to_string().contains(|c: char| c.is_control()), "{seen:?}");
    if let Ok(line) = core::str::from_utf8(data)
        && let Ok(entry) = line.parse::<KeyLogEntry>()
    {
        assert_eq!(entry.to_string().parse::<KeyLogEntry>().ok(), Some(entry));
    }
    strangers(data);
}

/// The datagram arrives at an endpoint that knows nobody, twice. Nothing of it is left when nobody answers.
fn strangers(data: &[u8]) {
    let mut settings = config().accept_qotp(true);
    settings.key_log = true;
    let mut endpoint = Endpoint::new(settings, Identity::from_secret(SECRET), SECRET);
    let arrival = Arrival::from_remote(SocketAddr::from(([10, 0, 0, 1], 1000)));
    let now = Instant::from_nanos(1_000_000_000);
    let first = endpoint.handle_datagram(now, arrival, &mut data.to_vec());
    let second = endpoint.handle_datagram(now, arrival, &mut data.to_vec());
    assert!(first == Disposition::Accepted || first == second, "{first:?}, then {second:?}");
    let stats = endpoint.stats();
    assert!(stats.x25519_operations <= 4 && stats.aead_operations <= 6, "{stats:?}");
    let mut out = Vec::new();
    while endpoint.poll_transmit(now, TrainLimit::SINGLE, &mut out).is_some() {}
    assert!(out.len() <= 2 * 3 * data.len(), "{} bytes for twice {}", out.len(), data.len());
    while endpoint.poll_event().is_some() {}
    for _ in 0..100 {
        let Some(due) = endpoint.poll_timeout() else { break };
        endpoint.handle_timeout(due);
        while endpoint.poll_transmit(due, TrainLimit::SINGLE, &mut out).is_some() {}
    }
    assert_eq!(endpoint.poll_timeout(), None);
    let stats = endpoint.stats();
    assert_eq!((stats.connections, stats.memory_used), (0, 0));
}

/// The bytes as a payload of either wire, then frames that they describe.
///
/// # Panics
/// Something does not hold.
pub fn payload(data: &[u8]) {
    fuzzing::decode_native(data);
    fuzzing::decode_qotp(data);
    let mut described = Unstructured::new(data);
    if let Ok(payload) = input::qotp_payload(&mut described) {
        fuzzing::decode_qotp(&payload);
    }
    let mut described = Unstructured::new(data);
    let frames: Vec<_> = core::iter::from_fn(|| input::frame(&mut described).ok()).collect();
    fuzzing::decode_native(&frames.concat());
}

/// The bytes as a HELLO, then as a description of one whose values are likely to be good.
///
/// # Panics
/// Something does not hold.
pub fn params(data: &[u8]) {
    let settings: Config = config();
    fuzzing::decode_hello(&settings, data);
    fuzzing::decode_hello(&settings, &hello(data));
}

/// Ids of values and what they hold.
pub(crate) fn hello(data: &[u8]) -> Vec<u8> {
    const NUMBERS: [u64; 12] = [1, 3, 4, 5, 6, 7, 8, 9, 0x0b, 0x20, 0x33, 0x34];
    const LISTS: [(u64, &[u8]); 4] = [(0x30, &[16]), (0x31, &[1]), (0x32, b"\x03sim"), (0x0f, b"12345678")];
    let mut described = Unstructured::new(data);
    let mut out = Vec::new();
    let mut put = |id: u64, value: &[u8]| {
        crate::frames::varint(&mut out, id);
        crate::frames::varint(&mut out, value.len() as u64);
        out.extend_from_slice(value);
    };
    // What is good is there unless a bit says that it is not.
    let left_out = described.arbitrary::<u8>().unwrap_or(0);
    for (bit, (id, value)) in LISTS.into_iter().enumerate() {
        if left_out & 1 << bit == 0 {
            put(id, value);
        }
    }
    while let Ok(which) = input::choice(&mut described) {
        let value = match which {
            0..=191 => {
                let mut value = Vec::new();
                crate::frames::varint(&mut value, input::number(&mut described).unwrap_or(0));
                value
            }
            192..=255 => input::bytes(&mut described, 40).unwrap_or(&[]).to_vec(),
        };
        put(NUMBERS[usize::from(which) % NUMBERS.len()], &value);
    }
    out
}

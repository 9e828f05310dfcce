//! The reference's data, round trips and refusals.

use alloc::format;
use alloc::vec::Vec;

use proptest::prelude::*;
use serde_json::Value;

use super::header::{Header, MIN_PACKET, PacketType};
use super::payload::*;
use super::window;
use crate::crypto::qotp::vectors::{bytes, number, section, text};
use crate::id::ConnectionId;
use crate::wire::header::HeaderError;

fn u32_of(value: &Value) -> u32 {
    u32::try_from(number(value)).unwrap()
}

fn ack_of(value: &Value) -> Option<Ack> {
    (!value.is_null()).then(|| Ack {
        stream: u32_of(&value["stream_id"]),
        offset: number(&value["offset"]),
        len: u16::try_from(number(&value["len"])).unwrap(),
        window: number(&value["rcv_wnd"]),
    })
}

/// Checks that `payload` decodes to what the vectors say about it.
fn check_decode(payload: &[u8], expected: &Value, what: &str) {
    let data = expected["data"].as_str().map(|_| bytes(&expected["data"]));
    let stream = data.as_ref().map(|data| StreamPart {
        stream: u32_of(&expected["stream_id"]),
        offset: number(&expected["stream_offset"]),
        data,
    });
    let close = expected["is_close"] == true;
    let expected = Payload { ack: ack_of(&expected["ack"]), stream, close };
    assert_eq!(Payload::decode(payload), Ok(expected), "{what}");
}

fn encode(ack: Option<&Ack>, stream: Option<(u32, u64)>, close: bool, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_header(&mut out, ack, stream, close);
    assert_eq!(out.len(), header_len(ack, stream.map(|(_, offset)| offset)));
    out.extend_from_slice(data);
    out
}

fn encode_payload(payload: &Payload<'_>) -> Vec<u8> {
    let stream = payload.stream.map(|part| (part.stream, part.offset));
    encode(payload.ack.as_ref(), stream, payload.close, payload.stream.map_or(&[], |part| part.data))
}

#[test]
fn qotp_vectors_of_encoded_payloads() {
    for case in section("payload_encode") {
        let (what, input, encoded) = (text(&case["id"]), &case["input"], bytes(&case["encoded"]));
        let (ack, close) = (ack_of(&input["ack"]), input["is_close"] == true);
        // The reference takes a stream part without data for none only where that can be told on the wire.
        let part = !input["data"].is_null() || ack.is_none() || close;
        let stream = part.then(|| (u32_of(&input["stream_id"]), number(&input["stream_offset"])));
        let data = if input["data"].is_null() { Vec::new() } else { bytes(&input["data"]) };
        assert_eq!(encode(ack.as_ref(), stream, close, &data), encoded, "{what}");
        check_decode(&encoded, &case["decoded"], what);
    }
}

#[test]
fn qotp_vectors_of_unusual_payloads() {
    for case in section("payload_decode_only") {
        check_decode(&bytes(&case["encoded"]), &case["decoded"], text(&case["note"]));
    }
}

#[test]
fn qotp_vectors_of_refused_payloads() {
    for case in section("negative").iter().filter(|case| case["layer"] == "payload") {
        assert_eq!(case["expect"], "reject");
        let what = text(&case["why"]);
        let error = if what == "version bits not 0" { PayloadError::Version } else { PayloadError::TooShort };
        assert_eq!(Payload::decode(&bytes(&case["input"])), Err(error), "{what}");
    }
}

/// Every payload of the packets and the conversations decodes and encodes again.
#[test]
fn qotp_vectors_of_payloads_in_packets() {
    let packets = section("packets").iter().map(|packet| (packet, "payload_decoded"));
    let datagrams = section("conversations").iter().flat_map(|conversation| {
        conversation["datagrams"].as_array().unwrap().iter().map(|datagram| (datagram, "decoded"))
    });
    let mut seen = 0;
    for (packet, decoded) in packets.chain(datagrams) {
        if packet.get("payload").is_none() {
            assert_eq!(packet["type_name"], "InitSnd");
            continue;
        }
        let payload = bytes(&packet["payload"]);
        check_decode(&payload, &packet[decoded], &format!("{packet}"));
        assert_eq!(encode_payload(&Payload::decode(&payload).unwrap()), payload, "{packet}");
        seen += 1;
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn qotp_vectors_of_window_codes() {
    let decoded = section("rcv_window_decode");
    assert_eq!(decoded.len(), 256);
    for (code, expected) in (0..=u8::MAX).zip(decoded) {
        assert_eq!(window::decode(code), number(expected), "{code}");
        assert_eq!(window::encode(window::decode(code)), code);
    }
    for case in section("rcv_window_encode") {
        let code = window::encode(number(&case["bytes"]));
        assert_eq!(u64::from(code), number(&case["code"]), "{case}");
        assert_eq!(window::decode(code), number(&case["decoded"]), "{case}");
    }
}

const TYPES: [PacketType; 5] = [
    PacketType::InitSnd,
    PacketType::InitRcv,
    PacketType::InitCryptoSnd,
    PacketType::InitCryptoRcv,
    PacketType::Data,
];

fn header(ty: PacketType, id: [u8; 8], ephemeral: [u8; 32], identity: [u8; 32]) -> Header {
    let id = ConnectionId::from_bytes(id);
    match ty {
        PacketType::InitSnd => Header::InitSnd { ephemeral, identity },
        PacketType::InitRcv => Header::InitRcv { id, ephemeral, identity },
        PacketType::InitCryptoSnd => Header::InitCryptoSnd { ephemeral, identity },
        PacketType::InitCryptoRcv => Header::InitCryptoRcv { id, ephemeral },
        PacketType::Data => Header::Data { id },
    }
}

/// The sizes of the vectors' packets (QOTP v0.2.19, datagrams of 1400 bytes).
#[test]
fn qotp_sizes_are_the_references() {
    assert_eq!(TYPES.map(PacketType::clear_len), [65, 73, 65, 41, 9]);
    assert_eq!(TYPES.map(PacketType::first_byte), [0, 0x20, 0x40, 0x60, 0x80]);
    assert_eq!(TYPES.map(|ty| ty.max_payload(1400)), [0, 1305, 1311, 1337, 1369]);
    assert_eq!(TYPES.map(|ty| ty.max_payload(20)), [0; 5]);
    assert_eq!(MIN_PACKET, 39);
    let ack = Ack { stream: 1, offset: 0, len: 0, window: 0 };
    let far = Ack { offset: 1 << 24, ..ack };
    let near = Some(0xff_ffff);
    assert_eq!([header_len(None, None), header_len(None, near), header_len(None, Some(1 << 24))], [8, 8, 11]);
    assert_eq!([header_len(Some(&ack), None), header_len(Some(&far), None)], [11, 14]);
    assert_eq!([header_len(Some(&ack), near), header_len(Some(&far), near)], [18, 24]);
}

#[test]
fn qotp_datagrams_have_a_shortest_length_for_each_type() {
    for (ty, shortest) in TYPES.into_iter().zip([65, 103, 97, 71, 39]) {
        let header = header(ty, [1; 8], [2; 32], [3; 32]);
        let mut datagram = Vec::new();
        header.put(&mut datagram);
        datagram.resize(shortest, 0);
        assert_eq!(Header::parse(&datagram), Ok(header));
        for len in 0..shortest {
            assert_eq!(Header::parse(&datagram[..len]), Err(HeaderError::TooShort), "{ty:?} of {len} bytes");
        }
    }
}

#[test]
fn qotp_versions_and_types_of_others_are_refused() {
    for first in 0..=u8::MAX {
        let mut datagram = [0; 200];
        datagram[0] = first;
        let expected = match (first & 0x1f, first >> 5) {
            (0, 0..=4) => None,
            (0, _) => Some(HeaderError::Type),
            _ => Some(HeaderError::Version),
        };
        assert_eq!(Header::parse(&datagram).err(), expected, "{first:#04x}");
    }
}

#[test]
fn qotp_packets_that_open_a_connection_fill_their_datagram() {
    for ty in TYPES {
        let opens = matches!(ty, PacketType::InitSnd | PacketType::InitCryptoSnd);
        assert_eq!([1399, 1400, 1401].map(|len| ty.allows(len, 1400)), [!opens, true, false], "{ty:?}");
    }
}

#[test]
fn a_qotp_filler_leaves_a_payload_or_is_refused() {
    assert_eq!(filler_len(1400, 1311), Some(0));
    assert_eq!(filler_len(1400, 8), Some(1303));
    assert_eq!(filler_len(1400, 1312), None);
    assert_eq!(filler_len(65_535 + 97, 8), Some(u16::MAX));
    assert_eq!(filler_len(65_535 + 98, 8), None);
    assert_eq!(filler_len(usize::MAX, 8), None);

    let mut sealed = Vec::new();
    put_filler(&mut sealed, 5);
    sealed.extend_from_slice(b"12345678");
    assert_eq!(strip_filler(&sealed), Ok(&b"12345678"[..]));
    for len in 0..sealed.len() {
        assert_eq!(strip_filler(&sealed[..len]), Err(PayloadError::TooShort));
    }
    for len in [6, 14, 1400, u16::MAX] {
        sealed[..2].copy_from_slice(&len.to_le_bytes());
        assert_eq!(strip_filler(&sealed), Err(PayloadError::TooShort), "{len}");
    }
}

#[test]
fn a_qotp_close_needs_a_stream_part() {
    assert_eq!(encode(None, None, true, &[]), encode(None, Some((0, 0)), false, &[]), "a PING");
    let ack = Ack { stream: 2, offset: 3, len: 4, window: 128 };
    assert_eq!(encode(Some(&ack), None, true, &[]), encode(Some(&ack), None, false, &[]));
}

/// An offset as senders have them, near the borders too.
fn offset() -> impl Strategy<Value = u64> {
    (0..=MAX_OFFSET, 0..48_u32, any::<bool>())
        .prop_map(|(value, shift, near)| if near { (1 << shift) - 1 + value % 2 } else { value >> shift })
}

prop_compose! {
    fn any_ack()(stream: u32, offset in offset(), len: u16, window: u64) -> Ack {
        Ack { stream, offset, len, window }
    }
}

proptest! {
    #[test]
    fn qotp_payloads_round_trip(
        ack in prop::option::of(any_ack()), part in prop::option::of((any::<u32>(), offset())), close: bool,
        data in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let data = if part.is_some() { &data[..] } else { &[] };
        let encoded = encode(ack.as_ref(), part, close, data);
        let payload = Payload::decode(&encoded).unwrap();
        let rounded = ack.map(|ack| Ack { window: window::decode(window::encode(ack.window)), ..ack });
        prop_assert_eq!(payload.ack, rounded);
        let ping = if ack.is_none() { Some((0, 0)) } else { None };
        let expected = part.or(ping).map(|(stream, offset)| StreamPart { stream, offset, data });
        prop_assert_eq!(payload.stream, expected);
        prop_assert_eq!(payload.close, close && part.is_some());
        prop_assert_eq!(encode_payload(&payload), encoded);
    }

    #[test]
    fn qotp_offsets_beyond_the_wire_are_written_as_its_last(stream: u32, beyond in MAX_OFFSET..=u64::MAX) {
        let encoded = encode(None, Some((stream, beyond)), false, b"x");
        let payload = Payload::decode(&encoded).unwrap();
        prop_assert_eq!(payload.stream.map(|part| part.offset), Some(MAX_OFFSET));
    }

    #[test]
    fn qotp_headers_round_trip(
        ty in prop::sample::select(&TYPES[..]), id: [u8; 8], ephemeral: [u8; 32], identity: [u8; 32],
        rest in prop::collection::vec(any::<u8>(), 32..100),
    ) {
        let header = header(ty, id, ephemeral, identity);
        let mut datagram = Vec::new();
        header.put(&mut datagram);
        prop_assert_eq!(datagram.len(), ty.clear_len());
        datagram.extend(rest);
        prop_assert_eq!(Header::parse(&datagram), Ok(header));
        prop_assert_eq!(header.connection_id(), crate::peek_connection_id(&datagram).unwrap());
    }

    #[test]
    fn qotp_windows_are_rounded_down_by_less_than_an_eighth(bytes: u64, shift in 0..64_u32) {
        let bytes = bytes >> shift;
        let rounded = window::decode(window::encode(bytes));
        if (256..=window::decode(u8::MAX)).contains(&bytes) {
            prop_assert!(rounded <= bytes && bytes - rounded < rounded.div_ceil(8));
        } else {
            prop_assert!(rounded <= bytes.max(128));
        }
    }
}

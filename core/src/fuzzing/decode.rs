//! Bytes of strangers through every decoder, and back.

use alloc::vec::Vec;

use crate::config::Config;
use crate::handshake::negotiate;
use crate::wire::frame::{
    Close, Control, Frame, Frames, Length, MAX_REASON, put_ack, put_close, put_control, put_datagram_header,
    put_hello, put_new_token, put_reserved, put_stream_header,
};
use crate::wire::header::{Header, InitHeader};
use crate::wire::params::{Hello, MAX_HELLO};
use crate::wire::qotp::header::Header as QotpHeader;
use crate::wire::qotp::payload::{Payload, header_len, put_header, strip_filler};

/// Reads `bytes` as a datagram, as a payload and as a HELLO of the native wire, and writes again what it found.
///
/// # Panics
/// What was written does not mean what was read.
pub fn decode_native(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        assert_eq!(crate::peek_connection_id(bytes), Some(header.routing));
    }
    if let Ok(init) = InitHeader::parse(bytes) {
        assert!(init.message_at <= bytes.len());
    }
    check_hello(bytes);
    for frame in Frames::new(bytes).flatten() {
        let mut out = Vec::new();
        encode(&frame, &mut out);
        let mut again = Frames::new(&out);
        let read = again.next();
        assert!(matches!(&read, Some(Ok(read)) if same(&frame, read)), "{frame:?} became {read:?}");
        assert!(again.next().is_none(), "{frame:?} became more than one frame");
        if let Frame::Hello(values) = frame {
            check_hello(values);
        }
    }
}

/// A HELLO that can be read can be written, unless the values that it leaves out make it too long.
fn check_hello(values: &[u8]) -> Option<Hello> {
    let hello = Hello::decode(values).ok()?;
    let mut out = Vec::new();
    hello.encode(&mut out, 0);
    if out.len() <= MAX_HELLO {
        assert_eq!(Hello::decode(&out).as_ref(), Ok(&hello));
    }
    Some(hello)
}

/// Reads `values` as the HELLO of either side and agrees with it, as far as an endpoint with this configuration would. Says
/// whether it would as the one that answers, and as the one that dialled.
///
/// # Panics
/// What was agreed on is not what both have, or what was written does not mean what was read.
pub fn decode_hello(config: &Config, values: &[u8]) -> [bool; 2] {
    let Some(hello) = check_hello(values) else { return [false; 2] };
    let params = &hello.params;
    assert!(params.max_udp_payload >= 1200 && params.max_paths <= 64);
    assert!(params.max_streams_bidi <= 1 << 60 && params.max_streams_uni <= 1 << 60);
    let offered = negotiate::offer(config, &config.alpns);
    let chosen = negotiate::choose(config, &hello);
    if let Ok(agreed) = &chosen {
        assert!(hello.suites.contains(&agreed.suite.id()) && offered.suites.contains(&agreed.suite.id()));
        assert!(hello.alpns.contains(&agreed.alpn) && config.alpns.contains(&agreed.alpn));
    }
    let checked = negotiate::check(config, &config.alpns, &hello);
    if let Ok((agreed, id)) = &checked {
        assert!(offered.suites.contains(&agreed.suite.id()) && config.alpns.contains(&agreed.alpn));
        assert_eq!((&hello.suites[..], hello.connection_id), (&[agreed.suite.id()][..], Some(*id)));
    }
    [chosen.is_ok(), checked.is_ok()]
}

/// Appends a frame that means the same.
fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) {
    let control = match *frame {
        Frame::Ping => Control::Ping,
        Frame::ResetStream { id, code, final_size } => Control::ResetStream { id, code, final_size },
        Frame::StopSending { id, code } => Control::StopSending { id, code },
        Frame::MaxData(max) => Control::MaxData(max),
        Frame::MaxStreamData { id, max } => Control::MaxStreamData { id, max },
        Frame::MaxStreams { direction, max } => Control::MaxStreams { direction, max },
        Frame::NewConnectionId(new) => Control::NewConnectionId(new),
        Frame::RetireConnectionId(sequence) => Control::RetireConnectionId(sequence),
        Frame::PathChallenge(data) => Control::PathChallenge(data),
        Frame::PathResponse(data) => Control::PathResponse(data),
        Frame::PathStatus(change) => Control::PathStatus(change),
        Frame::PathAbandon(abandon) => Control::PathAbandon(abandon),
        Frame::Padding => return out.push(0),
        Frame::Reserved => return put_reserved(out, 7),
        Frame::Ack(ack) => {
            let ranges: Vec<_> = ack.ranges().collect();
            put_ack(out, ack.path, ack.delay, ranges.iter().cloned(), ack.ecn, usize::MAX);
            return;
        }
        Frame::Close(ref close) => return put_close(out, close, usize::MAX),
        Frame::Hello(values) => return put_hello(out, values),
        Frame::NewToken(token) => return put_new_token(out, token),
        Frame::Stream { id, offset, data, fin } => {
            put_stream_header(out, id, offset, Length::ToTheEnd, fin);
            return out.extend_from_slice(data);
        }
        Frame::Datagram(data) => {
            put_datagram_header(out, data.len());
            return out.extend_from_slice(data);
        }
    };
    put_control(out, &control);
}

/// Whether `written` is what a sender makes of `read`: numbers in their shortest form, reasons cut.
fn same(read: &Frame<'_>, written: &Frame<'_>) -> bool {
    match (read, written) {
        (Frame::Ack(a), Frame::Ack(b)) => {
            (a.path, a.largest, a.delay, a.ecn) == (b.path, b.largest, b.delay, b.ecn)
                && a.ranges().eq(b.ranges())
        }
        (Frame::Close(a), Frame::Close(b)) => {
            *b == Close { reason: a.reason.get(..MAX_REASON).unwrap_or(a.reason), ..*a }
        }
        (read, written) => read == written,
    }
}

/// Reads `bytes` as a datagram, as a sealed part with filler and as a payload of QOTP's wire, and writes again what it
/// found.
///
/// # Panics
/// What was written does not mean what was read.
pub fn decode_qotp(bytes: &[u8]) {
    if let Ok(header) = QotpHeader::parse(bytes) {
        let mut out = Vec::new();
        header.put(&mut out);
        assert_eq!(bytes.get(..header.ty().clear_len()), Some(&out[..]));
        assert_eq!(crate::peek_connection_id(bytes), Some(header.connection_id()));
    }
    if let Ok(payload) = strip_filler(bytes) {
        assert!(bytes.ends_with(payload));
        check_payload(payload);
    }
    check_payload(bytes);
}

/// A payload that can be read can be written, and is no longer then. Only a CLOSE of no stream is not written.
fn check_payload(bytes: &[u8]) {
    let Ok(payload) = Payload::decode(bytes) else { return };
    let Payload { ack, stream, close } = payload;
    let mut out = Vec::new();
    put_header(&mut out, ack.as_ref(), stream.map(|part| (part.stream, part.offset)), close);
    assert_eq!(out.len(), header_len(ack.as_ref(), stream.map(|part| part.offset)));
    out.extend_from_slice(stream.map_or(&[], |part| part.data));
    assert!(out.len() <= bytes.len());
    assert_eq!(Payload::decode(&out), Ok(Payload { close: close && stream.is_some(), ..payload }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::qotp::vectors;

    /// Random bytes behind a first byte that decoders know, and small ones among them, so that they get further.
    fn input() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![any::<u8>(), 0..0x40_u8, Just(0)];
        let first = prop_oneof![
            any::<u8>(),
            0..0x40_u8,
            (0..8_u8, any::<bool>()).prop_map(|(ty, native)| { ty << 5 | if native { 16 } else { 0 } })
        ];
        (first, prop::collection::vec(byte, 0..1_500)).prop_map(|(first, mut bytes)| {
            bytes.insert(0, first);
            bytes
        })
    }

    proptest! {
        #[test]
        fn native_bytes_are_decoded_or_refused(bytes in input(), len in 0..60_usize) {
            decode_native(&bytes);
            decode_native(bytes.get(..len).unwrap_or(&bytes));
        }

        #[test]
        fn qotp_bytes_are_decoded_or_refused(bytes in input(), len in 0..60_usize) {
            decode_qotp(&bytes);
            decode_qotp(bytes.get(..len).unwrap_or(&bytes));
        }
    }

    #[test]
    fn qotp_vectors_are_decoded_or_refused() {
        for case in vectors::section("negative") {
            decode_qotp(&vectors::bytes(&case["input"]));
        }
        for case in vectors::section("payload_decode_only") {
            decode_qotp(&vectors::bytes(&case["encoded"]));
        }
        for conversation in vectors::conversations() {
            for datagram in conversation.datagrams {
                decode_qotp(&datagram.packet);
                decode_qotp(&datagram.sealed.map(|sealed| sealed.payload).unwrap_or_default());
            }
        }
    }
}

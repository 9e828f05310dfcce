//! The other end of a handshake, made with another Noise implementation (the crate `snow`) and by the letter of
//! docs/PROTOCOL.md, so that its messages can say anything.

use dunlin_core::{Identity, PublicKey};
use snow::{Builder, HandshakeState};

use crate::common::{INIT, INIT_KNOWN, INIT_KNOWN_REPLY, INIT_REPLY, kind};
use crate::frames::varint;

/// The puppet's secret key.
const SECRET: [u8; 32] = [9; 32];
/// The puppet's connection id, as an initiator and as a responder.
pub(crate) const ID: [u8; 8] = *b"pinocchi";
/// Ids of values in HELLO.
pub(crate) const MAX_UDP_PAYLOAD: u64 = 0x03;
pub(crate) const MAX_STREAMS_BIDI: u64 = 0x08;
pub(crate) const MAX_ACK_DELAY: u64 = 0x0b;
pub(crate) const CONNECTION_ID: u64 = 0x0f;
pub(crate) const VERSIONS: u64 = 0x30;
pub(crate) const SUITES: u64 = 0x31;
pub(crate) const ALPN: u64 = 0x32;
pub(crate) const EARLY_DATA: u64 = 0x33;

pub(crate) fn public() -> PublicKey {
    *Identity::from_secret(SECRET).public()
}

/// A list of (id, value) that stands for HELLO.
pub(crate) type Values = Vec<(u64, Vec<u8>)>;

/// What an initiator has to say: the version, ChaCha20-Poly1305, and the simulator's protocol.
pub(crate) fn offer() -> Values {
    vec![(VERSIONS, vec![16]), (SUITES, vec![1]), (ALPN, b"\x03sim".to_vec())]
}

/// What a responder has to say, without early data.
pub(crate) fn answer() -> Values {
    let mut values = offer();
    values.push((CONNECTION_ID, ID.to_vec()));
    values
}

/// `values` with one replaced or added.
pub(crate) fn with(mut values: Values, id: u64, value: &[u8]) -> Values {
    values.retain(|(other, _)| *other != id);
    values.push((id, value.to_vec()));
    values
}

/// `values` without one.
pub(crate) fn without(mut values: Values, id: u64) -> Values {
    values.retain(|(other, _)| *other != id);
    values
}

/// The HELLO frame.
pub(crate) fn hello(values: &Values) -> Vec<u8> {
    let mut list = Vec::new();
    for (id, value) in values {
        varint(&mut list, *id);
        varint(&mut list, value.len() as u64);
        list.extend_from_slice(value);
    }
    let mut frame = vec![0x20];
    varint(&mut frame, list.len() as u64);
    frame.extend_from_slice(&list);
    frame
}

/// A varint as the bytes of a value.
pub(crate) fn number(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, n);
    out
}

fn noise(pattern: &str, header: &[u8], token: &[u8]) -> (Vec<u8>, String) {
    let mut prologue = b"dunlin/1".to_vec();
    prologue.extend_from_slice(header);
    prologue.push(token.len() as u8);
    prologue.extend_from_slice(token);
    (prologue, format!("Noise_{pattern}_25519_ChaChaPoly_BLAKE2s"))
}

/// An Init that is under way.
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) datagram: Vec<u8>,
    state: HandshakeState,
}

impl Init {
    /// To `peer` whose key is known (IK), or to whoever it is (IX); `payload` is padded to `len` bytes of datagram.
    pub(crate) fn new(peer: Option<&PublicKey>, payload: &[u8], token: &[u8], len: usize) -> Self {
        let (ty, pattern) = if peer.is_some() { (INIT_KNOWN, "IK") } else { (INIT, "IX") };
        let mut datagram = vec![ty << 5 | 16];
        datagram.extend_from_slice(&ID);
        let (prologue, name) = noise(pattern, &datagram, token);
        let mut builder = Builder::new(name.parse().unwrap());
        builder = builder.prologue(&prologue).unwrap().local_private_key(&SECRET).unwrap();
        if let Some(peer) = peer {
            builder = builder.remote_public_key(peer.as_bytes()).unwrap();
        }
        let mut state = builder.build_initiator().unwrap();
        // The key and two tags, or the key alone.
        let overhead = 9 + 1 + token.len() + 32 + if peer.is_some() { 32 + 16 + 16 } else { 32 };
        let mut payload = payload.to_vec();
        payload.resize(payload.len().max(len.saturating_sub(overhead)), 0);
        let mut message = vec![0; 4096];
        let written = state.write_message(&payload, &mut message).unwrap();
        datagram.extend_from_slice(&message[..32]);
        datagram.push(token.len() as u8);
        datagram.extend_from_slice(token);
        datagram.extend_from_slice(&message[32..written]);
        Self { datagram, state }
    }

    /// The payload of a reply to this Init, if it opens.
    pub(crate) fn open(&mut self, reply: &[u8]) -> Option<Vec<u8>> {
        let wanted = if kind(&self.datagram) == INIT { INIT_REPLY } else { INIT_KNOWN_REPLY };
        assert_eq!((kind(reply), &reply[1..9]), (wanted, &ID[..]));
        let mut payload = vec![0; 4096];
        let len = self.state.read_message(&reply[9..], &mut payload).ok()?;
        payload.truncate(len);
        Some(payload)
    }
}

/// The payload of an Init for the puppet, and a reply with any payload.
pub(crate) fn reply(init: &[u8], payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (pattern, ty) = if kind(init) == INIT { ("IX", INIT_REPLY) } else { ("IK", INIT_KNOWN_REPLY) };
    assert_eq!(init[41], 0, "the engine has no token to show");
    let (prologue, name) = noise(pattern, &init[..9], b"");
    let builder = Builder::new(name.parse().unwrap());
    let builder = builder.prologue(&prologue).unwrap().local_private_key(&SECRET).unwrap();
    let mut state = builder.build_responder().unwrap();
    let message = [&init[9..41], &init[42..]].concat();
    let mut read = vec![0; 4096];
    let len = state.read_message(&message, &mut read).expect("the engine's Init opens");
    read.truncate(len);
    let mut reply = vec![ty << 5 | 16];
    reply.extend_from_slice(&init[1..9]);
    let mut written = vec![0; 65_000];
    let len = state.write_message(payload, &mut written).unwrap();
    reply.extend_from_slice(&written[..len]);
    (read, reply)
}

/// Takes a varint off the front.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> u64 {
    let len = 1 << (bytes[0] >> 6);
    let (head, rest) = bytes.split_at(len);
    *bytes = rest;
    head.iter()
        .enumerate()
        .fold(0, |n, (at, byte)| n << 8 | u64::from(if at == 0 { byte & 0x3f } else { *byte }))
}

/// Splits a payload into the values of its HELLO, which must come first, and the frames behind it.
pub(crate) fn split(payload: &[u8]) -> (Values, Vec<u8>) {
    let mut rest = payload;
    assert_eq!(take_varint(&mut rest), 0x20, "HELLO comes first");
    let len = take_varint(&mut rest) as usize;
    let (mut list, frames) = rest.split_at(len);
    let mut values = Vec::new();
    while !list.is_empty() {
        let (id, len) = (take_varint(&mut list), take_varint(&mut list) as usize);
        values.push((id, list[..len].to_vec()));
        list = &list[len..];
    }
    (values, frames.to_vec())
}

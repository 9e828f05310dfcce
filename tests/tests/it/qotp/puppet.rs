//! The other end of a QOTP connection, made by the letter of docs/PROTOCOL.md with its own use of the primitives, so
//! that its packets can say anything.

use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use x25519_dalek::{PublicKey, StaticSecret};

use super::kit::{DATA, INIT_CRYPTO_RCV, INIT_CRYPTO_SND, INIT_RCV, INIT_SND, MTU};

/// Who sealed a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum From {
    Initiator,
    Responder,
}

/// A pair of X25519 keys.
#[derive(Clone, Copy)]
pub(super) struct Key {
    secret: [u8; 32],
    pub(super) public: [u8; 32],
}

impl Key {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret, public: *PublicKey::from(&StaticSecret::from(secret)).as_bytes() }
    }

    pub(super) fn agree(&self, public: &[u8; 32]) -> [u8; 32] {
        *StaticSecret::from(self.secret).diffie_hellman(&PublicKey::from(*public)).as_bytes()
    }
}

fn nonce(number: u64, from: From) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[6..].copy_from_slice(&number.to_le_bytes()[..6]);
    nonce[0] = if from == From::Initiator { 0x80 } else { 0 };
    nonce
}

fn crypt_number(key: &[u8; 32], number: &mut [u8], body: &[u8]) {
    let nonce: [u8; 24] = body[..24].try_into().unwrap();
    let mut cipher = XChaCha20::new(key.into(), &nonce.into());
    cipher.seek(64);
    cipher.apply_keystream(number);
}

/// A packet: clear header, encrypted number, payload, tag.
pub(super) fn seal(key: &[u8; 32], from: From, number: u64, header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = payload.to_vec();
    let cipher = ChaCha20Poly1305::new(key.into());
    let tag = cipher
        .encrypt_inout_detached(&nonce(number, from).into(), header, body.as_mut_slice().into())
        .unwrap();
    body.extend_from_slice(&tag);
    let mut field = number.to_le_bytes()[..6].to_vec();
    crypt_number(key, &mut field, &body);
    [header, &field, &body].concat()
}

/// Number and payload of a packet of epoch 0, if it opens.
pub(super) fn open(key: &[u8; 32], from: From, clear: usize, packet: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (header, rest) = packet.split_at(clear);
    let (field, body) = rest.split_at(6);
    let mut number = [0; 8];
    number[..6].copy_from_slice(field);
    crypt_number(key, &mut number[..6], body);
    let number = u64::from_le_bytes(number);
    let (text, tag) = body.split_at(body.len() - 16);
    let mut text = text.to_vec();
    let tag: Tag = tag.try_into().unwrap();
    let cipher = ChaCha20Poly1305::new(key.into());
    let opened =
        cipher.decrypt_inout_detached(&nonce(number, from).into(), header, text.as_mut_slice().into(), &tag);
    opened.ok().map(|()| (number, text))
}

/// An initiator.
#[derive(Clone, Copy)]
pub(super) struct Initiator {
    pub(super) ephemeral: Key,
    identity: Key,
}

impl Initiator {
    pub(super) fn new(secret: u8) -> Self {
        Self { ephemeral: Key::new([secret; 32]), identity: Key::new([secret ^ 0xff; 32]) }
    }

    pub(super) fn id(&self) -> [u8; 8] {
        self.ephemeral.public[..8].try_into().unwrap()
    }

    fn header(&self, ty: u8) -> Vec<u8> {
        [&[ty << 5][..], &self.ephemeral.public, &self.identity.public].concat()
    }

    /// The first packet to an unknown key.
    pub(super) fn init(&self) -> Vec<u8> {
        let mut datagram = self.header(INIT_SND);
        datagram.resize(MTU, 0);
        datagram
    }

    /// The first packet to a known key.
    pub(super) fn init_crypto(&self, peer: &[u8; 32], number: u64, payload: &[u8]) -> Vec<u8> {
        let filler = MTU - 65 - 6 - 2 - payload.len() - 16;
        let mut text = (filler as u16).to_le_bytes().to_vec();
        text.resize(2 + filler, 0);
        text.extend_from_slice(payload);
        let header = self.header(INIT_CRYPTO_SND);
        seal(&self.ephemeral.agree(peer), From::Initiator, number, &header, &text)
    }

    /// The key of the connection and the payload of a reply, if it opens.
    pub(super) fn read_reply(&self, reply: &[u8]) -> Option<([u8; 32], Vec<u8>)> {
        assert_eq!(reply[1..9], self.id());
        let clear = if reply[0] >> 5 == INIT_RCV { 73 } else { 41 };
        let key = self.ephemeral.agree(reply[9..41].try_into().unwrap());
        open(&key, From::Responder, clear, reply).map(|(_, payload)| (key, payload))
    }

    /// A Data packet.
    pub(super) fn data(&self, key: &[u8; 32], number: u64, payload: &[u8]) -> Vec<u8> {
        seal(key, From::Initiator, number, &data_header(&self.id()), payload)
    }
}

/// The clear header of a Data packet.
pub(super) fn data_header(id: &[u8]) -> Vec<u8> {
    [&[DATA << 5][..], id].concat()
}

/// The reply to an Init of our engine by a responder with these keys, and the key of the connection.
pub(super) fn reply(
    init: &[u8],
    ephemeral: &Key,
    identity: &Key,
    number: u64,
    payload: &[u8],
) -> ([u8; 32], Vec<u8>) {
    let key = ephemeral.agree(init[1..33].try_into().unwrap());
    let mut header = init[..9].to_vec();
    header.extend_from_slice(&ephemeral.public);
    if init[0] >> 5 == INIT_SND {
        header[0] = INIT_RCV << 5;
        header.extend_from_slice(&identity.public);
    } else {
        header[0] = INIT_CRYPTO_RCV << 5;
    }
    (key, seal(&key, From::Responder, number, &header, payload))
}

/// A payload: an acknowledgement of (stream, offset, length) with a code for the window, and a part of a stream.
pub(super) fn payload(
    ack: Option<(u32, u64, u16, u8)>,
    part: Option<(u32, u64, &[u8])>,
    close: bool,
) -> Vec<u8> {
    let furthest = ack.map(|ack| ack.1).into_iter().chain(part.map(|part| part.1)).max();
    let width = if furthest.unwrap_or(0) > 0xff_ffff { 6 } else { 3 };
    let kind = match (ack.is_some(), close) {
        (true, false) => 0,
        (false, false) => 1,
        (true, true) => 2,
        (false, true) => 3,
    };
    let mut out = vec![kind << 5 | if width == 6 { 0x80 } else { 0 }];
    if let Some((stream, offset, len, window)) = ack {
        out.extend_from_slice(&stream.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes()[..width]);
        out.extend_from_slice(&len.to_le_bytes());
        out.push(window);
    }
    if let Some((stream, offset, data)) = part {
        out.extend_from_slice(&stream.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes()[..width]);
        out.extend_from_slice(data);
    }
    out
}

/// A part of a stream.
pub(super) fn part(stream: u32, offset: u64, data: &[u8]) -> Vec<u8> {
    payload(None, Some((stream, offset, data)), false)
}

/// The last part of a stream.
pub(super) fn last(stream: u32, offset: u64, data: &[u8]) -> Vec<u8> {
    payload(None, Some((stream, offset, data)), true)
}

/// An acknowledgement, with a window of 16 MiB.
pub(super) fn ack(stream: u32, offset: u64, len: u16) -> Vec<u8> {
    payload(Some((stream, offset, len, WIDE)), None, false)
}

/// The code for a window of 16 MiB: 2 + 8 (24 - 8).
pub(super) const WIDE: u8 = 130;

//! The packets of a train.

use ring::aead::quic::{self, HeaderProtectionKey};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{check, data};
use crate::grid::Aead;

/// How packets are written and read.
pub(super) trait Packets {
    /// Writes what is the same in every packet.
    fn prepare(&mut self, packet: &mut [u8]);
    /// Fills a packet.
    fn write(&mut self, number: u32, packet: &mut [u8]);
    /// Checks a packet; returns how many bytes of data it carries.
    fn read(&mut self, packet: &mut [u8]) -> usize;
}

/// The number of a packet before its data, which is the same in all of them: the kernel alone copies.
pub(super) struct Plain;

/// Bytes of the number.
const NUMBER: usize = size_of::<u32>();

impl Packets for Plain {
    fn prepare(&mut self, packet: &mut [u8]) {
        let data = data(0, packet.len() - NUMBER);
        packet[NUMBER..].copy_from_slice(data);
    }

    fn write(&mut self, number: u32, packet: &mut [u8]) {
        packet[..NUMBER].copy_from_slice(&number.to_be_bytes());
    }

    fn read(&mut self, packet: &mut [u8]) -> usize {
        check(0, &packet[NUMBER..])
    }
}

/// Data is copied in, sealed and its header masked; unmasked, opened and copied out.
pub(super) struct Sealed {
    key: LessSafeKey,
    mask: HeaderProtectionKey,
    /// The application's.
    out: Vec<u8>,
}

/// A byte of flags, three of an address, four of a number: about what the header of a real packet has.
const HEADER: usize = 8;
const TAG: usize = 16;
/// The mask's sample of the sealed data, in bytes (RFC 9001 section 5.4.2).
const SAMPLE: usize = 16;
/// Both ends have it; nobody is to be kept from anything.
const KEY: [u8; 32] = [7; 32];

impl Sealed {
    pub(super) fn new(aead: Aead) -> Self {
        let (aead, mask) = match aead {
            Aead::ChaCha => (&aead::CHACHA20_POLY1305, &quic::CHACHA20),
            Aead::Aes | Aead::None => (&aead::AES_256_GCM, &quic::AES_256),
        };
        let key = LessSafeKey::new(UnboundKey::new(aead, &KEY).expect("a key of its length"));
        let mask = HeaderProtectionKey::new(mask, &KEY).expect("a key of its length");
        Self { key, mask, out: Vec::new() }
    }

    /// Masks flags and number, or unmasks them.
    fn mask(&self, header: &mut [u8], sealed: &[u8]) {
        let mask = self.mask.new_mask(&sealed[..SAMPLE]).expect("a sample of its length");
        header[0] ^= mask[0] & 0x1f;
        header[4..].iter_mut().zip(&mask[1..]).for_each(|(byte, mask)| *byte ^= mask);
    }
}

fn nonce(number: u32) -> Nonce {
    let mut nonce = [0; aead::NONCE_LEN];
    nonce[8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

impl Packets for Sealed {
    fn prepare(&mut self, _: &mut [u8]) {}

    fn write(&mut self, number: u32, packet: &mut [u8]) {
        let (header, body) = packet.split_at_mut(HEADER);
        let (text, tag) = body.split_at_mut(body.len() - TAG);
        header[..4].copy_from_slice(&[0x41, 1, 2, 3]);
        header[4..].copy_from_slice(&number.to_be_bytes());
        text.copy_from_slice(data(number, text.len()));
        let sealed = self.key.seal_in_place_separate_tag(nonce(number), Aad::from(&*header), text);
        tag.copy_from_slice(sealed.expect("a text that is short enough").as_ref());
        self.mask(header, body);
    }

    fn read(&mut self, packet: &mut [u8]) -> usize {
        let (header, body) = packet.split_at_mut(HEADER);
        self.mask(header, body);
        let number = header.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let opened = self.key.open_in_place(nonce(number), Aad::from(&*header), body);
        let text = opened.expect("a packet that was sealed so");
        self.out.clear();
        self.out.extend_from_slice(text);
        check(number, &self.out)
    }
}

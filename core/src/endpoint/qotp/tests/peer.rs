//! A peer made by hand: it says what a test wants, under the right keys.

use serde_json::Value;

use super::*;
use crate::crypto::qotp::packet::{Epochs, NUMBER_LEN, Sequence, open, seal};
use crate::crypto::qotp::vectors::private_key;
use crate::wire::header::TAG;
use crate::wire::qotp::payload::{Ack, Payload, put_header};
use crate::{ConnectionId, Role};

/// Both sides' ephemeral keys.
pub(super) struct Wire {
    pub(super) initiator: [u8; 32],
    pub(super) responder: [u8; 32],
}

/// What a packet says. By default nothing, which is a PING on stream 0.
#[derive(Default)]
pub(super) struct Says<'a> {
    pub(super) ack: Option<Ack>,
    /// Stream, offset, data.
    pub(super) part: Option<(u32, u64, &'a [u8])>,
    pub(super) close: bool,
}

impl Says<'_> {
    /// An acknowledgement alone.
    pub(super) fn acked(stream: u32, offset: u64, len: u16) -> Self {
        Self { ack: Some(Ack { stream, offset, len, window: 1 << 24 }), ..Self::default() }
    }
}

impl Wire {
    /// With the keys of the vectors' packets.
    pub(super) fn of_vectors() -> Self {
        Self { initiator: named("initiator_ep"), responder: named("responder_ep") }
    }

    fn id(&self) -> ConnectionId {
        ConnectionId::from_bytes(*public(&self.initiator).first_chunk().unwrap())
    }

    pub(super) fn data(&self) -> Header {
        Header::Data { id: self.id() }
    }

    /// The header of replies in the flow in which the responder's key is known, or in the other one.
    pub(super) fn reply(&self, known: bool) -> Header {
        let (id, ephemeral, identity) = (self.id(), public(&self.responder), public(&named("responder_id")));
        if known {
            Header::InitCryptoRcv { id, ephemeral }
        } else {
            Header::InitRcv { id, ephemeral, identity }
        }
    }

    /// An InitSnd.
    pub(super) fn init(&self, mtu: usize) -> Vec<u8> {
        let mut packet = Vec::new();
        let identity = public(&named("initiator_id"));
        Header::InitSnd { ephemeral: public(&self.initiator), identity }.put(&mut packet);
        packet.resize(mtu, 0);
        packet
    }

    pub(super) fn packet(&self, from: Role, header: &Header, number: u64, says: &Says<'_>) -> Vec<u8> {
        let mut packet = Vec::new();
        header.put(&mut packet);
        let clear = packet.len();
        packet.resize(clear + NUMBER_LEN, 0);
        let part = says.part.map(|(stream, offset, _)| (stream, offset));
        put_header(&mut packet, says.ack.as_ref(), part, says.close);
        packet.extend_from_slice(says.part.map_or(&[], |(_, _, data)| data));
        packet.resize(packet.len() + TAG, 0);
        let key = shared(&self.initiator, &self.responder);
        seal(&key, from, Sequence { epoch: 0, number }, clear, &mut packet).unwrap();
        packet
    }

    /// The header of a packet of ours, and what it says.
    pub(super) fn read<'a>(&self, from: Role, packet: &'a mut [u8]) -> (Header, Payload<'a>) {
        let header = Header::parse(packet).unwrap();
        let key = shared(&self.initiator, &self.responder);
        let (_, range) = open(&key, from, Epochs::HANDSHAKE, header.ty().clear_len(), packet).unwrap();
        (header, Payload::decode(&packet[range]).unwrap())
    }
}

/// The private key with this name in the vectors.
pub(super) fn named(name: &str) -> [u8; 32] {
    private_key(&Value::from(name))
}

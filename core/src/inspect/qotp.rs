//! Packets of QOTP's wire (docs/PROTOCOL.md, "QOTP").

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::crypto::Secret;
use crate::crypto::qotp::packet::{self, Epochs, PacketKey};
use crate::hex::Hex;
use crate::id::{ConnectionId, Role, WireVersion};
use crate::key_log::QotpPackets;
use crate::wire::header::HeaderError;
use crate::wire::qotp::header::{Header, PacketType};
use crate::wire::qotp::payload::{Payload as Sealed, PayloadError, strip_filler};

use super::{Inspected, Payload, Sequence, TOO_SHORT};

/// What is known of the QOTP connections.
#[derive(Default)]
pub(super) struct Qotp {
    /// What opens InitCryptoSnd.
    inits: BTreeMap<ConnectionId, PacketKey>,
    /// What opens everything else.
    connections: BTreeMap<ConnectionId, Connection>,
}

struct Connection {
    key: PacketKey,
    initiator: Epochs,
    responder: Epochs,
}

/// A packet that opened.
struct Opened {
    from: Role,
    sequence: packet::Sequence,
    /// Still with its filler, if it has one.
    sealed: Vec<u8>,
}

impl Qotp {
    pub(super) fn add(&mut self, id: ConnectionId, opens: QotpPackets, secret: Secret) {
        let key = PacketKey::new(secret);
        match opens {
            QotpPackets::Init => {
                self.inits.insert(id, key);
            }
            QotpPackets::Rest => {
                let (initiator, responder) = (Epochs::default(), Epochs::default());
                self.connections.insert(id, Connection { key, initiator, responder });
            }
        }
    }

    pub(super) fn read(&mut self, datagram: &[u8]) -> Inspected {
        let mut inspected =
            Inspected { version: Some(WireVersion::Qotp), ..Inspected::unreadable(datagram, TOO_SHORT) };
        match Header::parse(datagram) {
            Ok(header) => self.read_packet(&header, datagram, &mut inspected),
            Err(HeaderError::Type) => {
                inspected.payload = Payload::Unreadable("a packet type that is not used");
            }
            Err(HeaderError::TooShort | HeaderError::TooLong | HeaderError::Version) => {}
        }
        inspected
    }

    fn read_packet(&mut self, header: &Header, datagram: &[u8], inspected: &mut Inspected) {
        let (name, sender, claimed) = match header {
            Header::InitSnd { identity, .. } => ("InitSnd", Some(Role::Initiator), Some(identity)),
            Header::InitRcv { identity, .. } => ("InitRcv", Some(Role::Responder), Some(identity)),
            Header::InitCryptoSnd { identity, .. } => {
                ("InitCryptoSnd", Some(Role::Initiator), Some(identity))
            }
            Header::InitCryptoRcv { .. } => ("InitCryptoRcv", Some(Role::Responder), None),
            Header::Data { .. } => ("Data", None, None),
        };
        (inspected.packet, inspected.sender) = (Some(name), sender);
        let mut text = String::new();
        if let Some(claimed) = claimed {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "claims key {}", Hex(claimed));
        }
        inspected.payload = match self.open(header, datagram) {
            // It has nothing sealed.
            None if header.ty() == PacketType::InitSnd => Payload::Frames(text),
            None => Payload::NoKey,
            Some(None) => Payload::Unopened("the packet does not open".into()),
            Some(Some(opened)) => {
                let packet::Sequence { epoch, number } = opened.sequence;
                inspected.sender = Some(opened.from);
                inspected.sequence = Some(Sequence::Qotp { epoch, number });
                if !text.is_empty() {
                    text.push_str(", ");
                }
                let _ = describe(header.ty(), &opened.sealed, &mut text);
                Payload::Frames(text)
            }
        };
    }

    /// Opens a packet: `None` if there is no key for it, `Some(None)` if the key is not its.
    fn open(&mut self, header: &Header, datagram: &[u8]) -> Option<Option<Opened>> {
        let (ty, id) = (header.ty(), header.connection_id());
        let from_responder = |key| open(key, Role::Responder, Epochs::HANDSHAKE, ty, datagram);
        match ty {
            PacketType::InitSnd => None,
            PacketType::InitCryptoSnd => {
                let key = self.inits.get(&id)?;
                Some(open(key, Role::Initiator, Epochs::HANDSHAKE, ty, datagram))
            }
            PacketType::InitRcv | PacketType::InitCryptoRcv => {
                Some(from_responder(&self.connections.get(&id)?.key))
            }
            PacketType::Data => {
                let Connection { key, initiator, responder } = self.connections.get_mut(&id)?;
                // Both ends write the same id: only the key tells who it was.
                let opened = open(key, Role::Initiator, initiator.candidates(), ty, datagram)
                    .or_else(|| open(key, Role::Responder, responder.candidates(), ty, datagram));
                if let Some(Opened { from, sequence, .. }) = &opened {
                    let epochs = if *from == Role::Initiator { initiator } else { responder };
                    epochs.on_opened(sequence.epoch);
                }
                Some(opened)
            }
        }
    }
}

fn open(
    key: &PacketKey,
    from: Role,
    epochs: impl IntoIterator<Item = u64>,
    ty: PacketType,
    datagram: &[u8],
) -> Option<Opened> {
    let mut copy = datagram.to_vec();
    let (sequence, range) = packet::open(key, from, epochs, ty.clear_len(), &mut copy).ok()?;
    Some(Opened { from, sequence, sealed: copy.get(range).unwrap_or_default().to_vec() })
}

/// Appends what stands in the sealed part of a packet of this type.
fn describe(ty: PacketType, sealed: &[u8], out: &mut String) -> fmt::Result {
    let payload = if ty == PacketType::InitCryptoSnd { strip_filler(sealed) } else { Ok(sealed) };
    let payload = match payload.and_then(Sealed::decode) {
        Ok(payload) => payload,
        Err(PayloadError::TooShort) => return out.write_str("a payload that is too short"),
        Err(PayloadError::Version) => return out.write_str("a payload of another version"),
    };
    if let Some(ack) = &payload.ack {
        write!(
            out,
            "ACK stream {} offset {} length {} window {}",
            ack.stream, ack.offset, ack.len, ack.window
        )?;
        if payload.stream.is_some() || payload.close {
            out.write_str(", ")?;
        }
    }
    match (&payload.stream, payload.close) {
        (Some(part), close) => {
            let name = if part.data.is_empty() && !close { "PING" } else { "STREAM" };
            let end = if close { " CLOSE" } else { "" };
            let len = part.data.len();
            write!(out, "{name} {} offset {} length {len}{end}", part.stream, part.offset)
        }
        (None, true) => out.write_str("CLOSE of no stream"),
        (None, false) => Ok(()),
    }
}

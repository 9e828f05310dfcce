//! The key log: what somebody needs who is to read captured packets later (docs/PROTOCOL.md, "Key log").

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use core::fmt;
use core::str::FromStr;

use zeroize::Zeroizing;

use crate::crypto::noise::Finished;
use crate::crypto::qotp::packet::PacketKey;
use crate::crypto::{Secret, Suite};
use crate::hex::{self, Hex};
use crate::id::ConnectionId;

/// Entries that wait to be fetched, at most: some 80 connections begin before the application has to look.
const MAX_WAITING: usize = 256;

/// One line of the key log: secrets, and which packets they open. Its text form, by `Display` and `FromStr`, shows the
/// secrets; its `Debug` form does not. Wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyLogEntry(pub(crate) Entry);

/// What an entry opens.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The payload of one handshake message of the native wire.
    Message {
        /// Noise's `e` in the message, by which it is known.
        e: [u8; 32],
        /// The ChaCha20-Poly1305 key of the payload; its nonce is 0.
        key: Secret,
        /// Noise's `h` before the payload: the AAD.
        hash: [u8; 32],
    },
    /// All Data packets of a connection of the native wire, in every key phase.
    Traffic {
        /// The id in packets to the initiator.
        initiator: ConnectionId,
        /// The id in packets to the responder.
        responder: ConnectionId,
        suite: Suite,
        /// `c_i`, of what the initiator sends.
        initiator_secret: Secret,
        /// `c_r`, of what the responder sends.
        responder_secret: Secret,
    },
    /// Packets of a QOTP connection.
    Qotp { id: ConnectionId, opens: QotpPackets, secret: Secret },
}

/// Which packets of a QOTP connection a shared secret opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum QotpPackets {
    /// InitCryptoSnd alone: ephemeral key of the initiator, identity key of the responder.
    Init,
    /// Every other one that is encrypted: both ephemeral keys.
    Rest,
}

/// Why a line is no entry of a key log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyLogError {
    /// It begins with another word: a line of another program, or of a later version.
    #[error("the label is not one that this version knows")]
    Label,
    /// It has too few or too many fields, as a line that was cut off has.
    #[error("the line does not have the fields of its label")]
    Fields,
    /// A field is not what stands there in hexadecimal.
    #[error("a field is not in lower-case hexadecimal digits, or not of its length")]
    Hex,
    /// The suite has no number that there is.
    #[error("the number of the suite is neither 1 nor 2")]
    Suite,
}

const MESSAGE: &str = "NATIVE_MESSAGE";
const TRAFFIC: &str = "NATIVE_TRAFFIC";
const QOTP_INIT: &str = "QOTP_INIT";
const QOTP_REST: &str = "QOTP_SHARED";

impl KeyLogEntry {
    const fn label(&self) -> &'static str {
        match &self.0 {
            Entry::Message { .. } => MESSAGE,
            Entry::Traffic { .. } => TRAFFIC,
            Entry::Qotp { opens: QotpPackets::Init, .. } => QOTP_INIT,
            Entry::Qotp { opens: QotpPackets::Rest, .. } => QOTP_REST,
        }
    }
}

/// The line of the entry, with its secrets, without an end of line.
impl fmt::Display for KeyLogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())?;
        match &self.0 {
            Entry::Message { e, key, hash } => write!(f, " {} {} {}", Hex(e), Hex(&**key), Hex(hash)),
            Entry::Traffic { initiator, responder, suite, initiator_secret, responder_secret } => write!(
                f,
                " {initiator:?} {responder:?} {} {} {}",
                suite.id(),
                Hex(&**initiator_secret),
                Hex(&**responder_secret)
            ),
            Entry::Qotp { id, secret, .. } => write!(f, " {id:?} {}", Hex(&**secret)),
        }
    }
}

impl fmt::Debug for KeyLogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())?;
        match &self.0 {
            Entry::Message { e, .. } => write!(f, "({})", Hex(e)),
            Entry::Traffic { initiator, responder, .. } => write!(f, "({initiator:?}, {responder:?})"),
            Entry::Qotp { id, .. } => write!(f, "({id:?})"),
        }
    }
}

/// Reads a line as `Display` writes it; white space around and between the fields does not matter.
impl FromStr for KeyLogEntry {
    type Err = KeyLogError;

    fn from_str(line: &str) -> Result<Self, KeyLogError> {
        let mut fields = Fields(line.split_ascii_whitespace());
        let entry = match fields.word()? {
            MESSAGE => Entry::Message { e: fields.bytes()?, key: fields.secret()?, hash: fields.bytes()? },
            TRAFFIC => Entry::Traffic {
                initiator: ConnectionId(fields.bytes()?),
                responder: ConnectionId(fields.bytes()?),
                suite: fields.suite()?,
                initiator_secret: fields.secret()?,
                responder_secret: fields.secret()?,
            },
            QOTP_INIT => fields.qotp(QotpPackets::Init)?,
            QOTP_REST => fields.qotp(QotpPackets::Rest)?,
            _ => return Err(KeyLogError::Label),
        };
        if fields.0.next().is_some() { Err(KeyLogError::Fields) } else { Ok(Self(entry)) }
    }
}

/// The words of a line.
struct Fields<'a>(core::str::SplitAsciiWhitespace<'a>);

impl<'a> Fields<'a> {
    fn word(&mut self) -> Result<&'a str, KeyLogError> {
        self.0.next().ok_or(KeyLogError::Fields)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], KeyLogError> {
        let mut bytes = [0; N];
        hex::read_lower(self.word()?, &mut bytes).ok_or(KeyLogError::Hex)?;
        Ok(bytes)
    }

    fn secret(&mut self) -> Result<Secret, KeyLogError> {
        let mut secret = Zeroizing::new([0; 32]);
        hex::read_lower(self.word()?, &mut *secret).ok_or(KeyLogError::Hex)?;
        Ok(Secret::new(*secret))
    }

    fn suite(&mut self) -> Result<Suite, KeyLogError> {
        let number = self.word()?.parse().map_err(|_| KeyLogError::Suite)?;
        Suite::from_id(number).ok_or(KeyLogError::Suite)
    }

    fn qotp(&mut self, opens: QotpPackets) -> Result<Entry, KeyLogError> {
        Ok(Entry::Qotp { id: ConnectionId(self.bytes()?), opens, secret: self.secret()? })
    }
}

/// Takes secrets down for the application, if it asked for them.
pub(crate) struct KeyLog {
    /// `None`: nobody asked.
    waiting: Option<VecDeque<KeyLogEntry>>,
}

impl KeyLog {
    pub(crate) const fn new(on: bool) -> Self {
        Self { waiting: if on { Some(VecDeque::new()) } else { None } }
    }

    /// What opens the payload of the handshake message with this `e`.
    pub(crate) fn message(&mut self, e: &[u8; 32], key: &Secret, hash: &[u8; 32]) {
        self.push(|| Entry::Message { e: *e, key: key.clone(), hash: *hash });
    }

    /// The roots of the keys of a connection.
    pub(crate) fn traffic(
        &mut self,
        initiator: ConnectionId,
        responder: ConnectionId,
        suite: Suite,
        finished: &Finished,
    ) {
        self.push(|| Entry::Traffic {
            initiator,
            responder,
            suite,
            initiator_secret: finished.initiator.clone(),
            responder_secret: finished.responder.clone(),
        });
    }

    /// What opens packets of the QOTP connection `id`.
    pub(crate) fn qotp(&mut self, id: ConnectionId, opens: QotpPackets, key: &PacketKey) {
        self.push(|| Entry::Qotp { id, opens, secret: key.secret().clone() });
    }

    fn push(&mut self, entry: impl FnOnce() -> Entry) {
        if let Some(waiting) = &mut self.waiting
            && waiting.len() < MAX_WAITING
        {
            waiting.push_back(KeyLogEntry(entry()));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<KeyLogEntry> {
        self.waiting.as_mut()?.pop_front()
    }
}

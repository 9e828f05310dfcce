//! Handshake messages that say anything, from somebody with a key of his own.

use alloc::vec::Vec;
use core::fmt;

use crate::crypto::backend::SecretKey;
use crate::crypto::noise::{Initiator, KnownStatic, OwnKey, Party, Responder, prologue};
use crate::crypto::{Identity, PublicKey, Secret};
use crate::key_log::KeyLog;
use crate::wire::header::{CLEAR_HEADER, Header, InitHeader, PacketType};

/// Somebody who handshakes by the letter of Noise and says what he is told to.
pub struct Stranger {
    identity: Identity,
    agreements: u64,
    key_log: KeyLog,
}

impl fmt::Debug for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stranger").finish_non_exhaustive()
    }
}

impl Stranger {
    /// The holder of a secret key.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self { identity: Identity::from_secret(secret), agreements: 0, key_log: KeyLog::new(false) }
    }

    /// His public key.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        self.identity.public()
    }

    /// A first datagram: to the holder of a key, or to whoever it is; with this routing id, this secret of the ephemeral key,
    /// a token (of at most 255 bytes) and a payload. `None` if the token is longer, or the key cannot be written to.
    pub fn init(
        &mut self,
        peer: Option<&PublicKey>,
        id: [u8; 8],
        ephemeral: [u8; 32],
        token: &[u8],
        payload: &[u8],
    ) -> Option<Vec<u8>> {
        let ty = if peer.is_some() { PacketType::InitKnown } else { PacketType::Init };
        let header = clear_header(ty, id);
        let mut prefixed = Vec::from([u8::try_from(token.len()).ok()?]);
        prefixed.extend_from_slice(token);
        let (prologue, mut party) = (prologue(&header, &prefixed), self.party());
        let ephemeral = SecretKey::new(&Secret::new(ephemeral));
        let initiator = match peer {
            Some(peer) => Initiator::ik(&party, *peer, ephemeral, &prologue).ok()?,
            None => Initiator::ix(ephemeral, &prologue),
        };
        let mut out = Vec::from(header);
        out.extend_from_slice(initiator.ephemeral());
        out.extend_from_slice(&prefixed);
        initiator.write_message_1(&mut party, payload, &mut out).ok()?;
        Some(out)
    }

    /// His answer to a first datagram, with a payload. `None` if it is none, or for somebody else.
    pub fn reply(&mut self, init: &[u8], ephemeral: [u8; 32], payload: &[u8]) -> Option<Vec<u8>> {
        let (header, parsed) = (Header::parse(init).ok()?, InitHeader::parse(init).ok()?);
        let ty = match header.ty {
            PacketType::Init => PacketType::InitReply,
            PacketType::InitKnown => PacketType::InitKnownReply,
            _ => return None,
        };
        let (own, mut party) = (init.first_chunk::<CLEAR_HEADER>()?, self.party());
        let prologue = prologue(own, init.get(InitHeader::TOKEN_LEN_AT..parsed.message_at)?);
        let mut message = init.get(parsed.message_at..)?.to_vec();
        let responder = match header.ty {
            PacketType::Init => Responder::read_ix(&party, &prologue, &parsed.ephemeral, &message).ok()?.0,
            _ => {
                let known = KnownStatic::read(&mut party, &prologue, &parsed.ephemeral, &message).ok()?;
                known.read_payload(&mut party, &mut message).ok()?.0
            }
        };
        let mut out = Vec::from(clear_header(ty, *header.routing.as_bytes()));
        let ephemeral = SecretKey::new(&Secret::new(ephemeral));
        responder.write_message_2(&mut party, ephemeral, payload, &mut out).ok()?;
        Some(out)
    }

    const fn party(&mut self) -> Party<'_> {
        let Self { identity, agreements, key_log } = self;
        Party { identity, own_key: OwnKey::Refuse, agreements, key_log }
    }
}

/// First byte and routing id.
fn clear_header(ty: PacketType, id: [u8; 8]) -> [u8; CLEAR_HEADER] {
    let mut header = [ty.first_byte(); CLEAR_HEADER];
    if let Some((_, routing)) = header.split_first_mut() {
        routing.copy_from_slice(&id);
    }
    header
}

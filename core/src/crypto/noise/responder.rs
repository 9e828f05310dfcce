//! The side that answers, in stages by cost: what an Init says is known before more than that is spent on it.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    DH_LEN, Finished, NoiseError, Party, Pattern, SEALED_KEY_LEN, Symmetric, payload_range, split_key,
};
use crate::crypto::backend::SecretKey;
use crate::crypto::identity::PublicKey;

/// An IK message 1 after its first X25519: the initiator's static key is known, the payload is not yet open.
pub(crate) struct KnownStatic {
    symmetric: Symmetric,
    remote_ephemeral: PublicKey,
    remote_static: PublicKey,
}

impl KnownStatic {
    /// Reads the static key out of IK message 1, for one X25519 (`es`). `e` and `rest` are the message, `prologue` is
    /// joined from its parts. `rest` stays as it was.
    ///
    /// # Errors
    /// Any [`NoiseError`].
    pub(crate) fn read(
        party: &mut Party<'_>,
        prologue: &[&[u8]],
        e: &[u8; DH_LEN],
        rest: &[u8],
    ) -> Result<Self, NoiseError> {
        let (sealed, _) = rest.split_first_chunk::<SEALED_KEY_LEN>().ok_or(NoiseError::TooShort)?;
        let remote_ephemeral = PublicKey::from_bytes(*e)?;
        let mut symmetric = Symmetric::new(Pattern::Ik, prologue);
        symmetric.mix_hash(&[party.identity.public().as_bytes()]);
        symmetric.mix_hash(&[e]);
        let es = symmetric.mix_key(&party.agree_static(&remote_ephemeral)?);
        let remote_static = symmetric.open_static(es, sealed, party)?;
        Ok(Self { symmetric, remote_ephemeral, remote_static })
    }

    /// The initiator's static key. Not proved: who holds our secret can claim any, and the message may be a replay.
    pub(crate) const fn remote_static(&self) -> &PublicKey {
        &self.remote_static
    }

    /// Opens the payload in place, for one more X25519 (`ss`). `rest` is what [`Self::read`] was given. Returns where
    /// the payload stands in it.
    ///
    /// # Errors
    /// Any [`NoiseError`]; `rest` may then be overwritten.
    pub(crate) fn read_payload(
        self,
        party: &mut Party<'_>,
        rest: &mut [u8],
    ) -> Result<(Responder, Range<usize>), NoiseError> {
        let Self { mut symmetric, remote_ephemeral, remote_static } = self;
        let (_, sealed) = split_key::<SEALED_KEY_LEN>(rest)?;
        let ss = symmetric.mix_key(&party.agree_static(&remote_static)?);
        let len = symmetric.open_payload(party, remote_ephemeral.as_bytes(), ss, sealed)?;
        let responder = Responder { symmetric, pattern: Pattern::Ik, remote_ephemeral, remote_static };
        Ok((responder, payload_range(SEALED_KEY_LEN, len)))
    }
}

/// A responder that has read all of message 1. This is what a half-open entry keeps: 129 bytes.
pub(crate) struct Responder {
    symmetric: Symmetric,
    pattern: Pattern,
    remote_ephemeral: PublicKey,
    remote_static: PublicKey,
}

impl Responder {
    /// Reads IX message 1, for no X25519. `e` and `rest` are the message, `prologue` is joined from its parts. Returns
    /// where the payload stands in `rest`.
    ///
    /// # Errors
    /// [`NoiseError::TooShort`], [`NoiseError::Key`], [`NoiseError::OwnKey`].
    pub(crate) fn read_ix(
        party: &Party<'_>,
        prologue: &[&[u8]],
        e: &[u8; DH_LEN],
        rest: &[u8],
    ) -> Result<(Self, Range<usize>), NoiseError> {
        let (s, payload) = rest.split_first_chunk::<DH_LEN>().ok_or(NoiseError::TooShort)?;
        let remote_ephemeral = PublicKey::from_bytes(*e)?;
        let remote_static = PublicKey::from_bytes(*s)?;
        party.check_static(&remote_static)?;
        let mut symmetric = Symmetric::new(Pattern::Ix, prologue);
        symmetric.mix_hash(&[e]);
        symmetric.mix_hash(&[s]);
        symmetric.mix_hash(&[payload]);
        let responder = Self { symmetric, pattern: Pattern::Ix, remote_ephemeral, remote_static };
        Ok((responder, payload_range(DH_LEN, payload.len())))
    }

    /// The initiator's static key: a bare claim in IX, hardly more in IK (see [`KnownStatic::remote_static`]).
    pub(crate) const fn remote_static(&self) -> &PublicKey {
        &self.remote_static
    }

    /// The pattern, which decides the reply's packet type.
    pub(crate) const fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// Appends message 2 to `out`, for three X25519 in IX and two in IK. `ephemeral` must be used for this handshake
    /// alone.
    ///
    /// # Errors
    /// [`NoiseError::ZeroSecret`], never with a [`PublicKey`]; `out` may then end in a part of the message.
    pub(crate) fn write_message_2(
        self,
        party: &mut Party<'_>,
        ephemeral: SecretKey,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Finished, NoiseError> {
        let Self { mut symmetric, pattern, remote_ephemeral, remote_static } = self;
        out.extend_from_slice(ephemeral.public());
        symmetric.mix_hash(&[ephemeral.public()]);
        // The key that `ee` makes seals nothing in either pattern.
        symmetric.mix_key(&party.agree(&ephemeral, &remote_ephemeral)?);
        let se = symmetric.mix_key(&party.agree(&ephemeral, &remote_static)?);
        match pattern {
            Pattern::Ix => {
                symmetric.seal(se, party.identity.public().as_bytes(), out)?;
                let es = symmetric.mix_key(&party.agree_static(&remote_ephemeral)?);
                symmetric.seal_payload(party, ephemeral.public(), es, payload, out)?;
            }
            Pattern::Ik => symmetric.seal_payload(party, ephemeral.public(), se, payload, out)?,
        }
        Ok(symmetric.finish(remote_static))
    }
}

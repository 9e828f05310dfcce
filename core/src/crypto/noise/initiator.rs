//! The side that dials.

use alloc::vec::Vec;
use core::ops::Range;

use super::{
    DH_LEN, Finished, NoiseError, Party, Pattern, SEALED_KEY_LEN, Symmetric, payload_range, split_key,
};
use crate::crypto::backend::SecretKey;
use crate::crypto::identity::PublicKey;

/// What the initiator knows of the responder's static key; with it, the pattern.
#[derive(Clone, Copy)]
enum Remote {
    /// Nothing: IX.
    Unknown,
    /// All of it: IK.
    Known(PublicKey),
}

/// An initiator that has sent nothing.
pub(crate) struct Initiator {
    symmetric: Symmetric,
    ephemeral: SecretKey,
    remote: Remote,
}

impl Initiator {
    /// An IX handshake. `prologue` is joined from its parts; `ephemeral` must be used for this handshake alone.
    pub(crate) fn ix(ephemeral: SecretKey, prologue: &[&[u8]]) -> Self {
        Self { symmetric: Symmetric::new(Pattern::Ix, prologue), ephemeral, remote: Remote::Unknown }
    }

    /// An IK handshake with the holder of `remote`; otherwise like [`Self::ix`].
    ///
    /// # Errors
    /// [`NoiseError::OwnKey`].
    pub(crate) fn ik(
        party: &Party<'_>,
        remote: PublicKey,
        ephemeral: SecretKey,
        prologue: &[&[u8]],
    ) -> Result<Self, NoiseError> {
        party.check_static(&remote)?;
        let mut symmetric = Symmetric::new(Pattern::Ik, prologue);
        symmetric.mix_hash(&[remote.as_bytes()]);
        Ok(Self { symmetric, ephemeral, remote: Remote::Known(remote) })
    }

    /// The `e` of message 1.
    pub(crate) const fn ephemeral(&self) -> &[u8; DH_LEN] {
        self.ephemeral.public()
    }

    /// Appends message 1 without its `e` to `out`: the static key and the payload, in clear in IX, sealed in IK (at
    /// the cost of two X25519).
    ///
    /// # Errors
    /// [`NoiseError::ZeroSecret`], never with a [`PublicKey`]; `out` may then end in a part of the message.
    pub(crate) fn write_message_1(
        self,
        party: &mut Party<'_>,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<InitiatorSent, NoiseError> {
        let Self { mut symmetric, ephemeral, remote } = self;
        symmetric.mix_hash(&[ephemeral.public()]);
        let own = *party.identity.public();
        match remote {
            Remote::Unknown => {
                symmetric.mix_hash(&[own.as_bytes()]);
                symmetric.mix_hash(&[payload]);
                out.extend_from_slice(own.as_bytes());
                out.extend_from_slice(payload);
            }
            Remote::Known(remote) => {
                let es = symmetric.mix_key(&party.agree(&ephemeral, &remote)?);
                symmetric.seal(es, own.as_bytes(), out)?;
                let ss = symmetric.mix_key(&party.agree_static(&remote)?);
                symmetric.seal_payload(party, ephemeral.public(), ss, payload, out)?;
            }
        }
        Ok(InitiatorSent { symmetric, ephemeral, remote })
    }
}

/// An initiator that waits for message 2.
pub(crate) struct InitiatorSent {
    symmetric: Symmetric,
    ephemeral: SecretKey,
    remote: Remote,
}

impl InitiatorSent {
    /// Reads message 2 in place, on a copy of the state: whatever comes, the next reply meets the same state. Costs
    /// three X25519 in IX (two if the static key does not open), two in IK. Returns where the payload stands.
    ///
    /// # Errors
    /// Any [`NoiseError`]; `message` may then be overwritten.
    pub(crate) fn read_message_2(
        &self,
        party: &mut Party<'_>,
        message: &mut [u8],
    ) -> Result<(Finished, Range<usize>), NoiseError> {
        let mut symmetric = self.symmetric.clone();
        let (e, rest) = split_key::<DH_LEN>(message)?;
        let e = PublicKey::from_bytes(*e)?;
        symmetric.mix_hash(&[e.as_bytes()]);
        // The key that `ee` makes seals nothing in either pattern.
        symmetric.mix_key(&party.agree(&self.ephemeral, &e)?);
        let se = symmetric.mix_key(&party.agree_static(&e)?);
        match self.remote {
            Remote::Unknown => {
                let (sealed, rest) = split_key::<SEALED_KEY_LEN>(rest)?;
                let remote = symmetric.open_static(se, sealed, party)?;
                let es = symmetric.mix_key(&party.agree(&self.ephemeral, &remote)?);
                let len = symmetric.open_payload(party, e.as_bytes(), es, rest)?;
                Ok((symmetric.finish(remote), payload_range(DH_LEN + SEALED_KEY_LEN, len)))
            }
            Remote::Known(remote) => {
                let len = symmetric.open_payload(party, e.as_bytes(), se, rest)?;
                Ok((symmetric.finish(remote), payload_range(DH_LEN, len)))
            }
        }
    }
}

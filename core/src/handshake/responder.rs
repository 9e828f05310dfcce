//! The answering side: what an Init says, and the reply.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::crypto::backend::SecretKey;
use crate::crypto::noise::{
    Finished, IK_MESSAGE_2_OVERHEAD, IX_MESSAGE_2_OVERHEAD, KnownStatic, NoiseError, Party, Pattern,
    Responder, prologue,
};
use crate::crypto::token::early_token;
use crate::crypto::{EarlyToken, PublicKey, Secret};
use crate::endpoint::IncomingIdentity;
use crate::error::TransportError;
use crate::id::ConnectionId;
use crate::stats::DropReason;
use crate::wire::codec::cut;
use crate::wire::frame::{Close, CloseKind, Frame, Frames, put_close, put_hello};
use crate::wire::header::{CLEAR_HEADER, InitHeader, MIN_INIT, PacketType};
use crate::wire::params::Hello;

use super::{Message, read_payload};

/// An Init of which it is known whose it claims to be, and nothing else.
pub(crate) struct Opening {
    stage: Stage,
    remote_id: ConnectionId,
    early_token: Option<EarlyToken>,
    message_at: usize,
}

enum Stage {
    /// Its payload is still sealed.
    Sealed(KnownStatic),
    /// It is clear, from here on in the message.
    Clear(Responder, Range<usize>),
}

impl Opening {
    /// Reads the beginning of an Init, for nothing, or of an InitKnown, for one X25519. The datagram stays as it was.
    pub(crate) fn read(
        ty: PacketType,
        remote_id: ConnectionId,
        datagram: &[u8],
        party: &mut Party<'_>,
    ) -> Result<Self, DropReason> {
        let InitHeader { ephemeral, message_at, .. } =
            InitHeader::parse(datagram).map_err(|_| DropReason::TooShort)?;
        let (clear, message) = datagram.split_at_checked(message_at).ok_or(DropReason::TooShort)?;
        let header = clear.first_chunk::<CLEAR_HEADER>().ok_or(DropReason::TooShort)?;
        let token = clear.get(InitHeader::TOKEN_LEN_AT..).ok_or(DropReason::TooShort)?;
        let early_token = early_token(token.get(1..).unwrap_or_default());
        let prologue = prologue(header, token);
        let stage = if ty == PacketType::InitKnown {
            Stage::Sealed(KnownStatic::read(party, &prologue, &ephemeral, message)?)
        } else {
            let (noise, payload) = Responder::read_ix(party, &prologue, &ephemeral, message)?;
            Stage::Clear(noise, payload)
        };
        Ok(Self { stage, remote_id, early_token, message_at })
    }

    /// X25519 operations that were done for it.
    pub(crate) const fn spent(&self) -> u32 {
        matches!(self.stage, Stage::Sealed(_)) as u32
    }

    /// Whose it claims to be.
    pub(crate) const fn identity(&self) -> IncomingIdentity {
        match &self.stage {
            Stage::Sealed(known) => IncomingIdentity::Unconfirmed(*known.remote_static()),
            Stage::Clear(noise, _) => IncomingIdentity::Claimed(*noise.remote_static()),
        }
    }

    /// Reads the rest of the same datagram, which for an InitKnown costs one more X25519 and overwrites it. Adds the frames that
    /// it looks at to `looked_at`.
    pub(crate) fn finish(
        self,
        datagram: &mut [u8],
        party: &mut Party<'_>,
        looked_at: &mut u64,
    ) -> Result<Attempt, DropReason> {
        let message = datagram.get_mut(self.message_at..).ok_or(DropReason::TooShort)?;
        let (noise, range, kind) = match self.stage {
            Stage::Sealed(known) => {
                let (noise, range) = known.read_payload(party, message)?;
                (noise, range, Message::SealedInit)
            }
            Stage::Clear(noise, range) => (noise, range, Message::ClearInit),
        };
        let payload = read_payload(kind, message.get(range).unwrap_or_default(), looked_at)
            .map_err(|_| DropReason::BadHandshake)?;
        let early = without_padding(payload.frames).into();
        let Self { remote_id, early_token, .. } = self;
        Ok(Attempt { noise, hello: payload.hello, remote_id, early, early_token })
    }
}

/// An Init that passed every check before the application's decision.
pub(crate) struct Attempt {
    noise: Responder,
    pub(crate) hello: Hello,
    /// The initiator's connection id.
    pub(crate) remote_id: ConnectionId,
    /// Frames of early data.
    pub(crate) early: Box<[u8]>,
    /// By which they may be acted on at once.
    pub(crate) early_token: Option<EarlyToken>,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("hello", &self.hello)
            .field("remote_id", &self.remote_id)
            .finish_non_exhaustive()
    }
}

impl Attempt {
    /// The key of the initiator, as far as the message shows it.
    pub(crate) const fn remote_static(&self) -> &PublicKey {
        self.noise.remote_static()
    }

    /// Whether the message was made with that key (or by somebody who holds ours), and does not just name it.
    pub(crate) const fn is_sealed(&self) -> bool {
        matches!(self.noise.pattern(), Pattern::Ik)
    }

    const fn reply_type(&self) -> PacketType {
        match self.noise.pattern() {
            Pattern::Ix => PacketType::InitReply,
            Pattern::Ik => PacketType::InitKnownReply,
        }
    }

    /// Bytes of frames that the reply may carry: with them it is no longer than any Init.
    pub(crate) const fn reply_room(&self) -> usize {
        MIN_INIT.saturating_sub(CLEAR_HEADER).saturating_sub(self.reply_overhead())
    }

    const fn reply_overhead(&self) -> usize {
        match self.noise.pattern() {
            Pattern::Ix => IX_MESSAGE_2_OVERHEAD,
            Pattern::Ik => IK_MESSAGE_2_OVERHEAD,
        }
    }

    /// Makes the reply that accepts, around these frames: HELLO, and perhaps an answer to early data.
    pub(crate) fn accept(
        self,
        payload: &[u8],
        party: &mut Party<'_>,
        ephemeral: &Secret,
    ) -> Result<(Finished, Box<[u8]>), NoiseError> {
        let overhead = self.reply_overhead().saturating_add(CLEAR_HEADER);
        let mut reply = Vec::with_capacity(overhead.saturating_add(payload.len()));
        reply.push(self.reply_type().first_byte());
        reply.extend_from_slice(self.remote_id.as_bytes());
        let finished = self.noise.write_message_2(party, SecretKey::new(ephemeral), payload, &mut reply)?;
        Ok((finished, reply.into_boxed_slice()))
    }

    /// Whether its early data ends the connection that has not begun.
    pub(crate) fn ends_early(&self) -> bool {
        Frames::new(&self.early).any(|frame| matches!(frame, Ok(Frame::Close(_))))
    }

    /// Makes the reply that refuses: HELLO and CLOSE, authentic, so that the dialler can believe it.
    pub(crate) fn refuse(
        self,
        close: &Close<'_>,
        party: &mut Party<'_>,
        ephemeral: &Secret,
        reserved: u64,
    ) -> Result<Box<[u8]>, NoiseError> {
        let mut payload = hello_frame(&Hello::refusal(), reserved);
        put_close(&mut payload, close, MIN_INIT / 2);
        self.accept(&payload, party, ephemeral).map(|(_, reply)| reply)
    }
}

/// The frame with which a reply begins.
pub(crate) fn hello_frame(hello: &Hello, reserved: u64) -> Vec<u8> {
    let mut values = Vec::new();
    hello.encode(&mut values, reserved);
    let mut payload = Vec::new();
    put_hello(&mut payload, &values);
    payload
}

/// A CLOSE of the transport, for refusals that the application did not ask for.
pub(crate) const fn transport_close(error: TransportError) -> Close<'static> {
    Close { by: CloseKind::Transport, code: error.code(), reason: &[] }
}

/// The frames up to the last one that is not padding.
fn without_padding(frames: &[u8]) -> &[u8] {
    let mut reader = Frames::new(frames);
    let mut end = 0;
    while let Some(Ok(frame)) = reader.next() {
        if frame != Frame::Padding {
            end = frames.len().saturating_sub(reader.rest().len());
        }
    }
    cut(frames, end)
}

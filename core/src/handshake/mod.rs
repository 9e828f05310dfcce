//! The handshake: Noise IX and IK wrapped into datagrams, with what each side says in HELLO
//! (docs/PROTOCOL.md, "Handshake").

pub(crate) mod initiator;
pub(crate) mod negotiate;
pub(crate) mod responder;
pub(crate) mod retry;

use crate::error::TransportError;
use crate::stats::DropReason;
use crate::wire::frame::{Frame, Frames};
use crate::wire::params::Hello;

/// A handshake payload: HELLO, and the frames behind it.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    pub(crate) hello: Hello,
    /// Frames after HELLO; empty if there is nothing but padding.
    pub(crate) frames: &'a [u8],
}

/// Which message a payload came in: it decides what may stand in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Message {
    /// IX message 1: in clear.
    ClearInit,
    /// IK message 1.
    SealedInit,
    /// Message 2.
    Reply,
}

/// Reads a handshake payload: HELLO exactly once and first, then only frames that this message may carry. Adds the frames that
/// it looks at to `looked_at`.
pub(crate) fn read_payload<'a>(
    message: Message,
    payload: &'a [u8],
    looked_at: &mut u64,
) -> Result<Payload<'a>, TransportError> {
    let mut frames = Frames::new(payload);
    *looked_at = looked_at.saturating_add(1);
    let Some(Ok(Frame::Hello(values))) = frames.next() else { return Err(TransportError::Protocol) };
    let hello = Hello::decode(values).map_err(|_| TransportError::Parameters)?;
    let behind = frames.rest();
    let mut any = false;
    for frame in frames {
        *looked_at = looked_at.saturating_add(1);
        let frame = frame.map_err(|_| TransportError::FrameEncoding)?;
        let allowed = match frame {
            Frame::Padding => true,
            Frame::Ping
            | Frame::Stream { .. }
            | Frame::ResetStream { .. }
            | Frame::Datagram(_)
            | Frame::Close(_)
            | Frame::Reserved => message != Message::ClearInit,
            Frame::Ack(_) => message == Message::Reply,
            _ => false,
        };
        if !allowed {
            return Err(TransportError::Protocol);
        }
        any |= frame != Frame::Padding;
    }
    Ok(Payload { hello, frames: if any { behind } else { &[] } })
}

/// Noise's refusals as drop reasons.
impl From<crate::crypto::noise::NoiseError> for DropReason {
    fn from(error: crate::crypto::noise::NoiseError) -> Self {
        match error {
            crate::crypto::noise::NoiseError::OwnKey => Self::OwnKey,
            _ => Self::BadHandshake,
        }
    }
}

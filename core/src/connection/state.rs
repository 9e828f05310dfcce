//! The life of a connection: every state, and every transition between them.
//!
//! ```text
//!                                                                       Answering
//!                                                                           │ reply
//!   Dialling ──reply──▶ Untrusted ──trust──▶ Established ◀──first Data── Confirming
//!      │  └─────reply (key known)───────────────▲ │ │                        │
//!      │                              we close ───┘ └─── peer closes         │
//!      ▼                                  ▼                   ▼              ▼
//!     Over ◀────────────────────────── Closing ──────────▶ Draining ──▶    Over
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::budget::total;
use crate::crypto::PublicKey;
use crate::crypto::keys::{Exporter, Opener, Sealer};
use crate::handshake::initiator::{Dialling, Target};
use crate::id::ErrorCode;
use crate::path::addr::{LocalAddr, TransportAddr};
use crate::path::slots::SlotSet;
use crate::time::{Duration, Instant};
use crate::wire::frame::CloseKind;

use super::answering::Answering;
use super::qotp::{Lingering, Qotp};

/// What the handshake produced.
pub(crate) struct Secured {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
    pub(crate) exporter: Exporter,
    pub(crate) peer: PublicKey,
    pub(crate) alpn: Vec<u8>,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// A responder that has replied and waits for the proof that its reply was read.
#[derive(Debug)]
pub(crate) struct Confirming {
    pub(crate) secured: Box<Secured>,
    pub(crate) reply: Reply,
    /// Frames of early data, held back until the initiator has proved itself.
    pub(crate) early: Box<[u8]>,
    /// Early data was acted on instead.
    pub(crate) applied: bool,
    /// When the attempt is given up.
    pub(crate) expires: Instant,
}

/// A responder's reply: the same bytes for every copy of the Init.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) copies: Copies,
}

impl Reply {
    /// Appends the reply, if anybody is owed one, and says who.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<(LocalAddr, TransportAddr)> {
        let paid = self.copies.pay(now, self.bytes.len())?;
        out.extend_from_slice(&self.bytes);
        Some(paid)
    }
}

/// Which addresses sent copies of an Init, and what they are owed.
#[derive(Clone, Debug)]
pub(crate) struct Copies {
    /// The address of the first copy.
    pub(crate) first: TransportAddr,
    /// Whether copies came from other addresses too: then none of them is validated by the first Data packet.
    pub(crate) several: bool,
    /// Whether the Init showed a token that was given out for that address.
    pub(crate) validated: bool,
    /// Bytes received from and sent to the first address.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Replies sent.
    pub(crate) replies: u32,
    pub(crate) first_reply: Instant,
    owed: [Option<(LocalAddr, TransportAddr)>; MAX_OWED],
}

/// Replies that may wait at once, as many as copies come in the first burst of a dial; copies beyond that get none.
const MAX_OWED: usize = 8;

impl Copies {
    /// The first copy came.
    pub(crate) fn new(local: LocalAddr, remote: TransportAddr, bytes: usize, validated: bool) -> Self {
        let mut copies = Self {
            first: remote,
            several: false,
            validated,
            received: 0,
            sent: 0,
            replies: 0,
            first_reply: Instant::ZERO,
            owed: [None; MAX_OWED],
        };
        copies.on_copy(local, remote, bytes);
        copies
    }

    /// A copy came: its sender is owed a reply.
    pub(crate) fn on_copy(&mut self, local: LocalAddr, remote: TransportAddr, bytes: usize) {
        self.several |= remote != self.first;
        if remote == self.first {
            self.received = self.received.saturating_add(bytes as u64);
        }
        if let Some(place) = self.owed.iter_mut().find(|place| place.is_none()) {
            *place = Some((local, remote));
        }
    }

    /// Bytes that may still be sent to the first address, beside the replies that it is owed: three times what came from there
    /// (RFC 9000 section 8.1), and all if it was shown.
    pub(crate) const fn allowance(&self) -> u64 {
        if self.validated { u64::MAX } else { self.received.saturating_mul(3).saturating_sub(self.sent) }
    }

    /// So many were sent there beside the replies.
    pub(crate) const fn on_sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }

    /// Whom to send a reply of `bytes` to now.
    pub(crate) fn pay(&mut self, now: Instant, bytes: usize) -> Option<(LocalAddr, TransportAddr)> {
        let (local, remote) = self.owed.iter_mut().find_map(Option::take)?;
        if self.replies == 0 {
            self.first_reply = now;
        }
        self.replies = self.replies.saturating_add(1);
        if remote == self.first {
            self.sent = self.sent.saturating_add(bytes as u64);
        }
        Some((local, remote))
    }
}

/// A connection that we closed: it answers with CLOSE until the peer must have heard (RFC 9000 section 10.2.1).
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) secured: Box<Secured>,
    /// Where the initiator has not proved itself: it needs the reply to understand the CLOSE.
    pub(crate) reply: Option<Reply>,
    pub(crate) by: CloseKind,
    pub(crate) code: ErrorCode,
    pub(crate) reason: Bytes,
    /// How long it is answered, and the end of that once the first CLOSE went out: the application may close at any
    /// time, long after the latest one that the endpoint was told.
    pub(crate) period: Duration,
    pub(crate) until: Option<Instant>,
    /// A CLOSE is to be sent on every path.
    pub(crate) owed: bool,
    /// The paths that it has not gone out on yet.
    pub(crate) untold: SlotSet,
    /// Packets that came since the close; one in a growing number of them is answered.
    heard: u32,
}

impl Closing {
    /// A packet came. RFC 9000 section 10.2.1 asks to limit the answers: packets 1, 2, 4, 8 ... get one.
    pub(crate) const fn on_packet(&mut self) {
        self.heard = self.heard.saturating_add(1);
        self.owed |= self.heard.is_power_of_two();
    }
}

/// Where in its life a connection is.
#[derive(Debug)]
pub(crate) enum State {
    /// Initiator: the Init is out, or about to be.
    Dialling(Box<Dialling>),
    /// Responder: accepted; the reply is made when it is first asked for, so that it can carry what was written meanwhile.
    Answering(Box<Answering>),
    /// Responder: the reply is out, the initiator has not proved itself.
    Confirming(Box<Confirming>),
    /// Initiator that did not know whom it dialled: waits for the application's trust.
    Untrusted(Box<Secured>),
    Established(Box<Secured>),
    Closing(Box<Closing>),
    /// A QOTP connection, from the dial or the accepted attempt to its end.
    Qotp(Box<Qotp>),
    /// A QOTP connection that is closed.
    Lingering(Box<Lingering>),
    /// The peer closed: nothing is sent any more, what was received can still be read.
    Draining {
        until: Instant,
    },
    /// Nothing is left to do; the endpoint forgets the connection.
    Over,
}

impl State {
    /// The keys, where packets are still opened.
    pub(crate) const fn secured_mut(&mut self) -> Option<&mut Secured> {
        match self {
            Self::Confirming(confirming) => Some(&mut confirming.secured),
            Self::Untrusted(secured) | Self::Established(secured) => Some(secured),
            Self::Dialling(_)
            | Self::Answering(_)
            | Self::Closing(_)
            | Self::Qotp(_)
            | Self::Lingering(_)
            | Self::Draining { .. }
            | Self::Over => None,
        }
    }

    /// What QOTP needs, where its packets are still opened.
    pub(crate) const fn qotp_mut(&mut self) -> Option<&mut Qotp> {
        match self {
            Self::Qotp(qotp) => Some(qotp),
            Self::Lingering(lingering) => Some(&mut lingering.qotp),
            _ => None,
        }
    }

    /// Whether this is a QOTP connection that is not closed.
    pub(crate) const fn is_qotp(&self) -> bool {
        matches!(self, Self::Qotp(_))
    }

    /// Whether the handshake is done and data may flow.
    pub(crate) const fn is_established(&self) -> bool {
        match self {
            Self::Established(_) => true,
            Self::Qotp(qotp) => !qotp.is_dialling(),
            _ => false,
        }
    }

    pub(crate) const fn secured(&self) -> Option<&Secured> {
        match self {
            Self::Confirming(confirming) => Some(&confirming.secured),
            Self::Untrusted(secured) | Self::Established(secured) => Some(secured),
            Self::Closing(closing) => Some(&closing.secured),
            Self::Dialling(_)
            | Self::Answering(_)
            | Self::Qotp(_)
            | Self::Lingering(_)
            | Self::Draining { .. }
            | Self::Over => None,
        }
    }

    /// Who is owed the reply that copies of the Init get.
    pub(crate) fn copies_mut(&mut self) -> Option<&mut Copies> {
        match self {
            Self::Answering(answering) => Some(&mut answering.copies),
            Self::Confirming(confirming) => Some(&mut confirming.reply.copies),
            Self::Closing(closing) => closing.reply.as_mut().map(|reply| &mut reply.copies),
            Self::Dialling(_)
            | Self::Untrusted(_)
            | Self::Established(_)
            | Self::Qotp(_)
            | Self::Lingering(_)
            | Self::Draining { .. }
            | Self::Over => None,
        }
    }

    /// Heap held beside what every connection has, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Dialling(dialling) => dialling.heap_bytes(),
            Self::Answering(answering) => answering.heap_bytes(),
            Self::Confirming(confirming) => {
                total([size_of_val(&**confirming), confirming.reply.bytes.len(), confirming.early.len()])
            }
            Self::Qotp(qotp) => qotp.heap_bytes(),
            Self::Lingering(lingering) => lingering.qotp.heap_bytes(),
            _ => 0,
        }
    }

    /// Whether the application may still use the connection.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(
            self,
            Self::Dialling(_)
                | Self::Answering(_)
                | Self::Confirming(_)
                | Self::Untrusted(_)
                | Self::Established(_)
                | Self::Qotp(_)
        )
    }

    /// Whether the application has yet to say if it trusts whoever answers, or has answered, a dial to an unknown key.
    pub(crate) fn is_untrusted(&self) -> bool {
        match self {
            Self::Dialling(dialling) => dialling.target == Target::Unknown,
            Self::Untrusted(_) => true,
            _ => false,
        }
    }

    /// The reply of a dial opened.
    pub(crate) fn on_reply(&mut self, secured: Box<Secured>, trusted: bool) {
        if let Self::Dialling(_) = self {
            *self = if trusted { Self::Established(secured) } else { Self::Untrusted(secured) };
        }
    }

    /// The application trusts the key that the peer has proved. `false` if it was not asked.
    pub(crate) fn on_trust(&mut self) -> bool {
        match core::mem::replace(self, Self::Over) {
            Self::Untrusted(secured) => {
                *self = Self::Established(secured);
                true
            }
            other => {
                *self = other;
                false
            }
        }
    }

    /// The first Data packet opened: the initiator has proved itself. Returns what had waited for that.
    pub(crate) fn on_confirmed(&mut self) -> Option<(Copies, Box<[u8]>)> {
        match core::mem::replace(self, Self::Over) {
            Self::Confirming(confirming) => {
                let Confirming { secured, reply, early, .. } = *confirming;
                *self = Self::Established(secured);
                Some((reply.copies, early))
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// We close, and say so for `period` (three probe timeouts) where there are keys to say it with.
    pub(crate) fn on_close(&mut self, period: Duration, by: CloseKind, code: ErrorCode, reason: Bytes) {
        *self = match core::mem::replace(self, Self::Over) {
            Self::Untrusted(secured) | Self::Established(secured) => {
                let (reply, until, owed, heard) = (None, None, true, 0);
                let untold = SlotSet::default();
                let closing =
                    Closing { secured, reply, by, code, reason, period, until, owed, untold, heard };
                Self::Closing(Box::new(closing))
            }
            // Before the initiator has proved itself it gets nothing but the reply: it hears of the close when it does.
            Self::Confirming(confirming) => {
                let Confirming { secured, reply, expires, .. } = *confirming;
                let (reply, until, owed, heard) = (Some(reply), Some(expires), false, 0);
                let untold = SlotSet::default();
                let closing =
                    Closing { secured, reply, by, code, reason, period, until, owed, untold, heard };
                Self::Closing(Box::new(closing))
            }
            // QOTP has no word for it; who dialled in vain has nobody to linger for.
            Self::Qotp(qotp) if !qotp.is_dialling() => Self::Lingering(Box::new(qotp.linger(period))),
            Self::Dialling(_) | Self::Answering(_) | Self::Qotp(_) | Self::Over => Self::Over,
            closed @ (Self::Closing(_) | Self::Lingering(_) | Self::Draining { .. }) => closed,
        };
    }

    /// The peer closed, or there is no way to go on and no point in saying so.
    pub(crate) fn on_drain(&mut self, until: Instant) {
        *self = Self::Draining { until };
    }
}

//! The answering side's reply, which waits for the answer to early data (docs/PROTOCOL.md, "Early data at once").

use alloc::boxed::Box;
use core::fmt;

use crate::crypto::Secret;
use crate::endpoint::InitId;
use crate::event::Event;
use crate::handshake::negotiate::{Agreement, answer};
use crate::handshake::responder::{Attempt, hello_frame};
use crate::id::PacketNumber;
use crate::path::addr::LocalAddr;
use crate::recovery::sent::SentPackets;
use crate::shared::Shared;
use crate::streams::Behind;
use crate::time::Instant;
use crate::wire::params::EarlyOutcome;

use super::state::{Confirming, Copies, Reply, State};
use super::{Connection, secure};

/// An accepted attempt whose reply is not made yet.
pub(crate) struct Answering {
    pub(crate) attempt: Box<Attempt>,
    pub(crate) agreement: Agreement,
    pub(crate) copies: Copies,
    pub(crate) local: LocalAddr,
    pub(crate) init: InitId,
    /// What becomes of the early data.
    pub(crate) early: EarlyOutcome,
    /// The secret of the reply's key, and which reserved value goes with HELLO.
    pub(crate) ephemeral: Secret,
    pub(crate) reserved: u64,
    /// When the attempt is given up.
    pub(crate) expires: Instant,
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl Answering {
    /// Heap held, itself included, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>().saturating_add(size_of::<Attempt>()).saturating_add(self.attempt.early.len())
    }
}

impl Connection {
    /// Makes the reply, and the keys with it. What has been written in answer to early data goes along, as far as it fits.
    /// `false`: it is none that can be answered.
    pub(crate) fn make_reply(&mut self, cx: &mut Shared, now: Instant) -> bool {
        let State::Answering(answering) = &mut self.state else { return true };
        let named = (self.local_id, cx.reset_token(self.local_id));
        let hello = answer(&cx.config, &answering.agreement, named, answering.early);
        let (mut payload, room) = (hello_frame(&hello, answering.reserved), answering.attempt.reply_room());
        let mut packet = SentPackets::new(PacketNumber::ZERO);
        if answering.early == EarlyOutcome::Applied {
            self.streams.put_data(&mut payload, room, Behind::Nothing, &mut packet);
        }
        let State::Answering(answering) = core::mem::replace(&mut self.state, State::Over) else {
            return false;
        };
        let applied = answering.early == EarlyOutcome::Applied;
        let Answering { mut attempt, agreement, copies, ephemeral, expires, .. } = *answering;
        let early = core::mem::take(&mut attempt.early);
        let remote_id = attempt.remote_id;
        let Ok((finished, bytes)) = attempt.accept(&payload, &mut cx.party(), &ephemeral) else {
            return false;
        };
        if packet.has_open_items() {
            self.on_early_sent(now, packet, false);
        }
        cx.key_log.traffic(remote_id, self.local_id, agreement.suite, &finished);
        let secured = Box::new(secure(cx, now, self.role, &finished, &agreement));
        let reply = Reply { bytes, copies };
        self.state = State::Confirming(Box::new(Confirming { secured, reply, early, applied, expires }));
        true
    }

    /// Whether early data was acted on, and its sender has not proved its key yet.
    pub(crate) fn is_early(&self) -> bool {
        match &self.state {
            State::Answering(answering) => answering.early == EarlyOutcome::Applied,
            State::Confirming(confirming) => confirming.applied,
            _ => false,
        }
    }

    /// Tells that there is early data, and then what there is of it.
    pub(crate) fn tell_early(&mut self, cx: &mut Shared) {
        cx.events.push(self.handle, Event::EarlyData);
        if self.datagrams.has_input() {
            self.tell(cx, Event::DatagramReceived);
        }
    }

    /// Takes the attempt back, and gives up everything else.
    pub(crate) fn undo(mut self, cx: &mut Shared) -> Option<Box<Answering>> {
        let state = core::mem::replace(&mut self.state, State::Over);
        self.forget(cx);
        match state {
            State::Answering(answering) => Some(answering),
            _ => None,
        }
    }
}

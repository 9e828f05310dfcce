//! What a dial of several addresses leaves behind until the peer is heard: other addresses at which it has answered, for
//! the case that the first one carries an Init and its reply, but nothing else.

use alloc::boxed::Box;

use crate::budget::total;
use crate::crypto::digest::digest;
use crate::endpoint::Sockets;
use crate::path::addr::{Arrival, Tuple};
use crate::path::slots::{FIRST, PathSlot};
use crate::remote::fanout::Fanout;
use crate::shared::Shared;
use crate::stats::{Disposition, DropReason, count};

use super::Connection;

/// A dial of several addresses that was answered, and not confirmed yet.
#[derive(Debug)]
pub(super) struct FirstFlight {
    fanout: Fanout,
    /// The ends of the reply that came first, which are the path's.
    first: Tuple,
    /// The digest of the reply: every copy of the Init gets the same bytes, so whatever else comes is none.
    reply: [u8; 32],
}

impl FirstFlight {
    /// The reply that came first, with these ends.
    pub(super) fn answered(fanout: &Fanout, reply: [u8; 32], ends: &Tuple) -> Box<Self> {
        let mut fanout = fanout.clone();
        fanout.on_answer(ends);
        Box::new(Self { fanout, first: *ends, reply })
    }

    /// The ends of the reply that came first.
    pub(super) const fn first(&self) -> &Tuple {
        &self.first
    }

    /// Our own addresses may be gone: the system is to choose.
    pub(super) fn forget_own(&mut self, sockets: &Sockets) {
        self.first.local = sockets.any_towards(&self.first);
        self.fanout.forget_own(sockets);
    }
}

impl Connection {
    /// A reply came after the one that ended the dial.
    pub(super) fn on_other_reply(
        &mut self,
        cx: &mut Shared,
        arrival: &Arrival,
        datagram: &[u8],
    ) -> Disposition {
        let known = self.first_flight.as_mut().is_some_and(|flight| {
            count(&mut cx.stats.digests, 1);
            flight.reply == digest(&[datagram]) && flight.fanout.on_answer(&arrival.tuple())
        });
        if known { Disposition::Accepted } else { Disposition::Dropped(DropReason::Unexpected) }
    }

    /// The probe timer fired. If the peer has confirmed nothing yet, what is sent now goes to the next address at which it has
    /// answered.
    pub(super) fn try_next_answer(&mut self, at: PathSlot) {
        let Some(flight) = self.first_flight.as_ref().filter(|_| at == FIRST) else { return };
        if let Some(next) = flight.fanout.next_answered(&self.paths[at].tuple()) {
            self.paths[at].set_tuple(next);
        }
    }

    /// A packet of the peer's opened: it has heard us, and answers from the address at which it did. That is where the path
    /// goes on.
    pub(super) fn end_first_flight(&mut self, at: PathSlot, cx: &mut Shared, from: &Tuple) {
        let Some(flight) = self.first_flight.take_if(|_| at == FIRST) else { return };
        self.paths[at].set_tuple(flight.first);
        if self.state.is_open() && flight.fanout.has_answered(from) && !from.matches(&flight.first) {
            self.go(at, cx, *from);
        }
    }

    /// Its heap, in bytes.
    pub(super) fn first_flight_bytes(&self) -> usize {
        self.first_flight
            .as_ref()
            .map_or(0, |flight| total([size_of::<FirstFlight>(), flight.fanout.heap_bytes()]))
    }
}

//! The connection's part in the handshake: the Init it sends, the reply it gets, the reply it repeats.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::cids::remote::RemoteCid;
use crate::crypto::digest::digest;
use crate::error::{CloseReason, TransportError};
use crate::event::Event;
use crate::handshake::initiator::{Opened, Target};
use crate::handshake::{Message, negotiate, read_payload};
use crate::id::PacketNumber;
use crate::path::addr::Arrival;
use crate::path::slots::FIRST;
use crate::recovery::received::Received;
use crate::recovery::sent::SentPackets;
use crate::shared::Shared;
use crate::stats::{Disposition, DropReason, count};
use crate::streams::Behind;
use crate::time::Instant;
use crate::wire::frame::{CloseKind, Frame, Frames, put_hello};
use crate::wire::header::{CLEAR_HEADER, MIN_INIT, PacketType};
use crate::wire::versions::VersionList;

use super::first_flight::FirstFlight;
use super::moves::Said;
use super::state::State;
use super::{Connection, secure};

impl Connection {
    /// Makes the Init with what was written so far. Early data goes only to a known key.
    pub(super) fn make_init(&mut self, cx: &mut Shared, now: Instant) {
        let State::Dialling(dialling) = &mut self.state else { return };
        let hello = negotiate::offer(&cx.config, &dialling.alpns);
        let mut values = Vec::new();
        hello.encode(&mut values, cx.rng.next_u64());
        let mut payload = Vec::with_capacity(MIN_INIT);
        put_hello(&mut payload, &values);
        let mut early = None;
        if matches!(dialling.target, Target::Key(_)) {
            let mut packet = SentPackets::new(PacketNumber::ZERO);
            let end = dialling.frame_room();
            // Stream data alone: the control frames that may be owed by now must not stand in a handshake message.
            self.streams.put_data(&mut payload, end, Behind::Padding, &mut packet);
            early = packet.has_open_items().then_some(packet);
        }
        if early.is_none() {
            // It would be used up for nothing.
            dialling.keep_token();
        }
        let with_token = dialling.shows_token();
        let ephemeral = cx.rng.ephemeral_secret(now, self.local_id.as_bytes());
        let made = dialling.make_init(now, &mut cx.party(), self.local_id, &ephemeral, &payload);
        if let Some(packet) = early {
            self.on_early_sent(now, packet, with_token);
        }
        if made.is_err() {
            // Only a peer key of small order could do this, and there is no such `PublicKey`.
            self.end(cx, CloseReason::NoAnswer);
        }
    }

    /// A handshake reply came. One that does not open leaves everything as it was.
    pub(crate) fn handle_reply(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        arrival: &Arrival,
        ty: PacketType,
        datagram: &mut [u8],
    ) -> Disposition {
        let State::Dialling(dialling) = &mut self.state else {
            return self.on_other_reply(cx, arrival, datagram);
        };
        let bytes = datagram.len();
        let copy = dialling.fanout().is_wide().then(|| {
            count(&mut cx.stats.digests, 1);
            digest(&[datagram])
        });
        let message = datagram.get_mut(CLEAR_HEADER..).unwrap_or_default();
        let Some(opened) = dialling.read_reply(now, ty, &mut cx.party(), message) else {
            return Disposition::Dropped(DropReason::BadHandshake);
        };
        let Opened { finished, payload, retried } = opened;
        let message = message.get(payload).unwrap_or_default();
        count(&mut self.stats.packets_received, 1);
        count(&mut self.stats.bytes_received, bytes as u64);
        let read = read_payload(Message::Reply, message, &mut cx.stats.frames);
        let payload = match read {
            Ok(payload) => payload,
            Err(error) => return self.fail_dial(cx, CloseReason::Violation(error)),
        };
        if let Some(reason) = refusal(payload.frames) {
            return self.fail_dial(cx, reason);
        }
        let State::Dialling(dialling) = &mut self.state else { return Disposition::Accepted };
        let agreed = negotiate::check(&cx.config, &dialling.alpns, &payload.hello);
        let (agreement, remote_id) = match agreed {
            Ok(agreed) if self.is_early_outcome_possible(payload.hello.early) => agreed,
            Ok(_) => return self.fail_dial(cx, CloseReason::Violation(TransportError::Parameters)),
            Err(error) => return self.fail_dial(cx, CloseReason::Violation(error)),
        };
        let State::Dialling(dialling) = &mut self.state else { return Disposition::Accepted };
        let round_trip = dialling.fanout().round_trip(now, &arrival.tuple(), retried);
        let ends = dialling.fanout().beginning(&arrival.tuple());
        self.first_flight = copy.map(|reply| FirstFlight::answered(dialling.fanout(), reply, &ends));
        let trusted = dialling.target != Target::Unknown;
        cx.key_log.traffic(self.local_id, remote_id, agreement.suite, &finished);
        let secured = secure(cx, now, self.role, &finished, &agreement);
        let peer = secured.peer;
        self.judge_unanswered(cx);
        self.state.on_reply(Box::new(secured), trusted);
        self.use_cid(FIRST, cx, RemoteCid { sequence: 0, id: remote_id, token: payload.hello.reset_token });
        self.paths[FIRST].set_tuple(ends);
        self.set_peer(cx, &agreement.peer);
        self.paths[FIRST].received = Received::new(now, PacketNumber::ZERO);
        self.paths[FIRST].received.ack_now();
        if let Some(sample) = round_trip {
            self.paths[FIRST].on_handshake_round_trip(now, sample);
        }
        self.idle.on_received(now);
        self.paths[FIRST].pulse.on_received(now);
        // The confirming packet: it must be acknowledged, so it is repeated until it is.
        self.paths[FIRST].ping_owed = true;
        self.settle_early(cx, payload.hello.early);
        if trusted {
            self.supply_cids(cx, now);
        }
        self.on_path_opened(FIRST, cx);
        self.tell(cx, if trusted { Event::Connected } else { Event::PeerKey(peer) });
        match self.apply_frames(FIRST, cx, now, payload.frames, &mut Said::default()) {
            Ok(()) => {
                self.close_if_delivered(cx, now);
                Disposition::Accepted
            }
            Err(super::receive::Stop::Withhold) => {
                self.paths[FIRST].received.on_withheld(now, PacketNumber::ZERO);
                Disposition::Dropped(DropReason::OverBudget)
            }
            Err(super::receive::Stop::Violation(error)) => {
                self.violation(cx, error);
                Disposition::Accepted
            }
        }
    }

    /// A Retry came.
    pub(crate) fn handle_retry(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        arrival: &Arrival,
        datagram: &[u8],
    ) -> Disposition {
        let State::Dialling(dialling) = &mut self.state else {
            return Disposition::Dropped(DropReason::Unexpected);
        };
        let Some(token) = dialling.retry_token(&arrival.remote, datagram) else {
            return Disposition::Dropped(DropReason::BadHandshake);
        };
        let ephemeral = cx.rng.ephemeral_secret(now, self.local_id.as_bytes());
        let party = &mut cx.party();
        if dialling.retry(now, party, self.local_id, &ephemeral, token, &arrival.remote) {
            Disposition::Accepted
        } else {
            Disposition::Dropped(DropReason::Unexpected)
        }
    }

    /// Somebody says which versions of the wire it speaks.
    pub(crate) fn handle_versions(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        datagram: &[u8],
    ) -> Disposition {
        let State::Dialling(dialling) = &mut self.state else {
            return Disposition::Dropped(DropReason::Unexpected);
        };
        let list = VersionList::read(datagram.get(CLEAR_HEADER..).unwrap_or_default());
        match list {
            None => Disposition::Dropped(DropReason::BadHandshake),
            Some(list) if dialling.on_versions(now, &arrival.remote, list) => Disposition::Accepted,
            Some(_) => Disposition::Dropped(DropReason::Unexpected),
        }
    }

    /// Another copy of the Init that this connection answered came. Says whether it gets the reply once more.
    pub(crate) fn handle_copy(&mut self, arrival: &Arrival, bytes: usize) -> bool {
        let Some(copies) = self.state.copies_mut() else { return false };
        copies.on_copy(arrival.local, arrival.remote, bytes);
        true
    }

    fn fail_dial(&mut self, cx: &mut Shared, reason: CloseReason) -> Disposition {
        self.end(cx, reason);
        Disposition::Accepted
    }
}

/// The refusal in a reply, if it is one. What does not open cannot get here, so it can be believed.
fn refusal(frames: &[u8]) -> Option<CloseReason> {
    Frames::new(frames).find_map(|frame| match frame {
        Ok(Frame::Close(close)) => Some(match close.by {
            CloseKind::Application => CloseReason::Refused { code: close.code },
            CloseKind::Transport => CloseReason::PeerTransport(TransportError::from_code(close.code)),
        }),
        _ => None,
    })
}

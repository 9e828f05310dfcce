//! What a received packet does: open, interpret, apply.

use bytes::Bytes;

use crate::cids::reset::ResetToken;
use crate::config::EarlyData;
use crate::crypto::keys::{OpenError, Timing};
use crate::crypto::packet;
use crate::error::{CloseReason, TransportError};
use crate::event::Event;
use crate::id::{ConnectionId, PacketNumber};
use crate::path::addr::{Arrival, Ecn};
use crate::path::moving::MoveStep;
use crate::path::pulse::IDLE;
use crate::path::slots::{FIRST, PathSlot};
use crate::path::validate::Validation;
use crate::shared::Shared;
use crate::stats::{Disposition, DropReason, count};
use crate::streams::{Credit, Refusal};
use crate::time::{Instant, part};
use crate::wire::codec::cut;
use crate::wire::frame::{Close, CloseKind, Frame, FrameError, Frames, MAX_REASON};

use super::Connection;
use super::moves::{Heard, Said};
use super::state::State;

/// Why the frames of a packet were not all applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The peer broke a rule.
    Violation(TransportError),
    /// There is no room for what came: the packet is not acknowledged.
    Withhold,
}

impl From<TransportError> for Stop {
    fn from(error: TransportError) -> Self {
        Self::Violation(error)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Violation(error) => Self::Violation(error),
            Refusal::Withhold => Self::Withhold,
        }
    }
}

impl From<FrameError> for Stop {
    fn from(_: FrameError) -> Self {
        Self::Violation(TransportError::FrameEncoding)
    }
}

impl Connection {
    /// A Data packet came `to` one of our connection ids.
    pub(crate) fn handle_data(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        arrival: &Arrival,
        to: ConnectionId,
        datagram: &mut [u8],
    ) -> Disposition {
        let timing = Timing { now, pto: self.largest_pto() };
        let secured = match &mut self.state {
            State::Confirming(confirming) => &mut confirming.secured,
            State::Untrusted(secured) | State::Established(secured) => secured,
            State::Closing(closing) => {
                closing.on_packet();
                return Disposition::Dropped(DropReason::Closed);
            }
            State::Draining { .. } | State::Over => return Disposition::Dropped(DropReason::Closed),
            State::Dialling(_) | State::Answering(_) | State::Qotp(_) | State::Lingering(_) => {
                return Disposition::Dropped(DropReason::Unexpected);
            }
        };
        let Some(field) = packet::unmask(&secured.opener, datagram) else {
            return Disposition::Dropped(DropReason::TooShort);
        };
        let at = self.paths.find(field.path);
        let highest = match at {
            Some(at) => Some(self.paths[at].received.highest()),
            None => self.paths.retired(field.path).map(|retired| retired.life().highest),
        };
        let numbered = field.recover(highest);
        count(&mut cx.stats.aead_operations, 1);
        let phase = secured.opener.phase();
        let end = ResetToken::at_end_of(datagram);
        let opened = packet::open(&mut secured.opener, &numbered, datagram, timing);
        count(&mut cx.stats.derivations, u64::from(secured.opener.phase() != phase));
        let payload = match opened {
            Ok(range) => datagram.get(range).unwrap_or_default(),
            Err(OpenError::PhaseOrder) => {
                self.violation(cx, TransportError::KeyUpdate);
                return Disposition::Accepted;
            }
            Err(OpenError::IntegrityLimit) => {
                self.end(cx, CloseReason::KeysExhausted);
                return Disposition::Accepted;
            }
            Err(_) => {
                let reset = end.is_some_and(|token| self.on_reset(cx, now, &arrival.remote, &token));
                return if reset {
                    Disposition::Accepted
                } else {
                    Disposition::Dropped(DropReason::Unauthentic)
                };
            }
        };
        let at = match at {
            Some(at) => at,
            None => match self.admit(cx, now, arrival, to, &numbered, payload) {
                Some(at) => at,
                None => return Disposition::Dropped(DropReason::UnknownPath),
            },
        };
        if let Some(reason) = self.paths[at].received.reject(numbered.number) {
            return Disposition::Dropped(reason);
        }
        let newest = numbered.number > self.paths[at].received.highest();
        self.paths[at].received.mark(numbered.number);
        let heard = Heard::new(arrival, datagram.len(), newest);
        let (missed, silence) = (self.is_peer_missed(at, now), self.paths[at].pulse.silence(now));
        self.on_authentic(at, cx, now, arrival, datagram.len());
        if !self.state.is_open() {
            // What came early has ended it.
            return Disposition::Accepted;
        }
        if newest {
            self.on_packet_to(at, to);
        }
        let (disposition, said) = self.apply_packet(at, cx, now, numbered.number, arrival.ecn, payload);
        if said.ack_eliciting {
            self.paths[at].vigil.on_heard(now, silence, timing.pto);
        }
        self.end_first_flight(at, cx, &heard.from);
        self.follow(at, cx, now, &heard, &said);
        if missed {
            self.paths[at].loss.on_peer_heard();
        }
        self.close_if_delivered(cx, now);
        disposition
    }

    /// A packet is authentic and new.
    fn on_authentic(&mut self, at: PathSlot, cx: &mut Shared, now: Instant, arrival: &Arrival, bytes: usize) {
        count(&mut self.stats.packets_received, 1);
        count(&mut self.stats.bytes_received, bytes as u64);
        self.idle.on_received(now);
        self.paths.on_heard(at, now, part(IDLE, 2));
        self.paths[at].counts.on_received(bytes);
        if arrival.remote == self.paths[at].remote {
            self.paths[at].validation.on_received(bytes);
        }
        if self.is_half_open() {
            self.confirm(cx, now, arrival, bytes);
        }
    }

    /// The first Data packet proves the initiator's key, and its address if the Init showed a token for it or all copies of it
    /// came from there
    /// (docs/PROTOCOL.md, "Address validation").
    fn confirm(&mut self, cx: &mut Shared, now: Instant, arrival: &Arrival, bytes: usize) {
        let Some((copies, early)) = self.state.on_confirmed() else { return };
        let validated = copies.first == arrival.remote && (copies.validated || !copies.several);
        if !validated {
            let (received, sent) =
                if copies.first == arrival.remote { (copies.received, copies.sent) } else { (0, 0) };
            let challenge = cx.rng.bytes();
            self.paths[FIRST].validation =
                Validation::start(now, challenge, received.saturating_add(bytes as u64), sent);
        }
        self.paths[FIRST].set_tuple(arrival.tuple());
        self.set_sizes(cx);
        if copies.replies == 1 {
            self.paths[FIRST].on_handshake_round_trip(now, now - copies.first_reply);
        }
        self.on_path_opened(FIRST, cx);
        self.quiet = false;
        self.tell(cx, Event::Connected);
        self.supply_cids(cx, now);
        if cx.config.early_data == EarlyData::Apply {
            self.issue_tokens();
        }
        if !early.is_empty() {
            self.apply_packet(FIRST, cx, now, PacketNumber::ZERO, None, &early);
        }
    }

    /// Applies the frames of a packet, and remembers it for acknowledgement.
    fn apply_packet(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        number: PacketNumber,
        ecn: Option<Ecn>,
        payload: &[u8],
    ) -> (Disposition, Said) {
        let mut said = Said::default();
        let disposition = match self.apply_frames(at, cx, now, payload, &mut said) {
            Ok(()) => {
                let (eliciting, max_delay) = (said.ack_eliciting, cx.config.max_ack_delay);
                self.paths[at].received.on_applied(now, number, eliciting, ecn, max_delay);
                Disposition::Accepted
            }
            Err(Stop::Withhold) => {
                self.paths[at].received.on_withheld(now, number);
                Disposition::Dropped(DropReason::OverBudget)
            }
            Err(Stop::Violation(error)) => {
                self.violation(cx, error);
                Disposition::Accepted
            }
        };
        // Once, however often the packet has changed its mind.
        if said.statuses && self.state.is_open() {
            self.reselect(cx);
        }
        (disposition, said)
    }

    /// Applies frames in their order, and takes down what they said.
    pub(super) fn apply_frames(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        payload: &[u8],
        said: &mut Said,
    ) -> Result<(), Stop> {
        let mut substance = false;
        for frame in Frames::new(payload) {
            count(&mut cx.stats.frames, 1);
            let frame = frame?;
            said.ack_eliciting |= frame.is_ack_eliciting();
            substance |= !frame.is_probing();
            self.apply(at, cx, now, &frame, said)?;
            if !self.state.is_open() {
                said.ack_eliciting = false;
                return Ok(());
            }
        }
        said.substance = substance;
        Ok(())
    }

    fn apply(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        frame: &Frame<'_>,
        said: &mut Said,
    ) -> Result<(), Stop> {
        match *frame {
            Frame::Padding | Frame::Ping | Frame::Reserved => {}
            Frame::Ack(ref ack) => self.on_ack(at, cx, now, ack)?,
            Frame::Stream { id, offset, data, fin } => {
                self.note_payload(now);
                let memory = &mut cx.memory(&mut self.account);
                if self.streams.on_stream(id, offset, data, fin, memory)? == Credit::Due {
                    self.update_windows(cx, id);
                }
            }
            Frame::ResetStream { id, code, final_size } => {
                let memory = &mut cx.memory(&mut self.account);
                self.streams.on_reset_stream(id, code, final_size, memory)?;
                self.update_windows(cx, id);
            }
            Frame::StopSending { id, code } => {
                self.streams.on_stop_sending(id, code, &mut cx.memory(&mut self.account))?;
            }
            Frame::MaxData(max) => self.streams.on_max_data(max),
            Frame::MaxStreamData { id, max } => {
                self.streams.on_max_stream_data(id, max, &mut cx.memory(&mut self.account))?;
            }
            Frame::MaxStreams { direction, max } => self.streams.on_max_streams(direction, max),
            Frame::NewConnectionId(ref new) => self.on_new_cid(new)?,
            Frame::RetireConnectionId(sequence) => self.on_retire_cid(cx, now, at, sequence)?,
            Frame::PathChallenge(data) => said.challenge = Some(data),
            Frame::PathResponse(data) => {
                if let step @ MoveStep::Go(_) = self.on_path_response(at, cx, now, &data) {
                    said.step = step;
                }
            }
            Frame::PathStatus(ref change) => said.statuses |= self.on_path_status(cx, change)?,
            Frame::PathAbandon(ref abandon) => self.on_abandon(cx, now, abandon)?,
            Frame::Datagram(data) => {
                self.note_payload(now);
                self.on_datagram(cx, data)?;
            }
            Frame::Close(close) => self.on_peer_close(cx, now, &close),
            Frame::NewToken(token) => self.on_new_token(token)?,
            Frame::Hello(_) => return Err(TransportError::Protocol.into()),
        }
        Ok(())
    }

    fn on_datagram(&mut self, cx: &mut Shared, data: &[u8]) -> Result<(), TransportError> {
        let room = self.room(cx);
        let (dropped, awaited) = self.datagrams.on_received(data, room).ok_or(TransportError::Protocol)?;
        count(&mut self.stats.datagrams_received, 1);
        count(&mut self.stats.datagrams_dropped, dropped);
        // Early data may be taken back yet, and is told of as such first.
        if awaited && !matches!(self.state, State::Answering(_)) {
            self.tell(cx, Event::DatagramReceived);
        }
        Ok(())
    }

    fn on_peer_close(&mut self, cx: &mut Shared, now: Instant, close: &Close<'_>) {
        let reason = match close.by {
            CloseKind::Application => {
                let reason = Bytes::copy_from_slice(cut(close.reason, MAX_REASON));
                CloseReason::Peer { code: close.code, reason }
            }
            CloseKind::Transport => CloseReason::PeerTransport(TransportError::from_code(close.code)),
        };
        self.drain(cx, now, reason);
    }
}

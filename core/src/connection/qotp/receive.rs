//! What a received QOTP packet does.

use core::ops::Range;

use crate::connection::Connection;
use crate::connection::state::State;
use crate::crypto::qotp::packet::{Sequence, open};
use crate::id::{PacketNumber, StreamId};
use crate::path::addr::Arrival;
use crate::path::slots::FIRST;
use crate::path::validate::Validation;
use crate::recovery::sent::Acked;
use crate::shared::Shared;
use crate::stats::{Disposition, DropReason, count};
use crate::time::{Duration, Instant};
use crate::wire::qotp::header::{Header, PacketType};
use crate::wire::qotp::payload::{Ack, Payload, StreamPart};

use super::acks::Owed;
use super::chunks::Name;
use super::handshake::INIT_NUMBER;
use super::{Handshake, Phase};

impl Connection {
    /// A packet with our connection id came that is no Init.
    pub(crate) fn handle_qotp(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        arrival: &Arrival,
        header: &Header,
        datagram: &mut [u8],
    ) -> Disposition {
        if !matches!(header, Header::Data { .. }) {
            let disposition = self.handle_qotp_reply(cx, now, arrival, header, datagram);
            self.close_if_delivered(cx, now);
            return disposition;
        }
        let sender = self.role.peer();
        let Some(qotp) = self.state.qotp_mut() else { return Disposition::Dropped(DropReason::Closed) };
        let Phase::Keyed(keyed) = &mut qotp.phase else {
            return Disposition::Dropped(DropReason::Unexpected);
        };
        count(&mut cx.stats.aead_operations, 1);
        let clear = PacketType::Data.clear_len();
        let Ok((sequence, range)) = open(&keyed.key, sender, keyed.epochs.candidates(), clear, datagram)
        else {
            return self.on_qotp_forged();
        };
        keyed.epochs.on_opened(sequence.epoch);
        if !self.paths[FIRST].received.is_duplicate(number(sequence)) {
            // It has what we said in the handshake.
            qotp.proof.stop();
            if matches!(keyed.handshake, Handshake::Answering(_)) {
                keyed.handshake = Handshake::Done;
            }
            // It has its address too, if the packet comes from there: perhaps not the first one, which anybody on its
            // way can send from elsewhere before it arrives.
            if arrival.remote == self.paths[FIRST].remote {
                self.paths[FIRST].validation = Validation::Valid;
            }
        }
        let disposition = self.on_qotp_opened(cx, now, arrival, sequence, datagram, range);
        self.close_if_delivered(cx, now);
        disposition
    }

    pub(super) fn on_qotp_forged(&mut self) -> Disposition {
        count(&mut self.stats.forged_packets, 1);
        Disposition::Dropped(DropReason::Unauthentic)
    }

    /// A packet is authentic. Its number was good for more than a nonce in no peer but this one.
    pub(super) fn on_qotp_opened(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        arrival: &Arrival,
        sequence: Sequence,
        datagram: &[u8],
        payload: Range<usize>,
    ) -> Disposition {
        let number = number(sequence);
        if let Some(reason) = self.paths[FIRST].received.reject(number) {
            return Disposition::Dropped(reason);
        }
        self.paths[FIRST].received.mark(number);
        count(&mut self.stats.packets_received, 1);
        count(&mut self.stats.bytes_received, datagram.len() as u64);
        self.paths[FIRST].counts.on_received(datagram.len());
        let missed = self.is_peer_missed(FIRST, now);
        self.idle.on_received(now);
        if arrival.remote == self.paths[FIRST].remote {
            self.paths[FIRST].validation.on_received(datagram.len());
            self.note_own_address(FIRST, cx, &arrival.tuple());
        }
        let Ok(mut payload) = Payload::decode(datagram.get(payload).unwrap_or_default()) else {
            return Disposition::Dropped(DropReason::Malformed);
        };
        if datagram.first() != Some(&PacketType::Data.first_byte()) {
            self.drop_ack_of_copy(&mut payload);
        }
        let applied = self.apply_qotp(cx, now, &payload);
        // An acknowledgement alone may be what a peer without room answers our probes with.
        if missed && payload.stream.is_some() {
            self.paths[FIRST].loss.on_peer_heard();
        }
        if let State::Qotp(qotp) = &mut self.state {
            qotp.unheard = 0;
            if applied.is_err() && qotp.acks.is_empty() {
                // There is no room, but somebody is there.
                qotp.acks.push(Owed::NOTHING);
            }
        }
        match applied {
            Ok(()) => Disposition::Accepted,
            Err(Withheld) => Disposition::Dropped(DropReason::OverBudget),
        }
    }

    /// Who sends a reply has nothing of ours but copies of the Init. If the Init was empty, their acknowledgements look
    /// like one of the end of an empty stream that was sent since.
    fn drop_ack_of_copy(&mut self, payload: &mut Payload<'_>) {
        let Some(ack) = payload.ack.filter(|ack| ack.len == 0) else { return };
        let name = Name { id: StreamId::qotp(ack.stream), offset: ack.offset, len: ack.len };
        if self.state.qotp_mut().is_some_and(|qotp| !qotp.chunks.is_in(name, INIT_NUMBER)) {
            payload.ack = None;
            self.streams.set_peer_window(ack.window, self.paths[FIRST].packet_size);
        }
    }

    /// Applies what a packet says, and owes its acknowledgement.
    pub(super) fn apply_qotp(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        payload: &Payload<'_>,
    ) -> Result<(), Withheld> {
        count(&mut cx.stats.frames, u64::from(payload.ack.is_some()));
        count(&mut cx.stats.frames, u64::from(payload.stream.is_some()));
        if let Some(ack) = &payload.ack {
            self.on_qotp_ack(cx, now, ack);
        }
        let Some(StreamPart { stream, offset, data }) = payload.stream else { return Ok(()) };
        let id = StreamId::qotp(stream);
        let lingers = matches!(self.state, State::Lingering(_));
        let Some(qotp) = self.state.qotp_mut().filter(|qotp| !qotp.acks.is_full()) else {
            return Err(Withheld);
        };
        if lingers && !self.streams.is_over(id) {
            return Err(Withheld);
        }
        let memory = &mut cx.memory(&mut self.account);
        self.streams.on_stream(id, offset, data, payload.close, memory).map_err(|_| Withheld)?;
        qotp.acks.push(Owed::new(id, offset, data.len()));
        qotp.told.on_data();
        Ok(())
    }

    /// An acknowledgement came: the packet that carried the range last gets the credit, if it can be for that one.
    fn on_qotp_ack(&mut self, cx: &mut Shared, now: Instant, ack: &Ack) {
        let Some(qotp) = self.state.qotp_mut() else { return };
        let name = Name { id: StreamId::qotp(ack.stream), offset: ack.offset, len: ack.len };
        let (sent, rtt) = (&self.paths[FIRST].sent, &self.paths[FIRST].rtt);
        let too_soon =
            |packet| rtt.is_measured() && sent.sent_at(packet).is_some_and(|at| now - at < rtt.min());
        let credit = qotp.chunks.on_acked(name, too_soon);
        if let Some(item) = credit.and_then(|credit| credit.item) {
            self.streams.on_acked(item, &mut cx.memory(&mut self.account));
        }
        self.streams.set_peer_window(ack.window, self.paths[FIRST].packet_size);
        let Some(credit) = credit else { return };
        let before = self.paths[FIRST].in_flight;
        self.paths[FIRST].bbr.begin_ack(now);
        let Some(acked) = self.paths[FIRST].sent.ack(credit.packet) else { return };
        let largest = self.paths[FIRST].loss.largest_acked().map_or(0, PacketNumber::get).max(credit.packet);
        self.credit_packet(FIRST, now, largest.saturating_sub(credit.packet), &acked);
        let sample = match acked {
            Acked::InFlight(packet) | Acked::Spurious(packet) if credit.clean => Some(now - packet.sent),
            _ => None,
        };
        self.after_ack(FIRST, now, PacketNumber(largest), sample, Duration::ZERO, before);
    }
}

/// There is no room for what came, or no connection left for it: it is not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Withheld;

/// A sequence number as one number, for the replay window. Nobody gets to epochs that do not fit.
fn number(sequence: Sequence) -> PacketNumber {
    PacketNumber(sequence.epoch.min(u64::from(u16::MAX)) << 48 | sequence.number)
}

//! What goes into the next QOTP packet: at most one acknowledgement and one chunk of a stream.

use alloc::vec::Vec;

use crate::budget::total;
use crate::connection::Connection;
use crate::connection::plan::{Held, MIN_RECORDS};
use crate::connection::send::Built;
use crate::connection::state::State;
use crate::crypto::keys::KeyPhase;
use crate::crypto::qotp::packet::{NUMBER_LEN, Sequence, seal};
use crate::error::CloseReason;
use crate::id::{ConnectionId, PacketNumber, Role};
use crate::limiter::Gate;
use crate::path::addr::{LocalAddr, TrainLimit, TransportAddr};
use crate::path::slots::FIRST;
use crate::shared::Shared;
use crate::stats::count;
use crate::time::Instant;
use crate::wire::header::TAG;
use crate::wire::qotp::header::Header;
use crate::wire::qotp::payload::{Ack, header_len, put_header};

use super::chunks::Name;
use super::{Handshake, Phase, Qotp};

/// What the next packet may carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    /// An acknowledgement alone, which neither congestion control nor the peer's window holds.
    Ack,
    /// A chunk or a PING, with an acknowledgement if one is waiting.
    Data,
}

/// What a data packet carries besides an acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Content {
    name: Name,
    fin: bool,
    /// Sent before, and now exactly as it was then.
    again: bool,
}

/// Less than this of an address's allowance is not worth a packet: the smallest reply with an acknowledgement.
const MIN_ALLOWANCE: u64 = 128;

impl Connection {
    /// As many packets as may go now.
    pub(in crate::connection) fn poll_qotp(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        limit: TrainLimit,
        out: &mut Vec<u8>,
    ) -> Option<(LocalAddr, TransportAddr, usize)> {
        let start = out.len();
        if let State::Lingering(lingering) = &mut self.state {
            lingering.start(now);
        }
        if let State::Qotp(qotp) = &self.state
            && let Phase::Dialling(dial) = &qotp.phase
        {
            if dial.is_unsent() {
                self.make_qotp_init(cx, now);
            }
            let State::Qotp(qotp) = &mut self.state else { return None };
            let Phase::Dialling(dial) = &mut qotp.phase else { return None };
            out.extend_from_slice(dial.copy_due(now)?);
            return Some((
                self.paths[FIRST].local,
                self.paths[FIRST].remote,
                out.len().saturating_sub(start),
            ));
        }
        let train = self.poll_qotp_train(cx, now, limit, out)?;
        self.paths[FIRST].counts.on_sent(out.len().saturating_sub(start), train.2);
        Some(train)
    }

    fn poll_qotp_train(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        limit: TrainLimit,
        out: &mut Vec<u8>,
    ) -> Option<(LocalAddr, TransportAddr, usize)> {
        let start = out.len();
        let most = limit.bytes.min(TrainLimit::MAX_BYTES);
        let packet_size = self.paths[FIRST].packet_size;
        let full = usize::from(packet_size);
        let rate = self.paths[FIRST].bbr.pacing_rate();
        let mut budget = self.paths[FIRST].pacer.grant(now, rate, packet_size);
        let (mut paced, mut segment_size) = (0, full);
        self.paths[FIRST].starved = false;
        self.book(FIRST, now, Gate::Socket);
        let room = self.room_to_send(FIRST, cx);
        for place in 0..limit.segments.max(1) {
            if place > 0 && out.len().saturating_sub(start).saturating_add(segment_size) > most {
                break;
            }
            count(&mut cx.stats.packets_planned, 1);
            let plan = match self.plan_qotp(cx, now, budget, room) {
                Ok(plan) => plan,
                Err(held) => {
                    self.on_held(FIRST, now, held);
                    break;
                }
            };
            // A train of acknowledgements ends where data could go: a packet of their size would cut it to pieces.
            if place > 0 && segment_size < full && plan == Plan::Data {
                break;
            }
            let Some(built) = self.put_qotp(cx, now, plan, segment_size, out) else {
                self.book(FIRST, now, self.gate(FIRST, Held::Idle));
                break;
            };
            if built.in_flight {
                count(&mut paced, built.len as u64);
                budget = budget.saturating_sub(built.len as u64);
            }
            if place == 0 {
                segment_size = built.len;
            }
            if built.len < segment_size || (built.len < full && plan == Plan::Data) {
                break;
            }
        }
        self.note_qotp_window(now);
        if paced > 0 {
            self.paths[FIRST].pacer.on_sent(now, paced, rate);
        }
        (out.len() > start).then_some((self.paths[FIRST].local, self.paths[FIRST].remote, segment_size))
    }

    /// Decides on the next packet. `budget` is what the pacer lets go in bytes, `room` what the memory limits leave.
    fn plan_qotp(&mut self, cx: &Shared, now: Instant, budget: u64, room: usize) -> Result<Plan, Held> {
        let max_in_flight = cx.config.qotp.max_in_flight;
        let Some(qotp) = self.state.qotp_mut() else { return Err(Held::Idle) };
        let (lost, acks) = (qotp.chunks.first_lost().is_some(), !qotp.acks.is_empty());
        let path = &self.paths[FIRST];
        if path.validation.allowance() < MIN_ALLOWANCE {
            return Err(Held::Amplification);
        }
        let open = matches!(self.state, State::Qotp(_));
        let (size, full) = (u64::from(path.packet_size), path.sent.growth() > room.max(MIN_RECORDS));
        let held = if !open {
            Held::Idle
        } else if path.loss.probes() > 0 {
            if full {
                self.forget_oldest(FIRST, now);
            }
            return Ok(Plan::Data);
        } else if !lost && !self.paths[FIRST].ping_owed && !self.streams.has_output() {
            Held::Idle
        } else if full {
            Held::Memory
        } else if path.in_flight.saturating_add(size) > path.bbr.window().min(max_in_flight) {
            Held::Window
        } else if budget < size {
            Held::Pacer
        } else {
            return Ok(Plan::Data);
        };
        match (acks, full) {
            (false, _) => Err(held),
            // An acknowledgement has a record, too: it waits for a probe, which makes room.
            (true, true) => Err(Held::Memory),
            (true, false) => Ok(Plan::Ack),
        }
    }

    /// Builds, seals and commits one packet of at most `size` bytes. `None` if it turned out that nothing fits, or that
    /// there is nothing to say.
    fn put_qotp(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        plan: Plan,
        size: usize,
        out: &mut Vec<u8>,
    ) -> Option<Built> {
        let start = out.len();
        let allowance = usize::try_from(self.paths[FIRST].validation.allowance()).unwrap_or(usize::MAX);
        let window = self.streams.receive_window();
        let qotp = self.state.qotp_mut()?;
        let header = qotp.header(self.local_id)?;
        let clear = header.ty().clear_len();
        let room = size.min(allowance).checked_sub(total([clear, NUMBER_LEN, TAG]))?;
        let ack = qotp.acks.first();
        let ack = ack.map(|owed| Ack { stream: owed.stream, offset: owed.offset, len: owed.len, window });
        let content = if plan == Plan::Data { self.choose_content(ack.as_ref(), room) } else { None };
        // What goes again keeps its boundaries: if the acknowledgement does not fit beside it, it waits.
        let ack = ack.filter(|ack| content.is_none_or(|content| content.fits(Some(ack), room)));
        if content.is_none() && ack.is_none_or(|ack| header_len(Some(&ack), None) > room) {
            return None;
        }
        header.put(out);
        out.resize(total([start, clear, NUMBER_LEN]), 0);
        let part = content.map(|content| (content.name.number(), content.name.offset));
        let fin = content.is_some_and(|content| content.fin);
        put_header(out, ack.as_ref(), part, fin);
        if let Some(content) = content
            && !self.streams.append_chunk(&content.name.item(fin), out)
            && (content.name.len > 0 || fin)
        {
            // The stream was thrown away with the chunk.
            out.truncate(start);
            self.state.qotp_mut()?.chunks.forget(content.name);
            return None;
        }
        out.resize(out.len().saturating_add(TAG), 0);
        self.seal_qotp(cx, out, start, clear)?;
        self.commit_qotp(now, out.len().saturating_sub(start), ack, content)
    }

    /// Chooses what to send: what was lost, what is new, or a PING if one is owed. `None`: nothing of that, or the next
    /// lost chunk needs more room.
    fn choose_content(&mut self, ack: Option<&Ack>, room: usize) -> Option<Content> {
        let probing = self.paths[FIRST].loss.probes() > 0;
        let chunks = &mut self.state.qotp_mut()?.chunks;
        let (yields, lost) = (chunks.yields(), chunks.first_lost());
        let again = lost.map(|(name, fin)| Content { name, fin, again: true });
        if let Some(content) = again.filter(|_| !yields) {
            return content.fits(None, room).then_some(content);
        }
        let chunk = self.streams.take_chunk(|offset| room.saturating_sub(header_len(ack, Some(offset))));
        if let Some((name, fin)) = chunk.and_then(Name::of) {
            return Some(Content { name, fin, again: false });
        }
        if again.is_some() {
            return again.filter(|content| content.fits(None, room));
        }
        let ping = probing || self.paths[FIRST].ping_owed;
        ping.then_some(Content { name: Name::PING, fin: false, again: false })
    }

    fn seal_qotp(&mut self, cx: &mut Shared, out: &mut Vec<u8>, start: usize, clear: usize) -> Option<()> {
        let PacketNumber(number) = self.paths[FIRST].sent.next();
        count(&mut cx.stats.aead_operations, 1);
        let role = self.role;
        let key = self.state.qotp_mut()?.key()?;
        let packet = out.get_mut(start..)?;
        let sealed =
            Sequence::of(number).is_some_and(|sequence| seal(key, role, sequence, clear, packet).is_ok());
        if !sealed {
            out.truncate(start);
            self.end(cx, CloseReason::KeysExhausted);
            return None;
        }
        Some(())
    }

    fn commit_qotp(
        &mut self,
        now: Instant,
        len: usize,
        ack: Option<Ack>,
        content: Option<Content>,
    ) -> Option<Built> {
        let PacketNumber(number) = self.paths[FIRST].sent.next();
        let qotp = self.state.qotp_mut()?;
        if let Some(ack) = ack {
            qotp.acks.pop();
            qotp.told.on_told(ack.window);
        }
        if let Some(Content { name, fin, again }) = content {
            qotp.chunks.on_sent(name, fin, number);
            self.paths[FIRST].sent.push_item(name.item(fin));
            self.paths[FIRST].ping_owed = false;
            if again {
                count(&mut self.stats.bytes_retransmitted, u64::from(name.len));
            }
        }
        let built = Built { len, in_flight: content.is_some() };
        self.commit(FIRST, now, built, KeyPhase::default());
        Some(built)
    }

    /// Where the peer's window holds what there is to send and nothing is in flight, no acknowledgement will bring a wider
    /// one: a PING asks for it after a while.
    fn note_qotp_window(&mut self, now: Instant) {
        let (held, idle) = (self.streams.is_held(), self.paths[FIRST].sent.outstanding() == 0);
        let Some(qotp) = self.state.qotp_mut() else { return };
        if !held {
            qotp.told.on_free();
        } else if idle {
            qotp.told.on_held(now);
        }
    }
}

impl Content {
    /// Whether it fits into `room` bytes of payload, beside `ack`.
    fn fits(&self, ack: Option<&Ack>, room: usize) -> bool {
        header_len(ack, Some(self.name.offset)).saturating_add(usize::from(self.name.len)) <= room
    }
}

impl Qotp {
    /// What the next packet starts with.
    fn header(&self, id: ConnectionId) -> Option<Header> {
        match &self.phase {
            Phase::Dialling(_) => None,
            Phase::Keyed(keyed) => Some(match &keyed.handshake {
                Handshake::Answering(answering) => answering.reply,
                Handshake::Replied(..) | Handshake::Done => Header::Data { id },
            }),
        }
    }

    /// Appends a packet with this number around any payload; see [`crate::fuzzing::seal`]. `None` if there is no key yet, or
    /// the payload is too short.
    pub(in crate::connection) fn put_raw(
        &self,
        id: ConnectionId,
        role: Role,
        number: PacketNumber,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let (start, header, key) = (out.len(), self.header(id)?, self.key()?);
        header.put(out);
        let clear = out.len().saturating_sub(start);
        out.resize(out.len().saturating_add(NUMBER_LEN), 0);
        out.extend_from_slice(payload);
        out.resize(out.len().saturating_add(TAG), 0);
        let sequence = Sequence::of(number.0);
        let packet = out.get_mut(start..)?;
        if sequence.is_none_or(|sequence| seal(key, role, sequence, clear, packet).is_err()) {
            out.truncate(start);
            return None;
        }
        Some(())
    }
}

//! Builds packets, seals them, and commits what was sent.

use alloc::vec::Vec;

use crate::congestion::SentInfo;
use crate::crypto::keys::{KeyPhase, Timing};
use crate::crypto::packet;
use crate::error::CloseReason;
use crate::id::{ConnectionId, PacketNumber, WireVersion};
use crate::limiter::Gate;
use crate::path::addr::{Ecn, TrainLimit, Transmit, Tuple};
use crate::path::liveness::is_payload;
use crate::path::slots::PathSlot;
use crate::recovery::loss::LossDetector;
use crate::recovery::sent::Item;
use crate::shared::Shared;
use crate::stats::count;
use crate::streams::Behind;
use crate::time::Instant;
use crate::wire::frame::{Close, Control, EcnCounts, put_ack, put_close, put_control, put_reserved};
use crate::wire::header::{DATA_HEADER, PacketType, TAG};

use super::Connection;
use super::duties::CHALLENGE_SIZE;
use super::plan::{Held, Kind, MIN_RECORDS, Plan};
use super::state::State;

/// Packets without anything ack-eliciting after which one gets a PING, unless something is in flight anyway, so that the
/// peer's acknowledgements let us forget what we acknowledged (RFC 9000 section 13.2.4).
const QUIET_PACKETS: u32 = 16;

impl Connection {
    /// Appends the next train of datagrams to `out`.
    pub(crate) fn poll_transmit(
        &mut self,
        cx: &mut Shared,
        now: Instant,
        limit: TrainLimit,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let start = out.len();
        let mut ecn = None;
        if matches!(self.state, State::Answering(_)) && !self.make_reply(cx, now) {
            self.end(cx, CloseReason::Unconfirmed);
        }
        let (local, remote, segment_size) = match &mut self.state {
            State::Dialling(dialling) => {
                if dialling.is_unsent() {
                    self.make_init(cx, now);
                }
                let State::Dialling(dialling) = &mut self.state else { return None };
                let (copy, to) = dialling.copy_due(now)?;
                out.extend_from_slice(copy);
                (to.local, to.remote, out.len().saturating_sub(start))
            }
            State::Confirming(confirming) => {
                let (local, remote) = confirming.reply.poll_transmit(now, out)?;
                (local, remote, out.len().saturating_sub(start))
            }
            State::Untrusted(_) | State::Established(_) => {
                let train = self.poll_paths(cx, now, limit, out)?;
                ecn = train.ecn;
                (train.to.local, train.to.remote, train.segment_size)
            }
            State::Qotp(_) | State::Lingering(_) => self.poll_qotp(cx, now, limit, out)?,
            State::Closing(closing) => {
                let reply = closing.reply.as_mut().and_then(|reply| reply.poll_transmit(now, out));
                let (local, remote) = match reply {
                    Some(to) => to,
                    None => {
                        let to = self.put_close_packets(cx, now, out)?;
                        (to.local, to.remote)
                    }
                };
                (local, remote, out.len().saturating_sub(start))
            }
            State::Answering(_) | State::Draining { .. } | State::Over => return None,
        };
        let len = out.len().saturating_sub(start);
        count(&mut self.stats.packets_sent, len.div_ceil(segment_size.max(1)) as u64);
        count(&mut self.stats.bytes_sent, len as u64);
        Some(Transmit { connection: self.handle, local, remote, ecn, len, segment_size })
    }

    /// As many full packets as may go now, and one shorter one behind them: their size, and the codepoint of all.
    pub(super) fn poll_train(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        limit: TrainLimit,
        out: &mut Vec<u8>,
    ) -> Option<(usize, Option<Ecn>)> {
        self.book(at, now, Gate::Socket);
        self.rotate_keys(cx, now);
        self.renew_cid(at, cx);
        let start = out.len();
        let most = limit.bytes.min(TrainLimit::MAX_BYTES);
        let rate = self.paths[at].bbr.pacing_rate();
        let full = self.full_size(at);
        let mut budget = self.paths[at].pacer.grant(now, rate, full);
        let mut paced = 0_u64;
        let mut segment_size = 0;
        let mut ecn = None;
        self.paths[at].starved = false;
        if !self.paths.carries(at) {
            // What PINGs deliver says nothing of what the path can.
            let path = &mut self.paths[at];
            path.bbr.on_app_limited(path.in_flight);
        }
        let mut room = self.room_to_send(at, cx);
        let probe = self.put_mtu_probe(at, cx, now, limit, budget, out);
        if probe.is_some() {
            return probe;
        }
        for place in 0..limit.segments.max(1) {
            if place > 0 && out.len().saturating_sub(start).saturating_add(segment_size) > most {
                break;
            }
            count(&mut cx.stats.packets_planned, 1);
            let plan = match self.plan(at, now, budget, room) {
                // All packets of a train have the size of its first.
                Ok(plan) if place > 0 => Plan { size: plan.size.min(segment_size), ..plan },
                Ok(plan) => plan,
                Err(held) => {
                    self.on_held(at, now, held);
                    break;
                }
            };
            if plan.kind == Kind::Probe && self.paths[at].sent.growth() > room.max(MIN_RECORDS) {
                self.forget_oldest(at, now);
            }
            if place == 0 && plan.kind != Kind::Quiet {
                let path = &mut self.paths[at];
                ecn = path.ecn.begin_train(path.sent.next());
            }
            let records = self.paths[at].sent.heap_bytes();
            self.paths[at].sent.begin_packet(room.max(MIN_RECORDS));
            let Some(built) = self.put_packet(at, cx, now, plan, out) else {
                self.book(at, now, self.gate(at, Held::Idle));
                break;
            };
            room = room.saturating_sub(self.paths[at].sent.heap_bytes().saturating_sub(records));
            if ecn.is_some() {
                self.paths[at].sent.set_ect();
                self.paths[at].ecn.on_sent(built.in_flight);
            }
            if built.in_flight {
                paced = paced.saturating_add(built.len as u64);
                budget = budget.saturating_sub(built.len as u64);
            }
            if place == 0 {
                segment_size = built.len;
            }
            let is_short = built.len < plan.size.max(segment_size);
            if is_short && !(place == 0 && self.has_datagram_for(segment_size))
                || self.paths[at].ecn.is_test_sent()
            {
                break;
            }
        }
        if paced > 0 {
            self.paths[at].pacer.on_sent(now, paced, rate);
        }
        if segment_size == 0 { None } else { Some((segment_size, ecn)) }
    }

    /// Whether the next datagram fits into a packet of this size: a train of them may be of smaller packets than full ones.
    fn has_datagram_for(&self, size: usize) -> bool {
        self.datagrams
            .next_frame()
            .is_some_and(|frame| frame.saturating_add(DATA_HEADER.saturating_add(TAG)) <= size)
    }

    fn rotate_keys(&mut self, cx: &mut Shared, now: Instant) {
        let timing = Timing { now, pto: self.largest_pto() };
        if let Some(secured) = self.state.secured_mut() {
            count(&mut cx.stats.derivations, u64::from(secured.sealer.rotate_if_due(timing)));
        }
    }

    pub(super) fn on_held(&mut self, at: PathSlot, now: Instant, held: Held) {
        self.book(at, now, self.gate(at, held));
        match held {
            Held::Idle => {
                let path = &mut self.paths[at];
                path.bbr.on_app_limited(path.in_flight);
            }
            Held::Pacer => {
                let (rate, size) = (self.paths[at].bbr.pacing_rate(), self.full_size(at));
                self.paths[at].pacer.wait(now, rate, size);
            }
            Held::Memory => self.paths[at].starved = true,
            Held::Window | Held::Amplification | Held::Numbers => {}
        }
    }

    /// Builds, seals and commits one packet. `None` if it turned out that there is nothing to say.
    fn put_packet(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        plan: Plan,
        out: &mut Vec<u8>,
    ) -> Option<Built> {
        let number = self.paths[at].next_number(now, &mut cx.rng);
        let start = out.len();
        let end = start.saturating_add(plan.size).saturating_sub(TAG);
        put_header(self.paths[at].remote_id, out);
        let header_end = start.saturating_add(DATA_HEADER);
        let end_of_acks = end.saturating_sub(self.room_for_path_frames(at));
        self.put_acks(at, now, plan, out, end_of_acks);
        if !self.paths.is_single() {
            self.put_orphaned_acks(at, now, out, end_of_acks);
        }
        let frames = out.len();
        if !self.paths.is_single() {
            self.put_words_of_others(at, out, end);
        }
        let padded = self.put_path_frames(at, now, plan, out, end);
        if plan.kind != Kind::Quiet {
            self.put_contents(at, cx, plan, out, end);
        } else if matches!(self.state, State::Established(_)) {
            self.streams.put_credit(out, end, &mut self.paths[at].sent);
        }
        if self.paths[at].quiet >= QUIET_PACKETS
            && self.paths[at].in_flight == 0
            && out.len() == frames
            && frames > header_end
            && frames < end
        {
            put_control(out, &Control::Ping);
        }
        let ack_eliciting = out.len() > frames;
        if out.len() == header_end {
            out.truncate(start);
            return None;
        }
        if ack_eliciting && !self.paths.carries(at) && self.is_suspect(at) {
            // Small packets may pass where large ones do not.
            let small = start.saturating_add(usize::from(self.paths[at].mtu().base())).saturating_sub(TAG);
            out.resize(end.min(small).max(out.len()), 0);
        }
        if padded {
            out.resize(out.len().max(start.saturating_add(CHALLENGE_SIZE).saturating_sub(TAG)), 0);
        }
        out.resize(out.len().saturating_add(TAG), 0);
        let built = Built { len: out.len().saturating_sub(start), in_flight: ack_eliciting };
        let phase = self.seal(at, cx, number, start, out)?;
        self.commit(at, now, built, phase);
        self.paths[at].tell_mtu(|mtu| mtu.on_sent(now, number, built.len as u16));
        Some(built)
    }

    /// Seals the packet that begins at `start`, and says in what key phase. `None`: the keys are used up, which ends the
    /// connection.
    pub(super) fn seal(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        number: PacketNumber,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Option<KeyPhase> {
        let Some(secured) = self.state.secured_mut() else {
            // Another path's packet has used the keys up.
            out.truncate(start);
            return None;
        };
        let phase = secured.sealer.phase();
        count(&mut cx.stats.aead_operations, 1);
        if packet::seal(&mut secured.sealer, self.paths[at].id, number, out.get_mut(start..)?).is_err() {
            out.truncate(start);
            self.end(cx, CloseReason::KeysExhausted);
            return None;
        }
        Some(phase)
    }

    /// Seals the packet that begins at `start` under the next number of its path, and records it where neither recovery nor
    /// congestion control looks. `None` as for [`Self::seal`].
    pub(super) fn seal_apart(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Option<PacketNumber> {
        let number = self.paths[at].next_number(now, &mut cx.rng);
        let phase = self.seal(at, cx, number, start, out)?;
        let size = out.len().saturating_sub(start) as u16;
        self.paths[at].sent.record(now, size, SentInfo::default(), phase, false);
        self.idle.on_sent(now, false);
        Some(number)
    }

    /// An acknowledgement goes with whatever is sent.
    fn put_acks(&mut self, at: PathSlot, now: Instant, plan: Plan, out: &mut Vec<u8>, end: usize) {
        if self.paths[at].received.is_waiting() || plan.kind == Kind::Quiet {
            self.put_ack_of(at, at, now, out, end);
        }
    }

    /// An acknowledgement of what came on path `of`, in a packet of path `at`.
    pub(super) fn put_ack_of(
        &mut self,
        of: PathSlot,
        at: PathSlot,
        now: Instant,
        out: &mut Vec<u8>,
        end: usize,
    ) {
        let (id, received) = (self.paths[of].id, &mut self.paths[of].received);
        let delay = received.delay(now);
        let ranges = received.ranges().iter().rev().map(|range| range.start..=range.end.saturating_sub(1));
        let counts = Some(received.counts()).filter(|counts| *counts != EcnCounts::NONE);
        let told = put_ack(out, id, delay, ranges, counts, end.saturating_sub(out.len())).map(PacketNumber);
        let last = received.ranges().last().map(|last| PacketNumber(last.end.saturating_sub(1)));
        received.on_ack_sent();
        if let (Some(lowest), Some(number)) = (told, last) {
            self.paths[at].sent.push_item(Item::Ack { path: id, lowest, number });
        }
    }

    /// Control frames, datagrams, stream data; a PING where that is all there is to ask for an acknowledgement with.
    fn put_contents(&mut self, at: PathSlot, cx: &mut Shared, plan: Plan, out: &mut Vec<u8>, end: usize) {
        let before = out.len();
        if matches!(self.state, State::Established(_)) && self.paths.carries(at) {
            if cx.config.reserved_frames && cx.rng.below(16) == 0 && out.len().saturating_add(16) < end {
                put_reserved(out, cx.rng.next_u64());
            }
            self.streams.put_credit(out, end, &mut self.paths[at].sent);
            self.streams.put_controls(out, end, &mut self.paths[at].sent);
            self.put_cids(at, cx, out, end);
            self.put_token(at, cx, out, end);
            // Some may have been queued before the handshake told what the peer takes.
            let room = usize::from(self.paths[at].largest_datagram()).saturating_sub(DATA_HEADER + TAG);
            while self.datagrams.drop_oversized(room.min(usize::from(self.peer.max_datagram))) {
                count(&mut self.stats.datagrams_dropped, 1);
            }
            let datagrams = self.datagrams.put(out, end, &mut self.paths[at].sent);
            count(&mut self.stats.datagrams_sent, datagrams);
            self.tell_datagram_room(cx);
            // Where the largest size is in doubt it is good enough for datagrams, which need it, but not for stream data.
            let end = end.saturating_sub(plan.size.saturating_sub(usize::from(self.paths[at].packet_size)));
            self.streams.put_data(out, end, Behind::Nothing, &mut self.paths[at].sent);
        }
        if (self.paths[at].ping_owed || plan.kind == Kind::Probe) && out.len() == before && out.len() < end {
            put_control(out, &Control::Ping);
        }
        self.paths[at].ping_owed &= out.len() == before;
    }

    pub(super) fn commit(&mut self, at: PathSlot, now: Instant, built: Built, phase: KeyPhase) {
        let watched = self.watches_payload();
        if self.upkeep.is_some() && self.paths[at].sent.has_open_payload() {
            self.note_payload(now);
        }
        let path = &mut self.paths[at];
        let size = built.len as u16;
        let info = if built.in_flight {
            path.loss.on_sent(now);
            path.quiet = 0;
            path.pulse.on_sent(now);
            if watched && is_payload(built.len, path.sent.has_open_payload()) {
                path.liveness.on_payload_sent(now);
            }
            let info = path.bbr.on_sent(now, size, path.in_flight);
            path.in_flight = path.in_flight.saturating_add(u64::from(size));
            info
        } else {
            path.quiet = path.quiet.saturating_add(1);
            SentInfo::default()
        };
        path.sent.record(now, size, info, phase, built.in_flight);
        path.sent.forget(now, LossDetector::memory(&path.rtt));
        path.validation.on_sent(built.len);
        if !built.in_flight {
            self.forget_stale(at, now);
        }
        // QOTP counts its silence from the last packet received.
        let counts = built.in_flight && self.wire == WireVersion::Native;
        self.idle.on_sent(now, counts);
    }

    /// The CLOSE of a connection that we closed, on one path after the other: to where.
    fn put_close_packets(&mut self, cx: &mut Shared, now: Instant, out: &mut Vec<u8>) -> Option<Tuple> {
        let State::Closing(closing) = &mut self.state else { return None };
        // The end comes whether or not there is a path to tell it on.
        closing.until.get_or_insert(now + closing.period);
        if core::mem::take(&mut closing.owed) {
            closing.untold = self.paths.usable();
        }
        let mut untold = core::mem::take(&mut closing.untold);
        let told = core::iter::from_fn(|| untold.pop())
            .find(|at| self.put_close_packet(*at, cx, now, out).is_some());
        if let State::Closing(closing) = &mut self.state {
            closing.untold = untold;
        }
        told.map(|at| self.paths[at].tuple())
    }

    fn put_close_packet(
        &mut self,
        at: PathSlot,
        cx: &mut Shared,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let State::Closing(closing) = &mut self.state else { return None };
        let start = out.len();
        // Whoever has not confirmed has not shown that he is there either.
        let unproved = closing.reply.as_ref().map_or(u64::MAX, |reply| reply.copies.allowance());
        let allowance = self.paths[at].validation.allowance().min(unproved);
        let allowance = usize::try_from(allowance).unwrap_or(usize::MAX);
        let size = usize::from(self.paths[at].mtu().base()).min(allowance);
        put_header(self.paths[at].remote_id, out);
        let room = size.saturating_sub(DATA_HEADER + TAG);
        put_close(out, &Close { by: closing.by, code: closing.code, reason: &closing.reason }, room);
        out.resize(out.len().saturating_add(TAG), 0);
        let len = out.len().saturating_sub(start);
        if len > size {
            // Before it is sealed: its number would be that of the next packet too.
            out.truncate(start);
            return None;
        }
        let number = self.paths[at].sent.next();
        let phase = closing.secured.sealer.phase();
        count(&mut cx.stats.aead_operations, 1);
        let sealed =
            packet::seal(&mut closing.secured.sealer, self.paths[at].id, number, out.get_mut(start..)?);
        if sealed.is_err() {
            out.truncate(start);
            return None;
        }
        if let Some(reply) = &mut closing.reply {
            reply.copies.on_sent(len);
        }
        self.paths[at].sent.record(now, len as u16, SentInfo::default(), phase, false);
        self.paths[at].validation.on_sent(len);
        Some(())
    }

    /// Largest datagram that fits into a packet now, and that the peer takes.
    pub(super) fn max_datagram(&self) -> usize {
        let size = usize::from(self.paths.datagram_in_use());
        let frame = size.saturating_sub(DATA_HEADER + TAG).min(usize::from(self.peer.max_datagram));
        // Type and length, two bytes of length for anything of interest.
        frame.saturating_sub(3)
    }
}

/// First byte, connection id, and room for the sequence field.
pub(super) fn put_header(remote: ConnectionId, out: &mut Vec<u8>) {
    out.push(PacketType::Data.first_byte());
    out.extend_from_slice(remote.as_bytes());
    out.extend_from_slice(&[0; 5]);
}

/// A packet that was built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Built {
    pub(super) len: usize,
    pub(super) in_flight: bool,
}

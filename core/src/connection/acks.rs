//! What an acknowledgement says: what arrived, what did not, and how the path is doing.

use smallvec::SmallVec;

use crate::error::TransportError;
use crate::event::Event;
use crate::id::{PacketNumber, PathId};
use crate::path::slots::PathSlot;
use crate::path::standing::{Statuses, TIMEOUTS};
use crate::recovery::loss::{LossDetector, STALE};
use crate::recovery::sent::{Acked, Item, SentPacket};
use crate::shared::Shared;
use crate::stats::count;
use crate::time::{Duration, Instant};
use crate::wire::frame::Ack;

use super::Connection;

/// Probe timeouts in a row that count as persistent congestion: with the back-off between them they span at least the
/// three probe timeouts of RFC 9002 section 7.6.1.
const PERSISTENT: u32 = 3;

/// Probe timeouts after which the acknowledgement of a packet that arrived has come, one way or another.
const FLIGHT: u32 = 3;

/// What a packet says of other paths than its own, which is seldom anything.
type Others = SmallVec<[Item; 2]>;

impl Connection {
    /// Applies an ACK frame that came on path `on`. What it says counts for the path that it names.
    pub(super) fn on_ack(
        &mut self,
        on: PathSlot,
        cx: &mut Shared,
        now: Instant,
        ack: &Ack<'_>,
    ) -> Result<(), TransportError> {
        // Nothing was ever sent there or under that number?
        let Some(at) = self.paths.find(ack.path) else { return self.on_late_ack(ack.path, ack.largest) };
        if ack.largest >= self.paths[at].sent.next() {
            return Err(TransportError::Protocol);
        }
        let before = self.paths[at].in_flight;
        let mut newest = None;
        let mut any = false;
        let mut payload = false;
        let watched = self.watches_payload();
        let mut newly_ect = 0_u64;
        self.paths[at].bbr.begin_ack(now);
        for range in ack.ranges() {
            let (from, to) = (*range.start(), *range.end());
            count(&mut cx.stats.ranges, 1);
            if self.paths[at].skips.is_claimed(from, to) {
                return Err(TransportError::Protocol);
            }
            any |= self.paths[at].tell_mtu(|mtu| mtu.on_range_acked(now, from, to));
            if from == 0 {
                self.on_zero_acked(at, cx)?;
            }
            let (mut next, mut news) = (from, 0);
            while let Some(number) = self.paths[at].sent.next_unacked(next, to) {
                if self.paths[at].sent.is_skipped(number) {
                    return Err(TransportError::Protocol);
                }
                let Some(acked) = self.paths[at].sent.ack(number) else { break };
                any = true;
                // What was not in flight may have gone elsewhere.
                let was_in_flight = !matches!(acked, Acked::Unawaited(_));
                payload |= watched && was_in_flight && self.was_payload(at, acked.packet());
                self.paths[at].tell_mtu(|mtu| mtu.on_acked(PacketNumber(number), acked.packet().size));
                newly_ect = newly_ect.saturating_add(u64::from(acked.packet().ect));
                if number == ack.largest.get() {
                    newest = Some(acked);
                }
                self.credit_packet(at, now, ack.largest.get().saturating_sub(number), &acked);
                self.credit_items(at, cx, acked.packet());
                next = number.saturating_add(1);
                news = u64::saturating_add(news, 1);
            }
            // What is news happens once for each packet.
            let looked_at = self.paths[at].sent.remember_acked(from, to);
            count(&mut cx.stats.ranges, looked_at.saturating_sub(news));
        }
        if !any {
            return Ok(());
        }
        self.on_ecn_counts(at, ack, newly_ect);
        let sample = match newest {
            // Half of it would be another path's.
            _ if on != at => None,
            Some(Acked::InFlight(packet) | Acked::Spurious(packet)) => Some(now - packet.sent),
            Some(Acked::Unawaited(_)) | None => None,
        };
        let delay = ack.delay.min(self.peer.max_ack_delay);
        self.after_ack(at, now, ack.largest, sample, delay, before);
        self.on_progress(now);
        // What comes another way does not show that this one leads back.
        if payload && on == at {
            self.on_payload_acked(at, cx, now);
        }
        if on == at && self.paths[at].sent.outstanding() == 0 {
            // Behind the last payload something small may have been on its way.
            self.paths[at].liveness.on_settled();
        }
        Ok(())
    }

    /// Credits what an ACK says of ECN to the path that its packets took, wherever the ACK came from.
    fn on_ecn_counts(&mut self, at: PathSlot, ack: &Ack<'_>, newly_ect: u64) {
        let path = &mut self.paths[at];
        if path.loss.largest_acked().is_none_or(|largest| ack.largest > largest)
            && path.ecn.on_ack(newly_ect, ack.ecn) > 0
        {
            path.bbr.on_marked();
        }
    }

    /// Ends an acknowledgement that said something new, `largest` being the highest number that it named: its RTT
    /// `sample`, the peer's `delay` in it, and the bytes in flight `before` it.
    pub(super) fn after_ack(
        &mut self,
        at: PathSlot,
        now: Instant,
        largest: PacketNumber,
        sample: Option<Duration>,
        delay: Duration,
        before: u64,
    ) {
        let alone = self.paths.is_single();
        let path = &mut self.paths[at];
        path.loss.on_acked(now, largest, path.sent.skips_before(largest), &path.rtt);
        if let Some(sample) = sample {
            path.rtt.update(sample, delay);
            if !alone {
                path.floor.on_sample(now, sample);
            }
        }
        self.detect_losses(at, now);
        self.judge_mtu_probe(at, now);
        let path = &mut self.paths[at];
        path.sent.forget(now, LossDetector::memory(&path.rtt));
        if before > 0 {
            path.bbr.finish_ack(now, sample, path.in_flight);
            self.streams.on_window(self.paths.window_in_use());
        }
    }

    /// Credits one newly acknowledged packet to the path, `behind` being how many numbers it is below the highest.
    pub(super) fn credit_packet(&mut self, at: PathSlot, now: Instant, behind: u64, acked: &Acked) {
        let path = &mut self.paths[at];
        let packet = acked.packet();
        match acked {
            Acked::InFlight(_) => {
                path.in_flight = path.in_flight.saturating_sub(u64::from(packet.size));
                path.bbr.on_acked(now, packet.sent, packet.size, &packet.info);
            }
            Acked::Spurious(_) => {
                count(&mut self.stats.spurious_losses, 1);
                path.counts.on_spurious_loss();
                let age = now - packet.sent;
                path.loss.on_spurious(now, behind, age, &path.rtt);
                path.bbr.on_spurious_loss(now, packet.size, &packet.info);
            }
            Acked::Unawaited(_) => {}
        }
    }

    /// Credits what a newly acknowledged packet carried to its owners.
    fn credit_items(&mut self, at: PathSlot, cx: &mut Shared, packet: &SentPacket) {
        if let Some(secured) = self.state.secured_mut() {
            secured.sealer.on_acked(packet.phase, packet.sent);
        }
        let memory = &mut cx.memory(&mut self.account);
        let path = &mut self.paths[at];
        let mut others = Others::new();
        for item in path.sent.items(packet) {
            match item {
                Item::Ack { path: id, lowest, number } if id == path.id => {
                    path.received.on_ack_acked(lowest, number);
                }
                Item::Ack { .. } | Item::PathAbandon { .. } | Item::PathStatus { .. } => others.push(item),
                Item::RetireConnectionId(sequence) => self.cids.remote.on_acked(sequence),
                _ => self.streams.on_acked(item, memory),
            }
        }
        for item in others {
            self.credit_path(cx.now, item);
        }
    }

    /// Credits what a newly acknowledged packet said of paths.
    fn credit_path(&mut self, now: Instant, item: Item) {
        let period = self.largest_pto().saturating_mul(TIMEOUTS);
        match item {
            Item::Ack { path, lowest, number } => {
                if let Some(at) = self.paths.find(path) {
                    self.paths[at].received.on_ack_acked(lowest, number);
                }
            }
            Item::PathAbandon { path, generation } => {
                if let Some(retired) = self.paths.retired_mut(path) {
                    retired.on_acked(now, generation, period);
                    if retired.life().generation == generation {
                        self.paths.on_end_known(path, now, period);
                    }
                }
            }
            Item::PathStatus { path, generation, sequence } => {
                if let Some(statuses) = self.statuses_of(path, generation) {
                    statuses.on_acked(sequence);
                }
            }
            _ => {}
        }
    }

    /// What a lost packet said of paths is to be said again, and a token is to be given out again.
    fn on_other_lost(&mut self, item: Item) {
        match item {
            Item::PathAbandon { path, generation } => {
                if let Some(retired) = self.paths.retired_mut(path) {
                    retired.on_lost(generation);
                }
            }
            Item::PathStatus { path, generation, sequence } => {
                if let Some(statuses) = self.statuses_of(path, generation) {
                    statuses.on_lost(sequence);
                }
            }
            Item::NewToken => self.on_token_lost(),
            _ => {}
        }
    }

    fn statuses_of(&mut self, id: PathId, generation: u32) -> Option<&mut Statuses> {
        let at = self.paths.find(id)?;
        let path = &mut self.paths[at];
        if path.generation == generation { path.statuses_told() } else { None }
    }

    /// Number 0 is acknowledged, which is the handshake's: nobody else has it.
    fn on_zero_acked(&mut self, at: PathSlot, cx: &mut Shared) -> Result<(), TransportError> {
        let path = &self.paths[at];
        match (path.id, path.generation) {
            (PathId::ZERO, 0) => self.on_early_acked(cx),
            (_, 0) => return Err(TransportError::Protocol),
            _ => {}
        }
        Ok(())
    }

    /// Declares lost what is too far behind, and puts its contents up for sending again.
    pub(super) fn detect_losses(&mut self, at: PathSlot, now: Instant) {
        loop {
            let path = &mut self.paths[at];
            let Some((number, packet)) = path.sent.oldest() else { break };
            if !path.loss.is_lost(now, number, &packet, &path.rtt) {
                return;
            }
            self.lose_oldest(at, now);
        }
        self.paths[at].loss.on_idle();
    }

    /// Gives the oldest packet in flight up: its contents go again.
    fn lose_oldest(&mut self, at: PathSlot, now: Instant) {
        let Some((number, packet)) = self.withdraw_oldest(at) else { return };
        let path = &mut self.paths[at];
        path.bbr.on_lost(now, packet.sent, packet.size, &packet.info, path.in_flight);
        let next = path.sent.next();
        path.tell_mtu(|mtu| mtu.on_lost(number, packet.size, next));
        if packet.ect {
            path.ecn.on_lost(number);
        }
    }

    /// Counts the oldest packet in flight as lost, and puts what it carried up for sending again. What else that means, and
    /// for whom, is the caller's affair.
    pub(super) fn withdraw_oldest(&mut self, at: PathSlot) -> Option<(PacketNumber, SentPacket)> {
        let path = &mut self.paths[at];
        let (number, _) = path.sent.oldest()?;
        let packet = path.sent.lose_oldest()?;
        path.in_flight = path.in_flight.saturating_sub(u64::from(packet.size));
        path.counts.on_lost();
        count(&mut self.stats.packets_lost, 1);
        let mut others = Others::new();
        for item in path.sent.items(&packet) {
            match item {
                Item::Datagram => {
                    count(&mut self.stats.datagrams_dropped, 1);
                }
                Item::PathAbandon { .. } | Item::PathStatus { .. } | Item::NewToken => others.push(item),
                _ => {}
            }
            if let Some(qotp) = self.state.qotp_mut() {
                qotp.on_lost(item, number.get(), &mut self.streams);
                continue;
            }
            self.cids.on_lost(item);
            count(&mut self.stats.bytes_retransmitted, self.streams.on_lost(item) as u64);
        }
        for item in others {
            self.on_other_lost(item);
        }
        Some((number, packet))
    }

    /// Makes room to record one more packet without taking memory, by giving up what was sent longest ago: for probes,
    /// which a peer that never acknowledges makes us send for ever.
    pub(super) fn forget_oldest(&mut self, at: PathSlot, now: Instant) {
        while self.paths[at].sent.growth() > 0 {
            match self.paths[at].sent.is_front_outstanding() {
                None => return,
                Some(true) => self.lose_oldest(at, now),
                Some(false) => {}
            }
            self.paths[at].sent.forget_front();
        }
    }

    /// Gives up what a peer leaves unacknowledged that keeps us acknowledging: behind a single PING each acknowledgement
    /// would have its record for as long as the peer likes (RFC 9000 section 13.2.4 has us send that PING to be rid of them).
    pub(super) fn forget_stale(&mut self, at: PathSlot, now: Instant) {
        let flight = self.pto(at).saturating_mul(FLIGHT);
        while self.paths[at].sent.is_front_stale(now, STALE, flight) {
            self.lose_oldest(at, now);
            let path = &mut self.paths[at];
            path.sent.forget_front();
            path.sent.forget(now, LossDetector::memory(&path.rtt));
        }
    }

    /// The probe timer fired: send something that asks for an acknowledgement, best of all what is oldest.
    pub(super) fn on_probe_timeout(&mut self, at: PathSlot, now: Instant) {
        let path = &mut self.paths[at];
        count(&mut self.stats.probe_timeouts, 1);
        path.loss.on_probe_timeout();
        let next = path.sent.next();
        path.tell_mtu(|mtu| mtu.on_probe_timeout(next));
        path.ecn.on_probe_timeout(path.loss.backoff());
        if path.loss.backoff() == PERSISTENT {
            path.bbr.on_persistent_congestion(now, path.in_flight);
        }
        self.offer_oldest(at);
    }

    /// Puts what the oldest packet in flight carried up for sending again.
    pub(super) fn offer_oldest(&mut self, at: PathSlot) {
        // Perhaps the peer has no room for the oldest packet, but for the one that carries what comes first in a stream:
        // after a while everything goes again, in the order of the streams.
        let most = if self.paths[at].loss.backoff() >= PERSISTENT { usize::MAX } else { 1 };
        let mut others = Others::new();
        for item in self.paths[at].sent.outstanding_items(most) {
            if matches!(item, Item::PathAbandon { .. } | Item::PathStatus { .. } | Item::NewToken) {
                others.push(item);
            }
            if let Some(qotp) = self.state.qotp_mut() {
                qotp.probe_with(item);
                continue;
            }
            self.cids.on_lost(item);
            count(&mut self.stats.bytes_retransmitted, self.streams.on_lost(item) as u64);
        }
        for item in others {
            self.on_other_lost(item);
        }
    }

    /// Room in the datagram queue may be news.
    pub(super) fn tell_datagram_room(&mut self, cx: &mut Shared) {
        if self.datagrams.take_send_awaited() {
            self.tell(cx, Event::DatagramSendable);
        }
    }
}

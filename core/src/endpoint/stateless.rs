//! Packets that belong to no connection: answers to strangers, of whom nothing is kept but the answer until it leaves.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::hash::KeyedState;
use crate::path::addr::{Arrival, Transmit, TransportAddr, Tuple};
use crate::shared::Shared;
use crate::stats::{Disposition, DropReason, count};
use crate::time::Instant;
use crate::wire::header::{MIN_INIT, unknown_version};
use crate::wire::versions::VersionList;

use super::prefixes::Prefixes;
use super::rates::Bucket;
use super::{ConnectionHandle, Endpoint};

/// The longest of them, in bytes.
const MAX_LEN: usize = 64;
/// Answers that wait to leave, in 16 KiB; what comes beyond is not answered.
const MAX_WAITING: usize = 128;
/// While connections have something to send, an answer leaves after each so many of their trains.
const TRAINS: u8 = 16;
/// What one network gets of all answers: a tenth.
const NETWORK_PART: u32 = 10;

/// An answer that waits to leave.
#[derive(Clone, Copy, Debug)]
struct Answer {
    to: Tuple,
    len: usize,
    bytes: [u8; MAX_LEN],
}

/// The answers to strangers.
#[derive(Debug)]
pub(super) struct Stateless {
    waiting: VecDeque<Answer>,
    rate: Bucket,
    networks: Prefixes<Bucket>,
    /// Trains of connections since an answer left.
    trains: u8,
}

impl Stateless {
    pub(super) const fn new(hasher: KeyedState) -> Self {
        Self { waiting: VecDeque::new(), rate: Bucket::NEW, networks: Prefixes::new(hasher), trains: 0 }
    }

    /// Whether a datagram from there may be answered now: never one of our own, with which an answer could go on for ever. If
    /// so it counts as answered.
    pub(super) fn may_answer(&mut self, cx: &Shared, now: Instant, from: &TransportAddr) -> bool {
        let rate = cx.config.limits.stateless_per_second;
        if self.waiting.len() >= MAX_WAITING || cx.sockets.is_own(from) || !self.rate.allows(now, rate) {
            return false;
        }
        let network = self.networks.network(from);
        let part = rate.div_ceil(NETWORK_PART);
        let may = self.networks.get(network, Bucket::NEW).iter().any(|bucket| bucket.allows(now, part));
        // Whoever has taken all that there is takes nothing from the others' parts.
        if may {
            self.networks.update(network, Bucket::NEW, |bucket| _ = bucket.take(now, part));
            self.rate.take(now, rate);
        }
        may
    }

    /// Answers a datagram with so many bytes, [`MAX_LEN`] at most. Says whether there is room for that.
    pub(super) fn answer(&mut self, to: &Tuple, parts: &[&[u8]]) -> bool {
        let mut answer = Answer { to: *to, len: 0, bytes: [0; MAX_LEN] };
        for part in parts {
            let room = answer.bytes.get_mut(answer.len..).unwrap_or_default();
            let Some(place) = room.get_mut(..part.len()) else { return false };
            place.copy_from_slice(part);
            answer.len = answer.len.saturating_add(part.len());
        }
        let fits = self.waiting.len() < MAX_WAITING;
        if fits {
            self.waiting.push_back(answer);
        }
        fits
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A connection sent a train.
    pub(super) const fn on_train(&mut self) {
        self.trains = self.trains.saturating_add(1);
    }

    /// Whether an answer goes before what connections have to send.
    pub(super) fn is_due(&self) -> bool {
        self.trains >= TRAINS && !self.waiting.is_empty()
    }

    /// Appends the answer that has waited longest.
    pub(super) fn poll_transmit(&mut self, out: &mut Vec<u8>) -> Option<Transmit> {
        let Answer { to, len, bytes } = self.waiting.pop_front()?;
        self.trains = 0;
        out.extend_from_slice(bytes.get(..len)?);
        let (connection, segment_size) = (ConnectionHandle::NONE, len);
        Some(Transmit { connection, local: to.local, remote: to.remote, ecn: None, len, segment_size })
    }
}

impl Endpoint {
    /// A datagram of a version that is not spoken here came. If it is the first of a handshake, whoever sent it is told which
    /// ones are (docs/PROTOCOL.md, "Versions").
    pub(super) fn answer_version(&mut self, now: Instant, arrival: &Arrival, datagram: &[u8]) -> Disposition {
        // Who accepts nobody is not there.
        if datagram.len() >= MIN_INIT
            && !self.shared.config.alpns.is_empty()
            && let Some((version, routing)) = unknown_version(datagram)
            && self.stateless.may_answer(&self.shared, now, &arrival.remote)
        {
            let list = VersionList::answer(version, &mut self.shared.rng);
            let told = self
                .stateless
                .answer(&arrival.tuple(), &[&[VersionList::FIRST_BYTE], routing.as_bytes(), &list]);
            count(&mut self.shared.stats.version_lists_sent, u64::from(told));
        }
        Disposition::Dropped(DropReason::Version)
    }
}

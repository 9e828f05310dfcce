//! What streams wait for that have nothing to send, and who goes on when it comes.

use crate::id::StreamId;
use crate::limiter::Gate;

use super::blocks::length;
use super::counts::Counts;
use super::send::SendHalf;
use super::transmit::MIN_CHUNK;
use super::{Stream, Streams};

/// So many streams that ended while connection flow control held them may stand in the queue beside those that there are.
const STALE: usize = 16;

impl Stream {
    /// Takes down whether the peer's limit for this stream is all that holds it, and counts it in `total`.
    pub(super) fn set_limited(&mut self, limited: bool, total: &mut u32) {
        if core::mem::replace(&mut self.limited, limited) != limited {
            *total = if limited { total.saturating_add(1) } else { total.saturating_sub(1) };
        }
    }
}

impl Streams {
    /// What has to come before there is more to send, where there is nothing now.
    pub(crate) fn gate(&self) -> Gate {
        let lacks_stream = self.opening.counts().is_some_and(Counts::is_awaited);
        if !self.held.is_empty() || self.limited > 0 || lacks_stream {
            Gate::Peer
        } else if self.is_starving() || self.is_full() {
            Gate::Budget
        } else {
            Gate::Application
        }
    }

    /// Whether the latest write that was refused still waits, because its stream holds as much as it may.
    fn is_full(&self) -> bool {
        let refused = self.refused.and_then(|id| self.table.get(&id)?.send.as_ref());
        refused.is_some_and(SendHalf::is_awaited)
    }

    /// Puts a stream in the queue of those that connection flow control holds. Ones that ended there are cleared out when
    /// they are more than all that there are, so that a peer that gives no credit and stops each stream makes it no longer.
    pub(super) fn hold(&mut self, id: StreamId) {
        self.held.push_back(id);
        if self.held.len() > self.table.len().saturating_mul(2).saturating_add(STALE) {
            let table = &self.table;
            self.held.retain(|id| table.get(id).is_some_and(|stream| stream.held));
        }
    }

    /// The streams that connection flow control held longest go on, `most` of them.
    pub(super) fn wake_held(&mut self, most: usize) {
        for _ in 0..most {
            let Some(id) = self.held.pop_front() else { return };
            if let Some(stream) = self.table.get_mut(&id) {
                stream.held = false;
            }
            self.wake(id);
        }
    }

    /// Whether some of the streams that connection flow control held can go on. On QOTP, that is decided when its window moves.
    pub(super) fn can_wake_held(&self) -> bool {
        !self.held.is_empty() && self.opening.by_use().is_none() && self.flow.send_credit() > 0
    }

    /// As many streams go on as can make use of so much credit of the peer's: a byte of it is none for thousands, which would all
    /// look in vain. The others follow if those leave some, or with the next credit: nobody waits for one who never ends.
    pub(super) fn wake_useful(&mut self, credit: u64) {
        self.wake_held(length(credit.div_ceil(MIN_CHUNK as u64)));
    }

    /// A stream has nothing more to send, whatever the peer allows.
    pub(super) fn unlimit(&mut self, id: StreamId) {
        if let Some(stream) = self.table.get_mut(&id) {
            stream.set_limited(false, &mut self.limited);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::budget::{Account, Budget};
    use crate::config::Limits;
    use crate::id::{Direction, PacketNumber, Role};
    use crate::recovery::sent::SentPackets;
    use crate::rng::Rng;
    use crate::streams::Behind;
    use crate::streams::blocks::{BlockPool, Memory};
    use crate::wire::params::TransportParams;

    /// So many streams with a byte each that the peer lets nobody send, and how many look whether they can.
    struct Held {
        streams: Streams,
        sent: SentPackets,
    }

    impl Held {
        const STREAMS: u64 = 1000;

        fn new() -> Self {
            let limits = Limits::default();
            let hasher = Rng::new(&[1; 32], &[2; 32]).number_hasher();
            let mut streams = Streams::new(Role::Initiator, &limits, false, hasher);
            streams.set_peer_params(&TransportParams {
                max_data: 0,
                max_streams_uni: Self::STREAMS,
                max_stream_data_uni: 100,
                ..TransportParams::DEFAULT
            });
            let (mut pool, mut account) = (BlockPool::new(0), Account::new(usize::MAX));
            let (mut budget, mut ranges) = (Budget::new(usize::MAX), 0);
            let memory = &mut Memory {
                pool: &mut pool,
                account: &mut account,
                budget: &mut budget,
                ranges: &mut ranges,
            };
            for _ in 0..Self::STREAMS {
                let id = streams.open(Direction::Unidirectional, memory).expect("the peer allows it");
                streams.write(id, b"x", memory).expect("there is memory");
            }
            let mut held = Self { streams, sent: SentPackets::new(PacketNumber::ZERO) };
            assert!(held.packet().is_empty());
            assert_eq!(held.streams.held.len() as u64, Self::STREAMS);
            held
        }

        fn packet(&mut self) -> Vec<u8> {
            let mut out = Vec::new();
            self.streams.put_data(&mut out, 1200, Behind::Nothing, &mut self.sent);
            out
        }

        fn awake(&self) -> u64 {
            Self::STREAMS - self.streams.held.len() as u64
        }
    }

    #[test]
    fn hostile_credit_of_a_byte_wakes_one_stream() {
        let mut held = Held::new();
        for max in 1..=100 {
            held.streams.on_max_data(max);
            assert_eq!(held.awake(), max);
            assert!(held.streams.has_output());
            assert!(held.packet().len() < 10);
            assert!(!held.streams.has_output());
        }
    }

    /// One stream has always more to send than there is credit, and there is always some credit left.
    #[test]
    fn what_never_ends_keeps_no_stream_waiting() {
        let mut held = Held::new();
        held.streams.on_max_data(16);
        let mut max = 16;
        while !held.streams.held.is_empty() {
            assert!(max < 32 * Held::STREAMS, "{} still wait", held.streams.held.len());
            max += 16;
            held.streams.on_max_data(max);
            assert!(held.streams.has_output() && held.streams.flow.send_credit() > 0);
        }
    }

    #[test]
    fn what_some_streams_leave_of_the_credit_is_for_the_others() {
        let mut held = Held::new();
        held.streams.on_max_data(Held::STREAMS);
        assert!(held.awake() < Held::STREAMS / 10);
        while held.streams.has_output() {
            assert!(!held.packet().is_empty());
        }
        assert_eq!(held.awake(), Held::STREAMS);
    }
}

//! A controller driven by hand: one ACK per flight, so that each round's rate is what the test says.

use crate::congestion::bbr::{Bbr, CongestionPhase};
use crate::congestion::sampler::SentInfo;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// Every packet is this long, in bytes.
pub(super) const MTU: u16 = 1000;
/// The round-trip time.
pub(super) const RTT: Duration = Duration::from_millis(10);

/// A controller and the packets it believes in flight.
pub(super) struct Hand {
    pub(super) bbr: Bbr,
    pub(super) now: Instant,
    pub(super) flight: VecDeque<(Instant, SentInfo)>,
    pub(super) lost: VecDeque<(Instant, SentInfo)>,
    /// How long a round takes.
    pub(super) rtt: Duration,
}

impl Hand {
    pub(super) fn new() -> Self {
        let now = Instant::ZERO + Duration::from_secs(1_000_000);
        Self { bbr: Bbr::new(MTU, 1), now, flight: VecDeque::new(), lost: VecDeque::new(), rtt: RTT }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.flight.len() as u64 * u64::from(MTU)
    }

    pub(super) fn send(&mut self, count: usize) {
        for _ in 0..count {
            let info = self.bbr.on_sent(self.now, MTU, self.in_flight());
            self.flight.push_back((self.now, info));
        }
    }

    /// Declares the oldest `count` packets lost.
    pub(super) fn lose(&mut self, count: usize) {
        for _ in 0..count {
            let (sent, info) = self.flight.pop_front().unwrap();
            self.bbr.on_lost(self.now, sent, MTU, &info, self.in_flight());
            self.lost.push_back((sent, info));
        }
    }

    /// Acknowledges the oldest `count` packets, a round-trip time of `rtt` having passed.
    pub(super) fn ack(&mut self, count: usize, rtt: Duration) {
        self.bbr.begin_ack(self.now);
        for (sent, info) in self.flight.drain(..count) {
            self.bbr.on_acked(self.now, sent, MTU, &info);
        }
        self.bbr.finish_ack(self.now, Some(rtt), self.in_flight());
    }

    /// Sends a flight of `count` packets and a round trip later has it acknowledged but for `lost`, which are
    /// declared lost.
    pub(super) fn lossy_round(&mut self, count: usize, lost: usize) {
        self.send(count);
        self.now += self.rtt;
        // The ACK first, as loss detection does; the newest packets are lost, as at a full queue.
        let mut losses = self.flight.split_off(self.flight.len() - lost);
        self.bbr.begin_ack(self.now);
        for (sent, info) in self.flight.drain(..) {
            self.bbr.on_acked(self.now, sent, MTU, &info);
        }
        self.flight.append(&mut losses);
        self.lose(lost);
        self.bbr.finish_ack(self.now, Some(self.rtt), self.in_flight());
    }

    pub(super) fn round(&mut self, count: usize) {
        self.lossy_round(count, 0);
    }

    pub(super) fn rounds(&mut self, counts: &[usize]) {
        counts.iter().for_each(|&count| self.round(count));
    }

    pub(super) fn phase(&self) -> CongestionPhase {
        self.bbr.snapshot().phase
    }

    /// Rounds of `count` packets until `phase` is reached.
    pub(super) fn round_until(&mut self, count: usize, phase: CongestionPhase) {
        for _ in 0..1000 {
            if self.phase() == phase {
                return;
            }
            self.round(count);
        }
        panic!("{phase} is not reached, but {}", self.phase());
    }

    /// A path of 100 packets per round trip, its pipe full, cruising.
    pub(super) fn cruising() -> Self {
        let mut hand = Self::new();
        hand.rounds(&[10, 20, 40, 80, 100, 100, 100, 100]);
        hand.round_until(100, CongestionPhase::ProbeCruise);
        hand
    }

    pub(super) fn probing_up() -> Self {
        let mut hand = Self::cruising();
        hand.round_until(100, CongestionPhase::ProbeUp);
        hand
    }

    pub(super) fn gain_percent(&self) -> u64 {
        let stats = self.bbr.snapshot();
        (stats.pacing_rate * 100 + stats.bandwidth / 2) / stats.bandwidth
    }
}

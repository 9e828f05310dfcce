//! A sender with [`Bbr`] and [`Pacer`], one bottleneck with a tail-drop queue and random loss, a receiver that
//! acknowledges every second packet: enough of a network to see what the model makes of it, in virtual time.

use crate::congestion::bandwidth::Bandwidth;
use crate::congestion::{Bbr, Pacer, SentInfo};
use crate::recovery::rtt::Rtt;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;
use std::vec::Vec;

/// Every datagram is this long, in bytes.
pub(crate) const MTU: u16 = 1400;
const SIZE: u64 = MTU as u64;
/// A packet is lost when one sent this much later is acknowledged (RFC 9002 section 6.1.1).
const PACKET_THRESHOLD: u64 = 3;
/// The longest that the receiver waits for a second packet.
const MAX_ACK_DELAY: Duration = Duration::from_millis(5);

/// The network between both ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) rate: Bandwidth,
    pub(crate) rtt: Duration,
    /// The queue of the bottleneck, in bytes.
    pub(crate) queue: u64,
    /// Packets that are lost at random ahead of the bottleneck, in thousandths.
    pub(crate) loss_permille: u64,
    /// How late the sender's pacing timer fires.
    pub(crate) timer_slack: Duration,
    /// The bottleneck is a policer: a token bucket as large as the queue, which drops what exceeds the rate and holds
    /// nothing back.
    pub(crate) polices: bool,
}

impl Link {
    /// A link of `megabits` per second with a queue of one BDP, at least 32 packets.
    pub(crate) fn new(megabits: u64, rtt: Duration, loss_permille: u64) -> Self {
        let rate = Bandwidth::from_bytes_per_sec(megabits * 125_000);
        let queue = rate.bytes_in(rtt).max(32 * SIZE);
        Self { rate, rtt, queue, loss_permille, timer_slack: Duration::ZERO, polices: false }
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    InFlight,
    Resolved,
}

/// A packet as the sender remembers it, and whether the network dropped it.
struct Packet {
    sent: Instant,
    info: SentInfo,
    dropped: bool,
    fate: Fate,
}

/// Sender, link and receiver.
pub(crate) struct Network {
    pub(crate) link: Link,
    pub(crate) now: Instant,
    pub(crate) bbr: Bbr,
    pacer: Pacer,
    rtt: Rtt,
    /// Bytes that the application still has to send.
    pub(crate) backlog: u64,
    packets: VecDeque<Packet>,
    /// The number of the first of `packets`.
    first: u64,
    in_flight: u64,
    largest_acked: Option<u64>,
    last_sent: Instant,
    probes: u32,
    wake: Option<Instant>,
    busy_until: Instant,
    to_receiver: VecDeque<(Instant, u64)>,
    expected: u64,
    received: u64,
    unacknowledged: u32,
    ack_due: Option<Instant>,
    to_sender: VecDeque<(Instant, u64)>,
    random: u64,
    pub(crate) measured: Measured,
}

/// What has happened since the last call of `measure`.
#[derive(Default)]
pub(crate) struct Measured {
    /// Bytes that reached the receiver.
    pub(crate) delivered: u64,
    /// Packets handed to the network.
    pub(crate) sent: u64,
    /// Packets that found the queue full.
    pub(crate) overflowed: u64,
    /// What each packet found ahead of it in the queue, as time in microseconds.
    queue_micros: Vec<u32>,
}

impl Measured {
    /// The queueing delay that 95 % of the packets stayed below.
    pub(crate) fn queue_p95(&mut self) -> Duration {
        self.queue_micros.sort_unstable();
        let index = self.queue_micros.len() * 95 / 100;
        Duration::from_micros(self.queue_micros.get(index).copied().unwrap_or(0).into())
    }
}

impl Network {
    /// A connection about to send without end.
    pub(crate) fn new(link: Link) -> Self {
        Self::seeded(link, 7)
    }

    /// The same with another seed for the losses and the probes.
    pub(crate) fn seeded(link: Link, seed: u64) -> Self {
        Self {
            link,
            now: Instant::ZERO + Duration::from_secs(1_000),
            bbr: Bbr::new(MTU, seed),
            pacer: Pacer::new(),
            rtt: Rtt::new(),
            backlog: u64::MAX,
            packets: VecDeque::new(),
            first: 0,
            in_flight: 0,
            largest_acked: None,
            last_sent: Instant::ZERO,
            probes: 0,
            wake: None,
            busy_until: Instant::ZERO,
            to_receiver: VecDeque::new(),
            expected: 0,
            received: 0,
            unacknowledged: 0,
            ack_due: None,
            to_sender: VecDeque::new(),
            random: seed,
            measured: Measured::default(),
        }
    }

    /// Lets `duration` pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.send();
        while let Some(next) = self.next_event()
            && next <= end
        {
            self.now = next.max(self.now);
            self.step();
            self.send();
        }
        self.now = end;
    }

    /// Forgets what was measured, then lets `duration` pass. Returns the share of the link that was used, in percent.
    pub(crate) fn measure(&mut self, duration: Duration) -> u64 {
        self.measured = Measured::default();
        self.run(duration);
        self.measured.delivered * 100 / self.link.rate.bytes_in(duration)
    }

    fn next_event(&self) -> Option<Instant> {
        let arrivals = [self.to_receiver.front().map(|e| e.0), self.to_sender.front().map(|e| e.0)];
        let timers = [self.ack_due, self.wake, self.loss_timer()];
        arrivals.into_iter().chain(timers).flatten().min()
    }

    fn step(&mut self) {
        let now = self.now;
        if let Some(&(at, number)) = self.to_receiver.front()
            && at <= now
        {
            self.to_receiver.pop_front();
            self.receive(number);
        } else if let Some(&(at, largest)) = self.to_sender.front()
            && at <= now
        {
            self.to_sender.pop_front();
            self.on_ack(largest);
        } else if self.ack_due.is_some_and(|at| at <= now) {
            self.acknowledge();
        } else if self.loss_timer().is_some_and(|at| at <= now) {
            self.on_loss_timer();
        } else {
            self.wake = None;
        }
    }

    /// Sends what window, pacer and application allow.
    fn send(&mut self) {
        let now = self.now;
        loop {
            if self.in_flight + SIZE > self.bbr.window() {
                return;
            }
            if self.backlog < SIZE {
                self.bbr.on_app_limited(self.in_flight);
                return;
            }
            let rate = self.bbr.pacing_rate();
            if self.pacer.grant(now, rate, MTU) < SIZE {
                self.pacer.wait(now, rate, MTU);
                self.wake = self.pacer.until().map(|until| until + self.link.timer_slack);
                return;
            }
            self.send_packet();
        }
    }

    fn send_packet(&mut self) {
        let now = self.now;
        self.backlog = self.backlog.saturating_sub(SIZE);
        let info = self.bbr.on_sent(now, MTU, self.in_flight);
        self.pacer.on_sent(now, SIZE, self.bbr.pacing_rate());
        self.in_flight += SIZE;
        self.last_sent = now;
        let dropped = self.forward();
        self.packets.push_back(Packet { sent: now, info, dropped, fate: Fate::InFlight });
    }

    /// The next packet enters the network. Returns whether it is dropped.
    fn forward(&mut self) -> bool {
        self.measured.sent += 1;
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if (self.random >> 33) % 1000 < self.link.loss_permille {
            return true;
        }
        let wait = self.busy_until - self.now;
        if self.link.rate.bytes_in(wait) + SIZE > self.link.queue {
            self.measured.overflowed += 1;
            return true;
        }
        self.busy_until = self.busy_until.max(self.now) + self.link.rate.time_for(SIZE);
        let (wait, leaves) =
            if self.link.polices { (Duration::ZERO, self.now) } else { (wait, self.busy_until) };
        self.measured.queue_micros.push(u32::try_from(wait.as_micros()).unwrap());
        let number = self.first + self.packets.len() as u64;
        self.to_receiver.push_back((leaves + self.link.rtt / 2, number));
        false
    }

    fn receive(&mut self, number: u64) {
        self.measured.delivered += SIZE;
        let gap = number != self.expected;
        (self.expected, self.received) = (number + 1, number);
        self.unacknowledged += 1;
        if gap || self.unacknowledged >= 2 {
            self.acknowledge();
        } else {
            self.ack_due = Some(self.now + MAX_ACK_DELAY);
        }
    }

    fn acknowledge(&mut self) {
        self.unacknowledged = 0;
        self.ack_due = None;
        self.to_sender.push_back((self.now + self.link.rtt / 2, self.received));
    }

    /// An ACK of everything that has arrived up to `largest`.
    fn on_ack(&mut self, largest: u64) {
        let now = self.now;
        let mut sample = None;
        self.bbr.begin_ack(now);
        let count = (largest + 1).saturating_sub(self.first) as usize;
        for packet in self.packets.iter_mut().take(count) {
            if packet.fate == Fate::InFlight && !packet.dropped {
                packet.fate = Fate::Resolved;
                self.in_flight -= SIZE;
                self.bbr.on_acked(now, packet.sent, MTU, &packet.info);
                sample = Some(now - packet.sent);
            }
        }
        if let Some(sample) = sample {
            self.rtt.update(sample, Duration::ZERO);
            self.largest_acked = Some(largest);
            self.probes = 0;
        }
        self.detect_losses();
        if sample.is_some() {
            self.bbr.finish_ack(now, sample, self.in_flight);
        }
    }

    /// RFC 9002 section 6.1.2.
    fn loss_delay(&self) -> Duration {
        self.rtt.latest().max(self.rtt.smoothed()) * 9 / 8
    }

    fn detect_losses(&mut self) {
        let Some(largest) = self.largest_acked else { return };
        let (now, delay) = (self.now, self.loss_delay());
        let count = (largest + 1).saturating_sub(self.first) as usize;
        let first = self.first;
        for (number, packet) in (first..).zip(self.packets.iter_mut().take(count)) {
            let lost = number + PACKET_THRESHOLD <= largest || packet.sent + delay <= now;
            if packet.fate == Fate::InFlight && lost {
                assert!(packet.dropped, "in-order links give no spurious losses");
                packet.fate = Fate::Resolved;
                self.in_flight -= SIZE;
                self.bbr.on_lost(now, packet.sent, MTU, &packet.info, self.in_flight);
            }
        }
        while self.packets.front().is_some_and(|packet| packet.fate == Fate::Resolved) {
            self.packets.pop_front();
            self.first += 1;
        }
    }

    /// When a packet sent before an acknowledged one is lost by time, or else the probe timeout.
    fn loss_timer(&self) -> Option<Instant> {
        if self.in_flight == 0 {
            return None;
        }
        match self.packets.front() {
            Some(packet) if self.largest_acked.is_some_and(|largest| self.first < largest) => {
                Some(packet.sent + self.loss_delay())
            }
            _ => Some(self.last_sent + self.rtt.pto(MAX_ACK_DELAY) * (1 << self.probes.min(6))),
        }
    }

    fn on_loss_timer(&mut self) {
        let before = self.in_flight;
        self.detect_losses();
        if self.in_flight == before {
            self.probes += 1;
            self.send_packet();
        }
    }
}

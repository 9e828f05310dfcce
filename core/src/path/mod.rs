//! A path of a connection: two addresses with their own packet numbers, round-trip time and congestion state.

pub(crate) mod addr;
pub(crate) mod ecn;
pub(crate) mod events;
pub(crate) mod floor;
pub(crate) mod liveness;
pub(crate) mod mapped;
pub(crate) mod moving;
pub(crate) mod mtu;
pub(crate) mod pulse;
pub mod select;
pub(crate) mod selection;
pub(crate) mod slots;
pub(crate) mod spread;
pub(crate) mod standing;
pub(crate) mod stats;
pub(crate) mod table;
pub(crate) mod upkeep;
pub(crate) mod validate;
pub(crate) mod vigil;

use alloc::boxed::Box;

use crate::cids::reset::ResetToken;
use crate::congestion::{Bbr, Pacer};
use crate::id::{ConnectionId, PacketNumber, PathId};
use crate::recovery::loss::{LossDetector, MAX_PROBE_TIMEOUT};
use crate::recovery::received::Received;
use crate::recovery::rtt::Rtt;
use crate::recovery::sent::SentPackets;
use crate::recovery::skips::Skips;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::frame::PathStatus;

use addr::{LocalAddr, TransportAddr, Tuple};
use ecn::EcnValidation;
use floor::Floor;
use liveness::Liveness;
use moving::Move;
use mtu::Mtu;
use pulse::Pulse;
use standing::{Life, Standing, Statuses};
use stats::Counts;
use validate::Validation;
use vigil::Vigil;

/// How often each side has changed the id that it sends to. Who has changed less often follows the other, and only then:
/// so a change is answered by one, and not for ever.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CidChanges {
    pub(crate) ours: u32,
    pub(crate) theirs: u32,
}

/// What a path that is not the handshake's begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    /// The connection id in the packets that come to us.
    pub(crate) local_id: ConnectionId,
    pub(crate) mtu: Mtu,
    /// Whether ECN is on.
    pub(crate) ecn: bool,
    pub(crate) seed: u64,
}

/// One path.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) id: PathId,
    /// How often the id was used before.
    pub(crate) generation: u32,
    pub(crate) standing: Standing,
    /// What the applications want of it, if either has said so.
    statuses: Option<Box<Statuses>>,
    pub(crate) local: LocalAddr,
    pub(crate) remote: TransportAddr,
    /// Where the peer's latest packet came to. It outlasts `local`, which is not known while the system chooses.
    pub(crate) heard_on: LocalAddr,
    /// Our end was left for whatever the system chooses, and the peer was not heard since.
    pub(crate) end_left: bool,
    /// The connection id in the packets that we send.
    pub(crate) remote_id: ConnectionId,
    /// Its sequence number.
    pub(crate) remote_sequence: u32,
    /// What a reset of it ends with.
    pub(crate) remote_token: Option<ResetToken>,
    /// The connection id in the packets that come to us.
    pub(crate) local_id: ConnectionId,
    pub(crate) cid_changes: CidChanges,
    /// The next packet is to be sent to another id, if there is one.
    pub(crate) cid_stale: bool,
    /// Size of a full packet of stream data, in bytes of UDP payload.
    pub(crate) packet_size: u16,
    /// Where that comes from; on QOTP's wire it is fixed.
    mtu: Mtu,
    pub(crate) validation: Validation,
    pub(crate) ecn: EcnValidation,
    pub(crate) received: Received,
    pub(crate) sent: SentPackets,
    /// Which numbers are left out.
    pub(crate) skips: Skips,
    pub(crate) in_flight: u64,
    pub(crate) rtt: Rtt,
    pub(crate) floor: Floor,
    pub(crate) loss: LossDetector,
    pub(crate) bbr: Bbr,
    pub(crate) pacer: Pacer,
    /// The peer seems to be elsewhere.
    pub(crate) moving: Option<Box<Move>>,
    /// Is the peer silent that was busy?
    pub(crate) vigil: Vigil,
    pub(crate) pulse: Pulse,
    /// Does it deliver?
    pub(crate) liveness: Liveness,
    /// A PING is to be sent.
    pub(crate) ping_owed: bool,
    /// What is to be sent found no memory.
    pub(crate) starved: bool,
    /// Packets without anything ack-eliciting since the last one with.
    pub(crate) quiet: u32,
    pub(crate) counts: Counts,
}

impl Path {
    /// The path of the handshake. Packet 0 of both directions was the handshake's.
    pub(crate) fn new(
        now: Instant,
        local: LocalAddr,
        remote: TransportAddr,
        local_id: ConnectionId,
        packet_size: u16,
        seed: u64,
    ) -> Self {
        Self {
            id: PathId::ZERO,
            generation: 0,
            standing: Standing::Usable,
            statuses: None,
            local,
            remote,
            heard_on: local,
            end_left: false,
            remote_id: ConnectionId([0; 8]),
            remote_sequence: 0,
            remote_token: None,
            local_id,
            cid_changes: CidChanges::default(),
            cid_stale: false,
            packet_size,
            mtu: Mtu::fixed(packet_size),
            validation: Validation::Valid,
            ecn: EcnValidation::new(false),
            received: Received::new(now, PacketNumber::ZERO),
            sent: SentPackets::new(PacketNumber(1)),
            skips: Skips::new(),
            in_flight: 0,
            rtt: Rtt::new(),
            floor: Floor::new(),
            loss: LossDetector::new(),
            bbr: Bbr::new(packet_size, seed),
            pacer: Pacer::new(),
            moving: None,
            vigil: Vigil::new(),
            pulse: Pulse::new(now),
            liveness: Liveness::new(),
            ping_owed: false,
            starved: false,
            quiet: 0,
            counts: Counts::default(),
        }
    }

    /// Another path, between ends that are not proved. Each side begins it with an id that the other one has not seen, which
    /// counts as a change.
    pub(crate) fn open(now: Instant, life: Life, ends: Tuple, validation: Validation, own: Own) -> Self {
        let Life { id, generation, next, highest } = life;
        let Own { local_id, mtu, ecn, seed } = own;
        let mut path = Self {
            id,
            generation,
            standing: Standing::Opening { asked: None },
            cid_changes: CidChanges { ours: 1, theirs: 0 },
            validation,
            ecn: EcnValidation::new(ecn),
            received: Received::resume(now, highest),
            sent: SentPackets::new(next),
            loss: LossDetector::resume(next),
            ..Self::new(now, ends.local, ends.remote, local_id, mtu.packet_size(), seed)
        };
        path.set_mtu(mtu);
        path
    }

    /// Whether the peer has not answered yet.
    pub(crate) const fn is_opening(&self) -> bool {
        matches!(self.standing, Standing::Opening { .. })
    }

    /// Whether other paths are to be preferred: payload is not acknowledged in time, or the peer seems to be elsewhere.
    pub(crate) fn is_suspect(&self) -> bool {
        self.liveness.is_suspect() || self.moving.as_ref().is_some_and(|moving| moving.is_asking())
    }

    /// It is being opened, and the peer is asked as if for the first time.
    pub(crate) fn ask_anew(&mut self, now: Instant, data: [u8; 8]) {
        self.validation = Validation::start_own(now, data);
        if let Standing::Opening { asked: Some(asked) } = &mut self.standing {
            *asked = now;
        }
    }

    /// Whether an id of the peer's is used for it.
    pub(crate) const fn has_cid(&self) -> bool {
        !matches!(self.standing, Standing::Opening { asked: None })
    }

    /// Until when it is read from, if it is closed.
    pub(crate) const fn closed_until(&self) -> Option<Instant> {
        match self.standing {
            Standing::Closed { until } => Some(until),
            Standing::Opening { .. } | Standing::Usable => None,
        }
    }

    /// What another life of its id would go on from.
    pub(crate) fn life(&self) -> Life {
        let (next, highest) = (self.sent.next(), self.received.highest());
        Life { id: self.id, generation: self.generation, next, highest }
    }

    /// What the applications want of it.
    pub(crate) fn statuses(&self) -> Statuses {
        self.statuses.as_deref().copied().unwrap_or_default()
    }

    /// The same, to change it.
    pub(crate) fn statuses_mut(&mut self) -> &mut Statuses {
        self.statuses.get_or_insert_default()
    }

    /// The same, if there is anything.
    pub(crate) fn statuses_told(&mut self) -> Option<&mut Statuses> {
        self.statuses.as_deref_mut()
    }

    /// Whether either application wants it spared.
    pub(crate) fn is_backup(&self) -> bool {
        let statuses = self.statuses();
        [statuses.own(), statuses.peer()].contains(&PathStatus::Backup)
    }

    /// It is over, and nothing more comes: gives back what it held.
    pub(crate) fn clear(&mut self) {
        self.received = Received::empty(Instant::ZERO);
        self.sent = SentPackets::new(self.sent.next());
        (self.moving, self.statuses) = (None, None);
    }

    /// The number of a packet that is about to be built: the next one, or the one behind where that is left out.
    pub(crate) fn next_number(&mut self, now: Instant, rng: &mut Rng) -> PacketNumber {
        let next = self.sent.next();
        if !self.skips.is_next(next, rng) {
            return next;
        }
        self.sent.skip(now);
        self.sent.next()
    }

    /// The sizes of the path.
    pub(crate) const fn mtu(&self) -> &Mtu {
        &self.mtu
    }

    /// The largest datagram that it was shown to carry.
    pub(crate) fn largest_datagram(&self) -> u16 {
        self.mtu.confirmed().max(self.packet_size)
    }

    /// Starts afresh with other sizes.
    pub(crate) fn set_mtu(&mut self, mtu: Mtu) {
        self.mtu = mtu;
        self.packet_size = mtu.packet_size();
        self.bbr.set_max_datagram(mtu.confirmed());
    }

    /// Tells MTU discovery something, and follows where it leads.
    pub(crate) fn tell_mtu<R>(&mut self, tell: impl FnOnce(&mut Mtu) -> R) -> R {
        let before = (self.mtu.packet_size(), self.mtu.confirmed());
        let result = tell(&mut self.mtu);
        if before.0 != self.mtu.packet_size() {
            self.packet_size = self.mtu.packet_size();
        }
        if before.1 != self.mtu.confirmed() {
            self.bbr.set_max_datagram(self.mtu.confirmed());
        }
        result
    }

    /// RFC 9002's PTO without back-off, capped at 2 s.
    pub(crate) fn pto(&self, max_ack_delay: Duration) -> Duration {
        self.rtt.pto(max_ack_delay).min(MAX_PROBE_TIMEOUT)
    }

    /// The handshake was answered: a first sample.
    pub(crate) fn on_handshake_round_trip(&mut self, now: Instant, sample: Duration) {
        self.rtt.update(sample, Duration::ZERO);
        self.bbr.begin_ack(now);
        self.bbr.finish_ack(now, Some(sample), self.in_flight);
    }

    /// Both ends.
    pub(crate) const fn tuple(&self) -> Tuple {
        Tuple { local: self.local, remote: self.remote }
    }

    /// Both ends, with ours as it was last seen where the system chooses it.
    pub(crate) const fn known_tuple(&self) -> Tuple {
        let local = if self.local.ip.is_some() { self.local } else { self.heard_on };
        Tuple { local, remote: self.remote }
    }

    /// The path begins, or goes on, between these ends.
    pub(crate) const fn set_tuple(&mut self, to: Tuple) {
        (self.local, self.remote, self.heard_on) = (to.local, to.remote, to.local);
    }

    /// It goes another way from now on, of which nothing is known. Nothing is in flight.
    pub(crate) fn start_anew(&mut self, mtu: Mtu, seed: u64) {
        self.rtt = Rtt::new();
        self.floor = Floor::new();
        self.bbr = Bbr::new(mtu.packet_size(), seed);
        self.pacer = Pacer::new();
        self.ecn.start_anew();
        self.set_mtu(mtu);
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let moving = self.moving.as_ref().map_or(0, |moving| size_of_val(&**moving));
        let statuses = self.statuses.as_ref().map_or(0, |statuses| size_of_val(&**statuses));
        let records = self.received.heap_bytes().saturating_add(self.sent.heap_bytes());
        records.saturating_add(moving).saturating_add(statuses)
    }

    /// Panics in debug builds where sums do not add up.
    pub(crate) fn check(&self) {
        debug_assert!(
            (self.in_flight == 0) == (self.sent.outstanding() == 0),
            "{} bytes but {} packets in flight",
            self.in_flight,
            self.sent.outstanding()
        );
    }
}

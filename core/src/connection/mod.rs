//! A connection: a struct of parts, each with its own small API, and the verbs that conduct them.

mod acks;
mod acquaintance;
mod answering;
mod cids;
mod close;
mod duties;
mod early;
mod failover;
mod first_flight;
mod handshake;
mod idle;
mod limiter;
mod moves;
mod mtu;
mod network;
mod path_events;
mod paths;
mod plan;
pub(crate) mod qotp;
mod raw;
mod receive;
mod schedule;
mod send;
pub(crate) mod state;
mod timers;
mod upkeep;
pub(crate) mod view;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::budget::{Account, total};
use crate::cids::Cids;
use crate::crypto::keys::{self, Exporter, KeyLimits, data_keys};
use crate::crypto::noise::Finished;
use crate::datagrams::Datagrams;
use crate::endpoint::{ConnectionHandle, InitId, Seat};
use crate::event::Event;
use crate::handshake::initiator::Dialling;
use crate::handshake::negotiate::Agreement;
use crate::id::{ConnectionId, Role, StreamId, WireVersion};
use crate::limiter::Limiter;
use crate::path::Path;
use crate::path::addr::{LocalAddr, TransportAddr};
use crate::path::ecn::EcnValidation;
use crate::path::events::PathLog;
use crate::path::mtu::Mtu;
use crate::path::slots::{FIRST, PathSlot};
use crate::path::table::Paths;
use crate::path::upkeep::Upkeep;
use crate::path::validate::OwedResponses;
use crate::shared::Shared;
use crate::stats::{ConnectionStats, count};
use crate::streams::blocks::LARGE;
use crate::streams::{StreamEvent, Streams};
use crate::time::{Duration, Instant};
use crate::wire::params::TransportParams;

use acquaintance::Acquaintance;
pub(crate) use answering::Answering;
use close::Graceful;
pub use close::Undelivered;
use early::Early;
pub(crate) use early::Withheld;
use first_flight::FirstFlight;
use idle::Idle;
use state::{Secured, State};

/// Heap that every connection is charged from its first moment: itself, its place in the endpoint's tables, and the
/// rings of a little traffic. What it needs beyond that is charged as it grows.
pub(crate) const BASE_COST: usize = 27 << 8;
/// The part of that which never grows: everything but the rings, tables and queues.
const FIXED_COST: usize = 43 << 7;

/// One connection, or an attempt at one by us.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) handle: ConnectionHandle,
    role: Role,
    wire: WireVersion,
    /// The first id in the packets that come to us, by which the connection is known in key logs.
    pub(crate) local_id: ConnectionId,
    /// Responder: what copies of the Init are known by.
    pub(crate) init: Option<InitId>,
    state: State,
    paths: Paths,
    cids: Cids,
    streams: Streams,
    datagrams: Datagrams,
    peer: TransportParams,
    account: Account,
    idle: Idle,
    /// What there is of early data, and of tokens for it.
    early: Option<Box<Early>>,
    /// A dial of several addresses that the peer has not confirmed yet.
    first_flight: Option<Box<FirstFlight>>,
    /// The peer's challenges that are not answered yet.
    owed: Option<Box<OwedResponses>>,
    graceful: Option<Box<Graceful>>,
    /// Looks after the paths, where there are several ways to the peer.
    upkeep: Option<Box<Upkeep>>,
    /// What the endpoint knows of the peer, if there is a key to know it by.
    acquaintance: Option<Acquaintance>,
    /// What happened to the paths, once somebody has asked.
    path_log: Option<Box<PathLog>>,
    limiter: Limiter,
    /// Its part in the endpoint's half-open attempts.
    half_open: Option<Seat>,
    /// Among the endpoint's connections that wait for memory.
    awaits_memory: bool,
    /// Nobody has been told of it: a policy let it in, and it is not confirmed.
    quiet: bool,
    /// The time after the end was extended for unread data.
    lingered: bool,
    undelivered: Undelivered,
    stats: ConnectionStats,
}

impl Connection {
    /// A dial. `None` if the budget has no room for it.
    pub(crate) fn dial(
        cx: &mut Shared,
        now: Instant,
        handle: ConnectionHandle,
        local_id: ConnectionId,
        dialling: Dialling,
    ) -> Option<Self> {
        let to = dialling.fanout().best();
        let state = State::Dialling(Box::new(dialling));
        Self::native(cx, now, handle, Role::Initiator, state, to.local, to.remote, local_id)
    }

    /// An accepted attempt, whose reply is to be made. `None` if the budget has no room for it.
    pub(crate) fn accept(
        cx: &mut Shared,
        now: Instant,
        handle: ConnectionHandle,
        local_id: ConnectionId,
        answering: Box<Answering>,
    ) -> Option<Self> {
        let (local, remote, init) = (answering.local, answering.copies.first, answering.init);
        let (remote_id, peer) = (answering.attempt.remote_id, answering.agreement.peer);
        let state = State::Answering(answering);
        let mut connection = Self::native(cx, now, handle, Role::Responder, state, local, remote, local_id)?;
        connection.paths[FIRST].remote_id = remote_id;
        connection.init = Some(init);
        connection.set_peer(cx, &peer);
        Some(connection)
    }

    #[expect(clippy::too_many_arguments, reason = "the one constructor behind the two named ones")]
    fn native(
        cx: &mut Shared,
        now: Instant,
        handle: ConnectionHandle,
        role: Role,
        state: State,
        local: LocalAddr,
        remote: TransportAddr,
        local_id: ConnectionId,
    ) -> Option<Self> {
        let (window, hasher) = (cx.config.limits.granted_window(), cx.rng.number_hasher());
        let streams = Streams::new(role, &cx.config.limits, cx.config.announce_streams, hasher);
        let mut connection =
            Self::new(cx, now, handle, role, state, streams, window, local, remote, local_id)?;
        connection.paths[FIRST].ecn = EcnValidation::new(cx.config.ecn);
        Some(connection)
    }

    /// A connection with `window` bytes of receive credit.
    #[expect(clippy::too_many_arguments, reason = "the one constructor behind those of both wires")]
    fn new(
        cx: &mut Shared,
        now: Instant,
        handle: ConnectionHandle,
        role: Role,
        state: State,
        streams: Streams,
        window: u64,
        local: LocalAddr,
        remote: TransportAddr,
        local_id: ConnectionId,
    ) -> Option<Self> {
        let limits = &cx.config.limits;
        let mut account = Account::new(usize::try_from(limits.per_connection).unwrap_or(usize::MAX));
        let cost = BASE_COST.saturating_add(usize::try_from(window).unwrap_or(usize::MAX));
        account.fits(&cx.budget, cost).ok()?;
        account.settle(&mut cx.budget, BASE_COST);
        account.reserve_credit(&mut cx.budget, window);
        let (packet_size, _) = cx.config.sizes_to(&remote);
        Some(Self {
            handle,
            role,
            wire: if state.is_qotp() { WireVersion::Qotp } else { WireVersion::Native },
            local_id,
            init: None,
            state,
            paths: Paths::new(Path::new(now, local, remote, local_id, packet_size, cx.rng.next_u64())),
            cids: Cids::new(local_id),
            streams,
            datagrams: Datagrams::new(cx.config.datagrams),
            peer: TransportParams::DEFAULT,
            account,
            idle: Idle::new(now, cx.config.idle_timeout, cx.config.keep_alive),
            early: None,
            first_flight: None,
            owed: None,
            graceful: None,
            upkeep: None,
            acquaintance: None,
            path_log: None,
            half_open: None,
            limiter: Limiter::new(),
            awaits_memory: false,
            quiet: false,
            lingered: false,
            undelivered: Undelivered::default(),
            stats: ConnectionStats::default(),
        })
    }

    /// The peer's limits are known.
    fn set_peer(&mut self, cx: &Shared, params: &TransportParams) {
        self.peer = *params;
        self.peer.max_paths = params.max_paths.min(cx.config.max_paths);
        self.streams.set_peer_params(params);
        self.idle.set_peer_timeout(params.max_idle_timeout);
        self.set_sizes(cx);
    }

    /// The sizes of the handshake's path are those of the way to where the peer is.
    fn set_sizes(&mut self, cx: &Shared) {
        let (base, discovery) = cx.config.sizes_to(&self.paths[FIRST].remote);
        self.paths[FIRST].set_mtu(Mtu::new(base, self.peer.max_udp_payload, &discovery));
    }

    /// What it speaks.
    pub(crate) const fn wire(&self) -> WireVersion {
        self.wire
    }

    /// The probe timeout of a path, without back-off.
    fn pto(&self, at: PathSlot) -> Duration {
        self.paths[at].pto(self.peer.max_ack_delay)
    }

    /// The longest of them, for what concerns every path: keys and ends.
    fn largest_pto(&self) -> Duration {
        self.paths.largest_pto(self.peer.max_ack_delay)
    }

    /// Whether nothing is left to do, so that the endpoint can forget the connection.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// It goes on as an attempt that is not confirmed, until it is.
    pub(crate) const fn take_seat(&mut self, seat: Seat) {
        self.half_open = Some(seat);
    }

    /// Bytes that its account is charged.
    pub(crate) const fn held(&self) -> usize {
        self.account.used()
    }

    /// Was let in by a policy: nobody hears of its end unless it was confirmed. QOTP's are told of at once, and confirm nothing.
    pub(crate) const fn be_quiet(&mut self) {
        self.quiet = matches!(self.state, State::Confirming(_));
    }

    /// Whether this is an attempt that is not confirmed yet.
    pub(crate) const fn is_half_open(&self) -> bool {
        match &self.state {
            State::Answering(_) | State::Confirming(_) => true,
            State::Qotp(qotp) => qotp.is_answering(),
            _ => false,
        }
    }

    /// Tells the application, after what the streams have to tell: events keep the order in which things happened.
    fn tell(&mut self, cx: &mut Shared, event: Event) {
        self.tell_of_streams(cx);
        cx.events.push(self.handle, event);
    }

    fn tell_of_streams(&mut self, cx: &mut Shared) {
        while let Some(event) = self.streams.poll_event() {
            let event = match event {
                StreamEvent::Opened(direction) => Event::StreamOpened(direction),
                StreamEvent::Readable(id) => Event::Readable(id),
                StreamEvent::Writable(id) => Event::Writable(id),
                StreamEvent::Finished(id) => Event::Finished(id),
                StreamEvent::Available(direction) => Event::StreamsAvailable(direction),
            };
            cx.events.push(self.handle, event);
        }
    }

    /// Ends every verb: hands over the events of the parts, and settles what they hold.
    pub(crate) fn finish_verb(&mut self, cx: &mut Shared) {
        if !self.is_half_open()
            && let Some(seat) = self.half_open.take()
        {
            cx.half_open.leave(seat);
        }
        self.feed_streams(cx);
        self.tell_of_streams(cx);
        self.tell_qotp_window(cx.now);
        let held = total([
            FIXED_COST,
            self.state.heap_bytes(),
            self.paths.heap_bytes(),
            self.cids.heap_bytes(),
            self.owed_bytes(),
            self.early_bytes(),
            self.first_flight_bytes(),
            self.upkeep_bytes(),
            self.path_log_bytes(),
            self.limiter.heap_bytes(),
            self.streams.heap_bytes(),
            self.datagrams.heap_bytes(),
        ]);
        self.account.settle(&mut cx.budget, BASE_COST.max(held));
        if let Some(seat) = &mut self.half_open {
            cx.half_open.resize(seat, self.account.used());
        }
        self.paths.check();
    }

    /// By how many bytes what is held may grow.
    fn room(&self, cx: &Shared) -> usize {
        self.account.available().min(cx.budget.available())
    }

    /// As [`Self::room`], before something is sent. Records of lost packets, which only tell late acknowledgements, give
    /// way where there is no memory for another: with nothing in flight no acknowledgement would make room for it.
    fn room_to_send(&mut self, at: PathSlot, cx: &Shared) -> usize {
        let room = self.room(cx);
        let path = &mut self.paths[at];
        if path.sent.growth() > room.max(plan::MIN_RECORDS) {
            path.sent.forget_settled();
        }
        room
    }

    /// A stream was read, or data came for it: the windows may have to grow, and the peer may have to hear of it.
    fn update_windows(&mut self, cx: &mut Shared, id: StreamId) {
        let rtt = self.paths.rtt_in_use();
        self.streams.update_windows(cx.now, rtt, id, &mut cx.memory(&mut self.account));
    }

    /// Tells writers that wait for memory when there is some. Where it is the endpoint that has none, it calls again.
    fn feed_streams(&mut self, cx: &mut Shared) {
        if !self.streams.is_starving() {
            return;
        }
        self.streams.feed(self.account.writable().min(cx.budget.available()));
        let others_hold_it = self.account.writable() >= LARGE;
        if self.streams.is_starving() && others_hold_it && !core::mem::replace(&mut self.awaits_memory, true)
        {
            cx.starving.push_back(self.handle);
        }
    }

    /// Other connections of the endpoint may have given memory back.
    pub(crate) fn on_memory(&mut self, cx: &mut Shared) {
        self.awaits_memory = false;
        self.finish_verb(cx);
    }

    /// Gives everything back. The last verb.
    pub(crate) fn forget(&mut self, cx: &mut Shared) {
        if self.wire == WireVersion::Native {
            self.release_cids(cx);
        }
        self.streams.discard(&mut cx.memory(&mut self.account));
        self.account.close(&mut cx.budget);
    }

    /// Counters, with the gauges filled in.
    fn stats(&self) -> ConnectionStats {
        let secured = self.state.secured();
        ConnectionStats {
            forged_packets: secured.map_or(self.stats.forged_packets, |secured| secured.opener.failed()),
            key_updates: secured.map_or(self.stats.key_updates, |secured| secured.sealer.rotations()),
            memory_used: self.held() as u64,
            ..self.stats
        }
    }
}

/// The keys and facts that a finished handshake leaves.
fn secure(cx: &mut Shared, now: Instant, role: Role, finished: &Finished, agreement: &Agreement) -> Secured {
    let mut limits = KeyLimits::of(agreement.suite);
    if let Some(packets) = cx.config.rotate_keys_after {
        limits = limits.rotate_after(packets);
    }
    if let Some(time) = cx.config.rotate_keys_every {
        limits = limits.rotate_every(time);
    }
    let (sealer, opener) = data_keys(finished, role, agreement.suite, limits, now);
    count(&mut cx.stats.derivations, keys::DERIVED);
    let alpn: Vec<u8> = agreement.alpn.clone();
    Secured { sealer, opener, exporter: Exporter::new(finished), peer: finished.remote_static, alpn }
}

//! The endpoint: every connection behind one identity, and the five verbs.

mod accept;

mod connect;
mod early;
mod events;
mod half_open;
mod incoming;
mod inits;
mod load;
mod network;
mod prefixes;
mod qotp;
mod rates;
mod recount;
mod remotes;
mod resets;
mod slots;
mod sockets;
mod stateless;
mod timers;

use core::fmt;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;
use zeroize::Zeroize;

use crate::admission::Admission;
use crate::budget::Budget;
use crate::cids::Ids;
use crate::cids::reset::Resets;
use crate::config::Config;
use crate::connection::Connection;
use crate::connection::view;
use crate::crypto::{EarlySecret, GroupSecret, Identity, QotpIdentity, QotpPublicKey, Secret};
use crate::event::Event;
use crate::hash::KeyedState;
use crate::id::{ConnectionId, WireVersion};
use crate::key_log::{KeyLog, KeyLogEntry};
use crate::path::addr::{Arrival, TrainLimit, Transmit, Tuple};
use crate::remote::RemoteMap;
use crate::remote::rations::Rations;
use crate::rng::Rng;
use crate::shared::{Shared, reset_key};
use crate::stats::{Disposition, DropReason, EndpointStats, count};
use crate::streams::blocks::{BlockPool, LARGE};
use crate::time::Instant;
use crate::wire::header::{Header, HeaderError, PacketType, version};

pub use connect::{ConnectOptions, Peer};
use early::UsedTokens;
pub(crate) use events::EventQueue;
pub(crate) use half_open::{HalfOpen, Seat};
use incoming::{Decision, Init, Pending};
pub use incoming::{Incoming, IncomingIdentity};
pub(crate) use inits::InitId;
use inits::Inits;
use load::Taken;
pub use network::NetworkChange;
pub(crate) use network::Report;
use network::Round;
pub use slots::ConnectionHandle;
pub(crate) use slots::ReadyQueue;
use slots::Slots;
pub(crate) use slots::fit;
pub use sockets::LocalSocket;
pub(crate) use sockets::Sockets;
use stateless::Stateless;
use timers::TimerQueue;

/// Connections whose timers one call of `handle_timeout` serves; it stays due for the rest.
const TIMERS_PER_CALL: usize = 64;

/// What a slot holds.
#[derive(Debug)]
enum Entry {
    Pending(Box<Pending>),
    Connection(Box<Connection>),
}

/// A secure transport endpoint without I/O. The crate's documentation has the contract of its verbs.
pub struct Endpoint {
    shared: Shared,
    slots: Slots<Entry>,
    ready: ReadyQueue,
    inits: Inits,
    /// QOTP's connections and attempts, by the one id that packets of both directions have.
    qotp_ids: HashMap<ConnectionId, u32, KeyedState>,
    taken: Taken,
    used_tokens: UsedTokens,
    stateless: Stateless,
    timers: TimerQueue,
    /// Of visits, after a report of the network.
    round: Round,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("public", self.shared.identity.public())
            .field("connections", &self.slots.len())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint. `seed` must be fresh from the system's random generator for every endpoint, and for every shard of one.
    #[must_use]
    pub fn new(config: Config, identity: Identity, mut seed: [u8; 32]) -> Self {
        let config = config.clamped();
        let mut rng = Rng::new(identity.secret(), &seed);
        seed.zeroize();
        let (ids, hasher, events) = (rng.number_hasher(), rng.hasher(), rng.hasher());
        let drawn = Secret::new(rng.bytes());
        let early_secret = config.early_secret.clone().map(EarlySecret::new);
        let early_secret = early_secret.unwrap_or_else(|| EarlySecret::derived(&drawn));
        let group_secret = GroupSecret::new(config.group_secret.clone().unwrap_or(drawn));
        let budget = Budget::new(usize::try_from(config.limits.per_endpoint).unwrap_or(usize::MAX));
        let shared = Shared {
            key_log: KeyLog::new(config.key_log),
            remotes: RemoteMap::new(hasher),
            rations: Rations::default(),
            sockets: Sockets::default(),
            ids: Ids::new(ids, config.shard),
            resets: Resets::new(hasher.other(1)),
            reset_key: reset_key(
                config.reset_key.as_deref().unwrap_or_else(|| identity.secret()),
                config.shard,
            ),
            config,
            qotp_identity: identity.qotp(),
            identity,
            rng,
            pool: BlockPool::new(budget.limit()),
            budget,
            stats: EndpointStats::default(),
            events: EventQueue::new(events),
            starving: VecDeque::new(),
            group_secret,
            early_secret,
            half_open: HalfOpen::new(hasher.other(2)),
            now: Instant::ZERO,
        };
        Self {
            shared,
            slots: Slots::new(),
            ready: ReadyQueue::default(),
            inits: Inits::new(hasher.other(3)),
            qotp_ids: HashMap::with_hasher(hasher.other(4)),
            taken: Taken::new(hasher.other(5)),
            used_tokens: UsedTokens::default(),
            stateless: Stateless::new(hasher.other(6)),
            timers: TimerQueue::default(),
            round: Round::default(),
        }
    }

    /// Mixes a new seed into the random generator: after a fork, or when a snapshot of a machine comes to life. Tokens that
    /// were given out before count no more, nor do those of endpoints with the same [`Config::group_secret`] that were not
    /// given the same seed.
    pub fn reseed(&mut self, seed: &[u8; 32]) {
        self.shared.rng.reseed(seed);
        self.shared.group_secret = self.shared.group_secret.reseeded(seed);
        self.shared.early_secret = self.shared.early_secret.reseeded(seed);
    }

    /// Our public key.
    #[must_use]
    pub const fn public_key(&self) -> &crate::crypto::PublicKey {
        self.shared.identity.public()
    }

    /// Our key on QOTP's wire, which is never the one of the native wire.
    #[must_use]
    pub const fn qotp_public_key(&self) -> &QotpPublicKey {
        self.shared.qotp_identity.public()
    }

    /// Sets the key pair for QOTP connections from now on. The default is derived from the identity
    /// ([`Identity::qotp`]).
    pub fn set_qotp_identity(&mut self, identity: QotpIdentity) {
        self.shared.qotp_identity = identity;
    }

    /// Settings as they are.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Sets the application protocols that are accepted from now on.
    pub fn set_alpns(&mut self, alpns: Vec<Vec<u8>>) {
        self.shared.config.alpns = alpns;
    }

    /// Sets what becomes of incoming attempts from now on ([`Config::admission`]).
    pub fn set_admission(&mut self, policy: Option<Arc<dyn Admission>>) {
        self.shared.config.admission = policy;
    }

    /// A datagram came. It is decrypted in place.
    pub fn handle_datagram(&mut self, now: Instant, arrival: Arrival, datagram: &mut [u8]) -> Disposition {
        let now = self.shared.advance(now);
        let arrival = arrival.canonical();
        count(&mut self.shared.stats.datagrams_received, 1);
        count(&mut self.shared.stats.bytes_received, datagram.len() as u64);
        let disposition = self.route(now, &arrival, datagram);
        if let Disposition::Dropped(reason) = disposition {
            self.shared.stats.count_drop(reason);
        }
        self.tidy_events();
        disposition
    }

    fn route(&mut self, now: Instant, arrival: &Arrival, datagram: &mut [u8]) -> Disposition {
        if !arrival.remote.is_sendable() {
            return Disposition::Dropped(DropReason::Source);
        }
        if version(datagram) == Some(crate::wire::qotp::header::VERSION) {
            return self.route_qotp(now, arrival, datagram);
        }
        let header = match Header::parse(datagram) {
            Ok(header) => header,
            Err(HeaderError::TooShort) => return Disposition::Dropped(DropReason::TooShort),
            Err(HeaderError::TooLong) => return Disposition::Dropped(DropReason::Size),
            Err(HeaderError::Version) => return self.answer_version(now, arrival, datagram),
            Err(HeaderError::Type) => return Disposition::Dropped(DropReason::Type),
        };
        if matches!(header.ty, PacketType::Init | PacketType::InitKnown) {
            return self.handle_init(now, arrival, header, datagram);
        }
        let Some(slot) = self.shared.ids.get(header.routing) else {
            return match header.ty {
                PacketType::Data => self.handle_stray(now, arrival, header.routing, datagram),
                _ => Disposition::Dropped(DropReason::UnknownConnection),
            };
        };
        let Some(Entry::Connection(connection)) = self.slots.at_mut(slot) else {
            return Disposition::Dropped(DropReason::UnknownConnection);
        };
        let disposition = match header.ty {
            PacketType::Data => {
                connection.handle_data(&mut self.shared, now, arrival, header.routing, datagram)
            }
            PacketType::Retry => connection.handle_retry(&mut self.shared, now, arrival, datagram),
            PacketType::VersionList => connection.handle_versions(now, arrival, datagram),
            ty => connection.handle_reply(&mut self.shared, now, arrival, ty, datagram),
        };
        connection.finish_verb(&mut self.shared);
        self.ready.push(slot);
        disposition
    }

    /// Does what is due at `now`, for a bounded number of connections; stays due while there are more.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.shared.advance(now);
        self.visit(now);
        self.shared.remotes.expire(now, &mut self.shared.budget);
        self.used_tokens.expire(now, &mut self.shared.budget);
        for _ in 0..TIMERS_PER_CALL {
            let Some((_, slot)) = self.timers.next().filter(|(deadline, _)| *deadline <= now) else { return };
            self.fire(now, slot);
        }
    }

    /// The timer of a slot is due.
    fn fire(&mut self, now: Instant, slot: u32) {
        self.timers.set(slot, None);
        count(&mut self.shared.stats.timers_fired, 1);
        match self.slots.at_mut(slot) {
            Some(Entry::Connection(connection)) => {
                connection.handle_timeout(&mut self.shared, now);
                connection.finish_verb(&mut self.shared);
                self.ready.push(slot);
            }
            Some(Entry::Pending(pending)) if pending.expires <= now => self.remove(slot),
            Some(Entry::Pending(_)) => self.ready.push(slot),
            None => {}
        }
    }

    /// Appends the next train of datagrams for one destination to `out`; `None` when there is nothing to send now.
    pub fn poll_transmit(&mut self, now: Instant, limit: TrainLimit, out: &mut Vec<u8>) -> Option<Transmit> {
        let now = self.shared.advance(now);
        if self.stateless.is_due() {
            return self.send_stateless(out);
        }
        let mut fires = TIMERS_PER_CALL;
        while let Some(slot) = self.ready.pop() {
            let handle = self.slots.handle_at(slot);
            let transmit = match self.slots.at_mut(slot) {
                Some(Entry::Connection(connection)) => {
                    let transmit = connection.poll_transmit(&mut self.shared, now, limit, out);
                    connection.finish_verb(&mut self.shared);
                    transmit
                }
                Some(Entry::Pending(pending)) => {
                    handle.and_then(|handle| pending.poll_transmit(now, handle, out))
                }
                None => None,
            };
            if let Some(transmit) = transmit {
                self.ready.push(slot);
                self.stateless.on_train();
                self.shared.stats.count_sent(&transmit);
                return Some(transmit);
            }
            self.settle(now, slot, &mut fires);
        }
        self.ready.give_back(self.slots.places());
        self.feed_starving();
        self.send_stateless(out)
    }

    fn send_stateless(&mut self, out: &mut Vec<u8>) -> Option<Transmit> {
        let transmit = self.stateless.poll_transmit(out)?;
        self.shared.stats.count_sent(&transmit);
        Some(transmit)
    }

    /// The system refused to send datagrams of `size` bytes (the `segment_size` of their [`Transmit`]) between these ends for
    /// `handle` because they are too large (`EMSGSIZE`): MTU discovery of that path need not find it out. They count as sent
    /// and will be found lost. Does nothing for a handle that is no connection (any more), or where it has no such path.
    pub fn datagram_too_large(&mut self, now: Instant, handle: ConnectionHandle, ends: Tuple, size: usize) {
        let (now, remote) = (self.shared.advance(now), ends.remote.canonical());
        let ends = Tuple { local: ends.local.towards(&remote), remote };
        if let Some(Entry::Connection(connection)) = self.slots.get_mut(handle) {
            connection.on_too_large(now, &ends, size);
            connection.finish_verb(&mut self.shared);
            self.ready.push(handle.slot);
        }
    }

    /// Lets connections whose writers found no memory look again, in turn, if there is some now.
    fn feed_starving(&mut self) {
        for _ in 0..self.shared.starving.len().min(TIMERS_PER_CALL) {
            if self.shared.budget.available() < LARGE {
                return;
            }
            let Some(handle) = self.shared.starving.pop_front() else { return };
            if let Some(Entry::Connection(connection)) = self.slots.get_mut(handle) {
                connection.on_memory(&mut self.shared);
            }
        }
    }

    /// A slot has nothing to send: arm its timer, or forget it. While it waited for its turn its timer was not armed,
    /// so what became due meanwhile is done here; `fires` bounds how often, as in `handle_timeout`.
    fn settle(&mut self, now: Instant, slot: u32, fires: &mut usize) {
        let deadline = match self.slots.at(slot) {
            Some(Entry::Connection(connection)) if connection.is_over() => return self.remove(slot),
            Some(Entry::Connection(connection)) => connection.timeout(),
            Some(Entry::Pending(pending)) => Some(pending.expires),
            None => None,
        };
        // What saturated is never due.
        match deadline.filter(|deadline| *deadline < Instant::MAX) {
            Some(deadline) if deadline <= now && *fires > 0 => {
                *fires = fires.saturating_sub(1);
                self.fire(now, slot);
            }
            deadline => self.timers.set(slot, deadline),
        }
    }

    /// When `handle_timeout` or `poll_transmit` next has something to do: now (the latest time told) while output
    /// waits. `None`: not before something comes.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.ready.is_empty() || !self.stateless.is_empty() {
            Some(self.shared.now)
        } else {
            let timer = self.timers.next().map(|(deadline, _)| deadline);
            let [round, remotes] = [self.round.due(self.shared.now), self.shared.remotes.due()];
            timer.into_iter().chain(round).chain(remotes).chain(self.used_tokens.due()).min()
        }
    }

    /// Sees to it that the events never polled are bounded by what exists.
    fn tidy_events(&mut self) {
        if self.shared.events.is_crowded() {
            let slots = &self.slots;
            self.shared.events.clean_up(slots.most(), |handle| slots.get(handle).is_some());
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<(ConnectionHandle, Event)> {
        self.shared.events.pop()
    }

    /// Whether there are events: then it is not the time to sleep. [`Endpoint::poll_timeout`] does not say so.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.shared.events.is_empty()
    }

    /// The next entry of the key log, if [`Config::key_log`] is on. At most 256 wait; what comes beyond is lost.
    pub fn poll_key_log(&mut self) -> Option<KeyLogEntry> {
        self.shared.key_log.pop()
    }

    /// A connection; `None` if there is no such any more.
    pub fn connection(&mut self, handle: ConnectionHandle) -> Option<view::Connection<'_>> {
        match self.slots.get_mut(handle)? {
            Entry::Connection(connection) => {
                Some(view::Connection::new(connection, &mut self.shared, &mut self.ready))
            }
            Entry::Pending(_) => None,
        }
    }

    /// An incoming attempt that waits for a decision.
    pub fn incoming(&mut self, handle: ConnectionHandle) -> Option<Incoming<'_>> {
        match self.slots.get(handle)? {
            Entry::Pending(pending) if matches!(pending.decision, Decision::Waiting(_)) => {
                Some(Incoming::new(self, handle))
            }
            _ => None,
        }
    }

    /// Everything that has a handle: connections, until they are forgotten, and attempts of others. For a shutdown, not
    /// for every packet: it looks at all of them.
    pub fn handles(&self) -> impl Iterator<Item = ConnectionHandle> + '_ {
        self.slots.handles()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        let mut stats = self.shared.stats.clone();
        stats.memory_used = self.shared.budget.used() as u64;
        stats.connections = self.slots.len() as u64;
        stats.half_open = self.shared.half_open.seats().into();
        stats
    }

    fn pending(&self, handle: ConnectionHandle) -> Option<&Pending> {
        match self.slots.get(handle)? {
            Entry::Pending(pending) => Some(pending),
            Entry::Connection(_) => None,
        }
    }

    /// Empties a slot and the tables that point to it.
    fn remove(&mut self, slot: u32) {
        self.timers.set(slot, None);
        match self.slots.remove(slot) {
            Some(Entry::Connection(mut connection)) => {
                connection.forget(&mut self.shared);
                if connection.wire() == WireVersion::Qotp {
                    self.qotp_ids.remove(&connection.local_id);
                }
                if let Some(init) = connection.init {
                    self.inits.remove(&init);
                }
            }
            Some(Entry::Pending(pending)) => {
                match pending.init {
                    Init::Native(id) => self.inits.remove(&id),
                    Init::Qotp(id) => drop(self.qotp_ids.remove(&id)),
                }
                self.shared.budget.release(pending.cost);
                self.shared.half_open.leave(pending.seat);
            }
            None => {}
        }
        self.give_back();
    }

    /// Tables do not stay as large as they once had to be.
    fn give_back(&mut self) {
        let places = self.slots.places();
        self.timers.give_back(places);
        self.ready.give_back(places);
        if let Some(fits) = fit(self.qotp_ids.len(), self.qotp_ids.capacity()) {
            self.qotp_ids.shrink_to(fits);
        }
    }
}

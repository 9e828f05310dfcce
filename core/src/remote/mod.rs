//! What is known of peers over all connections of an endpoint: by their key, at which addresses they may be, and how each
//! has done. Connections say what happens; nothing here knows of packets.

mod candidate;
pub(crate) mod fanout;
mod info;
mod prune;
pub(crate) mod rations;
pub(crate) mod scope;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::hash::BuildHasher;

use hashbrown::HashTable;

use crate::budget::Budget;
use crate::crypto::PublicKey;
use crate::hash::KeyedState;
use crate::path::addr::{TransportAddr, Tuple};
use crate::time::{Duration, Instant};

pub use candidate::{AddressSource, AddressSources, AddressStatus};
pub use info::{AddressFailure, AddressInfo, RemoteInfo, WhyNot};

use candidate::Candidate;
use prune::{Candidates, prune};

/// How long a peer without a connection is remembered.
const REST: Duration = Duration::from_secs(60);
/// Peers without a connection that are remembered; of more, those that were used last.
const MAX_RESTING: usize = 4096;
/// One such peer for so much of what the endpoint may hold: at 256 bytes each, a 64th.
const RESTING_SHARE: usize = 16 << 10;
/// Relays of a peer; of more nobody is told.
const MAX_RELAYS: usize = 16;
/// Peers that one call forgets; more are due at once.
const FORGOTTEN_PER_CALL: usize = 64;
/// Heap of each address but a peer's first, with what its list grows by. The rest is small and bounded: it is part of what a
/// connection costs, and of those at rest there are only so many.
const ADDRESS_COST: usize = 2 * size_of::<Candidate>();

/// Names a peer as long as it has a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct RemoteId(u32);

/// A peer.
#[derive(Debug)]
struct Remote {
    key: PublicKey,
    candidates: Candidates,
    /// Its connections.
    connections: u32,
    /// Since when it has none, if it has none.
    rests_since: Instant,
}

impl Remote {
    fn find(&mut self, addr: &TransportAddr) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.addr == *addr)
    }

    /// What it is charged.
    fn cost(&self) -> usize {
        self.candidates.len().saturating_sub(1).saturating_mul(ADDRESS_COST)
    }
}

/// An address of a peer for a dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) to: Tuple,
    pub(crate) standing: Standing,
}

/// How good an address is to dial; the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Standing {
    /// The peer is there, or was.
    Met,
    /// The application says so.
    Named,
    /// Somebody else does.
    Found,
    /// It did not answer the last time; `true` if it is not vouched for.
    Failed { found: bool },
}

/// The peers that an endpoint knows.
pub(crate) struct RemoteMap {
    ids: HashTable<u32>,
    hasher: KeyedState,
    places: Vec<Option<Box<Remote>>>,
    free: Vec<u32>,
    /// Those without a connection, and since when.
    resting: BTreeSet<(Instant, RemoteId)>,
    /// The slots of connections that want to know of new addresses of their peer.
    curious: BTreeSet<(RemoteId, u32)>,
}

impl fmt::Debug for RemoteMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteMap")
            .field("known", &self.ids.len())
            .field("resting", &self.resting.len())
            .finish_non_exhaustive()
    }
}

impl RemoteMap {
    pub(crate) const fn new(hasher: KeyedState) -> Self {
        Self {
            ids: HashTable::new(),
            hasher,
            places: Vec::new(),
            free: Vec::new(),
            resting: BTreeSet::new(),
            curious: BTreeSet::new(),
        }
    }

    /// Bytes charged for what is known of peers: it looks at all of them.
    pub(crate) fn held(&self) -> usize {
        self.places.iter().flatten().map(|remote| remote.cost()).sum()
    }

    /// A connection with the peer begins.
    pub(crate) fn join(&mut self, now: Instant, key: &PublicKey) -> RemoteId {
        let id = self.enter(now, key);
        if let Some(remote) = at(&mut self.places, id) {
            if remote.connections == 0 {
                self.resting.remove(&(remote.rests_since, id));
            }
            remote.connections = remote.connections.saturating_add(1);
        }
        id
    }

    /// A connection with the peer has ended.
    pub(crate) fn leave(&mut self, now: Instant, budget: &mut Budget, id: RemoteId) {
        let Some(remote) = at(&mut self.places, id) else { return };
        remote.connections = remote.connections.saturating_sub(1);
        self.rest(now, budget, id);
    }

    /// A connection with the peer, which is at this slot, wants to know of new addresses.
    pub(crate) fn attend(&mut self, id: RemoteId, slot: u32) {
        self.curious.insert((id, slot));
    }

    /// It does not any more.
    pub(crate) fn ignore(&mut self, id: RemoteId, slot: u32) {
        self.curious.remove(&(id, slot));
    }

    /// The slots of the connections with the peer that want to know of new addresses.
    pub(crate) fn curious(&self, key: &PublicKey) -> Vec<u32> {
        let of = |id| self.curious.range((id, 0)..=(id, u32::MAX)).map(|(_, slot)| *slot).collect();
        self.find(key).map_or_else(Vec::new, of)
    }

    /// Whether anything is known of this address of the peer.
    pub(crate) fn knows(&self, key: &PublicKey, addr: &TransportAddr) -> bool {
        let remote = self.find(key).and_then(|id| self.places.get(id.0 as usize)?.as_ref());
        remote.is_some_and(|remote| remote.candidates.iter().any(|candidate| candidate.addr == *addr))
    }

    /// Somebody says that the peer is at an address. `false` if there is no memory to keep that.
    pub(crate) fn tell(
        &mut self,
        now: Instant,
        budget: &mut Budget,
        key: &PublicKey,
        to: &Tuple,
        source: AddressSource,
    ) -> bool {
        let id = self.enter(now, key);
        let socket = to.local.socket;
        let told = self.change(now, budget, id, to, |candidate| candidate.on_told(now, source, socket));
        self.rest(now, budget, id);
        told
    }

    /// The peer is not at an address after all. One that is in use stays.
    pub(crate) fn untell(&mut self, budget: &mut Budget, key: &PublicKey, addr: &TransportAddr) -> bool {
        let Some(id) = self.find(key) else { return false };
        let Some(remote) = at(&mut self.places, id) else { return false };
        let (before, count) = (remote.cost(), remote.candidates.len());
        if let Some(candidate) = remote.find(addr) {
            (candidate.sources.application, candidate.sources.lookup) = (false, false);
        }
        remote.candidates.retain(|candidate| candidate.addr != *addr || candidate.open > 0);
        remote.candidates.shrink_to_fit();
        budget.release(before.saturating_sub(remote.cost()));
        count > remote.candidates.len()
    }

    /// A path of a connection is between these ends.
    pub(crate) fn on_opened(&mut self, now: Instant, budget: &mut Budget, id: RemoteId, ends: &Tuple) {
        self.change(now, budget, id, ends, |candidate| candidate.on_opened(now, ends.local.socket));
    }

    /// A path of a connection is not there any more; with a failure if that is why the connection ended.
    pub(crate) fn on_closed(
        &mut self,
        now: Instant,
        id: RemoteId,
        addr: &TransportAddr,
        failure: Option<AddressFailure>,
    ) {
        if let Some(candidate) = at(&mut self.places, id).and_then(|remote| remote.find(addr)) {
            candidate.on_closed(now, failure);
        }
    }

    /// As many copies of an Init as say something went to an address, and no answer came.
    pub(crate) fn on_unanswered(&mut self, now: Instant, id: RemoteId, addr: &TransportAddr) {
        if let Some(candidate) = at(&mut self.places, id).and_then(|remote| remote.find(addr)) {
            candidate.on_unanswered(now);
        }
    }

    /// The addresses for a dial, the best first; of several at which the peer was, the latest.
    pub(crate) fn known(&self, key: &PublicKey) -> Vec<Known> {
        self.find(key).map_or_else(Vec::new, |id| self.known_of(id))
    }

    /// The same, of one that has a connection.
    pub(crate) fn known_of(&self, id: RemoteId) -> Vec<Known> {
        let remote = self.places.get(id.0 as usize).and_then(Option::as_ref);
        let candidates = remote.map_or(&[][..], |remote| &remote.candidates);
        let mut known: Vec<_> = candidates
            .iter()
            .map(|candidate| {
                let open = candidate.status == AddressStatus::Open;
                let standing = standing(candidate);
                let age = (standing == Standing::Met).then_some((open, candidate.since));
                (Known { to: candidate.way(), standing }, Reverse(age))
            })
            .collect();
        known.sort_by_key(|(known, age)| (known.standing, *age));
        known.into_iter().map(|(known, _)| known).collect()
    }

    /// What is known of a peer.
    pub(crate) fn info(&self, key: &PublicKey) -> Option<RemoteInfo> {
        let remote = self.places.get(self.find(key)?.0 as usize)?.as_ref()?;
        Some(RemoteInfo {
            connections: remote.connections as usize,
            addresses: remote.candidates.iter().map(AddressInfo::of).collect(),
        })
    }

    /// When a peer is to be forgotten.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.resting.first().map(|(since, _)| *since + REST)
    }

    /// Forgets the peers whose time has come, some in each call.
    pub(crate) fn expire(&mut self, now: Instant, budget: &mut Budget) {
        for _ in 0..FORGOTTEN_PER_CALL {
            if self.due().is_none_or(|due| due > now) {
                return;
            }
            self.forget_oldest(budget);
        }
    }

    fn find(&self, key: &PublicKey) -> Option<RemoteId> {
        let is = |id: &u32| self.places.get(*id as usize).is_some_and(|place| is_of(place.as_deref(), key));
        self.ids.find(self.hasher.hash_one(key), is).map(|id| RemoteId(*id))
    }

    /// The peer, made known if it was not.
    fn enter(&mut self, now: Instant, key: &PublicKey) -> RemoteId {
        if let Some(id) = self.find(key) {
            return id;
        }
        let remote = Remote { key: *key, candidates: Candidates::new(), connections: 0, rests_since: now };
        let remote = Some(Box::new(remote));
        let free = self.free.pop();
        let id = match free.and_then(|id| Some((id, self.places.get_mut(id as usize)?))) {
            Some((id, place)) => {
                *place = remote;
                id
            }
            None => {
                self.places.push(remote);
                self.places.len().saturating_sub(1) as u32
            }
        };
        let (places, hasher) = (&self.places, self.hasher);
        self.ids.insert_unique(hasher.hash_one(key), id, |id| hash_of(places, hasher, *id));
        RemoteId(id)
    }

    /// Changes what is known of an address, which is made known if it was not and there is memory for it.
    fn change(
        &mut self,
        now: Instant,
        budget: &mut Budget,
        id: RemoteId,
        to: &Tuple,
        change: impl FnOnce(&mut Candidate),
    ) -> bool {
        let Some(remote) = at(&mut self.places, id) else { return false };
        if let Some(candidate) = remote.find(&to.remote) {
            change(candidate);
            return true;
        }
        let mut candidate = Candidate::new(now, to.remote, to.local.socket);
        let relays = remote.candidates.iter().filter(|candidate| candidate.is_relay()).count();
        let more = if remote.candidates.is_empty() { 0 } else { ADDRESS_COST };
        if candidate.is_relay() && relays >= MAX_RELAYS || budget.charge(more).is_err() {
            return false;
        }
        let before = remote.cost().saturating_add(more);
        change(&mut candidate);
        remote.candidates.push(candidate);
        prune(&mut remote.candidates);
        budget.release(before.saturating_sub(remote.cost()));
        true
    }

    /// The peer was used. If it has no connection, its time begins anew.
    fn rest(&mut self, now: Instant, budget: &mut Budget, id: RemoteId) {
        let Some(remote) = at(&mut self.places, id) else { return };
        if remote.connections > 0 {
            return;
        }
        self.resting.remove(&(remote.rests_since, id));
        remote.rests_since = now;
        // The one that rests now is not the one to be forgotten, whatever its place is.
        if self.resting.len() >= MAX_RESTING.min(budget.limit() / RESTING_SHARE) {
            self.forget_oldest(budget);
        }
        self.resting.insert((now, id));
    }

    fn forget_oldest(&mut self, budget: &mut Budget) {
        let Some((_, id)) = self.resting.pop_first() else { return };
        let Some(remote) = self.places.get_mut(id.0 as usize).and_then(Option::take) else { return };
        let hash = self.hasher.hash_one(remote.key);
        if let Ok(entry) = self.ids.find_entry(hash, |entry| *entry == id.0) {
            entry.remove();
        }
        budget.release(remote.cost());
        self.free.push(id.0);
    }
}

fn at(places: &mut [Option<Box<Remote>>], id: RemoteId) -> Option<&mut Remote> {
    places.get_mut(id.0 as usize)?.as_deref_mut()
}

fn is_of(remote: Option<&Remote>, key: &PublicKey) -> bool {
    remote.is_some_and(|remote| remote.key == *key)
}

/// The hash of a peer that is in the table, for its growth.
fn hash_of(places: &[Option<Box<Remote>>], hasher: KeyedState, id: u32) -> u64 {
    let remote = places.get(id as usize).and_then(Option::as_ref);
    remote.map_or(0, |remote| hasher.hash_one(remote.key))
}

fn standing(candidate: &Candidate) -> Standing {
    match candidate.status {
        AddressStatus::Open | AddressStatus::Inactive => Standing::Met,
        AddressStatus::Unknown if candidate.is_vouched() => Standing::Named,
        AddressStatus::Unknown => Standing::Found,
        AddressStatus::Unusable => Standing::Failed { found: !candidate.is_vouched() },
    }
}

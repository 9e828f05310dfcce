//! Whose packets those with an id are.

use hashbrown::HashMap;

use crate::endpoint::fit;
use crate::hash::NumberState;
use crate::id::ConnectionId;
use crate::rng::Rng;
use crate::shard::Shard;

/// The ids that an endpoint has issued on the native wire, and in which slot their connections are.
#[derive(Debug)]
pub(crate) struct Ids {
    slots: HashMap<ConnectionId, u32, NumberState>,
    shard: Shard,
}

impl Ids {
    pub(crate) fn new(hasher: NumberState, shard: Shard) -> Self {
        Self { slots: HashMap::with_hasher(hasher), shard }
    }

    /// The slot of the connection with this id.
    #[inline]
    pub(crate) fn get(&self, id: ConnectionId) -> Option<u32> {
        self.slots.get(&id).copied()
    }

    /// A random id of this shard that is not in use.
    pub(crate) fn fresh(&self, rng: &mut Rng) -> ConnectionId {
        loop {
            if let Some(id) = self.shard.claim(ConnectionId::from_bytes(rng.bytes()))
                && !self.slots.contains_key(&id)
            {
                return id;
            }
        }
    }

    /// Packets with `id` are for the connection in `slot`.
    pub(crate) fn insert(&mut self, id: ConnectionId, slot: u32) {
        self.slots.insert(id, slot);
    }

    /// Nobody is reached under `id` any more.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        self.slots.remove(&id);
        if let Some(fits) = fit(self.slots.len(), self.slots.capacity()) {
            self.slots.shrink_to(fits);
        }
    }
}

//! Connection ids beyond the first: what each side gives the other to be reached under, so that a path that moves on
//! purpose, or a new one, cannot be linked to an old one by who watches both (docs/PROTOCOL.md, "Connection ids"; RFC
//! 9000 section 5.1, without Retire Prior To: only the user of an id retires it).

pub(crate) mod local;
pub(crate) mod remote;
pub(crate) mod reset;
mod table;

pub(crate) use table::Ids;

use crate::id::ConnectionId;
use crate::recovery::sent::Item;
use crate::time::Duration;

use local::LocalCids;
use remote::RemoteCids;

/// Ids that each side keeps the other supplied with beyond one for each path: one to move to, and one to move on to
/// before the first is replaced (docs/PROTOCOL.md, "Connection ids").
pub(crate) const EXTRA: usize = 2;

/// How long a NEW_CONNECTION_ID waits for a packet that goes anyway: a short exchange needs none, and pays for none.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The most ids that a peer may have issued and not seen retired: those of 64 paths, the most that there can be.
const MAX_ISSUED: usize = 64 + EXTRA;

/// The ids of a connection, but those of the peer's that are in use.
#[derive(Debug)]
pub(crate) struct Cids {
    pub(crate) local: LocalCids,
    pub(crate) remote: RemoteCids,
}

impl Cids {
    /// The handshake's, of which `local` is ours.
    pub(crate) fn new(local: ConnectionId) -> Self {
        Self { local: LocalCids::new(local), remote: RemoteCids::new() }
    }

    /// Whether the peer is to be told of something that does not wait.
    pub(crate) fn has_output(&self) -> bool {
        self.local.is_urgent() || self.remote.is_urgent()
    }

    /// A frame of a packet is lost, or is to be probed with: it goes again.
    pub(crate) fn on_lost(&mut self, item: Item) {
        match item {
            Item::NewConnectionId(sequence) => self.local.on_lost(sequence),
            Item::RetireConnectionId(sequence) => self.remote.on_lost(sequence),
            _ => {}
        }
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.local.heap_bytes().saturating_add(self.remote.heap_bytes())
    }
}

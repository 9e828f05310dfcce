//! The paths of a connection, and where each is kept.

use core::ops::{Index, IndexMut};

use crate::id::PathId;
use crate::time::Duration;

use super::Path;

/// Paths that a connection has at once.
pub(crate) const MAX_PATHS: u8 = 1;

/// Where a path is kept as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PathSlot(u8);

/// The place of the handshake's path.
pub(crate) const FIRST: PathSlot = PathSlot(0);

/// All paths of a connection. There is always one.
#[derive(Debug)]
pub(crate) struct Paths {
    first: Path,
}

impl Paths {
    /// The path of the handshake alone.
    pub(crate) const fn new(first: Path) -> Self {
        Self { first }
    }

    /// Where the path with this id is kept, if it is open.
    pub(crate) fn find(&self, id: PathId) -> Option<PathSlot> {
        (self.first.id == id).then_some(FIRST)
    }

    /// The places of all paths.
    pub(crate) fn slots(&self) -> impl Iterator<Item = PathSlot> + use<> {
        core::iter::once(FIRST)
    }

    /// The path that data takes.
    pub(crate) const fn selected(&self) -> PathSlot {
        FIRST
    }

    /// The longest probe timeout of all paths, without back-off: what concerns all of them (keys, the end of the
    /// connection) waits for the slowest.
    pub(crate) fn largest_pto(&self, max_ack_delay: Duration) -> Duration {
        self.first.pto(max_ack_delay)
    }

    /// Heap held, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.first.heap_bytes()
    }

    /// Panics in debug builds where sums do not add up.
    pub(crate) fn check(&self) {
        self.first.check();
    }
}

impl Index<PathSlot> for Paths {
    type Output = Path;

    fn index(&self, _: PathSlot) -> &Path {
        &self.first
    }
}

impl IndexMut<PathSlot> for Paths {
    fn index_mut(&mut self, _: PathSlot) -> &mut Path {
        &mut self.first
    }
}

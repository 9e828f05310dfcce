//! Places of paths in a connection's table, and sets of them.

/// The most paths that a connection has open at once, whatever is agreed on: so tables stay small.
pub(crate) const MAX_PATHS: u8 = 16;

/// Where a path is kept as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PathSlot(pub(super) u8);

/// The place of the handshake's path.
pub(crate) const FIRST: PathSlot = PathSlot(0);

/// A set of places: of [`MAX_PATHS`] open paths, and as many that are closed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct SlotSet(u32);

const _: () = assert!(2 * MAX_PATHS as u32 <= u32::BITS);

impl SlotSet {
    /// One place.
    pub(crate) const fn of(at: PathSlot) -> Self {
        Self(1 << at.0)
    }

    pub(crate) const fn contains(self, at: PathSlot) -> bool {
        self.0 & Self::of(at).0 != 0
    }

    pub(crate) const fn insert(&mut self, at: PathSlot) {
        self.0 |= Self::of(at).0;
    }

    pub(crate) const fn remove(&mut self, at: PathSlot) {
        self.0 &= !Self::of(at).0;
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in the other one.
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The lowest place that is not in it.
    pub(crate) const fn vacancy(self) -> PathSlot {
        PathSlot(self.0.trailing_ones() as u8)
    }

    /// The next place behind `turn`, going round.
    pub(crate) const fn after(self, turn: PathSlot) -> Option<PathSlot> {
        let turn = Self::of(turn).0;
        let behind = self.0 & !(turn | turn.wrapping_sub(1));
        match (behind, self.0) {
            (0, 0) => None,
            (0, all) => Some(PathSlot(all.trailing_zeros() as u8)),
            (behind, _) => Some(PathSlot(behind.trailing_zeros() as u8)),
        }
    }

    /// Takes the lowest place out.
    pub(crate) fn pop(&mut self) -> Option<PathSlot> {
        let at = self.iter().next()?;
        self.remove(at);
        Some(at)
    }

    /// The places, the lowest first.
    pub(crate) fn iter(self) -> impl Iterator<Item = PathSlot> + Clone + use<> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let place = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (place < u32::BITS).then_some(PathSlot(place as u8))
        })
    }
}

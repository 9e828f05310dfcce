//! Which of several endpoints behind one port an endpoint is.

use core::fmt;
use core::num::{NonZeroU8, NonZeroU64};

use crate::id::ConnectionId;

/// The place of an endpoint among several that share a port, a *shard*: number `index` of `count`.
///
/// A shard only ever issues connection ids whose first byte is `index` modulo `count`. That byte stands at offset 1 of
/// every packet (docs/PROTOCOL.md, "Connection ids"), so whoever hands datagrams to the shards, a kernel for example,
/// needs no more than [`Shard::of`], and no table. The default is the only one there is, 0 of 1, which is handed
/// everything.
///
/// Shards share nothing but their identity: each has its own seed, connections and limits
/// ([`Config::for_shard`](crate::Config::for_shard)).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u8,
    count: NonZeroU8,
}

impl Shard {
    /// The most shards of a port: so each has at least four values for the first byte.
    pub const MAX_COUNT: u8 = 64;

    /// Shard `index`, counted from 0, of `count`; `None` unless `index < count` and `count` is 1 to 64.
    #[must_use]
    pub const fn new(index: u8, count: u8) -> Option<Self> {
        match NonZeroU8::new(count) {
            Some(count) if index < count.get() && count.get() <= Self::MAX_COUNT => {
                Some(Self { index, count })
            }
            _ => None,
        }
    }

    /// All shards of a port that has `count` of them, in order; none unless `count` is 1 to 64.
    pub fn all(count: u8) -> impl Iterator<Item = Self> {
        (0..count).filter_map(move |index| Self::new(index, count))
    }

    /// Its number, from 0.
    #[must_use]
    pub const fn index(self) -> u8 {
        self.index
    }

    /// How many there are, at least 1.
    #[must_use]
    pub const fn count(self) -> u8 {
        self.count.get()
    }

    /// The number of the shard, of `count`, to which a datagram belongs. One that is too short to say belongs to shard 0,
    /// which counts it as dropped.
    #[must_use]
    pub fn of(datagram: &[u8], count: NonZeroU8) -> u8 {
        datagram.get(1).map_or(0, |first| *first % count)
    }

    /// The number of the shard to which a datagram belongs, if it is not this one.
    #[must_use]
    pub fn sibling_of(self, datagram: &[u8]) -> Option<u8> {
        // Most endpoints are alone.
        if self.count == NonZeroU8::MIN {
            return None;
        }
        Some(Self::of(datagram, self.count)).filter(|owner| *owner != self.index)
    }

    /// Whether packets with this id are handed to this shard.
    #[must_use]
    pub const fn owns(self, id: ConnectionId) -> bool {
        let [first, ..] = *id.as_bytes();
        matches!(first.checked_rem(self.count.get()), Some(owner) if owner == self.index)
    }

    /// Makes a random id one of ours, changing its first byte. `None`: draw another one.
    ///
    /// All first bytes of the shard that can come out are equally likely. `count` values in a row hold one of each shard,
    /// and what is left over at the end, where it does not divide 256, would favour some: it is not used.
    pub(crate) const fn claim(self, id: ConnectionId) -> Option<ConnectionId> {
        let mut bytes = *id.as_bytes();
        let [first, ..] = &mut bytes;
        // The first of those in a row among which it is.
        let Some(within) = first.checked_rem(self.count.get()) else { return None };
        let start = first.saturating_sub(within);
        let Some(last) = self.count.get().checked_sub(1) else { return None };
        if start.checked_add(last).is_none() {
            return None;
        }
        *first = start.saturating_add(self.index);
        Some(ConnectionId::from_bytes(bytes))
    }

    /// This shard's part of what all of them may have: at least 1, unless nobody may have anything.
    pub(crate) fn part(self, of_all: u64) -> u64 {
        (of_all / NonZeroU64::from(self.count)).max(of_all.min(1))
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, count: NonZeroU8::MIN }
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    fn id(first: u8) -> ConnectionId {
        ConnectionId::from_bytes([first, 1, 2, 3, 4, 5, 6, 7])
    }

    #[test]
    fn only_places_that_exist_have_a_name() {
        for (index, count) in [(0, 0), (1, 1), (5, 5), (64, 64), (0, 65), (255, 255)] {
            assert_eq!(Shard::new(index, count), None);
        }
        assert_eq!(Shard::new(0, 1), Some(Shard::default()));
        assert_eq!(Shard::all(64).map(Shard::index).collect::<Vec<_>>(), (0..64).collect::<Vec<_>>());
        assert_eq!(Shard::all(0).count() + Shard::all(65).count(), 0);
    }

    #[test]
    fn an_only_shard_takes_every_id_as_it_is() {
        for first in 0..=u8::MAX {
            assert!(Shard::default().owns(id(first)));
            assert_eq!(Shard::default().claim(id(first)), Some(id(first)));
        }
    }

    #[test]
    fn claimed_ids_are_the_shards_own_and_equally_likely() {
        for count in 1..=Shard::MAX_COUNT {
            for shard in Shard::all(count) {
                let mut drawn = vec![0; 256];
                for first in 0..=u8::MAX {
                    let Some(claimed) = shard.claim(id(first)) else { continue };
                    assert!(shard.owns(claimed), "{shard:?}");
                    assert_eq!(claimed.as_bytes()[1..], id(first).as_bytes()[1..]);
                    drawn[usize::from(claimed.as_bytes()[0])] += 1;
                }
                let places = 256 / usize::from(count);
                assert_eq!(drawn.iter().filter(|times| **times == count).count(), places, "{shard:?}");
                assert_eq!(drawn.iter().filter(|times| **times != 0).count(), places, "{shard:?}");
            }
        }
    }

    #[test]
    fn every_datagram_belongs_to_one_shard() {
        let count = NonZeroU8::new(5).unwrap();
        assert_eq!(Shard::of(&[], count), 0);
        assert_eq!(Shard::of(&[7], count), 0);
        for first in 0..=u8::MAX {
            let owners: Vec<u8> =
                Shard::all(5).filter(|shard| shard.owns(id(first))).map(Shard::index).collect();
            assert_eq!(owners, [Shard::of(&[0x90, first, 0], count)]);
            assert!(Shard::all(5).all(|shard| match shard.sibling_of(&[0x90, first]) {
                None => owners == [shard.index()],
                Some(owner) => owners == [owner] && owner != shard.index(),
            }));
            assert_eq!(Shard::default().sibling_of(&[0x90, first]), None);
        }
    }

    #[test]
    fn parts_add_up_to_no_more_than_the_whole() {
        let shard = Shard::new(3, 7).unwrap();
        assert_eq!((shard.part(70), shard.part(76), shard.part(3), shard.part(0)), (10, 10, 1, 0));
    }
}

//! The list of wire versions that a peer speaks, for who dials it in one that it does not (docs/PROTOCOL.md, "Versions").

use core::fmt;

use crate::rng::Rng;

use super::header::{PacketType, VERSION};

/// Versions are numbers of five bits.
const MAX: u8 = 31;
/// The first version that is neither spoken nor spoken for.
const UNUSED: u8 = 19;

/// The versions of the wire that a peer says it speaks, as numbers: 16 is the native wire of this build, those below are
/// QOTP's. Anybody on the way can say such a thing, and one of the numbers may be made up, so that nobody relies on what is
/// in the list.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionList(u32);

impl VersionList {
    /// First byte of the packet.
    pub(crate) const FIRST_BYTE: u8 = PacketType::VersionList.first_byte();

    /// Reads the versions of a packet, behind its routing id: at least one, and at most as many as there can be. Numbers that
    /// no version has count for nothing.
    pub(crate) fn read(versions: &[u8]) -> Option<Self> {
        let good = (1..=usize::from(MAX) + 1).contains(&versions.len());
        let known = versions.iter().filter(|version| **version <= MAX);
        let list = known.fold(0, |list, version| list | 1 << version);
        (good && list != 0).then_some(Self(list))
    }

    /// The versions for who asked for `asked`: ours, and one that does not exist, in any order, so that no reader of such lists
    /// comes to expect a certain one.
    pub(crate) fn answer(asked: u8, rng: &mut Rng) -> [u8; 2] {
        let mut unused = UNUSED.saturating_add(rng.below(u64::from(MAX - UNUSED)) as u8);
        if unused >= asked.max(UNUSED) {
            unused = unused.saturating_add(1);
        }
        let mut list = [VERSION, unused];
        if rng.below(2) == 0 {
            list.reverse();
        }
        list
    }

    /// Whether a version is in it.
    #[must_use]
    pub const fn contains(&self, version: u8) -> bool {
        version <= MAX && self.0 >> version & 1 == 1
    }

    /// The versions, in order.
    pub fn versions(&self) -> impl Iterator<Item = u8> {
        let list = *self;
        (0..=MAX).filter(move |version| list.contains(*version))
    }
}

/// `16, 25`.
impl fmt::Display for VersionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, version) in self.versions().enumerate() {
            let between = if place == 0 { "" } else { ", " };
            write!(f, "{between}{version}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for VersionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.versions()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn hostile_lists_are_read_or_they_are_not() {
        let list = VersionList::read(&[25, 16, 25, 0, 77]).unwrap();
        assert_eq!(list.versions().collect::<Vec<_>>(), [0, 16, 25]);
        assert_eq!(list.to_string(), "0, 16, 25");
        assert!(list.contains(16) && !list.contains(17) && !list.contains(77) && !list.contains(255));
        assert_eq!(VersionList::read(&[]), None);
        assert_eq!(VersionList::read(&[77]), None);
        assert_eq!(VersionList::read(&[32, 255]), None);
        assert!(VersionList::read(&[31; 32]).is_some());
        assert_eq!(VersionList::read(&[31; 33]), None);
    }

    #[test]
    fn hostile_askers_are_told_of_our_version_and_of_one_that_is_nobody_s() {
        let mut rng = Rng::new(&[1; 32], &[2; 32]);
        for asked in 17..=MAX {
            let (mut unused, mut first) = ([false; 32], 0);
            for _ in 0..500 {
                let list = VersionList::answer(asked, &mut rng);
                let other = if list[0] == VERSION { list[1] } else { list[0] };
                assert!(list.contains(&VERSION) && other != asked, "{asked}: {list:?}");
                unused[usize::from(other)] = true;
                first += u32::from(list[0] == VERSION);
            }
            let drawn: Vec<u8> = (0..=MAX).filter(|version| unused[usize::from(*version)]).collect();
            // One fewer than there are, whether the one that was asked for is among them or not.
            assert_eq!(drawn.len(), 12, "{asked}: {drawn:?}");
            assert!(drawn.iter().all(|version| *version >= UNUSED));
            assert!((150..350).contains(&first));
        }
    }
}

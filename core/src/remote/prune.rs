//! Which addresses of a peer are given up when there are too many.

use smallvec::SmallVec;

use super::candidate::{AddressStatus, Candidate};

/// Addresses of a peer that are known without any being given up, relays not counted: more than a machine has, with a few
/// old ones.
const MAX: usize = 30;
/// Of those that worked once, so many stay: the newest.
const MAX_INACTIVE: usize = 10;

/// The addresses of a peer; most have one.
pub(super) type Candidates = SmallVec<[Candidate; 1]>;

/// Gives up what is worth least, as soon as there are 30 addresses: those that failed (of nothing but failures the oldest),
/// then those that worked longest ago. Open ones stay. Unknown ones stay as long as there is room for them. Relays neither
/// count nor go.
pub(super) fn prune(candidates: &mut Candidates) {
    let direct = |candidate: &&Candidate| !candidate.is_relay();
    if candidates.iter().filter(direct).count() < MAX {
        return;
    }
    let failed = |candidate: &Candidate| candidate.status == AddressStatus::Unusable;
    if candidates.iter().filter(direct).all(failed) {
        keep_newest(candidates, MAX, AddressStatus::Unusable);
    } else {
        keep_newest(candidates, 0, AddressStatus::Unusable);
        keep_newest(candidates, MAX_INACTIVE, AddressStatus::Inactive);
    }
    let known =
        candidates.iter().filter(direct).filter(|candidate| candidate.status != AddressStatus::Unknown);
    let room = MAX.saturating_sub(known.count());
    keep_newest(candidates, room, AddressStatus::Unknown);
    candidates.shrink_to_fit();
}

/// Keeps at most so many with this status.
fn keep_newest(candidates: &mut Candidates, most: usize, status: AddressStatus) {
    let is_one = |candidate: &Candidate| candidate.status == status && !candidate.is_relay();
    let mut count = candidates.iter().filter(|candidate| is_one(candidate)).count();
    while count > most {
        let ones = candidates.iter().enumerate().filter(|(_, candidate)| is_one(candidate));
        let Some((oldest, _)) = ones.min_by_key(|(_, candidate)| candidate.since) else { return };
        candidates.remove(oldest);
        count = count.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use AddressStatus::{Inactive, Open, Unknown, Unusable};
    use std::vec::Vec;

    use super::*;
    use crate::path::addr::{PeerRef, RelayId, TransportAddr};
    use crate::time::Instant;

    /// So many with each status, the later ones newer; all of different age.
    fn candidates(groups: &[(usize, AddressStatus)]) -> Candidates {
        let statuses = groups.iter().flat_map(|(count, status)| core::iter::repeat_n(*status, *count));
        statuses
            .enumerate()
            .map(|(n, status)| {
                let addr = TransportAddr::Ip(([192, 0, 2, 1], n as u16).into());
                Candidate { status, ..Candidate::new(Instant::from_nanos(n as u64), addr, 0) }
            })
            .collect()
    }

    fn relay(status: AddressStatus) -> Candidate {
        let addr = TransportAddr::Relay { relay: RelayId::new(1), peer: PeerRef::new(1) };
        Candidate { status, ..Candidate::new(Instant::ZERO, addr, 0) }
    }

    /// How many are left with each status, in the order of the enum, and the ages of those with one status.
    fn pruned(groups: &[(usize, AddressStatus)], of: AddressStatus) -> ([usize; 4], Vec<u64>) {
        let mut candidates = candidates(groups);
        prune(&mut candidates);
        let with = |status| candidates.iter().filter(move |candidate| candidate.status == status);
        let left = [Unknown, Open, Inactive, Unusable].map(|status| with(status).count());
        (left, with(of).map(|candidate| candidate.since.as_nanos()).collect())
    }

    #[test]
    fn path_prune_under_the_limit_nothing_goes() {
        assert_eq!(pruned(&[(15, Unusable), (14, Inactive)], Open).0, [0, 0, 14, 15]);
    }

    #[test]
    fn path_prune_at_the_limit_with_nothing_to_prune() {
        assert_eq!(pruned(&[(20, Open), (10, Unknown)], Open).0, [10, 20, 0, 0]);
    }

    #[test]
    fn path_prune_takes_the_failed_ones_first() {
        assert_eq!(pruned(&[(20, Open), (15, Unusable)], Open).0, [0, 20, 0, 0]);
        assert_eq!(pruned(&[(20, Unknown), (15, Unusable)], Open).0, [20, 0, 0, 0]);
    }

    #[test]
    fn path_prune_keeps_the_newest_ten_inactive() {
        for (count, left) in [(5, 5), (10, 10), (15, 10), (20, 10), (40, 10)] {
            let (kept, ages) = pruned(&[(count, Inactive), (29, Open)], Inactive);
            assert_eq!(kept, [0, 29, left, 0], "of {count}");
            assert!(ages.iter().all(|age| *age >= (count - left) as u64), "the newest of {count}: {ages:?}");
        }
    }

    #[test]
    fn path_prune_of_all_kinds() {
        let (kept, ages) = pruned(&[(4, Unknown), (5, Open), (15, Inactive), (12, Unusable)], Inactive);
        assert_eq!(kept, [4, 5, 10, 0]);
        assert_eq!(ages, (14..24).collect::<Vec<_>>());
    }

    #[test]
    fn path_prune_keeps_thirty_where_all_have_failed() {
        let (kept, ages) = pruned(&[(40, Unusable)], Unusable);
        assert_eq!(kept, [0, 0, 0, 30]);
        assert_eq!(ages, (10..40).collect::<Vec<_>>());
    }

    #[test]
    fn path_prune_neither_counts_nor_takes_relays() {
        let mut many = candidates(&[(29, Inactive)]);
        many.push(relay(Unusable));
        prune(&mut many);
        assert_eq!(many.len(), 30);
        let mut failed = candidates(&[(40, Unusable)]);
        failed.insert(0, relay(Unknown));
        prune(&mut failed);
        assert_eq!(failed.len(), 31, "thirty stay, though there is something that has not failed");
        let mut failed = candidates(&[(1, Open), (40, Unusable)]);
        failed.push(relay(Unusable));
        prune(&mut failed);
        assert_eq!(failed.len(), 2);
    }

    #[test]
    fn path_prune_has_an_end_for_unknown_ones_too() {
        assert_eq!(pruned(&[(30, Unknown)], Open).0, [30, 0, 0, 0]);
        let (kept, ages) = pruned(&[(40, Unknown), (3, Open), (20, Inactive)], Unknown);
        assert_eq!(kept, [17, 3, 10, 0]);
        assert_eq!(ages, (23..40).collect::<Vec<_>>(), "the oldest words go");
    }
}

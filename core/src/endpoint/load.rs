//! Who gets in while many want to: attempts are let in, asked to show their address first, or dropped, by what they would
//! cost and what others have cost in the last second (docs/DESIGN.md, "Under load").

use crate::config::RetryPolicy;
use crate::connection::BASE_COST;
use crate::hash::KeyedState;
use crate::path::addr::TransportAddr;
use crate::stats::DropReason;
use crate::time::Instant;

use super::Endpoint;
use super::prefixes::{PARTS as GROUP_PARTS, Prefixes};
use super::rates::Bucket;

/// X25519 operations of an attempt by IK: `es` and `ss` to read it, the making of our ephemeral key, `ee` and `se`.
pub(super) const IK_COST: u32 = 5;
/// Of one by IX: the making of our ephemeral key, `ee`, `se` and `es`. QOTP's flows need no more.
pub(super) const IX_COST: u32 = 4;

/// Retries for an X25519 operation: each costs three or four digests, a tenth of it.
const RETRIES: u32 = 4;
/// Attempts that have not confirmed hold so much of the endpoint's memory at most: one part of so many.
const MEMORY_PART: u64 = 4;

/// A second is counted in so many parts, and one that has just begun.
const PARTS: usize = 9;
const PART_NANOS: u64 = 125_000_000;

/// What was spent in the last second: at least in the last second, and in up to an eighth of one more.
#[derive(Debug, Default)]
struct Spending {
    parts: [u32; PARTS],
    /// The part of time that is counted last, since the embedder's epoch.
    at: u64,
}

/// Where the part of a second with this number is counted.
const fn place(part: u64) -> usize {
    part as usize % PARTS
}

impl Spending {
    /// Forgets what is longer ago.
    fn advance(&mut self, now: Instant) {
        let at = now.as_nanos() / PART_NANOS;
        let passed = at.saturating_sub(self.at).min(PARTS as u64);
        for later in 1..=passed {
            if let Some(part) = self.parts.get_mut(place(self.at.wrapping_add(later))) {
                *part = 0;
            }
        }
        self.at = self.at.max(at);
    }

    fn spend(&mut self, operations: u32) {
        if let Some(part) = self.parts.get_mut(place(self.at)) {
            *part = part.saturating_add(operations);
        }
    }

    fn spent(&self) -> u64 {
        self.parts.iter().copied().map(u64::from).sum()
    }
}

/// How much is left of what attempts may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Load {
    Calm,
    /// More than half is taken.
    Busy,
    Full(DropReason),
}

impl Load {
    /// With `used` of `limit` taken; beyond that, this is why one more is dropped.
    const fn of(used: u64, limit: u64, beyond: DropReason) -> Self {
        if used >= limit {
            Self::Full(beyond)
        } else if used.saturating_mul(2) >= limit {
            Self::Busy
        } else {
            Self::Calm
        }
    }
}

/// What an attempt has shown of where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Proof {
    /// Nothing, and it cannot be asked: QOTP.
    Never,
    /// Nothing yet.
    None,
    /// A token that was given out for that address.
    Token,
}

/// What is done with an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ruling {
    Enter,
    /// It shall show its address first.
    Retry,
    Drop(DropReason),
}

/// What attempts have taken.
#[derive(Debug)]
pub(super) struct Taken {
    spending: Spending,
    retries: Bucket,
    /// Of attempts that have shown their addresses, while others had taken half of everything.
    networks: Prefixes<Bucket>,
}

impl Taken {
    pub(super) fn new(hasher: KeyedState) -> Self {
        let (spending, networks) = (Spending::default(), Prefixes::new(hasher));
        Self { spending, retries: Bucket::NEW, networks }
    }

    /// Whether the network of `from`, and all that it belongs to, have done less than their parts of `left` attempts in a second. If so one
    /// more counts as done.
    fn take_part(&mut self, now: Instant, from: &TransportAddr, left: u32) -> bool {
        let groups = self.networks.groups(from).into_iter().zip(GROUP_PARTS);
        let groups = groups
            .filter_map(|(places, part)| Some((places?, left.checked_div(part).unwrap_or(left).max(1))));
        let may = groups.clone().all(|(places, rate)| {
            self.networks.get(places, Bucket::NEW).iter().any(|bucket| bucket.allows(now, rate))
        });
        for (places, rate) in groups.filter(|_| may) {
            self.networks.update(places, Bucket::NEW, |bucket| _ = bucket.take(now, rate));
        }
        may
    }

    /// So many X25519 operations were done for an attempt, or are promised to it.
    pub(super) fn spend(&mut self, operations: u32) {
        self.spending.spend(operations);
    }

    /// Whether one more Retry may be made where so many X25519 operations are allowed in a second.
    pub(super) fn may_retry(&mut self, now: Instant, operations: u32) -> bool {
        self.retries.take(now, operations.saturating_mul(RETRIES))
    }
}

impl Endpoint {
    /// Judges an attempt from `from` that costs so many X25519 operations if it is answered.
    pub(super) fn judge(&mut self, now: Instant, from: &TransportAddr, proof: Proof, cost: u32) -> Ruling {
        let load = self.load(now, cost);
        let policy = self.shared.config.retry;
        match (load, proof, policy) {
            (Load::Full(reason), ..) => Ruling::Drop(reason),
            (_, Proof::None, RetryPolicy::Always) | (Load::Busy, Proof::None, RetryPolicy::UnderLoad) => {
                Ruling::Retry
            }
            (Load::Busy, Proof::Token, _) => {
                let (places, operations) = (self.places_left(), self.operations_left());
                let may = self.shared.half_open.has_part_left(from, places)
                    && self.taken.take_part(now, from, operations.checked_div(cost).unwrap_or(operations));
                if may { Ruling::Enter } else { Ruling::Drop(DropReason::RateLimited) }
            }
            (Load::Calm, ..) | (Load::Busy, _, RetryPolicy::Never) => Ruling::Enter,
            (Load::Busy, Proof::Never, _) => Ruling::Drop(DropReason::RateLimited),
        }
    }

    /// The most pressing of what attempts take: places, memory, X25519 operations.
    fn load(&mut self, now: Instant, cost: u32) -> Load {
        self.taken.spending.advance(now);
        let limits = &self.shared.config.limits;
        let connections = self.slots.len() as u64;
        let room = if connections < limits.connections.into() {
            Load::Calm
        } else {
            Load::Full(DropReason::NotAccepting)
        };
        let seats = self.shared.half_open.seats().into();
        let places = Load::of(seats, limits.half_open.into(), DropReason::NotAccepting);
        let bytes = self.shared.half_open.bytes();
        let memory = Load::of(bytes, limits.per_endpoint / MEMORY_PART, DropReason::OverBudget);
        let spent = self.taken.spending.spent().saturating_add(cost.saturating_sub(1).into());
        let work = Load::of(spent, limits.dh_per_second.into(), DropReason::RateLimited);
        let all = [room, places, memory, work];
        let pressing = |load: &Load| matches!(load, Load::Full(_));
        let busy = |load: &Load| *load == Load::Busy;
        all.into_iter().find(pressing).or_else(|| all.into_iter().find(busy)).unwrap_or(Load::Calm)
    }

    /// Attempts for which there are places, and memory once they are accepted.
    fn places_left(&self) -> u32 {
        let (limits, taken) = (&self.shared.config.limits, &self.shared.half_open);
        let memory = (limits.per_endpoint / MEMORY_PART).saturating_sub(taken.bytes());
        let accepted = limits.granted_window().saturating_add(BASE_COST as u64);
        let fit = u32::try_from(memory.checked_div(accepted).unwrap_or(memory)).unwrap_or(u32::MAX);
        limits.half_open.saturating_sub(taken.seats()).min(fit)
    }

    /// X25519 operations that may be done now.
    fn operations_left(&self) -> u32 {
        let spent = u32::try_from(self.taken.spending.spent()).unwrap_or(u32::MAX);
        self.shared.config.limits.dh_per_second.saturating_sub(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn hostile_spending_is_remembered_for_a_second_and_little_longer() {
        let mut spending = Spending::default();
        for millis in [0, 100, 124, 125, 999] {
            spending.advance(at(millis));
            spending.spend(1);
        }
        assert_eq!(spending.spent(), 5);
        for (millis, spent) in [(1_000, 5), (1_124, 5), (1_125, 2), (1_250, 1), (1_999, 1), (2_000, 0)] {
            spending.advance(at(millis));
            assert_eq!(spending.spent(), spent, "{millis}");
        }
        spending.spend(7);
        spending.advance(at(1_000_000));
        assert_eq!(spending.spent(), 0);
    }

    #[test]
    fn hostile_spending_never_exceeds_the_rate_in_any_second() {
        let (mut spending, mut done) = (Spending::default(), std::vec::Vec::new());
        for millis in 0..5_000_u64 {
            spending.advance(at(millis));
            // In bursts, with pauses between.
            for _ in 0..(if millis / 300 % 2 == 0 { 4 } else { 0 }) {
                if spending.spent() < 100 {
                    spending.spend(1);
                    done.push(millis);
                }
            }
        }
        for start in 0..4_000 {
            let within = done.iter().filter(|done| (start..start + 1_000).contains(*done)).count();
            assert!(within <= 100, "{within} from {start}");
        }
        assert!(done.len() >= 400, "{}", done.len());
    }
}

//! The places of a receiver: how many transfers there are at once, and who has to go for whom.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dunlin_tokio::TransportAddr;
use tokio::sync::Notify;

use crate::transfer::Counters;

/// Transfers at once. With the limit of a list it bounds the memory that senders can take up.
const MAX_TRANSFERS: usize = 16;

/// Of these, those that one network may have: half.
const MAX_OF_NETWORK: usize = MAX_TRANSFERS / 2;

/// For how long a transfer is left alone before it has to show that it moves.
const FAIR: Duration = Duration::from_secs(30);

/// Bytes of files that a transfer has to move in each [`FAIR`] so as not to lose its place when others wait: what a line of
/// 17 kbit/s carries.
const MOVES: u64 = 64 << 10;

/// All places.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    all: Vec<Holder>,
}

/// Who has a place.
#[derive(Debug)]
struct Holder {
    number: u64,
    network: Option<IpAddr>,
    counters: Arc<Counters>,
    /// When its time was last begun, and how many bytes were done then.
    since: Instant,
    before: u64,
    leave: Arc<Notify>,
}

/// A place, until it is dropped or lost.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    leave: Arc<Notify>,
}

impl Places {
    /// A place for somebody at `address` whose transfer counts in `counters`, if there is one. Where all are taken, one that
    /// hardly moves loses its own.
    pub(crate) fn take(
        self: &Arc<Self>,
        address: &TransportAddr,
        counters: &Arc<Counters>,
        now: Instant,
    ) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network(address);
        let neighbours = taken.all.iter().filter(|holder| holder.network == network).count();
        if neighbours >= MAX_OF_NETWORK || taken.all.len() >= MAX_TRANSFERS {
            let only = (neighbours >= MAX_OF_NETWORK).then_some(network);
            let slow = taken.all.iter_mut().position(|holder| {
                only.is_none_or(|network| holder.network == network) && holder.is_slow(now)
            })?;
            taken.all.swap_remove(slow).leave.notify_one();
        }
        let (number, leave) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        let (counters, before) = (Arc::clone(counters), counters.get().done);
        taken.all.push(Holder { number, network, counters, since: now, before, leave: Arc::clone(&leave) });
        Some(Place { places: Arc::clone(self), number, leave })
    }

    /// Whether nobody has one.
    pub(crate) fn are_free(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.is_empty()
    }
}

impl Holder {
    /// Whether it has moved too little; otherwise its time begins anew.
    fn is_slow(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        if passed < FAIR {
            return false;
        }
        let done = self.counters.get().done;
        let moved = done.saturating_sub(self.before) as f64;
        let slow = moved / passed.as_secs_f64() < MOVES as f64 / FAIR.as_secs_f64();
        if !slow {
            (self.since, self.before) = (now, done);
        }
        slow
    }
}

impl Place {
    /// Waits until the place is lost.
    pub(crate) async fn lost(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all.retain(|holder| holder.number != self.number);
    }
}

/// What one party has many addresses of: an IPv4 address, a /64 of IPv6. All that is not IP counts as one.
fn network(address: &TransportAddr) -> Option<IpAddr> {
    let TransportAddr::Ip(address) = address else { return None };
    Some(match address.ip().to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    })
}

#[cfg(test)]
mod tests {
    use core::net::SocketAddr;

    use super::*;

    fn at(number: u8) -> TransportAddr {
        SocketAddr::from(([192, 0, 2, number], 4433)).into()
    }

    #[tokio::test]
    async fn the_slow_make_way_and_nobody_else() {
        let (places, begun) = (Arc::new(Places::default()), Instant::now());
        let all: Vec<_> = (0..MAX_TRANSFERS as u8)
            .map(|number| {
                let counters = Arc::new(Counters::default());
                (places.take(&at(number), &counters, begun).unwrap(), counters)
            })
            .collect();
        let new = Arc::new(Counters::default());
        assert!(places.take(&at(99), &new, begun + FAIR / 2).is_none(), "everybody has some time");
        for (_, counters) in all.iter().skip(1) {
            counters.moved(MOVES + 1);
        }
        let mine = places.take(&at(99), &new, begun + FAIR).unwrap();
        all[0].0.lost().await;
        drop(mine);
        assert!(places.take(&at(98), &new, begun + FAIR).is_some(), "one is free again");
        drop(all);
        assert!(places.are_free());
    }

    #[test]
    fn a_network_has_half_of_the_places_at_most() {
        let (places, now) = (Arc::new(Places::default()), Instant::now());
        let counters = Arc::new(Counters::default());
        let from =
            |host: u16| TransportAddr::from(SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, host], 1)));
        let mut all: Vec<_> = (0..100).map_while(|host| places.take(&from(host), &counters, now)).collect();
        assert_eq!(all.len(), MAX_OF_NETWORK);
        all.extend(places.take(&at(1), &counters, now));
        assert_eq!(all.len(), MAX_OF_NETWORK + 1);
    }
}

//! Packets that the shard which they name knows nothing of, and that mean something to another one all the same.
//!
//! A stateless reset has random bytes where other packets have the id that names their shard, because who sends it knows nothing
//! of the connection any more. The kernel hands it to whichever shard those bytes name. So each shard shows the others what may
//! be one, and that it could make nothing of itself.

use dunlin_core::{Disposition, DropReason, Duration, Instant, Shard};

/// The longest stateless reset, in bytes (docs/PROTOCOL.md, "Stateless reset").
const MAX_RESET: usize = 64;
/// The first byte of one: of a Data packet of the native wire.
const FIRST_BYTE: u8 = 0x90;
/// A shard shows the others one in so long a time, 100 in a second.
const INTERVAL: Duration = Duration::from_millis(10);
/// So many may come at once: a second's worth.
const SAVED: Duration = Duration::from_secs(1);

/// Which datagrams a shard shows the others.
#[derive(Debug)]
pub struct Strays {
    shard: Shard,
    /// When all that were shown are paid for (the generic cell rate algorithm, ITU-T I.371, annex A).
    paid: Instant,
}

impl Strays {
    /// Of this shard.
    #[must_use]
    pub const fn new(shard: Shard) -> Self {
        Self { shard, paid: Instant::ZERO }
    }

    /// Whether the other shards are to see a datagram, of which this one's engine has said so much
    /// ([`Endpoint::handle_datagram`](dunlin_core::Endpoint::handle_datagram)). If so it counts as shown.
    ///
    /// No shard shows what another one has shown it: that names another shard.
    pub fn show(&mut self, now: Instant, said: Disposition, datagram: &[u8]) -> bool {
        let may_be_reset = said == Disposition::Dropped(DropReason::UnknownConnection)
            && self.shard.count() > 1
            && datagram.len() <= MAX_RESET
            && datagram.first() == Some(&FIRST_BYTE)
            && self.shard.sibling_of(datagram).is_none();
        let paid = self.paid.max(now) + INTERVAL;
        let shown = may_be_reset && paid <= now + SAVED;
        if shown {
            self.paid = paid;
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Disposition = Disposition::Dropped(DropReason::UnknownConnection);

    fn strays() -> Strays {
        Strays::new(Shard::new(1, 4).expect("there is such a shard"))
    }

    fn reset(len: usize) -> Vec<u8> {
        let mut datagram = vec![5; len];
        datagram[0] = FIRST_BYTE;
        datagram
    }

    #[test]
    fn hostile_packets_are_shown_only_if_they_may_be_resets() {
        let now = Instant::from_nanos(1);
        assert!(strays().show(now, UNKNOWN, &reset(31)) && strays().show(now, UNKNOWN, &reset(64)));
        assert!(!strays().show(now, UNKNOWN, &reset(65)));
        assert!(!strays().show(now, Disposition::Accepted, &reset(40)), "it was for this one");
        assert!(!strays().show(now, Disposition::Dropped(DropReason::Duplicate), &reset(40)));
        let (mut init, mut shown) = (reset(40), reset(40));
        (init[0], shown[1]) = (0x10, 6);
        assert!(!strays().show(now, UNKNOWN, &init));
        assert!(!strays().show(now, UNKNOWN, &shown), "another one has shown it");
        assert!(
            !Strays::new(Shard::default()).show(now, UNKNOWN, &reset(40)),
            "there is nobody to show it to"
        );
    }

    #[test]
    fn hostile_floods_are_shown_a_hundred_times_a_second() {
        let mut strays = strays();
        let mut shown = |millis: u64| {
            let now = Instant::from_nanos(millis * 1_000_000);
            (0..1_000).filter(|_| strays.show(now, UNKNOWN, &reset(40))).count()
        };
        assert_eq!(shown(5_000), 100);
        assert_eq!((5_001..=6_000).map(&mut shown).sum::<usize>(), 100);
    }
}

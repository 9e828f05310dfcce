//! Where segmentation offload works: what the kernel has refused, by destination and on the whole.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::platform;

/// Destinations whose refusals are remembered. Beyond that the oldest is forgotten, and tried again.
const REFUSALS: usize = 32;

/// The weight of refusals in a row, with no train taken in between, at which the whole socket goes without offload. One
/// EINVAL weighs 1, for its cause may be one destination's: before 6.14 Linux says so of segments longer than the route
/// takes. An EIO weighs half of the limit: it says that an interface cannot compute the checksums.
const WEIGHT_LIMIT: usize = REFUSALS;
const EINVAL_WEIGHT: usize = 1;
const EIO_WEIGHT: usize = WEIGHT_LIMIT / 2;

/// How many datagrams go into one message: what the kernel takes, or one, once it has shown that it cannot. What was
/// learned ends with the socket: the next one tries again.
#[derive(Debug)]
pub(crate) struct Offload {
    segments: AtomicUsize,
    /// The weight of the refusals since the last train that was taken.
    weight: AtomicUsize,
    /// How many places of `refusals` are taken, to be read without the lock.
    refused: AtomicUsize,
    refusals: Mutex<Refusals>,
}

/// The destinations that were refused, in a ring.
#[derive(Default, Debug)]
struct Refusals {
    places: [Option<Refusal>; REFUSALS],
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    destination: IpAddr,
    extent: Extent,
}

/// Which trains go datagram by datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extent {
    /// None yet: there was one EIO.
    None,
    /// Those of datagrams of this length or longer ones.
    From(usize),
    All,
}

impl Offload {
    pub(crate) fn new(segments: usize) -> Self {
        Self {
            segments: AtomicUsize::new(segments.max(1)),
            weight: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            refusals: Mutex::default(),
        }
    }

    /// Datagrams in one message, unless the destination takes fewer.
    pub(crate) fn segments(&self) -> usize {
        self.segments.load(Relaxed)
    }

    /// Datagrams of the length `segment` in one message to `destination`.
    pub(crate) fn segments_to(&self, destination: SocketAddr, segment: usize) -> usize {
        if self.refused.load(Relaxed) > 0 && self.refusals().refuse(destination.ip(), segment) {
            return 1;
        }
        self.segments()
    }

    /// The kernel took a train.
    pub(crate) fn accepted(&self) {
        if self.weight.load(Relaxed) > 0 {
            self.weight.store(0, Relaxed);
        }
    }

    /// The kernel refused a train with this error, and took the first of its datagrams alone.
    pub(crate) fn refused(&self, destination: SocketAddr, segment: usize, error: &io::Error) {
        let interface = platform::is_io_error(error);
        let weight = if interface { EIO_WEIGHT } else { EINVAL_WEIGHT };
        if self.weight.fetch_add(weight, Relaxed).saturating_add(weight) >= WEIGHT_LIMIT {
            self.segments.store(1, Relaxed);
        }
        let mut refusals = self.refusals();
        refusals.note(destination.ip(), if interface { Extent::None } else { Extent::From(segment) });
        self.refused.store(refusals.places.iter().flatten().count(), Relaxed);
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusals {
    fn refuse(&self, destination: IpAddr, segment: usize) -> bool {
        let refusal = self.places.iter().flatten().find(|refusal| refusal.destination == destination);
        refusal.is_some_and(|refusal| match refusal.extent {
            Extent::None => false,
            Extent::From(shortest) => segment >= shortest,
            Extent::All => true,
        })
    }

    /// Remembers a refusal of this extent, or of more if it is not the destination's first.
    fn note(&mut self, destination: IpAddr, extent: Extent) {
        let known = self.places.iter_mut().flatten().find(|refusal| refusal.destination == destination);
        if let Some(refusal) = known {
            refusal.extent = match (refusal.extent, extent) {
                (Extent::None, Extent::From(shortest)) => Extent::From(shortest),
                (Extent::From(before), Extent::From(shortest)) => Extent::From(before.min(shortest)),
                (Extent::All, _) | (_, Extent::None | Extent::All) => Extent::All,
            };
            return;
        }
        self.places[self.next] = Some(Refusal { destination, extent });
        self.next = (self.next + 1) % REFUSALS;
    }
}

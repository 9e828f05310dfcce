//! Transports that are not UDP: the embedder's own, beside the sockets.

#[cfg(any(test, feature = "fake"))]
pub(crate) mod memory;
mod stats;
#[cfg(test)]
mod tests;
mod wakers;

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::task::Waker;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_core::{CustomAddr, Ecn, TransportId, TransportProfile};
use tracing::warn;

use crate::error::BindError;
use crate::stats::count;

use stats::Counters;
pub use stats::{CustomStats, TransportStats};
use wakers::Wakers;

/// A transport of the embedder's that carries datagrams: a tunnel, a radio, shared memory, another protocol's frames.
///
/// An adapter drives it beside its UDP sockets: it sends what the engine has for addresses of its kind
/// ([`TransportAddr::Custom`](dunlin_core::TransportAddr::Custom)) and hands what comes to the engine. Datagrams may be
/// lost, doubled and reordered, as on any network; they must come whole and unchanged, or not at all.
///
/// Nothing here may block: threads and tasks, if it takes any, are the transport's own.
pub trait CustomTransport: fmt::Debug + Send {
    /// What the engine is to know of it. It is asked once, before anything else.
    fn profile(&self) -> TransportProfile;

    /// Sends one datagram, of no more than [`TransportProfile::max_datagram`] bytes. Whether the codepoint goes with it
    /// is up to the transport; the engine finds out.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is no room now: the datagram is kept and tried again when the waker was
    /// woken. After any other error it counts as lost, and the transport goes on.
    fn try_send(&mut self, to: &CustomAddr, datagram: &[u8], ecn: Option<Ecn>) -> io::Result<()>;

    /// Receives one datagram into `buffer`, which is longer than any that the engine sends.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if there is none; it is tried again when the waker was woken. Any other means that
    /// the transport is of no use any more: it is dropped, and whatever is sent to it from then on is lost.
    fn try_recv(&mut self, buffer: &mut [u8]) -> io::Result<Received>;

    /// Whom to wake when a call may succeed that would have blocked, from whatever thread, during a call or between
    /// two. To wake too often costs a little; not to wake is to be forgotten. It is told once, before anything is sent or
    /// received.
    fn set_waker(&mut self, waker: &Waker);
}

impl<T: CustomTransport + ?Sized> CustomTransport for Box<T> {
    fn profile(&self) -> TransportProfile {
        (**self).profile()
    }

    fn try_send(&mut self, to: &CustomAddr, datagram: &[u8], ecn: Option<Ecn>) -> io::Result<()> {
        (**self).try_send(to, datagram, ecn)
    }

    fn try_recv(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        (**self).try_recv(buffer)
    }

    fn set_waker(&mut self, waker: &Waker) {
        (**self).set_waker(waker);
    }
}

/// A datagram that a [`CustomTransport`] has received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// What the transport calls its sender.
    pub from: CustomAddr,
    /// Its length, in bytes.
    pub len: usize,
    /// Its codepoint, on a transport that carries those.
    pub ecn: Option<Ecn>,
}

/// The custom transports of an endpoint, as one of its shards has them. The last one that is dropped drops the transports.
///
/// All shards send through the same transports, in turn; the first one receives for all.
#[derive(Clone, Debug)]
pub struct Transports {
    shared: Arc<Shared>,
    shard: usize,
}

#[derive(Debug)]
struct Shared {
    lines: Box<[Line]>,
    wakers: Arc<Wakers>,
    /// Trains for addresses that lead nowhere.
    lost_homeless: AtomicU64,
}

/// One of the transports.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: TransportId,
    pub(crate) profile: TransportProfile,
    /// `None`: it is of no use any more.
    transport: Mutex<Option<Box<dyn CustomTransport>>>,
    pub(crate) counters: Counters,
}

/// None.
impl Default for Transports {
    fn default() -> Self {
        Self::of_shard(0, &Arc::new(Shared::new(Vec::new(), 0)))
    }
}

impl Transports {
    /// The most transports of an endpoint: more than anybody has, and few enough to try each in turn.
    pub const MAX: usize = 16;

    /// What each of `shards` has of these transports.
    ///
    /// # Errors
    /// [`BindError::TooManyTransports`], [`BindError::SameTransport`].
    pub fn among(
        shards: usize,
        all: Vec<(TransportId, Box<dyn CustomTransport>)>,
    ) -> Result<Vec<Self>, BindError> {
        let count = all.len();
        if count > Self::MAX {
            return Err(BindError::TooManyTransports { count });
        }
        let mut known = BTreeSet::new();
        if let Some((id, _)) = all.iter().find(|(id, _)| !known.insert(*id)) {
            return Err(BindError::SameTransport { id: *id });
        }
        let shared = Arc::new(Shared::new(all, shards));
        Ok((0..shards).map(|shard| Self::of_shard(shard, &shared)).collect())
    }

    fn of_shard(shard: usize, shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), shard }
    }

    /// How many there are. They are known by their places, from 0.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lines.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.lines.is_empty()
    }

    /// The places of those from which this shard is to receive, with a [`Receiver`](crate::Receiver): all or none.
    #[must_use]
    pub fn to_receive(&self) -> core::ops::Range<usize> {
        if self.shard == 0 { 0..self.len() } else { 0..0 }
    }

    /// What the engine is to know of them: for [`Config::transports`](dunlin_core::Config::transports).
    pub fn profiles(&self) -> impl Iterator<Item = (TransportId, TransportProfile)> {
        self.shared.lines.iter().map(|line| (line.id, line.profile))
    }

    /// Has `waker` woken, once, when one of them has something for this shard. To be said before each try.
    pub fn wake(&self, waker: &Waker) {
        if !self.is_empty() {
            self.shared.wakers.set(self.shard, waker);
        }
    }

    /// Counters, of all shards together.
    #[must_use]
    pub fn stats(&self) -> TransportStats {
        let each =
            self.shared.lines.iter().map(|line| (line.id, line.counters.snapshot(line.lock().is_some())));
        TransportStats { each: each.collect(), lost_homeless: self.shared.lost_homeless.load(Relaxed) }
    }

    pub(crate) fn place_of(&self, id: TransportId) -> Option<usize> {
        self.shared.lines.iter().position(|line| line.id == id)
    }

    pub(crate) fn line(&self, place: usize) -> Option<&Line> {
        self.shared.lines.get(place)
    }

    /// A train was for an address that leads nowhere here.
    pub(crate) fn count_homeless(&self) {
        count(&self.shared.lost_homeless);
    }
}

impl Shared {
    fn new(all: Vec<(TransportId, Box<dyn CustomTransport>)>, shards: usize) -> Self {
        let wakers = Arc::new(Wakers::new(shards));
        let lines = all.into_iter().map(|(id, transport)| Line::new(id, transport, &wakers)).collect();
        Self { lines, wakers, lost_homeless: AtomicU64::new(0) }
    }
}

impl Line {
    fn new(id: TransportId, mut transport: Box<dyn CustomTransport>, wakers: &Arc<Wakers>) -> Self {
        let profile = transport.profile();
        transport.set_waker(&Arc::clone(wakers).into());
        Self { id, profile, transport: Mutex::new(Some(transport)), counters: Counters::default() }
    }

    /// The transport, which is nobody else's meanwhile.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Box<dyn CustomTransport>>> {
        self.transport.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives one datagram.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] alone: there is none, and perhaps no transport any more.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut open = self.lock();
        let Some(transport) = &mut *open else { return Err(io::ErrorKind::WouldBlock.into()) };
        match transport.try_recv(buffer) {
            Ok(received) => {
                count(&self.counters.received);
                Ok(Received { len: received.len.min(buffer.len()), ..received })
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    warn!(%error, transport = self.id.get(), "a transport failed: what is sent to it is lost");
                    *open = None;
                }
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

//! A network in memory, for tests of transports and of what is built on them.

use core::fmt;
use core::task::Waker;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dunlin_core::{CustomAddr, Ecn, TransportProfile};

use super::{CustomTransport, Received};

/// A network of [`MemoryTransport`]s. Each has a queue of so many datagrams; a sender waits for room in it. Clones are the
/// same network.
#[derive(Clone, Debug)]
pub struct MemoryNetwork {
    profile: TransportProfile,
    hub: Arc<Mutex<Hub>>,
}

/// A transport of a [`MemoryNetwork`].
pub struct MemoryTransport {
    network: MemoryNetwork,
    address: CustomAddr,
}

#[derive(Debug)]
struct Hub {
    /// Datagrams that a queue takes.
    room: usize,
    /// The longest datagram that arrives.
    longest: usize,
    ports: BTreeMap<CustomAddr, Port>,
}

/// What there is at an address.
#[derive(Default, Debug)]
struct Port {
    waker: Option<Waker>,
    /// Senders that found no room here.
    waiting: Vec<CustomAddr>,
    queue: VecDeque<(CustomAddr, Option<Ecn>, Vec<u8>)>,
}

impl MemoryNetwork {
    /// An empty network, of transports with this profile, whose queues have room for so many datagrams each.
    #[must_use]
    pub fn new(profile: TransportProfile, room: usize) -> Self {
        let hub = Hub { room, longest: usize::MAX, ports: BTreeMap::new() };
        Self { profile, hub: Arc::new(Mutex::new(hub)) }
    }

    /// A transport at this address of the network.
    ///
    /// # Panics
    /// If there is one.
    #[must_use]
    pub fn attach(&self, address: CustomAddr) -> MemoryTransport {
        let before = self.hub().ports.insert(address, Port::default());
        assert!(before.is_none(), "there is a transport at {address} already");
        MemoryTransport { network: self.clone(), address }
    }

    /// From now on the network loses datagrams of more than `longest` bytes, whatever the profile promises.
    pub fn lose_longer_than(&self, longest: usize) {
        self.hub().longest = longest;
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// The wakers of those at these addresses.
    fn wakers(&self, at: Vec<CustomAddr>) -> Vec<Waker> {
        at.iter().filter_map(|address| self.ports.get(address)?.waker.clone()).collect()
    }
}

fn wake(all: Vec<Waker>) {
    all.into_iter().for_each(Waker::wake);
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport").field("address", &self.address).finish_non_exhaustive()
    }
}

impl CustomTransport for MemoryTransport {
    fn profile(&self) -> TransportProfile {
        self.network.profile
    }

    fn try_send(&mut self, to: &CustomAddr, datagram: &[u8], ecn: Option<Ecn>) -> io::Result<()> {
        let mut hub = self.network.hub();
        let (room, longest) = (hub.room, hub.longest);
        let port = hub.ports.get_mut(to).ok_or(io::ErrorKind::NotFound)?;
        if datagram.len() > longest {
            return Ok(());
        }
        if port.queue.len() >= room {
            if !port.waiting.contains(&self.address) {
                port.waiting.push(self.address);
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
        port.queue.push_back((self.address, ecn, datagram.to_vec()));
        let waker = port.waker.clone();
        drop(hub);
        wake(waker.into_iter().collect());
        Ok(())
    }

    fn try_recv(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut hub = self.network.hub();
        let port = hub.ports.get_mut(&self.address).ok_or(io::ErrorKind::NotConnected)?;
        let (from, ecn, datagram) = port.queue.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let waiting = core::mem::take(&mut port.waiting);
        let waiting = hub.wakers(waiting);
        drop(hub);
        wake(waiting);
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok(Received { from, len, ecn })
    }

    fn set_waker(&mut self, waker: &Waker) {
        if let Some(port) = self.network.hub().ports.get_mut(&self.address) {
            port.waker = Some(waker.clone());
        }
    }
}

/// Who waits to send there finds nobody.
impl Drop for MemoryTransport {
    fn drop(&mut self) {
        let mut hub = self.network.hub();
        let waiting = hub.ports.remove(&self.address).map(|port| port.waiting);
        let waiting = hub.wakers(waiting.unwrap_or_default());
        drop(hub);
        wake(waiting);
    }
}

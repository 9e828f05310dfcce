//! NATs and stateful firewalls as pure state machines: a datagram goes out or comes in, and out of it comes the address
//! that it goes on with, or nothing.

#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use dunlin_core::{Duration, Instant};

use crate::rng::Rng;

/// Whether two destinations see the same outer address of one inner address (RFC 4787 section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Mapping {
    /// "Endpoint-Independent Mapping": one outer address, whoever the inner one talks to.
    #[default]
    EndpointIndependent,
    /// "Address and Port-Dependent Mapping": one for each remote address and port, with a port of its own.
    EndpointDependent,
}

/// Who may answer through a mapping (RFC 4787 section 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Filtering {
    /// Everybody.
    EndpointIndependent,
    /// Those IP addresses that were sent to, from any port.
    AddressDependent,
    /// Those addresses and ports that were sent to.
    #[default]
    AddressAndPortDependent,
}

/// How long a mapping lives (RFC 4787 section 4.3), and with it the leave for a peer to answer through it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Lifetime {
    /// As long as the world, or until [`Nat::forget`].
    #[default]
    Unlimited,
    /// Until it was not used for so long, in either direction. Each peer's leave to answer runs out by itself.
    Idle(Duration),
    /// So long from its first datagram, however much it is used.
    Absolute(Duration),
}

/// What a NAT does. The default is the common one of homes: mappings independent of the endpoint, filters dependent on
/// address and port, no hairpinning; but mappings that live for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct NatConfig {
    /// Which outer address is used. A firewall has no use for it.
    pub mapping: Mapping,
    /// Who may answer.
    pub filtering: Filtering,
    /// How long a mapping lives.
    pub lifetime: Lifetime,
    /// Whether those inside reach each other by their outer addresses (RFC 4787 section 6); they see outer addresses
    /// then. A firewall has no use for it.
    pub hairpin: bool,
}

/// A NAT, or a firewall, which leaves addresses alone and only filters.
///
/// A [`World`](crate::World) drives it; alone it is good for looking things up and for [`forget`](Self::forget).
#[derive(Debug)]
pub struct Nat {
    config: NatConfig,
    /// The address to the outside; `None` for a firewall.
    outside: Option<IpAddr>,
    rng: Rng,
    mapped: BTreeMap<Key, Mapped>,
    /// The reverse: who is meant by an outer address.
    keys: BTreeMap<SocketAddr, Key>,
    stats: NatStats,
}

/// What a NAT has counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NatStats {
    /// Mappings made, those that replaced a dead one included.
    pub mappings: u64,
    /// Datagrams that went out.
    pub went_out: u64,
    /// Datagrams that were let in.
    pub let_in: u64,
    /// Datagrams that were kept out: nobody was meant by their destination, or the sender had no leave.
    pub kept_out: u64,
    /// Datagrams that found no way out: there was no port left, or no hairpinning.
    pub kept_in: u64,
}

/// What a mapping is for: an inner address, and the remote one if that matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    inner: SocketAddr,
    remote: Option<SocketAddr>,
}

#[derive(Debug)]
struct Mapped {
    outer: SocketAddr,
    /// It is dead from then on.
    ends: Instant,
    /// Who was sent to, and until when each may answer.
    peers: BTreeMap<SocketAddr, Instant>,
}

/// Outer ports are drawn from 1024 to 65535, as RFC 4787 section 4.2.2 wants it for inner ports of that range.
const FIRST_PORT: u16 = 1024;
/// How many mappings one NAT has: enough ports stay free that drawing one takes few attempts.
const MAX_MAPPINGS: usize = 50_000;

impl Nat {
    pub(super) fn new(outside: Option<IpAddr>, config: NatConfig, rng: Rng) -> Self {
        let (mapped, keys) = (BTreeMap::new(), BTreeMap::new());
        Self { config, outside, rng, mapped, keys, stats: NatStats::default() }
    }

    /// What it does.
    #[must_use]
    pub fn config(&self) -> NatConfig {
        self.config
    }

    /// Its address to the outside, if it is no firewall.
    #[must_use]
    pub fn outside(&self) -> Option<IpAddr> {
        self.outside
    }

    /// Whether it leaves addresses alone.
    #[must_use]
    pub fn is_firewall(&self) -> bool {
        self.outside.is_none()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> NatStats {
        self.stats
    }

    /// The address by which `remote` sees `inner`, if there is a mapping that is alive.
    #[must_use]
    pub fn outer(&self, now: Instant, inner: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let mapped = self.mapped.get(&self.key(inner, remote))?;
        (now < mapped.ends).then_some(mapped.outer)
    }

    /// Kills every mapping, as a reboot does: what goes out next gets a new port, and nothing comes in before.
    pub fn forget(&mut self) {
        for mapped in self.mapped.values_mut() {
            mapped.ends = Instant::ZERO;
        }
    }

    /// A datagram goes out. Returns the address that it seems to come from then.
    pub(super) fn outbound(
        &mut self,
        now: Instant,
        inner: SocketAddr,
        remote: SocketAddr,
    ) -> Option<SocketAddr> {
        let key = self.key(inner, remote);
        if self.mapped.get(&key).is_none_or(|mapped| mapped.ends <= now) && !self.map(now, key) {
            self.stats.kept_in += 1;
            return None;
        }
        let lifetime = self.config.lifetime;
        let mapped = self.mapped.get_mut(&key)?;
        if !mapped.peers.contains_key(&remote) {
            mapped.peers.retain(|_, until| now < *until);
        }
        mapped.touch(now, remote, lifetime);
        self.stats.went_out += 1;
        Some(mapped.outer)
    }

    /// A datagram wants in. Returns the inner address that it goes on to.
    pub(super) fn inbound(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        outer: SocketAddr,
    ) -> Option<SocketAddr> {
        let inner = self.admit(now, remote, outer);
        match inner {
            Some(_) => self.stats.let_in += 1,
            None => self.stats.kept_out += 1,
        }
        inner
    }

    /// Somebody inside wants to reach somebody inside by an outer address. Says whether that works here.
    pub(super) fn hairpins(&mut self) -> bool {
        self.stats.kept_in += u64::from(!self.config.hairpin);
        self.config.hairpin
    }

    fn admit(&mut self, now: Instant, remote: SocketAddr, outer: SocketAddr) -> Option<SocketAddr> {
        let key = *self.keys.get(&outer)?;
        let lifetime = self.config.lifetime;
        let mapped = self.mapped.get_mut(&key)?;
        let admitted = match self.config.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => {
                mapped.peers.iter().any(|(peer, until)| peer.ip() == remote.ip() && now < *until)
            }
            Filtering::AddressAndPortDependent => mapped.peers.get(&remote).is_some_and(|until| now < *until),
        };
        if now >= mapped.ends || !admitted {
            return None;
        }
        // A stranger's datagram keeps the mapping, and gives no leave to the stranger.
        match mapped.peers.contains_key(&remote) {
            true => mapped.touch(now, remote, lifetime),
            false => mapped.keep(now, lifetime),
        }
        Some(key.inner)
    }

    fn key(&self, inner: SocketAddr, remote: SocketAddr) -> Key {
        // A firewall has one outer address for each inner one: the same.
        let independent = self.is_firewall() || self.config.mapping == Mapping::EndpointIndependent;
        Key { inner, remote: (!independent).then_some(remote) }
    }

    /// Makes a mapping, in the place of a dead one if there is one. Says whether there was room.
    fn map(&mut self, now: Instant, key: Key) -> bool {
        let Some(outer) = self.draw(now, key) else { return false };
        let ends = match self.config.lifetime {
            Lifetime::Unlimited => Instant::MAX,
            Lifetime::Idle(span) | Lifetime::Absolute(span) => now + span,
        };
        self.keys.insert(outer, key);
        self.mapped.insert(key, Mapped { outer, ends, peers: BTreeMap::new() });
        self.stats.mappings += 1;
        true
    }

    /// An outer address that nobody has; not even this key has had it last.
    fn draw(&mut self, now: Instant, key: Key) -> Option<SocketAddr> {
        let Some(ip) = self.outside else { return Some(key.inner) };
        let before = self.mapped.get(&key).map(|mapped| mapped.outer);
        self.mapped.retain(|_, mapped| now < mapped.ends);
        self.keys.retain(|_, key| self.mapped.contains_key(key));
        if self.mapped.len() >= MAX_MAPPINGS {
            return None;
        }
        loop {
            let port = FIRST_PORT + self.rng.below(u64::from(u16::MAX - FIRST_PORT) + 1) as u16;
            let outer = SocketAddr::new(ip, port);
            if before != Some(outer) && !self.keys.contains_key(&outer) {
                return Some(outer);
            }
        }
    }
}

impl Mapped {
    /// It is used.
    fn keep(&mut self, now: Instant, lifetime: Lifetime) {
        if let Lifetime::Idle(span) = lifetime {
            self.ends = now + span;
        }
    }

    /// It is used with a peer who may answer.
    fn touch(&mut self, now: Instant, peer: SocketAddr, lifetime: Lifetime) {
        self.keep(now, lifetime);
        let until = match lifetime {
            Lifetime::Idle(span) => now + span,
            Lifetime::Unlimited | Lifetime::Absolute(_) => self.ends,
        };
        self.peers.insert(peer, until);
    }
}

//! The edge of networks: which NAT or firewall a datagram passes on its way out and in.

#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};
use std::collections::HashMap;

use super::nat::{Nat, NatConfig};
use super::queue::AddressId;
use super::{LinkId, World};
use crate::node::Node;
use crate::trace::Fingerprint;

/// A NAT or firewall of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NatId(usize);

/// Where an address is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Site {
    /// The NAT or firewall that it is behind.
    behind: Option<NatId>,
    /// The NAT whose outer address it is.
    front: Option<NatId>,
}

/// All NATs and firewalls of a world.
#[derive(Default, Debug)]
pub(super) struct Edges {
    nats: Vec<Nat>,
    /// For each NAT the address that links know it by, whatever its port: port 0. A firewall has none.
    fronts: Vec<Option<AddressId>>,
    behind: HashMap<IpAddr, NatId>,
}

impl Edges {
    pub(super) fn is_empty(&self) -> bool {
        self.nats.is_empty()
    }

    pub(super) fn site(&self, ip: IpAddr) -> Site {
        let front = self.nats.iter().position(|nat| nat.outside() == Some(ip)).map(NatId);
        Site { behind: self.behind.get(&ip).copied(), front }
    }
}

/// How a datagram gets off: with which source, on which link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    pub(super) from: AddressId,
    pub(super) link: LinkId,
}

impl<N: Node> World<N> {
    /// Adds a NAT with this outer address, which no node may have. Who is behind it says
    /// [`put_behind`](Self::put_behind); it may be behind another one itself, which is then a carrier's.
    ///
    /// It is at the inner end of its links: what goes out is translated before the link, what comes in after it. All
    /// outer ports share the links of the outer address, which [`route`](Self::route) and
    /// [`link_between`](Self::link_between) know by any port.
    ///
    /// # Panics
    /// If another NAT has this address.
    pub fn add_nat(&mut self, outside: IpAddr, config: NatConfig) -> NatId {
        assert_eq!(self.edges.site(outside).front, None, "{outside} belongs to another NAT already");
        let mut label = Fingerprint::default();
        label.bytes(b"nat");
        label.bytes(outside.to_string().as_bytes());
        let nat = Nat::new(Some(outside), config, self.rng.fork(label.value()));
        let front = self.intern(SocketAddr::new(outside, 0));
        self.push_edge(nat, Some(front))
    }

    /// Adds a stateful firewall: a NAT that leaves addresses as they are. The world reaches those behind it only where
    /// they have sent to, as the filtering says.
    pub fn add_firewall(&mut self, config: NatConfig) -> NatId {
        // It never draws anything.
        let nat = Nat::new(None, config, self.rng.clone());
        self.push_edge(nat, None)
    }

    fn push_edge(&mut self, nat: Nat, front: Option<AddressId>) -> NatId {
        self.edges.nats.push(nat);
        self.edges.fronts.push(front);
        self.resite();
        NatId(self.edges.nats.len() - 1)
    }

    /// Puts all addresses with this IP behind a NAT or firewall, and no longer behind another one. Those behind one reach
    /// each other directly; nobody else reaches them but through it.
    pub fn put_behind(&mut self, nat: NatId, inner: IpAddr) {
        self.edges.behind.insert(inner, nat);
        self.resite();
    }

    /// A NAT or firewall.
    #[must_use]
    pub fn nat(&self, id: NatId) -> &Nat {
        &self.edges.nats[id.0]
    }

    /// A NAT or firewall, to make it forget.
    pub fn nat_mut(&mut self, id: NatId) -> &mut Nat {
        &mut self.edges.nats[id.0]
    }

    fn resite(&mut self) {
        for address in &mut self.addresses {
            address.site = self.edges.site(address.socket.ip());
        }
    }

    /// The end of a link that an address is at: itself, or its NAT for an outer address.
    pub(super) fn end(&self, id: AddressId) -> AddressId {
        let front = self.addresses[id.0].site.front;
        front.and_then(|nat| self.edges.fronts[nat.0]).unwrap_or(id)
    }

    /// The way of a datagram from the sender to its link, if there is one.
    pub(super) fn exit(&mut self, from: AddressId, to: AddressId) -> Option<Exit> {
        let from = self.leave(from, to)?;
        Some(Exit { from, link: self.link_of((from, to)) })
    }

    /// Takes a datagram out of all networks that the receiver is not in, and returns the source that it has then.
    fn leave(&mut self, mut from: AddressId, to: AddressId) -> Option<AddressId> {
        // Bounded, since two NATs may have been put behind each other.
        for _ in 0..=self.edges.nats.len() {
            let (site, target) = (self.addresses[from.0].site, self.addresses[to.0].site);
            let Some(id) = site.behind.filter(|_| site.behind != target.behind) else { return Some(from) };
            let (inner, remote) = (self.addresses[from.0].socket, self.addresses[to.0].socket);
            let nat = &mut self.edges.nats[id.0];
            if target.front == Some(id) && !nat.hairpins() {
                return None;
            }
            let outer = nat.outbound(self.now, inner, remote)?;
            if nat.is_firewall() {
                return Some(from);
            }
            from = self.intern(outer);
        }
        None
    }

    /// Takes a datagram into the network of its receiver, and returns the address that it has there.
    pub(super) fn come_in(&mut self, from: AddressId, mut to: AddressId) -> Option<AddressId> {
        let mut passed = None;
        for _ in 0..=self.edges.nats.len() {
            let (here, site) = (self.addresses[from.0].site, self.addresses[to.0].site);
            let (remote, target) = (self.addresses[from.0].socket, self.addresses[to.0].socket);
            if let Some(id) = site.behind.filter(|_| site.behind != passed && site.behind != here.behind) {
                let nat = &mut self.edges.nats[id.0];
                // An inner address means nothing outside of its NAT.
                if !nat.is_firewall() {
                    return None;
                }
                nat.inbound(self.now, remote, target)?;
            }
            let Some(id) = site.front else { return Some(to) };
            let inner = self.edges.nats[id.0].inbound(self.now, remote, target)?;
            (passed, to) = (Some(id), self.intern(inner));
        }
        None
    }
}

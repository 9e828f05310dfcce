//! A peer with the right keys and no manners.

use core::cell::RefCell;
use core::net::SocketAddr;
use std::rc::Rc;

use dunlin_core::{
    Arrival, CloseReason, Config, Connection, ConnectionHandle, Disposition, Duration, EndpointStats,
    LocalAddr, PathId, fuzzing,
};

pub use dunlin_core::fuzzing::Opened;
use dunlin_core::fuzzing::{IdOf, Unopened};

use crate::host::{AcceptAll, App};
use crate::link::LinkConfig;
use crate::meters::work_between;
use crate::pair::{Pair, config};
use crate::world::Verdict;

/// Who a datagram went to, and the datagram.
type Sent = (SocketAddr, Vec<u8>);

/// A connection whose dialler says what a test wants, and nothing else: no acknowledgement, no answer, no repetition.
///
/// The dialler's engine has made the handshake and has the keys. From then on it is asleep: what it says is sealed for it by
/// [`fuzzing::seal_on`], and what its victim sends is opened by [`fuzzing::open`]. The victim, an honest endpoint with any
/// application, takes it for a peer like any other.
#[allow(missing_debug_implementations, reason = "applications are opaque")]
pub struct Evil {
    /// The two and their world.
    pub pair: Pair,
    /// The connection, as the dialler has it.
    pub own: ConnectionHandle,
    /// The connection, as the victim has it.
    pub victim: ConnectionHandle,
    /// What the victim has sent and nobody has looked at.
    sent: Rc<RefCell<Vec<Sent>>>,
    start: EndpointStats,
    /// The number of the next packet on a path that the dialler's engine has not opened.
    unopened: u64,
}

impl Evil {
    /// A connection over `link` that has stood so long that each side has ids for more paths, with a victim that accepts and
    /// does nothing.
    #[must_use]
    pub fn new(seed: u64, link: LinkConfig, victim: Config) -> Self {
        Self::with(seed, link, victim, AcceptAll)
    }

    /// The same with an application.
    ///
    /// # Panics
    /// The two do not get connected.
    #[must_use]
    pub fn with(seed: u64, link: LinkConfig, victim: Config, app: impl App + 'static) -> Self {
        let mut pair = Pair::with(seed, link, config(), victim, AcceptAll, app);
        let (own, victim) = pair.connect();
        pair.world.run_for(Duration::from_millis(1_500));
        pair.world.node_mut(pair.client).asleep = true;
        let (sent, from) = (Rc::new(RefCell::new(Vec::new())), pair.server_addr);
        let record = Rc::clone(&sent);
        pair.world.add_tap(move |passing| {
            if passing.from == from {
                record.borrow_mut().push((passing.to, passing.bytes.clone()));
            }
            Verdict::Pass
        });
        let start = pair.server().endpoint.stats();
        Self { pair, own, victim, sent, start, unopened: 1 }
    }

    /// A packet with these frames reaches the victim at once, over the first path.
    pub fn strike(&mut self, frames: &[u8]) -> Disposition {
        self.strike_from(self.pair.client_addr, PathId::ZERO, frames)
    }

    /// The same on any path, with any address of the sender. On one that the dialler's engine has not opened, it is to an id of
    /// the victim's that no path uses.
    ///
    /// # Panics
    /// There are no frames, or more than fit.
    pub fn strike_from(&mut self, from: SocketAddr, path: PathId, frames: &[u8]) -> Disposition {
        let mut packet = Vec::new();
        let number = self.unopened;
        let sealed = self.as_dialler(|dialler| {
            let unopened = Unopened { path, number, to: IdOf::NoPath };
            fuzzing::seal_on(dialler, path, frames, &mut packet)
                || fuzzing::seal_unopened(dialler, &unopened, frames, &mut packet)
        });
        assert!(sealed, "{} bytes of frames cannot be sealed", frames.len());
        self.unopened += 1;
        self.hand_in(from, &packet)
    }

    /// Any datagram reaches the victim at once.
    pub fn hand_in(&mut self, from: SocketAddr, datagram: &[u8]) -> Disposition {
        let now = self.pair.world.now();
        fuzzing::recount(&self.pair.server().endpoint);
        let local = LocalAddr { socket: 0, ip: Some(self.pair.server_addr.ip()) };
        let arrival = Arrival { local, remote: from.into(), ecn: None };
        let victim = self.pair.world.node_mut(self.pair.server);
        victim.traffic.entry(from).or_default().0 += datagram.len() as u64;
        victim.endpoint.handle_datagram(now, arrival, &mut datagram.to_vec())
    }

    /// Acts on the connection as the dialler, for instance with another of the doors in [`fuzzing`].
    pub fn as_dialler<R>(&mut self, act: impl FnOnce(&mut Connection<'_>) -> R) -> R {
        self.pair.on_client(self.own, act)
    }

    /// Acts on the connection as the victim's application.
    pub fn as_victim<R>(&mut self, act: impl FnOnce(&mut Connection<'_>) -> R) -> R {
        self.pair.on_server(self.victim, act)
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Duration) {
        self.pair.world.run_for(span);
    }

    /// What the victim has sent since the last time, opened: what went to the dialler's address.
    pub fn hear(&mut self) -> Vec<Opened> {
        let (sent, to) = (self.sent.take(), self.pair.client_addr);
        let own = sent.into_iter().filter(|(remote, _)| *remote == to);
        own.filter_map(|(_, packet)| self.as_dialler(|dialler| fuzzing::open(dialler, &packet))).collect()
    }

    /// The datagrams that the victim has sent since the last time, to whomever.
    pub fn overhear(&mut self) -> Vec<Sent> {
        self.sent.take()
    }

    /// Why the connection has ended for the victim, if it has.
    #[must_use]
    pub fn end(&self) -> Option<CloseReason> {
        self.pair.server().closed(self.victim).map(|(_, reason)| reason.clone())
    }

    /// The victim's counters.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        self.pair.server().endpoint.stats()
    }

    /// The work that the victim has done since the last time ([`work_between`]).
    pub fn work(&mut self) -> u64 {
        let now = self.stats();
        let before = core::mem::replace(&mut self.start, now.clone());
        work_between(&before, &now)
    }

    /// Lets the dialler's engine live again, and ends the scenario as [`Pair::finish_among_strangers`] does.
    pub fn finish(mut self) {
        self.pair.world.node_mut(self.pair.client).asleep = false;
        self.pair.finish_among_strangers();
    }
}

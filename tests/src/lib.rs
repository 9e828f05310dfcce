//! A deterministic network simulator for sans-IO protocols, and for dunlin above all.
//!
//! Time is virtual, randomness is seeded, and nothing here opens a socket, reads a clock or starts a thread: thousands
//! of virtual seconds pass in a few real ones, and the same seed gives the same run to the byte.
//!
//! - [`Link`] is one direction of a link: rate (constant or changing), delay, jitter, a tail-drop queue, a policer, loss,
//!   reordering, duplication, bundling, corruption, MTU, filters, ECN. [`LinkConfig`] has a field for each; a link passes everything at once unless told otherwise.
//! - [`World`] is the clock, the nodes with their addresses, and the links between them.
//! - [`Nat`] is a NAT or a firewall at the edge of a network: which outer address an inner one gets, who may answer, and
//!   for how long ([`NatConfig`]). [`World::add_nat`], [`World::add_firewall`] and [`World::put_behind`] place them.
//! - [`Node`] is what a protocol implements to live in a world: the four calls of a sans-IO engine.
//! - [`Host`] is dunlin's engine as a node, with an [`App`] that reacts to its events and its [`Socket`]s; [`Pair`] is
//!   two of them and a link, [`Web`] two of them with several interfaces each, and a link between any two of those that
//!   can fail by itself.
//! - [`Arrivals`] and [`MemoryMark`] measure: the longest gap, the time to the first byte, memory that stays as it was.
//! - [`Evil`] is a pair whose dialler has the right keys and no manners; [`work_between`] weighs what that costs its victim.
//! - [`seeds`] gives a test its seeds; a failing one is printed, and `DUNLIN_SEED=<seed>` runs it alone.
//!
//! ```
//! use dunlin_sim::{Duration, Ecn, Instant, LinkConfig, Node, QueueLimit, Rate, Transmit, World, seeds};
//! use std::net::SocketAddr;
//!
//! /// Sends one greeting, and counts what it hears.
//! #[derive(Default)]
//! struct Greeter {
//!     greet: Option<SocketAddr>,
//!     heard: usize,
//! }
//!
//! impl Node for Greeter {
//!     fn handle_datagram(
//!         &mut self, _now: Instant, _local: SocketAddr, _remote: SocketAddr, _ecn: Option<Ecn>, datagram: &mut [u8],
//!     ) {
//!         self.heard += datagram.len();
//!     }
//!     fn handle_timeout(&mut self, _now: Instant) {}
//!     fn poll_transmit(&mut self, _now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
//!         let remote = self.greet.take()?;
//!         out.extend_from_slice(b"hello");
//!         Some(Transmit::new(remote, 5))
//!     }
//!     fn poll_timeout(&self) -> Option<Instant> {
//!         None
//!     }
//! }
//!
//! let (a, b) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
//! for seed in seeds(3) {
//!     let mut world = World::new(
//!         seed,
//!         LinkConfig {
//!             rate: Some(Rate::mbit(10)),
//!             delay: Duration::from_millis(20),
//!             queue: QueueLimit::Bytes(50_000),
//!             ..LinkConfig::default()
//!         },
//!     );
//!     world.add_node("alice", &[a], Greeter { greet: Some(b), heard: 0 });
//!     let bob = world.add_node("bob", &[b], Greeter::default());
//!     world.run_for(Duration::from_secs(1));
//!     assert_eq!(world.node(bob).heard, 5);
//! }
//! ```
#![forbid(unsafe_code)]

mod apps;
mod evil;
mod host;
mod link;
mod meters;
mod node;
mod nonces;
mod pair;
mod paths;
mod rng;
mod seeds;
mod trace;
mod world;

pub use apps::{Both, Echo, Received, Receiver, Sender, pattern};
pub use dunlin_core::{Duration, Instant};
pub use evil::{Evil, Opened};
pub use host::{AcceptAll, App, Host, Socket, accept_incoming};
pub use link::{
    Corruption, Count, DelayHistogram, Deliveries, Delivery, DropCause, EcnPolicy, Filter, Link, LinkConfig,
    LinkStats, Loss, Policer, QueueLimit, Rate, RateTrace, Script,
};
pub use meters::{Arrivals, MemoryMark, work_between};
pub use node::{Ecn, Node, Transmit};
pub use nonces::Nonces;
pub use pair::{ALPN, Pair, config, endpoint, wind_down};
pub use paths::{End, Topology, Toward, Web};
pub use rng::{Ppm, Rng};
pub use seeds::{Seeds, seeds};
pub use trace::Fingerprint;
pub use world::{
    Filtering, Injection, Lifetime, LinkId, Mapping, Nat, NatConfig, NatId, NatStats, NodeId, Passing,
    Verdict, World, WorldStats,
};

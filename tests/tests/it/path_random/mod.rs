//! Anything that applications, networks and attackers can do to a connection with several paths, in any order: data goes
//! on when the network is well again, and in the end nothing is left.

mod ops;
mod play;
mod watch;

use std::sync::Arc;

use dunlin_core::select::Spread;
use dunlin_core::{Config, Duration};
use dunlin_sim::{LinkConfig, QueueLimit, Rate, Topology, Toward, config};
use proptest::prelude::*;

use crate::common::ms;
use crate::contract::cases;
use ops::{Op, ops};
use play::Play;

/// How the two sides are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Table {
    /// Two interfaces on each side, each joined with each.
    Mesh,
    /// Three on each side, and some ways lead in one direction only, for good.
    Holes,
    /// Two on each side; the dialler's first one is behind a NAT.
    Nat,
}

/// What the two sides agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Feature {
    OnePath,
    EightPaths,
    /// All paths at once, and fresh keys every few packets.
    Spread,
    /// As many, and the dialler opens and closes some by itself.
    Kept,
}

impl Table {
    const fn interfaces(self) -> usize {
        match self {
            Self::Mesh | Self::Nat => 2,
            Self::Holes => 3,
        }
    }

    /// Ways that are never there.
    const fn holes(self) -> &'static [(usize, usize, Toward)] {
        match self {
            Self::Mesh | Self::Nat => &[],
            Self::Holes => &[
                (0, 1, Toward::Client),
                (1, 2, Toward::Server),
                (2, 0, Toward::Client),
                (2, 1, Toward::Server),
                (2, 1, Toward::Client),
            ],
        }
    }

    fn topology(self) -> Topology {
        let link = |i: usize, j: usize| LinkConfig {
            rate: Some(Rate::mbit(20)),
            delay: ms(10 + 15 * i as u64 + 4 * j as u64),
            queue: QueueLimit::Bytes(100_000),
            ..LinkConfig::default()
        };
        Topology::mesh(self.interfaces(), self.interfaces(), |i, j| Some(link(i, j)))
    }
}

impl Feature {
    fn settings(self) -> Config {
        let mut settings = config();
        settings.key_log = true;
        // However long the network is away, it is no reason to end.
        settings.idle_timeout = None;
        // What is held is then no question of how much was sent.
        settings.limits.max_window = settings.limits.initial_window;
        settings.automatic_paths = self == Self::Kept;
        match self {
            Self::OnePath => settings.max_paths = 1,
            Self::EightPaths | Self::Kept => {}
            Self::Spread => {
                settings.selector = Arc::new(Spread);
                settings.rotate_keys_after = Some(20);
            }
        }
        settings
    }
}

fn run(seed: u64, table: Table, feature: Feature, ops: &[Op]) {
    let mut play = Play::new(seed, table, feature);
    for op in ops {
        play.act(op);
    }
    play.heal();
    play.deliver(Duration::from_secs(20));
    play.rest();
    play.end();
}

fn table() -> impl Strategy<Value = Table> {
    prop_oneof![Just(Table::Mesh), Just(Table::Holes), Just(Table::Nat)]
}

fn feature() -> impl Strategy<Value = Feature> {
    prop_oneof![
        1 => Just(Feature::OnePath),
        3 => Just(Feature::EightPaths),
        2 => Just(Feature::Spread),
        2 => Just(Feature::Kept),
    ]
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn path_operations_in_any_order_leave_a_connection_that_works(
        seed: u64,
        table in table(),
        feature in feature(),
        ops in ops(60),
    ) {
        run(seed, table, feature, &ops);
    }
}

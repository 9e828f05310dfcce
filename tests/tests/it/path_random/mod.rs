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
use crate::duo::Side;
use ops::{Op, Weather, ops};
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
        // Every packet is read, and a reset is like any that cannot be.
        settings.limits.stateless_per_second = 0;
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

/// What once found something wrong, cut to what is needed for it.
#[test]
fn path_operations_that_failed_once() {
    use Feature::{EightPaths, Spread};
    use Op::{Hijack, Open, Pass, Rebind, Shut, Sleep, Way, Write};
    use Side::{Client, Server};
    let way = |client, server, toward| ops::Way { client, server, toward };
    let silent = |client, server, toward| Way(way(client, server, toward), Weather::Silent);
    let cases: [(Table, Feature, &[Op]); 7] = [
        // Each side abandons what the other one keeps.
        (
            Table::Mesh,
            EightPaths,
            &[Open(Server, 1, 0), Pass(ms(51)), Shut(Server, 0), Pass(ms(524)), Shut(Client, 1)],
        ),
        // Somebody is faster with the first packet of a path.
        (Table::Mesh, EightPaths, &[Hijack(Client, 1), Open(Client, 0, 1), Pass(ms(129)), Shut(Client, 0)]),
        // All paths are silent for as long as makes one of them idle.
        (Table::Mesh, EightPaths, &[Open(Server, 0, 1), Pass(ms(29)), Sleep(Server, ms(15_000))]),
        // A path takes the place of the one that was selected.
        (
            Table::Holes,
            Spread,
            &[Open(Client, 1, 0), Pass(ms(100)), Shut(Client, 0), Pass(ms(17_000)), Open(Client, 0, 0)],
        ),
        // The challenges of a path take up what its address may be sent.
        (
            Table::Mesh,
            EightPaths,
            &[Open(Server, 1, 1), Pass(ms(77)), Rebind(1), Hijack(Client, 3), Shut(Server, 0)],
        ),
        // Keys change four times before a path acknowledges.
        (
            Table::Holes,
            Spread,
            &[
                silent(1, 1, Toward::Client),
                Open(Client, 1, 1),
                Pass(ms(190)),
                Write(Client, 0, 170_000),
                Pass(ms(1652)),
                Write(Client, 0, 36_815),
                Sleep(Server, ms(1269)),
            ],
        ),
        // One path leads there, another one back.
        (
            Table::Mesh,
            Spread,
            &[
                Open(Client, 1, 0),
                Pass(ms(100)),
                silent(0, 0, Toward::Client),
                silent(1, 0, Toward::Server),
                Write(Client, 0, 2_881),
                Pass(ms(15_000)),
            ],
        ),
    ];
    for (table, feature, ops) in cases {
        run(1, table, feature, ops);
    }
    // Packets have grown, and the window of a path that has lost nearly everything is less than one of them.
    let ops = [
        Write(Client, 0, 1),
        Op::Report(Client),
        Op::Finish(Client, 0),
        Pass(ms(100)),
        Hijack(Client, 2),
        Rebind(2),
        Pass(ms(14_000)),
    ];
    run(5_061_214_131_339_995_211, Table::Mesh, Feature::Kept, &ops);
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

//! What is counted of each path.

use dunlin_core::{PathId, PathState, PathStats};
use dunlin_sim::{Topology, Toward, config, seeds};

use crate::common::{line, ms};
use crate::duo::{BOTH, Duo, Side, parallel};

const BYTES: u64 = 2_000_000;

fn sent(path: &PathStats) -> (u64, u64) {
    (path.packets_sent, path.bytes_sent)
}

fn received(path: &PathStats) -> (u64, u64) {
    (path.packets_received, path.bytes_received)
}

#[test]
fn path_counters_are_each_ones_own() {
    for (seed, sender) in seeds(4).zip(BOTH.into_iter().cycle()) {
        let (mut duo, arrived) = Duo::sending(seed, &parallel(2), &config(), sender, BYTES);
        let second = duo.open(Side::Client, 1, 1);
        assert!(duo.web.pair.run_until(ms(60_000), |_| arrived.borrow().finished == 1));
        duo.run(ms(2000));
        for path in [PathId::ZERO, second] {
            let [client, server] = BOTH.map(|side| duo.path(side, path).unwrap());
            assert_eq!(sent(&client), received(&server), "seed {seed:#x}: {path:?}");
            assert_eq!(sent(&server), received(&client), "seed {seed:#x}: {path:?}");
            assert!(client.packets_sent > 0 && client.packets_lost + server.packets_lost == 0);
        }
        let carried = |duo: &mut Duo, path| duo.path(sender, path).unwrap().bytes_sent;
        assert!(carried(&mut duo, PathId::ZERO) > BYTES && carried(&mut duo, second) < BYTES / 10);
        let whole = duo.on(sender, |connection| connection.stats());
        let parts: u64 = duo.paths(sender).iter().map(|path| path.packets_sent).sum();
        assert!(parts < whole.packets_sent && whole.packets_sent - parts <= 2, "the handshake is no path's");
        duo.finish();
    }
}

#[test]
fn path_that_falls_silent_says_so_and_counts_what_it_loses() {
    for (seed, sender) in seeds(4).zip(BOTH.into_iter().cycle()) {
        let (mut duo, _) =
            Duo::sending(seed, &Topology::parallel(&[line(), line()]), &config(), sender, 1 << 32);
        let second = duo.open(Side::Client, 1, 1);
        assert!(duo.paths(sender).iter().all(|path| !path.suspect));
        Toward::BOTH.iter().for_each(|toward| duo.web.cut(0, 0, *toward));
        duo.run(ms(1500));
        assert_eq!(duo.selected(sender), second);
        let left = duo.path(sender, PathId::ZERO).unwrap();
        assert!(
            left.suspect && left.packets_lost > 0 && left.state == PathState::Open,
            "seed {seed:#x}: {left:?}"
        );
        assert!(!duo.path(sender, second).unwrap().suspect);
    }
}

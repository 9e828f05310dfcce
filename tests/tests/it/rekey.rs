//! Key phases: both directions rotate on their own while everything goes on (docs/PROTOCOL.md, "Keys and protection").

use dunlin_core::{AeadPolicy, Config, DropReason, Duration, Suite};
use dunlin_sim::{Both, Injection, LinkConfig, Pair, Receiver, Sender, Verdict, config, seeds};

use crate::common::{DATA, bad_line, kind, line, ms, quick};

fn rotating(aead: AeadPolicy, packets: u64) -> Config {
    let mut config = config();
    config.aead = aead;
    config.rotate_keys_after = Some(packets);
    config
}

/// Moves `bytes` in both directions, and returns the key updates of each side, and how long it took.
fn exchange(
    seed: u64,
    link: LinkConfig,
    ours: Config,
    theirs: Config,
    bytes: u64,
    replays: bool,
) -> ([u64; 2], Duration) {
    let expected = if ours.aead == AeadPolicy::Aes { Suite::Aes256Gcm } else { Suite::ChaCha20Poly1305 };
    let ((there, seen_there), (here, seen_here)) = (Receiver::new(), Receiver::new());
    let clean = matches!(link.loss, dunlin_sim::Loss::None);
    let client = Both(Sender::new(1, bytes), here);
    let mut pair = Pair::with(seed, link, ours, theirs, client, Both(Sender::new(1, bytes), there));
    if replays {
        let mut rng = pair.world.rng(5);
        pair.world.add_tap(move |passing| {
            if kind(passing.bytes) == DATA {
                let (from, to, bytes) = (passing.from, passing.to, passing.bytes.clone());
                // Within the phase, in the next one, long after.
                let after = ms(1 + rng.below(10) * rng.below(100));
                passing.inject(Injection { after, from, to, ecn: None, bytes });
            }
            Verdict::Pass
        });
    }
    let (client, server) = pair.connect();
    let done = pair.run_until(Duration::from_secs(60), |_| {
        seen_there.borrow().finished == 1 && seen_here.borrow().finished == 1
    });
    let span = pair.now() - dunlin_core::Instant::ZERO;
    assert!(done, "{} there, {} here", seen_there.borrow().total(), seen_here.borrow().total());
    assert_eq!((seen_there.borrow().total(), seen_here.borrow().total()), (bytes, bytes));
    let stats = [
        pair.on_client(client, |c| (c.stats(), c.suite())),
        pair.on_server(server, |c| (c.stats(), c.suite())),
    ];
    for (n, (stats, suite)) in stats.iter().enumerate() {
        assert_eq!(*suite, Some(expected));
        assert!(replays || stats.forged_packets == 0, "side {n}: {stats:?}");
    }
    if clean && !replays {
        for host in [pair.client(), pair.server()] {
            assert_eq!(host.dropped(DropReason::Duplicate), 0, "no number is ever used twice");
            assert_eq!(host.dropped(DropReason::Unauthentic), 0);
        }
    }
    pair.finish();
    (stats.map(|(stats, _)| stats.key_updates), span)
}

#[test]
fn keys_rotate_under_loss_and_reordering_with_both_aeads() {
    for aead in [AeadPolicy::ChaCha20, AeadPolicy::Aes] {
        for seed in seeds(2) {
            let link =
                LinkConfig { reorder: dunlin_sim::Ppm::percent(5), reorder_by: ms(15), ..bad_line(10) };
            let (updates, span) =
                exchange(seed, link, rotating(aead, 100), rotating(aead, 100), 8 << 20, false);
            // Three probe timeouts of about 100 ms, and a hundred packets, whichever is more.
            let most = span.as_millis() as u64 / (3 * 20) + 1;
            for updates in updates {
                assert!((5..=most).contains(&updates), "{updates} updates in {span:?} with {aead:?}");
            }
        }
    }
}

#[test]
fn keys_rotate_on_a_clean_line() {
    for aead in [AeadPolicy::ChaCha20, AeadPolicy::Aes] {
        let (updates, _) = exchange(1, line(), rotating(aead, 100), rotating(aead, 1000), 12 << 20, false);
        assert!(updates[0] >= 3 && updates[1] >= 2 && updates[0] >= updates[1], "{updates:?}");
    }
}

#[test]
fn each_direction_rotates_on_its_own() {
    let (updates, _) = exchange(1, line(), rotating(AeadPolicy::Auto, 100), config(), 12 << 20, false);
    assert!(updates[0] >= 3 && updates[1] == 0, "{updates:?}");
}

#[test]
fn replays_across_phases_change_nothing() {
    for seed in seeds(2) {
        let rotating = || rotating(AeadPolicy::Auto, 50);
        exchange(seed, bad_line(2), rotating(), rotating(), 1 << 20, true);
    }
}

#[test]
fn a_phase_lasts_three_probe_timeouts_and_until_it_is_acknowledged() {
    let eager = rotating(AeadPolicy::Auto, 1);
    let mut pair = Pair::with(1, quick(), eager.clone(), eager, dunlin_sim::AcceptAll, dunlin_sim::AcceptAll);
    let (client, server) = pair.connect();
    let mut before = [0; 2];
    for round in 0..200u32 {
        pair.on_client(client, |connection| connection.send_datagram(&round.to_be_bytes())).unwrap();
        pair.world.run_for(ms(50));
        let updates = [
            pair.on_client(client, |connection| connection.stats().key_updates),
            pair.on_server(server, |connection| connection.stats().key_updates),
        ];
        for side in 0..2 {
            assert!(updates[side] <= before[side] + 1, "one phase at a time");
        }
        before = updates;
    }
    // Ten seconds: the probe timeout is at least 40 + 25 ms.
    assert!((15..=10_000 / (3 * 65)).contains(&before[0]), "{before:?}");
    assert_eq!(pair.on_server(server, |connection| connection.stats().datagrams_received), 200);
    assert_eq!(pair.on_server(server, |connection| connection.stats().forged_packets), 0);
    pair.finish();
}

#[test]
fn a_blackout_across_a_rotation_is_survived() {
    for seed in seeds(10) {
        let (receiver, seen) = Receiver::new();
        let rotating = rotating(AeadPolicy::Auto, 20);
        let mut pair =
            Pair::with(seed, line(), rotating.clone(), rotating, Sender::new(1, 3 << 20), receiver);
        pair.dial();
        let dark = crate::common::drop_while(&mut pair.world, |_| true);
        dark.set(false);
        for _ in 0..20 {
            pair.world.run_for(ms(20 + seed % 37));
            dark.set(!dark.get());
        }
        dark.set(false);
        assert!(pair.run_until(Duration::from_secs(20), |_| seen.borrow().finished == 1));
        assert_eq!(seen.borrow().total(), 3 << 20);
        pair.finish();
    }
}

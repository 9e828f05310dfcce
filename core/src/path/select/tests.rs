//! The tables of the policies.

use core::net::IpAddr;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::path::addr::{CustomAddr, LocalAddr, PeerRef, RelayId, TransportAddr, TransportId};

const V4: &str = "192.0.2.7:443";
const V6: &str = "[2001:db8::7]:443";

/// A path with this id, to this address, with this round-trip time in milliseconds.
fn path(id: u8, remote: &str, rtt: u64) -> PathView {
    let remote = TransportAddr::Ip(remote.parse().unwrap());
    let tuple = Tuple { local: LocalAddr { socket: u16::from(id), ip: None }, remote };
    let rtt = Duration::from_millis(rtt);
    PathView { rtt, is_measured: true, ..PathView::new(PathId(id), tuple) }
}

fn relay(id: u8, rtt: u64) -> PathView {
    let remote = TransportAddr::Relay { relay: RelayId::new(1), peer: PeerRef::new(u32::from(id)) };
    let rtt = Duration::from_millis(rtt);
    PathView { rtt, ..PathView::new(PathId(id), Tuple { local: LocalAddr::default(), remote }) }
}

fn suspect(path: PathView) -> PathView {
    PathView { suspect: true, ..path }
}

fn from(path: PathView, ip: &str) -> PathView {
    let ip: IpAddr = ip.parse().unwrap();
    PathView {
        tuple: Tuple { local: LocalAddr { socket: 0, ip: Some(ip) }, remote: path.tuple.remote },
        ..path
    }
}

/// What the default makes of these, the first of them being the one in use.
fn wish(paths: &[PathView]) -> Choice {
    BiasedRtt.select(paths.first(), paths)
}

fn to(id: u8) -> Choice {
    Choice::Use(PathId(id))
}

#[test]
fn tier_and_bias_by_kind() {
    let custom =
        TransportAddr::Custom { transport: TransportId::new(1), address: CustomAddr::new(&[7]).unwrap() };
    let custom = PathView::new(PathId(0), Tuple { local: LocalAddr::default(), remote: custom });
    let kinds = [path(0, V4, 0), path(0, V6, 0), relay(0, 0), custom].map(|path| (path.tier, path.bias));
    assert_eq!(kinds[0], (Tier::Primary, Bias::NONE));
    assert_eq!(kinds[1], (Tier::Primary, Bias::bonus(Duration::from_millis(3))));
    assert_eq!(kinds[2], (Tier::Backup, Bias::NONE));
    assert_eq!(kinds[3], (Tier::Primary, Bias::NONE));
    let mut profile = TransportProfile::new(1_400);
    assert_eq!(custom.with_profile(&profile), custom);
    (profile.tier, profile.bias) = (Tier::Backup, Bias::penalty(Duration::from_millis(1)));
    let custom = custom.with_profile(&profile);
    assert_eq!((custom.tier, custom.bias), (profile.tier, profile.bias));
}

#[test]
fn v6_bias_equal() {
    assert_eq!(BiasedRtt.select(None, &[path(0, V4, 20), path(2, V6, 20)]), to(2));
}

#[test]
fn v6_bias_plus_2_ms() {
    assert_eq!(BiasedRtt.select(None, &[path(0, V4, 20), path(2, V6, 22)]), to(2));
}

#[test]
fn v6_bias_plus_10_ms() {
    assert_eq!(BiasedRtt.select(None, &[path(0, V4, 20), path(2, V6, 30)]), to(0));
}

#[test]
fn v4_to_v6_needs_minus_2() {
    assert_eq!(wish(&[path(0, V4, 20), path(2, V6, 18)]), to(2));
    assert_eq!(wish(&[path(0, V4, 20), path(2, V6, 19)]), Choice::Keep);
}

#[test]
fn v6_to_v4_needs_minus_8() {
    assert_eq!(wish(&[path(0, V6, 20), path(2, V4, 12)]), to(2));
    assert_eq!(wish(&[path(0, V6, 20), path(2, V4, 13)]), Choice::Keep);
}

#[test]
fn primary_over_backup_1000_vs_1_ms() {
    assert_eq!(BiasedRtt.select(None, &[relay(0, 1), path(2, V4, 1000)]), to(2));
}

#[test]
fn tier_switches_both_ways_at_once() {
    assert_eq!(wish(&[relay(0, 1), path(2, V4, 1000)]), to(2), "to the direct path");
    assert_eq!(
        wish(&[suspect(path(2, V4, 1)), relay(0, 1000)]),
        to(0),
        "and back, when it is not there any more"
    );
    assert_eq!(BiasedRtt.select(Some(&path(2, V4, 1)), &[relay(0, 1000)]), to(0));
}

#[test]
fn thresholds() {
    for (gain, choice) in [(2, Choice::Keep), (4, Choice::Keep), (5, to(2)), (6, to(2))] {
        assert_eq!(wish(&[path(0, V4, 50), path(2, V4, 50 - gain)]), choice, "{gain} ms");
    }
    let mut nearly = path(2, V4, 45);
    nearly.rtt += Duration::from_nanos(1);
    assert_eq!(wish(&[path(0, V4, 50), nearly]), Choice::Keep);
}

#[test]
fn no_current() {
    assert_eq!(BiasedRtt.select(None, &[path(0, V4, 50), path(2, V4, 49)]), to(2));
}

#[test]
fn empty_set_keeps() {
    let current = path(0, V4, 50);
    for policy in [&BiasedRtt as &dyn PathSelector, &LowestLatency, &DirectOnly, &Spread] {
        assert_eq!(policy.select(None, &[]), Choice::Keep, "{policy:?}");
        assert_eq!(policy.select(Some(&current), &[]), Choice::Keep, "{policy:?}");
    }
}

#[test]
fn current_missing_takes_best() {
    let gone = path(0, V4, 50);
    assert_eq!(BiasedRtt.select(Some(&gone), &[path(2, V4, 70), path(4, V4, 69)]), to(4));
}

#[test]
fn tie_order_is_path_id() {
    assert_eq!(BiasedRtt.select(None, &[path(2, V4, 50), path(4, V4, 50)]), to(2));
    assert_eq!(BiasedRtt.select(None, &[path(0, V4, 17), path(2, V6, 20)]), to(0), "biased ones too");
}

#[test]
fn negative_biased_rtt() {
    assert_eq!(BiasedRtt.select(None, &[path(0, V4, 0), path(2, V6, 1)]), to(2), "0 against -2 ms");
    assert_eq!(wish(&[path(0, V6, 1), path(2, V4, 0)]), Choice::Keep);
    let favourite = PathView { bias: Bias::bonus(Duration::MAX), ..path(2, V4, 1000) };
    assert_eq!(wish(&[path(0, V4, 0), favourite]), to(2));
    let slowest = PathView { bias: Bias::penalty(Duration::MAX), rtt: Duration::MAX, ..path(2, V4, 0) };
    assert_eq!(wish(&[slowest, path(0, V4, 1)]), to(0));
}

#[test]
fn same_address_on_two_connections() {
    // The round trips of two paths between the same ends differ by chance.
    let twin = PathView { tuple: path(0, V4, 0).tuple, ..path(2, V4, 20) };
    assert_eq!(
        wish(&[path(0, V4, 50), twin]),
        Choice::Keep,
        "between the same ends there is nothing to gain"
    );
    assert_eq!(wish(&[path(0, V4, 50), twin, path(4, V4, 16)]), Choice::Keep, "nor to count twice");
    assert_eq!(wish(&[path(0, V4, 50), twin, path(4, V4, 15)]), to(4));
}

#[test]
fn local_ip_change_is_missing() {
    let before = from(path(0, V4, 50), "198.51.100.1");
    let after = from(path(0, V4, 50), "198.51.100.2");
    assert_eq!(BiasedRtt.select(Some(&before), &[after, path(2, V4, 49)]), to(2), "no head start");
    assert_eq!(BiasedRtt.select(Some(&after), &[after, path(2, V4, 49)]), Choice::Keep);
}

#[test]
fn suspect_loses_to_any_trusted() {
    let slow = PathView { backup: true, ..path(2, V4, 1000) };
    assert_eq!(wish(&[suspect(path(0, V4, 1)), slow]), to(2));
    assert_eq!(wish(&[slow, suspect(path(0, V4, 1))]), Choice::Keep);
}

#[test]
fn a_suspect_primary_loses_to_a_trusted_backup() {
    assert_eq!(wish(&[suspect(path(0, V4, 1)), relay(2, 1000)]), to(2));
}

#[test]
fn among_suspects_it_stays() {
    assert_eq!(wish(&[suspect(path(0, V4, 50)), suspect(path(2, V4, 1))]), Choice::Keep);
    assert_eq!(wish(&[suspect(relay(0, 50)), suspect(path(2, V4, 1))]), Choice::Keep);
    let gone = path(4, V4, 50);
    let both = [suspect(path(0, V4, 50)), suspect(path(2, V4, 1))];
    assert_eq!(BiasedRtt.select(Some(&gone), &both), to(2), "but not with nothing");
}

#[test]
fn what_an_application_calls_backup_loses_to_a_relay() {
    let metered = PathView { backup: true, ..path(0, V4, 1) };
    assert_eq!(wish(&[metered, relay(2, 100)]), to(2));
    assert_eq!(wish(&[metered]), Choice::Keep);
}

#[test]
fn lowest_latency_has_no_bias() {
    let select = |paths: &[PathView]| LowestLatency.select(paths.first(), paths);
    assert_eq!(select(&[path(0, V6, 20), path(2, V4, 19)]), to(2));
    assert_eq!(select(&[path(0, V4, 20), path(2, V6, 20)]), Choice::Keep);
    assert_eq!(select(&[path(0, V4, 20), relay(2, 19)]), to(2), "relays are as good as any");
    assert_eq!(select(&[path(0, V4, 20), suspect(path(2, V4, 1))]), Choice::Keep);
    assert_eq!(select(&[path(0, V4, 20), PathView { backup: true, ..path(2, V4, 1) }]), Choice::Keep);
}

#[test]
fn direct_only_never_relays() {
    let select = |paths: &[PathView]| DirectOnly.select(paths.first(), paths);
    assert_eq!(select(&[suspect(path(0, V4, 1000)), relay(2, 1)]), Choice::Keep);
    assert_eq!(select(&[relay(0, 1), relay(2, 1)]), Choice::Keep);
    assert_eq!(select(&[relay(0, 1), path(2, V4, 1000)]), to(2));
    assert_eq!(select(&[path(0, V4, 50), path(2, V4, 45), relay(4, 1)]), to(2), "else as the default");
}

#[test]
fn spread_takes_all_good_paths_or_one() {
    let select = |paths: &[PathView]| Spread.select(paths.first(), paths);
    assert_eq!(select(&[path(0, V4, 20), path(2, V4, 60)]), Choice::Spread);
    assert_eq!(select(&[path(0, V4, 20), path(2, V4, 60), suspect(path(4, V4, 1))]), Choice::Spread);
    assert_eq!(select(&[relay(0, 20), relay(2, 60)]), Choice::Spread);
    assert_eq!(select(&[relay(0, 20), path(2, V4, 60)]), to(2), "not over tiers");
    assert_eq!(select(&[suspect(path(0, V4, 20)), path(2, V4, 60)]), to(2));
    assert_eq!(select(&[suspect(path(0, V4, 20)), suspect(path(2, V4, 1))]), Choice::Keep);
    let metered = |id, rtt| PathView { backup: true, ..path(id, V4, rtt) };
    assert_eq!(select(&[metered(0, 20), metered(2, 1)]), to(2));
}

/// Paths whose figures lie near one another, so that ties and thresholds happen.
fn paths() -> impl Strategy<Value = Vec<PathView>> {
    let path = (0..40_u64, any::<bool>(), 0..4_u8).prop_map(|(rtt, v6, flags)| {
        let tier = if flags == 3 { Tier::Backup } else { Tier::Primary };
        let path = path(0, if v6 { V6 } else { V4 }, rtt);
        PathView { suspect: flags == 1, backup: flags == 2, tier, ..path }
    });
    prop::collection::vec(path, 0..6).prop_map(|mut paths| {
        for (id, path) in (0..).zip(&mut paths) {
            (path.id, path.tuple.local.socket) = (PathId(id), u16::from(id));
        }
        paths
    })
}

proptest! {
    #[test]
    fn a_wish_is_there_the_same_in_any_order_and_settles(paths in paths(), current in 0..7_usize, turn: usize) {
        let current = paths.get(current);
        for policy in [&BiasedRtt as &dyn PathSelector, &LowestLatency, &DirectOnly] {
            let choice = policy.select(current, &paths);
            prop_assert_eq!(choice, policy.select(current, &paths));
            let mut turned = paths.clone();
            turned.rotate_left(turn % paths.len().max(1));
            let again = policy.select(current, &turned);
            let find = |choice| match choice {
                Choice::Use(id) => paths.iter().find(|path| path.id == id),
                _ => None,
            };
            let (Some(one), Some(other)) = (find(choice), find(again)) else {
                prop_assert_eq!((choice, again), (Choice::Keep, Choice::Keep), "{:?}", policy);
                continue;
            };
            prop_assert_eq!((one.suspect, one.backup), (other.suspect, other.backup));
            prop_assert_eq!(policy.select(Some(one), &paths), Choice::Keep, "{:?} has what it wanted", policy);
        }
    }

    #[test]
    fn the_default_leaves_a_rank_for_a_better_one_and_a_path_for_five_milliseconds(
        paths in paths(), current in 0..6_usize,
    ) {
        let Some(current) = paths.get(current) else { return Ok(()) };
        let best = paths.iter().min_by_key(|path| (path.rank(), path.biased_rtt())).unwrap();
        let gain = current.biased_rtt() - best.biased_rtt();
        let leave = !best.suspect && (best.rank() < current.rank() || gain >= 5_000_000);
        let expected = if leave { Choice::Use(best.id) } else { Choice::Keep };
        prop_assert_eq!(BiasedRtt.select(Some(current), &paths), expected);
    }
}

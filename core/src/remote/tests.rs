use std::vec::Vec;

use super::*;
use crate::crypto::Identity;
use crate::path::addr::{LocalAddr, PeerRef, RelayId};

fn map() -> (RemoteMap, Budget) {
    (RemoteMap::new(KeyedState::new([1, 2])), Budget::new(1 << 30))
}

fn peer(n: u32) -> PublicKey {
    let mut secret = [7; 32];
    // The lowest bits of a secret mean nothing.
    secret[1..5].copy_from_slice(&n.to_le_bytes());
    *Identity::from_secret(secret).public()
}

fn to(n: u16) -> Tuple {
    Tuple { local: LocalAddr::default(), remote: TransportAddr::Ip(([192, 0, 2, 1], n).into()) }
}

const fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn status(map: &RemoteMap, key: &PublicKey, n: u16) -> Option<AddressStatus> {
    let info = map.info(key)?;
    info.addresses.iter().find(|info| info.remote == to(n).remote).map(|info| info.status)
}

#[test]
fn path_remote_is_forgotten_after_a_minute_without_use() {
    let (mut map, mut budget) = map();
    let (now, key) = (at(0), peer(1));
    let id = map.join(now, &key);
    map.on_opened(now, &mut budget, id, &to(1));
    assert_eq!(map.due(), None, "it has a connection");
    map.expire(at(1000), &mut budget);
    map.on_closed(at(1000), id, &to(1).remote, None);
    map.leave(at(1000), &mut budget, id);
    assert_eq!(map.due(), Some(at(1060)));
    map.expire(at(1059), &mut budget);
    assert_eq!(status(&map, &key, 1), Some(AddressStatus::Inactive));
    map.expire(at(1060), &mut budget);
    assert_eq!((map.info(&key), map.due(), budget.used()), (None, None, 0));
}

#[test]
fn path_remote_used_exactly_when_its_time_is_over_stays() {
    let (mut map, mut budget) = map();
    let key = peer(1);
    assert!(map.tell(at(0), &mut budget, &key, &to(1), AddressSource::Application));
    // The timer has not been served yet.
    let id = map.join(at(60), &key);
    map.expire(at(60), &mut budget);
    assert_eq!(status(&map, &key, 1), Some(AddressStatus::Unknown));
    map.leave(at(60), &mut budget, id);
    assert_eq!(map.due(), Some(at(120)));
}

#[test]
fn path_remote_keeps_what_it_knew_when_it_is_used_again() {
    let (mut map, mut budget) = map();
    let key = peer(1);
    for round in 0..5 {
        let id = map.join(at(30 * round), &key);
        map.on_opened(at(30 * round), &mut budget, id, &to(1));
        map.on_closed(at(30 * round), id, &to(1).remote, Some(AddressFailure::Silent));
        map.leave(at(30 * round), &mut budget, id);
        map.expire(at(30 * round), &mut budget);
    }
    let info = map.info(&key).unwrap();
    assert_eq!((info.connections, info.addresses.len()), (0, 1));
    assert_eq!(info.addresses[0].why_not, Some(WhyNot::Failed(AddressFailure::Silent)));
    assert_eq!(info.addresses[0].since, at(120));
}

#[test]
fn path_remote_shares_statuses_between_connections() {
    let (mut map, mut budget) = map();
    let key = peer(1);
    let [first, second] = [(); 2].map(|()| map.join(at(0), &key));
    assert_eq!(first, second);
    map.on_opened(at(0), &mut budget, first, &to(1));
    map.on_opened(at(1), &mut budget, second, &to(1));
    map.on_opened(at(1), &mut budget, second, &to(2));
    map.on_closed(at(2), first, &to(1).remote, None);
    map.leave(at(2), &mut budget, first);
    assert_eq!(status(&map, &key, 1), Some(AddressStatus::Open));
    map.on_closed(at(3), second, &to(1).remote, None);
    assert_eq!(status(&map, &key, 1), Some(AddressStatus::Inactive));
    assert_eq!((status(&map, &key, 2), map.due()), (Some(AddressStatus::Open), None));
}

#[test]
fn path_remotes_at_rest_are_bounded() {
    let (mut map, mut budget) = map();
    let keys: Vec<PublicKey> = (0..5000).map(peer).collect();
    for (n, key) in keys.iter().enumerate() {
        assert!(map.tell(Instant::from_nanos(n as u64), &mut budget, key, &to(1), AddressSource::Lookup));
    }
    assert_eq!((map.ids.len(), map.resting.len()), (4096, 4096));
    assert_eq!(map.places.len(), 4097, "places are used again");
    assert_eq!(map.info(&keys[903]), None);
    assert!(keys[904..].iter().all(|key| map.info(key).is_some()), "those used last");
    let mut calls = 0;
    while map.due().is_some() {
        map.expire(at(61), &mut budget);
        calls += 1;
    }
    assert_eq!((calls, budget.used(), map.ids.len()), (4096 / 64, 0, 0));
}

#[test]
fn path_remotes_take_no_memory_that_is_not_there() {
    let (mut map, mut budget) = map();
    // Connections have the rest.
    let taken = budget.available() - ADDRESS_COST;
    budget.charge(taken).unwrap();
    let tell = |map: &mut RemoteMap, budget: &mut Budget, of, n| {
        map.tell(at(0), budget, &peer(of), &to(n), AddressSource::Lookup)
    };
    assert!(tell(&mut map, &mut budget, 1, 1) && tell(&mut map, &mut budget, 1, 2));
    assert!(!tell(&mut map, &mut budget, 1, 3), "there is no more");
    assert!(tell(&mut map, &mut budget, 2, 1), "the first one costs nothing");
    assert!(!tell(&mut map, &mut budget, 2, 2));
    // What is given back can be had.
    assert!(map.untell(&mut budget, &peer(1), &to(1).remote));
    assert!(tell(&mut map, &mut budget, 2, 2));
    map.expire(at(60), &mut budget);
    assert_eq!((budget.used(), map.ids.len()), (taken, 0));
}

#[test]
fn path_remotes_of_a_small_endpoint_are_few() {
    let (mut map, mut budget) = (map().0, Budget::new(3 * RESTING_SHARE));
    for n in 0..100 {
        // At one time too, as at the start.
        let now = at(u64::from(n / 50));
        assert!(map.tell(now, &mut budget, &peer(n), &to(1), AddressSource::Lookup));
        assert!(map.info(&peer(n)).is_some(), "the one that was told last is known");
    }
    assert_eq!((map.ids.len(), map.resting.len()), (3, 3));
}

#[test]
fn path_remote_addresses_are_charged_as_they_come_and_go() {
    let (mut map, mut budget) = map();
    let key = peer(1);
    let id = map.join(at(0), &key);
    for n in 0..200 {
        map.tell(at(u64::from(n)), &mut budget, &key, &to(n), AddressSource::Lookup);
        map.on_opened(at(u64::from(n)), &mut budget, id, &to(n));
        if n % 3 == 0 {
            map.on_closed(at(u64::from(n)), id, &to(n).remote, None);
        }
        let len = map.info(&key).unwrap().addresses.len();
        assert_eq!(budget.used(), (len - 1) * ADDRESS_COST);
        map.untell(&mut budget, &key, &to(n / 2).remote);
    }
    (0..200).for_each(|n| map.on_closed(at(300), id, &to(n).remote, None));
    map.leave(at(300), &mut budget, id);
    map.expire(at(360), &mut budget);
    assert_eq!(budget.used(), 0);
}

#[test]
fn path_remote_has_sixteen_relays() {
    let (mut map, mut budget) = map();
    for n in 0..20 {
        let remote = TransportAddr::Relay { relay: RelayId::new(n), peer: PeerRef::new(0) };
        let told = map.tell(at(0), &mut budget, &peer(1), &Tuple { remote, ..to(0) }, AddressSource::Lookup);
        assert_eq!(told, n < 16);
    }
    assert!(map.tell(at(0), &mut budget, &peer(1), &to(1), AddressSource::Lookup), "others have room");
}

#[test]
fn path_remote_is_dialled_where_it_was_met_last_and_where_it_failed_last() {
    let (mut map, mut budget) = map();
    let key = peer(1);
    let id = map.join(at(0), &key);
    for n in 1..=4 {
        map.tell(at(0), &mut budget, &key, &to(n), AddressSource::Lookup);
    }
    map.tell(at(0), &mut budget, &key, &to(5), AddressSource::Application);
    map.on_unanswered(at(1), id, &to(1).remote);
    for (n, closed) in [(2, Some(5)), (3, Some(4)), (6, None)] {
        map.on_opened(at(2), &mut budget, id, &to(n));
        if let Some(closed) = closed {
            map.on_closed(at(closed), id, &to(n).remote, None);
        }
    }
    let known: Vec<_> = map.known(&key).iter().map(|known| (known.to, known.standing)).collect();
    let failed = Standing::Failed { found: true };
    let expected = [
        (6, Standing::Met),
        (2, Standing::Met),
        (3, Standing::Met),
        (5, Standing::Named),
        (4, Standing::Found),
        (1, failed),
    ];
    assert_eq!(known, expected.map(|(n, standing)| (to(n), standing)));
    assert_eq!(map.known(&peer(2)), []);
}

#[test]
fn path_remote_tells_why_there_is_no_path() {
    let (mut map, mut budget) = map();
    let key = peer(1);
    let id = map.join(at(0), &key);
    let private = Tuple { remote: TransportAddr::Ip(([127, 0, 0, 1], 4433).into()), ..to(0) };
    map.tell(at(0), &mut budget, &key, &private, AddressSource::Lookup);
    for n in [2001, 2002, 2003, 2004] {
        map.tell(at(0), &mut budget, &key, &to(n), AddressSource::Lookup);
    }
    map.on_unanswered(at(0), id, &to(2002).remote);
    map.on_opened(at(0), &mut budget, id, &to(2003));
    map.on_opened(at(0), &mut budget, id, &to(2004));
    map.on_closed(at(0), id, &to(2004).remote, None);
    let reasons: Vec<_> = map.info(&key).unwrap().addresses.iter().map(|info| info.why_not).collect();
    let no_answer = Some(WhyNot::Failed(AddressFailure::NoAnswer));
    assert_eq!(
        reasons,
        [Some(WhyNot::NotPublic), Some(WhyNot::NotTried), no_answer, None, Some(WhyNot::Left)]
    );
    // Once the application says the same, it may be dialled.
    map.tell(at(0), &mut budget, &key, &private, AddressSource::Application);
    assert_eq!(map.info(&key).unwrap().addresses[0].why_not, Some(WhyNot::NotTried));
}

#[test]
fn path_remote_is_one_over_all_shards() {
    let (mut maps, mut budget) = ([map().0, map().0], Budget::new(1 << 30));
    let key = peer(1);
    for map in &mut maps {
        map.tell(at(0), &mut budget, &key, &to(1), AddressSource::Lookup);
    }
    maps[0].tell(at(0), &mut budget, &key, &to(2), AddressSource::Application);
    let id = maps[1].join(at(1), &key);
    maps[1].on_opened(at(1), &mut budget, id, &to(1));
    let [first, second] = maps.map(|map| map.info(&key).unwrap());
    for merged in [first.clone().merge(second.clone()), second.merge(first)] {
        assert_eq!((merged.connections, merged.addresses.len()), (1, 2));
        let of = |n| *merged.addresses.iter().find(|info| info.remote == to(n).remote).unwrap();
        let sources = AddressSources { application: false, lookup: true, connection: true };
        assert_eq!((of(1).status, of(1).sources), (AddressStatus::Open, sources));
        assert_eq!(of(2).status, AddressStatus::Unknown);
    }
}

use core::net::SocketAddr;
use std::vec::Vec;

use super::*;
use crate::id::{ConnectionId, PacketNumber};
use crate::path::Own;
use crate::path::addr::{LocalAddr, Tuple};
use crate::path::mtu::Mtu;
use crate::path::validate::Validation;

const PERIOD: Duration = Duration::from_secs(3);
const CODE: ErrorCode = ErrorCode(0);

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn remote() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 9))
}

fn handshake() -> Paths {
    let id = ConnectionId::from_bytes([1; 8]);
    Paths::new(Path::new(Instant::ZERO, LocalAddr::default(), remote().into(), id, 1200, 1))
}

fn open(paths: &mut Paths, life: Life) -> PathSlot {
    let ends = Tuple { local: LocalAddr::default(), remote: remote().into() };
    let own = Own { local_id: ConnectionId::from_bytes([0; 8]), mtu: Mtu::fixed(1200), ecn: false, seed: 1 };
    paths.insert(Path::open(Instant::ZERO, life, ends, Validation::start_own(Instant::ZERO, [0; 8]), own))
}

fn open_next(paths: &mut Paths, role: Role) -> PathSlot {
    let life = paths.next_vacant(role, Instant::ZERO).expect("an id is free");
    open(paths, life)
}

/// Both sides have said that a closed path is over, long ago.
fn settle(paths: &mut Paths, id: PathId) {
    let retired = paths.retired_mut(id).expect("it is closed");
    let generation = retired.life().generation;
    retired.on_abandon(at(0), generation, false, PERIOD);
    retired.on_acked(at(0), generation, PERIOD);
}

#[test]
fn paths_are_found_by_id() {
    let mut paths = handshake();
    assert!(paths.is_single());
    assert_eq!((paths.find(PathId(0)), paths.find(PathId(2))), (Some(FIRST), None));
    let two = open_next(&mut paths, Role::Initiator);
    let one = open_next(&mut paths, Role::Responder);
    assert_eq!((paths.find(PathId(2)), paths.find(PathId(1))), (Some(two), Some(one)));
    assert_eq!((paths[two].id, paths[one].id, paths[FIRST].id), (PathId(2), PathId(1), PathId(0)));
    assert_eq!((paths.open().len(), paths.usable().len()), (3, 1));
}

#[test]
fn the_places_of_paths_are_stable() {
    let mut paths = handshake();
    let places: Vec<_> = (0..5).map(|_| open_next(&mut paths, Role::Initiator)).collect();
    for odd in [1, 3] {
        let id = paths[places[odd]].id;
        paths.close(places[odd], at(0), CODE, false, PERIOD);
        assert_eq!(paths.find(id), Some(places[odd]), "it is still read from");
        paths.forget(places[odd]);
        assert_eq!(paths.find(id), None);
    }
    for (index, place) in places.iter().enumerate().filter(|(index, _)| index % 2 == 0) {
        assert_eq!(paths[*place].id, PathId(2 + 2 * index as u8));
    }
    assert_eq!(open_next(&mut paths, Role::Responder), places[1], "vacant places are used again");
}

#[test]
fn path_ids_are_each_sides_own() {
    let mut paths = handshake();
    for role in [Role::Initiator, Role::Responder] {
        let places: Vec<_> = (0..3).map(|_| open_next(&mut paths, role)).collect();
        let ids: Vec<_> = places.iter().map(|at| paths[*at].id.get()).collect();
        assert_eq!(ids, if role == Role::Initiator { [2, 4, 6] } else { [1, 3, 5] });
    }
}

#[test]
fn a_retired_path_id_keeps_its_numbers() {
    let mut paths = handshake();
    let two = open_next(&mut paths, Role::Initiator);
    let four = open_next(&mut paths, Role::Initiator);
    paths.on_usable(four);
    (0..9).for_each(|_| paths[two].sent.skip(at(0)));
    paths[two].received.on_applied(at(0), PacketNumber(5), false, None, PERIOD);
    paths.close(two, at(0), CODE, false, PERIOD);
    paths[two].received.on_applied(at(0), PacketNumber(7), false, None, PERIOD);
    settle(&mut paths, PathId(2));
    assert_eq!(paths.vacant(PathId(2), at(9)), None, "it is still read from");
    paths.forget(two);
    let life = paths.vacant(PathId(2), at(9)).expect("it is free");
    let expected = Life { id: PathId(2), generation: 1, next: PacketNumber(10), highest: PacketNumber(7) };
    assert_eq!(life, expected);
    let again = open(&mut paths, life);
    assert_eq!((paths[again].sent.next(), paths[again].received.highest()), (life.next, life.highest));
    assert!(paths[again].received.is_duplicate(PacketNumber(6)), "nothing old is read again");
    assert!(paths.retired(PathId(2)).is_none());
}

#[test]
fn the_first_path_can_go_and_its_place_is_taken() {
    let mut paths = handshake();
    let two = open_next(&mut paths, Role::Initiator);
    paths.on_usable(two);
    paths.close(FIRST, at(0), CODE, false, PERIOD);
    paths.carry(SlotSet::of(two), two);
    settle(&mut paths, PathId(0));
    paths.forget(FIRST);
    assert_eq!((paths.find(PathId(0)), paths.selected(), paths.carries(FIRST)), (None, two, false));
    let four = open(&mut paths, Life::first(PathId(4)));
    assert_eq!((four, paths[FIRST].id), (FIRST, PathId(4)));
    paths.check();
}

#[test]
fn closed_paths_are_bounded() {
    let mut paths = handshake();
    for id in 0..60 {
        let place = open(&mut paths, Life::first(PathId(1 + id)));
        paths.close(place, at(id.into()), CODE, true, PERIOD);
        assert!(paths.closed().len() <= usize::from(MAX_PATHS));
    }
    assert!(paths.find(PathId(60)).is_some(), "the newest is still read from");
    assert_eq!(paths.find(PathId(1)), None);
}

#[test]
fn paths_without_data_take_turns() {
    let mut paths = handshake();
    let places: Vec<_> = (0..3).map(|_| open_next(&mut paths, Role::Initiator)).collect();
    let all = || {
        let mut set = SlotSet::default();
        places.iter().for_each(|place| set.insert(*place));
        set
    };
    let turns: Vec<_> = (0..4).map(|_| paths.take_turn(&mut all()).unwrap()).collect();
    assert_eq!(turns, [places[0], places[1], places[2], places[0]]);
    let mut one = SlotSet::of(places[0]);
    assert_eq!((paths.take_turn(&mut one), paths.take_turn(&mut one)), (Some(places[0]), None));
}

#[test]
fn a_set_of_places_holds_what_is_put_into_it() {
    let mut set = SlotSet::default();
    assert!(set.is_empty() && set.pop().is_none());
    for place in [0, 7, 31] {
        set.insert(PathSlot(place));
    }
    assert_eq!(set.iter().map(|at| at.0).collect::<Vec<_>>(), [0, 7, 31]);
    assert_eq!(set.after(PathSlot(31)), Some(FIRST), "round");
    assert_eq!(set.after(FIRST), Some(PathSlot(7)));
    set.remove(PathSlot(7));
    assert_eq!((set.len(), set.contains(PathSlot(7)), set.pop()), (2, false, Some(FIRST)));
}

//! Datagrams of strangers, in every state that a connection can be in.

use core::iter::{once, repeat_n};

use dunlin_core::{
    Config, ConnectionState, Disposition, DropReason, Duration, Endpoint, Event, RetryPolicy, TrainLimit,
    peek_connection_id,
};
use dunlin_fuzzing::session::{Action, Dial, Duo, Flight, Verb, opening, roomy};
use dunlin_sim::{Pair, work_between};

use crate::common::{INIT, INIT_KNOWN, hand_in, kind, quick, record};
use crate::puppet::{Init, hello, offer};

/// The side that is struck.
const VICTIM: usize = 1;

/// What the victim has got to, and the connection id that it is written to there.
struct Case {
    name: &'static str,
    duo: Duo,
    id: [u8; 8],
}

/// The id that the victim's peer writes to, if something on the wire shows it.
fn id_of(duo: &Duo) -> Option<[u8; 8]> {
    let flight = duo.wire.iter().rev().find(|flight| flight.to == VICTIM)?;
    Some(*peek_connection_id(&flight.bytes)?.as_bytes())
}

/// Lets all that is on its way arrive.
fn deliver_all(duo: &mut Duo) {
    for flight in core::mem::take(&mut duo.wire) {
        duo.deliver(flight);
    }
}

/// Both wires, and whether addresses are asked for.
fn settings(retry: RetryPolicy) -> Config {
    let mut settings = roomy();
    settings.retry = retry;
    settings
}

fn dialled(side: usize, dial: Dial, retry: RetryPolicy) -> Duo {
    let mut duo = Duo::new(settings(retry), settings(retry));
    Action::Connect(side, dial).apply(&mut duo);
    duo.drain(side, TrainLimit::SINGLE);
    duo
}

/// A connection that stands, of which the peer has just said something.
fn standing(dial: Dial, retry: RetryPolicy) -> Case {
    let mut duo = Duo::new(settings(retry), settings(retry));
    let [connect, run, open, _] = opening(dial);
    [connect, run].into_iter().for_each(|action| action.apply(&mut duo));
    // Whoever it is: only whom it trusts may be written to.
    let write = Action::On(0, 0, Verb::Write(100, 10));
    [Action::On(0, 0, Verb::Trust), open, write].into_iter().for_each(|action| action.apply(&mut duo));
    duo.drain(0, TrainLimit::SINGLE);
    let id = id_of(&duo).expect("something goes to the victim");
    Case { name: "established", duo, id }
}

/// Every state that the victim can be in, on one of the two wires.
fn cases(dial: Dial, retry: RetryPolicy) -> Vec<Case> {
    let mut all = Vec::new();

    let mut dialling = dialled(VICTIM, dial, retry);
    let id = *peek_connection_id(&dialling.wire[0].bytes).expect("it has an id").as_bytes();
    dialling.wire.clear();
    all.push(Case { name: "dialling", duo: dialling, id });

    let mut waiting = dialled(0, dial, retry);
    let init = id_of(&waiting).expect("an Init");
    waiting.sides[VICTIM].accepts = false;
    deliver_all(&mut waiting);
    all.push(Case { name: "undecided", duo: waiting, id: init });

    let mut confirming = dialled(0, dial, retry);
    deliver_all(&mut confirming);
    confirming.events(VICTIM);
    confirming.drain(VICTIM, TrainLimit::SINGLE);
    deliver_all(&mut confirming);
    confirming.drain(0, TrainLimit::SINGLE);
    // In QOTP the id stays that of the first packet.
    let id = id_of(&confirming).unwrap_or(init);
    all.push(Case { name: "confirming", duo: confirming, id });

    for (name, verb) in [("closing", Verb::Close), ("forgotten", Verb::Forget)] {
        let mut ended = standing(dial, retry);
        ended.name = name;
        Action::On(VICTIM, 0, verb).apply(&mut ended.duo);
        ended.duo.drain(VICTIM, TrainLimit::SINGLE);
        all.push(ended);
    }

    let mut draining = standing(dial, retry);
    draining.name = "draining";
    Action::On(0, 0, Verb::Close).apply(&mut draining.duo);
    draining.duo.drain(0, TrainLimit::SINGLE);
    deliver_all(&mut draining.duo);
    all.push(draining);

    all.push(standing(dial, retry));
    all
}

fn state(
    endpoint: &mut Endpoint,
    duo_handle: Option<dunlin_core::ConnectionHandle>,
) -> Option<ConnectionState> {
    endpoint.connection(duo_handle?).map(|connection| connection.state())
}

/// Bytes behind a header: nothing, a pattern, or what small numbers make of them.
fn datagrams(id: [u8; 8]) -> impl Iterator<Item = Vec<u8>> {
    let lengths = (0..64_usize).chain([1_199, 1_200, 1_201, 65_000]);
    lengths.flat_map(move |len| {
        (0..8_u8).flat_map(move |ty| {
            [0, 16, 17, 31].into_iter().flat_map(move |version| {
                [0_u8, 1, 0xa5].into_iter().map(move |fill| {
                    let whole = once(ty << 5 | version).chain(id).chain(repeat_n(fill, len));
                    whole.take(len).collect()
                })
            })
        })
    })
}

fn any_bytes_in_any_state(retry: RetryPolicy) {
    let (mut tried, mut taken) = (0, 0);
    for dial in [Dial::Known, Dial::Unknown, Dial::QotpKey, Dial::Qotp] {
        for Case { name, mut duo, id } in cases(dial, retry) {
            duo.wire.clear();
            let handle = duo.sides[VICTIM].handles.first().copied();
            let from = duo.sides[0].addr;
            for bytes in datagrams(id) {
                let before = duo.sides[VICTIM].endpoint.stats();
                let was = state(&mut duo.sides[VICTIM].endpoint, handle);
                let (len, first) = (bytes.len(), bytes.first().copied());
                let disposition = duo.deliver(Flight { to: VICTIM, socket: 0, from, bytes });
                let after = duo.sides[VICTIM].endpoint.stats();
                let work = work_between(&before, &after);
                // An Init is one, whoever made it up; QOTP's has no key to open with.
                let bound = if len >= 1_200 { 1_000 } else { 8 + len as u64 / 2 };
                assert!(work <= bound, "{name}: {first:?}, {len} bytes: work of {work}");
                assert_eq!(
                    state(&mut duo.sides[VICTIM].endpoint, handle),
                    was,
                    "{name}: {first:?}, {len} bytes"
                );
                tried += 1;
                taken += u32::from(disposition == Disposition::Accepted);
            }
            duo.events(VICTIM);
            duo.end();
        }
    }
    assert!(tried > 100_000 && taken < 500, "{taken} of {tried} taken");
}

#[test]
fn ac_01_any_bytes_in_any_state_change_nothing_and_cost_little() {
    any_bytes_in_any_state(RetryPolicy::UnderLoad);
}

#[test]
fn ac_07_any_bytes_in_any_state_are_as_harmless_where_no_address_is_asked_for() {
    any_bytes_in_any_state(RetryPolicy::Never);
}

/// Every order of all subsets of a dialler's first datagrams, each of them perhaps twice.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..=count {
        let longer: Vec<_> = all
            .iter()
            .flat_map(|order: &Vec<usize>| {
                (0..count).filter(|next| order.iter().filter(|seen| *seen == next).count() < 2).map(|next| {
                    let mut order = order.clone();
                    order.push(next);
                    order
                })
            })
            .collect();
        all.extend(longer);
        all.sort();
        all.dedup();
    }
    all
}

/// What a dialler says at first, to an answerer that is made anew each time and so always answers alike.
fn first_datagrams_in_any_order(retry: RetryPolicy) {
    for dial in [Dial::Known, Dial::Unknown, Dial::QotpKey, Dial::Qotp] {
        let begin = || dialled(0, dial, retry);
        let mut honest = begin();
        let mut said: Vec<Flight> = honest.wire.clone();
        deliver_all(&mut honest);
        honest.events(VICTIM);
        honest.drain(VICTIM, TrainLimit::SINGLE);
        deliver_all(&mut honest);
        Action::On(0, 0, Verb::SendDatagram(30)).apply(&mut honest);
        honest.drain(0, TrainLimit::SINGLE);
        said.extend(honest.wire.iter().filter(|flight| flight.to == VICTIM).cloned());
        said.truncate(3);
        for order in orders(said.len()) {
            let mut duo = begin();
            duo.wire.clear();
            let mut connected = 0;
            for &next in &order {
                duo.deliver(said[next].clone());
                let events = duo.events(VICTIM);
                connected += events.iter().filter(|(_, event)| *event == Event::Connected).count();
                duo.settle(VICTIM, TrainLimit::SINGLE);
            }
            let events = duo.events(VICTIM);
            connected += events.iter().filter(|(_, event)| *event == Event::Connected).count();
            assert!(connected <= 1, "{order:?}: connected {connected} times");
            let there = duo.sides[VICTIM].endpoint.stats().connections;
            assert_eq!(there, u64::from(order.contains(&0)), "{dial:?} {order:?}");
            duo.wire.clear();
            duo.end();
        }
    }
}

#[test]
fn ac_02_first_datagrams_in_any_order_make_one_connection_at_most() {
    first_datagrams_in_any_order(RetryPolicy::UnderLoad);
}

#[test]
fn ac_07_first_datagrams_in_any_order_make_one_connection_where_no_address_is_asked_for() {
    first_datagrams_in_any_order(RetryPolicy::Never);
}

/// The routing id of an Init is its sender's choice: that it is in use already means nothing.
#[test]
fn ac_02_two_first_datagrams_with_one_id_are_two_attempts() {
    for known in [true, false] {
        let mut pair = Pair::new(1, quick());
        let seen = record(&mut pair.world);
        let key = pair.server_key();
        let mut inits: Vec<Init> =
            (0..2).map(|_| Init::new(known.then_some(&key), &hello(&offer()), b"", 1_200)).collect();
        let (node, to, from) = (pair.server, pair.server_addr, pair.client_addr);
        for init in &inits {
            assert_eq!(hand_in(&mut pair.world, node, to, from, &init.datagram), Disposition::Accepted);
        }
        pair.world.run_for(Duration::from_millis(100));
        let replies: Vec<_> = seen.borrow().iter().map(|seen| seen.bytes.clone()).collect();
        assert_eq!(replies.len(), 2);
        for reply in &replies {
            let opened = inits.iter_mut().filter_map(|init| init.open(reply)).count();
            assert_eq!(opened, 1, "a reply is for one of them");
        }
        assert_eq!(pair.server().endpoint.stats().connections, 2);
        pair.finish_among_strangers();
    }
}

/// An Init that bears the id of a connection that stands, from either of its ends.
#[test]
fn ac_42_the_id_of_a_connection_gets_a_stranger_nothing() {
    let mut pair = Pair::new(1, quick());
    let seen = record(&mut pair.world);
    let (client, server) = pair.connect();
    pair.world.run_for(Duration::from_secs(2));
    let ids: Vec<_> = seen
        .borrow()
        .iter()
        .filter(|seen| kind(&seen.bytes) == 4)
        .map(|seen| seen.bytes[1..9].to_vec())
        .collect();
    let before = pair.on_server(server, |connection| (connection.state(), connection.path().remote));
    let (node, to) = (pair.server, pair.server_addr);
    let elsewhere = core::net::SocketAddr::from(([192, 0, 2, 1], 4_000));
    seen.borrow_mut().clear();
    for id in &ids {
        for ty in [INIT, INIT_KNOWN] {
            let mut init = vec![7; 1_200];
            init[0] = ty << 5 | 16;
            init[1..9].copy_from_slice(id);
            hand_in(&mut pair.world, node, to, elsewhere, &init);
        }
    }
    pair.world.run_for(Duration::from_secs(1));
    assert!(seen.borrow().iter().all(|seen| seen.to != elsewhere), "nobody answers to it");
    let after = pair.on_server(server, |connection| (connection.state(), connection.path().remote));
    assert_eq!(before, after);
    assert_eq!(pair.server().dropped(DropReason::Unauthentic), 0);
    pair.on_client(client, |connection| connection.open_bi().map(drop)).expect("it goes on");
    pair.finish_among_strangers();
}

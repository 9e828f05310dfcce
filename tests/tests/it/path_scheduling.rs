//! Several paths in use: what goes where, and what a path does while it carries no data.

use core::net::SocketAddr;

use dunlin_core::{CloseReason, ErrorCode, Instant, PathClosed, PathEvent, PathId, PathState};
use dunlin_sim::{End, Receiver, Sender, Topology, Toward, config};

use crate::common::{Seen, line, ms, record};
use crate::duo::{BOTH, Duo, Side, fan, parallel};

/// An upload over lines of 100 Mbit/s, two paths, data on the second one.
fn upload(bytes: u64) -> (Duo, PathId, std::rc::Rc<core::cell::RefCell<dunlin_sim::Received>>) {
    let (receiver, received) = Receiver::new();
    let lines = Topology::fan(&[line(), line()]);
    let mut duo = Duo::with(1, &lines, config(), config(), Sender::new(1, bytes), receiver);
    let other = duo.open(Side::Client, 1, 0);
    duo.on(Side::Client, |connection| connection.select_path(other)).unwrap();
    duo.run(ms(500));
    (duo, other, received)
}

#[test]
fn path_acknowledgements_stay_on_their_path() {
    let (mut duo, _, received) = upload(1 << 30);
    let carried =
        |duo: &mut Duo, interface| Toward::BOTH.map(|toward| duo.web.carried(interface, 0, toward).packets);
    let (before, total) = ([0, 1].map(|interface| carried(&mut duo, interface)), received.borrow().total());
    duo.run(ms(5000));
    assert!(received.borrow().total() - total > 40_000_000);
    let after = [0, 1].map(|interface| carried(&mut duo, interface));
    let [[quiet_up, quiet_down], [busy_up, busy_down]] =
        core::array::from_fn(|i| core::array::from_fn::<_, 2, _>(|way| after[i][way] - before[i][way]));
    assert!(busy_up > 20_000 && busy_down > 1000, "{busy_up} and {busy_down}");
    // Once a second a PING and its acknowledgement; and credit, which goes where the answerer would send data.
    assert!(quiet_up < busy_up / 100 && quiet_down < busy_down / 20, "{quiet_up} and {quiet_down}");
}

#[test]
fn path_round_trips_are_measured_without_data() {
    let (mut duo, ..) = upload(1 << 30);
    for (path, delay) in [(0, 70), (0, 30)] {
        for toward in Toward::BOTH {
            duo.web.link(path, 0, toward).configure(|link| link.delay = ms(delay));
        }
        duo.run(ms(3000));
        let rtt = duo.path(Side::Client, PathId::ZERO).unwrap().rtt.latest();
        assert!(rtt >= ms(2 * delay) && rtt <= ms(2 * delay + 30), "{rtt:?}");
    }
}

#[test]
fn path_close_is_told_on_every_path() {
    for cut in [0, 1] {
        let mut duo = Duo::new(1, &fan(2));
        duo.open(Side::Client, 1, 0);
        duo.web.down(End::Client(cut));
        duo.on(Side::Client, |connection| connection.close(ErrorCode::from(7), b""));
        duo.run(ms(21));
        let reason = Some(CloseReason::Peer { code: ErrorCode::from(7), reason: Vec::new().into() });
        assert_eq!(duo.end(Side::Server), reason);
        duo.finish();
    }
}

/// When packets passed between two addresses, and whether the dialler had sent them, a round trip and more apart.
fn exchanges(seen: &[Seen], client: SocketAddr) -> Vec<(Instant, bool)> {
    let mut begun: Vec<(Instant, bool)> = Vec::new();
    for seen in seen.iter().filter(|seen| seen.from == client || seen.to == client) {
        if begun.last().is_none_or(|(at, _)| seen.at - *at > ms(500)) {
            begun.push((seen.at, seen.from == client));
        }
    }
    begun
}

#[test]
fn path_heartbeats_are_sent_by_the_opener() {
    let mut duo = Duo::new(1, &parallel(3));
    duo.open(Side::Client, 1, 1);
    duo.open(Side::Server, 2, 2);
    duo.run(ms(1000));
    let seen = record(&mut duo.web.pair.world);
    duo.run(ms(61_000));
    for (interface, by_client) in [(0, true), (1, true), (2, false)] {
        let begun = exchanges(&seen.borrow(), duo.web.address(End::Client(interface)));
        assert!((11..=13).contains(&begun.len()), "every 5 s: {begun:?}");
        assert!(begun.iter().all(|(_, client)| *client == by_client), "{interface}: {begun:?}");
    }
    duo.finish();
}

#[test]
fn path_that_is_alone_has_no_heartbeat() {
    let mut duo = Duo::new(1, &fan(2));
    duo.run(ms(2000));
    let seen = record(&mut duo.web.pair.world);
    duo.run(ms(60_000));
    assert_eq!(seen.borrow().len(), 0);
    let other = duo.open(Side::Client, 1, 0);
    duo.on(Side::Client, |connection| connection.close_path(other)).unwrap();
    duo.run(ms(8000));
    let before = seen.borrow().len();
    duo.run(ms(60_000));
    assert_eq!(seen.borrow().len(), before, "alone again");
    duo.finish();
}

fn closed(event: &PathEvent) -> Option<(PathId, PathClosed)> {
    if let PathEvent::Closed { id, reason, .. } = event { Some((*id, *reason)) } else { None }
}

#[test]
fn path_that_falls_silent_is_abandoned_but_for_the_last_one() {
    for silent in [0, 1] {
        let mut duo = Duo::new(1, &fan(2));
        let other = duo.open(Side::Client, 1, 0);
        duo.web.down(End::Client(silent));
        duo.run(ms(12_000));
        assert!(BOTH.iter().all(|side| duo.paths(*side).len() == 2));
        duo.run(ms(12_000));
        let [gone, left] = if silent == 0 { [PathId::ZERO, other] } else { [other, PathId::ZERO] };
        for side in BOTH {
            assert_eq!(duo.paths(side).iter().map(|path| path.id).collect::<Vec<_>>(), [left]);
            assert_eq!(duo.selected(side), left);
            let events: Vec<_> = duo.events(side).iter().filter_map(closed).collect();
            assert!(matches!(events[..], [(id, PathClosed::Idle | PathClosed::Peer(_))] if id == gone));
        }
        duo.web.down(End::Client(1 - silent));
        duo.run(ms(60_000));
        assert!(BOTH.iter().all(|side| duo.paths(*side).len() == 1), "the last one stays");
        duo.finish();
    }
}

#[test]
fn path_recovers_after_a_silent_gap() {
    let mut duo = Duo::new(1, &fan(2));
    let other = duo.open(Side::Client, 1, 0);
    for _ in 0..5 {
        duo.web.down(End::Client(1));
        // The answerer hears a heartbeat every 5 s, and waits for 15 s.
        duo.run(ms(9_000));
        duo.web.up(End::Client(1));
        duo.run(ms(8000));
    }
    for side in BOTH {
        assert_eq!(duo.path(side, other).map(|path| path.state), Some(PathState::Open));
        assert_eq!(duo.events(side).iter().filter_map(closed).count(), 0);
    }
    duo.finish();
}

#[test]
fn path_that_is_not_proved_carries_nothing_but_questions() {
    let (receiver, _) = Receiver::new();
    let mut duo = Duo::with(
        1,
        &Topology::fan(&[line(), line()]),
        config(),
        config(),
        Sender::new(1, 1 << 30),
        receiver,
    );
    duo.web.cut(1, 0, Toward::Client);
    let seen = record(&mut duo.web.pair.world);
    duo.try_open(Side::Client, 1, 0).unwrap();
    duo.run(ms(10_000));
    let from = duo.web.address(End::Client(1));
    let sizes: Vec<_> =
        (seen.borrow().iter().filter(|seen| seen.from == from)).map(|seen| seen.bytes.len()).collect();
    assert_eq!(sizes, [1200; 5]);
}

#[test]
fn path_in_use_decides_on_the_largest_datagram() {
    let (mut duo, other, _) = upload(1 << 30);
    duo.run(ms(2000));
    let large = duo.on(Side::Client, |connection| connection.max_datagram()).unwrap();
    assert!(large > 1400, "{large}");
    duo.on(Side::Client, |connection| connection.close_path(PathId::ZERO)).unwrap();
    duo.run(ms(5000));
    let again = duo.open(Side::Client, 0, 0);
    duo.on(Side::Client, |connection| {
        assert_eq!(connection.max_datagram(), Some(large), "the other one does not count");
        connection.select_path(again).unwrap();
        assert!(connection.max_datagram().unwrap() < 1200);
        connection.select_path(other).unwrap();
        assert_eq!(connection.max_datagram(), Some(large));
    });
}

#[test]
fn path_change_is_told_and_loses_nothing() {
    let (mut duo, other, received) = upload(60_000_000);
    duo.events(Side::Client);
    for round in 0..8 {
        let to = if round % 2 == 0 { PathId::ZERO } else { other };
        duo.on(Side::Client, |connection| connection.select_path(to)).unwrap();
        duo.run(ms(200));
        let events = duo.events(Side::Client);
        assert!(matches!(events[..], [PathEvent::Selected { id, .. }] if id == to), "{events:?}");
    }
    assert!(duo.web.pair.run_until(ms(30_000), |_| received.borrow().finished == 1));
    assert_eq!(received.borrow().total(), 60_000_000);
    let (sent, again) = duo.on(Side::Client, |connection| {
        (connection.stats().bytes_sent, connection.stats().bytes_retransmitted)
    });
    assert!(again < sent / 100, "{again} of {sent} bytes went again");
    duo.finish();
}

#[test]
fn path_of_each_side_is_its_own_choice() {
    let (mut duo, other, received) = upload(1 << 30);
    assert_eq!((duo.selected(Side::Client), duo.selected(Side::Server)), (other, PathId::ZERO));
    let total = received.borrow().total();
    duo.run(ms(1000));
    assert!(received.borrow().total() - total > 8_000_000);
}

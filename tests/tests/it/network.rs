//! Reports that the network has changed: what was lost in the dark goes again at once, and nothing else happens.

use core::cell::RefCell;
use std::rc::Rc;

use dunlin_core::{
    CloseReason, ConnectionHandle, ConnectionStats, Direction, Duration, Event, Instant, NetworkChange, Peer,
    TrainLimit,
};
use dunlin_sim::{AcceptAll, LinkConfig, Pair, QueueLimit, Rate, Received, Receiver, Sender, config, seeds};

use crate::common::{drop_if, drop_while, line, ms, patterned, quick, record, trusting};

/// What data may take to flow again beside two round trips.
const SOON: Duration = ms(250);

/// Who is told.
#[derive(Clone, Copy, Debug)]
enum Reporter {
    Dialler,
    Answerer,
    Both,
}

const REPORTERS: [Reporter; 3] = [Reporter::Dialler, Reporter::Answerer, Reporter::Both];

fn report(pair: &mut Pair, reporter: Reporter) {
    let now = pair.now();
    let nodes = match reporter {
        Reporter::Dialler => &[pair.client][..],
        Reporter::Answerer => &[pair.server],
        Reporter::Both => &[pair.client, pair.server],
    };
    for node in nodes {
        pair.world.node_mut(*node).endpoint.network_changed(now, NetworkChange::Unspecified);
    }
}

/// Endless data from the dialler, on either wire.
fn upload(seed: u64, qotp: bool) -> (Pair, ConnectionHandle, Rc<RefCell<Received>>) {
    let (receiver, seen) = Receiver::new();
    let settings = config().accept_qotp(qotp);
    let sender = Sender::new(1, 1 << 30);
    let sender = if qotp { sender.bidirectional() } else { sender };
    let link = LinkConfig { rate: Some(Rate::mbit(20)), queue: QueueLimit::Bytes(100_000), ..line() };
    let mut pair = Pair::with(seed, link, settings.clone(), settings, sender, receiver);
    let client = if qotp { pair.dial_qotp(true) } else { pair.dial() };
    pair.world.run_for(ms(700 + seed % 100));
    (pair, client, seen)
}

/// Bytes that arrive in `span`.
fn moved(pair: &mut Pair, seen: &Rc<RefCell<Received>>, span: Duration) -> u64 {
    let before = seen.borrow().total();
    pair.world.run_for(span);
    seen.borrow().total() - before
}

/// Runs until more arrives, and says how long that took.
fn resumes(pair: &mut Pair, seen: &Rc<RefCell<Received>>) -> Duration {
    let (start, before) = (pair.now(), seen.borrow().total());
    assert!(pair.run_until(Duration::from_secs(30), |_| seen.borrow().total() > before), "it never goes on");
    pair.now() - start
}

fn client_stats(pair: &mut Pair, client: ConnectionHandle) -> ConnectionStats {
    pair.on_client(client, |connection| connection.stats())
}

/// Datagrams that both sides have sent.
fn sent(pair: &Pair) -> [u64; 2] {
    [pair.client(), pair.server()].map(|host| host.endpoint.stats().datagrams_sent)
}

#[test]
fn data_flows_again_soon_after_an_outage_whoever_reports_its_end() {
    for seed in seeds(3) {
        for reporter in REPORTERS {
            for dark in [500, 1000, 5000, 20_000, 60_000] {
                let (mut pair, _, seen) = upload(seed, false);
                let down = drop_while(&mut pair.world, |_| true);
                pair.world.run_for(ms(dark + seed % 1000));
                down.set(false);
                report(&mut pair, reporter);
                let wait = resumes(&mut pair, &seen);
                assert!(wait <= 2 * ms(20) + SOON, "{reporter:?}: {wait:?} after {dark} ms in the dark");
                let bytes = moved(&mut pair, &seen, Duration::from_secs(1));
                assert!(bytes > 1_000_000, "{reporter:?}: {bytes} in a second after {dark} ms in the dark");
                pair.finish();
            }
        }
    }
}

#[test]
fn on_qotps_wire_too() {
    for seed in seeds(3) {
        for reporter in REPORTERS {
            for dark in [500, 1000, 5000] {
                let (mut pair, _, seen) = upload(seed, true);
                let down = drop_while(&mut pair.world, |_| true);
                pair.world.run_for(ms(dark));
                down.set(false);
                report(&mut pair, reporter);
                let wait = resumes(&mut pair, &seen);
                assert!(wait <= 2 * ms(20) + SOON, "{reporter:?}: {wait:?} after {dark} ms in the dark");
                let bytes = moved(&mut pair, &seen, Duration::from_secs(1));
                assert!(bytes > 500_000, "{reporter:?}: {bytes} in a second after {dark} ms in the dark");
                pair.finish();
            }
        }
    }
}

/// Six sendings without an answer end a QOTP connection. Those that went into a network that is known to have been gone do
/// not count.
#[test]
fn a_qotp_connection_survives_a_longer_outage_if_reports_come_in_between() {
    let dark = |reports: bool| {
        let (mut pair, client, seen) = upload(1, true);
        let down = drop_while(&mut pair.world, |_| true);
        for _ in 0..5 {
            pair.world.run_for(Duration::from_secs(5));
            if reports {
                report(&mut pair, Reporter::Dialler);
            }
        }
        down.set(false);
        if reports {
            resumes(&mut pair, &seen);
        }
        let closed = pair.client().closed(client).map(|(_, reason)| reason.clone());
        pair.finish();
        closed
    };
    assert_eq!(dark(false), Some(CloseReason::RetriesExhausted));
    assert_eq!(dark(true), None);
}

/// A request in the dark, and an answer in the dark. Who has lost it sends it again at once; who waits for it asks.
#[test]
fn a_lonely_message_is_sent_again_at_once() {
    for (answers, reporter, trips) in
        [(false, Reporter::Dialler, 1), (true, Reporter::Answerer, 1), (true, Reporter::Dialler, 2)]
    {
        let mut pair = Pair::new(1, quick());
        let (client, server) = pair.connect();
        let id = pair.on_client(client, |connection| {
            let id = connection.open_bi().unwrap();
            connection.write(id, b"question").unwrap();
            id
        });
        pair.world.run_for(Duration::from_secs(3));
        let down = drop_while(&mut pair.world, |_| true);
        let text = patterned(id, 100);
        if answers {
            pair.on_server(server, |connection| connection.write(id, &text)).unwrap();
        } else {
            pair.on_client(client, |connection| connection.write(id, &text)).unwrap();
        }
        pair.world.run_for(Duration::from_secs(31));
        down.set(false);
        report(&mut pair, reporter);
        let (node, handle) = if answers { (pair.client, client) } else { (pair.server, server) };
        let arrived = pair.run_until(ms(20 * trips), |world| {
            let mut connection = world.node_mut(node).endpoint.connection(handle).unwrap();
            connection.read(id, &mut [0; 200]).is_ok_and(|len| len >= 100)
        });
        assert!(arrived, "answers: {answers}, {reporter:?} reports");
        pair.finish();
    }
}

#[test]
fn a_dial_does_not_wait_for_its_next_copy() {
    for kind in 0..4 {
        let settings = config().accept_qotp(true);
        let mut pair = Pair::with(1, quick(), settings.clone(), settings, trusting, AcceptAll);
        let down = drop_while(&mut pair.world, |_| true);
        let client = match kind {
            0 => pair.dial(),
            1 => pair.dial_as(Peer::Unknown),
            qotp => pair.dial_qotp(qotp == 3),
        };
        // Copies go after 3.75 and 4.75 s, or after 3 and 6.2 s.
        pair.world.run_for(ms(4000));
        down.set(false);
        report(&mut pair, Reporter::Dialler);
        let node = pair.client;
        assert!(pair.run_until(ms(45), |world| world.node(node).has(client, &Event::Connected)), "{kind}");
        pair.finish();
    }
}

/// The initiator is connected, but the packet that tells the responder so is lost.
#[test]
fn an_unconfirmed_handshake_is_confirmed_at_once() {
    let mut pair = Pair::with(1, quick(), config(), config(), trusting, AcceptAll);
    let client = pair.dial();
    let node = pair.client;
    assert!(pair.run_until(ms(100), |world| world.node(node).has(client, &Event::Connected)));
    let down = drop_while(&mut pair.world, |_| true);
    pair.world.run_for(ms(4100));
    down.set(false);
    report(&mut pair, Reporter::Dialler);
    assert!(pair.server_connection(ms(25)).is_some());
    pair.finish();
}

#[test]
fn a_thousand_reports_in_a_second_are_no_flood() {
    let (mut pair, client, seen) = upload(1, false);
    let usual = moved(&mut pair, &seen, Duration::from_secs(1));
    let before = client_stats(&mut pair, client);
    let start = seen.borrow().total();
    for _ in 0..1000 {
        report(&mut pair, Reporter::Both);
        pair.world.run_for(ms(1));
    }
    let after = client_stats(&mut pair, client);
    let again = after.bytes_retransmitted - before.bytes_retransmitted;
    assert!(again <= 6 * 2 * 1452, "{again} bytes in flight were sent again");
    assert!(seen.borrow().total() - start > usual * 95 / 100, "the flow goes on");

    let packets = record(&mut pair.world);
    let down = drop_while(&mut pair.world, |_| true);
    pair.world.run_for(Duration::from_secs(10));
    packets.borrow_mut().clear();
    for _ in 0..1000 {
        report(&mut pair, Reporter::Dialler);
        pair.world.run_for(ms(1));
    }
    // Six rounds of two probes, and the first timeouts of the back-off that begins anew with each.
    let packets = packets.borrow().len();
    assert!((12..=40).contains(&packets), "{packets} packets into the dark");
    down.set(false);
    pair.finish();
}

#[test]
fn who_waits_for_nothing_sends_nothing() {
    let mut pair = Pair::new(1, quick());
    let handles: Vec<ConnectionHandle> = (0..200).map(|_| pair.dial()).collect();
    pair.world.run_for(Duration::from_secs(2));
    pair.on_client(handles[0], |connection| {
        let id = connection.open_uni().unwrap();
        connection.write(id, b"all there is").unwrap();
        connection.finish(id).unwrap();
    });
    pair.world.run_for(Duration::from_secs(2));
    let server = pair.server().events.iter().find(|(_, _, event)| matches!(event, Event::StreamOpened(_)));
    let server = server.expect("the stream was seen").1;
    pair.on_server(server, |connection| {
        let id = connection.accept(Direction::Unidirectional).unwrap();
        while connection.read(id, &mut [0; 100]).unwrap() > 0 {}
    });
    let before = sent(&pair);
    for _ in 0..3 {
        report(&mut pair, Reporter::Both);
        pair.world.run_for(ms(500));
    }
    assert_eq!(sent(&pair), before);
    pair.finish();
}

/// The peer may have lost something on its way to us, and hears from us.
#[test]
fn who_may_be_waiting_asks_once() {
    for stream in [true, false] {
        let mut pair = Pair::new(1, quick());
        let (client, _) = pair.connect();
        pair.on_client(client, |connection| {
            if stream {
                let id = connection.open_uni().unwrap();
                connection.write(id, b"more to come").unwrap();
            } else {
                connection.send_datagram(b"more to come").unwrap();
            }
        });
        pair.world.run_for(Duration::from_secs(2));
        let before = sent(&pair);
        report(&mut pair, Reporter::Answerer);
        pair.world.run_for(ms(900));
        let after = sent(&pair);
        assert_eq!(after[1] - before[1], 1, "a PING");
        assert_eq!(after[0] - before[0], 1, "and its acknowledgement");
        pair.finish();
    }
}

/// Probe timeouts of a dialler none of whose data arrives for `span`, while the other side sends something every `talks`.
fn timeouts_at_deaf_ears(span: Duration, talks: Duration) -> u64 {
    let (mut pair, client, _) = upload(1, false);
    let server = pair.server_connection(Duration::ZERO).unwrap();
    let from = pair.client_addr;
    // Acknowledgements are shorter.
    drop_if(&mut pair.world, move |passing| passing.from == from && passing.bytes.len() > 200);
    let before = client_stats(&mut pair, client).probe_timeouts;
    let end = pair.now() + span;
    while pair.now() < end {
        pair.world.run_for(talks.min(end - pair.now()));
        pair.on_server(server, |connection| connection.send_datagram(b"still here")).unwrap();
    }
    assert!(pair.client().closed(client).is_none());
    client_stats(&mut pair, client).probe_timeouts - before
}

/// That the peer is heard says little of the way there: the back-off holds, but for one more probe each time.
#[test]
fn a_path_that_works_in_one_direction_only_is_probed_at_most_twice_as_often() {
    let span = Duration::from_secs(30);
    let usual = timeouts_at_deaf_ears(span, span);
    // If more came before the next probe, a PING would go with an acknowledgement of it, and arrive.
    for talks in [150, 400, 700, 1900] {
        let timeouts = timeouts_at_deaf_ears(span, ms(talks));
        assert!(timeouts <= 2 * usual, "{timeouts} probe timeouts where {usual} are usual");
    }
}

/// A peer that was never missed has no news for the probe timer: it fires as if there were none.
#[test]
fn a_peer_that_talks_all_the_time_hurries_nobody() {
    for millis in (100..=400).step_by(20) {
        let [usual, hearing] = [ms(millis), ms(20)].map(|talks| timeouts_at_deaf_ears(ms(millis), talks));
        assert_eq!(hearing, usual, "probe timeouts in {millis} ms");
    }
}

/// Reports are no promise: the dark goes on, and what goes into it is backed off as ever.
#[test]
fn after_a_false_report_the_back_off_begins_anew() {
    let (mut pair, client, seen) = upload(1, false);
    let down = drop_while(&mut pair.world, |_| true);
    pair.world.run_for(Duration::from_secs(20));
    let before = client_stats(&mut pair, client);
    report(&mut pair, Reporter::Dialler);
    pair.world.run_for(Duration::from_secs(30));
    let timeouts = client_stats(&mut pair, client).probe_timeouts - before.probe_timeouts;
    assert!((15..=22).contains(&timeouts), "{timeouts} in 30 s");
    down.set(false);
    let wait = resumes(&mut pair, &seen);
    assert!(wait <= ms(2000) + ms(40), "{wait:?}");
    assert!(pair.now() - Instant::ZERO > Duration::from_secs(50));
    pair.finish();
}

#[test]
fn a_dialler_lets_the_system_choose_its_address_anew() {
    let mut pair = Pair::new(1, line());
    let (client, server) = pair.connect();
    for (node, handle, kept) in
        [(pair.client, client, None), (pair.server, server, Some(pair.server_addr.ip()))]
    {
        let now = pair.now();
        let endpoint = &mut pair.world.node_mut(node).endpoint;
        let mut connection = endpoint.connection(handle).unwrap();
        let stream = connection.open(Direction::Unidirectional).unwrap();
        connection.write(stream, b"where from?").unwrap();
        endpoint.network_changed(now, NetworkChange::Unspecified);
        let transmit = endpoint.poll_transmit(now, TrainLimit::OFFLOAD, &mut Vec::new()).unwrap();
        assert_eq!(transmit.local.ip, kept);
    }
}

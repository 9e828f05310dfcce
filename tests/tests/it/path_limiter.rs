//! What a sender is told that it waits for: each gate is booked while it is what holds.

use dunlin_core::{
    Arrival, Config, ConnectOptions, ConnectionHandle, Duration, Endpoint, Event, Gate, Instant,
    LimiterStats, Peer, TrainLimit, TransportAddr,
};
use dunlin_sim::{
    ALPN, AcceptAll, LinkConfig, Pair, QueueLimit, Rate, Receiver, Sender, Topology, config, endpoint,
};

use crate::common::{drop_while, line, ms, quick};
use crate::duo::{Duo, Side};

/// The share of the time between two looks that was booked on a gate, in percent.
fn share(before: &LimiterStats, after: &LimiterStats, gate: Gate) -> f64 {
    let span = after.total() - before.total();
    assert!(!span.is_zero());
    100.0 * (after.time(gate) - before.time(gate)).as_secs_f64() / span.as_secs_f64()
}

/// What the dialler's connection is held by, now.
fn look(pair: &mut Pair, client: ConnectionHandle) -> LimiterStats {
    let now = pair.now();
    pair.world.node_mut(pair.client).endpoint.handle_timeout(now);
    pair.on_client(client, |connection| connection.limiter())
}

/// Lets ten seconds go by, in which the dialler's connection is held by nothing but this gate.
fn assert_held(pair: &mut Pair, client: ConnectionHandle, gate: Gate) {
    let before = look(pair, client);
    pair.world.run_for(ms(10_000));
    let after = look(pair, client);
    let share = share(&before, &after, gate);
    assert!(share >= 95.0, "{share:.1} % of the time at the {gate}: {before:?}, {after:?}");
}

/// A dialler with much to send, after two seconds.
fn bulk(link: LinkConfig, client: Config, server: Config) -> (Pair, ConnectionHandle) {
    let (receiver, _) = Receiver::new();
    let mut pair = Pair::with(1, link, client, server, Sender::new(1, 1 << 40), receiver);
    let (client, _) = pair.connect();
    pair.world.run_for(ms(2_000));
    (pair, client)
}

#[test]
fn path_limiter_books_the_application() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let (client, _) = pair.connect();
    let stream = pair.on_client(client, |connection| connection.open_uni().unwrap());
    for _ in 0..3 {
        pair.on_client(client, |connection| connection.write(stream, &[7; 5_000]).unwrap());
        assert_held(&mut pair, client, Gate::Application);
    }
    let limiter = look(&mut pair, client);
    assert_eq!((limiter.gate(), limiter.main()), (Gate::Application, Gate::Application));
    assert!(limiter.total() >= ms(30_000) && limiter.total() <= ms(30_200), "{limiter:?}");
}

#[test]
fn path_limiter_books_the_pacer() {
    let (mut pair, client) = bulk(line(), config(), config());
    assert_held(&mut pair, client, Gate::Pacer);
}

#[test]
fn path_limiter_books_the_window() {
    // QOTP has a fixed one.
    let speaks = || {
        let mut config = config().accept_qotp(true);
        config.qotp.max_in_flight = 10_000;
        config
    };
    let (receiver, _) = Receiver::new();
    let sender = Sender::new(1, 1 << 40).bidirectional();
    let mut pair = Pair::with(1, quick(), speaks(), speaks(), sender, receiver);
    let client = pair.dial_qotp(true);
    pair.world.run_for(ms(2_000));
    assert_held(&mut pair, client, Gate::Window);
}

#[test]
fn path_limiter_books_the_peer() {
    let never = (0, ms(1_000_000));
    let (receiver, _) = Receiver::slow(never.0, never.1);
    let mut pair = Pair::with(1, line(), config(), config(), Sender::new(3, 1 << 40), receiver);
    let (client, _) = pair.connect();
    pair.world.run_for(ms(2_000));
    assert_held(&mut pair, client, Gate::Peer);
}

#[test]
fn path_limiter_books_the_peer_for_one_stream_and_for_none() {
    let mut server = config();
    server.limits.max_stream_window = 64 << 10;
    let mut pair = Pair::with(1, line(), config(), server.clone(), AcceptAll, AcceptAll);
    let (client, _) = pair.connect();
    let stream = pair.on_client(client, |connection| {
        let stream = connection.open_uni().unwrap();
        connection.write(stream, &[7; 200_000]).unwrap();
        stream
    });
    pair.world.run_for(ms(1_000));
    assert_held(&mut pair, client, Gate::Peer);
    pair.on_client(client, |connection| connection.reset(stream, 0u32.into()).unwrap());
    pair.world.run_for(ms(1_000));
    assert_held(&mut pair, client, Gate::Application);

    server.limits.streams_uni = 4;
    let mut pair = Pair::with(1, line(), config(), server, AcceptAll, AcceptAll);
    let (client, _) = pair.connect();
    pair.on_client(client, |connection| while connection.open_uni().is_ok() {});
    pair.world.run_for(ms(1_000));
    assert_held(&mut pair, client, Gate::Peer);
}

#[test]
fn path_limiter_books_the_budget() {
    let link = LinkConfig {
        rate: Some(Rate::mbit(1_000)),
        delay: ms(200),
        queue: QueueLimit::Bytes(1 << 20),
        ..LinkConfig::default()
    };
    let mut little = config();
    // No more than what the pacer lets go at once.
    little.limits.send_buffer = 2 << 10;
    let (mut pair, client) = bulk(link, little, config());
    assert_held(&mut pair, client, Gate::Budget);
}

#[test]
fn path_limiter_books_the_path() {
    let (mut pair, client) = bulk(line(), config(), config());
    let _silence = drop_while(&mut pair.world, |_| true);
    pair.world.run_for(ms(300));
    assert_held(&mut pair, client, Gate::Path);
}

#[test]
fn path_limiter_is_about_the_path_with_data() {
    let (receiver, _) = Receiver::new();
    let (topology, sender) = (Topology::fan(&[line(), line()]), Sender::new(1, 1 << 40));
    let mut duo = Duo::with(1, &topology, config(), config(), sender, receiver);
    duo.open(Side::Client, 1, 0);
    assert_held(&mut duo.web.pair, duo.client, Gate::Pacer);
}

/// Carries everything that `from` has for the other, or a single packet.
fn carry(now: Instant, from: &mut Endpoint, source: TransportAddr, to: &mut Endpoint, all: bool) {
    let mut train = Vec::new();
    while let Some(transmit) = from.poll_transmit(now, TrainLimit::SINGLE, &mut train) {
        for datagram in train.chunks_mut(transmit.segment_size) {
            to.handle_datagram(now, Arrival::from_remote(source), datagram);
        }
        train.clear();
        if !all {
            return;
        }
    }
}

#[test]
fn path_limiter_books_the_socket() {
    let [here, there] = ["192.0.2.1:1", "192.0.2.2:2"].map(|addr| addr.parse::<TransportAddr>().unwrap());
    let [mut client, mut server] = [1, 2].map(|secret| endpoint(config(), secret, 1));
    let mut now = Instant::ZERO;
    let peer = Peer::Key(*server.public_key());
    let dial = client.connect(now, peer, ConnectOptions::new(there, ALPN)).unwrap();
    for _ in 0..10 {
        carry(now, &mut client, here, &mut server, true);
        while let Some((handle, event)) = server.poll_event() {
            if event == Event::Incoming {
                server.incoming(handle).unwrap().accept(now).unwrap();
            }
        }
        carry(now, &mut server, there, &mut client, true);
        now += ms(1);
    }
    let mut connection = client.connection(dial).unwrap();
    let stream = connection.open_uni().unwrap();
    connection.write(stream, &[7; 200_000]).unwrap();
    let before = connection.limiter();
    // A hundred packets are far more than what may leave at once.
    for _ in 0..10 {
        carry(now, &mut client, here, &mut server, false);
        now += Duration::from_secs(1);
        client.handle_timeout(now);
        server.handle_timeout(now);
        carry(now, &mut server, there, &mut client, true);
    }
    let after = client.connection(dial).unwrap().limiter();
    let share = share(&before, &after, Gate::Socket);
    assert!(share >= 95.0, "{share:.1} %: {before:?}, {after:?}");
}

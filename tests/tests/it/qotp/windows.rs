//! The receive window of QOTP, which is told in acknowledgements and nowhere else; and memory limits, which it knows
//! nothing of.

use dunlin_core::{Config, ConnectionHandle, Duration, Event, StreamId};
use dunlin_sim::{AcceptAll, LinkConfig, Pair, Receiver, seeds};

use super::kit::{Upload, connect, qotp};
use crate::common::{bad_line, drop_while, line, ms, patterned, quick, read_all};

fn small(window: u64) -> Config {
    let mut config = qotp();
    config.limits.max_window = window;
    config
}

#[test]
fn a_slow_qotp_reader_slows_its_sender_and_no_more() {
    for seed in seeds(4) {
        for (window, bytes, every) in [(32 << 10, 8_000, 10), (100_000, 4_000, 5), (1 << 20, 50_000, 100)] {
            for link in [line(), bad_line(5)] {
                let reader = Receiver::slow(bytes, ms(every));
                let mut upload =
                    Upload::to(reader, seed, link, [qotp(), small(window)], seed % 2 == 0, 2, 600_000);
                upload.complete(Duration::from_secs(30));
                upload.pair.finish();
            }
        }
    }
}

/// A pair whose answerer reads nothing of a stream with all that fits into it, and how much that is.
struct Stalled {
    pair: Pair,
    client: ConnectionHandle,
    server: ConnectionHandle,
    id: StreamId,
    bytes: usize,
    read: Vec<u8>,
}

impl Stalled {
    fn new(seed: u64, link: LinkConfig, answerer: Config, bytes: usize) -> Self {
        let mut pair = Pair::with(seed, link, qotp(), answerer, AcceptAll, AcceptAll);
        let (client, server) = connect(&mut pair, seed.is_multiple_of(2));
        let id = pair.on_client(client, |connection| connection.open_bi().unwrap());
        let mut stalled = Self { pair, client, server, id, bytes, read: Vec::new() };
        stalled.pair.on_client(client, |connection| {
            assert_eq!(connection.write(id, &patterned(id, bytes)), Ok(bytes));
            connection.finish(id).unwrap();
        });
        stalled
    }

    /// Both sides still have the connection.
    fn lives(&self) {
        for (host, handle) in [(self.pair.client(), self.client), (self.pair.server(), self.server)] {
            assert_eq!(host.closed(handle), None, "at {:?}", self.pair.now());
        }
    }

    /// Reads all there is from now on, to the end.
    fn resume(&mut self, limit: Duration) {
        let (node, server, id) = (self.pair.server, self.server, self.id);
        let read = &mut self.read;
        let done = self.pair.run_until(limit, |world| {
            let Some(mut connection) = world.node_mut(node).endpoint.connection(server) else { return true };
            let (bytes, ended) = read_all(&mut connection, id);
            read.extend(bytes);
            ended
        });
        assert!(done, "{} of {} bytes", self.read.len(), self.bytes);
        self.lives();
        assert_eq!(self.read, patterned(id, self.bytes));
    }
}

#[test]
fn a_qotp_reader_may_stall_for_twenty_seconds_and_go_on() {
    for seed in seeds(6) {
        for window in [8 << 10, 64 << 10, 150_000] {
            for link in [
                quick(),
                bad_line(5),
                LinkConfig {
                    jitter: ms(20),
                    reorder: dunlin_sim::Ppm::percent(30),
                    reorder_by: ms(30),
                    ..line()
                },
            ] {
                let mut stalled = Stalled::new(seed, link, small(window), 250_000);
                stalled.pair.world.run_for(Duration::from_secs(20));
                stalled.lives();
                let server = stalled.server;
                let held = stalled.pair.on_server(server, |connection| connection.stats().memory_used);
                assert!(held < window + (80 << 10), "{held} bytes held for a window of {window}");
                stalled.resume(Duration::from_secs(10));
                stalled.pair.finish();
            }
        }
    }
}

#[test]
fn a_stalled_qotp_reader_is_asked_now_and_then_for_its_window() {
    let mut stalled = Stalled::new(2, quick(), small(64 << 10), 250_000);
    stalled.pair.world.run_for(Duration::from_secs(5));
    let sent = stalled.pair.client().endpoint.stats().datagrams_sent;
    stalled.pair.world.run_for(Duration::from_secs(300));
    stalled.lives();
    let asked = stalled.pair.client().endpoint.stats().datagrams_sent - sent;
    assert!((50..=80).contains(&asked), "{asked} times in five minutes");
    stalled.resume(Duration::from_secs(5));
    stalled.pair.finish();
}

#[test]
fn lost_window_updates_of_qotp_are_made_up_for() {
    for (seed, silence) in seeds(3).zip([300, 3000, 15_000]) {
        let mut stalled = Stalled::new(seed, quick(), small(64 << 10), 250_000);
        stalled.pair.world.run_for(Duration::from_secs(3));
        let from = stalled.pair.server_addr;
        let deaf = drop_while(&mut stalled.pair.world, move |passing| passing.from == from);
        let (server, id) = (stalled.server, stalled.id);
        let (first, _) = stalled.pair.on_server(server, |connection| read_all(connection, id));
        assert!((40_000..=66_000).contains(&first.len()), "{} bytes", first.len());
        stalled.read.extend(first);
        stalled.pair.world.run_for(ms(silence));
        if silence < 5000 {
            deaf.set(false);
            stalled.resume(Duration::from_secs(10));
        }
        stalled.pair.finish();
    }
}

/// The smallest windows that can be set: too small for a packet, but a connection has to come through all the same.
#[test]
fn tiny_qotp_windows_are_slow_but_not_dead() {
    for window in [0, 1, 1000, 1400, 2800, 5000] {
        let mut upload = Upload::new(1, quick(), [qotp(), small(window)], true, 2, 20_000);
        upload.complete(Duration::from_secs(60));
        upload.pair.finish();
    }
}

fn limited(connection: u64, endpoint: u64) -> Config {
    let mut config = qotp();
    config.limits.per_connection = connection << 10;
    config.limits.per_endpoint = endpoint << 10;
    config
}

#[test]
fn little_memory_slows_a_qotp_receiver_and_does_not_stop_it() {
    for seed in seeds(2) {
        for (limit, streams, bytes) in
            [(100, 1, 500_000), (100, 10, 50_000), (200, 60, 20_000), (600, 100, 10_000)]
        {
            for (link, slow) in [(line(), false), (bad_line(5), false), (bad_line(2), true)] {
                let reader = if slow { Receiver::slow(4000, ms(20)) } else { Receiver::new() };
                let settings = [qotp(), limited(limit, 1 << 20)];
                let mut upload = Upload::to(reader, seed, link, settings, true, streams, bytes);
                upload.complete(Duration::from_secs(60));
                let used = upload.pair.server().endpoint.stats().memory_used;
                assert!(used <= (limit << 10) + (72 << 10));
                upload.pair.finish();
            }
        }
    }
}

/// The window says that there is room and memory says there is none: what comes is withheld, and the sender, which hears
/// nothing of it, must not give up on a peer that is there.
#[test]
fn a_qotp_reader_with_little_memory_may_stall_too() {
    for seed in seeds(3) {
        for (connection, endpoint) in [(150, 1 << 20), (1 << 20, 200)] {
            for link in [quick(), bad_line(3)] {
                let mut stalled = Stalled::new(seed, link, limited(connection, endpoint), 250_000);
                stalled.pair.world.run_for(Duration::from_secs(20));
                stalled.lives();
                let used = stalled.pair.server().endpoint.stats().memory_used;
                assert!(used <= (connection.min(endpoint) << 10) + (72 << 10), "{used}");
                stalled.resume(Duration::from_secs(30));
                stalled.pair.finish();
            }
        }
    }
}

/// What answers its probes is no news to a sender.
#[test]
fn a_qotp_reader_without_room_is_probed_every_two_seconds() {
    let mut stalled = Stalled::new(1, quick(), limited(150, 1 << 20), 250_000);
    let client = stalled.client;
    let mut timeouts = || {
        stalled.pair.world.run_for(Duration::from_secs(10));
        stalled.pair.on_client(client, |connection| connection.stats().probe_timeouts)
    };
    let early = timeouts();
    assert_eq!(timeouts() - early, 5);
    stalled.resume(Duration::from_secs(30));
    stalled.pair.finish();
}

#[test]
fn a_qotp_writer_that_found_no_memory_is_told_when_there_is_some() {
    for streams in [1, 3, 5] {
        let mut upload = Upload::new(1, line(), [limited(200, 1 << 20), qotp()], true, streams, 300_000);
        upload.complete(Duration::from_secs(60));
        upload.pair.finish();
    }
}

#[test]
fn a_qotp_connection_at_its_limit_leaves_the_others_alone() {
    let mut answerer = limited(300, 700);
    answerer.limits.max_window = 1 << 20;
    let mut pair = Pair::with(1, line(), qotp(), answerer, AcceptAll, AcceptAll);
    let (first, _) = connect(&mut pair, true);
    pair.on_client(first, |connection| {
        for _ in 0..5 {
            let id = connection.open_bi().unwrap();
            let _ = connection.write(id, &[1; 200_000]);
        }
    });
    pair.world.run_for(Duration::from_secs(3));
    let used = pair.server().endpoint.stats().memory_used;
    assert!((200 << 10..372 << 10).contains(&used), "{used}");
    let (reader, seen) = Receiver::new();
    pair.world.node_mut(pair.server).app = Box::new(reader);
    let second = pair.dial_qotp(false);
    pair.on_client(second, |connection| {
        let id = connection.open_bi().unwrap();
        super::kit::write_all(connection, id, &patterned(id, 200_000));
    });
    let done = pair.run_until(Duration::from_secs(5), |_| seen.borrow().finished == 1);
    assert!(done, "{:?}", seen.borrow());
    assert!(pair.client().has(second, &Event::Connected));
    pair.finish();
}

//! Flow control: no deadlock, no overrun, windows that grow with use and only with use.

use core::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use dunlin_core::{
    ConnectionHandle, Direction, Duration, Endpoint, Event, Instant, OpenError, ReadError, StreamId,
    WriteError,
};
use dunlin_sim::{
    AcceptAll, App, LinkConfig, Loss, Pair, Ppm, QueueLimit, Rate, Receiver, Rng, Sender, accept_incoming,
    config, pattern, seeds,
};

use crate::common::{line, ms, patient, quick, read_all};

/// What the two talkers of a scenario have done so far.
#[derive(Debug, Default)]
struct Tally {
    /// Streams opened whose sender is through with them: all written, or given up.
    written: usize,
    /// Streams whose receiver is through with them: read to the end, reset, or stopped.
    read: usize,
    /// When something was last read.
    last: Instant,
}

/// Opens streams of random lengths, gives some up half-way, reads what comes at random times in random portions, and
/// stops some of it.
struct Talker {
    rng: Rng,
    tally: Rc<RefCell<Tally>>,
    to_open: usize,
    writing: BTreeMap<StreamId, (u64, u64)>,
    reading: BTreeMap<StreamId, u64>,
    connection: Option<ConnectionHandle>,
    next: Option<Instant>,
    /// The greatest wait between two portions.
    pause: u64,
    gives_up: Ppm,
}

impl Talker {
    fn write(&mut self, endpoint: &mut Endpoint) {
        let Some(mut connection) = self.connection.and_then(|handle| endpoint.connection(handle)) else {
            return;
        };
        while self.to_open > 0 {
            let direction =
                if self.rng.below(2) == 0 { Direction::Bidirectional } else { Direction::Unidirectional };
            match connection.open(direction) {
                Ok(id) => {
                    self.to_open -= 1;
                    let len = self.rng.below(30_000) * self.rng.below(2);
                    self.writing.insert(id, (0, len));
                }
                Err(OpenError::Blocked) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let ids: Vec<StreamId> = self.writing.keys().copied().collect();
        for id in ids {
            let (written, len) = self.writing[&id];
            if written < len {
                let end = len.min(written + 1 + self.rng.below(5000));
                let data: Vec<u8> = (written..end).map(|offset| pattern(id, offset)).collect();
                match connection.write(id, &data) {
                    Ok(n) => self.writing.get_mut(&id).unwrap().0 += n as u64,
                    Err(WriteError::Blocked) => {}
                    Err(WriteError::Stopped(_)) => drop(self.writing.remove(&id)),
                    Err(error) => panic!("{error}"),
                }
            } else {
                let _ = connection.finish(id);
                self.writing.remove(&id);
            }
            if self.writing.contains_key(&id) && self.rng.chance(self.gives_up) {
                connection.reset(id, 1u32.into()).ok();
                self.writing.remove(&id);
            }
            self.tally.borrow_mut().written += usize::from(!self.writing.contains_key(&id));
        }
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(mut connection) = self.connection.and_then(|handle| endpoint.connection(handle)) else {
            return;
        };
        for direction in [Direction::Bidirectional, Direction::Unidirectional] {
            while let Some(id) = connection.accept(direction) {
                if direction == Direction::Bidirectional {
                    connection.finish(id).ok();
                }
                self.reading.insert(id, 0);
            }
        }
        let mut buffer = vec![0; 1 + self.rng.below(4000) as usize];
        let ids: Vec<StreamId> = self.reading.keys().copied().collect();
        for id in ids {
            let mut tally = self.tally.borrow_mut();
            match connection.read(id, &mut buffer) {
                Ok(0) | Err(ReadError::Reset(_)) => {
                    tally.read += 1;
                    tally.last = now;
                    self.reading.remove(&id);
                }
                Ok(n) => {
                    let offset = self.reading.get_mut(&id).unwrap();
                    for byte in &buffer[..n] {
                        assert_eq!(*byte, pattern(id, *offset), "{id:?} at {offset}");
                        *offset += 1;
                    }
                    tally.last = now;
                }
                Err(ReadError::Blocked) => {}
                Err(error) => panic!("{error}"),
            }
            if self.reading.contains_key(&id) && self.rng.chance(self.gives_up) {
                connection.stop(id, 2u32.into()).unwrap();
                self.reading.remove(&id);
                tally.read += 1;
            }
        }
    }
}

impl App for Talker {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, handle: ConnectionHandle, event: &Event) {
        accept_incoming(now, endpoint, handle, event);
        if *event == Event::Connected {
            self.connection = Some(handle);
            self.next = Some(now);
        }
        assert!(
            !matches!(event, Event::Closed(reason) if !matches!(reason, dunlin_core::CloseReason::Local { .. } | dunlin_core::CloseReason::Peer { .. })),
            "{event:?}"
        );
    }

    fn on_timeout(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.write(endpoint);
        self.read(now, endpoint);
        let done = self.to_open == 0 && self.writing.is_empty() && self.reading.is_empty();
        // Streams of the peer may still come.
        self.next =
            Some(now + Duration::from_micros(if done { 20_000 } else { 1 + self.rng.below(self.pause) }));
        if self.connection.is_none_or(|handle| endpoint.connection(handle).is_none()) {
            self.next = None;
        }
    }

    fn timeout(&self) -> Option<Instant> {
        self.next
    }
}

/// Two talkers with tiny windows: whatever the seed, every stream comes to its end.
fn conversation(seed: u64, gives_up: Ppm) {
    let mut rng = Rng::new(seed);
    let mut settings = || {
        let mut config = patient();
        let window = 1024 << rng.below(7);
        config.limits.initial_window = window >> rng.below(3);
        config.limits.max_window = window;
        config.limits.max_stream_window = window >> rng.below(2);
        config.limits.streams_bidi = 1 + rng.below(5) as u32;
        config.limits.streams_uni = 1 + rng.below(20) as u32;
        config.limits.send_buffer = 1000 + rng.below(40_000);
        config
    };
    let (ours, theirs) = (settings(), settings());
    let link = LinkConfig {
        rate: Some(Rate::mbit(1 + rng.below(50) as u32)),
        delay: Duration::from_micros(rng.below(40_000)),
        queue: QueueLimit::Packets(5 + rng.below(100) as usize),
        loss: Loss::Random(Ppm::percent(rng.below(20) as u32)),
        reorder: Ppm::percent(rng.below(10) as u32),
        reorder_by: ms(20),
        ..LinkConfig::default()
    };
    let streams = 1 + rng.below(15) as usize;
    let pause = 1 + rng.below(30_000);
    let tally = [Rc::<RefCell<Tally>>::default(), Rc::default()];
    let talker = |n: usize| Talker {
        rng: rng.fork(n as u64),
        tally: Rc::clone(&tally[n]),
        to_open: streams,
        writing: BTreeMap::new(),
        reading: BTreeMap::new(),
        connection: None,
        next: None,
        pause,
        gives_up,
    };
    let (client, server) = (talker(0), talker(1));
    let mut pair = Pair::with(seed, link, ours, theirs, client, server);
    let handle = pair.dial();
    let done = pair.run_until(Duration::from_secs(120), |_| {
        // A stream that is reset before anything of it went out is not seen by the peer until the reset comes.
        tally.iter().all(|tally| tally.borrow().written == streams && tally.borrow().read == streams)
    });
    let node = pair.client;
    let state = pair.world.node_mut(node).endpoint.connection(handle).map(|c| (c.stats(), c.path()));
    assert!(done, "seed {seed:#x}: {streams} streams, {tally:?} {state:?}");
    pair.finish();
}

#[test]
fn tiny_windows_and_slow_readers_never_deadlock() {
    for seed in seeds(150) {
        conversation(seed, Ppm::NEVER);
    }
}

#[test]
fn streams_that_are_given_up_give_their_credit_back() {
    for seed in seeds(150) {
        conversation(seed, Ppm::percent(5));
    }
}

#[test]
fn windows_grow_to_fill_a_long_fat_line_without_any_setting() {
    let link = LinkConfig {
        rate: Some(Rate::mbit(100)),
        delay: ms(100),
        queue: QueueLimit::Bytes(2_500_000),
        ..LinkConfig::default()
    };
    let (receiver, seen) = Receiver::new();
    let mut pair = Pair::with(1, link, config(), config(), Sender::new(1, 80 << 20), receiver);
    pair.dial();
    pair.world.run_for(Duration::from_secs(4));
    let before = seen.borrow().total();
    pair.world.run_for(Duration::from_secs(3));
    let rate = (seen.borrow().total() - before) * 8 / 3;
    assert!(rate > 85_000_000, "{rate} bit/s of 100 Mbit/s");
    pair.finish();
}

#[test]
fn without_reading_a_window_of_data_comes_and_no_more() {
    let mut pair = Pair::with(1, line(), config(), config(), Sender::new(1, 1 << 20), AcceptAll);
    let (client, server) = pair.connect();
    pair.world.run_for(Duration::from_secs(10));
    let id = StreamId::new(dunlin_core::Role::Initiator, Direction::Unidirectional, 0);
    let stats = pair.on_server(server, |connection| connection.stats());
    assert!((65_536..72_000).contains(&stats.bytes_received), "{}", stats.bytes_received);
    let sent = pair.on_client(client, |connection| connection.stats().packets_sent);
    pair.world.run_for(Duration::from_secs(60));
    assert_eq!(
        pair.on_client(client, |connection| connection.stats().packets_sent),
        sent,
        "a blocked sender is quiet"
    );
    let mut got = 0;
    while got < 1 << 20 {
        assert!(pair.now() < Instant::ZERO + Duration::from_secs(100), "{got}");
        got += pair.on_server(server, |connection| read_all(connection, id).0.len());
        pair.world.run_for(ms(10));
    }
    pair.finish();
}

#[test]
fn a_slow_readers_memory_stays_within_its_window() {
    for streams in [1, 20] {
        // 20 kB/s at most, over 60 seconds.
        let (receiver, seen) = Receiver::slow(2000 / streams, ms(100));
        let mut pair = Pair::with(1, line(), config(), config(), Sender::new(streams, 1 << 20), receiver);
        pair.dial();
        let server = pair.server_connection(Duration::from_secs(1)).unwrap();
        let mut most = 0;
        for _ in 0..60 {
            pair.world.run_for(Duration::from_secs(1));
            most = most.max(pair.on_server(server, |connection| connection.stats().memory_used));
        }
        let total = seen.borrow().total();
        assert!((900_000..1_400_000).contains(&total), "{total} read");
        // Two blocks of 16 KiB may be partly used for each stream, and there is some bookkeeping.
        let limit = (128 << 10) + 16_384 + streams as u64 * 34_000;
        assert!(most < limit, "{most} bytes for {streams} streams");
        pair.finish();
    }
}

#[test]
fn a_stream_that_nobody_reads_holds_up_no_other_once_the_windows_have_grown() {
    let mut pair = Pair::with(1, quick(), config(), config(), AcceptAll, AcceptAll);
    let (client, server) = pair.connect();
    let open = |pair: &mut Pair| pair.on_client(client, |connection| connection.open_uni().unwrap());
    let (stuck, busy) = (open(&mut pair), open(&mut pair));
    let mut written = BTreeMap::from([(stuck, 0usize), (busy, 0)]);
    let mut read = 0;
    for round in 0..400 {
        pair.on_client(client, |connection| {
            for (id, written) in &mut written {
                // The stuck one starts when the other one has made the connection's window grow.
                if *id == busy || round > 100 {
                    *written += connection.write(*id, &[7; 100_000]).unwrap_or(0);
                }
            }
        });
        pair.world.run_for(ms(10));
        pair.on_server(server, |connection| read += read_all(connection, busy).0.len());
        if round == 200 {
            read = 0;
        }
    }
    assert!(read > 2_000_000, "{read} bytes in two seconds");
    pair.finish();
}

#[test]
fn a_short_budget_slows_and_does_not_stop() {
    let (receiver, seen) = Receiver::new();
    let mut poor = config();
    poor.limits.per_connection = 100 << 10;
    let mut pair = Pair::with(1, line(), config(), poor, Sender::new(3, 500_000), receiver);
    pair.dial();
    let server = pair.server_connection(Duration::from_secs(1)).unwrap();
    let mut most = 0;
    for _ in 0..600 {
        pair.world.run_for(ms(100));
        most = most.max(pair.on_server(server, |connection| connection.stats().memory_used));
        if seen.borrow().finished == 3 {
            break;
        }
    }
    assert_eq!((seen.borrow().finished, seen.borrow().total()), (3, 1_500_000));
    assert!(most <= (100 << 10) + 4096, "{most}");
    pair.finish();
}
